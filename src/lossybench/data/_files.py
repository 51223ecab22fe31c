"""What the adapters for users' own files share: options, splits, groups, and what happens to unreadable files."""

from __future__ import annotations

import abc
import collections
import dataclasses
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from lossybench.data import _splits
from lossybench.data.base import SPLITS, Box, Dataset, Description, Item, Medium
from lossybench.errors import LossyBenchError

_LOSSY = {".jpg", ".jpeg", ".webp", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".wma", ".mp4", ".m4v", ".mov", ".mkv",
          ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".3gp"}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Entry:
    """A file still to be read: id and group as in Item; split is "" until it is assigned."""

    id: str
    path: Path
    split: str
    group: str
    label: int = -1
    boxes: tuple[Box, ...] = ()


class FileDataset(Dataset):
    """Data that are read from files, some of which may be unreadable."""

    on_error: Literal["stop", "skip"] = Field(
        "stop", description="at a file that cannot be read: stop, or skip it and say so on the card"
    )

    def read(
        self, entries: Sequence[Entry], decode: Callable[[Path], tuple[np.ndarray, float]], skipped: list[str]
    ) -> Iterator[Item]:
        """Yield the entries as items; `decode` gives media and rate, or raises LossyBenchError."""
        for entry in entries:
            try:
                media, rate = decode(entry.path)
            except LossyBenchError as error:
                if self.on_error == "stop":
                    raise LossyBenchError(f"{error}; mend or remove it, or set on_error: skip") from None
                skipped.append(str(error))
                continue
            yield Item(entry.id, entry.split, entry.group, media, rate, entry.label, entry.boxes)


class UserFiles(FileDataset):
    """Options of all data sets that are read from a user's own files."""

    fractions: dict[str, float] = Field(
        {"train": 0.7, "val": 0.1, "test": 0.2},
        description="shares of train, val and test where the data come without splits",
    )
    group: str | None = Field(
        None,
        description="regular expression on an item's id; its first group (or whole match) names the source, "
        "such as a speaker or track, that must not be in two splits",
    )
    card: dict[str, str] = Field(
        {},
        description="title, source, licence, citation and prior_compression, as far as you know them; and "
        "compressed_before, the lossy codings that the media went through (JPEG, MP3), where the files do not tell",
    )

    @field_validator("fractions")
    @classmethod
    def _whole(cls, fractions: dict[str, float]) -> dict[str, float]:
        if set(fractions) != set(SPLITS) or min(fractions.values()) <= 0 or abs(sum(fractions.values()) - 1) > 1e-6:
            raise ValueError("give train, val and test, each above 0 and together 1")
        return fractions

    @field_validator("group")
    @classmethod
    def _expression(cls, group: str | None) -> str | None:
        try:
            re.compile(group or "")
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return group

    def group_of(self, id: str) -> str:
        """The item's source: by the option `group`, else the item itself."""
        if self.group is None:
            return id
        match = re.search(self.group, id)
        if not match:
            raise LossyBenchError(f"data set {self.name!r}: option 'group': {self.group!r} does not match {id!r}")
        return match.group(1) if match.re.groups else match.group(0)

    def with_splits(self, entries: list[Entry], seed: int) -> list[Entry]:
        """Assign splits to the entries without, cut val from train where it is missing, and order by split and id."""
        given = {entry.split for entry in entries}
        if given == {""}:
            entries = self._deal(entries, "", self.fractions, seed)
        elif "val" not in given:
            rest = self.fractions["train"] + self.fractions["val"]
            shares = {split: self.fractions[split] / rest for split in ("train", "val")}
            entries = self._deal(entries, "train", shares, seed)
        splits_of = collections.defaultdict(set)
        for entry in entries:
            splits_of[entry.group].add(entry.split)
        for group, splits in splits_of.items():
            if len(splits) > 1:
                warnings.warn(
                    f"data set {self.name!r}: group {group!r} is in {' and '.join(sorted(splits))}, as the data came; "
                    "test results may be too good",
                    stacklevel=2,
                )
                break
        return sorted(entries, key=lambda entry: (SPLITS.index(entry.split), entry.id))

    def _deal(self, entries: list[Entry], split: str, shares: dict[str, float], seed: int) -> list[Entry]:
        dealt = [entry for entry in entries if entry.split == split]
        # Detection has no class per item: one stratum.
        labels = [max(0, entry.label) for entry in dealt]
        found = _splits.assign(labels, [entry.group for entry in dealt], shares, seed)
        kept = [entry for entry in entries if entry.split != split]
        return kept + [dataclasses.replace(entry, split=to) for entry, to in zip(dealt, found, strict=True)]

    def full_card(self, title: str, entries: Sequence[Entry]) -> dict[str, str]:
        """The user's card over what the files themselves tell."""
        lossy = sum(entry.path.suffix.lower() in _LOSSY for entry in entries)
        prior = f"{lossy} of {len(entries)} files are in lossy formats" if lossy else "files are in lossless formats"
        unstated = dict.fromkeys(("source", "licence", "citation"), "not stated")
        return {"title": title, **unstated, "prior_compression": prior, **self.card}


class ClassFolders(UserFiles):
    """One folder a class, with or without train, val and test folders above: root[/split]/class/**/file."""

    medium: ClassVar[Medium]
    extensions: ClassVar[tuple[str, ...]]
    path: Path = Field(description="folder with one folder a class, or with train, (val,) test folders of classes")

    @abc.abstractmethod
    def decode(self, path: Path) -> tuple[np.ndarray, float]:
        """Media and rate of a file. Raises LossyBenchError, naming the file, when it cannot be read."""

    @property
    def rate(self) -> float:
        """Hz that all clips of audio are brought to; 0 for other media."""
        return 0.0

    def describe(self, seed: int) -> Description:
        """See Dataset."""
        classes, entries = self._entries(seed)
        counts = dict(collections.Counter(entry.split for entry in entries))
        card = self.full_card(self.path.resolve().name, entries)
        before = compressed_before(self.card, entries)
        return Description(self.medium, "classification", classes, card, counts, self.rate, before)

    def items(self, seed: int, skipped: list[str]) -> Iterator[Item]:
        """See Dataset."""
        yield from self.read(self._entries(seed)[1], self.decode, skipped)

    def _entries(self, seed: int) -> tuple[list[str], list[Entry]]:
        """Class names and all entries, in splits, from the listing alone."""
        root = self.path
        folders = {folder.name: folder for folder in subfolders(root, f"data set {self.name!r}")}
        if "train" in folders or "test" in folders:
            if missing := {"train", "test"} - set(folders):
                raise LossyBenchError(f"{root}: has no folder {missing.pop()!r} beside the other split; give both")
            if others := set(folders) - set(SPLITS):
                raise LossyBenchError(f"{root}: {others.pop()!r} is beside train and test; give splits or classes")
            parts = [(split, folders[split]) for split in SPLITS if split in folders]
        else:
            parts = [("", root)]
        classes = sorted({folder.name for _, part in parts for folder in subfolders(part, f"data set {self.name!r}")})
        if len(classes) < 2:
            raise LossyBenchError(f"{root}: {len(classes)} class folders; classification needs two or more")
        entries = []
        for split, part in parts:
            for label, title in enumerate(classes):
                files = self._files(part / title)
                if not files and split != "val":
                    raise LossyBenchError(
                        f"{part / title}: holds no {self.medium} file of class {title!r} ({', '.join(self.extensions)})"
                    )
                for file in files:
                    id = file.relative_to(root).as_posix()
                    entries.append(Entry(id, file, split, self.group_of(id), label))
        entries = self.with_splits(entries, seed)
        present = {(entry.split, entry.label) for entry in entries}
        for label, title in enumerate(classes):
            for split in ("train", "test"):
                if (split, label) not in present:
                    raise LossyBenchError(
                        f"{root}: class {title!r} has too few files or groups to give split {split!r} any; "
                        "add some, or make the splits yourself as train and test folders"
                    )
        if not any(entry.split == "val" for entry in entries):
            raise LossyBenchError(f"{root}: too few files or groups to give split 'val' any; add some, or a val folder")
        return classes, entries

    def _files(self, folder: Path) -> list[Path]:
        found = (Path(at) / name for at, _, names in os.walk(folder) for name in names)
        return sorted(
            file for file in found if file.suffix.lower() in self.extensions and not file.name.startswith(".")
        )


def subfolders(root: Path, what: str) -> list[Path]:
    """The visible folders in `root`. Raises LossyBenchError when it is not a folder."""
    if not root.is_dir():
        problem = "is not a folder" if root.exists() else "does not exist"
        raise LossyBenchError(f"{what}: folder {root} {problem}; paths count from where you run")
    return sorted(folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith("."))


def compressed_before(card: dict[str, str], entries: Sequence[Entry]) -> tuple[str, ...]:
    """The lossy codings that the media went through: as the card says ("JPEG, DivX"), else by the files' names."""
    if "compressed_before" in card:
        return tuple(name.strip() for name in card["compressed_before"].split(",") if name.strip())
    suffixes = {entry.path.suffix.lower() for entry in entries} & _LOSSY
    return tuple(sorted({"JPEG" if suffix in (".jpg", ".jpeg") else suffix[1:].upper() for suffix in suffixes}))
