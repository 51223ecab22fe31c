"""Segmentation: the class of each pixel of an image."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lossybench.artifacts import LEVEL, SEGMENTATION_ATTACKS, columns
from lossybench.errors import LossyBenchError, shown
from lossybench.masks import IGNORED, decode, encode, resized
from lossybench.metrics import Metric
from lossybench.models.inputs import fit
from lossybench.tasks.task_kind import Drawn, Example, TaskKind

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from lossybench.analysis.measured import Measured, Settled
    from lossybench.analysis.outcomes import Outcomes, TestSet
    from lossybench.analysis.sampling import Sampling
    from lossybench.analysis.subgroups import Groups


class Segmentation(TaskKind):
    """Targets and predictions are masks, uint8 (H, W) at the size of the model's input: the class of each pixel.

    A target is packed, as the bytes of a PNG in an array (bytes,), until its batch is made: so many masks would not fit
    into memory. A prediction may have one class more than the data, which is none of them.
    """

    defaults = {"image": {"epochs": 16, "batch_size": 16, "learning_rate": 5e-3, "validate_every": 4}}  # noqa: RUF012
    truth = columns(("mask", pa.binary()))  # a grey PNG: the class of each pixel, or masks.IGNORED
    schema = columns(
        ("id", pa.string()),
        ("level", pa.float64(), LEVEL),
        # Of each class in turn: those that are truly of the class and taken for it, that truly are, that are taken for
        # it; pixels of the item in its own resolution, without those that are ignored.
        ("counts", pa.list_(pa.int64()), "pixels"),
    )
    metrics = (Metric("miou", "mIoU"), Metric("dice", "Dice"), Metric("pixel_accuracy", "pixel accuracy"))
    placed = chance_of_data = True
    tells = ("class",)
    attacks = SEGMENTATION_ATTACKS
    guessing = "that of one class in every pixel"
    attacked_unit = "true region"
    may_miss = True

    @classmethod
    def labels(cls, row: Mapping[str, Any]) -> list[int]:
        there = np.unique(decode(row["mask"]))
        return there[there != IGNORED].tolist()

    @classmethod
    def drawn(cls, row: Mapping[str, Any], classes: Sequence[str]) -> Drawn:
        mask = decode(row["mask"])
        return Drawn(mask=np.where(mask == IGNORED, 0, mask))

    def examples(self, media: np.ndarray, row: Mapping[str, Any], training: bool) -> list[Example]:
        return [Example(fit(media, "image", self.input, crop=False), self.targets(row)[0])]

    def targets(self, row: Mapping[str, Any]) -> list[np.ndarray]:
        height, width = self.input.shape or row["shape"][:2]
        packed = row["mask"]
        if [height, width] != list(row["shape"][:2]):
            packed = encode(resized(decode(packed), height, width))
        return [np.frombuffer(packed, np.uint8)]

    def shift_target(self, target: np.ndarray, down: int, right: int, flip: bool) -> np.ndarray:
        mask = unpacked(target)
        if flip:
            mask = mask[:, ::-1]
        moved = np.full(mask.shape, IGNORED, np.uint8)  # nobody knows what moves in
        height, width = mask.shape
        moved[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = mask[
            max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)
        ]
        return moved

    def loss(self, model: torch.nn.Module, media: torch.Tensor, targets: Sequence[np.ndarray]) -> torch.Tensor:
        """Cross-entropy over the pixels that are not ignored."""
        import torch
        from torch.nn import functional

        masks = torch.from_numpy(np.stack([unpacked(target) for target in targets])).long().to(media.device)
        smoothing = self.settings["label_smoothing"]
        found = self.logits(model, media)
        lost = functional.cross_entropy(found, masks, ignore_index=IGNORED, label_smoothing=smoothing, reduction="sum")
        return lost / (masks != IGNORED).sum().clamp(min=1)

    def predict(self, model: torch.nn.Module, media: torch.Tensor) -> list[np.ndarray]:
        import torch

        return list(self.logits(model, media).argmax(dim=1).to(torch.uint8).cpu().numpy())

    def logits(self, model: torch.nn.Module, media: torch.Tensor) -> torch.Tensor:
        """The logits (N, classes, H, W) of the float input `media` (N, 3, H, W).

        Of an existing model those of the data's classes are picked, and the largest of its others is one more. Raises
        LossyBenchError where it returns no output for each pixel.
        """
        import torch
        from torch.nn import functional

        found: Any = model(media)
        if "existing" not in self.info:
            return found
        if isinstance(found, Mapping):
            found = found.get("out", found.get("logits", next(iter(found.values()), None)))
        found = getattr(found, "logits", found)
        found = found[0] if isinstance(found, tuple | list) and found else found
        picked = self.info["existing"]["picked"]
        shape = tuple(getattr(found, "shape", ()))
        if len(shape) != 4 or shape[0] != len(media) or shape[1] <= max(picked):
            raise LossyBenchError(
                f"returns {f'outputs of the shape {shape}' if shape else type(found).__name__} for {len(media)} "
                f"pictures, where `classes` names outputs up to {max(picked)}; a segmenter returns logits (N, classes, "
                "H, W)"
            )
        if shape[2:] != tuple(media.shape[2:]):
            found = functional.interpolate(found.float(), media.shape[2:], mode="bilinear", align_corners=False)
        rest = [place for place in range(shape[1]) if place not in set(picked)]
        others = [found[:, rest].amax(dim=1, keepdim=True)] if rest else []
        return torch.cat([found[:, picked], *others], dim=1)

    def answered(self, answer: Mapping[str, Any]) -> np.ndarray:
        """The mask in `mask`: the output of each pixel, as an array, lists of rows, or a grey PNG in base64."""
        said, mask = answer.get("mask"), None
        with contextlib.suppress(ValueError, LossyBenchError):
            mask = decode(base64.b64decode(said, validate=True)) if isinstance(said, str) else np.asarray(said)
        if mask is None or mask.ndim != 2 or mask.dtype.kind not in "iu" or mask.min(initial=0) < 0:
            raise LossyBenchError(
                f"answers {shown(said)} as mask; it is the number of an output for each pixel, as rows or as a grey "
                "PNG in base64"
            )
        picked = self.info["existing"]["picked"]
        found = np.full(mask.shape, len(picked), np.uint8)  # none of the classes
        for label, output in enumerate(picked):
            found[mask == output] = label
        return found

    def some_target(self) -> np.ndarray:
        return np.zeros(self.input.shape, np.uint8)

    def score(self, predictions: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> float:
        """The mean IoU over the classes that the targets have, of all pixels together."""
        classes = len(self.info["classes"])
        pairs = zip(predictions, map(unpacked, targets), strict=True)
        each = (counted(resized(found, *mask.shape), mask, classes) for found, mask in pairs)
        hit, true, taken = np.sum(list(each), axis=0).T
        there = true > 0
        return float((hit[there] / (true + taken - hit)[there]).mean()) if there.any() else 0.0

    def outcome(self, example: Example, prediction: np.ndarray, row: Mapping[str, Any]) -> dict[str, Any]:
        true = decode(row["mask"])
        if not self.input.shape and prediction.shape != true.shape:
            sizes = [" x ".join(map(str, one.shape[::-1])) for one in (prediction, true)]
            raise LossyBenchError(f"answers a mask of {sizes[0]} pixels for a picture of {sizes[1]}")
        return {"counts": counted(resized(prediction, *true.shape), true, len(self.info["classes"])).ravel().tolist()}

    @classmethod
    def read(cls, outcomes: Outcomes, task: TestSet, first: np.ndarray | None) -> np.ndarray:
        """The counts (n, classes, 3). Raises LossyBenchError for counts that cannot be, and for true pixels that
        differ from those of the `first`."""
        lengths = pc.unique(pc.list_value_length(outcomes.rows["counts"])).to_pylist()
        if lengths != [3 * len(task.classes)]:
            raise LossyBenchError(
                f"has counts of other classes than the {len(task.classes)} of the data; evaluate again"
            )
        counts = pc.list_flatten(outcomes.rows["counts"]).to_numpy().reshape(-1, len(task.classes), 3)
        hit, true, taken = np.moveaxis(counts, -1, 0)
        if (hit < 0).any() or (hit > np.minimum(true, taken)).any():
            raise LossyBenchError("has counts of pixels that cannot be; evaluate again")
        if first is not None and not np.array_equal(true, first[..., 1]):
            raise LossyBenchError("true masks differ between conditions; evaluate again")
        if not true.any():
            raise LossyBenchError("the test split has no pixel of any class; add items that have some")
        return counts

    @classmethod
    def settle(cls, original: np.ndarray, task: TestSet, sampling: Sampling) -> Settled:
        """Chance: the best mean IoU of an answer that is one class everywhere."""
        from lossybench.analysis import mask_metrics
        from lossybench.analysis.measured import Settled

        return Settled(mask_metrics.constant(original))

    @classmethod
    def measure(
        cls, found: Mapping[int, np.ndarray], settled: Mapping[int, Settled], task: TestSet, sampling: Sampling
    ) -> Measured:
        from lossybench.analysis import mask_metrics
        from lossybench.analysis.measured import of_weights

        first = next(iter(found.values()))
        support = dict(zip(task.classes, (first[..., 1] > 0).sum(axis=0).tolist(), strict=True))
        each = {seed: mask_metrics.Counts(counts, task.classes) for seed, counts in found.items()}
        trials = [one.trials() for one in each.values()]
        mean = {name: float(np.mean([one[name] for one in trials])) for name in trials[0]}
        weighed = {seed: one.weighed for seed, one in each.items()}
        return of_weights(cls.metrics, weighed, sampling, support, mean)

    @classmethod
    def apart(cls, found: Mapping[int, np.ndarray], by: Sequence[str], task: TestSet, sampling: Sampling) -> Groups:
        """The IoU of each class."""
        from lossybench.analysis import mask_metrics

        each = [mask_metrics.Counts(counts, task.classes) for counts in found.values()]
        return {"class": mask_metrics.by_class(each, sampling)} if "class" in by else {}

    @classmethod
    def attacked(cls, table: pd.DataFrame, meta: Mapping[str, Any]) -> pd.DataFrame:
        from lossybench.analysis.attacked_regions import regions

        return regions(table)

    @classmethod
    def under_attack(cls, rows: pd.DataFrame, when: str) -> float | None:
        from lossybench.analysis.attacked_regions import mean_iou

        return mean_iou(rows, when)


def unpacked(target: np.ndarray) -> np.ndarray:
    """The mask (H, W) that a target holds: packed, (bytes,), or as it is."""
    return target if target.ndim == 2 else decode(target.tobytes())


def counted(found: np.ndarray, true: np.ndarray, classes: int) -> np.ndarray:
    """Of each class the pixels that are truly of it and taken for it, that truly are, and that are taken: (classes, 3).

    found, true: masks of one size, of which pixels that are truly IGNORED are not counted.
    """
    known = true != IGNORED
    true, found = true[known].astype(np.intp), found[known]
    hit = np.bincount(true[true == found], minlength=classes)
    return np.stack(
        [hit, np.bincount(true, minlength=classes), np.bincount(found, minlength=classes)[:classes]], axis=1
    )


TASK = Segmentation
