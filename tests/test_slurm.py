"""The cluster profile on a real Slurm of one node, whose GPUs are none: what jobs ask for, what they make, and faults.

Skipped, with the reason, where there can be no Slurm (one_node_slurm.py). The faults that take long: `make faults`.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import one_node_slurm
import psutil
import pyarrow.parquet as pq
import pytest
import small_study
import yaml

from lossybench.config import GPU_STAGES, MEMORY
from lossybench.layout import REPORTS
from lossybench.study import Study

ROOT = Path(__file__).parents[1]
PROFILE = yaml.safe_load((ROOT / "slurm/config.yaml").read_text())
PYTHON = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

# What the virtual node can give; the defaults are for real ones.
CLUSTER = {"gpu": True, "memory": dict.fromkeys(MEMORY, 1500)}
# One task of the small study: it has two models, and levels that travel together.
TASK = "motion"
SMALL = {**small_study.config(), "tasks": {TASK: small_study.config()["tasks"][TASK]}}
FAULTS = {
    "results": "results",
    "deltas": [5],
    "bootstrap": 100,
    "tasks": {
        "digits": {
            "data": {"adapter": "digits", "train": 200, "val": 30, "test": 30, "size": 48},
            "codecs": {"jpeg": [50, 5]},
            "models": {"resnet": {"epochs": 30, "batch_size": 16}},
            "attack": {"items": 8, "steps": 3, "adaptive_steps": 3, "queries": 3, "levels": {"jpeg": [5]}},
        }
    },
    "cluster": CLUSTER,
}
# What the faults happen to, and nothing after it.
MADE = [
    "results/outcomes/digits/resnet/original/0/jpeg.parquet",
    "results/attacks/digits/resnet/original/0/jpeg.parquet",
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """A running Slurm and the folder of its logs."""
    try:
        one_node_slurm.install()
    except one_node_slurm.UnavailableError as error:
        pytest.skip(f"no Slurm: {error}")
    folder = tmp_path_factory.mktemp("slurm") / "state"
    with one_node_slurm.running(folder, cpus=6, memory=16000, gpus=3):
        yield folder


def _project(folder: Path, config: dict) -> Path:
    """A working copy of the project with this study as its config.yaml."""
    return small_study.project(folder, config, "config.yaml")


def _command(how: str, *more: str) -> list[str]:
    """The README's command, or a local run."""
    return [*{"slurm": "snakemake --cores 8 --profile slurm", "local": "snakemake --cores 2"}[how].split(), *more]


def _run(folder: Path, how: str, *more: str, timeout: float = 600) -> str:
    """What a run said; it must end well, and in time: a run that waits for a lost job would wait for ever."""
    environment = {**os.environ, "PATH": PYTHON}
    done = subprocess.run(
        _command(how, *more), cwd=folder, capture_output=True, text=True, timeout=timeout, env=environment
    )
    said = done.stdout + done.stderr
    if done.returncode:
        pytest.fail(f"exit status {done.returncode}\n{said[-8000:]}")
    return said


def _submitted(said: str) -> dict[str, list[str]]:
    """Slurm's job ids by stage or rule, in the order of their submission."""
    found: dict[str, list[str]] = {}
    for number, log in re.findall(r"submitted with SLURM jobid (\d+) \(log: (\S+)\)", said):
        name = Path(log).parts[Path(log).parts.index("slurm_logs") + 1]
        rule = re.match(r"rule_(compress|evaluate|\w+)", name)
        found.setdefault(rule[1], []).append(number)
    return found


def _results(folder: Path) -> set[str]:
    """The files of all tasks in the folder's results, hidden ones too; no logs and benchmarks."""
    names = {str(path.relative_to(folder)) for path in (folder / "results").rglob("*") if path.is_file()}
    return {name for name in names if "/logs/" not in name and "/benchmarks/" not in name}


def _assert_same(one: Path, other: Path, names: set[str] | None = None) -> None:
    """The same files, or these of `other`; data, bitstreams and models byte for byte, other tables row for row."""
    assert _results(one) == (names or _results(other))
    for name in _results(one):
        first, second = one / name, other / name
        if name.endswith(".safetensors") or re.search("/(data|compressed)/", name):
            assert first.read_bytes() == second.read_bytes(), name
        elif name.endswith(".parquet") and "/timings/" not in name:  # how long something takes is never the same
            assert pq.read_table(first).equals(pq.read_table(second)), name


def _processes(folder: Path, *stages: str) -> list[psutil.Process]:
    """The jobs' own processes, without the Snakemakes around them."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            line = process.cmdline()
            if line[1:3] == ["-m", "lossybench"] and line[3] in stages and process.cwd() == str(folder):
                found.append(process)
    return found


class _Saboteur(threading.Thread):
    """Does something to the first job of each stage as soon as it runs; `done` names the stages it did it to."""

    def __init__(self, folder: Path, harm, *stages: str) -> None:
        super().__init__(daemon=True)
        self.folder, self.harm, self.waiting, self.done, self.stopped = folder, harm, list(stages), [], False

    def run(self) -> None:
        while self.waiting and not self.stopped:
            for stage in list(self.waiting):
                for process in _processes(self.folder, stage)[:1]:
                    with contextlib.suppress(psutil.Error):
                        self.harm(process)
                        self.waiting.remove(stage)
                        self.done.append(stage)
            time.sleep(0.02)

    def __enter__(self) -> _Saboteur:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stopped = True
        self.join()


def _cancel(process: psutil.Process) -> None:
    subprocess.run(["scancel", process.environ()["SLURM_JOB_ID"]], check=True)


# The profile itself.


def test_profile_keeps_out_of_known_traps():
    # 1. sacct, the default, waits for ever without an accounting database, and for a cancelled job with one.
    assert PROFILE["slurm-status-command"] == "squeue"
    # 2. A rule's own retries would be run again inside each of the profile's.
    assert PROFILE["retries"] >= 1
    rules = "".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    assert not re.search(r"^\s*retries:", rules, re.M)
    # 3. A job without a time limit is waited for for ever when its node is lost.
    assert PROFILE["default-resources"]["runtime"] > 0
    # A default profile would override this one's keys without a word.
    assert not [path for path in (ROOT / "profiles", ROOT / "workflow/profiles") if path.exists()]
    # Job arrays wait for ever once more jobs are ready than `jobs` allows.
    assert PROFILE["jobs"] > 1 and "slurm-array-jobs" not in PROFILE


# A whole study.


@pytest.fixture(scope="module")
def ran(slurm, tmp_path_factory):
    """One task of the small study, run by Slurm with exactly the README's command, while a job of each stage is lost.

    The folder, what Snakemake said, and the stages that lost a job.
    """
    cluster = {**CLUSTER, "memory": {**CLUSTER["memory"], "fetch": 280}}  # too little for a first try
    folder = _project(tmp_path_factory.mktemp("ran"), {**SMALL, "cluster": cluster})
    killing = _Saboteur(folder, psutil.Process.kill, "compress", "evaluate", "attack")
    with killing as killer, _Saboteur(folder, _cancel, "train") as canceller:
        said = _run(folder, "slurm", timeout=900)
    return folder, said, killer.done + canceller.done


def test_a_study_on_slurm_ends_with_the_results_of_a_local_run(ran, finished):
    """The local run was of all tasks."""
    pages = {str(small_study.RESULTS / name) for name in REPORTS.values()}
    _assert_same(ran[0], finished, {name for name in _results(finished) if re.search(rf"/{TASK}[/.]", name)} | pages)


def test_jobs_run_under_slurm_and_ask_for_what_they_need(ran):
    submitted = _submitted(ran[1])
    assert {*MEMORY, "recommend", "contact_sheet"} - {"report", "learn_codec"} < set(submitted)
    for rule, numbers in submitted.items():
        for number in numbers:
            job = one_node_slurm.shown(number)
            assert job["NumCPUs"] == "1" and job["BatchHost"]  # where it ran
            assert ("gres:gpu:1" in job.get("TresPerJob", "")) == (rule in GPU_STAGES), (rule, job)
            if rule != "fetch":
                assert job["MinMemoryNode"] in ("1500M", "3000M", "4500M")


def test_one_job_serves_all_levels_of_a_codec_and_one_all_models(ran):
    study, submitted = Study(SMALL), _submitted(ran[1])
    assert len(submitted["evaluate"]) == len(list(study.evaluations(TASK))) + 1  # one of them twice
    assert len(submitted["compress"]) == len(list(study.compressions(TASK))) + 1


def test_lost_jobs_and_those_that_lack_memory_are_tried_again(ran):
    """SIGKILL in compress, evaluate and attack, scancel in train, too little memory for fetch: no rerun is needed."""
    assert sorted(ran[2]) == ["attack", "compress", "evaluate", "train"]
    jobs = {rule: [one_node_slurm.shown(one) for one in ids] for rule, ids in _submitted(ran[1]).items()}
    lost = {rule: [job["JobState"] for job in found if job["JobState"] != "COMPLETED"] for rule, found in jobs.items()}
    assert lost.pop("train") == ["CANCELLED"]
    assert [lost.pop(stage) for stage in ("compress", "evaluate", "attack")] == [["FAILED"]] * 3
    assert len(lost.pop("fetch")) >= 1  # memory is looked at once a second
    assert not any(lost.values())
    for job in jobs["fetch"]:
        assert (job["JobState"] != "COMPLETED") or int(job["MinMemoryNode"].removesuffix("M")) >= 2 * 280


def test_a_promised_gpu_that_is_none_leaves_jobs_on_the_cpu_and_they_say_so(ran):
    logs = [path for stage in GPU_STAGES for path in (ran[0] / small_study.RESULTS / "logs" / stage).rglob("*.log")]
    assert logs
    for log in logs:
        assert "torch sees no CUDA device; going on without" in log.read_text(), log
        assert "device cpu" in log.read_text()


def test_what_jobs_ask_of_a_cluster_reruns_nothing(ran):
    folder = ran[0]
    config = folder / "config.yaml"
    before = config.read_text()
    other = {"partition": "other", "account": "lab", "memory": {"train": 9000}, "minutes": {"attack": 7}}
    try:
        for cluster in (CLUSTER, other):
            config.write_text(yaml.safe_dump({**SMALL, "cluster": cluster}, sort_keys=False))
            for how in ("slurm", "local"):
                assert "Nothing to be done" in _run(folder, how, "-n")
    finally:
        config.write_text(before)


# Faults. Each run ends well by itself, or with the one rerun that docs/cluster.md names.


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What the faults happen to, made without a cluster and without any."""
    folder = _project(tmp_path_factory.mktemp("undisturbed"), FAULTS)
    _run(folder, "local", *MADE, "--quiet", "all")
    return folder


@pytest.mark.faults
@pytest.mark.parametrize("harm", [psutil.Process.kill, _cancel], ids=["SIGKILL", "scancel"])
def test_a_job_lost_in_each_stage_is_tried_again(slurm, undisturbed, tmp_path, harm):
    folder = _project(tmp_path, FAULTS)
    stages = ("fetch", "compress", "train", "evaluate", "attack")
    with _Saboteur(folder, harm, *stages) as saboteur:
        _run(folder, "slurm", *MADE)
    assert set(saboteur.done) == set(stages)
    _assert_same(folder, undisturbed)


@pytest.mark.faults
def test_training_that_lacks_memory_gets_more(slurm, undisturbed, tmp_path):
    folder = _project(tmp_path, {**FAULTS, "cluster": {**CLUSTER, "memory": {**CLUSTER["memory"], "train": 500}}})
    ids = _submitted(_run(folder, "slurm", *MADE))["train"]
    states = [one_node_slurm.shown(one)["JobState"] for one in ids]
    assert len(states) > 1 and states[0] != "COMPLETED" and states[-1] == "COMPLETED"
    _assert_same(folder, undisturbed)


@pytest.mark.faults
def test_training_that_hangs_is_ended_by_its_time_limit_and_tried_again(slurm, undisturbed, tmp_path):
    folder = _project(tmp_path, {**FAULTS, "cluster": {**CLUSTER, "minutes": {"train": 1}}})

    log = folder / "results/logs/train/digits/resnet/original/0.log"

    def stop(process: psutil.Process) -> None:
        while " 2/30 " not in log.read_text():
            time.sleep(0.05)
        process.suspend()

    with _Saboteur(folder, stop, "train") as saboteur:
        ids = _submitted(_run(folder, "slurm", *MADE))["train"]
    assert saboteur.done == ["train"]
    limits = [one_node_slurm.shown(one) for one in ids]
    assert [job["JobState"] for job in limits] == ["TIMEOUT", "COMPLETED"]
    assert [job["TimeLimit"] for job in limits] == ["00:01:00", "00:02:00"]
    assert ".checkpoint.pt: going on after" in log.read_text()
    _assert_same(folder, undisturbed)


@pytest.mark.faults
@pytest.mark.parametrize(
    ("stage", "cancelled"),
    [("train", True), ("compress", False), ("train", False), ("attack", False)],
    ids=["train, orphans cancelled", "compress, orphans left", "train, orphans left", "attack, orphans left"],
)
def test_snakemake_killed(slurm, undisturbed, tmp_path, stage, cancelled):
    """SIGKILL of the main process; its jobs live on, and those that nobody cancels are second writers."""
    folder = _project(tmp_path, FAULTS)
    environment = {**os.environ, "PATH": PYTHON}
    with (tmp_path / "log").open("w") as log:
        run = subprocess.Popen(_command("slurm", *MADE), cwd=folder, stdout=log, stderr=log, env=environment)
    deadline = time.monotonic() + 240
    while not _processes(folder, stage):
        assert run.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()[-3000:]
        time.sleep(0.02)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    (name,) = re.findall(r"SLURM run ID: (\S+)", (tmp_path / "log").read_text())
    orphans = subprocess.run(["squeue", "-h", "-n", name, "-o", "%i"], capture_output=True, text=True).stdout
    assert orphans
    if cancelled:
        subprocess.run(["scancel", "--name", name], check=True)
        while one_node_slurm.active():
            time.sleep(0.2)
    _run(folder, "slurm", "--unlock")
    _run(folder, "slurm", *MADE)
    while one_node_slurm.active():  # the orphans
        time.sleep(0.2)
    _assert_same(folder, undisturbed)
