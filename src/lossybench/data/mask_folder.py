"""A user's images to segment, with a mask of the same name for each."""

from __future__ import annotations

import collections
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, field_validator, model_validator

from lossybench.data import _boxes, _images, _labels, _masks
from lossybench.data._files import Entry, Survey, UserFiles, shared_groups, subfolders
from lossybench.data._masks import MaskedEntry
from lossybench.data.dataset import SPLITS, Description, Finding, Source, lacking, listing, suffix_of
from lossybench.errors import LossyBenchError
from lossybench.masks import MOST_CLASSES, encode
from lossybench.settings import Place


class MaskFolder(UserFiles):
    """root/images/**/NAME.* and root/masks/**/NAME.png, or both folders in each of root/train, (val,) test.

    Splits may also be folders within both: root/images/train/NAME.*, root/masks/train/NAME.png. A mask is a lossless
    picture (PNG, TIFF, BMP, GIF, PGM) of the size of its image, with a number in each pixel: grey, or by a palette as
    in PASCAL VOC.
    """

    name = "mask_folder"
    medium = "image"
    kind = "segmentation"
    path: Place = Field(description="folder with the folders of images and masks, or with train, (val,) test of these")
    classes: list[str] | dict[str, int] = Field(
        description="names of the classes of the pixel values 0, 1, 2, ..., or the value of each: "
        "{background: 0, nucleus: 255}"
    )
    ignored: int | None = Field(
        255, ge=0, le=65535, description="value of pixels that nothing is counted of, unless a class has it"
    )
    images: str = Field("images", min_length=1, description="name of the folders of images, such as JPEGImages")
    masks: str = Field("masks", min_length=1, description="name of the folders of masks, such as SegmentationClass")
    image_suffix: str = Field("", description="what the names of images end in and those of masks do not: _leftImg8bit")
    mask_suffix: str = Field("", description="what the names of masks end in and those of images do not: _mask")
    bit_depth: int | None = _images.BIT_DEPTH

    @field_validator("classes")
    @classmethod
    def _two_or_more(cls, classes: list[str] | dict[str, int]) -> list[str] | dict[str, int]:
        if not 2 <= len(set(classes)) == len(classes) <= MOST_CLASSES:
            raise ValueError(f"give two to {MOST_CLASSES} classes, each with a name of its own")
        if isinstance(classes, dict) and len(set(classes.values())) < len(classes):
            raise ValueError("two classes have one value; give each its own")
        return classes

    @model_validator(mode="after")
    def _apart(self) -> MaskFolder:
        if self.images == self.masks and self.image_suffix == self.mask_suffix:
            raise ValueError("images and masks: give two folders, or image_suffix and mask_suffix that differ")
        return self

    def about(self, found: Survey) -> Description:
        return self.described(self.path, found.classes, found.entries)

    def sources(self) -> list[Source]:
        return [Source(self.path, tuple(dict.fromkeys((*_images.EXTENSIONS, *_masks.EXTENSIONS))))]

    def survey(self, seed: int) -> Survey:
        findings: list[Finding] = []
        subfolders(self.path, f"data set {self.name!r}")  # raises the error when it is no folder
        entries: list[Entry] = [one for part in self._parts(findings) for one in self._paired(*part, findings)]
        if entries and all(_split(entry.id) for entry in entries):
            entries = [dataclasses.replace(entry, split=_split(entry.id)) for entry in entries]
        entries = [dataclasses.replace(entry, groups=self.groups_of(entry.id)) for entry in entries]
        entries = self.with_splits(entries, seed) if entries else []
        counts = collections.Counter((entry.split, 0) for entry in entries)
        findings += shared_groups(entries)
        lacks = lacking(self.kind, [], counts, {entry.split for entry in entries} or {"test"})
        return Survey(list(self.classes), entries, findings + lacks)

    def _parts(self, findings: list[Finding]) -> list[tuple[str, Path]]:
        """The folders that hold images and masks, each with its split, or with "" where there is one alone."""
        if (self.path / self.images).is_dir():
            return [("", self.path)]
        of_split = {
            _labels.SPLIT_OF.get(folder.name.lower(), ""): folder
            for folder in listing(self.path, findings)[1]
            if (folder / self.images).is_dir()
        }
        found = [(split, of_split[split]) for split in SPLITS if split in of_split]
        if not found:
            raise LossyBenchError(
                f"{self.path}: has neither a folder {self.images!r} nor folders train and test with one each; the "
                "options images and masks say what they are called"
            )
        return found

    def _paired(self, split: str, folder: Path, findings: list[Finding]) -> list[MaskedEntry]:
        """The images in a `folder` of the layout that have masks."""
        images, masks = folder / self.images, folder / self.masks
        if not masks.is_dir():
            raise LossyBenchError(f"{folder}: has no folder {self.masks!r} beside {self.images!r}; masks lie there")
        mask_of = self._named(masks, self.mask_suffix, _masks.EXTENSIONS, findings)
        entries = []
        for name, image in self._named(images, self.image_suffix, _images.EXTENSIONS, findings).items():
            if mask := mask_of.pop(name, None):
                id = image.relative_to(self.path).as_posix()
                entries.append(MaskedEntry(id, image, split, {}, mask=mask))
                continue
            lossy = next(
                (p for p in masks.glob(f"{name}{self.mask_suffix}.*") if suffix_of(p) in (".jpg", ".jpeg")), None
            )
            text = f"has no mask {name}{self.mask_suffix}.png in {masks}"
            if lossy:
                text += f"; {lossy.name} is no mask, because JPEG changes the numbers of classes"
            findings.append(Finding("missing mask", self.fault, str(image), text, left_out=True))
        findings += [
            Finding(
                "mask of no image", "warning", str(mask), f"has no image in {images} and is left out", left_out=True
            )
            for mask in mask_of.values()
        ]
        return entries

    def _named(self, folder: Path, suffix: str, extensions: tuple[str, ...], told: list[Finding]) -> dict[str, Path]:
        """The files below a folder by their paths without extension and `suffix`; others are left out."""
        found: dict[str, Path] = {}
        for file in sorted(Source(folder).files(None, told)):
            stem = file.relative_to(folder).with_suffix("").as_posix()
            if suffix_of(file) not in extensions or not stem.endswith(suffix):
                continue
            name = stem.removesuffix(suffix)
            try:
                name.encode()
            except UnicodeEncodeError:
                text = "its name is not UTF-8 and cannot be stored; rename it"
                told.append(Finding("name not in UTF-8", self.fault, str(file), text, left_out=True))
                continue
            if name in found:
                text = f"differs from {found[name].name} by its extension alone; which of them is meant? It is left out"
                told.append(Finding("two files of one name", self.fault, str(file), text, left_out=True))
                continue
            found[name] = file
        return found

    def decode(self, entry: Entry) -> tuple[np.ndarray, float]:
        return _images.read(entry.path, self.bit_depth), 0.0

    def truth(self, entry: Entry, media: np.ndarray) -> dict[str, Any]:
        assert isinstance(entry, MaskedEntry)
        values = _masks.values_of(self.classes, self.ignored)
        return {"mask": encode(_masks.read(entry.mask, values, media.shape[1::-1], entry.path))}

    def look(self, entry: Entry) -> list[Finding]:
        return _boxes.look(entry.path, None, self.bit_depth)


def _split(id: str) -> str:
    """The split that the folder below `images` names, in an item's id; "" where it names none."""
    parts = id.split("/")
    return _labels.SPLIT_OF.get(parts[1].lower(), "") if len(parts) > 2 else ""
