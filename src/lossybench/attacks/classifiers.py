"""A classifier under attack: how its items are crafted by ART, and what counts as harm."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from torch import nn
from torch.nn import functional

from lossybench.attacks.attack_settings import Aim, AttackSettings
from lossybench.attacks.items import Items, Tried
from lossybench.attacks.methods import METHODS, Effort
from lossybench.attacks.preprocessor import CodecPreprocessor
from lossybench.attacks.victim import VictimBase, seed_all
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
        """(N,): the larger, the nearer what was tried on the items came to the goal of the aim."""
        wrong = tried.after != items.truth
        if aim.goal == "trigger":
            return wrong & (tried.before == items.truth)
        return wrong.astype(int) + (tried.after == items.targets) if aim.goal == "targeted" else wrong

    def zero_gradient(self, items: Items) -> np.ndarray:
        """(N,): share of zeros in the gradient of the loss at the clean items, as an attacker sees it."""
        floats, aimed = self.grid.floats(items.integers), self._one_hot(items.truth)
        gradient = self._estimator(items, "untargeted").loss_gradient(floats, aimed)
        return (gradient == 0).reshape(len(gradient), -1).mean(1)

    def craft(self, items: Items, aim: Aim, how: AttackSettings, entropy: tuple[int, ...]) -> np.ndarray:
        """Adversarial integers (N, ...) for `items`, made for one aim, through the codec where there is one.

        how: the effort. entropy: seeds the random start.
        """
        method = METHODS[aim.attack]
        seed_all(entropy)
        p = {"linf": np.inf, "l2": 2, "snr": method.p_of_snr}[aim.norm]
        radius = self.grid.radius(aim.norm, aim.epsilon, items.integers)
        if aim.norm == "snr":
            # A silent item has a radius of 0, which ART refuses. Rounding takes back what the item gets here.
            radius = np.maximum(radius, 1e-9)
            if p == np.inf:
                radius = radius / math.sqrt(items.integers[0].size)
        parts = [np.arange(len(radius))] if method.arrays or aim.norm != "snr" else np.arange(len(radius))[:, None]
        found = [self._run(items.at(part), aim, how, p, radius[part]) for part in parts]
        return self.grid.within(np.concatenate(found), items.integers, aim.norm, aim.epsilon)

    def _run(self, items: Items, aim: Aim, how: AttackSettings, p: float, radius: np.ndarray) -> np.ndarray:
        method = METHODS[aim.attack]
        steps, step = how.search(method, bool(self.through), self.effort)
        ball: Any = radius.astype(np.float32).reshape(-1, *[1] * (items.integers.ndim - 1))
        if len(set(radius.tolist())) == 1:
            ball = float(radius[0])
        effort = Effort(p, ball, aim.goal == "targeted", steps, step * ball, how.queries, self.batch_size)
        aimed = items.targets if aim.goal == "targeted" else items.truth
        x, y = self.grid.floats(items.integers), self._one_hot(aimed)
        if method.access == "scores":
            fold = _Fold(x.shape[1:])
            attack = method.build(self._estimator(items, aim.goal, fold), effort)
            return fold.forward(attack.generate(x=fold.there(x), y=y))
        kind = PyTorchClassifier if method.predicts else _Unlogged
        return method.build(self._estimator(items, aim.goal, kind=kind), effort).generate(x=x, y=y)

    def _one_hot(self, classes: np.ndarray) -> np.ndarray:
        """Classes as ART needs them, since it misreads the integer labels of a two-class problem."""
        return np.eye(self.outputs, dtype=np.float32)[classes]

    def _estimator(
        self, items: Items, goal: str, fold: _Fold | None = None, kind: type[PyTorchClassifier] = PyTorchClassifier
    ) -> PyTorchClassifier:
        network, shape = self.network, items.integers.shape[1:]
        loss: Any = nn.CrossEntropyLoss()
        defences = list(self.through)
        behind: list[nn.Module] = [_Behind(network, one) for one in self.through]
        if goal == "trigger":
            network, loss, defences = _Both([network, behind[0]]), _trigger, []
        elif len(behind) > 1:
            network, loss, defences = _Expected(behind), nn.NLLLoss(), []
        elif fold:
            # Unfolding comes before the codec, but ART would put its preprocessors before the unfolding.
            network, shape, defences = nn.Sequential(fold, *(behind or [network])), fold.shape, []
        return kind(
            network,
            loss,
            input_shape=shape,
            nb_classes=self.outputs,
            clip_values=self.grid.clip_values,
            preprocessing_defences=defences or None,
            preprocessing=None,
            device_type=self.device_type,
        )

    def fields(self, items: Items, targeted: bool) -> list[dict[str, Any]]:
        """For each of the items what only artifacts.ATTACKS holds. targeted: whether the goal is."""
        targets = items.targets if targeted else np.full(len(items.ids), -1)
        return [{"label": label, "target": target} for label, target in zip(items.truth, targets, strict=True)]


class _Unlogged(PyTorchClassifier):
    """For attacks that predict only to log a success rate, which nobody reads: saves two passes through the codec."""

    def predict(self, x: np.ndarray, *_: Any, **__: Any) -> np.ndarray:
        return np.zeros((len(x), self.nb_classes), np.float32)


class _Frames(nn.Module):
    """Cuts clips (N, frames, 3, H, W) down to the frames that the model looks at, as evaluation does."""

    def __init__(self, network: nn.Module, frames: int) -> None:
        super().__init__()
        self.network, self.frames = network, frames

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x[:, spread(x.shape[1], self.frames)] if x.shape[1] != self.frames else x)


class _Behind(nn.Module):
    """A network behind a codec."""

    def __init__(self, network: nn.Module, through: CodecPreprocessor) -> None:
        super().__init__()
        self.network, self.through = network, through

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(self.through.forward(x)[0])


class _Expected(nn.ModuleList):
    """Mean log-probabilities of networks: their negative log-likelihood is the expected cross-entropy.

    This is expectation over transformation (Athalye et al. 2018, arXiv 1707.07397), exact because levels are countable.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([functional.log_softmax(network(x), dim=1) for network in self]).mean(0)


class _Both(nn.ModuleList):
    """The logits of two networks, side by side: (N, 2 x classes)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([network(x) for network in self], dim=1)


def _trigger(both: torch.Tensor, one_hot: torch.Tensor) -> torch.Tensor:
    """A loss on the logits of `_Both`; an item makes it large that is right without the codec and wrong behind it.

    Both halves are logistic in the margin (label's logit minus the best other), so that the one not yet reached leads.
    """
    bare, behind = (
        (logits * one_hot).sum(1) - logits.masked_fill(one_hot > 0, -torch.inf).amax(1)
        for logits in both.chunk(2, dim=1)
    )
    return (functional.logsigmoid(bare) + functional.logsigmoid(-behind)).mean()


class _Fold(nn.Module):
    """`there` makes items (N, channels, height, width), as ART's square attack needs them; as a layer it unfolds them.

    Clips become pictures whose channels are the colours of all frames. Audio becomes a picture of rows of consecutive
    samples, with zeros at its end: a square is then a run of samples that recurs at equal distances.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.item, size = shape, math.prod(shape)
        if len(shape) > 1:
            self.shape: tuple[int, ...] = (math.prod(shape[:-2]), *shape[-2:])
        else:
            rows = math.isqrt(size)
            self.shape = (1, rows, -(-size // rows))

    def there(self, x: np.ndarray) -> np.ndarray:
        flat = x.reshape(len(x), -1)
        return np.pad(flat, ((0, 0), (0, math.prod(self.shape) - flat.shape[1]))).reshape(-1, *self.shape)

    def forward(self, x: Any) -> Any:
        return x.reshape(len(x), -1)[:, : math.prod(self.item)].reshape(-1, *self.item)
