"""FCOS on each frame alone, and what all detectors on windows of frames share."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lossybench.models.image_detection import fcos
from lossybench.models.inputs import Input

WINDOW = 1


class Stacked(nn.Module):
    """Hands windows (N, frames, 3, H, W) to an image detector, each as one picture of 3 * frames channels."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, x: torch.Tensor, targets: list[dict[str, torch.Tensor]] | None = None) -> Any:
        """See `lossybench.models.build`."""
        return self.detector(x.flatten(1, 2), targets)


def build(classes: int, input: Input) -> nn.Module:
    """See `lossybench.models.build`."""
    return Stacked(fcos.build(classes, input, WINDOW))
