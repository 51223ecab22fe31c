"""A CNN on each frame, then convolutions over time on the frames' features.

Bai et al., "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for Sequence Modeling", 2018. A
frame's features keep a coarse grid of places, or motion would be lost before time is looked at; beside each frame the
network sees how it differs from the clip's mean, which makes what moves stand out.
"""

from __future__ import annotations

import torch
from torch import nn

from lossybench.models.inputs import Input
from lossybench.models.layers import STANDARDISE_EPSILON, conv

FEATURES, GRID = 96, 4


class FrameTcn(nn.Module):
    """Video (N, frames, 3, H, W) -> logits (N, classes)."""

    def __init__(self, classes: int, input: Input) -> None:
        super().__init__()
        self.standardise = nn.InstanceNorm3d(3, eps=STANDARDISE_EPSILON)
        self.frame = nn.Sequential(
            conv(6, 16, 5, stride=2),
            nn.MaxPool2d(2),
            conv(16, 24, 3),
            nn.MaxPool2d(2),
            conv(24, 32, 3),
            nn.MaxPool2d(2),
            nn.AdaptiveAvgPool2d(GRID),  # does nothing at 64 x 64 pixels
            nn.Flatten(),
            nn.Linear(32 * GRID * GRID, FEATURES),
        )
        self.time = nn.Sequential(
            nn.BatchNorm1d(FEATURES),
            nn.ReLU(),
            nn.Conv1d(FEATURES, FEATURES, 3, padding=1, bias=False),
            nn.BatchNorm1d(FEATURES),
            nn.ReLU(),
            nn.Conv1d(FEATURES, FEATURES, 3, padding=2, dilation=2, bias=False),
            nn.BatchNorm1d(FEATURES),
            nn.ReLU(),
            nn.AdaptiveAvgPool1d(1),
            nn.Flatten(),
            nn.Linear(FEATURES, classes),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        clip = self.standardise(x.transpose(1, 2)).transpose(1, 2)
        clip = torch.cat([clip, clip - clip.mean(dim=1, keepdim=True)], dim=2)
        features = self.frame(clip.flatten(0, 1)).view(x.shape[0], x.shape[1], FEATURES)
        return self.time(features.transpose(1, 2))


build = FrameTcn
