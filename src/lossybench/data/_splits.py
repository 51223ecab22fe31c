"""Splits for data that come without, stratified by class and with no group in two splits, and the order of looks."""

from __future__ import annotations

import collections
from collections.abc import Sequence

import numpy as np

from lossybench.data.dataset import SPLITS


def assign(labels: Sequence[int], groups: Sequence[str], fractions: dict[str, float], seed: int) -> list[str]:
    """The split of each item, given its label and its group.

    fractions: the share of each split, all above 0 and together 1. Groups are dealt in an order drawn from the seed,
    the large ones first. Each goes to the split that lacks most of the group's classes relative to its share, so each
    split gets an item of every class that has as many groups as there are splits.
    """
    members: dict[str, list[int]] = collections.defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    order = np.random.default_rng(seed).permutation(sorted(members)).tolist()
    order.sort(key=lambda group: -len(members[group]))  # stable: the seeded order holds among equals

    totals = np.bincount(labels)
    splits = [split for split in SPLITS if split in fractions]
    targets = np.array([fractions[split] for split in splits])[:, None] * totals  # (splits, classes)
    dealt = np.zeros_like(targets)
    found = [""] * len(labels)
    for group in order:
        counts = np.bincount([labels[index] for index in members[group]], minlength=len(totals))
        present = counts > 0
        lack = (1 - dealt[:, present] / targets[:, present]) @ counts[present]
        chosen = int(np.argmax(lack))
        dealt[chosen] += counts
        for index in members[group]:
            found[index] = splits[chosen]
    return found


def in_looks(groups: Sequence[str], seed: int) -> list[int]:
    """The indices of the items in the order in which looks take them, given each item's group.

    Groups are in an order drawn from the seed, and the items of a group together, in a drawn order too. So each look
    brings groups that no look before had, all but the one that its end cuts through, and the spread of a mean over
    groups falls with the number of items. Classes are as balanced as in any order that is drawn.
    """
    random = np.random.default_rng([seed, len(groups)])
    place = {group: rank for rank, group in enumerate(random.permutation(sorted(set(groups))).tolist())}
    within = random.permutation(len(groups)).tolist()
    return sorted(range(len(groups)), key=lambda index: (place[groups[index]], within[index]))
