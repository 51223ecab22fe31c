"""What does each ingredient of the attacks add, and what does it cost? On a trained classifier, bare or behind codecs.

Run `python tests/benchmarks/attacks.py MODEL DATA CODEC/LEVEL ...` with a folder that train made and a table that fetch
made, such as `results/models/image_classification/resnet/original/0 results/data/image_classification.parquet
original/0 jpeg/50 h264/44`; original/0 is the bare model. It prints Markdown tables, in some minutes on two cores:

* ingredient after ingredient, each on top of those above it: the robust accuracy that is left; how often an item is put
  to the model, through the codec where there is one; and the seconds of the processor for an item. The last rows stand
  alone: the identity for the codec's gradient, and the plain torch of `tests/rival.py`.
* the seconds of the first run beside those of a plain loop in torch that puts the same items to the model as often.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from art.attacks.evasion import ProjectedGradientDescentPyTorch
from art.estimators.classification import PyTorchClassifier
from torch.nn import functional

from lossybench import codecs
from lossybench.attacks import surrogates
from lossybench.attacks.attack_settings import Aim, AttackSettings
from lossybench.attacks.items import Items
from lossybench.attacks.preprocessor import CodecPreprocessor
from lossybench.attacks.search import AttackedModel, attacked_items
from lossybench.conditions import ORIGINAL

sys.path.insert(0, str(Path(__file__).parents[1]))
from rival import Rival

REPEATS = 5  # of each timing, of which the median counts
QUERIES = (100, 200, 300)
logging.getLogger("art").setLevel(logging.WARNING)


class Bench:
    """Attacks on the `items` of a classifier `attacked`, behind a codec at a level or bare (original)."""

    def __init__(self, attacked: AttackedModel, items: Items, codec: str, level: float) -> None:
        self.attacked, self.items = attacked, items
        self.aim = attacked.how.aims[0]
        self.entropy = (attacked.how.seed, 0)
        self.identity = self.through = None
        if codec != ORIGINAL:
            medium = attacked.info["medium"]
            self.identity, self.through = (
                CodecPreprocessor(codecs.get(codec), level, medium, items.sampling_rate) for _ in range(2)
            )
            radius = attacked.grid.radius(*self.aim.budget, items.integers)
            moved = surrogates.amplitude(self.aim.norm, radius, items.integers[0].size)
            self.through.surrogate = surrogates.of(self.identity, items.integers, moved, attacked.how.seed)
        self.victim = attacked.behind(*filter(None, [self.through]))
        self.asked = 0
        attacked.network.register_forward_hook(self._count)

    def _count(self, _: Any, __: Any, logits: torch.Tensor) -> None:
        self.asked += len(logits)

    def settings(self, **changes: Any) -> AttackSettings:
        """The settings of the model's attacks, with `changes`."""
        return self.attacked.how.model_copy(update=changes)

    def craft(self, aim: Aim, how: AttackSettings, **more: Any) -> np.ndarray:
        """What the product's attack makes of the items, integers (N, ...). more: arguments of `craft`."""
        victim, nothing = more.pop("victim", self.victim), np.zeros(len(self.items.ids), bool)
        return victim.craft(self.items, aim, how, self.entropy, nothing, **more).integers

    def last_iterate(self, how: AttackSettings) -> np.ndarray:
        """PGD as it comes with ART: the last iterate of one run on cross-entropy, rounded afterwards."""
        items, grid, p = self.items, self.attacked.grid, np.inf if self.aim.norm == "linf" else 2
        radius = grid.radius(*self.aim.budget, items.integers).astype(np.float32)
        ragged = len(set(radius.tolist())) > 1
        ball = radius.reshape(-1, *[1] * (items.integers.ndim - 1)) if ragged else float(radius[0])
        (steps, step), outputs = self.iterations(how), len(self.attacked.info["classes"])
        estimator = PyTorchClassifier(
            torch.nn.Sequential(self.attacked.network),  # ART calls the layers of a Sequential, past its hooks
            torch.nn.CrossEntropyLoss(),
            input_shape=items.integers.shape[1:],
            nb_classes=outputs,
            clip_values=grid.clip_values,
            preprocessing_defences=[self.through] if self.through else None,
            device_type=self.victim.device_type,
        )
        attack = ProjectedGradientDescentPyTorch(
            estimator, p, ball, step * ball, max_iter=steps, num_random_init=int(not (ragged and p == 2)),
            batch_size=len(radius), verbose=False,
        )  # fmt: skip
        np.random.seed(self.entropy[0])
        found = attack.generate(x=grid.floats(items.integers), y=np.eye(outputs, dtype=np.float32)[items.truth])
        return grid.within(found, items.integers, *self.aim.budget)

    def rival(self, how: AttackSettings) -> np.ndarray:
        """What the plain torch of tests/rival.py makes of the items, with as many steps and restarts."""
        items, grid = self.items, self.attacked.grid
        media = np.stack([grid.media(item) for item in items.integers])
        radius = grid.radius(*self.aim.budget, items.integers) * grid.full_scale
        bound = grid.steps(self.aim.epsilon) if self.aim.norm == "linf" else radius
        decode, backward = None, None
        if self.through:
            front, backward = self.through, self.through.surrogate.backward

            def decode(some: np.ndarray) -> np.ndarray:
                return np.stack([front.codec.roundtrip(one, front.level, front.sampling_rate) for one in some])

        steps, step = self.iterations(how)
        found = Rival(self.attacked.network, media, items.truth, bound, decode, backward)
        return np.stack([grid.layout(item) for item in found.run(steps, how.restarts, step).best])

    def iterations(self, how: AttackSettings) -> tuple[int, float]:
        """Steps of a run, and the size of one in bounds: through the codec, if any."""
        if not self.through:
            return how.steps, how.step_ratio / how.steps
        effort = self.victim.effort
        return how.adaptive_steps * effort, how.adaptive_step / effort

    def ablation(self) -> Iterator[tuple[str, float, float, float]]:
        """Rows: what was tried, robust accuracy in %, how often an item was put to the model, and seconds per item."""
        how = self.attacked.how
        half = self.settings(restarts=0, adaptive_steps=10, adaptive_step=0.5)
        one = self.settings(restarts=0)
        if self.through:
            yield self._row("last iterate of 10 steps of half the bound", lambda: self.last_iterate(half))
            yield self._row("best rounded iterate", lambda: self.craft(self.aim, half))
        else:
            yield self._row("last iterate", lambda: self.last_iterate(one))
        steps, step = self.iterations(how)
        yield self._row(f"{steps} steps of {step:g} bounds, best iterate", lambda: self.craft(self.aim, one))
        found: list[np.ndarray] = []
        row = self._row(f"{how.restarts} restarts on what is left", lambda: self.craft(self.aim, how), found)
        yield row
        square = self.aim._replace(attack="square")
        for queries in QUERIES:
            finish = self._finisher(square, queries, found[0])
            name, left, asked, seconds = self._row(f"search on scores from the best, {queries} queries", finish)
            yield name, left, asked + row[2], seconds + row[3]
        if self.through:
            plain = self.attacked.behind(self.identity)
            yield self._row("identity for a gradient, with restarts", lambda: self.craft(self.aim, how, victim=plain))
        yield self._row("plain torch, with restarts", lambda: self.rival(how))

    def _finisher(self, aim: Aim, queries: int, start: np.ndarray) -> Callable[[], np.ndarray]:
        left = np.flatnonzero(self.victim.after(start) == self.items.truth)
        rest, how = self.items.at(left), self.settings(queries=queries)

        def search() -> np.ndarray:
            found = start.copy()
            if len(left):
                nothing = np.zeros(len(left), bool)
                found[left] = self.victim.craft(rest, aim, how, self.entropy, nothing, start[left]).integers
            return found

        return search

    def _row(
        self, name: str, attack: Callable[[], np.ndarray], found: list[np.ndarray] | None = None
    ) -> tuple[str, float, float, float]:
        self.asked, began, n = 0, time.process_time(), len(self.items.ids)
        integers = attack()
        seconds, asked = time.process_time() - began, self.asked
        if found is not None:
            found.append(integers)
        return name, 100 * float((self.victim.after(integers) == self.items.truth).mean()), asked / n, seconds / n

    def beside_a_plain_loop(self) -> tuple[float, float]:
        """Seconds per item of one run, and of a plain loop in torch that asks about as many items: two medians."""
        how, n, times = self.settings(restarts=0), len(self.items.ids), []
        for _ in range(REPEATS):
            began = time.process_time()
            calls = self.victim.craft(self.items, self.aim, how, self.entropy, np.zeros(n, bool)).calls
            middle = time.process_time()
            self._plain(calls, *self.iterations(how))
            times.append(((middle - began) / n, (time.process_time() - middle) / n))
        return median(one for one, _ in times), median(other for _, other in times)

    def _plain(self, calls: np.ndarray, steps: int, step: float) -> None:
        """PGD with nothing around it, which at its k-th pass takes the items of more than k `calls`."""
        grid, network = self.attacked.grid, self.attacked.network
        clean = torch.from_numpy(grid.floats(self.items.integers))
        ball = torch.from_numpy(grid.radius(*self.aim.budget, self.items.integers).astype(np.float32))
        ball, truth = ball.reshape(-1, *[1] * (clean.ndim - 1)), torch.from_numpy(self.items.truth)
        x = clean + ball * (2 * torch.rand_like(clean) - 1) / (
            1 if self.aim.norm == "linf" else clean[0].numel() ** 0.5
        )
        for number in range(calls.max()):
            at = torch.from_numpy(np.flatnonzero(calls > number))
            leaf = (clean if number == 0 else x)[at].clamp(*grid.clip_values).requires_grad_()
            looked_at_only = number in (0, steps + 1)  # the clean item and the last iterate
            with torch.set_grad_enabled(not looked_at_only):
                logits = network(self.through.forward(leaf)[0] if self.through else leaf)
            if looked_at_only:
                continue
            (gradient,) = torch.autograd.grad(functional.cross_entropy(logits, truth[at]), leaf)
            if self.aim.norm == "linf":
                moved = x[at] + step * ball[at] * gradient.sign()
                x[at] = torch.min(torch.max(moved, clean[at] - ball[at]), clean[at] + ball[at])
            else:
                moved = (
                    x[at] + step * ball[at] * functional.normalize(gradient.flatten(1)).view_as(gradient) - clean[at]
                )
                x[at] = clean[at] + moved * (ball[at] / moved.flatten(1).norm(dim=1).view_as(ball[at])).clamp(max=1)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("conditions", nargs="+", metavar="CODEC/LEVEL")
    parser.add_argument("--items", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1, help="of the study, which chooses the items")
    parser.add_argument("--budget", help='such as "8/255" or "40 dB"; by default the first of the medium')
    parser.add_argument("--only-seconds", action="store_true", help="leave the ablation out")
    chosen = parser.parse_args()
    settings: dict[str, Any] = {"items": chosen.items, "seed": chosen.seed, "goals": ["untargeted"]}
    if chosen.budget:
        settings["attacks"] = {"pgd": [chosen.budget]}
    torch.set_num_threads(1)
    attacked = AttackedModel.load(chosen.model, settings)
    items = attacked_items(chosen.data, attacked)
    right = 100 * float((items.clean == items.truth).mean())
    print(f"{len(items.ids)} items of {chosen.data.stem}, {right:.1f} % right when clean\n")
    benches = {}
    for condition in chosen.conditions:
        codec, level = condition.split("/")
        benches[condition] = Bench(attacked, items, codec, float(level))
    if not chosen.only_seconds:
        print("| condition | what was tried | robust accuracy, % | predictions an item | seconds an item |")
        print("|---|---|---|---|---|")
        for condition, bench in benches.items():
            for name, left, asked, seconds in bench.ablation():
                print(f"| {condition} | {name} | {left:.1f} | {asked:.1f} | {seconds:.3f} |", flush=True)
        print()
    print("| condition | first run, seconds an item | plain loop | ratio |\n|---|---|---|---|")
    for condition, bench in benches.items():
        ours, plain = bench.beside_a_plain_loop()
        print(f"| {condition} | {ours:.4f} | {plain:.4f} | {ours / plain:.2f} |", flush=True)


if __name__ == "__main__":
    main()
