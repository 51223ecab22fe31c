"""IoU, Dice and accuracy of segmentation, from numbers of pixels that add up over items.

A resample only weighs the items, so that its values are exact. IoU and Dice are of all pixels of all items together, as
in PASCAL VOC (Everingham et al. 2010, IJCV 88:303-338), and overall the mean over the classes that some item truly has,
the background among them where it is a class.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from lossybench.analysis.intervals import LEAN
from lossybench.analysis.measured import Named
from lossybench.analysis.sampling import Sampling
from lossybench.analysis.subgroups import RESAMPLES, Group

HIT, TRUE, TAKEN = range(3)  # places in the last axis of counts
# Each metric is hits / (a * true + b * taken + c * hits), by class: the (a, b, c) of each. The accuracy of a class is
# the share of its true pixels, and overall that of all pixels, whatever their class.
_WEIGHTS = {"miou": (1.0, 1.0, -1.0), "dice": (0.5, 0.5, 0.0), "pixel_accuracy": (1.0, 0.0, 0.0)}
_OVER_ALL = list(_WEIGHTS).index("pixel_accuracy")


@dataclasses.dataclass(frozen=True)
class Counts:
    """The outcomes of one model at one condition.

    counts: int (n, classes, 3), pixels of each item and class: truly of the class and taken for it, truly of it, taken
    for it. classes: their names.
    """

    counts: np.ndarray
    classes: Sequence[str]

    @property
    def present(self) -> np.ndarray:
        """The labels of the classes that some item truly has."""
        return np.flatnonzero(self.counts[..., TRUE].sum(axis=0))

    @property
    def names(self) -> list[Named]:
        """The (metric, class) of each value; the class "" stands for overall."""
        return [(metric, name) for name in ("", *(self.classes[k] for k in self.present)) for metric in _WEIGHTS]

    def weighed(self, weights: np.ndarray, factor: str = "") -> dict[Named, np.ndarray]:
        """All metrics, (resamples,) each: see `measured.Weighed`. NaN for a class that a resample knows nothing of."""
        kept = self.counts[:, self.present].astype(np.float64)
        totals = kept.reshape(len(kept), -1).T @ weights.astype(np.float64)
        values = _values(totals.reshape(*kept.shape[1:], -1))
        return dict(zip(self.names, values.reshape(-1, weights.shape[1]), strict=True))

    def trials(self) -> dict[Named, float]:
        """Of how many independent items the share is as uncertain as each metric is at least.

        A class that few items have seems certain to the bootstrap. So the spread of its items leans on that of the
        other classes' items, as if it had LEAN items of theirs besides. Where nothing spreads, items count as right or
        wrong.
        """
        counts = self.counts[:, self.present].astype(np.float64)
        hit, true, taken = np.moveaxis(counts, -1, 0)
        values = _values(counts.sum(axis=0)[..., None])[..., 0]
        least = np.zeros(values.shape)  # variances
        items = np.maximum((true > 0).sum(axis=0), 1)
        for at, (a, b, c) in enumerate(_WEIGHTS.values()):
            counted = a * true + b * taken + c * hit
            # The derivatives of the ratio by the weights of the items, whose squares add up to its variance.
            moved = (hit - values[1:, at] * counted) / np.maximum(counted.sum(axis=0), 1)
            spread = items * (moved**2).sum(axis=0)
            least[1:, at] = (items * spread + LEAN * spread.mean()) / (items + LEAN) / items
            least[0, at] = least[1:, at].sum() / len(items) ** 2
        missed = (hit.sum(axis=1) - values[0, _OVER_ALL] * true.sum(axis=1)) / true.sum()
        least[0, _OVER_ALL] = (missed**2).sum()
        possible = values * (1 - values)
        plain = np.tile(np.concatenate([[len(counts)], items]).astype(float)[:, None], len(_WEIGHTS))
        found = np.divide(possible, least, out=plain, where=(least > 0) & (possible > 0))
        return dict(zip(self.names, found.ravel().tolist(), strict=True))


def by_class(found: Sequence[Counts], sampling: Sampling) -> dict[str, Group]:
    """The IoU of each class that some item truly has. found: the counts of each seed.

    All items are drawn, because a class may be found in any; those that have it say how sure its IoU is.
    """
    groups = {}
    for label in found[0].present:
        items = np.flatnonzero(found[0].counts[:, label, TRUE])
        drawn = {unit.factor for unit in sampling.of(items).units}
        units = [unit for unit in sampling.units if unit.factor in drawn]
        each = [one.counts[:, label, :].astype(np.float64) for one in found]
        samples = [
            np.mean(
                [_iou(of_items.T @ unit.weights[unit.index, :RESAMPLES].astype(np.float64)) for of_items in each], 0
            )
            for unit in units
        ]
        value = float(np.mean([_iou(of_items.sum(axis=0)) for of_items in each]))
        groups[found[0].classes[label]] = Group(items, len(items), value, None, np.array(samples))
    return groups


def _iou(totals: np.ndarray) -> np.ndarray:
    """The IoU of a class, (...,), of its pixels (3, ...); NaN where there is nothing of it."""
    union = totals[TRUE] + totals[TAKEN] - totals[HIT]
    return np.divide(totals[HIT], union, out=np.full(union.shape, np.nan), where=union > 0)


def constant(counts: np.ndarray) -> float:
    """The best mean IoU of an answer that is one class in all pixels of all items. counts: as of `Counts`."""
    true = counts[..., TRUE].sum(axis=0)
    return float(true.max() / true.sum() / (true > 0).sum())


def of_item(counts: np.ndarray) -> np.ndarray:
    """The mean IoU of each item, (...,), over the classes that it truly has; 0 where it has none.

    counts: (..., classes, 3).
    """
    hit, true, taken = (counts[..., at].astype(np.float64) for at in (HIT, TRUE, TAKEN))
    there = true > 0
    each = np.divide(hit, true + taken - hit, out=np.zeros(hit.shape), where=there)
    return each.sum(axis=-1) / np.maximum(there.sum(axis=-1), 1)


def _values(totals: np.ndarray) -> np.ndarray:
    """All metrics, (1 + classes, metrics, resamples), the overall ones first, of pixels (classes, 3, resamples)."""
    hit, true, taken = np.moveaxis(totals, 1, 0)
    of_metric = []
    for a, b, c in _WEIGHTS.values():
        counted = a * true + b * taken + c * hit
        of_metric.append(np.divide(hit, counted, out=np.full(hit.shape, np.nan), where=counted > 0))
    found = np.stack(of_metric, axis=1)
    known = ~np.isnan(found)
    with np.errstate(invalid="ignore"):
        overall = np.where(known, found, 0).sum(axis=0) / known.sum(axis=0)
        overall[_OVER_ALL] = hit.sum(axis=0) / true.sum(axis=0)
    return np.concatenate([overall[None], found])
