"""Codec identification: a task whose items are what another task's compressed tables decode to."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import media_tables
import numpy as np
import pytest
import small_study
from sklearn.metrics import confusion_matrix

from lossybench import artifacts, codecs, data
from lossybench.analysis import identification, tables
from lossybench.analysis.intervals import wilson
from lossybench.analysis.outcomes import read_task
from lossybench.analysis.sampling import Sampling
from lossybench.conditions import REFERENCE, Condition
from lossybench.errors import LossyBenchError
from lossybench.reporting import recommendations
from lossybench.reporting.summary import Summary
from lossybench.stages.compress import compress
from lossybench.stages.fetch import fetch
from lossybench.study import Study
from lossybench.tasks import kinds
from lossybench.tools import plan

STUDY = {
    "tasks": {
        "digits": {
            "data": {"adapter": "digits", "train": 30, "val": 10, "test": 20, "size": 48},
            "codecs": {
                "jpeg": [90, 10],
                "webp": [50],
                "opaque": {"codec": "jpeg", "options": {"chroma": "444"}, "levels": [50]},
            },
            "models": {"resnet": {"epochs": 1}},
        },
        "which": {
            "data": {
                "adapter": "codec_identification",
                "task": "digits",
                "codecs": ["jpeg", "opaque"],
                "test": 12,
                "crop": 32,
            },
            "codecs": {"jpeg": [75]},
            "models": {"resnet": {"epochs": 1}},
        },
    }
}


def _study(folder: Path, **changes) -> Study:
    config = copy.deepcopy(STUDY) | {"results": str(folder / "results")}
    for path, value in changes.items():
        task, section, key = path.split("__")
        config["tasks"][task].setdefault(section, {})[key] = value
    return Study(config)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study whose first task is compressed, and the items of the second."""
    study = _study(tmp_path_factory.mktemp("study"))
    digits = study.task("digits").data
    fetch(digits.adapter, "digits", study.layout.data("digits"), digits.options)
    for _, codec, part, levels in study.compressions("digits"):
        out = [study.layout.compressed("digits", Condition(codec, level), part) for level in levels]
        compress(study.layout.data("digits"), codec, levels, out, part, **study.coder("digits", codec))
    options = json.loads(json.dumps(study.data_options("which")))
    fetch("codec_identification", "which", study.layout.data("which"), options)
    return study


def test_items_are_what_the_other_task_decodes_to(made):
    about = made.description("which")
    assert about.classes == ["Original", "JPEG QF 90", "JPEG QF 10", "JPEG 4:4:4 QF 50"]
    assert about.counts == {"train": 120, "val": 40, "test": 48} and about.medium == "image"
    path = made.layout.data("which")
    rows = list(artifacts.iter_rows(path))
    assert len(rows) == 208 and {row["label"] for row in rows} == {0, 1, 2, 3}
    assert artifacts.read_meta(path)["conditions"] == [["original", 0], ["jpeg", 90], ["jpeg", 10], ["opaque", 50]]
    # No item of the other task is in two splits, and all versions of one share a group.
    source = {row["id"]: row for row in artifacts.iter_rows(made.layout.data("digits"))}
    for row in rows:
        codec, level, name = row["id"].split("/", 2)
        assert (
            dict(row["groups"]) == {"item": name, **dict(source[name]["groups"])}
            and row["split"] == source[name]["split"]
        )
        assert artifacts.read_meta(path)["conditions"][row["label"]] == [codec, float(level)]
    # What is cut out of the middle begins where blocks do: the picture itself, coded and decoded here.
    original = codecs.get("original")
    row = next(row for row in rows if row["label"] == 2)
    name = row["id"].split("/", 2)[2]
    whole = original.decode(source[name]["media"], (48, 48, 3), 0)
    lossy = codecs.get("jpeg")
    decoded = lossy.decode(lossy.encode(whole, 10, 0).payload, (48, 48, 3), 0)
    assert (original.decode(row["media"], (32, 32, 3), 0) == decoded[:32, :32]).all()


@pytest.mark.parametrize("kept", [slice(None, -1), slice(1, None)])
def test_tables_of_other_items_are_named(made, tmp_path, kept):
    """One that lacks its last item, and one that lacks its first."""
    options = json.loads(json.dumps(made.data_options("which")))
    path = made.layout.compressed("digits", Condition("jpeg", 10), "test")
    rows = artifacts.read_table(path).to_pylist()[kept]
    artifacts.write_table(tmp_path / "fewer.parquet", artifacts.COMPRESSED, rows, artifacts.read_meta(path))
    options = json.loads(json.dumps(options).replace(str(path), str(tmp_path / "fewer.parquet")))
    with pytest.raises(LossyBenchError, match=r"fewer\.parquet: has other items than .*; compress both again"):
        fetch("codec_identification", "which", tmp_path / "which.parquet", options)


def test_levels_may_be_tested_that_nothing_was_learnt_from(made):
    study = _study(made.layout.root.parent, which__data__tell="codec", which__data__unseen={"jpeg": [10]})
    assert study.description("which").classes == ["Original", "JPEG", "JPEG 4:4:4"]
    assert study.description("which").counts == {"train": 90, "val": 30, "test": 48}
    out = made.layout.root / "codecs.parquet"
    fetch("codec_identification", "which", out, json.loads(json.dumps(study.data_options("which"))))
    rows = artifacts.read_table(out, ["id", "split", "label"]).to_pandas()
    assert artifacts.read_meta(out)["conditions"] == [["original", None], ["jpeg", None], ["opaque", None]]
    unseen = rows[rows["id"].str.startswith("jpeg/10/")]
    assert set(unseen["split"]) == {"test"} and set(unseen["label"]) == {1} and len(unseen) == 12
    assert set(rows[rows["id"].str.startswith("jpeg/90/")]["label"]) == {1}
    files = study.read_tables("which")
    assert study.layout.compressed("digits", Condition("jpeg", 10), "train") not in files
    assert ("jpeg", [90]) in [
        (codec, levels) for _, codec, part, levels in study.compressions("digits") if part == "train"
    ]


def test_the_other_task_compresses_what_this_one_reads(made):
    parts = {(codec, part): levels for _, codec, part, levels in made.compressions("digits")}
    assert parts["jpeg", "train"] == [90, 10] and parts["opaque", "train"] == [50] and ("webp", "train") not in parts
    files = made.read_tables("which")
    assert files[0] == made.layout.data("digits") and len(files) == 1 + 2 * 4 and all(path.exists() for path in files)
    assert set(files[1:5]) <= set(made.all_compressed("digits", "train"))
    assert made.read_tables("digits") == []


def test_what_cannot_be_identified_is_named(tmp_path):
    with pytest.raises(
        LossyBenchError, match=r"tasks\.which\.data: task: 'digit' is no task of this study .*; did you mean 'digits'"
    ):
        _study(tmp_path, which__data__task="digit")
    with pytest.raises(
        LossyBenchError, match=r"tasks\.which\.data: task: 'which' is no task of this study with items of its own"
    ):
        _study(tmp_path, which__data__task="which")
    with pytest.raises(
        LossyBenchError, match=r"tasks\.which\.data: codecs: 'jpg' is not in digits; did you mean 'jpeg'"
    ):
        _study(tmp_path, which__data__codecs=["jpg"])
    with pytest.raises(
        LossyBenchError, match=r"tasks\.which\.data: task: digits has not the splits train, val and test"
    ):
        _study(tmp_path, digits__folds__count=5)
    with pytest.raises(LossyBenchError, match=r"data: unseen: no model tells a level .*; set tell: codec"):
        _study(tmp_path, which__data__unseen={"jpeg": [10]})
    with pytest.raises(LossyBenchError, match=r"data: unseen\.jpeg: 11\.0 is none of original/0, jpeg/90"):
        _study(tmp_path, which__data__unseen={"jpeg": [11]}, which__data__tell="codec")
    with pytest.raises(LossyBenchError, match=r"data: unseen\.opaque: leaves no level to learn from"):
        _study(tmp_path, which__data__unseen={"opaque": [50]}, which__data__tell="codec")
    with pytest.raises(LossyBenchError, match="there within a study alone"):
        data.describe("codec_identification", {"task": "digits"})


def test_the_table_is_the_confusion_matrix_with_intervals(tmp_path):
    random = np.random.default_rng(0)
    classes = [["original", 0.0], ["jpeg", 90.0], ["jpeg", 10.0], ["webp", 50.0]]
    labels = np.repeat(np.arange(4), 50)
    kind = kinds.load("classification")

    def _named(place: int) -> str:
        codec, level = classes[labels[place]]
        return f"{codec}/{level:g}/i/{place}"

    rows = [
        media_tables.data_row(_named(i), "test", np.zeros((8, 8, 3), np.uint8), int(x)) for i, x in enumerate(labels)
    ]
    meta = {"task": "which", "medium": "image", "kind": "classification", "classes": list("abcd"), "card": {}}
    artifacts.write_table(tmp_path / "data.parquet", kind.data_schema(), rows, meta)
    task = read_task([tmp_path / "data.parquet"], kind.truth.names)
    told = [np.where(random.random(200) < 0.7, labels, random.integers(0, 4, 200)) for _ in range(2)]
    files = {}
    for seed, predictions in enumerate(told):
        outcomes = [
            {"id": _named(i), "level": 0.0, "label": int(label), "prediction": int(one), "correct": bool(one == label)}
            | {"scores": [0.0] * 4}
            for i, (label, one) in enumerate(zip(labels, predictions, strict=True))
        ]
        path = tmp_path / f"{seed}.parquet"
        artifacts.write_table(path, kind.schema, random.permutation(outcomes).tolist(), {})
        files[seed] = [path]
    conditions = {REFERENCE: {"codec": "original", "level": 0.0, "strength": 0}}
    how = Sampling.draw(200, {}, 100, 0)
    found = list(identification.rows({("net", "original"): {"original": files}}, conditions, classes, task, how))
    wanted = sum(confusion_matrix(labels, one) for one in told) / 100
    names = [tuple(one) for one in classes]
    for row in found:
        true = names.index((row["true_codec"], row["true_level"]))
        chosen = [
            place
            for place, (codec, level) in enumerate(names)
            if codec == row["told_codec"] and row["told_level"] in (None, level)
        ]
        assert row["share"] == pytest.approx(wanted[true, chosen].sum()) and row["n"] == 50
        assert row["share_low"] <= row["share"] <= row["share_high"]
        assert row["share_high"] - row["share_low"] <= np.ptp(wilson(row["share"], 50, 1.96)) + 1e-6
    exact = [row for row in found if row["told_level"] is not None]
    assert len(exact) == np.count_nonzero(wanted) and sum(row["share"] for row in exact) == pytest.approx(4)


def test_snakemake_makes_the_items_of_what_the_other_task_compressed(tmp_path):
    folder = small_study.project(tmp_path / "study", {"results": "results", **STUDY})
    study = Study({"results": str(tmp_path / "other"), **STUDY})
    target = "results/data/which.parquet"
    counts = _counted(small_study.run(folder, "-n", "--quiet", "host", "--", target))
    wanted = {
        f"compress_digits_{codec}_{part}" for codec in ("original", "jpeg", "opaque") for part in ("train", "test")
    }
    assert set(counts) == {"fetch", "preflight", "cleared"} | wanted and counts["fetch"] == 2
    every = {rule: count for rule, count in plan.jobs(study).items() if count}
    assert _counted(small_study.run(folder, "-n", "--quiet", "host")) == every


def _counted(said: str) -> dict[str, int]:
    """The number of jobs of each rule, as a dry run says them last."""
    found = {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", said, re.MULTILINE)}
    assert found.pop("total") == sum(found.values())
    return found


def test_the_recommendations_say_what_was_told(tmp_path):
    schema, titles = tables.SCHEMAS["identification"], ["Original", "JPEG QF <90>"]
    conditions = [["original", 0.0], ["jpeg", 90.0]]
    shares = {("original", None): 0.25, ("jpeg", None): 0.75, ("original", 0.0): 0.25, ("jpeg", 90.0): 0.75}
    rows = [
        {"arch": "net", "regime": "original", "codec": "original", "level": 0.0, "strength": 0, "true_codec": true}
        | {"true_level": level, "told_codec": codec, "told_level": at, "n": 20}
        | {"share": share, "share_low": share - 0.1, "share_high": share + 0.1}
        for true, level in conditions
        for (codec, at), share in shares.items()
    ]
    artifacts.write_table(tmp_path / "identification.parquet", schema, rows)
    told = type("Told", (Summary,), {"meta": {"conditions": conditions, "classes": titles}, "archs": ["net"]})

    said = recommendations._identification_text(told(tmp_path)).splitlines()
    assert said[-2] == "| Original | net | 25.0 % (15.0 to 35.0) | 25.0 % (15.0 to 35.0) | JPEG QF \\<90\\>, 75.0 % |"
    assert said[-1] == "| JPEG QF \\<90\\> | net | 75.0 % (65.0 to 85.0) | 75.0 % (65.0 to 85.0) | Original, 25.0 % |"
    artifacts.write_table(tmp_path / "none" / "identification.parquet", schema, [])
    assert recommendations._identification_text(told(tmp_path / "none")) == ""
