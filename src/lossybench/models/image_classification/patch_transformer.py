"""A small vision transformer on the patches that a convolutional stem makes.

Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021; the stem, instead of linear patches, follows Xiao et
al., "Early Convolutions Help Transformers See Better", NeurIPS 2021, and lets it learn from a few thousand images.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from lossybench.models.inputs import Input
from lossybench.models.layers import STANDARDISE_EPSILON, Residual, conv

WIDTH, HEADS, DEPTH, PATCH = 64, 4, 1, 8


class Block(nn.Module):
    """Pre-norm self-attention and a two-layer perceptron, on tokens (N, tokens, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.mix, self.join = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.perceptron = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        count, tokens, width = x.shape
        query, key, value = self.mix(self.norm(x)).view(count, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(query, key, value)
        x = x + self.join(attended.transpose(1, 2).reshape(count, tokens, width))
        return x + self.perceptron(x)


class PatchTransformer(nn.Module):
    """Images (N, 3, H, W) -> logits (N, classes)."""

    def __init__(self, classes: int, input: Input) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.InstanceNorm2d(3, eps=STANDARDISE_EPSILON),
            conv(3, 16, 5, stride=2),
            conv(16, 32, 3),
            nn.MaxPool2d(2, ceil_mode=True),
            Residual(32, 32),
            conv(32, 64, 3),
            nn.MaxPool2d(2, ceil_mode=True),
            conv(64, WIDTH, 3),
        )
        height, width = input.shape
        tokens = -(-height // PATCH) * -(-width // PATCH)
        self.position = nn.Parameter(torch.randn(1, tokens, WIDTH) * 0.02)
        self.blocks = nn.Sequential(*[Block(WIDTH, HEADS) for _ in range(DEPTH)])
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See the class."""
        tokens = self.stem(x).flatten(2).transpose(1, 2) + self.position
        return self.head(self.norm(self.blocks(tokens)).amax(dim=1))


build = PatchTransformer
