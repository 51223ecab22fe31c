"""IoU, Dice and accuracy of segmentation, with bootstrap samples over items.

All follow from numbers of pixels that add up over items: the true ones of a class, those that were taken for it, and
those of both. A resample only weighs the items, so that its values are exact. IoU and Dice are of all pixels of all
items together, as in PASCAL VOC (Everingham et al. 2010, IJCV 88:303-338), and overall the mean over the classes that
some item truly has, the background among them where it is a class.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from lossybench.analysis.intervals import LEAN, Estimate, of_share_samples
from lossybench.analysis.sampling import Sampling, Units

PRIMARY = "miou"
KINDS = ("miou", "dice", "accuracy")
HIT, TRUE, PREDICTED = range(3)  # places in the last axis of pixel counts
# Each kind is hits / (a * true + b * predicted + c * hits), by class: the (a, b, c) of each. The accuracy of a class is
# the share of its true pixels, and overall that of all pixels, whatever their class.
_WEIGHTS = {"miou": (1.0, 1.0, -1.0), "dice": (0.5, 0.5, 0.0), "accuracy": (1.0, 0.0, 0.0)}


def names(present: np.ndarray, classes: Sequence[str]) -> list[tuple[str, str]]:
    """The (metric, class) of each value that `measure` returns; the class "" stands for overall.

    present: the labels that have a true pixel. classes: names of all classes.
    """
    return [(kind, name) for name in ("", *(classes[k] for k in present)) for kind in KINDS]


@dataclasses.dataclass(frozen=True)
class Measured:
    """All metrics of one model at one condition, in the order of `names`.

    values: (metrics,). trials: (metrics,), as `intervals.of_share_samples` takes them. samples: (metrics, units,
    resamples).
    """

    values: np.ndarray
    trials: np.ndarray
    samples: np.ndarray

    @property
    def primary(self) -> np.ndarray:
        """The samples of the primary metric, (units, resamples)."""
        return self.samples[KINDS.index(PRIMARY)]


def present(counts: np.ndarray) -> np.ndarray:
    """The labels that some item truly has. counts: (items, classes, 3), numbers of pixels."""
    return np.flatnonzero(counts[..., TRUE].sum(axis=0))


def measure(counts: np.ndarray, sampling: Sampling) -> Measured:
    """Measure one model at one condition. counts: (items, classes, 3), of HIT, TRUE and PREDICTED pixels."""
    kept = counts[:, present(counts)].astype(np.float64)
    values = _values(kept.sum(axis=0)[..., None])[:, 0]
    samples = np.stack([_values(_totals(kept, unit)) for unit in sampling.units], axis=1)
    return Measured(values, _trials(kept, values), samples)


def estimates(measured: Sequence[Measured], sampling: Sampling) -> list[Estimate]:
    """All metrics of models that differ in their seeds, in the order of `names`."""
    values, trials, samples = (
        np.stack([getattr(one, field.name) for one in measured]) for field in dataclasses.fields(Measured)
    )
    return [
        of_share_samples(values[:, at], samples[:, at], float(trials[:, at].mean()), sampling)
        for at in range(values.shape[1])
    ]


def constant(counts: np.ndarray) -> float:
    """The best mean IoU of an answer that is the same class in all pixels of all items: that of guessing.

    counts: as in `measure`, of which the true pixels are read.
    """
    true = counts[:, present(counts), TRUE].sum(axis=0)
    return float(true.max() / true.sum() / len(true))


def of_item(counts: np.ndarray) -> np.ndarray:
    """The mean IoU of each item, (...,), over the classes that it truly has. counts: (..., classes, 3)."""
    hit, true, predicted = (counts[..., at].astype(np.float64) for at in (HIT, TRUE, PREDICTED))
    union = true + predicted - hit
    each = np.divide(hit, union, out=np.zeros(hit.shape), where=union > 0)
    return (each * (true > 0)).sum(axis=-1) / np.maximum((true > 0).sum(axis=-1), 1)


def _totals(counts: np.ndarray, unit: Units) -> np.ndarray:
    """The resampled numbers of pixels, (classes, 3, resamples)."""
    of_items = counts.reshape(len(counts), -1).T
    return np.stack([unit.total(one) for one in of_items]).reshape(*counts.shape[1:], -1)


def _values(totals: np.ndarray) -> np.ndarray:
    """All metrics, (metrics, resamples), of numbers of pixels (classes, 3, resamples)."""
    hit, true, predicted = np.moveaxis(totals, 1, 0)
    of_kind = []
    for a, b, c in _WEIGHTS.values():
        counted = a * true + b * predicted + c * hit
        # A class that a resample has neither truly nor by mistake has no value there.
        of_kind.append(np.divide(hit, counted, out=np.full(hit.shape, np.nan), where=counted > 0))
    found = np.stack(of_kind, axis=1)  # classes, kinds, resamples
    known = ~np.isnan(found)
    with np.errstate(invalid="ignore"):
        overall = np.where(known, found, 0).sum(axis=0) / known.sum(axis=0)
        overall[KINDS.index("accuracy")] = hit.sum(axis=0) / true.sum(axis=0)
    return np.concatenate([overall[None], found]).reshape(-1, totals.shape[-1])


def _trials(counts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The trials (metrics,) of `Measured`: the items whose share is as uncertain as a metric is at least.

    A class that few items have seems certain to the bootstrap. So the spread of its items leans on that of the other
    classes' items, as if it had LEAN items of theirs besides. Where nothing spreads, items count as right or wrong.
    """
    hit, true, predicted = np.moveaxis(counts, -1, 0)
    of_class = values.reshape(-1, len(KINDS))
    least = np.zeros(of_class.shape)
    items = np.maximum((true > 0).sum(axis=0), 1)
    for at, (a, b, c) in enumerate(_WEIGHTS.values()):
        counted = a * true + b * predicted + c * hit
        # The derivatives of the ratio by the weights of the items, whose squares add up to its variance.
        moved = (hit - of_class[1:, at] * counted) / np.maximum(counted.sum(axis=0), 1)
        spread = items * (moved**2).sum(axis=0)
        leant = (items * spread + LEAN * spread.mean()) / (items + LEAN)
        least[1:, at] = leant / items
        least[0, at] = least[1:, at].sum() / len(items) ** 2
    at = KINDS.index("accuracy")
    missed = (hit.sum(axis=1) - of_class[0, at] * true.sum(axis=1)) / true.sum()
    least[0, at] = (missed**2).sum()
    possible = of_class * (1 - of_class)
    plain = np.broadcast_to(np.concatenate([[len(counts)], items]).astype(float)[:, None], least.shape)
    return np.divide(possible, least, out=plain.copy(), where=(least > 0) & (possible > 0)).ravel()
