"""Evaluation: outcomes of every item at every level, in order, repeatable."""

from __future__ import annotations

import json
import os
import shutil

import media_tables
import numpy as np
import pytest
import torch

from lossybench import artifacts, codecs, models
from lossybench.codecs import jpeg
from lossybench.errors import LossyBenchError
from lossybench.models.inputs import Input, prepare
from lossybench.stages import evaluate as stage
from lossybench.stages.evaluate import evaluate


def _save(folder, arch, medium, kind, classes, shape, **settings):
    torch.manual_seed(0)
    model = models.build(arch, medium, kind, len(classes), Input(shape))
    info = {
        "task": "toy",
        "arch": arch,
        "regime": "original",
        "seed": 0,
        "medium": medium,
        "kind": kind,
        "classes": classes,
        "input": {"shape": list(shape), "sampling_rate": 0.0},
        "settings": {"frame_stride": 2, "frames_per_clip": 1, "label_smoothing": 0.0, **settings},
    }
    models.save(model.state_dict(), info, [], folder)
    return folder


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    data, _, original = media_tables.image_task(folder, train=2)
    tests = [
        media_tables.write_compressed(folder / f"{level}.parquet", data, "jpeg", level, ("test",)) for level in (90, 10)
    ]
    model = _save(folder / "model", "resnet", "image", "classification", media_tables.CLASSES, (32, 32))
    return data, original, tests, model


def test_outcomes_equal_the_model_on_each_item(toy, tmp_path):
    data, _, tests, folder = toy
    evaluate([folder], data, tests, [tmp_path / "out.parquet"], device="cpu")
    rows = artifacts.read_table(tmp_path / "out.parquet").to_pylist()
    truth = {row["id"]: row for row in artifacts.iter_rows(data, splits=["test"])}
    assert [row["level"] for row in rows] == [90.0] * 20 + [10.0] * 20
    assert [row["id"] for row in rows[:20]] == list(truth) == [row["id"] for row in rows[20:]]
    model, info = models.load(folder)
    for row, packed in zip(rows[20:], artifacts.iter_rows(tests[1]), strict=True):
        decoded = codecs.get("jpeg").decode(packed["payload"], (32, 32, 3))
        with torch.inference_mode():
            expected = model(torch.from_numpy(prepare(decoded, info))[None]).softmax(1)[0]
        np.testing.assert_allclose(row["scores"], expected, rtol=1e-4, atol=1e-5)
        assert row["label"] == truth[row["id"]]["label"]
        assert row["prediction"] == int(expected.argmax()) and row["correct"] == (row["prediction"] == row["label"])
    meta = artifacts.read_meta(tmp_path / "out.parquet")
    assert meta["codec"] == "jpeg" and meta["arch"] == "resnet" and meta["classes"] == media_tables.CLASSES


def test_same_bytes_again(toy, tmp_path):
    for name in ("a", "b"):
        evaluate([toy[3]], toy[0], [toy[1]], [tmp_path / name], device="cpu")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """Three models of the toy task, of which two take in the same and one is of another input."""
    folder = tmp_path_factory.mktemp("several")
    kinds = ("image", "classification", media_tables.CLASSES)
    return [
        _save(folder / "a", "resnet", *kinds, (32, 32)),
        _save(folder / "b", "patch_transformer", *kinds, (24, 24)),
        _save(folder / "c", "patch_transformer", *kinds, (32, 32)),
    ]


@pytest.mark.parametrize("room", [2**30, 1], ids=["all in memory", "one in memory at a time"])
def test_models_asked_together_answer_as_each_does_alone(toy, several, tmp_path, monkeypatch, room):
    monkeypatch.setattr(stage, "TOGETHER", room)
    together = [tmp_path / f"{number}.parquet" for number in range(3)]
    evaluate(several, toy[0], toy[2], together, device="cpu", threads=2)
    for model, made in zip(several, together, strict=True):
        evaluate([model], toy[0], toy[2], [tmp_path / "alone"], device="cpu")
        assert made.read_bytes() == (tmp_path / "alone").read_bytes()


def test_each_item_is_decoded_once_for_all_models(toy, several, tmp_path, monkeypatch):
    decode, decoded = jpeg.Jpeg.decode, []
    monkeypatch.setattr(
        jpeg.Jpeg, "decode", lambda self, payload, *how: decoded.append(payload) or decode(self, payload, *how)
    )
    evaluate(several, toy[0], toy[2], [tmp_path / name for name in "abc"], device="cpu")
    assert len(decoded) == 20 * 2


def test_tables_of_the_same_model_items_and_code_stay_as_they_are(toy, several, tmp_path):
    folders = [shutil.copytree(model, tmp_path / f"m{number}") for number, model in enumerate(several[:2])]
    out, record = [tmp_path / "a.parquet", tmp_path / "b.parquet"], tmp_path / "record.json"

    def remade(tests=toy[2], **how) -> list[bool]:
        before = [path.stat().st_mtime_ns if path.exists() else 0 for path in out]
        evaluate(folders, toy[0], tests, out, record, "cpu", **how)
        return [path.stat().st_mtime_ns != when for path, when in zip(out, before, strict=True)]

    assert remade() == [True, True]
    kept = [path.read_bytes() for path in out]
    assert list(json.loads(record.read_text())) == list(map(str, out))
    assert remade() == [False, False]
    out[0].unlink()
    assert remade() == [True, False]
    os.truncate(out[1], out[1].stat().st_size // 2)
    assert remade() == [False, True]
    assert [path.read_bytes() for path in out] == kept
    # The same bitstreams in a table with other measurements.
    rows = [row | {"psnr": 30.0} for row in artifacts.iter_rows(toy[2][0])]
    measured = tmp_path / "measured.parquet"
    artifacts.write_table(measured, artifacts.COMPRESSED, rows, dict(artifacts.read_meta(toy[2][0])))
    assert remade(tests=[measured, toy[2][1]]) == [False, False]
    model, info = models.load(folders[0])
    models.save({name: value * 2 for name, value in model.state_dict().items()}, info, [], folders[0])
    assert remade() == [True, False]
    assert remade(tests=toy[2][:1]) == [True, True]
    assert remade(tests=toy[2][:1]) == [False, False]
    assert remade(tests=toy[2][:1], anew=True) == [True, True]


def test_a_table_for_each_model_is_asked_for(toy, tmp_path):
    with pytest.raises(LossyBenchError, match="1 models and 2 tables; give one table for each model"):
        evaluate([toy[3]], toy[0], toy[2], [tmp_path / "a", tmp_path / "b"], device="cpu")


def test_tables_that_do_not_belong_together_are_refused(toy, tmp_path):
    data, original, tests, folder = toy
    with pytest.raises(LossyBenchError, match="codec 'jpeg'"):
        evaluate([folder], data, [original, tests[0]], [tmp_path / "o"], device="cpu")
    other = tmp_path / "other.parquet"
    rows = list(artifacts.iter_rows(original))
    meta = artifacts.read_meta(original)
    artifacts.write_table(other, artifacts.COMPRESSED, rows, {**meta, "task": "another"})
    with pytest.raises(LossyBenchError, match="task 'another'"):
        evaluate([folder], data, [other], [tmp_path / "o"], device="cpu")
    artifacts.write_table(other, artifacts.COMPRESSED, rows[:-2], meta)
    with pytest.raises(LossyBenchError, match="lacks 2 test items"):
        evaluate([folder], data, [other], [tmp_path / "o"], device="cpu")
    with pytest.raises(LossyBenchError, match="no compressed tables"):
        evaluate([folder], data, [], [tmp_path / "o"], device="cpu")
    assert not (tmp_path / "o").exists()


def test_detection_outcomes_are_in_item_coordinates(tmp_path):
    """A clip of 32 x 48 seen at 64 x 64: each second frame has its row, its truth as stored, boxes inside the clip."""
    random = np.random.default_rng(0)
    clip = random.integers(0, 256, (5, 32, 48, 3)).astype(np.uint8)
    boxes = [{"frame": frame, "x0": 3.0, "y0": 4.0, "x1": 20.0, "y1": 30.0, "label": 1} for frame in range(5)]
    rows = [media_tables.data_row("clip", "test", clip, boxes=boxes, sampling_rate=25.0)]
    data = media_tables.write_data(tmp_path / "data.parquet", rows, "video", "detection", ["a", "b"])
    test = media_tables.write_compressed(tmp_path / "test.parquet", data, "original", 0, ("test",))
    folder = _save(tmp_path / "model", "fcos", "video", "detection", ["a", "b"], (1, 64, 64))
    model, _ = models.load(folder)
    model.detector.score_thresh = 0.0
    evaluate([folder], data, [test], [tmp_path / "out.parquet"], device="cpu")
    found = artifacts.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["frame"] for row in found] == [0, 2, 4]
    for row in found:
        assert row["true_boxes"] == [3, 4, 20, 30] and row["true_labels"] == [1]
        predicted = np.array(row["boxes"]).reshape(-1, 4)
        assert len(predicted) == len(row["labels"]) == len(row["scores"])
        assert row["scores"] == sorted(row["scores"], reverse=True)
        assert (predicted <= np.array([48, 32, 48, 32]) + 1e-4).all() and (predicted >= 0).all()
