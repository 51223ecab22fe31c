"""A learned codec: a small scale hyperprior of CompressAI's design, which a study trains on its own training items."""

from __future__ import annotations

import binascii
import dataclasses
from collections.abc import Callable
from importlib import metadata
from typing import TYPE_CHECKING

import numpy as np

from lossybench.codecs._common import described, require_whole
from lossybench.codecs._stills import StillCodec
from lossybench.codecs._weights import network

if TYPE_CHECKING:
    from lossybench.codecs._hyperprior import Hyperprior

# Of the squared error, as in CompressAI, by the level from 1 on.
WEIGHTS = (0.0018, 0.0035, 0.0067, 0.0130, 0.0250, 0.0483, 0.0932, 0.1800)


@dataclasses.dataclass(frozen=True)
class Learned(StillCodec):
    """The level is the quality, each a network of its own, trained for bits per pixel + weight * 255^2 * MSE.

    A file has a header of 7 bytes: a check of 2, which also tells files of other weights, the level, and 2 bytes each
    for height and width. The rest is the entropy-coded latents, the coded media. Weights are no part of it.

    steps: of training, at each level. channels: of the inner layers. seed: of training. weights: the folder with the
    weights, LEVEL.safetensors of each level, which a study fills in.
    """

    name = "learned"
    title = "Learned"
    parameter = "quality"
    stronger = "lower"
    bounds = (1, len(WEIGHTS))
    side = 65535
    pixels = 1 << 21  # coding takes 500 bytes of memory for each, in proportion to `channels`
    learns = True

    steps: int = 3000
    channels: int = 32
    seed: int = 0
    weights: str = ""

    def __post_init__(self) -> None:
        for option, low, high in (("steps", 1, 10**7), ("channels", 1, 128), ("seed", 0, 2**63 - 1)):
            require_whole(self, option, low, high)

    def encode_still(self, image: np.ndarray, level: float) -> bytes:
        coder, digest = network(self, int(level))
        body = bytes([int(level)]) + b"".join(n.to_bytes(2, "big") for n in image.shape[:2]) + coder.encode(image)
        return _check(digest, body) + body

    def decode_still(self, bitstream: bytes) -> np.ndarray:
        if not 1 <= bitstream[2] <= len(WEIGHTS):
            raise ValueError(f"it tells quality {bitstream[2]}, which there is not")
        coder, digest = network(self, bitstream[2])
        if bitstream[:2] != _check(digest, bitstream[2:]):
            raise ValueError("its check says that it is damaged, or that it was made with other weights")
        return coder.decode(bitstream[7:], *self.look(bitstream)[1])

    @staticmethod
    def look(bitstream: bytes) -> tuple[int, tuple[int, int]]:
        if len(bitstream) < 7:
            raise ValueError("it is cut off within its header")
        return len(bitstream) - 7, (int.from_bytes(bitstream[3:5], "big"), int.from_bytes(bitstream[5:7], "big"))

    def learn(
        self, pictures: np.ndarray, validation: np.ndarray, level: float, tell: Callable[[int, float], None]
    ) -> bytes:
        from lossybench.codecs import _hyperprior

        how = WEIGHTS[int(level) - 1], self.steps, self.channels, self.seed
        return _hyperprior.train(pictures, validation, *how, tell)

    def load(self, content: bytes) -> Hyperprior:
        """The network of the content of a file of weights, ready to code. Raises an error where it does not fit."""
        from lossybench.codecs import _hyperprior

        return _hyperprior.load(content, self.channels)

    def full_title(self) -> str:
        return super(Learned, self._anywhere).full_title()

    def version(self) -> str:
        software = f"torch {metadata.version('torch')}, constriction {metadata.version('constriction')}"
        return described(self._anywhere, f"hyperprior by {software}").removesuffix(", weights=")

    @property
    def _anywhere(self) -> Learned:
        """The codec without the place of its weights, which is nothing to say of it."""
        return dataclasses.replace(self, weights="")


def _check(digest: bytes, body: bytes) -> bytes:
    return binascii.crc_hqx(digest + body, 0).to_bytes(2, "big")
