"""What each codec does to sample items at each level, to be seen: pictures, frames or spectrograms."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle
from scipy import signal

from lossybench import codecs
from lossybench.artifacts import iter_rows, read_meta
from lossybench.conditions import ORIGINAL
from lossybench.errors import LossyBenchError
from lossybench.reporting import style
from lossybench.reporting.summary import amount

ITEMS = 2
LARGEST_CROP = 128  # pixels; of more, blocks would be too small to see
WINDOW_S = 0.025  # of the spectrograms: usual for speech
RANGE_DB = 80.0  # shown below the loudest point of the originals


@dataclasses.dataclass(frozen=True)
class _Cell:
    """One item after one codec at one level, decoded."""

    media: np.ndarray
    label: str  # of the level
    note: str  # measured rate and fidelity


def draw(data: Path, compressed: list[Path], out: Path) -> None:
    """Write the contact sheet of a task as the PNG `out`: per sample item a row per codec, a column per level.

    data: the task's items; compressed: test parts of every condition, the original among them. Shown are the first
    test items of different classes (in detection: the first two). Raises LossyBenchError when an item or the
    original condition is missing from `compressed`, or when a payload is damaged.
    """
    meta = read_meta(data)
    samples = _samples(data)
    sheet = _decode(samples, compressed, meta["medium"])
    rows = [codec for codec in sheet if codec != ORIGINAL]
    columns = 1 + max(len(sheet[codec]) for codec in rows)
    wide, high = (1.75, 1.55) if meta["medium"] == "audio" else (1.3, 1.85)
    with style.styled():
        figure = Figure(
            figsize=(columns * wide + 0.8, len(samples) * (len(rows) * high + 0.5) + 0.6), layout="constrained"
        )
        style.title(
            figure, f"{meta['task']}: what each level does, mild to strong; measured rate and fidelity of each item"
        )
        blocks = figure.subfigures(len(samples), 1, squeeze=False)[:, 0]
        loudest = _loudest(sheet, samples) if meta["medium"] == "audio" else 0.0
        for block, item in zip(blocks, samples, strict=True):
            truth = "" if item["label"] < 0 else f", class {meta['classes'][item['label']]}"
            block.suptitle(f"item {item['id']}{truth}", fontsize=10)
            axes = block.subplots(len(rows), columns, squeeze=False)
            for i, codec in enumerate(rows):
                cells = [*sheet[ORIGINAL].values(), *sheet[codec].values()]
                for j, ax in enumerate(axes[i]):
                    if j >= len(cells):
                        ax.remove()
                        continue
                    cell = cells[j][item["id"]]
                    if meta["medium"] == "audio":
                        _draw_spectrogram(ax, cell, item["rate"], loudest, leftmost=j == 0, last=i == len(rows) - 1)
                    else:
                        _picture(ax, cell, item["boxes"], with_boxes=j == 0)
                title = codecs.codec_class(codec).title
                axes[i, 0].set_ylabel(title + ("\nfrequency (kHz)" if meta["medium"] == "audio" else ""), fontsize=9)
            if meta["medium"] == "audio":
                _colour_bar(block, axes, loudest)
        style.save(figure, out)


def _samples(data: Path) -> list[dict[str, Any]]:
    """The first test items of different classes; in detection, where items have no one class, the first ones."""
    found: list[dict[str, Any]] = []
    for row in iter_rows(data, columns=["id", "shape", "rate", "label", "boxes"], splits=["test"]):
        if row["label"] < 0 or row["label"] not in [one["label"] for one in found]:
            found.append(row)
        if len(found) == ITEMS:
            break
    if not found:
        raise LossyBenchError(f"{data}: no items in the split test; there is nothing to show")
    return found


def _decode(
    samples: list[dict[str, Any]], compressed: list[Path], medium: str
) -> dict[str, dict[float, dict[str, _Cell]]]:
    """The samples through every condition: codec, level (mild to strong), item id."""
    unit = "bpp" if medium == "image" else "kb/s"
    found: dict[str, dict[float, dict[str, _Cell]]] = {}
    for path in compressed:
        meta = read_meta(path)
        codec = codecs.get(meta["codec"], meta["options"])
        label = ORIGINAL if codec.name == ORIGINAL else codec.level_label(meta["level"])
        wanted = {item["id"]: item for item in samples}
        cells = {}
        for row in iter_rows(path, columns=["id", "payload", "rate", "psnr", "snr"]):
            item = wanted.pop(row["id"], None)
            if item:
                media = codec.decode(row["payload"], tuple(item["shape"]), item["rate"])
                decibels = row["snr"] if medium == "audio" else row["psnr"]
                note = f"{amount(row['rate'])} {unit}, " + (
                    "identical" if decibels == math.inf else f"{decibels:.1f} dB"
                )
                cells[row["id"]] = _Cell(media, label, note)
            if not wanted:
                break
        if wanted:
            raise LossyBenchError(f"{path}: lacks item {next(iter(wanted))}, which the data have; compress again")
        found.setdefault(codec.name, {})[meta["level"]] = cells
    if ORIGINAL not in found or len(found) < 2:
        raise LossyBenchError(f"a contact sheet needs the original and another codec; got {', '.join(sorted(found))}")
    return {
        name: {level: found[name][level] for level in codecs.get(name).by_strength(list(found[name]))}
        for name in sorted(found)
    }


def _picture(ax: Axes, cell: _Cell, boxes: list[dict[str, Any]], with_boxes: bool) -> None:
    """An image, or a clip's middle frame, cropped about its first box or its centre, every pixel a square."""
    frame = len(cell.media) // 2 if cell.media.ndim == 4 else 0
    picture = cell.media[frame] if cell.media.ndim == 4 else cell.media
    here = [box for box in boxes if box["frame"] == frame]
    height, width = picture.shape[:2]
    x, y = width / 2, height / 2
    if here:
        x, y = (here[0]["x0"] + here[0]["x1"]) / 2, (here[0]["y0"] + here[0]["y1"]) / 2
    left = int(np.clip(x - LARGEST_CROP / 2, 0, max(0, width - LARGEST_CROP)))
    top = int(np.clip(y - LARGEST_CROP / 2, 0, max(0, height - LARGEST_CROP)))
    crop = picture[top : top + LARGEST_CROP, left : left + LARGEST_CROP]
    ax.imshow(crop, interpolation="nearest")
    ax.set_autoscale_on(False)
    for box in here if with_boxes else []:
        corner = box["x0"] - left - 0.5, box["y0"] - top - 0.5
        size = box["x1"] - box["x0"], box["y1"] - box["y0"]
        ax.add_patch(Rectangle(corner, *size, fill=False, ec="#00E5FF", lw=1))
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.set_title(cell.label, fontsize=9)
    ax.set_xlabel(cell.note.replace(", ", "\n"), fontsize=8.5)


def spectrogram(media: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frequencies (Hz), times (s) and levels (frequencies x times) of int16 samples, in dB of a full-scale sine."""
    size = int(WINDOW_S * rate)
    frequencies, times, magnitude = signal.spectrogram(
        media / 32768, rate, nperseg=size, noverlap=size // 2, nfft=2 * size, scaling="spectrum", mode="magnitude"
    )
    return frequencies, times, 20 * np.log10(2 * magnitude + 1e-9)


def _loudest(sheet: dict[str, dict[float, dict[str, _Cell]]], samples: list[dict[str, Any]]) -> float:
    """The top of the common scale: the loudest point of the originals, in whole tens of dB."""
    (originals,) = sheet[ORIGINAL].values()
    peak = max(spectrogram(originals[item["id"]].media, item["rate"])[2].max() for item in samples)
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


def _colour_bar(block: SubFigure, axes: np.ndarray, loudest: float) -> None:
    shades = ScalarMappable(Normalize(loudest - RANGE_DB, loudest), "magma")
    shown = [ax for ax in axes.flat if ax.figure is not None]
    block.colorbar(shades, ax=shown, label="level (dB of a full-scale sine)", fraction=0.02, aspect=40)
