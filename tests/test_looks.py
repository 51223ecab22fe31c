"""Studies whose test split grows look by look: the error levels, what is made anew, and what users are told."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from lossybench.analysis import looks

# Bounds of O'Brien and Fleming's type by Lan and DeMets' spending at 2 to 5 equal looks, one-sided 2.5 %, as R's
# gsDesign (sfLDOF) and ldbounds give them; ldbounds is the program of Reboussin, DeMets, Kim and Lan (2000), Controlled
# Clinical Trials 21:190.
SPENDING = {
    2: [2.963, 1.969],
    3: [3.710, 2.511, 1.993],
    4: [4.333, 2.963, 2.359, 2.014],
    5: [4.877, 3.357, 2.680, 2.290, 2.031],
}
# The constants C of Pocock's bounds C and of O'Brien and Fleming's C sqrt(K/k), two-sided 5 %: tables 2.1 and 2.3 of
# Jennison and Turnbull (2000), Group Sequential Methods.
POCOCK = {2: 2.178, 3: 2.289, 4: 2.361, 5: 2.413}
O_BRIEN_FLEMING = {2: 1.977, 3: 2.004, 4: 2.024, 5: 2.040}


@pytest.mark.parametrize("count", SPENDING)
def test_levels_are_those_of_published_tables(count):
    planned = [700 * k for k in range(1, count + 1)]
    bounds = norm.isf([looks.level(planned, k, 0.025) for k in range(1, count + 1)])
    assert bounds == pytest.approx(SPENDING[count], abs=0.0006)


def test_levels_for_five_percent_are_those_of_another_program():
    """SeqBounds.jl 0.1 for the shares 0.25, 0.5, 0.75 and 1, on a grid that gives four digits."""
    found = norm.isf([looks.level([1, 2, 3, 4], k) for k in range(1, 5)])
    assert found == pytest.approx([3.74955, 2.53993, 2.01604, 1.72014], abs=1e-4)


@pytest.mark.parametrize("count", POCOCK)
def test_classical_bounds_are_crossed_as_often_as_published(count):
    planned = range(1, count + 1)
    for bounds in ([POCOCK[count]] * count, [O_BRIEN_FLEMING[count] * math.sqrt(count / k) for k in planned]):
        # Studies that cross both of the two-sided bounds are too few to see here.
        assert sum(looks.first_beyond(planned, bounds)) == pytest.approx(0.025, abs=5e-5)


@pytest.mark.parametrize("planned", [[1000, 2000, 4000], [500, 550, 3000], [400, 1000, 1100, 4000]])
def test_all_looks_together_keep_the_level(planned):
    """Against the joint normal distribution by another method (Genz 1992)."""
    levels = [looks.level(planned, k) for k in range(1, len(planned) + 1)]
    correlation = np.sqrt(np.minimum.outer(planned, planned) / np.maximum.outer(planned, planned))
    joint = multivariate_normal(cov=correlation, abseps=1e-7, releps=1e-7, maxpts=2_000_000, seed=0)
    assert joint.cdf(norm.isf(levels)) == pytest.approx(0.95, abs=1e-5)
    assert levels == sorted(levels) and levels[-1] < 0.05


def test_a_single_look_has_the_whole_level():
    assert looks.level([250], 1) == 0.05


@pytest.mark.parametrize(("groups", "seeds"), [(0, 0.0), (100, 0.0), (0, 0.01)])
def test_looking_repeatedly_calls_a_loss_beyond_the_margin_acceptable_in_five_percent_of_studies(groups, seeds):
    """Simulated studies that lose just the margin, 2 points, and stop at the first look that says acceptable.

    groups: of items that are lost together, the same at each look, or none. seeds: how far the models scatter, which is
    the same at each look too, and which the bounds here know.
    """
    planned, margin, studies = [1000, 2000, 4000], 0.02, 20_000
    random = np.random.default_rng(0)
    shared = random.normal(0, 0.1, (studies, groups)).mean(axis=1) if groups else np.zeros(studies)
    shared += random.normal(0, seeds, studies) if seeds else 0.0
    between = (0.01 / groups if groups else 0.0) + seeds**2
    lost = np.zeros(studies)
    called = {"each at 5 %": np.zeros(studies, bool), "spending": np.zeros(studies, bool)}
    for look, (before, n) in enumerate(zip([0, *planned], planned, strict=False), start=1):
        # Of an item's paired outcomes 7 % are lost and 5 % won by the codec.
        outcomes = random.multinomial(n - before, [0.07, 0.05, 0.88], studies)
        lost += outcomes[:, 0] - outcomes[:, 1]
        loss = lost / n + shared
        deviation = math.sqrt((0.12 - margin**2) / n + between)
        for name, level in {"each at 5 %": 0.05, "spending": looks.level(planned, look)}.items():
            called[name] |= loss + norm.isf(level) * deviation < margin
    assert called["spending"].mean() <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / studies)
    assert called["each at 5 %"].mean() > (0.09 if not groups and not seeds else 0.055)


STUDY = {
    "results": "out",
    "deltas": [2],
    "bootstrap": 100,
    "tasks": {
        "digits": {
            "data": {"adapter": "digits", "train": 600, "val": 50, "test": 120, "size": 32},
            "codecs": {"jpeg": [50]},
            "models": {"resnet": {"epochs": 4}},
            "attack": {"items": 2, "steps": 1, "adaptive_steps": 1, "attacks": {"pgd": ["8/255"]}, "tiers": ["T0"]},
            "looks": [30, 60, 120],
        }
    },
}
