"""Text: what is written in a picture, or said in a clip. Its models exist already; none is trained here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from lossybench.artifacts import LEVEL, columns
from lossybench.data.dataset import Item
from lossybench.errors import LossyBenchError, shown
from lossybench.metrics import Metric
from lossybench.models.inputs import fit
from lossybench.tasks.task_kind import Drawn, Example, TaskKind

if TYPE_CHECKING:
    import torch

    from lossybench.analysis.measured import Measured, Settled
    from lossybench.analysis.outcomes import Outcomes, TestSet
    from lossybench.analysis.own_answers import Answers
    from lossybench.analysis.sampling import Sampling

_SHOWN = 40  # characters of a text on the contact sheet


class Text(TaskKind):
    """Targets and predictions are texts."""

    defaults = {  # noqa: RUF012
        medium: {"epochs": 1, "batch_size": 1, "learning_rate": 1e-3}  # which no model learns by
        for medium in ("image", "audio", "video")
    }
    truth = columns(("text", pa.string()))  # "" where nobody knows it
    schema = columns(("id", pa.string()), ("level", pa.float64(), LEVEL), ("answer", pa.string()))
    guessing = "that of the best constant answer"
    metrics = (
        Metric("cer", "character error rate", better="less", most=None),
        Metric("wer", "word error rate", better="less", most=None),
        Metric("exact", "texts that are right to the letter"),
    )
    own_answers = ("model",)

    @classmethod
    def stored(cls, item: Item) -> dict[str, Any]:
        text = item.truth.get("text")
        if text is not None and not str(text).strip():
            raise LossyBenchError("its text is empty; leave the item out, or say what is written or said in it")
        return {"text": text or ""}

    @classmethod
    def drawn(cls, row: Mapping[str, Any], classes: Sequence[str]) -> Drawn:
        text = " ".join(row["text"].split())
        return Drawn(f"“{text[:_SHOWN]}{'…' * (len(text) > _SHOWN)}”" if text else "")

    def examples(self, media: np.ndarray, row: Mapping[str, Any], training: bool) -> list[Example]:
        return [Example(fit(media, self.medium, self.input, crop=False), row["text"])]

    def targets(self, row: Mapping[str, Any]) -> list[str]:
        return [row["text"]]

    def loss(self, model: torch.nn.Module, media: torch.Tensor, targets: Sequence[str]) -> torch.Tensor:
        raise LossyBenchError("models that answer texts are not trained; give ones that exist already")

    def answered(self, answer: Mapping[str, Any]) -> str:
        text = answer.get("text")
        if not isinstance(text, str):
            raise LossyBenchError(f"answers {shown(dict(answer))}; what is read is a text, which may be empty, as text")
        return text.encode(errors="replace").decode()  # half of a pair of surrogates is no text that a table can hold

    def predict(self, model: torch.nn.Module, media: torch.Tensor) -> list[str]:
        raise LossyBenchError("what networks return is no text; give a command, function or url that answers one")

    def score(self, predictions: Sequence[str], targets: Sequence[str]) -> float:
        from lossybench.edits import counted

        edits, length, *_ = counted(targets, predictions).sum(axis=0)
        return float(edits / length)

    def outcome(self, example: Example, prediction: str, row: Mapping[str, Any]) -> dict[str, Any]:
        return {"answer": prediction}

    @classmethod
    def read(cls, outcomes: Outcomes, task: TestSet, first: list[str] | None) -> list[str]:
        """The answers (n,)."""
        return outcomes.rows["answer"].to_pylist()

    @classmethod
    def settle(cls, original: list[str], task: TestSet, sampling: Sampling) -> Settled:
        from lossybench.analysis.measured import Settled
        from lossybench.analysis.text_metrics import chance

        return Settled(chance(task.truth["text"].to_pylist(), sampling.seed))

    @classmethod
    def measure(
        cls, found: Mapping[int, list[str]], settled: Mapping[int, Settled], task: TestSet, sampling: Sampling
    ) -> Measured:
        from lossybench.analysis import text_metrics

        truths = task.truth["text"].to_pylist()
        return text_metrics.measure(cls.metrics, {seed: (truths, one) for seed, one in found.items()}, sampling)

    @classmethod
    def judged_by(cls, truth: str, least: float) -> Answers:
        from lossybench.analysis.own_answers import Texts

        return Texts()


TASK = Text
