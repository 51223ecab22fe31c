"""Codecs at equal rate: Bjontegaard deltas of metric-over-rate curves, or the reason why there is none."""

from __future__ import annotations

import bjontegaard
import numpy as np
from scipy.optimize import isotonic_regression

# Four points suit PSNR; task metrics bend more, and six halve the error (Herglotz et al. 2024, arXiv 2304.12852).
LEAST_LEVELS = 6
LEAST_DISTINCT = 4  # points that must be left of a curve once its plateaus and dips are pooled
LEAST_SPAN = 0.01  # of the metric; BD-rate divides by it, so on flatter curves it is noise
METHOD = "pchip"  # no overshoot between points, unlike cubic splines


def bjontegaard_delta(
    rate_a: np.ndarray, value_a: np.ndarray, rate_b: np.ndarray, value_b: np.ndarray
) -> dict[str, float | str | None]:
    """Compare two codecs' curves by PCHIP over log rate (Bjontegaard 2001, VCEG-M33): columns of the table `bd`.

    rate_a, rate_b: > 0, of each level of codecs a and b. value_a, value_b: the metric at these levels, as fractions.

    Task metrics dip and saturate. BD-metric takes the curves as they are. BD-rate needs the rate as a function of the
    metric, so neighbours that break the rise are pooled first, into their mean metric and their geometric mean rate
    (isotonic regression).
    """
    a, b = _curve(rate_a, value_a), _curve(rate_b, value_b)
    row: dict[str, float | str | None] = dict.fromkeys(
        ("bd_rate", "bd_metric", "overlap_low", "overlap_high", "rate_low", "rate_high")
    )
    least = min(len(a[0]), len(b[0]))
    if least < LEAST_LEVELS:
        return row | {"status": f"only {least} levels of distinct rate; at least {LEAST_LEVELS} are needed"}
    rising_a, rising_b = _rising(*a), _rising(*b)
    distinct = min(len(rising_a[1]), len(rising_b[1]))
    row["rate_low"], row["rate_high"] = rates = _overlap(a[0], b[0])
    row["overlap_low"], row["overlap_high"] = low, high = _overlap(rising_a[1], rising_b[1])
    reasons = []
    if None in rates:
        reasons.append("the rates do not overlap")
    else:
        points = bjontegaard.bd_psnr(*a, *b, METHOD, require_matching_points=False, min_overlap=0)
        row["bd_metric"] = 100 * float(points)
    if low is None or high is None:
        reasons.append("no BD-rate: no metric value is reached by both")
    elif high - low < LEAST_SPAN:
        reasons.append(f"no BD-rate: too flat, both curves share only {100 * (high - low):.2g} points of the metric")
    elif distinct < LEAST_DISTINCT:
        reasons.append(f"no BD-rate: too flat or uneven, only {distinct} levels rise; at least {LEAST_DISTINCT} must")
    else:
        percent = bjontegaard.bd_rate(*rising_a, *rising_b, METHOD, require_matching_points=False, min_overlap=0)
        row["bd_rate"] = float(percent)
    return row | {"status": "; ".join(reasons) or "ok"}


def _curve(rates: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points by rising rate; levels of the same rate become their mean."""
    distinct, where = np.unique(rates, return_inverse=True)
    return distinct, np.bincount(where, weights=values) / np.bincount(where)


def _rising(rates: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The curve once neighbours that break the rise are pooled: rates and values then both rise strictly."""
    blocks = isotonic_regression(values).blocks
    sizes = np.diff(blocks)
    pooled_values = np.add.reduceat(values, blocks[:-1]) / sizes
    return np.exp(np.add.reduceat(np.log(rates), blocks[:-1]) / sizes), pooled_values


def _overlap(a: np.ndarray, b: np.ndarray) -> tuple[float, float] | tuple[None, None]:
    low, high = max(a.min(), b.min()), min(a.max(), b.max())
    return (float(low), float(high)) if low < high else (None, None)
