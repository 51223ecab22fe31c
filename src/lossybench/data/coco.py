"""A user's images to detect objects in, annotated in COCO's JSON (https://cocodataset.org/#format-data)."""

from __future__ import annotations

import collections
import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from pydantic import Field, model_validator

from lossybench.data import _images
from lossybench.data._files import Entry, UserFiles
from lossybench.data.dataset import SPLITS, Box, Description, Item, Source, needed
from lossybench.errors import LossyBenchError
from lossybench.settings import Place


class Coco(UserFiles):
    """One annotation file, or one for each split; val is cut from train where it is missing.

    Boxes are clipped to the image. Crowds (`iscrowd`) are left out, and counted on the card. Classes are in the order
    of their category ids. Images without boxes are kept: they show what is no object.
    """

    name = "coco"
    medium = "image"
    kind = "detection"
    annotations: Place | dict[str, Place] = Field(description="COCO JSON file, or one each for train, (val,) test")
    images: Place | dict[str, Place] = Field(description="folder that file_name counts from, or one for each split")

    @model_validator(mode="after")
    def _matching(self) -> Coco:
        if isinstance(self.annotations, dict):
            if set(self.annotations) not in ({"test"}, {"train", "test"}, set(SPLITS)):
                raise ValueError("annotations: give one file, or one each for train, test and perhaps val, or for test")
            if isinstance(self.images, dict) and set(self.images) != set(self.annotations):
                raise ValueError("images: give one folder, or one for each split of annotations")
        elif isinstance(self.images, dict):
            raise ValueError("images: give one folder, as there is one annotation file")
        return self

    def describe(self, seed: int) -> Description:
        classes, entries, crowds, _ = self._entries(seed)
        folder = self.images if isinstance(self.images, Path) else next(iter(self.images.values()))
        about = self.described(folder, classes, entries)
        if crowds:
            about.card["crowds"] = f"{crowds} boxes of crowds left out"
        return about

    def items(self, seed: int, skipped: list[str]) -> Iterator[Item]:
        _, entries, _, dropped = self._entries(seed)
        skipped.extend(dropped)
        for item in self.read(entries, lambda entry: (_images.read(entry.path), 0.0), skipped):
            height, width, _ = item.media.shape
            if any(box.x1 > width or box.y1 > height for box in item.boxes):
                raise LossyBenchError(
                    f"image {item.id!r} is {width} x {height} pixels, smaller than the annotations say; these "
                    "must be of this very file"
                )
            yield item

    def sources(self) -> list[Source]:
        """See Dataset. Only the long JSON tells which pictures are read, so all count that Pillow knows by name."""
        files, folders = (list(x.values()) if isinstance(x, dict) else [x] for x in (self.annotations, self.images))
        suffixes = ("", *Image.registered_extensions())
        return [Source(file) for file in files] + [Source(folder, suffixes) for folder in dict.fromkeys(folders)]

    def _entries(self, seed: int) -> tuple[list[str], list[Entry], int, list[str]]:
        """Class names, all entries in their splits, the number of crowds, and which boxes were dropped as broken."""
        files = self.annotations if isinstance(self.annotations, dict) else {"": self.annotations}
        classes: list[str] = []
        entries: list[Entry] = []
        crowds = 0
        dropped: list[str] = []
        for split, file in files.items():
            folder = self.images[split] if isinstance(self.images, dict) else self.images
            if not folder.is_dir():
                raise LossyBenchError(f"data set 'coco': images: folder {folder} does not exist")
            titles, found, found_crowds, found_dropped = parse(file, folder, split)
            if classes and titles != classes:
                raise LossyBenchError(f"{file}: its categories {titles} differ from the other splits' {classes}")
            classes = titles
            entries += [dataclasses.replace(entry, group=self.group_of(entry.id)) for entry in found]
            crowds += found_crowds
            dropped += found_dropped
        if dropped and self.on_error == "stop":
            raise LossyBenchError(f"{dropped[0]}; mend or remove it, or set on_error: skip")
        missing = [entry.path for entry in entries if not entry.path.is_file()]
        if missing and self.on_error == "stop":
            raise LossyBenchError(
                f"{missing[0]}: no such image ({len(missing)} of {len(entries)} are missing); set `images` to the "
                "folder that file_name counts from, or set on_error: skip"
            )
        entries = self.with_splits(entries, seed)
        splits = {entry.split for entry in entries}
        for split in needed(splits):
            if split not in splits:
                raise LossyBenchError(f"data set 'coco': no images in split {split!r}; add images, groups or a file")
        return classes, entries, crowds, dropped


def parse(file: Path, folder: Path, split: str) -> tuple[list[str], list[Entry], int, list[str]]:
    """Class names, entries (each its own group), the number of crowds, and which boxes were dropped as broken.

    file: the COCO JSON. folder: where its images lie. split: of all entries; "" where it is still to be assigned.
    Raises LossyBenchError, naming the place, for what is no COCO JSON.
    """
    content = _load(file)
    categories = sorted(content["categories"], key=lambda category: category["id"])
    label_of = {category["id"]: label for label, category in enumerate(categories)}
    sizes = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
    boxes: dict[Any, list[Box]] = collections.defaultdict(list)
    crowds = 0
    dropped: list[str] = []
    for annotation in content["annotations"]:
        where = f"{file}: annotation {annotation['id']}"
        if annotation["image_id"] not in sizes or annotation["category_id"] not in label_of:
            raise LossyBenchError(f"{where}: its image_id or category_id is not among the images or categories")
        if annotation.get("iscrowd"):
            crowds += 1
            continue
        box = _clip(annotation["bbox"], *sizes[annotation["image_id"]], label_of[annotation["category_id"]])
        if box:
            boxes[annotation["image_id"]].append(box)
        else:
            dropped.append(f"{where}: its bbox {annotation['bbox']} covers nothing of the image")
    entries = []
    for image in content["images"]:
        id = f"{split}/{image['file_name']}" if split else image["file_name"]
        path = folder / image["file_name"]
        entries.append(Entry(id, path, split, id, boxes=tuple(boxes[image["id"]])))
    return [category["name"] for category in categories], entries, crowds, dropped


def _load(file: Path) -> dict[str, Any]:
    """The JSON, with every key that is used known to be there."""
    needed = {
        "images": ("id", "file_name", "width", "height"),
        "annotations": ("id", "image_id", "category_id", "bbox"),
        "categories": ("id", "name"),
    }
    try:
        # Outlines are most of such a file and not used. Dropped at once, they never lie in memory all together.
        content = json.loads(file.read_bytes(), object_hook=_without_outline)
    except OSError as error:
        raise LossyBenchError(f"data set 'coco': annotations: {file}: {error.strerror}") from None
    except ValueError as error:
        raise LossyBenchError(f"{file}: not JSON ({error})") from None
    for key, fields in needed.items():
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise LossyBenchError(f"{file}: has no list {key!r}; COCO's instances files have {', '.join(needed)}")
        for number, entry in enumerate(content[key]):
            for field in fields:
                if not isinstance(entry, dict) or field not in entry:
                    raise LossyBenchError(f"{file}: {key}[{number}] has no {field!r}")
    if not content["categories"]:
        raise LossyBenchError(f"{file}: has no categories")
    return content


def _without_outline(entry: dict[str, Any]) -> dict[str, Any]:
    entry.pop("segmentation", None)
    return entry


def _clip(bbox: Any, width: int, height: int, label: int) -> Box | None:
    """The part of a COCO box [x, y, width, height] that lies on the image; None when there is none."""
    try:
        x, y, wide, high = (float(side) for side in bbox)
    except (TypeError, ValueError):
        return None
    x0, y0, x1, y1 = max(x, 0.0), max(y, 0.0), min(x + wide, width), min(y + high, height)
    finite = all(map(math.isfinite, (x, y, wide, high)))
    return Box(x0, y0, x1, y1, label) if finite and x0 < x1 and y0 < y1 else None
