"""Bjontegaard deltas against another implementation, their intervals against closed forms, and simulated winners."""

import itertools
import math

import bjontegaard
import numpy as np
import pytest
from benchmarks.winners import Kind, simulate
from scipy import stats
from scipy.interpolate import Akima1DInterpolator
from scipy.optimize import isotonic_regression

from lossybench.analysis import outcomes
from lossybench.analysis.comparisons import Primary
from lossybench.analysis.equal_rate import bd_rows
from lossybench.analysis.intervals import Estimate, Interval, p_value
from lossybench.analysis.rate_curves import Curves, deltas
from lossybench.analysis.sampling import Sampling
from lossybench.artifacts import COMPRESSED, write_table
from lossybench.conditions import REFERENCE, Condition

RATES = np.array([0.2, 0.35, 0.6, 1.0, 1.7, 3.0])
VALUES = np.array([0.55, 0.70, 0.80, 0.86, 0.90, 0.91])
UNIT = {REFERENCE: {"rate_unit": "bpp"}}


def compared(rate_a, value_a, rate_b, value_b):
    """The deltas of two single curves: BD-rate (%), BD-metric (points) and why one is undefined."""
    found = deltas(Curves.of(rate_a[None], value_a[None]), Curves.of(rate_b[None], value_b[None]))
    return 100 * np.expm1(found.log_rate[0]), 100 * found.metric[0], "; ".join(found.reasons())


def test_known_curves():
    found = deltas(Curves.of(RATES[None], VALUES[None]), Curves.of(0.8 * RATES[None], VALUES[None]))
    assert np.expm1(found.log_rate) == pytest.approx(-0.2) and found.reasons() == []
    assert (found.overlap_low[0], found.overlap_high[0]) == (0.55, 0.91)
    assert (found.rate_low[0], found.rate_high[0]) == pytest.approx((0.2, 2.4))
    rate, metric, _ = compared(RATES[::-1], VALUES[::-1], RATES, VALUES + 0.02)
    assert metric == pytest.approx(2) and rate < 0


@pytest.mark.filterwarnings("ignore:Curves do not overlap")
def test_many_curves_side_by_side_equal_the_package_one_by_one():
    """Noisy curves of 6 to 9 levels in any order, so that some dip, some hardly overlap and some are pooled to few."""
    rng = np.random.default_rng(0)
    for levels in (6, 7, 9):
        rates = np.exp(rng.normal(size=(2, 60, 1)) + np.cumsum(rng.random((2, 60, levels)), axis=2))
        values = 1 - 1 / (1 + rates) + 0.1 * rng.normal(size=rates.shape)
        rates[:, :, 4] = rates[:, :, 2]  # two levels of the same rate, far from each other
        found = deltas(*(Curves.of(*both) for both in zip(rates, values, strict=True)))
        defined = 0
        for place in range(60):
            a, b = (averaged(rates[codec, place], values[codec, place]) for codec in (0, 1))
            how = {"method": "pchip", "require_matching_points": False, "min_overlap": 0}
            if levels == 6:  # five of distinct rate, which are too few
                assert np.isnan(found.metric[place]) and np.isnan(found.log_rate[place])
                continue
            theirs = bjontegaard.bd_psnr(*a, *b, **how)
            assert found.metric[place] == pytest.approx(theirs, abs=1e-12, nan_ok=True)
            if not np.isnan(found.log_rate[place]):
                theirs = bjontegaard.bd_rate(*rising(*a), *rising(*b), **how)
                assert 100 * np.expm1(found.log_rate[place]) == pytest.approx(theirs)
                defined += 1
        assert defined > 15 or levels == 6


def averaged(rates, values):
    distinct = np.unique(rates)
    return distinct, np.array([values[rates == one].mean() for one in distinct])


def rising(rates, values):
    blocks = isotonic_regression(values).blocks
    parts = [slice(*ends) for ends in itertools.pairwise(blocks)]
    return [stats.gmean(rates[part]) for part in parts], [values[part].mean() for part in parts]


def test_the_example_in_the_readme_of_the_package():
    # The four-point example of the package's README, doubled to eight points that lie on its own Akima curves.
    rate_a, psnr_a = [9487.76, 4593.60, 2486.44, 1358.24], [40.037, 38.615, 36.845, 34.851]
    rate_b, psnr_b = [9787.80, 4469.00, 2451.52, 1356.24], [40.121, 38.651, 36.970, 34.987]
    packaged = bjontegaard.bd_rate(rate_a, psnr_a, rate_b, psnr_b, method="akima")
    dense = []
    for rate, psnr in ((rate_a, psnr_a), (rate_b, psnr_b)):
        curve = Akima1DInterpolator(psnr[::-1], np.log10(rate[::-1]))
        points = np.linspace(min(psnr), max(psnr), 8)
        dense += [10 ** curve(points), points / 100]
    assert compared(*dense)[0] == pytest.approx(packaged, abs=0.05)


def test_dips_are_pooled_and_equal_rates_merged():
    dip = VALUES.copy()
    dip[[3, 4]] = dip[[4, 3]]
    assert compared(RATES, dip, RATES, dip) == (pytest.approx(0), pytest.approx(0), "")
    twice = compared(np.append(RATES, RATES[2]), np.append(VALUES, VALUES[2]), RATES, VALUES)
    assert twice == (pytest.approx(0), pytest.approx(0), "")


def test_reasons_of_refusal():
    rate, metric, why = compared(RATES, VALUES, 100 * RATES, VALUES)
    assert np.isnan(metric) and rate == pytest.approx(9900) and "rates do not overlap" in why
    rate, metric, why = compared(RATES, VALUES / 2, RATES, VALUES)
    assert np.isnan(rate) and metric > 0 and "no metric value" in why
    rate, _, why = compared(RATES, VALUES / 100 + 0.9, RATES, VALUES / 100 + 0.9)
    assert np.isnan(rate) and "too flat" in why
    assert np.isnan(compared(RATES, VALUES[::-1].copy(), RATES, VALUES)[0])
    rate, metric, why = compared(RATES[:5], VALUES[:5], RATES, VALUES)
    assert np.isnan(rate) and np.isnan(metric) and "only 5 levels" in why


def study(right, rates, groups=None, resamples=2000):
    """The rows of codecs a, b, ... right: what the model reaches, (seeds, n, levels) of each. rates: (n, levels)."""
    n = len(rates[0])
    sampling = Sampling.draw(n, groups or {}, resamples, 0)
    of_condition, conditions, drawn = {}, dict(UNIT), {}
    for codec, hits, of_items in zip("abcd", right, rates, strict=False):
        for level in range(of_items.shape[1]):
            one, hit = Condition(codec, float(level)), hits[:, :, level]
            samples = np.stack([[unit.mean(each) for unit in sampling.units] for each in hit])
            of_condition[one] = Primary(tuple(range(len(hits))), hit.mean(axis=1), samples, None)
            conditions[one] = {"rate": of_items[:, level].mean()}
            drawn[one] = np.stack([unit.mean(of_items[:, level]) for unit in sampling.units])
    of_condition[REFERENCE] = of_condition[one]
    return bd_rows(("net", "original"), of_condition, conditions, drawn, sampling)


def flat(of_items, levels=VALUES):
    """What a model reaches that has `levels` on average, and on each item `of_items` (seeds, n) more, at all levels."""
    return levels + np.asarray(of_items)[..., None]


def everywhere(rates, n=200):
    return np.tile(rates, (n, 1))


def test_the_interval_of_bd_metric_is_that_of_a_mean_where_all_levels_gain_alike():
    gain = 0.1 * np.random.default_rng(1).normal(size=200) + 0.01
    (row,) = study([flat(np.zeros((1, 200))), flat(gain[None])], [everywhere(RATES)] * 2)
    assert row["bd_metric"] == pytest.approx(100 * gain.mean())
    expected = stats.ttest_1samp(100 * gain, 0).confidence_interval()
    assert (row["bd_metric_low"], row["bd_metric_high"]) == pytest.approx(tuple(expected), abs=0.12)
    assert row["p"] == pytest.approx(stats.ttest_1samp(gain, 0).pvalue, rel=0.2)
    assert (row["p_holm"], row["seeds"], row["status"]) == (row["p"], 1, "ok")


def test_the_interval_of_bd_rate_is_that_of_a_ratio_where_only_the_rates_differ():
    rng = np.random.default_rng(2)
    size, less = np.exp(0.5 * rng.normal(size=400)), np.exp(0.3 * rng.normal(size=400)) * 0.8
    right = [flat(np.zeros((1, 400)))] * 2
    (row,) = study(right, [size[:, None] * RATES, (size * less)[:, None] * RATES])
    ratio = (size * less).mean() / size.mean()
    assert row["bd_rate"] == pytest.approx(100 * (ratio - 1))
    error = np.std(size * less / (size * less).mean() - size / size.mean(), ddof=1) / 20  # of its logarithm
    bounds = [100 * (ratio * math.exp(z * error) - 1) for z in (-1.96, 1.96)]
    assert (row["bd_rate_low"], row["bd_rate_high"]) == pytest.approx(bounds, abs=0.4)


def test_groups_that_are_alike_count_as_one_item_each():
    gain = 0.1 * np.random.default_rng(3).normal(size=30)
    voice = np.repeat(np.arange(30), 10)
    right, rates = [flat(np.zeros((1, 300))), flat(gain[voice][None])], [everywhere(RATES, 300)] * 2
    (row,) = study(right, rates, {"voice": voice})
    expected = stats.ttest_1samp(100 * gain, 0)
    low, high = expected.confidence_interval()
    assert (row["bd_metric_low"], row["bd_metric_high"]) == pytest.approx((low, high), abs=0.35)
    assert row["p"] == pytest.approx(expected.pvalue, abs=0.05)
    (naive,) = study(right, rates)
    assert row["bd_metric_high"] - row["bd_metric_low"] > 3 * (naive["bd_metric_high"] - naive["bd_metric_low"])


def test_three_seeds_that_differ_make_the_interval_one_of_models_trained_anew():
    noise = 0.02 * np.random.default_rng(4).normal(size=(3, 200))
    of_seeds = np.array([0.01, 0.03, 0.05])
    right = [flat(np.zeros((3, 200))), flat(of_seeds[:, None] + noise - noise.mean(axis=1, keepdims=True))]
    (row,) = study(right, [everywhere(RATES)] * 2)
    low, high = stats.ttest_1samp(100 * of_seeds, 0).confidence_interval()
    assert (row["bd_metric_low"], row["bd_metric_high"]) == pytest.approx((low, high), abs=0.15)
    assert row["p"] == pytest.approx(stats.ttest_1samp(of_seeds, 0).pvalue, rel=0.1) and row["ahead"] == ""
    (two,) = study([each[:2] for each in right], [everywhere(RATES)] * 2)
    assert two["bd_metric_low"] > 1.5 and two["ahead"] == "b"  # these two models, and no others


def test_p_is_the_error_at_which_an_interval_ends_at_zero():
    sampling = Sampling.draw(100, {"voice": np.arange(100) // 4}, 10, 0)
    none = Interval(0.0, 0.0, 0.0, 0.0, 0.0)
    alone = Estimate(0.02, none, "voice", 2.0, 0.008, 1, 0.0)
    assert p_value(alone, sampling) == pytest.approx(2 * stats.t.sf(2.5, 24))
    several = Estimate(-0.02, none, "", 1.0, 0.008, 3, 0.004)
    tail = p_value(several, sampling) / 2
    assert math.hypot(stats.t.isf(tail, 99) * 0.008, stats.t.isf(tail, 2) * 0.004) == pytest.approx(0.02)
    assert p_value(Estimate(0.0, none, "", 1.0, 0.0, 1, 0.0), sampling) == 1
    assert p_value(Estimate(0.1, none, "", 1.0, 0.0, 1, 0.0), sampling) == 0


def test_the_better_codec_is_ahead_on_either_side_and_holm_is_over_the_pairs_of_a_model():
    rng = np.random.default_rng(5)
    gains = (0.0, 0.02, 0.024)
    right = [flat(0.1 * rng.normal(size=(1, 200)) + gain) for gain in gains]
    rows = study(right, [everywhere(RATES)] * 3)
    (only,) = study([right[1], right[0]], [everywhere(RATES)] * 2)
    assert only["bd_metric"] == pytest.approx(-rows[0]["bd_metric"]) and only["p"] == pytest.approx(rows[0]["p"])
    p = {row["codec_a"] + row["codec_b"]: row["p"] for row in rows}
    by_hand, most = {}, 0.0
    for place, pair in enumerate(sorted(p, key=p.get)):
        by_hand[pair] = most = max(most, min(1.0, (3 - place) * p[pair]))
    assert {row["codec_a"] + row["codec_b"]: row["p_holm"] for row in rows} == pytest.approx(by_hand)
    sure = study([flat(0.02 * rng.normal(size=(1, 200)) + gain) for gain in (0.04, 0.0)], [everywhere(RATES)] * 2)
    assert (sure[0]["ahead"], sure[0]["bd_metric_high"] < -3) == ("a", True)


def test_a_codec_is_not_ahead_where_the_two_deltas_contradict_each_other():
    """It has a little more over the long plateau, and needs much more rate over the short rise."""
    rates = np.array([0.1, 0.13, 0.17, 0.22, 0.3, 3.0, 30.0])
    a = np.array([0.3, 0.5, 0.7, 0.9, 0.905, 0.91, 0.92])
    b = np.array([0.2, 0.35, 0.55, 0.8, 0.93, 0.95, 0.96])
    noise = 0.01 * np.random.default_rng(6).normal(size=(2, 1, 200))
    (row,) = study([flat(noise[0], a), flat(noise[1], b)], [everywhere(rates)] * 2)
    assert row["bd_metric_low"] > 0 and row["p_holm"] < 1e-6 and row["bd_rate_low"] > 0
    assert row["ahead"] == ""


def test_no_interval_without_enough_resamples_or_any_difference():
    same = [flat(np.zeros((1, 200)))] * 2
    (row,) = study(same, [everywhere(RATES)] * 2)
    assert (row["bd_metric"], row["bd_rate"]) == pytest.approx((0, 0), abs=1e-9)
    assert row["bd_metric_low"] is None and row["p"] is None and row["ahead"] == ""
    assert row["status"].count("the same in all resamples") == 2
    # The curves share hardly any value of the metric, so that in many resamples they share none.
    noise = 0.1 * np.random.default_rng(7).normal(size=(2, 1, 200))
    noise -= noise.mean(axis=2, keepdims=True)
    (row,) = study([flat(noise[0], VALUES / 2), flat(noise[1], VALUES / 2 + 0.16)], [everywhere(RATES)] * 2)
    assert row["bd_rate"] is not None and row["bd_rate_low"] is None and row["bd_metric_low"] > 0
    assert "no interval of BD-rate: undefined in " in row["status"] and row["ahead"] == "b"


def test_rates_are_those_of_the_items_whatever_their_order(tmp_path):
    names = ("one", "two", "three")
    paths = []
    for codec, level in (("original", 0.0), ("jpeg", 50.0)):
        bits = {"payload_bits": 10, "overhead_bits": 1, "raw_bits": 100, "encoder": "toy"}
        rows = [
            {"id": name, "rate": float(len(name) + level), "coded_rate": len(name) / 2, **bits}
            for name in reversed(names)
        ]
        paths.append(tmp_path / f"{codec}.parquet")
        table = ({column: row.get(column) for column in COMPRESSED.names} for row in rows)
        write_table(paths[-1], COMPRESSED, table, {"codec": codec, "level": level, "options": {}})
    task = outcomes.TestSet("toy", "image", "classification", ["a"], list(names), np.zeros(3, int), {}, tmp_path)
    _, rates = outcomes.read_conditions(paths, task)
    assert rates[Condition("jpeg", 50.0)].tolist() == [53, 53, 55] and rates[REFERENCE].tolist() == [3, 3, 5]
    _, coded = outcomes.read_conditions(paths, task, "coded")
    assert coded[REFERENCE].tolist() == [1.5, 1.5, 2.5]


SEEDS = {"seeds": 3, "scatter": 0.01}


@pytest.mark.parametrize(("kind", "studies"), [(Kind(100), 200), (Kind(100, 4), 100), (Kind(100, **SEEDS), 100)])
def test_identical_codecs_rarely_get_a_winner(kind, studies):
    found = simulate(kind, studies, resamples=400)
    assert found.ahead <= stats.binom.ppf(0.999, studies, 0.05) / studies
    assert found.before == 1  # signs always name one


@pytest.mark.parametrize(
    "kind", [Kind(100, rate=0.8), Kind(200, more=-0.03), Kind(200, rate=0.7, groups=25, alike=0.2)]
)
def test_intervals_cover_a_true_difference_and_the_worse_codec_never_wins(kind):
    studies = 120
    found = simulate(kind, studies, resamples=400)
    least, most = (stats.binom.ppf(q, studies, p) / studies for q, p in ((0.001, 0.93), (0.999, 0.975)))
    assert least <= found.covered_metric <= most and least <= found.covered_rate <= most
    assert found.wrong == 0 and found.ahead > 0.3
