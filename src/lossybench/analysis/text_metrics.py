"""Error rates of models that answer texts: by characters, by words, and how many answers are right to the letter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lossybench.analysis.measured import Measured, Named, Weighed, of_weights
from lossybench.analysis.sampling import Sampling
from lossybench.edits import counted
from lossybench.metrics import Metric

ASKED = 200  # so many constant answers are tried on as many items to say what a constant answer reaches


def measure(
    metrics: Sequence[Metric], texts: Mapping[int, tuple[Sequence[str], Sequence[str]]], sampling: Sampling
) -> Measured:
    """The metrics cer, wer and exact, in the order of `metrics`. texts: of each seed the truths and answers (n,)."""
    return of_weights(metrics, {seed: _weighed(counted(*each)) for seed, each in texts.items()}, sampling)


def _weighed(counts: np.ndarray) -> Weighed:
    def compute(weights: np.ndarray, factor: str) -> Mapping[Named, np.ndarray]:
        edits, length, word_edits, words, same = counts.T @ weights
        with np.errstate(invalid="ignore", divide="ignore"):  # a resample may hold empty texts alone
            ratios = {"cer": edits / length, "wer": word_edits / words, "exact": same / weights.sum(axis=0)}
        return {name: np.where(np.isfinite(ratio), ratio, np.nan) for name, ratio in ratios.items()}

    return compute


def chance(truths: Sequence[str], seed: int) -> float:
    """The character error rate of a constant answer: that of no answer, which is 1, or of the best among some truths.

    truths: (n,). seed: draws which `ASKED` of them are tried on each other.
    """
    drawn = np.random.default_rng([seed, len(truths)]).permutation(len(truths))[:ASKED]
    some = [truths[place] for place in drawn]
    rates = [counted(some, [one] * len(some))[:, :2].sum(axis=0) for one in dict.fromkeys(some)]
    return float(min([1.0, *(edits / length for edits, length in rates if length)]))
