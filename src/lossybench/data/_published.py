"""What the adapters of public data sets share: published facts, downloads, and splits as published.

Each adapter is a short file that states the facts and lists the items of the unpacked files. Facts are constants here
rather than asked of torchvision or torchaudio, which know the same ones, because those take seconds to import and a
config is checked often; a test compares them.
"""

from __future__ import annotations

import abc
import collections
import dataclasses
import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field, field_validator

from lossybench.data import _splits, download
from lossybench.data._files import Entry, FileDataset, compressed_before
from lossybench.data.dataset import SPLITS, Description, Item, Kind, Medium, Source
from lossybench.errors import LossyBenchError, nearest

VAL_SHARE = 0.1  # of the published training items, where no validation split is published
_SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}  # where no splits are published at all
_CHECKSUM = re.compile(r"md5:[0-9a-f]{32}|sha1:[0-9a-f]{40}|sha256:[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True)
class Part(Entry):
    """Some of a file: records or frames from `start`, up to `stop` (None: to the end)."""

    start: int = 0
    stop: int | None = None


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is published of a data set.

    compressed_before: lossy codings that its media went through, in order; prior_compression: the same in words.
    splits: what the splits are. items: published items by split, as far as known. shape: about that of an item once
    decoded, (H, W, 3), (samples,) or (frames, H, W, 3).
    """

    title: str
    source: str
    licence: str
    citation: str
    prior_compression: str
    compressed_before: tuple[str, ...]
    splits: str
    items: dict[str, int]
    shape: tuple[int, ...]
    files: tuple[download.Remote, ...]
    note: str = ""

    @property
    def card(self) -> dict[str, str]:
        """What the data table says of its origin."""
        names = ("title", "source", "licence", "citation", "prior_compression", "splits", "note")
        return {name: getattr(self, name) for name in names if getattr(self, name)}


class PublishedDataset(FileDataset):
    """A public data set: downloaded, checked and unpacked, or read from a local copy."""

    medium: ClassVar[Medium]
    kind: ClassVar[Kind]
    facts: ClassVar[Facts]
    classes: ClassVar[list[str]]
    path: Path | None = Field(
        None, description="local copy: the folder that the published archives were unpacked into; null: download them"
    )
    mirror: str | None = Field(
        None, description="address or folder that has the archives by their published names; null: where published"
    )
    checksums: dict[str, str] = Field(
        {}, description='your own checksum by archive name, such as "sha256:…", instead of the published ones'
    )
    limit: dict[str, int] = Field(
        {}, description="at most so many items of train, val, test, drawn with the study's seed; all when left out"
    )

    @field_validator("checksums")
    @classmethod
    def _stated(cls, checksums: dict[str, str]) -> dict[str, str]:
        for name, checksum in checksums.items():
            if not _CHECKSUM.fullmatch(checksum.lower()):
                raise ValueError(f'{name}: give "sha256:" (or md5, sha1) and the hexadecimal digits')
        return checksums

    @field_validator("limit")
    @classmethod
    def _splits_known(cls, limit: dict[str, int]) -> dict[str, int]:
        if not set(limit) <= set(SPLITS) or min(limit.values(), default=1) < 1:
            raise ValueError("give train, val or test, each a number above 0")
        return limit

    card: dict[str, str] = Field(
        {}, description="what to say of a local copy that differs: title, licence, prior_compression, note, ..."
    )

    @abc.abstractmethod
    def entries(self, root: Path) -> list[Entry]:
        """All items under `root`, in their published splits, without reading media.

        Raises LossyBenchError, naming it, for a file that is missing or not as published.
        """

    @abc.abstractmethod
    def decode(self, entry: Entry) -> tuple[np.ndarray, float]:
        """Media and rate of one item. Raises LossyBenchError, naming the file, when it cannot be read."""

    @property
    def rate(self) -> float:
        """Hz that all audio has; 0 for other media."""
        return 0.0

    @property
    def shape(self) -> tuple[int, ...]:
        """About that of an item with these options: what planning goes by before anything is downloaded."""
        if not self.rate:
            return self.facts.shape
        return (round(self.facts.shape[0] * self.rate / type(self).model_fields["sample_rate"].default),)

    @property
    def files(self) -> tuple[download.Remote, ...]:
        """The published files that these options need."""
        return self.facts.files

    def describe(self, seed: int) -> Description:
        """See Dataset. Of what is still to be downloaded, the items are counted as published."""
        counts = self._announced() if self.path is None else self._counts(seed)
        return Description(
            self.medium,
            self.kind,
            self.classes,
            {**self.facts.card, **self.card},
            {split: counts[split] for split in SPLITS if split in counts} or None,
            self.rate,
            compressed_before({"compressed_before": ", ".join(self.facts.compressed_before)} | self.card, []),
        )

    def items(self, seed: int, skipped: list[str]) -> Iterator[Item]:
        """See Dataset."""
        for entry in self._all(self._fetch(), seed):
            yield from self.read([entry], lambda _, entry=entry: self.decode(entry), skipped)  # type: ignore[misc]

    def sources(self) -> list[Source]:
        """See Dataset."""
        return [Source(self.path)] if self.path else []

    def _counts(self, seed: int) -> dict[str, int]:
        """Items by split of a local copy."""
        return dict(collections.Counter(entry.split for entry in self._all(self._fetch(), seed)))

    def _announced(self) -> dict[str, int]:
        return {split: min(count, self.limit.get(split, count)) for split, count in self.published_counts().items()}

    @classmethod
    def published_counts(cls) -> dict[str, int]:
        """Items by split of the whole published set, as far as known; of val about, where it is cut from train."""
        counts = dict(cls.facts.items)
        if "train" in counts and "val" not in counts:
            counts["val"] = round(VAL_SHARE * counts["train"])
            counts["train"] -= counts["val"]
        return counts

    def _fetch(self) -> Path:
        """The folder with the unpacked files; downloads and unpacks what is not there yet."""
        if self.path is not None:
            if not self.path.is_dir():
                raise LossyBenchError(f"data set {self.name!r}: path: folder {self.path} does not exist")
            return self.path
        if not self.files:
            raise LossyBenchError(
                f"data set {self.name!r}: is not published as an archive; get it from {self.facts.source} and name the "
                "folder as `path`"
            )
        files = [self._own(file) for file in self.files]
        key = hashlib.sha256(" ".join(file.key for file in files).encode()).hexdigest()[:16]
        folder = download.cache() / f"{self.name}-{key}"
        if not folder.is_dir():
            archives = {file.name: download.fetch(file, download.cache(), self.mirror) for file in files}
            download.unpack(archives, folder, self.unpack_further)
        return folder

    def unpack_further(self, folder: Path) -> None:
        """Unpack what the archives hold packed, in `folder`, before it is published."""

    def _own(self, file: download.Remote) -> download.Remote:
        """With the user's checksum, if one is given."""
        names = [remote.name for remote in self.files]
        for name in self.checksums:
            if name not in names:
                raise LossyBenchError(f"data set {self.name!r}: checksums: no file {name!r}; {nearest(name, names)}")
        if file.name not in self.checksums:
            return file
        return dataclasses.replace(file, checksums=(self.checksums[file.name].lower(),), size=None)

    def _all(self, root: Path, seed: int) -> list[Entry]:
        """All entries, ordered by split and id, with a validation split, and within the limits."""
        entries = self.entries(root)
        if not entries:
            raise LossyBenchError(f"data set {self.name!r}: {root} holds none of its items")
        entries = cut(entries, seed)
        entries.sort(key=lambda entry: (SPLITS.index(entry.split), entry.id))
        for split, most in self.limit.items():
            entries = _drawn(entries, split, most, seed)
        return entries


def cut(entries: Sequence[Entry], seed: int) -> list[Entry]:
    """With the splits that are not published: all of them ("") or val, cut from train; see _splits.assign."""
    splits = {entry.split for entry in entries}
    if "val" in splits:
        return list(entries)
    undivided, shares = ("", _SHARES) if "" in splits else ("train", {"train": 1 - VAL_SHARE, "val": VAL_SHARE})
    at = [index for index, entry in enumerate(entries) if entry.split == undivided]
    found = list(entries)
    labels = [max(0, entries[index].label) for index in at]  # detection has no class per item: one stratum
    dealt = _splits.assign(labels, [entries[index].group for index in at], shares, seed)
    for index, split in zip(at, dealt, strict=True):
        found[index] = dataclasses.replace(entries[index], split=split)
    return found


def _drawn(entries: list[Entry], split: str, most: int, seed: int) -> list[Entry]:
    """At most so many entries of a split; the order stays."""
    those = [index for index, entry in enumerate(entries) if entry.split == split]
    dropped = set(np.random.default_rng(seed).permutation(those)[most:].tolist())
    return [entry for index, entry in enumerate(entries) if index not in dropped]


def one(root: Path, name: str, what: str) -> Path:
    """The file or folder `name`: `root` itself, or directly under it, or one folder below.

    Raises LossyBenchError when it is not there, saying that the data set `what` has one.
    """
    if root.name == name:
        return root
    found = [at for at in [root / name, *sorted(root.glob(f"*/{name}"))] if at.exists()]
    if not found:
        raise LossyBenchError(
            f"data set {what!r}: {root} has no {name!r}; `path` is the folder that the archives unpack to"
        )
    return found[0]
