"""Resizing and cropping as most published models were tested: shorter side, filter, centre crop."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import numpy as np
import pydantic
from PIL import Image
from pydantic import Field, Strict

from lossybench.settings import Settings

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
FILTERS = {name: Image.Resampling[name.upper()] for name in get_args(Interpolation)}


def resize_and_crop(
    picture: np.ndarray, shorter: int, crop: tuple[int, int] | None, interpolation: Interpolation
) -> np.ndarray:
    """The uint8 (H, W, 3) `picture` with its shorter side brought to `shorter` pixels, then its centre cut out.

    crop: (height, width) of that centre in pixels; None: the whole picture stays. interpolation: the filter, which
    widens as it shrinks. The pixels are those of torchvision's Resize and CenterCrop of a PIL image, rounding included.
    Raises ValueError for a crop larger than the resized picture.
    """
    rows, columns = picture.shape[:2]
    longer = int(shorter * max(rows, columns) / min(rows, columns))
    height, width = (shorter, longer) if rows <= columns else (longer, shorter)
    if (height, width) != (rows, columns):
        picture = np.asarray(Image.fromarray(picture).resize((width, height), FILTERS[interpolation]))
    if crop is None:
        return picture
    if crop[0] > height or crop[1] > width:
        raise ValueError(f"a crop of {list(crop)} does not fit into a picture resized to {[height, width]}")
    top, left = round((height - crop[0]) / 2), round((width - crop[1]) / 2)
    return np.ascontiguousarray(picture[top : top + crop[0], left : left + crop[1]])


class Scale(Settings):
    """How pictures are brought to another size when they are read, so that codecs see them at that size."""

    resize: int = Field(ge=1, le=65_535, description="pixels of the shorter side")
    crop: Annotated[tuple[int, int], Strict(False)] | None = Field(
        None, description="[height, width] cut out of the centre; none when left out"
    )
    interpolation: Interpolation = Field("bilinear", description="filter of the resizing")

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Scale:
        if self.crop and not 0 < min(self.crop) <= max(self.crop) <= self.resize:
            raise ValueError(f"crop {list(self.crop)} must be within resize, {self.resize}")
        return self

    def apply(self, media: np.ndarray) -> np.ndarray:
        """The picture (H, W, 3) or clip (frames, H, W, 3) `media`, uint8, at the new size."""
        if media.ndim == 4:
            return np.stack([self.apply(frame) for frame in media])
        return resize_and_crop(media, self.resize, self.crop, self.interpolation)
