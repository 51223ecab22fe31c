"""Detection: boxes and labels in an image, or in frames of a clip."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from lossybench import artifacts
from lossybench.models.inputs import Input, fit, spread
from lossybench.tasks.task_kind import Example, TaskKind

SMALLEST = 2.0  # pixels; if a shift leaves less of a box than this, the box is no object to learn


class Detection(TaskKind):
    """Targets and predictions are {boxes (K, 4) x0 y0 x1 y1 in pixels of the model's input, labels (K,)[, scores]}."""

    metric = "map50"
    schema = artifacts.DETECTION_OUTCOMES

    def examples(self, media: np.ndarray, row: Mapping[str, Any], training: bool) -> list[Example]:
        if self.medium == "image":
            return [Example(fit(media, "image", self.input, crop=False), self.target(row, 0))]
        count = len(media)
        searched = self._learnt(count) if training else self.searched(count)
        windows = self.windows(searched, count)
        height, width = self.input.shape[-2:] or media.shape[1:3]
        used = np.unique(windows)
        fitted = dict(zip(used, fit(media[used], "video", Input((len(used), height, width)), crop=False), strict=True))
        return [
            Example(np.stack([fitted[f] for f in window]), self.target(row, frame), int(frame))
            for frame, window in zip(searched, windows, strict=True)
        ]

    def takes_in(self, training: bool) -> Hashable:
        frames = self.settings["frames_per_clip" if training else "frame_stride"] if self.medium == "video" else None
        return super().takes_in(training), frames

    def targets(self, row: Mapping[str, Any]) -> list[dict[str, np.ndarray]]:
        frames = [0] if self.medium == "image" else self._learnt(row["shape"][0])
        return [self.target(row, frame) for frame in frames]

    def _learnt(self, count: int) -> np.ndarray:
        """Indices (searched,) of the frames of a clip of `count` frames in which training looks for objects."""
        return spread(count, min(count, self.settings["frames_per_clip"]))

    def searched(self, count: int) -> np.ndarray:
        """Indices (searched,) of the frames of a clip of `count` frames in which evaluation looks for objects."""
        return np.arange(0, count, self.settings["frame_stride"])

    def windows(self, searched: np.ndarray, count: int) -> np.ndarray:
        """Indices (searched, window) of the frames that the model sees around each searched one.

        searched: as of the method `searched`. count: frames of the clip, whose ends are repeated.
        """
        window = self.input.shape[0] if self.input.shape else 1
        return np.clip(searched[:, None] + np.arange(window) - window // 2, 0, count - 1)

    def _truth(self, row: Mapping[str, Any], frame: int) -> tuple[np.ndarray, np.ndarray]:
        found = [box for box in row["boxes"] if box["frame"] == frame]
        corners = np.array([[box[key] for key in ("x0", "y0", "x1", "y1")] for box in found], np.float32)
        return corners.reshape(-1, 4), np.array([box["label"] for box in found], np.int64)

    def _scale(self, row: Mapping[str, Any]) -> np.ndarray:
        """Pixels of the model's input for one pixel of the item: x, y, x, y."""
        rows, columns = row["shape"][-3:-1]
        height, width = self.input.shape[-2:] or (rows, columns)
        return np.array([width / columns, height / rows] * 2, np.float32)

    def target(self, row: Mapping[str, Any], frame: int) -> dict[str, np.ndarray]:
        """True boxes (K, 4) in pixels of the model's input and labels (K,) of a frame (0 in images) in a data `row`."""
        corners, labels = self._truth(row, frame)
        return {"boxes": corners * self._scale(row), "labels": labels}

    def shift_target(self, target: dict[str, np.ndarray], down: int, right: int, flip: bool) -> dict[str, np.ndarray]:
        height, width = self.input.shape[-2:]
        boxes = target["boxes"]
        if flip:
            boxes = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)
        shifted = boxes + np.array([right, down] * 2, np.float32)
        boxes = np.clip(shifted, 0, np.array([width, height] * 2, np.float32))
        kept = (boxes[:, 2:] - boxes[:, :2]).min(axis=1) >= SMALLEST
        return {"boxes": boxes[kept], "labels": target["labels"][kept]}

    def loss(
        self, model: torch.nn.Module, media: torch.Tensor, targets: Sequence[dict[str, np.ndarray]]
    ) -> torch.Tensor:
        losses = model(media, [_tensors(target, media.device) for target in targets])
        return torch.stack(list(losses.values())).sum()

    def predict(self, model: torch.nn.Module, media: torch.Tensor) -> list[dict[str, np.ndarray]]:
        return [{key: value.float().cpu().numpy() for key, value in found.items()} for found in model(media)]

    def score(self, predictions: Sequence[dict[str, np.ndarray]], targets: Sequence[dict[str, np.ndarray]]) -> float:
        """Mean average precision at IoU 0.5 over the classes (COCO)."""
        from torchmetrics.detection import MeanAveragePrecision  # takes a second to import, and evaluation needs none

        metric = MeanAveragePrecision(iou_thresholds=[0.5], backend="faster_coco_eval")
        cpu = torch.device("cpu")
        metric.update([_tensors(found, cpu) for found in predictions], [_tensors(target, cpu) for target in targets])
        return max(0.0, float(metric.compute()["map"]))  # -1 when no item has any box

    def outcome(self, example: Example, prediction: dict[str, np.ndarray], row: Mapping[str, Any]) -> dict[str, Any]:
        corners, labels = self._truth(row, example.frame)
        return {
            "frame": example.frame,
            "boxes": (prediction["boxes"] / self._scale(row)).ravel().tolist(),
            "labels": prediction["labels"].astype(int).tolist(),
            "scores": prediction["scores"].tolist(),
            "true_boxes": corners.ravel().tolist(),
            "true_labels": labels.tolist(),
        }


def _tensors(arrays: Mapping[str, np.ndarray], device: torch.device) -> dict[str, torch.Tensor]:
    found = {key: torch.from_numpy(value).to(device) for key, value in arrays.items()}
    return {**found, "labels": found["labels"].long()}


TASK = Detection
