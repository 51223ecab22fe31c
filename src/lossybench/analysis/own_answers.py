"""How a model is judged by its own answers on originals, where nobody knows what is true of the items.

A model's truth is then what it answers on the originals, and what is measured is how far it departs from that. Since
each model has a truth of its own, models are not compared with each other.

Of accuracy this says what no label is needed for. An item counts as a loss of accuracy at most where the answer has
changed, and it has changed wherever it counts as one. So item by item, and in every mean over items,

    accuracy on originals - accuracy behind the codec <= 1 - agreement,

and the difference is twice the share of items that became right and once that of those that went from one wrong answer
to another. The same holds for the share of texts that are right to the letter. The edit distance is a metric, so that
by its triangle inequality a character error rate rises by at most the edits between both answers over the length of the
true texts. Of mean average precision no such inequality is known.

Weighed by scores, a changed answer counts for (p - q) / (p + q), where p and q are the scores that the model on the
original gave its answer there and the new one. If one of the two is right, and scores are the probabilities of that,
this is the expected loss of accuracy; it is none if neither is. So it overstates the loss of a model whose scores are
such probabilities, and can understate that of any other; it never exceeds 1 - agreement.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from lossybench.analysis import box_metrics, text_metrics
from lossybench.analysis.box_metrics import Frames
from lossybench.analysis.comparisons import Primary
from lossybench.analysis.measured import Measured, Settled, choices, of_items
from lossybench.analysis.sampling import Sampling
from lossybench.chance import chance
from lossybench.errors import LossyBenchError
from lossybench.metrics import Metric

if TYPE_CHECKING:
    from lossybench.analysis.outcomes import Outcomes, TestSet

AGREEMENT = Metric("agreement", "agreement with its answers on originals")
WEIGHED = Metric("weighed_agreement", "agreement weighed by its scores on originals")
DISTANCE = Metric("score_distance", "total variation distance of its scores to those on originals", better="less")


_OWN = (
    "Truth is what each model itself answers on the originals. This shows how far compression changes its answers, "
    "not how many are right, nor whether the model is any good: what it answers wrongly on originals counts as "
    "right. Models are not compared with each other, since each has another truth."
)


class Answers(Protocol):
    """What judges models by their own answers, by the methods that `TaskKind` has for the analysis."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What is measured, the primary metric first."""

    @property
    def unit(self) -> str:
        """What is counted."""

    @property
    def guessing(self) -> str:
        """What chance is, in words, as of `TaskKind`."""

    @property
    def says(self) -> str:
        """What the results can show and what they cannot, for reports."""

    def read(self, outcomes: Outcomes, task: TestSet, first: Any) -> Any:
        """The answers of one model and seed at one level."""

    def settle(self, original: Any, task: TestSet, sampling: Sampling) -> Settled:
        """What the answers on originals settle: they are kept as the truth."""

    def measure(
        self, found: Mapping[int, Any], settled: Mapping[int, Settled], task: TestSet, sampling: Sampling
    ) -> Measured:
        """All metrics of one model at one condition."""


class Said(NamedTuple):
    """What a classifier says: its answers, int (n,), and its scores, float32 (n, outputs), highest at the answers."""

    answers: np.ndarray
    scores: np.ndarray


@dataclasses.dataclass(frozen=True)
class Labels:
    """Of classifiers: whether the answer is the same, weighed by scores or not, and how far apart the scores are.

    metrics: the primary one first.
    """

    metrics: tuple[Metric, ...] = (AGREEMENT, WEIGHED, DISTANCE)
    unit: str = "test item"
    guessing: str = "that of the best constant answer"

    @property
    def says(self) -> str:
        """See `Answers`."""
        if self.metrics[0] == AGREEMENT:
            return (
                f"{_OWN} Every item by which accuracy falls has another answer than before, so that the true "
                "accuracy falls by no more points than agreement does from 100 %. Changes from one wrong answer to "
                "another or to the right one count as losses too, so that a limit may be stronger than accuracy "
                "needs."
            )
        return (
            f"{_OWN} A changed answer counts by how much surer the model was of its own on the original: by (p − "
            "q)/(p + q) for the scores p of its own and q of the new answer there. That is no less than the "
            "expected loss of accuracy if scores are true probabilities, and may be less than the loss if they are "
            "not. It is never more than what agreement loses."
        )

    def read(self, outcomes: Outcomes, task: TestSet, first: Any) -> Said:
        """The answers and scores."""
        return Said(outcomes.rows["prediction"].to_numpy(), np.stack(outcomes.rows["scores"].to_numpy()))

    def settle(self, original: Said, task: TestSet, sampling: Sampling) -> Settled:
        """Chance is what the best constant answer reaches."""
        if self.metrics[0] == AGREEMENT:
            return Settled(chance(original.answers, original.scores.shape[1]), original)
        return Settled(float((1 - _lost(original)).mean(axis=0).max()), original)

    def measure(
        self, found: Mapping[int, Said], settled: Mapping[int, Settled], task: TestSet, sampling: Sampling
    ) -> Measured:
        """Means over items."""
        scores = {seed: _compared(settled[seed].kept, one) for seed, one in found.items()}
        return of_items(self.metrics, scores, sampling)


def _compared(before: Said, after: Said) -> dict[str, np.ndarray]:
    """Of each item the metrics (n,) of what is said `after` against what was `before`."""
    return {
        AGREEMENT.name: before.answers == after.answers,
        WEIGHED.name: 1 - np.take_along_axis(_lost(before), after.answers[:, None], axis=1)[:, 0],
        DISTANCE.name: (np.abs(after.scores.astype(float) - before.scores).sum(axis=1) / 2).clip(max=1.0),
    }


def _lost(before: Said) -> np.ndarray:
    """What each answer would count for as a loss: (n, outputs), 0 of the answer on originals."""
    own = np.take_along_axis(before.scores, before.answers[:, None], axis=1).astype(float)
    both = own + before.scores
    return np.divide(own - before.scores, both, out=np.zeros(both.shape), where=both > 0)


@dataclasses.dataclass(frozen=True)
class Boxes:
    """Of detectors: mean average precision against what they find on originals with a score of at least `least`."""

    least: float
    unit: str = "own detection"
    guessing: str = "that of the model's own boxes laid over other items"

    @property
    def says(self) -> str:
        """See `Answers`."""
        return (
            f"{_OWN} The objects are its detections on originals with a score of {self.least:g} or more. Objects "
            "that it misses there count for nothing, and false alarms count as objects. How far mean average "
            "precision against true objects falls does not follow: it may be less or more."
        )

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """By the names that `box_metrics` gives them."""
        titles = {"map50": "mAP@0.5", "map": "mAP@[.5:.95]", "f1": "F1"}
        order = ("map50", "map", "precision", "recall", "f1", "accuracy")
        return tuple(Metric(name, f"{titles.get(name, name)} against its detections on originals") for name in order)

    def read(self, outcomes: Outcomes, task: TestSet, first: Any) -> Frames:
        """The detections of all frames."""
        return box_metrics.frames_of(outcomes)

    def settle(self, original: Frames, task: TestSet, sampling: Sampling) -> Settled:
        """Chance, and which detections are the truth. Raises LossyBenchError where there is none."""
        kept = original.scores >= self.least
        if not kept.any():
            raise LossyBenchError(
                f"finds nothing on originals with a score of {self.least:g} or more, which would be its truth; set "
                "truth_score lower"
            )
        own = {"true_frame": original.frame[kept], "true_boxes": original.boxes[kept]}
        own["true_labels"] = original.labels[kept]
        blind = box_metrics.unseen(dataclasses.replace(original, **own), sampling.seed)
        return Settled(box_metrics.plain_map50(blind), own)

    def measure(
        self, found: Mapping[int, Frames], settled: Mapping[int, Settled], task: TestSet, sampling: Sampling
    ) -> Measured:
        """Overall alone: classes are the model's own, and no two seeds need to find the same."""
        kinds = len(box_metrics.KINDS)
        measured, compute = [], []
        for seed, frames in found.items():
            matches = box_metrics.match(dataclasses.replace(frames, **settled[seed].kept), len(task.ids))
            compute.append(box_metrics.of_some(matches))
            one = box_metrics.measure(matches, self.least, sampling)
            overall = {name: getattr(one, name)[:kinds] for name in ("values", "trials", "samples")}
            measured.append(dataclasses.replace(one, **overall))
        seeds, place = tuple(found), box_metrics.KINDS.index(box_metrics.PRIMARY)
        values = np.array([one.values[place] for one in measured])
        primary = Primary.of(self.metrics[0], seeds, values, np.stack([one.primary for one in measured]))
        estimates = {seed: box_metrics.estimates(measured[one], sampling) for seed, one in choices(seeds).items()}
        count = round(float(np.mean([len(settled[seed].kept["true_labels"]) for seed in seeds])))
        return Measured([(name, "") for name in box_metrics.KINDS], estimates, primary, {"": count}, tuple(compute))


@dataclasses.dataclass(frozen=True)
class Texts:
    """Of readers and transcribers: error rates between what they answer and what they answer on originals."""

    metrics: tuple[Metric, ...] = (
        Metric("cer", "character error rate against its texts of originals", better="less", most=None),
        Metric("wer", "word error rate against its texts of originals", better="less", most=None),
        Metric("exact", "texts that are the same as of originals"),
    )
    unit: str = "test item"
    guessing: str = "that of the best constant answer"

    @property
    def says(self) -> str:
        """See `Answers`."""
        return (
            f"{_OWN} The error rate against true texts rises by no more than the edits between both answers over the "
            "length of the true texts, since edit distance is a metric. Changes from one wrong text to another or "
            "to the right one count as errors too, so that a limit may be stronger than the true texts need."
        )

    def read(self, outcomes: Outcomes, task: TestSet, first: Any) -> list[str]:
        """The answers (n,)."""
        return outcomes.rows["answer"].to_pylist()

    def settle(self, original: list[str], task: TestSet, sampling: Sampling) -> Settled:
        """Raises LossyBenchError where nothing is read in any original."""
        if not any(text.strip() for text in original):
            raise LossyBenchError("answers no text on any original, which would be its truth")
        return Settled(text_metrics.chance(original, sampling.seed), original)

    def measure(
        self, found: Mapping[int, list[str]], settled: Mapping[int, Settled], task: TestSet, sampling: Sampling
    ) -> Measured:
        """Rates of all items together."""
        texts = {seed: (settled[seed].kept, answers) for seed, answers in found.items()}
        return text_metrics.measure(self.metrics, texts, sampling)
