"""A target size for each item in place of an encoder's own parameter: the largest file that is not above it."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import threading
from typing import Any

import numpy as np

from lossybench.codecs._common import with_levels
from lossybench.codecs.codec import Codec, Encoded, Medium
from lossybench.conditions import level_text
from lossybench.errors import LossyBenchError

# Of a parameter that is no whole number, so many values are tried, evenly spaced by their logarithm: neighbours of a
# JPEG 2000 ratio from 1 to 1000 differ by 1.4 %.
STEPS = 512


@dataclasses.dataclass(frozen=True)
class Target(Codec):
    """A codec whose level is the size that an item's file shall have at most.

    The encoder's own parameter is found by bisection, for which a stronger level is taken to give no larger file. The
    file is at most as large as the target, and the next milder level of the encoder would be above it. What counts is
    the whole file, headers included. An item that is above the target even at the encoder's strongest level is coded at
    that; `most_bits` tells these apart, and reports say how many there are.

    codec: the encoder, with its options. per: one of _variants.TARGETS.
    """

    codec: Codec
    per: str

    def __post_init__(self) -> None:
        media = self.codec.media - ({"audio"} if self.per == "bpp" else set())
        if not media:
            raise LossyBenchError(f"codec {self.codec.name!r} is for audio, which has no pixels; use parameter: bytes")
        bounds = (1, 10**10) if self.per == "bytes" else (1e-6, 1000)
        with_levels(self, "size", self.per, "lower", bounds, whole=self.per == "bytes")
        for name, value in {
            "name": f"{self.codec.name} by {self.per}",
            "title": self.codec.title,
            "media": media,
        }.items():
            object.__setattr__(self, name, value)

    def check_size(self, shape: tuple[int, ...], sampling_rate: float = 0.0) -> None:
        """See `Codec`."""
        self.codec.check_size(shape, sampling_rate)

    def largest_side(self, medium: Medium) -> int:
        """See `Codec`."""
        return self.codec.largest_side(medium)

    def _encode(self, media: np.ndarray, medium: Medium, level: float, sampling_rate: float) -> Encoded:
        levels = possible(self.codec, medium, sampling_rate)
        most = self.most_bits(level, 8 * media.nbytes)
        found = _latest.of(self.codec, media, sampling_rate)

        def size(place: int) -> int:
            if levels[place] not in found:
                found[levels[place]] = self.codec.encode(media, levels[place], sampling_rate)
            return found[levels[place]].payload_bits + found[levels[place]].overhead_bits

        first, end = 0, len(levels) - 1  # the first place from the mildest on that fits lies within
        while first < end:
            middle = (first + end) // 2
            first, end = (first, middle) if size(middle) <= most else (middle + 1, end)
        size(first)  # the strongest was not tried where all others are above the target
        return found[levels[first]]

    def _decode(self, payload: bytes, shape: tuple[int, ...], sampling_rate: float) -> np.ndarray:
        return self.codec.decode(payload, shape, sampling_rate)

    def most_bits(self, level: float, raw_bits: Any) -> Any:
        """See `Codec`."""
        return 8 * level if self.per == "bytes" else level * raw_bits / 24  # of three colours, 8 bits each

    def full_title(self) -> str:
        """See `Codec`."""
        return f"{self.codec.full_title()} to a {'size' if self.per == 'bytes' else 'rate'}"

    def level_label(self, level: float) -> str:
        """See `Codec`: "≤ 10000 bytes", "≤ 0.5 bpp"."""
        return f"≤ {level_text(level)} {self.per}"

    def version(self) -> str:
        """See `Codec`."""
        return f"{self.codec.version()}; {self.codec.parameter} of the largest file up to the target"


@functools.lru_cache(maxsize=64)
def possible(codec: Codec, medium: Medium, sampling_rate: float) -> list[float]:
    """The levels of a codec's encoder that are tried, from the mildest on. Raises LossyBenchError where it has none."""
    low, high = codec.bounds
    if codec.levels:
        tried = list(codec.levels)
    elif codec.whole:
        tried = [float(level) for level in range(math.ceil(low), math.floor(high) + 1)]
    else:
        space = np.geomspace(low, high, STEPS) if low > 0 else np.linspace(low, high, STEPS)
        tried = list(dict.fromkeys(min(max(float(f"{level:.5g}"), low), high) for level in space))
    found = []
    for level in tried:
        try:
            codec.check(level, medium, sampling_rate)
            found.append(level)
        except LossyBenchError as error:
            refused = error
    if not found:
        raise refused
    return codec.by_strength(found)


class _Latest(threading.local):
    """What this thread's latest item was coded to at which levels: its other targets come next, and try some again."""

    item: tuple[object, ...] = ()
    found: dict[float, Encoded]

    def of(self, codec: Codec, media: np.ndarray, sampling_rate: float) -> dict[float, Encoded]:
        """What is known of an item, which is known again by its content."""
        content = hashlib.blake2b(np.ascontiguousarray(media).data).digest()
        item = (codec, media.shape, sampling_rate, content)
        if item != self.item:
            self.item, self.found = item, {}
        return self.found


_latest = _Latest()
