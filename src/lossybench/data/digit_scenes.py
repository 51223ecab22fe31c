"""Embedded image detection: several handwritten digits of varied size over a collage of photographs."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from lossybench.data import _digits
from lossybench.data.dataset import Item
from lossybench.settings import MOST


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
        image, placed = _digits.scene(random, seed, split, self.size)
        return Item(id, split, {}, image, boxes=tuple(box for box, _ in placed))
