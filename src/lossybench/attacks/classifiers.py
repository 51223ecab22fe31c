"""A classifier under attack: how its items are crafted by ART, and what counts as harm."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from lossybench.attacks.attack_settings import Aim, AttackSettings
from lossybench.attacks.items import Crafted, Items, Tried
from lossybench.attacks.methods import METHODS, Effort
from lossybench.attacks.preprocessor import CodecPreprocessor
from lossybench.attacks.random_search import search
from lossybench.attacks.toolbox import PyTorchClassifier
from lossybench.attacks.victim import MOMENTUM, VictimBase, seed_all
from lossybench.attacks.watch import Loss, Watch, margins
from lossybench.integers import lengths
from lossybench.models.inputs import Input, fit, spread


class ClassificationVictim(VictimBase):
    """A classifier, bare or behind a codec, as it predicts from integers (N, ...) in the model's layout."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.medium, self.input = self.info["medium"], Input.of(self.info)
        if self.medium == "video":
            self.network = _Frames(self.network, self.input.shape[0])
        self.outputs = self.classes + self.info.get("others", 0)  # an existing model may know further classes

    def item(self, media: np.ndarray, row: Mapping[str, Any], whole: bool) -> tuple[np.ndarray, int]:
        """The decoded item `media` as integers in the model's layout, and its class. row: its row of the data table.

        whole: whether clips keep all their frames, as the codec sees them, or those alone that the model looks at.
        """
        size = self.input
        if whole and self.medium == "video":
            size = dataclasses.replace(size, shape=(len(media), *size.shape[1:]))
        return self.grid.layout(fit(media, self.medium, size, crop=True)), row["label"]

    @staticmethod
    def target(row: Mapping[str, Any]) -> int:
        """The target class in `row`, a row of artifacts.ATTACKS."""
        return row["target"]

    def scores(self, integers: np.ndarray) -> np.ndarray:
        """Logits (N, outputs) for the integers (N, ...) without the codec."""
        batches = np.split(integers, range(self.batch_size, len(integers), self.batch_size))
        with torch.inference_mode():
            floats = (torch.from_numpy(self.grid.floats(batch)).to(self.device) for batch in batches)
            return np.concatenate([self.network(batch).cpu().numpy() for batch in floats])

    def predict(self, integers: np.ndarray) -> np.ndarray:
        """Classes (N,) of the integers (N, ...) without the codec."""
        return self.scores(integers).argmax(1)

    def targets(self, integers: np.ndarray, truth: np.ndarray, how: AttackSettings) -> np.ndarray:
        """The target classes (N,) of all clean items (`integers`) at once; never an item's class (`truth`).

        how: says by which rule.
        """
        if how.target_rule == "least_likely":
            others = self.scores(integers)[:, : self.classes].copy()
            others[np.arange(len(truth)), truth] = np.inf
            return others.argmin(1)
        random = how.target_rule == "random"
        away = np.random.default_rng(how.seed).integers(1, self.classes, len(truth)) if random else 1
        return (truth + away) % self.classes

    def harm(self, tried: Tried, items: Items, aim: Aim) -> np.ndarray:
        """(N,): 1 where the goal of the aim is reached; hardly any for items that are wrong, but not the target."""
        wrong = tried.after != items.truth
        if aim.goal == "trigger":
            return wrong & (tried.before == items.truth)
        return (tried.after == items.targets) + 1e-4 * wrong if aim.goal == "targeted" else wrong

    def zero_gradient(self, items: Items) -> np.ndarray:
        """(N,): share of zeros in the gradient of the loss at the clean items, as an attacker sees it."""
        estimator = self._estimator(self._views("untargeted"), Loss("cross-entropy"), items.integers.shape[1:])
        gradient = estimator.loss_gradient(self.grid.floats(items.integers), self._one_hot(items.truth))
        return (gradient == 0).reshape(len(gradient), -1).mean(1)

    def judge(self, integers: np.ndarray, truth: np.ndarray, way: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Predictions (N,) for the integers (N, ...) behind the codec, if any, and by how much another class leads.

        truth: classes (N,). way: which of several codecs.
        """
        logits = self.scores(self.through[way].decode(integers) if self.through else integers)
        margin = margins(torch.from_numpy(logits)[:, None], torch.from_numpy(np.asarray(truth, np.int64)))
        return logits.argmax(1), margin[:, 0].numpy()

    def craft(
        self,
        items: Items,
        aim: Aim,
        how: AttackSettings,
        entropy: tuple[int, ...],
        done: np.ndarray,
        start: np.ndarray | None = None,
    ) -> Crafted:
        """Adversarial items for `items`, made for one aim, through the codec where there is one.

        how: the effort. entropy: seeds random starts. done: bool (N,), items that are beaten already, on which an
        attack makes one run and no further ones. start: integers (N, ...) where a search on the scores begins.
        """
        method = METHODS[aim.attack]
        seed_all(entropy)
        watch = self._watch(items, aim, how)
        watch.ask(self.grid.floats(items.integers))
        if method.access == "scores":
            search(watch, items.integers if start is None else start, how.queries, np.random.default_rng(entropy))
            return Crafted(watch.best, watch.calls)
        # What is made without regard to a codec shall still be wrong behind one: it goes on where an item is beaten.
        watch.stop = bool(self.through)
        self._run(watch, items, aim, how, Loss("trigger" if aim.goal == "trigger" else "cross-entropy"))
        watch.stop = True
        margin = Loss("trigger" if aim.goal == "trigger" else "margin", aim.goal == "targeted")
        generator = np.random.default_rng(entropy)
        for number in range(how.restarts if method.restarts else 0):
            watch.rows = np.flatnonzero(watch.left & ~done)
            if not len(watch.rows):
                break
            watch.shift = None if aim.norm == "linf" else self._start(watch, number, generator)
            self._run(watch, items, aim, how, margin, MOMENTUM[aim.norm])
        return Crafted(watch.best, watch.calls)

    def _watch(self, items: Items, aim: Aim, how: AttackSettings) -> Watch:
        aimed = items.targets if aim.goal == "targeted" else items.truth
        return Watch(
            self._views(aim.goal), self.grid, items.integers, aimed, aim.budget, aim.goal, how.calls, self.device
        )

    @staticmethod
    def _start(watch: Watch, number: int, generator: np.random.Generator) -> np.ndarray:
        """Where the restart of this number begins, as a shift (N, ...): at random, and twice at the best item.

        ART draws no start where radii differ. Along the gradient, the best item is a good place to go on from; in the
        corners of L-infinity it is not (docs/attacks.md).
        """
        clean = watch.grid.floats(watch.clean)
        if number % 3:
            return watch.grid.floats(watch.best) - clean
        radius = watch.grid.radius(*watch.budget, watch.clean)
        drawn = generator.standard_normal(clean.shape).astype(np.float32)
        return drawn * (radius / lengths(drawn)).astype(np.float32).reshape(-1, *[1] * (clean.ndim - 1))

    def _run(
        self, watch: Watch, items: Items, aim: Aim, how: AttackSettings, loss: Loss, momentum: float = 0.0
    ) -> None:
        """One run of ART's attack on the `rows` of the watch that are left."""
        method, of = METHODS[aim.attack], watch.rows
        left = of[watch.left[of]]
        if not len(left):
            return
        p = {"linf": np.inf, "l2": 2, "snr": method.p_of_snr}[aim.norm]
        radius = self.grid.radius(aim.norm, aim.epsilon, items.integers)
        if aim.norm == "snr":
            # A silent item has a radius of 0, which ART refuses. Rounding takes back what the item gets here.
            radius = np.maximum(radius, 1e-9)
            if p == np.inf:
                radius = radius / math.sqrt(items.integers[0].size)
        steps, step = how.search(method, bool(self.through), self.effort)
        together = method.arrays or aim.norm != "snr"
        for rows in [left] if together else left[:, None]:
            some, watch.rows = items.at(rows), rows
            ball: Any = radius[rows].astype(np.float32).reshape(-1, *[1] * (items.integers.ndim - 1))
            if len(set(radius[rows].tolist())) == 1:
                ball = float(radius[rows[0]])
            targeted = aim.goal == "targeted"
            effort = Effort(p, ball, targeted, steps, step * ball, len(rows), momentum)
            y = self._one_hot(some.targets if targeted else some.truth)
            estimator = self._estimator(watch, loss, items.integers.shape[1:])
            # ART looks for items that are beaten by itself. The watch does that, so to ART none ever is.
            estimator.answer = 2 * (1 - y if targeted else y)  # one that no probabilities add up to, as ART checks
            assert method.build is not None  # which a search on the scores has not
            watch.ask(method.build(estimator, effort).generate(x=self.grid.floats(some.integers), y=y))
        watch.shift = None

    def _one_hot(self, classes: np.ndarray) -> np.ndarray:
        """Classes as ART needs them, since it misreads the integer labels of a two-class problem."""
        return np.eye(self.outputs, dtype=np.float32)[classes]

    def _views(self, goal: str) -> _Views:
        """The model behind each of the codecs, if any. Who wants a trigger sees it without a codec first."""
        bare = [None] if goal == "trigger" or not self.through else []
        return _Views(self.network, [*bare, *self.through])

    def _estimator(self, network: nn.Module, loss: Loss, shape: tuple[int, ...]) -> _Estimator:
        bounds = self.grid.clip_values
        return _Estimator(
            network,
            loss,
            shape,
            self.outputs,
            clip_values=bounds,
            preprocessing=None,  # by default ART subtracts 0 and divides by 1
            device_type=self.device_type,
        )

    def fields(self, items: Items, targeted: bool) -> list[dict[str, Any]]:
        """For each of the items what only artifacts.ATTACKS holds. targeted: whether the goal is."""
        targets = items.targets if targeted else np.full(len(items.ids), -1)
        return [{"label": label, "target": target} for label, target in zip(items.truth, targets, strict=True)]


class _Estimator(PyTorchClassifier):
    """ART's, with an `answer` (N, outputs) for whoever asks what the model predicts."""

    answer: np.ndarray

    def predict(self, x: np.ndarray, *_: Any, **__: Any) -> np.ndarray:
        return self.answer


class _Frames(nn.Module):
    """Cuts clips (N, frames, 3, H, W) down to the frames that the model looks at, as evaluation does."""

    def __init__(self, network: nn.Module, frames: int) -> None:
        super().__init__()
        self.network, self.frames = network, frames

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x[:, spread(x.shape[1], self.frames)] if x.shape[1] != self.frames else x)


class _Views(nn.Module):
    """A network behind each of some codecs, None for no codec: logits (N, views, K)."""

    def __init__(self, network: nn.Module, through: Sequence[CodecPreprocessor | None]) -> None:
        super().__init__()
        self.network, self.through = network, through

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = [x if one is None else one.forward(x)[0] for one in self.through]
        return torch.stack([self.network(one) for one in seen], dim=1)
