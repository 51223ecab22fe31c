"""How often a limit is wrong: simulated studies whose true loss is the margin, judged as they were and as they are.

`python tests/benchmarks/limits.py` prints the tables of docs/statistics.md and takes some minutes; `--studies` sets how
many studies stand behind each figure. "Before" is the method of version 0.1: items alone are resampled, one seed speaks
for all, and the best of several codecs is picked without a correction.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import functools
import math
from collections.abc import Callable, Iterator

import numpy as np
from scipy.stats import norm

from lossybench.analysis import box_metrics, intervals
from lossybench.analysis.comparisons import Primary, best_reference, paired, reference
from lossybench.analysis.intervals import Estimate, tango
from lossybench.analysis.sampling import Sampling
from lossybench.analysis.verdicts import missing, verdict

Z = float(norm.ppf(0.95))
# Shares of items lost and won by compression: losses among gains, and losses alone, which are more skewed.
SHARES = ((0.03, 0.01), (0.06, 0.04), (0.05, 0.0), (0.02, 0.0))


@functools.cache
def _draws(seeds: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The weights that version 0.1 drew: (500, seeds) and (500, n)."""
    rng = np.random.default_rng(0)
    of_seeds = rng.multinomial(seeds - 1, np.full(seeds, 1 / seeds), size=500) / (seeds - 1)
    return of_seeds, rng.multinomial(n, np.full(n, 1 / n), size=500) / n


@dataclasses.dataclass(frozen=True)
class Study:
    """The outcomes of one codec at one level. before, after: bool (seeds, n). groups: int (n,)."""

    before: np.ndarray
    after: np.ndarray
    groups: np.ndarray

    def estimate(self, family: int = 1) -> Estimate:
        """As the package judges it."""
        sampling = Sampling.draw(len(self.groups), {"voice": self.groups}, 2, 0, family=family)
        return intervals.paired(self.before, self.after, sampling)

    def as_before(self) -> float:
        """The one-sided lower bound of version 0.1."""
        gap = self.after.astype(float) - self.before
        lost, won = ((gap == side).sum() / len(gap) for side in (-1, 1))
        n = len(self.groups)
        low = tango(lost, won, n, Z)[0]
        if len(gap) == 1:
            return low
        seeds, items = _draws(len(gap), n)
        return min(low, float(np.quantile(np.einsum("rs,sn,rn->r", seeds, gap, items, optimize=True), 0.05)))


def grouped(
    rng: np.random.Generator, groups: int, of_each: int, icc: float, lost: float, won: float, scatter: float = 0.0,
    seeds: int = 1,
) -> Study:  # fmt: skip
    """A study of items in groups. icc: the intra-class correlation of the items of a group that are lost or won.

    Each group has its own shares of lost and won items, drawn from beta distributions. scatter: the standard deviation
    between seeds of the share lost; seeds lose and win items independently, given the groups.
    """

    def shares(mean: float) -> np.ndarray:
        if icc == 0 or mean == 0:
            return np.full(groups, mean)
        size = (1 - icc) / icc
        return rng.beta(mean * size, (1 - mean) * size, groups)

    index = np.repeat(np.arange(groups), of_each)
    losing, winning = shares(lost)[index], shares(won)[index]
    drawn = rng.random((seeds, groups * of_each))
    by_seed = rng.normal(0, scatter, (seeds, 1)) if scatter else 0.0
    is_lost = drawn < np.clip(losing + by_seed, 0, 1)
    is_won = ~is_lost & (rng.random(drawn.shape) < np.clip(winning / np.maximum(1 - losing, 1e-9), 0, 1))
    wrong = rng.random(drawn.shape[1]) < 0.05  # with and without the codec
    return Study(~is_won & ~wrong | is_lost, ~is_lost & ~wrong | is_won, index)


def acceptable(study: Study, delta: float) -> tuple[bool, bool]:
    """Whether the study is called acceptable without a reserve, before and now."""
    few = len(np.unique(study.groups)) < 20
    now = verdict(study.estimate().interval, delta, 1.0, few)
    return study.as_before() > -delta, now == "acceptable"


def rates(make: Callable[[np.random.Generator], tuple[Study, float]], studies: int, seed: int) -> np.ndarray:
    """How often studies are called acceptable, in %: before and now."""
    rng = np.random.default_rng(seed)
    return 100 * np.mean([acceptable(*make(rng)) for _ in range(studies)], axis=0)


GROUPED = (
    ("1,000 items of 21 voices", 21, 48, (0, 0.05, 0.1, 0.3)),
    ("300 items of 6 speakers", 6, 50, (0, 0.05, 0.1, 0.3)),
    ("2,580 items of 86 tracks", 86, 30, (0, 0.05, 0.1, 0.3)),
    ("1,000 items, each its own group", 1000, 1, (0,)),
)
SEEDS = ((1, 0.01), (2, 0.01), (3, 0.0), (3, 0.005), (3, 0.01), (5, 0.01))


def of_groups(groups: int, of_each: int, icc: float, studies: int) -> list[np.ndarray]:
    """The rates at a true loss of the margin, of each of SHARES."""
    return [
        rates(lambda rng, a=lost, b=won: (grouped(rng, groups, of_each, icc, a, b), a - b), studies, place)
        for place, (lost, won) in enumerate(SHARES)
    ]


def of_seeds(seeds: int, scatter: float, studies: int) -> np.ndarray:
    """The rates of claims about training anew, 1,000 items, at a true loss of the margin.

    Before, every verdict was read as such a claim; now only those of three seeds or more are.
    """
    found = rates(lambda rng: (grouped(rng, 1000, 1, 0, 0.06, 0.04, scatter, seeds), 0.02), studies, seeds)
    return found if seeds >= 3 else np.array([found[0], 0.0])


def of_clips(videos: int, of_each: int, studies: int) -> np.ndarray:
    """The rates of mAP50 of clips cut from few videos: the first object is found less often in some of them."""
    rng, results = np.random.default_rng(videos), []
    n = videos * of_each
    index = np.repeat(np.arange(videos), of_each)
    truths = 2
    population, values = [], []
    for _ in range(studies):
        harm = rng.beta(0.4, 7.6, videos)  # the share of objects that compression hides in each video, 5 % on average
        base = rng.random((n, truths)) < 0.92
        hidden = rng.random((n, truths)) < harm[index][:, None]
        scores = rng.random((n, truths))
        found = [_matches(each, scores) for each in (base, base & ~hidden)]
        sampling = Sampling.draw(n, {"video": index}, 200, 0)
        pair = [Primary((0,), _map50(one, np.ones((n, 1)), None), _sampled(one, sampling)[None], None) for one in found]
        items = dataclasses.replace(sampling, units=sampling.units[:1], groups={})
        population.append(pair[1].value - pair[0].value)
        values.append((pair, sampling, items))
    loss = -float(np.mean(population))  # the margin: what is lost on average over all videos there could be
    for pair, sampling, items in values:
        alone = [dataclasses.replace(one, samples=one.samples[:, :1]) for one in pair]
        before = paired(*alone, items).estimate.interval.lower
        now = verdict(paired(*pair, sampling).estimate.interval, loss, 1.0, sampling.few is not None)
        results.append((before > -loss, now == "acceptable"))
    return 100 * np.mean(results, axis=0)


def _matches(hit: np.ndarray, scores: np.ndarray) -> box_metrics.Matches:
    order = np.argsort(-scores.ravel(), kind="stable")
    order = order[hit.ravel()[order]]
    item = np.repeat(np.arange(len(hit)), hit.shape[1])[order]
    truths = np.full((1, len(hit)), hit.shape[1], np.float32)
    every = np.repeat(hit.ravel()[order][:, None], 10, axis=1)
    return box_metrics.Matches(item, np.zeros(len(item), int), scores.ravel()[order], every, truths, np.zeros(1, int))


def _map50(matches: box_metrics.Matches, weights: np.ndarray, unit: object) -> np.ndarray:
    return box_metrics.weighted(matches, 0.0, weights.astype(np.float32))[1]


def _sampled(matches: box_metrics.Matches, sampling: Sampling) -> np.ndarray:
    return np.stack([_map50(matches.by(unit), unit.weights.astype(np.float32), unit) for unit in sampling.units])


def of_power(n: int, groups: int, studies: int) -> tuple[float, float, float]:
    """Independent items: how much wider the interval is (median, %), and how often no loss is shown to be none
    (% at a margin of 2 points, before and now).
    """
    rng, wider, shown = np.random.default_rng(n), [], []
    for _ in range(studies):
        study = grouped(rng, groups, n // groups, 0, 0.02, 0.02)
        estimate, low = study.estimate(), study.as_before()
        wider.append((estimate.value - estimate.interval.lower) / (estimate.value - low))
        shown.append((low > -0.02, estimate.interval.lower > -0.02))
    before, now = 100 * np.mean(shown, axis=0)
    return 100 * (float(np.median(wider)) - 1), float(before), float(now)


def of_bold(codecs: int, studies: int) -> np.ndarray:
    """How often the best of several codecs, picked among those called acceptable, truly loses the margin (%).

    All of them lose exactly the margin, on 1,000 items of one model.
    """
    rng, wrong = np.random.default_rng(codecs), []
    for _ in range(studies):
        each = [grouped(rng, 1000, 1, 0, 0.06, 0.04) for _ in range(codecs)]
        joint = [one.estimate(family=codecs).interval.joint for one in each]
        wrong.append((any(one.as_before() > -0.02 for one in each), any(bound > -0.02 for bound in joint)))
    return 100 * np.mean(wrong, axis=0)


def of_best(architectures: int, studies: int) -> float:
    """How often a loss of the margin against the best of several equal architectures is called acceptable (%).

    The best is picked on the items that the loss is measured on. 1,000 items, three seeds.
    """
    rng, wrong, n = np.random.default_rng(architectures), [], 1000
    sampling = Sampling.draw(n, {}, 2, 0)
    for _ in range(studies):
        hard = rng.random(n)
        plain = {
            (f"net{k}", "original"): rng.random((3, n)) < np.clip(1.2 - 0.5 * hard, 0, 1)[None]
            for k in range(architectures)
        }
        mixed = rng.random((3, n)) < np.clip(1.2 - 0.5 * hard, 0, 1)[None] * (1 - 0.02 / 0.91)
        truth = np.clip(1.2 - 0.5 * hard, 0, 1).mean() * 0.02 / 0.91
        references = {
            name: reference(name, _primary(right), 0.0, 1.0, np.full(3, 0.1), sampling) for name, right in plain.items()
        }
        best = best_reference(references)
        assert best is not None
        found = paired(best.primary, _primary(mixed), sampling, same_models=False).estimate
        wrong.append(found.interval.lower > -truth)
    return 100 * float(np.mean(wrong))


def _primary(right: np.ndarray) -> Primary:
    return Primary((0, 1, 2), right.mean(axis=1), np.zeros((3, 1, 2)), right)


def of_advice(loss: float, groups: int, of_each: int, icc: float, studies: int) -> tuple[int, float]:
    """Studies that are undecided at 2 points and get a number: how many, and how many of those that follow it are
    settled (%). The larger number is followed: of items where each is its own group, else of groups.
    """
    rng, settled, lost = np.random.default_rng([groups, of_each]), [], 0.03 + loss / 2
    for _ in range(studies):
        study = grouped(rng, groups, of_each, icc, lost, lost - loss)
        estimate = study.estimate()
        sampling = Sampling.draw(len(study.groups), {"voice": study.groups}, 2, 0)
        if verdict(estimate.interval, 0.02, 1.0) != "inconclusive":
            continue
        advice = missing(estimate, 0.02, sampling)
        if advice.high is None:
            continue
        more = advice.high if advice.what == "voice" or of_each == 1 else math.ceil(advice.high / of_each)
        again = grouped(rng, more, of_each, icc, lost, lost - loss).estimate()
        settled.append(verdict(again.interval, 0.02, 1.0) != "inconclusive")
    return len(settled), 100 * float(np.mean(settled)) if settled else math.nan


def table(header: list[str], rows: list[list[str]]) -> Iterator[str]:
    """Lines of Markdown."""
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=2000)
    studies = parser.parse_args().studies
    with concurrent.futures.ProcessPoolExecutor() as pool:
        groups = {
            (name, icc): pool.submit(of_groups, count, of_each, icc, studies)
            for name, count, of_each, iccs in GROUPED
            for icc in iccs
        }
        seeds = {key: pool.submit(of_seeds, *key, studies) for key in SEEDS}
        clips = {key: pool.submit(of_clips, *key, max(studies // 5, 100)) for key in ((7, 36), (25, 10))}
        power = {key: pool.submit(of_power, *key, studies) for key in ((300, 300), (1000, 1000), (1000, 50))}
        bold = {count: pool.submit(of_bold, count, studies) for count in (2, 4)}
        best = {count: pool.submit(of_best, count, studies) for count in (1, 2, 4)}
        advice = {
            key: pool.submit(of_advice, *key, studies)
            for key in ((0.0, 400, 1, 0), (0.01, 400, 1, 0), (0.0, 30, 15, 0.1), (0.01, 30, 15, 0.1))
        }
        print(f"Called acceptable at a true loss of the margin, % of {studies} studies\n")
        rows = []
        for (name, icc), each in groups.items():
            found = np.array(each.result())
            others = ", ".join(f"{one:.1f}" for one in found[1:, 1])
            rows.append([name, f"{icc:g}", f"{found[0, 0]:.1f}", f"{found[0, 1]:.1f}", others])
        lost, *more = (f"{100 * a:g}/{100 * b:g}" for a, b in SHARES)
        header = ["items", "intra-class correlation", f"before ({lost} % lost/won)", "now", f"now ({', '.join(more)})"]
        print("\n".join(table(header, rows)))
        rows = [
            [f"{count}", f"{100 * scatter:g}", *(f"{one:.1f}" for one in each.result())]
            for (count, scatter), each in seeds.items()
        ]
        print(f"\n{chr(10).join(table(['seeds', 'scatter (points)', 'before', 'now'], rows))}")
        rows = [[f"{a * b} clips of {a} videos", *(f"{one:.1f}" for one in c.result())] for (a, b), c in clips.items()]
        print(f"\n{chr(10).join(table(['mAP50', 'before', 'now'], rows))}")
        rows = [[f"{n}", f"{count}", *(f"{one:.1f}" for one in each.result())] for (n, count), each in power.items()]
        header = ["independent items", "groups", "wider, %", "no loss shown acceptable at 2 points before, %", "now, %"]
        print(f"\n{chr(10).join(table(header, rows))}")
        rows = [[f"{count}", *(f"{one:.1f}" for one in each.result())] for count, each in bold.items()]
        print(f"\n{chr(10).join(table(['codecs', 'bold line wrong before', 'now'], rows))}")
        rows = [[f"{count}", f"{each.result():.1f}"] for count, each in best.items()]
        print(f"\n{chr(10).join(table(['architectures the best is picked from', 'wrong'], rows))}")
        rows = [
            [f"{100 * loss:g}", f"{count} x {size}", f"{icc:g}", *(f"{one:.0f}" for one in each.result())]
            for (loss, count, size, icc), each in advice.items()
        ]
        header = ["true loss (points)", "groups x items", "correlation", "studies that got a number", "settled, %"]
        print(f"\n{chr(10).join(table(header, rows))}")


if __name__ == "__main__":
    main()
