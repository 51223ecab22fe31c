"""A task's summary tables, read once, with the few facts about a study that every report needs."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import pandas as pd

from lossybench.artifacts import read_meta, read_table
from lossybench.conditions import ORIGINAL
from lossybench.errors import LossyBenchError

METRIC_TITLES = {
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "map": "mAP@[.5:.95]",
    "map50": "mAP@0.5",
}
REGIME_TITLES = {
    ORIGINAL: "trained on originals",
    "mixed": "trained on a mixture of levels",
    "adversarial": "trained adversarially",
}
# From worst to best, so that the worst of several architectures is the smallest.
VERDICT_ORDER = ("unacceptable", "inconclusive", "acceptable")
VERDICT_SYMBOLS = {"acceptable": "✓", "inconclusive": "?", "unacceptable": "✗"}
OBLIVIOUS, ALL = "T0", "all"  # tiers of WORST: attacks made without knowing of the codec; everything that was tried
WORST = "worst"  # the attack whose rows are the worst case per item over all attacks of a budget


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
    def worst(self) -> pd.DataFrame:
        """What is reported of attacks: the worst case per item, over seeds (see `over_seeds`).

        In the order of architectures, regimes, codecs with the bare model first, and levels, mildest first.
        """
        rows = over_seeds(self.attacks[self.attacks["attack"] == WORST])
        order = rows["regime"].map({name: place for place, name in enumerate(REGIME_TITLES)})
        lossy = rows["codec"] != ORIGINAL
        keys = ["arch", "order", "lossy", "codec", "strength"]
        ordered = rows.assign(order=order, lossy=lossy).sort_values(keys, kind="stable", ignore_index=True)
        return ordered.drop(columns=["order", "lossy"])

    @property
    def main_budget(self) -> tuple[str, float]:
        """Norm and bound of the first model's main attack. Other models may have another one, in `main` rows."""
        first = self.worst[self.worst["main"]].iloc[0]
        return str(first["norm"]), float(first["epsilon"])

    @functools.cached_property
    def attack_settings(self) -> dict[str, Any]:
        """How the first model was attacked, as far as it is one number or word a setting."""
        settings = read_meta(self.folder / "attacks.parquet").get("attack") or {}
        return {name: value for name, value in settings.items() if isinstance(value, (int, float, str))}

    @property
    def robust(self) -> tuple[str, str, str]:
        """Columns of `attacks`: the measure on clean items, on clean ones behind the codec, under attack behind it."""
        if self.kind == "detection":
            return "map_clean", "map_clean_after", "map_after"
        return "clean", "clean_after", "robust_after"

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

    @functools.cached_property
    def compressed_before(self) -> str:
        """The lossy codings that the originals went through already: "web video, DivX"; "" if none is known."""
        return ", ".join(read_meta(self.folder / "conditions.parquet").get("compressed_before", []))

    @functools.cached_property
    def prior_compression(self) -> str:
        """The same as the data set's card says it."""
        return str(read_meta(self.folder / "conditions.parquet").get("card", {}).get("prior_compression", ""))

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
        """Of `REGIME_TITLES`, those that models were trained in; not every architecture need have each."""
        return [regime for regime in REGIME_TITLES if regime in set(self.metrics["regime"])]

    @property
    def trained(self) -> set[tuple[str, str]]:
        """The (architecture, regime) of every model."""
        return set(self.metrics[["arch", "regime"]].itertuples(index=False, name=None))

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


def over_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of `attacks` without their seeds: means, any doubt, the intervals' hull (which errs on the wide side)."""
    keys = ["arch", "regime", "codec", "level", "attack", "norm", "epsilon", "goal", "tier", "main"]

    def how(column: str) -> Any:
        if column == "unreliable":
            return "any"
        if column == "reason":
            return lambda each: "; ".join(dict.fromkeys(reason for reason in each if reason))
        return "min" if column.endswith("_low") else "max" if column.endswith("_high") else "mean"

    ways = {column: how(column) for column in rows.columns if column not in [*keys, "seed"]}
    return rows.groupby(keys, sort=False).agg(ways).reset_index() if len(rows) else rows.drop(columns="seed")


def most_helped(rows: pd.DataFrame) -> pd.DataFrame:
    """Of the untargeted rows of `worst` the level of each codec that gains most against the oblivious attacker.

    One row, the oblivious one, per arch, regime, norm, epsilon and codec. This choice flatters the codec.
    """
    rows = rows[(rows["codec"] != ORIGINAL) & (rows["goal"] == "untargeted") & (rows["tier"] == OBLIVIOUS)]
    best = rows.sort_values("gain", ascending=False, kind="stable")
    best = best.drop_duplicates(["arch", "regime", "norm", "epsilon", "codec"])
    return best.sort_index()


def attack_size(norm: str, epsilon: float, medium: str) -> str:
    """An attack's bound as readers write it: 255ths of full scale for pictures, decibels for audio."""
    if norm == "snr":
        return f"SNR ≥ {number(epsilon)} dB"
    if norm == "share":
        return f"patch of {number(100 * epsilon)} % of the picture"
    name = {"linf": "L∞", "l2": "L2"}.get(norm, norm)
    if norm == "linf" and medium != "audio":
        return f"{name} ε = {number(255 * epsilon)}/255"
    return f"{name} ε = {number(epsilon)} of full scale"


def budget_order(norm: str, epsilon: float) -> float:
    """Larger for a larger budget: in dB the larger number is the smaller change."""
    return -epsilon if norm == "snr" else epsilon


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
