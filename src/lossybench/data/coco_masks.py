"""A user's images to segment, with outlines in COCO's JSON (https://cocodataset.org/#format-data)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np

from lossybench.data import _boxes, _masks, coco
from lossybench.data._files import Entry, Survey
from lossybench.data._masks import MaskedEntry
from lossybench.data.coco import Coco
from lossybench.errors import LossyBenchError, shown
from lossybench.masks import IGNORED, MOST_CLASSES, encode

_FEWEST = 6  # numbers of a polygon: three corners


class Outline(NamedTuple):
    """One annotation. where: its place in the JSON. label: its class. crowd: of how many objects it is. shape: JSON."""

    where: str
    label: int
    crowd: bool
    shape: str


class CocoMasks(Coco):
    """The files and the options of `coco`; of each pixel the category of the object that it belongs to, or background.

    Outlines may be polygons or run lengths, compressed or not. Pixels of objects of two categories, and of crowds, are
    of no class, and nothing is counted of them. Classes are the background, then the categories in the order of their
    ids. Images without objects are all background.
    """

    name = "coco_masks"
    kind = "segmentation"

    def survey(self, seed: int) -> Survey:
        found = super().survey(seed)
        files = self.annotations if isinstance(self.annotations, dict) else {"": self.annotations}
        outlines: dict[str, tuple[Outline, ...]] = {}
        for split, file in files.items():
            folder = self.images[split] if isinstance(self.images, dict) else self.images
            of_picture = outlines_of(file, folder)
            outlines |= {f"{split}/{name}" if split else name: each for name, each in of_picture.items()}
        entries: list[Entry] = [
            MaskedEntry(
                **{field.name: getattr(entry, field.name) for field in dataclasses.fields(Entry)} | {"boxes": ()},
                mask=outlines.get(entry.id, ()),
            )
            for entry in found.entries
        ]
        classes = [_masks.BACKGROUND, *found.classes]
        if len(set(classes)) < len(classes) or len(classes) > MOST_CLASSES:
            raise LossyBenchError(
                f"{next(iter(files.values()))}: has {len(classes) - 1} categories; masks can have up to "
                f"{MOST_CLASSES - 1}, none of them called {_masks.BACKGROUND!r}"
            )
        return Survey(classes, entries, found.findings)

    def truth(self, entry: Entry, media: np.ndarray) -> dict[str, Any]:
        assert isinstance(entry, MaskedEntry)
        height, width, _ = media.shape
        mask = np.zeros((height, width), np.uint8)
        for one in entry.mask:
            try:
                within = inside(json.loads(one.shape), height, width)
            except LossyBenchError as error:
                raise LossyBenchError(f"{one.where}: {error}") from None
            free = within & (mask == 0)
            other = within & (mask != one.label + 1)
            mask[other] = IGNORED
            mask[free] = IGNORED if one.crowd else one.label + 1
        return {"mask": encode(mask)}


def outlines_of(file: Path, folder: Path) -> dict[str, tuple[Outline, ...]]:
    """The outlines in the COCO JSON `file` by the names of their pictures below `folder`, in the order of the file.

    The file is one that `coco.parse` could read: annotations that it refuses, it has told of.
    """
    content = coco.load(file, outlines=True)
    label_of = coco.categories_of(file, content["categories"])[1]
    pictures = coco.pictures_of(file, content["images"], coco.Files(folder), "error")[0]
    found: dict[str, list[Outline]] = {}
    for number, note in enumerate(content["annotations"]):
        try:
            picture = pictures[coco.one_of(note, "image_id", pictures, "images")]
            label = label_of[coco.one_of(note, "category_id", label_of, "categories")]
            crowd = coco.is_crowd(note)
        except LossyBenchError:
            continue
        if picture:
            where = f"{file}: annotations[{number}]"
            shape = json.dumps(note.get("segmentation"))
            found.setdefault(picture.name, []).append(Outline(where, label, crowd, shape))
    return {name: tuple(each) for name, each in found.items()}


def inside(shape: Any, height: int, width: int) -> np.ndarray:
    """Which pixels, bool (height, width), an annotation's `segmentation` covers.

    shape: polygons [[x, y, x, y, ...], ...] in pixels, or run lengths {size, counts}, of which counts is a list or
    COCO's compressed text. Raises LossyBenchError for what is neither, or of another size.
    """
    if isinstance(shape, Mapping):
        size, counts = shape.get("size"), shape.get("counts")
        if size != [height, width]:
            raise LossyBenchError(
                f"its run lengths are of the size {shown(size)}, and the picture is {[height, width]}"
            )
        runs = _decompressed(counts) if isinstance(counts, str) else counts
        if not _whole(runs) or sum(runs) != height * width:
            raise LossyBenchError(f"its run lengths are not those of {height} x {width} pixels")
        values = np.arange(len(runs)) % 2 == 1
        return np.repeat(values, runs).reshape(width, height).T
    polygons = shape if isinstance(shape, list) else [None]
    corners = [_corners(polygon, height, width) for polygon in polygons]
    if not corners:
        raise LossyBenchError("has no outline: neither polygons nor run lengths in its 'segmentation'")
    from faster_coco_eval.core import mask as coco_mask  # by COCO's own rule of which pixels a polygon covers

    return coco_mask.decode(coco_mask.frPyObjects(corners, height, width)).any(axis=-1)


def _whole(runs: Any) -> TypeGuard[list[int]]:
    return isinstance(runs, list) and all(type(run) is int and run >= 0 for run in runs)


def _corners(polygon: Any, height: int, width: int) -> list[float]:
    numbers = [_boxes.number(value) for value in polygon] if isinstance(polygon, list) else []
    given = [value for value in numbers if value is not None]
    if len(given) < _FEWEST or len(given) % 2 or len(given) < len(numbers):
        raise LossyBenchError(f"its outline {shown(polygon)} is no polygon: x, y of three corners or more")
    if max(map(abs, given)) > 2 * max(height, width):
        raise LossyBenchError(f"its outline {shown(polygon)} lies far outside of its picture of {width} x {height}")
    return given


def _decompressed(text: str) -> list[int] | None:
    """The run lengths in COCO's compressed text; None where it ends within a number.

    Each number is written in digits of 5 bits, the lowest first, with a sixth bit where another digit follows; from the
    third number on it is the difference to the one before the last (cocoapi, maskApi.c).
    """
    runs: list[int] = []
    number = shift = 0
    for letter in text:
        digit = ord(letter) - 48
        number |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            number -= 1 << shift
        runs.append(number + (runs[-2] if len(runs) > 2 else 0))
        number = shift = 0
    return None if shift else runs
