"""A compact U-Net: Ronneberger, Fischer & Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation",
MICCAI 2015, with batch norm, a residual block at the bottom, and upsampling by bilinear interpolation.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from lossybench.models.inputs import Input
from lossybench.models.layers import STANDARDISE_EPSILON, Residual, conv

CHANNELS = (12, 24, 48, 96)  # at full size and after each halving


class UNet(nn.Module):
    """Images (N, 3, H, W) -> logits (N, classes, H, W). Any size will do: halves are rounded up."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.standardise = nn.InstanceNorm2d(3, eps=STANDARDISE_EPSILON)
        self.shrink = nn.MaxPool2d(2, ceil_mode=True)
        self.down = nn.ModuleList(
            conv(3, CHANNELS[0], 3) if place == 0 else nn.Sequential(conv(before, after, 3), conv(after, after, 3))
            for place, (before, after) in enumerate(pairwise((3, *CHANNELS[:-1])))
        )
        self.bottom = nn.Sequential(Residual(CHANNELS[-2], CHANNELS[-1]), Residual(CHANNELS[-1], CHANNELS[-1]))
        self.up = nn.ModuleList(
            conv(below + beside, beside, 3) for below, beside in zip(CHANNELS[:0:-1], CHANNELS[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(CHANNELS[0], classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See `lossybench.models.build`."""
        x = self.standardise(x)
        passed = []
        for block in self.down:
            x = block(x)
            passed.append(x)
            x = self.shrink(x)
        x = self.bottom(x)
        for block, beside in zip(self.up, reversed(passed), strict=True):
            x = functional.interpolate(x, beside.shape[-2:], mode="bilinear", align_corners=False)
            x = block(torch.cat([x, beside], dim=1))
        return self.head(x)


def build(classes: int, input: Input) -> nn.Module:
    """See `lossybench.models.build`."""
    return UNet(classes)
