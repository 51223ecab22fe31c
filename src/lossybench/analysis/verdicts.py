"""Is a loss acceptable? Non-inferiority against a margin, the limit by a fixed sequence, and what would decide."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

from scipy.stats import norm
from scipy.stats import t as student

from lossybench.analysis.intervals import Estimate, Interval
from lossybench.analysis.sampling import FEWEST_SEEDS, Sampling

Verdict = Literal["acceptable", "acceptable here", "unacceptable", "inconclusive", "no reference"]
ACCEPTED = ("acceptable", "acceptable here")

POWER = 0.9  # of a study that follows the advice on what is missing
TOO_CLOSE = 0.5  # a loss within this share of the margin from the margin is beside it: no practical number decides
MOST_UNITS = 100  # times as many items or groups as there are; more is no practical advice
MOST_SEEDS = 20


def verdict(interval: Interval, delta: float, above_chance: float, here: bool = False) -> Verdict:
    """Judge a difference to a reference by the one-sided bounds of its `interval`. delta: the margin, above 0.

    above_chance: by how much the reference is shown to exceed chance (`comparisons.Reference`). here: whether the items
    are of too few groups (`Sampling.few`) to say anything of others.

    no reference: the reference does not exceed chance by more than delta. A model that may lose all that it knows
    without losing delta passes every test of its loss, so no loss is judged. acceptable: the loss is shown to be less
    than delta (non-inferior). acceptable here: it is for these groups, and nothing is claimed of others. unacceptable:
    the loss is shown to be more. inconclusive: neither is shown, which must never be read as acceptable.
    """
    if above_chance <= delta:
        return "no reference"
    if interval.lower > -delta:
        return "acceptable here" if here else "acceptable"
    return "unacceptable" if interval.upper < -delta else "inconclusive"


def fixed_sequence(passes: Sequence[bool]) -> int:
    """How many levels pass, tested from the mildest to the strongest until the first that does not.

    passes: of each level alone, from the mildest level on. In this order each test keeps its 5 % without a correction
    (Maurer, Hothorn and Lehmacher 1995). Later levels are not claimed even if they would pass alone: the curves need
    not be monotone, so a level counts only together with all milder ones.
    """
    return next((place for place, one in enumerate(passes) if not one), len(passes))


@dataclasses.dataclass(frozen=True)
class Missing:
    """What an undecided comparison lacks.

    what: "items"; a factor, of which more groups are needed; "seeds"; "too close", where the loss lies beside the
    margin so that no number is given; or "no practical number". low, high: how many are needed in all, if nothing is
    lost, and if half of the margin is; None without a number.
    """

    what: str
    low: int | None = None
    high: int | None = None


def _round_up(number: int) -> int:
    """The number, or the next one with only two digits that are not 0: more are not known."""
    step = 10 ** max(len(str(number)) - 2, 0)
    return -(-number // step) * step


def missing(difference: Estimate, delta: float, sampling: Sampling, reach: float = 1.0) -> Missing:
    """What would decide an inconclusive `difference` with a power of 90 %.

    delta: the margin, above 0. reach: how much a single item may differ from the others, 1 for shares.

    The estimate is not taken for the truth, because studies whose estimate fell on the wrong side are those that end
    inconclusive. The numbers are conditional instead: they hold if the true loss is 0, and if it is half of delta.
    Where the estimated loss is itself between half and one and a half of delta, that condition is idle.

    n = v (z_alpha + z_power)^2 / gap^2 (Nam 1997, Biometrics 53:1422; Julious 2010, "Sample Sizes for Clinical
    Trials"), where v is the variance that one item or group contributes, once what seeds and folds contribute is taken
    off the squared gap.
    """
    loss = -difference.value
    if abs(loss - delta) < TOO_CLOSE * delta:
        return Missing("too close")
    z_alpha, z_power = float(norm.ppf(1 - sampling.alpha)), float(norm.ppf(POWER))
    unit = next((unit for unit in sampling.units if unit.factor == difference.units), sampling.units[0])
    numbers: list[tuple[int, int]] = []
    for gap in (delta, TOO_CLOSE * delta):
        room = (gap / (z_alpha + z_power)) ** 2  # for the variance of the estimate
        if difference.fold_error > 0:  # which more items do not change
            room -= (
                difference.fold_error * float(student.ppf(1 - sampling.alpha, difference.folds - 1)) / z_alpha
            ) ** 2
        seeds = difference.seeds
        if difference.seeds >= FEWEST_SEEDS and difference.seed_error > 0:
            by_one = difference.seeds * difference.seed_error**2

            def taken(seeds: int, by_one: float = by_one) -> float:
                return by_one / seeds * (float(student.ppf(1 - sampling.alpha, seeds - 1)) / z_alpha) ** 2

            while taken(seeds) > room / 2 and seeds <= MOST_SEEDS:
                seeds += 1
            # Few seeds may do where the items are many, so more are asked for only if the present ones fill the room.
            seeds = seeds if taken(difference.seeds) >= 0.9 * room else difference.seeds
            room -= taken(seeds)
        if seeds > MOST_SEEDS or room <= 0:
            return Missing("no practical number")
        # What is rarer than this is not seen among so many items (Tango's bound when all pairs agree).
        least = z_alpha**2 * max(reach - gap, 0.0) / gap / sampling.n
        ratio = max(difference.error**2 / room, 1.5 * least)
        numbers.append((seeds, max(_round_up(math.ceil(unit.count * ratio)), unit.count + 1)))
    (few_seeds, low), (most_seeds, high) = numbers
    if most_seeds > difference.seeds:
        return Missing("seeds", few_seeds, most_seeds)
    if high > MOST_UNITS * unit.count:
        return Missing("no practical number")
    return Missing(unit.factor or "items", low, high)
