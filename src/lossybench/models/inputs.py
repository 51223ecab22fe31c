"""From a decoded item to what a model takes: one fixed shape, then floating point."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from lossybench.errors import LossyBenchError
from lossybench.pictures import Interpolation, resize_and_crop


@dataclasses.dataclass(frozen=True)
class Input:
    """The shape of one item as a model sees it.

    shape: image (height, width); audio (samples,); video (frames, height, width), where a video detector's frames
    are the window around the frame it searches. sampling_rate: Hz of audio, frames/s of video, else 0. resize: pixels
    that a picture's shorter side is brought to before the centre of `shape` is cut out, by the filter `interpolation`;
    None: the largest centre of that shape is resized.
    """

    shape: tuple[int, ...]
    sampling_rate: float = 0.0
    resize: int | None = None
    interpolation: Interpolation = "bilinear"

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Input:
        """The input stated in a model's `model.json`."""
        return cls(**{**info["input"], "shape": tuple(info["input"]["shape"])})


def prepare(media: np.ndarray, info: Mapping[str, Any]) -> np.ndarray:
    """A decoded item as float32 model input, without the batch axis.

    Image uint8 (H, W, 3) -> (3, h, w) in [0, 1]; video uint8 (frames, H, W, 3) -> (frames, 3, h, w) in [0, 1];
    audio int16 (samples,) -> (samples,) in [-1, 1). Of `info` (see `models.load`) it reads medium, kind and input.
    """
    array = fit(media, info["medium"], Input.of(info), crop=info["kind"] == "classification")
    if info["medium"] == "audio":
        return array.astype(np.float32) / 32768
    return np.moveaxis(array, -1, -3).astype(np.float32) / 255


def fit(media: np.ndarray, medium: str, target: Input, crop: bool) -> np.ndarray:
    """Bring a decoded item to the shape of `target`, keeping its dtype; the item itself when it fits already.

    Pictures: the centre crop of the target's aspect ratio (`crop`) or the whole picture, resized; or as
    `target.resize` says, which leaves alone what has the target's size already. Frames: spread evenly when there are
    too many, the last one repeated when too few. Audio: centre crop, zeros after the end.
    """
    if medium == "audio":
        return _fit_length(media, target.shape[0])
    if medium == "image":
        return _picture(media, target, crop)
    frames, height, width = target.shape
    media = media[spread(len(media), frames)] if len(media) != frames else media
    if media.shape[1:3] == (height, width):
        return media
    return np.stack([_picture(frame, target, crop) for frame in media])


def spread(available: int, wanted: int) -> np.ndarray:
    """Indices of `wanted` frames spread evenly from the first to the last; the last repeated when too few."""
    if available <= wanted:
        return np.minimum(np.arange(wanted), available - 1)
    return np.round(np.linspace(0, available - 1, wanted)).astype(int)


def _fit_length(samples: np.ndarray, length: int) -> np.ndarray:
    if len(samples) >= length:
        start = (len(samples) - length) // 2
        return samples[start : start + length]
    return np.pad(samples, (0, length - len(samples)))


def _picture(picture: np.ndarray, target: Input, crop: bool) -> np.ndarray:
    height, width = target.shape[-2:]
    if picture.shape[:2] == (height, width):
        return picture
    if target.resize:
        return resize_and_crop(picture, target.resize, (height, width), target.interpolation)
    return _resize(picture, height, width, crop)


def _resize(image: np.ndarray, height: int, width: int, crop: bool) -> np.ndarray:
    rows, columns = image.shape[:2]
    if crop:
        scale = min(rows / height, columns / width)
        kept_rows, kept_columns = max(1, round(height * scale)), max(1, round(width * scale))
        top, left = (rows - kept_rows) // 2, (columns - kept_columns) // 2
        image = image[top : top + kept_rows, left : left + kept_columns]
    shrinks = height < image.shape[0] or width < image.shape[1]
    # Area averaging is the only OpenCV filter without aliasing when shrinking.
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(image), (width, height), interpolation=method)


def common_shape(shapes: Sequence[Sequence[int]], medium: str, where: str) -> tuple[int, ...]:
    """The one shape of all items, without the colour axis. Raises LossyBenchError when items differ."""
    distinct = sorted({tuple(shape if medium == "audio" else shape[:-1]) for shape in shapes})
    if len(distinct) != 1:
        raise LossyBenchError(
            f"{where}: items have {len(distinct)} different shapes, from {distinct[0]} to {distinct[-1]}; "
            "say in the training settings which size the model shall see (input_size)"
        )
    return distinct[0]
