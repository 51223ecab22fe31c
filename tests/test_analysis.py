"""Intervals, verdicts and rate curves against published figures, other libraries and simulations."""

import functools
import math

import bjontegaard
import numpy as np
import pytest
from scipy import optimize, stats
from scipy.interpolate import Akima1DInterpolator
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score
from statsmodels.stats.contingency_tables import mcnemar

from lossybench.analysis import label_metrics as classification
from lossybench.analysis.comparisons import Primary, paired, reference
from lossybench.analysis.intervals import (
    Interval,
    Resamples,
    discordant,
    paired_guarded,
    paired_score,
    percentile,
    tango,
    wilson,
)
from lossybench.analysis.rate_curves import bjontegaard_delta
from lossybench.analysis.verdicts import fixed_sequence, items_needed, verdict
from lossybench.chance import above_chance, chance, lower_bound


def test_tango_published_example():
    # Airway hyper-responsiveness, 1 lost and 7 won of 21 pairs: Fagerland et al. (2014), Stat. Med. 33:2850.
    assert tango(7, 1, 21) == pytest.approx((-0.517, -0.026), abs=5e-4)


@pytest.mark.parametrize(("lost", "won", "n"), [(12, 2, 50), (0, 3, 40), (5, 0, 30), (40, 20, 160)])
def test_tango_bounds_are_where_the_score_test_just_rejects(lost, won, n):
    for bound, z in zip(tango(lost, won, n), (1.959964, -1.959964), strict=True):

        def surprise(q, bound=bound):
            return -(lost * math.log(q) + won * math.log(q + bound) + (n - lost - won) * math.log(1 - 2 * q - bound))

        # The share of lost pairs that is likeliest if the difference were the bound, found numerically.
        edges = (max(0.0, -bound) + 1e-12, (1 - bound) / 2 - 1e-12)
        q = optimize.minimize_scalar(surprise, bounds=edges, method="bounded", options={"xatol": 1e-12}).x
        score = (won - lost - n * bound) / math.sqrt(n * (2 * q + bound - bound**2))
        assert score == pytest.approx(z, abs=2e-3)


def test_tango_when_all_pairs_agree():
    z = 1.6448536
    assert tango(0, 0, 30, z) == pytest.approx((-(z**2) / (30 + z**2), z**2 / (30 + z**2)))
    assert tango(30, 0, 30)[0] == -1.0


@pytest.mark.parametrize("n", [5, 12, 300])
def test_tango_when_all_pairs_change_the_same_way(n):
    """It is Wilson's interval of n of n, carried from shares p to differences 2p - 1; and no certainty."""
    low, high = tango(0, n, n)
    assert (low, high) == (pytest.approx(2 * wilson(n, n)[0] - 1), 1.0)
    assert tango(n, 0, n) == (-high, -low)
    nearly = tango(1e-3, n - 1e-3, n)
    assert (low, high) == pytest.approx(nearly, abs=1e-3)


def test_tango_covers():
    rng = np.random.default_rng(0)
    n, lost, won = 200, 0.06, 0.02
    draws = rng.multinomial(n, [lost, won, 1 - lost - won], size=1500)
    covered = [low <= won - lost <= high for low, high in (tango(b, c, n) for b, c, _ in draws)]
    assert 0.935 < np.mean(covered) < 0.97  # 3 standard errors of the simulation are 0.017


def test_bootstrap_agrees_with_scipy():
    right = np.random.default_rng(1).random(300) < 0.8
    samples = right.astype(np.float32) @ Resamples.draw(300, 4000, 0).items / 300
    ours = percentile(samples)
    theirs = stats.bootstrap((right,), np.mean, method="percentile", n_resamples=4000, rng=0).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.007)
    assert ours.low < ours.lower < right.mean() < ours.upper < ours.high


@pytest.mark.parametrize("count", [2, 3, 5])
def test_seed_draws_have_the_variance_of_a_mean_of_seeds(count):
    values = np.random.default_rng(2).normal(size=count)
    means = values @ Resamples.draw(10, 40000, 0).seeds(count)
    assert means.mean() == pytest.approx(values.mean(), abs=0.02)
    assert means.var() == pytest.approx(values.var(ddof=1) / count, rel=0.05)


def test_classification_metrics_equal_sklearn_and_resamples_equal_sklearn_on_drawn_items():
    rng = np.random.default_rng(3)
    labels = rng.choice([0, 1, 2, 4], 120)  # class 3 has no test item
    predictions = np.where(rng.random(120) < 0.6, labels, rng.integers(0, 5, 120))
    resamples = Resamples.draw(120, 5, 0)
    values, samples = classification.measure(labels, predictions, resamples)
    names = classification.names(labels, list("abcde"))
    assert ("recall", "d") not in names
    drawn = [np.repeat(np.arange(120), resamples.items[:, r].astype(int)) for r in range(5)]
    for at, got in [(np.arange(120), values), *zip(drawn, samples.T, strict=True)]:
        y, p = labels[at], predictions[at]
        of = dict(zip(names, got, strict=True))
        assert of["accuracy", ""] == pytest.approx(accuracy_score(y, p))
        for metric, score in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
            present = np.unique(labels)
            assert of[metric, ""] == pytest.approx(score(y, p, labels=present, average="macro", zero_division=0))
            each = score(y, p, labels=present, average=None, zero_division=0)
            assert [of[metric, name] for name in "abce"] == pytest.approx(each)


def primary(right: np.ndarray, resamples: Resamples) -> Primary:
    n = right.shape[1]
    return Primary(tuple(range(len(right))), right.mean(axis=1), right.astype(np.float32) @ resamples.items / n, right)


def test_mcnemar_equals_statsmodels():
    rng = np.random.default_rng(4)
    before, after = rng.random((1, 400)) < 0.9, rng.random((1, 400)) < 0.85
    table = [[(before & after).sum(), (before & ~after).sum()], [(~before & after).sum(), (~before & ~after).sum()]]
    resamples = Resamples.draw(400, 50, 0)
    got = paired(primary(before, resamples), primary(after, resamples), resamples)
    assert got.p == pytest.approx(mcnemar(table, exact=True).pvalue)
    assert got.value == pytest.approx(after.mean() - before.mean())


def test_several_seeds_are_no_narrower_than_items_alone_and_see_seeds_that_differ():
    n = 2000
    resamples = Resamples.draw(n, 500, 0)
    before = np.ones((2, n), bool)
    after = before.copy()
    after[1, :200] = False  # one of the two seeds loses 10 points, the other nothing
    got = paired(primary(before, resamples), primary(after, resamples), resamples)
    assert got.value == pytest.approx(-0.05)
    assert got.interval.low <= -0.1 and got.interval.high >= 0.0
    score = paired_score(before, after)
    assert got.interval == got.interval.widest(score) and got.interval != score
    assert discordant(before, after) == (100, 0)


def test_wilson_published_example():
    # Newcombe (1998), Stat. Med. 17:857, table I: 81 of 263.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_verdicts():
    assert verdict(Interval(-0.01, 0.01, -0.008, 0.008), 0.01, 0.8) == "acceptable"
    assert verdict(Interval(-0.08, -0.05, -0.075, -0.055), 0.05, 0.8) == "unacceptable"
    assert verdict(Interval(-0.06, 0.01, -0.05, 0.005), 0.05, 0.8) == "inconclusive"  # the bound is the margin itself


def test_no_loss_is_judged_of_a_model_that_could_not_lose_it():
    unharmed, harmed = Interval(-0.01, 0.01, -0.008, 0.008), Interval(-0.08, -0.05, -0.075, -0.055)
    for above in (-0.9, 0.0, 0.02):  # the last is the margin itself
        assert verdict(unharmed, 0.02, above) == verdict(harmed, 0.02, above) == "no reference"
    assert verdict(unharmed, 0.02, 0.021) == "acceptable"


def test_chance_is_the_best_constant_answer():
    assert chance([0, 1, 2, 0], 3) == 0.5
    assert chance(np.arange(40) % 10, 10) == 0.1
    assert chance([3], 5) == 1.0
    for labels in ([], [0, 3], [-1]):
        with pytest.raises(ValueError, match=r"labels|negative"):
            chance(labels, 3)


def test_lower_bound_is_where_the_exact_test_just_rejects():
    for right, items in ((1, 5), (37, 50), (50, 50), (120, 400)):
        assert stats.binom.sf(right - 1, items, lower_bound(right, items)) == pytest.approx(0.05)
    assert lower_bound(0, 20) == 0.0


@pytest.mark.parametrize("odds", [[0.5, 0.5], [0.1] * 10, [0.9, 0.1], [0.4, 0.3, 0.2, 0.1]])
@pytest.mark.parametrize("items", [40, 400])
def test_who_guesses_passes_for_a_model_on_at_most_a_twentieth_of_test_sets(odds, items):
    """A simulation with no margin at all, which is the hardest: with one, a guesser passes less often still."""
    rng, runs, classes = np.random.default_rng([items, len(odds)]), 1500, len(odds)
    labels = rng.choice(classes, size=(runs, items), p=odds)
    level = [chance(each, classes) for each in labels]
    shown = functools.cache(above_chance)

    def passed(answers, margin=0.0):
        right = (answers == labels).sum(axis=1).tolist()
        return np.mean([shown(count, items, each, margin) for count, each in zip(right, level, strict=True)])

    highest = stats.binom.ppf(0.999, runs, 0.05) / runs  # a twentieth, and what 1,500 runs scatter about it
    assert passed(rng.integers(0, classes, labels.shape)) <= highest
    assert passed(rng.choice(classes, size=labels.shape, p=odds)) <= highest
    assert passed(np.zeros_like(labels)) == 0  # always the largest class
    # A model that is well above chance passes nearly always, also by a margin of 2 points.
    able = np.where(rng.random(labels.shape) < 0.99, labels, (labels + 1) % classes)
    if items == 400:
        assert passed(able, 0.02) > 0.99


def test_the_worst_seed_decides_whether_there_is_a_reference():
    rng, resamples = np.random.default_rng(1), Resamples.draw(300, 100, 0)
    right = rng.random((2, 300)) < np.array([[0.95], [0.1]])
    both = primary(right, resamples)
    of_both, of_first = (reference(of, 0.0, 1.0, np.full(len(of.seeds), 0.1), 300) for of in (both, both.of([0])))
    assert of_first.above_chance == pytest.approx(lower_bound(int(right[0].sum()), 300) - 0.1)
    assert of_both.value > 0.5 and of_both.above_chance < 0.02 < 0.8 < of_first.above_chance


def test_few_items_that_all_agree_are_inconclusive():
    right = np.ones((1, 100), bool)
    assert verdict(paired_score(right, right), 0.02, 0.8) == "inconclusive"
    assert verdict(paired_score(np.ones((1, 133), bool), np.ones((1, 133), bool)), 0.02, 0.8) == "acceptable"
    same = paired_guarded(0.0, np.zeros(500), 100)  # detection: no resample differs
    assert verdict(same, 0.02, 0.8) == "inconclusive"
    assert verdict(paired_guarded(0.0, np.zeros(500), 133), 0.02, 0.8) == "acceptable"


def test_fixed_sequence_stops_at_the_first_failure():
    assert fixed_sequence(["acceptable", "inconclusive", "acceptable"]) == 1
    assert fixed_sequence(["acceptable", "acceptable"]) == 2
    assert fixed_sequence(["unacceptable", "acceptable"]) == 0


@pytest.mark.parametrize(
    ("delta", "share", "items"),
    [
        (0.02, 0.03, 464),
        (0.02, 0.06, 928),
        (0.02, 0.12, 1855),
        (0.01, 0.03, 1855),
        (0.01, 0.06, 3710),
        (0.01, 0.12, 7420),
    ],
)
def test_items_needed_table(delta, share, items):
    assert items_needed(share, delta) == items


@pytest.mark.parametrize(("delta", "least"), [(0.01, 0.77), (0.02, 0.74)])
def test_items_needed_gives_the_power_it_promises(delta, least):
    n = items_needed(0.06, delta)
    draws = np.random.default_rng(5).multinomial(n, [0.03, 0.03, 0.94], size=1000)
    passed = [tango(lost, won, n, 1.6448536)[0] > -delta for lost, won, _ in draws]
    assert least < np.mean(passed) < 0.84


def test_items_needed_grows_as_the_loss_nears_the_margin_and_stays_finite():
    needed = [items_needed(0.06, 0.02, loss) for loss in (0.0, -0.01, -0.015, -0.02)]
    assert needed == sorted(needed) and needed[0] < needed[1] < 1e6
    assert items_needed(0.0, 0.02) == 133  # no pair disagrees


RATES = np.array([0.2, 0.35, 0.6, 1.0, 1.7, 3.0])
VALUES = np.array([0.55, 0.70, 0.80, 0.86, 0.90, 0.91])


def test_bd_of_known_curves():
    cheaper = bjontegaard_delta(RATES, VALUES, 0.8 * RATES, VALUES)
    assert cheaper["status"] == "ok"
    assert cheaper["bd_rate"] == pytest.approx(-20)
    assert (cheaper["overlap_low"], cheaper["overlap_high"]) == (0.55, 0.91)
    assert (cheaper["rate_low"], cheaper["rate_high"]) == pytest.approx((0.2, 2.4))
    better = bjontegaard_delta(RATES[::-1], VALUES[::-1], RATES, VALUES + 0.02)
    assert better["bd_metric"] == pytest.approx(2) and better["bd_rate"] < 0


def test_bd_package_readme_example():
    # The four-point example of the package's README, doubled to eight points that lie on its own Akima curves.
    rate_a, psnr_a = [9487.76, 4593.60, 2486.44, 1358.24], [40.037, 38.615, 36.845, 34.851]
    rate_b, psnr_b = [9787.80, 4469.00, 2451.52, 1356.24], [40.121, 38.651, 36.970, 34.987]
    packaged = bjontegaard.bd_rate(rate_a, psnr_a, rate_b, psnr_b, method="akima")
    dense = []
    for rate, psnr in ((rate_a, psnr_a), (rate_b, psnr_b)):
        curve = Akima1DInterpolator(psnr[::-1], np.log10(rate[::-1]))
        points = np.linspace(min(psnr), max(psnr), 8)
        dense += [10 ** curve(points), points / 100]
    assert bjontegaard_delta(*dense)["bd_rate"] == pytest.approx(packaged, abs=0.05)


def test_bd_pools_dips_and_merges_equal_rates():
    dip = VALUES.copy()
    dip[[3, 4]] = dip[[4, 3]]
    got = bjontegaard_delta(RATES, dip, RATES, dip)
    assert (got["bd_rate"], got["bd_metric"], got["status"]) == (pytest.approx(0), pytest.approx(0), "ok")
    twice = bjontegaard_delta(np.append(RATES, RATES[2]), np.append(VALUES, VALUES[2]), RATES, VALUES)
    assert (twice["bd_rate"], twice["bd_metric"]) == (pytest.approx(0), pytest.approx(0))


def test_bd_refuses():
    apart = bjontegaard_delta(RATES, VALUES, 100 * RATES, VALUES)
    assert (
        apart["bd_metric"] is None
        and apart["bd_rate"] == pytest.approx(9900)
        and "rates do not overlap" in apart["status"]
    )
    above = bjontegaard_delta(RATES, VALUES / 2, RATES, VALUES)
    assert above["bd_rate"] is None and above["bd_metric"] > 0 and "no metric value" in above["status"]
    flat = bjontegaard_delta(RATES, VALUES / 100 + 0.9, RATES, VALUES / 100 + 0.9)
    assert flat["bd_rate"] is None and "too flat" in flat["status"]
    noise = bjontegaard_delta(RATES, VALUES[::-1].copy(), RATES, VALUES)
    assert noise["bd_rate"] is None
    few = bjontegaard_delta(RATES[:5], VALUES[:5], RATES, VALUES)
    assert few["bd_rate"] is None and few["bd_metric"] is None and "only 5 levels" in few["status"]
