"""A user's images to detect objects in, annotated in COCO's JSON (https://cocodataset.org/#format-data)."""

from __future__ import annotations

import collections
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import Field, model_validator

from lossybench.data import _images
from lossybench.data._files import Entry, Survey, UserFiles
from lossybench.data.dataset import SPLITS, Box, Description, Finding, Source, needed
from lossybench.errors import LossyBenchError


class Coco(UserFiles):
    """One annotation file, or one for each split; val is cut from train where it is missing.

    Boxes are clipped to the image. Crowds (`iscrowd`) are left out, and counted on the card. Classes are in the order
    of their category ids. Images without boxes are kept: they show what is no object.
    """

    name = "coco"
    medium = "image"
    kind = "detection"
    annotations: Path | dict[str, Path] = Field(description="COCO JSON file, or one each for train, (val,) test")
    images: Path | dict[str, Path] = Field(description="folder that file_name counts from, or one for each split")

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

    def about(self, found: Survey) -> Description:
        folder = self.images if isinstance(self.images, Path) else next(iter(self.images.values()))
        return self.described(folder, found.classes, found.entries)

    def decode(self, entry: Entry) -> tuple[np.ndarray, float]:
        picture = _images.read(entry.path)
        height, width, _ = picture.shape
        if any(box.x1 > width or box.y1 > height for box in entry.boxes):
            raise LossyBenchError(
                f"{entry.path}: is {width} x {height} pixels, smaller than the annotations say; these must be of this "
                "very file"
            )
        return picture, 0.0

    def look(self, entry: Entry) -> list[Finding]:
        return _images.look(entry.path)

    def sources(self) -> list[Source]:
        """See Dataset. Only the long JSON tells which pictures are read, so all count that Pillow knows by name."""
        files, folders = (list(x.values()) if isinstance(x, dict) else [x] for x in (self.annotations, self.images))
        suffixes = ("", *Image.registered_extensions())
        return [Source(file) for file in files] + [Source(folder, suffixes) for folder in dict.fromkeys(folders)]

    def survey(self, seed: int) -> Survey:
        files = self.annotations if isinstance(self.annotations, dict) else {"": self.annotations}
        classes: list[str] = []
        entries: list[Entry] = []
        findings: list[Finding] = []
        for split, file in files.items():
            folder = self.images[split] if isinstance(self.images, dict) else self.images
            if not folder.is_dir():
                raise LossyBenchError(f"data set 'coco': images: folder {folder} does not exist")
            titles, found, crowds, dropped = parse(file, folder, split)
            if classes and titles != classes:
                raise LossyBenchError(f"{file}: its categories {titles} differ from the other splits' {classes}")
            classes = titles
            entries += [dataclasses.replace(entry, group=self.group_of(entry.id)) for entry in found]
            if crowds:
                text = f"{crowds} boxes of crowds are left out"
                findings.append(Finding("crowds", "note", str(file), text, left_out=True))
            findings += [
                Finding("empty box", self.fault, where, text, left_out=True)
                for where, text in (one.rsplit(": ", 1) for one in dropped)
            ]
        text = "no such image; `images` is the folder that file_name counts from"
        findings += [
            Finding("missing file", self.fault, str(entry.path), text, left_out=True)
            for entry in entries
            if not entry.path.is_file()
        ]
        entries = self.with_splits([entry for entry in entries if entry.path.is_file()], seed)
        splits = {entry.split for entry in entries}
        for split in needed(splits):
            if split not in splits:
                text = f"no images in split {split!r}; add images, groups or a file"
                findings.append(Finding("empty split", "error", "data set 'coco'", text))
        return Survey(classes, entries, findings)


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
