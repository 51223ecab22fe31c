"""What do training and evaluation take beside the bare work in them, and how do stages grow with their counts?

Run `python tests/benchmarks/stages.py` (`--quick` for a minute's version); it takes some minutes. It prints Markdown
tables. All seconds are the processor's, without those in which Python and its libraries start: each stage runs
in this process, once beforehand. What is compared is timed in turns, and the median of the rounds counts.

* evaluate: one model and ten, and what they take beyond their own passes, which are timed within the same run: bare
  ones beside it differ by more from run to run than all the rest takes. Pictures of 48x48 pixels, and of 512x512, which
  the models see at 48x48.
* train: an epoch beside a bare loop in torch that takes as many steps on batches that are ready in memory.
* scaling: milliseconds for each item, level and model, and the exponent b of seconds ~ count^b that fits best.

What share of compress is coding says `fidelity.py`, and what codecs take beside bare libraries `codecs.py`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import nn

from lossybench import models
from lossybench.models import runtime
from lossybench.models.inputs import Input
from lossybench.stages.compress import compress
from lossybench.stages.evaluate import evaluate
from lossybench.tasks.classification import Classification
from lossybench.training import prepared

sys.path.insert(0, str(Path(__file__).parents[1]))
import media_tables
from fidelity import item

ROUNDS = 3
SIDE = 48  # pixels of a side that the models see
LEVELS: list[float] = [95, 90, 75, 50, 40, 25, 10, 5]


def in_turns(*works: Callable[[], Any]) -> list[float]:
    """The median of the processor's seconds of each, which take turns: what else the machine does meets all alike."""
    found: list[list[float]] = [[] for _ in works]
    for _ in range(ROUNDS):
        for work, spent in zip(works, found, strict=True):
            start = time.process_time()
            work()
            spent.append(time.process_time() - start)
    return [median(spent) for spent in found]


def table_of(path: Path, side: int, count: int, *splits: str) -> Path:
    """A data table of `count` photographs in each of the splits, of which at most 24 differ."""
    made = [
        media_tables.data_row("", "", item((side, side, 3), number), number % 2) for number in range(min(count, 24))
    ]
    rows = [
        made[number % len(made)] | {"id": f"{split}-{number}", "split": split}
        for split in splits
        for number in range(count)
    ]
    return media_tables.write_data(path, rows, "image", "classification", media_tables.CLASSES)


def model(folder: Path, seed: int) -> Path:
    """A classifier of pictures with random weights."""
    torch.manual_seed(seed)
    network = models.build("resnet", "image", "classification", 2, Input((SIDE, SIDE)))
    info = {
        **{"task": "toy", "arch": "resnet", "regime": "original", "seed": seed, "medium": "image"},
        **{"kind": "classification", "classes": media_tables.CLASSES, "settings": {"label_smoothing": 0.0}},
        "input": {"shape": [SIDE, SIDE], "sampling_rate": 0.0},
    }
    models.save(network.state_dict(), info, [], folder / f"model{seed}")
    return folder / f"model{seed}"


class Evaluations:
    """Evaluations of ten models on JPEG pictures, in a folder of their own."""

    def __init__(self, folder: Path, side: int, items: int) -> None:
        self.folder, self.items = folder / f"{side}-{items}", items
        self.folder.mkdir()
        self.data = table_of(self.folder / "data.parquet", side, items, "test")
        self.tests = [self.folder / f"test{level}.parquet" for level in LEVELS]
        self.models = [model(self.folder, seed) for seed in range(10)]
        self.compress(len(LEVELS))
        self.run(1, 1)

    def compress(self, levels: int) -> None:
        """Compress at the first levels."""
        compress(self.data, "jpeg", LEVELS[:levels], self.tests[:levels])

    def run(self, asked: int, levels: int) -> None:
        """Ask the first models about the first levels."""
        out = [self.folder / f"out{seed}.parquet" for seed in range(asked)]
        evaluate(self.models[:asked], self.data, self.tests[:levels], out, device="cpu", anew=True)

    def beyond(self, asked: int, levels: int) -> tuple[float, float]:
        """The seconds of `run`, and those of them in which no model predicts."""
        spent, predict = 0.0, Classification.predict

        def timed(*arguments: Any) -> Any:
            nonlocal spent
            start = time.process_time()
            found = predict(*arguments)
            spent += time.process_time() - start
            return found

        with mock.patch.object(Classification, "predict", timed):
            start = time.process_time()
            self.run(asked, levels)
            took = time.process_time() - start
        return took, took - spent


def evaluate_rows(folder: Path, quick: bool) -> list[dict[str, Any]]:
    """One model and ten: what evaluation takes beyond the passes."""
    rows: list[dict[str, Any]] = []
    for side, items in ((SIDE, 96 if quick else 960), (512, 32 if quick else 160)):
        case = Evaluations(folder, side, items)
        rounds = [[case.beyond(count, 4) for count in (1, 10)] for _ in range(ROUNDS)]
        for place, count in enumerate((1, 10)):
            took, beyond = (median(each[place][which] for each in rounds) for which in (0, 1))
            rows.append({"pictures": f"{side}x{side}", "models": count, "stage, s": took, "beyond passes, s": beyond})
            rows[-1] |= {"to one model's": median(each[place][1] / each[0][1] for each in rounds)}
    return rows


def train_rows(folder: Path, quick: bool) -> list[dict[str, Any]]:
    """An epoch of training beside as many bare steps."""
    data = table_of(folder / "data.parquet", SIDE, 64 if quick else 640, "train", "val")
    part = folder / "train.parquet"
    compress(data, "original", [0.0], [part], "train")
    about = {"task": "toy", "regime": "original"}
    with prepared(data, [part], about, "resnet", 0, {"epochs": 1000}, folder / "training") as run:
        network = models.build("resnet", "image", "classification", 2, run.task.input).train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
        size = len(run.examples.train.targets) // run.steps
        batch, labels = torch.rand(size, 3, SIDE, SIDE), torch.zeros(size, dtype=torch.long)
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

        epoch()
        bare()
        took, least = in_turns(epoch, bare)
    return [{"steps": run.steps, "epoch, s": took, "bare loop, s": least, "ratio": took / least}]


def scaling_rows(folder: Path, quick: bool) -> list[dict[str, Any]]:
    """Milliseconds for each of so many items, levels or models, and the exponent of growth."""
    counts, few = (32, 64, 128) if quick else (256, 1024, 4096), (1, 2, 4, 8)
    cases = [Evaluations(folder, SIDE, count) for count in counts]
    grown: dict[str, tuple[tuple[int, ...], list[Callable[[], None]]]] = {
        "compress by items": (counts, [partial(case.compress, 2) for case in cases]),
        "compress by levels": (few, [partial(cases[0].compress, count) for count in few]),
        "evaluate by items": (counts, [partial(case.run, 1, 2) for case in cases]),
        "evaluate by levels": (few, [partial(cases[0].run, 1, count) for count in few]),
        "evaluate by models": (few, [partial(cases[0].run, count, 2) for count in few]),
    }
    rows = []
    for name, (by, works) in grown.items():
        took = in_turns(*works)
        each = [f"{count}: {1000 * spent / count:.2f}" for count, spent in zip(by, took, strict=True)]
        exponent = np.polyfit(np.log(by), np.log(took), 1)[0]
        rows.append({"stage": name, "ms for each, by count": ", ".join(each), "exponent": float(exponent)})
    return rows


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few items: a minute")
    quick = parser.parse_args().quick
    runtime.start("cpu")
    runtime.hold_memory()  # as evaluation does, so that what it is compared with has it from the start
    for rows in (evaluate_rows, train_rows, scaling_rows):
        with tempfile.TemporaryDirectory() as folder:
            found = rows(Path(folder), quick)
        print("\n| " + " | ".join(found[0]) + " |\n|" + "---|" * len(found[0]))
        for row in found:
            told = [f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values()]
            print(f"| {' | '.join(told)} |", flush=True)


if __name__ == "__main__":
    main()
