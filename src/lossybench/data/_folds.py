"""Cross-validation: each item is tested by the one model that did not learn from its fold.

The folds of a task are dealt when its items are fetched, and stand in their table. No group is in two folds.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import pydantic
from pydantic import Field, model_validator

from lossybench.data._splits import deal
from lossybench.errors import LossyBenchError, nearest, visible
from lossybench.settings import MOST, Seed, Settings

# Of what a fold's model may learn from, so much is kept to choose the epoch by: the split val.
VAL_SHARE = 0.125


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from None
    return text


class Folds(Settings):
    """Cross-validation: the items of all splits are dealt into folds, and a model for each learns from the others."""

    count: int = Field(ge=2, le=MOST, description="The number of folds, and of models for each seed.")
    by: str | None = Field(
        default=None,
        description="The factor whose groups stay together, e.g. speaker; the data set's first, or none, when left "
        "out. As many groups as folds are the folds themselves.",
    )
    pattern: Annotated[str, pydantic.AfterValidator(_pattern)] | None = Field(
        default=None,
        description="In place of `by`, a regular expression that is searched in each item's id: what its first "
        "parentheses match, or all of it, names the group, e.g. '^([1-5])-' for the folds of ESC-50.",
    )
    seed: Seed | None = Field(default=None, description="The seed that groups are dealt by; the study's when left out.")

    @model_validator(mode="after")
    def _one(self) -> Folds:
        if self.by is not None and self.pattern is not None:
            raise ValueError("give either by, a factor, or pattern, a regular expression on ids")
        return self

    def group(self, id: str, groups: Mapping[str, str]) -> str:
        """The group of an item that stays in one fold. Raises LossyBenchError where the item has none."""
        if self.pattern is not None:
            found = re.search(self.pattern, id)
            if not found or (name := found[1] if found.re.groups else found[0]) is None:
                raise LossyBenchError(f"folds.pattern: {self.pattern!r} does not match the id {visible(id)}")
            return name
        if self.by is not None and self.by not in groups:
            raise LossyBenchError(f"folds.by: the items have no factor {self.by!r}; {nearest(self.by, groups)}")
        return _group(id, groups, self.by)

    def dealt(self, items: Sequence[tuple[str, list[int]]]) -> list[int]:
        """The fold of each item, from 1 on, given its group and the classes in it.

        As many groups as folds are the folds, in their order, numbers by their size; more are dealt,
        so that folds are about equal in items of each class. Raises LossyBenchError for fewer, and for a class of which
        one fold has all items, so that the model which is tested on them knows nothing of it.
        """
        names, labels = [name for name, _ in items], strata([classes for _, classes in items])
        there = sorted(set(names), key=_natural)
        if len(there) < self.count:
            raise LossyBenchError(f"folds.count: {self.count} folds of only {len(there)} groups; ask for fewer")
        if len(there) == self.count:
            of_group = {name: fold for fold, name in enumerate(there, start=1)}
            found = [of_group[name] for name in names]
        else:
            shares = [1 / self.count] * self.count
            chosen = deal(labels, names, shares, self.seed or 0)
            found = [fold + 1 for fold in chosen]
        of_class = collections.defaultdict(set)
        for label, fold in zip(labels, found, strict=True):
            of_class[label].add(fold)
        for label, folds in sorted(of_class.items()):
            if len(of_class) > 1 and len(folds) == 1:
                (fold,) = folds
                raise LossyBenchError(
                    f"folds: all items of class {label} are in fold {fold}, whose model learns from the others alone; "
                    "give it items of more groups, or leave it out"
                )
        if missing := sorted(set(range(1, self.count + 1)) - set(found)):
            raise LossyBenchError(f"folds.count: fold {missing[0]} gets no items; ask for fewer folds")
        return found


def strata(classes: Sequence[list[int]]) -> list[int]:
    """What folds shall have about equally of: the class of each item, or 0 where some have not just one."""
    return [one[0] for one in classes] if all(len(one) == 1 for one in classes) else [0] * len(classes)


def learning(
    rows: Sequence[dict[str, Any]], fold: int, how: Mapping[str, Any], classes: Callable[[Mapping[str, Any]], list[int]]
) -> dict[str, list[dict[str, Any]]]:
    """What the model of a `fold` learns from, {train, val}: the rows of all other folds, in their order.

    rows: of the data table, with id, groups, fold and what is true of items. how: the task's `Folds` as the table's
    meta has them. classes: those in an item, given its row. VAL_SHARE of the items are val. No group is in both.
    """
    others = [row for row in rows if row["fold"] != fold]
    groups = [_group(row["id"], dict(row["groups"]), how.get("by")) for row in others]
    labels = strata([classes(row) for row in others])
    chosen = deal(labels, groups, [1 - VAL_SHARE, VAL_SHARE], [how["seed"], fold])
    return {
        split: [row for row, place in zip(others, chosen, strict=True) if place == at]
        for at, split in enumerate(("train", "val"))
    }


def _group(id: str, groups: Mapping[str, str], by: str | None) -> str:
    """The group of an item by a factor, by default the first; the item itself where there is none."""
    return groups[by] if by else next(iter(groups.values()), id)


def _natural(name: str) -> list[tuple[int, str]]:
    """What names are ordered by: 2 before 10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", name)]
