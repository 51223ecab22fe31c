"""What tests of several files share: the order of the files, and one finished run of a small study."""

from __future__ import annotations

import os
import shutil
import sys

import pytest
import small_study
from filelock import FileLock

# The name of this process among several of pytest (pytest-xdist). They share the cores, so each computes on one instead
# of waiting for the others' threads; this is set before torch is imported.
WORKER = os.environ.get("PYTEST_XDIST_WORKER")
if WORKER:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# The files that take longest, longest first. Processes take whole files in the order in which tests were collected
# (`--no-loadscope-reorder` in the Makefile), so that with these first they end at about the same time.
FIRST = ["workflow", "faults", "slurm", "existing", "report", "attacks", "data_public", "training", "data_embedded"]


def pytest_collection_modifyitems(items):
    places = {f"test_{name}": place for place, name in enumerate(FIRST)}
    if WORKER:
        items.sort(key=lambda item: places.get(item.path.stem, len(FIRST)))


@pytest.fixture(autouse=True)
def _own_process(monkeypatch):
    """What stages set for their process, which the tests share, does not outlive a test.

    Without subnormal numbers hypothesis draws none, and where freed memory is kept no peak shows.
    """
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)
    if "lossybench.models.runtime" in sys.modules:
        monkeypatch.setattr("lossybench.models.runtime.hold_memory", lambda: None)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The folder of the small study, run once for all processes of pytest; whoever changes it copies it first."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if WORKER else own) / "finished_study"
    with FileLock(f"{folder}.lock"):
        if not (folder / "run.log").exists():
            shutil.rmtree(folder, ignore_errors=True)  # what a process that failed to run it left
            small_study.project(folder)
            said = small_study.run(folder, "--cores", "2", "--scheduler", "greedy", "--verbose")
            (folder / "run.log").write_text(said)
    return folder
