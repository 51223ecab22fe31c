"""A 1-D CNN on the waveform, with a learnt filter bank.

After Zeghidour et al., "LEAF: A Learnable Frontend for Audio Classification", ICLR 2021, but simpler: filters,
rectified and pooled to envelopes, a logarithm, then small kernels over time.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from lossybench.models.inputs import Input
from lossybench.models.layers import conv

FILTERS, TAPS, HOP = 48, 80, 8  # 5 ms filters every 0.5 ms at 16 kHz
ENVELOPE = 4  # filter outputs pooled to one
FLOOR = 0.1  # of the envelope, before the logarithm; clips are scaled to an RMS of 1


class WaveCnn(nn.Module):
    """Audio (N, samples) -> logits (N, classes)."""

    def __init__(self, classes: int, input: Input) -> None:
        super().__init__()
        self.filters = nn.Linear(TAPS, FILTERS, bias=False)
        self.layers = nn.Sequential(  # 2-D kernels over (N, filters, 1, T) are faster on a CPU than 1-D ones
            nn.BatchNorm2d(FILTERS),
            nn.MaxPool2d((1, 4)),
            conv(FILTERS, 64, (1, 3)),
            nn.MaxPool2d((1, 2)),
            conv(64, 96, (1, 3)),
            nn.MaxPool2d((1, 2)),
            conv(96, 128, (1, 3)),
            nn.AdaptiveMaxPool2d((1, 4)),  # keeps the order of a word's parts
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(128 * 4, classes),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See `lossybench.models.build`."""
        with torch.autocast(x.device.type, enabled=False):  # levels span more than half precision holds
            scaled = x.float() / (x.float().std(dim=1, keepdim=True) + 1e-3)
            # A matrix product on overlapping frames: a convolution of one channel is slow on the CPU.
            filtered = self.filters(scaled.unfold(1, TAPS, HOP)).transpose(1, 2).unsqueeze(2)
            # Half-wave rectified; after the maximum, which is the same and a quarter of the work.
            envelope = torch.log(functional.max_pool2d(filtered, (1, ENVELOPE)).relu() + FLOOR)
        return self.layers(envelope)


build = WaveCnn
