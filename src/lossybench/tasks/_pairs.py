"""Error rates of pairs of items: the equal error rate, and TAR at a given FAR.

A pair is genuine where both items are of one identity, and an impostor's otherwise. It is accepted where its score is
at or above a threshold. FAR is the share of impostor pairs that are accepted, TAR that of genuine pairs (ISO/IEC
19795-1). Pairs that share an identity are not independent, so it is identities that resamples draw, with all that is
theirs (Bolle, Ratha and Pankanti, "Error analysis of pattern recognition systems: the subsets bootstrap", Computer
Vision and Image Understanding 93, 2004). An impostor pair is of two identities and counts as often as the product of
their numbers, as each copy of the one meets each copy of the other (Owen, "The pigeonhole bootstrap", Annals of Applied
Statistics 1, 2007); a genuine pair is of one and counts as often as that is drawn: a copy is not compared with itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_BLOCK = 2**20  # weights of pairs that are in memory at a time
FARS = (0.01, 0.001)  # the false accept rates at which TAR is told


def cosine(embeddings: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The cosine similarity, (P,) in [-1, 1], of embeddings (P, D) with others (P, D); 0 to one without length."""
    embeddings, others = embeddings.astype(np.float64), others.astype(np.float64)
    lengths = np.linalg.norm(embeddings, axis=1) * np.linalg.norm(others, axis=1)
    products = np.einsum("pd,pd->p", embeddings, others)
    return np.divide(products, lengths, out=np.zeros(len(products)), where=lengths > 0)


def weights_of(first: np.ndarray, second: np.ndarray, same: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """How often each pair counts, int32 (P, resamples), given how often its items are drawn.

    first, second: int (P,), the places of both items of each pair. same: bool (P,), whether both are drawn together,
    because they are of one group of what is drawn. weights: uint8 (items, resamples).
    """
    found = weights[first].astype(np.int32)
    if not same.all():
        found *= np.where(same[:, None], np.uint8(1), weights[second])
    return found


def _cumulated(weights: np.ndarray) -> np.ndarray:
    """The sums of the first 0, 1, ... rows of int32 (rows, columns)."""
    found = np.zeros((len(weights) + 1, weights.shape[1]), np.int32)
    np.cumsum(weights, axis=0, dtype=np.int32, out=found[1:])
    return found


class Ranking:
    """Pairs in the order of their scores, from the best: what all error rates follow from.

    scores: float (P,); the higher, the more alike. genuine: bool (P,), with pairs of both sorts.
    """

    def __init__(self, scores: np.ndarray, genuine: np.ndarray) -> None:
        order = np.argsort(-scores, kind="stable")
        ranked, right = scores[order], genuine[order]
        self.genuine, self.impostors = order[right], order[~right]
        last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # equal scores are accepted together
        self.accepted = np.pad(np.cumsum(right)[last], (1, 0))  # genuine pairs at each threshold, the first above all
        self.false = np.pad(np.cumsum(~right)[last], (1, 0))
        self.thresholds = np.append(np.inf, ranked[last])

    def rates(self, fars: Sequence[float] = FARS) -> np.ndarray:
        """The EER, then TAR at each of the `fars`, (1 + len(fars),), where each pair counts once."""
        count = len(self.genuine) + len(self.impostors)
        one = np.zeros(count, np.int64)
        return self.resampled(one, one, np.full(count, True), np.ones((1, 1), np.uint8), fars)[:, 0]

    def resampled(
        self, first: np.ndarray, second: np.ndarray, same: np.ndarray, weights: np.ndarray, fars: Sequence[float] = FARS
    ) -> np.ndarray:
        """The EER, then TAR at each of the `fars`, (1 + len(fars), resamples). Other arguments: see `weights_of`.

        The EER is where FAR and 1 - TAR are equal on the ROC curve, whose points are joined by straight lines. TAR at a
        false accept rate is that of the lowest threshold whose FAR is no higher. NaN for a resample without pairs of
        both sorts.
        """
        found = np.full((1 + len(fars), weights.shape[1]), np.nan)
        step = max(1, _BLOCK // len(first))
        for start in range(0, weights.shape[1], step):
            some = weights[:, start : start + step]
            tar, far = (
                _cumulated(weights_of(first[which], second[which], same[which], some))
                for which in (self.genuine, self.impostors)
            )
            found[:, start : start + step] = self._rates(tar, far, fars)
        return found

    def _rates(self, tar: np.ndarray, far: np.ndarray, fars: Sequence[float]) -> np.ndarray:
        """tar, far: int (pairs + 1, resamples), the cumulated weights of genuine and of impostor pairs by rank."""
        columns = np.arange(tar.shape[1])
        whole = (tar[-1] > 0) & (far[-1] > 0)
        all_genuine, all_impostors = np.maximum(tar[-1], 1), np.maximum(far[-1], 1)

        def at(place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return (tar[self.accepted[place], columns] / all_genuine, far[self.false[place], columns] / all_impostors)

        def last(holds: str, most: float) -> np.ndarray:
            """The last threshold of each resample at which FAR, or FAR + TAR, is no more than `most`: by bisection."""
            low, high = np.zeros(len(columns), np.int64), np.full(len(columns), len(self.accepted))
            while (high - low > 1).any():
                middle = (low + high) // 2
                true, false = at(middle)
                fine = (false if holds == "far" else false + true) <= most
                low, high = np.where(fine, middle, low), np.where(fine, high, middle)
            return low

        before = last("sum", 1.0)
        after = np.minimum(before + 1, len(self.accepted) - 1)
        (true, false), (then_true, then_false) = at(before), at(after)
        gap, then = 1 - true - false, then_true + then_false - 1  # how far FAR is below 1 - TAR, and then above
        share = np.divide(gap, gap + then, out=np.zeros(len(gap)), where=gap + then > 0)
        rates = [false + share * (then_false - false), *(at(last("far", most))[0] for most in fars)]
        return np.where(whole, np.stack(rates), np.nan)

    def equal_error_threshold(self) -> float:
        """The highest threshold at which no fewer impostor pairs are accepted than genuine ones are rejected."""
        far, frr = self.false / len(self.impostors), 1 - self.accepted / len(self.genuine)
        return float(self.thresholds[np.argmax(far >= frr)])
