"""How a task's test items are thought to be drawn: one by one, and by what they share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from lossybench.enough import FEWEST_GROUPS

# With fewer models than this nothing is claimed of models that are trained anew.
FEWEST_SEEDS = 3


@dataclasses.dataclass(frozen=True)
class Units:
    """What is drawn independently: the items, or the groups of a factor with all their items.

    factor: the factor's name; "" for the items. index: int (n,), the unit of each item. weights: float32 (units,
    resamples), how often each bootstrap resample draws each unit.
    """

    factor: str
    index: np.ndarray
    weights: np.ndarray

    @property
    def count(self) -> int:
        """The number of units."""
        return len(self.weights)

    def total(self, of_items: np.ndarray) -> np.ndarray:
        """The resampled totals, (resamples,), of a quantity of the items (n,)."""
        return np.bincount(self.index, of_items, minlength=self.count) @ self.weights

    def mean(self, of_items: np.ndarray) -> np.ndarray:
        """The resampled means, (resamples,), of a quantity of the items (n,)."""
        return self.total(of_items) / self.total(np.ones(len(of_items)))

    @classmethod
    def draw(cls, factor: str, index: np.ndarray, resamples: int, seed: int) -> Units:
        """Draw one unit less than there are, with replacement, `resamples` times, by `seed`.

        One less, because drawing all `count` of them would understate the variance by the factor (count - 1)/count
        (McCarthy and Snowden 1985; Rao and Wu 1988).
        """
        count = int(index.max()) + 1
        drawn = np.random.default_rng([seed, count]).multinomial(
            max(count - 1, 1), np.full(count, 1 / count), resamples
        )
        return cls(factor, index, np.ascontiguousarray(drawn.T, dtype=np.float32))


@dataclasses.dataclass(frozen=True)
class Sampling:
    """What all intervals of a task go by.

    units: the items first, then every factor with at least FEWEST_GROUPS groups, of which some hold several items.
    groups: the number of groups of every factor. seed: of the resamples. alpha: the error that a one-sided bound may
    have. family: the number of codecs that the best one is picked from.
    """

    units: tuple[Units, ...]
    groups: dict[str, int]
    seed: int
    alpha: float = 0.05
    family: int = 1

    @classmethod
    def draw(
        cls, n: int, groups: Mapping[str, np.ndarray], resamples: int, seed: int, alpha: float = 0.05, family: int = 1
    ) -> Sampling:
        """The sampling of `n` items. groups: factor -> int (n,), the group of each item, from 0 on.

        The result takes 4 * n * resamples bytes, and less for each factor.
        """
        counts = {factor: int(index.max()) + 1 for factor, index in groups.items()}
        wide = [factor for factor, count in counts.items() if FEWEST_GROUPS <= count < n]
        units = [Units.draw("", np.arange(n), resamples, seed)]
        units += [Units.draw(factor, groups[factor], resamples, seed) for factor in wide]
        return cls(tuple(units), counts, seed, alpha, family)

    def of(self, items: np.ndarray) -> Sampling:
        """The sampling of some `items` alone, int (m,) their places. Its resamples are not drawn anew, but cut."""
        units: list[Units] = []
        groups: dict[str, int] = {}
        for unit in self.units:
            kept, index = np.unique(unit.index[items], return_inverse=True)
            if not unit.factor or FEWEST_GROUPS <= len(kept) < len(items):
                units.append(Units(unit.factor, index, unit.weights[kept]))
            groups |= {unit.factor: len(kept)} if unit.factor else {}
        return dataclasses.replace(self, units=tuple(units), groups=groups)

    @property
    def n(self) -> int:
        """The number of items."""
        return self.units[0].count

    @property
    def few(self) -> tuple[str, int] | None:
        """The factor with fewest groups and their number, if these are fewer than FEWEST_GROUPS.

        Intervals then resample the items within these groups, and hold for these groups alone.
        """
        factor, count = min(self.groups.items(), key=lambda each: each[1], default=("", FEWEST_GROUPS))
        return (factor, count) if count < FEWEST_GROUPS else None
