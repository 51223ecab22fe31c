"""Accuracy, precision, recall and F1 of classification, with intervals that hold for rare classes too.

The bootstrap takes rare classes for certain: a class whose two items are right is right in every resample, and a class
of one item has no other value. So each class counts as a share of its items here (Wilson's interval), and a macro mean
as a mean of such shares, in which the variance of a small class leans on what the other classes are like. Intervals by
MOVER from the classes' own bounds were tried and are worse: Wilson's bounds of few items reach far to one side and
hardly to the other, and over many classes the excess of the one does not make up for the lack of the other.
tests/benchmarks/coverage.py compares all three.
"""

from __future__ import annotations

import numpy as np

from lossybench.analysis import intervals
from lossybench.analysis.intervals import Estimate, lean, wilson
from lossybench.analysis.sampling import Sampling

PRIMARY = "accuracy"
# All three are hits / (a * actual + b * predicted), by class: the (a, b) of each.
_WEIGHTS = {"precision": (0.0, 1.0), "recall": (1.0, 0.0), "f1": (0.5, 0.5)}


def names(labels: np.ndarray, classes: list[str]) -> list[tuple[str, str]]:
    """The (metric, class) of each estimate that `estimates` returns; the class "" stands for overall.

    labels: int (n,), of the test items. classes: names of all classes; those without a test item have no values.
    """
    each = ["", *(classes[k] for k in np.unique(labels))]
    return [(PRIMARY, ""), *((kind, name) for kind in _WEIGHTS for name in each)]


def estimates(labels: np.ndarray, predictions: np.ndarray, sampling: Sampling) -> list[Estimate]:
    """All metrics of models that differ in their seeds, in the order of `names`.

    labels: int (n,). predictions: int (seeds, n). Overall precision, recall and F1 are macro means over the classes in
    `labels`. The precision of a class that is never predicted is 0, with the interval [0, 1].
    """
    present, label = np.unique(labels, return_inverse=True)
    place = np.searchsorted(present, predictions).clip(max=len(present) - 1)
    guess = np.where(present[place] == predictions, place, len(present))  # the last: a class without a test item
    right = predictions == labels
    actual = np.bincount(label)
    hits = np.stack([np.bincount(label[one], minlength=len(present)) for one in right])
    predicted = np.stack([np.bincount(one, minlength=len(present) + 1)[:-1] for one in guess])
    recall = (hits / actual).mean(axis=0)
    found = [intervals.share(right, sampling)]
    for kind, (a, b) in _WEIGHTS.items():
        counts = a * actual + b * predicted
        each = np.divide(1, counts, out=np.zeros(counts.shape), where=counts > 0)
        # How much an item moves the ratio of its own class and that of the class it is taken for: the derivatives of
        # hits / counts, which add up to 0.
        lost = np.pad(hits * each**2, ((0, 0), (0, 1)))
        of_label = right * each[:, label] - a * lost[:, label]
        of_guess = -b * np.take_along_axis(lost, guess, axis=1)
        found.append(_mean(kind, hits, counts, recall, (of_label + of_guess) / len(present), sampling))
        for k in range(len(present)):
            one = slice(k, k + 1)
            moved = np.where(label == k, of_label, 0) + np.where(guess == k, of_guess, 0)
            found.append(_mean(kind, hits[:, one], counts[:, one], recall[one], moved, sampling))
    return found


def _mean(
    kind: str, hits: np.ndarray, counts: np.ndarray, recall: np.ndarray, influence: np.ndarray, sampling: Sampling
) -> Estimate:
    """The mean over classes of hits / counts, 0 where nothing is counted.

    hits, counts: (seeds, classes). recall: (classes,), means over seeds. influence: (seeds, n), of each item on each
    model's mean. Each class is taken as a share: hits of counts for precision and recall, and for F1, which is
    2J/(1 + J), the share J of hits among the items that are of the class or taken for it. Given these numbers, the hits
    are binomial.
    """
    of_models = np.divide(hits, counts, out=np.zeros(counts.shape), where=counts > 0)
    seen = (counts > 0).mean(axis=0)  # of each class, the share of models with something to count
    known, seen = seen > 0, seen[seen > 0]
    classes, shown = len(known), seen.sum() / len(known)
    if not shown:  # a class that is never predicted: nothing is known of its precision
        return intervals.of_influence(of_models.mean(axis=1), influence, 0.0, lambda n, z: (0.0, 1.0), sampling)
    ratios = of_models.mean(axis=0)[known] / seen
    mean = float((ratios * seen).sum() / seen.sum())
    bend = 1.0 if kind == "f1" else 0.0  # a ratio is (1 + bend) share / (1 + bend share)
    shares, typical = ratios / (1 + bend - bend * ratios), mean / (1 + bend - bend * mean)
    sizes = counts.mean(axis=0)[known] / seen * (1 + bend - bend * ratios)
    leant = lean(shares, sizes, typical)

    def slope(share: np.ndarray | float) -> np.ndarray | float:
        return (1 + bend) / (1 + bend * share) ** 2

    plain, variances = (each * (1 - each) / sizes for each in (shares, leant))
    weights = seen / classes
    independent = float((plain * (weights * slope(shares)) ** 2).sum())
    # An item that is wrong counts in two classes of F1, whose errors therefore go together.
    together = max(float((influence**2).sum(axis=1).mean()) / independent, 1.0) if independent > 0 else 1.0
    variance = together * float((variances * (weights * slope(leant)) ** 2).sum())
    if variance > 0:
        trials = typical * (1 - typical) * (shown * slope(typical)) ** 2 / variance
    else:
        trials = float(shown**2 / (weights**2 / sizes).sum())
    below = above = 0.0
    if classes > 1:
        # What does not grow less with more classes, to the second order of a Taylor series: precision is too high where
        # the sizes of the classes are the same in all test sets, and F1 too low where they are drawn. The interval
        # reaches that much further, because nobody says how the classes came to their sizes.
        if kind == "precision":
            below = float((weights * recall[known] * variances).sum())
        elif kind == "f1":
            above = float((weights * 2 / (1 + leant) ** 3 * variances).sum())

    def score(effective: float, z: float) -> tuple[float, float]:
        low, high = ((1 + bend) * each / (1 + bend * each) for each in wilson(typical, trials * effective / n, z))
        return low * shown - below, high * shown + (1 - shown) + above

    n = influence.shape[1]
    return intervals.of_influence(of_models.mean(axis=1), influence, n * variance, score, sampling)
