"""What class a detector reads at each true object: one rule, for the attacks' measure of harm and for the analysis.

This module imports neither torch nor ART.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

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


def _frames_and_boxes(objects: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([one["frame"] for one in objects]), np.array([one["box"] for one in objects], np.float64)


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (..., 4), each x0, y0, x1, y1, which have an area."""
    inter = np.prod(np.maximum(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0), axis=-1)
    areas = [np.prod(one[..., 2:] - one[..., :2], axis=-1) for one in (a, b)]
    return inter / (areas[0] + areas[1] - inter)
