"""H.264 and HEVC through FFmpeg: colour conversion, padding, and all that the two codecs share.

Colour is Y'CbCr by the BT.601 matrix at full range (0-255), as in JPEG, so that codecs differ in their coding and not
in their colours. Limited range (16-235), which broadcasting uses, would merge a seventh of the 8-bit levels before
anything is coded. Chroma of 4:2:0 is the mean of 2x2 pixels, lies at their centre, and is interpolated linearly.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterator
from typing import ClassVar

import cv2
import numpy as np
from av.video.frame import VideoFrame

from lossybench.codecs._common import CHROMA, described, require
from lossybench.codecs._ffmpeg import bare, decode_frames, encode_frames, ffmpeg_version
from lossybench.codecs.codec import Codec, Encoded, Medium
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


def _rounded(values: np.ndarray) -> np.ndarray:
    """The floats `values`, any shape, as uint8. They are overwritten: copies would cost as much as the conversion."""
    return np.clip(np.rint(values, out=values), 0, 255, out=values).astype(np.uint8)


def _parts(video: np.ndarray) -> Iterator[np.ndarray]:
    """The video in parts of some frames each, so that what is computed of them in floats does not fill the memory."""
    count = max(1, 2**22 // video[0].size)
    for start in range(0, len(video), count):
        yield video[start : start + count]


def to_yuv(video: np.ndarray, chroma: str) -> np.ndarray:
    """The RGB video, uint8 (frames, H, W, 3), as planar Y'CbCr uint8. chroma: "420" or "444".

    The result is (frames, 3H/2, W) for 4:2:0, with even H and W, as FFmpeg's yuv420p; (frames, 3, H, W) for 4:4:4.
    """
    return np.concatenate([_to_yuv(part, chroma) for part in _parts(video)])


def _to_yuv(video: np.ndarray, chroma: str) -> np.ndarray:
    frames, height, width, _ = video.shape
    # All frames as one tall picture, a single call each; blocks of 2x2 never cross frames, as heights are even.
    yuv = cv2.transform(video.reshape(-1, width, 3).astype(np.float32), _TO_YUV)
    if chroma == "444":
        return _rounded(yuv.reshape(video.shape).transpose(0, 3, 1, 2))
    half = (width // 2, frames * height // 2)
    planes = [yuv[..., 0]] + [cv2.resize(yuv[..., i], half, interpolation=cv2.INTER_AREA) for i in (1, 2)]
    return _rounded(np.concatenate([p.reshape(frames, -1) for p in planes], axis=1)).reshape(frames, -1, width)


def to_rgb(yuv: np.ndarray, chroma: str) -> np.ndarray:
    """The inverse of `to_yuv`: RGB uint8 (frames, H, W, 3) of planar Y'CbCr with that `chroma`."""
    return np.concatenate([_to_rgb(part, chroma) for part in _parts(yuv)])


def _to_rgb(yuv: np.ndarray, chroma: str) -> np.ndarray:
    frames, width = len(yuv), yuv.shape[-1]
    if chroma == "444":
        full = yuv.transpose(0, 2, 3, 1).astype(np.float32)
    else:
        height = yuv.shape[1] * 2 // 3
        full = np.empty((frames, height, width, 3), np.float32)
        full[..., 0] = yuv[:, :height]
        halves = yuv[:, height:].astype(np.float32).reshape(frames, 2, height // 2, width // 2)
        for frame, half in zip(full, halves, strict=True):
            for i in (0, 1):
                frame[..., 1 + i] = cv2.resize(half[i], (width, height), interpolation=cv2.INTER_LINEAR)
    return _rounded(cv2.transform(full.reshape(-1, width, 3), _TO_RGB)).reshape(frames, -1, width, 3)


def padded(height: int, width: int, least: int, multiple: int) -> tuple[int, int]:
    """The height and width of what `pad` makes of frames of that `height` and `width`; least, multiple: as there."""
    return max(-(-height // multiple) * multiple, least), max(-(-width // multiple) * multiple, least)


def pad(video: np.ndarray, least: int, multiple: int) -> np.ndarray:
    """The video (frames, H, W, 3) with its right and bottom edges repeated until H and W suit the encoder.

    least: the fewest pixels of each. multiple: each is a multiple of this.
    """
    height, width = padded(video.shape[1], video.shape[2], least, multiple)
    extra = height - video.shape[1], width - video.shape[2]
    return np.pad(video, ((0, 0), (0, extra[0]), (0, extra[1]), (0, 0)), mode="edge") if any(extra) else video


@dataclasses.dataclass(frozen=True)
class BlockCodec(Codec):
    """H.264 or HEVC at a constant QP; images are one intra frame.

    The level is the QP: of P frames in video, where I frames are some steps finer and B frames coarser, as x264 and
    x265 set them (ipratio 1.4, pbratio 1.3); of the one frame in images.
    Coded media are the NAL units of slices; parameter sets, SEI and start codes are overhead.

    chroma: "420" or "444". preset: one of x264's and x265's. gop: the number of frames from one (closed) intra frame to
    the next. bframes: the most B frames in a row.
    """

    media = frozenset({"image", "video"})
    parameter = "QP"
    stronger = "higher"
    bounds = (0, 51)

    encoder: ClassVar[str]
    standard: ClassVar[str]  # FFmpeg's decoder is named after it
    smallest: ClassVar[int]  # the fewest pixels of a side that the encoder takes

    chroma: str = "420"
    preset: str = "medium"
    gop: int = 32
    bframes: int = 3

    def __post_init__(self) -> None:
        require(self, "chroma", CHROMA)
        require(self, "preset", PRESETS)
        for option, low, high in (("gop", 1, 1000), ("bframes", 0, 16)):
            value = getattr(self, option)
            if not isinstance(value, int) or not low <= value <= high:
                raise LossyBenchError(
                    f"codec {self.name!r}: {option} {value!r} must be a whole number from {low} to {high}"
                )

    @property
    def multiple(self) -> int:
        """The height and width of frames are multiples of this."""
        return 2 if self.chroma == "420" else 1

    @abc.abstractmethod
    def deterministic(self, height: int, width: int) -> str:
        """The encoder's parameters that make its output depend on its input alone. height, width: pixels of a frame."""

    def _options(self, qp: int, medium: Medium, height: int, width: int) -> dict[str, str]:
        parameters = [f"qp={qp}", f"keyint={self.gop}", f"bframes={min(self.bframes, self.gop - 1)}"]
        parameters += ["scenecut=0", "open-gop=0", self.deterministic(height, width)]
        if medium == "image":
            parameters += ["ipratio=1"]
        return {"preset": self.preset, self.encoder.removeprefix("lib") + "-params": ":".join(parameters)}

    def _encode(self, media: np.ndarray, medium: Medium, level: float, sampling_rate: float) -> Encoded:
        video = pad(media if medium == "video" else media[None], self.smallest, self.multiple)
        pixels = f"yuv{self.chroma}p"
        frames = [VideoFrame.from_ndarray(yuv, format=pixels) for yuv in to_yuv(video, self.chroma)]
        options = self._options(int(level), medium, *video.shape[1:3])
        return bare(encode_frames(self.encoder, frames, sampling_rate, options, full_range=True), self.standard)

    def _decode(self, payload: bytes, shape: tuple[int, ...], sampling_rate: float) -> np.ndarray:
        count, height, width = shape[:3] if len(shape) == 4 else (1, *shape[:2])
        pixels = f"yuv{self.chroma}p"
        frames = decode_frames(
            self.standard, payload, count, padded(height, width, self.smallest, self.multiple), pixels
        )
        rgb = to_rgb(np.stack([frame.to_ndarray() for frame in frames]), self.chroma)
        return np.ascontiguousarray(rgb[:, :height, :width]).reshape(shape)

    def version(self) -> str:
        return described(self, f"{self.encoder} and decoder {self.standard} of {ffmpeg_version()}")
