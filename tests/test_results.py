"""A results folder as frames: they equal the files, all columns say their units, and no more is read than asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from test_report import Synthetic

from lossybench import artifacts, kinds
from lossybench.analysis.tables import SCHEMAS
from lossybench.artifacts import write_table
from lossybench.errors import LossyBenchError
from lossybench.results import Results

CLASSES = kinds.load("classification")
MODELS = [("net", "original", 0), ("net", "original", 1), ("net", "matched_jpeg_10", 0), ("vit", "mixed", 0)]
LEVELS = {"original": [0.0], "jpeg": [10.0, 0.5]}
PAYLOAD = b"some bitstream"


def filled(schema: pa.Schema, **values) -> dict:
    return {name: values.get(name) for name in schema.names}


def fill(root: Path, task: str = "digits") -> None:
    """The item-level files of a task, small but in their places: see MODELS and LEVELS."""
    ids = [f"item{i}" for i in range(3)]
    made = {"split": "test", "media": PAYLOAD}
    schema = CLASSES.data_schema()
    rows = [filled(schema, id=one, groups={"voice": one}, label=i, **made) for i, one in enumerate(ids)]
    write_table(root / f"data/{task}.parquet", schema, rows, {"task": task})
    for codec, levels in LEVELS.items():
        for level in levels:
            path = root / f"compressed/{task}/{codec}/{level:g}/test.parquet"
            rows = [filled(artifacts.COMPRESSED, id=one, payload=PAYLOAD, payload_bits=112, rate=level) for one in ids]
            write_table(path, artifacts.COMPRESSED, rows, {"codec": codec, "level": level})
        for arch, regime, seed in MODELS:
            schema = CLASSES.schema
            rows = [
                filled(schema, id=one, level=level, label=i, prediction=(i + seed) % 3, scores=[0.2, 0.3, 0.5])
                for level in levels
                for i, one in enumerate(ids)
            ]
            write_table(root / f"outcomes/{task}/{arch}/{regime}/{seed}/{codec}.parquet", schema, rows, {})
            rows = [filled(artifacts.ATTACKS, id=one, attack="pgd", adversarial=PAYLOAD, label=1) for one in ids]
            write_table(root / f"attacks/{task}/{arch}/{regime}/{seed}/{codec}.parquet", artifacts.ATTACKS, rows, {})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder of two tasks with all summary tables, and the items of one."""
    root = tmp_path_factory.mktemp("results")
    Synthetic("classification", "image").write(root / "summary/digits")
    Synthetic("detection", "video").write(root / "summary/street")
    fill(root)
    return root


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_table_holds_the_rows_of_all_its_files(root, name):
    frame = getattr(Results(root), name)
    assert frame.equals(Results(root).summary(name)) and list(frame) == ["task", *SCHEMAS[name].names]
    for task in ("digits", "street"):
        rows = frame[frame["task"] == task].drop(columns="task").reset_index(drop=True)
        stored = pd.read_parquet(root / f"summary/{task}/{name}.parquet")
        pd.testing.assert_frame_equal(rows, stored, check_dtype=False)
    assert len(frame) == sum(len(pd.read_parquet(path)) for path in root.glob(f"summary/*/{name}.parquet"))


ITEM_TABLES = [artifacts.DATA, artifacts.COMPRESSED, artifacts.ATTACKS, artifacts.DETECTION_ATTACKS]
ITEM_TABLES += [schema for name in kinds.names() for schema in (kinds.load(name).truth, kinds.load(name).schema)]
UNITS = {
    "",
    "share",
    "points",
    "%",
    "dB",
    "bits",
    "bytes",
    "bytes an item",
    "items",
    "groups",
    "seeds",
    "pixels",
    "full scale",
    "Hz or frames/s",
}
UNITS |= {
    artifacts.RATE,
    artifacts.LEVEL,
    artifacts.EPSILON,
    "raw bits per bit",
    "as its note says",
    "as `missing` says",
    "as `unit` says",
    "as the degradation has it",
    "items; true objects in detection",
}


@pytest.mark.parametrize("schema", [*SCHEMAS.values(), *ITEM_TABLES])
def test_every_number_states_its_unit_or_that_it_has_none(schema):
    for field in schema:
        if pa.types.is_integer(field.type) or pa.types.is_floating(field.type):
            assert b"unit" in (field.metadata or {}), field.name
    assert set(artifacts.units(schema).values()) <= UNITS
    for field in schema:
        if pa.types.is_string(field.type) or pa.types.is_boolean(field.type):
            assert artifacts.units(schema)[field.name] == "", field.name


def test_every_frame_says_the_units_of_all_its_columns(root):
    results = Results(root)
    frames = {name: results.summary(name) for name in SCHEMAS} | {
        "items": results.items("digits"),
        "compressed": results.compressed("digits"),
        "outcomes": results.outcomes("digits"),
        "attacked": results.attacked("digits"),
    }
    for name, frame in frames.items():
        assert list(frame.attrs["units"]) == list(frame), name
    wanted = {
        "conditions": {"psnr": "dB", "ssim": "", "saving": "share", "rate": artifacts.RATE, "codec": "", "n": "items"},
        "limits": {"delta": "points", "reference": "share", "level": artifacts.LEVEL, "task": ""},
        "bd": {"bd_rate": "%", "bd_metric": "points"},
        "attacks": {"gain": "share", "epsilon": artifacts.EPSILON, "seed": ""},
        "compressed": {"payload_bits": "bits", "level": artifacts.LEVEL, "part": ""},
        "outcomes": {"level": artifacts.LEVEL, "seed": "", "label": ""},
        "attacked": {"linf": "full scale", "snr": "dB"},
        "items": {"sampling_rate": "Hz or frames/s"},
    }
    for name, units in wanted.items():
        assert units.items() <= frames[name].attrs["units"].items(), name


def test_outcomes_are_those_of_the_files_with_what_their_paths_say(root):
    frame = Results(root).outcomes("digits")
    assert len(frame) == len(MODELS) * 3 * 3
    assert frame["seed"].dtype == "int64" and set(
        zip(frame["arch"], frame["regime"], frame["seed"], strict=True)
    ) == set(MODELS)
    for (arch, regime, seed, codec), rows in frame.groupby(["arch", "regime", "seed", "codec"]):
        stored = pd.read_parquet(root / f"outcomes/digits/{arch}/{regime}/{seed}/{codec}.parquet")
        own = rows[list(stored)].reset_index(drop=True)
        pd.testing.assert_frame_equal(own.drop(columns="scores"), stored.drop(columns="scores"), check_dtype=False)
        assert [list(one) for one in own["scores"]] == [list(one) for one in stored["scores"]]


def test_only_the_files_that_fit_are_opened(tmp_path):
    fill(tmp_path)
    for path in tmp_path.glob("outcomes/digits/*/*/*/original.parquet"):
        path.write_bytes(b"not Parquet")
    (tmp_path / "outcomes/digits/net/original/0/.jpeg.parquet.17.ab.part.parquet").write_bytes(b"half written")
    results = Results(tmp_path)
    assert len(results.outcomes("digits", codec="jpeg")) == len(MODELS) * 2 * 3
    matched = results.outcomes("digits", codec="jpeg", regime="matched_*", columns=["id", "level"])
    assert list(matched) == ["task", "arch", "regime", "seed", "fold", "codec", "id", "level"] and len(matched) == 6
    assert set(results.outcomes("digits", codec="j*", seed=1)["regime"]) == {"original"}
    with pytest.raises(LossyBenchError, match=r"original\.parquet: damaged"):
        results.outcomes("digits", arch="vit")


def test_bitstreams_are_left_out_unless_asked_for(root):
    results = Results(root)
    frame = results.compressed("digits", codec="jpeg", level=0.5)
    assert len(frame) == 3 and set(frame["level"]) == {0.5} and "payload" not in frame
    assert set(results.compressed("digits", level=10.0, part="test")["rate"]) == {10.0}
    assert set(results.compressed("digits", columns=["payload"])["payload"]) == {PAYLOAD}
    assert "media" not in results.items("digits") and list(results.items("digits")["label"]) == [0, 1, 2]
    attacked = results.attacked("digits", arch="vit")
    assert "adversarial" not in attacked and set(attacked["regime"]) == {"mixed"}


def test_a_study_that_is_not_finished_shows_what_it_has(tmp_path):
    fill(tmp_path, "early")
    results = Results(tmp_path)
    assert results.tasks == ["early"] and len(results.items("early")) == 3
    with pytest.raises(LossyBenchError, match="summary: no table 'limits'; nothing is there yet"):
        results.limits  # noqa: B018
    Synthetic("classification", "audio").write(tmp_path / "summary/words")
    assert results.tasks == ["early", "words"] and set(results.limits["task"]) == {"words"}


@pytest.mark.parametrize(
    "ask, message",
    [
        (lambda results: results.summary("limit"), "no summary table 'limit'; did you mean 'limits'"),
        (lambda results: results.outcomes("digit"), "no task 'digit'; did you mean 'digits'"),
        (lambda results: results.outcomes("digits", codec="jpg"), "no codec 'jpg'; did you mean 'jpeg'"),
        (lambda results: results.outcomes("digits", seed=7), "no seed '7'; known: 0, 1"),
        (lambda results: results.outcomes("digits", arch="vit", seed=1), "no seed '1'; known: 0"),
        (lambda results: results.outcomes("digits", regim="mixed"), "by 'regim'; did you mean 'regime'"),
        (lambda results: results.outcomes("digits", columns=["levle"]), "no column 'levle'; did you mean 'level'"),
        (lambda results: results.compressed("digits", level=7), "no level '7'; known: 0, 0.5, 10"),
        (lambda results: results.meta("digit"), "digit/conditions.parquet: no such artifact"),
    ],
)
def test_what_is_not_there_is_answered_with_what_is(root, ask, message):
    with pytest.raises(LossyBenchError, match=message):
        ask(Results(root))


@pytest.mark.parametrize("name", ["", "nothing"])
def test_a_folder_of_no_results_is_refused_by_name(tmp_path, name):
    with pytest.raises(LossyBenchError, match=f"{tmp_path / name}: no results folder; give one that holds"):
        Results(tmp_path / name)


def test_it_is_read_without_torch():
    code = "import sys, lossybench.results; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
