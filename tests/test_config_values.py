"""Every key of the config with every kind of wrong value: one line with the key, or a study that can be planned."""

from __future__ import annotations

import copy
import datetime
import json
import math
import re
import time
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic
import pytest
import yaml

from lossybench import codecs, data, kinds, yaml_files
from lossybench.attacks.attack_settings import DEFAULT_ATTACKS, AttackSettings
from lossybench.config import StudyConfig
from lossybench.errors import LossyBenchError
from lossybench.models import existing_settings
from lossybench.models.existing_settings import ExistingSettings
from lossybench.study import Study
from lossybench.tasks import training_settings
from lossybench.tasks.training_settings import TrainingSettings
from lossybench.tools import plan

# A study that has every key of the config, at a right value.
WHOLE = yaml.safe_load("""
results: results
seed: 0
deltas: [1, 2]
bootstrap: 1000
decoded: 20
rate: file
prices: {storage: 0.02, months: 12, transfer: 0.05, reads: 10, cpu: 0.04, currency: EUR}
defence_margin: 10
cluster:
  {account: me, partition: cpu, gpu: true, gpu_model: a100, gpu_partition: gpus,
   memory: {train: 4000}, minutes: {train: 9}}
tasks:
  toy:
    data: {adapter: digits, train: 100, scale: {resize: 40, crop: [32, 32], interpolation: bilinear}}
    codecs:
      jpeg: {levels: [50, 5], options: {chroma: '420'}}
      other:
        {codec: jpeg, options: {chroma: '444'}, title: Other JPEG, parameter: bytes, grid: {noise: [4]}, levels: [900]}
      hevc: [30]
      twice: {codec: jpeg, generations: 2, levels: [5]}
      camera: {chain: [{noise: 4}, {jpeg: 90, options: {chroma: '444'}}, {jpeg: LEVEL}], levels: [5]}
    models: {resnet: {epochs: 1}}
    seeds: [0, 1]
    regimes:
      mixed: {codecs: [jpeg], levels: {jpeg: [50]}, archs: [resnet], seeds: [0]}
      matched: [{codec: jpeg, levels: [5], archs: [resnet], seeds: [0]}]
      held_out: [{codec: jpeg, levels: {hevc: [30]}, archs: [resnet], seeds: [0]}]
      adversarial: {epsilon: 8/255, steps: 2, archs: [resnet], seeds: [0]}
    training: {minimum: 0.5}
    fidelity: full
    measures: []
    looks: [100, 200]
    by: [class]
    truth: labels
    truth_score: 0.5
    attack:
      archs: [resnet]
      regimes: {original: {items: 3}}
      seeds: [0]
      codecs: [jpeg]
      levels: {jpeg: [5]}
      goals: [untargeted]
      defences: {drawn: {draw: {jpeg: [50, 5]}}, in_a_row: {chain: [{codec: jpeg, level: 50}, {codec: jpeg, level: 5}]}}
  by_factor: &dealt
    data: {adapter: digits, train: 100}
    codecs: {jpeg: [5]}
    models: {resnet: {epochs: 1}}
    folds: {count: 2, by: digit, seed: 0}
  by_pattern:
    <<: *dealt
    folds: {count: 2, pattern: '([0-9])$'}
""")
TASKS = list(WHOLE["tasks"])
NESTED: Any = []
for _ in range(40):
    NESTED = [NESTED]
BAD: list[Any] = [
    *(None, True, False, -1, 0, 1, 2, 1.5, -0.5, 1e-300, 1e308, 2**32, 2**64, 10**400, math.nan, math.inf, -math.inf),
    *(
        "",
        " ",
        "yes",
        "1",
        "1e3",
        "1/0",
        "1e999999999",
        "nan dB",
        "9" * 400 + " dB",
        ".nan",
        "x\ny",
        "\x1b[31mred",
        "\0",
    ),
    *("$(touch pwn)", "'; touch pwn; '", "../..", "{task}", "-x", "~", "é" * 300, "x" * 1000, "\udc80", "<b>", "=1+1"),
    *([], [[]], [None], [True], [1, 1], ["a", "a"], [-1], [math.nan], ["jpeg", 3], list(range(1000)), NESTED),
    *({}, {"a": {}}, {None: 1}, {True: 1}, {1: 1}, {"": ""}, {"a\nb": [1]}, {"jpeg": {}}, {"jpeg": [math.nan]}),
    *(datetime.date(2020, 1, 1), b"bytes", {1, 2}),
]


def places(at: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in a config, sections and elements of lists included."""
    for key, value in at.items() if isinstance(at, dict) else enumerate(at) if isinstance(at, list) else ():
        yield (*path, key)
        yield from places(value, (*path, key))


def put(path: tuple[Any, ...], value: Any) -> Any:
    """WHOLE with `value` at this place."""
    config = copy.deepcopy(WHOLE)
    at = config
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return config


def keys(model: Any, path: str = "") -> Iterator[str]:
    """The path of every key of a section, with * for the names that the user gives."""
    for name, field in model.model_fields.items():
        yield f"{path}{name}"
        queue, below = [(field.annotation, f"{path}{name}.")], ""
        while queue:
            hint, below = queue.pop()
            if isinstance(hint, type) and issubclass(hint, pydantic.BaseModel):
                yield from keys(hint, below)
            star = "*." if typing.get_origin(hint) in (dict, list) else ""
            queue += [(one, below + star) for one in typing.get_args(hint)]


def refusal(make: Any, *arguments: Any) -> str:
    """The message of the LossyBenchError that `make` raises; "" when it raises none."""
    started = time.monotonic()
    try:
        make(*arguments)
    except LossyBenchError as error:
        return str(error)
    finally:
        assert time.monotonic() - started < 5
    return ""


def test_the_study_of_these_tests_has_every_key():
    there = {".".join("*" if p in TASKS or isinstance(p, int) else p for p in path) for path in places(WHOLE)}
    there = {re.sub(r"(defences|codecs)\.(jpeg|other|drawn|twice|in_a_row|camera)", r"\1.*", path) for path in there}
    assert set(keys(StudyConfig)) <= there
    assert Study(WHOLE).tasks == TASKS


def planned(config: Any) -> None:
    """All that rules ask of a study, before the first job."""
    study = Study(config)
    for task in study.tasks:
        for model in study.models(task):
            json.dumps([study.training_settings(model), study.training_conditions(model)])
        for model in study.attacked(task):
            json.dumps([study.attack_settings(model, "jpeg"), study.transferred(model)])
        for codec in study.task(task).codecs:
            json.dumps(study.coder(task, codec))
        json.dumps(study.task(task).data.options)
    paths = [str(path) for path in study.all_compressed("toy", "train") + study.all_outcomes("toy")]
    assert not any("{" in path or "\n" in path or "$" in path.replace(study.config.results, "") for path in paths)
    json.dumps([study.analysis_settings("toy"), study.requests("train")])
    assert sum(job.seconds for job in plan.costs(study)) > 0


@pytest.mark.parametrize("path", list(places(WHOLE)), ids=lambda path: ".".join(map(str, path)))
def test_every_key_takes_what_is_right_and_refuses_the_rest(path):
    for value in BAD:
        told = refusal(planned, put(path, value))
        names = [part for part in path if isinstance(part, str)]
        assert not told or any(name in told for name in names[-2:]), (value, told)
        if isinstance(value, bool) and path[-1] not in ("gpu",):
            assert told, value  # YAML's yes and no are no numbers


def tried(fields: dict[str, Any], make: Any) -> None:
    for name in fields:
        for value in BAD:
            told = refusal(make, {name: value})
            assert not told or name in told, (name, value, told)
            if isinstance(value, float) and not math.isfinite(value):
                assert told, (name, value)


@pytest.mark.parametrize("name", data.names())
def test_every_option_of_every_adapter(name):
    fields = data.dataset_class(name).model_fields
    required = {option: "/nowhere" for option, field in fields.items() if field.is_required()}
    required |= {"classes": ["a", "b"]} if "classes" in required else {}
    tried(dict(fields), lambda given: data.get(name, required | given))


@pytest.mark.parametrize("name", codecs.names())
def test_every_option_of_every_codec(name):
    known = codecs.codec_class(name).__dataclass_fields__
    tried(dict(known) | {"nosuch": None}, lambda given: codecs.get(name, given))
    for option, field in known.items():
        for value in (1.0, None, [], {}, *[True] * (not isinstance(field.default, bool))):
            with pytest.raises(LossyBenchError, match=option):
                codecs.get(name, {option: value})


@pytest.mark.parametrize(
    ("medium", "kind"), [(medium, kind) for kind in kinds.names() for medium in kinds.load(kind).defaults], ids="-".join
)
def test_every_setting_of_training_and_attacks(medium, kind):
    tried(TrainingSettings.model_fields, lambda given: training_settings.read(given, medium, kind))
    if (medium, kind) in DEFAULT_ATTACKS:
        tried(AttackSettings.model_fields, lambda given: AttackSettings.of(medium, kind, given))


def test_every_setting_of_an_existing_model(tmp_path):
    checkpoint = tmp_path / "net.pt"
    checkpoint.write_bytes(b"")
    right = {"checkpoint": str(checkpoint), "classes": ["cat", "dog"]}
    fields = {field.alias or name: field for name, field in ExistingSettings.model_fields.items()}
    tried(fields, lambda given: existing_settings.read("own", right | given, "image", "classification", ["cat", "dog"]))


WRONG_FILES: dict[str, tuple[bytes, str]] = {
    "a key twice": (b"a: 1\nb: {c: 1}\na: 3\n", "line 3: the key 'a' is there already, in line 1"),
    "a nested key twice": (b"a:\n  b: 1\n  b: 2\n", "line 3: the key 'b' is there already, in line 2"),
    "a key twice in a line": (b"{a: 1, a: 2}", "line 1: the key 'a' is there already"),
    "billions of values": (
        b"a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
        + b"".join(b"%c: &%c [%s]\n" % (i + 1, i + 1, b", ".join([b"*%c" % i] * 10)) for i in range(97, 110)),
        "more than 100,000 values",
    ),
    "an alias in itself": (b"a: &a [*a]", "an alias within what it stands for"),
    "a deep list": (b"a: " + b"[" * 100_000, "nested more than 50 deep"),
    "a Python object": (b"a: !!python/object/apply:os.system ['touch pwn']", "type python/object/apply:os.system"),
    "a date": (b"a: 2020-01-01", "type timestamp"),
    "an octal number": (b"a: 010", "010 is another number to YAML"),
    "a sexagesimal number": (b"a: 1:20", "1:20 is another number to YAML"),
    "a number of 10,000 digits": (b"a: " + b"9" * 10_000, "not YAML"),
    "UTF-16": ("a: 1".encode("utf-16"), "is not UTF-8"),
    "Latin-1": ("\n\na: größe".encode("latin-1"), "line 3 is not UTF-8"),
    "a tab": (b"a:\n\tb: 1", "not YAML"),
    "bytes": (b"a: \0\x1b", "not YAML"),
    "two documents": (b"a: 1\n---\nb: 2\n", "not YAML"),
    "a megabyte": (b"a: " + b"x" * 2_000_000, "more than 1,048,576 bytes"),
}


@pytest.mark.parametrize("name", WRONG_FILES)
def test_a_file_that_is_no_config_is_told_in_one_line(name, tmp_path):
    path, (content, message) = tmp_path / "study.yaml", WRONG_FILES[name]
    path.write_bytes(content)
    told = refusal(yaml_files.load, path)
    assert told.startswith(f"{path}: ") and message in told and "\n" not in told


def test_what_is_no_file_is_told(tmp_path):
    assert "no such config file" in refusal(yaml_files.load, tmp_path / "none.yaml")
    assert "Is a directory" in refusal(yaml_files.load, tmp_path)
    assert "more than 1,048,576 bytes" in refusal(yaml_files.load, Path("/dev/zero"))


@pytest.mark.parametrize("path", [*Path(__file__).parents[1].glob("config/**/*.yaml")], ids=lambda path: path.name)
def test_right_files_are_read_as_yaml_reads_them(path):
    assert yaml_files.load(path) == yaml.safe_load(path.read_text())


def test_a_byte_order_mark_and_merged_keys_are_right(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: &a {x: 1, y: 2}\nb: &b {<<: *a, x: 3}\nc: {<<: *b, x: 4}\n")
    assert yaml_files.load(path) == {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 2}, "c": {"x": 4, "y": 2}}


def test_what_yaml_made_of_a_value_is_explained():
    told = refusal(Study, put(("bootstrap",), "1e3"))
    assert told == ("bootstrap: input should be a valid integer (got '1e3'; YAML reads it as a text, so write 1000)")
    assert "put it in quotes" in refusal(codecs.get, "opus", {"vbr": True})


@pytest.mark.parametrize(
    "results", ["r{x}", "{task}", "-r", "~/r", "", ".", "a\nb", "a\tb", " r", "x" * 300, "\x1b[2J"]
)
def test_results_that_snakemake_would_take_for_something_else_are_refused(results):
    assert refusal(Study, put(("results",), results)).startswith("results: ")


@pytest.mark.parametrize("results", ["r $(touch pwn)", "a/../b", "/tmp/ä \"'&;#%[1]*?", "../r", "r/", "r:x", "$HOME"])
def test_other_names_of_results_are_names(results):
    assert Study(put(("results",), results)).layout.root == Path(results)


def test_results_are_a_folder_apart_from_the_data(tmp_path):
    (tmp_path / "file").touch()
    assert "is no folder" in refusal(Study, put(("results",), str(tmp_path / "file/r")))
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
    study = put(("tasks", "toy", "data"), {"adapter": "image_folder", "path": str(tmp_path / "photos")})
    study["results"] = str(tmp_path / "photos/results")
    assert "results: lies in the data of tasks.toy" in refusal(Study, study)


def test_a_class_is_no_function_of_python(tmp_path):
    (tmp_path / "net.pt").touch()
    own = {"checkpoint": str(tmp_path / "net.pt"), "class": "os:system", "arguments": {"command": "touch pwn"}}
    told = refusal(existing_settings.read, "own", own | {"classes": 2}, "image", "classification")
    assert "os is a module of Python itself" in told
