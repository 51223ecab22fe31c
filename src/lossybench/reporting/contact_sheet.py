"""The contact sheet: pictures, frames or spectrograms that show what each codec does to sample items at each level."""

from __future__ import annotations

import base64
import dataclasses
import io
import math
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from scipy import signal

from lossybench import codecs, kinds
from lossybench.artifacts import iter_rows, read_meta, write_json
from lossybench.conditions import ORIGINAL
from lossybench.errors import LossyBenchError, naming, visible
from lossybench.reporting import style
from lossybench.reporting.summary import amount

ITEMS = 2
LARGEST_CROP = 128  # pixels of a side; in a larger crop the blocks would be too small to see
WINDOW_S = 0.025  # seconds of a spectrogram's window, as is usual for speech
LONGEST_NAME = 60  # characters of an item or class in a title
TRUTH = "#00E5FF"  # the colour of boxes and outlines
RANGE_DB = 80.0  # how far below the loudest point of the originals spectrograms show


@dataclasses.dataclass(frozen=True)
class _Cell:
    """One item, decoded after one codec at one level."""

    media: np.ndarray
    label: str  # the level, as readers write it
    note: str  # the measured rate, and the fidelity where it was measured


Sheet = dict[str, dict[float, dict[str, _Cell]]]  # by codec, by level from mild to strong, by the id of the item


def draw(
    data: Path, compressed: list[Path], out: Path, samples_out: Path, titles: Mapping[str, str] | None = None
) -> None:
    """Write the contact sheet of a task, with a row per codec and a column per level for each sample item.

    The samples are the first test items of different classes, or the first ones where items have none.

    data: the table of the task's items. compressed: the test parts of every condition, the original among them. out:
    the PNG. samples_out: the JSON that keeps each cell by itself, for the page (`_kept`). titles: those that the study
    gives its codecs. Raises LossyBenchError when an item or the original is missing from `compressed`, or a payload is
    damaged.
    """
    meta = read_meta(data)
    audio = meta["medium"] == "audio"
    samples = _samples(data)
    sheet, named = _decode(samples, compressed, meta["medium"])
    write_json(samples_out, {"cells": list(_kept(sheet, samples))})
    rows = [codec for codec in sheet if codec != ORIGINAL]
    columns = 1 + max(len(sheet[codec]) for codec in rows)
    wide, high = (1.75, 1.55) if audio else (1.3, 1.85)
    size = columns * wide + 0.8, len(samples) * (len(rows) * high + 0.5) + 0.6
    with style.styled():
        figure = Figure(figsize=size, layout="constrained")
        measured = (
            "measured rate" if read_meta(compressed[0]).get("fidelity") == "none" else "measured rate and fidelity"
        )
        about = f"what each level does, mild to strong; {measured} of each item"
        style.title(figure, f"{meta['task']}: {about}")
        blocks = figure.subfigures(len(samples), 1, squeeze=False)[:, 0]
        loudest = _loudest(sheet, samples) if audio else 0.0
        for block, item in zip(blocks, samples, strict=True):
            block.suptitle(_about(item), fontsize=10)
            axes = block.subplots(len(rows), columns, squeeze=False)
            for i, codec in enumerate(rows):
                cells = [*sheet[ORIGINAL].values(), *sheet[codec].values()]
                for j, ax in enumerate(axes[i]):
                    if j >= len(cells):
                        ax.remove()
                        continue
                    cell = cells[j][item["id"]]
                    if audio:
                        last = i == len(rows) - 1
                        _draw_spectrogram(ax, cell, item["sampling_rate"], loudest, leftmost=j == 0, last=last)
                    else:
                        _picture(ax, cell, item["drawn"], with_truth=j == 0)
                title = (titles or {}).get(codec) or named[codec]
                axes[i, 0].set_ylabel(textwrap.fill(title, 20) + "\nfrequency (kHz)" * audio, fontsize=9)
            if audio:
                shades = ScalarMappable(Normalize(loudest - RANGE_DB, loudest), "magma")
                shown = [ax for ax in axes.flat if ax.figure is not None]
                block.colorbar(shades, ax=shown, label="level (dB of a full-scale sine)", fraction=0.02, aspect=40)
        style.save(figure, out)


def _about(item: dict[str, Any]) -> str:
    """An item with what is true of it."""
    truth = item["drawn"].text and f", {_short(item['drawn'].text)}"
    return f"item {_short(item['id'])}{truth}"


def _kept(sheet: Sheet, samples: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each cell with its item, codec, level and note; its picture and, of audio, its sound, as data URLs.

    Pictures and sounds are coded without loss, so that what is seen and heard is what the model was tested on. Of a
    sound the picture is its spectrogram, on one scale for all of them.
    """
    for item in samples:
        loudest = _loudest(sheet, [item]) if item["shape"][1:] == [] else 0.0
        for codec in sorted(sheet, key=lambda name: name != ORIGINAL):
            for level, cells in sheet[codec].items():
                cell = cells[item["id"]]
                told = {"item": item["id"], "truth": _about(item), "codec": codec, "level": level}
                told |= {"label": cell.label, "note": cell.note}
                if cell.media.ndim == 1:
                    sound = io.BytesIO()
                    soundfile.write(sound, cell.media, int(item["sampling_rate"]), format="FLAC", subtype="PCM_16")
                    _, _, levels = spectrogram(cell.media, item["sampling_rate"])
                    shades = colormaps["magma"](Normalize(loudest - RANGE_DB, loudest)(levels[::-1]), bytes=True)
                    told |= {"sound": _url("audio/flac", sound.getvalue()), "media": _picture_url(shades[..., :3])}
                else:
                    told |= {"media": _picture_url(_crop(cell.media, item["drawn"])[0])}
                yield told


def _picture_url(pixels: np.ndarray) -> str:
    """The picture (H, W, 3) of uint8 as a data URL."""
    coded = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(coded, "WEBP", lossless=True, method=6)
    return _url("image/webp", coded.getvalue())


def _url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _short(name: str) -> str:
    """A name on one line that fits a title; of a long one the end, where file names differ."""
    name = visible(name)
    return name if len(name) <= LONGEST_NAME else f"…{name[-LONGEST_NAME:]}"


def _samples(data: Path) -> list[dict[str, Any]]:
    """The first test items that the kind of task does not call alike, each with what it shows of them as `drawn`."""
    meta, found = read_meta(data), list[dict[str, Any]]()
    kind = kinds.load(meta["kind"])
    for row in iter_rows(data, columns=["id", "shape", "sampling_rate", *kind.truth.names], splits=["test"]):
        drawn = kind.drawn(row, meta["classes"])
        if drawn.alike is None or drawn.alike not in [one["drawn"].alike for one in found]:
            found.append({key: row[key] for key in ("id", "shape", "sampling_rate")} | {"drawn": drawn})
        if len(found) == ITEMS:
            break
    if not found:
        raise LossyBenchError(f"{data}: no items in the split test; there is nothing to show")
    return found


def _decode(samples: list[dict[str, Any]], compressed: list[Path], medium: str) -> tuple[Sheet, dict[str, str]]:
    """The samples at every condition, and the title of each codec."""
    unit, measure = "bpp" if medium == "image" else "kb/s", "snr" if medium == "audio" else "psnr"
    found: Sheet = {}
    coders: dict[str, codecs.Codec] = {}
    for path in compressed:
        meta = read_meta(path)
        name, codec = meta["codec"], codecs.made(meta["codec"], meta["options"], meta.get("variant"))
        coders[name] = codec
        label = ORIGINAL if name == ORIGINAL else codec.level_label(meta["level"])
        wanted = {item["id"]: item for item in samples}
        cells = {}
        for row in iter_rows(path, columns=["id", "payload", "rate", measure]):
            item = wanted.pop(row["id"], None)
            if item:
                with naming(f"{path}: item {row['id']}"):
                    media = codec.decode(row["payload"], tuple(item["shape"]), item["sampling_rate"])
                note = f"{amount(row['rate'])} {unit}"
                if row[measure] is not None:
                    note += ", identical" if row[measure] == math.inf else f", {row[measure]:.1f} dB"
                cells[row["id"]] = _Cell(media, label, note)
            if not wanted:
                break
        if wanted:
            raise LossyBenchError(f"{path}: lacks item {next(iter(wanted))}, which the data have; compress again")
        found.setdefault(name, {})[meta["level"]] = cells
    if ORIGINAL not in found or len(found) < 2:
        raise LossyBenchError(f"a contact sheet needs the original and another codec; got {', '.join(sorted(found))}")
    ordered = {name: coders[name].by_strength(list(found[name])) for name in sorted(found)}
    sheet = {name: {level: found[name][level] for level in levels} for name, levels in ordered.items()}
    return sheet, {name: codec.full_title() for name, codec in coders.items()}


def _crop(media: np.ndarray, drawn: Any) -> tuple[np.ndarray, int, int, list[list[float]]]:
    """An image or a clip's middle frame, cropped about its first box or its centre.

    drawn: of the kind of task (`task_kind.Drawn`). Returned are the pixels, the left and upper edge of the crop, and
    the boxes of that frame.
    """
    frames = media if media.ndim == 4 else media[None]
    frame = len(frames) // 2
    here = [box for at, *box in drawn.boxes if at == frame]
    height, width = frames.shape[1:3]
    x, y = width / 2, height / 2
    if here:
        x, y = (here[0][0] + here[0][2]) / 2, (here[0][1] + here[0][3]) / 2
    left = int(np.clip(x - LARGEST_CROP / 2, 0, max(0, width - LARGEST_CROP)))
    top = int(np.clip(y - LARGEST_CROP / 2, 0, max(0, height - LARGEST_CROP)))
    return frames[frame, top : top + LARGEST_CROP, left : left + LARGEST_CROP], left, top, here


def _picture(ax: Axes, cell: _Cell, drawn: Any, with_truth: bool) -> None:
    """Draw the `_crop` of an item with pixels as squares."""
    crop, left, top, here = _crop(cell.media, drawn)
    ax.imshow(crop, interpolation="nearest")
    ax.set_autoscale_on(False)
    for x0, y0, x1, y1 in here if with_truth else []:
        corner = x0 - left - 0.5, y0 - top - 0.5
        ax.add_patch(Rectangle(corner, x1 - x0, y1 - y0, fill=False, ec=TRUTH, lw=1))
    if with_truth and drawn.mask is not None:
        outlined = drawn.mask[top : top + LARGEST_CROP, left : left + LARGEST_CROP]
        for number in set(np.unique(outlined).tolist()) - {0}:
            if not (outlined == number).all():
                ax.contour(outlined == number, levels=[0.5], colors=TRUTH, linewidths=1)
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.set_title(cell.label, fontsize=9)
    ax.set_xlabel(cell.note.replace(", ", "\n"), fontsize=8.5)


def spectrogram(media: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The frequencies (Hz), times (s) and levels (frequencies x times, in dB of a full-scale sine) of a sound.

    media: int16 samples. rate: samples per second.
    """
    size = int(WINDOW_S * rate)
    frequencies, times, magnitude = signal.spectrogram(
        media / 32768, rate, nperseg=size, noverlap=size // 2, nfft=2 * size, scaling="spectrum", mode="magnitude"
    )
    return frequencies, times, 20 * np.log10(2 * magnitude + 1e-9)


def _loudest(sheet: Sheet, samples: list[dict[str, Any]]) -> float:
    """The loudest point of the originals, in whole tens of dB, at which the scale of all spectrograms ends."""
    (originals,) = sheet[ORIGINAL].values()
    peak = max(spectrogram(originals[item["id"]].media, item["sampling_rate"])[2].max() for item in samples)
    return 10 * math.ceil(peak / 10)


def _draw_spectrogram(ax: Axes, cell: _Cell, rate: float, loudest: float, leftmost: bool, last: bool) -> None:
    frequencies, times, levels = spectrogram(cell.media, rate)
    extent = (times[0], times[-1], 0, frequencies[-1] / 1000)
    ax.imshow(levels, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=loudest - RANGE_DB, vmax=loudest)
    ax.grid(False)
    ax.tick_params(labelleft=leftmost)
    ax.locator_params(nbins=4)
    ax.set_title(f"{cell.label}\n{cell.note}", fontsize=8.5)
    if last:
        ax.set_xlabel("time (s)")
