"""The integers that media are stored in, and where a model's floats lie on them.

A codec takes 8-bit pixels or 16-bit samples. An attack found in floats is therefore only measured after rounding,
and its bound is kept in integers.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class Grid:
    """One medium's integers: a model's float is integer / full_scale.

    dtype: of the integers; full_scale: the integer that stands for 1.0; lowest, highest: the least and the greatest
    integer; channels_last: whether codecs take (H, W, 3) where models take (3, H, W).
    """

    dtype: type[np.generic]
    full_scale: int
    lowest: int
    highest: int
    channels_last: bool

    @property
    def clip_values(self) -> tuple[float, float]:
        """The least and the greatest float that exist as integers: +1.0 is none in 16-bit audio and would wrap."""
        return self.lowest / self.full_scale, self.highest / self.full_scale

    def steps(self, epsilon: float) -> int:
        """How many integer steps fit within `epsilon` of full scale. (1e-6 of a step forgives 0.1 + 0.2.)"""
        return math.floor(epsilon * self.full_scale + 1e-6)

    def floats(self, integers: np.ndarray) -> np.ndarray:
        """Integers as the model's float32."""
        return integers.astype(np.float32) / np.float32(self.full_scale)

    def integers(self, floats: np.ndarray) -> np.ndarray:
        """The nearest integers, clipped to the ones that exist."""
        scaled = np.rint(floats.astype(np.float64) * self.full_scale)
        return np.clip(scaled, self.lowest, self.highest).astype(self.dtype)

    def within(self, floats: np.ndarray, clean: np.ndarray, epsilon: float) -> np.ndarray:
        """The integers nearest to `floats` that differ from the integers `clean` by at most `epsilon` of full scale."""
        budget, centre = self.steps(epsilon), clean.astype(np.int32)
        return np.clip(self.integers(floats), centre - budget, centre + budget).astype(self.dtype)

    def media(self, item: np.ndarray) -> np.ndarray:
        """One item in the model's layout as a codec takes it: (3, H, W) to (H, W, 3); audio stays (samples,)."""
        return np.ascontiguousarray(item.transpose(1, 2, 0)) if self.channels_last else item

    def layout(self, media: np.ndarray) -> np.ndarray:
        """The reverse of `media`."""
        return np.ascontiguousarray(media.transpose(2, 0, 1)) if self.channels_last else media


GRIDS = {
    "image": Grid(np.uint8, full_scale=255, lowest=0, highest=255, channels_last=True),
    "audio": Grid(np.int16, full_scale=32768, lowest=-32768, highest=32767, channels_last=False),
}
