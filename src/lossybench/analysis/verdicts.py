"""Is a loss acceptable? Non-inferiority against a margin, in three states, and the limit by a fixed sequence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from scipy.stats import norm

from lossybench.analysis.intervals import Z_ONE_SIDED, Interval

Verdict = Literal["acceptable", "unacceptable", "inconclusive", "no reference"]

POWER = 0.8
# A gap to the margin below this share of it is not resolved: the number of items would run to infinity.
LEAST_GAP = 0.1


def verdict(interval: Interval, delta: float, above_chance: float) -> Verdict:
    """Judge a difference to the original by the one-sided 95 % bounds of its `interval`. delta: the margin, above 0.

    above_chance: by how much the result on originals is shown to exceed chance (`comparisons.Reference`).

    no reference: that is not more than delta. A model that may lose all that it knows without losing delta passes every
    test of its loss, so no loss is judged. acceptable: the loss is shown to be less than delta (non-inferior).
    unacceptable: the loss is shown to be more. inconclusive: the test set is too small to say, which must never be read
    as acceptable.
    """
    if above_chance <= delta:
        return "no reference"
    if interval.lower > -delta:
        return "acceptable"
    return "unacceptable" if interval.upper < -delta else "inconclusive"


def fixed_sequence(verdicts: Sequence[Verdict]) -> int:
    """How many levels pass, tested from the mildest to the strongest until the first that is not acceptable.

    verdicts: of each level alone, from the mildest level on. In this order each test keeps its 5 % without a correction
    (Maurer, Hothorn and Lehmacher 1995). Later levels are not claimed even if they would pass alone: the curves need
    not be monotone, so a level counts only together with all milder ones.
    """
    return next((i for i, one in enumerate(verdicts) if one != "acceptable"), len(verdicts))


def items_needed(variance: float, delta: float, difference: float = 0.0) -> int:
    """The number of items that decide a paired comparison against a margin with 80 % power, one-sided 5 %.

    variance: of one item's paired difference; for right and wrong answers it is the discordant share minus
    difference^2. delta: the margin. difference: the true one (0: the codec costs nothing). Both are fractions.

    n = variance (z_0.95 + z_0.80)^2 / (delta + difference)^2 (Nam 1997, Biometrics 53:1422; Julious 2010, "Sample
    Sizes for Clinical Trials"), with a gap |delta + difference| of at least a tenth of delta; and no fewer than it
    takes when no pair disagrees (Tango's bound). The formula is for many items: where delta is close to the discordant
    share, the power that the score interval reaches is 70 to 78 %.
    """
    gap = max(abs(delta + difference), LEAST_GAP * delta)
    by_power = variance * (Z_ONE_SIDED + float(norm.ppf(POWER))) ** 2 / gap**2
    no_pair_disagrees = Z_ONE_SIDED**2 * (1 - gap) / gap
    return math.ceil(max(by_power, no_pair_disagrees))
