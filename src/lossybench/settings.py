"""What all sections of a config share: how strictly values are taken, and the types that more than one section uses."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import pydantic
from pydantic import AfterValidator, BeforeValidator, Field, Strict

# No count of items, frames, epochs, steps or queries is larger. What is more would run for years, so it is a slip of
# the pen, and is told before the first job.
MOST = 1_000_000
# No model sees an item of more numbers: 2**28 of them are a gigabyte, of which a batch takes several.
LARGEST_INPUT = 2**28


class Settings(pydantic.BaseModel):
    """A section of a config. A number is neither a text nor a truth value, and is finite; no key is unknown."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _place(value: Any) -> Any:
    if isinstance(value, str) and (not value.strip() or "\0" in value):
        raise ValueError("must be the path of a file or folder")
    return Path(value) if isinstance(value, str) else value


def _holdable(shape: tuple[int, ...]) -> tuple[int, ...]:
    if math.prod(shape) > LARGEST_INPUT:
        raise ValueError(f"{list(shape)} has more than {LARGEST_INPUT:,} numbers, more than a model can be given")
    return shape


# A path, which YAML gives as a text.
Place = Annotated[Path, BeforeValidator(_place, json_schema_input_type=str)]
# The seed of random numbers. The generators behind it take 32 bits.
Seed = Annotated[int, Field(ge=0, lt=2**32)]
# The shape of what a model sees. YAML has lists alone, so one is taken for a tuple.
Shape = Annotated[
    tuple[Annotated[int, Field(ge=1)], ...], Strict(False), Field(min_length=1, max_length=3), AfterValidator(_holdable)
]
