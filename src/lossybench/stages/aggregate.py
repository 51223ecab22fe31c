"""The aggregate stage turns the outcomes of one task, item by item, into all its summary tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from lossybench.analysis import bands, box_metrics, comparisons, equal_rate, label_metrics, robustness, tables
from lossybench.analysis import outcomes as inputs
from lossybench.analysis.comparisons import BEST, OWN, Primary, Reference
from lossybench.analysis.intervals import Estimate
from lossybench.analysis.outcomes import Row, TestSet, Trained
from lossybench.analysis.sampling import Sampling
from lossybench.artifacts import read_meta
from lossybench.chance import chance
from lossybench.conditions import ORIGINAL, REFERENCE, Condition
from lossybench.enough import FEWEST_OF_CLASS
from lossybench.errors import LossyBenchError

ALL_SEEDS = -1


def aggregate(
    data: list[Path],
    compressed: list[Path],
    outcomes: list[Path],
    settings: dict[str, Any],
    out: Path,
    attacks: Sequence[Path] = (),
) -> None:
    """Turn the outcomes of a task into metrics, intervals, limits and attack tables.

    All tables of `tables.SCHEMAS` are written; those without rows are empty.

    Args:
        data: the tables that fetch made: of the first look, then of each further one
        compressed: all test parts, one for each codec, level and look; they say which conditions the study has
        outcomes: all tables that evaluate made: of every model one for each codec and look, `original` always among
            the codecs
        settings: deltas and defence_margin (points), bootstrap (number of resamples), seed, and rate ("file" or
            "coded": which bits rates and savings are of; file when left out); titles, of those codecs to which the
            study gives one; grids, {chain: [codec, degradation, its level, both in words]} of those that are a codec
            under a condition of capture; and where the task is tested look by look, look (the number of this one),
            looks (the test items of each that is planned) and alpha (the one-sided error level of this one, 0.05
            without looks)
        out: the folder to write
        attacks: all tables that attack made

    Raises:
        LossyBenchError: naming the file, for outcomes that lack a level or an item, hold NaN or other items than the
            data's test split, and for models that lack an outcome.
    """
    task = inputs.read_task(data)
    how_told = settings.get("rate", "file"), settings.get("titles", {})
    conditions, of_items = inputs.read_conditions(compressed, task, *how_told)
    how = (settings["bootstrap"], settings["seed"], settings.get("alpha", 0.05))
    # Under a condition of capture a codec is no further codec that one might choose, and is judged apart.
    grids = settings.get("grids", {})
    plain = {condition: row for condition, row in conditions.items() if condition.codec not in grids}
    codecs = {condition.codec for condition in plain} - {ORIGINAL}
    sampling = Sampling.draw(len(task.ids), task.groups, *how, family=max(len(codecs), 1), folds=task.folds)
    rates = {one: np.stack([unit.mean(each) for unit in sampling.units]) for one, each in of_items.items()}
    classifies = task.kind == "classification"
    metric, measured = (label_metrics.PRIMARY, _classifier) if classifies else (box_metrics.PRIMARY, _detector)
    overall = (ALL_SEEDS, metric, "")

    rows: dict[str, list[Row]] = {name: [] for name in tables.SCHEMAS}
    rows["conditions"] += conditions.values()
    results: comparisons.Results = {}
    references: dict[Trained, Reference] = {}
    for model, of_codec in tqdm(inputs.outcome_files(outcomes, task).items(), "aggregate", unit="model"):
        results[model] = {}
        for condition, one in measured(of_codec, conditions, task, sampling):
            rows["metrics"] += _metric_rows(comparisons.where(model, conditions[condition]), one, sampling)
            results[model][condition] = one.primary
            support = one.support
            if condition == REFERENCE:
                bounds = one.found[ALL_SEEDS][one.names.index((metric, ""))].interval
                low, high = bounds.low, bounds.high
                references[model] = comparisons.reference(model, one.primary, low, high, one.chance, sampling)
        chosen = {condition: one for condition, one in results[model].items() if condition in plain}
        rows["bd"] += equal_rate.bd_rows(model, chosen, plain, rates, sampling)
    best = comparisons.best_reference(references)
    captured: tuple[list[Row], list[Row]] = ([], [])  # rows of `differences` and `verdicts` under conditions of capture
    for model, of_condition in results.items():
        for baseline, of_baseline in ((OWN, references[model]), (BEST, best)):
            if of_baseline is None:
                continue
            own = of_baseline.of == model
            found = comparisons.to_baseline(of_condition, of_baseline, own, sampling)
            shared = (baseline, of_baseline, conditions)
            for differences, verdicts, apart in ((rows["differences"], rows["verdicts"], False), (*captured, True)):
                some = {condition: one for condition, one in found.items() if (condition.codec in grids) == apart}
                differences += comparisons.difference_rows(model, of_condition, some, *shared, metric, sampling)
                verdicts += comparisons.verdict_rows(model, some, *shared, settings["deltas"], sampling)
    rows["limits"] += comparisons.limit_rows(rows["verdicts"], conditions, references, best)
    limits = [*rows["limits"], *comparisons.limit_rows(captured[1], conditions, references, best)]
    rows["capture"] += comparisons.capture_rows(grids, limits, [*rows["differences"], *captured[0]])
    of_primary = [
        row
        for row in rows["metrics"]
        if (row["seed"], row["metric"], row["class"]) == overall and row["codec"] not in grids
    ]
    rows["transfer"] += comparisons.transfer_rows(of_primary)
    rows["held_out"] += comparisons.held_out_rows(results, plain, sampling)
    rows["recovery"] += comparisons.recovery_rows(results, plain, sampling)
    strengths = {condition: row["strength"] for condition, row in conditions.items()}
    about_attacks = [read_meta(path) for path in attacks]
    # A defence is no condition of the study: nothing is tested behind it but attacks.
    defences = {one["codec"]: one["defence"]["title"] for one in about_attacks if one.get("defence")}
    strengths |= {Condition(name, 0.0): 1 for name in defences}
    rows["attacks"], rows["gates"], attacked = robustness.attack_rows(attacks, strengths, task, settings)
    rows["spectra"] += bands.rows(attacks)

    meta: dict[str, Any] = {"task": task.name, "medium": task.medium, "kind": task.kind, "classes": task.classes}
    about = read_meta(data[0])
    meta |= {"compressed_before": about.get("compressed_before", []), "card": _card(data)}
    coded = read_meta(compressed[0])
    meta |= {"fidelity": coded.get("fidelity", "full"), "measures": coded.get("measures", {})}
    meta |= {"lossless": coded.get("lossless")}
    meta |= {"existing": inputs.existing_archs(outcomes)}
    meta |= {"rare": [(name, count) for name, count in support.items() if name and count < FEWEST_OF_CLASS]}
    meta |= {"groups": sampling.groups, "few": sampling.few, "attacked": attacked}
    meta |= {"folds": 0 if task.folds is None else int(task.folds.max()) + 1}
    meta |= {"settings": settings, "attack": about_attacks[0].get("settings") if attacks else None}
    meta |= {"defences": defences, "grids": grids}
    for name, content in rows.items():
        tables.write(out, name, content, meta)


def _card(data: list[Path]) -> dict[str, str]:
    """The card of the items. What it says of those that were read, it says of each look where there are several."""
    first, *further = cards = [read_meta(path).get("card", {}) for path in data]
    read = [key for key in ("groups", "left_out") if further and any(key in card for card in cards)]
    return first | {
        key: "; ".join(f"look {look}: {card[key]}" for look, card in enumerate(cards, start=1) if key in card)
        for key in read
    }


class _Measured(NamedTuple):
    """All metrics of one model at one condition.

    names: the (metric, class) of each. found: of each seed and of ALL_SEEDS, what the metrics are. primary: the primary
    one. chance: (seeds,), the primary metric without seeing the originals. support: of each class and of "", the test
    items, or true objects in detection.
    """

    names: list[tuple[str, str]]
    found: dict[int, list[Estimate]]
    primary: Primary
    chance: np.ndarray
    support: dict[str, int]


def _classifier(
    of_codec: dict[str, dict[int, list[Path]]], conditions: dict[Condition, Row], task: TestSet, sampling: Sampling
) -> Iterator[tuple[Condition, _Measured]]:
    """All conditions of one classification model."""
    names = label_metrics.names(task.labels, task.classes)
    drawn = [unit.total(np.ones(sampling.n)) for unit in sampling.units]
    for condition, by_seed in _loaded(of_codec, conditions, task, inputs.read_classification):
        seeds, predictions = tuple(by_seed), np.stack(list(by_seed.values()))
        found = {
            seed: label_metrics.estimates(task.labels, predictions[chosen], sampling)
            for seed, chosen in _choices(seeds).items()
        }
        right = predictions == task.labels
        samples = [
            [unit.total(one) / total for unit, total in zip(sampling.units, drawn, strict=True)] for one in right
        ]
        primary = Primary(seeds, right.mean(axis=1), np.array(samples), right)
        guessing = np.full(len(seeds), chance(task.labels, len(task.classes)))
        yield condition, _Measured(names, found, primary, guessing, _support(task.labels, task))


def _detector(
    of_codec: dict[str, dict[int, list[Path]]], conditions: dict[Condition, Row], task: TestSet, sampling: Sampling
) -> Iterator[tuple[Condition, _Measured]]:
    """All conditions of one detection model; the original comes first and sets each seed's score threshold."""
    thresholds: dict[int, float] = {}
    blind: dict[int, float] = {}
    original: box_metrics.Frames | None = None
    for condition, by_seed in _loaded(of_codec, conditions, task, inputs.read_detection):
        measured = []
        for seed, frames in by_seed.items():
            original = original or frames
            inputs.check_truth(of_codec[condition.codec][seed], frames, original)
            matches = box_metrics.match(frames, len(task.ids))
            if seed not in thresholds:
                thresholds[seed] = box_metrics.best_threshold(matches)
                blind[seed] = box_metrics.plain_map50(box_metrics.unseen(frames, sampling.seed))
            measured.append(box_metrics.measure(matches, thresholds[seed], sampling))
        names = box_metrics.names(matches.classes, task.classes)
        seeds, at = tuple(by_seed), names.index((box_metrics.PRIMARY, ""))
        found = {seed: box_metrics.estimates(measured[chosen], sampling) for seed, chosen in _choices(seeds).items()}
        values = np.array([one.values[at] for one in measured])
        primary = Primary(seeds, values, np.stack([one.primary for one in measured]), None)
        guessing = np.array(list(blind.values()))
        yield condition, _Measured(names, found, primary, guessing, _support(frames.true_labels, task))


def _choices(seeds: tuple[int, ...]) -> dict[int, slice]:
    """The places of each seed, and of ALL_SEEDS."""
    return {seed: slice(place, place + 1) for place, seed in enumerate(seeds)} | {ALL_SEEDS: slice(None)}


def _support(labels: np.ndarray, task: TestSet) -> dict[str, int]:
    """How often each class, and "" for any, is among the `labels` (n,)."""
    counts = np.bincount(labels, minlength=len(task.classes)).tolist()
    return {"": len(labels), **dict(zip(task.classes, counts, strict=True))}


def _loaded(
    of_codec: dict[str, dict[int, list[Path]]],
    conditions: dict[Condition, Row],
    task: TestSet,
    read: Callable[[list[Path], list[float], TestSet], dict[float, Any]],
) -> Iterator[tuple[Condition, dict[int, Any]]]:
    """Each condition, the original first, with what `read` made of each seed's outcomes."""
    for codec in sorted(of_codec, key=lambda name: (name != ORIGINAL, name)):
        levels = [level for name, level in conditions if name == codec]
        if not levels:
            path, *_ = next(iter(of_codec[codec].values()))
            raise LossyBenchError(f"{path}: codec {codec!r} has no compressed test parts; compress it or leave it out")
        read_seeds = {seed: read(paths, levels, task) for seed, paths in sorted(of_codec[codec].items())}
        for level in levels:
            yield Condition(codec, level), {seed: of_level[level] for seed, of_level in read_seeds.items()}


def _metric_rows(where: Row, measured: _Measured, sampling: Sampling) -> Iterator[Row]:
    """Rows of the table `metrics` of one model at one condition: of each seed, then of all. where: their columns."""
    for seed, found in measured.found.items():
        for (metric, name), one in zip(measured.names, found, strict=True):
            row = {"seed": seed, "metric": metric, "class": name, "value": one.value, "n": sampling.n}
            bounds = {"low": one.interval.low, "high": one.interval.high}
            yield where | row | bounds | {"support": measured.support[name]}
