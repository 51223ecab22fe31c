"""Rows of the tables that compare conditions or models: differences, verdicts, limits, transfer, recovery, bd.

Several functions share these arguments. model: architecture and regime. conditions: the rows of the table `conditions`.
of_condition: one model's primary metric. results: the same of all models. resamples: of the task's items.
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterable
from itertools import combinations

import numpy as np
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from lossybench.analysis.intervals import Interval, Resamples, discordant, paired_guarded, paired_score, percentile
from lossybench.analysis.outcomes import Row, Trained
from lossybench.analysis.rate_curves import bjontegaard_delta
from lossybench.analysis.verdicts import fixed_sequence, items_needed, verdict
from lossybench.chance import lower_bound
from lossybench.conditions import ORIGINAL, REFERENCE, Condition, Regime
from lossybench.errors import LossyBenchError

LEAST_LOSS = 0.01  # from this loss on there is a share of it to recover


@dataclasses.dataclass(frozen=True)
class Primary:
    """The primary metric of one model at one condition; the first axis of all arrays is that of `seeds`.

    values: (seeds,); samples: bootstrap (seeds, resamples); right: bool (seeds, n), None in detection.
    """

    seeds: tuple[int, ...]
    values: np.ndarray
    samples: np.ndarray
    right: np.ndarray | None

    @property
    def value(self) -> float:
        """The mean over seeds."""
        return float(self.values.mean())

    def of(self, seeds: Iterable[int]) -> Primary:
        """The same of these `seeds` alone, in their order."""
        chosen = tuple(seeds)
        at = [self.seeds.index(seed) for seed in chosen]
        return Primary(chosen, self.values[at], self.samples[at], None if self.right is None else self.right[at])


Results = dict[Trained, dict[Condition, Primary]]


@dataclasses.dataclass(frozen=True)
class Reference:
    """A model's primary metric on originals, the mean over seeds with its 95 % interval, and how far chance is below.

    chance: what answers that do not depend on the item reach, also a mean. above_chance: by how much the worst of the
    seeds is shown to exceed its chance, from -1 to 1. A model that only guesses exceeds it by a margin on at most 5 %
    of test sets. Since every seed has to, several need no correction (an intersection-union test).
    """

    value: float
    low: float
    high: float
    chance: float
    above_chance: float


def reference(of_original: Primary, low: float, high: float, chance: np.ndarray, items: int) -> Reference:
    """What one model's losses are measured against.

    of_original: its primary metric on originals. low, high: the 95 % interval of that, over all seeds. chance:
    (seeds,), what that metric is without seeing the item. items: in the test split.
    """
    if of_original.right is not None:
        lowest = [lower_bound(int(right.sum()), items) for right in of_original.right]
    else:
        each = zip(of_original.values, of_original.samples, strict=True)
        lowest = [paired_guarded(float(value), samples, items).lower for value, samples in each]
    return Reference(of_original.value, low, high, float(chance.mean()), float((lowest - chance).min()))


@dataclasses.dataclass(frozen=True)
class Difference:
    """A paired difference. p: of McNemar's exact test, None in detection. variance: of one item's difference."""

    value: float
    interval: Interval
    p: float | None
    variance: float


# The difference of the original to itself: these are the very same outcomes, not merely similar ones.
NONE_AT_ALL = Difference(0.0, Interval(0.0, 0.0, 0.0, 0.0), None, 0.0)


def paired(before: Primary, after: Primary, resamples: Resamples) -> Difference:
    """The difference after - before of two models or conditions with the same seeds and items.

    Accuracy has Tango's score interval. With several seeds it has the wider of the score interval, on discordant counts
    averaged over seeds, and the bootstrap over seeds and items. Neither alone will do: the score interval does not see
    that another seed may lose more, and the bootstrap has no width when few items disagree. McNemar's exact test takes
    the averaged counts too, rounded towards each other. Detection has the bootstrap with its guard.

    Two seeds say little of how seeds differ. In a simulation with 800 items and losses that scatter by 1 point between
    seeds, the bounds of two seeds hold in 91 to 92 % of studies instead of 95 %; those of three and more keep their 95.
    """
    n = len(resamples.items)
    value = float((after.values - before.values).mean())
    samples = resamples.over_seeds(after.samples - before.samples)
    if before.right is None or after.right is None:
        return Difference(value, paired_guarded(value, samples, n), None, n * float(samples.var()))
    lost, won = discordant(before.right, after.right)
    interval = paired_score(before.right, after.right)
    variance = (lost + won) / n - value**2
    if len(before.seeds) > 1:
        interval = interval.widest(percentile(samples))
        variance = max(variance, n * float(samples.var()))
    few, many = math.ceil(min(lost, won)), math.floor(max(lost, won))
    p = float(mcnemar([[0, few], [max(few, many), 0]], exact=True).pvalue)
    return Difference(value, interval, p, variance)


def to_original(of_condition: dict[Condition, Primary], resamples: Resamples) -> dict[Condition, Difference]:
    """The difference of each of one model's conditions to the original."""
    return {
        condition: NONE_AT_ALL if condition == REFERENCE else paired(of_condition[REFERENCE], one, resamples)
        for condition, one in of_condition.items()
    }


def difference_rows(
    model: Trained,
    of_condition: dict[Condition, Primary],
    found: dict[Condition, Difference],
    conditions: dict[Condition, Row],
    metric: str,
) -> list[Row]:
    """Rows of the table `differences` of one model, with Holm's correction over all of them.

    found: the differences to the original. metric: the primary one.
    """
    tested = [condition for condition, one in found.items() if one.p is not None]
    corrected = multipletests([found[condition].p for condition in tested], method="holm")[1] if tested else []
    holm = dict(zip(tested, corrected, strict=True))
    reference = of_condition[REFERENCE]
    return [
        where(model, conditions[condition])
        | {
            "metric": metric,
            "reference": reference.value,
            "value": of_condition[condition].value,
            "difference": one.value,
            **dataclasses.asdict(one.interval),
            "p": one.p,
            "p_holm": holm.get(condition),
            "seeds": len(reference.seeds),
            "n": conditions[condition]["n"],
        }
        for condition, one in found.items()
    ]


def verdict_rows(
    model: Trained,
    found: dict[Condition, Difference],
    of_original: Reference,
    conditions: dict[Condition, Row],
    deltas: list[float],
) -> list[Row]:
    """Rows of the table `verdicts` of one model: codec by codec, margin by margin, from the mildest level on.

    found: the differences to the original. of_original: the result there. deltas: the margins in points.
    """
    rows = []
    for codec in dict.fromkeys(codec for codec, _ in found):
        sequence = sorted((c for c in found if c[0] == codec), key=lambda c: conditions[c]["strength"])
        for delta in deltas:
            margin = delta / 100
            judged = [verdict(found[condition].interval, margin, of_original.above_chance) for condition in sequence]
            passed = fixed_sequence(judged)
            for place, (condition, one) in enumerate(zip(sequence, judged, strict=True)):
                row = where(model, conditions[condition])
                tested = place <= passed and one != "no reference"
                row |= {"delta": float(delta), "verdict": one, "tested": tested, "items_needed": None}
                if one == "inconclusive":
                    needed = items_needed(found[condition].variance, margin, found[condition].value)
                    row["items_needed"] = max(needed, conditions[condition]["n"] + 1)
                rows.append(row)
    return rows


def limit_rows(
    verdicts: list[Row], conditions: dict[Condition, Row], references: dict[Trained, Reference]
) -> list[Row]:
    """Rows of the table `limits` from those of the table `verdicts`. references: of each model."""
    sequences: dict[tuple[str, str, str, float], list[Row]] = defaultdict(list)
    for row in verdicts:
        if row["codec"] != ORIGINAL:
            sequences[row["arch"], row["regime"], row["codec"], row["delta"]].append(row)
    rows = []
    for (arch, regime, codec, delta), sequence in sequences.items():
        passed = fixed_sequence([row["verdict"] for row in sequence])
        limit = conditions[Condition(codec, sequence[passed - 1]["level"])] if passed else {}
        stop = next((row for row in sequence[passed:] if row["tested"]), {})
        of_original = references[arch, regime]
        rows.append(
            {
                **{"arch": arch, "regime": regime, "codec": codec, "delta": delta},
                **{"reference": of_original.value, "reference_low": of_original.low},
                **{"reference_high": of_original.high, "chance": of_original.chance},
                "above_chance": of_original.above_chance,
                "verdict": "acceptable" if passed else sequence[0]["verdict"],
                **{key: limit.get(key) for key in ("level", "label", "rate", "rate_unit", "ratio", "saving")},
                "stopped_at": stop.get("level"),
                "stopped_verdict": stop.get("verdict"),
                "items_needed": stop.get("items_needed"),
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
            name, matched = Regime.read(row["regime"])
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


def recovery_rows(results: Results, conditions: dict[Condition, Row], resamples: Resamples) -> list[Row]:
    """Rows of the table `recovery`, for architectures trained both on originals and mixed.

    Raises LossyBenchError when the two have no seed in common.
    """
    rows = []
    for arch in dict.fromkeys(arch for arch, _ in results):
        if (arch, ORIGINAL) not in results or (arch, "mixed") not in results:
            continue
        plain, mixed = results[arch, ORIGINAL], results[arch, "mixed"]
        seeds = [seed for seed in plain[REFERENCE].seeds if seed in mixed[REFERENCE].seeds]
        if not seeds:
            raise LossyBenchError(f"{arch}: regimes original and mixed share no seed, so none can be paired; train one")
        reference = plain[REFERENCE].of(seeds).value
        for condition in (c for c in conditions if c in plain and c in mixed):
            before, after = plain[condition].of(seeds), mixed[condition].of(seeds)
            difference = paired(before, after, resamples)
            loss = reference - before.value
            rows.append(
                {
                    "arch": arch,
                    **{key: conditions[condition][key] for key in ("codec", "level", "strength")},
                    "original": before.value,
                    "mixed": after.value,
                    "difference": difference.value,
                    "low": difference.interval.low,
                    "high": difference.interval.high,
                    "recovered": difference.value / loss if loss >= LEAST_LOSS else None,
                }
            )
    return rows


def bd_rows(model: Trained, of_condition: dict[Condition, Primary], conditions: dict[Condition, Row]) -> list[Row]:
    """Rows of the table `bd` of one model: one for each pair of codecs."""
    curves: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for condition, one in of_condition.items():
        if condition != REFERENCE:
            curves[condition[0]].append((conditions[condition]["rate"], one.value))
    rows = []
    for a, b in combinations(sorted(curves), 2):
        (rate_a, value_a), (rate_b, value_b) = np.array(curves[a]).T, np.array(curves[b]).T
        rows.append(
            {
                **{"arch": model[0], "regime": model[1], "codec_a": a, "codec_b": b},
                **bjontegaard_delta(rate_a, value_a, rate_b, value_b),
                "rate_unit": conditions[REFERENCE]["rate_unit"],
            }
        )
    return rows


def where(model: Trained, condition: Row) -> Row:
    """The columns that say which model and which condition a row is of. condition: its row of `conditions`."""
    return {"arch": model[0], "regime": model[1], **{key: condition[key] for key in ("codec", "level", "strength")}}
