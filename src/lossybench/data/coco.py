"""A user's images to detect objects in, annotated in COCO's JSON (https://cocodataset.org/#format-data)."""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import posixpath
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from pydantic import Field, model_validator

from lossybench.data import _boxes, _images
from lossybench.data._files import Entry, Survey, UserFiles
from lossybench.data.dataset import SPLITS, Box, Description, Finding, Severity, Source, needed
from lossybench.errors import LossyBenchError, shown
from lossybench.settings import Place

# What would break a line, or cannot be written as UTF-8.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


_LONGEST = 1000  # letters of a name
Id = int | str


class Coco(UserFiles):
    """One annotation file, or one for each split; val is cut from train where it is missing.

    Boxes are clipped to the image; where there is no bbox, it is that of the polygons. Crowds (`iscrowd`) are left out,
    and counted on the card. Classes are in the order of their category ids. Images without boxes are kept: they show
    what is no object. An image with an annotation that cannot be understood is a fault, and so is a box of no area.
    """

    name = "coco"
    medium = "image"
    kind = "detection"
    annotations: Place | dict[str, Place] = Field(description="COCO JSON file, or one each for train, (val,) test")
    images: Place | dict[str, Place] = Field(description="folder that file_name counts from, or one for each split")
    bit_depth: int | None = _images.BIT_DEPTH

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
        picture = _boxes.read(entry.path, entry.size, self.bit_depth)
        height, width, _ = picture.shape
        for box in entry.boxes:
            if box.x1 > width or box.y1 > height:  # where the JSON states the size, boxes are clipped to it
                raise LossyBenchError(
                    f"{entry.path}: is {width} x {height} pixels, and a box reaches to {box.x1:g}, {box.y1:g}; state "
                    "width and height of the pictures in the JSON, and boxes are clipped to them"
                )
        return picture, 0.0

    def look(self, entry: Entry) -> list[Finding]:
        return _boxes.look(entry.path, entry.size, self.bit_depth)

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
                raise LossyBenchError(f"data set {self.name!r}: images: folder {folder} does not exist")
            found = parse(file, folder, split, self.fault)
            if classes and found.classes != classes:
                raise LossyBenchError(f"{file}: its categories {found.classes} differ from the other splits' {classes}")
            classes = found.classes
            findings += found.findings
            entries += [dataclasses.replace(entry, groups=self.groups_of(entry.id)) for entry in found.entries]
        entries = self.with_splits(entries, seed)
        splits = {entry.split for entry in entries}
        for split in needed(splits | set(files) - {""}):
            if split not in splits:
                text = f"no images in split {split!r}; add images, groups or a file"
                findings.append(Finding("empty split", "error", f"data set {self.name!r}", text))
        return Survey(classes, entries, findings + _boxes.of_sets(self.name, classes, entries))


class _Picture(NamedTuple):
    """An entry of `images`. where: its place in the JSON. size: width and height; None where it states none."""

    where: str
    name: str
    size: tuple[int, int] | None


class Files:
    """The files below a `folder`, where file_name may write backslashes, or another normal form of Unicode."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._named: dict[str, list[str]] | None = None

    def find(self, name: str) -> str:
        """The path below the folder of the file that `name` means; where there is none, `name` as a plain path."""
        forms = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
        for written in (name, name.replace("\\", "/"), *forms):
            if (path := _below(written)) and self.has(path):
                return path
        return _below(name)

    def has(self, path: str) -> bool:
        """Whether there is such a file. Names that are too long for a file are no error here."""
        return os.path.isfile(self.folder / path)  # noqa: PTH113

    def hint(self, name: str) -> str:
        """Which file may be meant by a `name` that is not there, in words."""
        if self._named is None:
            self._named = collections.defaultdict(list)
            for file in sorted(Source(self.folder).files()):
                self._named[_loosely(file.name)].append(file.relative_to(self.folder).as_posix())
        near = self._named.get(_loosely(name))
        return f"; there is {shown(near[0])}" if near else ""


def _loosely(name: str) -> str:
    return unicodedata.normalize("NFC", name.replace("\\", "/").rpartition("/")[2]).casefold()


def _below(name: str) -> str:
    """`name` as a plain path below some folder; "" where it leads out of it."""
    path = posixpath.normpath(name)
    return "" if path.startswith("/") or path.split("/")[0] in (".", "..") else path


def parse(file: Path, folder: Path, split: str, fault: Severity) -> Survey:
    """The classes, the entries (of no groups) whose files are there, and what is odd, by the COCO JSON `file`.

    folder: where its images lie. split: of all entries; "" where it is still to be assigned. fault: how severe a fault
    of one image or annotation is; an image whose boxes are not all known is left out. Raises LossyBenchError, naming
    the place, for what is no COCO JSON, and for categories that cannot be told apart.
    """
    content = load(file)
    _same_type(file, content, ("images", "id"), ("annotations", "image_id"))
    _same_type(file, content, ("categories", "id"), ("annotations", "category_id"))
    classes, label_of = categories_of(file, content["categories"])
    there = Files(folder)
    pictures, findings = pictures_of(file, content["images"], there, fault)
    boxes, spoilt, found = _annotated(file, content["annotations"], pictures, label_of, fault)
    findings += found
    unsized = sum(picture is not None and picture.size is None for picture in pictures.values())
    if unsized:
        text = f"{unsized} images state no width and height, so nothing tells whether boxes are of these very files"
        findings.append(Finding("images without a size", "note", str(file), text))
    entries = []
    for id, picture in pictures.items():
        if picture is None or id in spoilt:
            continue
        if there.has(picture.name):
            key = f"{split}/{picture.name}" if split else picture.name
            entries.append(Entry(key, folder / picture.name, split, {}, boxes=boxes.get(id, ()), size=picture.size))
        else:
            text = f"no such image{there.hint(picture.name)}; `images` is the folder that file_name counts from"
            findings.append(Finding("missing file", fault, str(folder / picture.name), text, left_out=True))
    return Survey(classes, entries, findings)


def load(file: Path, outlines: bool = False) -> dict[str, list[Any]]:
    """The lists that a COCO JSON holds. What is in them may be anything. outlines: whether these are kept."""
    lists = ("images", "annotations", "categories")
    try:
        # Outlines are most of such a file, and boxes need none. Dropped at once, they never lie in memory all together.
        content = json.loads(file.read_bytes(), object_pairs_hook=_once if outlines else _without_outline)
    except OSError as error:
        raise LossyBenchError(f"data set 'coco': annotations: {file}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise LossyBenchError(f"{file}: not JSON ({error})") from None
    for key in lists:
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise LossyBenchError(f"{file}: has no list {key!r}; COCO's instances files have {', '.join(lists)}")
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entry = dict(pairs)
    if len(entry) < len(pairs):
        [(twice, _)] = collections.Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"an object has the key {shown(twice)} twice")
    return entry


def _without_outline(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entry = _once(pairs)
    if entry.get("bbox") is not None:
        entry.pop("segmentation", None)
    return entry


def _same_type(file: Path, content: dict[str, list[Any]], *places: tuple[str, str]) -> None:
    """Raises LossyBenchError where ids that are compared, by lists and keys, are numbers here and texts there."""
    first: dict[bool, str] = {}
    for listed, key in places:
        for number, entry in enumerate(content[listed]):
            id = entry.get(key) if isinstance(entry, dict) else None
            if isinstance(id, str) not in first and isinstance(id, str | int | float):
                first[isinstance(id, str)] = f"{listed}[{number}] has the {key} {shown(id)}"
    if len(first) == 2:
        raise LossyBenchError(f"{file}: {first[False]}, a number, and {first[True]}, a text; write all in one way")


def categories_of(file: Path, categories: list[Any]) -> tuple[list[str], dict[Id, int]]:
    """The names of the classes, in the order of their ids, and the label of each id."""
    name_of: dict[Any, str] = {}
    for number, category in enumerate(categories):
        try:
            id, name = _id(category, "id"), _name(category, "name")
            if id in name_of:
                raise LossyBenchError(f"its id {id!r} is that of {name_of[id]!r} already; number them anew")
            if name in name_of.values():
                raise LossyBenchError(f"its name {name!r} is that of another id already; make them one")
        except LossyBenchError as error:
            raise LossyBenchError(f"{file}: categories[{number}]: {error}") from None
        name_of[id] = name
    if not name_of:
        raise LossyBenchError(f"{file}: has no categories")
    ids = sorted(name_of)
    return [name_of[id] for id in ids], {id: label for label, id in enumerate(ids)}


def pictures_of(
    file: Path, images: list[Any], there: Files, fault: Severity
) -> tuple[dict[Id, _Picture | None], list[Finding]]:
    """What `images` states, by id, and the faults. None stands for what is left out for its fault."""
    pictures: dict[Id, _Picture | None] = {}
    findings: list[Finding] = []
    id_of: dict[str, Id] = {}

    def refuse(picture: _Picture | None, text: str) -> None:
        if picture:
            findings.append(Finding("wrong image entry", fault, picture.where, text, left_out=True))

    for number, image in enumerate(images):
        where = f"{file}: images[{number}]"
        try:
            id = _id(image, "id")
            # Of two images that share an id or a file, nobody knows whose boxes are whose: both are left out.
            if id in pictures:
                text = f"its id {id!r} is that of two images; number them anew"
                refuse(pictures[id], text)
                pictures[id] = None
                raise LossyBenchError(text)
            pictures[id] = None
            picture = _Picture(where, there.find(_file_name(image)), _size(image))
            other = id_of.setdefault(picture.name, id)
            if other != id:
                text = f"its file {picture.name!r} is that of two ids, {other!r} and {id!r}; list it once"
                refuse(pictures[other], text)
                pictures[other] = None
                raise LossyBenchError(text)
            pictures[id] = picture
        except LossyBenchError as error:
            findings.append(Finding("wrong image entry", fault, where, str(error), left_out=True))
    return pictures, findings


def _annotated(
    file: Path,
    annotations: list[Any],
    pictures: Mapping[Id, _Picture | None],
    label_of: Mapping[Id, int],
    fault: Severity,
) -> tuple[dict[Any, tuple[Box, ...]], set[Id], list[Finding]]:
    """The boxes of each image, the images whose boxes are not all known, and what is odd."""
    stated = [shown(note.get("id")) if isinstance(note, dict) else "" for note in annotations]
    ids = collections.Counter(stated)

    def name(number: int) -> str:
        unique = ids[stated[number]] == 1 and stated[number] not in ("", "None")
        return f"annotation {stated[number]}" if unique else f"annotations[{number}]"

    boxes = _boxes.Boxes(file, name, fault)
    spoilt: set[Id] = set()
    findings = []
    crowds = outlines = 0
    for number, note in enumerate(annotations):
        id, kind, text = None, "empty box", ""
        try:
            id = one_of(note, "image_id", pictures, "images")
            picture = pictures[id]
            if picture is None:
                continue
            label = label_of[one_of(note, "category_id", label_of, "categories")]
            if is_crowd(note):
                crowds += 1
                continue
            sides = note.get("bbox")
            if sides is None:
                sides = _around(note.get("segmentation"))
                outlines += 1
            if not boxes.add(number, id, sides, picture.size, label):
                text = f"its bbox {shown(sides)} covers nothing of the image"
        except LossyBenchError as error:
            text, kind = str(error), "annotation of no image" if id is None else "image with a wrong annotation"
            if id is not None:
                spoilt.add(id)
        if text:
            findings.append(Finding(kind, fault, f"{file}: {name(number)}", text, left_out=True))
    if crowds:
        findings.append(Finding("crowds", "note", str(file), f"{crowds} boxes of crowds are left out", left_out=True))
    if outlines:
        text = f"{outlines} annotations have no bbox; it is made from their polygons"
        findings.append(Finding("boxes of polygons", "note", str(file), text))
    shared = [id for id, count in ids.items() if count > 1 and id not in ("", "None")]
    if shared:
        text = f"{len(shared)} ids are each of several annotations, such as {shared[0]}; were files merged?"
        findings.append(Finding("shared annotation ids", "warning", str(file), text))
    distinct = boxes.distinct()
    return distinct, spoilt, findings + boxes.findings()


def _field(entry: Any, key: str) -> Any:
    if not isinstance(entry, dict):
        raise LossyBenchError(f"{shown(entry)} is no object with keys")
    if key not in entry:
        raise LossyBenchError(f"has no {key!r}")
    return entry[key]


def _id(entry: Any, key: str) -> Id:
    """A text, or a whole number, which some programs write as 1.0."""
    id = _field(entry, key)
    number = _boxes.number(id)
    if isinstance(id, str):
        return id
    if number is None or number != int(number):
        raise LossyBenchError(f"its {key} {shown(id)} is neither a whole number nor a text")
    return int(id)


def one_of(note: Any, key: str, known: Mapping[Id, Any], listed: str) -> Id:
    """The id that a `note` has under `key`. Raises LossyBenchError where it is not `known`; listed: what knows it."""
    id = _id(note, key)
    if id not in known:
        raise LossyBenchError(f"its {key} {shown(id)} is not among the {listed}")
    return id


def _name(entry: Any, key: str) -> str:
    """A text of one line that can be written as UTF-8."""
    name = _field(entry, key)
    if not isinstance(name, str) or not name.strip() or _UNFIT.search(name) or len(name) > _LONGEST:
        raise LossyBenchError(f"its {key} {shown(name)} is no text of one line, of up to {_LONGEST} letters")
    return name


def _file_name(image: Any) -> str:
    """The path of the file below the folder of images."""
    name = _name(image, "file_name")
    if not _below(name):
        raise LossyBenchError(f"its file_name {shown(name)} is no path below the folder of images")
    return name


def _size(image: dict[str, Any]) -> tuple[int, int] | None:
    stated = [image.get(side) for side in ("width", "height")]
    if stated == [None, None]:
        return None
    width, height = (_boxes.number(side) or 0.5 for side in stated)
    if not (1 <= width < 2**31 and 1 <= height < 2**31) or (width, height) != (int(width), int(height)):
        raise LossyBenchError(f"its width {shown(stated[0])} and height {shown(stated[1])} are no size")
    return int(width), int(height)


def is_crowd(note: dict[str, Any]) -> bool:
    """Whether an annotation is of a crowd. Raises LossyBenchError where it does not say so by 0 or 1."""
    crowd = note.get("iscrowd")
    if crowd not in (None, 0, 1):
        raise LossyBenchError(f"its iscrowd {shown(crowd)} is neither 0 nor 1")
    return bool(crowd)


def _around(outline: Any) -> list[float]:
    """The box [x, y, width, height] around polygons [[x, y, x, y, ...], ...]."""
    points: list[float] = []
    for polygon in outline if isinstance(outline, list) else [None]:
        numbers = [_boxes.number(value) for value in polygon] if isinstance(polygon, list) else []
        given = [value for value in numbers if value is not None]
        if len(given) < 6 or len(given) % 2 or len(given) < len(numbers):
            raise LossyBenchError("has no 'bbox', and no polygons to make one from")
        points += given
    if not points:
        raise LossyBenchError("has no 'bbox', and no polygons to make one from")
    x, y = points[::2], points[1::2]
    return [min(x), min(y), max(x) - min(x), max(y) - min(y)]
