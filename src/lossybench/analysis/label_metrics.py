"""Accuracy, precision, recall and F1 of classification, with bootstrap samples."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.metrics import precision_recall_fscore_support

from lossybench.analysis.intervals import Resamples

PRIMARY = "accuracy"


def names(labels: np.ndarray, classes: list[str]) -> list[tuple[str, str]]:
    """The (metric, class) of each value that `measure` returns; the class "" stands for overall.

    labels: int (n,), of the test items. classes: names of all classes; those without a test item have no values.
    """
    each = [classes[k] for k in np.unique(labels)]
    kinds = ("precision", "recall", "f1")
    return [("accuracy", ""), *((kind, "") for kind in kinds), *((kind, name) for kind in kinds for name in each)]


def measure(labels: np.ndarray, predictions: np.ndarray, resamples: Resamples) -> tuple[np.ndarray, np.ndarray]:
    """Values (metrics,) and their bootstrap samples (metrics, resamples), in the order of `names`.

    labels, predictions: int (n,). Overall precision, recall and F1 are macro means over the classes in `labels`. The
    precision of a class that is never predicted is 0.
    """
    present = np.unique(labels)
    scores = precision_recall_fscore_support(labels, predictions, labels=present, zero_division=0)[:3]
    values = np.concatenate([[np.mean(labels == predictions)], np.mean(scores, axis=1), np.ravel(scores)])

    # The samples follow from the margins and the diagonal of each resample's confusion matrix.
    weights, right = resamples.items, labels == predictions
    actual = _count(labels, np.ones(len(labels), bool), present, weights)
    predicted = _count(predictions, np.isin(predictions, present), present, weights)
    hit = _count(labels, right, present, weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = hit / actual  # NaN where a resample holds no item of the class, which is then left out
        precision = np.where(actual > 0, np.where(predicted > 0, hit / predicted, 0), np.nan)
        f1 = np.where(actual > 0, 2 * hit / (predicted + actual), np.nan)
    accuracy = right.astype(np.float32) @ weights / len(labels)
    macro = [np.nanmean(each, axis=0) for each in (precision, recall, f1)]
    return values, np.concatenate([accuracy[None], macro, precision, recall, f1])


def _count(of: np.ndarray, keep: np.ndarray, classes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted numbers (classes, resamples) of items of each class among those to `keep`.

    The sparse product needs one addition for each item.
    """
    items = np.flatnonzero(keep)
    rows = np.searchsorted(classes, of[items])
    return csr_matrix((np.ones(len(items), np.float32), (rows, items)), shape=(len(classes), len(of))) @ weights
