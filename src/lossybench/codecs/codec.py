"""What every codec is: one class in one file named after it, found by that name.

Media are numpy arrays: images uint8 (H, W, 3) RGB; video uint8 (frames, H, W, 3) RGB; audio int16 (samples,) mono.
"""

from __future__ import annotations

import abc
import dataclasses
import importlib
import math
import numbers
import pkgutil
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from lossybench.conditions import level_text
from lossybench.errors import LossyBenchError, nearest

Medium = Literal["image", "audio", "video"]

MOST_PIXELS = 2**29  # of one picture: 1.6 GB, of which reading and coding hold several copies

_MEDIA: dict[int, Medium] = {1: "audio", 3: "image", 4: "video"}  # by the number of axes
_ITEMS = "image uint8 (H, W, 3), video uint8 (frames, H, W, 3) or audio int16 (samples,)"


@dataclasses.dataclass(frozen=True)
class Encoded:
    """One item's bitstream.

    payload: all that the decoder needs. payload_bits: of the coded media alone. overhead_bits: of what the encoder
    wrote besides (headers, tables, parameter sets, encoder info), whether or not it is kept in `payload`.
    """

    payload: bytes
    payload_bits: int
    overhead_bits: int


class Codec(abc.ABC):
    """An encoder and decoder pair with one strength parameter, its level.

    Subclasses are frozen dataclasses, whose fields are the options that a study may set (chroma, preset, ...). They
    define `_encode`, `_decode` and `version`; the public `encode` and `decode` check the arguments for all of them.
    """

    name: ClassVar[str]
    title: ClassVar[str]  # as readers know it, for figures: "JPEG"
    media: ClassVar[frozenset[Medium]]
    parameter: ClassVar[str]  # what the level is: "QF", "QP", "ratio", "bitrate"
    unit: ClassVar[str] = ""  # of the level: "kb/s", ":1"
    stronger: ClassVar[Literal["lower", "higher"]]  # which levels compress more
    bounds: ClassVar[tuple[float, float]]  # the lowest and the highest level
    whole: ClassVar[bool] = True  # whether levels are whole numbers only

    @abc.abstractmethod
    def _encode(self, media: np.ndarray, medium: Medium, level: float, sampling_rate: float) -> Encoded:
        """What `encode` does once the item, level and sampling rate are checked."""

    @abc.abstractmethod
    def _decode(self, payload: bytes, shape: tuple[int, ...], sampling_rate: float) -> np.ndarray:
        """What `decode` does once the arguments are checked."""

    @abc.abstractmethod
    def version(self) -> str:
        """Name and version of the real encoder and decoder, and the settings that matter."""

    def encode(self, media: np.ndarray, level: float, sampling_rate: float = 0.0) -> Encoded:
        """The bitstream of one item, which stays as it is. sampling_rate: Hz of audio, frames/s of video; 0: unknown.

        Raises LossyBenchError for what is no array of one of the codec's media, and for a level or a sampling rate that
        the codec cannot do.
        """
        medium = medium_of(media)
        self.check(level, medium, sampling_rate)
        return self._encode(media, medium, float(level), sampling_rate)

    def decode(self, payload: bytes, shape: tuple[int, ...], sampling_rate: float = 0.0) -> np.ndarray:
        """The item of `shape` that the payload of `encode` decodes to, as a new array of the medium's dtype.

        sampling_rate: as in `encode`. Raises LossyBenchError when the payload is damaged or is no bytes, and for a
        shape that no item of the codec has.
        """
        if not isinstance(payload, bytes):
            raise LossyBenchError(
                f"codec {self.name!r} decodes bytes, the payload of what `encode` returns, not {type(payload).__name__}"
            )
        medium = _MEDIA.get(len(shape)) if isinstance(shape, (tuple, list)) and all(n > 0 for n in shape) else None
        if medium not in self.media or (medium != "audio" and shape[-1] != 3):
            able = " and ".join(sorted(self.media))
            raise LossyBenchError(f"codec {self.name!r} is for {able}, not for shape {shape!r}; an item is {_ITEMS}")
        _check_rate(sampling_rate)
        return self._decode(payload, tuple(shape), sampling_rate)

    def check(self, level: float, medium: Medium, sampling_rate: float = 0.0) -> None:
        """Raise LossyBenchError, saying what the codec can do, for a medium, level or sampling rate that it cannot do.

        sampling_rate: as in `encode`.
        """
        if medium not in self.media:
            raise LossyBenchError(f"codec {self.name!r} is for {' and '.join(sorted(self.media))}, not for {medium}")
        _check_rate(sampling_rate)
        low, high = self.bounds
        if not isinstance(level, numbers.Real):
            raise LossyBenchError(f"codec {self.name!r}: {self.parameter} {level!r} is no number")
        if not low <= level <= high:
            raise LossyBenchError(
                f"codec {self.name!r}: {self.parameter} {level_text(level)} is out of range; use {low:g} to {high:g}"
            )
        if self.whole and level != int(level):
            raise LossyBenchError(f"codec {self.name!r}: {self.parameter} {level_text(level)} must be a whole number")

    def by_strength(self, levels: list[float]) -> list[float]:
        """The levels from the mildest to the strongest."""
        return sorted(levels, reverse=self.stronger == "lower")

    def roundtrip(self, media: np.ndarray, level: float, sampling_rate: float = 0.0) -> np.ndarray:
        """What the receiver of the item gets: decode(encode(media)). Arguments and errors are those of `encode`."""
        return self.decode(self.encode(media, level, sampling_rate).payload, media.shape, sampling_rate)

    def level_label(self, level: float) -> str:
        """The level as readers write it: "QF 10", "16 kb/s", "20:1"."""
        number = level_text(level)
        return f"{number}{' ' * (self.unit != ':1')}{self.unit}" if self.unit else f"{self.parameter} {number}"


def medium_of(media: np.ndarray) -> Medium:
    """The medium of an item, by its dtype and shape. Raises LossyBenchError when `media` is no item of any medium."""
    if isinstance(media, np.ndarray):
        medium = _MEDIA.get(media.ndim) if media.size else None
        if medium == "audio" and media.dtype == np.int16:
            return medium
        if medium in ("image", "video") and media.dtype == np.uint8 and media.shape[-1] == 3:
            return medium
        what = f"{media.dtype} of shape {media.shape}"
    else:
        what = f"of type {type(media).__name__}, not a numpy array"
    raise LossyBenchError(f"codec input is {what}; it must be a non-empty {_ITEMS}")


def _check_rate(sampling_rate: float) -> None:
    if not isinstance(sampling_rate, numbers.Real) or not 0 <= sampling_rate < math.inf:
        raise LossyBenchError(
            f"{sampling_rate!r} is no sampling rate; give Hz for audio, frames/s for video, 0 where it is unknown"
        )


def names() -> list[str]:
    """All codecs: the public modules of this package that define one."""
    modules = (module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return sorted(name for name in modules if not name.startswith("_") and name != "codec")


def codec_class(name: str) -> type[Codec]:
    """The class of the codec `name`. Only the codec's own file is imported, so no other codec's source makes it rerun.

    Raises LossyBenchError for an unknown name.
    """
    if name not in names():
        raise LossyBenchError(f"unknown codec {name!r}; {nearest(name, names())}")
    module = importlib.import_module(f"lossybench.codecs.{name}")
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Codec) and getattr(value, "name", None) == name:
            return value
    raise LossyBenchError(f"{module.__file__}: defines no codec named {name!r}")


def get(name: str, options: dict[str, Any] | None = None) -> Codec:
    """The codec of that name with its options. Raises LossyBenchError for an unknown name or option, or a bad value."""
    cls = codec_class(name)
    known = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in options or {}:
        if key not in known:
            hint = nearest(key, known) if known else "it has none"
            raise LossyBenchError(f"codec {name!r}: unknown option {key!r}; {hint}")
    return cls(**(options or {}))
