"""Classification: one label for each item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from lossybench.artifacts import ATTACKS, LEVEL, columns
from lossybench.data.dataset import Item
from lossybench.errors import LossyBenchError
from lossybench.metrics import ACCURACY, Metric
from lossybench.models.inputs import fit
from lossybench.tasks.task_kind import Drawn, Example, TaskKind

if TYPE_CHECKING:
    import torch

    from lossybench.analysis.measured import Measured, Settled
    from lossybench.analysis.outcomes import Outcomes, TestSet
    from lossybench.analysis.own_answers import Answers
    from lossybench.analysis.sampling import Sampling


class Classification(TaskKind):
    """Targets are class numbers; predictions are softmax scores (classes,)."""

    defaults = {  # noqa: RUF012
        "image": {"epochs": 8, "batch_size": 32, "learning_rate": 5e-3},
        "audio": {"epochs": 8, "batch_size": 32, "learning_rate": 4e-3, "gain": 0.5},
        "video": {"epochs": 8, "batch_size": 16, "learning_rate": 4e-3, "input_size": (8, 64, 64)},
    }
    truth = columns(("label", pa.int32(), ""))  # an index into the classes
    schema = columns(
        ("id", pa.string()),
        ("level", pa.float64(), LEVEL),
        ("label", pa.int32(), ""),
        ("prediction", pa.int32(), ""),
        ("correct", pa.bool_()),
        ("scores", pa.list_(pa.float32())),  # softmax of each class; one more for an existing model's other classes
    )
    metrics = (
        ACCURACY,
        Metric("precision", "precision", overall="macro precision"),
        Metric("recall", "recall", overall="macro recall"),
        Metric("f1", "F1", overall="macro F1"),
    )
    attacks = ATTACKS
    needs_classes = chance_of_data = True
    guessing = "the share of the largest class"
    existing = "classifier"
    own_answers = ("model", "scores")

    @classmethod
    def stored(cls, item: Item) -> dict[str, Any]:
        return {"label": item.label}

    @classmethod
    def labels(cls, row: Mapping[str, Any]) -> list[int]:
        return [row["label"]]

    @classmethod
    def drawn(cls, row: Mapping[str, Any], classes: Sequence[str]) -> Drawn:
        return Drawn(f"class {classes[row['label']]}", row["label"]) if row["label"] >= 0 else Drawn()

    def examples(self, media: np.ndarray, row: Mapping[str, Any], training: bool) -> list[Example]:
        return [Example(fit(media, self.medium, self.input, crop=True), row["label"])]

    def targets(self, row: Mapping[str, Any]) -> list[int]:
        return [row["label"]]

    def loss(self, model: torch.nn.Module, media: torch.Tensor, targets: Sequence[int]) -> torch.Tensor:
        import torch

        labels = torch.as_tensor(targets, device=media.device)
        smoothing = self.settings["label_smoothing"]
        return torch.nn.functional.cross_entropy(model(media), labels, label_smoothing=smoothing)

    def predict(self, model: torch.nn.Module, media: torch.Tensor) -> list[np.ndarray]:
        return list(model(media).float().softmax(dim=1).cpu().numpy())

    def some_target(self) -> int:
        return 0

    def score(self, predictions: Sequence[np.ndarray], targets: Sequence[int]) -> float:
        """Share of the examples whose highest score is at their label."""
        return float(np.mean(np.argmax(predictions, axis=1) == np.asarray(targets)))

    def outcome(self, example: Example, prediction: np.ndarray, row: Mapping[str, Any]) -> dict[str, Any]:
        chosen = int(prediction.argmax())
        found = {"prediction": chosen, "correct": chosen == row["label"], "scores": prediction.tolist()}
        return {"label": row["label"], **found}

    @classmethod
    def read(cls, outcomes: Outcomes, task: TestSet, first: np.ndarray | None) -> np.ndarray:
        """The predictions, int (n,)."""
        if (outcomes.rows["label"].to_numpy() != task.truth["label"].to_numpy()).any():
            raise LossyBenchError(f"labels differ from those of {task.data}; evaluate again")
        return outcomes.rows["prediction"].to_numpy()

    @classmethod
    def settle(cls, original: np.ndarray, task: TestSet, sampling: Sampling) -> Settled:
        from lossybench.analysis.measured import Settled
        from lossybench.chance import chance

        return Settled(chance(task.truth["label"].to_numpy(), len(task.classes)))

    @classmethod
    def measure(
        cls, found: Mapping[int, np.ndarray], settled: Mapping[int, Settled], task: TestSet, sampling: Sampling
    ) -> Measured:
        from lossybench.analysis import label_metrics
        from lossybench.analysis.measured import Measured, choices, of_items, support

        labels, predictions = task.truth["label"].to_numpy(), np.stack(list(found.values()))
        estimates = {
            seed: label_metrics.estimates(labels, predictions[chosen], sampling)
            for seed, chosen in choices(tuple(found)).items()
        }
        of_accuracy = of_items([ACCURACY], {seed: {"accuracy": one == labels} for seed, one in found.items()}, sampling)
        names = label_metrics.names(labels, task.classes)
        return Measured(names, estimates, of_accuracy.primary, support(labels, task.classes))

    @classmethod
    def judged_by(cls, truth: str, least: float) -> Answers:
        from lossybench.analysis.own_answers import Labels

        metrics = Labels().metrics
        return Labels(metrics if truth == "model" else (metrics[1], metrics[0], *metrics[2:]))


TASK = Classification
