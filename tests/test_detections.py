"""Detectors' programs, ONNX and torch.export, by what their tensors mean; on pictures and, frame by frame, on clips."""

from __future__ import annotations

import itertools
import json
import sys
import textwrap
import warnings

import media_tables
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.ops import box_convert

from lossybench import artifacts, codecs, models
from lossybench.errors import LossyBenchError
from lossybench.models import existing_settings as settings
from lossybench.models.inputs import Input, fit
from lossybench.stages.adopt import adopt
from lossybench.stages.attack import attack
from lossybench.stages.evaluate import evaluate
from lossybench.stages.preflight import preflight

SIZE = (64, 96)  # what the detector sees: another shape than that of the items
CLASSES = ["sky", "spot", "dark spot"]  # of the detector; the data set has the last two


class Spots(nn.Module):
    """Three candidates in a picture: the bright rectangle, nearly the same again, and one of the sky.

    It takes rectangles in dark pictures for dark, and not always rightly. Scores rise with brightness.
    """

    def forward(self, x):
        mask = x[:, 0] > 0.55
        sides = []
        for axis in (2, 1):
            there, place = mask.any(3 - axis), torch.arange(x.shape[axis + 1]).float()
            low = torch.where(there, place, 99.0).amin(1)
            high = torch.where(there, place + 1, 0.0).amax(1)
            sides.append((torch.minimum(low, high - 1).clamp(min=0), high.clamp(min=1)))
        (x0, x1), (y0, y1) = sides
        box = torch.stack([x0, y0, x1, y1], 1)
        nothing = torch.zeros_like(box)
        boxes = torch.stack([box, box + torch.tensor([1.0, 0, 1, 0]), nothing + torch.tensor([0.0, 0, 9, 9])], 1)
        sure = x.amax((1, 2, 3)) * 0.9
        dark = (x[:, 0].mean((1, 2)) < 0.15).float()
        none = torch.zeros_like(sure)
        first = torch.stack([none, sure * (1 - dark), sure * dark], 1)
        scores = torch.stack([first, first * 0.9, torch.stack([sure, none, none], 1)], 1)
        return boxes, scores  # (N, 3, 4), (N, 3, 3)


class Told(Spots):
    """The same findings in another layout of tensors."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    def forward(self, x):
        boxes, scores = super().forward(x)
        sides = torch.tensor([x.shape[3], x.shape[2]] * 2, dtype=torch.float32)
        if self.how == "yolov8":  # (N, 4 + classes, candidates), centre and size
            return torch.cat([box_convert(boxes, "xyxy", "cxcywh"), scores], 2).transpose(1, 2)
        if self.how == "yolov5":  # (N, candidates, 5 + classes)
            sure = scores.amax(2, keepdim=True)
            shares = scores / sure.clamp_min(1e-6)
            return torch.cat([box_convert(boxes, "xyxy", "cxcywh"), sure, shares], 2)
        if self.how == "end to end":  # (N, candidates, 6): it has done its own suppression
            best, label = scores.max(2, keepdim=True)
            return torch.cat([boxes, best, label.float()], 2)[:, [0, 2]]
        if self.how == "detr":  # normalised, a label more for nothing, logits
            logits = torch.cat([scores.clamp_min(1e-6), (1 - scores.sum(2, keepdim=True)).clamp_min(1e-6)], 2).log()
            return logits[:, [0, 2]], (box_convert(boxes, "xyxy", "cxcywh") / sides)[:, [0, 2]]
        if self.how == "tensorflow":  # y first, shares, labels from 1, a count at the end
            best, label = scores.max(2)
            kept = (boxes / sides)[:, [0, 2]][..., [1, 0, 3, 2]]
            return kept, label[:, [0, 2]] + 1.0, best[:, [0, 2]], torch.full((x.shape[0],), 2.0)
        best, label = scores.max(2)  # torchvision's: of one picture, without an axis for it
        return boxes[0, [0, 2]], label[0, [0, 2]], best[0, [0, 2]]


LAYOUTS = {
    "yolov8": {"tensors": ["boxes+scores"], "transposed": True, "boxes": "cxcywh", "nms": 0.5},
    "yolov5": {"tensors": ["boxes+objectness+scores"], "boxes": "cxcywh", "nms": 0.5},
    "end to end": {"tensors": ["boxes+score+label"]},
    "detr": {"tensors": ["scores", "boxes"], "boxes": "cxcywh", "units": "shares", "scores": "softmax"},
    "tensorflow": {"tensors": ["boxes", "label", "score", "other"], "boxes": "yxyx", "units": "shares", "offset": 1},
    "torchvision": {"tensors": ["boxes", "label", "score"]},
}


def _data(folder, medium, codec="original", level=0.0):
    """Pictures or clips with one rectangle, bright or less so, which moves, and a test part."""
    random, rows = np.random.default_rng(0), []
    for number in range(30 if medium == "image" else 5):
        frames = 1 if medium == "image" else 8
        clip = random.integers(0, 40, (frames, 80, 100, 3)).astype(np.uint8)
        label, boxes = number % 2, []
        left, top = random.integers(0, 50, 2).tolist()
        for frame in range(frames):
            x, y = left + 2 * frame, top + frame % 3
            clip[frame, y : y + (14 if label else 28), x : x + 30] = 180 + random.integers(0, 70)
            sides = {"x0": x, "y0": y, "x1": x + 30, "y1": y + (14 if label else 28)}
            boxes.append({"frame": frame, "label": label, **{key: float(side) for key, side in sides.items()}})
        media, rate = (clip[0], 0.0) if medium == "image" else (clip, 25.0)
        rows.append(media_tables.data_row(f"i{number}", "test", media, boxes=boxes, sampling_rate=rate))
    data = media_tables.write_data(folder / "d.parquet", rows, medium, "detection", CLASSES[1:])
    return data, media_tables.write_compressed(folder / "t.parquet", data, codec, level, ("test",))


def _export(how, form, folder, batch=None):
    path, example = folder / f"net.{form}", torch.rand(batch or 2, 3, *SIZE)
    if form == "pt2":
        dynamic = None if batch else ({0: torch.export.Dim("n")},)
        torch.export.save(torch.export.export(Told(how), (example,), dynamic_shapes=dynamic), path)
    elif form == "ts":
        torch.jit.trace(Told(how), example).save(path)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            axes = {} if batch else {"x": {0: "n"}}
            torch.onnx.export(
                Told(how), (example,), path, dynamo=False, input_names=["x"], dynamic_axes=axes, external_data=False
            )
    names = [*CLASSES, "nothing"] if how == "detr" else CLASSES
    return {"checkpoint": str(path), "classes": names, "input_size": list(SIZE), "detections": LAYOUTS[how]}


def _by_hand(data, codec="original", level=0.0, stride=4):
    """What Spots itself finds in each item or frame: box in pixels of the item, label of the data set, score."""
    found, coder, meta = [], codecs.get(codec), artifacts.read_meta(data)
    for row in artifacts.iter_rows(data, splits=["test"]):
        shape, rate = tuple(row["shape"]), row["sampling_rate"]
        media = codecs.get("original").decode(row["media"], shape, rate)
        media = coder.decode(coder.encode(media, level, rate).payload, shape, rate)
        for frame in media[None] if meta["medium"] == "image" else media[::stride]:
            seen = torch.from_numpy(fit(frame, "image", Input(SIZE), crop=False)).permute(2, 0, 1)[None] / 255
            boxes, scores = Spots()(seen)
            scale = np.array([shape[-2] / SIZE[1], shape[-3] / SIZE[0]] * 2)
            found.append((boxes[0, 0].numpy() * scale, int(scores[0, 0].argmax()) - 1, float(scores[0, 0].max())))
    return found


def _map50(found, truth):
    """Mean average precision at IoU 0.5 as COCO defines it, where an item has one object and one finding."""
    each = []
    for label in sorted({true for _, true in truth}):
        wanted = sum(true == label for _, true in truth)
        own = sorted((-score, place) for place, (_, one, score) in enumerate(found) if one == label)
        right = []
        for _, place in own:
            (box, true), (ours, _, _) = truth[place], found[place]
            low, high = np.maximum(box[:2], ours[:2]), np.minimum(box[2:], ours[2:])
            both = np.prod(np.maximum(0, high - low))
            union = np.prod(box[2:] - box[:2]) + np.prod(ours[2:] - ours[:2]) - both
            right.append(true == label and both / union >= 0.5)
        hits = np.cumsum(right)
        precision = np.maximum.accumulate((hits / np.arange(1, len(hits) + 1))[::-1])[::-1]
        recall = hits / wanted
        each.append(np.mean([max(precision[recall >= r], default=0) for r in torch.linspace(0, 1, 101).tolist()]))
    return np.mean(each)


@pytest.mark.parametrize(("how", "form"), [*itertools.product(LAYOUTS, ("onnx", "pt2")), ("yolov8", "ts")])
def test_every_layout_gives_the_detectors_own_findings(tmp_path, how, form):
    data, test = _data(tmp_path, "image", "jpeg", 30)
    batch = {"torchvision": 1, "detr": 4}.get(how)  # 30 items fill no fours
    adopt(data, "toy", "own", tmp_path / "out", _export(how, form, tmp_path, batch))
    evaluate([tmp_path / "out"], data, [test], [tmp_path / "o.parquet"], device="cpu")
    rows, expected = artifacts.read_table(tmp_path / "o.parquet").to_pylist(), _by_hand(data, "jpeg", 30)
    assert len({label for _, label, _ in expected}) == 2
    for row, (box, label, score) in zip(rows, expected, strict=True):
        assert row["labels"] == [label]
        np.testing.assert_allclose(row["scores"], [score], rtol=1e-4)
        np.testing.assert_allclose(row["boxes"], box, atol=1e-3)
    found, truth = _by_hand(data), [(np.array(row["true_boxes"]), row["true_labels"][0]) for row in rows]
    expected_map = _map50(found, truth)
    assert models.read_info(tmp_path / "out")["sample"]["value"] == pytest.approx(expected_map, abs=1e-6)
    assert 0.3 < expected_map < 0.98


@pytest.mark.parametrize("form", ["onnx", "pt2"])
def test_a_program_searches_clips_frame_by_frame_through_hevc(tmp_path, form):
    data, test = _data(tmp_path, "video", "hevc", 40)
    adopt(data, "toy", "own", tmp_path / "out", {**_export("yolov8", form, tmp_path), "frame_stride": 2})
    evaluate([tmp_path / "out"], data, [test], [tmp_path / "o.parquet"], device="cpu")
    rows, expected = artifacts.read_table(tmp_path / "o.parquet").to_pylist(), _by_hand(data, "hevc", 40, 2)
    assert [row["frame"] for row in rows] == [0, 2, 4, 6] * 5
    for row, (box, label, _) in zip(rows, expected, strict=True):
        assert row["labels"] == [label]
        np.testing.assert_allclose(row["boxes"], box, atol=1e-3)
    truth = [(np.array(row["true_boxes"]), row["true_labels"][0]) for row in rows]
    value = models.read_info(tmp_path / "out")["sample"]["value"]
    assert value == pytest.approx(_map50(_by_hand(data, stride=2), truth), abs=1e-6)


CLASS = """
    import torch
    from torch import nn

    class Spots(nn.Module):
        def __init__(self):
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(1))

        def forward(self, images, targets=None):
            if targets is not None:
                return {"loss": sum((image - 0.5).square().mean() for image in images) + self.bias.sum()}
            found = []
            for image in images:
                assert image.ndim == 3
                y, x = torch.nonzero(image[0] > 0.55, as_tuple=True)
                box = torch.stack([x.min(), y.min(), x.max() + 1, y.max() + 1]).float()[None]
                label = 2 if (y.max() - y.min()) < 20 else 1
                found.append({"boxes": box, "labels": torch.tensor([label]), "scores": torch.tensor([0.9])})
            return found
"""


def test_a_detector_of_pictures_by_its_class_searches_and_is_attacked_in_clips(tmp_path, monkeypatch):
    (tmp_path / "clip_spots.py").write_text(textwrap.dedent(CLASS))
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("clip_spots", None)
    save_file({"bias": torch.zeros(1)}, tmp_path / "net.safetensors")
    data, test = _data(tmp_path, "video")
    said = {"checkpoint": str(tmp_path / "net.safetensors"), "class": "clip_spots:Spots", "classes": CLASSES}
    adopt(data, "toy", "own", tmp_path / "out", said)
    info = models.read_info(tmp_path / "out")
    assert info["input"]["shape"] == [1, 80, 100] and info["sample"]["value"] == pytest.approx(1)
    evaluate([tmp_path / "out"], data, [test], [tmp_path / "o.parquet"], device="cpu")
    rows = artifacts.read_table(tmp_path / "o.parquet").to_pylist()
    assert [row["frame"] for row in rows] == [0, 4] * 5
    for row in rows:
        assert row["boxes"] == row["true_boxes"] and row["labels"] == row["true_labels"]
    preflight(data, "toy", tmp_path / "p.json", {"attacked": {"own": {"items": 2, "seed": 0}}}, [tmp_path / "out"])
    assert set(json.loads((tmp_path / "p.json").read_text())["models"]["own"]) == {"predict", "learn"}
    how = {"items": 2, "steps": 1, "goals": ["untargeted"], "attacks": {"pgd": ["8/255"]}}
    attack(tmp_path / "out", data, [test], "original", tmp_path / "a.parquet", settings=how)
    assert artifacts.read_table(tmp_path / "a.parquet").num_rows


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"transposed": False}, "returns a tensor of the shape (4, 7, 3) for boxes+scores"),
        (
            {"tensors": ["boxes+objectness+scores"]},
            "which has 2 scores in a candidate, where `classes` names outputs up to 2",
        ),
        ({"tensors": ["boxes", "scores"]}, "returns 1 outputs, where detections.tensors names 2 tensors"),
        ({"tensors": ["boxes+score+label"]}, "which has 6 numbers in a candidate"),
        ({"offset": 1}, "which has 3 scores in a candidate"),
        ({"units": "shares"}, "is not shown to be above chance: mAP50 0.0"),
    ],
)
def test_what_a_program_returns_otherwise_is_named(tmp_path, changes, message):
    data, _ = _data(tmp_path, "image")
    said = _export("yolov8", "onnx", tmp_path, 4)
    said["detections"] = {**said["detections"], **changes}
    with pytest.raises(LossyBenchError) as caught:
        adopt(data, "toy", "own", tmp_path / "out", said)
    assert str(caught.value).startswith("own: ") and message in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"detections": None}, "'detections': missing"),
        ({"detections": {"tensors": ["boxes"]}}, "name boxes and either scores, or score and label"),
        ({"detections": {"tensors": ["boxes+scores+score+label"]}}, "name boxes and either scores"),
        ({"detections": {"tensors": ["boxes+score"]}}, "name boxes and either scores"),
        ({"detections": {"tensors": ["boxes+scores", "boxes"]}}, "boxes is there twice"),
        ({"detections": {"tensors": ["boxes+points+scores"]}}, "'points' is none of boxes"),
        ({"detections": {"tensors": ["boxes+scores"], "boxes": "ltrb"}}, "detections.boxes.*input should be 'xyxy'"),
        ({"detections": {"tensors": ["boxes+scores"], "unit": "x"}}, "unknown model setting 'detections.unit'"),
        ({"input_size": [8]}, "input_size.* must have 2 numbers for image detection"),
        ({"frame_stride": 2}, "'frame_stride': is for video detection"),
    ],
)
def test_mistakes_in_the_config_are_named(tmp_path, changes, message):
    (tmp_path / "net.onnx").touch()
    said = {"checkpoint": str(tmp_path / "net.onnx"), "classes": CLASSES, "detections": LAYOUTS["yolov8"]}
    said = {key: value for key, value in {**said, **changes}.items() if value is not None}
    with pytest.raises(LossyBenchError, match=message):
        settings.read("own", said, "image", "detection", CLASSES[1:])
    assert not settings.has_gradients("own", {**said, "detections": LAYOUTS["yolov8"], "checkpoint": "a.pt2"})
