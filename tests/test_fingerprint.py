"""What changes a fingerprint, and what must not."""

import ast
import importlib
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import lossybench
from lossybench import fingerprint as module


def _forget():
    for cached in (module.fingerprint, module._place, module._root, module._read):
        cached.cache_clear()
    importlib.invalidate_caches()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package `sample` with a stage that imports one helper and loads `left` or `right` by name."""
    files = {
        "__init__": "",
        "stage": "from sample import helper\ndef run():\n    from sample.late import thing\n    return helper, thing\n",
        "helper": '"""Docs."""\nVALUE = 1  # why\n',
        "late": "from .helper import VALUE as thing\n",
        "left": "X = 1\n",
        "right": "X = 2\n",
    }
    folder = tmp_path / "sample"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name, text):
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
        _forget()

    for name, text in files.items():
        write(name, text)
    yield write
    _forget()


def test_comments_docstrings_and_layout_do_not_count(package):
    before = module.fingerprint("sample.stage")
    package("helper", '"""Other docs."""\n\n\n# another comment\nVALUE   =  1\n')
    assert module.fingerprint("sample.stage") == before


@pytest.mark.parametrize("name", ["stage", "helper", "late", "__init__"])
def test_code_counts_wherever_it_is_imported(package, name):
    before = module.fingerprint("sample.stage")
    package(name, "VALUE = thing = 2\n")
    assert module.fingerprint("sample.stage") != before


def test_a_module_loaded_by_name_changes_only_its_own_branch(package):
    left, right = module.fingerprint("sample.stage", "sample.left"), module.fingerprint("sample.stage", "sample.right")
    package("left", "X = 3\n")
    assert module.fingerprint("sample.stage", "sample.left") != left
    assert module.fingerprint("sample.stage", "sample.right") == right


def test_nothing_is_imported():
    """A cluster's job starts three Pythons that ask for fingerprints before its own."""
    ask = "import sys; from lossybench.fingerprint import fingerprint; fingerprint('lossybench.stages.attack'); "
    ask += "print([name for name in ('torch', 'art', 'pandas') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


TEXTS = """
import logging, warnings
from pydantic import Field
class OwnError(Exception): pass
def run(value, known):
    hint = f"known: {', '.join(known)}"
    if value not in known:
        raise OwnError(f"{value} is not right; {hint}")
    logging.info("checked %s", value)
    warnings.warn(f"odd {value}", stacklevel=2)
    metric = MeanSquaredError(squared=True)  # not an error that is raised
    return Field(1, ge=0, description="what it is"), metric, layer(unit=3, description=4)
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("is not right", "is wrong"),
        ("{value} is not right; {hint}", "use one of {sorted(known)}, not {value}; {hint}"),
        ("known: {', '.join(known)}", "there are {' and '.join(known)}"),
        ("checked %s", "looked at %s"),
        ("odd {value}", "{value} is odd"),
        ("what it is", "what it is for"),
    ],
)
def test_texts_of_errors_and_logs_do_not_count(package, old, new):
    package("helper", TEXTS)
    before = module.fingerprint("sample.stage")
    assert old in TEXTS
    package("helper", TEXTS.replace(old, new))
    assert module.fingerprint("sample.stage") == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("if value not in", "if value in"),
        ("raise OwnError(f", "return (f"),
        ("OwnError(Exception)", "OwnError(ValueError)"),
        ("Field(1, ge=0", "Field(2, ge=0"),
        ("squared=True", "squared=False"),
        ("unit=3", "unit=4"),
        ("description=4", "description=5"),
        ("Field(1, ge=0", "Field(1, ge=1"),
        ("def run(value, known)", "def run(value, known=())"),
    ],
)
def test_what_decides_about_an_error_counts(package, old, new):
    package("helper", TEXTS)
    before = module.fingerprint("sample.stage")
    assert old in TEXTS
    package("helper", TEXTS.replace(old, new))
    assert module.fingerprint("sample.stage") != before


def test_a_variable_that_a_result_follows_from_counts_though_an_error_names_it(package):
    code = "def run(x):\n    y = {0}\n    if x:\n        raise ValueError(f'{{y}}')\n    return y\n"
    package("helper", code.format("x + 1"))
    before = module.fingerprint("sample.stage")
    package("helper", code.format("x + 2"))
    assert module.fingerprint("sample.stage") != before


def test_one_function_of_a_module_counts_alone(package):
    package("stage", "def run():\n    from sample import left\n    return left\ndef other():\n    return 1\n")
    one, other = module.fingerprint("sample.stage:run"), module.fingerprint("sample.stage:other")
    package("left", "X = 3\n")
    assert module.fingerprint("sample.stage:run") != one
    assert module.fingerprint("sample.stage:other") == other
    package("stage", "def run():\n    from sample import left\n    return left\ndef other():\n    return 2\n")
    assert module.fingerprint("sample.stage:other") != other


def test_an_argument_of_one_stage_reruns_that_stage(monkeypatch, tmp_path):
    """Of a copy of this package: another default of `evaluate`, another order of its arguments."""
    root = Path(lossybench.__file__).parent
    shutil.copytree(root, tmp_path / "copied", ignore=shutil.ignore_patterns("__pycache__"))
    for path in (tmp_path / "copied").rglob("*.py"):
        path.write_text(path.read_text().replace("lossybench.", "copied.").replace("from lossybench ", "from copied "))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(module, "NOT_FOLLOWED", {one.replace("lossybench", "copied") for one in module.NOT_FOLLOWED})
    stages = ("fetch", "compress", "train", "adopt", "evaluate", "attack", "aggregate", "report")

    def all_of_them():
        _forget()
        return {stage: module.fingerprint(f"copied.stages.{stage}") for stage in stages}

    before = all_of_them()
    path = tmp_path / "copied/stages/evaluate.py"
    text = path.read_text()
    path.write_text(text.replace('device: str = "auto"', 'device: str = "cpu"'))
    assert path.read_text() != text
    after = all_of_them()
    assert {stage for stage in stages if before[stage] != after[stage]} == {"evaluate"}
    for name, said in (("errors", "did you mean"), ("fingerprint", "hexdigest()[:16]")):
        path = tmp_path / f"copied/{name}.py"
        text = path.read_text()
        path.write_text(text.replace(said, said.upper()))
        assert path.read_text() != text
    path = tmp_path / "copied/artifacts.py"
    text = path.read_text()
    path.write_text(text.replace("no such artifact; run the stage", "there is no such artifact; run the stage"))
    assert path.read_text() != text and all_of_them() == after


def test_unknown_module_is_an_error(package):
    with pytest.raises(ModuleNotFoundError):
        module.fingerprint("sample.nothing")


def _closure(name):
    """A module of this package and all that it imports."""
    seen, queue = set(), [name]
    while queue:
        one = queue.pop()
        if one not in seen:
            seen.add(one)
            queue += module._read(one)[1]
    return seen


def test_training_does_not_depend_on_attacks():
    """A changed attack retrains nothing, adversarial training or not."""
    assert not [one for one in _closure("lossybench.training") if one.startswith("lossybench.attacks")]


def test_what_kinds_import_of_the_analysis_is_for_aggregate_alone():
    """Other stages do not follow it, so that what they call of a kind must not come from there."""
    aggregates = {"read", "settle", "measure", "apart", "judged_by", "attacked", "under_attack"}
    found = {
        function.name
        for path in Path(lossybench.__file__).parent.glob("tasks/*.py")
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("lossybench.analysis")
    }
    assert found and found <= aggregates


def test_codecs_do_not_depend_on_each_other():
    """Of two codec files neither is in the other's closure, and no codec reaches models or analysis."""
    from lossybench import codecs

    for name in codecs.names():
        seen = _closure(f"lossybench.codecs.{name}")
        others = {f"lossybench.codecs.{other}" for other in codecs.names() if other != name}
        assert not seen & others
        assert not [one for one in seen if one.startswith(("lossybench.models", "lossybench.analysis"))]


def test_a_users_module_is_followed_to_what_lies_beside_it(tmp_path, monkeypatch):
    """Into the neighbours and the own package; not into what is installed, and nothing is imported."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def put(name, text):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        _forget()

    put("beside_nets.py", "import torch, beside_layers\nfrom beside_more.deep import thing\nraise SystemExit\n")
    put("beside_layers.py", "X = 1\n")
    put("beside_more/deep.py", "thing = 1\n")  # a folder without __init__.py
    put("beside_other.py", "X = 1\n")
    before = module.fingerprint("beside_nets")
    assert "torch" not in module._read("beside_nets")[1]
    put("beside_other.py", "X = 2\n")
    assert module.fingerprint("beside_nets") == before
    put("beside_layers.py", "X = 2\n")
    after = module.fingerprint("beside_nets")
    put("beside_more/deep.py", "thing = 2\n")
    assert before != after != module.fingerprint("beside_nets")
    assert "beside_nets" not in sys.modules
