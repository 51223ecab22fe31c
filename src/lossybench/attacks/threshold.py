"""From which score on what a detector finds counts: chosen for each model on clean validation items.

Scores of different models cannot be compared, and one that is high for one model is low for another. From 0.5 on the
small FCOS of digit scenes reads 65 % of the true objects of its validation items as their class, at an mAP50 of 78 %.
The threshold is therefore the score at which that share (`reading.read`) is nearest to the mAP50 on the same items.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lossybench import codecs
from lossybench.artifacts import iter_rows
from lossybench.attacks.detectors import DetectionVictim
from lossybench.attacks.items import chosen
from lossybench.conditions import ORIGINAL
from lossybench.errors import LossyBenchError, naming
from lossybench.reading import read
from lossybench.tasks.media import to_float

ITEMS = 200
TRIED = np.arange(99, 0, -1) / 100  # from 0.99 to 0.01, even if no score lets the model read as much as its mAP50 says

_log = logging.getLogger(__name__)


def choose(data: Path, victim: DetectionVictim, seed: int) -> dict[str, Any]:
    """The threshold of `victim`, a bare detector, as the tables of its attacks state it: {threshold, threshold_from}.

    data: the data table. The threshold is chosen on its validation items, or on its test items where it has none, as
    the data of an existing model may; of more than ITEMS on the first of a permutation by `seed`. It is one of TRIED;
    of equally near ones the highest, so that a model that reads nothing has the highest of all. threshold_from says on
    what it was chosen: {split, items, objects, map50, found}, where `found` is the share of the objects that are read
    as their class from the threshold on. Raises LossyBenchError for an item that cannot be decoded, and where no item
    has an object.
    """
    splits = [row["split"] for row in iter_rows(data, ["split"])]
    split = "val" if "val" in splits else "test"
    if split == "test":
        _log.warning("%s: no validation items; from which score on objects count is chosen on test items", data)
    places = set(chosen(splits.count(split), ITEMS, seed).tolist())
    task, lossless = victim.task, codecs.get(ORIGINAL)
    predictions, targets = [], []
    rows = iter_rows(data, ["id", "media", "shape", "sampling_rate", *victim.task.truth.names], splits=[split])
    for row in (row for place, row in enumerate(rows) if place in places):
        with naming(f"{data}: item {row['id']}"), torch.inference_mode():
            media = lossless.decode(row["media"], tuple(row["shape"]), row["sampling_rate"])
            examples = task.examples(media, row, training=False)
            batch = torch.from_numpy(np.stack([example.media for example in examples]))
            predictions += task.predict(victim.network, to_float(batch, task.medium, victim.device))
            targets += [example.target for example in examples]
    objects = sum(len(target["labels"]) for target in targets)
    if not objects:
        raise LossyBenchError(
            f"{data}: none of {len(places)} items of the split {split} has an object, so that the score from which on "
            "what a detector finds counts cannot be chosen; put items with objects into that split"
        )
    map50 = task.score(predictions, targets)
    shares = _shares(predictions, targets)
    best = int(np.abs(shares - map50).argmin())  # the first of equals, which is the highest
    said = {"split": split, "items": len(places), "objects": objects, "map50": map50, "found": float(shares[best])}
    return {"threshold": float(TRIED[best]), "threshold_from": said}


def _shares(predictions: list[dict[str, np.ndarray]], targets: list[dict[str, np.ndarray]]) -> np.ndarray:
    """The share of the true objects of examples that are read as their class, for each of the scores TRIED."""
    right = np.zeros(len(TRIED))
    for prediction, target in zip(predictions, targets, strict=True):
        found, truth = ([_one(each, k) for k in range(len(each["labels"]))] for each in (prediction, target))
        right += [int((read(found, truth, least) == target["labels"]).sum()) for least in TRIED]
    return right / sum(len(target["labels"]) for target in targets)


def _one(arrays: dict[str, np.ndarray], k: int) -> dict[str, Any]:
    """The k-th object as `read` takes it; a true one has no score."""
    score = float(arrays["scores"][k]) if "scores" in arrays else 1.0
    return {"frame": 0, "box": arrays["boxes"][k], "label": int(arrays["labels"][k]), "score": score}
