"""FCOS that sees the frames before and after the one it searches, stacked along the channels."""

from __future__ import annotations

from torch import nn

from lossybench.models.image_detection import fcos
from lossybench.models.inputs import Input
from lossybench.models.video_detection.fcos import Stacked

WINDOW = 3


def build(classes: int, input: Input) -> nn.Module:
    """See `lossybench.models.build`."""
    return Stacked(fcos.build(classes, input, WINDOW))
