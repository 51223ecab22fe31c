"""A rival attack in plain torch, which shares no code with the product's: tests and benchmarks measure by it.

Of all iterates, each rounded, coded and scored, the best counts. A first run follows cross-entropy from a random start;
further runs follow the margin, with momentum, on what survives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

Decode = Callable[[np.ndarray], np.ndarray]
# (items, the same decoded, a gradient at the decoded ones) -> the gradient at the items
Backward = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
# (logits, aimed classes (N,), sign) -> (N,), what a run lowers; sign is 1 to leave the classes and -1 to reach them
Loss = Callable[[torch.Tensor, torch.Tensor, int], torch.Tensor]


def likelihood(logits: torch.Tensor, aimed: torch.Tensor, sign: int) -> torch.Tensor:
    """The log-likelihood of the class that shall not be read."""
    return -sign * functional.cross_entropy(logits, aimed, reduction="none")


def margin(logits: torch.Tensor, aimed: torch.Tensor, sign: int) -> torch.Tensor:
    """The class's logit minus the best other one (Carlini, Wagner 2017, arXiv 1608.04644)."""
    others = logits.scatter(1, aimed[:, None], -torch.inf).amax(1)
    return sign * (logits.gather(1, aimed[:, None])[:, 0] - others)


@dataclass
class Rival:
    """An attack on a classifier, and what it has found so far.

    network: takes floats (N, 3, H, W) in [0, 1], or (N, samples) in [-1, 1). clean: integers as codecs take them, uint8
    (N, H, W, 3) or int16 (N, samples). aimed: classes (N,), of the items or to reach. bound: of a change in integers:
    one number for the largest of its values, or its L2 norm for each item (N,). decode: the round trip of integers;
    None for the bare model. backward: None for the identity. targeted: whether `aimed` shall be reached.
    """

    network: torch.nn.Module
    clean: np.ndarray
    aimed: np.ndarray
    bound: int | np.ndarray
    decode: Decode | None = None
    backward: Backward | None = None
    targeted: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)
        self.l2 = isinstance(self.bound, np.ndarray)
        self.radius = self._column(np.broadcast_to(np.asarray(self.bound, float), len(self.clean)))
        self.best = self.clean.copy()  # the best iterate of each item
        self.margins = np.full(len(self.clean), np.inf)  # 0 and below: the item is beaten
        self.calls = np.zeros(len(self.clean), int)  # round trips, or predictions of the bare model
        self.score(np.arange(len(self.clean)), self.clean)

    @property
    def left(self) -> np.ndarray:
        """The places of the items that are not beaten."""
        return np.flatnonzero(self.margins > 0)

    def run(self, steps: int = 10, restarts: int = 5, step: float = 0.5, momentum: float = 0.5) -> Rival:
        """The whole attack. step: the size of one, in bounds. momentum: of the restarts."""
        self.descend(likelihood, steps, step)
        for _ in range(restarts):
            self.descend(margin, steps, step, momentum)
        return self

    def descend(self, loss: Loss, steps: int, step: float, momentum: float = 0.0) -> None:
        """One run on the items that are left, each from a random start until it is beaten."""
        at = self.left
        change = self.random.uniform(-1, 1, self.clean[at].shape)
        change = self.radius[at] * (self._unit(change) if self.l2 else change)
        memory = np.zeros(change.shape)
        for _ in range(steps):
            gradient = self.score(at, self.rounded(at, change), loss)
            memory = momentum * memory + gradient / (np.abs(gradient).mean(self._axes, keepdims=True) + 1e-30)
            going = self.margins[at] > 0
            at, change, memory = at[going], change[going], memory[going]
            change = change - step * self.radius[at] * (self._unit(memory) if self.l2 else np.sign(memory))
            if self.l2:
                change *= np.minimum(1, self.radius[at] / np.maximum(self._lengths(change), 1e-30))
            else:
                change = np.clip(change, -self.radius[at], self.radius[at])
            clean, limits = self.clean[at].astype(float), np.iinfo(self.clean.dtype)
            change = np.clip(clean + change, limits.min, limits.max) - clean
        self.score(at, self.rounded(at, change))

    def rounded(self, at: np.ndarray, change: np.ndarray) -> np.ndarray:
        """The integers nearest to the items `at` plus their `change` that keep the bound."""
        clean, limits = self.clean[at].astype(int), np.iinfo(self.clean.dtype)
        while True:
            integers = np.clip(np.rint(clean + change), limits.min, limits.max).astype(int)
            long = self.l2 & (self._lengths(integers - clean) > self.radius[at])  # whole numbers stay in a whole bound
            if not long.any():
                return integers.astype(self.clean.dtype)
            change = np.where(long, 0.999 * change, change)

    def score(self, at: np.ndarray, integers: np.ndarray, loss: Loss | None = None) -> np.ndarray:
        """The gradient of the `loss` at the `integers` of the items `at`, of which the best are remembered."""
        if not len(at):
            return np.zeros(integers.shape)
        seen = self._floats(self.decode(integers) if self.decode else integers).requires_grad_(loss is not None)
        logits, aimed, sign = self.network(seen), torch.from_numpy(self.aimed[at]).long(), -1 if self.targeted else 1
        found = margin(logits, aimed, sign).detach().numpy()
        better = found < self.margins[at]
        self.best[at[better]], self.margins[at[better]] = integers[better], found[better]
        self.calls[at] += 1
        if loss is None:
            return np.zeros(integers.shape)
        (gradient,) = torch.autograd.grad(loss(logits, aimed, sign).sum(), seen)
        if self.backward:
            gradient = self.backward(self._floats(integers), seen.detach(), gradient)
        slope = gradient.numpy().astype(float)
        return np.moveaxis(slope, 1, -1) if slope.ndim == 4 else slope

    def _floats(self, integers: np.ndarray) -> torch.Tensor:
        floats = torch.from_numpy(integers.astype(np.float32) / (255 if integers.dtype == np.uint8 else 32768))
        return floats.movedim(-1, 1).contiguous() if integers.ndim == 4 else floats

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(1, self.clean.ndim))

    def _column(self, values: np.ndarray) -> np.ndarray:
        return values.reshape(-1, *[1] * len(self._axes))

    def _lengths(self, change: np.ndarray) -> np.ndarray:
        return np.sqrt((change.astype(float) ** 2).sum(self._axes, keepdims=True))

    def _unit(self, change: np.ndarray) -> np.ndarray:
        return change / np.maximum(self._lengths(change), 1e-30)
