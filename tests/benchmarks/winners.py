"""How often are two identical codecs told apart, and do the intervals of Bjontegaard deltas cover?

Run `python tests/benchmarks/winners.py`; it takes some minutes, and prints a row for each kind of study. `--quick` runs
a tenth of the studies.

A study has items, some more difficult than others, whose media are also larger or smaller than others. A model is right
about an item at a level of a codec with a probability that follows from the codec's curve, and about one item at all
levels more or less together. Seeds and groups of items may differ. Codecs are identical if their curves are: at the
same levels, or at levels between each other's. Before, whichever had more at equal rate most often came out ahead.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import math
from itertools import combinations

import numpy as np
from scipy.stats import norm

from lossybench.analysis.comparisons import Primary
from lossybench.analysis.equal_rate import bd_rows
from lossybench.analysis.outcomes import Row
from lossybench.analysis.rate_curves import Curves, deltas
from lossybench.analysis.sampling import Sampling
from lossybench.conditions import REFERENCE, Condition

LEVELS = np.linspace(-3, 0.6, 7)  # log rates
ALIKE = 0.05  # points between the curves of identical codecs at other levels
TOGETHER = 0.8  # the share of an item's luck that is the same at all levels of all codecs


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of study.

    codecs: all of the same curve but the last, which has it at `rate` times the rate and with `more` of the metric.
    between: whether levels of every second codec lie between those of the others. groups: of the items, with the
    correlation `alike` within a group; 0 for independent items. scatter: standard deviation of what a seed adds to the
    accuracy at all levels of one codec.
    """

    items: int
    codecs: int = 2
    rate: float = 1.0
    more: float = 0.0
    between: bool = False
    groups: int = 0
    alike: float = 0.1
    seeds: int = 1
    scatter: float = 0.0

    def __str__(self) -> str:
        what = f"{self.codecs} codecs, {self.items:5,} items"
        what += f" in {self.groups} groups" * bool(self.groups) + f", {self.seeds} seeds" * (self.seeds > 1)
        what += ", levels between" * self.between + f", {self.rate:g} times the rate" * (self.rate != 1)
        return what + f", {100 * self.more:+g} points" * bool(self.more)

    def curves(self) -> tuple[np.ndarray, np.ndarray]:
        """The true rates and accuracies, (codecs, levels) each."""
        log_rates = np.tile(LEVELS, (self.codecs, 1))
        log_rates[1::2] += self.between * 0.5 * (LEVELS[1] - LEVELS[0])
        right = 0.3 + 0.64 / (1 + np.exp(-(log_rates + 2.6) / 0.35))
        log_rates[-1] += math.log(self.rate)
        right[-1] += self.more
        return np.exp(log_rates), right


def study(kind: Kind, sampling: Sampling, rng: np.random.Generator) -> list[Row]:
    """The rows of the table `bd` of one study of this kind. sampling: of its items."""
    rates, right = kind.curves()
    n, shape = kind.items, (kind.codecs, len(LEVELS))
    difficulty = rng.normal(size=n)
    if kind.groups:
        of_group = rng.normal(size=kind.groups)[sampling.units[1].index]
        difficulty = math.sqrt(kind.alike / TOGETHER) * of_group + math.sqrt(1 - kind.alike / TOGETHER) * difficulty
    size = np.exp(0.4 * (0.6 * difficulty + 0.8 * rng.normal(size=n)) - 0.08)
    of_items = size[:, None, None] * rates * np.exp(0.1 * rng.normal(size=(n, *shape)) - 0.005)
    luck = math.sqrt(TOGETHER) * difficulty[:, None, None] + math.sqrt(1 - TOGETHER) * rng.normal(
        size=(kind.seeds, n, *shape)
    )
    drift = kind.scatter * rng.normal(size=(kind.seeds, 1, kind.codecs, 1))
    hits = norm.cdf(luck) < right + drift
    samples, drawn = _resampled(hits, sampling), _resampled(of_items[None], sampling)[0]
    of_condition, conditions, resampled = {}, {REFERENCE: {"rate_unit": "bpp"}}, {}
    for place in np.ndindex(shape):
        one = Condition(f"codec{place[0]}", place[1])
        hit, whole = hits[(..., *place)], (..., *place)
        of_condition[one] = Primary(tuple(range(kind.seeds)), hit.mean(axis=1), samples[whole], hit)
        conditions[one] = {"rate": of_items[whole].mean()}
        resampled[one] = drawn[whole]
    of_condition[REFERENCE] = of_condition[one]
    return bd_rows(("net", "original"), of_condition, conditions, resampled, sampling)


def _resampled(values: np.ndarray, sampling: Sampling) -> np.ndarray:
    """The resampled means, (seeds, units, resamples, codecs, levels), of values (seeds, n, codecs, levels).

    As `Units.mean`, but in one product, which is much faster.
    """
    means = []
    for unit in sampling.units:
        sums = np.zeros((len(values), unit.count, math.prod(values.shape[2:])), np.float32)
        np.add.at(sums, (slice(None), unit.index), values.reshape(*values.shape[:2], -1))
        drawn = unit.weights.T.astype(np.float32) @ np.bincount(unit.index).astype(np.float32)
        means.append(
            (unit.weights.T.astype(np.float32) @ sums / drawn[:, None]).reshape(len(values), -1, *values.shape[2:])
        )
    return np.stack(means, axis=1).astype(float)


@dataclasses.dataclass
class Found:
    """Shares of the studies of a kind.

    before: with a codec that sign counting said was ahead. ahead: with a codec that is ahead of another now. wrong:
    with one that is ahead of another but truly is not. covered_metric, covered_rate: of all intervals of pairs, those
    that hold the true delta. refused: of all pairs, those without an interval of BD-rate. width_metric, width_rate:
    medians, in points and percent.
    """

    before: float
    ahead: float
    wrong: float
    covered_metric: float
    covered_rate: float
    refused: float
    width_metric: float
    width_rate: float


def simulate(kind: Kind, studies: int, seed: int = 0, resamples: int = 1000) -> Found:
    """Simulate so many studies of a kind, from `seed`. All of them have the same resamples."""
    gc.freeze()  # statsmodels collects garbage for each correction, which would take most of the time
    rng = np.random.default_rng(seed)
    groups = {"voice": np.arange(kind.items) % kind.groups} if kind.groups else {}
    sampling = Sampling.draw(kind.items, groups, resamples, seed)
    rates, right = kind.curves()
    curves = [Curves.of(rates[one][None], right[one][None]) for one in range(kind.codecs)]
    true = {
        (f"codec{a}", f"codec{b}"): (100 * float(one.metric[0]), 100 * float(np.expm1(one.log_rate[0])))
        for a, b in combinations(range(kind.codecs), 2)
        for one in [deltas(curves[a], curves[b])]
    }
    better = {pair: "" if abs(gap) < ALIKE else pair[gap > 0] for pair, (gap, _) in true.items()}
    before, ahead, wrong, rows = 0, 0, 0, []
    for _ in range(studies):
        made = study(kind, sampling, rng)
        before += any(row["bd_metric"] for row in made)
        ahead += any(row["ahead"] for row in made)
        wrong += any(row["ahead"] not in ("", better[row["codec_a"], row["codec_b"]]) for row in made)
        rows += made

    def intervals(name: str, which: int) -> tuple[float, float]:
        """How many cover, and their median width."""
        here = [row for row in rows if row[f"{name}_low"] is not None]
        low, high = (np.array([row[f"{name}_{end}"] for row in here]) for end in ("low", "high"))
        truth = np.array([true[row["codec_a"], row["codec_b"]][which] for row in here])
        return float(np.mean((low <= truth) & (truth <= high))), float(np.median(high - low))

    (of_metric, metric_wide), (of_rate, rate_wide) = intervals("bd_metric", 0), intervals("bd_rate", 1)
    refused = float(np.mean([row["bd_rate_low"] is None for row in rows]))
    counts = (each / studies for each in (before, ahead, wrong))
    return Found(*counts, of_metric, of_rate, refused, metric_wide, rate_wide)


SEEDS = {"seeds": 3, "scatter": 0.01}
IDENTICAL = [
    *(Kind(items, codecs) for codecs in (2, 4) for items in (100, 300, 1000)),
    *(Kind(items, between=True) for items in (100, 300, 1000)),
    *(Kind(300, codecs, **SEEDS) for codecs in (2, 4)),
    *(Kind(items, groups=groups) for items, groups in ((300, 25), (1000, 25), (1000, 100))),
    Kind(300, groups=25, **SEEDS),
]
DIFFERENT = [
    *(Kind(items, rate=0.8) for items in (100, 300, 1000)),
    *(Kind(items, more=-0.02) for items in (100, 300, 1000)),
    Kind(300, between=True, rate=0.8, more=0.02),
    Kind(300, rate=0.8, **SEEDS),
    Kind(300, rate=0.8, groups=25),
    Kind(300, rate=0.8, groups=25, **SEEDS),
]


HEADER = ("before", "ahead", "wrong", "BD-metric", "BD-rate", "refused")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the studies")
    studies = 100 if parser.parse_args().quick else 1000
    for title, kinds in (("identical codecs", IDENTICAL), ("the last codec differs", DIFFERENT)):
        print(f"{title + ', %':60}" + "".join(f"{name:>10}" for name in HEADER))
        for kind in kinds:
            one = simulate(kind, studies)
            shares = (one.before, one.ahead, one.wrong, one.covered_metric, one.covered_rate, one.refused)
            print(f"{kind!s:60}" + "".join(f"{100 * share:10.1f}" for share in shares), flush=True)


if __name__ == "__main__":
    main()
