"""Error rates of pairs: against scikit-learn's ROC curve, by hand, and whether intervals by identity cover."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import roc_curve

from lossybench.tasks import _pairs


def _reference(scores: np.ndarray, genuine: np.ndarray, weights: np.ndarray | None = None) -> list[float]:
    """EER and TAR at FAR 1 % and 0.1 % from scikit-learn's ROC curve."""
    far, tar, _ = roc_curve(genuine, scores, sample_weight=weights, drop_intermediate=False)
    curve = interp1d(far, tar)
    eer = brentq(lambda x: 1.0 - x - curve(x), 0.0, 1.0, xtol=1e-13)
    return [eer, *(tar[far <= most + 1e-12].max() for most in (0.01, 0.001))]


@pytest.mark.parametrize("seed", range(6))
def test_rates_equal_scikit_learns(seed: int) -> None:
    random = np.random.default_rng(seed)
    genuine = random.random(4000) < 0.3
    scores = random.normal(genuine * random.uniform(0.5, 3), 1)
    if seed % 2:
        scores = scores.round(1)  # many equal scores
    assert np.allclose(_pairs.Ranking(scores, genuine).rates(), _reference(scores, genuine), atol=1e-9)


def test_resamples_equal_scikit_learns_with_weights() -> None:
    random = np.random.default_rng(7)
    identity = np.repeat(np.arange(15), 4)
    a, b = np.triu_indices(len(identity), 1)
    first, second = identity[a], identity[b]
    scores = random.normal((first == second) * 1.5, 1).round(2)
    drawn = random.multinomial(14, np.full(15, 1 / 15), 40).T.astype(np.uint8)
    found = _pairs.Ranking(scores, first == second).resampled(a, b, first == second, drawn[identity])
    for one, weights in zip(found.T, drawn.T.astype(float), strict=True):
        of_pairs = np.where(first == second, weights[first], weights[first] * weights[second])
        assert np.allclose(one, _reference(scores, first == second, of_pairs), atol=1e-9)


def test_a_resample_is_the_set_of_pairs_that_it_stands_for() -> None:
    """Drawing identities, and writing down all pairs of their copies, gives what the weights give."""
    random = np.random.default_rng(3)
    identity = np.repeat(np.arange(6), 3)
    a, b = np.triu_indices(len(identity), 1)
    scores = random.normal((identity[a] == identity[b]) * 1.0, 1)
    drawn = np.array([2, 0, 3, 1, 0, 1])
    copies = [(one, copy) for one, times in enumerate(drawn) for copy in range(times)]
    written = [
        (score, left == right)
        for score, left, right in zip(scores, identity[a], identity[b], strict=True)
        for x in (copy for copy in copies if copy[0] == left)
        for y in (copy for copy in copies if copy[0] == right)
        if left != right or x == y  # the items of two copies of one identity are not compared
    ]
    plain = _pairs.Ranking(*(np.array(column) for column in zip(*written, strict=True))).rates()
    found = _pairs.Ranking(scores, identity[a] == identity[b]).resampled(
        a, b, identity[a] == identity[b], drawn[identity][:, None].astype(np.uint8)
    )
    assert np.allclose(found[:, 0], plain)


def test_separated_pairs_have_no_errors_and_reversed_ones_all() -> None:
    genuine = np.repeat([True, False], 50)
    assert _pairs.Ranking(genuine * 1.0, genuine).rates().tolist() == [0, 1, 1]
    assert _pairs.Ranking(-1.0 * genuine, genuine).rates().tolist() == [1, 0, 0]
    assert _pairs.Ranking(np.zeros(100), genuine).rates().tolist() == [0.5, 0, 0]  # all alike: a coin


def test_a_resample_without_genuine_pairs_has_no_rates() -> None:
    first, second = np.array([0, 1]), np.array([0, 2])  # places of items, of which the first pair's are one group
    found = _pairs.Ranking(np.array([0.9, 0.1]), np.array([True, False])).resampled(
        first, second, np.array([True, False]), np.array([[0, 1], [1, 1], [1, 1]], np.uint8)
    )
    assert np.isnan(found[:, 0]).all() and found[:, 1].tolist() == [0, 1, 1]


def test_threshold_is_at_the_equal_error_rate() -> None:
    random = np.random.default_rng(1)
    genuine = random.random(5000) < 0.5
    scores = random.normal(genuine * 2.0, 1)
    ranking = _pairs.Ranking(scores, genuine)
    threshold, eer = ranking.equal_error_threshold(), ranking.rates()[0]
    assert (scores[~genuine] >= threshold).mean() == pytest.approx(eer, abs=1e-3)
    assert (scores[genuine] < threshold).mean() == pytest.approx(eer, abs=1e-3)


def test_cosine() -> None:
    one, other = np.array([[1.0, 0], [0, 0], [1, 1]]), np.array([[2.0, 0], [1, 0], [1, 0]])
    assert np.allclose(_pairs.cosine(one, other), [1, 0, 0.5**0.5])


def _embeddings(random: np.random.Generator, identities: int, each: int) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of identities of which some are hard: their items scatter more."""
    centres = random.normal(size=(identities, 1, 6))
    scatter = random.choice([0.5, 1.4], size=(identities, 1, 1))
    found = centres + scatter * random.normal(size=(identities, each, 6))
    return found.reshape(-1, 6), np.repeat(np.arange(identities), each)


def test_intervals_by_identity_cover_and_those_by_pair_do_not() -> None:
    random = np.random.default_rng(0)
    found, identity = _embeddings(random, 20_000, 2)
    places = np.arange(len(identity))
    a, b = (
        np.tile(places[::2], 4),
        np.concatenate([places[1::2], *(np.roll(places[1::2], shift) for shift in (1, 2, 3))]),
    )
    truth = _pairs.Ranking(_pairs.cosine(found[a], found[b]), identity[a] == identity[b]).rates()[0]
    studies, resamples = 100, 100
    by_identity = by_pair = 0
    for _ in range(studies):
        found, identity = _embeddings(random, 30, 5)
        a, b = np.triu_indices(len(identity), 1)
        ranking = _pairs.Ranking(_pairs.cosine(found[a], found[b]), identity[a] == identity[b])
        drawn = random.multinomial(29, np.full(30, 1 / 30), resamples).T.astype(np.uint8)
        low, high = np.quantile(ranking.resampled(a, b, identity[a] == identity[b], drawn[identity])[0], [0.025, 0.975])
        by_identity += low <= truth <= high
        pairs = np.arange(len(a))
        drawn = random.poisson(1, (len(a), resamples // 2)).astype(np.uint8)
        low, high = np.quantile(ranking.resampled(pairs, pairs, np.full(len(a), True), drawn)[0], [0.025, 0.975])
        by_pair += low <= truth <= high
    assert by_identity / studies > 0.89  # 0.95 but for chance among so many, and 30 identities
    assert by_pair / studies < 0.8
