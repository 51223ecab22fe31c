"""The integers that media are stored in, and where a model's floats lie on them.

A codec takes 8-bit pixels or 16-bit samples. What an attack finds in floats is therefore measured only after rounding,
and its bound is kept in integers.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

HALVINGS = 16  # of the interval in which `Grid.within` looks for the largest scale that keeps the bound


@dataclasses.dataclass(frozen=True)
class Grid:
    """One medium's integers: a model's float is integer / full_scale.

    dtype: of the integers. full_scale: the integer that stands for 1.0. lowest, highest: the least and the greatest
    integer. channels_last: whether codecs take ([frames,] H, W, 3) where models take ([frames,] 3, H, W).
    """

    dtype: type[np.generic]
    full_scale: int
    lowest: int
    highest: int
    channels_last: bool

    @property
    def clip_values(self) -> tuple[float, float]:
        """The least and the greatest float that exist as integers. In 16-bit audio +1.0 has none and would wrap."""
        return self.lowest / self.full_scale, self.highest / self.full_scale

    def steps(self, epsilon: float) -> int:
        """How many integer steps fit in `epsilon`, a share of full scale. 1e-6 of a step forgives float rounding."""
        return math.floor(epsilon * self.full_scale + 1e-6)

    def floats(self, integers: np.ndarray) -> np.ndarray:
        """The model's float32 for these `integers`."""
        return integers.astype(np.float32) / np.float32(self.full_scale)

    def integers(self, floats: np.ndarray) -> np.ndarray:
        """The integers nearest to the model's `floats`, clipped to those that exist."""
        scaled = np.rint(floats * np.float32(self.full_scale))
        return np.clip(scaled, self.lowest, self.highest).astype(self.dtype)

    def radius(self, norm: str, epsilon: float, clean: np.ndarray) -> np.ndarray:
        """The bound (N,) of each item's change in the model's floats.

        norm: `linf` for a bound in L-infinity, `l2` or `snr` for one in L2. epsilon: the bound; for `snr` in dB, where
        SNR = 20 log10(|item| / |change|) in L2 norms. clean: the items as integers (N, ...).
        """
        if norm != "snr":
            return np.full(len(clean), epsilon)
        return lengths(self.floats(clean)) * 10 ** (-epsilon / 20)

    def within(self, floats: np.ndarray, clean: np.ndarray, norm: str, epsilon: float) -> np.ndarray:
        """The integers nearest to `floats` (N, ...) whose difference to the integers `clean` (N, ...) keeps the bound.

        norm, epsilon: as for `radius`. In L2, a difference that rounding made too long is scaled down until it is short
        enough when rounded.
        """
        if norm == "linf":
            budget, centre = self.steps(epsilon), clean.astype(np.int32)
            return np.clip(self.integers(floats), centre - budget, centre + budget).astype(self.dtype)
        return self._shortened(self.integers(floats), floats, clean, self.radius(norm, epsilon, clean))

    def _shortened(self, nearest: np.ndarray, floats: np.ndarray, clean: np.ndarray, radius: np.ndarray) -> np.ndarray:
        def too_long(integers: np.ndarray) -> np.ndarray:
            return lengths(integers.astype(np.float64) - clean) / self.full_scale > radius

        long = too_long(nearest)
        if not long.any():
            return nearest
        kept, shift = clean.copy(), floats.astype(np.float64) - self.floats(clean)
        low, high = np.zeros(len(clean)), np.ones(len(clean))
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            scaled = self.integers(self.floats(clean) + shift * middle.reshape(-1, *[1] * (clean.ndim - 1)))
            fits = ~too_long(scaled)
            kept[fits] = scaled[fits]
            low, high = np.where(fits, middle, low), np.where(fits, high, middle)
        nearest[long] = kept[long]
        return nearest

    def media(self, item: np.ndarray) -> np.ndarray:
        """One `item` in the model's layout as a codec takes it: colours come last, and audio stays (samples,)."""
        return np.ascontiguousarray(np.moveaxis(item, -3, -1)) if self.channels_last else item

    def layout(self, media: np.ndarray) -> np.ndarray:
        """One item as a codec takes it, `media`, in the model's layout: the reverse of the method `media`."""
        return np.ascontiguousarray(np.moveaxis(media, -1, -3)) if self.channels_last else media


def lengths(items: np.ndarray) -> np.ndarray:
    """The L2 norm of each item: (N, ...) to (N,)."""
    return np.linalg.norm(items.reshape(len(items), -1).astype(np.float64), axis=1)


_PIXELS = Grid(np.uint8, full_scale=255, lowest=0, highest=255, channels_last=True)
GRIDS = {
    "image": _PIXELS,
    "video": _PIXELS,
    "audio": Grid(np.int16, full_scale=32768, lowest=-32768, highest=32767, channels_last=False),
}
