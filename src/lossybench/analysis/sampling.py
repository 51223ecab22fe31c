"""How a task's test items are thought to be drawn: one by one, and by what they share."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from lossybench.enough import FEWEST_GROUPS

# With fewer models than this nothing is claimed of models that are trained anew.
FEWEST_SEEDS = 3
_BLOCK = 2**20  # weights that are floats or wide integers at a time


@dataclasses.dataclass(frozen=True)
class Units:
    """What is drawn independently: the items, or the groups of a factor with all their items.

    factor: the factor's name; "" for the items. index: int (n,), the unit of each item. weights: uint8 (units,
    resamples), how often each bootstrap resample draws each unit: of all that aggregation holds, this is what grows
    with the items, and a unit is drawn once on average. folds: the units are the folds of cross-validation, of each of
    which another model tests the items.
    """

    factor: str
    index: np.ndarray
    weights: np.ndarray
    folds: bool = False

    @property
    def count(self) -> int:
        """The number of units."""
        return len(self.weights)

    def total(self, of_items: np.ndarray) -> np.ndarray:
        """The resampled totals, (resamples,), of a quantity of the items (n,)."""
        return self.weighted(np.bincount(self.index, of_items, minlength=self.count))

    def weighted(self, of_units: np.ndarray) -> np.ndarray:
        """The resampled totals, (resamples,), of a quantity of the units (units,)."""
        found = np.zeros(self.weights.shape[1])
        for some in self.blocks():
            found += of_units[some] @ self.weights[some].astype(np.float64)
        return found

    def blocks(self) -> Iterator[slice]:
        """The units in blocks, so that few of the weights are floats at a time."""
        step = max(1, _BLOCK // self.weights.shape[1])
        return (slice(start, start + step) for start in range(0, self.count, step))

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
        generator, shares = np.random.default_rng([seed, count]), np.full(count, 1 / count)
        weights = np.empty((count, resamples), np.uint8)
        step = max(1, _BLOCK // count)
        for start in range(0, resamples, step):
            some = weights[:, start : start + step]
            some[:] = generator.multinomial(max(count - 1, 1), shares, some.shape[1]).T
        return cls(factor, index, weights)


@dataclasses.dataclass(frozen=True)
class Sampling:
    """What all intervals of a task go by.

    units: the items first, then every factor with at least FEWEST_GROUPS groups, of which some hold several items, then
    the folds where there are at least FEWEST_SEEDS. groups: the number of groups of every factor. seed: of the
    resamples. alpha: the error that a one-sided bound may
    have. family: the number of codecs that the best one is picked from.
    """

    units: tuple[Units, ...]
    groups: dict[str, int]
    seed: int
    alpha: float = 0.05
    family: int = 1

    @classmethod
    def draw(
        cls,
        n: int,
        groups: Mapping[str, np.ndarray],
        resamples: int,
        seed: int,
        alpha: float = 0.05,
        family: int = 1,
        folds: np.ndarray | None = None,
    ) -> Sampling:
        """The sampling of `n` items. groups: factor -> int (n,), the group of each item, from 0 on.

        folds: int (n,), the fold of each item from 0 on, whose model tests it; None where one model tests all. The
        result takes n * resamples bytes, and less for each factor.
        """
        counts = {factor: int(index.max()) + 1 for factor, index in groups.items()}
        wide = [factor for factor, count in counts.items() if FEWEST_GROUPS <= count < n]
        units = [Units.draw("", np.arange(n), resamples, seed)]
        units += [Units.draw(factor, groups[factor], resamples, seed) for factor in wide]
        if folds is not None and folds.max() + 1 >= FEWEST_SEEDS:
            units.append(dataclasses.replace(Units.draw("fold", folds, resamples, seed), folds=True))
        return cls(tuple(units), counts, seed, alpha, family)

    def of(self, items: np.ndarray) -> Sampling:
        """The sampling of some `items` alone, int (m,) their places. Its resamples are not drawn anew, but cut."""
        units: list[Units] = []
        groups: dict[str, int] = {}
        for unit in self.units:
            kept, index = np.unique(unit.index[items], return_inverse=True)
            enough = len(kept) >= FEWEST_SEEDS if unit.folds else FEWEST_GROUPS <= len(kept) < len(items)
            if not units or enough:
                units.append(dataclasses.replace(unit, index=index, weights=unit.weights[kept]))
            groups |= {unit.factor: len(kept)} if unit.factor and not unit.folds else {}
        return dataclasses.replace(self, units=tuple(units), groups=groups)

    @property
    def n(self) -> int:
        """The number of items."""
        return self.units[0].count

    @property
    def folds(self) -> Units | None:
        """The folds, whose models differ; None where there are none, or fewer than FEWEST_SEEDS."""
        return self.units[-1] if self.units[-1].folds else None

    @property
    def few(self) -> tuple[str, int] | None:
        """The factor with fewest groups and their number, if these are fewer than FEWEST_GROUPS.

        Intervals then resample the items within these groups, and hold for these groups alone.
        """
        factor, count = min(self.groups.items(), key=lambda each: each[1], default=("", FEWEST_GROUPS))
        return (factor, count) if count < FEWEST_GROUPS else None
