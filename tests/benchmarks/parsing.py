"""How long does Snakemake take before the first job: on a folder of 50,000 files, and on a study of 10,000 jobs?

Run `python tests/benchmarks/parsing.py` on a quiet machine; it takes some minutes and 300 MB of disk, and prints the
table. Each row is the median of three runs, wall seconds and CPU seconds, but for the first look, which is one.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from lossybench.study import Study
from lossybench.tools import plan

ROOT = Path(__file__).parents[2]
FILES, RUNS = 50_000, 3
EMBEDDED = {"adapter": "digits", "train": 300, "val": 50, "test": 50}


def took(folder: Path, name: str, data: dict, *arguments: str) -> tuple[float, float]:
    """Seconds of a Snakemake on a study of one small task with these data: wall, CPU."""
    task = {"data": data, "codecs": {"jpeg": [90, 50]}, "models": {"resnet": {"epochs": 1, "input_size": [8, 8]}}}
    return run(folder, {"results": str(folder / name), "tasks": {"photos": task}}, *arguments)


def run(folder: Path, study: dict, *arguments: str) -> tuple[float, float]:
    """Seconds of a Snakemake on this study: wall, CPU."""
    config = folder / "study.yaml"
    config.write_text(yaml.safe_dump(study))
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--configfile", str(config)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [*command, "--cores", "2", "--quiet", "rules", "-n", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(done.stdout[-2000:] + done.stderr[-2000:])
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def pictures(folder: Path) -> dict:
    """The data of a task: many small pictures in ten classes, each of its own content."""
    folder.mkdir()
    one = folder.parent / "one.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(one)
    content = one.read_bytes()
    for index in range(FILES):
        path = folder / f"c{index % 10}" / f"{index:05d}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content + index.to_bytes(4, "little"))
    return {"adapter": "image_folder", "path": str(folder)}


def large() -> dict:
    """Tasks of a study of thousands of jobs, which were 10,168 when each level and each model had jobs of its own."""
    levels = {"jpeg": list(range(1, 61, 2)), "jpeg2000": list(range(5, 305, 10))}
    levels |= {"h264": list(range(17, 47)), "hevc": list(range(17, 47))}
    task = {
        "data": {"adapter": "digits", "train": 100, "val": 50, "test": 50},
        "codecs": levels,
        "models": {"resnet": {"epochs": 1}, "patch_transformer": {"epochs": 1}},
        "seeds": [0, 1, 2],
        "regimes": {"mixed": {}, "matched": [{"codec": "jpeg", "seeds": [0, 1, 2]}]},
        "attack": {"items": 4},
    }
    return {f"t{number:02d}": task for number in range(17)}


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        photos = pictures(folder / "photos")
        job = ("--mode", "remote", "--target-jobs", "fetch:look=,task=photos", "--nolock")

        def row(name: str, measure, runs: int = RUNS) -> None:
            walls, cpus = zip(*(measure() for _ in range(runs)), strict=True)
            print(f"{name:52}{statistics.median(walls):8.2f}{statistics.median(cpus):8.2f}", flush=True)

        print(f"{'':52}{'wall s':>8}{'CPU s':>8}")
        row(f"{FILES:,} pictures, first look", lambda: took(folder, "many", photos), 1)
        time.sleep(3)  # files that changed within the last seconds are hashed once more
        row(f"{FILES:,} pictures, second look", lambda: took(folder, "many", photos), 1)
        row(f"{FILES:,} pictures, nothing changed", lambda: took(folder, "many", photos))
        row("embedded set", lambda: took(folder, "embedded", EMBEDDED))
        row(f"{FILES:,} pictures, in a job of a cluster", lambda: took(folder, "many", photos, *job))
        row("embedded set, in a job of a cluster", lambda: took(folder, "embedded", EMBEDDED, *job))
        profile = ("--cores", "8", "--profile", str(ROOT / "slurm"))
        study = {"results": str(folder / "large"), "tasks": large()}
        jobs = sum(plan.jobs(Study(study)).values())
        row(f"dry run of {jobs:,} jobs", lambda: run(folder, study, *profile), 1)


if __name__ == "__main__":
    main()
