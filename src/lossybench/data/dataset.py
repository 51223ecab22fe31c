"""What every data adapter is: one class in one file named after it, found by that name.

Media are numpy arrays: images uint8 (H, W, 3) RGB; video uint8 (frames, H, W, 3) RGB; audio int16 (samples,) mono.
"""

from __future__ import annotations

import abc
import collections
import dataclasses
import os
import re
import statistics
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from lossybench import kinds
from lossybench.errors import visible
from lossybench.settings import Settings

Medium = Literal["image", "audio", "video"]
Severity = Literal["error", "warning", "note"]
SPLITS = ("train", "val", "test")
FACTOR = re.compile(r"[a-z][a-z0-9_]*")  # what the names of factors are like
# What file managers, servers, archivers and version control leave among data, in lower case; hidden names besides.
NO_DATA = {"@eadir", "@recycle", "#recycle", "#snapshot", "__macosx", "__pycache__", "$recycle.bin", "recycler",
           "system volume information", "found.000", "lost+found", "cvs", "thumbs.db", "ehthumbs.db", "desktop.ini",
           "icon\r"}  # fmt: skip


def needed(splits: Iterable[str]) -> tuple[str, ...]:
    """The splits that must have items in a data set that has these `splits`: test alone where nothing is trained."""
    return SPLITS if {"train", "val"} & set(splits) else ("test",)


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something about a data set that its user should know before a study starts.

    kind: what sort of thing it is, in two or three words. severity: an error makes the study impossible, a warning
    makes its results doubtful, and a note is worth knowing. item: the file or class that the finding is about.
    left_out: what `item` names is not among the items of the data set; the card counts what is left out.
    `item` and `text` are kept as `shown` shows them, since names of files may hold anything.
    """

    kind: str
    severity: Severity
    item: str
    text: str = ""
    left_out: bool = False

    def __post_init__(self) -> None:
        for name in ("item", "text"):
            object.__setattr__(self, name, visible(getattr(self, name)))

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
    """One image, or one clip of audio or video, with what is true of it: its label, its boxes, or what its kind of task
    asks for in `truth` (`TaskKind.stored`).

    groups: what the item shares with others, as far as is known: factor -> name of the group, such as {"voice": "f1"}
    or {"digit": "mnist-0003", "photograph": "china"}. All items of a data set have the same factors in the same order;
    without any, items are taken as independent. sampling_rate: Hz of audio, frames/s of video, 0 for images. label:
    index into the classes; -1 where there is none. truth: the columns that the kind of task asks for, by name.
    file_bytes: of the files that hold the item and nothing else; None for what was generated or cut out of a file.
    """

    id: str
    split: str
    groups: Mapping[str, str]
    media: np.ndarray
    sampling_rate: float = 0.0
    label: int = -1
    boxes: tuple[Box, ...] = ()
    file_bytes: int | None = None
    truth: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Description:
    """What is known of a data set before its media are read.

    card: title, source, licence, citation and prior_compression. counts: the number of items in each split; None where
    only reading tells. sampling_rate: Hz that all audio has; 0 where only reading tells. compressed_before: the lossy
    codings that the media went through before, in order, as far as they are known. conditions: where the classes are
    codecs and levels, these, in the order of the classes; None for any level. labelled: whether anything is known to be
    true of the items.
    """

    medium: Medium
    kind: str
    classes: list[str]
    card: dict[str, str]
    counts: dict[str, int] | None
    sampling_rate: float = 0.0
    compressed_before: tuple[str, ...] = ()
    conditions: tuple[tuple[str, float | None], ...] = ()
    labelled: bool = True


class Look(NamedTuple):
    """The test items that a look adds: in the order of looks those from number `start` up to `stop`, counted from 0.

    The items of train and val come with the first look, whose `start` is 0. most: the test items of the largest look.
    """

    start: int
    stop: int
    most: int = 0


def lacking(
    kind: str, classes: list[str], counts: Mapping[tuple[str, int], int], splits: Iterable[str], looked: bool = False
) -> list[Finding]:
    """An error for each split that must have items and has none, and for each class missing in the train or test split.

    kind: of task, which says whether all classes have to be there. counts: the number of items of each split and label.
    splits: those that there are, or were meant to be. looked: the
    test items are those of a look alone, which may lack classes that the split has.
    """
    present, findings = {split for (split, _), count in counts.items() if count}, []
    hint = "add files or groups, or make the splits yourself"
    wanted = needed({*splits, *present})
    for split in wanted:
        if split not in present:
            findings.append(Finding("empty split", "error", f"split {split!r}", f"has no items; {hint}"))
        elif (
            kinds.load(kind).needs_classes and split != "val" and "train" in wanted and (split == "train" or not looked)
        ):
            findings += [
                Finding("class missing in a split", "error", f"class {title!r}", f"has no items in {split!r}; {hint}")
                for label, title in enumerate(classes)
                if not counts.get((split, label))
            ]
    return findings


def sharing(sizes: Mapping[str, collections.Counter[str]]) -> str:
    """How many groups of each factor there are, and of how many items each, in words; "" without factors.

    sizes: for each factor, the number of items of each of its groups, of which there has to be one.
    """
    told = []
    for factor, items in sizes.items():
        least, median, most = min(items.values()), statistics.median(items.values()), max(items.values())
        each = f"{least} to {most} items each (median {median:g})" if least < most else f"{most} items each"
        told.append(f"{len(items)} of {factor} with {each}")
    return "; ".join(told)


def suffix_of(path: Path) -> str:
    """The lower-case extension of a file's name, such as ".png"; "" where there is none, as in scan_0.5 or noext."""
    suffix = path.suffix.lower()
    return suffix if re.fullmatch(r"\.[a-z0-9_~+-]*[a-z][a-z0-9_~+-]*", suffix) else ""


def _is_folder(child: os.DirEntry[str]) -> bool:
    try:
        return child.is_dir()
    except OSError:  # links in a circle, or no permission: reading tells
        return False


def listing(folder: Path, told: list[Finding]) -> tuple[list[Path], list[Path]]:
    """The files and the folders directly in `folder`, sorted by name, but for what is no data or hidden.

    told: a finding is appended of each thing that is left out, of links to folders, and of a folder without permission.
    """
    try:
        with os.scandir(folder) as scan:
            children = sorted(scan, key=lambda child: child.name)
    except OSError as error:
        told.append(Finding("unreadable folder", "error", str(folder), f"cannot be listed ({error.strerror})"))
        return [], []
    files, folders = [], []
    here = os.path.realpath(folder)
    for child in children:
        path = folder / child.name
        if child.name.startswith(".") or child.name.lower() in NO_DATA:
            told.append(Finding("hidden or no data", "note", str(path), "is left out by its name", left_out=True))
        elif not _is_folder(child):
            files.append(path)
        elif not child.is_symlink():
            folders.append(path)
        elif f"{here}/".startswith(f"{os.path.realpath(path).rstrip('/')}/"):
            text = "links to a folder that it lies in, and is left out"
            told.append(Finding("linked folder", "note", str(path), text, left_out=True))
        else:
            text = f"is a link to {os.path.realpath(path)} and is followed"
            told.append(Finding("linked folder", "note", str(path), text))
            folders.append(path)
    return files, folders


@dataclasses.dataclass(frozen=True)
class Source:
    """What an adapter reads from: a file, or the files below a folder that have one of the lower-case `suffixes`.

    Without suffixes, all files below the folder count. The suffix "" stands for names without any (see `suffix_of`).
    """

    path: Path
    suffixes: tuple[str, ...] = ()

    def files(self, without: Path | None = None, told: list[Finding] | None = None) -> Iterator[Path]:
        """The files, in no order, but for those that `listing` leaves out and all in the folder `without`.

        Links to folders are followed, but a folder is listed only once, by a link only if it does not lie here itself.
        told: see `listing`.
        """
        if self.path.is_file():
            yield self.path
            return
        told = [] if told is None else told
        left_out = without and os.path.realpath(without)
        todo, links, seen = [self.path], collections.deque[Path](), set[str]()
        while todo or links:
            at = todo.pop() if todo else links.popleft()  # so that an item's path leads over few links
            real = os.path.realpath(at)
            if real in seen:
                text = f"is {real} once more and is left out"
                told.append(Finding("linked folder", "note", str(at), text, left_out=True))
            elif real != left_out and at.is_dir():
                seen.add(real)
                files, folders = listing(at, told)
                yield from (path for path in files if not self.suffixes or suffix_of(path) in self.suffixes)
                for folder in folders:
                    (links if folder.is_symlink() else todo).append(folder)


class Dataset(Settings, abc.ABC):
    """A source of items. The fields of a subclass are the options that a study may set."""

    name: ClassVar[str]
    medium: ClassVar[Medium]
    kind: ClassVar[str]
    # Whether its items are those of another task of the study, named by the option `task`, behind that task's codecs.
    reads_task: ClassVar[bool] = False

    @property
    def fault(self) -> Severity:
        """How severe it is that an item cannot be used."""
        return "error"

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

    def items_of(self, look: Look, seed: int, left_out: list[Finding]) -> Iterator[Item]:
        """The items of a look, in the order of `items`, whose arguments and errors these are too.

        The looks of a data set that generates its items, which is what this method is for, are in the order of their
        indices. The options train, val and test say how many there are, and a shorter split is the start of a longer.
        """
        others = {"train": 0, "val": 0} if look.start else {}
        before = look.start
        for item in self.model_copy(update={**others, "test": look.stop}).items(seed, left_out):
            if before:  # an item may depend on those before it, so that it has to be made anyway
                before -= 1
            else:
                yield item
