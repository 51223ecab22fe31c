"""How fast a machine trains, evaluates and attacks, and for what share of the time its device waits for data."""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from lossybench import artifacts, codecs, models, tasks, training
from lossybench.attacks import surrogates
from lossybench.attacks.attack_settings import Aim
from lossybench.attacks.items import Items
from lossybench.attacks.methods import METHODS
from lossybench.attacks.preprocessor import CodecPreprocessor
from lossybench.attacks.search import AttackedModel, attacked_items
from lossybench.errors import LossyBenchError
from lossybench.models import runtime
from lossybench.stages.evaluate import Asked, level_outcomes

ROUNDS = 3  # the fastest round counts, since slower ones only show what else the machine does


def speed(
    model: Path,
    data: Path,
    train: list[Path],
    test: Path,
    settings: dict[str, Any] | None = None,
    codec: str | None = None,
    level: float = 0.0,
    threads: int = 1,
) -> str:
    """Time training, evaluation and attacks of one classifier, and how long its device waits.

    The architecture is trained anew with the model's settings. "waits" is the share of the time in which the device
    does not compute. The rest is what the same work takes on media that are ready in memory, or, of PGD, what its bare
    forward and backward passes take.

    Args:
        model: the folder that train made
        data: the table that fetch made
        train: the train parts to train on
        test: the test part to evaluate on
        settings: the attack settings, all of whose items are attacked
        codec: a codec through which to time the main attack, beside every attack on the bare model
        level: the level of that codec
        threads: how many CPU threads prepare media ahead, and how many items are in the codec at a time

    Raises:
        LossyBenchError: for a model that is not a classifier.
    """
    settings = settings or {}
    info = models.read_info(model)
    if tasks.kind_class(info["kind"]).existing != "classifier":
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
    if codec:
        lines += ["", _attacks(model, data, codec, level, settings, threads)]
    return "\n".join(lines)


class _Ready:
    """A feed that prepares all its items first and notes how long that took."""

    def __init__(self) -> None:
        self.spent = 0.0

    def __call__(self, work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        start = time.perf_counter()
        made = list(map(work, items))
        self.spent += time.perf_counter() - start
        return iter(made)


def _compare(work: Callable[[Callable[..., Iterator[Any]]], Any], feed: Callable[..., Iterator[Any]]) -> Any:
    """The seconds that `work` takes with a feed, and those that it takes when all items are ready."""
    took, computing = [], []
    for _ in range(ROUNDS):
        took.append(_seconds(work, feed)[0])
        ready = _Ready()
        computing.append(_seconds(work, ready)[0] - ready.spent)
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
    columns = ["id", "fold", "shape", "sampling_rate", *tasks.kind_class(info["kind"]).truth.names]
    truth = artifacts.Rows(data, columns, splits=["test"])
    meta, asked = (
        artifacts.read_meta(test),
        [Asked(network, getattr(network, "by_item", 0), tasks.get(info), info.get("fold", 0), lambda _: None)],
    )

    def level(feed: Callable[..., Iterator[Any]]) -> None:
        with torch.inference_mode(), tqdm(disable=True) as progress:
            level_outcomes(asked, device, feed, test, meta, truth, progress)

    own = functools.partial(runtime.in_order, device=device, threads=threads)
    level(own)
    return len(truth), *_compare(level, own)


def _pgd(model: Path, data: Path, settings: dict[str, Any], threads: int) -> tuple[int, float, float]:
    victim = AttackedModel.load(model, settings)
    items, attacked = attacked_items(data, victim), victim.behind()
    aim = Aim("pgd", victim.how.main.norm, victim.how.main.epsilon, "untargeted")
    calls = _craft(attacked, items, aim, victim)
    took = min(_seconds(_craft, attacked, items, aim, victim)[0] for _ in range(ROUNDS))
    passes = min(_seconds(_forward_backward, victim, items)[0] for _ in range(ROUNDS))
    return len(items.ids), took, min(calls * passes, took)


def _attacks(model: Path, data: Path, codec: str, level: float, settings: dict[str, Any], threads: int) -> str:
    """A table of every attack of the settings on the bare model (T0) and the main one through a codec (T2, T3).

    Of its columns, calls is how often the attack asked about an item; bound is the seconds of so many bare forward and
    backward passes, or forward passes of attacks without gradients; overhead is the attack's seconds over the bound;
    codec is the codec's share of the attack's seconds.
    """
    victim = AttackedModel.load(model, settings)
    how, items = victim.how, attacked_items(data, victim)
    coder = codecs.get(codec)
    lines = [f"{len(items.ids)} items, {victim.device}, codec threads {threads}"]
    lines.append(f"{'':24}{'items/s':>9}{'calls':>9}{'seconds':>9}{'bound':>9}{'overhead':>9}{'codec':>8}")
    common = coder, level, victim.info["medium"], items.sampling_rate, 3 * how.batch_size, None, threads

    def through(spent: list[float]) -> CodecPreprocessor:
        return _Timed(*common, spent=spent)

    def line(name: str, aim: Aim, behind: Callable[[list[float]], tuple[CodecPreprocessor, ...]]) -> str:
        passes = _forward if METHODS[aim.attack].access == "scores" else _forward_backward
        took, spent, bound, calls = np.inf, 0.0, np.inf, 0.0
        for _ in range(ROUNDS):
            inside: list[float] = []
            attacked = victim.behind(*behind(inside))
            bound = min(bound, _seconds(passes, victim, items)[0])
            lasted, calls = _seconds(_craft, attacked, items, aim, victim)
            if lasted < took:
                took, spent = lasted, sum(inside)
        share, bound = f"{spent / took:.0%}" if spent else "", calls * bound
        return f"{name:24}{len(items.ids) / took:9.1f}{calls:9.1f}{took:9.2f}{bound:9.2f}{took / bound:9.2f}{share:>8}"

    for aim in dict.fromkeys(aim for aim in how.aims if aim.goal == "untargeted"):
        method = METHODS[aim.attack]
        if aim.epsilon == how.attacks[aim.attack][0].epsilon and method.access != "nothing":
            lines.append(line(f"T0 {aim.attack}", aim, lambda _: ()))
    main = how.aims[0]._replace(goal="untargeted")
    lines.append(line(f"T2 {main.attack} {codec} {level:g}", main, lambda spent: (through(spent),)))
    surrogate = surrogates.of(through([]), items.integers, 0.01, 0)

    def shaped(spent: list[float]) -> tuple[CodecPreprocessor, ...]:
        plain = through(spent)
        plain.surrogate = surrogate
        return (plain,)

    return "\n".join([*lines, line(f"T3 {main.attack} {codec} {level:g}", main, shaped)])


class _Timed(CodecPreprocessor):
    """A codec that notes the seconds of every batch of round trips."""

    def __init__(self, *args: Any, spent: list[float]) -> None:
        super().__init__(*args)
        self.spent = spent

    def decode(self, items: np.ndarray) -> np.ndarray:
        start = time.perf_counter()
        decoded = super().decode(items)
        self.spent.append(time.perf_counter() - start)
        return decoded


def _seconds(work: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """The seconds that a call of `work` takes until the GPU, if there is one, has finished too, and what it returns."""
    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    wait()
    start = time.perf_counter()
    result = work(*arguments)
    wait()
    return time.perf_counter() - start, result


def _craft(attacked: Any, items: Items, aim: Aim, victim: AttackedModel) -> float:
    """Attack all items once, and return how often it asked about an item. attacked: what `victim.behind` returns."""
    calls = []
    for number, batch in enumerate(items.batches(victim.how.batch_size)):
        calls.append(attacked.craft(batch, aim, victim.how, (0, number), np.zeros(len(batch.ids), bool)).calls)
    return float(np.concatenate(calls).mean())


def _inputs(victim: AttackedModel, batch: Items) -> torch.Tensor:
    return torch.from_numpy(victim.grid.floats(batch.integers)).to(victim.device)


def _forward(victim: AttackedModel, items: Items) -> None:
    with torch.inference_mode():
        for batch in items.batches(victim.how.batch_size):
            victim.behind().network(_inputs(victim, batch))


def _forward_backward(victim: AttackedModel, items: Items) -> None:
    """Do once for all items what no step of an attack by gradients can do without."""
    for batch in items.batches(victim.how.batch_size):
        x = _inputs(victim, batch).requires_grad_()
        labels = torch.from_numpy(batch.truth).to(victim.device)
        functional.cross_entropy(victim.behind().network(x), labels).backward()
