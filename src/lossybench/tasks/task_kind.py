"""What a kind of task declares, and what training, evaluation and the analysis ask of it.

What a kind imports of `lossybench.analysis` is for the methods `read`, `settle` and `measure` alone, by which the
aggregate stage goes: no training or evaluation runs again when the analysis changes (`fingerprint`). A kind's file is
read wherever a config is checked, so that torch and the analysis are imported within the methods that need them.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from lossybench.artifacts import DATA, extended_by, know
from lossybench.data.dataset import Item
from lossybench.errors import LossyBenchError, naming
from lossybench.metrics import Metric
from lossybench.models.inputs import Input, Sent

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from lossybench.analysis.measured import Measured, Settled
    from lossybench.analysis.outcomes import Outcomes, TestSet
    from lossybench.analysis.own_answers import Answers
    from lossybench.analysis.sampling import Sampling
    from lossybench.analysis.subgroups import Groups


@dataclasses.dataclass(frozen=True)
class Example:
    """What a model takes in at once of one item: the item itself, or a window of its frames.

    media: uint8 or int16, in the shape of the model's input. target: as the kind of task defines it. frame: the frame
    that is searched, 0 outside of video detection.
    """

    media: np.ndarray
    target: Any
    frame: int = 0


@dataclasses.dataclass(frozen=True)
class Drawn:
    """What the contact sheet shows of what is true of an item.

    text: beside the item's name, "class cat". alike: items of which this is the same are not shown twice; None: any may
    be. boxes: (frame, x0, y0, x1, y1) of objects, in pixels of the item. mask: class numbers (H, W) of a picture, of
    which outlines are drawn.
    """

    text: str = ""
    alike: Hashable = None
    boxes: Sequence[tuple[int, float, float, float, float]] = ()
    mask: np.ndarray | None = None


class TaskKind(abc.ABC):
    """A kind of task: the class says what holds for all of its tasks, and an instance is the task of one model.

    info: holds medium, classes, input and settings as in model.json.

    defaults: of each medium that the kind is for, its training settings where they differ from those of all
    (`training_settings`). truth: the columns of the data table that hold what is true of an item. schema: the columns
    of its outcomes, id and level among them. metrics: what is scored, the primary one first, by which limits are.
    per_item: whether an item has one outcome; a video detector has one a frame. unit: what is counted, "test item" or
    another noun. needs_classes: whether every class has to have items in the splits train and test. placed: whether
    what is true is said in places of the picture, so that media are not cropped to a model's input and not scaled.
    by_frame: whether a model sees a clip frame by frame. loss_in_training: whether models have a loss in training mode
    alone. chance_of_data: whether chance follows from the data alone, whatever the model answers. guessing: what chance
    is, in words that follow "of mAP@0.5"; "" leaves it out. existing: what stands around a model that exists already
    (`lossybench.models.existing`): a classifier or a detector, which translate classes; or the model as it is. attacks:
    the schema of its tables of attacks; None where none apply. attacked_unit: what an attack beats or not. may_miss:
    whether such a unit may be read as no class at all. read_as: how many classes it may be read as, where these are not
    those of the data. own_answers: by which values of a task's key `truth` models are judged by their own answers
    (`judged_by`). tells: by what `apart` tells losses apart, beside factors, and classes where each item has one.
    """

    defaults: ClassVar[Mapping[str, Mapping[str, Any]]]
    truth: ClassVar[pa.Schema]
    schema: ClassVar[pa.Schema]
    metrics: ClassVar[tuple[Metric, ...]]
    per_item: ClassVar[bool] = True
    unit: ClassVar[str] = "test item"
    needs_classes: ClassVar[bool] = False
    own_answers: ClassVar[tuple[str, ...]] = ()
    placed: ClassVar[bool] = False
    by_frame: ClassVar[bool] = False
    loss_in_training: ClassVar[bool] = False
    chance_of_data: ClassVar[bool] = False
    guessing: ClassVar[str] = ""
    existing: ClassVar[Literal["plain", "classifier", "detector"]] = "plain"
    attacks: ClassVar[pa.Schema | None] = None
    attacked_unit: ClassVar[str] = "test item"
    may_miss: ClassVar[bool] = False
    read_as: ClassVar[int | None] = None
    tells: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **further: Any) -> None:
        super().__init_subclass__(**further)
        know(*(vars(cls)[name] for name in ("truth", "schema") if name in vars(cls)))

    def __init__(self, info: Mapping[str, Any]) -> None:
        self.info, self.input = info, Input.of(info)
        self.medium: str = info["medium"]
        self.settings: dict[str, Any] = info["settings"]

    @property
    def metric(self) -> str:
        """The name of the primary metric, which compares epochs."""
        return self.metrics[0].name

    # The truth

    @classmethod
    def data_schema(cls) -> pa.Schema:
        """The columns of the data table of its tasks."""
        return extended_by(DATA, cls.truth)

    @classmethod
    def stored(cls, item: Item) -> dict[str, Any]:
        """The columns `truth` of an item, which adapters give as `Item.truth`.

        Raises LossyBenchError for what is no truth of this kind; its text says what would be.
        """
        return {name: item.truth[name] for name in cls.truth.names}

    @classmethod
    def labels(cls, row: Mapping[str, Any]) -> list[int]:
        """The classes in what is true of an item, each as often as it is there; [] where a kind has none.

        row: the columns `truth` of the data table.
        """
        return []

    @classmethod
    def drawn(cls, row: Mapping[str, Any], classes: Sequence[str]) -> Drawn:
        """What the contact sheet shows of an item. row: the columns `truth` of the data table."""
        return Drawn()

    # Models

    @abc.abstractmethod
    def examples(self, media: np.ndarray, row: Mapping[str, Any], training: bool) -> list[Example]:
        """The examples of the decoded item `media`. row: its row of the data table. training: those to learn from."""

    def takes_in(self, training: bool) -> Hashable:
        """What the media of `examples` depend on: tasks of which it, or its repr, is equal have the same ones."""
        return type(self), self.medium, self.input

    @abc.abstractmethod
    def targets(self, row: Mapping[str, Any]) -> list[Any]:
        """The targets of an item's examples to learn from. row: its row of the data table."""

    def shift_target(self, target: Any, down: int, right: int, flip: bool) -> Any:
        """The target once its picture was mirrored left to right (`flip`), then moved `down` and `right` by pixels.

        It stays as it is unless a kind says otherwise.
        """
        return target

    @abc.abstractmethod
    def loss(self, model: torch.nn.Module, media: torch.Tensor, targets: Sequence[Any]) -> torch.Tensor:
        """The loss, a scalar, of the model on a batch of its float input `media` (N, ...) with its targets (N,)."""

    @abc.abstractmethod
    def predict(self, model: torch.nn.Module, media: torch.Tensor) -> list[Any]:
        """One prediction, of numpy arrays, for each example of the float input `media`. model: in evaluation mode.

        A model that exists already is called as its owner made it: what it returns is checked here.
        """

    def answered(self, answer: Mapping[str, Any]) -> Any:
        """The prediction in what a model behind a command, function or url answers to an item, as `predict` makes it.

        Raises LossyBenchError for anything else, saying what it answers and what would be right; and where this kind of
        task cannot be asked for so.
        """
        raise LossyBenchError(f"no command, function or url can do {self.info['kind']}; give a checkpoint")

    def predictions(self, model: torch.nn.Module, media: torch.Tensor | Sequence[Sent]) -> list[Any]:
        """One prediction for each example. media: the float input, or what is sent to a model asked item by item."""
        if self.existing != "plain" or not isinstance(media, Sequence):
            return self.predict(model, media)  # type: ignore[arg-type]
        found = []
        for sent, answer in zip(media, model(media), strict=True):
            with naming(f"item {sent.name}"):
                found.append(self.answered(answer))
        return found

    def some_target(self) -> Any:
        """A target such as examples have, to time learning by; None where a kind does not say."""
        return None

    @abc.abstractmethod
    def score(self, predictions: Sequence[Any], targets: Sequence[Any]) -> float:
        """The primary metric of the predictions of examples against their targets, by which epochs are compared."""

    @abc.abstractmethod
    def outcome(self, example: Example, prediction: Any, row: Mapping[str, Any]) -> dict[str, Any]:
        """The outcome, without id and level, of a prediction on an example, in pixels of the item in the data `row`."""

    # The analysis

    @classmethod
    def read(cls, outcomes: Outcomes, task: TestSet, first: Any | None) -> Any:
        """What `settle` and `measure` take of one model's outcomes at one level; the outcomes' rows themselves, if a
        kind does not say otherwise.

        task: the test items, with their truth. first: what this method returned first of this model, for its originals;
        None for these themselves. Raises LossyBenchError for outcomes that are not those of these items.
        """
        return outcomes.rows

    @classmethod
    @abc.abstractmethod
    def settle(cls, original: Any, task: TestSet, sampling: Sampling) -> Settled:
        """What the outcomes of one model and seed on originals settle, as `read` made them: chance, and thresholds."""

    @classmethod
    @abc.abstractmethod
    def measure(
        cls, found: Mapping[int, Any], settled: Mapping[int, Settled], task: TestSet, sampling: Sampling
    ) -> Measured:
        """All metrics of one model at one condition, by `measured.of_items` or `measured.of_weights`.

        found: of each seed what `read` made of its outcomes. settled: of each seed what `settle` returned. task: the
        test items. sampling: by which intervals go.
        """

    @classmethod
    def attacked(cls, table: pd.DataFrame, meta: Mapping[str, Any]) -> pd.DataFrame:
        """The `table` of attacks on one model as one of artifacts.ATTACKS: a row for each unit.

        Units that are no items are called "item#k", whatever k is. A column `lost`, in [0, 1], may say how much of a
        unit is lost behind the codec. meta: of the table.
        """
        return table

    @classmethod
    def under_attack(cls, rows: pd.DataFrame, when: str) -> float | None:
        """The primary metric of what attacked items are taken for; None where that is the share that is right.

        rows: of the table of attacks, one for each item. when: the column clean, clean_after, before or after.
        """
        return None

    @classmethod
    def apart(cls, found: Mapping[int, Any], by: Sequence[str], task: TestSet, sampling: Sampling) -> Groups:
        """The primary metric of what is told apart within items, of one model at one condition.

        by: those of `tells` that are wanted. Others: as for `measure`.
        """
        return {}

    @classmethod
    def judged_by(cls, truth: str, least: float) -> Answers:
        """What judges models by their own answers on originals. truth: one of `own_answers`. least: the score from
        which on an answer counts, where an item may have several."""
        raise NotImplementedError(f"{cls.__name__} names no own_answers")
