"""The attacks by name: each builds ART's attack object. A new one is one function here.

All are bounded in the L-infinity norm. ART is imported on use, so that a config can be checked without it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# (ART estimator, epsilon of full scale, targeted, steps, step size of full scale, batch size) -> ART attack
Builder = Callable[[Any, float, bool, int, float, int], Any]


def _pgd(estimator: Any, epsilon: float, targeted: bool, steps: int, step: float, batch_size: int) -> Any:
    """Projected gradient descent from one random start (Madry et al. 2018, arXiv 1706.06083)."""
    from art.attacks.evasion.projected_gradient_descent.projected_gradient_descent_pytorch import (
        ProjectedGradientDescentPyTorch,
    )

    # Restarts are the caller's: ART keeps a later start by "differs from the clean prediction", which for an item
    # that the model had wrong counts becoming right as a success, and it decides before rounding to integers.
    return ProjectedGradientDescentPyTorch(
        estimator,
        eps=epsilon,
        eps_step=step,
        max_iter=steps,
        targeted=targeted,
        num_random_init=1,
        batch_size=batch_size,
        verbose=False,
    )


def _fgsm(estimator: Any, epsilon: float, targeted: bool, steps: int, step: float, batch_size: int) -> Any:
    """Fast gradient sign: one step of size epsilon from the clean item (Goodfellow et al. 2015, arXiv 1412.6572)."""
    from art.attacks.evasion.fast_gradient import FastGradientMethod

    return FastGradientMethod(estimator, eps=epsilon, eps_step=epsilon, targeted=targeted, batch_size=batch_size)


METHODS: dict[str, Builder] = {"pgd": _pgd, "fgsm": _fgsm}
