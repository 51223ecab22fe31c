"""The aggregate stage: per-item outcomes of one task in, all its summary tables out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from lossybench.analysis import box_metrics, label_metrics, robustness, tables
from lossybench.analysis.comparisons import (
    Primary,
    Results,
    bd_rows,
    difference_rows,
    limit_rows,
    recovery_rows,
    to_original,
    transfer_rows,
    verdict_rows,
)
from lossybench.analysis.intervals import Z_TWO_SIDED, Resamples, all_agree, quantiles, wilson
from lossybench.analysis.outcomes import (
    Row,
    TestSet,
    Trained,
    check_truth,
    outcome_files,
    read_classification,
    read_conditions,
    read_detection,
    read_task,
)
from lossybench.artifacts import read_meta
from lossybench.conditions import ORIGINAL, Condition
from lossybench.errors import LossyBenchError

ALL_SEEDS = -1


def aggregate(
    data: Path,
    compressed: list[Path],
    outcomes: list[Path],
    settings: dict[str, Any],
    out: Path,
    attacks: Sequence[Path] = (),
) -> None:
    """Turn the outcomes of a task into metrics, intervals, limits and attack tables.

    All tables of `tables.SCHEMAS` are written; those without rows are empty.

    Args:
        data: the table that fetch made
        compressed: all test parts, one a codec and level; they say which conditions the study has
        outcomes: all tables that evaluate made: of every model one for each codec, `original` always among them
        settings: deltas (points), bootstrap (resamples) and seed
        out: the folder to write
        attacks: all tables that attack made

    Raises:
        LossyBenchError: naming the file, for outcomes that lack a level or an item, hold NaN or other items than the
            data's test split, and for models that lack an outcome.
    """
    task = read_task(data)
    resamples = Resamples.draw(len(task.ids), settings["bootstrap"], settings["seed"])
    conditions = read_conditions(compressed, task)
    metric = label_metrics.PRIMARY if task.kind == "classification" else box_metrics.PRIMARY

    rows: dict[str, list[Row]] = {name: [] for name in tables.SCHEMAS}
    rows["conditions"] += conditions.values()
    results: Results = {}
    for model, of_codec in tqdm(outcome_files(outcomes, task).items(), "aggregate", unit="model"):
        measured = _classifier if task.kind == "classification" else _detector
        results[model] = {}
        for condition, seeds, names, values, samples, right in measured(of_codec, conditions, task, resamples):
            rows["metrics"] += _metric_rows(
                model, conditions[condition], seeds, names, values, samples, task, resamples
            )
            at = names.index((metric, ""))
            # Copied, so that the samples of the other metrics can go.
            results[model][condition] = Primary(seeds, values[:, at].copy(), samples[:, at].copy(), right)
        found = to_original(results[model], resamples)
        rows["differences"] += difference_rows(model, results[model], found, conditions, metric, len(task.ids))
        rows["verdicts"] += verdict_rows(model, found, conditions, settings["deltas"], len(task.ids))
        rows["bd"] += bd_rows(model, results[model], conditions)
    rows["limits"] += limit_rows(rows["verdicts"], conditions, results)
    overall = (ALL_SEEDS, metric, "")
    rows["transfer"] += transfer_rows([r for r in rows["metrics"] if (r["seed"], r["metric"], r["class"]) == overall])
    rows["recovery"] += recovery_rows(results, conditions, resamples)
    strengths = {condition: row["strength"] for condition, row in conditions.items()}
    rows["attacks"], rows["gates"] = robustness.attack_rows(attacks, strengths, len(task.classes), task.kind, settings)

    meta: dict[str, Any] = {"task": task.name, "medium": task.medium, "kind": task.kind, "classes": task.classes}
    about = read_meta(data)
    meta |= {"compressed_before": about.get("compressed_before", []), "card": about.get("card", {})}
    meta |= {"settings": settings, "attack": read_meta(attacks[0]).get("settings") if attacks else None}
    for name, content in rows.items():
        tables.write(out, name, content, meta)


# condition; seeds; (metric, class) of each value; values (seeds, metrics); samples (seeds, metrics, resamples);
# right: bool (seeds, n), None in detection
Measured = tuple[Condition, tuple[int, ...], list[tuple[str, str]], np.ndarray, np.ndarray, np.ndarray | None]


def _classifier(
    of_codec: dict[str, dict[int, Path]], conditions: dict[Condition, Row], task: TestSet, resamples: Resamples
) -> Iterator[Measured]:
    """All conditions of one classification model."""
    names = label_metrics.names(task.labels, task.classes)
    for condition, seeds, predictions in _loaded(of_codec, conditions, task, read_classification):
        each = [label_metrics.measure(task.labels, one, resamples) for one in predictions]
        right = np.stack(predictions) == task.labels
        yield condition, seeds, names, np.stack([v for v, _ in each]), np.stack([s for _, s in each]), right


def _detector(
    of_codec: dict[str, dict[int, Path]], conditions: dict[Condition, Row], task: TestSet, resamples: Resamples
) -> Iterator[Measured]:
    """All conditions of one detection model; the original comes first and sets each seed's score threshold."""
    thresholds: list[float] = []
    original: box_metrics.Frames | None = None
    for condition, seeds, frames in _loaded(of_codec, conditions, task, read_detection):
        matches = [box_metrics.match(one, len(task.ids)) for one in frames]
        original = original or frames[0]
        thresholds = thresholds or [box_metrics.best_threshold(one) for one in matches]
        for seed, one in zip(seeds, frames, strict=True):
            check_truth(of_codec[condition[0]][seed], one, original)
        each = [
            box_metrics.measure(one, match, threshold, resamples)
            for one, match, threshold in zip(frames, matches, thresholds, strict=True)
        ]
        names = box_metrics.names(matches[0].classes, task.classes)
        yield condition, seeds, names, np.stack([v for v, _ in each]), np.stack([s for _, s in each]), None


def _loaded(
    of_codec: dict[str, dict[int, Path]],
    conditions: dict[Condition, Row],
    task: TestSet,
    read: Callable[[Path, list[float], TestSet], dict[float, Any]],
) -> Iterator[tuple[Condition, tuple[int, ...], list[Any]]]:
    """Condition, seeds, and what `read` made of each seed's outcomes; the original first."""
    for codec in sorted(of_codec, key=lambda name: (name != ORIGINAL, name)):
        levels = [level for name, level in conditions if name == codec]
        if not levels:
            path = next(iter(of_codec[codec].values()))
            raise LossyBenchError(
                f"{path}: codec {codec!r} has no compressed test parts here; compress it or leave it out"
            )
        by_seed = {seed: read(path, levels, task) for seed, path in sorted(of_codec[codec].items())}
        for level in levels:
            yield Condition(codec, level), tuple(by_seed), [of_level[level] for of_level in by_seed.values()]


def _metric_rows(
    model: Trained,
    condition: Row,
    seeds: tuple[int, ...],
    names: list[tuple[str, str]],
    values: np.ndarray,
    samples: np.ndarray,
    task: TestSet,
    resamples: Resamples,
) -> Iterator[Row]:
    """Rows of the table `metrics`: of each seed, then of all. For the arrays see `Measured`."""
    n = len(task.ids)
    sizes = (
        dict(zip(task.classes, np.bincount(task.labels, minlength=len(task.classes)), strict=True))
        if (task.kind == "classification")
        else {}
    )
    of_seed = [
        *zip(seeds, values, samples, strict=True),
        (ALL_SEEDS, values.mean(axis=0), resamples.over_seeds(samples)),
    ]
    for seed, value_of, sample_of in of_seed:
        lows, highs = quantiles(sample_of, (0.025, 0.975))
        for (metric, name), value, low, high in zip(names, value_of, lows, highs, strict=True):
            if (metric, task.kind) == ("accuracy", "classification"):
                score = wilson(value * n, n)
                several = seed == ALL_SEEDS and len(seeds) > 1
                low, high = (min(low, score[0]), max(high, score[1])) if several else score
            elif low == high:
                # No resample differs: the bootstrap is blind, not certain. Of shares 0 and 1 this is Wilson's interval.
                reach = all_agree(int(sizes.get(name, n)), Z_TWO_SIDED)
                low, high = max(value - reach, 0.0), min(value + reach, 1.0)
            yield {
                "arch": model[0],
                "regime": model[1],
                "seed": seed,
                **{key: condition[key] for key in ("codec", "level", "strength")},
                "metric": metric,
                "class": name,
                "value": value,
                "low": low,
                "high": high,
                "n": n,
            }
