"""The aggregate stage turns the outcomes of one task, item by item, into all its summary tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from lossybench import tasks
from lossybench.analysis import bands, comparisons, equal_rate, gaps, identification, robustness, subgroups, tables
from lossybench.analysis import outcomes as inputs
from lossybench.analysis.comparisons import BEST, OWN, Reference
from lossybench.analysis.measured import ALL_SEEDS, Measured, Settled
from lossybench.analysis.outcomes import Row, TestSet, Trained
from lossybench.analysis.own_answers import Answers
from lossybench.analysis.sampling import Sampling
from lossybench.analysis.subgroups import Groups
from lossybench.artifacts import read_meta
from lossybench.conditions import ORIGINAL, REFERENCE, Condition
from lossybench.enough import FEWEST_OF_CLASS
from lossybench.errors import LossyBenchError, naming
from lossybench.tasks.task_kind import TaskKind


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
            without looks); by, what losses are told apart by, where the study names it; and where models are judged by
            their own answers on originals, truth, one of the kind's `own_answers`, and truth_score, the least score of
            an answer that counts
        out: the folder to write
        attacks: all tables that attack made

    Raises:
        LossyBenchError: naming the file, for outcomes that lack a level or an item, hold NaN or other items than the
            data's test split, for models that lack an outcome, and for `by` that tells nothing apart.
    """
    kind = tasks.kind_class(read_meta(data[0])["kind"])
    task = inputs.read_task(data, kind.truth.names)
    how_told = settings.get("rate", "file"), settings.get("titles", {})
    conditions, of_items = inputs.read_conditions(compressed, task, *how_told)
    how = (settings["bootstrap"], settings["seed"], settings.get("alpha", 0.05))
    # Under a condition of capture a codec is no further codec that one might choose, and is judged apart.
    grids = settings.get("grids", {})
    plain = {condition: row for condition, row in conditions.items() if condition.codec not in grids}
    codecs = {condition.codec for condition in plain} - {ORIGINAL}
    sampling = Sampling.draw(len(task.ids), task.groups, *how, family=max(len(codecs), 1), folds=task.folds)
    rates = {one: np.stack([unit.mean(each) for unit in sampling.units]) for one, each in of_items.items()}
    judge = _judge(kind, settings)
    metric = judge.metrics[0].name
    overall = (ALL_SEEDS, metric, "")

    # What is true of items is nothing by which to tell a model's own answers apart.
    tells = kind.tells if judge is kind else ()
    asked, classes = settings.get("by"), judge is kind and subgroups.CLASS not in tells
    by_class = classes and (asked is None or subgroups.CLASS in asked)
    of_rows = (row for some in task.truth.to_batches(max_chunksize=10_000) for row in some.to_pylist())
    labels = [kind.labels(row) for row in of_rows] if by_class else []
    by = subgroups.wanted(task, labels, asked, tells)
    parts = subgroups.parts(task, labels, [name for name in by if name not in tells])
    within = [name for name in by if name in tells]

    rows: dict[str, list[Row]] = {name: [] for name in tables.SCHEMAS}
    rows["conditions"] += conditions.values()
    results: comparisons.Results = {}
    references: dict[Trained, Reference] = {}
    files, about = inputs.outcome_files(outcomes, task), read_meta(data[0])
    for model, of_codec in tqdm(files.items(), "aggregate", unit="model"):
        results[model] = {}
        for condition, one, settled, apart in measured(kind, of_codec, conditions, within, task, sampling, judge):
            here = comparisons.where(model, conditions[condition])
            rows["metrics"] += _metric_rows(here, one, sampling)
            results[model][condition] = one.primary
            groups = {**subgroups.of_parts(parts, one.primary, one.compute, sampling), **apart}
            if condition == REFERENCE:
                uncompressed = groups, one.primary
            elif condition in plain:
                rows["subgroups"] += subgroups.subgroup_rows(here, uncompressed, (groups, one.primary), by, sampling)
            support = one.support
            if condition == REFERENCE:
                bounds = one.found[ALL_SEEDS][one.names.index((metric, ""))].interval
                low, high = bounds.low, bounds.high
                if judge is not kind:  # a model agrees with itself
                    low = high = one.primary.value
                chance = np.array([settled[seed].chance for seed in one.primary.seeds])
                references[model] = comparisons.reference(model, one.primary, low, high, chance, sampling)
        chosen = {condition: one for condition, one in results[model].items() if condition in plain}
        rows["bd"] += equal_rate.bd_rows(model, chosen, plain, rates, sampling)
    # By its own answers each model is perfect on originals, and no other's.
    best = comparisons.best_reference(references) if judge is kind else None
    captured: tuple[list[Row], list[Row]] = ([], [])  # rows of `differences` and `verdicts` under conditions of capture
    for model, of_condition in results.items():
        for baseline, of_baseline in ((OWN, references[model]), (BEST, best)):
            if of_baseline is None:
                continue
            own = of_baseline.of == model
            found = comparisons.to_baseline(of_condition, of_baseline, own, sampling)
            shared = (baseline, of_baseline, conditions)
            for differences, verdicts, under_capture in (
                (rows["differences"], rows["verdicts"], False),
                (*captured, True),
            ):
                some = {
                    condition: one for condition, one in found.items() if (condition.codec in grids) == under_capture
                }
                differences += comparisons.difference_rows(model, of_condition, some, *shared, sampling)
                verdicts += comparisons.verdict_rows(model, some, *shared, settings["deltas"], sampling)
    rows["limits"] += comparisons.limit_rows(rows["verdicts"], conditions, references, best)
    limits = [*rows["limits"], *comparisons.limit_rows(captured[1], conditions, references, best)]
    rows["capture"] += comparisons.capture_rows(grids, limits, [*rows["differences"], *captured[0]])
    of_primary = [
        row
        for row in rows["metrics"]
        if (row["seed"], row["metric"], row["class"]) == overall and row["codec"] not in grids
    ]
    told = about.get("conditions", [])
    if told and judge is kind:
        rows["identification"] += identification.rows(files, conditions, told, task, sampling)
    rows["transfer"] += comparisons.transfer_rows(of_primary)
    if judge is kind:
        rows["held_out"] += comparisons.held_out_rows(results, plain, sampling)
        rows["gaps"] += gaps.gap_rows(results, plain, sampling)
    strengths = {condition: row["strength"] for condition, row in conditions.items()}
    about_attacks = [read_meta(path) for path in attacks]
    # A defence is no condition of the study: nothing is tested behind it but attacks.
    defences = {one["codec"]: one["defence"]["title"] for one in about_attacks if one.get("defence")}
    strengths |= {Condition(name, 0.0): 1 for name in defences}
    rows["attacks"], rows["gates"], attacked = robustness.attack_rows(attacks, strengths, task, settings)
    rows["spectra"] += bands.rows(attacks)

    meta: dict[str, Any] = {"task": task.name, "medium": task.medium, "kind": task.kind, "classes": task.classes}
    meta |= {"metrics": [dataclasses.asdict(one) for one in judge.metrics], "unit": judge.unit}
    meta |= {"chance_of_data": judge is kind and kind.chance_of_data, "attacked_unit": kind.attacked_unit}
    meta |= {"guessing": judge.guessing}
    meta |= {"own_answers": "" if isinstance(judge, type) else judge.says}
    meta |= {"compressed_before": about.get("compressed_before", []), "card": _card(data), "conditions": told}
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


def _judge(kind: type[TaskKind], settings: Mapping[str, Any]) -> type[TaskKind] | Answers:
    """What judges the outcomes: the kind of task by what is true of the items, or by the models' own answers."""
    truth = settings.get("truth", "labels")
    return kind if truth == "labels" else kind.judged_by(truth, settings["truth_score"])


def _card(data: list[Path]) -> dict[str, str]:
    """The card of the items. What it says of those that were read, it says of each look where there are several."""
    first, *further = cards = [read_meta(path).get("card", {}) for path in data]
    read = [key for key in ("groups", "left_out") if further and any(key in card for card in cards)]
    return first | {
        key: "; ".join(f"look {look}: {card[key]}" for look, card in enumerate(cards, start=1) if key in card)
        for key in read
    }


def measured(
    kind: type[TaskKind],
    of_codec: dict[str, dict[int, list[Path]]],
    conditions: dict[Condition, Row],
    within: list[str],
    task: TestSet,
    sampling: Sampling,
    judge: type[TaskKind] | Answers | None = None,
) -> Iterator[tuple[Condition, Measured, dict[int, Settled], Groups]]:
    """All conditions of one model, the original first, with what that settled for each seed, and with what the kind
    tells apart within items, by what is in `within`.

    of_codec: the model's outcomes by codec and seed. conditions: all that were tested, of which the keys are asked.
    """
    judge = judge or kind
    settled: dict[int, Settled] = {}
    first: Any = None
    for codec in sorted(of_codec, key=lambda name: (name != ORIGINAL, name)):
        levels = [level for name, level in conditions if name == codec]
        if not levels:
            path, *_ = next(iter(of_codec[codec].values()))
            raise LossyBenchError(f"{path}: codec {codec!r} has no compressed test parts; compress it or leave it out")
        found: dict[float, dict[int, Any]] = {level: {} for level in levels}
        for seed, paths in sorted(of_codec[codec].items()):
            outcomes = inputs.read_outcomes(paths, kind.schema, levels, task, kind.per_item)
            for level, of_level in outcomes.items():
                with naming(inputs.named(paths)):
                    found[level][seed] = judge.read(of_level, task, first)
                    first = found[level][seed] if first is None else first
                    if codec == ORIGINAL:
                        settled[seed] = judge.settle(found[level][seed], task, sampling)
        for level in levels:
            here = found.pop(level)
            apart = kind.apart(here, within, task, sampling) if within else {}
            one = judge.measure(here, settled, task, sampling)
            if one.primary.metric.most is None:
                # Where no item shows how bad it can get, an item that is lost is as bad as a guess at least.
                reach = max(one.primary.reach, *(each.chance for each in settled.values()))
                one = dataclasses.replace(one, primary=dataclasses.replace(one.primary, reach=reach))
            yield Condition(codec, level), one, settled, apart


def _metric_rows(where: Row, measured: Measured, sampling: Sampling) -> Iterator[Row]:
    """Rows of the table `metrics` of one model at one condition: of each seed, then of all. where: their columns."""
    for seed, found in measured.found.items():
        for (metric, name), one in zip(measured.names, found, strict=True):
            row = {"seed": seed, "metric": metric, "class": name, "value": one.value, "n": sampling.n}
            bounds = {"low": one.interval.low, "high": one.interval.high}
            yield where | row | bounds | {"support": measured.support[name]}
