"""The summary tables of a task, each read once, and the facts about the task that more than one report needs."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import pandas as pd

from lossybench.artifacts import read_meta, read_table
from lossybench.conditions import ORIGINAL
from lossybench.errors import LossyBenchError

METRIC_TITLES = {"accuracy": "accuracy", "precision": "precision", "recall": "recall", "f1": "F1"}
METRIC_TITLES |= {"map": "mAP@[.5:.95]", "map50": "mAP@0.5"}
REGIME_TITLES = {
    ORIGINAL: "trained on originals",
    "mixed": "trained on a mixture of levels",
    "adversarial": "trained adversarially",
}
AS_IT_CAME = "as it came"  # of a model that existed before the study: what it was trained on is not known here
NO_REFERENCE = "no reference"
# From worst to best, so that the worst of several architectures is the smallest.
VERDICT_ORDER = ("unacceptable", NO_REFERENCE, "inconclusive", "acceptable")
VERDICT_SYMBOLS = {"acceptable": "✓", "inconclusive": "?", "unacceptable": "✗", NO_REFERENCE: "∅"}
WORST = "worst"  # the attack whose rows take, item by item, the worst over all attacks of a budget
OBLIVIOUS, ALL = "T0", "all"  # the tiers of WORST: attacks that ignore the codec, and everything that was tried


def _table(name: str) -> functools.cached_property[pd.DataFrame]:
    """The summary table of this name as a property, read when it is first asked for."""
    return functools.cached_property(lambda summary: read_table(summary.folder / f"{name}.parquet").to_pandas())


@dataclasses.dataclass(frozen=True)
class Summary:
    """The tables and facts of one task.

    folder: `summary/{task}/`, which aggregate made. Raises LossyBenchError, naming the file, when a table that is asked
    for is missing or damaged, or lacks what must be there.
    """

    folder: Path
    metrics = _table("metrics")  # over all classes and per class, with intervals
    differences = _table("differences")  # to the original, paired by item
    limits = _table("limits")  # the strongest acceptable level per codec and delta
    transfer = _table("transfer")  # train condition against test level
    recovery = _table("recovery")  # what training on a mixture wins back
    bd = _table("bd")  # Bjontegaard differences between codecs
    attacks = _table("attacks")  # per codec, level and attack; no rows when nothing was attacked
    gates = _table("gates")  # the checks that the attacks passed or failed

    @property
    def task(self) -> str:
        """The task's name."""
        return self.folder.name

    @functools.cached_property
    def conditions(self) -> pd.DataFrame:
        """One row per codec and level, the original among them, the mildest level of a codec first."""
        path = self.folder / "conditions.parquet"
        table = read_table(path).to_pandas()
        if ORIGINAL not in set(table["codec"]):
            raise LossyBenchError(f"{path}: has no row for the original; aggregate again")
        return table.sort_values(["codec", "strength"], kind="stable").reset_index(drop=True)

    @functools.cached_property
    def worst(self) -> pd.DataFrame:
        """The rows of attacks that are reported: the worst case per item, over all seeds (see `over_seeds`).

        They are ordered by architecture, regime, codec with the bare model first, and level with the mildest first.
        """
        rows = over_seeds(where(self.attacks, attack=WORST))
        order = rows["regime"].map({name: place for place, name in enumerate(REGIME_TITLES)})
        lossy = rows["codec"] != ORIGINAL
        keys = ["arch", "order", "lossy", "codec", "strength"]
        ordered = rows.assign(order=order, lossy=lossy).sort_values(keys, kind="stable", ignore_index=True)
        return ordered.drop(columns=["order", "lossy"])

    @property
    def main_budget(self) -> tuple[str, float]:
        """Norm and bound of the first model's main attack. Another model's main attack stands in its `main` rows."""
        first = self.worst[self.worst["main"]].iloc[0]
        return str(first["norm"]), float(first["epsilon"])

    @functools.cached_property
    def attack_settings(self) -> dict[str, Any]:
        """The settings of the attacks on the first model that are a single number or word."""
        settings = read_meta(self.folder / "attacks.parquet").get("attack") or {}
        return {name: value for name, value in settings.items() if isinstance(value, (int, float, str))}

    @property
    def attacked(self) -> dict[str, Any]:
        """What was attacked: the number of `items`, of `groups` by factor, and the factor with too `few` groups."""
        return read_meta(self.folder / "gates.parquet")["attacked"]

    @property
    def defence_margin(self) -> float:
        """The least gain under attack that counts as a defence, in (0, 1)."""
        return float(read_meta(self.folder / "gates.parquet")["settings"]["defence_margin"]) / 100

    @property
    def robust(self) -> tuple[str, str, str]:
        """The columns of `attacks` with the measure on clean items, on clean items behind the codec, under attack."""
        if self.kind == "detection":
            return "map_clean", "map_clean_after", "map_after"
        return "clean", "clean_after", "robust_after"

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
    def meta(self) -> dict[str, Any]:
        """The facts about the data set that stand beside its conditions."""
        return read_meta(self.folder / "conditions.parquet")

    @property
    def existing(self) -> list[str]:
        """The architectures that name models which existed before the study. They are filed as regime `original`."""
        return self.meta.get("existing", [])

    def came(self, arch: str, regime: str) -> bool:
        """Whether this model existed before the study, so that nobody here knows what it was trained on."""
        return arch in self.existing and regime == ORIGINAL

    def trained_on(self, arch: str, regime: str) -> str:
        """The regime of a model as readers know it: "unknown" for one that existed before the study."""
        return "unknown" if self.came(arch, regime) else regime

    def training(self, arch: str, regime: str) -> str:
        """How a model was trained, in words, and whether it has a reference: "trained adversarially, no reference"."""
        how = AS_IT_CAME if self.came(arch, regime) else REGIME_TITLES[regime]
        if (arch, regime) not in self.trained:
            return f"not {how}"
        return how if self.has_reference(arch, regime) else f"{how}, {NO_REFERENCE}"

    def reference(self, arch: str, regime: str) -> pd.Series:
        """A row of `limits` of this model. Its columns on the reference and chance hold for all codecs and deltas."""
        return where(self.limits, arch=arch, regime=regime).iloc[0]

    def has_reference(self, arch: str, regime: str) -> bool:
        """Whether the result on originals is shown to exceed chance by more than the middle delta."""
        return bool(self.reference(arch, regime)["above_chance"] > self.delta / 100)

    @property
    def compressed_before(self) -> str:
        """The lossy codings that the originals went through before: "web video, DivX"; "" if none is known."""
        return ", ".join(self.meta.get("compressed_before", []))

    @property
    def primary(self) -> str:
        """The metric that limits are about."""
        return "map50" if self.kind == "detection" else "accuracy"

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
        """The regimes of `REGIME_TITLES` that some model has; an architecture need not have them all."""
        return [regime for regime in REGIME_TITLES if regime in set(self.metrics["regime"])]

    @property
    def trained(self) -> set[tuple[str, str]]:
        """The (architecture, regime) of every model."""
        return set(self.metrics[["arch", "regime"]].itertuples(index=False, name=None))

    @property
    def deltas(self) -> list[float]:
        """The acceptable losses in points, ascending."""
        return sorted(set(self.limits["delta"]))

    @property
    def delta(self) -> float:
        """The middle delta, which headlines are about."""
        return self.deltas[len(self.deltas) // 2]

    def title(self, codec: str) -> str:
        """A codec's name as readers know it: "JPEG 2000"."""
        return str(self.levels(codec)["title"].iloc[0])

    def levels(self, codec: str) -> pd.DataFrame:
        """The conditions of a codec, mildest first."""
        return where(self.conditions, codec=codec)

    def label(self, codec: str, level: float) -> str:
        """A level of a codec as readers write it: "QF 10"."""
        return str(where(self.conditions, codec=codec, level=level)["label"].iloc[0])

    def overall(self, metric: str) -> pd.DataFrame:
        """A metric over all classes and seeds, joined with the rate and fidelity of each condition; mildest first."""
        rows = where(self.metrics, metric=metric, seed=-1, **{"class": ""}).drop(columns=["strength", "n"])
        return rows.merge(self.conditions, on=["codec", "level"]).sort_values("strength", kind="stable")


def where(rows: pd.DataFrame, **values: object) -> pd.DataFrame:
    """The rows whose columns hold these values: `where(rows, arch="vit_tiny", tier="T0")`."""
    for column, value in values.items():
        rows = rows[rows[column] == value]
    return rows


def worst_limits(tables: Summary, regime: str) -> pd.DataFrame:
    """One row of `limits` per codec at the middle delta: that of the architecture with the worst verdict.

    tables: the task. regime: of the models. Of architectures with equal verdicts it is the one with the mildest limit.
    What holds for it is shown for every architecture, each at its own 5 %: an intersection-union test, which needs
    no correction. Where the verdict is inconclusive, `items_needed` is the most that an inconclusive one needs.
    """
    rows = where(tables.limits, regime=regime, delta=tables.delta)
    rows = rows.merge(tables.conditions[["codec", "level", "strength"]], on=["codec", "level"], how="left")
    rows = rows.assign(rank=rows["verdict"].map(VERDICT_ORDER.index))
    worst = rows.sort_values(["codec", "rank", "strength", "arch"], kind="stable").drop_duplicates("codec")
    undecided = worst["verdict"] == "inconclusive"
    most = rows[rows["verdict"] == "inconclusive"].groupby("codec")["items_needed"].max()
    needed = worst["items_needed"].where(~undecided, worst["codec"].map(most))
    return worst.assign(items_needed=needed).drop(columns="rank").reset_index(drop=True)


def over_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for all seeds of each model, attack and condition of `attacks`.

    A figure becomes its mean over the seeds, and an interval the hull of theirs. The hull is at least as sure of the
    mean over these models as each interval is of its own model, because the mean lies beyond an end of it only if the
    true figure of the model that is furthest out does. It says nothing of models with other seeds. A row is unreliable
    if that of any seed is.
    """
    keys = ["arch", "regime", "codec", "level", "attack", "norm", "epsilon", "goal", "tier", "main"]

    def how(column: str) -> Any:
        if column == "unreliable":
            return "any"
        if column in ("reason", "unchecked"):
            return lambda each: "; ".join(dict.fromkeys(reason for reason in each if reason))
        return "min" if column.endswith("_low") else "max" if column.endswith("_high") else "mean"

    ways = {column: how(column) for column in rows.columns if column not in [*keys, "seed"]}
    return rows.groupby(keys, sort=False).agg(ways).reset_index() if len(rows) else rows.drop(columns="seed")


def most_helped(rows: pd.DataFrame) -> pd.DataFrame:
    """The level of each codec that gains most against the oblivious attacker, a choice that flatters the codec.

    rows: of `worst`. Returned is one untargeted, oblivious row per arch, regime, norm, epsilon and codec.
    """
    rows = where(rows[rows["codec"] != ORIGINAL], goal="untargeted", tier=OBLIVIOUS)
    best = rows.sort_values("gain", ascending=False, kind="stable")
    return best.drop_duplicates(["arch", "regime", "norm", "epsilon", "codec"]).sort_index()


def attack_size(norm: str, epsilon: float, medium: str) -> str:
    """An attack's bound as readers write it, such as "L∞ ε = 8/255" or "SNR ≥ 30 dB".

    norm and epsilon: as in the table `attacks`. medium: "image", "audio" or "video".
    """
    if norm == "snr":
        return f"SNR ≥ {number(epsilon)} dB"
    if norm == "share":
        return f"patch of {number(100 * epsilon)} % of the picture"
    name = {"linf": "L∞", "l2": "L2"}.get(norm, norm)
    if norm == "linf" and medium != "audio":
        return f"{name} ε = {number(255 * epsilon)}/255"
    return f"{name} ε = {number(epsilon)} of full scale"


def budget_order(norm: str, epsilon: float) -> float:
    """A number that is larger for a larger budget: in dB the larger bound is the smaller change."""
    return -epsilon if norm == "snr" else epsilon


def budgets(rows: pd.DataFrame) -> list[tuple[str, float]]:
    """The (norm, epsilon) of attacks, norm by norm from the smallest budget to the largest."""
    found = set(zip(rows["norm"], rows["epsilon"], strict=True))
    return sorted(found, key=lambda budget: (budget[0], budget_order(*budget)))


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


def on_originals(row: pd.Series) -> str:
    """The reference of a row of `limits` with its 95 % interval and chance: "95.4 % [93.1, 97.0], chance 10.0 %"."""
    low, high = (f"{100 * row[f'reference_{end}']:.1f}" for end in ("low", "high"))
    return f"{percent(row['reference'])} [{low}, {high}], chance {percent(row['chance'])}"


def interval(low: float, high: float) -> str:
    """A 95 % interval of a difference, in points: "[−2.0, +0.4]"."""
    return f"[{points(low)}, {points(high)}]"
