"""Masks: the class of each pixel of a picture, uint8 (H, W), as tables hold them."""

from __future__ import annotations

import cv2
import numpy as np

from lossybench.errors import LossyBenchError

IGNORED = 255  # of pixels that belong to no class and that nothing is counted of
MOST_CLASSES = 255


def encode(mask: np.ndarray) -> bytes:
    """The mask, uint8 (H, W), as the bytes of a grey PNG."""
    return cv2.imencode(".png", mask)[1].tobytes()


def decode(content: bytes) -> np.ndarray:
    """The mask whose PNG `content` is. Raises LossyBenchError where it is none."""
    mask = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if content else None
    if mask is None or mask.dtype != np.uint8 or mask.ndim != 2:
        raise LossyBenchError("its mask is no grey PNG of 8 bits; fetch the data again")
    return mask


def resized(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """The mask at another size in pixels: of each new pixel, the class at its centre."""
    if mask.shape == (height, width):
        return mask
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(int), old - 1)
        for new, old in zip((height, width), mask.shape, strict=True)
    )
    return mask[rows[:, None], columns]
