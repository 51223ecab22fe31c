"""What is told of running jobs: read from the bars that tqdm itself writes."""

from __future__ import annotations

import os
import subprocess
import sys

from tqdm import tqdm

from lossybench.tools import progress


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
