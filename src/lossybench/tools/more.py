"""The next look of a study that tests on a growing test split: which tasks need it, and taking it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lossybench.analysis.comparisons import OWN
from lossybench.artifacts import read_meta, read_table, write_json
from lossybench.conditions import ORIGINAL, level_text
from lossybench.errors import LossyBenchError
from lossybench.study import Study, load

SHOWN = 6  # the undecided rows of a task that are named


def more(config: Path = Path("config.yaml"), /) -> str:
    """Let the test split of each task with undecided limits grow to its next look.

    A limit is undecided where, at the middle delta and for a model trained on originals, it is inconclusive, or stops
    at a level that is. Nothing is computed here: the look is noted beside the results, and the next run of the study
    tests on the test items that it adds.

    Args:
        config: the study, whose summaries must be of its present looks

    Raises:
        LossyBenchError: for a config that is wrong, and for a summary that is missing or of another look.
    """
    study = load(config)
    taken = {task: {"look": look, "looks": planned} for task, (look, planned) in study.layout.looks().items()}
    before, lines = dict(taken), []
    for task in study.tasks:
        planned, look = study.task(task).looks, study.looks(task)[-1]
        if not planned:
            lines.append(f"{task}: has no `looks`, so its test split stays as it is")
        elif not (undecided := _undecided(study, task)):
            lines.append(f"{task}: nothing is undecided at look {look} of {len(planned)}")
        else:
            rows = f"{len(undecided)} limit{'s' * (len(undecided) > 1)} undecided: {', '.join(undecided[:SHOWN])}"
            rows += f" and {len(undecided) - SHOWN} more" * (len(undecided) > SHOWN)
            if look == len(planned):
                lines.append(f"{task}: no look is left after {planned[-1]:,} test items ({rows})")
                continue
            taken[task] = {"look": look + 1, "looks": planned}
            grown = f"{planned[look]:,} test items instead of {planned[look - 1]:,}"
            lines.append(f"{task}: look {look + 1} of {len(planned)}, {grown} ({rows})")
    if taken == before:
        return "\n".join([*lines, "No test split grows."])
    write_json(study.layout.state, taken)
    return "\n".join([*lines, "Now run the same snakemake command again: it makes what the new test items need."])


def _undecided(study: Study, task: str) -> list[str]:
    """The undecided rows of the table `limits` in words.

    Raises LossyBenchError for a table that is missing, and for one that is not of the present look.
    """
    path = study.layout.summary(task, "limits")
    if not path.exists():
        raise LossyBenchError(f"{path}: is not there yet; run snakemake first, as `more` goes by what it finds")
    settings: dict[str, Any] = read_meta(path)["settings"]
    if {name: settings.get(name) for name in ("look", "looks", "deltas")} != {
        "look": study.looks(task)[-1],
        "looks": study.task(task).looks,
        "deltas": study.config.deltas,
    }:
        raise LossyBenchError(f"{path}: is not of the present look and config; run snakemake first")
    deltas = sorted(set(study.config.deltas))
    middle, found = deltas[len(deltas) // 2], []
    for row in read_table(path).to_pylist():
        if (row["regime"], row["baseline"], row["delta"]) == (ORIGINAL, OWN, middle):
            at = "" if row["stopped_at"] is None else f" {level_text(row['stopped_at'])}"
            if "inconclusive" in (row["verdict"], row["stopped_verdict"]):
                found.append(f"{row['arch']} behind {row['codec']}{at}")
    return found
