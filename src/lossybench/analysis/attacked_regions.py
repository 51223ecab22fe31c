"""Attacks on segmenters, region by region and as mean IoU.

A region is all pixels of one class in one item, and counts once, as an item does in classification. What is read there
follows one rule (`reading.read_regions`): the class whose pixels have an intersection over union of more than 0.5 with
the region, or nothing (-1). Robust accuracy is then the share of all true regions that are read as their class.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from lossybench.analysis.attacked_objects import CONDITIONS
from lossybench.artifacts import ATTACKS
from lossybench.masks import IGNORED, decode
from lossybench.reading import read_regions


def regions(table: pd.DataFrame) -> pd.DataFrame:
    """A `table` of artifacts.SEGMENTATION_ATTACKS as one of artifacts.ATTACKS, with one row for each true region.

    id: "item#k", where k is the region's class. label: that class. target: -1 when not targeted. clean, clean_after,
    before, after: the class read at the region, -1 for none. lost: what its intersection over union with its own class
    lacks to 1 behind the codec, by which attempts that beat as many regions are told apart. The other columns are the
    item's, as far as `table` has them. Items without a pixel of any class have no row.
    """
    truths = [decode(one) for one in table["truth"]]
    labels = [read_regions(one, one)[0] for one in truths]
    result = table.loc[table.index.repeat([len(one) for one in labels])].reset_index(drop=True)
    result["id"] = [f"{item}#{k}" for item, of_item in zip(table["id"], labels, strict=True) for k in of_item]
    classes: dict[str, Iterable[Any]] = {
        name: (read_regions(decode(found), truth)[1] for found, truth in zip(table[name], truths, strict=True))
        for name in CONDITIONS
    }
    classes["label"] = labels
    targets = zip(table["targets"], labels, strict=True)
    classes["target"] = (np.asarray(own)[one] if len(own) else np.full(len(one), -1) for own, one in targets)
    for name, of_items in classes.items():
        result[name] = np.fromiter(itertools.chain.from_iterable(of_items), np.int32)
    iou = (read_regions(decode(found), truth)[2] for found, truth in zip(table["after"], truths, strict=True))
    result = result[[name for name in ATTACKS.names if name in result]]
    return result.assign(lost=1 - np.fromiter(itertools.chain.from_iterable(iou), np.float64))


def mean_iou(rows: pd.DataFrame, name: str) -> float:
    """The mean IoU, in [0, 1], of what the column `name` of artifacts.SEGMENTATION_ATTACKS holds; NaN without a truth.

    It is of the pixels of all items together, over the classes that some item truly has.
    """
    table = np.zeros((256, 256), np.int64)
    for found, truth in zip(rows[name], rows["truth"], strict=True):
        found, truth = decode(found), decode(truth)
        known = truth != IGNORED
        table += np.bincount(truth[known].astype(np.intp) * 256 + found[known], minlength=1 << 16).reshape(256, 256)
    true, hit = table.sum(axis=1), table.diagonal()
    there = true > 0
    return float((hit / np.maximum(true + table.sum(axis=0) - hit, 1))[there].mean()) if there.any() else float("nan")
