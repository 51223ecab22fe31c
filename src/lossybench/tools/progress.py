"""How far a run is: a line for each stage, and what the logs of running jobs say of themselves.

`snakemake --logger lossybench` (snakemake_logger_plugin_lossybench) shows a `Board` in place of Snakemake's own
messages; any other Snakemake is told how far its jobs are by `tell`.
"""

from __future__ import annotations

import re
import shutil
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from lossybench.errors import visible
from lossybench.runs import Job, Run, in_order, last_line

EVERY = 30.0  # seconds from one line to the next
# A bar of tqdm: "decode:  45%|####    | 812/1840 [00:34<00:41, 23.5item/s]".
_BAR = re.compile(r"(?P<percent>\d+)%\|[^|]*\| *\S+ \[[^<]*<(?P<left>[\d:?]+)[^]]*\]?$")
current: Run | None = None  # the run of this process, once Snakemake has decided what to run


def running(logs: Path, since: float) -> Iterator[tuple[str, str, str]]:
    """The jobs with an unfinished bar: the job, as its log's path says it, the percent done and the time left.

    logs: the folder of all logs. since: when the run began, in seconds of the epoch; older logs are of earlier runs.
    """
    for path in sorted(logs.rglob("*.log")):
        if found := _bar(path, since):
            yield str(path.relative_to(logs).with_suffix("")), found["percent"], found["left"]


def _bar(path: Path, since: float) -> re.Match[str] | None:
    """The unfinished bar at the end of a log that was written since then."""
    try:
        if path.stat().st_mtime < since:
            return None
        found = _BAR.search(last_line(path))
    except OSError:  # it was removed meanwhile
        return None
    return found if found and found["percent"] != "100" else None


def line(logs: Path, since: float) -> str:
    """What `running` finds as one line; "" where no job tells."""
    return "; ".join(
        f"{job} {percent} %{'' if '?' in left else f', {left} left'}" for job, percent, left in running(logs, since)
    )


def tell(logs: Path, since: float) -> None:
    """Print such a line to stderr every `EVERY` seconds, where it says something new, until the process ends."""

    def go_on() -> None:
        said, pause = "", threading.Event()
        while not pause.wait(EVERY):
            if (text := line(logs, since)) not in ("", said):
                said = text
                print(f"Running: {text}", file=sys.stderr, flush=True)

    threading.Thread(target=go_on, daemon=True).start()


class Board:
    """The state of a run: which of its jobs run, have ended or failed.

    run: the run. It is not made for several threads at a time.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.jobs = {job.id: job for job in run.due}
        self.started: dict[int, float] = {}
        self.ended: dict[int, float] = {}  # seconds that each took
        self.failed: set[int] = set()
        self.stages = in_order(run, run.due)

    def start(self, job: int) -> None:
        """A job has started, again if it had failed before."""
        if job in self.jobs:
            self.started[job] = time.time()
            self.failed.discard(job)

    def end(self, job: int) -> None:
        """A job has succeeded."""
        if job in self.jobs:
            self.ended[job] = time.time() - self.started.get(job, time.time())

    def fail(self, job: int) -> str:
        """A job has failed: the line that says which, why, and where its log is; "" if that is known already."""
        if job not in self.jobs or job in self.failed:
            return ""
        self.failed.add(job)
        of = self.jobs[job]
        why, log = self.run.said(of) or "it printed nothing", self.run.root / of.log
        if "%|" in why:  # a bar
            why = f"it ended without a word after {why}"
        return f"FAILED {visible(of.name)}: {visible(why)} (log: {visible(log)})"

    def state(self, stage: str) -> tuple[bool, bool, int]:
        """Whether a stage has begun, whether nothing of it is left or running, and how many of its jobs failed."""
        jobs = [job.id for job in self.jobs.values() if job.stage == stage]
        over = self.ended.keys() | self.failed
        return any(job in self.started for job in jobs), over.issuperset(jobs), len(self.failed.intersection(jobs))

    def to_go(self, jobs: list[Job]) -> float:
        """The seconds until these jobs are done, if all cores worked on them alone and no job on two cores.

        A job is expected to take what was planned, times how much longer than planned its stage's jobs took so far.
        """
        took: dict[str, float] = defaultdict(float)
        planned: dict[str, float] = defaultdict(float)
        for job, seconds in self.ended.items():
            took[self.jobs[job].stage] += seconds
            planned[self.jobs[job].stage] += self.jobs[job].seconds
        now, left = time.time(), [0.0]
        for one in jobs:
            if one.id not in self.ended and one.id not in self.failed:
                slower = took[one.stage] / planned[one.stage] if planned[one.stage] else 1.0
                left.append(max(0.0, one.seconds * slower - (now - self.started.get(one.id, now))))
        return max(sum(left) / self.run.cores, *left)

    def line(self, stage: str | None = None) -> str:
        """Of a stage, or of the whole run: jobs done, running and left, what failed, and the time to go."""
        jobs = [job for job in self.jobs.values() if stage in (None, job.stage)]
        count = Counter(self._now(job.id) for job in jobs)
        text = f"{stage or 'all':12} {count['done']:4} of {len(jobs)} done"
        text += f", {count['running']} running, {count['left']} left"
        if count["failed"]:
            text += f", {count['failed']} FAILED"
        left = self.to_go(jobs)  # nothing, where what runs has taken longer than expected
        return f"{text}, about {duration(left)} to go" if left >= 1 else text

    def bars(self) -> list[str]:
        """A line for each running job which says how far it is."""
        found = []
        for job in self.jobs.values():
            if self._now(job.id) == "running" and (bar := _bar(self.run.root / job.log, self.run.begun)):
                left = "" if "?" in bar["left"] else f", {bar['left']} left"
                found.append(f"{visible(job.name)} {bar['percent']} %{left}")
        return found

    def lines(self) -> list[str]:
        """A line for each stage, one for the whole, and one for each running job that says how far it is."""
        return [*map(self.line, self.stages), self.line(), *(f"    {bar}" for bar in self.bars())]

    def _now(self, job: int) -> str:
        if job in self.failed:
            return "failed"
        return "done" if job in self.ended else "running" if job in self.started else "left"


class Screen:
    """Where a board is shown: redrawn in place on a terminal, else the lines that changed.

    stream: what is written to, stderr by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.terminal = self.stream.isatty()
        self.drawn = 0  # lines of the board on the terminal now

    def say(self, text: str) -> None:
        """Print a message above the board."""
        self._clear()
        self._write(f"{text}\n")

    def draw(self, lines: list[str]) -> None:
        """Show the board anew on a terminal."""
        self._clear()
        size = shutil.get_terminal_size()
        fitting = [one[: size.columns - 1] for one in lines[: size.lines - 1]]
        self._write("".join(f"{one}\n" for one in fitting))
        self.drawn = len(fitting)

    def _clear(self) -> None:
        if self.drawn:
            self._write(f"\x1b[{self.drawn}A\x1b[J")
            self.drawn = 0

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


def duration(seconds: float) -> str:
    """Seconds in words, to two digits at most."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
