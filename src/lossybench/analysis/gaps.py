"""Rows of the table `gaps`: how much of a loss is information that is gone, and how much a model that never saw it.

A model trained on originals may lose because its codec took away what the answer rests on, or because it has never met
what that codec leaves. A model of the same architecture that is trained on compressed media tells the two apart: what
it wins back was still there (Janeiro et al. 2023, "Are Visual Recognition Models Robust to Image Compression?",
arXiv 2304.04518). What it does not win back is gone, or was not learnt: training can only ever show the first.

The advice errs in at most 5 % of studies, level by level. A loss is there, and most of it is won back or is not, where
the two-sided 95 % interval says so, of which either end errs in 2.5 %. Half as much is left to the other codecs, and
shared among them; the rest is a reserve, because the bootstrap is a little too sure with a hundred items.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from lossybench.analysis.comparisons import NONE_AT_ALL, Primary, Results, paired
from lossybench.analysis.intervals import Estimate
from lossybench.analysis.outcomes import Row
from lossybench.analysis.sampling import Sampling
from lossybench.conditions import ORIGINAL, REFERENCE, Condition, Regime

TRAIN, OTHER, MORE = "train on compressed media", "another codec", "more bits"
NOTHING, NOT_SHOWN = "nothing to explain", "not shown"
MATCHED, MIXED = "matched", "mixed"


def gap_rows(results: Results, conditions: dict[Condition, Row], sampling: Sampling) -> list[Row]:
    """Rows of the table `gaps`: of each architecture that was trained on originals, or that came as it was.

    There is a row for each condition and each training on compressed media that was tested there, or one without a
    training where there was none. results: the primary metric of all models. conditions: rows of the table
    `conditions`, of the codecs that one may choose. sampling: of the task's items.
    """
    rows = []
    for arch, regime in results:
        if regime != ORIGINAL:
            continue
        plain = results[arch, regime]
        for condition in (c for c in conditions if c in plain):
            loss = _loss(plain, condition, sampling)
            other = _other(plain, condition, conditions, sampling)
            trained = dict(_trained(arch, condition, results))
            if condition == REFERENCE and not trained:
                continue
            for training, after in trained.items() or [("", None)]:
                gap = _Gap(training, plain[REFERENCE], plain[condition], after, loss, other)
                where = {key: conditions[condition][key] for key in ("codec", "level", "strength")}
                rows.append({"arch": arch, **where} | gap.columns(sampling))
    return rows


def _loss(plain: dict[Condition, Primary], condition: Condition, sampling: Sampling) -> Estimate:
    """What a model trained on originals loses at a condition, as a gain: negative where it loses."""
    if condition == REFERENCE:
        return dataclasses.replace(NONE_AT_ALL, seeds=len(plain[REFERENCE].seeds))
    return paired(plain[REFERENCE], plain[condition], sampling).estimate


def _trained(arch: str, condition: Condition, results: Results) -> Iterator[tuple[str, Primary]]:
    """The results at a condition of models that learnt from this codec and level, then of those from a mixture."""
    for training, regime in ((MATCHED, str(Regime(MATCHED, condition))), (MIXED, MIXED)):
        if condition in results.get((arch, regime), {}):
            yield training, results[arch, regime][condition]


@dataclasses.dataclass(frozen=True)
class _Other:
    """Another codec at the same or a lower rate, and what the model trained on originals has more there."""

    condition: Condition
    gain: Estimate


def _other(
    plain: dict[Condition, Primary], condition: Condition, conditions: dict[Condition, Row], sampling: Sampling
) -> _Other | None:
    """Of the other codecs, each at its highest rate that is no higher than here, that with the most; None without any.

    The intervals hold for all of these codecs at once, at half of the usual error (Bonferroni), because the best of
    them is picked, and its claim is not the only one.
    """
    if condition == REFERENCE:
        return None
    candidates: dict[str, Condition] = {}
    for one in sorted((c for c in conditions if c in plain), key=lambda c: (conditions[c]["rate"], c)):
        if one.codec not in (condition.codec, ORIGINAL) and conditions[one]["rate"] <= conditions[condition]["rate"]:
            candidates[one.codec] = one
    if not candidates:
        return None
    at_once = dataclasses.replace(sampling, alpha=sampling.alpha / (2 * len(candidates)))
    found = [_Other(one, paired(plain[condition], plain[one], at_once).estimate) for one in candidates.values()]
    return max(found, key=lambda other: (other.gain.interval.low > 0, other.gain.value))


@dataclasses.dataclass(frozen=True)
class _Gap:
    """One row: a model trained on originals, there and `here`, and one `trained` on compressed media, here."""

    training: str
    reference: Primary
    here: Primary
    trained: Primary | None
    lost: Estimate
    other: _Other | None

    def columns(self, sampling: Sampling) -> Row:
        """The columns of the table from `training` on."""
        row: Row = {"training": self.training, "reference": self.reference.value, "original": self.here.value}
        row |= {"trained": self.trained.value if self.trained else None, "seeds": len(self.here.seeds)}
        recovered = remaining = mostly = None
        if self.trained:
            row["seeds"] = min(row["seeds"], len(self.trained.seeds))
            recovered = paired(self.here, self.trained, sampling, same_models=False).estimate
            remaining = paired(self.reference, self.trained, sampling, same_models=False).estimate
            mostly = paired(self._half_way(), self.trained, sampling, same_models=False).estimate
        row |= _of("loss", self.lost, -1) | _of("recovered", recovered) | _of("remaining", remaining, -1)
        row |= _of("mostly", mostly, 2)
        row |= {"other_codec": None, "other_level": None} | _of("other", self.other.gain if self.other else None)
        if self.other:
            row |= {"other_codec": self.other.condition.codec, "other_level": self.other.condition.level}
        return row | {"advice": _advice(row)}

    def _half_way(self) -> Primary:
        """The mean of what the model trained on originals has there and here: whoever exceeds it won back most."""
        values, samples = (
            (getattr(self.reference, name) + getattr(self.here, name)) / 2 for name in ("values", "samples")
        )
        return dataclasses.replace(self.here, values=values, samples=samples, right=None)


def _of(name: str, estimate: Estimate | None, factor: int = 1) -> Row:
    """The columns of an estimate and its interval, all times the `factor`; null without one."""
    if estimate is None:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"))
    ends = sorted((factor * estimate.interval.low, factor * estimate.interval.high))
    return dict(zip((name, f"{name}_low", f"{name}_high"), (factor * estimate.value, *ends), strict=True))


def _advice(row: Row) -> str:
    """What is shown to help at a row of the table."""
    if not row["loss_low"] > 0:
        return NOTHING
    if row["training"] and row["mostly_low"] > 0:
        return TRAIN
    if row["other_codec"] is not None and row["other_low"] > 0:
        return OTHER
    # What a mixture does not win back a model that learns from this level alone might.
    return MORE if row["training"] == MATCHED and row["mostly_high"] <= 0 else NOT_SHOWN
