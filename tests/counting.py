"""A kind of task as a user writes one, outside of the package: how many dots a picture has.

`counting:Counting` is the kind, `counting:Dots` the data and `counting:predict` the model. tests/test_kinds.py takes
them from a config to the report; docs/tasks.md explains them.
"""

from __future__ import annotations

import cv2
import numpy as np
import pyarrow as pa
from pydantic import Field

from lossybench.artifacts import LEVEL, columns
from lossybench.data.dataset import Dataset, Description, Item
from lossybench.errors import LossyBenchError
from lossybench.metrics import Metric
from lossybench.models.inputs import fit
from lossybench.tasks.task_kind import Drawn, Example, TaskKind


class Counting(TaskKind):
    """How many objects an item has. Targets and predictions are numbers."""

    defaults = {"image": {"epochs": 8, "batch_size": 32, "learning_rate": 1e-3}}  # noqa: RUF012
    truth = columns(("count", pa.int32(), ""))
    schema = columns(("id", pa.string()), ("level", pa.float64(), LEVEL), ("count", pa.int32(), ""),
                     ("counted", pa.float32(), ""))  # fmt: skip
    metrics = (
        Metric("absolute_error", "mean absolute error", better="less", unit="objects", most=None),
        Metric("exact", "share of exact counts"),
    )

    @classmethod
    def drawn(cls, row, classes):
        return Drawn(f"{row['count']} objects")

    def examples(self, media, row, training):
        return [Example(fit(media, self.medium, self.input, crop=True), row["count"])]

    def targets(self, row):
        return [row["count"]]

    def loss(self, model, media, targets):
        import torch

        return torch.nn.functional.l1_loss(model(media).squeeze(1), torch.as_tensor(targets, dtype=torch.float32))

    def predict(self, model, media):
        return model(media).squeeze(1).tolist()

    def answered(self, answer):
        if not isinstance(answer.get("count"), int | float):
            raise LossyBenchError(f"answers {answer}; a counter answers {{count: 3}}")
        return float(answer["count"])

    def score(self, predictions, targets):
        return float(np.abs(np.subtract(predictions, targets)).mean())

    def outcome(self, example, prediction, row):
        return {"count": row["count"], "counted": prediction}

    @classmethod
    def settle(cls, original, task, sampling):
        from lossybench.analysis.measured import Settled

        count = task.truth["count"].to_numpy()
        return Settled(float(np.abs(count - np.median(count)).mean()))  # the best answer that is always the same

    @classmethod
    def measure(cls, found, settled, task, sampling):
        from lossybench.analysis.measured import of_items

        error = {seed: np.abs(rows["counted"].to_numpy() - rows["count"].to_numpy()) for seed, rows in found.items()}
        scores = {seed: {"absolute_error": one, "exact": one < 0.5} for seed, one in error.items()}
        return of_items(cls.metrics, scores, sampling)


class Dots(Dataset):
    """Bright dots on a dark ground."""

    name, medium, kind = "dots", "image", "counting:Counting"
    test: int = Field(60, ge=1, description="pictures to test on")

    def describe(self, seed):
        card = dict.fromkeys(("title", "source", "licence", "citation", "prior_compression"), "none")
        return Description("image", self.kind, [], card, {"test": self.test})

    def items(self, seed, left_out):
        for number in range(self.test):
            random = np.random.default_rng([seed, number])
            picture = random.normal(60, 10, (64, 64, 3))
            places = random.permutation(16)[: random.integers(0, 10)]
            for place in places:
                x, y = 16 * (place % 4) + 8, 16 * (place // 4) + 8
                cv2.circle(picture, (int(x), int(y)), 2, (120, 120, 120), -1)
            media = np.clip(picture, 0, 255).astype(np.uint8)
            yield Item(f"dots/{number:03d}", "test", {}, media, truth={"count": len(places)})


def predict(items):
    """How many bright dots each of some pictures has."""
    answers = []
    for item in items:
        found, _ = cv2.connectedComponents((item["media"].mean(axis=2) > 90).astype(np.uint8))
        answers.append({"count": found - 1})
    return answers
