"""All metrics of one model at one condition, with intervals: of scores item by item, and of metrics over items.

A kind of task calls `of_items` where each item has a score of its own, of which the metric is the mean (accuracy, an
error in counting), and `of_weights` where all items have one together (an equal error rate, an intersection over union
that is pooled). A kind with statistics of its own makes its `Measured` itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lossybench.analysis import intervals
from lossybench.analysis.comparisons import Primary
from lossybench.analysis.intervals import LEAN, Estimate
from lossybench.analysis.sampling import Sampling
from lossybench.analysis.subgroups import Compute
from lossybench.metrics import SHARE, Metric

ALL_SEEDS = -1
_BLOCK = 2**22  # weights of items that are floats at a time

# A metric's name, or (metric, class), where the class "" stands for overall.
Named = str | tuple[str, str]
# From how often each item counts, float32 (n, resamples) of whole numbers, and the factor whose groups were drawn ("":
# the items themselves): the values (resamples,) of the metrics, NaN where a resample leaves one undefined.
Weighed = Callable[[np.ndarray, str], Mapping[Named, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Settled:
    """What a model's outcomes on originals settle for all conditions.

    chance: the primary metric of answers that do not depend on the item. kept: whatever else the kind of task measures
    every condition by, such as a threshold.
    """

    chance: float
    kept: Any = None


@dataclasses.dataclass(frozen=True)
class Measured:
    """All metrics of one model at one condition.

    names: the (metric, class) of each; the class "" stands for overall. found: of each seed and of ALL_SEEDS, what the
    metrics are, in the order of `names`. primary: the primary one. support: of each class in `names` and of "", how
    many test items it has, or what else the kind of task counts. compute: of each seed what computes the primary metric
    from how often each item counts, where it is no mean of scores of the items; ().
    """

    names: list[tuple[str, str]]
    found: dict[int, list[Estimate]]
    primary: Primary
    support: dict[str, int]
    compute: tuple[Compute, ...] = ()


def choices(seeds: Sequence[int]) -> dict[int, slice]:
    """The places of each seed, and of ALL_SEEDS."""
    return {seed: slice(place, place + 1) for place, seed in enumerate(seeds)} | {ALL_SEEDS: slice(None)}


def support(labels: np.ndarray, classes: Sequence[str]) -> dict[str, int]:
    """How often each class, and "" for any, is among the `labels`, int (any,). classes: names of all."""
    counts = np.bincount(labels, minlength=len(classes)).tolist()
    return {"": len(labels), **dict(zip(classes, counts, strict=True))}


def of_items(metrics: Sequence[Metric], scores: Mapping[int, Mapping[str, np.ndarray]], sampling: Sampling) -> Measured:
    """Metrics that are means over items of a score that each item has.

    metrics: the primary one first. scores: of each seed the scores (n,) of each metric, in the order of the task's
    items and none NaN: bool where an item is right or wrong, of which the intervals are those of shares and of paired
    shares, and floats from 0 on elsewhere, of which they are by the bootstrap.
    """
    seeds = tuple(scores)
    stacked = [np.stack([scores[seed][metric.name] for seed in seeds]) for metric in metrics]
    found: dict[int, list[Estimate]] = {seed: [] for seed in choices(seeds)}
    for metric, of_seeds in zip(metrics, stacked, strict=True):
        samples, reach = _means(of_seeds, sampling), _reach(metric, of_seeds)
        for seed, chosen in choices(seeds).items():
            if of_seeds.dtype == bool:
                found[seed].append(intervals.share(of_seeds[chosen], sampling))
            else:
                values = of_seeds[chosen].mean(axis=1)
                trials = _trials(of_seeds[chosen]) if metric.most == 1 else None
                found[seed].append(_estimate(metric, values, samples[chosen], trials, reach, sampling))
    metric, of_seeds = metrics[0], stacked[0]
    right = of_seeds if of_seeds.dtype == bool else None
    if right is not None and metric.better == "less":
        raise ValueError(f"{metric.name}: a share of items that are wrong; declare that of those that are right")
    how = _means(of_seeds, sampling), right, _reach(metric, of_seeds), of_seeds
    primary = Primary.of(metric, seeds, of_seeds.mean(axis=1), *how)
    return Measured([(metric.name, "") for metric in metrics], found, primary, {"": sampling.n})


def of_weights(
    metrics: Sequence[Metric],
    weighed: Mapping[int, Weighed],
    sampling: Sampling,
    support: Mapping[str, int] | None = None,
    trials: Mapping[Named, float] | None = None,
) -> Measured:
    """Metrics of all items together, which are computed anew for the items that each resample draws.

    metrics: the primary one first. weighed: of each seed what computes the metrics, the same ones whatever the weights.
    support: as in `Measured`; of the classes that `weighed` names. trials: of how many independent items the share is
    as uncertain as a metric between 0 and 1 is at least, for those of which it is not the number of test items: what
    holds its interval open where resamples all agree.
    """
    by_name = {metric.name: metric for metric in metrics}
    seeds, counted = tuple(weighed), {"": sampling.n, **(support or {})}
    every = [_named(compute(np.ones((sampling.n, 1), np.float32), "")) for compute in weighed.values()]
    names = sorted(every[0], key=lambda name: list(by_name).index(name[0]))  # stable: classes in the kind's order
    values = np.array([[float(one[name][0]) for name in names] for one in every])
    samples = np.stack([_resampled(compute, names, sampling) for compute in weighed.values()])
    at_least = {name: counted[name[1]] for name in names} | _named(trials or {})
    found: dict[int, list[Estimate]] = {seed: [] for seed in choices(seeds)}
    for seed, chosen in choices(seeds).items():
        for place, name in enumerate(names):
            of_name = values[chosen, place], samples[chosen, place]
            metric = by_name[name[0]]
            found[seed].append(_estimate(metric, *of_name, at_least[name], _reach(metric, of_name[1]), sampling))
    place = names.index((metrics[0].name, ""))
    reach = _reach(metrics[0], samples[:, place])
    primary = Primary.of(metrics[0], seeds, values[:, place], samples[:, place], None, reach)
    return Measured(names, found, primary, counted, tuple(_primary(one, metrics[0]) for one in weighed.values()))


def _primary(weighed: Weighed, metric: Metric) -> Compute:
    """What computes the primary `metric` alone."""
    return lambda weights: np.asarray(_named(weighed(weights, ""))[metric.name, ""])


def _named(content: Mapping[Named, Any]) -> dict[tuple[str, str], Any]:
    return {(name, "") if isinstance(name, str) else name: value for name, value in content.items()}


def _resampled(compute: Weighed, names: list[tuple[str, str]], sampling: Sampling) -> np.ndarray:
    """The metrics of all resamples: (metrics, units, resamples)."""
    found = np.empty((len(names), len(sampling.units), sampling.units[0].weights.shape[1]))
    for place, unit in enumerate(sampling.units):
        step = max(1, _BLOCK // sampling.n)
        for start in range(0, found.shape[2], step):
            some = slice(start, start + step)
            weights = unit.weights[:, some].astype(np.float32)[unit.index]
            of_some = _named(compute(weights, unit.factor))
            for at, name in enumerate(names):
                found[at, place, some] = of_some[name]
    return found


def _means(of_seeds: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Resampled means of scores (seeds, n): (seeds, units, resamples)."""
    drawn = [unit.total(np.ones(sampling.n)) for unit in sampling.units]
    return np.array(
        [[unit.total(one) / total for unit, total in zip(sampling.units, drawn, strict=True)] for one in of_seeds]
    )


def _reach(metric: Metric, values: np.ndarray) -> float:
    """How much an item may differ from others: all that the metric can, or if that has no end, the most that was seen,
    and of a share at least 1: error rates of 0 throughout would otherwise leave no doubt.

    values: of items, or of resamples.
    """
    if metric.most is not None:
        return metric.most
    return float(np.nanmax(values, initial=1.0 if metric.unit == SHARE else 0.0))


def _trials(of_seeds: np.ndarray) -> float:
    """Of how many items a share is as uncertain as the mean of scores (seeds, n) between 0 and 1.

    Their variance leans on that of items which are right or wrong, which is the largest that there is, as if there were
    LEAN items more that are so: scores that all agree are not taken for certain.
    """
    n, value = of_seeds.shape[1], float(of_seeds.mean())
    most = value * (1 - value)
    if most <= 0 or n < 2:
        return float(n)
    variance = (n * float(of_seeds.var(axis=1, ddof=1).mean()) + LEAN * most) / (n + LEAN)
    return n * most / variance


def _estimate(
    metric: Metric, values: np.ndarray, samples: np.ndarray, trials: float | None, reach: float, sampling: Sampling
) -> Estimate:
    """A metric of models that differ in their seeds. values: (seeds,). samples: (seeds, units, resamples)."""
    if metric.most == 1 and trials is not None:
        return intervals.of_share_samples(values, samples, trials, sampling)
    most = np.inf if metric.most is None else metric.most
    return intervals.of_samples(values, samples, sampling, reach, (0.0, most))
