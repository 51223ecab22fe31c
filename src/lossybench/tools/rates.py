"""The rate and fidelity that a codec gives the files of a folder at each level, without any model."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from lossybench import codecs, data
from lossybench.artifacts import publish
from lossybench.codecs.codec import Medium
from lossybench.data._files import ClassFolders, Entry, subfolders
from lossybench.errors import LossyBenchError, naming
from lossybench.fidelity import MEASURES, infinite, mean_of, measure, rate_of

_SHOWN = ["rate", "coded_rate"]
_INFINITE: dict[Medium, str] = {"image": "PSNR", "video": "PSNR", "audio": "SNR or SI-SDR"}


def measured(
    path: Path, codec: str, levels: list[float], options: dict[str, Any], medium: Medium
) -> list[dict[str, Any]]:
    """One row per level, from the mildest on, with means over all files of a folder, each of the same weight.

    path: the folder, whose files of the medium are taken at any depth. codec, levels, options: the codec, its levels in
    any order and its encoder options. medium: "image", "audio" or "video". The columns are codec, encoder, level and
    items; infinite, the items of which a measure is infinite, which its mean leaves out; rate (of the codec's file) and
    coded_rate (of the coded media in it), in bits per pixel for images, else in kb/s; then psnr (dB) and ssim, or snr,
    si_sdr and spectral_distance (dB). Raises LossyBenchError for a level that the codec cannot do, for a folder without
    files of the medium, and for a file that cannot be read, which it names.
    """
    folder = data.get(f"{medium}_folder", {"path": path})
    assert isinstance(folder, ClassFolders)
    coder = codecs.get(codec, options)
    levels = coder.by_strength(list(dict.fromkeys(levels)))
    for level in levels:
        coder.check(level, medium, folder.sampling_rate)
    subfolders(path, "rates")  # raises LossyBenchError for a path that is no folder
    files = folder.files(path, [])
    if not files:
        raise LossyBenchError(f"{path}: holds no {medium} file ({', '.join(folder.extensions)})")
    found: dict[float, list[dict[str, Any]]] = {level: [] for level in levels}
    with tqdm(total=len(files) * len(levels), desc=codec, unit="item", mininterval=2) as bar:
        for file in files:
            media, rate = folder.read(Entry(file.name, file, "", {}))
            for level in levels:
                with naming(file):
                    encoded = coder.encode(media, level, rate)
                    fidelity = measure(media, coder.decode(encoded.payload, media.shape, rate), medium, rate)
                bits = {"rate": encoded.payload_bits + encoded.overhead_bits, "coded_rate": encoded.payload_bits}
                row = {name: rate_of(amount, media.shape, medium, rate) for name, amount in bits.items()}
                found[level].append(row | fidelity)
                bar.update()
    columns = ("rate", "coded_rate", *(MEASURES[2:] if medium == "audio" else MEASURES[:2]))
    return [
        {"codec": codec, "encoder": coder.version(), "level": level, "items": len(rows)}
        | {"infinite": infinite(np.array([[row[name] for name in MEASURES] for row in rows], float))}
        | {column: mean_of([row[column] for row in rows]) for column in columns}
        for level, rows in found.items()
    ]


def rates(
    folder: Path,
    /,
    codec: str,
    levels: list[float],
    options: dict[str, Any] | None = None,
    medium: Medium = "image",
    out: Path | None = None,
) -> str:
    """Say what rate and fidelity a codec gives the files of a folder; no model is needed.

    Args:
        folder: the folder whose files of the medium are taken, at any depth
        codec: the codec; `lossybench codecs` lists them
        levels: its levels
        options: the options of the encoder
        medium: the medium of the files to take
        out: a CSV to write

    Raises:
        LossyBenchError: for what `measured` refuses.
    """
    rows = measured(folder, codec, levels, options or {}, medium)
    unit = "bpp" if medium == "image" else "kb/s"
    label = codecs.get(codec, options).level_label
    measures = list(rows[0])[7:]
    lines = [["", unit, f"{unit}, coded media", *measures]]
    lines += [
        [label(row["level"]), *("–" if row[name] is None else f"{row[name]:.4g}" for name in _SHOWN + measures)]
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [f"{rows[0]['encoder']}: means of {rows[0]['items']} items of {folder}"]
    text += ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    text += [
        f"{label(row['level'])}: {row['infinite']} of {row['items']} items have an infinite {_INFINITE[medium]}"
        " (identical, or sound where there was silence), which the mean leaves out"
        for row in rows
        if row["infinite"]
    ]
    if out:
        with publish(out) as aside, aside.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    return "\n".join(text)
