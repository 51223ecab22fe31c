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
SPLITS = ("train", "val", "test")


def needed(splits: Iterable[str]) -> tuple[str, ...]:
    """The splits that a data set must have which has these: test alone suffices where nothing is trained."""
    return SPLITS if {"train", "val"} & set(splits) else ("test",)


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something about a data set that its user should know before a study starts.

    kind: what sort of thing, in two or three words. severity: an error makes the study impossible, a warning its
    results doubtful; a note is worth knowing. item: the file or class that it is about.
    """

    kind: str
    severity: Literal["error", "warning", "note"]
    item: str
    text: str = ""


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
    """One image, or clip of audio or video, with its label, or boxes and labels.

    group: what items may share (speaker, photograph, track). rate: Hz for audio, frames/s for video, 0 for images.
    label: index into the classes; -1 in detection.
    """

    id: str
    split: str
    group: str
    media: np.ndarray
    rate: float = 0.0
    label: int = -1
    boxes: tuple[Box, ...] = ()


@dataclasses.dataclass(frozen=True)
class Description:
    """What is known of a data set before its media are read.

    card: title, source, licence, citation, prior_compression. counts: items a split; None where only reading tells.
    rate: Hz that all audio has; 0 where only reading tells. compressed_before: lossy codings that the media went
    through before, in order, as far as known.
    """

    medium: Medium
    kind: Kind
    classes: list[str]
    card: dict[str, str]
    counts: dict[str, int] | None
    rate: float = 0.0
    compressed_before: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Source:
    """What an adapter reads from: a file, or the files below a folder that have these lower-case suffixes, or all."""

    path: Path
    suffixes: tuple[str, ...] = ()

    def files(self, without: Path | None = None) -> Iterator[Path]:
        """The files, in no order; none that is hidden or lies in a hidden folder or in the folder `without`.

        Links to folders are followed, except to one that the link itself lies in.
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

    @abc.abstractmethod
    def describe(self, seed: int) -> Description:
        """Say what it is without reading any media. Raises LossyBenchError when a file or folder is missing."""

    def sources(self) -> list[Source]:
        """The user's files that it reads; none for what is generated, or downloaded and checked.

        Raises LossyBenchError when they cannot be named, since a file or folder is missing.
        """
        return []

    @abc.abstractmethod
    def items(self, seed: int, skipped: list[str]) -> Iterator[Item]:
        """Yield train, then val, then test items, one at a time; the same seed yields the same items.

        What `on_error: skip` left out is appended to `skipped`, each with its reason.
        Raises LossyBenchError for an item that cannot be read.
        """
