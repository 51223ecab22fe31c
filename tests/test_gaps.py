"""What of a loss training on compressed media wins back, and how often the advice is false.

The numbers of studies are such that a method whose advice is false in 5 % passes in more than 99.9 % of cases.
"""

import numpy as np
import pytest
from benchmarks import advice
from scipy.stats import binom

from lossybench.analysis.comparisons import Primary
from lossybench.analysis.gaps import MORE, NOT_SHOWN, NOTHING, OTHER, TRAIN, gap_rows
from lossybench.analysis.sampling import Sampling
from lossybench.conditions import REFERENCE, Condition

STUDIES, N = 120, 500
HERE, RIVAL, DEAR = Condition("jpeg", 10.0), Condition("hevc", 40.0), Condition("hevc", 20.0)
RATES = {REFERENCE: 9.0, HERE: 1.0, RIVAL: 0.8, DEAR: 1.5}
CONDITIONS = {one: {"codec": one.codec, "level": one.level, "strength": 1, "rate": rate} for one, rate in RATES.items()}
SAMPLING = Sampling.draw(N, {}, 400, 0)


def primary(right: int) -> Primary:
    """A model that has the first `right` of the items right."""
    hits = (np.arange(N) < right)[None]
    return Primary((0,), hits.mean(axis=1), np.array([[SAMPLING.units[0].mean(hits[0].astype(float))]]), hits)


def advised(here: int, rival: int, dear: int, regime: str = "matched_jpeg_10", trained: int | None = None) -> dict:
    """The row of a condition, of a model with 450 of 500 right on originals."""
    plain = {REFERENCE: primary(450), HERE: primary(here), RIVAL: primary(rival), DEAR: primary(dear)}
    results = {("net", "original"): plain}
    if trained is not None:
        results["net", regime] = {HERE: primary(trained)}
    (row,) = (row for row in gap_rows(results, CONDITIONS, SAMPLING) if row["codec"] == "jpeg")
    return row


@pytest.mark.parametrize(
    ("numbers", "training", "expected"),
    [
        ((449, 449, 449), {"trained": 450}, NOTHING),
        ((350, 340, 450), {"trained": 430}, TRAIN),  # at a higher rate another codec loses nothing, which is no advice
        ((350, 430, 450), {"trained": 430}, TRAIN),
        ((350, 430, 450), {"trained": 355}, OTHER),
        ((350, 430, 450), {}, OTHER),
        ((350, 340, 450), {"trained": 355}, MORE),
        ((350, 340, 450), {"trained": 355, "regime": "mixed"}, NOT_SHOWN),  # learning from this level alone might help
        ((350, 340, 450), {"trained": 402}, NOT_SHOWN),  # half of the loss, more or less
        ((350, 340, 450), {}, NOT_SHOWN),
    ],
)
def test_what_helps_is_said_where_it_is_shown(numbers, training, expected):
    row = advised(*numbers, **training)
    assert row["advice"] == expected
    assert row["loss"] == pytest.approx((450 - numbers[0]) / 500)
    if "trained" in training:
        assert row["recovered"] == pytest.approx((training["trained"] - numbers[0]) / 500)
        assert row["remaining"] == pytest.approx(row["loss"] - row["recovered"])
        assert row["mostly"] == pytest.approx(row["recovered"] - row["remaining"])
        for name in ("loss", "recovered", "remaining", "mostly", "other"):
            assert row[f"{name}_low"] < row[name] < row[f"{name}_high"], name
    assert (row["other_codec"], row["other_level"]) == ("hevc", 40)


@pytest.mark.parametrize(
    "kind",
    [
        advice.Kind(advice.NONE, 0.0, 0.0, items=300),
        advice.Kind(advice.HALF, 0.2, 0.5, items=300, shares=False),
        advice.Kind(advice.HALF, 0.15, 0.5, items=500, groups=25),
        advice.Kind(advice.HALF, 0.15, 0.5, items=300, seeds=3, scatter=0.01),
    ],
    ids=str,
)
def test_false_advice_is_seldom_given(kind):
    found = advice.advised(kind, STUDIES, resamples=200)
    assert sum(found[one] for one in kind.false) <= binom.ppf(0.9995, STUDIES, 0.05)


def test_true_advice_is_given():
    right = advice.advised(advice.Kind(advice.ALL, 0.15, 0.95, others=1, items=800), 20, resamples=200)
    assert right[TRAIN] >= 18
