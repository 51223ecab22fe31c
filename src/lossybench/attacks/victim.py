"""What attacked classifiers and detectors share."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lossybench.attacks.preprocessor import CodecPreprocessor
from lossybench.integers import Grid

# Of restarts: where signs of the gradient go into corners, and where the gradient itself is followed.
MOMENTUM: dict[str, float] = {"linf": 0.75, "share": 0.75, "l2": 0.9, "snr": 0.9}


@dataclasses.dataclass(eq=False)
class VictimBase(abc.ABC):
    """A model, bare or behind a codec, as it predicts from integers (N, ...) in the model's layout.

    network: in evaluation mode on `device`. info: the content of model.json. grid: the integers of its medium.
    batch_size: items at once. through: the codec as the attacker sees it: at one level, at several where the attacker
    expects any of them, as of a defence that draws, or none. least: the score from which on what a detector finds
    counts. kept: what else the kind of task judges by.
    """

    network: torch.nn.Module
    device: torch.device
    info: Mapping[str, Any]
    grid: Grid
    batch_size: int
    through: Sequence[CodecPreprocessor] = ()
    least: float = 0.0
    kept: Any = None

    def __post_init__(self) -> None:
        self.classes = len(self.info["classes"])
        self.device_type = "cpu" if self.device.type == "cpu" else "gpu"  # as ART calls it
        # The factor on an attack's steps that the surrogates are worth.
        self.effort = max((one.surrogate.effort for one in self.through if one.surrogate), default=1)

    @classmethod
    def keeps(
        cls, data: Path, network: torch.nn.Module, info: Mapping[str, Any], grid: Grid
    ) -> tuple[Any, dict[str, Any]]:
        """What else a model is judged by on the test items of the table `data`, and what of it tables of attacks say.

        network, info, grid: of the model, as in the class.
        """
        return None, {}

    def gathered(self, truths: Sequence[Any]) -> np.ndarray:
        """The truths of items as an array (N,)."""
        return np.array(truths)

    @abc.abstractmethod
    def predict(self, integers: np.ndarray) -> np.ndarray:
        """What the model predicts (N,) for the integers (N, ...) without the codec."""

    @abc.abstractmethod
    def judge(self, integers: np.ndarray, truth: np.ndarray, way: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """What is predicted (N,) for the integers (N, ...) behind the codec, if any, and how near that is to be wrong.

        The latter (N,) is larger, the nearer it is, and above 0 where it is wrong. truth: of the items. way: which of
        several codecs.
        """

    def after(self, integers: np.ndarray) -> np.ndarray:
        """What the model predicts (N,) for the integers (N, ...) behind the (first) codec, where there is one."""
        return self.predict(self.through[0].decode(integers) if self.through else integers)


def seed_all(entropy: Sequence[int]) -> None:
    """Seed the global generators of numpy and torch, from which ART and detectors draw, by these numbers."""
    seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    np.random.seed(seed)
    torch.manual_seed(seed)
