"""The attacks by name: each builds ART's attack object. A new one is one entry here.

ART is imported on use, so that a config can be checked without it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import numpy as np


@dataclasses.dataclass(frozen=True)
class Effort:
    """What one run of an attack may do.

    p: the norm, inf or 2. radius: the bound in that norm, in the model's floats: one number, or an array that
    broadcasts against the items. steps: iterations. step: the size of one, like `radius`. queries: predictions an item,
    for attacks without gradients.
    """

    p: float
    radius: float | np.ndarray
    targeted: bool
    steps: int
    step: float | np.ndarray
    queries: int
    batch_size: int


@dataclasses.dataclass(frozen=True)
class Method:
    """One attack.

    build: (ART estimator, effort) -> ART's attack. norm: of a bound that is given as a plain number. p_of_snr: the norm
    in which a bound on the SNR is kept; inf is the stricter. arrays: whether the radius may differ between items; if
    not, such items are attacked one by one. access: what the attacker gets to see of the model. effort: factor on the
    number of steps. predicts: whether it needs predictions, and not gradients alone, while it searches. kinds: of
    prediction that it can attack. universal: finds one change for all items at once.
    """

    build: Callable[[Any, Effort], Any]
    norm: Literal["linf", "l2", "share"]
    p_of_snr: float = np.inf
    arrays: bool = False
    access: Literal["gradients", "scores", "nothing"] = "gradients"
    effort: int = 1
    predicts: bool = False
    kinds: frozenset[str] = frozenset({"classification", "detection"})
    universal: bool = False


def _pgd(estimator: Any, effort: Effort) -> Any:
    """Projected gradient descent from one random start (Madry et al. 2018, arXiv 1706.06083); on detectors, for which
    ART draws none, from the item.
    """
    from art.attacks.evasion.projected_gradient_descent.projected_gradient_descent_numpy import (
        ProjectedGradientDescentNumpy,
    )
    from art.attacks.evasion.projected_gradient_descent.projected_gradient_descent_pytorch import (
        ProjectedGradientDescentPyTorch,
    )
    from art.estimators.object_detection.object_detector import ObjectDetectorMixin

    # Restarts are the caller's: ART keeps a later start by "differs from the clean prediction", which for an item
    # that the model had wrong counts becoming right as a success, and it decides before rounding to integers.
    # It draws no random start in balls of different L2 radii; those searches begin at the item.
    ragged = effort.p == 2 and isinstance(effort.radius, np.ndarray)
    detector = isinstance(estimator, ObjectDetectorMixin)
    return (ProjectedGradientDescentNumpy if detector else ProjectedGradientDescentPyTorch)(
        estimator,
        norm=effort.p,
        eps=effort.radius,
        eps_step=effort.step,
        max_iter=effort.steps,
        targeted=effort.targeted,
        num_random_init=0 if ragged or detector else 1,
        batch_size=effort.batch_size,
        verbose=False,
    )


def _apgd(estimator: Any, effort: Effort) -> Any:
    """PGD that chooses its step sizes (Croce, Hein 2020, arXiv 2003.01690), on the estimator's loss."""
    from art.attacks.evasion.auto_projected_gradient_descent import AutoProjectedGradientDescent

    return AutoProjectedGradientDescent(
        estimator,
        norm=effort.p,
        eps=effort.radius,
        eps_step=2 * effort.radius,  # of the paper; it is halved as the search stalls
        max_iter=effort.steps,
        targeted=effort.targeted,
        nb_random_init=1,
        batch_size=effort.batch_size,
        verbose=False,
    )


def _fgsm(estimator: Any, effort: Effort) -> Any:
    """Fast gradient sign: one step of the whole bound from the item (Goodfellow et al. 2015, arXiv 1412.6572)."""
    from art.attacks.evasion.fast_gradient import FastGradientMethod

    return FastGradientMethod(
        estimator,
        norm=effort.p,
        eps=effort.radius,
        eps_step=effort.radius,
        targeted=effort.targeted,
        batch_size=effort.batch_size,
    )


def _square(estimator: Any, effort: Effort) -> Any:
    """Random search by squares on the scores (Andriushchenko et al. 2020, arXiv 1912.00049)."""
    from art.attacks.evasion.square_attack import SquareAttack

    return SquareAttack(
        estimator, eps=effort.radius, max_iter=effort.queries, batch_size=effort.batch_size, verbose=False
    )


class _Noise:
    """Every value moved by the whole bound, up or down at random: what any attack must beat."""

    def __init__(self, effort: Effort) -> None:
        self.radius = effort.radius

    def generate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x + self.radius * np.random.choice(np.array([-1, 1], np.float32), x.shape)).astype(np.float32)


CLASSIFICATION = frozenset({"classification"})  # ART has these for classifiers alone
METHODS: dict[str, Method] = {
    "pgd": Method(_pgd, "linf", p_of_snr=2, arrays=True),
    "pgd_doubled": Method(_pgd, "linf", p_of_snr=2, arrays=True, effort=2),
    "pgd_l2": Method(_pgd, "l2", p_of_snr=2, arrays=True),
    "apgd": Method(_apgd, "linf", p_of_snr=2, predicts=True, kinds=CLASSIFICATION),
    "fgsm": Method(_fgsm, "linf", arrays=True),
    "square": Method(_square, "linf", access="scores", predicts=True, kinds=CLASSIFICATION),
    "noise": Method(lambda _, effort: _Noise(effort), "linf", arrays=True, access="nothing"),
    "patch": Method(_pgd, "share", effort=5, kinds=frozenset({"detection"}), universal=True),
}
