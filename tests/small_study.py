"""The study that tests run whole: config/smoke.yaml made smaller, with every stage, medium, regime, tier and goal.

Its video task also goes through JPEG 2000 at a level of many digits, which must stay the same level in every stage.
Config and results have names that a shell would read as commands.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
# Nothing in a path is read by a shell, by make or by Snakemake as anything but a name. That of the results has no ',
# which Snakemake cannot hand to jobs of a cluster.
CONFIG = "a study's $HOME & more.yaml"
RESULTS = Path('results/r$(touch pwn)x é" & #[1] %s')
LEVEL, LEVEL_TEXT = 12.3456789, "12.3456789"


def config() -> dict[str, Any]:
    """The study's config."""
    study = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
    study["results"] = str(RESULTS)
    digits, words, motion = (study["tasks"][name] for name in ("digits", "words", "motion"))
    digits["data"] |= {"train": 150, "val": 40, "test": 40}
    # HEVC is attacked through in the study of test_faults.py.
    digits["attack"] |= {"items": 8, "codecs": ["jpeg"], "levels": {"jpeg": [50, 5]}}
    words["data"] |= {"train": 96, "val": 24, "test": 24}
    words["attack"] |= {"items": 4, "steps": 2, "adaptive_steps": 2}
    chain = [{"codec": "mp3", "level": 32}, {"codec": "opus", "level": 6}]  # MP3 at 32 kb/s is not tested
    words["attack"]["defences"] = {"drawn": {"draw": {"mp3": [64, 8], "opus": [6]}}, "in_a_row": {"chain": chain}}
    motion["data"] |= {"train": 27, "val": 9, "test": 9}
    motion["codecs"]["jpeg2000"] = [LEVEL, 60]
    motion["regimes"] = {"matched": [{"codec": "jpeg2000", "levels": [LEVEL]}]}
    motion["attack"]["levels"]["jpeg2000"] = [LEVEL]
    return study


def project(folder: Path, study: dict[str, Any] | None = None, name: str = CONFIG) -> Path:
    """A working copy of the project, without results, and this study in a file of that name; `config()` if left out."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("Snakefile", "config.yaml", "envs", "slurm", "src", "workflow"):
        source = ROOT / part
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / part)
    (folder / name).write_text(yaml.safe_dump(study or config(), sort_keys=False))
    return folder


def copied(finished: Path, folder: Path) -> Path:
    """A copy of a finished study, time stamps kept."""
    shutil.copytree(finished, folder)
    return folder


def command(*arguments: str) -> list[str]:
    """Snakemake on the study."""
    return [sys.executable, "-m", "snakemake", "--configfile", CONFIG, *arguments]


def run(folder: Path, *arguments: str, check: bool = True) -> str:
    """What a run said. Fails the test when the run fails, unless `check` is false and it ends with status 1."""
    done = subprocess.run(command(*arguments), cwd=folder, capture_output=True, text=True, timeout=900)
    if done.returncode != (0 if check else 1):
        pytest.fail(f"{' '.join(done.args)}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}")
    return done.stdout + done.stderr
