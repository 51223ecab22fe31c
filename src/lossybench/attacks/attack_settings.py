"""What a study may set about its attacks. Imports neither torch nor ART, so that a config is checked at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, Literal, NamedTuple

import pydantic
from pydantic import Field

from lossybench.attacks.methods import METHODS, Method
from lossybench.errors import LossyBenchError, explain, nearest
from lossybench.integers import GRIDS

Goal = Literal["untargeted", "targeted", "trigger"]
Tier = Literal["T0", "T1", "T2", "T3", "T4"]
Norm = Literal["linf", "l2", "snr", "share"]


class Budget(NamedTuple):
    """How much an item may change: `linf` and `l2` in shares of full scale, `snr` at least so many dB, `share` any
    pixel within a square of such a share of the picture's area.
    """

    norm: Norm
    epsilon: float


class Aim(NamedTuple):
    """One attack with one budget and one goal."""

    attack: str
    norm: Norm
    epsilon: float
    goal: Goal

    @property
    def budget(self) -> Budget:
        """What it may change."""
        return Budget(self.norm, self.epsilon)


_DETECTION: dict[str, list[str | float]] = {
    "pgd": ["8/255", "2/255", "32/255"],
    "pgd_doubled": ["8/255"],
    "fgsm": ["8/255"],
    "noise": ["8/255"],
    "patch": [0.05],
}
# Of each medium and kind of prediction: the attacks and their budgets. The first attack at its first budget is the main
# one; its others draw the curve down to chance. Models without a defence fall to about nothing at the main one
# (digits/resnet 7 %, spoken words/logmel_cnn 0 %).
DEFAULT_ATTACKS: dict[tuple[str, str], dict[str, list[str | float]]] = {
    ("image", "classification"): {
        "pgd": ["8/255", "2/255", "4/255", "32/255"],
        "pgd_doubled": ["8/255"],
        "pgd_l2": [1.0],
        "apgd": ["8/255"],
        "fgsm": ["8/255"],
        "square": ["8/255"],
        "noise": ["8/255"],
    },
    ("audio", "classification"): {
        "pgd": ["40 dB", "60 dB", "50 dB", "20 dB"],
        "pgd_doubled": ["40 dB"],
        "apgd": ["40 dB"],
        "fgsm": ["40 dB"],
        "square": ["40 dB"],
        "noise": ["40 dB"],
    },
    ("video", "classification"): {
        "pgd": ["8/255", "2/255", "32/255"],
        "pgd_doubled": ["8/255"],
        "fgsm": ["8/255"],
        "square": ["8/255"],
        "noise": ["8/255"],
    },
    ("image", "detection"): _DETECTION,
    ("video", "detection"): _DETECTION,
}


def fraction(value: Any) -> Any:
    """Text such as "8/255" as a number: as a decimal cut short it could lose a whole step of the integers."""
    try:
        return float(Fraction(value)) if isinstance(value, str) else value
    except ZeroDivisionError:
        raise ValueError("divides by zero") from None


def _budget(value: Any, norm: Literal["linf", "l2", "share"]) -> Budget:
    """A budget as written: a number or fraction in the attack's own norm, or "30 dB"."""
    decibels = re.fullmatch(r"\s*(-?\d+(?:\.\d+)?)\s*dB\s*", value) if isinstance(value, str) else None
    if decibels:
        return Budget("snr", float(decibels[1]))
    try:
        epsilon = float(fraction(value))
    except (TypeError, ValueError):
        raise ValueError(f'{value!r} is no budget; write a number, "8/255" or "30 dB"') from None
    if not epsilon > 0 or (norm != "l2" and epsilon > 1):
        raise ValueError(f"{value!r} must be above 0{' and at most 1' * (norm != 'l2')}")
    return Budget(norm, epsilon)


def _attacks(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError('must map attacks to budgets, such as {pgd: ["8/255"]}')
    read: dict[str, list[Budget]] = {}
    for name, budgets in value.items():
        if name not in METHODS:
            raise ValueError(f"unknown attack {name!r}; {nearest(str(name), METHODS)}")
        if not isinstance(budgets, list) or not budgets:
            raise ValueError(f"{name} needs a list of budgets")
        read[name] = [one if isinstance(one, Budget) else _budget(one, METHODS[name].norm) for one in budgets]
        if len(set(read[name])) < len(read[name]):
            raise ValueError(f"{name} names a budget twice")
    first = METHODS[next(iter(read))] if read else None
    if not first or first.access != "gradients" or first.universal:
        raise ValueError("the first attack must be one that follows gradients item by item, such as pgd")
    return read


def _distinct(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError("names one twice")
    return values


Epsilon = Annotated[float, Field(gt=0, le=1), pydantic.BeforeValidator(fraction, json_schema_input_type=float | str)]
Distinct = pydantic.AfterValidator(_distinct)


def check_epsilon(epsilon: float, medium: str) -> None:
    """Raises LossyBenchError for a bound, as a share of full scale, that is below one step of the medium's integers."""
    grid = GRIDS[medium]
    if grid.steps(epsilon) < 1:
        raise LossyBenchError(
            f"{epsilon:g} is less than one step of the {medium}'s integers and would change nothing; "
            f"use 1/{grid.full_scale} or more"
        )


class AttackSettings(pydantic.BaseModel):
    """How items are attacked: the attacks, their budgets, goals and effort."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    items: int = Field(
        200,
        ge=1,
        description="items of the test split to attack, or all if there are fewer: the first of a permutation that "
        "depends on the seed alone, so that all models and codecs meet the same items, and a larger number keeps them",
    )
    attacks: Annotated[dict[str, list[Budget]], pydantic.BeforeValidator(_attacks)] = Field(
        description="attacks by name, each with its budgets: a number is a bound in the attack's own norm (L-infinity; "
        'L2 of pgd_l2) as a share of full scale, "30 dB" one on the signal-to-noise ratio. The first attack at its '
        "first budget is the main one: it meets every goal and is the one transferred; all others are untargeted"
    )
    tiers: Annotated[list[Tier], Distinct] = Field(
        ["T0", "T1", "T2", "T3", "T4"], description="what attackers know (see docs/attacks.md); T0 always is"
    )
    goals: Annotated[list[Goal], Distinct] = Field(
        ["untargeted", "targeted"],
        min_length=1,
        description="any wrong class; the target class; or right without the codec and wrong behind it",
    )
    target_rule: Literal["next", "random", "least_likely"] = Field(
        "next",
        description="the target class: label + 1, cyclic; uniform over the other classes; or the one of the others "
        "that the bare model finds least likely on the clean item",
    )
    steps: int = Field(10, ge=1, description="iterations on the bare model")
    step_ratio: float = Field(
        2.5, gt=0, description="number of steps times the size of one, over epsilon; 2.5 in Madry et al. 2018"
    )
    adaptive_steps: int = Field(10, ge=1, description="iterations through a codec; more make a stronger attack")
    # A small change is often rounded away by the codec: 10 steps of half the bound beat 10 of a quarter.
    adaptive_step: float = Field(0.5, gt=0, description="size of a step through a codec, in epsilons")
    queries: int = Field(100, ge=1, description="iterations of attacks without gradients")
    restarts: int = Field(1, ge=1, description="random starts an item; the one that harms the model most is kept")
    levels: Annotated[list[float], Distinct] = Field([], description="levels to attack; empty: all compressed")
    batch_size: int = Field(50, ge=1, description="items crafted at once; the random starts depend on it")
    seed: int = Field(0, ge=0, description="of the choice of items, of random targets and of random starts")

    @property
    def aims(self) -> list[Aim]:
        """Every attack, budget and goal, the main attack's first."""
        found: list[Aim] = []
        for name, budgets in self.attacks.items():
            for budget in budgets:
                goals: list[Goal] = ["untargeted"] if found else self.goals
                found += [Aim(name, *budget, goal) for goal in goals]
        return found

    @property
    def main(self) -> Budget:
        """The main attack's budget."""
        return next(iter(self.attacks.values()))[0]

    @classmethod
    def of(cls, medium: str, kind: str, settings: dict[str, Any]) -> AttackSettings:
        """The settings of a study over the defaults of its medium and kind of prediction.

        Raises LossyBenchError for an unknown key, naming the nearest right one, and for a value that makes no sense.
        """
        try:
            made = cls(**{"attacks": DEFAULT_ATTACKS[medium, kind], **settings})
        except pydantic.ValidationError as error:
            raise LossyBenchError(explain(error.errors()[0], cls.model_fields, "attack setting")) from None
        if kind == "detection":
            made._check_detection()
        for name, budgets in made.attacks.items():
            if kind not in METHODS[name].kinds:
                possible = ", ".join(other for other, method in METHODS.items() if kind in method.kinds)
                raise LossyBenchError(f"attack setting attacks: {name} is not for {kind}; use any of {possible}")
            for budget in budgets:
                try:
                    if budget.norm == "linf":
                        check_epsilon(budget.epsilon, medium)
                    elif budget.norm == "snr" and medium != "audio":
                        raise LossyBenchError("dB are for audio; write a bound such as 8/255")
                except LossyBenchError as error:
                    raise LossyBenchError(f"attack setting attacks: {name}: {error}") from None
        return made

    def _check_detection(self) -> None:
        if self.target_rule == "least_likely":
            raise LossyBenchError(
                "attack setting target_rule: least_likely has no meaning for objects that a detector need not find; "
                "use next or random"
            )
        if self.restarts > 1:
            raise LossyBenchError(
                f"attack setting restarts: {self.restarts} attacks on a detector would all be the same: they start at "
                "the item and not at random; use 1"
            )

    def search(self, method: Method, through: bool, surrogate_effort: int = 1) -> tuple[int, float]:
        """Iterations of an attack that follows gradients, and the size of one in epsilons; `through` a codec or not.

        Of a change for all items at once the steps are as much smaller as there are more of them.
        """
        steps, step = self.steps, self.step_ratio / self.steps
        if through:
            steps, step = self.adaptive_steps * surrogate_effort, self.adaptive_step
        return method.effort * steps, step / method.effort if method.universal else step
