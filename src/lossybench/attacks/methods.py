"""The attacks by name. A new attack is one entry here, with a function that builds ART's attack object.

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
    broadcasts against the items. targeted: whether `y` is what the items shall be read as. steps: iterations. step: the
    size of one, like `radius`. queries: predictions per item, for attacks without gradients. batch_size: items at once.
    """

    p: float
    radius: float | np.ndarray
    targeted: bool
    steps: int
    step: float | np.ndarray
    queries: int
    batch_size: int

    @property
    def common(self) -> dict[str, Any]:
        """The arguments that ART's attacks in a norm share."""
        return {"norm": self.p, "eps": self.radius, "targeted": self.targeted, "batch_size": self.batch_size}


@dataclasses.dataclass(frozen=True)
class Method:
    """One attack.

    build: (ART estimator, effort) -> ART's attack. norm: of a bound that is given as a plain number. p_of_snr: the norm
    in which a bound on the SNR is kept; inf is the stricter one. arrays: whether the radius may differ between items;
    if not, such items are attacked one by one. access: what the attacker sees of the model. effort: factor on the
    number of steps. predicts: whether the search needs predictions too, and not gradients alone. kinds: the kinds of
    task that it can attack. universal: whether it finds one change for all items at once.
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
    """Projected gradient descent from one random start (Madry et al. 2018, arXiv 1706.06083).

    On detectors it starts at the item, since ART draws no random start for them.
    """
    from art.attacks import evasion
    from art.estimators.object_detection.object_detector import ObjectDetectorMixin

    # Restarts are left to the caller. ART keeps a later start by "differs from the clean prediction": for an item that
    # the model had wrong, becoming right would count as a success. It also decides before rounding to integers.
    # ART draws no random start in balls of different L2 radii; these searches start at the item.
    ragged = effort.p == 2 and isinstance(effort.radius, np.ndarray)
    detector = isinstance(estimator, ObjectDetectorMixin)
    return (evasion.ProjectedGradientDescentNumpy if detector else evasion.ProjectedGradientDescentPyTorch)(
        estimator,
        **effort.common,
        eps_step=effort.step,
        max_iter=effort.steps,
        num_random_init=0 if ragged or detector else 1,
        verbose=False,
    )


def _apgd(estimator: Any, effort: Effort) -> Any:
    """PGD that chooses its step sizes (Croce, Hein 2020, arXiv 2003.01690), on the estimator's loss."""
    from art.attacks.evasion import AutoProjectedGradientDescent

    step = 2 * effort.radius  # as in the paper; the step is halved as the search stalls
    return AutoProjectedGradientDescent(
        estimator, **effort.common, eps_step=step, max_iter=effort.steps, nb_random_init=1, verbose=False
    )


def _fgsm(estimator: Any, effort: Effort) -> Any:
    """Fast gradient sign: one step of the whole bound from the item (Goodfellow et al. 2015, arXiv 1412.6572)."""
    from art.attacks.evasion import FastGradientMethod

    return FastGradientMethod(estimator, **effort.common, eps_step=effort.radius)


def _square(estimator: Any, effort: Effort) -> Any:
    """Random search by squares on the scores (Andriushchenko et al. 2020, arXiv 1912.00049)."""
    from art.attacks.evasion import SquareAttack

    return SquareAttack(
        estimator, eps=effort.radius, max_iter=effort.queries, batch_size=effort.batch_size, verbose=False
    )


class _Noise:
    """Moves every value by the whole bound, up or down at random. Any attack must do better than this."""

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
