"""Blocks that several compact architectures share."""

from __future__ import annotations

import torch
from torch import nn

# Items are standardised one by one, each channel to mean 0 and variance 1: what varies most between photographs or
# recordings, brightness and loudness, says least about the class, and training would spend its first epochs on it.
# Below about 3 % of full scale the deviation counts as noise and is not blown up further.
STANDARDISE_EPSILON = 1e-3


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution (N, inputs, H, W), batch norm, ReLU; the stride divides H and W."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """The basic block of He et al., "Deep Residual Learning for Image Recognition", CVPR 2016."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(inputs, outputs, 3, stride), nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        )
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.skip = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        return torch.relu(self.body(x) + self.skip(x))
