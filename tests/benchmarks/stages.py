"""What does each stage take beside the bare work in it, and how does that grow with items, levels and models?

Run `python tests/benchmarks/stages.py` (`--quick` for a minute's version); on two cores it takes some ten minutes. It
prints Markdown tables. All seconds are the processor's, without those in which Python and its libraries start: each
stage runs in this process, once beforehand on a few items. What is compared is timed in turns.

* compress: the share of encoding and decoding (of `Codec.encode` and `Codec.decode` alone, on the same items and
  levels) in the stage, with fidelity (part test) and without (part train, which needs no decoding).
* evaluate: one model and ten, beside the bare passes of the same models over the same batches in torch.
* train: beside a bare loop in torch that takes as many steps on batches that are ready in memory.
* scaling: seconds for each item, level and model, and the exponent b of seconds ~ count^b that fits best.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn

from lossybench import artifacts, codecs, models, tasks
from lossybench.codecs.codec import Medium
from lossybench.models import runtime
from lossybench.models.inputs import Input
from lossybench.stages.compress import compress
from lossybench.stages.evaluate import BATCH, evaluate
from lossybench.tasks.media import to_float
from lossybench.training import prepared

sys.path.insert(0, str(Path(__file__).parents[1]))
import media_tables

ROUNDS = 3
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "image": {"48x48": (48, 48, 3), "512x512": (512, 512, 3), "1080p": (1080, 1920, 3)},
    "video": {"8 of 64x64": (8, 64, 64, 3), "25 of 320x240": (25, 240, 320, 3)},
    "audio": {"1 s": (16000,), "60 s": (960000,)},
}
COUNTS = {"48x48": 300, "512x512": 12, "1080p": 3, "8 of 64x64": 40, "25 of 320x240": 4, "1 s": 60, "60 s": 2}
LEVELS: dict[str, list[float]] = {
    "jpeg": [90, 50, 10],
    "webp": [90, 50, 10],
    "jpeg2000": [5, 20, 80],
    "h264": [20, 32, 44],
    "hevc": [20, 32, 44],
    "mp3": [64, 32, 16],
    "opus": [64, 32, 12],
}
OF: dict[Medium, tuple[str, ...]] = {
    "image": ("jpeg", "webp", "jpeg2000", "h264", "hevc"),
    "video": ("h264", "hevc", "jpeg"),
    "audio": ("mp3", "opus"),
}
RATE = {"image": 0.0, "video": 25.0, "audio": 16000.0}


def seconds(work: Callable[[], Any]) -> float:
    """The processor's seconds that `work` takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def in_turns(*works: Callable[[], Any]) -> list[float]:
    """The median seconds of each, which take turns, so that whatever else the machine does meets all alike."""
    return [median(found) for found in zip(*([seconds(work) for work in works] for _ in range(ROUNDS)), strict=True)]


def natural(shape: tuple[int, ...], medium: Medium, random: np.random.Generator) -> np.ndarray:
    """An item whose spectrum falls as that of photographs and of speech does, 1/f, with a little noise."""
    size = shape if medium == "audio" else shape[-3:-1]
    white = random.standard_normal(size if medium == "audio" else (*size, 3))
    axes = (0,) if medium == "audio" else (0, 1)
    spectrum = np.fft.fftn(white, axes=axes)
    frequency = np.sqrt(sum(np.square(grid) for grid in np.meshgrid(*map(np.fft.fftfreq, size), indexing="ij")))
    frequency = np.maximum(frequency, 1 / max(size))
    values = np.fft.ifftn(spectrum / (frequency if medium == "audio" else frequency[..., None]), axes=axes).real
    values /= values.std()
    if medium == "audio":
        return np.clip(values * 3000, -32768, 32767).astype(np.int16)
    picture = np.clip(128 + 45 * values, 0, 255).astype(np.uint8)
    if medium == "image":
        return picture
    return np.stack([np.roll(picture, 2 * frame, axis=1) for frame in range(shape[0])])


def table_of(folder: Path, medium: Medium, shape: tuple[int, ...], count: int, splits: Iterable[str]) -> Path:
    """A data table of `count` items in each of the splits."""
    random = np.random.default_rng(0)
    few = [natural(shape, medium, random) for _ in range(min(count, 8))]
    rows = [
        media_tables.data_row(f"{split}-{number}", split, few[number % len(few)], number % 2, (), RATE[medium])
        for split in splits
        for number in range(count)
    ]
    path = folder / f"{medium}-{'x'.join(map(str, shape))}-{count}.parquet"
    return media_tables.write_data(path, rows, medium, "classification", media_tables.CLASSES)


def compress_rows(folder: Path, quick: bool) -> list[dict[str, Any]]:
    """A row for each codec and size."""
    rows = []
    for medium, sizes in SHAPES.items():
        for size, shape in sizes.items():
            count = max(1, COUNTS[size] // (10 if quick else 1))
            data = table_of(folder, medium, shape, count, ("train", "test"))
            original, items = codecs.get("original"), list(artifacts.iter_rows(data, splits=["test"]))
            media = [original.decode(row["media"], shape, RATE[medium]) for row in items]
            for name in OF[medium]:
                codec, levels = codecs.get(name), LEVELS[name]
                out = [folder / f"{level}.parquet" for level in levels]

                def coding(decoding: bool, codec=codec, media=media, levels=levels, rate=RATE[medium]) -> None:
                    for one in media:
                        for level in levels:
                            payload = codec.encode(one, level, rate).payload
                            if decoding:
                                codec.decode(payload, one.shape, rate)

                def stage(part, data=data, name=name, levels=levels, out=out) -> None:
                    compress(data, name, levels, out, part)

                stage("train")
                both, whole, encoded, bare = in_turns(
                    lambda: coding(True), lambda: stage("test"), lambda: coding(False), lambda: stage("train")
                )
                each = 1000 / (count * len(levels))
                rows.append(
                    {
                        "codec": name,
                        "item": size,
                        "encode + decode, ms": both * each,
                        "stage with fidelity, ms": whole * each,
                        "share": both / whole,
                        "encode, ms": encoded * each,
                        "stage without, ms": bare * each,
                        "share ": encoded / bare,
                    }
                )
                show(rows[-1:], len(rows) == 1)
    return rows


def model(folder: Path, seed: int, side: int = 48) -> Path:
    """A classifier of pictures with random weights."""
    torch.manual_seed(seed)
    network = models.build("resnet", "image", "classification", 2, Input((side, side)))
    info = {
        **{"task": "toy", "arch": "resnet", "regime": "original", "seed": seed, "medium": "image"},
        **{"kind": "classification", "classes": media_tables.CLASSES, "settings": {"label_smoothing": 0.0}},
        "input": {"shape": [side, side], "sampling_rate": 0.0},
    }
    models.save(network.state_dict(), info, [], folder / f"model{seed}")
    return folder / f"model{seed}"


class Evaluations:
    """Evaluations of models on JPEG pictures of 48x48 pixels."""

    def __init__(self, folder: Path, items: int) -> None:
        self.folder, self.items = folder, items
        self.data = table_of(folder, "image", (48, 48, 3), items, ["test"])
        self.tests = [folder / f"test{level}.parquet" for level in range(8)]
        compress(self.data, "jpeg", [95, 90, 75, 50, 40, 25, 10, 5], self.tests)

    def run(self, asked: int, levels: int) -> None:
        """Ask the first models about the first levels."""
        out = [self.folder / f"out{seed}.parquet" for seed in range(asked)]
        evaluate(
            [self.folder / f"model{seed}" for seed in range(asked)],
            self.data,
            self.tests[:levels],
            out,
            device="cpu",
            anew=True,
        )

    def passes(self, asked: int, levels: int) -> None:
        """The passes of the same models over batches of as many items."""
        networks = [models.load(self.folder / f"model{seed}") for seed in range(asked)]
        batch = torch.from_numpy(np.full((BATCH, 48, 48, 3), 100, np.uint8))
        with torch.inference_mode():
            for network, info in networks:
                task = tasks.get(info)
                for _ in range(-(-self.items // BATCH) * levels):
                    task.predict(network, to_float(batch, "image", torch.device("cpu")))


def evaluate_rows(folder: Path, quick: bool) -> list[dict[str, Any]]:
    """One model and ten: what evaluation takes beyond the passes."""
    runtime.start("cpu")
    for seed in range(10):
        model(folder, seed)
    case = Evaluations(folder, 100 if quick else 1000)
    case.run(1, 1)
    one, ten, passes = in_turns(lambda: case.run(1, 4), lambda: case.run(10, 4), lambda: case.passes(1, 4))
    rows = []
    for count, took in ((1, one), (10, ten)):
        beyond = took - count * passes
        rows.append(
            {
                "models": count,
                "stage, s": took,
                "passes, s": count * passes,
                "beyond them, s": beyond,
                "to one model's": beyond / (one - passes),
            }
        )
    show(rows, True)
    return rows


def train_rows(folder: Path, quick: bool) -> list[dict[str, Any]]:
    """An epoch of training beside as many bare steps."""
    data = table_of(folder, "image", (48, 48, 3), 64 if quick else 640, ("train", "val"))
    part = folder / "train.parquet"
    compress(data, "original", [0.0], [part], "train")
    about = {"task": "toy", "regime": "original"}
    with prepared(data, [part], about, "resnet", 0, {"epochs": 1000}, folder / "training") as run:
        network = models.build("resnet", "image", "classification", 2, run.task.input).train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
        size = len(run.examples.train.targets) // run.steps
        batch, labels = torch.rand(size, 3, 48, 48), torch.zeros(size, dtype=torch.long)
        batch = batch.contiguous(memory_format=torch.channels_last)

        def epoch() -> None:
            run.begin_epoch()
            run.epoch(1)

        def bare() -> None:
            for _ in range(run.steps):
                loss = nn.functional.cross_entropy(network(batch), labels, label_smoothing=0.1)
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), 5.0)
                optimizer.step()

        epoch(), bare()
        took, least = in_turns(epoch, bare)
    rows = [{"steps": run.steps, "stage, s": took, "bare loop, s": least, "ratio": took / least}]
    show(rows, True)
    return rows


def scaling_rows(folder: Path, quick: bool) -> list[dict[str, Any]]:
    """Milliseconds for each of so many items, levels or models, and the exponent of growth."""
    rows = []
    counts = (20, 40, 80) if quick else (250, 1000, 4000)
    tables = [table_of(folder, "image", (48, 48, 3), count, ["test"]) for count in counts]
    few = (1, 2, 4, 8)
    case = Evaluations(folder, counts[0])
    levels: list[float] = [95, 90, 75, 50, 40, 25, 10, 5]

    def coded(data: Path, count: int) -> Callable[[], None]:
        return lambda: compress(data, "jpeg", levels[:count], case.tests[:count])

    found: list[tuple[str, tuple[int, ...], list[Callable[[], Any]]]] = [
        ("compress by items", counts, [coded(data, 2) for data in tables]),
        ("compress by levels", few, [coded(tables[0], count) for count in few]),
    ]
    cases = [Evaluations(folder / str(count), count) for count in counts if not (folder / str(count)).mkdir()]
    for one in cases:
        for seed in range(8):
            model(one.folder, seed)
    found += [
        ("evaluate by items", counts, [lambda one=one: one.run(1, 2) for one in cases]),
        ("evaluate by levels", few, [lambda count=count: cases[0].run(1, count) for count in few]),
        ("evaluate by models", few, [lambda count=count: cases[0].run(count, 2) for count in few]),
    ]
    for name, grown, works in found:
        took = in_turns(*works)
        exponent = np.polyfit(np.log(grown), np.log(took), 1)[0]
        each = [f"{count}: {1000 * spent / count:.2f}" for count, spent in zip(grown, took, strict=True)]
        rows.append({"stage": name, "ms for each, by count": ", ".join(each), "exponent": exponent})
        show(rows[-1:], len(rows) == 1)
    return rows


def show(rows: list[dict[str, Any]], first: bool) -> None:
    """Print rows of a Markdown table, with its head before the first."""
    if first:
        print("\n| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows:
        print(
            "| " + " | ".join(f"{x:.2f}" if isinstance(x, float) else str(x) for x in row.values()) + " |", flush=True
        )


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few items: a minute")
    parser.add_argument("--only", choices=("compress", "evaluate", "train", "scaling"))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    parts = {"compress": compress_rows, "evaluate": evaluate_rows, "train": train_rows, "scaling": scaling_rows}
    for name, rows in parts.items():
        if chosen.only in (None, name):
            print(f"\n## {name}")
            with tempfile.TemporaryDirectory() as folder:
                rows(Path(folder), chosen.quick)


if __name__ == "__main__":
    main()
