"""From a decoded item to what a model takes: one fixed shape, then floating point."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from lossybench.errors import LossyBenchError


@dataclasses.dataclass(frozen=True)
class Input:
    """The shape of one item as a model sees it.

    shape: image (height, width); audio (samples,); video (frames, height, width), where a video detector's frames
    are the window around the frame it searches. rate: Hz for audio, frames/s for video, 0 for images.
    """

    shape: tuple[int, ...]
    rate: float = 0.0

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Input:
        """The input stated in a model's `model.json`."""
        return cls(tuple(info["input"]["shape"]), info["input"]["rate"])


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

    Pictures: the centre crop of the target's aspect ratio (`crop`) or the whole picture, resized. Frames: spread
    evenly when there are too many, the last one repeated when too few. Audio: centre crop, zeros after the end.
    """
    if medium == "audio":
        return _fit_length(media, target.shape[0])
    if medium == "image":
        return _resize(media, target.shape[0], target.shape[1], crop)
    frames, height, width = target.shape
    media = media[spread(len(media), frames)] if len(media) != frames else media
    if media.shape[1:3] == (height, width):
        return media
    return np.stack([_resize(frame, height, width, crop) for frame in media])


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


def _resize(image: np.ndarray, height: int, width: int, crop: bool) -> np.ndarray:
    rows, columns = image.shape[:2]
    if (rows, columns) == (height, width):
        return image
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
