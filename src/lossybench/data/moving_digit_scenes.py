"""Embedded video detection: one to three digits move and bounce over a panning collage, boxed in every frame."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from lossybench.data import _digits
from lossybench.data.dataset import Box, Item
from lossybench.settings import MOST

_TRIES = 30  # courses that are tried for a digit before it is left out
_OVERLAP = 0.15  # share of the smaller box that two digits may share in any frame


class MovingDigitScenes(_digits.DigitDataset):
    """Boxes are tight around the ink, and state their frame.

    Clips are independent draws: nothing is shared but single digits, drawn at random from 1,500 in the test split.
    """

    name = "moving_digit_scenes"
    title = "Scenes of moving digits over panning collages of photographs"
    medium = "video"
    kind = "detection"
    train: int = Field(300, ge=1, le=MOST, description="clips to train on")
    val: int = Field(60, ge=1, le=MOST, description="clips to validate on")
    test: int = Field(200, ge=1, le=MOST, description="clips to test on")
    size: int = Field(96, ge=64, le=512, description="height and width in pixels; digits are 20 to 34 pixels long")
    frames: int = Field(16, ge=2, le=250, description="frames in each clip, at 25 frames/s")

    def item(self, id: str, seed: int, split: str, index: int, random: np.random.Generator) -> Item:
        camera = _digits.Camera(random, split, self.size, self.frames, contrast=0.45)
        media = np.stack([camera.frame(frame) for frame in range(self.frames)])
        courses: list[list[Box]] = []
        for _ in range(random.integers(1, 4)):
            label = int(random.integers(10))
            ink = _digits.digit(seed, split, label, int(random.integers(500)))[1]
            extent = random.uniform(20, 34)
            for _ in range(_TRIES):
                masks = [
                    _digits.place_ink(ink, extent, x, y, self.size) for x, y in self._bounce(random, extent / 2 + 1)
                ]
                course = [Box(*_digits.tight_box(mask), label, frame) for frame, mask in enumerate(masks)]
                pairs = [pair for other in courses for pair in zip(course, other, strict=True)]
                if all(_digits.overlap(*pair) <= _OVERLAP for pair in pairs):
                    by = _digits.shift(random, media[0][masks[0] > _digits.INK], 120, 180)
                    media = np.stack([_digits.blend(*layers, by) for layers in zip(media, masks, strict=True)])
                    courses.append(course)
                    break
        boxes = tuple(course[frame] for frame in range(self.frames) for course in courses)
        return Item(id, split, {}, media, 25.0, boxes=boxes)

    def _bounce(self, random: np.random.Generator, margin: float) -> np.ndarray:
        """The centre (x, y) in each frame: it goes straight on at 0.5 to 2.5 pixels a frame, and is reflected `margin`
        pixels from the edges.
        """
        room = self.size - 1 - 2 * margin
        angle = random.uniform(0, 2 * np.pi)
        step = random.uniform(0.5, 2.5) * np.array([np.cos(angle), np.sin(angle)])
        straight = random.uniform(0, room, 2) + step * np.arange(self.frames)[:, None]
        return margin + room - np.abs(straight % (2 * room) - room)
