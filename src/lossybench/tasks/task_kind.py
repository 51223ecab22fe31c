"""What training and evaluation ask of a kind of prediction."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch

from lossybench.models.inputs import Input


@dataclasses.dataclass(frozen=True)
class Example:
    """What a model takes in at once, of one item: the item itself, or a window of its frames.

    media: uint8 or int16, in the model's input shape. target: what the kind of prediction needs. frame: the frame
    searched, 0 outside of video detection.
    """

    media: np.ndarray
    target: Any
    frame: int = 0


class TaskKind(abc.ABC):
    """A kind of prediction for one model; `info` holds medium, classes, input and settings as in model.json."""

    metric: ClassVar[str]  # by which epochs are compared
    schema: ClassVar[pa.Schema]  # of the outcomes

    def __init__(self, info: Mapping[str, Any]) -> None:
        self.info = info
        self.medium: str = info["medium"]
        self.classes: list[str] = info["classes"]
        self.settings: dict[str, Any] = info["settings"]
        self.input = Input.of(info)

    @abc.abstractmethod
    def examples(self, media: np.ndarray, row: Mapping[str, Any], training: bool) -> list[Example]:
        """The examples of one decoded item; `row` is its row of the data table. `training`: those to learn from."""

    @abc.abstractmethod
    def shift_target(self, target: Any, down: int, right: int, flip: bool) -> Any:
        """The target after its picture was mirrored and then shifted by so many pixels."""

    @abc.abstractmethod
    def loss(self, model: torch.nn.Module, media: torch.Tensor, targets: Sequence[Any]) -> torch.Tensor:
        """The loss of a batch, a scalar. `media`: float input of the model."""

    @abc.abstractmethod
    def predict(self, model: torch.nn.Module, media: torch.Tensor) -> list[Any]:
        """One prediction an example, as numpy arrays; the model is in evaluation mode."""

    @abc.abstractmethod
    def score(self, predictions: Sequence[Any], targets: Sequence[Any]) -> float:
        """The metric, between 0 and 1."""

    @abc.abstractmethod
    def outcome(self, example: Example, prediction: Any, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row of the outcomes without id and level, in the item's own coordinates."""
