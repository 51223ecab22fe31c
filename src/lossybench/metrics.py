"""What a metric of a kind of task is: its name, what it is counted in, and which way is better."""

from __future__ import annotations

import dataclasses
from typing import Literal

SHARE = ""  # the unit of what is a share and shown as a percentage


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric, as kinds of task declare theirs and as the summary tables keep it in their `meta`.

    name: in tables, [a-z0-9_]. title: in reports, "mAP@0.5". better: whether more or less of it is better. unit: what
    it is counted in, in the plural ("objects"); SHARE for a fraction, which reports show as a percentage. most: the
    greatest value that it can have, None where there is no end; the least is 0. overall: the title of its value over
    all classes, where that has another: "macro recall". drawn: whether the figure of metrics shows it.

    A margin δ is in points (hundredths) of a share, and in the unit itself of any other metric.
    """

    name: str
    title: str
    better: Literal["more", "less"] = "more"
    unit: str = SHARE
    most: float | None = 1.0
    overall: str = ""
    drawn: bool = True

    @property
    def sign(self) -> int:
        """What brings values to where more is better: 1 or -1."""
        return 1 if self.better == "more" else -1

    @property
    def scale(self) -> int:
        """How many of what margins are counted in are 1: points of a share, or its own unit."""
        return 100 if self.unit == SHARE else 1

    @property
    def points(self) -> str:
        """What margins and differences are counted in, in words."""
        return "points" if self.unit == SHARE else self.unit

    def margin(self, delta: float) -> float:
        """A margin δ of a study as a difference of values."""
        return delta / self.scale

    @property
    def beyond(self) -> str:
        """How a value that is better stands to another: "above", or "better than"."""
        return "above" if self.better == "more" else "better than"

    @property
    def more(self) -> str:
        """What a better one has: "more accuracy", "less mean absolute error"."""
        return f"{self.better} {self.title}"

    @property
    def axis(self) -> str:
        """The name of an axis of its values over all classes: "accuracy (%)"."""
        return f"{self.overall or self.title} ({'%' if self.unit == SHARE else self.unit})"

    def shown(self, value: float) -> str:
        """A value as readers see it: "95.4 %", or "1.25 objects"."""
        if self.unit == SHARE:
            return f"{100 * value:.1f} %".replace("-", "−")
        return f"{value:.3g} {self.unit}".replace("-", "−")

    def gap(self, difference: float) -> str:
        """A difference with its sign, counted as margins are: "−1.2" points, or "+0.35" objects."""
        if self.unit == SHARE:
            return f"{round(100 * difference, 1) + 0.0:+.1f}".replace("-", "−")  # + 0.0: never −0.0
        return f"{float(f'{difference:.3g}') + 0.0:+g}".replace("-", "−")

    def interval(self, low: float, high: float) -> str:
        """An interval of a difference: "[−2.0, +0.4]"."""
        return f"[{self.gap(low)}, {self.gap(high)}]"


ACCURACY = Metric("accuracy", "accuracy", drawn=False)
