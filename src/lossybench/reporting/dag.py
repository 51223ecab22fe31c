"""The jobs of the last run by stage and codec: which ran and why, which were used again, and what they took.

A study has hundreds of jobs, of which Snakemake's own DAG is a node each. Here a node is all jobs of a stage and codec.
"""

from __future__ import annotations

import datetime
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lossybench.artifacts import publish
from lossybench.errors import visible
from lossybench.reporting.templating import environment
from lossybench.runs import WHY, Job, Run, in_order, taken

# What became of a job in the last run.
RAN, AGAIN, FAILED, NOT_REACHED = "ran", "used again", "did not finish", "not reached"
STATES = (RAN, AGAIN, FAILED, NOT_REACHED)
_COLUMN, _ROW, _LEFT, _TOP = 118, 46, 96, 34  # of the drawing, in pixels
_BOX = (98, 34)


class _Counted(NamedTuple):
    """Jobs together. states: how many became what. seconds: what those took that ran; earlier: of those used again."""

    states: Counter[str]
    seconds: float
    earlier: float


def write(run: Run, out: Path) -> None:
    """Write the page on a run. out: the file, HTML."""
    state = {job.id: state_of(run, job) for job in run.jobs}
    stages = in_order(run, run.jobs)
    tasks = sorted({job.task for job in run.jobs if job.task})
    why = defaultdict(list)
    for job in run.due:
        why[next(iter(job.why))].append(job)
    ended = [_ended(run, job) for job in run.jobs if state[job.id] == RAN]
    text = (
        environment(duration=duration)
        .get_template("dag.html.j2")
        .render(
            began=datetime.datetime.fromtimestamp(run.begun, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S"),
            lasted=max(ended) - run.begun if ended else 0.0,
            cores=run.cores,
            states=STATES,
            whole=_counted(run, run.jobs, state),
            stages=[(stage, _counted(run, (job for job in run.jobs if job.stage == stage), state)) for stage in stages],
            why=[(WHY[key], len(jobs), _stages(jobs, stages)) for key, jobs in sorted(why.items(), key=_rank)],
            drawings=[("all tasks", _drawing(run, run.jobs, state))]
            + [(task, _drawing(run, [job for job in run.jobs if job.task == task], state)) for task in tasks],
            jobs=[
                (job, state[job.id], [(WHY[key], said) for key, said in job.why.items()], _seconds(run, job, state))
                for job in sorted(run.due, key=lambda job: (stages.index(job.stage), job.name))
            ],
            said={job.id: visible(run.said(job)) for job in run.jobs if state[job.id] == FAILED},
        )
    )
    with publish(out) as aside:
        aside.write_text(text, "utf-8")


def state_of(run: Run, job: Job) -> str:
    """What became of a job in its run, one of STATES. A job that runs at the moment is one that did not finish."""
    if not job.why:
        return AGAIN
    return RAN if run.ended(job) else FAILED if run.began(job) else NOT_REACHED


def duration(seconds: float) -> str:
    """Seconds in words, to two digits or so."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _rank(reason: tuple[str, list[Job]]) -> int:
    return list(WHY).index(reason[0])


def _stages(jobs: Sequence[Job], stages: Sequence[str]) -> list[tuple[str, int]]:
    count = Counter(job.stage for job in jobs)
    return [(stage, count[stage]) for stage in stages if stage in count]


def _ended(run: Run, job: Job) -> float:
    return (run.root / job.benchmark).stat().st_mtime


def _benchmarks(run: Run, jobs: Iterable[Job]) -> set[Path]:
    """The measurements of these jobs. Levels of a codec that are there have a job each, but were made by one together,
    whose measurement lies where theirs would without the level."""
    found = set()
    for job in jobs:
        path = run.root / job.benchmark
        if job.benchmark and not path.exists():
            path = path.parent.with_name(path.name)
        found.add(path)
    return found


def _seconds(run: Run, job: Job, state: dict[int, str]) -> float | None:
    return taken([run.root / job.benchmark]) if state[job.id] == RAN else None


def _counted(run: Run, jobs: Iterable[Job], state: dict[int, str]) -> _Counted:
    of_state = defaultdict(list)
    for job in jobs:
        of_state[state[job.id]].append(job)
    count = Counter({name: len(found) for name, found in of_state.items()})
    ran = {run.root / job.benchmark for job in of_state[RAN]}
    return _Counted(count, taken(ran), taken(_benchmarks(run, of_state[AGAIN]) - ran))


def _drawing(run: Run, jobs: Sequence[Job], state: dict[int, str]) -> dict[str, Any]:
    """The graph of some jobs: a column per stage, a row per codec, the first of which is of no codec alone.

    Returned are its size, and its nodes and links with their places.
    """
    stages, of_node = in_order(run, jobs), defaultdict(list)
    node = {job.id: (job.stage, job.codec) for job in jobs}
    for job in jobs:
        of_node[node[job.id]].append(job)
    codecs = sorted({codec for _, codec in of_node})
    codecs.sort(key=lambda codec: (codec != "", codec != "original"))

    def place(name: tuple[str, str]) -> tuple[int, int]:
        return _LEFT + _COLUMN * stages.index(name[0]), _TOP + _ROW * codecs.index(name[1])

    links = Counter(
        (node[first], node[second])
        for first, second in run.links
        if first in node and second in node and node[first] != node[second]
    )
    width, height = _BOX
    return {
        "width": _LEFT + _COLUMN * len(stages),
        "height": _TOP + _ROW * len(codecs),
        "box": _BOX,
        "stages": [(stage, _LEFT + _COLUMN * at + width / 2) for at, stage in enumerate(stages)],
        "codecs": [(codec, _TOP + _ROW * at + height / 2) for at, codec in enumerate(codecs)],
        "nodes": [(*name, *place(name), _counted(run, found, state), _look(found, state))
                  for name, found in of_node.items()],
        "links": [_link(place(first), place(second)) for first, second in sorted(links)],
    }  # fmt: skip


def _link(first: tuple[int, int], second: tuple[int, int]) -> str:
    """The curve from the right of one node to the left of another, as the path of an SVG."""
    (x0, y0), (x1, y1) = first, second
    x0, y0, y1 = x0 + _BOX[0], y0 + _BOX[1] // 2, y1 + _BOX[1] // 2
    return f"M{x0} {y0}C{x0 + 14} {y0} {x1 - 14} {y1} {x1} {y1}"


def _look(jobs: Sequence[Job], state: dict[int, str]) -> str:
    """The state that a node is drawn as: the worst of its jobs, and `ran` where any did."""
    found = {state[job.id] for job in jobs}
    return next(one for one in (FAILED, NOT_REACHED, RAN, AGAIN) if one in found)
