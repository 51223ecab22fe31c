"""What class a detector reads at each true object, and a segmenter at each true region: one rule of each, for the
attacks' measure of harm and for the analysis.

This module imports neither torch nor ART.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lossybench.masks import IGNORED

IOU = 0.5  # the least intersection over union of a detection that counts with the object
NOTHING = -1  # the class read where no detection counts


def read(found: Sequence[Mapping[str, Any]], truth: Sequence[Mapping[str, Any]], least: float) -> np.ndarray:
    """The class (K,) that is read at each of K true objects.

    found, truth: the detections and the true objects of one item, each {frame, box [x0, y0, x1, y1], label, score}.
    least: the model's threshold, in [0, 1]. Of the detections in the object's frame with a score of `least` or more and
    an intersection over union with the object's box of IOU or more, whatever their labels, the highest-scoring one
    gives the class; without any it is NOTHING. A detection may be read at several objects.
    """
    counted = [one for one in found if one["score"] >= least]
    if not len(truth) or not counted:
        return np.full(len(truth), NOTHING)
    frames, boxes = _frames_and_boxes(counted)
    at, objects = _frames_and_boxes(truth)
    labels = np.array([one["label"] for one in counted], np.int64)
    scores = np.array([one["score"] for one in counted], np.float64)
    near = (at[:, None] == frames) & (_iou(objects[:, None], boxes) >= IOU)
    best = np.where(near, scores, -np.inf).argmax(1)
    return np.where(near.any(1), labels[best], NOTHING)


def read_regions(found: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The classes (K,) of the true regions of an item, the class (K,) that is read at each, and how well each is found.

    found, truth: masks, uint8 (H, W) of one size. A region is all pixels of one class. It is read as the class whose
    pixels have an intersection over union with it of more than IOU, which can be one alone, or as NOTHING. How well it
    is found is the intersection over union (K,) of its own class. Pixels that are truly IGNORED are left out.
    """
    known = truth != IGNORED
    table = np.bincount(truth[known].astype(np.intp) * 256 + found[known], minlength=1 << 16).reshape(256, 256)
    labels = np.flatnonzero(table.sum(axis=1))
    both = table[labels]
    iou = both / np.maximum(both.sum(axis=1, keepdims=True) + table.sum(axis=0) - both, 1)
    read_as = np.where(iou.max(axis=1, initial=0) > IOU, iou.argmax(axis=1), NOTHING)
    return labels, read_as, iou[np.arange(len(labels)), labels]


def _frames_and_boxes(objects: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([one["frame"] for one in objects]), np.array([one["box"] for one in objects], np.float64)


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (..., 4), each x0, y0, x1, y1, which have an area."""
    inter = np.prod(np.maximum(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0), axis=-1)
    areas = [np.prod(one[..., 2:] - one[..., :2], axis=-1) for one in (a, b)]
    return inter / (areas[0] + areas[1] - inter)
