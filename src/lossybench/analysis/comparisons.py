"""Rows of the tables that compare conditions or models: differences, verdicts, limits, transfer.

Several functions share these arguments. model: architecture and regime. conditions: the rows of the table `conditions`.
of_condition: one model's primary metric. results: the same of all models. sampling: of the task's items.

A model's result at a condition is compared with two baselines. OWN: its own result on originals, which says what the
codec costs this model. BEST: what the best model trained on originals has on originals, which says what is given up by
whoever switches model and codec. The best is the one with the highest value on these very items, which can only make
the comparison stricter.
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from typing import Any

import numpy as np
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from lossybench.analysis import intervals
from lossybench.analysis.intervals import Estimate, Interval
from lossybench.analysis.outcomes import Row, Trained
from lossybench.analysis.sampling import FEWEST_SEEDS, Sampling
from lossybench.analysis.verdicts import ACCEPTED, Missing, fixed_sequence, missing, verdict
from lossybench.artifacts import SAVINGS
from lossybench.chance import lower_bound
from lossybench.conditions import ORIGINAL, REFERENCE, Condition, Regime
from lossybench.metrics import ACCURACY, Metric

OWN, BEST = "own", "best"


@dataclasses.dataclass(frozen=True)
class Primary:
    """The primary metric of one model at one condition; the first axis of all arrays is that of `seeds`.

    values: (seeds,); samples: bootstrap (seeds, units, resamples), units as in `Sampling`; right: bool (seeds, n), None
    unless the metric is the share of items that are right. values and samples are turned so that more is better
    (`of`), whatever the `metric`, so that a loss is negative everywhere. reach: how much a single item may differ from
    the others, which is what nobody can rule out of items that were not tested (`intervals.of_samples`). scores:
    (seeds, n), turned too, of the items of which the values are means; None where items have no scores of their own.
    """

    seeds: tuple[int, ...]
    values: np.ndarray
    samples: np.ndarray
    right: np.ndarray | None
    metric: Metric = ACCURACY
    reach: float = 1.0
    scores: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        metric: Metric,
        seeds: tuple[int, ...],
        values: np.ndarray,
        samples: np.ndarray,
        right: np.ndarray | None = None,
        reach: float = 1.0,
        scores: np.ndarray | None = None,
    ) -> Primary:
        """From the metric's own values, samples and scores."""
        turned = None if scores is None else metric.sign * scores.astype(float)
        return cls(seeds, metric.sign * values, metric.sign * samples, right, metric, reach, turned)

    @property
    def value(self) -> float:
        """The metric's own value, the mean over seeds."""
        return self.metric.sign * float(self.values.mean()) + 0.0  # never -0

    @property
    def limits(self) -> tuple[float, float]:
        """Between which a difference of two values lies."""
        most = math.inf if self.metric.most is None else self.metric.most
        return -most, most


Results = dict[Trained, dict[Condition, Primary]]


@dataclasses.dataclass(frozen=True)
class Reference:
    """A model's primary metric on originals with its 95 % interval, and how far chance is below.

    of: the model. primary: its outcomes there. chance: what answers that do not depend on the item reach, a mean over
    seeds. above_chance: by how much the worst of the seeds is shown to be better than its chance. A model that
    only guesses exceeds it by a margin on at most 5 % of test sets. Since every seed has to, several need no correction
    (an intersection-union test).
    """

    of: Trained
    primary: Primary
    low: float
    high: float
    chance: float
    above_chance: float

    @property
    def value(self) -> float:
        """The mean over seeds."""
        return self.primary.value


def reference(
    model: Trained, of_original: Primary, low: float, high: float, chance: np.ndarray, sampling: Sampling
) -> Reference:
    """What one model's losses are measured against.

    of_original: its primary metric on originals. low, high: the 95 % interval of that, over all seeds. chance:
    (seeds,), what that metric is without seeing the item.
    """
    lowest = []
    for seed in range(len(of_original.seeds)):
        one = slice(seed, seed + 1)
        if of_original.right is not None:
            of_items = intervals.share(of_original.right[one], sampling).interval.lower
            lowest.append(min(of_items, lower_bound(int(of_original.right[one].sum()), sampling.n)))
        else:
            values, samples = of_original.values[one], of_original.samples[one]
            estimate = intervals.of_samples(values, samples, sampling, guard=of_original.reach)
            lowest.append(estimate.interval.lower)
    exceeds = float((np.array(lowest) - of_original.metric.sign * chance).min())
    return Reference(model, of_original, low, high, float(chance.mean()), exceeds)


def best_reference(references: dict[Trained, Reference]) -> Reference | None:
    """The reference of the best model trained on originals, or that came as it was; None where there is none."""
    plain = [one for (_, regime), one in references.items() if regime == ORIGINAL]
    return max(plain, key=lambda one: one.primary.values.mean(), default=None)


@dataclasses.dataclass(frozen=True)
class Difference:
    """A paired difference. p: of McNemar's exact test or, if larger, of a t test by groups and seeds."""

    estimate: Estimate
    p: float | None


# The difference of the original to itself: these are the very same outcomes, not merely similar ones.
NONE_AT_ALL = Estimate(0.0, Interval(0.0, 0.0, 0.0, 0.0, 0.0), "", 1.0, 0.0, 1, 0.0)


def paired(before: Primary, after: Primary, sampling: Sampling, same_models: bool = True) -> Difference:
    """The difference after - before on the same items, negative where something is lost.

    same_models: whether both are of one architecture and regime, so that seeds are paired too. Otherwise the models are
    taken as trained independently. The interval is as `intervals.paired` and `intervals.of_samples` say.
    """
    if before.right is None or after.right is None:
        reach = max(before.reach, after.reach)
        if same_models:
            estimate = intervals.of_samples(
                after.values - before.values, after.samples - before.samples, sampling, reach, before.limits
            )
        else:
            variance = sum(
                intervals.seed_variance_of_samples(each.values, each.samples[:, 0]) for each in (before, after)
            )
            fewest = min(len(before.seeds), len(after.seeds))
            values = np.full(fewest, after.values.mean() - before.values.mean())
            samples = np.repeat((after.samples.mean(axis=0) - before.samples.mean(axis=0))[None], fewest, axis=0)
            estimate = intervals.of_samples(values, samples, sampling, reach, before.limits, variance)
        return Difference(estimate, None)
    estimate = intervals.paired(before.right, after.right, sampling, same_models)
    return Difference(estimate, _p(before.right, after.right, estimate, sampling))


def _p(before: np.ndarray, after: np.ndarray, estimate: Estimate, sampling: Sampling) -> float:
    """Whether two shares differ, two-sided. before, after: bool (seeds, n).

    McNemar's exact test takes the discordant counts, averaged over seeds and rounded towards each other. It knows
    neither groups nor seeds nor folds, so the t test by these is taken where it says less.
    """
    right, then = before.mean(axis=0), after.mean(axis=0)
    if len(before) == len(after):
        lost, won = (float(each.sum() / len(before)) for each in (before & ~after, ~before & after))
    else:
        lost, won = float((right * (1 - then)).sum()), float(((1 - right) * then).sum())
    few, many = math.ceil(min(lost, won)), math.floor(max(lost, won))
    exact = float(mcnemar([[0, few], [max(few, many), 0]], exact=True).pvalue)
    return (
        max(exact, intervals.p_value(estimate, sampling))
        if estimate.units or estimate.seed_error or estimate.fold_error
        else exact
    )


def to_baseline(
    of_condition: dict[Condition, Primary], baseline: Reference, own: bool, sampling: Sampling
) -> dict[Condition, Difference]:
    """The difference of each of one model's conditions to the `baseline`. own: whether that is this very model."""
    none = Difference(dataclasses.replace(NONE_AT_ALL, seeds=len(baseline.primary.seeds)), None)
    return {
        condition: none if own and condition == REFERENCE else paired(baseline.primary, one, sampling, own)
        for condition, one in of_condition.items()
    }


def difference_rows(
    model: Trained,
    of_condition: dict[Condition, Primary],
    found: dict[Condition, Difference],
    baseline: str,
    of_baseline: Reference,
    conditions: dict[Condition, Row],
    sampling: Sampling,
) -> list[Row]:
    """Rows of the table `differences` of one model and baseline, with Holm's correction over all of them.

    found: the differences to the baseline. baseline: OWN or BEST. of_baseline: what that is.
    """
    tested = [condition for condition, one in found.items() if one.p is not None]
    corrected = multipletests([found[condition].p for condition in tested], method="holm")[1] if tested else []
    holm = dict(zip(tested, corrected, strict=True))
    return [
        where(model, conditions[condition])
        | {
            "baseline": baseline,
            "metric": of_baseline.primary.metric.name,
            "reference": of_baseline.value,
            "value": of_condition[condition].value,
            "difference": one.estimate.value,
            **{name: getattr(one.estimate.interval, name) for name in ("low", "high", "lower", "upper", "joint")},
            "p": one.p,
            "p_holm": holm.get(condition),
            "n": conditions[condition]["n"],
            "factor": one.estimate.units,
            "groups": sampling.groups.get(one.estimate.units),
            "design_effect": one.estimate.effect,
            "item_error": one.estimate.error,
            "seeds": one.estimate.seeds,
            "seed_error": one.estimate.seed_error if one.estimate.seeds >= FEWEST_SEEDS else None,
            "fold_error": one.estimate.fold_error if sampling.folds else None,
        }
        for condition, one in found.items()
    ]


def verdict_rows(
    model: Trained,
    found: dict[Condition, Difference],
    baseline: str,
    of_baseline: Reference,
    conditions: dict[Condition, Row],
    deltas: list[float],
    sampling: Sampling,
) -> list[Row]:
    """Rows of the table `verdicts` of one model and baseline: codec by codec, margin by margin, mildest level first.

    found: the differences to the baseline. baseline: OWN or BEST. of_baseline: what that is. deltas: in points of a
    share, or in the unit of any other metric.
    """
    rows = []
    here, above_chance = sampling.few is not None, of_baseline.above_chance
    primary = of_baseline.primary
    for codec in dict.fromkeys(codec for codec, _ in found):
        sequence = sorted((c for c in found if c[0] == codec), key=lambda c: conditions[c]["strength"])
        for delta in deltas:
            margin = primary.metric.margin(delta)
            judged = [verdict(found[one].estimate.interval, margin, above_chance, here) for one in sequence]
            passed = fixed_sequence([one in ACCEPTED for one in judged])
            joint = [found[one].estimate.interval.joint > -margin and above_chance > margin for one in sequence]
            jointly = fixed_sequence(joint)
            for place, (condition, one) in enumerate(zip(sequence, judged, strict=True)):
                undecided = one == "inconclusive"
                lacks = (
                    missing(found[condition].estimate, margin, sampling, primary.reach) if undecided else Missing("")
                )
                rows.append(
                    where(model, conditions[condition])
                    | {"baseline": baseline, "delta": float(delta), "verdict": one}
                    | {"tested": place <= passed and one != "no reference", "jointly": place < jointly}
                    | {"missing": lacks.what, "needed_low": lacks.low, "needed_high": lacks.high}
                )
    return rows


def limit_rows(
    verdicts: list[Row], conditions: dict[Condition, Row], references: dict[Trained, Reference], best: Reference | None
) -> list[Row]:
    """Rows of the table `limits` from those of the table `verdicts`. references: of each model. best: of BEST."""
    sequences: dict[tuple[str, str, str, str, float], list[Row]] = defaultdict(list)
    for row in verdicts:
        if row["codec"] != ORIGINAL:
            sequences[row["arch"], row["regime"], row["baseline"], row["codec"], row["delta"]].append(row)
    rows = []
    for (arch, regime, baseline, codec, delta), sequence in sequences.items():
        passed = fixed_sequence([row["verdict"] in ACCEPTED for row in sequence])
        jointly = sum(row["jointly"] for row in sequence)
        limit, joint = (
            conditions[Condition(codec, sequence[count - 1]["level"])] if count else {} for count in (passed, jointly)
        )
        stop = next((row for row in sequence[passed:] if row["tested"]), {})
        of_original = references[arch, regime] if baseline == OWN or best is None else best
        rows.append(
            {
                **{"arch": arch, "regime": regime, "codec": codec, "baseline": baseline, "delta": delta},
                "seeds": len(references[arch, regime].primary.seeds),
                "reference_arch": of_original.of[0],
                **{"reference": of_original.value, "reference_low": of_original.low},
                **{"reference_high": of_original.high, "chance": of_original.chance},
                "above_chance": of_original.above_chance,
                "verdict": sequence[0]["verdict"],
                **{key: limit.get(key) for key in ("level", "label", "rate", "rate_unit", "ratio", *SAVINGS)},
                **{f"joint_{key}": joint.get(key) for key in ("level", "label", "rate", *SAVINGS)},
                "stopped_at": stop.get("level"),
                "stopped_verdict": stop.get("verdict"),
                **{key: stop.get(key) for key in ("missing", "needed_low", "needed_high")},
            }
        )
    return rows


def capture_rows(grids: dict[str, list[Any]], limits: list[Row], differences: list[Row]) -> list[Row]:
    """Rows of the table `capture`: of each codec that grids are about, as items came, then under each condition.

    grids: {chain: [codec, degradation, its level, both in words]}. limits, differences: rows of these tables, of the
    codecs and of the chains.
    """
    about = {name: (codec, what, float(amount), said) for name, (codec, what, amount, said) in grids.items()}
    about |= {codec: (codec, "", None, "as they came") for codec, *_ in grids.values()}
    order = {name: place for place, name in enumerate([*dict.fromkeys(codec for codec, *_ in grids.values()), *grids])}
    mildest = {
        (row["arch"], row["regime"], row["baseline"], row["codec"]): row for row in differences if row["strength"] == 1
    }
    kept = ("delta", "verdict", "level", "label", "rate", "rate_unit", "saving", "stopped_at", "stopped_verdict")
    rows = []
    for row in sorted((row for row in limits if row["codec"] in about), key=lambda row: order[row["codec"]]):
        codec, what, amount, said = about[row["codec"]]
        model = {key: row[key] for key in ("arch", "regime", "baseline")}
        at_mildest = mildest[*model.values(), row["codec"]]
        rows.append(
            {
                **model,
                **{"codec": codec, "chain": row["codec"], "degradation": what, "amount": amount, "condition": said},
                **{f"mildest_{key}": at_mildest[key] for key in ("value", "difference", "low", "high")},
                **{key: row[key] for key in kept},
            }
        )
    return rows


def transfer_rows(overall: list[Row]) -> list[Row]:
    """Rows of the table `transfer`. overall: the rows of `metrics` of the primary metric over all seeds and classes."""
    rows = []
    for codec in sorted({row["codec"] for row in overall} - {ORIGINAL}):
        # A model that was never tested with this codec has no place in its matrix.
        models = {(row["arch"], row["regime"]) for row in overall if row["codec"] == codec}
        for row in overall:
            if row["codec"] not in (codec, ORIGINAL) or (row["arch"], row["regime"]) not in models:
                continue
            name, matched, held_out = Regime.read(row["regime"])
            if held_out:  # they have a table of their own
                continue
            rows.append(
                {
                    "arch": row["arch"],
                    "codec": codec,
                    "train": name,
                    "train_codec": matched.codec if matched else "",
                    "train_level": matched.level if matched else None,
                    "test_level": None if row["codec"] == ORIGINAL else row["level"],
                    **{key: row[key] for key in ("value", "low", "high")},
                }
            )
    return rows


def held_out_rows(results: Results, conditions: dict[Condition, Row], sampling: Sampling) -> list[Row]:
    """Rows of the table `held_out`: models that never learnt from a codec, on that codec, beside others there."""
    rows = []
    for (arch, regime), held in results.items():
        codec = Regime.read(regime).codec
        for condition in (c for c in conditions if codec and c in held):
            others = {name: results.get((arch, name), {}).get(condition) for name in (ORIGINAL, "mixed")}
            row = {
                "arch": arch,
                "held_out": codec,
                **{k: conditions[condition][k] for k in ("codec", "level", "strength")},
            }
            row |= {"value": held[condition].value} | {name: one.value if one else None for name, one in others.items()}
            for name, one in others.items():
                found = paired(one, held[condition], sampling, same_models=False).estimate if one else None
                row[f"over_{name}"] = found.value if found else None
                row |= {
                    f"over_{name}_{end}": getattr(found.interval, end) if found else None for end in ("low", "high")
                }
            rows.append(row)
    return rows


def where(model: Trained, condition: Row) -> Row:
    """The columns that say which model and which condition a row is of. condition: its row of `conditions`."""
    return {"arch": model[0], "regime": model[1], **{key: condition[key] for key in ("codec", "level", "strength")}}
