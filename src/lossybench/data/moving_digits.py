"""Embedded video classification: how a digit moves in the frame while the collage behind it pans on its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np
from pydantic import Field

from lossybench.data import _digits
from lossybench.data.dataset import Item
from lossybench.settings import MOST

# Offset of the centre (in units of `reach`: right, down) and change of extent, at time t in 0..1.
_Path = Callable[[float], tuple[float, float, float]]
_CIRCLE = 1.5 * np.pi  # angle swept by the circular motions


def _line(x: float, y: float, growth: float = 0.0) -> _Path:
    return lambda t: (x * (2 * t - 1), y * (2 * t - 1), growth * (2 * t - 1))


def _circle(turn: int, phase: float) -> _Path:
    return lambda t: (float(np.cos(phase + turn * _CIRCLE * t)), float(np.sin(phase + turn * _CIRCLE * t)), 0.0)


_MOTIONS: dict[str, Callable[[float], _Path]] = {
    "static": lambda phase: _line(0, 0),
    "left": lambda phase: _line(-1, 0),
    "right": lambda phase: _line(1, 0),
    "up": lambda phase: _line(0, -1),
    "down": lambda phase: _line(0, 1),
    "clockwise": lambda phase: _circle(1, phase),  # rows count downwards
    "anticlockwise": lambda phase: _circle(-1, phase),
    "grow": lambda phase: _line(0, 0, 1),
    "shrink": lambda phase: _line(0, 0, -1),
}


class MovingDigits(_digits.DigitDataset):
    """Nine motions, balanced. The digit and the panning of the camera tell nothing of the class, and one frame little.

    After Moving MNIST (Srivastava et al., ICML 2015). Items share the MNIST digit at most.
    """

    name = "moving_digits"
    title = "Motions of digits over panning collages of photographs"
    medium = "video"
    kind = "classification"
    classes: ClassVar[list[str]] = list(_MOTIONS)
    train: int = Field(1200, ge=9, le=MOST, description="clips to train on")
    val: int = Field(200, ge=9, le=MOST, description="clips to validate on")
    test: int = Field(600, ge=9, le=MOST, description="clips to test on; 1,500 different digits, reused beyond")
    size: int = Field(64, ge=64, le=256, description="height and width in pixels")
    frames: int = Field(16, ge=8, le=250, description="frames in each clip, at 25 frames/s")

    def item(self, id: str, seed: int, split: str, index: int, random: np.random.Generator) -> Item:
        motion, _ = _digits.label_and_number(seed, split, index, len(_MOTIONS))
        source, ink = _digits.digit(seed, split, index % 10, index // 10)
        camera = _digits.Camera(random, split, self.size, self.frames, contrast=0.5)

        path = list(_MOTIONS.values())[motion](random.uniform(0, 2 * np.pi))
        # Sizes overlap, and starting places spread so wide that a digit may be cut at the edge of the frame, because
        # one frame must not give the class away.
        reach = random.uniform(0.16, 0.2) * self.size
        swell = random.uniform(0.06, 0.09) * self.size
        extent = random.uniform(0.24, 0.38) * self.size
        margin = reach + 0.12 * self.size
        centre = random.uniform(margin, self.size - margin, 2)

        by = None
        media = np.empty((self.frames, self.size, self.size, 3), np.uint8)
        for frame in range(self.frames):
            x, y, growth = path(frame / (self.frames - 1))
            mask = _digits.place_ink(
                ink, extent + growth * swell, centre[0] + x * reach, centre[1] + y * reach, self.size
            )
            under = camera.frame(frame)
            if by is None:
                by = _digits.shift(random, under[mask > _digits.INK], 110, 180)
            media[frame] = _digits.blend(under, mask, by)
        return Item(id, split, {"digit": source}, media, 25.0, motion)
