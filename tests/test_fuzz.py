"""A small part of `make fuzz`, and that its harness sees what it is there to see."""

import os
import subprocess
import sys
from pathlib import Path

import fuzz
import pytest

COUNT = 150


def test_mutated_inputs_are_accepted_or_refused_in_one_line():
    answers = fuzz.run(fuzz.cases(COUNT), 1)
    failed = [f"{answer['case']}: {answer['why']}" for answer in answers if answer["outcome"] == "failed"]
    assert not failed, "\n".join(["python tests/fuzz.py --only KIND:NUMBER repeats each of", *failed])
    assert {answer["case"].partition(":")[0] for answer in answers} == set(fuzz.KINDS)
    assert (
        min(sum(answer["outcome"] == outcome for answer in answers) for outcome in ("accepted", "refused")) > COUNT / 10
    )


def test_a_number_gives_the_same_input_again(tmp_path):
    made = []
    for part in ("a", "a"):
        case = fuzz.Case("archive", 5, tmp_path / part)
        made.append([fuzz.mutated(case.random, bytes(range(256))), fuzz.changed(case.random, fuzz.CONFIG, tmp_path)])
    assert made[0] == made[1]


def _touch(case):
    os.system(f"touch {case.marker}")


FAULTS = {
    "traceback": lambda case: [][1],
    "executed": _touch,
    "started": lambda case: subprocess.run([sys.executable, "-c", ""]),
    "wrote": lambda case: Path(case.root.parent, "elsewhere").write_text(""),
    "wrote outside": lambda case: (case.outside / "new").symlink_to("x"),
    "held": lambda case: bytearray(b"\x01") * (400 << 20),
    "several lines": lambda case: case.one_line("data set\nb"),
    "names nothing": lambda case: case.one_line("damaged"),
    "dead": lambda case: os.kill(os.getpid(), 9),
}
MESSAGES = {"several lines": "a message with the character", "names nothing": "a message that names nothing"}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_harness_sees(fault, tmp_path, monkeypatch):
    monkeypatch.setitem(fuzz.KINDS, "fault", (1, FAULTS[fault]))
    answer = _answer(tmp_path) if fault != "dead" else _died(tmp_path)
    assert answer[0] == "failed" and MESSAGES.get(fault, fault) in answer[1]


def _answer(root):
    """What the worker says of the case, in a process of its own, since audit hooks and peaks of memory last."""
    reader, writer = os.pipe()
    if not (child := os.fork()):
        os.close(reader)
        (root / "outside").mkdir()
        seen = []
        fuzz.MEMORY = fuzz._peak() + (300 << 20)
        sys.addaudithook(fuzz._events(root, seen))
        outcome, why = fuzz.run_case("fault", 0, root, seen)
        os.write(writer, f"{outcome}\n{why}".encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said:
        text = said.read()
    os.waitpid(child, 0)
    return tuple(text.split("\n", 1))


def _died(root):
    worker = fuzz.Worker(root / "worker")
    worker.start()
    os.kill(worker.process.pid, 9)
    answer = worker.run("payload:0")
    assert worker.run("payload:0")["outcome"] in ("accepted", "refused")  # it was started again
    worker.stop()
    return answer["outcome"], answer["why"]
