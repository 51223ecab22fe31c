"""From a decoded item to the input of a model: first one fixed shape, then floating point."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from lossybench import kinds
from lossybench.errors import LossyBenchError
from lossybench.pictures import Interpolation, resize_and_crop


@dataclasses.dataclass(frozen=True)
class Input:
    """The shape of one item as a model sees it.

    shape: image (height, width); audio (samples,); video (frames, height, width), where the frames of a detector are
    the window around the frame that it searches; () is each item's own, of a model that is asked item by item.
    sampling_rate: Hz of audio, else 0. resize: the pixels to which the filter `interpolation` brings a picture's
    shorter side, before the centre of `shape` is cut out; None resizes the largest centre that has the aspect ratio of
    `shape`.
    """

    shape: tuple[int, ...]
    sampling_rate: float = 0.0
    resize: int | None = None
    interpolation: Interpolation = "bilinear"

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Input:
        """The input that `info`, the content of a model's model.json, states."""
        return cls(**{**info["input"], "shape": tuple(info["input"]["shape"])})


class Sent(NamedTuple):
    """What a model that is asked item by item gets.

    name: of the item; in video detection with "#" and the number of the frame. media: pictures uint8 (H, W, 3), clips
    uint8 (frames, H, W, 3), sounds int16 (samples,). rate: Hz of sound, frames/s of video, 0 of pictures. line: what
    carries it to a command or url, once that is made.
    """

    name: str
    media: np.ndarray
    rate: float
    line: bytes = b""

    @classmethod
    def of(cls, name: str, row: Mapping[str, Any], media: np.ndarray, frame: int, info: Mapping[str, Any]) -> Sent:
        """From an item's name and `row` of the data table, its example's `media` and `frame`, and model.json."""
        if info["medium"] == "video" and kinds.load(info["kind"]).by_frame:
            return cls(f"{name}#{frame}", media[0], 0.0)
        return cls(name, media, row["sampling_rate"])


def prepare(media: np.ndarray, info: Mapping[str, Any]) -> np.ndarray:
    """The decoded item `media` as float32 model input, without the batch axis.

    Image uint8 (H, W, 3) -> (3, h, w) in [0, 1]; video uint8 (frames, H, W, 3) -> (frames, 3, h, w) in [0, 1];
    audio int16 (samples,) -> (samples,) in [-1, 1). info: medium, kind and input, as in model.json.
    """
    array = fit(media, info["medium"], Input.of(info), crop=not kinds.load(info["kind"]).placed)
    if info["medium"] == "audio":
        return array.astype(np.float32) / 32768
    return np.moveaxis(array, -1, -3).astype(np.float32) / 255


def fit(media: np.ndarray, medium: str, target: Input, crop: bool) -> np.ndarray:
    """The decoded item `media` of a medium in the shape of `target`, of the same dtype; itself where it fits already.

    It is itself, too, where `target` is each item's own shape.

    A picture is resized: its largest centre of the target's aspect ratio (`crop`) or the whole picture, or as
    `target.resize` says. Of too many frames some are taken, spread evenly; of too few the last is repeated. Too long
    audio is cut to its centre, too short audio gets zeros at its end.
    """
    if not target.shape:
        return media
    if medium == "audio":
        missing = target.shape[0] - len(media)
        start = max(0, -missing // 2)
        return np.pad(media, (0, missing)) if missing > 0 else media[start : start + target.shape[0]]
    if medium == "image":
        return _picture(media, target, crop)
    frames, height, width = target.shape
    media = media[spread(len(media), frames)] if len(media) != frames else media
    if media.shape[1:3] == (height, width):
        return media
    return np.stack([_picture(frame, target, crop) for frame in media])


def spread(available: int, wanted: int) -> np.ndarray:
    """Indices of `wanted` of the `available` frames, spread evenly; the last is repeated where there are too few."""
    if available <= wanted:
        return np.minimum(np.arange(wanted), available - 1)
    return np.round(np.linspace(0, available - 1, wanted)).astype(int)


def _picture(picture: np.ndarray, target: Input, crop: bool) -> np.ndarray:
    height, width = target.shape[-2:]
    rows, columns = picture.shape[:2]
    if (rows, columns) == (height, width):
        return picture
    if target.resize:
        return resize_and_crop(picture, target.resize, (height, width), target.interpolation)
    if crop:
        scale = min(rows / height, columns / width)
        kept_rows, kept_columns = max(1, round(height * scale)), max(1, round(width * scale))
        top, left = (rows - kept_rows) // 2, (columns - kept_columns) // 2
        picture = picture[top : top + kept_rows, left : left + kept_columns]
    shrinks = height < picture.shape[0] or width < picture.shape[1]
    # Area averaging is the only OpenCV filter without aliasing when shrinking.
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(picture), (width, height), interpolation=method)


def common_shape(shapes: Sequence[Sequence[int]], medium: str, where: str) -> tuple[int, ...]:
    """The one shape that all the `shapes` of items of a `medium` are, without the colour axis.

    where: the file that errors name. Raises LossyBenchError where the shapes differ.
    """
    distinct = sorted({tuple(shape if medium == "audio" else shape[:-1]) for shape in shapes})
    if len(distinct) != 1:
        raise LossyBenchError(
            f"{where}: items have {len(distinct)} different shapes, from {distinct[0]} to {distinct[-1]}; "
            "set input_size in the model's settings to the size that the model shall see"
        )
    return distinct[0]
