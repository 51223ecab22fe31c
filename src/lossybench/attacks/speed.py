"""How fast attacks are: items a second beside what their passes through the model alone would take."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from lossybench import codecs
from lossybench.attacks import surrogates
from lossybench.attacks.methods import METHODS
from lossybench.attacks.preprocessor import CodecPreprocessor
from lossybench.attacks.run import Items, Model, attacked_items
from lossybench.attacks.settings import Aim
from lossybench.errors import LossyBenchError

ROUNDS = 3  # of which the fastest counts: others only measure what else the machine does


def speed(model: Path, data: Path, codec: str, level: float, settings: dict[str, Any], threads: int) -> str:
    """A table: every attack of the settings on the bare model (T0) and the main one through a codec (T2, T3).

    model: folder of a classifier. data: artifacts.DATA. settings: see `AttackSettings`; `items` are attacked at once.
    bound: seconds of the attack's iterations, each a bare forward and backward pass (of attacks without gradients: a
    forward pass). overhead: the attack's seconds over that. codec: its share of the attack's seconds.
    """
    victim = Model.load(model, settings, threads)
    if victim.info["kind"] != "classification":
        raise LossyBenchError(f"{model}: speed is measured on classifiers; this one does {victim.info['kind']}")
    how, items = victim.how, attacked_items(data, victim)
    coder = codecs.get(codec)
    lines = [f"{len(items.ids)} items, {victim.device}, codec threads {threads}", f"{'':24}{'items/s':>9}"]
    lines[1] += f"{'seconds':>9}{'bound':>9}{'overhead':>9}{'codec':>8}"

    def through(spent: list[float]) -> CodecPreprocessor:
        return _Timed(coder, level, victim.info["medium"], items.rate, 3 * how.batch_size, None, threads, spent=spent)

    def line(name: str, aim: Aim, behind: Callable[[list[float]], tuple[CodecPreprocessor, ...]], steps: int) -> str:
        passes = _forward if METHODS[aim.attack].access == "scores" else forward_backward
        took, spent, bound = np.inf, 0.0, np.inf
        for _ in range(ROUNDS):
            inside: list[float] = []
            attacked = victim.behind(*behind(inside))
            inside.clear()
            bound = min(bound, steps * seconds(lambda: passes(victim, items)))
            lasted = seconds(lambda attacked=attacked: craft(attacked, items, aim, victim))  # type: ignore[misc]
            if lasted < took:
                took, spent = lasted, sum(inside)
        return f"{name:24}{len(items.ids) / took:9.1f}{took:9.2f}{bound:9.2f}{took / bound:9.2f}" + (
            f"{spent / took:8.0%}" if spent else f"{'':>8}"
        )

    for aim in dict.fromkeys(aim for aim in how.aims if aim.goal == "untargeted"):
        method = METHODS[aim.attack]
        if aim.epsilon == how.attacks[aim.attack][0].epsilon and method.access != "nothing":
            steps = {"scores": how.queries, "gradients": method.effort * how.steps}[method.access]
            lines.append(line(f"T0 {aim.attack}", aim, lambda _: (), 1 if aim.attack == "fgsm" else steps))
    main = how.aims[0]._replace(goal="untargeted")
    lines.append(line(f"T2 {main.attack} {codec} {level:g}", main, lambda spent: (through(spent),), how.adaptive_steps))

    def shaped(spent: list[float]) -> tuple[CodecPreprocessor, ...]:
        plain = through(spent)
        plain.surrogate = surrogates.of(plain, items.integers, 0.01, 0)
        return (plain,)

    effort = shaped([])[0].surrogate
    assert effort
    steps = how.adaptive_steps * effort.effort
    return "\n".join([*lines, line(f"T3 {main.attack} {codec} {level:g}", main, shaped, steps)])


class _Timed(CodecPreprocessor):
    """Notes the seconds of every batch of round trips."""

    def __init__(self, *args: Any, spent: list[float]) -> None:
        super().__init__(*args)
        self.spent = spent

    def decode(self, items: np.ndarray) -> np.ndarray:
        start = time.perf_counter()
        decoded = super().decode(items)
        self.spent.append(time.perf_counter() - start)
        return decoded


def seconds(work: Callable[[], Any]) -> float:
    """What `work` takes, until the GPU has finished too."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def craft(attacked: Any, items: Items, aim: Aim, victim: Model) -> None:
    """Attack all items once. attacked: what `victim.behind` gives."""
    for number, batch in enumerate(items.batches(victim.how.batch_size)):
        attacked.craft(batch, aim, victim.how, (0, number, 0))


def _inputs(victim: Model, batch: Items) -> torch.Tensor:
    return torch.from_numpy(victim.grid.floats(batch.integers)).to(victim.device)


def _forward(victim: Model, items: Items) -> None:
    with torch.inference_mode():
        for batch in items.batches(victim.how.batch_size):
            victim.behind().network(_inputs(victim, batch))


def forward_backward(victim: Model, items: Items) -> None:
    """What each step of an attack by gradients cannot do without, for all items once."""
    for batch in items.batches(victim.how.batch_size):
        x = _inputs(victim, batch).requires_grad_()
        labels = torch.from_numpy(batch.truth).to(victim.device)
        functional.cross_entropy(victim.behind().network(x), labels).backward()
