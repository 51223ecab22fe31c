"""What a study may set about its attacks. Neither torch nor ART is imported, so that a config is checked at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

import pydantic
from pydantic import Field

from lossybench.attacks.methods import METHODS, Method
from lossybench.errors import LossyBenchError, explain, nearest, shown
from lossybench.integers import GRIDS
from lossybench.settings import MOST, Seed, Settings

Goal = Literal["untargeted", "targeted", "trigger"]
Tier = Literal["T0", "T1", "T2", "T3", "T4"]
Norm = Literal["linf", "l2", "snr", "share"]
LARGEST_SNR = 100  # dB: 16 bits hold 98


class Budget(NamedTuple):
    """How much an item may change: `epsilon` in the norm.

    linf, l2: shares of full scale. snr: at least so many dB. share: any pixels in a square of that share of the area.
    """

    norm: Norm
    epsilon: float


class Aim(NamedTuple):
    """One attack with one budget (see `Budget`) and one goal."""

    attack: str
    norm: Norm
    epsilon: float
    goal: Goal

    @property
    def budget(self) -> Budget:
        """How much it may change an item."""
        return Budget(self.norm, self.epsilon)


Attacks = dict[str, list[str | float]]


def _same(budget: str, *attacks: str) -> Attacks:
    return {name: [budget] for name in attacks}


_DETECTION: Attacks = {
    "pgd": ["8/255", "2/255", "32/255"],
    **_same("8/255", "pgd_doubled", "mifgsm", "fgsm", "noise"),
    "patch": [0.05],
}
# The attacks and their budgets for each medium and kind. The first attack at its first budget is the main one, under
# which models without a defence are right on almost no item (digits/resnet 7 %, spoken words/logmel_cnn 0 %). Its other
# budgets draw the curve down to chance.
DEFAULT_ATTACKS: dict[tuple[str, str], Attacks] = {
    ("image", "classification"): {
        "pgd": ["8/255", "2/255", "4/255", "32/255"],
        "pgd_doubled": ["8/255"],
        "pgd_l2": [1.0],
        **_same("8/255", "apgd", "fgsm", "square", "noise"),
    },
    ("audio", "classification"): {
        "pgd": ["40 dB", "60 dB", "50 dB", "20 dB"],
        **_same("40 dB", "pgd_doubled", "apgd", "fgsm", "square", "noise"),
    },
    ("video", "classification"): {
        "pgd": ["8/255", "2/255", "32/255"],
        **_same("8/255", "pgd_doubled", "apgd", "fgsm", "square", "noise"),
    },
    ("image", "detection"): _DETECTION,
    ("video", "detection"): _DETECTION,
    ("image", "verification"): {"pgd": ["8/255", "2/255", "32/255"], **_same("8/255", "pgd_doubled", "fgsm", "noise")},
    ("audio", "verification"): {"pgd": ["40 dB", "60 dB", "20 dB"], **_same("40 dB", "pgd_doubled", "fgsm", "noise")},
    ("image", "segmentation"): {name: budgets for name, budgets in _DETECTION.items() if name != "patch"},
}


# What differs from the defaults of the settings by medium. The codecs of pictures round small changes away; behind
# those of sounds many small steps along the gradient beat a few large ones (docs/attacks.md).
DEFAULT_EFFORT: dict[str, dict[str, Any]] = {"audio": {"adaptive_steps": 40, "adaptive_step": 0.125}}


def fraction(value: Any) -> Any:
    """A `value` such as "8/255" as a number; a decimal cut short could lose a whole step of the integers.

    Raises ValueError for text that is no number or fraction.
    """
    if not isinstance(value, str):
        return value
    over, slash, under = value.partition("/")
    try:
        return float(over) / float(under) if slash else float(over)
    except ZeroDivisionError:
        raise ValueError("divides by zero") from None
    except ValueError:
        raise ValueError('is no number or fraction such as "8/255"') from None


def _budget(value: Any, norm: Literal["linf", "l2", "share"]) -> Budget:
    """The budget of a value as a study writes it: a number or fraction in the attack's own norm, or "30 dB"."""
    decibels = re.fullmatch(r"\s*(-?\d+(?:\.\d+)?)\s*dB\s*", value) if isinstance(value, str) else None
    if decibels:
        if not -LARGEST_SNR <= float(decibels[1]) <= LARGEST_SNR:
            raise ValueError(f"{value[:40]!r} is beyond what 16-bit samples hold; write {LARGEST_SNR} dB or less")
        return Budget("snr", float(decibels[1]))
    try:
        epsilon = float("nan" if isinstance(value, bool) else fraction(value))
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f'{shown(value)} is not a budget; write a number, "8/255" or "30 dB"') from None
    most = MOST if norm == "l2" else 1
    if not 0 < epsilon <= most:
        raise ValueError(f"{shown(value)} must be above 0 and at most {most:,}")
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
    """Raise LossyBenchError where `epsilon`, a share of full scale, is less than a step of the integers of `medium`."""
    grid = GRIDS[medium]
    if grid.steps(epsilon) < 1:
        raise LossyBenchError(
            f"{epsilon:g} is less than one step of the {medium}'s integers and would change nothing; "
            f"use 1/{grid.full_scale} or more"
        )


class AttackSettings(Settings):
    """How items are attacked: the attacks, their budgets, goals and effort."""

    items: int = Field(
        200,
        ge=1,
        le=MOST,
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
    steps: int = Field(10, ge=1, le=MOST, description="iterations on the bare model")
    step_ratio: float = Field(
        2.5, gt=0, le=MOST, description="number of steps times the size of one, over epsilon; 2.5 in Madry et al. 2018"
    )
    adaptive_steps: int = Field(
        10,
        ge=1,
        le=MOST,
        description="iterations through a codec: 10 by default, and 40 in audio; through a codec whose gradient is "
        "known well (JPEG) twice as many steps of half the size",
    )
    adaptive_step: float = Field(
        1.0,
        gt=0,
        le=MOST,
        description="size of a step through a codec, in epsilons: 1 by default, since less is rounded away by the "
        "codec, and 0.125 in audio, where a step goes along the gradient and not into a corner",
    )
    restarts: int = Field(
        5,
        ge=0,
        le=MOST,
        description="further runs of PGD on the items that nothing beat, each from a new random start, with the margin "
        "loss and momentum",
    )
    queries: int = Field(
        200, ge=1, le=MOST, description="predictions an item of a search on the scores, which begins at the best item"
    )
    calls: int = Field(
        500,
        ge=2,
        le=MOST,
        description="round trips through the codec, or predictions of the bare model, that one attack may spend on one "
        "item in one tier",
    )
    levels: Annotated[list[float], Distinct] = Field([], description="levels to attack; empty: all compressed")
    batch_size: int = Field(50, ge=1, le=MOST, description="items crafted at once; the random starts depend on it")
    seed: Seed = Field(0, description="of the choice of items, of random targets and of random starts")

    @property
    def aims(self) -> list[Aim]:
        """Every attack with every budget and goal, those of the main attack first."""
        pairs = [(name, budget) for name, budgets in self.attacks.items() for budget in budgets]
        main = [Aim(pairs[0][0], *pairs[0][1], goal) for goal in self.goals]
        return main + [Aim(name, *budget, "untargeted") for name, budget in pairs[1:]]

    @property
    def main(self) -> Budget:
        """The main attack's budget."""
        return next(iter(self.attacks.values()))[0]

    @classmethod
    def of(cls, medium: str, kind: str, settings: dict[str, Any]) -> AttackSettings:
        """The `settings` of a study over the defaults of the medium and kind of its task.

        Raises LossyBenchError for an unknown key, naming the nearest right one, for a value that makes no sense, and
        for a kind of task that is not attacked.
        """
        if (medium, kind) not in DEFAULT_ATTACKS:
            raise LossyBenchError(f"attacks on {medium} {kind} are not known; leave the section `attack` out")
        try:
            made = cls.model_validate(
                {"attacks": DEFAULT_ATTACKS[medium, kind], **DEFAULT_EFFORT.get(medium, {}), **settings}
            )
        except pydantic.ValidationError as error:
            raise LossyBenchError(explain(error.errors()[0], cls.model_fields, "attack setting")) from None
        if kind != "classification" and made.target_rule == "least_likely":
            raise LossyBenchError(
                "attack setting target_rule: least_likely has no meaning for objects and regions that a model need not "
                "find; use next or random"
            )
        for name, budgets in made.attacks.items():
            if kind not in METHODS[name].kinds:
                possible = ", ".join(other for other, method in METHODS.items() if kind in method.kinds)
                raise LossyBenchError(f"attack setting attacks: {name} is not for {kind}; use any of {possible}")
            if medium != "audio" and "snr" in dict(budgets):
                raise LossyBenchError(f"attack setting attacks: {name}: dB are for audio; write a bound such as 8/255")
            try:
                check_epsilon(min((epsilon for norm, epsilon in budgets if norm == "linf"), default=1), medium)
            except LossyBenchError as error:
                raise LossyBenchError(f"attack setting attacks: {name}: {error}") from None
        return made

    def search(self, method: Method, through: bool, surrogate_effort: int = 1) -> tuple[int, float]:
        """The number of iterations of a `method` that follows gradients, and the size of one in epsilons.

        through: whether a codec is in front. surrogate_effort: factor on the iterations through it, which are as much
        smaller. A universal method takes more steps, which are smaller too.
        """
        steps, step = self.steps, self.step_ratio / self.steps
        if through:
            steps, step = self.adaptive_steps * surrogate_effort, self.adaptive_step / surrogate_effort
        return method.effort * steps, step / method.effort if method.universal else step
