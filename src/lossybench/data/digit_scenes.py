"""Embedded image detection: several handwritten digits of varied size over a collage of photographs."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from lossybench.data import _digits
from lossybench.data.dataset import Box, Item
from lossybench.settings import MOST

_TRIES = 30  # places that are tried for a digit before it is left out
_OVERLAP = 0.15  # share of the smaller box that two digits may share


class DigitScenes(_digits.DigitDataset):
    """Two to five digits in each scene, each with a box tight around its ink.

    Scenes are independent draws: nothing is shared but single digits, drawn at random from 1,500 in the test split.
    """

    name = "digit_scenes"
    title = "Scenes of digits over collages of photographs"
    medium = "image"
    kind = "detection"
    train: int = Field(1200, ge=1, le=MOST, description="scenes to train on")
    val: int = Field(200, ge=1, le=MOST, description="scenes to validate on")
    test: int = Field(500, ge=1, le=MOST, description="scenes to test on")
    size: int = Field(128, ge=96, le=512, description="height and width in pixels; digits are 20 to 44 pixels long")

    def item(self, id: str, seed: int, split: str, index: int, random: np.random.Generator) -> Item:
        image = _digits.background(random, split, self.size, self.size, contrast=0.45)
        boxes: list[Box] = []
        for _ in range(random.integers(2, 6)):
            label = int(random.integers(10))
            ink = _digits.digit(seed, split, label, int(random.integers(500)))[1]
            ink = _digits.resize_ink(ink, random.uniform(20, 44))
            height, width = ink.shape
            x0, y0, x1, y1 = _digits.tight_box(ink)
            for _ in range(_TRIES):
                top, left = (int(random.integers(self.size - side + 1)) for side in (height, width))
                box = Box(left + x0, top + y0, left + x1, top + y1, label)
                if all(_digits.overlap(box, other) <= _OVERLAP for other in boxes):
                    under = image[top : top + height, left : left + width]
                    under[:] = _digits.blend(under, ink, _digits.shift(random, under, 120, 180))
                    boxes.append(box)
                    break
        return Item(id, split, {}, image, boxes=tuple(boxes))
