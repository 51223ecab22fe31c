"""What training and evaluation ask of a kind of task."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch

from lossybench.models.inputs import Input


@dataclasses.dataclass(frozen=True)
class Example:
    """What a model takes in at once of one item: the item itself, or a window of its frames.

    media: uint8 or int16, in the shape of the model's input. target: as the kind of task defines it. frame: the frame
    that is searched, 0 outside of video detection.
    """

    media: np.ndarray
    target: Any
    frame: int = 0


class TaskKind(abc.ABC):
    """A kind of task for one model. info: holds medium, classes, input and settings as in model.json."""

    metric: ClassVar[str]  # the name of what compares epochs
    schema: ClassVar[pa.Schema]  # of the outcomes

    def __init__(self, info: Mapping[str, Any]) -> None:
        self.info, self.input = info, Input.of(info)
        self.medium: str = info["medium"]
        self.settings: dict[str, Any] = info["settings"]

    @abc.abstractmethod
    def examples(self, media: np.ndarray, row: Mapping[str, Any], training: bool) -> list[Example]:
        """The examples of the decoded item `media`. row: its row of the data table. training: those to learn from."""

    def takes_in(self, training: bool) -> Hashable:
        """What the media of `examples` depend on: tasks of which it, or its repr, is equal have the same ones."""
        return type(self), self.medium, self.input

    @abc.abstractmethod
    def targets(self, row: Mapping[str, Any]) -> list[Any]:
        """The targets of an item's examples to learn from. row: its row of the data table."""

    @abc.abstractmethod
    def shift_target(self, target: Any, down: int, right: int, flip: bool) -> Any:
        """The target once its picture was mirrored left to right (`flip`), then moved `down` and `right` by pixels."""

    @abc.abstractmethod
    def loss(self, model: torch.nn.Module, media: torch.Tensor, targets: Sequence[Any]) -> torch.Tensor:
        """The loss, a scalar, of the model on a batch of its float input `media` (N, ...) with its targets (N,)."""

    @abc.abstractmethod
    def predict(self, model: torch.nn.Module, media: torch.Tensor) -> list[Any]:
        """One prediction, of numpy arrays, for each example of the float input `media`. model: in evaluation mode.

        A model that is asked item by item takes a list of `inputs.Sent` in its place.
        """

    @abc.abstractmethod
    def score(self, predictions: Sequence[Any], targets: Sequence[Any]) -> float:
        """The metric, between 0 and 1, of the predictions of examples against their targets."""

    @abc.abstractmethod
    def outcome(self, example: Example, prediction: Any, row: Mapping[str, Any]) -> dict[str, Any]:
        """The outcome, without id and level, of a prediction on an example, in pixels of the item in the data `row`."""
