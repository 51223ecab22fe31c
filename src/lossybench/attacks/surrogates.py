"""Differentiable stand-ins for codecs. In tier T3 the real codec runs forward and the derivative of its stand-in runs
backward, where T2 has the identity.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# (items as the model gets them, level of the codec) -> about what the codec makes of them, with a gradient
Surrogate = Callable[["torch.Tensor", float], "torch.Tensor"]


def _jpeg(items: torch.Tensor, level: float) -> torch.Tensor:
    """Images (N, 3, H, W) in [0, 1] through a JPEG of 4:2:0 chroma whose rounding and clipping have slopes.

    kornia's, after Reich et al., "Differentiable JPEG: The Devil is in the Details", WACV 2024, arXiv 2309.06978.
    """
    from kornia.enhance import jpeg_codec_differentiable

    return jpeg_codec_differentiable(items, items.new_full((len(items),), level))


SURROGATES: dict[str, Surrogate] = {"jpeg": _jpeg}
