"""A compact U-Net (Ronneberger, Fischer & Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation",
MICCAI 2015), with batch norm, residual blocks at the bottom, and upsampling by interpolation.

At full size, where a U-Net computes most, this one has a single thin layer.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from lossybench.models.inputs import Input
from lossybench.models.layers import STANDARDISE_EPSILON, Residual, conv

THIN, HALF, QUARTER, EIGHTH = 8, 16, 40, 80  # channels at full size, and at halves of it


class UNet(nn.Module):
    """Images (N, 3, H, W) of any size -> logits (N, classes, H, W)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.standardise = nn.InstanceNorm2d(3, eps=STANDARDISE_EPSILON)
        self.at_full = conv(3, THIN, 3)
        self.at_half = nn.Sequential(conv(3, HALF, 5, stride=2), conv(HALF, HALF, 3))
        self.at_quarter = nn.Sequential(_shrink(), conv(HALF, QUARTER, 3), conv(QUARTER, QUARTER, 3))
        self.at_eighth = nn.Sequential(_shrink(), Residual(QUARTER, EIGHTH), Residual(EIGHTH, EIGHTH))
        self.to_quarter = conv(EIGHTH + QUARTER, QUARTER, 3)
        self.to_half = conv(QUARTER + HALF, HALF, 3)
        self.head = nn.Sequential(conv(HALF + THIN, HALF + THIN, 1), nn.Conv2d(HALF + THIN, classes, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See `lossybench.models.build`."""
        x = self.standardise(x)
        half = self.at_half(x)
        quarter = self.at_quarter(half)
        found = self.to_quarter(_beside(self.at_eighth(quarter), quarter))
        found = self.to_half(_beside(found, half))
        return self.head(_beside(found, self.at_full(x)))


def _shrink() -> nn.Module:
    return nn.MaxPool2d(2, ceil_mode=True)


def _beside(coarse: torch.Tensor, fine: torch.Tensor) -> torch.Tensor:
    """The channels of both, at the size of the finer one."""
    grown = functional.interpolate(coarse, fine.shape[-2:], mode="bilinear", align_corners=False)
    return torch.cat([grown, fine], dim=1)


def build(classes: int, input: Input) -> nn.Module:
    """See `lossybench.models.build`."""
    return UNet(classes)
