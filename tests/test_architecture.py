"""The law of imports holds, a violation of it is found, and no two modules have one name."""

import collections
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src/lossybench"


def _linted(folder: Path) -> subprocess.CompletedProcess:
    command = [Path(sys.executable).parent / "lint-imports", "--no-logo", "--no-cache"]
    return subprocess.run(command, cwd=folder, env={"PYTHONPATH": str(folder / "src")}, capture_output=True, text=True)


@pytest.fixture
def project(tmp_path):
    """A copy of the package and of the law."""
    shutil.copytree(SOURCE, tmp_path / "src/lossybench", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_law_holds():
    done = _linted(ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "line", "said"),
    [
        (
            "stages/compress",
            "from lossybench import study",
            "lossybench.stages is not allowed to import lossybench.study",
        ),
        (
            "codecs/jpeg",
            "from lossybench import models",
            "lossybench.codecs is not allowed to import lossybench.models",
        ),
        ("analysis/tables", "from lossybench.attacks import items", "lossybench.analysis is not allowed to import"),
        (
            "codecs/_common",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from lossybench.codecs import jpeg",
            "codecs",
        ),
        ("extra", "X = 1", "lossybench.extra"),  # a module that the law does not know
    ],
)
def test_a_violation_is_found(project, module, line, said):
    path = project / f"src/lossybench/{module}.py"
    text = path.read_text() if path.exists() else '"""New."""\nfrom __future__ import annotations\n'
    head, mark, rest = text.partition("from __future__ import annotations\n")
    path.write_text(f"{head}{mark}\n{line}\n{rest}")
    done = _linted(project)
    assert done.returncode == 1 and said in done.stdout, done.stdout


def test_no_two_modules_share_a_name_unless_they_are_one_thing_for_several_media():
    places = collections.defaultdict(set)
    for path in SOURCE.rglob("*.py"):
        if path.parent == SOURCE and path.stem.startswith("__"):
            continue
        if not path.stem.startswith("__"):
            places[path.stem].add(path.parent.relative_to(SOURCE).as_posix())
        else:
            places[path.parent.name].add(path.parent.parent.relative_to(SOURCE).as_posix())
    shared = {name: found for name, found in places.items() if len(found) > 1}
    media = {"image", "audio", "video"}

    def for_media(place):
        return place.startswith("models/") and place.removeprefix("models/").split("_")[0] in media

    assert not {name: found for name, found in shared.items() if not all(map(for_media, found))}


def test_each_rule_file_has_a_stage_of_its_name():
    rules = {path.stem for path in (ROOT / "workflow/rules").glob("*.smk")} - {"common"}
    assert rules == {path.stem for path in (SOURCE / "stages").glob("*.py")} - {"__init__"}
