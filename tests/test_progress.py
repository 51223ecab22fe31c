"""What is told of running jobs: read from the bars that tqdm itself writes."""

from __future__ import annotations

import dataclasses
import io
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tqdm import tqdm

from lossybench import runs
from lossybench.tools import progress

# A workflow of two stages and a task of two codecs, which announces itself as the project's Snakefile does.
MINIATURE = """
import time
from pathlib import Path
from lossybench import runs
from lossybench.tools import progress

onstart:
    progress.current = runs.of_dag(
        workflow.dag, Path("results"), {"digits": ["jpeg", "webp"]}, {"compress": 1, "evaluate": 2}, time.time(), 2
    )
    progress.current.write(Path("results/logs/run.json"))

rule all:
    input: expand("results/outcomes/digits/{codec}", codec=["jpeg", "webp"])

include: "compress.smk"
include: "evaluate.smk"
"""
RULE = """
rule STAGE:
    input: FROM
    output: "results/TO/digits/{codec}"
    log: "results/logs/STAGE/digits/{codec}.log"
    benchmark: "results/benchmarks/STAGE/digits/{codec}.tsv"
    params: code=config["code"], level=config["level"]
    shell: "if [ STAGE{wildcards.codec} = {config[fails]} ]; then"
           " echo 'lossybench: error: no \\033[31m good' > {log}; exit 1; fi; cp {input} {output}"
"""


def _log(path, total, done, end=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        bar = tqdm(total=total, desc="attack jpeg", unit="row", mininterval=0, file=file, position=0)
        for _ in range(done):
            bar.update()
        bar.refresh()
        file.write(end)


def test_unfinished_bars_are_told_with_their_share(tmp_path):
    _log(tmp_path / "attack/digits/resnet/original/0/jpeg.log", 8, 2)
    _log(tmp_path / "train/digits/resnet/original/0.log", 4, 3)
    _log(tmp_path / "compress/digits/jpeg/test.log", 5, 5)  # finished
    _log(tmp_path / "evaluate/digits/jpeg.log", 5, 1, end="\nlossybench: error: no\n")  # failed
    (tmp_path / "fetch").mkdir()
    (tmp_path / "fetch/digits.log").write_bytes(b"\xff\x00 no bar")
    found = list(progress.running(tmp_path, 0))
    assert [(job, percent) for job, percent, _ in found] == [
        ("attack/digits/resnet/original/0/jpeg", "25"),
        ("train/digits/resnet/original/0", "75"),
    ]
    assert progress.line(tmp_path, 0).startswith("attack/digits/resnet/original/0/jpeg 25 %, 00:0")


def test_logs_of_earlier_runs_do_not_count(tmp_path):
    log = tmp_path / "train/a.log"
    _log(log, 4, 1)
    os.utime(log, (1000, 1000))
    assert progress.line(tmp_path, 2000) == "" != progress.line(tmp_path, 500)
    assert progress.line(tmp_path / "nowhere", 0) == ""


def test_a_line_comes_by_and_by_and_only_when_it_says_something_new(tmp_path):
    _log(tmp_path / "train/a.log", 4, 1)
    code = (
        "import pathlib, time; from lossybench.tools import progress; progress.EVERY = 0.05; "
        f"progress.tell(pathlib.Path({str(tmp_path)!r}), 0); time.sleep(0.6)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
    assert said.count("Running: train/a 25 %") == 1


@pytest.fixture(scope="module")
def miniature(tmp_path_factory):
    folder = tmp_path_factory.mktemp("miniature")
    (folder / "Snakefile").write_text(MINIATURE)
    (folder / "origin").write_text("x")
    stages = (("compress", '"origin"', "compressed"), ("evaluate", '"results/compressed/digits/{codec}"', "outcomes"))
    for stage, made_from, to in stages:
        text = RULE.replace("STAGE", stage).replace("FROM", made_from).replace("TO", to)
        (folder / f"{stage}.smk").write_text(text)
    return folder


def _snakemake(folder: Path, *more: str, code: str = "c1", level: int = 1, fails: str = "none", status: int = 0) -> str:
    config = ["--config", f"code={code}", f"level={level}", f"fails={fails}"]
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--scheduler", "greedy", *more, *config]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    return re.sub(r"\d\d:\d\d:\d\d ", "", done.stdout + done.stderr)


def test_a_run_says_a_line_a_stage_and_what_failed_and_the_log_keeps_all(miniature):
    told = ("--keep-going", "--logger", "lossybench")
    said = _snakemake(miniature, *told, fails="evaluatewebp", status=1)
    lines = said.splitlines()
    assert "compress        2 of 2 done, 0 running, 0 left" in lines
    assert "evaluate        1 of 2 done, 0 running, 0 left, 1 FAILED" in lines
    where = "results/logs/evaluate/digits/webp.log"
    assert lines.count(f"FAILED evaluate/digits/webp: lossybench: error: no \\x1b[31m good (log: {where})") == 1
    assert lines[-1] == "all             3 of 4 done, 0 running, 0 left, 1 FAILED"
    for scroll in ("rule compress", "Select jobs", "CalledProcessError"):
        assert scroll not in said
    (log,) = (miniature / ".snakemake/log").glob("*.log")
    assert {"compress", "evaluate"} == set(re.findall(r"rule (\w+):", log.read_text()))
    assert log.read_text().count("reason: ") >= 4

    said = _snakemake(miniature, *told)  # only what is left
    assert said.splitlines()[-1] == "all             1 of 1 done, 0 running, 0 left"
    assert "Nothing to be done" in _snakemake(miniature, *told)


def test_a_run_keeps_why_each_job_runs(miniature):
    """Changes of code, settings and inputs are told apart, by what Snakemake itself found."""
    if not (miniature / "results/outcomes/digits/webp").exists():
        _snakemake(miniature)

    def why() -> dict[str, set[str]]:
        return {
            job.name: set(job.why) for job in runs.read(miniature / "results", miniature / "results/logs/run.json").jobs
        }

    names = [f"{stage}/digits/{codec}" for stage in ("compress", "evaluate") for codec in ("jpeg", "webp")]
    _snakemake(miniature, code="c2")
    # Of a job whose input is made anew Snakemake does not ask for further reasons.
    assert [why()[name] for name in names] == 2 * [{"code"}] + 2 * [{"updated_input_run"}]
    _snakemake(miniature, code="c2", level=2)
    assert why()["compress/digits/jpeg"] == {"params_changed"}
    _snakemake(miniature, code="c3", level=3)
    assert why()["compress/digits/jpeg"] == {"params_changed", "code"}
    (miniature / "results/outcomes/digits/jpeg").unlink()
    _snakemake(miniature, code="c3", level=3)
    assert why() == {name: {"missing_output"} if name == "evaluate/digits/jpeg" else set() for name in names}
    (miniature / "origin").write_text("y")
    _snakemake(miniature, code="c3", level=3)
    assert [why()[name] for name in names] == 2 * [{"updated_input"}] + 2 * [{"updated_input_run"}]
    run = runs.read(miniature / "results", miniature / "results/logs/run.json")
    assert {(job.stage, job.task, job.codec) for job in run.jobs} == {
        (stage, "digits", codec) for stage in ("compress", "evaluate") for codec in ("jpeg", "webp")
    }
    assert all(map(run.ended, run.jobs))
    assert not any(map(dataclasses.replace(run, begun=time.time() + 9).ended, run.jobs))
    of = {job.id: job.name for job in run.jobs}
    assert {(of[first], of[second]) for first, second in run.links} == {
        (f"compress/digits/{codec}", f"evaluate/digits/{codec}") for codec in ("jpeg", "webp")
    }


def _board(seconds, cores=2):
    jobs = [runs.Job(n, f"train/{n}", "train", "", "", "", "", s, {"forced": ""}) for n, s in enumerate(seconds)]
    return progress.Board(runs.Run(Path(), time.time(), cores, jobs, []))


def test_time_to_go_is_that_of_all_cores_and_of_the_longest_job():
    board = _board([10, 10, 10, 10])
    assert board.to_go(list(board.jobs.values())) == 20
    board = _board([10, 90, 10, 10])
    assert board.to_go(list(board.jobs.values())) == 90  # which no second core helps
    board.start(0)
    board.started[0] -= 20
    board.end(0)  # which took twice as long as was planned, so that the others are thought to do so as well
    assert board.to_go(list(board.jobs.values())) == pytest.approx(180, abs=0.1)
    for job in (1, 2, 3):
        board.fail(job)
    assert board.to_go(list(board.jobs.values())) == 0 and board.line().endswith("0 running, 0 left, 3 FAILED")


class _Terminal(io.StringIO):
    """A terminal of many lines, which knows as much of ANSI's codes as the screen may use."""

    def isatty(self):
        return True

    def seen(self) -> list[str]:
        lines: list[str] = []
        for up, text in re.findall(r"\x1b\[(\d+)A\x1b\[J|([^\x1b]+)", self.getvalue()):
            lines = lines[: -int(up)] if up else lines + text.splitlines()
        return lines


def test_on_a_terminal_the_board_is_drawn_anew_below_the_messages():
    screen = progress.Screen(_Terminal())
    screen.draw(["a", "b"])
    screen.draw(["a2", "b2", "c2"])
    screen.say("failed")
    screen.draw(["a3"])
    assert screen.stream.seen() == ["failed", "a3"]
