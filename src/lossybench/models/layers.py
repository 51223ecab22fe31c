"""Layers that several models share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

# Items are standardised one by one, each channel to mean 0 and variance 1: what varies most between photographs or
# recordings, brightness and loudness, says least about the class, and training would spend its first epochs on it.
# Below about 3 % of full scale the deviation counts as noise and is not blown up further.
STANDARDISE_EPSILON = 1e-3


def conv(inputs: int, outputs: int, kernel: int | tuple[int, int], stride: int = 1) -> nn.Sequential:
    """Convolution by a kernel, batch norm, ReLU: (N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
    height, width = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, (height // 2, width // 2), bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Normalise(nn.Module):
    """(x - mean) / std. mean, std: one number, or one for each of the channels, which `axes` further axes follow."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], axes: int) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values).view(-1, *[1] * axes), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return (x - self.mean) / self.std


class Residual(nn.Module):
    """The basic block of He et al., "Deep Residual Learning for Image Recognition", CVPR 2016: see `conv`."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(inputs, outputs, 3, stride), nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        )
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.skip = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return torch.relu(self.body(x) + self.skip(x))
