"""Video codecs through FFmpeg: colour conversion, padding, and all that they share; what H.264 and HEVC share.

Colour is Y'CbCr by the BT.601 matrix at full range (0-255), as in JPEG, so that codecs differ in their coding and not
in their colours. Limited range (16-235), which broadcasting uses, would merge a seventh of the 8-bit levels before
anything is coded. Chroma of 4:2:0 is the mean of 2x2 pixels, lies at their centre, and is interpolated linearly.
"""

from __future__ import annotations

import abc
import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

import cv2
import numpy as np
from av.video.frame import VideoFrame

from lossybench.codecs._common import CHROMA, described, require, require_whole, with_levels
from lossybench.codecs._ffmpeg import bare, decode_frames, encode_frames, encode_still, ffmpeg_version, planes
from lossybench.codecs.codec import Codec, Encoded, Medium
from lossybench.conditions import level_text
from lossybench.errors import LossyBenchError

cv2.setNumThreads(1)  # items are small, and jobs run side by side

PRESETS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo",
)  # fmt: skip

# ITU-R BT.601-7, section 2.5. Each row is applied to (R, G, B, 1).
_KR, _KB = 0.299, 0.114
_Y = np.array([_KR, 1 - _KR - _KB, _KB])
_TO_YUV = np.zeros((3, 4), np.float32)
_TO_YUV[0, :3] = _Y
_TO_YUV[1, :3] = (np.array([0, 0, 1]) - _Y) / (2 * (1 - _KB))
_TO_YUV[2, :3] = (np.array([1, 0, 0]) - _Y) / (2 * (1 - _KR))
_TO_YUV[1:, 3] = 128
_TO_RGB = np.zeros((3, 4), np.float32)
_TO_RGB[:, :3] = np.linalg.inv(_TO_YUV[:, :3].astype(np.float64))
_TO_RGB[:, 3] = -128 * _TO_RGB[:, 1:3].sum(axis=1)


# Pixels that are converted at a time, so that what is computed of them in floats fits the processor's cache.
_STRIP = 2**16
# The pixels of a strip are a multiple of this. OpenCV computes what is left over of a multiple of its vectors' length
# in another order, and a sum that is all but halfway between two integers then rounds differently.
_VECTOR = 64


def _strips(height: int, width: int) -> Iterator[slice]:
    """The rows of a picture of `height` and `width`, in strips. Even heights give even strips."""
    least = max(2, _VECTOR // math.gcd(width, _VECTOR))
    step = max(1, _STRIP // width // least) * least
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def _buffers(count: int, rows: int, width: int, channels: int = 1) -> list[np.ndarray]:
    """So many arrays for a strip in floats: all strips of an item use the same, as new memory costs a third more."""
    rows = next((strip.stop for strip in _strips(rows, width)), rows)
    shape = (rows, width, channels) if channels > 1 else (rows, width)
    return [np.empty(shape, np.float32) for _ in range(count)]


def _at_once(values: int) -> int:
    """How many frames of so many values each are converted as one tall picture, as calls cost more than small ones."""
    return max(1, 2**22 // values)


def to_yuv(video: np.ndarray, chroma: str, size: tuple[int, int] | None = None) -> Iterator[list[np.ndarray]]:
    """The planes Y', Cb, Cr, uint8, of each frame of the RGB video, uint8 (frames, H, W, 3). chroma: "420" or "444".

    size: the height and width that frames shall have; their right and bottom edges are repeated. They are even for
    4:2:0, whose chroma planes are half as high and wide. The planes may be overwritten once the next ones are asked
    for.
    """
    height, width = size or video.shape[1:3]
    at_once = _at_once(3 * height * width)
    floats, yuv = _buffers(2, at_once * height, width, 3)
    separate = _buffers(3, at_once * height, width)
    half = np.empty((len(separate[0]) // 2, width // 2), np.float32)
    for start in range(0, len(video), at_once):
        part = video[start : start + at_once]
        extra = height - part.shape[1], width - part.shape[2]
        if any(extra):
            part = np.pad(part, ((0, 0), (0, extra[0]), (0, extra[1]), (0, 0)), mode="edge")
        # Blocks of 2x2 never cross frames, as heights are even.
        tall = part.reshape(-1, width, 3)
        planes = [np.empty((len(tall), width), np.uint8)]
        planes += [np.empty((len(tall) // n, width // n), np.uint8) for n in ((2, 2) if chroma == "420" else (1, 1))]
        for strip in _strips(len(tall), width):
            rows = strip.stop - strip.start
            np.copyto(floats[:rows], tall[strip])
            channels = cv2.split(
                cv2.transform(floats[:rows], _TO_YUV, dst=yuv[:rows]), [channel[:rows] for channel in separate]
            )
            # No value is negative, so that the absolute one is the value itself, rounded half to even.
            cv2.convertScaleAbs(channels[0], dst=planes[0][strip])
            for channel, plane in zip(channels[1:], planes[1:], strict=True):
                into = strip
                if chroma == "420":
                    into = slice(strip.start // 2, strip.stop // 2)
                    channel = cv2.resize(
                        channel, (width // 2, rows // 2), dst=half[: rows // 2], interpolation=cv2.INTER_AREA
                    )
                cv2.convertScaleAbs(channel, dst=plane[into])
        yield from zip(*(plane.reshape(len(part), -1, plane.shape[1]) for plane in planes), strict=True)


def to_rgb(frames: Iterable[Sequence[np.ndarray]], shape: tuple[int, int, int], chroma: str) -> np.ndarray:
    """The inverse of `to_yuv`: RGB uint8 (*shape, 3) of the planes of `frames`. shape: how many, and their H and W.

    Where planes are larger than that, what lies to the right and below is left out. They must not be overwritten before
    the next 2^22 bytes of frames are asked for.
    """
    rgb = np.empty((*shape, 3), np.uint8)
    frames, done = iter(frames), 0
    first = next(frames)
    height, width = first[0].shape
    at_once = _at_once(sum(plane.size for plane in first))
    ycc, converted = _buffers(2, at_once * height, width, 3)
    upsampled = _Upsampled(len(ycc), width) if chroma == "420" else None
    frames = itertools.chain([first], frames)
    while part := list(itertools.islice(frames, at_once)):
        whole = rgb[done : done + len(part)]
        fits = (height, width) == shape[1:]
        tall = (whole if fits else np.empty((len(part), height, width, 3), np.uint8)).reshape(-1, width, 3)
        for strip in _strips(len(tall), width):
            for index in range(strip.start // height, -(-strip.stop // height)):
                top, bottom = max(strip.start - index * height, 0), min(strip.stop - index * height, height)
                into = ycc[index * height + top - strip.start :][: bottom - top]
                if upsampled:
                    cv2.merge(upsampled.rows(part[index], top, bottom), dst=into)
                else:
                    np.copyto(into, cv2.merge([np.ascontiguousarray(plane[top:bottom]) for plane in part[index]]))
            rows = strip.stop - strip.start
            values = cv2.transform(ycc[:rows], _TO_RGB, dst=converted[:rows])
            cv2.threshold(values.reshape(rows, -1), 0, 0, cv2.THRESH_TOZERO, dst=values.reshape(rows, -1))
            cv2.convertScaleAbs(values, dst=tall[strip])
        if not fits:
            np.copyto(whole, tall.reshape(len(part), height, width, 3)[:, : shape[1], : shape[2]])
        done += len(part)
    return rgb


class _Upsampled:
    """Rows of a 4:2:0 frame with its chroma at full size, in buffers that the next rows overwrite."""

    def __init__(self, rows: int, width: int) -> None:
        self.luma = np.empty((rows, width), np.float32)
        self.half = np.empty((rows // 2 + 2, width // 2), np.float32)
        self.full = [np.empty((rows + 4, width), np.float32) for _ in range(2)]

    def rows(self, planes: Sequence[np.ndarray], top: int, bottom: int) -> list[np.ndarray]:
        """The rows from `top` up to `bottom`, both even, of Y', Cb and Cr as floats."""
        luma = self.luma[: bottom - top]
        np.copyto(luma, planes[0][top:bottom])
        found = [luma]
        # Interpolation reaches one row of chroma beyond these, but not beyond the frame.
        low, high = max(top // 2 - 1, 0), min(bottom // 2 + 1, len(planes[1]))
        for plane, full in zip(planes[1:], self.full, strict=True):
            half = self.half[: high - low]
            np.copyto(half, plane[low:high])
            size = (luma.shape[1], 2 * (high - low))
            cv2.resize(half, size, dst=full[: size[1]], interpolation=cv2.INTER_LINEAR)
            found.append(full[top - 2 * low :][: bottom - top])
        return found


def padded(height: int, width: int, least: int, multiple: int) -> tuple[int, int]:
    """The height and width that frames of that `height` and `width` need to have to suit the encoder.

    least: the fewest pixels of each. multiple: each is a multiple of this.
    """
    return max(-(-height // multiple) * multiple, least), max(-(-width // multiple) * multiple, least)


class FrameCodec(Codec):
    """A codec of FFmpeg's for Y'CbCr frames; images are one intra frame.

    Subclasses are frozen dataclasses. They define `_options`, `gather` and `decode_payload`, and the class attributes
    below, of which `chroma` and `control` may be fields.
    """

    media = frozenset({"image", "video"})
    stronger = "higher"

    encoder: ClassVar[str]  # by FFmpeg's name, as is the decoder
    decoder: ClassVar[str]
    smallest: ClassVar[int]  # the fewest pixels of a side that the encoder takes
    fastest: ClassVar[float] = math.inf  # the most frames/s that the encoder takes; it is told so many of faster clips
    chroma: str = "420"  # or "444"
    control: str  # what the level is, one of `controls`: "qp", "crf" or "bitrate"

    @property
    def multiple(self) -> int:
        """The height and width of frames are multiples of this."""
        return 2 if self.chroma == "420" else 1

    @abc.abstractmethod
    def _options(self, level: float, medium: Medium, height: int, width: int) -> dict[str, str]:
        """The encoder's options, by FFmpeg's names. They make its output depend on its input alone."""

    @abc.abstractmethod
    def gather(self, packets: Iterable[bytes], size: tuple[int, int], sampling_rate: float) -> Encoded:
        """The bitstream of an item's packets. size: (height, width) of the frames. sampling_rate: as of `encode`."""

    @abc.abstractmethod
    def decode_payload(self, payload: bytes, count: int, size: tuple[int, int]) -> Iterator[VideoFrame]:
        """The `count` frames of `size` in display order. Raises what `decode_packets` raises when it is damaged."""

    def take_levels(self, crf: tuple[float, float], whole: bool) -> None:
        """Let the levels be what `control` says. crf: the lowest and the highest. whole: they are whole numbers."""
        require(self, "control", self.controls)
        if self.control == "crf":
            with_levels(self, "CRF", "", "higher", crf, whole)
        elif self.control == "bitrate":
            with_levels(self, "bitrate", "kb/s", "lower", (1, 1_000_000))

    def check(
        self, level: float, medium: Medium, sampling_rate: float = 0.0, shape: Sequence[int] | None = None
    ) -> None:
        """See `Codec`."""
        super().check(level, medium, sampling_rate, shape)
        if self.control == "bitrate" and medium == "image":
            raise LossyBenchError(f"codec {self.name!r}: a picture has no bitrate; use parameter: bytes or bpp")
        if self.control == "bitrate" and shape is not None and not sampling_rate:
            raise LossyBenchError(f"codec {self.name!r}: a bitrate needs the clip's frames/s, which are unknown")

    def _encode(self, media: np.ndarray, medium: Medium, level: float, sampling_rate: float) -> Encoded:
        video = media if medium == "video" else media[None]
        size = padded(video.shape[1], video.shape[2], self.smallest, self.multiple)
        options = self._options(level, medium, *size)
        frames, pixels = to_yuv(video, self.chroma, size), f"yuv{self.chroma}p"
        if medium == "image" and self.keeps(*size):
            return self.gather(encode_still(self.encoder, next(frames), size, pixels, options), size, sampling_rate)
        packets = encode_frames(
            self.encoder, frames, size, pixels, min(sampling_rate, self.fastest), options, full_range=True
        )
        return self.gather(packets, size, sampling_rate)

    def keeps(self, height: int, width: int) -> bool:
        """Whether an encoder of pictures of this size is kept open for further ones, which changes no byte."""
        return False

    def _decode(self, payload: bytes, shape: tuple[int, ...], sampling_rate: float) -> np.ndarray:
        count, height, width = shape[:3] if len(shape) == 4 else (1, *shape[:2])
        size = padded(height, width, self.smallest, self.multiple)
        frames = self.decode_payload(payload, count, size)
        return to_rgb(map(planes, frames), (count, height, width), self.chroma).reshape(shape)

    def version(self) -> str:
        return described(self, f"{self.encoder} and decoder {self.decoder} of {ffmpeg_version()}")


@dataclasses.dataclass(frozen=True)
class BlockCodec(FrameCodec):
    """H.264 or HEVC, at a constant QP by default; images are one intra frame.

    The level is the QP: of P frames in video, where I frames are some steps finer and B frames coarser, as x264 and
    x265 set them (ipratio 1.4, pbratio 1.3); of the one frame in images.
    What is counted is the Annex B stream, as of a file .264 or .265: the NAL units of slices are the coded media,
    parameter sets and start codes overhead. The encoder's SEI, which decoders skip, is left out.

    chroma: "420" or "444". preset: one of x264's and x265's. tune: "none" or one of the encoder's own, over whose B
    frames `bframes` holds. gop: the number of frames from one (closed) intra frame to the next. bframes: the most B
    frames in a row. control: what the level is. "qp": a constant quantiser. "crf": the constant quality of x264 and
    x265, which spend fewer bits where they hold that less is seen, as most users have it. "bitrate": the mean kb/s of a
    clip that one pass aims at, of which short clips miss the more.
    """

    parameter = "QP"
    bounds = (0, 51)
    controls = ("qp", "crf", "bitrate")

    tunes: ClassVar[tuple[str, ...]]  # the encoder's tunings
    kept: ClassVar[int]  # pixels of the largest picture for which it pays to keep the encoder open
    at_once: ClassVar[str]  # parameters by which it holds no picture back

    chroma: str = "420"
    preset: str = "medium"
    tune: str = "none"
    gop: int = 32
    bframes: int = 3
    control: str = "qp"

    def __post_init__(self) -> None:
        self.take_levels((0, 51), whole=False)
        require(self, "chroma", CHROMA)
        require(self, "preset", PRESETS)
        require(self, "tune", ("none", *self.tunes))
        require_whole(self, "gop", 1, 1000)
        require_whole(self, "bframes", 0, 16)

    @abc.abstractmethod
    def deterministic(self, height: int, width: int, medium: Medium) -> str:
        """The encoder's parameters that make its output depend on its input alone.

        height, width: pixels of a frame. medium: "image" or "video".
        """

    def _options(self, level: float, medium: Medium, height: int, width: int) -> dict[str, str]:
        alone = medium == "image" and self.control == "qp"  # by a quality, too, a picture hangs on those before it
        gop = 1 if alone else self.gop
        parameters = [f"{self.control}={level_text(level)}", f"keyint={gop}", f"bframes={min(self.bframes, gop - 1)}"]
        parameters += ["scenecut=0", "open-gop=0", self.deterministic(height, width, medium)]
        if alone:
            parameters += ["ipratio=1", self.at_once]
        tune = {"tune": self.tune} if self.tune != "none" else {}
        return {"preset": self.preset, **tune, self.encoder.removeprefix("lib") + "-params": ":".join(parameters)}

    def keeps(self, height: int, width: int) -> bool:
        """See `FrameCodec`."""
        return self.control == "qp" and height * width <= self.kept

    def gather(self, packets: Iterable[bytes], size: tuple[int, int], sampling_rate: float) -> Encoded:
        return bare(packets, self.decoder)

    def decode_payload(self, payload: bytes, count: int, size: tuple[int, int]) -> Iterator[VideoFrame]:
        return decode_frames(self.decoder, payload, count, size, f"yuv{self.chroma}p")
