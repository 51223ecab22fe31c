"""Faults on a real Snakemake and its real jobs: killed, out of disk, damaged files. After one rerun all is right.

The twenty random kill points take a quarter of an hour: `make faults`. In the suite, test_workflow.py kills a larger
study half-way.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import media_tables
import psutil
import pyarrow.parquet as pq
import pytest
import yaml

from lossybench import artifacts, training
from lossybench.stages import attack as stage
from lossybench.stages.train import train

ROOT = Path(__file__).parents[1]
RESULTS = Path("results/faults")
STUDY = {
    "results": str(RESULTS),
    "seed": 0,
    "deltas": [5],
    "bootstrap": 100,
    "tasks": {
        "digits": {
            "data": {"adapter": "digits", "train": 96, "val": 20, "test": 60, "size": 48},
            "codecs": {"hevc": [30, 45]},
            "models": {"resnet": {"epochs": 2, "batch_size": 8}},
            "attack": {
                "items": 6,
                "batch_size": 2,
                "steps": 3,
                "adaptive_steps": 3,
                "queries": 3,
                "attacks": {"pgd": ["8/255"]},
                "levels": {"hevc": [45]},
            },
        }
    },
}
COMPRESSED = "compressed/digits/hevc/30/test.parquet"
MODEL = "models/digits/resnet/original/0"
WEIGHTS = f"{MODEL}/weights.safetensors"
OUTCOMES = "outcomes/digits/resnet/original/0/hevc.parquet"
ATTACKS = "attacks/digits/resnet/original/0/hevc.parquet"
SEED = 17  # of all moments and steps that are drawn here


def _command(*targets: str) -> list[str]:
    files = [str(RESULTS / target) for target in targets]
    return [sys.executable, "-m", "snakemake", "--configfile", "faults.yaml", "--cores", "2", *files]


def _run(folder: Path, *targets: str, fails: bool = False, more: tuple[str, ...] = ()) -> str:
    """One run of Snakemake; what it said."""
    done = subprocess.run([*_command(*targets), *more], cwd=folder, capture_output=True, text=True, timeout=600)
    said = done.stdout + done.stderr
    if (done.returncode != 0) != fails:
        pytest.fail(f"exit status {done.returncode}\n{said[-6000:]}")
    return said


@contextlib.contextmanager
def _started(folder: Path, *targets: str):
    """A run of Snakemake in the background, in a process group of its own."""
    with (folder / "started.log").open("w") as log:
        run = subprocess.Popen(_command(*targets), cwd=folder, start_new_session=True, stdout=log, stderr=log)
    try:
        yield run
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()


def _until(condition, what: str, run: subprocess.Popen):
    """What `condition` finds, as soon as it does."""
    deadline = time.monotonic() + 300
    while not (found := condition()):
        assert run.poll() is None, f"the run ended before there was {what}"
        assert time.monotonic() < deadline, f"no {what} in time"
        time.sleep(0.002)
    return found


def _job(run: subprocess.Popen, stage: str) -> psutil.Process | None:
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(run.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if child.cmdline()[1:4] == ["-m", "lossybench", stage]:
                    return child
    return None


def _files(folder: Path) -> set[str]:
    """All results but logs and benchmarks, hidden files too."""
    root = folder / RESULTS
    names = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    return {name for name in names if not name.startswith(("logs/", "benchmarks/"))}


def _assert_same(one: Path, other: Path) -> None:
    """The same files, with the same content; no lock, checkpoint or unfinished file left."""
    assert _files(one) == _files(other)
    for name in _files(one):
        first, second = (folder / RESULTS / name for folder in (one, other))
        if name.startswith(("data/", "compressed/", "models/", "outcomes/", "attacks/")):
            assert first.read_bytes() == second.read_bytes(), name
        elif name.endswith(".parquet"):
            assert pq.read_table(first).equals(pq.read_table(second)), name
    assert not list((other / ".snakemake/locks").glob("*"))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with a small study, whose training saves a checkpoint in every step."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("Snakefile", "workflow", "src", "envs"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    (folder / "faults.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))
    source = folder / "src/lossybench/training.py"
    often = source.read_text().replace(f"\nINTERVAL = {training.INTERVAL}", "\nINTERVAL = 0.0")
    assert often != source.read_text()
    source.write_text(often)
    return folder


@pytest.fixture(scope="module")
def finished(project, tmp_path_factory):
    """The study, run without a fault."""
    folder = tmp_path_factory.mktemp("finished") / "study"
    shutil.copytree(project, folder)
    _run(folder)
    return folder


@pytest.fixture
def study(finished, tmp_path):
    """The finished study, a copy of one's own, time stamps kept."""
    shutil.copytree(finished, tmp_path / "study")
    return tmp_path / "study"


# The stage, the file to make, and what lies beside it once the stage is at work ("": at once).
STAGES = {
    "compress": (COMPRESSED, ".test.parquet.*.part.parquet"),
    "train": (WEIGHTS, training.CHECKPOINT),
    "evaluate": (OUTCOMES, ""),
    "attack": (ATTACKS, ".hevc.parquet.parts/45-1-0.parquet"),
}


def _at_work(folder: Path, run: subprocess.Popen, stage: str) -> psutil.Process:
    target, trace = STAGES[stage]
    job = _until(lambda: _job(run, stage), f"{stage} job", run)
    if trace:
        _until(lambda: list((folder / RESULTS / target).parent.glob(trace)), trace, run)
    return job


def _remove(folder: Path, target: str) -> None:
    path = folder / RESULTS / target
    for made in path.parent.iterdir() if target == WEIGHTS else [path]:
        made.unlink()


@pytest.mark.parametrize("stage", STAGES)
def test_a_job_killed_is_made_again(finished, study, stage):
    target, _ = STAGES[stage]
    _remove(study, target)
    with _started(study, target) as run:
        _at_work(study, run, stage).kill()
        assert run.wait(60) == 1
    assert not (study / RESULTS / target).exists()
    _run(study, target)
    _assert_same(finished, study)
    if stage == "train":
        assert "going on after" in (study / RESULTS / f"logs/train/{MODEL.removeprefix('models/')}.log").read_text()


def test_training_told_to_end_at_some_step_ends_with_the_same_weights(finished, study):
    _remove(study, WEIGHTS)
    with _started(study, WEIGHTS) as run:
        job = _at_work(study, run, "train")
        time.sleep(random.Random(SEED).uniform(0, 0.5))
        job.send_signal(signal.SIGTERM)
        assert run.wait(60) == 1
    assert _files(study) >= {f"{MODEL}/{training.CHECKPOINT}"}
    _run(study, WEIGHTS)
    _assert_same(finished, study)


def test_snakemake_killed_takes_its_jobs_along(finished, study):
    """No orphan goes on, so that the rerun is the only writer; training has saved how far it came."""
    _remove(study, WEIGHTS)
    with _started(study, WEIGHTS) as run:
        job = _at_work(study, run, "train")
        os.kill(run.pid, signal.SIGKILL)
        job.wait(30)
        assert _files(study) >= {f"{MODEL}/{training.CHECKPOINT}"}
    _run(study, more=("--unlock",))
    _run(study, WEIGHTS, more=("--rerun-incomplete",))
    _assert_same(finished, study)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system, so that a real disk is full, needs root")
@pytest.mark.parametrize("stage", ["compress", "train"])
def test_a_full_disk_is_named_and_leaves_nothing(finished, study, stage):
    target, _ = STAGES[stage]
    _remove(study, target)
    disk, filler = (study / RESULTS / target).parent, (study / RESULTS / target).with_name("filler")
    others = list(disk.iterdir())
    for other in others:
        other.rename(study / other.name)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)], check=True)
    try:
        with contextlib.suppress(OSError):
            filler.write_bytes(b"x" * 2**26)
        os.truncate(filler, filler.stat().st_size - 2**12)
        said = _run(study, target, fails=True, more=("--show-failed-logs",))
        assert "could not be written: No space left on device; make room" in said
        assert [path.name for path in disk.iterdir()] == ["filler"]
        filler.unlink()
        _run(study, target)
        made = {path.name: path.read_bytes() for path in disk.iterdir()}
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert target.rpartition("/")[2] in made
    for name, content in made.items():
        assert content == ((finished / RESULTS / target).parent / name).read_bytes()


@pytest.mark.parametrize("target", [COMPRESSED, WEIGHTS, OUTCOMES])
def test_a_file_cut_short_is_named_and_made_again(finished, study, target):
    path = study / RESULTS / target
    os.truncate(path, path.stat().st_size * 2 // 3)
    said = _run(study, fails=True, more=("--show-failed-logs",))
    assert f"{RESULTS / target}: damaged" in said and f"moved to {path.name}.damaged, so run again" in said
    _run(study)
    path.with_name(f"{path.name}.damaged").unlink()
    _assert_same(finished, study)


@pytest.fixture(scope="module")
def victim(tmp_path_factory):
    """A data table, its test part through JPEG at two levels, and a model."""
    folder = tmp_path_factory.mktemp("victim")
    data, part, _ = media_tables.image_task(folder)
    levels = [media_tables.write_compressed(folder / f"{q}.parquet", data, "jpeg", q, ("test",)) for q in (50, 5)]
    settings = {"epochs": 2, "batch_size": 8, "device": "cpu"}
    train(data, [part], "toy", "resnet", "original", folder / "model", settings, 0)
    return data, levels, folder / "model"


def test_an_attack_goes_on_piece_by_piece_to_the_same_bytes(victim, tmp_path, monkeypatch):
    data, levels, model = victim
    settings = {"items": 5, "batch_size": 3, "steps": 2, "adaptive_steps": 2, "queries": 2, "seed": 0}
    made, rows_of = [], artifacts.Parts.rows

    def attack(codec, out, oblivious, stop=99, **changed):
        """The table's bytes, or nothing when the attack was stopped before it made another piece than so many."""
        made.clear()

        def rows(parts, name, schema, make):
            def noted():
                if len(made) == stop:
                    raise KeyboardInterrupt
                made.append(name)
                return make()

            return rows_of(parts, name, schema, noted)

        monkeypatch.setattr(artifacts.Parts, "rows", rows)
        how = {**settings, **changed, "levels": [50, 5] if codec == "jpeg" else []}
        with contextlib.suppress(KeyboardInterrupt):
            stage.attack(model, data, levels if codec == "jpeg" else [], codec, out, {}, oblivious, settings=how)
            return out.read_bytes()

    bare, whole, cut = (tmp_path / f"{name}.parquet" for name in ("bare", "whole", "cut"))
    attack("original", bare, None)
    expected, pieces = attack("jpeg", whole, bare), list(made)
    # Two batches, made against both levels at once and against each, there by budget and goal.
    budgets = range(len(pieces[2:]) // 4)
    assert len(budgets) == 6 and pieces[2:] == [
        f"{q}-{batch}-{b}" for q in (50, 5) for batch in (0, 1) for b in budgets
    ]
    assert attack("jpeg", cut, bare, stop=3, steps=3) is None and made == pieces[:3]  # of no use to what follows
    assert attack("jpeg", cut, bare, stop=1) is None and made == pieces[:1]
    assert attack("jpeg", cut, bare, stop=3) is None and made == pieces[1:4]
    assert attack("jpeg", cut, bare) == expected and made == pieces[4:]
    assert sorted(tmp_path.iterdir()) == [bare, cut, whole]


_moment = random.Random(SEED)
# Of the jobs, the share that has begun; then seconds.
POINTS = [(_moment.uniform(0.05, 0.9), _moment.uniform(0, 1)) for _ in range(20)]


@pytest.mark.faults
@pytest.mark.parametrize("begun, after", POINTS)
def test_killed_at_some_point_the_study_ends_the_same(finished, project, tmp_path, begun, after):
    """Snakemake and all of its jobs at once. By jobs and not by time alone, since a machine is now fast, now slow."""

    def logs(folder: Path) -> int:
        return sum(1 for _ in (folder / RESULTS / "logs").rglob("*.log"))

    folder = tmp_path / "study"
    shutil.copytree(project, folder)
    with _started(folder) as run:
        _until(lambda: logs(folder) >= begun * logs(finished), "as many jobs", run)
        time.sleep(after)
        assert run.poll() is None, "the study ended before it was to be killed"
        os.killpg(run.pid, signal.SIGKILL)
    _run(folder, more=("--unlock",))
    _run(folder, more=("--rerun-incomplete",))
    _assert_same(finished, folder)
