"""A learned codec: a small scale hyperprior of CompressAI's design, which a study trains on its own training items."""

from __future__ import annotations

import binascii
import dataclasses
import functools
import hashlib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lossybench.codecs._common import described, require_whole
from lossybench.codecs._stills import StillCodec
from lossybench.errors import LossyBenchError

if TYPE_CHECKING:
    from lossybench.codecs._hyperprior import Hyperprior

# Of the squared error, as in CompressAI, by the level from 1 on.
WEIGHTS = (0.0018, 0.0035, 0.0067, 0.0130, 0.0250, 0.0483, 0.0932, 0.1800)


@dataclasses.dataclass(frozen=True)
class Learned(StillCodec):
    """The level is the quality, each a network of its own, trained for bits per pixel + weight * 255^2 * MSE.

    A file has a header of a byte for the level, 2 bytes each for height and width, and a check of 2 bytes, which also
    tells files of other weights; the rest is the entropy-coded latents. Weights are no part of it: sender and receiver
    have them.

    steps: of training, at each level. channels: of the inner layers. seed: of training. weights: the folder with the
    weights, LEVEL.safetensors of each level, which a study fills in.
    """

    name = "learned"
    title = "Learned"
    parameter = "quality"
    stronger = "lower"
    bounds = (1, len(WEIGHTS))
    side = 65535
    pixels = 1 << 22  # coding takes 500 bytes of memory for each
    learns = True

    steps: int = 3000
    channels: int = 32
    seed: int = 0
    weights: str = ""

    def __post_init__(self) -> None:
        require_whole(self, "steps", 1, 10**7)
        require_whole(self, "channels", 1, 512)
        require_whole(self, "seed", 0, 2**63 - 1)

    def encode_still(self, image: np.ndarray, level: float) -> bytes:
        network, digest = _network(self, int(level))
        body = bytes([int(level)]) + b"".join(n.to_bytes(2, "big") for n in image.shape[:2]) + network.encode(image)
        return _check(digest, body) + body

    def decode_still(self, bitstream: bytes) -> np.ndarray:
        level, (height, width) = bitstream[2], self.look(bitstream)[1]
        if not 1 <= level <= len(WEIGHTS):
            raise ValueError(f"it tells quality {level}, which there is not")
        network, digest = _network(self, level)
        if bitstream[:2] != _check(digest, bitstream[2:]):
            raise ValueError("its check says that it is damaged, or that it was made with other weights")
        return network.decode(bitstream[7:], height, width)

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

    def full_title(self) -> str:
        return super(Learned, dataclasses.replace(self, weights="")).full_title()  # where they lie says nothing

    def version(self) -> str:
        software = f"torch {metadata.version('torch')}, constriction {metadata.version('constriction')}"
        return described(dataclasses.replace(self, weights=""), f"hyperprior by {software}").removesuffix(", weights=")


def _check(digest: bytes, body: bytes) -> bytes:
    return binascii.crc_hqx(digest + body, 0).to_bytes(2, "big")


def _network(codec: Learned, level: int) -> tuple[Hyperprior, bytes]:
    """The network of a level and a hash of its weights. Raises LossyBenchError where there are none, or others."""
    if not codec.weights:
        raise LossyBenchError(
            "codec 'learned' has no weights; a study trains them, and elsewhere its option weights names their folder"
        )
    path = Path(codec.weights) / f"{level}.safetensors"
    try:
        return _read(path, path.stat().st_mtime_ns, codec.channels)
    except FileNotFoundError:
        raise LossyBenchError(f"{path}: is missing; run the study again, which trains it") from None


@functools.lru_cache(maxsize=len(WEIGHTS))
def _read(path: Path, changed: int, channels: int) -> tuple[Hyperprior, bytes]:
    from lossybench.codecs import _hyperprior

    content = path.read_bytes()
    try:
        return _hyperprior.load(content, channels), hashlib.sha256(content).digest()
    except Exception as error:  # safetensors' own, and torch's for other shapes
        why = " ".join(str(error).split())[:200]
        raise LossyBenchError(f"{path}: no weights of {channels} channels ({why}); train them anew") from error
