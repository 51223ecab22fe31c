"""Attacks on detectors, object by object and as mAP.

Each true object of each searched frame counts once, as an item does in classification. What the detector reads there
follows one rule (`reading.read`): the label of the highest-scoring detection in the object's frame with a score of at
least the model's threshold and an intersection over union of 0.5 or more with the object's box, or nothing (-1) without
such a detection.

Robust accuracy is then the share of all true objects that are read as their label, and TASR the share of the true
objects whose target is not their label that are read as their target. Detections where there is no object count in
neither; mAP sees them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lossybench.analysis.box_metrics import Frames, plain_map50
from lossybench.artifacts import ATTACKS
from lossybench.reading import read

CONDITIONS = ("clean", "clean_after", "before", "after")


def objects(table: pd.DataFrame, least: float) -> pd.DataFrame:
    """A `table` of artifacts.DETECTION_ATTACKS as one of artifacts.ATTACKS, with one row for each true object.

    least: the score from which on a detection counts, in [0, 1].
    id: "item#k", where k counts the item's objects from 0. label: the object's. target: -1 when not targeted. clean,
    clean_after, before, after: the class read at the object, -1 for none. The other columns are the item's, as far as
    `table` has them. Items without a true object have no row.
    """
    truths = table["truth"]
    result = table.loc[table.index.repeat(truths.map(len))].reset_index(drop=True)
    result["id"] = [f"{item}#{k}" for item, truth in zip(table["id"], truths, strict=True) for k in range(len(truth))]
    classes: dict[str, Iterable[Any]] = {
        name: (read(found, truth, least) for found, truth in zip(table[name], truths, strict=True))
        for name in CONDITIONS
    }
    classes["label"] = ([one["label"] for one in truth] for truth in truths)
    targets = zip(table["targets"], truths, strict=True)
    classes["target"] = (own if len(own) else [-1] * len(truth) for own, truth in targets)
    for name, of_items in classes.items():
        result[name] = np.fromiter(itertools.chain.from_iterable(of_items), np.int32)
    return result[[name for name in ATTACKS.names if name in result]]


def robust_map(rows: pd.DataFrame, name: str) -> float:
    """The mAP50, in [0, 1], of what the column `name` of artifacts.DETECTION_ATTACKS holds; NaN without a true object.

    rows: of one attack at one condition.
    """
    if not rows["truth"].map(len).sum():
        return float("nan")
    return plain_map50(_frames(rows["truth"].tolist(), rows[name].tolist()))


def _frames(truth: Sequence[Sequence[Mapping[str, Any]]], found: Sequence[Sequence[Mapping[str, Any]]]) -> Frames:
    """All items' frames one after another, each item's up to the last frame that holds anything."""
    lengths = [1 + max((one["frame"] for one in (*a, *b)), default=0) for a, b in zip(truth, found, strict=True)]
    starts = np.cumsum([0, *lengths[:-1]])

    def columns(items: Sequence[Sequence[Mapping[str, Any]]]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        flat = [(start + one["frame"], one) for start, item in zip(starts, items, strict=True) for one in item]
        flat.sort(key=lambda each: each[0])  # stable: equal scores stay in the order in which they were found
        return (
            np.array([frame for frame, _ in flat], int),
            np.array([one["box"] for _, one in flat], np.float32).reshape(-1, 4),
            np.array([one["label"] for _, one in flat], np.int64),
            np.array([one["score"] for _, one in flat], np.float32),
        )

    true_frame, true_boxes, true_labels, _ = columns(truth)
    return Frames(np.repeat(np.arange(len(lengths)), lengths), *columns(found), true_frame, true_boxes, true_labels)
