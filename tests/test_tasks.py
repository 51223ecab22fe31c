"""Tasks: targets, augmentation, metrics against independent values, outcomes in item coordinates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score

from lossybench import tasks
from lossybench.errors import LossyBenchError
from lossybench.tasks import media as batches
from lossybench.tasks import training_settings as training_settings


def _task(medium: str, kind: str, shape: tuple[int, ...], **settings):
    return tasks.get(
        {
            "medium": medium,
            "kind": kind,
            "classes": ["a", "b", "c"],
            "input": {"shape": list(shape), "rate": 0.0},
            "settings": {"frames_per_clip": 3, "frame_stride": 4, "label_smoothing": 0.0, **settings},
        }
    )


def _box(x0: float, y0: float, x1: float, y1: float, label: int = 0, frame: int = 0) -> dict:
    return {"frame": frame, "x0": x0, "y0": y0, "x1": x1, "y1": y1, "label": label}


def test_accuracy_and_classification_outcome():
    task = _task("image", "classification", (8, 8))
    random = np.random.default_rng(0)
    scores, labels = list(random.random((50, 3))), random.integers(0, 3, 50).tolist()
    assert task.score(scores, labels) == pytest.approx(accuracy_score(labels, np.argmax(scores, axis=1)))
    example = task.examples(np.zeros((8, 8, 3), np.uint8), {"label": 2}, training=False)[0]
    outcome = task.outcome(example, np.array([0.2, 0.7, 0.1], np.float32), {"label": 2})
    assert (outcome["prediction"], outcome["label"], outcome["correct"]) == (1, 2, False)


def test_map50_of_an_analytic_case():
    """One class; true boxes in 4 images; found, by falling score: hit, miss, hit, hit at IoU 0.49.

    Precision at recall 1/4 is 1, at 2/4 it is 2/3, beyond it 0; COCO reads precision at 101 recalls 0, 0.01 ... 1, of
    which 26 are up to 1/4 and 25 up to 2/4.
    """
    task = _task("image", "detection", (100, 100))

    def found(*boxes_and_scores):
        boxes = np.array([b for b, _ in boxes_and_scores], np.float32).reshape(-1, 4)
        return {
            "boxes": boxes,
            "labels": np.zeros(len(boxes), np.int64),
            "scores": np.array([s for _, s in boxes_and_scores], np.float32),
        }

    truth = {"boxes": np.array([[10, 10, 50, 50]], np.float32), "labels": np.zeros(1, np.int64)}
    predictions = [
        found(([10, 10, 50, 50], 0.9), ([60, 60, 90, 90], 0.8)),
        found(([10, 10, 50, 46], 0.7)),
        found(([10, 10, 50, 29.6], 0.6)),
        found(),
    ]
    assert task.score(predictions, [truth] * 4) == pytest.approx((26 * 1 + 25 * 2 / 3) / 101, abs=1e-6)


def test_detection_scales_to_the_input_and_back():
    task = _task("image", "detection", (64, 128))
    row = {"shape": [32, 32, 3], "boxes": [_box(4, 8, 12, 16, 1)]}
    example = task.examples(np.zeros((32, 32, 3), np.uint8), row, training=False)[0]
    assert example.media.shape == (64, 128, 3)
    assert example.target["boxes"].tolist() == [[16, 16, 48, 32]]  # x times 4, y times 2
    prediction = {**example.target, "scores": np.array([0.9], np.float32)}
    outcome = task.outcome(example, prediction, row)
    assert outcome["boxes"] == outcome["true_boxes"] == [4, 8, 12, 16]
    assert outcome["labels"] == outcome["true_labels"] == [1]


def test_video_windows_and_frames():
    task = _task("video", "detection", (3, 8, 8))
    clip = np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)
    row = {"shape": [10, 8, 8, 3], "boxes": [_box(1, 1, 5, 5, 2, frame) for frame in range(10)]}
    evaluated = task.examples(clip, row, training=False)
    assert [example.frame for example in evaluated] == [0, 4, 8]  # every fourth
    assert [example.media[:, 0, 0, 0].tolist() for example in evaluated] == [[0, 0, 1], [3, 4, 5], [7, 8, 9]]
    assert [example.frame for example in task.examples(clip, row, training=True)] == [0, 4, 9]  # three, spread
    assert all(len(example.target["boxes"]) == 1 for example in evaluated)


@pytest.mark.parametrize("flip", [False, True])
def test_boxes_move_with_their_picture(flip):
    task = _task("image", "detection", (20, 30))
    image = np.zeros((20, 30, 3), np.uint8)
    image[5:12, 6:10] = 255
    moved = batches.move(image, "image", down=3, right=-4, flip=flip)
    target = {"boxes": np.array([[6, 5, 10, 12]], np.float32), "labels": np.array([1])}
    x0, y0, x1, y1 = task.shift_target(target, 3, -4, flip)["boxes"][0].astype(int)
    rows, columns = np.nonzero(moved[..., 0])
    assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (x0, y0, x1, y1)


def test_boxes_shifted_out_are_dropped():
    task = _task("image", "detection", (20, 30))
    target = {"boxes": np.array([[0, 5, 6, 12], [10, 5, 20, 12]], np.float32), "labels": np.array([1, 2])}
    kept = task.shift_target(target, 0, -5, False)
    assert kept["labels"].tolist() == [2] and kept["boxes"].tolist() == [[5, 5, 15, 12]]


def test_audio_moves_into_silence():
    samples = np.arange(1, 6, dtype=np.int16)
    assert batches.move(samples, "audio", 0, 2, False).tolist() == [0, 0, 1, 2, 3]
    assert batches.move(samples, "audio", 0, -2, False).tolist() == [3, 4, 5, 0, 0]


def test_gain_stays_in_range_and_is_seeded():
    batch = torch.rand(16, 3, 4, 4)
    first = batches.change_gain(batch, "image", 0.5, np.random.default_rng(1))
    assert torch.equal(first, batches.change_gain(batch, "image", 0.5, np.random.default_rng(1)))
    assert first.min() >= 0 and first.max() <= 1 and not torch.equal(first, batch)
    contrast = (first - 0.5).abs().amax((1, 2, 3)) / (batch - 0.5).abs().amax((1, 2, 3))
    assert contrast.min() >= 0.5 and contrast.max() <= 1.5
    assert torch.equal(batches.change_gain(batch, "image", 0.0, np.random.default_rng(1)), batch)


def test_settings_layers_and_unknown_key():
    read = training_settings.read
    assert read({}, "audio", "classification", {"epochs": 5}).epochs == 5
    assert read({"epochs": 3}, "audio", "classification", {"epochs": 5}).epochs == 3
    with pytest.raises(LossyBenchError, match="did you mean 'batch_size'"):
        read({"batchsize": 3}, "audio", "classification")
    with pytest.raises(LossyBenchError, match=r"epochs': .*greater than or equal to 1.*got 0"):
        read({"epochs": 0}, "audio", "classification")
