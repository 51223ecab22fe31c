"""Idle cores: who counts as a job, when helpers run and are suspended, and that they change no byte of an attack."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from lossybench import codecs, cores, kinds, models
from lossybench.artifacts import COMPRESSED, Parts, write_table
from lossybench.attacks import pieces
from lossybench.errors import LossyBenchError
from lossybench.models.inputs import Input
from lossybench.stages import attack as stage

LONG = 60  # seconds after which what a test waits for will not come


def until(what: Callable[[], object]) -> None:
    """Waits until `what` is so."""
    for _ in range(LONG * 20):
        if what():
            return
        time.sleep(0.05)
    pytest.fail("this never came")


@pytest.fixture
def pool(tmp_path, monkeypatch):
    """This process is a job that shares two cores."""
    monkeypatch.setenv(cores.POOL, str(tmp_path / "pool"))
    monkeypatch.setenv(cores.CORES, "2")
    monkeypatch.setattr(cores, "_POOL", [])
    monkeypatch.setattr(cores, "PAYS", 0.0)
    monkeypatch.setattr(cores, "POLL", 0.05)
    cores.enter()
    yield cores._POOL[0]
    cores._POOL[0].leave()


def beat(path: Path) -> None:
    """The work of a helper: its file grows."""
    while True:
        with path.open("ab") as file:
            file.write(b".")
        time.sleep(0.01)


def fail(how: str) -> None:
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    raise LossyBenchError(how) if how.startswith("item") else ValueError(how)


def grows(path: Path) -> bool:
    before = path.stat().st_size if path.exists() else 0
    time.sleep(0.3)
    return path.exists() and path.stat().st_size > before


def test_jobs_are_counted_until_they_end_however_they_end(pool):
    program = "from lossybench import cores; import time; cores.enter(); print(flush=True); time.sleep(600)"
    other = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert other.stdout
    other.stdout.readline()
    assert pool.jobs() == 2
    other.kill()
    other.wait()
    assert pool.jobs() == 1
    pool.leave()
    assert pool.jobs() == 0


def test_a_helper_runs_on_an_idle_core_alone(pool, tmp_path):
    """It makes way for a job that begins, goes on when that ends or its own job waits, and ends with its job."""
    beats, other = tmp_path / "beats", cores.Pool(pool.folder, 2)
    with cores.Helpers(beat, {"path": beats}, lambda: 1) as helpers:
        until(lambda: grows(beats))
        other.enter()
        until(lambda: not grows(beats))
        with helpers.lending():
            until(lambda: grows(beats))
        until(lambda: not grows(beats))
        other.leave()
        until(lambda: grows(beats))
        assert len(helpers._helpers) == 1
    assert not grows(beats)


@pytest.mark.parametrize("idle, left", [(0, 1), (1, 0)])
def test_no_helper_starts_without_an_idle_core_or_work(pool, tmp_path, idle, left):
    other = cores.Pool(pool.folder, 2)
    if not idle:
        other.enter()
    with cores.Helpers(beat, {"path": tmp_path / "beats"}, lambda: left) as helpers:
        time.sleep(0.5)
        assert not helpers._helpers
    other.leave()


def test_a_helper_ends_with_a_job_that_is_killed(tmp_path, pool):
    pool.leave()
    beats = tmp_path / "beats"
    program = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); from pathlib import Path; import test_cores as t; "
        "from lossybench import cores; cores.PAYS = 0; cores.enter()\n"
        "with cores.Helpers(t.beat, {'path': Path(sys.argv[2])}, lambda: 1): time.sleep(600)"
    )
    job = subprocess.Popen([sys.executable, "-c", program, str(Path(__file__).parent), str(beats)])
    until(lambda: grows(beats))
    job.kill()
    job.wait()
    until(lambda: not grows(beats))


@pytest.mark.parametrize(
    "how, said",
    [("item 7: too loud", "^item 7: too loud$"), ("no such", "ValueError: no such"), ("killed", "ended by signal 9")],
)
def test_what_a_helper_fails_with_fails_its_job(pool, how, said):
    with cores.Helpers(fail, {"how": how}, lambda: 1) as helpers:
        until(lambda: helpers._error)
        with pytest.raises(LossyBenchError, match=said):
            helpers.check()


def test_without_locks_no_helpers_are_asked_for(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv(cores.POOL, str(tmp_path / "pool"))
    monkeypatch.setenv(cores.CORES, "2")
    monkeypatch.setattr(cores, "_POOL", [])

    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(cores.fcntl, "flock", refuse)
    cores.enter()
    assert not cores.shared() and "idle cores stay idle" in caplog.text


def test_a_claim_is_held_by_one(tmp_path):
    path = tmp_path / "new" / "lock"
    assert not cores.is_claimed(path)
    with cores.claimed(path) as one, cores.claimed(path) as other:
        assert (one, other) == (True, False) and cores.is_claimed(path)
    assert not cores.is_claimed(path)


def attacked(folder: Path) -> Callable[[str], bytes]:
    """A random model and a few pictures; what is given makes the table of a codec's attacks on them."""
    torch.manual_seed(0)
    generator, lossless = np.random.default_rng(0), codecs.get("original")
    info = {
        "task": "noise", "arch": "resnet", "regime": "original", "seed": 0, "medium": "image", "kind": "classification",
        "classes": ["a", "b", "c"], "input": {"shape": [16, 16], "sampling_rate": 0},
    }  # fmt: skip
    model = models.build("resnet", "image", "classification", 3, Input((16, 16)))
    models.save(model.state_dict(), info, [], folder / "model")
    rows = []
    for i in range(6):
        media = generator.integers(0, 256, (16, 16, 3), np.uint8)
        rows.append(
            {"id": f"n{i}", "split": "test", "groups": {}, "shape": media.shape, "label": i % 3, "sampling_rate": 0.0,
             "media": lossless.encode(media, 0).payload}
        )  # fmt: skip
    write_table(folder / "data.parquet", kinds.load("classification").data_schema(), rows, {})
    levels = []
    for level in (50, 10):
        levels.append(folder / f"{level}.parquet")
        write_table(levels[-1], COMPRESSED, [], {"codec": "jpeg", "options": {}, "level": level})
    settings = {
        "attacks": {"pgd": ["8/255", "1/255"], "apgd": ["8/255"], "square": ["8/255"]},
        "batch_size": 2, "steps": 2, "adaptive_steps": 2, "restarts": 1, "queries": 5,
    }  # fmt: skip

    def table(codec: str) -> bytes:
        out = folder / f"{codec}.parquet"
        before = None if codec == "original" else folder / "original.parquet"
        stage.attack(folder / "model", folder / "data.parquet", levels, codec, out, oblivious=before, settings=settings)
        return out.read_bytes()

    return table


def test_helpers_change_no_byte_of_an_attack(pool, tmp_path, monkeypatch):
    table = attacked(tmp_path)
    pool.leave()
    monkeypatch.setattr(cores, "_POOL", [])
    alone = [table(codec) for codec in ("original", "jpeg")]
    cores.enter()
    made, kept = [], pieces.Maker._kept

    def late(self, piece, tell=lambda count: None):  # in this process alone
        if not self.parts.has(piece.name):
            made.append(piece.name)
            if len(made) == 1:
                until(lambda: list(self.parts.folder.glob("*.parquet")))  # that a helper made
        return kept(self, piece, tell)

    monkeypatch.setattr(pieces.Maker, "_kept", late)
    for codec, before in zip(("original", "jpeg"), alone, strict=True):
        made.clear()
        assert table(codec) == before
        assert (
            0 < len(made) < {"original": 9, "jpeg": 21}[codec]
        )  # 3 batches by 3 budgets and goals; two levels and T3-EoT
        assert not list(tmp_path.glob(".*.parts"))


def test_a_job_whose_helper_is_at_a_piece_waits_and_then_reads_it(tmp_path, monkeypatch):
    monkeypatch.setenv(cores.POOL, str(tmp_path / "pool"))
    monkeypatch.setenv(cores.CORES, "2")
    parts = Parts(tmp_path / "table.parquet", "one")
    piece = pieces.Piece("0", COMPRESSED, 1, lambda: pytest.fail("made twice"))
    maker, lock = pieces.Maker(parts), parts.folder / "0.lock"
    with cores.claimed(lock) as mine:
        assert mine
        maker.make([piece])  # leaves it to the other
        write_table(parts.folder / "0.parquet", COMPRESSED, [], parts.meta)
    assert maker.rows(piece) == []
