"""What share of the compress stage is coding? CPU of encoding and decoding beside that of the whole stage.

Run `python tests/benchmarks/fidelity.py [quick]`; it takes some minutes, or one, and prints the table. The stage runs
in this process on a table of items, at six levels from one decoded original, once before it is timed, so that start-up
does not count. It takes turns with bare encoding and decoding of the same items, by the codec's own methods. All is
process time, in the mean over items and levels, and in the median over rounds. With fidelity off the stage does not
decode, so that its share may exceed 1.

The share of all libraries is that of encoder, decoders and measures of fidelity together.

A codec is marked where its share is below what is wanted: 0.6 with fidelity as it is by default, 0.9 without any.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from skimage import data

sys.path.insert(0, str(Path(__file__).parents[1]))

import media_tables

from lossybench import codecs, fidelity
from lossybench.artifacts import iter_rows
from lossybench.stages.compress import compress

WANTED, WANTED_OFF = 0.6, 0.9
LEVELS = {
    "jpeg": [95, 75, 50, 30, 15, 5],
    "webp": [95, 75, 50, 30, 15, 5],
    "jpeg2000": [5, 10, 20, 40, 80, 160],
    "h264": [18, 24, 30, 36, 42, 48],
    "hevc": [18, 24, 30, 36, 42, 48],
    "mp3": [64, 56, 48, 32, 16, 8],
    "opus": [64, 48, 32, 24, 12, 6],
}
PICTURES, SOUNDS = ("jpeg", "webp", "jpeg2000", "h264", "hevc"), ("mp3", "opus")
# Of each kind: the shape, the sampling rate, and how many items the fastest codecs take, and then all others. A table
# costs some milliseconds however few items it has, which large studies do not see.
KINDS: dict[str, tuple[tuple[int, ...], float, int, int]] = {
    "picture 48x48": ((48, 48, 3), 0, 600, 200),
    "picture 48x48, of 10,000": ((48, 48, 3), 0, 10_000, 0),
    "picture 512x512": ((512, 512, 3), 0, 64, 4),
    "picture 1080p": ((1080, 1920, 3), 0, 12, 1),
    "clip 64x64x8": ((8, 64, 64, 3), 25, 200, 40),
    "clip 320x240x50": ((50, 240, 320, 3), 25, 4, 1),
    "sound 1 s": ((16000,), 16000, 20, 20),
    "sound 60 s": ((960_000,), 16000, 1, 1),
}
FASTEST, QUICK_KINDS = (
    ("jpeg", "mp3"),
    ("picture 48x48", "picture 512x512", "picture 1080p", "clip 64x64x8", "sound 1 s"),
)
QUICK_CODECS = ("jpeg", "webp", "h264", "mp3")


def item(shape: tuple[int, ...], number: int) -> np.ndarray:
    """An item of that shape: a photograph, a view that moves over one, or a sound like speech."""
    if len(shape) == 1:
        random, seconds = np.random.default_rng(number), np.arange(shape[0]) / 16000
        voiced = sum(np.sin(2 * np.pi * k * (120 + number) * seconds) / k for k in range(1, 20))
        sound = voiced * np.sin(2 * np.pi * 2 * seconds).clip(0) * 4000 + random.normal(0, 30, shape)
        return sound.round().clip(-32768, 32767).astype(np.int16)
    photos = [getattr(data, name)() for name in ("astronaut", "coffee", "chelsea", "rocket")]
    photo = photos[number % len(photos)]
    height, width = shape[-3:-1]
    if len(shape) == 3:
        return cv2.resize(np.roll(photo, 7 * number, axis=1), (width, height), interpolation=cv2.INTER_AREA)
    wide = cv2.resize(photo, (2 * width, 2 * height), interpolation=cv2.INTER_AREA)
    return np.stack([wide[i : i + height, 2 * i : 2 * i + width] for i in range(shape[0])])


def cpu(work: Callable[[], object]) -> float:
    """The process time that `work` takes, in seconds."""
    start = time.process_time()
    work()
    return time.process_time() - start


def share(table: Path, codec: str, count: int, rounds: int) -> dict[str, Any]:
    """One row: milliseconds of CPU for an item and level. table: of `count` items of the split test."""
    levels = LEVELS[codec]
    coder, lossless = codecs.get(codec), codecs.get("original")
    rows = list(iter_rows(table))
    rates = [row["sampling_rate"] for row in rows]
    media = [lossless.decode(row["media"], tuple(row["shape"]), row["sampling_rate"]) for row in rows]
    medium = {1: "audio", 3: "image", 4: "video"}[media[0].ndim]
    step = fidelity.item_step(count, "sampled")
    pairs: list[tuple[np.ndarray, np.ndarray]] = []

    def coding() -> None:
        for one, rate in zip(media, rates, strict=True):
            for level in levels:
                decoded = coder.decode(coder.encode(one, level, rate).payload, one.shape, rate)
                if len(pairs) < 6:
                    pairs.append((one, decoded))

    def measuring() -> None:
        for one, decoded in pairs:
            fidelity.measure(one, decoded, medium, rates[0], "sampled")  # type: ignore[arg-type]

    def reading() -> None:
        for row in rows:
            lossless.decode(row["media"], tuple(row["shape"]), row["sampling_rate"])

    def stage(how: str) -> None:
        out = [table.with_name(f"{level}.parquet") for level in levels]
        compress(table, codec, levels, out, fidelity=how)  # type: ignore[arg-type]

    works = [coding, measuring, reading, lambda: stage("sampled"), lambda: stage("none")]
    per = [count * len(levels), 1, count * len(levels), count * len(levels), count * len(levels)]
    if count < 1000:
        for work in works:
            work()
    taken = [[cpu(work) for work in works] for _ in range(rounds)]
    per[1] = len(pairs) * step
    coded, measured, read, whole, off = (
        1000 * statistics.median(times) / n for times, n in zip(zip(*taken, strict=True), per, strict=True)
    )
    return {
        "codec": codec,
        "encode and decode": coded,
        "fidelity": measured,
        "original": read,
        "stage": whole,
        "share": coded / whole,
        "share without fidelity": coded / off,
        "share of all libraries": (coded + measured + read) / whole,
    }


def rows(quick: bool = False) -> list[dict[str, Any]]:
    """The table: a row for each kind of item and codec. quick: fewer, with less repetition."""
    found = []
    for kind, (shape, rate, *counts) in KINDS.items():
        for codec in PICTURES if len(shape) > 1 else SOUNDS:
            count = counts[codec not in FASTEST]
            if count and not (quick and (kind not in QUICK_KINDS or codec not in QUICK_CODECS)):
                with tempfile.TemporaryDirectory() as folder:
                    table = written(Path(folder, "data.parquet"), shape, rate, count)
                    found.append({"item": kind} | share(table, codec, count, 1 if quick or count > 1000 else 3))
    return found


def written(path: Path, shape: tuple[int, ...], rate: float, count: int) -> Path:
    """A data table of so many items of a shape, of which at most 24 differ."""
    made = [media_tables.data_row(str(i), "test", item(shape, i), 0, (), rate) for i in range(min(count, 24))]
    some = [{**made[i % len(made)], "id": str(i)} for i in range(count)]
    medium = {1: "audio", 3: "image", 4: "video"}[len(shape)]
    return media_tables.write_data(path, some, medium, "classification", ["a", "b"])


def main() -> int:
    """Prints the table; 1 when a share is below what is wanted."""
    numbers = ("encode and decode", "fidelity", "original", "stage")
    print(
        f"{'':26}{'':10}"
        + "".join(f"{name:>19}" for name in numbers)
        + "   share   without  libraries  (ms an item and level)"
    )
    failed = 0
    for row in rows("quick" in sys.argv[1:]):
        low = row["share"] < WANTED, row["share without fidelity"] < WANTED_OFF
        shares = (
            f"{row['share']:8.2f}{'*' if low[0] else ' '}{row['share without fidelity']:8.2f}{'*' if low[1] else ' '}"
            f"{row['share of all libraries']:10.2f}"
        )
        print(f"{row['item']:26}{row['codec']:10}" + "".join(f"{row[name]:19.3f}" for name in numbers) + shares)
        failed += any(low)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
