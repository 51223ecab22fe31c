"""Intervals for shares and paired differences: score intervals and the paired bootstrap over seeds and items.

All conditions of a task are resampled with the same weights, so the difference of any two conditions is paired.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm
from statsmodels.stats.proportion import proportion_confint

Z_ONE_SIDED = float(norm.ppf(0.95))
Z_TWO_SIDED = float(norm.ppf(0.975))


@dataclasses.dataclass(frozen=True)
class Interval:
    """low, high: a two-sided 95 % interval. lower, upper: one-sided 95 % bounds, together a two-sided 90 % interval."""

    low: float
    high: float
    lower: float
    upper: float

    def widest(self, other: Interval) -> Interval:
        """The wider of this interval and the `other`, bound by bound."""
        low, lower = min(self.low, other.low), min(self.lower, other.lower)
        return Interval(low, max(self.high, other.high), lower, max(self.upper, other.upper))


@dataclasses.dataclass(frozen=True)
class Resamples:
    """Bootstrap resamples of the items of a task, drawn once and used for every model and condition.

    items: float32 (n, resamples), how often each resample draws each item, so that each column sums to n. seed: of
    these draws and of the draws of training seeds.
    """

    items: np.ndarray
    seed: int

    @classmethod
    def draw(cls, n: int, resamples: int, seed: int) -> Resamples:
        """Draw `n` items with replacement, `resamples` times, by `seed`. The result takes 4 * n * resamples bytes."""
        drawn = np.random.default_rng([seed, n]).multinomial(n, np.full(n, 1 / n), size=resamples)
        return cls(np.ascontiguousarray(drawn.T, dtype=np.float32), seed)

    def seeds(self, count: int) -> np.ndarray:
        """Weights (count, resamples) of `count` training seeds; each column sums to 1. Items are drawn independently.

        A resample holds count - 1 seeds, because drawing `count` of them would understate the variance between seeds
        by the factor (count - 1)/count, one half for two seeds (McCarthy and Snowden 1985; Rao and Wu 1988).
        """
        resamples = self.items.shape[1]
        if count == 1:
            return np.ones((1, resamples))
        rng = np.random.default_rng([self.seed, count, 1])
        return rng.multinomial(count - 1, np.full(count, 1 / count), size=resamples).T / (count - 1)

    def over_seeds(self, samples: np.ndarray) -> np.ndarray:
        """Resampled means over seeds, (..., resamples), of `samples` (seeds, ..., resamples).

        All models see the same items, so seeds and items are crossed, not nested. Each resample has one draw of the
        seeds and one of the items, which makes intervals rather too wide (the pigeonhole bootstrap, Owen 2007).
        """
        return np.einsum("sr,s...r->...r", self.seeds(len(samples)), samples)


def percentile(samples: np.ndarray) -> Interval:
    """Percentile interval of bootstrap `samples` (resamples,), without resamples whose value is NaN (undefined)."""
    low, lower, upper, high = quantiles(samples, (0.025, 0.05, 0.95, 0.975))
    return Interval(low, high, lower, upper)


def quantiles(samples: np.ndarray, shares: tuple[float, ...]) -> np.ndarray:
    """Quantiles at `shares` over the last axis of `samples`, without NaN: (..., resamples) to (len(shares), ...)."""
    # nanquantile is slow, and NaN is rare.
    return (np.nanquantile if np.isnan(samples).any() else np.quantile)(samples, shares, axis=-1)


def unblinded(value: float, low: float, high: float, n: int) -> tuple[float, float]:
    """The bounds low and high of the share `value`, or wider ones where low == high.

    When no resample of the n items differs, the bootstrap is blind, not certain. The wider bounds are Wilson's interval
    where the share is 0 or 1.
    """
    if low != high:
        return low, high
    reach = all_agree(n, Z_TWO_SIDED)
    return max(value - reach, 0.0), min(value + reach, 1.0)


def wilson(count: float, n: int) -> tuple[float, float]:
    """Wilson's (1927) 95 % interval of the share count/n. `count` may be a mean over seeds."""
    low, high = proportion_confint(count, n, alpha=0.05, method="wilson")
    return float(low), float(high)


def all_agree(n: int, z: float) -> float:
    """How far from 0 a paired difference may lie although none of n pairs disagrees: z^2 / (n + z^2) (Tango 1998).

    z: the normal quantile of the confidence wanted.
    """
    return z * z / (n + z * z)


def tango(lost: float, won: float, n: int, z: float = Z_TWO_SIDED) -> tuple[float, float]:
    """Tango's score interval of the paired difference (won - lost)/n.

    lost: pairs that are right before and wrong after. won: the reverse. Both may be means over seeds. n: all pairs. z:
    the normal quantile of the confidence.

    Tango (1998), Statistics in Medicine 17:891-908. Unlike Wald and bootstrap intervals it keeps its width when few or
    no pairs disagree, so that a small test set cannot pass as equal.
    """
    return _tango_low(lost, won, n, z), -_tango_low(won, lost, n, z)


def _tango_low(lost: float, won: float, n: int, z: float) -> float:
    if lost + won == 0:
        return -all_agree(n, z)
    if lost == n:
        return -1.0
    if won == n:  # at 1 the standard error is 0, so that the search below would end there
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


def paired_score(before: np.ndarray, after: np.ndarray) -> Interval:
    """Tango's interval of the accuracy difference after - before.

    before, after: bool (seeds, n), whether an item is right. With several seeds the discordant counts are averaged, and
    n stays the number of items, because all seeds share the same items.
    """
    lost, won = discordant(before, after)
    n = before.shape[1]
    return Interval(*tango(lost, won, n, Z_TWO_SIDED), *tango(lost, won, n, Z_ONE_SIDED))


def discordant(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """How many items are lost (right before, wrong after) and won (the reverse), as means over seeds.

    before, after: bool (seeds, n), whether an item is right.
    """
    seeds = len(before)
    return float((before & ~after).sum() / seeds), float((~before & after).sum() / seeds)


def paired_guarded(difference: float, samples: np.ndarray, n: int) -> Interval:
    """Bootstrap interval of a paired difference of a metric that is no mean over items (mAP), with a guard.

    difference: the estimate. samples: (resamples,). n: items. The bootstrap cannot see what no item shows: when all
    items agree it says [0, 0], even for three of them. What is rarer than z^2/(n + z^2) may well be missing among n
    items (Tango's bound when all pairs agree), so the interval reaches at least that far from the estimate.
    """
    two, one = all_agree(n, Z_TWO_SIDED), all_agree(n, Z_ONE_SIDED)
    guard = Interval(difference - two, difference + two, difference - one, difference + one)
    widest = percentile(samples).widest(guard)
    return Interval(*(min(max(bound, -1.0), 1.0) for bound in dataclasses.astuple(widest)))
