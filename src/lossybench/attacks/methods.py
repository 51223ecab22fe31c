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
    size of one, like `radius`. batch_size: items at once. momentum: in [0, 1], the factor on the former gradients.
    random: whether a search on a detector starts at random in the ball, and not at the item.
    """

    p: float
    radius: float | np.ndarray
    targeted: bool
    steps: int
    step: float | np.ndarray
    batch_size: int
    momentum: float = 0.0
    random: bool = False

    @property
    def common(self) -> dict[str, Any]:
        """The arguments that ART's attacks in a norm share."""
        return {"norm": self.p, "eps": self.radius, "targeted": self.targeted, "batch_size": self.batch_size}


@dataclasses.dataclass(frozen=True)
class Method:
    """One attack.

    build: (ART estimator, effort) -> ART's attack; None for a search that is not ART's. norm: of a bound that is given
    as a plain number. p_of_snr: the norm in which a bound on the SNR is kept; inf is the stricter one. arrays: whether
    the radius may differ between items; if not, such items are attacked one by one. access: what the attacker sees of
    the model. effort: factor on the number of steps. restarts: whether it begins again on what it did not beat. after:
    the method of which it gets what that did not beat, so that its rows are those of both. kinds: the kinds of task
    that it can attack. universal: whether it finds one change for all items at once.
    """

    build: Callable[[Any, Effort], Any] | None
    norm: Literal["linf", "l2", "share"]
    p_of_snr: float = np.inf
    arrays: bool = False
    access: Literal["gradients", "scores", "nothing"] = "gradients"
    effort: int = 1
    restarts: bool = False
    after: str | None = None
    kinds: frozenset[str] = frozenset({"classification", "detection", "segmentation", "verification"})
    universal: bool = False


def _pgd(estimator: Any, effort: Effort) -> Any:
    """Projected gradient descent from one random start (Madry et al. 2018, arXiv 1706.06083)."""
    from lossybench.attacks.toolbox import ObjectDetectorMixin, ProjectedGradientDescentPyTorch

    if isinstance(estimator, ObjectDetectorMixin):
        return _pgd_on_detectors(estimator, effort)
    # Restarts are left to the caller. ART keeps a later start by "differs from the clean prediction": for an item that
    # the model had wrong, becoming right would count as a success. It also decides before rounding to integers.
    # ART draws no random start in balls of different L2 radii; these searches start at the item.
    ragged = effort.p == 2 and isinstance(effort.radius, np.ndarray)

    class Stopping(ProjectedGradientDescentPyTorch):
        """ART takes every step for all items. This one takes a step for those alone that its watch has not let go."""

        def _generate_batch(self, x: Any, targets: Any, mask: Any, eps: Any, eps_step: Any) -> np.ndarray:
            watch, device, at_random = self.estimator.model, self.estimator.device, self.num_random_init > 0
            x, targets = x.to(device), targets.to(device)
            rows, found, momentum = watch.rows, x.clone(), x.new_zeros(x.shape)
            for step in range(self.max_iter):
                at = np.flatnonzero(watch.left[rows])
                if not len(at):
                    break
                watch.rows = rows[at]
                some = at if len(at) < len(rows) else slice(None)  # which copies nothing
                radius, size = (one[some] if isinstance(one, np.ndarray) else one for one in (eps, eps_step))
                memory = momentum[some]  # ART changes it in place
                found[some] = self._compute_pytorch(
                    found[some], x[some], targets[some], mask, radius, size, at_random and step == 0, memory
                )
                momentum[some] = memory
            watch.rows = rows
            return found.cpu().numpy()

    return Stopping(
        estimator,
        **effort.common,
        eps_step=effort.step,
        decay=effort.momentum or None,
        max_iter=effort.steps,
        num_random_init=0 if ragged else 1,
        verbose=False,
    )


def _pgd_on_detectors(estimator: Any, effort: Effort) -> Any:
    """The same on a detector, from the item or from a random start. Each call of `generate` gets one batch."""
    from lossybench.attacks.toolbox import ProjectedGradientDescentNumpy

    class Started(ProjectedGradientDescentNumpy):
        """ART refuses random starts on detectors, although its step can draw one."""

        def _compute(self, *arguments: Any, **named: Any) -> np.ndarray:
            *others, _ = arguments
            return super()._compute(*others, effort.random and self._i_max_iter == 0, **named)

    return Started(
        estimator,
        **effort.common,
        eps_step=effort.step,
        decay=effort.momentum or None,
        max_iter=effort.steps,
        verbose=False,
    )


def _apgd(estimator: Any, effort: Effort) -> Any:
    """PGD that chooses its step sizes (Croce, Hein 2020, arXiv 2003.01690), on the estimator's loss."""
    from lossybench.attacks.toolbox import AutoProjectedGradientDescent

    step = 2 * effort.radius  # as in the paper; the step is halved as the search stalls
    return AutoProjectedGradientDescent(
        estimator, **effort.common, eps_step=step, max_iter=effort.steps, nb_random_init=1, verbose=False
    )


def _mifgsm(estimator: Any, effort: Effort) -> Any:
    """The momentum method (Dong et al. 2018, arXiv 1710.06081): PGD from the item, with the sum of all gradients."""
    return _pgd(estimator, dataclasses.replace(effort, momentum=1.0))


def _fgsm(estimator: Any, effort: Effort) -> Any:
    """Fast gradient sign: one step of the whole bound from the item (Goodfellow et al. 2015, arXiv 1412.6572)."""
    from lossybench.attacks.toolbox import FastGradientMethod

    return FastGradientMethod(estimator, **effort.common, eps_step=effort.radius)


class _Noise:
    """Moves every value by the whole bound, up or down at random. Any attack must do better than this."""

    def __init__(self, effort: Effort) -> None:
        self.radius = effort.radius

    def generate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x + self.radius * np.random.choice(np.array([-1, 1], np.float32), x.shape)).astype(np.float32)


CLASSIFICATION = frozenset({"classification"})  # ART's APGD, and the search on scores, are for classifiers alone
METHODS: dict[str, Method] = {
    "pgd": Method(_pgd, "linf", p_of_snr=2, arrays=True, restarts=True),
    "pgd_doubled": Method(_pgd, "linf", p_of_snr=2, arrays=True, effort=2, restarts=True, after="pgd"),
    "pgd_l2": Method(_pgd, "l2", p_of_snr=2, arrays=True, restarts=True),
    "apgd": Method(_apgd, "linf", p_of_snr=2, kinds=CLASSIFICATION),
    "mifgsm": Method(_mifgsm, "linf", p_of_snr=2, arrays=True),
    "fgsm": Method(_fgsm, "linf", arrays=True),
    "square": Method(None, "linf", p_of_snr=2, access="scores", kinds=CLASSIFICATION),
    "noise": Method(lambda _, effort: _Noise(effort), "linf", arrays=True, access="nothing"),
    "patch": Method(_pgd, "share", effort=5, kinds=frozenset({"detection"}), universal=True),
}
