"""How fast one machine trains, evaluates and attacks, and for what share of the time its device waits for data."""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from lossybench import artifacts, models, tasks, training
from lossybench.attacks.run import Model, attacked_items
from lossybench.attacks.settings import Aim
from lossybench.attacks.speed import craft, forward_backward, seconds
from lossybench.errors import LossyBenchError
from lossybench.evaluation import level_outcomes
from lossybench.models import runtime

ROUNDS = 3  # of which the fastest counts: others only measure what else the machine does


def speed(model: Path, data: Path, train: list[Path], test: Path, settings: dict[str, Any], threads: int) -> str:
    """A table: items a second in training, in evaluation and in a PGD attack on the bare model.

    model: folder of a classifier, whose architecture is trained anew with its settings. data: artifacts.DATA; train:
    compressed train parts; test: a compressed test part. settings: see `AttackSettings`; threads: of the CPU.
    waits: share of the time in which the device does not compute: the same work on media that are ready in memory
    (PGD: its bare forward and backward passes) takes the rest. Raises LossyBenchError for a detector.
    """
    info = models.read_info(model)
    if info["kind"] != "classification":
        raise LossyBenchError(f"{model}: speed is measured on classifiers; this one does {info['kind']}")
    rows = {
        "training": _training(info, data, train, threads),
        "evaluation": _evaluation(model, info, data, test, threads),
        "PGD": _pgd(model, data, settings, threads),
    }
    device = runtime.environment(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    lines = [f"{key}: {value}" for key, value in {**device, "threads": threads}.items()]
    lines.append(f"{'':12}{'items/s':>9}{'waits':>8}")
    for name, (items, took, computing) in rows.items():
        lines.append(f"{name:12}{items / took:9.1f}{max(0.0, 1 - computing / took):8.0%}")
    return "\n".join(lines)


class _Ready:
    """A feed that prepares all its items first, and notes how long that took."""

    def __init__(self) -> None:
        self.spent = 0.0

    def __call__(self, work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        start = time.perf_counter()
        made = list(map(work, items))
        self.spent += time.perf_counter() - start
        return iter(made)


def _compare(work: Callable[[Callable[..., Iterator[Any]]], Any], feed: Callable[..., Iterator[Any]]) -> Any:
    """Seconds that `work` takes with a feed, and what it takes when all items are ready."""
    took, computing = [], []
    for _ in range(ROUNDS):
        took.append(seconds(lambda: work(feed)))
        ready = _Ready()
        computing.append(seconds(lambda ready=ready: work(ready)) - ready.spent)  # type: ignore[misc]
    return min(took), min(computing)


def _training(info: dict[str, Any], data: Path, train: list[Path], threads: int) -> tuple[int, float, float]:
    with tempfile.TemporaryDirectory() as out:
        prepared = training.prepared(data, train, info, info["arch"], 0, info["settings"], Path(out), threads)
        with prepared as run:
            own, schedule = run.feed, run.schedule.state_dict()

            def epoch(feed: Callable[..., Iterator[Any]]) -> None:
                run.feed = feed
                run.schedule.load_state_dict(schedule)  # it can be gone through only once
                run.begin_epoch()
                run.epoch(1)

            epoch(own)
            return len(run.examples.train.targets), *_compare(epoch, own)


def _evaluation(model: Path, info: dict[str, Any], data: Path, test: Path, threads: int) -> tuple[int, float, float]:
    device = runtime.start("auto", runtime.deterministic(info))
    network = models.load(model)[0].to(device)
    columns = ["id", "shape", "rate", "label", "boxes"]
    truth = {row["id"]: row for row in artifacts.iter_rows(data, columns, splits=["test"])}
    meta, task = artifacts.read_meta(test), tasks.get(info)

    def level(feed: Callable[..., Iterator[Any]]) -> None:
        with torch.inference_mode(), tqdm(disable=True) as progress:
            for _ in level_outcomes(task, network, device, feed, test, meta, truth, progress):
                pass

    own = functools.partial(runtime.in_order, device=device, threads=threads)
    level(own)
    return len(truth), *_compare(level, own)


def _pgd(model: Path, data: Path, settings: dict[str, Any], threads: int) -> tuple[int, float, float]:
    victim = Model.load(model, settings, threads)
    items, attacked = attacked_items(data, victim), victim.behind()
    aim = Aim("pgd", victim.how.main.norm, victim.how.main.epsilon, "untargeted")
    craft(attacked, items, aim, victim)
    took = min(seconds(lambda: craft(attacked, items, aim, victim)) for _ in range(ROUNDS))
    passes = min(seconds(lambda: forward_backward(victim, items)) for _ in range(ROUNDS))
    return len(items.ids), took, victim.how.steps * passes
