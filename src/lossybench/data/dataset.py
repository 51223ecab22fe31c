"""What every data adapter is: one class in one file named after it, found by that name.

Media are numpy arrays: images uint8 (H, W, 3) RGB; video uint8 (frames, H, W, 3) RGB; audio int16 (samples,) mono.
"""

from __future__ import annotations

import abc
import dataclasses
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pydantic

Kind = Literal["classification", "detection"]
Medium = Literal["image", "audio", "video"]
Severity = Literal["error", "warning", "note"]
SPLITS = ("train", "val", "test")


def needed(splits: Iterable[str]) -> tuple[str, ...]:
    """The splits that must have items in a data set that has these `splits`: test alone where nothing is trained."""
    return SPLITS if {"train", "val"} & set(splits) else ("test",)


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something about a data set that its user should know before a study starts.

    kind: what sort of thing it is, in two or three words. severity: an error makes the study impossible, a warning
    makes its results doubtful, and a note is worth knowing. item: the file or class that the finding is about.
    left_out: what `item` names is not among the items of the data set; the card counts what is left out.
    """

    kind: str
    severity: Severity
    item: str
    text: str = ""
    left_out: bool = False

    def __str__(self) -> str:
        return f"{self.item}: {self.text}"


@dataclasses.dataclass(frozen=True)
class Box:
    """Where an object is: pixels of the item, x0 < x1 <= width, y0 < y1 <= height; frame 0 for images."""

    x0: float
    y0: float
    x1: float
    y1: float
    label: int
    frame: int = 0


@dataclasses.dataclass(frozen=True)
class Item:
    """One image, or one clip of audio or video, with its label, or with its boxes and their labels.

    group: what items may share, such as a speaker, photograph or track. sampling_rate: Hz of audio, frames/s of video,
    0 for images. label: index into the classes; -1 in detection.
    """

    id: str
    split: str
    group: str
    media: np.ndarray
    sampling_rate: float = 0.0
    label: int = -1
    boxes: tuple[Box, ...] = ()


@dataclasses.dataclass(frozen=True)
class Description:
    """What is known of a data set before its media are read.

    card: title, source, licence, citation and prior_compression. counts: the number of items in each split; None where
    only reading tells. sampling_rate: Hz that all audio has; 0 where only reading tells. compressed_before: the lossy
    codings that the media went through before, in order, as far as they are known.
    """

    medium: Medium
    kind: Kind
    classes: list[str]
    card: dict[str, str]
    counts: dict[str, int] | None
    sampling_rate: float = 0.0
    compressed_before: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Source:
    """What an adapter reads from: a file, or the files below a folder that have one of the lower-case `suffixes`.

    Without suffixes, all files below the folder count.
    """

    path: Path
    suffixes: tuple[str, ...] = ()

    def files(self, without: Path | None = None) -> Iterator[Path]:
        """The files, in no order. Hidden files and all in hidden folders or in the folder `without` are left out.

        Links to folders are followed, except for a link to a folder that the link itself lies in.
        """
        if self.path.is_file():
            yield self.path
        left_out = without and os.path.realpath(without)
        for at, folders, names in os.walk(self.path, followlinks=True):
            here, real = os.path.realpath(at), {name: os.path.realpath(Path(at, name)) for name in folders}
            circles = {name for name, to in real.items() if to == left_out or f"{here}/".startswith(f"{to}/")}
            folders[:] = [name for name in folders if name[0] != "." and name not in circles]
            paths = (Path(at, name) for name in names if name[0] != ".")
            yield from (path for path in paths if not self.suffixes or path.suffix.lower() in self.suffixes)


class Dataset(pydantic.BaseModel, abc.ABC):
    """A source of items. The fields of a subclass are the options that a study may set."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)
    name: ClassVar[str]
    medium: ClassVar[Medium]
    kind: ClassVar[Kind]

    @abc.abstractmethod
    def describe(self, seed: int) -> Description:
        """What the data set is, without reading any media. seed: the study's, which splits are made from.

        Raises LossyBenchError when a file or folder is missing.
        """

    def sources(self) -> list[Source]:
        """The user's files that the adapter reads; none where items are generated, or downloaded and checked.

        Raises LossyBenchError when the files cannot be named because a file or folder is missing.
        """
        return []

    @abc.abstractmethod
    def items(self, seed: int, left_out: list[Finding]) -> Iterator[Item]:
        """Yield the items of train, then val, then test, one at a time; the same seed yields the same items.

        left_out: a finding for each thing that is left out, whatever the reason, is appended to this list.
        Raises LossyBenchError for an item that cannot be read.
        """
