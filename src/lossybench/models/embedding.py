"""Networks that embed: what they give of two items of one identity points the same way."""

from __future__ import annotations

import torch
from torch import nn

SIZE = 64  # of an embedding


class Embedder(nn.Module):
    """A body whose outputs are embeddings (N, SIZE), and a direction for each identity that it learns to tell.

    body: media -> (N, SIZE). identities: how many it is trained on. The directions serve the loss of training alone.
    """

    def __init__(self, body: nn.Module, identities: int) -> None:
        super().__init__()
        self.body = body
        self.identities = nn.Parameter(torch.randn(identities, SIZE) / SIZE**0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return self.body(x)
