"""What the compact detectors share: the backbone, and limits that keep post-processing cheap."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torchvision.ops import FeaturePyramidNetwork

from lossybench.models.inputs import Input
from lossybench.models.layers import STANDARDISE_EPSILON, Residual, conv

CHANNELS = 64  # of every pyramid level, and so of the heads
STRIDES = (8, 16)


def common(input: Input, frames: int) -> dict[str, Any]:
    """Arguments of torchvision's detectors for pictures of the size of `input`, of `frames` stacked along the channels.

    The pictures have their size already, so the detector must not resize them: `_skip_resize` prevents it in training,
    the two sizes do in evaluation.
    """
    return {
        "min_size": min(input.shape[-2:]),
        "max_size": max(input.shape[-2:]),
        "_skip_resize": True,
        "size_divisible": STRIDES[-1],
        "image_mean": [0.5] * 3 * frames,
        "image_std": [0.25] * 3 * frames,
        "score_thresh": 0.05,
        "detections_per_img": 30,
        "topk_candidates": 100,
    }


class Pyramid(nn.Module):
    """Images (N, 3 * frames, H, W) -> feature maps of strides 8 and 16 (Lin et al., CVPR 2017)."""

    out_channels = CHANNELS

    def __init__(self, frames: int = 1) -> None:
        super().__init__()
        self.fine = nn.Sequential(
            nn.InstanceNorm2d(3 * frames, eps=STANDARDISE_EPSILON),
            conv(3 * frames, 16, 5, stride=2),
            nn.MaxPool2d(2),
            conv(16, 32, 3),
            nn.MaxPool2d(2),
            Residual(32, 64),
        )
        self.coarse = nn.Sequential(nn.MaxPool2d(2), Residual(64, 96))
        self.pyramid = FeaturePyramidNetwork([64, 96], CHANNELS)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        fine = self.fine(x)
        return self.pyramid({"fine": fine, "coarse": self.coarse(fine)})
