"""Classification: one label for each item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from lossybench import artifacts
from lossybench.models.inputs import fit
from lossybench.tasks.task_kind import Example, TaskKind


class Classification(TaskKind):
    """Targets are class numbers; predictions are softmax scores (classes,)."""

    metric = "accuracy"
    schema = artifacts.CLASSIFICATION_OUTCOMES

    def examples(self, media: np.ndarray, row: Mapping[str, Any], training: bool) -> list[Example]:
        return [Example(fit(media, self.medium, self.input, crop=True), row["label"])]

    def targets(self, row: Mapping[str, Any]) -> list[int]:
        return [row["label"]]

    def shift_target(self, target: int, down: int, right: int, flip: bool) -> int:
        return target

    def loss(self, model: torch.nn.Module, media: torch.Tensor, targets: Sequence[int]) -> torch.Tensor:
        labels = torch.as_tensor(targets, device=media.device)
        return functional.cross_entropy(model(media), labels, label_smoothing=self.settings["label_smoothing"])

    def predict(self, model: torch.nn.Module, media: torch.Tensor) -> list[np.ndarray]:
        return list(model(media).float().softmax(dim=1).cpu().numpy())

    def score(self, predictions: Sequence[np.ndarray], targets: Sequence[int]) -> float:
        """Share of the examples whose highest score is at their label."""
        return float(np.mean(np.argmax(predictions, axis=1) == np.asarray(targets)))

    def outcome(self, example: Example, prediction: np.ndarray, row: Mapping[str, Any]) -> dict[str, Any]:
        chosen = int(prediction.argmax())
        found = {"prediction": chosen, "correct": chosen == row["label"], "scores": prediction.tolist()}
        return {"label": row["label"], **found}


TASK = Classification
