"""Metrics of classification and their intervals against scikit-learn, statsmodels, derivatives and simulations."""

import numpy as np
import pytest
from benchmarks import coverage
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score
from statsmodels.stats.proportion import proportion_confint

from lossybench.analysis import label_metrics
from lossybench.analysis.intervals import of_share_samples, trials_of_mean
from lossybench.analysis.sampling import Sampling

NAMES = list("abcde")


def items(n: int = 120, seeds: int = 1, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Labels of classes a, b, c and e, and what `seeds` models take the items for: also d, which no item is."""
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 1, 2, 4], n)
    return labels, np.where(rng.random((seeds, n)) < 0.6, labels, rng.integers(0, 5, (seeds, n)))


def measured(labels, predictions, groups=None, **how):
    sampling = Sampling.draw(len(labels), {} if groups is None else {"voice": groups}, 1, 0, **how)
    found = label_metrics.estimates(labels, predictions, sampling)
    return dict(zip(label_metrics.names(labels, NAMES), found, strict=True))


def by_sklearn(labels, predictions, weights=None):
    """All metrics of one model."""
    present = np.unique(labels)
    values = {("accuracy", ""): accuracy_score(labels, predictions, sample_weight=weights)}
    for metric, score in (("precision", precision_score), ("recall", recall_score), ("f1", f1_score)):
        how = {"labels": present, "zero_division": 0, "sample_weight": weights}
        values[metric, ""] = score(labels, predictions, average="macro", **how)
        each = score(labels, predictions, average=None, **how)
        values |= {(metric, NAMES[k]): value for k, value in zip(present, each, strict=True)}
    return values


@pytest.mark.parametrize("seeds", [1, 3])
def test_values_equal_sklearn(seeds):
    labels, predictions = items(seeds=seeds)
    found = measured(labels, predictions)
    of_models = [by_sklearn(labels, one) for one in predictions]
    assert set(found) == set(of_models[0]) and ("recall", "d") not in found
    for name, one in found.items():
        assert one.value == pytest.approx(np.mean([each[name] for each in of_models]))
        assert one.interval.low < one.interval.lower < one.value < one.interval.upper < one.interval.high


def test_standard_errors_are_those_of_derivatives_by_the_items_weights():
    """The infinitesimal jackknife, with scikit-learn's weighted metrics and numerical derivatives."""
    n = 2000
    labels, (predictions,) = items(n)
    step, errors = 1e-3, {}
    kinds = sorted(set(zip(labels.tolist(), predictions.tolist(), strict=True)))
    for label, prediction in kinds:  # items of one label and prediction have the same derivative
        alike = (labels == label) & (predictions == prediction)
        weights = np.ones(n)
        weights[np.flatnonzero(alike)[0]] += step
        more, less = by_sklearn(labels, predictions, weights), by_sklearn(labels, predictions, 2 - weights)
        for name, value in more.items():
            errors[name] = errors.get(name, 0) + alike.sum() * ((value - less[name]) / (2 * step)) ** 2
    for name, one in measured(labels, predictions[None]).items():
        assert one.error == pytest.approx(np.sqrt(errors[name]), rel=0.01)


def test_a_class_has_wilsons_interval():
    labels, predictions = items()
    found = measured(labels, predictions)
    for k, name in ((0, "a"), (4, "e")):
        actual, predicted = (labels == k).sum(), (predictions[0] == k).sum()
        hits = ((labels == k) & (predictions[0] == k)).sum()
        for metric, count in (("recall", actual), ("precision", predicted), ("f1", actual + predicted - hits)):
            low, high = proportion_confint(hits, count, method="wilson")
            wanted = (2 * low / (1 + low), 2 * high / (1 + high)) if metric == "f1" else (low, high)
            interval = found[metric, name].interval
            assert (interval.low, interval.high) == pytest.approx(wanted)


def test_a_class_that_is_never_predicted_may_have_any_precision():
    labels = np.repeat([0, 1, 2], 20)
    predictions = np.where(labels == 2, 0, labels)[None]
    found = measured(labels, predictions)
    never, macro = found["precision", "c"], found["precision", ""]
    assert (never.value, never.interval.low, never.interval.high) == (0, 0, 1)
    # Of the mean over three classes, it leaves a third open above what the other two allow.
    assert macro.value == pytest.approx((0.5 + 1 + 0) / 3) and macro.interval.high > macro.value + 1 / 3
    assert found["recall", "c"].interval.high == pytest.approx(proportion_confint(0, 20, method="wilson")[1])


def test_few_items_that_are_all_right_are_no_certainty():
    """Five classes of two items: as ten items that are all right, and not the bootstrap's [1, 1]."""
    labels = np.repeat(np.arange(5), 2)
    found = measured(labels, labels[None])
    low, _ = proportion_confint(10, 10, method="wilson")
    for metric in ("recall", "precision"):
        assert found[metric, ""].interval.low == pytest.approx(low)
    assert found["f1", ""].interval.low == pytest.approx(2 * low / (1 + low))


def test_groups_and_seeds_widen_the_intervals():
    labels, predictions = items(400, seeds=4)
    plain = measured(labels, predictions)
    wrong = predictions.copy()
    wrong[0, :200] = (labels[:200] + 1) % 3  # one model is much worse than the others
    apart = measured(labels, wrong)
    groups = np.arange(400) // 10
    alike = np.repeat(np.random.default_rng(0).random(40) < 0.7, 10)
    shared = np.where(alike, labels, (labels + 1) % 3)[None]  # groups are right or wrong as one
    grouped, lone = measured(labels, shared, groups), measured(labels, shared)

    def width(found, name):
        return found[name].interval.high - found[name].interval.low

    for kind in ("precision", "recall", "f1"):
        assert width(apart, (kind, "")) > 1.5 * width(plain, (kind, ""))
        assert grouped[kind, ""].units == "voice" and grouped[kind, ""].effect > 2
        assert width(grouped, (kind, "")) > 1.5 * width(lone, (kind, ""))


def test_a_mean_over_classes_has_the_trials_that_its_variance_tells():
    assert trials_of_mean(np.full(4, 0.8), np.full(4, 25.0), 1.0) == pytest.approx((100, 1))
    assert trials_of_mean(np.ones(3), np.array([10.0, 10.0, 5.0]), 0.0) == pytest.approx((9 / 0.4, 1))
    # Large classes that differ: the mean of 0.5 and 1 varies as the first alone does.
    trials, _ = trials_of_mean(np.array([0.5, 1.0]), np.full(2, 1e6), 1.0)
    assert trials == pytest.approx(0.75 * 0.25 / (0.25 / 1e6 / 4), rel=1e-3)
    # A class of one item, right, among large ones with 0.75 is taken as five items would be, one of which is so.
    trials, _ = trials_of_mean(np.array([1.0, 0.625, 0.625]), np.array([1.0, 1e9, 1e9]), 1.0)
    assert trials == pytest.approx(9 * 0.75 * 0.25 / (0.8 * 0.2), rel=1e-6)
    # Half the variance of yes and no: each item counts for two.
    assert trials_of_mean(np.full(4, 0.8), np.full(4, 25.0), 0.16 / 200) == pytest.approx((200, 2))


def test_an_interval_by_the_bootstraps_variance_is_wilsons_where_the_metric_is_a_share():
    right = np.random.default_rng(1).random(300) < 0.9
    sampling = Sampling.draw(300, {}, 4000, 0)
    samples = (sampling.units[0].total(right.astype(float)) / 299)[None, None]
    one = of_share_samples(right.mean(keepdims=True), samples, 300.0, sampling)
    wanted = proportion_confint(right.sum(), 300, method="wilson")
    assert (one.interval.low, one.interval.high) == pytest.approx(wanted, abs=0.004)
    certain = of_share_samples(np.ones(1), np.ones((1, 1, 50)), 8.0, Sampling.draw(300, {}, 50, 0))
    assert certain.interval.low == pytest.approx(proportion_confint(8, 8, method="wilson")[0])
    assert certain.interval.high == 1


@pytest.mark.parametrize(
    "kind",
    [
        coverage.Labels("10 equal classes", 200, coverage.EQUAL, 0.9),
        coverage.Labels("1 to 9 and 50", 635, coverage.ONE_TO_NINE, 0.9, fixed=True),
        coverage.Boxes("10 classes, 1 : 50", 100, coverage.UNEQUAL[::4][:10], 4.0, 0.5, 3.5),
    ],
)
def test_intervals_cover(kind):
    """A small version of tests/benchmarks/coverage.py: of 120 test sets with 95 %, 107 or more in 99.9 % of cases."""
    for metric, (held, _) in coverage.coverage(kind, 120, old=False, worlds=4).items():
        assert held >= 107 / 120, metric
