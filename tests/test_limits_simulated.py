"""How often limits are wrong: a small version of tests/benchmarks/limits.py.

The numbers of studies are such that a method that errs in 5 % passes in more than 99.9 % of cases, and one that errs as
the method of version 0.1 does never passes.
"""

import pytest
from benchmarks import limits
from scipy.stats import binom

STUDIES = 250


def most(rate: float) -> float:
    """The highest share of STUDIES, in %, that a true rate explains."""
    return 100 * binom.ppf(0.9995, STUDIES, rate) / STUDIES


@pytest.mark.parametrize(("groups", "of_each", "icc"), [(21, 48, 0.1), (86, 12, 0.3)])
def test_losses_that_lie_in_few_groups_are_not_called_acceptable(groups, of_each, icc):
    lost, won = limits.SHARES[0]
    before, now = limits.rates(lambda rng: (limits.grouped(rng, groups, of_each, icc, lost, won), 0.02), STUDIES, 0)
    assert before > most(0.05) >= now


def test_nothing_is_claimed_of_other_speakers_than_six():
    before, now = limits.rates(lambda rng: (limits.grouped(rng, 6, 50, 0.1, 0.03, 0.01), 0.02), STUDIES, 0)
    assert before > most(0.05) and now == 0


def test_a_claim_about_training_anew_needs_three_seeds():
    one, three = limits.of_seeds(1, 0.01, STUDIES), limits.of_seeds(3, 0.01, STUDIES)
    assert one[0] > most(0.05) and one[1] == 0 and three[1] <= most(0.06)


def test_the_codec_in_bold_is_seldom_wrong():
    before, now = limits.of_bold(4, STUDIES)
    assert before > most(0.05) >= now


def test_independent_items_lose_neither_width_nor_power():
    wider, before, now = limits.of_power(1000, 1000, 100)
    assert wider == pytest.approx(0, abs=1e-6) and before == now
    wider, before, now = limits.of_power(1000, 100, STUDIES)  # in groups that share nothing
    assert 0 <= wider < 3 and now > before - 5


def test_most_studies_that_follow_the_advice_are_settled():
    for case in ((0.01, 400, 1, 0.0), (0.01, 30, 15, 0.1)):
        count, settled = limits.of_advice(*case, 120)
        assert count >= 30 and settled > 75


def test_picking_the_best_architecture_makes_the_comparison_no_laxer():
    assert limits.of_best(4, 100) <= 100 * binom.ppf(0.9995, 100, 0.05) / 100
