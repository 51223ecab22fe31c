"""What a model that never looks at its items has right, and whether a model is shown to do better.

This is for accuracy. Of a detector, what it has right without looking is known from its own detections
(`analysis.box_metrics.unseen`), and is at least the mAP of 0 that finding nothing has.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest


def chance(labels: Sequence[int] | np.ndarray, classes: int) -> float:
    """The accuracy of the best constant answer: the share, in (0, 1], of the largest class among `labels`.

    Whoever guesses without looking has no more right on average, with whatever odds, and 1 / classes where all classes
    are equally frequent. labels: of the items, each in [0, classes). Raises ValueError for other labels and for none.
    """
    counts = np.bincount(np.asarray(labels, dtype=np.int64), minlength=classes)
    if len(counts) > classes or not counts.any():
        raise ValueError(f"labels have to be from 0 to {classes - 1}, and at least one")
    return float(counts.max() / counts.sum())


def lower_bound(right: int, items: int) -> float:
    """The exact one-sided 95 % lower bound, in [0, 1), of an accuracy (Clopper and Pearson 1934).

    right: how many of the `items` are right. Whatever the true accuracy is, the bound lies above it in at most 5 % of
    test sets.
    """
    return float(binomtest(right, items, alternative="greater").proportion_ci(0.95).low)


def above_chance(right: int, items: int, chance: float, margin: float) -> bool:
    """Whether an accuracy is shown to exceed `chance` by more than `margin`, shares in [0, 1] both.

    A model that only guesses passes on at most 5 % of test sets. right, items: as of `lower_bound`.
    """
    return lower_bound(right, items) > chance + margin
