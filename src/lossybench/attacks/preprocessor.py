"""A codec in front of a model, as a preprocessor of ART, which makes each of ART's attacks adaptive."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import torch

from lossybench.attacks.toolbox import PreprocessorPyTorch
from lossybench.codecs.codec import Medium
from lossybench.integers import GRIDS, Grid


class RoundTrip(Protocol):
    """What may stand in front of a model: a `Codec`, or several in a row (`defences.Chain`)."""

    @property
    def name(self) -> str:
        """The codec's name."""

    def check(self, level: float, medium: Medium, sampling_rate: float = 0.0) -> None:
        """As of `Codec`."""

    def roundtrip(self, media: np.ndarray, level: float, sampling_rate: float = 0.0) -> np.ndarray:
        """As of `Codec`."""


# (items, the same items decoded, the gradient of a loss at the decoded items) -> the gradient at the items
Backward = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclasses.dataclass(frozen=True)
class Surrogate:
    """A stand-in for a codec, of which only the gradient is used.

    backward: that gradient; its tensors are (N, ...) in the model's layout. effort: factor on the steps of an attack,
    for gradients that are worth following further.
    """

    backward: Backward
    effort: int = 1


class CodecPreprocessor(PreprocessorPyTorch):
    """The real codec forward; backward the identity, or the gradient of a surrogate.

    The identity is the backward pass differentiable approximation (Athalye, Carlini, Wagner 2018, arXiv 1802.00420,
    section 4.1.1): the gradient at an item is taken to be the model's gradient at the decoded item.

    codec, level: of the round trip. medium: "image" (tensors (N, 3, H, W) in [0, 1]), "video" ((N, frames, 3, H, W)) or
    "audio" ((N, samples) in [-1, 1]); values outside are clipped, since a codec takes integers. sampling_rate: Hz of
    audio, frames/s of video, else 0. remember: how many of the latest round trips are kept, because every attack begins
    at the clean items, and what one attack found is measured afterwards and is where others go on. surrogate: None for
    the identity. threads: round trips at a time; codecs work outside Python's lock. They change no result.
    Raises LossyBenchError for a level or medium that the codec does not take.
    """

    def __init__(
        self,
        codec: RoundTrip,
        level: float,
        medium: Medium,
        sampling_rate: float = 0.0,
        remember: int = 0,
        surrogate: Surrogate | None = None,
        threads: int = 1,
    ) -> None:
        super().__init__(is_fitted=True, apply_fit=False, apply_predict=True)
        codec.check(level, medium, sampling_rate)
        self.codec, self.level, self.sampling_rate, self.grid = codec, level, sampling_rate, GRIDS[medium]
        self.surrogate = surrogate
        made = functools.partial(_roundtrip, codec, level, sampling_rate, self.grid)
        self._remembered = functools.lru_cache(maxsize=remember)(made)
        self._map = ThreadPoolExecutor(threads).map if threads > 1 else map

    def steered(self, surrogate: Surrogate) -> CodecPreprocessor:
        """The same with another gradient. Each remembers the round trips of the other."""
        other = copy.copy(self)
        other.surrogate = surrogate
        return other

    def decode(self, items: np.ndarray) -> np.ndarray:
        """The `items` after the round trip, as the model sees them: integers (N, ...) in its layout, in and out."""
        return np.stack(list(self._map(lambda item: self._remembered(item.tobytes(), item.shape), items)))

    def forward(self, x: torch.Tensor, y: Any | None = None) -> tuple[torch.Tensor, Any | None]:
        """The items `x` after the round trip, as a new float32 tensor of the same shape, and `y` as it came."""
        return _Through.apply(x, self), y


def _roundtrip(
    codec: RoundTrip, level: float, sampling_rate: float, grid: Grid, item: bytes, shape: tuple[int, ...]
) -> np.ndarray:
    media = grid.media(np.frombuffer(item, grid.dtype).reshape(shape))
    decoded = grid.layout(codec.roundtrip(media, level, sampling_rate))
    decoded.flags.writeable = False
    return decoded


class _Through(torch.autograd.Function):
    """An own function, because `x + (decoded - x).detach()` would differ from the decoded item in the last bits."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, through: CodecPreprocessor) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.through = through
        grid = through.grid
        decoded = through.decode(grid.integers(x.detach().cpu().numpy()))
        ctx.seen = torch.from_numpy(grid.floats(decoded)).to(x.device)
        return ctx.seen

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        through: CodecPreprocessor = ctx.through
        if through.surrogate is None:
            return gradients[0], None
        return through.surrogate.backward(ctx.saved_tensors[0], ctx.seen, gradients[0]), None
