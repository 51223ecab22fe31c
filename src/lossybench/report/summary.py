"""A task's summary tables, read once, with the few facts about a study that every report needs."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import pandas as pd

from lossybench.artifacts import read_table
from lossybench.errors import LossyBenchError

ORIGINAL = "original"
METRIC_TITLES = {
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "map": "mAP@[.5:.95]",
    "map50": "mAP@0.5",
}
REGIME_TITLES = {ORIGINAL: "trained on originals", "mixed": "trained on a mixture of levels"}
# From worst to best, so that the worst of several architectures is the smallest.
VERDICT_ORDER = ("unacceptable", "inconclusive", "acceptable")
VERDICT_SYMBOLS = {"acceptable": "✓", "inconclusive": "?", "unacceptable": "✗"}
OBLIVIOUS = "T0"  # the tier of attacks made without knowing of the codec; all others go through it


@dataclasses.dataclass(frozen=True)
class Summary:
    """The tables of `summary/{task}/`, each read when first asked for.

    Raises LossyBenchError, naming the file, when a table is missing or damaged or lacks what must be there.
    """

    folder: Path

    def _read(self, table: str) -> pd.DataFrame:
        return read_table(self.folder / f"{table}.parquet").to_pandas()

    @property
    def task(self) -> str:
        """The task's name."""
        return self.folder.name

    @functools.cached_property
    def metrics(self) -> pd.DataFrame:
        """Overall and per-class metrics with intervals."""
        return self._read("metrics")

    @functools.cached_property
    def conditions(self) -> pd.DataFrame:
        """One row per codec and level, mildest first within a codec, the original among them."""
        table = self._read("conditions")
        if ORIGINAL not in set(table["codec"]):
            raise LossyBenchError(f"{self.folder / 'conditions.parquet'}: has no row for the original; aggregate again")
        return table.sort_values(["codec", "strength"], kind="stable").reset_index(drop=True)

    @functools.cached_property
    def differences(self) -> pd.DataFrame:
        """Paired differences to the original."""
        return self._read("differences")

    @functools.cached_property
    def verdicts(self) -> pd.DataFrame:
        """A verdict per condition and delta."""
        return self._read("verdicts")

    @functools.cached_property
    def limits(self) -> pd.DataFrame:
        """The strongest acceptable level per codec and delta."""
        return self._read("limits")

    @functools.cached_property
    def transfer(self) -> pd.DataFrame:
        """Train condition against test level."""
        return self._read("transfer")

    @functools.cached_property
    def recovery(self) -> pd.DataFrame:
        """What training on a mixture wins back."""
        return self._read("recovery")

    @functools.cached_property
    def bd(self) -> pd.DataFrame:
        """Bjontegaard differences between codecs."""
        return self._read("bd")

    @functools.cached_property
    def attacks(self) -> pd.DataFrame:
        """Attack figures per codec, level and attack; no rows when nothing was attacked."""
        return self._read("attacks")

    @functools.cached_property
    def gates(self) -> pd.DataFrame:
        """The checks that attack figures passed or failed."""
        return self._read("gates")

    @property
    def kind(self) -> str:
        """ "classification" or "detection"."""
        return "detection" if "map50" in set(self.metrics["metric"]) else "classification"

    @property
    def medium(self) -> str:
        """ "image", "audio" or "video"."""
        lossy = self.conditions[self.conditions["codec"] != ORIGINAL]
        if lossy["psnr"].isna().all():
            return "audio"
        return "image" if set(lossy["rate_unit"]) == {"bpp"} else "video"

    @property
    def primary(self) -> str:
        """The metric that limits are about."""
        return "map50" if self.kind == "detection" else "accuracy"

    @property
    def metric_names(self) -> list[str]:
        """What the metrics figure shows, in its order."""
        if self.kind == "detection":
            return ["map", "map50", "precision", "recall"]
        return ["precision", "recall", "f1"]

    @property
    def codecs(self) -> list[str]:
        """The lossy codecs, in alphabetical order."""
        return sorted(set(self.conditions["codec"]) - {ORIGINAL})

    @property
    def archs(self) -> list[str]:
        """The architectures, in alphabetical order."""
        return sorted(set(self.metrics["arch"]))

    @property
    def regimes(self) -> list[str]:
        """Of "original" and "mixed", those that models were trained in."""
        return [regime for regime in REGIME_TITLES if regime in set(self.metrics["regime"])]

    @property
    def deltas(self) -> list[float]:
        """Acceptable losses in points, ascending."""
        return sorted(set(self.limits["delta"]))

    @property
    def delta(self) -> float:
        """The delta that headlines are about: the middle one."""
        return self.deltas[len(self.deltas) // 2]

    @property
    def rate_unit(self) -> str:
        """ "bpp" or "kb/s"."""
        return str(self.conditions["rate_unit"].iloc[0])

    def title(self, codec: str) -> str:
        """A codec as readers know it."""
        return str(self.conditions.loc[self.conditions["codec"] == codec, "title"].iloc[0])

    def levels(self, codec: str) -> pd.DataFrame:
        """A codec's conditions, mildest first."""
        return self.conditions[self.conditions["codec"] == codec]

    def label(self, codec: str, level: float) -> str:
        """A level as readers write it: "QF 10"."""
        levels = self.levels(codec)
        return str(levels.loc[levels["level"] == level, "label"].iloc[0])

    def overall(self, metric: str) -> pd.DataFrame:
        """A metric over all classes and seeds, joined with rate and fidelity of its condition; mildest first."""
        rows = self.metrics[(self.metrics["metric"] == metric) & (self.metrics["class"] == "")]
        rows = rows[rows["seed"] == -1].drop(columns=["strength", "n"])
        return rows.merge(self.conditions, on=["codec", "level"]).sort_values("strength", kind="stable")


def worst_limits(tables: Summary, regime: str, delta: float) -> pd.DataFrame:
    """One row of `limits` per codec: of the architecture with the worst verdict, then the mildest limit.

    What holds for it is shown for every architecture, each at its own 5 %: an intersection-union test, which needs
    no correction. Where that is inconclusive, `items_needed` is the most that any inconclusive architecture needs.
    """
    rows = tables.limits[(tables.limits["regime"] == regime) & (tables.limits["delta"] == delta)]
    rows = rows.merge(tables.conditions[["codec", "level", "strength"]], on=["codec", "level"], how="left")
    rows = rows.assign(rank=rows["verdict"].map(VERDICT_ORDER.index))
    worst = rows.sort_values(["codec", "rank", "strength", "arch"], kind="stable").drop_duplicates("codec")
    undecided = worst["verdict"] == "inconclusive"
    most = rows[rows["verdict"] == "inconclusive"].groupby("codec")["items_needed"].max()
    needed = worst["items_needed"].where(~undecided, worst["codec"].map(most))
    return worst.assign(items_needed=needed).drop(columns="rank").reset_index(drop=True)


def strongest_attack(rows: pd.DataFrame, column: str, largest: bool) -> pd.DataFrame:
    """Per tier, level and seed the row whose `column` is smallest (or largest): an attacker would choose it."""
    found = rows.dropna(subset=column).sort_values(column, ascending=not largest, kind="stable")
    return found.drop_duplicates(["tier", "level", "seed"]).sort_values(["strength", "tier", "seed"], kind="stable")


def attack_size(norm: str, epsilon: float, medium: str) -> str:
    """An attack's bound as readers write it: 255ths of full scale for pictures, share of full scale for audio."""
    name = {"linf": "L∞", "l2": "L2"}.get(norm, norm)
    if norm == "linf" and medium != "audio":
        return f"{name} ε = {number(255 * epsilon)}/255"
    return f"{name} ε = {number(epsilon)}" + (" of full scale" if medium == "audio" else "")


def number(value: float) -> str:
    """A round number as people write it: 8, 0.05, 1200."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{float(f'{value:.3g}'):.6f}".rstrip("0").rstrip(".")


def amount(value: float) -> str:
    """A measured quantity to three digits: 0.610, 14.0, 2,136."""
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:#.3g}".rstrip(".")


def percent(fraction: float) -> str:
    """A fraction as a percentage: 0.954 is "95.4 %"."""
    return f"{100 * fraction:.1f} %"


def points(fraction: float) -> str:
    """A difference of fractions in percentage points, with its sign: -0.012 is "−1.2"."""
    return f"{round(100 * fraction, 1) + 0.0:+.1f}".replace("-", "−")  # + 0.0: never −0.0


def interval(low: float, high: float) -> str:
    """A 95 % interval of a difference, in points: "[−2.0, +0.4]"."""
    return f"[{points(low)}, {points(high)}]"
