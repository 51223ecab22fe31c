"""How long does a finished study take at least? The share of codecs and torch themselves in the time of its jobs.

Run `python tests/benchmarks/bare.py [RESULTS]` in the folder from which the study was run; it takes some minutes. Of
each stage a few jobs run once more under a profiler, on a copy of the results, with the commands that Snakemake kept of
them: those in whose time lie evenly spaced parts of the stage's time, put in order from the longest job to the
shortest. What counts as bare is the time within the compiled functions of torch, PyAV, OpenCV and Pillow. A
profiler slows down the Python around them, and a bare loop has some Python too, so that the shares are rather too low:
no arrangement of jobs gets below them on as many cores.
"""

from __future__ import annotations

import base64
import bisect
import csv
import itertools
import json
import os
import pstats
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

# How many jobs of a stage run once more.
EACH = {"attack": 3, "train": 2, "evaluate": 2, "compress": 3, "timing": 1, "fetch": 1}
LIBRARIES = ("torch", "'av.", "PIL", "Imaging")


def seconds(results: Path) -> dict[str, dict[str, float]]:
    """The wall seconds of all jobs by stage and by the place of their benchmark, without its ending."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for path in results.glob("benchmarks/*/**/*.tsv"):
        stage = path.relative_to(results / "benchmarks").parts[0]
        (row,) = csv.DictReader(path.open(), delimiter="\t")
        found[stage][str(path.relative_to(results / "benchmarks").with_suffix(""))] = float(row["s"])
    return found


def commands(results: Path) -> dict[str, str]:
    """The shell commands of all jobs by the place of their log, without its ending."""
    found = {}
    for path in Path(".snakemake/metadata").rglob("*"):
        if not path.is_file():
            continue
        about = json.loads(path.read_text())
        output = base64.b64decode(path.name).decode(errors="replace")
        if about.get("shellcmd") and about.get("log") and output.startswith(str(results)):
            found[str(Path(about["log"][0]).relative_to(results / "logs").with_suffix(""))] = about["shellcmd"]
    return found


def spread(of_jobs: dict[str, float], count: int) -> list[str]:
    """So many jobs, in whose time lie evenly spaced parts of all that they take. of_jobs: the seconds of each."""
    longest = sorted(of_jobs, key=lambda job: -of_jobs[job])
    until = list(itertools.accumulate(of_jobs[job] for job in longest))
    return [longest[bisect.bisect(until, (place + 0.5) / count * until[-1])] for place in range(count)]


def bare(function: tuple[str, int, str]) -> bool:
    """Whether a function, as cProfile names it, is a library's compiled one. OpenCV's have their bare names."""
    file, _, name = function
    compiled = file == "~" and name.startswith("<")
    return compiled and (not name.startswith(("<built-in", "<method")) or any(one in name for one in LIBRARIES))


def profiled(command: str, folder: Path) -> tuple[float, float]:
    """The seconds within libraries, and all, of a job that runs in `folder`."""
    words = shlex.split(command.partition(" > ")[0].removeprefix("exec "))
    words += ["--anew"] * ("evaluate" in words[:4])
    profile = folder / "profile"
    subprocess.run(
        [sys.executable, "-m", "cProfile", "-o", profile, *words[1:]],
        cwd=folder, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    functions = pstats.Stats(str(profile)).stats  # type: ignore[attr-defined]
    own = {function: times[2] for function, times in functions.items()}
    return sum(took for function, took in own.items() if bare(function)), sum(own.values())


def main() -> None:
    """Print the table."""
    results = Path(sys.argv[1] if len(sys.argv) > 1 else "results")
    ran, known = seconds(results), commands(results)
    least = total = 0.0
    print("| stage | jobs | seconds | profiled | share of libraries |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(results, folder / results, copy_function=os.link)
        for stage, of_jobs in sorted(ran.items(), key=lambda item: -sum(item[1].values())):
            chosen = spread({job: took for job, took in of_jobs.items() if job in known}, EACH.get(stage, 0))
            spent = [profiled(known[job], folder) for job in chosen]
            share = sum(took for took, _ in spent) / sum(whole for _, whole in spent) if spent else 0.0
            took = sum(of_jobs.values())
            total, least = total + took, least + share * took
            print(f"| {stage} | {len(of_jobs)} | {took:.0f} | {len(chosen)} | {share:.2f} |", flush=True)
    print(f"\nOf {total:.0f} job seconds {least:.0f} are within libraries: {least / 120:.1f} minutes of two cores.")


if __name__ == "__main__":
    main()
