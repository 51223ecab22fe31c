"""A codec in front of a model, as a preprocessor of ART: what makes each of ART's attacks adaptive."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from art.preprocessing.preprocessing import PreprocessorPyTorch

from lossybench.codecs.codec import Codec, Medium
from lossybench.integers import GRIDS

# (items as the model gets them, the same decoded, gradient of a loss at the latter) -> gradient at the former
Backward = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclasses.dataclass(frozen=True)
class Surrogate:
    """A stand-in for a codec, of which only the gradient is used; all tensors (N, ...) in the model's layout.

    effort: factor on the steps of an attack, for gradients that are worth following further.
    """

    backward: Backward
    effort: int = 1


class CodecPreprocessor(PreprocessorPyTorch):
    """The real codec forward; backward the identity, or the derivative of a surrogate.

    Identity: backward pass differentiable approximation (Athalye, Carlini, Wagner 2018, arXiv 1802.00420, section
    4.1.1): the gradient at an item is taken to be the model's gradient at the decoded item.

    codec, level: the round trip. medium: "image" (tensors (N, 3, H, W) in [0, 1]), "video" ((N, frames, 3, H, W)) or
    "audio" ((N, samples) in [-1, 1]); values outside are clipped, as the integers that a codec takes do. rate: Hz of
    audio, frames/s of video, else 0.
    remember: how many of the latest round trips are kept. ART predicts on the clean and the finished items to log
    a success rate, and whoever measures the finished items sends them through once more.
    threads: round trips at a time; encoders and decoders work outside Python's lock. It changes no result.
    """

    def __init__(
        self,
        codec: Codec,
        level: float,
        medium: Medium,
        rate: float = 0.0,
        remember: int = 0,
        surrogate: Surrogate | None = None,
        threads: int = 1,
    ) -> None:
        super().__init__(is_fitted=True, apply_fit=False, apply_predict=True)
        codec.check(level, medium, rate)
        self.codec, self.level, self.rate, self.grid = codec, level, rate, GRIDS[medium]
        self.surrogate = surrogate
        self._remembered = functools.lru_cache(maxsize=remember)(self._roundtrip)
        self._map = ThreadPoolExecutor(threads).map if threads > 1 else map

    def _roundtrip(self, item: bytes, shape: tuple[int, ...]) -> np.ndarray:
        media = self.grid.media(np.frombuffer(item, self.grid.dtype).reshape(shape))
        decoded = self.grid.layout(self.codec.roundtrip(media, self.level, self.rate))
        decoded.flags.writeable = False
        return decoded

    def decode(self, items: np.ndarray) -> np.ndarray:
        """What the model gets to see of each item: integers (N, ...) in the model's layout, in and out."""
        return np.stack(list(self._map(lambda item: self._remembered(item.tobytes(), item.shape), items)))

    def forward(self, x: torch.Tensor, y: Any | None = None) -> tuple[torch.Tensor, Any | None]:
        """The decoded items as new float32 tensors of the shape of `x`, and `y` as it came."""
        return _Through.apply(x, self), y


class _Through(torch.autograd.Function):
    """`x + (decoded - x).detach()` would differ from the decoded item in the last bits."""

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


def effort_of(through: Sequence[CodecPreprocessor]) -> int:
    """The factor on an attack's steps that the surrogates of these are worth; 1 without any."""
    return max((one.surrogate.effort for one in through if one.surrogate), default=1)
