"""Embedded image segmentation: which pixels of a collage of photographs are the ink of which handwritten digit."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from lossybench.data import _digits
from lossybench.data.dataset import Item
from lossybench.masks import encode
from lossybench.settings import MOST


class SegmentedDigits(_digits.DigitDataset):
    """The scenes of `digit_scenes`, with a mask: of each pixel the digit whose ink it is, or the background.

    Where the ink of two digits crosses, a pixel is of the one that lies on top.
    """

    name = "segmented_digits"
    title = "Scenes of digits over collages of photographs, with masks"
    medium = "image"
    kind = "segmentation"
    classes = ["background", *_digits.DIGITS]  # noqa: RUF012
    train: int = Field(800, ge=1, le=MOST, description="scenes to train on")
    val: int = Field(100, ge=1, le=MOST, description="scenes to validate on")
    test: int = Field(400, ge=1, le=MOST, description="scenes to test on")
    size: int = Field(96, ge=96, le=512, description="height and width in pixels; digits are 20 to 44 pixels long")

    def item(self, id: str, seed: int, split: str, index: int, random: np.random.Generator) -> Item:
        image, placed = _digits.scene(random, seed, split, self.size)
        mask = np.zeros(image.shape[:2], np.uint8)
        for box, ink in placed:
            mask[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)][ink] = box.label + 1
        return Item(id, split, {}, image, truth={"mask": encode(mask)})
