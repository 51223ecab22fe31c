"""How far the jobs of a run are, as their logs say, told line by line while Snakemake waits for them."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

EVERY = 30.0  # seconds from one line to the next
TAIL = 2000  # bytes at the end of a log, which hold the last state of its bar
# A bar of tqdm: "decode:  45%|####    | 812/1840 [00:34<00:41, 23.5item/s]".
_BAR = re.compile(r"(?P<percent>\d+)%\|[^|]*\| *\S+ \[[^<]*<(?P<left>[\d:?]+)[^]]*\]?$")


def running(logs: Path, since: float) -> Iterator[tuple[str, str, str]]:
    """The jobs with an unfinished bar: the job, as its log's path says it, the percent done and the time left.

    logs: the folder of all logs. since: when the run began, in seconds of the epoch; older logs are of earlier runs.
    """
    for path in sorted(logs.rglob("*.log")):
        try:
            if path.stat().st_mtime < since:
                continue
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - TAIL))
                last = re.split(r"[\r\n]+", file.read().decode(errors="replace").rstrip())[-1]
        except OSError:  # it was removed meanwhile
            continue
        found = _BAR.search(last)
        if found and found["percent"] != "100":
            yield str(path.relative_to(logs).with_suffix("")), found["percent"], found["left"]


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
