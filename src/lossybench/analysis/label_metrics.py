"""Accuracy, precision, recall and F1 of classification, with bootstrap samples."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.metrics import precision_recall_fscore_support

from lossybench.analysis.sampling import Sampling, Units

PRIMARY = "accuracy"


def names(labels: np.ndarray, classes: list[str]) -> list[tuple[str, str]]:
    """The (metric, class) of each value that `measure` returns; the class "" stands for overall.

    labels: int (n,), of the test items. classes: names of all classes; those without a test item have no values.
    """
    each = [classes[k] for k in np.unique(labels)]
    kinds = ("precision", "recall", "f1")
    return [("accuracy", ""), *((kind, "") for kind in kinds), *((kind, name) for kind in kinds for name in each)]


def measure(labels: np.ndarray, predictions: np.ndarray, sampling: Sampling) -> tuple[np.ndarray, np.ndarray]:
    """Values (metrics,) and their bootstrap samples (metrics, units, resamples), in the order of `names`.

    labels, predictions: int (n,). Overall precision, recall and F1 are macro means over the classes in `labels`. The
    precision of a class that is never predicted is 0.
    """
    present = np.unique(labels)
    scores = precision_recall_fscore_support(labels, predictions, labels=present, zero_division=0)[:3]
    values = np.concatenate([[np.mean(labels == predictions)], np.mean(scores, axis=1), np.ravel(scores)])
    return values, np.stack([_samples(labels, predictions, present, unit) for unit in sampling.units], axis=1)


def _samples(labels: np.ndarray, predictions: np.ndarray, present: np.ndarray, unit: Units) -> np.ndarray:
    """The samples, (metrics, resamples), of what resamples of `unit` draw.

    They follow from the margins and the diagonal of each resample's confusion matrix.
    """
    right = labels == predictions
    actual = _count(labels, np.ones(len(labels), bool), present, unit)
    predicted = _count(predictions, np.isin(predictions, present), present, unit)
    hit = _count(labels, right, present, unit)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = hit / actual  # NaN where a resample holds no item of the class, which is then left out
        precision = np.where(actual > 0, np.where(predicted > 0, hit / predicted, 0), np.nan)
        f1 = np.where(actual > 0, 2 * hit / (predicted + actual), np.nan)
    accuracy = hit.sum(axis=0) / actual.sum(axis=0)
    macro = [np.nanmean(each, axis=0) for each in (precision, recall, f1)]
    return np.concatenate([accuracy[None], macro, precision, recall, f1])


def _count(of: np.ndarray, keep: np.ndarray, classes: np.ndarray, unit: Units) -> np.ndarray:
    """The weighted numbers (classes, resamples) of items of each class among those to `keep`.

    The sparse product needs one addition for each item.
    """
    items = np.flatnonzero(keep)
    rows = np.searchsorted(classes, of[items])
    ones = np.ones(len(items), np.float32)
    return csr_matrix((ones, (rows, unit.index[items])), shape=(len(classes), unit.count)) @ unit.weights
