"""What the adapters of public data sets share: published facts, downloads, and splits as published.

Each adapter is a short file that states the facts and lists the items of the unpacked files. The facts are written
here rather than asked of torchvision or torchaudio, which know them too, because those take seconds to import and a
config is checked often; a test compares the two.
"""

from __future__ import annotations

import abc
import collections
import dataclasses
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from lossybench.data import download
from lossybench.data._files import SHARES, Entry, FileDataset, Survey, compressed_before, split_up
from lossybench.data.dataset import SPLITS, Description, Finding, Source, lacking
from lossybench.errors import LossyBenchError, nearest
from lossybench.settings import MOST, Place

VAL_SHARE = 0.1  # of the published training items, where no validation split is published


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is published of a data set.

    prior_compression: the lossy codings that its media went through, in words. compressed_before: their names, in
    order. splits: what the splits are. items: the number of published items in each split, as far as it is known.
    shape: about that of an item once decoded, (H, W, 3), (samples,) or (frames, H, W, 3).
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
        """What the data table says of the data set's origin."""
        names = ("title", "source", "licence", "citation", "prior_compression", "splits", "note")
        return {name: getattr(self, name) for name in names if getattr(self, name)}


class PublishedDataset(FileDataset):
    """A public data set: downloaded, checked and unpacked, or read from a local copy."""

    facts: ClassVar[Facts]
    classes: ClassVar[list[str]]
    path: Place | None = Field(
        None, description="local copy: the folder that the published archives were unpacked into; null: download them"
    )
    mirror: str | None = Field(
        None, description="address or folder that has the archives by their published names; null: where published"
    )
    checksums: dict[str, str] = Field(
        {}, description='your own checksum by archive name, such as "sha256:…", instead of the published ones'
    )
    limit: dict[Literal["train", "val", "test"], Annotated[int, Field(ge=1, le=MOST)]] = Field(
        {}, description="at most so many items of train, val, test, drawn with the study's seed; all when left out"
    )
    card: dict[str, str] = Field(
        {}, description="what to say of a local copy that differs: title, licence, prior_compression, note, ..."
    )

    @field_validator("checksums")
    @classmethod
    def _stated(cls, checksums: dict[str, str]) -> dict[str, str]:
        for name, checksum in checksums.items():
            if not re.fullmatch(download.CHECKSUM, checksum.lower()):
                raise ValueError(f'{name}: give "sha256:" (or md5, sha1) and the hexadecimal digits')
        return checksums

    @abc.abstractmethod
    def entries(self, root: Path) -> Iterable[Entry | Finding]:
        """All items under the folder `root`, in their published splits ("" where none are), without reading media.

        Among them may be findings of what is odd about them.

        Raises LossyBenchError, naming it, for a file that is missing or not as published.
        """

    @property
    def shape(self) -> tuple[int, ...]:
        """About that of an item with these options: what planning goes by before anything is downloaded."""
        return self.facts.shape

    @property
    def files(self) -> tuple[download.Remote, ...]:
        """The published files that these options need."""
        return self.facts.files

    def describe(self, seed: int) -> Description:
        """See Dataset. The items of what is still to be downloaded are counted as published."""
        return self._described(self._announced()) if self.path is None else super().describe(seed)

    def about(self, found: Survey) -> Description:
        return self._described(collections.Counter(entry.split for entry in found.entries))

    def _described(self, counts: dict[str, int]) -> Description:
        return Description(
            self.medium,
            self.kind,
            self.classes,
            {**self.facts.card, **self.card},
            {split: counts[split] for split in SPLITS if split in counts} or None,
            self.sampling_rate,
            compressed_before({"compressed_before": ", ".join(self.facts.compressed_before)} | self.card, []),
        )

    def survey(self, seed: int) -> Survey:
        """See FileDataset. Items whose files are missing are left out before val is cut off and the limits hold."""
        root = self._fetch()
        stated = list(self.entries(root))
        every = [one for one in stated if isinstance(one, Entry)]
        if not every:
            raise LossyBenchError(f"data set {self.name!r}: {root} holds none of its items")
        there = {path for path in {entry.path for entry in every} if path.is_file()}
        findings = [one for one in stated if isinstance(one, Finding)]
        findings += [
            Finding("missing file", self.fault, str(entry.path), "no such file, but the data set lists it", True)
            for entry in every
            if entry.path not in there
        ]
        of_train = {"train": 1 - VAL_SHARE, "val": VAL_SHARE}
        entries = split_up([entry for entry in every if entry.path in there], SHARES, of_train, seed)
        for split, most in self.limit.items():
            those = [index for index, entry in enumerate(entries) if entry.split == split]
            dropped = set(np.random.default_rng(seed).permutation(those)[most:].tolist())
            entries = [entry for index, entry in enumerate(entries) if index not in dropped]
        counts = collections.Counter((entry.split, entry.label) for entry in entries)
        findings += lacking(self.kind, self.classes, counts, {split for split, _ in counts})
        return Survey(self.classes, entries, findings)

    def sources(self) -> list[Source]:
        return [Source(self.path)] if self.path else []

    def _announced(self) -> dict[str, int]:
        counts = self.published_counts()
        return counts | {split: min(most, counts[split]) for split, most in self.limit.items() if split in counts}

    @classmethod
    def published_counts(cls) -> dict[str, int]:
        """The number of items in each split of the whole set, as far as known; about, where val is cut from train."""
        counts = dict(cls.facts.items)
        if "train" in counts and "val" not in counts:
            counts["val"] = round(VAL_SHARE * counts["train"])
            counts["train"] -= counts["val"]
        return counts

    def _fetch(self) -> Path:
        """The folder with the unpacked files; what is not there yet is downloaded and unpacked."""
        if self.path is not None:
            if not self.path.is_dir():
                raise LossyBenchError(f"data set {self.name!r}: path: folder {self.path} does not exist")
            return self.path
        if not self.files:
            raise LossyBenchError(
                f"data set {self.name!r}: is not published as an archive; get it from {self.facts.source} and name the "
                "folder as `path`"
            )
        names = [file.name for file in self.files]
        for name in self.checksums:
            if name not in names:
                raise LossyBenchError(f"data set {self.name!r}: checksums: no file {name!r}; {nearest(name, names)}")
        own = {name: (checksum.lower(),) for name, checksum in self.checksums.items()}
        files = [
            dataclasses.replace(file, checksums=own[file.name], size=None) if file.name in own else file
            for file in self.files
        ]
        key = hashlib.sha256(" ".join(file.key for file in files).encode()).hexdigest()[:16]
        folder = download.cache() / f"{self.name}-{key}"
        if not folder.is_dir():
            archives = {file.name: download.fetch(file, download.cache(), self.mirror) for file in files}
            download.unpack(archives, folder, self.unpack_further)
        return folder

    def unpack_further(self, folder: Path) -> None:
        """Unpack archives that lay in the archives, in `folder`, before the folder is published."""


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
