"""What every codec is: one class in one file named after it, found by that name.

Media are numpy arrays: images uint8 (H, W, 3) RGB; video uint8 (frames, H, W, 3) RGB; audio int16 (samples,) mono.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import importlib
import math
import numbers
import pkgutil
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import pydantic

from lossybench.conditions import level_text
from lossybench.errors import LossyBenchError, explain, naming, nearest, shown

Medium = Literal["image", "audio", "video"]

MOST_PIXELS = 2**28  # of one picture: 0.8 GB, of which reading and coding hold several copies
# Bytes of a clip's frames. Clips are coded whole: coding takes twice as many, and compress up to six times.
MOST_BYTES = 2**31

_MEDIA: dict[int, Medium] = {1: "audio", 3: "image", 4: "video"}  # by the number of axes
# FFmpeg refuses pictures of more than this many pixels, a margin of 128 and its codecs' padding counted. All codecs
# keep to it: such a picture takes a job some 10 GB of memory.
PIXELS, MARGIN = 1 << 28, 160
_ITEMS = "image uint8 (H, W, 3), video uint8 (frames, H, W, 3) or audio int16 (samples,)"
# Audio: what FLAC can say, in which items are stored. Video: what FFmpeg's encoders take.
RATES: dict[Medium, tuple[float, float]] = {"audio": (1, 655350), "video": (0.001, 100000)}


class Encoded(NamedTuple):
    """One item's bitstream.

    payload: all that the decoder needs. payload_bits: of the coded media alone. overhead_bits: of all else in the file
    or stream that is the codec's own (headers, tables, parameter sets, container). The two together are 8 times the
    bytes of that file as it would lie on disk, of which `payload` may lack what says nothing to the decoder.
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
    # What levels may be by the option `control`, its default first; () for a codec with one kind of level alone.
    controls: ClassVar[tuple[str, ...]] = ()
    levels: ClassVar[tuple[float, ...]] = ()  # the only ones, in ascending order, where there are but a few
    # Whether it has weights for each level, which a study trains on its own items (`learn`). It then has an option
    # `weights`, the folder in which they lie as LEVEL.safetensors; without them it neither encodes nor decodes.
    learns: ClassVar[bool] = False
    # The largest items. The smallest have one pixel, one frame or one sample; a clip may have MOST_BYTES.
    side: ClassVar[int] = 1_000_000  # pixels of a height or width: the most that the PNG of `original` holds
    pixels: ClassVar[int] = PIXELS  # of a picture or a frame
    seconds: ClassVar[float] = 1200  # of audio: at 48 kHz such a clip takes a job over 1 GB of memory

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

        Raises LossyBenchError for what is no array of one of the codec's media; for a level, a sampling rate or a size
        that the codec cannot do; and for whatever its encoder refuses.
        """
        try:
            array = isinstance(media, np.ndarray)
            medium = _encodable(self, media.dtype, media.shape, level, sampling_rate) if array else medium_of(media)
        except TypeError:  # a level or a rate that cannot be hashed, and is therefore no number
            medium = _encodable.__wrapped__(self, media.dtype, media.shape, level, sampling_rate)
        try:
            return self._encode(media, medium, float(level), sampling_rate)
        except Exception:
            with naming(f"codec {self.name!r}: {medium} of shape {media.shape} at {self.level_label(level)}"):
                raise

    def decode(self, payload: bytes, shape: tuple[int, ...], sampling_rate: float = 0.0) -> np.ndarray:
        """The item of `shape` that the payload of `encode` decodes to, as a new array of the medium's dtype.

        sampling_rate: as in `encode`. Raises LossyBenchError when the payload is damaged, is of another shape or is no
        bytes, and for a shape that no item of the codec has. The size that the payload's headers tell is compared with
        `shape` before anything is decoded, so that memory follows from `shape` and the payload's length alone.
        """
        if not isinstance(payload, bytes):
            raise LossyBenchError(
                f"codec {self.name!r} decodes bytes, the payload of what `encode` returns, not {type(payload).__name__}"
            )
        try:
            _decodable(self, shape, sampling_rate)
        except TypeError:  # a shape that cannot be hashed, such as a list
            _decodable.__wrapped__(self, shape, sampling_rate)
        try:
            decoded = self._decode(payload, tuple(shape), sampling_rate)
            if decoded.shape != tuple(shape):
                raise ValueError(f"it decodes to shape {decoded.shape}, not {tuple(shape)}")
            return decoded
        except LossyBenchError:
            raise
        except MemoryError:
            raise LossyBenchError(f"codec {self.name!r}: too little memory to decode {shape}") from None
        except Exception as error:  # the libraries have no common class for what they raise
            mended = "delete the file that holds it and compress again"
            why = " ".join(str(error).split())[:300] or type(error).__name__
            raise LossyBenchError(f"{self.name} payload is damaged: {why}; {mended}") from error

    def check(
        self, level: float, medium: Medium, sampling_rate: float = 0.0, shape: Sequence[int] | None = None
    ) -> None:
        """Raise LossyBenchError, saying what the codec can do, for an item or a level that it cannot do.

        sampling_rate: as in `encode`. shape: of the item, as of the array that `encode` takes; None where it is not
        known yet.
        """
        if medium not in self.media:
            raise LossyBenchError(f"codec {self.name!r} is for {' and '.join(sorted(self.media))}, not for {medium}")
        if shape is None:
            self._check_rate(sampling_rate, medium)
        else:
            if _medium_of_shape(shape) != medium:
                raise LossyBenchError(f"codec {self.name!r}: shape {shape!r} is not that of {medium}; it is {_ITEMS}")
            self.check_size(tuple(shape), sampling_rate)
        low, high = self.bounds
        if not isinstance(level, numbers.Real):
            raise LossyBenchError(f"codec {self.name!r}: {self.parameter} {level!r} is no number")
        if not low <= level <= high:
            raise LossyBenchError(
                f"codec {self.name!r}: {self.parameter} {level_text(level)} is out of range; use {low:g} to {high:g}"
            )
        if self.whole and level != int(level):
            raise LossyBenchError(f"codec {self.name!r}: {self.parameter} {level_text(level)} must be a whole number")
        if self.levels and level not in self.levels:
            known = ", ".join(map(level_text, self.levels))
            raise LossyBenchError(f"codec {self.name!r} cannot do {self.level_label(level)}; it can {known}")

    def check_size(self, shape: tuple[int, ...], sampling_rate: float = 0.0) -> None:
        """Raise LossyBenchError, with the size and the bound, for an item of `shape` that is too large for the codec.

        shape: as of `encode`, and right in itself. sampling_rate: as of `encode`.
        """
        self._check_rate(sampling_rate, _MEDIA[len(shape)])
        if len(shape) == 1:
            seconds = shape[0] / sampling_rate if sampling_rate else 0.0
            if seconds > self.seconds:
                raise LossyBenchError(
                    f"codec {self.name!r}: a clip of {seconds:.0f} s is too long; it takes up to {self.seconds:g} s"
                )
            return
        height, width = shape[-3:-1]
        side = self.largest_side(_MEDIA[len(shape)])
        allowed = height * width <= self.pixels and (height + MARGIN) * (width + MARGIN) <= PIXELS
        if allowed and max(height, width) <= side:
            if len(shape) == 4:
                self._check_clip(*shape[:3])
            return
        fewer = f", {self.pixels} pixels" if self.pixels < PIXELS else ""
        what = "picture" if len(shape) == 3 else "frame"
        raise LossyBenchError(
            f"codec {self.name!r}: a {what} of {width} x {height} pixels (width x height) is too large; it takes up to "
            f"{side} a side{fewer}, and (width + {MARGIN}) x (height + {MARGIN}) up to {PIXELS}; scale the data, or "
            "leave the codec out"
        )

    def _check_clip(self, frames: int, height: int, width: int) -> None:
        most = MOST_BYTES // (height * width * 3)
        if frames > most:
            raise LossyBenchError(
                f"codec {self.name!r}: a clip of {frames} frames of {width} x {height} pixels (width x height) has "
                f"{frames * height * width * 3 / 1e9:.2f} GB; it takes up to {MOST_BYTES / 1e9:.2f} GB, {most} such "
                "frames; cut the clips, or scale or crop the data"
            )

    def _check_rate(self, sampling_rate: float, medium: Medium) -> None:
        if not isinstance(sampling_rate, numbers.Real) or not 0 <= sampling_rate < math.inf:
            raise LossyBenchError(
                f"codec {self.name!r}: {sampling_rate!r} is no sampling rate; give Hz for audio, frames/s for video, 0 "
                "where it is unknown"
            )
        low, high = RATES.get(medium, (0, math.inf))
        if sampling_rate and not low <= sampling_rate <= high:
            what = f"a sampling rate of {sampling_rate:g} is out of range"
            raise LossyBenchError(f"codec {self.name!r}: {what}; {medium} has {low:g} to {high:g}")

    def largest_side(self, medium: Medium) -> int:
        """How many pixels a picture (or a frame, where `medium` is video) may be high or wide."""
        return self.side

    def caveat(self, shape: tuple[int, ...]) -> str:
        """Why the levels mean little for items of that shape, as a sentence; "" where they mean what they say."""
        return ""

    def by_strength(self, levels: list[float]) -> list[float]:
        """The levels from the mildest to the strongest."""
        return sorted(levels, reverse=self.stronger == "lower")

    def roundtrip(self, media: np.ndarray, level: float, sampling_rate: float = 0.0) -> np.ndarray:
        """What the receiver of the item gets: decode(encode(media)). Arguments and errors are those of `encode`."""
        return self.decode(self.encode(media, level, sampling_rate).payload, media.shape, sampling_rate)

    def learn(
        self, pictures: np.ndarray, validation: np.ndarray, level: float, tell: Callable[[int, float], None]
    ) -> bytes:
        """The safetensors file of a level's weights, of a codec that learns.

        pictures, validation: uint8 (N, S, S, 3) each, what it learns from and what it chooses the best state by. tell:
        is told the steps done and the validation loss from time to time. Raises LossyBenchError for a codec that has
        nothing to learn.
        """
        raise LossyBenchError(f"codec {self.name!r} has no weights to learn")

    def most_bits(self, level: float, raw_bits: Any) -> Any:
        """The bits that the file of an item shall have at most, where levels are such targets; None elsewhere.

        raw_bits: of the uncompressed item, one number or an array of them.
        """
        return None

    def full_title(self) -> str:
        """The title with the options that are not the default: "JPEG 4:4:4", "HEVC ultrafast, gop 8"."""
        differing = (
            _said(field.name, getattr(self, field.name))
            for field in dataclasses.fields(self)  # type: ignore[arg-type]
            if getattr(self, field.name) != field.default
        )
        return f"{self.title} {', '.join(differing)}".strip()

    def level_label(self, level: float) -> str:
        """The level as readers write it: "QF 10", "16 kb/s", "20:1"."""
        number = level_text(level)
        return f"{number}{' ' * (self.unit != ':1')}{self.unit}" if self.unit else f"{self.parameter} {number}"


def _said(option: str, value: Any) -> str:
    """An option's value as readers write it: what says by itself what it is stands alone."""
    if option == "chroma":
        return ":".join(value)
    if isinstance(value, bool):
        return option if value else f"not {option}"
    if option == "control":  # the labels of levels say what it is
        return {"crf": "at constant quality", "bitrate": "at a bitrate"}.get(value, value.upper())
    alone = option in ("preset", "tune", "application") and isinstance(value, str)
    return str(value) if alone else f"{option} {value}"


# Items of one shape come one after the other, and on small pictures these checks would cost more than coding does.


@functools.lru_cache(maxsize=4096)
def _encodable(codec: Codec, dtype: np.dtype, shape: tuple[int, ...], level: float, sampling_rate: float) -> Medium:
    """The medium of arrays of that dtype and shape. Raises LossyBenchError when the codec cannot do such items."""
    medium = _medium_of_array(dtype, shape)
    codec.check(level, medium, sampling_rate, shape)
    return medium


@functools.lru_cache(maxsize=4096)
def _decodable(codec: Codec, shape: Sequence[int], sampling_rate: float) -> None:
    """Raise LossyBenchError for a shape or a sampling rate that no item of the codec has."""
    medium = _medium_of_shape(shape)
    if medium is None or medium not in codec.media:
        able = " and ".join(sorted(codec.media))
        raise LossyBenchError(f"codec {codec.name!r} is for {able}, not for shape {shape!r}; an item is {_ITEMS}")
    codec.check_size(tuple(shape), sampling_rate)


def medium_of(media: np.ndarray) -> Medium:
    """The medium of an item, by its dtype and shape. Raises LossyBenchError when `media` is no item of any medium."""
    if isinstance(media, np.ndarray):
        return _medium_of_array(media.dtype, media.shape)
    what = f"of type {type(media).__name__}, not a numpy array"
    raise LossyBenchError(f"codec input is {what}; it must be a non-empty {_ITEMS}")


def _medium_of_array(dtype: np.dtype, shape: tuple[int, ...]) -> Medium:
    medium = _medium_of_shape(shape)
    if medium and dtype == (np.int16 if medium == "audio" else np.uint8):
        return medium
    raise LossyBenchError(f"codec input is {dtype} of shape {shape}; it must be a non-empty {_ITEMS}")


def _medium_of_shape(shape: Sequence[int]) -> Medium | None:
    """The medium of items of `shape`; None for a shape that no item has, and for what is no shape."""
    if not isinstance(shape, (tuple, list)) or not all(isinstance(n, int | np.integer) and n > 0 for n in shape):
        return None
    medium = _MEDIA.get(len(shape))
    return medium if medium == "audio" or shape[-1:] in ((3,), [3]) else None


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
            raise LossyBenchError(f"codec {name!r}: unknown option {shown(key)}; {hint}")
    hints = typing.get_type_hints(cls)
    for key, value in (options or {}).items():
        try:  # the fields of a dataclass take whatever they are given
            pydantic.TypeAdapter(hints[key]).validate_python(value, strict=True)
        except pydantic.ValidationError as error:
            raise LossyBenchError(
                f"codec {name!r}: {explain({**error.errors()[0], 'loc': (key,)}, {}, 'option')}"
            ) from None
    return cls(**(options or {}))
