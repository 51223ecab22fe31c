"""How often do 95 % intervals of metrics hold the truth, with rare classes, groups and seeds?

Run `python tests/benchmarks/coverage.py`; it takes about ten minutes on one core and prints a table: in percent, how
often the interval of the product and the percentile bootstrap that it replaced hold the population's value, and their
mean widths in points. `--quick` takes a minute and scatters more. The standard error of each figure is below 1 with 600
test sets, below 2 with 150.

Classification: items have a class, and a model is right with a chance that differs between classes, groups and seeds;
what it takes a wrong item for is drawn from the class's own preferences, frequent classes first. "1 to 9" are three
classes of each size from 1 to 9 besides ten of 50; there the sizes are the same in all test sets, elsewhere they are
drawn. A class without a test item is in no mean, neither in the test set nor in the population. By class: the mean over
all classes that have a test item.

Detection: pictures of one to four objects of ten classes, which are found with chances that differ between classes,
groups and pictures, and false alarms; scores are higher for what is true. Matches of detections with true boxes are
drawn, not boxes.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from lossybench.analysis import box_metrics, label_metrics
from lossybench.analysis.box_metrics import Matches
from lossybench.analysis.sampling import Sampling

CLASSES, RESAMPLES = 10, 200
Bounds = tuple[float, float]
Case = tuple[str, float, Bounds, Bounds | None]  # (metric, truth, of the product, of the bootstrap as it was)


@dataclasses.dataclass(frozen=True)
class Labels:
    """A kind of classification study.

    n: items of a test set. sizes: of the classes, in any unit. skill: the share right. fixed: whether all test sets
    have these very sizes. groups: how many groups a test set has, 0 for none; a group moves the logit by scatter.
    seeds: models, each of which moves the logit of each class by 0.3, where there are several.
    """

    title: str
    n: int
    sizes: np.ndarray
    skill: float
    fixed: bool = False
    groups: int = 0
    scatter: float = 0.0
    seeds: int = 1


@dataclasses.dataclass(frozen=True)
class Boxes:
    """A kind of detection study. skill: the logit with which objects are found. The others are as in Labels."""

    title: str
    n: int
    sizes: np.ndarray
    skill: float
    alarms: float
    apart: float
    groups: int = 0
    scatter: float = 0.0


EQUAL, UNEQUAL = np.ones(CLASSES), np.geomspace(1, 50, 43)
ONE_TO_NINE = np.concatenate([np.repeat(np.arange(1, 10), 3), np.full(10, 50)])
LABELS = (
    *(Labels("10 equal classes", n, EQUAL, skill) for n in (100, 300, 1000) for skill in (0.9, 0.6)),
    *(Labels("43 classes, 1 : 50", n, UNEQUAL, skill) for n in (100, 300, 1000) for skill in (0.97, 0.9, 0.6)),
    *(Labels("1 to 9 and 50", 635, ONE_TO_NINE, skill, fixed=True) for skill in (0.97, 0.9, 0.6)),
    Labels("10 equal classes, 30 groups", 600, EQUAL, 0.9, groups=30, scatter=0.7),
    Labels("43 classes, 30 groups", 600, UNEQUAL, 0.9, groups=30, scatter=0.7),
    Labels("10 equal classes, 3 seeds", 600, EQUAL, 0.9, seeds=3),
    Labels("43 classes, 3 seeds", 600, UNEQUAL, 0.9, seeds=3),
)
_DETECTORS = ((-0.75, 2.0, 1.0), (1.9, 1.0, 2.0), (4.0, 0.5, 3.5))
BOXES = (
    *(Boxes("10 equal classes", n, EQUAL, *how) for n in (100, 250, 1000) for how in _DETECTORS),
    *(Boxes("10 classes, 1 : 50", n, UNEQUAL[:: 42 // 9][:CLASSES], *how) for n in (100, 250) for how in _DETECTORS),
    *(Boxes("10 equal classes, 30 groups", 300, EQUAL, *how, groups=30, scatter=0.7) for how in _DETECTORS),
)


def _logistic(logit: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logit))


class World:
    """A population of classified items, from which test sets are drawn."""

    def __init__(self, kind: Labels, rng: np.random.Generator) -> None:
        self.kind = kind
        classes = len(kind.sizes)
        self.odds = kind.sizes / kind.sizes.sum()
        self.logit = np.log(kind.skill / (1 - kind.skill)) + rng.normal(0, 0.5, classes)
        taken = rng.dirichlet(np.full(classes, 0.3), classes) * np.sqrt(self.odds)
        np.fill_diagonal(taken, 0)
        taken += 1e-9
        np.fill_diagonal(taken, 0)
        self.taken = np.cumsum(taken / taken.sum(axis=1, keepdims=True), axis=1)
        # The population's values are those of many models on many items of many groups.
        models = 40 if kind.seeds > 1 else 1
        confusion = np.zeros((models, classes, classes))
        for model in confusion:
            labels, guesses = self._draw(rng, 400_000 // models, 20_000 // models, 1, fixed=False)
            np.add.at(model, (labels, guesses[0]), 1)
        hits, actual = np.diagonal(confusion, axis1=1, axis2=2), confusion.sum(axis=2)
        predicted = np.maximum(confusion.sum(axis=1), 1e-9)
        self.accuracy = float((hits.sum(axis=1) / actual.sum(axis=1)).mean())
        ratios = {"precision": hits / predicted, "recall": hits / actual, "f1": 2 * hits / (actual + predicted)}
        self.truth = {name: each.mean(axis=0) for name, each in ratios.items()}

    def _draw(
        self, rng: np.random.Generator, n: int, groups: int, seeds: int, fixed: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        labels = (
            np.repeat(np.arange(len(self.odds)), self.kind.sizes)
            if fixed
            else rng.choice(len(self.odds), n, p=self.odds)
        )
        logit = np.repeat(self.logit[labels][None], seeds, axis=0)
        if self.kind.groups:
            logit += rng.normal(0, self.kind.scatter, groups)[np.arange(n) * groups // n]
        if self.kind.seeds > 1:
            logit += rng.normal(0, 0.3, (seeds, len(self.odds)))[:, labels]
        right = rng.random(logit.shape) < _logistic(logit)
        other = (self.taken[labels][None] < rng.random(logit.shape)[..., None]).sum(axis=2)
        return labels, np.where(right, labels, np.minimum(other, len(self.odds) - 1))

    def cases(self, rng: np.random.Generator, old: bool) -> Iterator[Case]:
        """One test set's intervals. old: whether the bootstrap as it was is wanted as well."""
        kind = self.kind
        labels, guesses = self._draw(rng, kind.n, kind.groups, kind.seeds, kind.fixed)
        groups = {"voice": np.arange(kind.n) * kind.groups // kind.n} if kind.groups else {}
        sampling = Sampling.draw(kind.n, groups, 1, 0)
        names = label_metrics.names(labels, [str(k) for k in range(len(self.odds))])
        found = label_metrics.estimates(labels, guesses, sampling)
        before = percentiles(labels, guesses, rng) if old else {}
        present = np.unique(labels)
        for (metric, name), one in zip(names, found, strict=True):
            if metric == "accuracy":
                truth = self.accuracy
            else:
                truth = self.truth[metric][int(name)] if name else self.truth[metric][present].mean()
            label = f"{metric} by class" if name else metric
            yield label, float(truth), (one.interval.low, one.interval.high), before.get((metric, name))


def percentiles(labels: np.ndarray, guesses: np.ndarray, rng: np.random.Generator) -> dict[tuple[str, str], Bounds]:
    """The percentile bootstrap over items of classification metrics: the macro means and by class."""
    n, present = len(labels), np.unique(labels)
    weights = rng.multinomial(n, np.full(n, 1 / n), RESAMPLES)
    actual = np.stack([weights[:, labels == k].sum(axis=1) for k in present])
    ratios = defaultdict(list)
    for guess in guesses:
        predicted = np.stack([weights[:, guess == k].sum(axis=1) for k in present])
        hits = np.stack([weights[:, (labels == k) & (guess == k)].sum(axis=1) for k in present])
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios["recall"].append(hits / actual)
            ratios["precision"].append(np.where(actual > 0, np.where(predicted > 0, hits / predicted, 0), np.nan))
            ratios["f1"].append(np.where(actual > 0, 2 * hits / (actual + predicted), np.nan))
        ratios["accuracy"].append(hits.sum(axis=0, keepdims=True) / n)
    bounds = {}
    for metric, models in ratios.items():
        of_class = np.mean(models, axis=0)
        rows = [("", np.nanmean(of_class, axis=0)), *zip(map(str, present), of_class, strict=False)]
        for name, samples in rows:
            bounds[metric, name] = tuple(np.nanquantile(samples, (0.025, 0.975)))
    return bounds


class Scenes:
    """A population of pictures, and a detector."""

    def __init__(self, kind: Boxes, rng: np.random.Generator) -> None:
        self.kind = kind
        self.of_class = rng.normal(0, 0.5, CLASSES)
        n = 60_000
        matches = self.draw(rng, n, n // 20)
        self.threshold = box_metrics.best_threshold(matches)
        values = box_metrics.weighted(matches, self.threshold, np.ones((n, 1)))[:, 0]
        names = box_metrics.names(matches.classes, [str(k) for k in range(CLASSES)])
        self.truth = dict(zip(names, values.tolist(), strict=True))

    def draw(self, rng: np.random.Generator, n: int, groups: int) -> Matches:
        kind = self.kind
        item = np.repeat(np.arange(n), rng.integers(1, 5, n))
        label = rng.choice(CLASSES, len(item), p=kind.sizes / kind.sizes.sum())
        shared = rng.normal(0, kind.scatter, groups)[np.arange(n) * groups // n] if kind.groups else np.zeros(n)
        ease = self.of_class[label] + (shared + rng.normal(0, 0.5, n))[item]
        found = rng.random(len(item)) < _logistic(kind.skill + ease)
        alarm = np.repeat(np.arange(n), rng.poisson(kind.alarms, n))
        score = np.concatenate(
            [rng.normal(kind.apart, 1, found.sum()) + 0.5 * ease[found], rng.normal(0, 1, len(alarm))]
        )
        of = np.concatenate([item[found], alarm])
        labels = np.concatenate([label[found], rng.choice(CLASSES, len(alarm))])
        hit = np.zeros((len(of), len(box_metrics.IOU_THRESHOLDS)), bool)
        hit[: found.sum(), 0] = True
        order = np.lexsort((-score, labels))
        truths = np.zeros((CLASSES, n), np.float32)
        np.add.at(truths, (label, item), 1)
        kept = truths.sum(axis=1) > 0
        return Matches(of[order], labels[order], score[order], hit[order], truths[kept], np.flatnonzero(kept))

    def cases(self, rng: np.random.Generator, old: bool) -> Iterator[Case]:
        """One test set's intervals. old: whether the bootstrap as it was is wanted as well."""
        kind = self.kind
        matches = self.draw(rng, kind.n, kind.groups)
        groups = {"video": np.arange(kind.n) * kind.groups // kind.n} if kind.groups else {}
        sampling = Sampling.draw(kind.n, groups, RESAMPLES, int(rng.integers(1 << 30)))
        measured = box_metrics.measure(matches, self.threshold, sampling)
        names = box_metrics.names(matches.classes, [str(k) for k in range(CLASSES)])
        for at, ((metric, name), one) in enumerate(
            zip(names, box_metrics.estimates([measured], sampling), strict=True)
        ):
            samples = measured.samples[at, 0]
            before = tuple(np.nanquantile(samples, (0.025, 0.975))) if old else None
            if metric != "map":  # hits at higher IoU are not drawn
                label = f"{metric} by class" if name else metric
                yield label, self.truth[metric, name], (one.interval.low, one.interval.high), before


def coverage(
    kind: Labels | Boxes, runs: int, seed: int = 0, old: bool = True, worlds: int = 10
) -> dict[str, tuple[float, ...]]:
    """Of each metric: coverage and mean width of the product's interval, then of the bootstrap as it was.

    runs: test sets, of `worlds` populations. old: whether the latter two are wanted.
    """
    rng = np.random.default_rng([seed, kind.n, len(kind.sizes)])
    held: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for _ in range(worlds):
        world = World(kind, rng) if isinstance(kind, Labels) else Scenes(kind, rng)
        for _ in range(runs // worlds):
            for metric, truth, *both in world.cases(rng, old):
                figures = [(low <= truth <= high, high - low) for low, high in filter(None, both)]
                held[metric].append(tuple(figure for pair in figures for figure in pair))
    return {metric: tuple(np.mean(rows, axis=0)) for metric, rows in held.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="150 test sets of each kind instead of 600")
    runs = 150 if parser.parse_args().quick else 600
    print(f"{'metric':20} {'n':>5}  {'situation':40} {'held':>6} {'width':>6}   {'before':>6} {'width':>6}")
    for kind in (*LABELS, *BOXES):
        for metric, figures in coverage(kind, runs).items():
            held, width, before, width_before = (100 * figure for figure in figures)
            title = f"{kind.title}, {kind.skill:g}"
            row = f"{metric:20} {kind.n:5}  {title:40} {held:6.1f} {width:6.1f}   {before:6.1f} {width_before:6.1f}"
            print(row, flush=True)


if __name__ == "__main__":
    sys.exit(main())
