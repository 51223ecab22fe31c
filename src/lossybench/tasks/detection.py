"""Detection: boxes and labels in an image, or in frames of a clip."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from lossybench.artifacts import DETECTION_ATTACKS, LEVEL, columns
from lossybench.data.dataset import Item
from lossybench.errors import LossyBenchError
from lossybench.metrics import ACCURACY, Metric
from lossybench.models.inputs import Input, fit, spread
from lossybench.tasks.task_kind import Drawn, Example, TaskKind

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from lossybench.analysis.box_metrics import Frames
    from lossybench.analysis.measured import Measured, Settled
    from lossybench.analysis.outcomes import Outcomes, TestSet
    from lossybench.analysis.own_answers import Answers
    from lossybench.analysis.sampling import Sampling
    from lossybench.analysis.subgroups import Groups

# A true object: pixels of the item's own resolution, x0 < x1 <= width; `frame` is 0 for images.
BOX = pa.struct(
    [("frame", pa.int32()), *((side, pa.float32()) for side in ("x0", "y0", "x1", "y1")), ("label", pa.int32())]
)
SMALLEST = 2.0  # pixels; if a shift leaves less of a box than this, the box is no object to learn


class Detection(TaskKind):
    """Targets and predictions are {boxes (K, 4) x0 y0 x1 y1 in pixels of the model's input, labels (K,)[, scores]}."""

    defaults = {  # noqa: RUF012
        "image": {"epochs": 20, "batch_size": 8, "learning_rate": 3e-3, "validate_every": 4},
        "video": {"epochs": 16, "batch_size": 16, "learning_rate": 3e-3, "validate_every": 4},
    }
    truth = columns(("boxes", pa.list_(BOX), "pixels"))
    schema = columns(
        ("id", pa.string()),  # of the item, an image or a clip, which is the unit that is resampled
        ("frame", pa.int32(), ""),
        ("level", pa.float64(), LEVEL),
        ("boxes", pa.list_(pa.float32()), "pixels"),  # predicted: flat x0 y0 x1 y1 ..., in the item's own resolution
        ("labels", pa.list_(pa.int32())),
        ("scores", pa.list_(pa.float32())),  # descending
        ("true_boxes", pa.list_(pa.float32()), "pixels"),
        ("true_labels", pa.list_(pa.int32())),
    )
    metrics = (
        Metric("map50", "mAP@0.5"),
        Metric("map", "mAP@[.5:.95]"),
        Metric("precision", "precision"),
        Metric("recall", "recall"),
        Metric("f1", "F1", drawn=False),
        ACCURACY,
    )
    tells = ("class", "size")
    per_item = False
    unit = "true object"
    own_answers = ("model",)
    placed = by_frame = loss_in_training = True
    guessing = "that of the model's own boxes laid over other items"
    existing = "detector"
    attacks = DETECTION_ATTACKS
    attacked_unit = "true object"
    may_miss = True

    @classmethod
    def stored(cls, item: Item) -> dict[str, Any]:
        return {"boxes": [vars(box) for box in item.boxes]}

    @classmethod
    def labels(cls, row: Mapping[str, Any]) -> list[int]:
        return [box["label"] for box in row["boxes"]]

    @classmethod
    def drawn(cls, row: Mapping[str, Any], classes: Sequence[str]) -> Drawn:
        sides = ("frame", "x0", "y0", "x1", "y1")
        return Drawn(boxes=[tuple(box[side] for side in sides) for box in row["boxes"]])

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
        import torch

        losses = model(media, [_tensors(target, media.device) for target in targets])
        return torch.stack(list(losses.values())).sum()

    def predict(self, model: torch.nn.Module, media: torch.Tensor) -> list[dict[str, np.ndarray]]:
        return [{key: value.float().cpu().numpy() for key, value in found.items()} for found in model(media)]

    def some_target(self) -> dict[str, np.ndarray]:
        half = [side / 2 for side in self.input.shape[:-3:-1]]
        return {"boxes": np.array([[0, 0, *half]], np.float32), "labels": np.zeros(1, int)}

    def score(self, predictions: Sequence[dict[str, np.ndarray]], targets: Sequence[dict[str, np.ndarray]]) -> float:
        """Mean average precision at IoU 0.5 over the classes (COCO)."""
        import torch
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

    @classmethod
    def read(cls, outcomes: Outcomes, task: TestSet, first: Frames | None) -> Frames:
        """The detections and true boxes of all frames. Raises LossyBenchError for other frames and true boxes than
        those of the `first`, boxes of negative size, and a test split without any true box."""
        from lossybench.analysis.box_metrics import frames_of

        frames = frames_of(outcomes)
        if not len(frames.true_boxes):
            raise LossyBenchError("the test split has no true box; add items that have one")
        for name in ("item", "true_frame", "true_boxes", "true_labels"):
            if first is not None and not np.array_equal(getattr(frames, name), getattr(first, name)):
                raise LossyBenchError("frames or true boxes differ between conditions; evaluate again")
        return frames

    @classmethod
    def settle(cls, original: Frames, task: TestSet, sampling: Sampling) -> Settled:
        """Chance, and the score threshold of the metrics that need one."""
        from lossybench.analysis import box_metrics
        from lossybench.analysis.measured import Settled

        threshold = box_metrics.best_threshold(box_metrics.match(original, len(task.ids)))
        return Settled(box_metrics.plain_map50(box_metrics.unseen(original, sampling.seed)), threshold)

    @classmethod
    def measure(
        cls, found: Mapping[int, Frames], settled: Mapping[int, Settled], task: TestSet, sampling: Sampling
    ) -> Measured:
        from lossybench.analysis import box_metrics
        from lossybench.analysis.comparisons import Primary
        from lossybench.analysis.measured import Measured, choices, support

        seeds, (frames, *_) = tuple(found), found.values()
        matched = [box_metrics.match(one, len(task.ids)) for one in found.values()]
        names = box_metrics.names(matched[0].classes, task.classes)
        measured = [
            box_metrics.measure(one, settled[seed].kept, sampling) for seed, one in zip(seeds, matched, strict=True)
        ]
        estimates = {seed: box_metrics.estimates(measured[one], sampling) for seed, one in choices(seeds).items()}
        values = np.array([one.values[names.index((box_metrics.PRIMARY, ""))] for one in measured])
        primary = Primary.of(cls.metrics[0], seeds, values, np.stack([one.primary for one in measured]))
        compute = tuple(map(box_metrics.of_some, matched))
        return Measured(names, estimates, primary, support(frames.true_labels, task.classes), compute)

    @classmethod
    def apart(cls, found: Mapping[int, Frames], by: Sequence[str], task: TestSet, sampling: Sampling) -> Groups:
        """AP50 of each class, and mAP50 of objects by their size (`box_metrics.sizes`)."""
        from lossybench.analysis import box_metrics

        each = list(found.values())
        groups = {"class": box_metrics.by_class(each, task.classes, sampling)} if "class" in by else {}
        return groups | ({"size": box_metrics.by_size(each, sampling)} if "size" in by else {})

    @classmethod
    def judged_by(cls, truth: str, least: float) -> Answers:
        from lossybench.analysis.own_answers import Boxes

        return Boxes(least)

    @classmethod
    def attacked(cls, table: pd.DataFrame, meta: Mapping[str, Any]) -> pd.DataFrame:
        from lossybench.analysis.attacked_objects import objects

        return objects(table, meta["threshold"])

    @classmethod
    def under_attack(cls, rows: pd.DataFrame, when: str) -> float | None:
        from lossybench.analysis.attacked_objects import robust_map

        return robust_map(rows, when)


def _tensors(arrays: Mapping[str, np.ndarray], device: torch.device) -> dict[str, torch.Tensor]:
    import torch

    found = {key: torch.from_numpy(value).to(device) for key, value in arrays.items()}
    return {**found, "labels": found["labels"].long()}


TASK = Detection
