"""What files' headers tell of their class: formats, qualities, sizes and rates that a model can learn instead of it.

If all real pictures are JPEG and all faked ones PNG, a model scores by the traces of JPEG, and compression then removes
what it goes by. Each property is counted by class and by split, and tested for independence.
"""

from __future__ import annotations

import collections
import contextlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
import scipy.stats
import soundfile
from PIL import Image, JpegImagePlugin

from lossybench.data.dataset import SPLITS, Finding

VALUES = 16  # of a property: neighbouring numbers, or rare words, are put together until there are no more
STRENGTH = 0.3  # Cramér's V, from 0 to 1: what is weaker is not worth a warning
ERROR = 0.01  # the share of data sets without any association that get a warning by chance, over all properties
DRAWS = 1999  # tables drawn at random where the expected counts are too small for the chi-square distribution

Value = str | float


def properties(path: Path, medium: str) -> dict[str, Value]:
    """What the header of a file says, by property: words, or numbers of three digits. Empty if unreadable."""
    found: dict[str, Value] = {}
    with contextlib.suppress(Exception):  # what cannot be read is told elsewhere
        found = {"image": _image, "audio": _audio, "video": _video}[medium](path)
    return {
        name: float(f"{value:.3g}") if isinstance(value, float) else value for name, value in found.items() if value
    }


def _image(path: Path) -> dict[str, Value]:
    with Image.open(path) as file:
        found: dict[str, Value] = {"format": file.format or "", "mode": file.mode}
        found |= {"width": float(file.width), "height": float(file.height)}
        if isinstance(file, JpegImagePlugin.JpegImageFile):
            found["JPEG quality"] = _quality(file.quantization[0])
            found["chroma subsampling"] = str(JpegImagePlugin.get_sampling(file))
        return found


def _quality(table: list[int]) -> float:
    """About which quality (1 to 100) libjpeg would write this luminance table for."""
    scale = 100 * sum(table) / 3688  # the sum of the table of the JPEG standard, which is that of quality 50
    return float(max(1, round(5000 / scale if scale > 100 else (200 - scale) / 2)))


def _audio(path: Path) -> dict[str, Value]:
    with contextlib.suppress(soundfile.LibsndfileError):
        about = soundfile.info(path)
        coding = f"{about.format} {about.subtype}"
        return _sound(coding, about.samplerate, about.channels, about.duration)
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        length = (container.duration or 0) / av.time_base
        return _sound(stream.codec_context.name, stream.rate, stream.channels, length) | {
            "bit rate": float(stream.bit_rate or container.bit_rate or 0)
        }


def _sound(coding: str, rate: int, channels: int, seconds: float) -> dict[str, Value]:
    return {"coding": coding, "sampling rate": f"{rate} Hz", "channels": str(channels), "duration": float(seconds)}


def _video(path: Path) -> dict[str, Value]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return {
            "coding": stream.codec_context.name,
            "pixel format": stream.pix_fmt or "",
            "width": float(stream.width),
            "height": float(stream.height),
            "frame rate": f"{float(stream.average_rate or 0):.4g}",
            "duration": float((container.duration or 0) / av.time_base),
            "bit rate": float(stream.bit_rate or container.bit_rate or 0),
        }


class Leaks:
    """How many items have each value of each property, by split and class. Its size does not grow with the items."""

    def __init__(self) -> None:
        self.counts: dict[str, collections.Counter[tuple[Value, str, int]]] = collections.defaultdict(
            collections.Counter
        )

    def add(self, found: Mapping[str, Value], split: str, label: int) -> None:
        """Count an item with the properties `found`."""
        for name, value in found.items():
            self.counts[name][value, split, label] += 1

    def findings(self, classes: list[str]) -> list[Finding]:
        """A warning for each property that is associated with the class, or with the split.

        classes: the titles of the labels. By chance such a warning is given for at most ERROR of the data sets.
        """
        by_class = self._findings("tells the class", lambda split, label: label, dict(enumerate(classes)))
        return by_class + self._findings("differs by split", lambda split, label: split, {of: of for of in SPLITS})

    def _findings(self, kind: str, column: Callable[[str, int], int | str], titles: Mapping[Any, str]) -> list[Finding]:
        """A warning for each property that is associated with the `column` (see `_table`). titles: of the columns."""
        tables = {name: _table(counts, column) for name, counts in self.counts.items()}
        tables = {name: table for name, table in tables.items() if titles and min(table.counts.shape) > 1}
        found = []
        for name, table in tables.items():
            strength = cramers_v(table.counts)
            if strength >= STRENGTH and 2 * len(tables) * chance(table.counts) <= ERROR:  # 2: classes and splits
                text = f"{_shares(table, titles)}; Cramér's V {strength:.2f}"
                found.append(Finding(f"property {kind}", "warning", name, text))
        return found


class Table(NamedTuple):
    """Counts (values, columns) of a property, and what its rows and columns are."""

    counts: np.ndarray
    values: list[str]
    columns: list[int | str]


def _table(counts: Mapping[tuple[Value, str, int], int], column: Callable[[str, int], int | str]) -> Table:
    """The contingency table of a property, with at most VALUES rows. column: what a split and label are counted as."""
    columns = sorted({column(split, label) for _, split, label in counts}, key=str)
    place = {title: number for number, title in enumerate(columns)}
    words = any(isinstance(value, str) for value, _, _ in counts)
    every = sorted({value for value, _, _ in counts}, key=str if words else lambda value: float(value))
    row = {value: number for number, value in enumerate(every)}
    table = np.zeros((len(every), len(columns)), np.int64)
    for (value, split, label), count in counts.items():
        table[row[value], place[column(split, label)]] += count
    of_row = table.sum(1)
    if words:
        kept = set(np.argsort(-of_row, kind="stable")[: VALUES - 1].tolist())
        merged = [number if len(every) <= VALUES or number in kept else -1 for number in range(len(every))]
    elif len(every) > VALUES:
        merged = ((of_row.cumsum() - of_row / 2) / of_row.sum() * VALUES).astype(int).tolist()
    else:
        merged = list(range(len(every)))
    groups = sorted(set(merged))
    titles = []
    for group in groups:
        values = [value for value, to in zip(every, merged, strict=True) if to == group]
        titles.append("others" if group == -1 else _title(values))
    return Table(np.stack([table[np.array(merged) == group].sum(0) for group in groups]), titles, columns)


def _title(values: list[Value]) -> str:
    first, last = (value if isinstance(value, str) else f"{value:g}" for value in (values[0], values[-1]))
    return first if len(values) == 1 else f"{first} to {last}"


def _statistic(tables: np.ndarray) -> np.ndarray:
    """Chi-square of each table (..., rows, columns), none of whose margins is 0."""
    rows, columns = tables.sum(-1, keepdims=True), tables.sum(-2, keepdims=True)
    total = rows.sum(-2, keepdims=True)
    return (tables**2 / (rows * columns / total)).sum((-2, -1)) - total[..., 0, 0]


def cramers_v(table: np.ndarray) -> float:
    """Association in a table of counts (rows, columns), 0 to 1, corrected for bias (Bergsma 2013)."""
    total, (rows, columns) = table.sum(), table.shape
    if total < 3:
        return 0.0
    excess = max(0.0, float(_statistic(table)) / total - (rows - 1) * (columns - 1) / (total - 1))
    sides = [side - (side - 1) ** 2 / (total - 1) for side in (rows, columns)]
    return min(1.0, math.sqrt(excess / (min(sides) - 1))) if min(sides) > 1 else 0.0


def chance(table: np.ndarray) -> float:
    """How probable so strong an association is without any: by chi-square, or where counts are small by random tables.

    table: counts (rows, columns), with no row or column of zeros.
    """
    rows, columns = table.sum(1), table.sum(0)
    found = float(_statistic(table))
    if np.outer(rows, columns).min() >= 5 * table.sum():
        return float(scipy.stats.chi2.sf(found, (len(rows) - 1) * (len(columns) - 1)))
    tables = scipy.stats.random_table(rows, columns, seed=0)
    block = max(1, 2_000_000 // table.size)
    reached = 0
    for start in range(0, DRAWS, block):
        drawn = tables.rvs(size=min(block, DRAWS - start))
        reached += int((_statistic(drawn) >= found - 1e-9 * abs(found)).sum())
    return (reached + 1) / (DRAWS + 1)


def _shares(table: Table, titles: Mapping[Any, str]) -> str:
    """How well a property tells the columns apart, in words, with the commonest value of up to three of them."""
    told = []
    for number, column in enumerate(table.columns[:3]):
        counts = table.counts[:, number]
        best = int(counts.argmax())
        told.append(f"{titles[column]!r} is {table.values[best]} ({counts[best]} of {counts.sum()})")
    total = table.counts.sum()
    right, guessed = table.counts.max(1).sum() / total, table.counts.sum(0).max() / total
    rule = f"it alone is right of {right:.0%} of the items, the commonest answer of {guessed:.0%}"
    return f"{', '.join(told)}{', ...' * (len(table.columns) > 3)}; {rule}"
