"""Intervals and verdicts against published figures, other libraries and simulations."""

import functools
import math

import numpy as np
import pytest
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar

from lossybench.analysis import intervals
from lossybench.analysis.comparisons import Primary, best_reference, paired, reference, to_baseline
from lossybench.analysis.intervals import Estimate, Interval, of_samples, seed_variance, share, tails, tango, wilson
from lossybench.analysis.sampling import Sampling
from lossybench.analysis.verdicts import Missing, fixed_sequence, missing, verdict
from lossybench.chance import above_chance, chance, lower_bound

Z = 1.959964  # of two-sided 95 %


def test_tango_published_example():
    # Airway hyper-responsiveness, 1 lost and 7 won of 21 pairs: Fagerland et al. (2014), Stat. Med. 33:2850.
    assert tango(7, 1, 21, Z) == pytest.approx((-0.517, -0.026), abs=5e-4)


@pytest.mark.parametrize(("lost", "won", "n"), [(12, 2, 50), (0, 3, 40), (5, 0, 30), (40, 20, 160)])
def test_tango_bounds_are_where_the_score_test_just_rejects(lost, won, n):
    for bound, z in zip(tango(lost, won, n, Z), (Z, -Z), strict=True):

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
    assert tango(30, 0, 30, Z)[0] == -1.0


@pytest.mark.parametrize("n", [5, 12, 300])
def test_tango_when_all_pairs_change_the_same_way(n):
    """It is Wilson's interval of n of n, carried from shares p to differences 2p - 1; and no certainty."""
    low, high = tango(0, n, n, Z)
    assert (low, high) == (pytest.approx(2 * wilson(1.0, n, Z)[0] - 1), 1.0)
    assert tango(n, 0, n, Z) == (-high, -low)
    nearly = tango(1e-3, n - 1e-3, n, Z)
    assert (low, high) == pytest.approx(nearly, abs=1e-3)


def test_tango_covers():
    rng = np.random.default_rng(0)
    n, lost, won = 200, 0.06, 0.02
    draws = rng.multinomial(n, [lost, won, 1 - lost - won], size=1500)
    covered = [low <= won - lost <= high for low, high in (tango(b, c, n, Z) for b, c, _ in draws)]
    assert 0.935 < np.mean(covered) < 0.97  # 3 standard errors of the simulation are 0.017


def draw(n: int, resamples: int, groups: np.ndarray | None = None, **how) -> Sampling:
    return Sampling.draw(n, {} if groups is None else {"voice": groups}, resamples, 0, **how)


def test_bootstrap_agrees_with_scipy():
    right = np.random.default_rng(1).random(300) < 0.8
    sampling = draw(300, 4000)
    samples = (sampling.units[0].total(right.astype(float)) / 299)[None, None]
    ours = of_samples(right.mean(keepdims=True), samples, sampling).interval
    theirs = stats.bootstrap((right,), np.mean, method="percentile", n_resamples=4000, rng=0).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.007)
    assert ours.low < ours.lower < right.mean() < ours.upper < ours.high


def test_resampled_totals_of_groups_have_the_variance_of_a_mean_of_groups():
    values = np.random.default_rng(2).normal(size=30)
    groups = np.repeat(np.arange(30), 4)
    unit = draw(120, 40000, groups).units[1]
    means = unit.total(values[groups]) / unit.total(np.ones(120))
    assert means.mean() == pytest.approx(values.mean(), abs=0.02)
    assert means.var() == pytest.approx(values.var(ddof=1) / 30, rel=0.05)


def test_extreme_tails_of_few_resamples_are_those_of_the_normal_law():
    samples = np.random.default_rng(3).normal(1, 2, 1000)
    for tail in (1e-4, 1e-3):
        low, high = tails(samples, tail)
        assert (low, high) == pytest.approx((1 + 2 * stats.norm.ppf(tail), 1 - 2 * stats.norm.ppf(tail)), rel=0.15)
    assert tails(samples, 0.05) == tuple(np.quantile(samples, (0.05, 0.95)))


def primary(right: np.ndarray, sampling: Sampling) -> Primary:
    samples = [[unit.total(one) / unit.total(np.ones(sampling.n)) for unit in sampling.units] for one in right]
    return Primary(tuple(range(len(right))), right.mean(axis=1), np.array(samples), right)


def test_mcnemar_equals_statsmodels():
    rng = np.random.default_rng(4)
    before, after = rng.random((1, 400)) < 0.9, rng.random((1, 400)) < 0.85
    table = [[(before & after).sum(), (before & ~after).sum()], [(~before & after).sum(), (~before & ~after).sum()]]
    sampling = draw(400, 50)
    got = paired(primary(before, sampling), primary(after, sampling), sampling)
    assert got.p == pytest.approx(mcnemar(table, exact=True).pvalue)
    assert got.estimate.value == pytest.approx(after.mean() - before.mean())


def lost_in(groups: int, of_each: int, lost: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The group of each item, what is right before, and what is right after `lost` items of the first groups are lost.

    Besides, every group wins one item and loses one.
    """
    index = np.repeat(np.arange(groups), of_each)
    before, after = np.ones((1, groups, of_each), bool), np.ones((1, groups, of_each), bool)
    before[0, :, -1] = after[0, :, -2] = False
    for group, count in enumerate(lost):
        after[0, group, :count] = False
    return index, before.reshape(1, -1), after.reshape(1, -1)


def test_a_loss_within_few_speakers_is_less_certain_than_the_same_loss_spread_over_all():
    index, before, gathered = lost_in(40, 25, [20])
    _, _, spread = lost_in(40, 25, [1] * 20)
    alone, among = (intervals.paired(before, after, draw(1000, 10, index)) for after in (gathered, spread))
    free = intervals.paired(before, gathered, draw(1000, 10))
    assert alone.value == among.value == free.value == pytest.approx(-0.02)
    assert (free.units, free.effect) == ("", 1.0) and among.effect < 1.2 and alone.effect > 3
    assert alone.interval.lower < among.interval.lower - 0.02 and among.interval.lower == pytest.approx(
        free.interval.lower, abs=0.003
    )
    # Analytic: one of 40 groups loses 0.8, so that the standard error is that of the groups' means.
    means = (gathered[0].astype(float) - before[0]).reshape(40, 25).mean(axis=1)
    assert alone.error == pytest.approx(means.std(ddof=1) / math.sqrt(40), rel=1e-6)
    assert alone.units == "voice"


def test_the_effective_number_of_items_of_groups_that_are_alike_is_the_number_of_groups():
    """If all items of a group agree, 40 groups of 25 items say as much as 40 items."""
    right = np.random.default_rng(5).random(40) < 0.7
    sampling = draw(1000, 10, np.repeat(np.arange(40), 25))
    got = share(np.repeat(right, 25)[None], sampling)
    assert got.effect == pytest.approx(25 * 40 / 39, rel=1e-3)
    low, high = wilson(right.mean(), 1000 / got.effect, stats.t.ppf(0.975, 39))
    assert got.interval.low <= low + 1e-9 and got.interval.high >= high - 1e-9
    assert got.interval.low == pytest.approx(low, abs=0.03) and got.interval.high == pytest.approx(high, abs=0.03)


def test_groups_that_are_single_items_or_too_few_change_no_interval():
    rng = np.random.default_rng(6)
    before, after = rng.random((1, 300)) < 0.9, rng.random((1, 300)) < 0.88
    free = intervals.paired(before, after, draw(300, 10))
    assert intervals.paired(before, after, draw(300, 10, np.arange(300))) == free
    six = draw(300, 10, np.arange(300) % 6)
    assert intervals.paired(before, after, six) == free and six.few == ("voice", 6)
    assert draw(300, 10, np.arange(300) % 20).few is None


def test_seeds_that_differ_are_seen_from_three_on():
    before = np.ones((4, 2000), bool)
    after = before.copy()
    after[::2, :200] = False  # every other seed loses 10 points, the others nothing
    sampling = draw(2000, 100)
    two, four = (intervals.paired(before[:k], after[:k], sampling) for k in (2, 4))
    assert two.value == four.value == pytest.approx(-0.05)
    assert two.seed_error == 0 and two.interval.low > -0.06  # of these two models
    assert four.seed_error == pytest.approx(np.std([0, 0.1, 0, 0.1], ddof=1) / 2, rel=0.01)
    assert four.interval.low < -0.05 - stats.t.ppf(0.975, 3) * four.seed_error + 1e-9


def test_seed_variance_of_seeds_that_differ_by_their_items_alone_is_small():
    """As many models that err independently on 2,000 items: half of their scatter is taken off on average."""
    rng = np.random.default_rng(7)
    found = [seed_variance((rng.random((3, 2000)) < 0.9).astype(float)) for _ in range(300)]
    assert 0.4 < np.mean(found) / (0.09 / 2000 / 3) < 0.8
    shifted = [seed_variance((rng.random((3, 2000)) < rng.normal(0.9, 0.03, (3, 1))).astype(float)) for _ in range(300)]
    assert np.mean(shifted) == pytest.approx(0.03**2 / 3, rel=0.2)


def test_joint_bounds_are_bonferroni():
    rng = np.random.default_rng(8)
    before, after = rng.random((1, 500)) < 0.9, rng.random((1, 500)) < 0.88
    lost, won = (before & ~after).sum(), (~before & after).sum()
    got = intervals.paired(before, after, draw(500, 10, family=4)).interval
    assert got.joint == pytest.approx(tango(lost, won, 500, stats.norm.ppf(1 - 0.05 / 4))[0])
    assert got.lower == pytest.approx(tango(lost, won, 500, stats.norm.ppf(0.95))[0])
    strict = intervals.paired(before, after, draw(500, 10, alpha=0.01)).interval
    assert strict.lower == pytest.approx(tango(lost, won, 500, stats.norm.ppf(0.99))[0])


def test_a_model_is_compared_with_itself_and_with_the_best_trained_on_originals():
    rng, sampling = np.random.default_rng(9), draw(1000, 100)
    right = {name: rng.random((3, 1000)) < level for name, level in (("good", 0.95), ("poor", 0.9), ("mixed", 0.99))}
    references = {
        (name, "mixed" if name == "mixed" else "original"): reference(
            (name, "any"), primary(each, sampling), 0, 1, np.full(3, 0.1), sampling
        )
        for name, each in right.items()
    }
    best = best_reference(references)
    assert best.of[0] == "good"  # the mixed model is better, but was not trained on originals
    found = to_baseline({("jpeg", 50.0): primary(right["poor"], sampling)}, best, False, sampling)
    estimate = found["jpeg", 50.0].estimate
    assert estimate.value == pytest.approx(right["poor"].mean() - right["good"].mean())
    low, high = estimate.interval.low, estimate.interval.high
    assert low < -0.05 < high and 0.01 < high - low < 0.06


def test_wilson_published_example():
    # Newcombe (1998), Stat. Med. 17:857, table I: 81 of 263.
    assert wilson(81 / 263, 263, Z) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_verdicts():
    assert verdict(Interval(-0.01, 0.01, -0.008, 0.008, -0.009), 0.01, 0.8) == "acceptable"
    assert verdict(Interval(-0.01, 0.01, -0.008, 0.008, -0.009), 0.01, 0.8, here=True) == "acceptable here"
    assert verdict(Interval(-0.08, -0.05, -0.075, -0.055, -0.08), 0.05, 0.8) == "unacceptable"
    at_margin = Interval(-0.06, 0.01, -0.05, 0.005, -0.06)  # the bound is the margin itself
    assert verdict(at_margin, 0.05, 0.8) == verdict(at_margin, 0.05, 0.8, here=True) == "inconclusive"


def test_no_loss_is_judged_of_a_model_that_could_not_lose_it():
    unharmed, harmed = Interval(-0.01, 0.01, -0.008, 0.008, -1), Interval(-0.08, -0.05, -0.075, -0.055, -1)
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
    rng, sampling = np.random.default_rng(1), draw(300, 100)
    right = rng.random((2, 300)) < np.array([[0.95], [0.1]])
    of_both, of_first = (
        reference(("net", "original"), primary(each, sampling), 0.0, 1.0, np.full(len(each), 0.1), sampling)
        for each in (right, right[:1])
    )
    assert of_first.above_chance == pytest.approx(lower_bound(int(right[0].sum()), 300) - 0.1)
    assert of_both.value > 0.5 and of_both.above_chance < 0.02 < 0.8 < of_first.above_chance


def test_few_items_that_all_agree_are_inconclusive():
    for n, expected in ((100, "inconclusive"), (132, "inconclusive"), (133, "acceptable")):
        right, sampling = np.ones((1, n), bool), draw(n, 100)
        assert verdict(intervals.paired(right, right, sampling).interval, 0.02, 0.8) == expected
        same = of_samples(np.zeros(1), np.zeros((1, 1, 100)), sampling, guard=True)  # detection: no resample differs
        assert verdict(same.interval, 0.02, 0.8) == expected


def test_fixed_sequence_stops_at_the_first_failure():
    assert fixed_sequence([True, False, True]) == 1
    assert fixed_sequence([True, True]) == 2
    assert fixed_sequence([False, True]) == 0


def undecided(value: float, error: float, seeds: int = 1, seed_error: float = 0.0, units: str = "") -> Estimate:
    return Estimate(value, Interval(-1, 1, -1, 1, -1), units, 1.0, error, seeds, seed_error)


def test_what_is_missing_is_said_by_its_name_and_as_a_range():
    items = draw(500, 10)
    # A published size (Julious 2010): variance 0.06, power 90 %, gaps of 2 points and 1.
    exact = [0.06 * (1.6448536 + 1.2815516) ** 2 / gap**2 for gap in (0.02, 0.01)]
    expected = [100 * math.ceil(number / 100) for number in exact]  # 1,285 and 5,139, to two digits
    assert missing(undecided(0, math.sqrt(0.06 / 500)), 0.02, items) == Missing("items", *expected)
    groups = draw(500, 10, np.arange(500) % 25)
    found = missing(undecided(0, 0.01, units="voice"), 0.02, groups)
    assert found.what == "voice" and 25 < found.low < found.high < 4 * found.low + 5
    for loss in (0.011, 0.02, 0.029):
        assert missing(undecided(-loss, 0.01), 0.02, items) == Missing("too close")
    seeds = missing(undecided(0, 0.002, 3, 0.005), 0.02, items)
    assert seeds.what == "seeds" and 3 < seeds.low < seeds.high <= 20
    assert missing(undecided(0, 0.002, 3, 0.05), 0.02, items) == Missing("no practical number")
    assert missing(undecided(0, 0.2), 0.02, items) == Missing("no practical number")


def test_of_studies_that_follow_the_advice_most_are_settled():
    """Losses of nothing and of half the margin, 6 % of the pairs discordant."""
    rng = np.random.default_rng(10)
    for loss in (0.0, 0.01):
        settled = []
        for _ in range(600):
            lost, won = rng.multinomial(300, [0.03 + loss / 2, 0.03 - loss / 2, 0.94])[:2]
            gap = np.r_[-np.ones(lost), np.ones(won), np.zeros(300 - lost - won)]
            right = np.stack([gap >= 0, gap <= 0])  # after, before
            sampling = draw(300, 1)
            estimate = intervals.paired(right[1:], right[:1], sampling)
            advice = missing(estimate, 0.02, sampling)
            if verdict(estimate.interval, 0.02, 0.8) != "inconclusive" or not advice.high:
                continue
            again = rng.multinomial(advice.high, [0.03 + loss / 2, 0.03 - loss / 2, 0.94])[:2]
            low, high = tango(*again, advice.high, 1.6448536)
            settled.append(low > -0.02 or high < -0.02)
        assert len(settled) > 200 and np.mean(settled) > 0.75
