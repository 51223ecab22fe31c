"""What Snakemake is about to run, and why: a record beside the results, from which progress and the DAG are told.

Snakemake says why a job runs in a log that nobody keeps, and knows a job by its rule. Here a job has a stage, a task
and a codec. Whether a job has ended is read from its benchmark, which Snakemake writes when a job has succeeded.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lossybench.errors import LossyBenchError, visible

# Why a job runs, in the order in which a reader wants to know: the attribute of Snakemake's reason, and its words.
WHY = {
    "forced": "the command line asked for it",
    "incomplete_output": "it had been interrupted",
    "missing_output": "its output was missing",
    "code": "the code behind it changed",
    "params_changed": "what it was asked to do changed",
    "code_changed": "the text of its rule changed",
    "software_stack_changed": "its software environment changed",
    "input_changed": "it reads other files than before",
    "updated_input": "files that it reads changed",
    "updated_input_run": "what it reads was made anew",
    "other": "Snakemake gave another reason",
}
LONGEST = 300  # characters of Snakemake's own words for a reason


@dataclass(frozen=True)
class Job:
    """A job of a run.

    name: what tells it from others: the path of its log. stage: the file of its rule. task, codec: those that it is
    about, "" where it is about none or several. log, benchmark: files below the results folder, "" where it has none.
    seconds: what it is expected to take on one core. why: {key of WHY: Snakemake's words}, empty for a job whose
    results are used again.
    """

    id: int
    name: str
    stage: str
    task: str
    codec: str
    log: str
    benchmark: str
    seconds: float
    why: dict[str, str]


@dataclass(frozen=True)
class Run:
    """A run of Snakemake: when it began, in seconds of the epoch, on how many cores, and all jobs of its DAG.

    root: the results folder. links: pairs of jobs' ids, of which the second reads what the first made.
    """

    root: Path
    begun: float
    cores: int
    jobs: list[Job]
    links: list[tuple[int, int]]

    @property
    def due(self) -> list[Job]:
        """The jobs that are run."""
        return [job for job in self.jobs if job.why]

    def ended(self, job: Job) -> bool:
        """Whether a job has succeeded in this run."""
        with contextlib.suppress(OSError):
            return bool(job.benchmark) and (self.root / job.benchmark).stat().st_mtime >= self.begun
        return False

    def began(self, job: Job) -> bool:
        """Whether a job has printed anything in this run, or opened its log for that."""
        with contextlib.suppress(OSError):
            return bool(job.log) and (self.root / job.log).stat().st_mtime >= self.begun
        return False

    def said(self, job: Job) -> str:
        """The last line of what a job printed in this run, such as why it failed; "" where it printed none."""
        with contextlib.suppress(OSError):
            return last_line(self.root / job.log) if self.began(job) else ""
        return ""

    def write(self, path: Path) -> None:
        """Keep the record at this path."""
        path.parent.mkdir(parents=True, exist_ok=True)
        stored = {key: value for key, value in asdict(self).items() if key != "root"}
        path.write_text(json.dumps(stored, separators=(",", ":")))


def read(root: Path, path: Path) -> Run:
    """The record at this path, of a run whose results lie in `root`.

    Raises LossyBenchError where there is none, and for a file that is none.
    """
    try:
        stored = json.loads(path.read_bytes())
        jobs = [Job(**job) for job in stored["jobs"]]
        links = [(int(before), int(after)) for before, after in stored["links"]]
        return Run(root, float(stored["begun"]), int(stored["cores"]), jobs, links)
    except FileNotFoundError:
        raise LossyBenchError(f"{path}: no run is recorded here; give the results folder of a study that ran") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise LossyBenchError(f"{path}: is not as a run writes it ({error}); the next run writes it anew") from None


def of_dag(
    dag: Any, root: Path, codecs: Mapping[str, Collection[str]], expected: Mapping[str, float], begun: float, cores: int
) -> Run:
    """What Snakemake has decided to run.

    dag: Snakemake's. root: the results folder. codecs: {task: its codecs}. expected: {stage: seconds that a job takes},
    which a job's own time in an earlier run replaces. begun, cores: as `Run` has them.
    """
    ids, found = {}, []
    for job in dag.jobs:
        if not job.log:  # the target, which makes nothing
            continue
        ids[job] = int(dag.jobid(job))
        log = _below(root, job.log[0])
        name = "/".join(part for part in log.removesuffix(".log").split("/") if part != "logs")
        parts = name.split("/")
        task = next((part for part in parts if part in codecs), "")
        # The codec comes after all else that may have the same name, such as an architecture.
        codec = next((part for part in reversed(parts) if part in codecs.get(task, ())), "")
        stage, benchmark = Path(job.rule.snakefile).stem, _below(root, job.benchmark or "")
        seconds = taken([root / benchmark]) or expected.get(stage, 0.0)
        why = _why(job, dag.reason(job)) if dag.needrun(job) else {}
        found.append(Job(ids[job], name, stage, task, codec, log, benchmark, seconds, why))
    links = [(ids[before], ids[job]) for job in ids for before in _before(dag, job, ids)]
    return Run(root, begun, cores, found, links)


def in_order(run: Run, jobs: Iterable[Job]) -> list[str]:
    """The stages of these `jobs` of a run, in the order in which the last job of each can start."""
    before = defaultdict(list)
    for first, second in run.links:
        before[second].append(first)

    @functools.cache
    def depth(job: int) -> int:
        return 1 + max(map(depth, before[job]), default=0)

    found: dict[str, int] = {}
    for job in jobs:
        found[job.stage] = max(depth(job.id), found.get(job.stage, 0))
    return sorted(found, key=lambda stage: (found[stage], stage))


def taken(benchmarks: Iterable[Path]) -> float:
    """The seconds that jobs took, by their benchmarks; those that are missing or damaged count as none."""
    total = 0.0
    for path in benchmarks:
        with contextlib.suppress(OSError, ValueError, KeyError, StopIteration), path.open(newline="") as file:
            total += float(next(csv.DictReader(file, delimiter="\t"))["s"])
    return total


def last_line(path: Path, tail: int = 2000) -> str:
    """The last line with any text in the last `tail` bytes of a file, of a bar its last state. Raises OSError."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - tail))
        return re.split(r"[\r\n]+", file.read().decode(errors="replace").rstrip())[-1]


def _before(dag: Any, job: Any, known: Collection[Any]) -> Iterator[Any]:
    """The jobs of which a job reads what they made, through those that are not `known`, such as marks."""
    for before in dag.job_dependencies(job):
        if before in known:
            yield before
        else:
            yield from _before(dag, before, known)


def _below(root: Path, path: object) -> str:
    """A file's path below the results folder; as it is where it lies elsewhere, such as on a cluster's storage."""
    with contextlib.suppress(ValueError):
        return Path(str(path)).relative_to(root).as_posix() if path else ""
    return str(path)


def _why(job: Any, reason: Any) -> dict[str, str]:
    """The reasons for which a job runs, {key of WHY: details}."""
    found = {}
    for key in WHY:
        said = getattr(reason, key, None)
        if said:
            listed = "" if said is True else ", ".join(sorted(map(str, said)))
            found[key] = listed
    if found.get("params_changed") is not None:
        changed = reason.params_changed
        found["params_changed"] = f"before: {', '.join(changed.only_old)}; now: {', '.join(changed.only_new)}"
        # The fingerprint of the code is a parameter like others, so that Snakemake notices it.
        code = repr(job.params.get("code"))
        if code in changed.only_new:
            found["code"] = ""
            if len(changed.only_new) == len(changed.only_old) == 1:
                del found["params_changed"]
    if reason.updated_input and reason.updated_input <= reason.updated_input_run:
        found.pop("updated_input", None)
    found = found or {"other": str(reason)}
    return {key: _short(found[key]) for key in WHY if key in found}


def _short(text: str) -> str:
    text = visible(text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} [...] {text[-LONGEST // 2 :]}"
