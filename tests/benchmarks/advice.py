"""How often is the advice of the table `gaps` false?

Run `python tests/benchmarks/advice.py`; it takes some minutes, and prints a row for each kind of study. `--quick` runs
a tenth of the studies.

A study has a model trained on originals, one trained on the codec and level in question, and other codecs at a lower
rate. Items are more or less difficult for all of them together. Groups of items and seeds may differ. The truths are
such that some advice is false, and only just: no loss; half of it won back; other codecs that lose as much.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections import Counter

import numpy as np
from scipy.stats import norm

from lossybench.analysis.comparisons import Primary
from lossybench.analysis.gaps import MORE, NOT_SHOWN, NOTHING, OTHER, TRAIN, gap_rows
from lossybench.analysis.sampling import Sampling
from lossybench.conditions import ORIGINAL, REFERENCE, Condition

HERE = Condition("jpeg", 10.0)
BEFORE = 0.9  # the accuracy on originals
TOGETHER = 0.6  # the share of an item's luck that is the same for all models and conditions


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of study.

    loss: of the model trained on originals. back: the share of it that matched training wins back. others: the number
    of other codecs, which lose as much. false: the advice that is false then. groups: of the items, with the
    correlation `alike` within a group; 0 for independent items. scatter: standard deviation of what a seed adds to the
    accuracy of a model at a condition. shares: whether the metric has no outcomes by item, as mAP, but resamples alone.
    """

    false: tuple[str, ...]
    loss: float
    back: float
    others: int = 3
    items: int = 1000
    groups: int = 0
    alike: float = 0.1
    seeds: int = 1
    scatter: float = 0.0
    shares: bool = True

    def __str__(self) -> str:
        what = f"{self.items:5,} items" + f" in {self.groups} groups" * bool(self.groups)
        what += f", {self.seeds} seeds" * (self.seeds > 1) + ", resamples alone" * (not self.shares)
        return f"{what}: {100 * self.loss:g} points lost, {100 * self.back:g} % won back, {self.others} others"


# What is false where nothing is lost, where half is won back, and where (nearly) all is: more bits are of no use then.
NONE, HALF, ALL = (TRAIN, OTHER, MORE, NOT_SHOWN), (TRAIN, OTHER), (OTHER, MORE)
KINDS = [
    Kind(NONE, 0.0, 0.0),
    Kind(NONE, 0.0, 0.0, items=200, seeds=3, scatter=0.01),
    Kind(HALF, 0.1, 0.5),
    Kind(HALF, 0.1, 0.5, shares=False),
    Kind(HALF, 0.03, 0.5, others=1),
    Kind(HALF, 0.3, 0.5, items=200),
    Kind(HALF, 0.2, 0.5, items=100, shares=False),
    Kind(HALF, 0.1, 0.5, groups=25),
    Kind(HALF, 0.1, 0.5, groups=25, shares=False),
    Kind(HALF, 0.1, 0.5, seeds=3, scatter=0.01),
    Kind(HALF, 0.1, 0.5, seeds=3, scatter=0.01, shares=False),
    Kind((OTHER, MORE), 0.1, 0.51),  # just more than half
    Kind(ALL, 0.1, 0.9, others=5),
]
SHARES = {TRAIN: "train", OTHER: "another codec", MORE: "more bits", NOT_SHOWN: "not shown", NOTHING: "nothing"}


def study(kind: Kind, sampling: Sampling, rng: np.random.Generator) -> str:
    """The advice of one study of this kind. sampling: of its items."""
    n = kind.items
    difficulty = rng.normal(size=n)
    if kind.groups:
        of_group = rng.normal(size=kind.groups)[sampling.units[1].index]
        difficulty = math.sqrt(kind.alike / TOGETHER) * of_group + math.sqrt(1 - kind.alike / TOGETHER) * difficulty

    def primary(accuracy: float) -> Primary:
        shares = np.clip(accuracy + kind.scatter * rng.normal(size=(kind.seeds, 1)), 0.001, 0.999)
        luck = math.sqrt(TOGETHER) * difficulty + math.sqrt(1 - TOGETHER) * rng.normal(size=(kind.seeds, n))
        right = luck < norm.ppf(shares)
        samples = np.array([[unit.mean(one.astype(float)) for unit in sampling.units] for one in right])
        return Primary(tuple(range(kind.seeds)), right.mean(axis=1), samples, right if kind.shares else None)

    lossy = BEFORE - kind.loss
    others = [Condition(f"codec{place}", 1.0) for place in range(kind.others)]
    plain = {REFERENCE: primary(BEFORE), HERE: primary(lossy)} | {one: primary(lossy) for one in others}
    results = {("net", ORIGINAL): plain, ("net", "matched_jpeg_10"): {HERE: primary(lossy + kind.back * kind.loss)}}
    rates = {REFERENCE: 9.0, HERE: 1.0} | dict.fromkeys(others, 0.9)
    conditions = {one: {"codec": one.codec, "level": one.level, "strength": 1, "rate": rates[one]} for one in plain}
    (advice,) = (row["advice"] for row in gap_rows(results, conditions, sampling) if row["codec"] == HERE.codec)
    return str(advice)


def advised(kind: Kind, studies: int, resamples: int = 400) -> Counter[str]:
    """How often each advice is given in so many studies of this kind."""
    rng = np.random.default_rng([kind.items, kind.seeds, int(100 * kind.loss)])
    groups = {"voice": np.arange(kind.items) % kind.groups} if kind.groups else {}
    sampling = Sampling.draw(kind.items, groups, resamples, 0)
    return Counter(study(kind, sampling, rng) for _ in range(studies))


def main() -> None:
    """Print how often each advice is given, in %, and how often a false one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000, help="of each kind")
    parser.add_argument("--quick", action="store_true", help="a tenth of the studies")
    given = parser.parse_args()
    studies = given.studies // 10 if given.quick else given.studies
    print("false  " + "  ".join(SHARES.values()))
    for kind in KINDS:
        found = advised(kind, studies)
        each = "  ".join(f"{100 * found[advice] / studies:{len(name)}.1f}" for advice, name in SHARES.items())
        print(f"{100 * sum(found[one] for one in kind.false) / studies:5.1f}  {each}  {kind}", flush=True)


if __name__ == "__main__":
    main()
