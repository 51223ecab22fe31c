"""How often the intervals of a cross-validation cover, simulated: `python tests/benchmarks/folds.py [STUDIES]`.

Each fold's model has an accuracy of its own about the mean of models that are trained anew. The deviations of two
models of one cross-validation are correlated, because they learn from mostly the same items; Nadeau and Bengio (2003)
take 1/K. The table says how often the 95 % interval of the pooled accuracy covers that mean, how often an interval that
knows of items alone would, and how much wider the interval is. The last column is of a paired difference.
"""

import sys

import numpy as np

from lossybench.analysis import intervals
from lossybench.analysis.sampling import Sampling

ACCURACY, LOSS = 0.85, 0.03
CASES = [  # folds, items, standard deviation of a model's accuracy, correlation times K
    (5, 400, 0.0, 1.0),
    (5, 400, 0.02, 1.0),
    (5, 400, 0.05, 1.0),
    (5, 2000, 0.0, 1.0),
    (5, 2000, 0.02, 1.0),
    (5, 2000, 0.05, 1.0),
    (10, 2000, 0.02, 1.0),
    (10, 2000, 0.05, 1.0),
    (5, 2000, 0.05, 0.0),
    (5, 2000, 0.05, 2.0),
    (10, 2000, 0.05, 3.0),
]


def models(generator: np.random.Generator, folds: int, spread: float, correlation: float) -> np.ndarray:
    """The deviations (folds,) of models, normal, each two with this correlation."""
    own, shared = generator.normal(size=folds), generator.normal()
    return spread * (np.sqrt(1 - correlation) * own + np.sqrt(correlation) * shared)


def covered(
    folds: int, n: int, spread: float, correlation: float, studies: int, seed: int
) -> tuple[float, float, float, float]:
    """The shares of studies whose interval covers, with the folds and without, the ratio of widths, and of losses."""
    generator = np.random.default_rng(seed)
    index = np.arange(n) % folds
    with_folds = Sampling.draw(n, {}, 100, 0, folds=index)
    alone = Sampling.draw(n, {}, 100, 0)
    found = []
    for _ in range(studies):
        own = ACCURACY + models(generator, folds, spread, correlation)
        right = generator.random(n) < own[index]
        # What the codec costs differs from model to model by a quarter of what they can.
        lost = np.clip(LOSS + models(generator, folds, spread, correlation) / 4, 0, 1) / ACCURACY
        after = right & (generator.random(n) >= lost[index])
        one, other = (intervals.share(right[None], how) for how in (with_folds, alone))
        loss = intervals.paired(right[None], after[None], with_folds)
        inside = [each.interval.low <= ACCURACY <= each.interval.high for each in (one, other)]
        widths = [each.interval.high - each.interval.low for each in (one, other)]
        found.append((*inside, widths[0] / widths[1], loss.interval.low <= -LOSS <= loss.interval.high))
    each = np.array(found, float).mean(axis=0)
    return float(each[0]), float(each[1]), float(each[2]), float(each[3])


def main() -> None:
    """Print a row for each case."""
    studies = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print("folds  items  sd of models  correlation  covers  items alone  width  of a loss")
    for folds, n, spread, times in CASES:
        covers, alone, width, loss = covered(folds, n, spread, times / folds, studies, seed=0)
        print(
            f"{folds:5d} {n:6d} {spread:13.2f} {times / folds:12.2f} {100 * covers:6.1f}% {100 * alone:11.1f}%"
            f" {width:6.2f} {100 * loss:9.1f}%"
        )


if __name__ == "__main__":
    main()
