"""How often is a group said to lose more than the average though it does not?

Run `python tests/benchmarks/subgroups.py`; it takes some minutes, and prints a row for each kind of study. `--quick`
runs a tenth of the studies.

A study has items in groups that all lose the same. A family-wise error is a study in which any group is said to lose
more. Items may also be of speakers, who are spread over all groups and some of whom lose more than others.
"""

from __future__ import annotations

import argparse
import dataclasses
import math

import numpy as np
from scipy.stats import norm

from lossybench.analysis.comparisons import Primary
from lossybench.analysis.outcomes import Row
from lossybench.analysis.sampling import Sampling
from lossybench.analysis.subgroups import of_parts, subgroup_rows
from lossybench.metrics import ACCURACY

BEFORE = 0.95  # the accuracy on originals


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of study.

    sizes: the items of each group. loss: of all groups, from 0 to BEFORE. more: what the first group loses beyond that.
    speakers: of the items, whose losses have the correlation `alike`; 0 for independent items. seeds: models.
    resamples_alone: whether the metric has no scores by item, as mAP.
    """

    sizes: tuple[int, ...]
    loss: float
    more: float = 0.0
    speakers: int = 0
    alike: float = 0.1
    seeds: int = 1
    resamples_alone: bool = False

    def __str__(self) -> str:
        few, many = min(self.sizes), max(self.sizes)
        each = f"{few}" if few == many else f"{few} to {many}"
        what = f"{len(self.sizes):2} groups of {each} items, {100 * self.loss:g} points lost"
        what += f", {100 * self.more:g} more by the first" * bool(self.more)
        what += f", {self.speakers} speakers" * bool(self.speakers) + f", {self.seeds} seeds" * (self.seeds > 1)
        return what + ", resamples alone" * self.resamples_alone


KINDS = [
    Kind((60,) * 20, 0.03),
    Kind((60,) * 20, 0.2),
    Kind((12,) * 50, 0.03),
    Kind((12,) * 50, 0.2),
    Kind((12,) * 50, 0.8),
    Kind((10,) * 10 + (300,) * 3, 0.05),
    Kind((10,) * 10 + (300,) * 3, 0.85),
    Kind((120,) * 10, 0.1, speakers=25),
    Kind((120,) * 10, 0.1, speakers=25, alike=0.3),
    Kind((60,) * 20, 0.1, seeds=3),
    Kind((600, 600), 0.05),
    Kind((60,) * 10, 0.1, resamples_alone=True),
    Kind((12,) * 10, 0.8, resamples_alone=True),
    Kind((60,) * 20, 0.05, more=0.2),
    Kind((120,) * 10, 0.05, more=0.1),
]


def study(kind: Kind, sampling: Sampling, rng: np.random.Generator) -> list[Row]:
    """The rows of the table of one study of this kind. sampling: of its items."""
    group, n = _groups(kind), sampling.n
    difficulty = rng.normal(size=(kind.seeds, n)) * math.sqrt(0.5) + rng.normal(size=n) * math.sqrt(0.5)
    if kind.speakers:
        of_speaker = rng.normal(size=kind.speakers)[np.arange(n) % kind.speakers]
        difficulty = math.sqrt(kind.alike) * of_speaker + math.sqrt(1 - kind.alike) * difficulty
    lost = kind.loss + kind.more * (group == 0)
    parts = {"group": {f"g{place}": np.flatnonzero(group == place) for place in range(len(kind.sizes))}}
    both = []
    for share in (np.full(n, BEFORE), BEFORE - lost):
        right = difficulty < norm.ppf(share)
        samples = np.array([[unit.mean(one.astype(float)) for unit in sampling.units] for one in right])
        primary = Primary.of(ACCURACY, tuple(range(kind.seeds)), right.mean(axis=1), samples, None, 1.0, right)
        if kind.resamples_alone:
            primary = dataclasses.replace(primary, scores=None)
        compute = [lambda weights, one=one: one @ weights / weights.sum(axis=0) for one in right.astype(np.float32)]
        both.append((of_parts(parts, primary, compute, sampling), primary))
    return list(subgroup_rows({}, *both, ["group"], sampling))


def _groups(kind: Kind) -> np.ndarray:
    return np.repeat(np.arange(len(kind.sizes)), kind.sizes)


def rates(kind: Kind, studies: int, resamples: int = 200) -> tuple[float, float, float]:
    """The shares of studies in which a group is wrongly said to lose more, in which the first is, and in which an
    interval of the excess misses the truth of any group."""
    n = sum(kind.sizes)
    rng = np.random.default_rng([n, len(kind.sizes), int(100 * kind.loss)])
    speakers = {"speaker": np.arange(n) % kind.speakers} if kind.speakers else {}
    sampling = Sampling.draw(n, speakers, resamples, 0)
    average = kind.loss + kind.more * kind.sizes[0] / n
    wrong = first = missed = 0
    for _ in range(studies):
        rows = study(kind, sampling, rng)
        true = [kind.loss + kind.more * (place == 0) - average for place in range(len(rows))]
        wrong += any(row["hurt"] for row, excess in zip(rows, true, strict=True) if excess <= 0)
        first += rows[0]["hurt"]
        missed += any(
            not row["excess_low"] <= excess <= row["excess_high"] for row, excess in zip(rows, true, strict=True)
        )
    return wrong / studies, first / studies, missed / studies


def main() -> None:
    """Print for each kind of study how often a group is wrongly flagged, and the first one, in %."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000, help="of each kind")
    parser.add_argument("--quick", action="store_true", help="a tenth of the studies")
    given = parser.parse_args()
    studies = given.studies // 10 if given.quick else given.studies
    print("wrong  first  interval missed, % of studies")
    for kind in KINDS:
        print("  ".join(f"{100 * rate:5.1f}" for rate in rates(kind, studies)), f"  {kind}", flush=True)


if __name__ == "__main__":
    main()
