"""The summary tables of a task, each read once, and the facts about the task that more than one report needs."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lossybench.artifacts import SAVINGS, read_meta, read_table
from lossybench.conditions import ORIGINAL
from lossybench.errors import LossyBenchError
from lossybench.metrics import ACCURACY, Metric

REGIME_TITLES = {
    ORIGINAL: "trained on originals",
    "mixed": "trained on a mixture of levels",
    "adversarial": "trained adversarially",
}
AS_IT_CAME = "as it came"  # of a model that existed before the study: what it was trained on is not known here
NO_REFERENCE = "no reference"
HERE = "acceptable here"  # for the few groups that the test items are of (`Summary.few`), and for no others
ACCEPTED = ("acceptable", HERE)
# From worst to best, so that the worst of several architectures is the smallest.
VERDICT_ORDER = ("unacceptable", NO_REFERENCE, "inconclusive", HERE, "acceptable")
VERDICT_SYMBOLS = {"acceptable": "✓", HERE: "(✓)", "inconclusive": "?", "unacceptable": "✗", NO_REFERENCE: "∅"}
# What a loss is measured against: the model's own result on originals, or that of the best model trained on originals.
OWN, BEST = "own", "best"
# What an undecided level lacks, from what is had most easily on; any other word is a factor, of which groups are had
# less easily than items and more easily than seeds.
ITEMS, SEEDS, NO_NUMBER, TOO_CLOSE = "items", "seeds", "no practical number", "too close"
WORST = "worst"  # the attack whose rows take, item by item, the worst over all attacks of a budget
OBLIVIOUS, ALL = "T0", "all"  # the tiers of WORST: attacks that ignore the codec, and everything that was tried
UNCHECKED = "?"  # stands beside a figure of attacks that no check failed, but some check can't vouch for either
UNCHECKED_TEXT = "a check was not run or had too few items"


NAMES = ["conditions"]  # of the tables that a Summary has


def _table(name: str) -> functools.cached_property[pd.DataFrame]:
    """The summary table of this name as a property, read when it is first asked for."""
    NAMES.append(name)
    return functools.cached_property(lambda summary: read_table(summary.folder / f"{name}.parquet").to_pandas())


class Explained(NamedTuple):
    """What a codec at one level keeps by frequency, and where the changes of either attacker lie.

    bands: of the table `spectra`, one row a band from the lowest frequency on.
    """

    codec: str
    level: float
    bands: pd.DataFrame

    @property
    def lost(self) -> pd.Series:
        """Which bands come out of the codec with less than half of what the items have in them."""
        return self.bands["kept"] < 0.5

    @property
    def unit(self) -> str:
        """Of the frequencies in reports."""
        return "kHz" if self.bands["unit"].iloc[0] == "Hz" else "cycles/pixel"

    def scaled(self, frequencies: Sequence[float] | pd.Series) -> np.ndarray:
        """Frequencies of the table in the reports' `unit`."""
        return np.array(frequencies) / (1000 if self.unit == "kHz" else 1)

    @property
    def above(self) -> float | None:
        """The frequency in the reports' `unit` above which all bands are `lost` and below which none is, if any."""
        lost = self.lost.to_numpy()
        first = int(lost.argmax())
        return float(self.scaled(self.bands["lower"])[first]) if lost.any() and lost[first:].all() else None

    @property
    def in_lost(self) -> tuple[float, float]:
        """The shares of the change that lie in the `lost` bands: of the attacker who ignores the codec, and of the one
        who goes through it; NaN where no item says it."""
        oblivious, adaptive = (self.bands.loc[self.lost, who].sum(min_count=1) for who in ("oblivious", "adaptive"))
        return float(oblivious), float(adaptive)


@dataclasses.dataclass(frozen=True)
class Summary:
    """The tables and facts of one task.

    folder: `summary/{task}/`, which aggregate made. Raises LossyBenchError, naming the file, when a table that is asked
    for is missing or damaged, or lacks what must be there.
    """

    folder: Path
    all_metrics = _table("metrics")  # over all classes and per class, with intervals
    differences = _table("differences")  # to either baseline, paired by item
    limits = _table("limits")  # the strongest acceptable level per baseline, codec and delta
    capture = _table("capture")  # how limits move as capture gets worse
    transfer = _table("transfer")  # train condition against test level
    held_out = _table("held_out")  # models on a codec that the mixture they learnt from lacked
    identification = _table("identification")  # which codecs and levels models tell, where these are the classes
    gaps = _table("gaps")  # what of a loss training on compressed media wins back
    subgroups = _table("subgroups")  # by what a loss hurts
    bd = _table("bd")  # Bjontegaard differences between codecs
    attacks = _table("attacks")  # per codec, level and attack; no rows when nothing was attacked
    spectra = _table("spectra")  # by frequency: what codecs keep, and where the main attack's changes lie
    gates = _table("gates")  # the checks that the attacks passed or failed

    @property
    def task(self) -> str:
        """The task's name."""
        return self.folder.name

    @property
    def lacking(self) -> list[str]:
        """The tables that are not there, of a study that is not finished."""
        return [f"{name}.parquet" for name in NAMES if not (self.folder / f"{name}.parquet").exists()]

    @functools.cached_property
    def metrics(self) -> pd.DataFrame:
        """The rows of `all_metrics` without those of codecs under a condition of capture, which are reported apart."""
        return self.all_metrics[~self.all_metrics["codec"].isin(self.grids)]

    @functools.cached_property
    def conditions(self) -> pd.DataFrame:
        """The rows of `all_conditions` without those of codecs under a condition of capture."""
        return self.all_conditions[~self.all_conditions["codec"].isin(self.grids)].reset_index(drop=True)

    @property
    def grids(self) -> dict[str, list[Any]]:
        """The codecs under conditions of capture: {chain: [codec, degradation, its level, both in words]}."""
        return self.meta.get("grids", {})

    @functools.cached_property
    def all_conditions(self) -> pd.DataFrame:
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
    def explained(self) -> list[Explained]:
        """What explains the gains of the first attacked model, of each codec at the level of `most_helped`."""
        keys, found = ["arch", "regime", "codec", "level"], []
        how = dict.fromkeys(("kept", "oblivious", "adaptive", "moved"), "mean")
        how |= dict.fromkeys(("n", "defended", "own"), "sum")
        how |= {"moved_low": "min", "moved_high": "max"}  # the hull, as of `over_seeds`
        first = self.worst[["arch", "regime"]].iloc[0]
        chosen = most_helped(where(self.worst, main=True, **first))
        for _, at in chosen[keys].iterrows():
            rows = where(self.spectra, **at)
            if len(rows):
                bands = rows.groupby(["band", "lower", "upper", "unit"]).agg(how).reset_index()  # over seeds
                found.append(Explained(str(at["codec"]), float(at["level"]), bands))
        return found

    @functools.cached_property
    def attack_settings(self) -> dict[str, Any]:
        """The settings of the attacks on the first model that are a single number or word."""
        settings = read_meta(self.folder / "attacks.parquet").get("attack") or {}
        return {name: value for name, value in settings.items() if isinstance(value, (int, float, str))}

    @property
    def attacked(self) -> dict[str, Any]:
        """What was attacked: how many `items`, `groups` by factor, the factor of too `few`, detectors' `thresholds`."""
        return read_meta(self.folder / "gates.parquet")["attacked"]

    @property
    def defence_margin(self) -> float:
        """The least gain under attack that counts as a defence, in (0, 1)."""
        return float(read_meta(self.folder / "gates.parquet")["settings"]["defence_margin"]) / 100

    @property
    def robust(self) -> tuple[str, str, str]:
        """The columns of `attacks` with the measure on clean items, on clean items behind the codec, under attack."""
        if self.attacks["metric_clean"].notna().any():  # the kind's own metric, where it is none of units one by one
            return "metric_clean", "metric_clean_after", "metric_after"
        return "clean", "clean_after", "robust_after"

    @property
    def kind(self) -> str:
        """The kind of task. Nothing here differs by it: what follows from it stands in the tables' `meta`."""
        return self.meta["kind"]

    @property
    def all_of_metrics(self) -> list[Metric]:
        """What is scored, the primary metric first."""
        return [Metric(**one) for one in self.meta["metrics"]]

    @property
    def metric(self) -> Metric:
        """The primary metric, which limits are about."""
        return self.all_of_metrics[0]

    @property
    def unit(self) -> str:
        """What is counted: "test item", "true object" or another noun."""
        return self.meta["unit"]

    @property
    def attacked_unit(self) -> str:
        """What an attack beats or not: "test item", "true object" or another noun."""
        return self.meta["attacked_unit"]

    @property
    def chance_in_words(self) -> str:
        """What chance is: "of accuracy the share of the largest class"; "" where the kind of task does not say."""
        return f"of {self.metric.title} {self.meta['guessing']}" if self.meta["guessing"] else ""

    @property
    def attacked_metric(self) -> Metric:
        """What attacks lower: the primary metric, or where no attack can be told by that the units decided right."""
        if self.robust[0] == "metric_clean" or self.metric.name == ACCURACY.name:
            return self.metric
        return Metric("decided", f"share of {plural(self.attacked_unit)} decided right")

    @property
    def beats_parts(self) -> bool:
        """Whether attacks beat parts of items, such as objects, and not items."""
        return self.attacked_unit != "test item"

    @property
    def chance_of_data(self) -> bool:
        """Whether chance follows from the data alone, so that it is the same for all models."""
        return self.meta["chance_of_data"]

    @property
    def margin(self) -> str:
        """The middle delta in words: "2 points"."""
        return f"{self.delta:g} {self.metric.points}"

    @property
    def medium(self) -> str:
        """ "image", "audio" or "video"."""
        return self.meta["medium"]

    @property
    def has_fidelity(self) -> bool:
        """Whether the fidelity of the test items was measured."""
        return self.meta.get("fidelity") != "none"

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
        """A row of `limits` against this model itself: what it reaches on originals, and chance."""
        return where(self.limits, arch=arch, regime=regime, baseline=OWN).iloc[0]

    @functools.cached_property
    def best(self) -> pd.Series:
        """A row of `limits` against the best model trained on originals: what that reaches there, and chance.

        Where each model is judged by its own answers none is the best, and a row is against a model itself.
        """
        against = where(self.limits, baseline=BEST)
        return (against if len(against) else self.limits).iloc[0]

    @property
    def own_answers(self) -> str:
        """Where models are judged by their own answers on originals, what that can show and what not; "" elsewhere."""
        return str(self.meta.get("own_answers", ""))

    @property
    def best_name(self) -> str:
        """The best model trained on originals: "resnet trained on originals"."""
        arch = str(self.best["reference_arch"])
        return f"{arch} {AS_IT_CAME if self.came(arch, ORIGINAL) else REGIME_TITLES[ORIGINAL]}"

    @functools.cached_property
    def main_limits(self) -> pd.DataFrame:
        """The rows of `limits` that reports are about.

        Of models trained on originals they are against the models themselves. Of others they are against the best
        trained on originals, because a model that is worse on originals would otherwise seem to lose less.
        """
        plain = self.limits["regime"] == ORIGINAL
        return self.limits[(self.limits["baseline"] == OWN) == plain]

    @property
    def few(self) -> str:
        """The groups that results hold for alone, "these 6 speakers"; "" where they hold for others too."""
        return these(*self.meta["few"]) if self.meta.get("few") else ""

    @property
    def folds(self) -> int:
        """How many folds the items were dealt into, each tested by a model of its own; 0 for none."""
        return self.meta.get("folds", 0)

    @property
    def groups(self) -> dict[str, int]:
        """The number of groups of test items, for each factor that the data set names."""
        return self.meta.get("groups", {})

    @property
    def rare(self) -> dict[str, int]:
        """The classes with fewer test items (true objects in detection) than FEWEST_OF_CLASS, and how many."""
        return dict(self.meta.get("rare", []))

    @property
    def alpha(self) -> float:
        """The error of a one-sided bound: 5 % unless the test items are looked at repeatedly."""
        return float(self.meta.get("settings", {}).get("alpha", 0.05))

    def says(self, verdict: str) -> str:
        """A verdict with its scope: "acceptable for these 6 speakers"."""
        return f"acceptable for {self.few}" if verdict == HERE else verdict

    def models(self, **chosen: str) -> str:
        """What the intervals of these rows of `differences` speak of: trained models, or training anew.

        chosen: columns and their values. Of several architectures it is what holds for each of them.
        """
        rows = where(self.differences, **chosen)
        count = int(rows["seeds"].min())
        if rows["fold_error"].notna().all():
            seeds = f"{count} seeds, " if rows["seed_error"].notna().all() else ""
            return f"training on other such items ({seeds}{self.folds} folds)"
        if self.folds:
            return f"these {count * self.folds} models"
        if rows["seed_error"].notna().all():
            return f"training anew ({count} seeds)"
        return "this model" if count == 1 else f"these {count} models"

    @property
    def all_regimes(self) -> dict[str, str]:
        """Every regime that has limits, those of a single level included, and how readers know it."""
        found = sorted(set(self.limits["regime"]), key=lambda one: (one not in self.regimes, one))
        plain = REGIME_TITLES[ORIGINAL]
        if self.existing:
            plain = AS_IT_CAME if set(self.archs) <= set(self.existing) else f"{plain}, or {AS_IT_CAME}"
        return {one: plain if one == ORIGINAL else REGIME_TITLES.get(one, f"trained on {one}") for one in found}

    def has_reference(self, arch: str, regime: str) -> bool:
        """Whether the result on originals is shown to exceed chance by more than the middle delta."""
        return bool(self.reference(arch, regime)["above_chance"] > self.metric.margin(self.delta))

    @property
    def compressed_before(self) -> str:
        """The lossy codings that the originals went through before: "web video, DivX"; "" if none is known."""
        return ", ".join(self.meta.get("compressed_before", []))

    @property
    def primary(self) -> str:
        """The name of the metric that limits are about."""
        return self.metric.name

    @property
    def codecs(self) -> list[str]:
        """The lossy codecs, in alphabetical order."""
        return sorted(set(self.conditions["codec"]) - {ORIGINAL})

    @property
    def attacked_codecs(self) -> list[str]:
        """The lossy codecs that were attacked through, then the defences, each in alphabetical order."""
        through = set(self.worst["codec"])
        return [name for name in [*self.codecs, *sorted(self.defences)] if name in through]

    @property
    def defences(self) -> dict[str, str]:
        """What models were attacked through besides codecs at levels: name to title."""
        return self.meta.get("defences", {})

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

    @property
    def rate_of(self) -> str:
        """What the rates are of."""
        return {"file": "file", "coded": "coded media alone"}[self.meta["settings"].get("rate", "file")]

    def title(self, codec: str) -> str:
        """The name of a codec or defence as readers know it: "JPEG 2000"."""
        return str(self.levels(codec)["title"].iloc[0])

    def levels(self, codec: str) -> pd.DataFrame:
        """The conditions of a codec, mildest first; of a defence its only one, which has no label."""
        if codec in self.defences:
            return pd.DataFrame([{"codec": codec, "title": self.defences[codec], "level": 0.0, "label": ""}])
        return where(self.conditions, codec=codec)

    def label(self, codec: str, level: float) -> str:
        """A level of a codec as readers write it: "QF 10"."""
        return str(where(self.levels(codec), level=level)["label"].iloc[0])

    def overall(self, metric: str, captured: bool = False) -> pd.DataFrame:
        """A metric over all classes and seeds, joined with the rate and fidelity of each condition; mildest first.

        Its value and interval are in what axes show: % of a share, or the metric's own unit. captured: with the codecs
        under conditions of capture.
        """
        rows, conditions = (self.all_metrics, self.all_conditions) if captured else (self.metrics, self.conditions)
        rows = where(rows, metric=metric, seed=-1, **{"class": ""}).drop(columns=["strength", "n"])
        scale = next(one.scale for one in self.all_of_metrics if one.name == metric)
        rows = rows.assign(**{column: scale * rows[column] for column in ("value", "low", "high")})
        return rows.merge(conditions, on=["codec", "level"]).sort_values("strength", kind="stable")


def where(rows: pd.DataFrame, **values: object) -> pd.DataFrame:
    """The rows whose columns hold these values: `where(rows, arch="vit_tiny", tier="T0")`."""
    for column, value in values.items():
        rows = rows[rows[column] == value]
    return rows


def worst_limits(tables: Summary, jointly: bool = False) -> pd.DataFrame:
    """One row of `limits` per codec at the middle delta, of models trained on originals: of the worst architecture.

    That is the one with the worst verdict; of those with equal verdicts the one with the mildest limit, and of those
    with equal limits one that is shown to lose more beyond it. What holds for it is shown for every architecture, each
    at its own 5 %: an intersection-union test, which needs no correction. What is missing is the most that any
    architecture undecided at that level lacks.

    tables: the task. jointly: whether limits have to hold for all codecs of the task at once, so that one may be picked
    from them. A codec that has a limit by itself alone is then inconclusive.
    """
    rows = where(tables.limits, regime=ORIGINAL, baseline=OWN, delta=tables.delta)
    if jointly:
        rows = rows.assign(**{key: rows[f"joint_{key}"] for key in ("level", "label", "rate", *SAVINGS)})
        alone = rows["verdict"].isin(ACCEPTED) & rows["level"].isna()
        rows = rows.assign(verdict=rows["verdict"].mask(alone, "inconclusive"))
    rows = rows.merge(tables.conditions[["codec", "level", "strength"]], on=["codec", "level"], how="left")
    stopped = ["unacceptable", "inconclusive"]
    rows = rows.assign(
        rank=rows["verdict"].map(VERDICT_ORDER.index),
        beyond=[stopped.index(one) if one in stopped else len(stopped) for one in rows["stopped_verdict"]],
    )
    worst = rows.sort_values(["codec", "rank", "strength", "beyond", "arch"], kind="stable").drop_duplicates("codec")
    lacks = [_most_missing(rows, row) for _, row in worst.iterrows()]
    worst[["missing", "needed_low", "needed_high"]] = pd.DataFrame(lacks, index=worst.index)
    return worst.drop(columns=["rank", "beyond"]).reset_index(drop=True)


def _most_missing(rows: pd.DataFrame, worst: pd.Series) -> tuple[str, float, float]:
    """The columns on what is missing of all architectures that are undecided where the `worst` one stopped.

    rows: of all architectures. Numbers of the same kind are compared; of other kinds, what is had least easily counts.
    """
    if worst["stopped_verdict"] != "inconclusive":
        return "", math.nan, math.nan
    rows = where(rows, codec=worst["codec"], stopped_at=worst["stopped_at"], stopped_verdict="inconclusive")
    kinds = {ITEMS: 0, SEEDS: 2, NO_NUMBER: 3, TOO_CLOSE: 4}
    most = str(max(rows["missing"], key=lambda kind: (kinds.get(kind, 1), kind)))
    needed = where(rows, missing=most)[["needed_low", "needed_high"]].max()
    return most, float(needed["needed_low"]), float(needed["needed_high"])


def needed(row: pd.Series) -> str:
    """How many items, groups or seeds in all would likely settle where a row of limits stopped: "301 to 848 seeds"."""
    low, high = (f"{row[key]:,.0f}" for key in ("needed_low", "needed_high"))
    what = {ITEMS: "test item", SEEDS: "seed"}.get(row["missing"], row["missing"])
    return f"{low if low == high else f'{low} to {high}'} {plural(what)}"


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


def unchecked(row: pd.Series) -> bool:
    """Whether UNCHECKED stands beside the figures of a row of `attacks`: not where a check failed, which says more."""
    return bool(row["unchecked"]) and not row["unreliable"]


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


def these(factor: str, count: int) -> str:
    """The groups of a factor that were tested: "these 6 speakers", "this video"."""
    return f"these {counted(count, factor)}" if count > 1 else f"this {counted(1, factor)[2:]}"


def counted(count: float, what: str) -> str:
    """A number of things, of which `what` is the name of one: "1 voice", "21 studies", "1,000 speaker ids"."""
    return f"{count:,.0f} {what.replace('_', ' ') if count == 1 else plural(what)}"


def plural(what: str) -> str:
    """The English plural of a factor or another regular noun, with spaces for _: "speaker ids", "studies"."""
    name = what.replace("_", " ")
    if re.search("[^aeiou]y$", name):
        return f"{name[:-1]}ies"
    return f"{name}es" if name.endswith(("s", "x", "z", "ch", "sh")) else f"{name}s"


def percent(fraction: float) -> str:
    """A fraction as a percentage: 0.954 is "95.4 %", and -0.1 is "−10.0 %"."""
    return f"{100 * fraction:.1f} %".replace("-", "−")


def points(fraction: float) -> str:
    """A difference of fractions in percentage points, with its sign: -0.012 is "−1.2"."""
    return f"{round(100 * fraction, 1) + 0.0:+.1f}".replace("-", "−")  # + 0.0: never −0.0


def on_originals(row: pd.Series, metric: Metric) -> str:
    """The reference of a row of `limits` with its 95 % interval and chance: "95.4 % [93.1, 97.0], chance 10.0 %".

    metric: the primary one, which these are of.
    """
    low, high = (metric.shown(row[f"reference_{end}"]).split()[0] for end in ("low", "high"))
    return f"{metric.shown(row['reference'])} [{low}, {high}], chance {metric.shown(row['chance'])}"


def interval(low: float, high: float) -> str:
    """A 95 % interval of a difference, in points: "[−2.0, +0.4]"."""
    return f"[{points(low)}, {points(high)}]"
