"""The error levels of a study that tests look by look on a growing test split.

Whoever tests at 5 % at every look, and goes on until something is decided, calls a level acceptable by chance in more
than 5 % of studies. So each look may use a part of the 5 % alone: as much as the spending function has released by then
(Lan and DeMets 1983, Biometrika 70:659). Its form here is that of O'Brien and Fleming, which releases little while few
items are there and nearly all at the last look.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

# The density of a look's statistic is integrated from so many standard deviations below the mean on, below which lies
# less than 1e-15 of it, at the nodes of a Gauss-Legendre rule.
_REACH = 8.0
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(200)


def level(planned: Sequence[int], look: int, alpha: float = 0.05) -> float:
    """The one-sided error level, a fraction, at which a look may judge so that all looks together keep `alpha`.

    planned: the number of test items at each look. Each is larger than the one before by a tenth or more, and the first
    is at least a tenth of the last. look: the present one, from 1 on. alpha: of all looks together, one-sided, a
    fraction.

    The statistics of the looks are taken as jointly normal, with the correlation sqrt(n_j / n_k) of means over n_j
    items and over the same items with others, n_k. What looks share besides, such as groups of items and seeds of
    models, makes their statistics more alike, and an error at any of them rarer (Slepian 1962). The level follows by
    integration from look to look (Armitage, McPherson and Rowe 1969). It has six digits, so that it is the same on all
    processors.
    """
    released = [_released(n / planned[-1], alpha) for n in planned[:look]]
    density = _START
    for n, share in zip(planned, np.diff(released, prepend=0.0), strict=False):
        bound = density.bound(n, float(share))
        density = density.after(n, bound)
    return float(f"{_tail(bound):.6g}")


def first_beyond(planned: Sequence[int], bounds: Sequence[float]) -> list[float]:
    """For each look, the probability that its standard normal statistic is the first above its bound.

    planned: the number of items at each look. bounds: of the statistic at each look.
    """
    density, found = _START, []
    for n, bound in zip(planned, bounds, strict=True):
        found.append(density.beyond(n, bound))
        density = density.after(n, bound)
    return found


class _Unstopped(NamedTuple):
    """How the sum over the items is distributed where the statistic has been above no bound yet.

    items: that the sum is over. sums: its values, in units of an item's standard deviation. mass: of each value.
    """

    items: int
    sums: np.ndarray
    mass: np.ndarray

    def beyond(self, n: int, bound: float) -> float:
        """The probability that the statistic of `n` items, at least as many as here, is above the `bound`."""
        above = (bound * math.sqrt(n) - self.sums) / math.sqrt(n - self.items)
        return float(self.mass @ np.array([_tail(one) for one in above]))

    def bound(self, n: int, share: float) -> float:
        """The bound that the statistic of `n` items is above with the probability `share`, which falls as it rises."""
        low, high = -_REACH, 2 * _REACH
        while high - low > 1e-10:
            middle = (low + high) / 2
            low, high = (middle, high) if self.beyond(n, middle) > share else (low, middle)
        return high

    def after(self, n: int, bound: float) -> _Unstopped:
        """The distribution once `n` items have been looked at and the statistic was not above the `bound`."""
        width, spread = (bound + _REACH) * math.sqrt(n), math.sqrt(n - self.items)
        sums = bound * math.sqrt(n) - width * (1 - _NODES) / 2
        step = (sums[:, None] - self.sums) / spread
        density = np.exp(-(step**2) / 2) @ self.mass / (spread * math.sqrt(2 * math.pi))
        return _Unstopped(n, sums, density * _WEIGHTS * width / 2)


_START = _Unstopped(0, np.zeros(1), np.ones(1))


def _released(share: float, alpha: float) -> float:
    """The part of `alpha` that may be used up when a `share` of the largest number of items is there."""
    return 2 * _tail(NormalDist().inv_cdf(1 - alpha / 2) / math.sqrt(share))


def _tail(value: float) -> float:
    """The probability of a standard normal number above `value`, exact far out too."""
    return math.erfc(value / math.sqrt(2)) / 2
