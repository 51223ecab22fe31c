"""The items of an attack, as they are chosen and as an attack leaves them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from lossybench.attacks.attack_settings import Aim

Stored = dict[tuple[str, Aim], "Crafted"]  # by tier and attack


def chosen(available: int, items: int, seed: int) -> np.ndarray:
    """The places, in a table of so many `available` test items, of those that are attacked: the same for all models."""
    return np.random.default_rng(seed).permutation(available)[:items]


@dataclasses.dataclass(frozen=True)
class Crafted:
    """What one attack made. integers: (N, ...), within the budget. calls: int (N,), how often it asked the model."""

    integers: np.ndarray
    calls: np.ndarray

    def at(self, part: slice | np.ndarray) -> Crafted:
        """Those of a part: of these indices or of this slice."""
        return Crafted(self.integers[part], self.calls[part])


@dataclasses.dataclass(frozen=True)
class Items:
    """Attacked items; the first axis of all arrays has the same N.

    integers: (N, ...) in the model's layout. truth: classes, or {boxes, labels, frame} each. targets: what each item
    shall be read as. clean, clean_after: predictions on the clean items, bare and behind the codec. stored: the
    adversarial items that are made already. sampling_rate: Hz of audio, frames/s of video, else 0.
    """

    ids: np.ndarray
    integers: np.ndarray
    truth: np.ndarray
    targets: np.ndarray
    clean: np.ndarray
    clean_after: np.ndarray
    stored: Stored
    sampling_rate: float

    def at(self, part: slice | np.ndarray) -> Items:
        """The items of a part: of these indices or of this slice."""
        found = vars(self).items()
        changes: dict[str, Any] = {name: value[part] for name, value in found if isinstance(value, np.ndarray)}
        changes["stored"] = {key: value.at(part) for key, value in self.stored.items()}
        return dataclasses.replace(self, **changes)

    def batches(self, size: int) -> Iterator[Items]:
        """The items in their order, `size` at a time."""
        return (self.at(slice(i, i + size)) for i in range(0, len(self.ids), size))


@dataclasses.dataclass(frozen=True)
class Tried:
    """Adversarial items.

    integers: (N, ...). before, after: predictions (N,) without and behind the codec. own: (N,), False for items of a
    weaker tier. calls: int (N,), how often the model was asked for them. near: (N,), the larger, the nearer an item
    comes to being read wrongly behind the codec. ways: predictions (N, W) on each way that a defence may draw; `after`
    is on the one that it draws.
    """

    integers: np.ndarray
    before: np.ndarray
    after: np.ndarray
    own: np.ndarray
    calls: np.ndarray
    near: np.ndarray
    ways: np.ndarray

    def at(self, part: np.ndarray) -> Tried:
        """Those of these indices."""
        return Tried(*(getattr(self, f.name)[part] for f in dataclasses.fields(self)))

    def taken(self) -> Tried:
        """The same as what another tier or attack takes over."""
        return dataclasses.replace(self, own=np.zeros_like(self.own), calls=np.zeros_like(self.calls))
