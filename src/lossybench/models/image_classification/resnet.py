"""A compact residual network (He et al., CVPR 2016) with a strided stem.

Maximum pooling, between stages and at the end, finds a small object in clutter in far fewer epochs than strides and
averages do.
"""

from __future__ import annotations

from torch import nn

from lossybench.models.inputs import Input
from lossybench.models.layers import STANDARDISE_EPSILON, Residual, conv


def build(classes: int, input: Input) -> nn.Module:
    """See `lossybench.models.build`."""
    return nn.Sequential(
        nn.InstanceNorm2d(3, eps=STANDARDISE_EPSILON),
        conv(3, 16, 5, stride=2),
        conv(16, 32, 3),
        nn.MaxPool2d(2),
        Residual(32, 32),
        conv(32, 64, 3),
        nn.MaxPool2d(2),
        conv(64, 96, 3),
        nn.MaxPool2d(2),
        Residual(96, 96),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(96, classes),
    )
