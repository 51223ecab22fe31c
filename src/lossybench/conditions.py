"""The identity of a condition, a regime and a model: a type for each, a text for it and the way back from the text.

Paths, tables, attacks, analysis and figures all use these texts.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

ORIGINAL = "original"  # the codec that loses nothing, and the regime that trains on what it gives


def level_text(level: float) -> str:
    """The shortest decimal text that reads back as exactly this level: "10", "0.5", "12.3456789".

    A level that is a text already, such as a wildcard of Snakemake, stays as it is.
    """
    return level if isinstance(level, str) else np.format_float_positional(level, trim="-")


class Condition(NamedTuple):
    """A codec at a level. Within a task the codec's name stands for the codec's options too."""

    codec: str
    level: float

    def __str__(self) -> str:
        """The condition as in paths: "jpeg/10"."""
        return f"{self.codec}/{level_text(self.level)}"


REFERENCE = Condition(ORIGINAL, 0.0)  # what all other conditions are compared with


class Regime(NamedTuple):
    """What a model is trained on.

    name: "original", "mixed", "adversarial", "matched" or "held_out". condition: of "matched", the one that it trains
    on. codec: of "held_out", the one that the mixture it trains on lacks.
    """

    name: str
    condition: Condition | None = None
    codec: str = ""

    def __str__(self) -> str:
        """The regime as in paths and tables: "mixed", "matched_jpeg_10", "held_out_jpeg"."""
        if self.condition is None:
            return f"{self.name}_{self.codec}" if self.codec else self.name
        return f"{self.name}_{self.condition.codec}_{level_text(self.condition.level)}"

    @classmethod
    def read(cls, text: str) -> Regime:
        """The regime whose text is `text`."""
        if text.startswith("held_out_"):
            return cls("held_out", codec=text.removeprefix("held_out_"))
        matched = re.fullmatch(r"(matched)_(.+)_([^_]+)", text)
        return cls(matched[1], Condition(matched[2], float(matched[3]))) if matched else cls(text)


class Model(NamedTuple):
    """One model of a study.

    regime: the text of a `Regime`. fold: the one that the model is tested on and has not learnt from, counted from 1;
    0 where the task has no folds.
    """

    task: str
    arch: str
    regime: str
    seed: int
    fold: int = 0

    @property
    def parts(self) -> tuple[str, str, str, str]:
        """The model as in paths; seed 3 of fold 2 is "3_fold2"."""
        return self.task, self.arch, self.regime, f"{self.seed}_fold{self.fold}" if self.fold else str(self.seed)

    @classmethod
    def read(cls, task: str, arch: str, regime: str, part: str) -> Model:
        """The model whose path has these parts."""
        seed, _, fold = part.partition("_fold")
        return cls(task, arch, regime, int(seed), int(fold or 0))
