"""The page of a study from what is there of it, for a study that is not finished, or that failed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lossybench.reporting import page
from lossybench.study import Study, load


def show(config: Path = Path("config.yaml"), /, *, out: Path | None = None) -> str:
    """Write the page of a study from what is there, finished or not, and print where it lies.

    Of a task without results the page says what is missing. Nothing else is made, and no job runs.

    Args:
        config: the study
        out: the page to write, as HTML; the study's own when left out

    Raises:
        LossyBenchError: for a config that is wrong, and for a table that is damaged.
    """
    study = load(config)
    layout, out = study.layout, out or study.layout.report("page")
    page.write(
        [layout.summary(task) for task in study.tasks],
        [layout.timing(task, codec) for task, codec in study.timed],
        [layout.samples(task) for task in study.tasks],
        {"config": study.shown(), "left": {task: "; ".join(_left(study, task)) for task in study.tasks}},
        out,
    )
    return f"{out} (open it in a browser)"


def _left(study: Study, task: str) -> Iterator[str]:
    """What a task still lacks, stage by stage: "3 of 12 test parts compressed"."""
    looks = study.looks(task)
    wanted = {
        "tables of items fetched": study.all_data(task),
        "test parts compressed": [path for look in looks for path in study.all_compressed(task, "test", look)],
        "models there": [study.layout.model_files(model)[0] for model in study.models(task)],
        "tables of outcomes evaluated": [path for look in looks for path in study.all_outcomes(task, look)],
        "tables of attacks made": study.all_attacks(task),
    }
    for what, paths in wanted.items():
        if there := sum(path.exists() for path in paths):
            yield f"{there} of {len(paths)} {what}"
        elif paths:
            yield f"none of {len(paths)} {what}"
    yield "no summary of them"
