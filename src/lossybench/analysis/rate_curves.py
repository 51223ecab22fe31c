"""Codecs at equal rate: Bjontegaard deltas of metric-over-rate curves, or the reason why there is none."""

from __future__ import annotations

import dataclasses

import bjontegaard
import numpy as np
from scipy.optimize import isotonic_regression

# Four points suit PSNR; task metrics bend more, and six halve the error (Herglotz et al. 2024, arXiv 2304.12852).
LEAST_LEVELS = 6
# What is left of a curve once its plateaus and dips are pooled; fewer are no curve.
LEAST_DISTINCT = 4
LEAST_SPAN = 0.01  # of the metric; BD-rate divides by it, so on flatter curves it is noise
METHOD = "pchip"  # no overshoot between points, unlike cubic splines


@dataclasses.dataclass(frozen=True)
class Delta:
    """b against a. rate: % more rate at equal metric; metric: points more at equal rate; None where refused.

    overlap: metric values that `rate` averages over; rates: what `metric` averages over; (None, None) without any.
    status: "ok" or the reasons of refusal.
    """

    rate: float | None
    metric: float | None
    overlap: tuple[float | None, float | None]
    rates: tuple[float | None, float | None]
    status: str


def bjontegaard_delta(rate_a: np.ndarray, value_a: np.ndarray, rate_b: np.ndarray, value_b: np.ndarray) -> Delta:
    """Average difference of two codecs' curves over log rate by PCHIP (Bjontegaard 2001, VCEG-M33).

    rate_*: > 0, bits a unit, one a level; value_*: metric, fractions. Task metrics dip and saturate: BD-metric
    takes the curves as they are; BD-rate needs metric -> rate to be a function, so neighbours that break the rise
    are pooled into their mean first (isotonic regression), in rate as in metric.
    """
    a, b = _curve(rate_a, value_a), _curve(rate_b, value_b)
    least = min(len(a[0]), len(b[0]))
    if least < LEAST_LEVELS:
        reason = f"only {least} levels of distinct rate; at least {LEAST_LEVELS} are needed"
        return Delta(None, None, (None, None), (None, None), reason)
    rising_a, rising_b = _rising(*a), _rising(*b)
    rates, overlap = _overlap(a[0], b[0]), _overlap(rising_a[1], rising_b[1])
    distinct = min(len(rising_a[1]), len(rising_b[1]))
    reasons = []
    rate = metric = None
    if rates is None:
        reasons.append("the rates do not overlap")
    else:
        metric = 100 * float(bjontegaard.bd_psnr(*a, *b, METHOD, require_matching_points=False, min_overlap=0))
    if overlap is None:
        reasons.append("no BD-rate: no metric value is reached by both")
    elif overlap[1] - overlap[0] < LEAST_SPAN:
        points = 100 * (overlap[1] - overlap[0])
        reasons.append(f"no BD-rate: too flat, both curves share only {points:.2g} points of the metric")
    elif distinct < LEAST_DISTINCT:
        reasons.append(f"no BD-rate: too flat or uneven, only {distinct} levels rise; at least {LEAST_DISTINCT} must")
    else:
        rate = float(bjontegaard.bd_rate(*rising_a, *rising_b, METHOD, require_matching_points=False, min_overlap=0))
    return Delta(rate, metric, overlap or (None, None), rates or (None, None), "; ".join(reasons) or "ok")


def _curve(rates: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By rising rate; levels of the same rate become their mean."""
    distinct, where = np.unique(rates, return_inverse=True)
    return distinct, np.bincount(where, weights=values) / np.bincount(where)


def _rising(rates: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The curve with pooled violators: strictly rising in both."""
    blocks = isotonic_regression(values).blocks
    sizes = np.diff(blocks)
    pooled_values = np.add.reduceat(values, blocks[:-1]) / sizes
    pooled_rates = np.exp(np.add.reduceat(np.log(rates), blocks[:-1]) / sizes)
    return pooled_rates, pooled_values


def _overlap(a: np.ndarray, b: np.ndarray) -> tuple[float, float] | None:
    low, high = max(a.min(), b.min()), min(a.max(), b.max())
    return (float(low), float(high)) if low < high else None
