"""Splits for data that come without, stratified by class and with no group in two splits, and the order of looks."""

from __future__ import annotations

import collections
from collections.abc import Sequence

import numpy as np

from lossybench.data.dataset import SPLITS


def assign(labels: Sequence[int], groups: Sequence[str], fractions: dict[str, float], seed: int) -> list[str]:
    """The split of each item, given its label and its group.

    fractions: the share of each split, all above 0 and together 1. Groups are dealt as by `deal`.
    """
    splits = [split for split in SPLITS if split in fractions]
    return [splits[place] for place in deal(labels, groups, [fractions[split] for split in splits], seed)]


def deal(labels: Sequence[int], groups: Sequence[str], shares: Sequence[float], seed: int | list[int]) -> list[int]:
    """Which of several parts, counted from 0, each item is in, given its label, which is at least 0, and its group.

    shares: of each part, all above 0 and together 1. Groups are dealt in an order drawn from the seed, the large ones
    first. Each goes to the part that lacks most of the group's classes relative to its share, so each part gets an item
    of every class that has as many groups as there are parts.
    """
    members: dict[str, list[int]] = collections.defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    order = np.random.default_rng(seed).permutation(sorted(members)).tolist()
    order.sort(key=lambda group: -len(members[group]))  # stable: the seeded order holds among equals

    totals = np.bincount(labels)
    targets = np.array(shares)[:, None] * totals  # (parts, classes)
    dealt = np.zeros_like(targets)
    found = [0] * len(labels)
    for group in order:
        counts = np.bincount([labels[index] for index in members[group]], minlength=len(totals))
        present = counts > 0
        lack = (1 - dealt[:, present] / targets[:, present]) @ counts[present]
        chosen = int(np.argmax(lack))
        dealt[chosen] += counts
        for index in members[group]:
            found[index] = chosen
    return found


def in_looks(labels: Sequence[int], groups: Sequence[str], seed: int) -> list[int]:
    """The indices of the items in the order in which looks take them, given each item's label and group.

    The items of a group come together, so that each look brings groups that no look before had, all but the one that
    its end cuts through, and the spread of a mean over groups falls with the number of items. Groups are in an order
    drawn from the seed in which those of each class, the one that most of a group's items have, are spread evenly.
    """
    random = np.random.default_rng([seed, len(groups)])
    of_group: dict[str, list[int]] = collections.defaultdict(list)
    for index in random.permutation(len(groups)).tolist():
        of_group[groups[index]].append(index)
    of_class: dict[int, list[str]] = collections.defaultdict(list)
    for group in random.permutation(sorted(of_group)).tolist():
        ((label, _),) = collections.Counter(sorted(labels[index] for index in of_group[group])).most_common(1)
        of_class[label].append(group)
    places = {
        group: (rank + random.random()) / len(of_class[label])
        for label in sorted(of_class)
        for rank, group in enumerate(of_class[label])
    }
    return [index for group in sorted(places, key=places.__getitem__) for index in of_group[group]]
