"""Rows of the table `subgroups`: by what a loss hurts, and which groups lose more than the average.

Test items are told apart by their class and by the factors that the data set names; a kind of task may tell apart more,
such as objects by their size. In each group the primary metric is taken of what is in it, and its loss is compared with
that of all items together. All of it speaks of these very models and groups: what is drawn by chance is the items
within a group, and the groups of another factor where each has enough of them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student
from statsmodels.stats.multitest import multipletests

from lossybench.analysis import intervals
from lossybench.analysis.comparisons import Primary
from lossybench.analysis.outcomes import Row, TestSet
from lossybench.analysis.sampling import Sampling
from lossybench.enough import FEWEST_OF_CLASS
from lossybench.errors import LossyBenchError, nearest

CLASS = "class"
MOST_GROUPS = 50  # of a factor that is looked at without being asked for
RESAMPLES = 200  # tell a standard error within 5 %
# Resamples of a group in which the metric is undefined are left out; where they are more than this share, it is not
# judged, because those that are left have something in common.
MOST_UNDEFINED = 0.05


@dataclasses.dataclass(frozen=True)
class Group:
    """Some of the test items, or of what is in them, at one condition; all are means over seeds, more is better.

    items: int (m,), the places of the items that it lies in. support: how many test items it has, or what else the kind
    of task counts. value: the primary metric of what is in it, NaN where there is none. scores: (m,), those of the
    items of which the value is the mean; None for other metrics, of which there are samples: (units, resamples), units
    as in `Sampling.of(items)`.
    """

    items: np.ndarray
    support: int
    value: float
    scores: np.ndarray | None = None
    samples: np.ndarray | None = None


# What tells apart -> the name of each group -> what it is at one condition.
Groups = Mapping[str, Mapping[str, Group]]
# From how often each item counts, float32 (n, resamples), to the primary metric's own values (resamples,).
Compute = Callable[[np.ndarray], np.ndarray]


def wanted(task: TestSet, labels: list[list[int]], by: list[str] | None, tells: tuple[str, ...]) -> list[str]:
    """What the losses of a task are told apart by, in this order.

    labels: the classes in each item. by: what the config asks for; None for all that there is, of factors those of 2 to
    MOST_GROUPS groups. tells: what the kind of task tells apart itself. Raises LossyBenchError for what is not there.
    """
    own = list(dict.fromkeys([*[CLASS] * (_by_class(labels) is not None), *tells]))
    there = [*own, *(factor for factor in task.groups if factor not in own)]
    for name in by or ():
        if name not in there:
            raise LossyBenchError(f"{task.name}: `by` has {name!r}, which tells no items apart; {nearest(name, there)}")
    few = {factor for factor, names in task.group_names.items() if 2 <= len(names) <= MOST_GROUPS}
    return [name for name in there if name in few or name in own] if by is None else list(by)


def parts(task: TestSet, labels: list[list[int]], by: Iterable[str]) -> dict[str, dict[str, np.ndarray]]:
    """The items of each group, int (m,) their places, of all in `by` that tells whole items apart."""
    found = {}
    for name in by:
        index = _by_class(labels) if name == CLASS else task.groups.get(name)
        if index is not None:
            titles = task.classes if name == CLASS else task.group_names[name]
            places = {title: np.flatnonzero(index == place) for place, title in enumerate(titles)}
            found[name] = {title: items for title, items in places.items() if len(items)}
    return found


def _by_class(labels: list[list[int]]) -> np.ndarray | None:
    """The class of each item; None unless each has one."""
    return np.array(labels)[:, 0] if labels and all(len(each) == 1 for each in labels) else None


def of_scores(scores: np.ndarray, items: np.ndarray) -> Group:
    """A group of some `items`, int (m,), by the `scores` (seeds, n) of all, turned so that more is better."""
    own = scores[:, items].mean(axis=0)
    return Group(items, len(items), float(own.mean()), scores=own)


def of_metric(compute: Sequence[Compute], sign: int, items: np.ndarray, support: int, sampling: Sampling) -> Group:
    """A group by a metric of all that is in it together. compute: of each seed. sign: of the metric."""
    inside = np.zeros((sampling.n, 1), np.float32)
    inside[items] = 1
    samples = []
    for unit in sampling.of(items).units:
        weights = np.zeros((sampling.n, min(RESAMPLES, unit.weights.shape[1])), np.float32)
        weights[items] = unit.weights[unit.index, :RESAMPLES]
        samples.append(np.mean([one(weights) for one in compute], axis=0))
    return Group(
        items, support, sign * float(np.mean([one(inside)[0] for one in compute])), None, sign * np.array(samples)
    )


def of_parts(
    parts: Mapping[str, Mapping[str, np.ndarray]], primary: Primary, compute: Sequence[Compute], sampling: Sampling
) -> Groups:
    """The groups of whole items in one condition. parts: their items. primary: the metric of all. compute: of each
    seed what computes it, where items have no scores of their own."""

    def group(items: np.ndarray) -> Group:
        if primary.scores is not None:
            return of_scores(primary.scores, items)
        return of_metric(compute, primary.metric.sign, items, len(items), sampling)

    if primary.scores is None and not compute:
        return {}
    return {by: {name: group(items) for name, items in groups.items()} for by, groups in parts.items()}


def subgroup_rows(
    where: Row, before: tuple[Groups, Primary], after: tuple[Groups, Primary], by: Iterable[str], sampling: Sampling
) -> Iterator[Row]:
    """Rows of the table `subgroups` of one model at one condition.

    where: its columns that say which. before, after: the groups, and the primary metric of all items, on originals and
    at this condition. by: what tells apart, in the order of the rows. sampling: of the task's items.
    """
    sign = before[1].metric.sign
    for name_by in (name for name in by if name in after[0]):
        own, here = before[0][name_by], after[0][name_by]
        found = {name: _Loss.of(own[name], group, before[1], after[1], sampling) for name, group in here.items()}
        judged = [name for name, one in found.items() if one.judged] if len(found) > 1 else []
        corrected = multipletests([found[name].p for name in judged], method="holm")[1] if judged else []
        holm = dict(zip(judged, map(float, corrected), strict=True))
        for name, one in found.items():
            hurt = name in holm and holm[name] < sampling.alpha
            row = {"by": name_by, "group": name, "support": here[name].support}
            row |= {"reference": sign * own[name].value, "value": sign * here[name].value}
            row |= {"p": one.p if name in holm else None, "p_holm": holm.get(name), "hurt": hurt}
            yield where | row | one.columns(name in holm, len(judged), hurt, sampling)


@dataclasses.dataclass(frozen=True)
class _Loss:
    """What a group loses, and by how much that exceeds what all items lose.

    errors: of each unit that is drawn within the group, its degrees of freedom and the standard errors of both. least:
    how far the loss may be off by what no item shows (`intervals.all_agree`). most: of the loss. judged: whether it has
    enough in it.
    """

    loss: float
    excess: float
    errors: tuple[tuple[int, float, float], ...]
    n: int
    least: float
    most: float
    judged: bool

    @classmethod
    def of(cls, before: Group, after: Group, all_before: Primary, all_after: Primary, sampling: Sampling) -> _Loss:
        """Of a group on originals and at a condition. Other arguments: see `subgroup_rows`."""
        items, m, n = after.items, len(after.items), sampling.n
        within = sampling.of(items)
        loss = before.value - after.value
        average = float((all_before.values - all_after.values).mean())
        errors: list[tuple[int, float, float]] = []
        places = [place for place, unit in enumerate(sampling.units) if unit.factor in {u.factor for u in within.units}]
        if before.scores is not None and after.scores is not None and all_before.scores is not None:
            assert all_after.scores is not None
            gone, every = before.scores - after.scores, (all_before.scores - all_after.scores).mean(axis=0)
            own = (gone - gone.mean()) / m
            influence = (every.mean() - every) / n
            influence[items] += own
            for place, unit in zip(places, within.units, strict=True):
                errors.append((unit.count - 1, _error(unit.index, own), _error(sampling.units[place].index, influence)))
            # If the group loses what all lose, its items scatter as all do. Where they scatter less, that is by chance,
            # and where they scatter more, their own errors are larger: the larger of the two is kept in either case.
            floor = float(every.std()) * math.sqrt(max(1 / m - 1 / n, 0.0))
        else:
            assert before.samples is not None and after.samples is not None
            all_samples = (all_before.samples - all_after.samples).mean(axis=0)[:, : after.samples.shape[1]]
            of_group = before.samples - after.samples
            for place, unit, one in zip(places, within.units, of_group, strict=True):
                if np.isnan(one).mean() <= MOST_UNDEFINED:
                    errors.append((unit.count - 1, float(np.nanstd(one)), float(np.nanstd(one - all_samples[place]))))
            share = min(abs(average) / all_before.reach, 1.0) if all_before.reach > 0 else 0.0
            floor = all_before.reach * math.sqrt(share * (1 - share) / max(after.support, 1))
        enough = min(after.support, m) >= FEWEST_OF_CLASS and len(errors) == len(within.units)
        judged = enough and math.isfinite(loss) and m > 1
        floored = tuple((max(df, 1), of_loss, max(error, floor)) for df, of_loss, error in errors)
        return cls(loss, loss - average, floored, m, all_before.reach, all_before.limits[1], judged)

    @property
    def p(self) -> float:
        """Whether the group loses more than all items, one-sided, by a t test."""
        return max(
            float(student.sf(self.excess / error, df)) if error > 0 else float(self.excess <= 0)
            for df, _, error in self.errors
        )

    def columns(self, judged: bool, count: int, hurt: bool, sampling: Sampling) -> Row:
        """The columns of both with their intervals, null where the group is not judged.

        count: of the groups that are judged; the intervals of the excess hold for all of them at once, and end at 0
        where Holm's procedure has shown more (Strassburger and Bretz 2008, Statistics in Medicine 27:4914-4927). hurt:
        whether it has.
        """
        if not judged:
            names = ("loss", "excess")
            return {f"{name}{end}": None for name in names for end in ("", "_low", "_high")} | {"judged": False}
        tail = sampling.alpha / 2
        reach = max(float(student.isf(tail, df)) * error for df, error, _ in self.errors)
        reach = max(reach, self.least * intervals.all_agree(self.n, float(norm.isf(tail))))
        further = max(float(student.isf(tail / count, df)) * error for df, _, error in self.errors)
        row = {"loss": self.loss, "loss_low": max(self.loss - reach, -self.most)}
        row["loss_high"] = min(self.loss + reach, self.most)
        low = self.excess - further
        row |= {
            "excess": self.excess,
            "excess_low": max(low, 0.0) if hurt else low,
            "excess_high": self.excess + further,
        }
        return row | {"judged": True}


def _error(index: np.ndarray, influence: np.ndarray) -> float:
    """The standard error of what the `influence` (n,) of items add up to, which are drawn by units; index: theirs."""
    sums = np.bincount(index, influence)
    count = len(sums)
    return math.sqrt(count / (count - 1) * float((sums**2).sum())) if count > 1 else math.inf
