"""Embedded image classification: one handwritten digit over a collage of photographs."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from lossybench.data import _digits
from lossybench.data.dataset import Item
from lossybench.settings import MOST


class Digits(_digits.DigitDataset):
    """Ten classes, balanced. Items share the MNIST digit at most; up to 1,500 test items each show another digit."""

    name = "digits"
    title = "Digits over collages of photographs"
    medium = "image"
    kind = "classification"
    train: int = Field(4000, ge=10, le=MOST, description="images to train on; 3,000 different digits, reused beyond")
    val: int = Field(500, ge=10, le=MOST, description="images to validate on; 500 different digits, reused beyond")
    test: int = Field(1500, ge=10, le=MOST, description="images to test on; 1,500 different digits, reused beyond")
    size: int = Field(48, ge=32, le=256, description="height and width in pixels; digits are 0.5 to 0.7 of it")

    def item(self, id: str, seed: int, split: str, index: int, random: np.random.Generator) -> Item:
        label, number = _digits.label_and_number(seed, split, index)
        source, ink = _digits.digit(seed, split, label, number)
        ink = _digits.resize_ink(ink, self.size * random.uniform(0.5, 0.7))
        height, width = ink.shape
        image = _digits.background(random, split, self.size, self.size, contrast=0.25)
        top, left = (int(random.integers(self.size - side + 1)) for side in (height, width))
        under = image[top : top + height, left : left + width]
        under[:] = _digits.blend(under, ink, _digits.shift(random, under, 80, 130))
        return Item(id, split, {"digit": source}, image, label=label)
