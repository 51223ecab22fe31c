"""What a study may set about its attacks. Imports neither torch nor ART, so that a config is checked at once."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from lossybench.attacks.methods import METHODS
from lossybench.attacks.quantised import GRIDS
from lossybench.errors import LossyBenchError, explain, nearest

Goal = Literal["untargeted", "targeted"]

# Where models without a defence fall to about 0 to 10 % robust accuracy under untargeted PGD (digits/resnet 6 %,
# spoken words/logmel_cnn 0 %). On the spoken words 0.004 is an SNR of 27 to 38 dB, 31 dB in the median.
DEFAULT_EPSILONS = {"image": [8 / 255], "audio": [0.004]}


def _fraction(value: Any) -> Any:
    """Text such as "8/255" as a number: as a decimal cut short it could lose a whole step of the integers."""
    try:
        return float(Fraction(value)) if isinstance(value, str) else value
    except ZeroDivisionError:
        raise ValueError("divides by zero") from None


def _method(name: str) -> str:
    if name not in METHODS:
        raise ValueError(f"unknown attack {name!r}; {nearest(name, METHODS)}")
    return name


def _distinct(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError("names one twice")
    return values


Epsilon = Annotated[float, Field(gt=0, le=1), pydantic.BeforeValidator(_fraction)]
Method = Annotated[str, pydantic.AfterValidator(_method)]
Distinct = pydantic.AfterValidator(_distinct)


class AttackSettings(pydantic.BaseModel):
    """How items are attacked: the L-infinity bounds, the attacks and their effort."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    items: int = Field(
        200,
        ge=1,
        description="items of the test split to attack, or all if there are fewer: the first of a permutation that "
        "depends on the seed alone, so that all models and codecs meet the same items, and a larger number keeps them",
    )
    epsilons: Annotated[list[Epsilon], Distinct] = Field(
        min_length=1,
        description='bounds as fractions of full scale: of the range 0 to 1 for images ("8/255"), of the amplitude 1.0 '
        "for audio; at least one step of the 8-bit or 16-bit integers",
    )
    attacks: Annotated[list[Method], Distinct] = Field(["pgd"], min_length=1, description="attacks by name")
    goals: Annotated[list[Goal], Distinct] = Field(
        ["untargeted", "targeted"], min_length=1, description="any wrong class, or the target class"
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
    # Twice the usual: a small change is often rounded away by the codec (digits, 10 steps through JPEG QF 20 and HEVC
    # QP 37: robust accuracy 41 and 46 % with 5.0, 42 and 49 % with 2.5).
    adaptive_step_ratio: float = Field(5.0, gt=0, description="`step_ratio` through a codec")
    restarts: int = Field(1, ge=1, description="random starts an item; the one that harms the model most is kept")
    levels: Annotated[list[float], Distinct] = Field([], description="levels to attack; empty: all compressed")
    batch_size: int = Field(50, ge=1, description="items crafted at once; the random starts depend on it")
    seed: int = Field(0, ge=0, description="of the choice of items, of random targets and of random starts")

    @classmethod
    def of(cls, medium: str, settings: dict[str, Any]) -> AttackSettings:
        """The settings of a study over the medium's defaults.

        Raises LossyBenchError for an unknown key, naming the nearest right one, and for a value that makes no sense.
        """
        if medium not in DEFAULT_EPSILONS:
            raise LossyBenchError(f"attacks on {medium} are not there yet; leave them out")
        try:
            made = cls(**{"epsilons": DEFAULT_EPSILONS[medium], **settings})
        except pydantic.ValidationError as error:
            raise LossyBenchError(explain(error.errors()[0], cls.model_fields, "attack setting")) from None
        for epsilon in made.epsilons:
            if GRIDS[medium].steps(epsilon) < 1:
                raise LossyBenchError(
                    f"attack setting epsilons: {epsilon:g} is less than one step of the {medium}'s integers and "
                    f"would change nothing; use 1/{GRIDS[medium].full_scale} or more"
                )
        return made
