"""A CNN on the log-mel spectrogram, which is computed inside the model and so is differentiable."""

from __future__ import annotations

import torch
import torchaudio
from torch import nn

from lossybench.models.inputs import Input
from lossybench.models.layers import conv

SETTINGS = {"epochs": 5}

BANDS = 48
FLOOR = 1e-5  # added to mel power before the logarithm


class LogMel(nn.Module):
    """Audio (N, samples) in [-1, 1] at `rate` Hz -> log-mel power (N, 1, bands, frames); 32 ms windows, 16 ms hop."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        window = round(0.032 * rate)
        self.mel = torchaudio.transforms.MelSpectrogram(
            round(rate), n_fft=window, hop_length=window // 2, n_mels=BANDS, f_min=40.0, center=False
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        with torch.autocast(x.device.type, enabled=False):  # powers span more than half precision holds
            return torch.log(self.mel(x.float()) + FLOOR).unsqueeze(1)


def build(classes: int, input: Input) -> nn.Module:
    """See `lossybench.models.build`."""
    return nn.Sequential(
        LogMel(input.sampling_rate),
        nn.InstanceNorm2d(1),
        conv(1, 16, 5, stride=2),
        conv(16, 32, 3),
        nn.MaxPool2d(2),
        conv(32, 64, 3),
        nn.MaxPool2d(2),
        conv(64, 96, 3),
        nn.AdaptiveMaxPool2d((1, 4)),  # keeps the order of a word's parts
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(96 * 4, classes),
    )
