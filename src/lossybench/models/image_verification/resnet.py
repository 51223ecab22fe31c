"""The small residual network, whose outputs are embeddings of faces, or of whatever else is recognised."""

from __future__ import annotations

from torch import nn

from lossybench.models.embedding import SIZE, Embedder
from lossybench.models.image_classification import resnet
from lossybench.models.inputs import Input


def build(classes: int, input: Input) -> nn.Module:
    """See `lossybench.models.build`."""
    return Embedder(resnet.build(SIZE, input), classes)
