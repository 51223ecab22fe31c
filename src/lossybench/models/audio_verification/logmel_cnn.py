"""The CNN on the log-mel spectrogram, whose outputs are embeddings of speakers."""

from __future__ import annotations

from torch import nn

from lossybench.models.audio_classification import logmel_cnn
from lossybench.models.embedding import SIZE, Embedder
from lossybench.models.inputs import Input
from lossybench.models.layers import conv


def build(classes: int, input: Input) -> nn.Module:
    """See `lossybench.models.build`."""
    body = nn.Sequential(
        logmel_cnn.LogMel(input.sampling_rate),
        nn.InstanceNorm2d(1),
        conv(1, 16, 5, stride=2),
        conv(16, 32, 3),
        nn.MaxPool2d(2),
        conv(32, 64, 3),
        nn.MaxPool2d((2, 1)),
        conv(64, 96, 3),
        nn.AdaptiveAvgPool2d((6, 1)),  # a voice is in the spectrum, whatever the order of what is said
        nn.Flatten(),
        nn.Linear(96 * 6, SIZE),
    )
    return Embedder(body, classes)
