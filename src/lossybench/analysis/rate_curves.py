"""Codecs at equal rate: Bjontegaard deltas of metric-over-rate curves, or the reason why there is none.

All curves are computed side by side, one for each bootstrap resample, so that an interval takes no longer than it must.
"""

from __future__ import annotations

import dataclasses

import numpy as np

# Four points suit PSNR; task metrics bend more, and six halve the error (Herglotz et al. 2024, arXiv 2304.12852).
LEAST_LEVELS = 6
LEAST_DISTINCT = 4  # points that must be left of a curve once its plateaus and dips are pooled
LEAST_SPAN = 0.01  # of the metric; BD-rate divides by it, so on flatter curves it is noise


@dataclasses.dataclass(frozen=True)
class _Points:
    """Many curves, one after the other, each as points whose x rises strictly.

    curve: int (points,), the curve that each point is of, every number from 0 on.
    """

    curve: np.ndarray
    x: np.ndarray
    y: np.ndarray

    @property
    def first(self) -> np.ndarray:
        """The place of each curve's first point."""
        return np.flatnonzero(np.diff(self.curve, prepend=-1))

    @property
    def last(self) -> np.ndarray:
        """The place of each curve's last point."""
        return np.flatnonzero(np.diff(self.curve, append=-1))

    @property
    def count(self) -> np.ndarray:
        """The number of each curve's points."""
        return np.bincount(self.curve)

    def only(self, wanted: np.ndarray) -> _Points:
        """Some of the curves. wanted: bool (curves,)."""
        kept = wanted[self.curve]
        return _Points((np.cumsum(wanted) - 1)[self.curve[kept]], self.x[kept], self.y[kept])

    def means(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """The mean of each curve of three points or more from `low` to `high`, (curves,), which lie within it.

        Between points the curve is PCHIP, which does not overshoot as cubic splines do. The slopes are Fritsch and
        Butland's (1984, SIAM J. Sci. Stat. Comput. 5:300-304).
        """
        within = np.diff(self.curve) == 0
        step = np.where(within, np.diff(self.x), 1.0)
        rise = np.diff(self.y) / step
        slope = self._slopes(step, rise)
        second, third = (3 * rise - 2 * slope[:-1] - slope[1:]) / step, (slope[:-1] + slope[1:] - 2 * rise) / step**2

        def integral(ends: np.ndarray) -> np.ndarray:
            """Of each piece, from its first point to where `ends` (curves,) lies in it, or to its own end."""
            t = np.clip(ends[self.curve[:-1]] - self.x[:-1], 0, step)
            return t * (self.y[:-1] + t * (slope[:-1] / 2 + t * (second / 3 + t * third / 4)))

        pieces = np.where(within, integral(high) - integral(low), 0)
        return np.bincount(self.curve[:-1], pieces, minlength=len(low)) / (high - low)

    def _slopes(self, step: np.ndarray, rise: np.ndarray) -> np.ndarray:
        """The slope at each point. step, rise: (points - 1,), length and slope of the pieces between points."""
        slope = np.zeros(len(self.x))
        before, after = step[:-1], step[1:]
        with np.errstate(divide="ignore", invalid="ignore"):
            harmonic = 3 * (before + after) / ((2 * after + before) / rise[:-1] + (after + 2 * before) / rise[1:])
        slope[1:-1] = np.where(rise[:-1] * rise[1:] > 0, harmonic, 0)
        first, last = self.first, self.last
        for end, near, other in ((first, first, first + 1), (last, last - 1, last - 2)):
            one_sided = (2 * step[near] + step[other]) * rise[near] - step[near] * rise[other]
            one_sided /= step[near] + step[other]
            bends = (rise[near] * rise[other] < 0) & (abs(one_sided) > 3 * abs(rise[near]))
            slope[end] = np.where(one_sided * rise[near] <= 0, 0, np.where(bends, 3 * rise[near], one_sided))
        return slope


@dataclasses.dataclass(frozen=True)
class Curves:
    """Curves of one codec.

    Task metrics dip and saturate. `of_rate`, the metric over log rate, takes the levels as they are; levels of the same
    rate become their mean. `of_metric`, log rate over the metric, needs a rise, so neighbours that break it are pooled
    first, into their mean metric and their geometric mean rate (isotonic regression).
    """

    of_rate: _Points
    of_metric: _Points

    @classmethod
    def of(cls, rates: np.ndarray, values: np.ndarray) -> Curves:
        """rates, values: (curves, levels), rates above 0, and the metric as fractions."""
        order = np.argsort(rates, axis=1, kind="stable")
        x, y = (np.take_along_axis(each, order, axis=1).ravel() for each in (np.log(rates), values))
        points = _Points(np.repeat(np.arange(len(rates)), rates.shape[1]), x, y)
        points, _ = _pooled(points, x[:-1] == x[1:], np.ones(len(x)))
        rising, sizes = points, np.ones(len(points.x))
        while (breaks := (rising.y[:-1] >= rising.y[1:]) & (np.diff(rising.curve) == 0)).any():
            rising, sizes = _pooled(rising, breaks, sizes)
        return cls(points, _Points(rising.curve, rising.y, rising.x))


def _pooled(points: _Points, joined: np.ndarray, sizes: np.ndarray) -> tuple[_Points, np.ndarray]:
    """Replace neighbours by their mean. joined: bool (points - 1,), which points join the next one if that is of the
    same curve. sizes: (points,), how many levels each stands for; returned anew."""
    starts = np.flatnonzero(np.append(True, ~joined | (np.diff(points.curve) > 0)))
    total = np.add.reduceat(sizes, starts)
    x, y = (np.add.reduceat(each * sizes, starts) / total for each in (points.x, points.y))
    return _Points(points.curve[starts], x, y), total


@dataclasses.dataclass(frozen=True)
class Deltas:
    """What codec b has over codec a, each an array (curves,), NaN where it is undefined.

    metric: the mean difference of the metric at equal rate (BD-metric), as a fraction, over the log rates from those of
    rate_low to rate_high. log_rate: the mean difference of the log rate at equal metric (BD-rate is exp(log_rate) - 1),
    over the values from overlap_low to overlap_high. levels, distinct: points that are left of the shorter curve, and
    once plateaus and dips are pooled.
    """

    metric: np.ndarray
    log_rate: np.ndarray
    rate_low: np.ndarray
    rate_high: np.ndarray
    overlap_low: np.ndarray
    overlap_high: np.ndarray
    levels: np.ndarray
    distinct: np.ndarray

    def reasons(self) -> list[str]:
        """Why deltas of the first curves are undefined, each in some words; [] if none is."""
        levels, distinct = self.levels[0], self.distinct[0]
        if levels < LEAST_LEVELS:
            return [f"only {levels} levels of distinct rate; at least {LEAST_LEVELS} are needed"]
        reasons, span = [], self.overlap_high[0] - self.overlap_low[0]
        if np.isnan(self.rate_low[0]):
            reasons.append("the rates do not overlap")
        if np.isnan(span):
            reasons.append("no BD-rate: no metric value is reached by both")
        elif span < LEAST_SPAN:
            reasons.append(f"no BD-rate: too flat, both curves share only {100 * span:.2g} points of the metric")
        elif distinct < LEAST_DISTINCT:
            reasons.append(
                f"no BD-rate: too flat or uneven, only {distinct} levels rise; at least {LEAST_DISTINCT} must"
            )
        return reasons


def deltas(a: Curves, b: Curves) -> Deltas:
    """Compare two codecs' curves, each with that at the same place (Bjontegaard 2001, VCEG-M33)."""
    levels = np.minimum(a.of_rate.count, b.of_rate.count)
    distinct = np.minimum(a.of_metric.count, b.of_metric.count)
    low, high = _overlap(a.of_rate, b.of_rate)
    least, most = _overlap(a.of_metric, b.of_metric)
    enough = levels >= LEAST_LEVELS
    metric = _gap(a.of_rate, b.of_rate, low, high, enough & ~np.isnan(low))
    rises = enough & (distinct >= LEAST_DISTINCT) & (most - least >= LEAST_SPAN)
    log_rate = _gap(a.of_metric, b.of_metric, least, most, rises)
    return Deltas(metric, log_rate, np.exp(low), np.exp(high), least, most, levels, distinct)


def _gap(a: _Points, b: _Points, low: np.ndarray, high: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The mean of b minus a from low to high; NaN for curves that are not wanted."""
    found = np.full(len(wanted), np.nan)
    if wanted.any():
        of_a, of_b = (each.only(wanted).means(low[wanted], high[wanted]) for each in (a, b))
        found[wanted] = of_b - of_a
    return found


def _overlap(a: _Points, b: _Points) -> tuple[np.ndarray, np.ndarray]:
    """What both curves span, from and to; NaN where that is nothing."""
    low, high = np.maximum(a.x[a.first], b.x[b.first]), np.minimum(a.x[a.last], b.x[b.last])
    return np.where(low < high, low, np.nan), np.where(low < high, high, np.nan)
