"""Bounds of shares, of paired differences and of metrics that are no means over items.

All of them know four sources of chance: which items were tested, which groups these items belong to, which seeds the
models were trained with, and in cross-validation what each fold's model learnt from. docs/statistics.md gives the
formulas, their sources and their simulated error rates.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm
from scipy.stats import t as student

from lossybench.analysis.sampling import FEWEST_SEEDS, Sampling, Units

Score = Callable[[float, float], tuple[float, float]]  # (effective items, quantile) -> bounds
# Of the scatter between seeds or folds that the few items explain, this share is taken off. Taking off all lets three
# seeds call up to 7 % acceptable at the margin instead of 5; taking off nothing makes intervals twice as wide for
# nothing.
EXPLAINED = 0.5
FURTHEST = 6.0  # standard deviations that a correction for skewness may add up to
# So many items of the mean over classes are added to a class before its variance is taken. With none, a class of one
# item would have no variance at all; with many, classes could not differ.
LEAN = 4.0
# The mean over resamples exceeds an estimate by its bias, and the largest of noisy precisions, of which average
# precision is made, is biased more than twice as much on items as on resamples of them.
BIAS = 2.0
LEAST_TAIL = 10  # resamples beyond a bootstrap bound; a bound further out is extrapolated by the normal law


@dataclasses.dataclass(frozen=True)
class Interval:
    """Bounds of an estimate.

    low, high: a two-sided interval with the error alpha, 5 % unless the study looks repeatedly. lower, upper: one-sided
    bounds with that error each. joint: a lower bound that holds for all codecs of a family at once (Bonferroni).
    """

    low: float
    high: float
    lower: float
    upper: float
    joint: float

    def limited(self, least: float, most: float) -> Interval:
        """The interval without what lies below `least` or above `most`."""
        return Interval(*(min(max(bound, least), most) for bound in dataclasses.astuple(self)))


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A figure with its interval and what makes it uncertain.

    units: the factor whose groups make the interval wide, "" where the items do. effect: that factor's design effect,
    the variance over that of as many independent items, at least 1. error: the standard error that items and groups
    leave. seeds: the number of models; with FEWEST_SEEDS or more the interval is of models that are trained anew, and
    with fewer of these models. seed_error: the standard error that the seeds leave, 0 with fewer. folds: the number of
    folds, and fold_error the standard error that their models leave; 0 with fewer than FEWEST_SEEDS.
    """

    value: float
    interval: Interval
    units: str
    effect: float
    error: float
    seeds: int
    seed_error: float
    folds: int = 0
    fold_error: float = 0.0


def share(hits: np.ndarray, sampling: Sampling) -> Estimate:
    """The share of hits of models that differ in their seeds. hits: bool (seeds, n), of each model and item."""
    of_items = hits.mean(axis=0)
    value = float(of_items.mean())

    def score(n: float, z: float) -> tuple[float, float]:
        return wilson(value, n, z)

    seed_error = math.sqrt(seed_variance(hits.astype(float)))
    return _of_means(of_items, value * (1 - value), score, len(hits), seed_error, sampling, (0.0, 1.0))


def of_influence(
    values: np.ndarray, influence: np.ndarray, spread: float, score: Score, sampling: Sampling
) -> Estimate:
    """A share that is nearly a mean over items: their influences, the derivatives by their weights, add up.

    values: (seeds,). influence: (seeds, n). spread: the variance of one item of one model, at least; influences that
    vary less are stretched to it. score: the score interval.
    """
    seeds, n = influence.shape
    seed_error = math.sqrt(seed_variance(values[:, None] + n * influence))
    raw = n * float((influence**2).sum(axis=1).mean())
    stretch = math.sqrt(spread / raw) if raw > 0 else 1.0
    of_items = values.mean() + n * stretch * influence.mean(axis=0)
    return _of_means(of_items, spread, score, seeds, seed_error, sampling, (0.0, 1.0))


def paired(before: np.ndarray, after: np.ndarray, sampling: Sampling, same_models: bool = True) -> Estimate:
    """The difference of two shares, after - before, of the same items.

    before, after: bool (seeds, n). same_models: whether the models of both are the same, seed by seed. Otherwise they
    are taken as trained independently, and may differ in number.
    """
    if same_models:
        gap = after.astype(float) - before
        lost, won = ((side).mean(axis=0).sum() for side in (before & ~after, ~before & after))
        variance = seed_variance(gap)
    else:
        right, then = before.mean(axis=0), after.mean(axis=0)
        lost, won = (right * (1 - then)).sum(), ((1 - right) * then).sum()
        variance = seed_variance(before.astype(float)) + seed_variance(after.astype(float))
    return _paired(after.mean(axis=0) - before.mean(axis=0), float(lost), float(won), min(len(before), len(after)),
                   max(len(before), len(after)), math.sqrt(variance), sampling)  # fmt: skip


def _paired(
    of_items: np.ndarray, lost: float, won: float, seeds: int, most: int, seed_error: float, sampling: Sampling
) -> Estimate:
    n = len(of_items)
    spread = (lost + won) / n - ((won - lost) / n) ** 2

    def score(effective: float, z: float) -> tuple[float, float]:
        scale = effective / n
        return tango(lost * scale, won * scale, effective, z)

    return _of_means(of_items, spread, score, seeds, seed_error, sampling, (-1.0, 1.0), most)


def _of_means(
    of_items: np.ndarray,
    spread: float,
    score: Score,
    seeds: int,
    seed_error: float,
    sampling: Sampling,
    limits: tuple[float, float],
    most_seeds: int | None = None,
) -> Estimate:
    """An estimate that is a mean over items.

    of_items: (n,), means over seeds. spread: the variance of one item of one model. score: the score interval.
    """
    n, value = len(of_items), float(of_items.mean())
    # The mean over seeds varies less from item to item than one model does, by at most their number.
    share_left = float(of_items.var(ddof=1)) / spread if spread > 0 and n > 1 else 1.0
    effective = n / min(max(share_left, 1 / (most_seeds or seeds)), 1.0)
    independent = spread / effective
    parts = [_Clusters.of(of_items, unit, independent) for unit in sampling.units[1:] if not unit.folds]
    between = _Clusters.of(of_items, sampling.folds, independent).variance if sampling.folds else 0.0

    def bounds(error: float) -> tuple[float, float]:
        low, high = score(effective, float(norm.ppf(1 - error)))
        for part in parts:
            lower, higher = part.bounds(error, score, effective)
            low, high = min(low, lower), max(high, higher)
        return low, high

    widest = max(parts, key=lambda part: part.effect, default=None)
    effect = widest.effect if widest else 1.0
    return _estimate(
        value, bounds, widest.factor if widest and effect > 1 else "", effect, math.sqrt(independent * effect), seeds,
        seed_error, between, sampling, limits
    )  # fmt: skip


def _estimate(
    value: float,
    bounds: Callable[[float], tuple[float, float]],
    units: str,
    effect: float,
    error: float,
    seeds: int,
    seed_error: float,
    between: float,
    sampling: Sampling,
    limits: tuple[float, float],
) -> Estimate:
    """Add to the bounds that items and groups give what the seeds and the folds add.

    between: the variance that the estimate had if it were a mean over independent folds; 0 without folds. The distances
    of all bounds to the estimate are added as squares (MOVER, Zou and Donner 2008, Statistics in Medicine
    27:1693-1702).
    """
    several, folds = seeds >= FEWEST_SEEDS, sampling.folds.count if sampling.folds else 0
    seed_error = seed_error if several else 0.0
    fold_error = math.sqrt(fold_variance(between, error**2, folds)) if folds else 0.0

    def both(tail: float) -> tuple[float, float]:
        low, high = bounds(tail)
        reach = float(student.ppf(1 - tail, seeds - 1)) * seed_error if several else 0.0
        further = float(student.ppf(1 - tail, folds - 1)) * fold_error if folds else 0.0
        return value - math.hypot(value - low, reach, further), value + math.hypot(high - value, reach, further)

    low, high = both(sampling.alpha / 2)
    lower, upper = both(sampling.alpha)
    joint = lower if sampling.family == 1 else both(sampling.alpha / sampling.family)[0]
    interval = Interval(low, high, lower, upper, joint).limited(*limits)
    return Estimate(value, interval, units, effect, error, seeds, seed_error, folds, fold_error)


def fold_variance(between: float, by_items: float, folds: int) -> float:
    """The variance that the choice of what models learn from gives an estimate that is pooled over folds.

    between: the variance that the estimate had if it were a mean over independent folds, the scatter of the folds over
    their number. by_items: that part of it which the items leave, or their groups. folds: their number K.

    Models of two folds share most of what they learn from, so that they err alike, and the scatter between them shows
    too little. No estimate from one cross-validation is without bias (Bengio and Grandvalet 2004, Journal of Machine
    Learning Research 5:1089-1105). Nadeau and Bengio (2003, Machine Learning 52:239-281) take the correlation of two
    models for the share of items that is tested, 1/K, and so S^2 (1/K + 1/(K - 1)) in place of S^2/K. Here the share
    EXPLAINED of what the items leave is taken off S^2 first, since those of two folds err independently.
    """
    return max(0.0, between - EXPLAINED * by_items) * (1 + folds / (folds - 1))


def of_spread(value: float, samples: np.ndarray, seeds: int, seed_variance: float, sampling: Sampling) -> Estimate:
    """An estimate that is about normal, by the standard deviation of its bootstrap samples and t quantiles.

    samples: (units, resamples), NaN where a resample leaves the estimate undefined. seeds: the number of models.
    seed_variance: that they give the estimate. The interval ends at 0 where `p_value` says its error, which percentiles
    of the samples would not.
    """
    units, deviations, between = _drawn(samples, sampling)
    widest = int(np.argmax(deviations))

    def bounds(tail: float) -> tuple[float, float]:
        reach = max(
            float(student.isf(tail, max(unit.count - 1, 1))) * deviation
            for unit, deviation in zip(units, deviations, strict=True)
        )
        return value - reach, value + reach

    effect = float((deviations[widest] / deviations[0]) ** 2) if deviations[0] > 0 else 1.0
    return _estimate(
        value, bounds, units[widest].factor, effect, float(deviations[widest]), seeds, math.sqrt(seed_variance),
        between, sampling, (-math.inf, math.inf)
    )  # fmt: skip


def _drawn(samples: np.ndarray, sampling: Sampling) -> tuple[list[Units], np.ndarray, float]:
    """The items and factors; the standard deviation that the resamples of each have; and the variance of those of the
    folds, 0 without folds.

    samples: (units, resamples).
    """
    deviations = np.nanstd(samples, axis=-1)
    units = [unit for unit in sampling.units if not unit.folds]
    return units, deviations[: len(units)], float(deviations[-1] ** 2) if sampling.folds else 0.0


def p_value(estimate: Estimate, sampling: Sampling) -> float:
    """Whether an estimate differs from 0, two-sided: the error at which an interval that is symmetric ends at 0.

    Items or groups, seeds and folds add up as in the intervals of all estimates, each with its own t quantile.
    """
    unit = next((unit for unit in sampling.units if unit.factor == estimate.units), sampling.units[0])

    def beyond(exponent: float) -> float:
        """How far the interval reaches beyond 0 if each of its tails has the error e^exponent."""
        tail = math.exp(exponent)
        of_units = float(student.isf(tail, max(unit.count - 1, 1))) * estimate.error
        of_seeds = float(student.isf(tail, estimate.seeds - 1)) * estimate.seed_error if estimate.seed_error else 0.0
        of_folds = float(student.isf(tail, estimate.folds - 1)) * estimate.fold_error if estimate.fold_error else 0.0
        return math.hypot(of_units, of_seeds, of_folds) - abs(estimate.value)

    least, most = math.log(1e-300), math.log(0.5)
    if estimate.value == 0 or beyond(least) < 0:
        return float(estimate.value == 0)
    return 2 * math.exp(brentq(beyond, least, most, xtol=1e-9))


@dataclasses.dataclass(frozen=True)
class _Clusters:
    """The groups of one factor: what their sums say of the variance of a mean over items.

    effect: the design effect, at least 1. skewness: of the mean. df: degrees of freedom of the variance. largest: the
    design effect if all items of a group were alike.
    """

    factor: str
    count: int
    n: int
    value: float
    variance: float
    effect: float
    skewness: float
    df: float
    largest: float

    @classmethod
    def of(cls, of_items: np.ndarray, unit: Units, independent: float) -> _Clusters:
        """Of the items' values (n,). independent: the variance of the mean if the items were independent."""
        n, value, count = len(of_items), float(of_items.mean()), unit.count
        sums = np.bincount(unit.index, of_items - value, minlength=count)
        variance = count / (count - 1) * float((sums**2).sum()) / n**2
        sizes = np.bincount(unit.index, minlength=count)
        largest = float((sizes**2).sum() / n)
        skewness, df = _shape(sums)
        effect = max(1.0, variance / independent) if variance > 0 else 1.0
        return cls(unit.factor, count, n, value, variance, effect, skewness, df, largest)

    def bounds(self, error: float, score: Score, effective: float) -> tuple[float, float]:
        """The wider of two: the score interval at the effective number of items with a t quantile (Rao and Scott 1992,
        Biometrics 48:577-585; Korn and Graubard 1998, Survey Methodology 24:193-201), and the cluster-robust t
        interval corrected for skewness (Hall 1992, J. R. Statist. Soc. B 54:221-228), which is never taken wider than
        if all items of a group were alike.

        Neither alone will do where few groups lose much and the others nothing.
        """
        quantile = float(student.ppf(1 - error, self.df))
        low, high = score(effective / self.effect, quantile)
        if self.variance > 0:
            alike = score(self.n / self.largest, float(student.ppf(1 - error, self.count - 1)))
            deviation = math.sqrt(self.variance)
            below, above = (deviation * _unskewed(quantile, side * self.skewness) for side in (1, -1))
            low, high = min(low, max(self.value - below, alike[0])), max(high, min(self.value + above, alike[1]))
        return low, high


def _unskewed(quantile: float, skewness: float) -> float:
    """The quantile to use where a studentised mean is skewed: Hall's cubic transformation, inverted.

    skewness: of the mean, negative where its lower tail is long. inf where the transformation has no inverse of the
    same sign, because too few groups carry the variance.
    """
    if abs(skewness) < 1e-9:
        return quantile
    inner = 1 + skewness * (quantile - skewness / 6)
    if inner <= 0:
        return math.inf if skewness < 0 else quantile
    return float(3 / skewness * (inner ** (1 / 3) - 1))


def _shape(parts: np.ndarray) -> tuple[float, float]:
    """The skewness of a sum of independent `parts` (groups,), which have a mean of 0, and the degrees of freedom of
    its estimated variance.

    The variance of a variance grows with the kurtosis: these are the degrees of freedom that have this variance
    (Satterthwaite 1946, Biometrics Bulletin 2:110-114).
    """
    squares, count = float((parts**2).sum()), len(parts)
    if squares <= 0:
        return 0.0, count - 1.0
    kurtosis = count * float((parts**4).sum()) / squares**2
    return float((parts**3).sum()) / squares**1.5, min(count - 1.0, 2 * count / max(kurtosis - 1, 1e-9))


def seed_variance(of_models: np.ndarray) -> float:
    """The variance that the choice of seeds gives a mean over seeds and items; 0 with one seed.

    of_models: (seeds, n), of each model and item. The seeds' means differ by chance already because the items are few
    (analysis of variance with crossed random effects), and the share EXPLAINED of that is taken off.
    """
    seeds, n = of_models.shape
    if seeds == 1 or n == 1:
        return 0.0
    residuals = of_models - of_models.mean(axis=0)
    by_items = EXPLAINED * residuals.var(axis=1, ddof=1).sum() / n
    return max(0.0, float((residuals.mean(axis=1) ** 2).sum() - by_items)) / (seeds * (seeds - 1))


def seed_variance_of_samples(values: np.ndarray, samples: np.ndarray, explained: float = EXPLAINED) -> float:
    """As `seed_variance`, for a metric that is no mean over items.

    values: (seeds,). samples: (seeds, resamples) of the items, the same resamples for all seeds. explained: in
    place of EXPLAINED.
    """
    seeds = len(values)
    if seeds == 1:
        return 0.0
    by_items = explained * float(np.nansum(np.nanvar(samples - samples.mean(axis=0), axis=1)))
    return max(0.0, float(((values - values.mean()) ** 2).sum()) - by_items) / (seeds * (seeds - 1))


def of_samples(
    values: np.ndarray,
    samples: np.ndarray,
    sampling: Sampling,
    guard: float = 0.0,
    limits: tuple[float, float] = (-math.inf, math.inf),
    seed_variance: float | None = None,
) -> Estimate:
    """An estimate of a metric that is no mean over items, such as mAP, by the percentile bootstrap.

    values: (seeds,). samples: (seeds, units, resamples): of the items, then of the groups of each factor in the order
    of `sampling.units`; NaN where a resample leaves the metric undefined. The distance of a group's bound to the
    estimate is stretched by how much the t quantile exceeds the normal one, and is no less than a t interval that is
    corrected for skewness, as in `_Clusters`. guard: how much an item may
    differ from the others, 1 for paired differences of shares; 0 for none. The bootstrap cannot see what no item shows:
    when all items agree it says [0, 0], even for three of them. What is rarer than z^2/(n + z^2) may well be missing
    among n items (Tango's bound when all pairs agree), so the interval reaches at least that share of the guard from
    the estimate. limits: of what the metric can be. seed_variance: of the mean over seeds;
    computed from the arrays when left out.
    """
    value = float(values.mean())
    over_seeds = samples.mean(axis=0)
    units, deviations, between = _drawn(over_seeds, sampling)
    ratios = (deviations / deviations[0]) ** 2 if deviations[0] > 0 else np.ones(len(deviations))
    widest = int(np.argmax(ratios))

    def bounds(tail: float) -> tuple[float, float]:
        z = float(norm.ppf(1 - tail))
        reach = guard * all_agree(sampling.n, z)
        low, high = value - reach, value + reach
        for unit, one in zip(units, over_seeds[: len(units)], strict=True):
            below, above = (side * (bound - value) for side, bound in zip((-1, 1), tails(one, tail), strict=True))
            if unit.factor:
                skewness, df = _shape(_influence(unit, one))
                stretch = float(student.ppf(1 - tail, unit.count - 1)) / z
                quantile, deviation = float(student.ppf(1 - tail, df)), float(np.nanstd(one))
                below, above = (
                    max(reach * stretch, deviation * min(max(quantile, _unskewed(quantile, side * skewness)), FURTHEST))
                    for side, reach in ((1, below), (-1, above))
                )
            low, high = min(low, value - below), max(high, value + above)
        return low, high

    if seed_variance is None:
        seed_variance = seed_variance_of_samples(values, samples[:, 0])
    return _estimate(
        value, bounds, units[widest].factor, float(ratios[widest]), float(deviations[widest]), len(values),
        math.sqrt(seed_variance), between, sampling, limits
    )  # fmt: skip


def _influence(unit: Units, samples: np.ndarray) -> np.ndarray:
    """How much each unit moves a metric, (units,), up to a factor: the infinitesimal jackknife, from bootstrap samples
    (resamples,) alone (Efron 2014, J. Am. Stat. Assoc. 109:991-1007).
    """
    deviations = np.nan_to_num(samples - np.nanmean(samples))
    means = unit.weights.mean(axis=1)
    found = [unit.weights[some].astype(np.float64) @ deviations for some in unit.blocks()]
    return np.concatenate(found) - means * deviations.sum()


def of_share_samples(values: np.ndarray, samples: np.ndarray, trials: float, sampling: Sampling) -> Estimate:
    """An estimate of a metric between 0 and 1 that is no mean over items, such as mAP, by the bootstrap's variance.

    Quantiles of resamples are too narrow beside 0 and 1, and where classes have few objects. So the bounds are those of
    the score interval with as many items as give the variance, of items or of groups, but never more than `trials`.
    They reach further on the side to which resamples show the estimate to be biased.

    values, samples: as in `of_samples`. trials: the number of items whose share is as uncertain as the metric of one
    model is at least.
    """
    value = float(values.mean())
    over_seeds = samples.mean(axis=0)
    units, deviations, between = _drawn(over_seeds, sampling)
    drawn, of_one = deviations**2, float(np.nanvar(samples[:, 0], axis=-1).mean())
    # The mean over seeds varies less than one model does, by at most their number.
    most = trials / min(max(drawn[0] / of_one, 1 / len(values)), 1.0) if of_one > 0 else trials
    variances = np.maximum(drawn, value * (1 - value) / most)
    effective = value * (1 - value) / variances if 0 < value < 1 else np.full(len(variances), most)
    biases = BIAS * (np.nanmean(over_seeds[: len(units)], axis=-1) - value)
    ratios = variances / variances[0] if variances[0] > 0 else np.ones(len(variances))
    widest = int(np.argmax(ratios))

    def bounds(tail: float) -> tuple[float, float]:
        found = []
        for unit, items, bias in zip(units, effective, biases, strict=True):
            z = float(student.ppf(1 - tail, unit.count - 1) if unit.factor else norm.ppf(1 - tail))
            low, high = wilson(value, items, z)
            found.append((low - max(bias, 0.0), high - min(bias, 0.0)))
        lows, highs = zip(*found, strict=True)
        return min(lows), max(highs)

    seed_error = math.sqrt(seed_variance_of_samples(values, samples[:, 0]))
    return _estimate(
        value, bounds, units[widest].factor, float(ratios[widest]), math.sqrt(variances[widest]), len(values),
        seed_error, between, sampling, (0.0, 1.0)
    )  # fmt: skip


def lean(shares: np.ndarray, sizes: np.ndarray, typical: float) -> np.ndarray:
    """The `shares` of classes, drawn towards the `typical` one, the more the smaller their `sizes` (items)."""
    return (sizes * shares + LEAN * typical) / (sizes + LEAN)


def trials_of_mean(shares: np.ndarray, sizes: np.ndarray, variance: float) -> tuple[float, float]:
    """How many items have a share as uncertain as the mean over classes of their `shares`; small ones lean on others.

    sizes: the items of each class. variance: of the mean, by resamples, which see no uncertainty in small classes.
    Returns the number, and how many items each item of a class counts for: 1, or more where the variance is less than
    if each were right or wrong at random. That is so of a mean over IoU thresholds.
    """
    mean, classes = float(shares.mean()), len(shares)
    leant = lean(shares, sizes, mean)
    plain, of_leant = (float((each * (1 - each) / sizes).sum()) / classes**2 for each in (shares, leant))
    if plain <= 0:  # so is the other, and the shares are all 0 or all 1, or the classes as one
        return classes**2 / float((1 / sizes).sum()), 1.0
    each = plain / variance if 0 < variance < plain else 1.0
    return each * mean * (1 - mean) / of_leant, each


def tails(samples: np.ndarray, tail: float) -> tuple[float, float]:
    """The quantiles at `tail` and 1 - tail of bootstrap samples (resamples,), NaN left out.

    Where fewer than LEAST_TAIL resamples lie beyond, the distance to the median is extrapolated by the normal law.
    """
    defined = samples[~np.isnan(samples)]
    if not len(defined):
        return math.nan, math.nan
    least = min(LEAST_TAIL / len(defined), 0.25)
    if tail >= least:
        low, high = np.quantile(defined, (tail, 1 - tail))
        return float(low), float(high)
    low, middle, high = np.quantile(defined, (least, 0.5, 1 - least))
    further = float(norm.ppf(tail) / norm.ppf(least))
    return float(middle - (middle - low) * further), float(middle + (high - middle) * further)


def wilson(value: float, n: float, z: float) -> tuple[float, float]:
    """Wilson's (1927) score interval of the share `value` of n items. z: the normal quantile of the confidence."""
    centre = (value + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(max(value * (1 - value), 0.0) / n + z * z / (4 * n * n))
    return max(centre - reach, 0.0), min(centre + reach, 1.0)


def all_agree(n: float, z: float) -> float:
    """How far from 0 a paired difference may lie although none of n pairs disagrees: z^2 / (n + z^2) (Tango 1998).

    z: the normal quantile of the confidence wanted.
    """
    return z * z / (n + z * z)


def tango(lost: float, won: float, n: float, z: float) -> tuple[float, float]:
    """Tango's score interval of the paired difference (won - lost)/n.

    lost: pairs that are right before and wrong after. won: the reverse. Both may be means over seeds. n: all pairs. z:
    the normal quantile of the confidence.

    Tango (1998), Statistics in Medicine 17:891-908. Unlike Wald and bootstrap intervals it keeps its width when few or
    no pairs disagree, so that a small test set cannot pass as equal.
    """
    return _tango_low(lost, won, n, z), -_tango_low(won, lost, n, z)


def _tango_low(lost: float, won: float, n: float, z: float) -> float:
    if lost + won <= 0:
        return -all_agree(n, z)
    if lost >= n:
        return -1.0
    if won >= n:  # at 1 the standard error is 0, so that the search below would end there
        return (n - z * z) / (n + z * z)
    estimate = (won - lost) / n

    def excess(difference: float) -> float:
        """The score statistic minus z, times its standard error, if the true difference were `difference`."""
        # q is the maximum-likelihood share of lost pairs, given the difference.
        a = 2 * n
        b = -won - lost + (2 * n - won + lost) * difference
        c = -lost * difference * (1 - difference)
        q = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
        variance = n * (2 * q + difference * (1 - difference))
        return n * (estimate - difference) - z * math.sqrt(max(variance, 0.0))

    return float(brentq(excess, -1.0, estimate, xtol=1e-12))
