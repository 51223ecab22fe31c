"""A factorised 3-D CNN: space, then time, in every block.

Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition", CVPR 2018 (R(2+1)D).
"""

from __future__ import annotations

import torch
from torch import nn

from lossybench.models.inputs import Input
from lossybench.models.layers import STANDARDISE_EPSILON

SETTINGS = {"epochs": 5}


def block(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """A convolution by a kernel over space, then one over 3 frames, of (N, inputs, frames, H, W); H, W / stride."""
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, (1, kernel, kernel), (1, stride, stride), (0, kernel // 2, kernel // 2), bias=False),
        nn.BatchNorm3d(outputs),
        nn.ReLU(inplace=True),
        nn.Conv3d(outputs, outputs, (3, 1, 1), 1, (1, 0, 0), bias=False),
        nn.BatchNorm3d(outputs),
        nn.ReLU(inplace=True),
    )


class Conv3d(nn.Module):
    """Video (N, frames, 3, H, W) -> logits (N, classes); at least 8 frames of 32 x 32."""

    def __init__(self, classes: int, input: Input) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.InstanceNorm3d(3, eps=STANDARDISE_EPSILON),
            block(3, 16, 5, stride=2),
            nn.MaxPool3d((1, 2, 2)),
            block(16, 24),
            nn.MaxPool3d(2),
            block(24, 32),
            nn.MaxPool3d(2),
            block(32, 64),
            nn.AdaptiveMaxPool3d(1),
            nn.Flatten(),
            nn.Linear(64, classes),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.layers(x.transpose(1, 2))


build = Conv3d
