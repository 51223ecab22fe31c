"""What the adapters for users' own files share: options, splits, groups, and what happens to unreadable files."""

from __future__ import annotations

import abc
import collections
import csv
import dataclasses
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from lossybench.data import _splits
from lossybench.data.dataset import SPLITS, Box, Dataset, Description, Finding, Item, Medium, Source, needed
from lossybench.errors import LossyBenchError, nearest

DEFAULT_FRACTIONS = {"train": 0.7, "val": 0.1, "test": 0.2}
LOSSY = {".jpg", ".jpeg", ".webp", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".wma", ".mp4", ".m4v", ".mov", ".mkv",
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
        DEFAULT_FRACTIONS,
        description="shares of train, val and test where the data come without splits; {test: 1} to train nothing",
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
        right = set(fractions) in ({"test"}, set(SPLITS))
        if not right or min(fractions.values()) <= 0 or abs(sum(fractions.values()) - 1) > 1e-6:
            raise ValueError("give train, val and test, each above 0 and together 1, or {test: 1}")
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
        elif "train" in given and "val" not in given:
            shares = self.fractions if "train" in self.fractions else DEFAULT_FRACTIONS
            rest = shares["train"] + shares["val"]
            entries = self._deal(entries, "train", {split: shares[split] / rest for split in ("train", "val")}, seed)
        for finding in shared_groups(entries):
            warnings.warn(f"data set {self.name!r}: {finding.item} {finding.text}", stacklevel=2)
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
        lossy = sum(entry.path.suffix.lower() in LOSSY for entry in entries)
        prior = f"{lossy} of {len(entries)} files are in lossy formats" if lossy else "files are in lossless formats"
        unstated = dict.fromkeys(("source", "licence", "citation"), "not stated")
        return {"title": title, **unstated, "prior_compression": prior, **self.card}


def shared_groups(entries: Sequence[Entry]) -> list[Finding]:
    """The groups that are in more than one split."""
    splits_of = collections.defaultdict(set)
    for entry in entries:
        splits_of[entry.group].add(entry.split)
    return [
        Finding(
            "group in two splits",
            "warning",
            f"group {group!r}",
            f"is in {' and '.join(sorted(splits))}, as the data came; test results may be too good",
        )
        for group, splits in splits_of.items()
        if len(splits) > 1
    ]


class ClassFolders(UserFiles):
    """One folder a class, with or without train, val and test folders above: root[/split]/class/**/file; or files
    anywhere below the root and a CSV of labels.
    """

    medium: ClassVar[Medium]
    extensions: ClassVar[tuple[str, ...]]
    path: Path = Field(description="folder with one folder a class, or with train, val, test folders of classes")
    labels: Path | None = Field(
        None,
        description="CSV with a header: of each item its file below `path` (the extension may be left out), its label "
        "and, if there are such columns, its split and group; folders mean nothing then",
    )
    columns: dict[Literal["file", "label", "split", "group"], str] = Field(
        {}, description="names of these columns of `labels` where they differ: {file: ImageId, label: TrueLabel}"
    )

    @abc.abstractmethod
    def decode(self, path: Path) -> tuple[np.ndarray, float]:
        """Media and rate of a file. Raises LossyBenchError, naming the file, when it cannot be read."""

    @abc.abstractmethod
    def look(self, path: Path) -> list[Finding]:
        """What is odd about a file that can be read, from its header."""

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

    def sources(self) -> list[Source]:
        """See Dataset."""
        return [Source(self.path, self.extensions), *([Source(self.labels)] if self.labels else [])]

    def _entries(self, seed: int) -> tuple[list[str], list[Entry]]:
        """Class names and all entries, in splits, from the listing alone. Raises the first error that is found."""
        classes, entries, findings = self.survey(seed)
        errors = [finding for finding in findings if finding.severity == "error"]
        if errors:
            more = f" (and {len(errors) - 1} more: `lossybench check` lists them)" if len(errors) > 1 else ""
            raise LossyBenchError(f"{errors[0].item}: {errors[0].text}{more}")
        return classes, entries

    def survey(self, seed: int) -> tuple[list[str], list[Entry], list[Finding]]:
        """Class names, all entries in splits, and all that is odd about them, from the listing alone.

        Raises LossyBenchError only where nothing can be listed: no folder, no CSV, no such columns.
        """
        findings: list[Finding] = []
        classes, entries = self._from_table(findings) if self.labels else self._from_folders(findings)
        if len(classes) < 2:
            text = f"{len(classes)} class{' folders' * (not self.labels)}; classification needs two or more"
            findings.append(Finding("too few classes", "error", str(self.labels or self.path), text))
        for entry in entries:
            try:
                entry.id.encode()
            except UnicodeEncodeError:
                shown = entry.id.encode(errors="backslashreplace").decode()
                text = "its name is not UTF-8 and cannot be stored; rename it"
                findings.append(Finding("name not in UTF-8", "error", shown, text))
        entries = self.with_splits(entries, seed) if entries else []
        findings += shared_groups(entries)
        return classes, entries, findings + self._thin(classes, entries)

    def _thin(self, classes: list[str], entries: list[Entry]) -> list[Finding]:
        """Classes and splits that lack items."""
        findings = []
        of_class = collections.Counter(entry.label for entry in entries)
        present = collections.Counter((entry.split, entry.label) for entry in entries)
        splits = {entry.split for entry in entries}
        for label, title in enumerate(classes):
            if of_class[label] == 1 and "train" in splits:
                text = "has a single item, which is in one split only"
                findings.append(Finding("single item", "warning", f"class {title!r}", text))
            for split in ("train", "test"):
                if "train" in splits and of_class[label] and not present[split, label]:
                    text = (
                        f"class {title!r} has too few files or groups to give split {split!r} any; add some, or make "
                        "the splits yourself"
                    )
                    findings.append(Finding("class missing in a split", "error", str(self.path), text))
        for split in needed(splits):
            if entries and split not in splits:
                text = f"too few files or groups to give split {split!r} any; add some, or make the splits yourself"
                findings.append(Finding("empty split", "error", str(self.path), text))
        return findings

    def _from_folders(self, findings: list[Finding]) -> tuple[list[str], list[Entry]]:
        root = self.path
        folders = {folder.name: folder for folder in subfolders(root, f"data set {self.name!r}")}
        parts = [("", root)]
        if "train" in folders or "test" in folders:
            if "test" not in folders:
                raise LossyBenchError(f"{root}: has no folder 'test' beside 'train'; give both, or 'test' alone")
            if others := set(folders) - set(SPLITS):
                raise LossyBenchError(f"{root}: {others.pop()!r} is beside train and test; give splits or classes")
            parts = [(split, folders[split]) for split in SPLITS if split in folders]
        classes = sorted({folder.name for _, part in parts for folder in subfolders(part, f"data set {self.name!r}")})
        entries = []
        for split, part in parts:
            findings += [
                Finding("file without a label", "warning", str(file), "lies in no class folder and is left out")
                for file in sorted(part.iterdir())
                if file.is_file() and file.suffix.lower() in self.extensions
            ]
            for label, title in enumerate(classes):
                files = self.files(part / title, findings)
                if not files and split != "val":
                    text = f"holds no {self.medium} file of class {title!r} ({', '.join(self.extensions)})"
                    findings.append(Finding("empty class", "error", str(part / title), text))
                for file in files:
                    id = file.relative_to(root).as_posix()
                    entries.append(Entry(id, file, split, self.group_of(id), label))
        return classes, entries

    def _from_table(self, findings: list[Finding]) -> tuple[list[str], list[Entry]]:
        subfolders(self.path, f"data set {self.name!r}")  # complains if it is none
        rows = self._rows()
        there = {file.relative_to(self.path).as_posix(): file for file in self.files(self.path, findings)}
        short: dict[str, list[str]] = collections.defaultdict(list)
        for id in there:
            short[str(Path(id).with_suffix(""))].append(id)
        found: dict[str, tuple[str, str, str]] = {}
        for number, row in rows:
            where = f"{self.labels}, row {number}"
            matches = [row["file"]] if row["file"] in there else short.get(row["file"], [])
            if len(matches) != 1:
                what = f"matches {', '.join(matches)}; give the extension" if matches else "does not exist"
                findings.append(Finding("missing file", "error", where, f"{row['file']!r} {what}"))
            elif not row["label"]:
                findings.append(Finding("row without a label", "error", where, f"{row['file']!r} has no label"))
            elif row["split"] not in ("", *SPLITS):
                text = f"split {row['split']!r} of {row['file']!r} is none of {', '.join(SPLITS)}"
                findings.append(Finding("unknown split", "error", where, text))
            elif matches[0] in found:
                text = f"{row['file']!r} is listed twice"
                findings.append(Finding("file listed twice", "error", where, text))
            else:
                found[matches[0]] = (row["label"], row["split"], row["group"])
        findings += [
            Finding("file without a label", "warning", str(there[id]), f"is not in {self.labels} and is left out")
            for id in there
            if id not in found
        ]
        if any(split for _, split, _ in found.values()) and not all(split for _, split, _ in found.values()):
            lacking = next(id for id, (_, split, _) in found.items() if not split)
            text = f"{lacking!r} and others have none; give all items a split, or none"
            findings.append(Finding("items without a split", "error", str(self.labels), text))
            found = {id: row for id, row in found.items() if row[1]}
        classes = sorted({label for label, _, _ in found.values()}, key=_natural)
        number_of = {title: number for number, title in enumerate(classes)}
        entries = [
            Entry(id, there[id], split, group if group and self.group is None else self.group_of(id), number_of[label])
            for id, (label, split, group) in sorted(found.items())
        ]
        return classes, entries

    def _rows(self) -> list[tuple[int, dict[str, str]]]:
        """Rows of the CSV with their line numbers, by the names of our own columns; "" for what is not there."""
        assert self.labels is not None
        try:
            with self.labels.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file)
                header = reader.fieldnames or []
                named = {"file": "file", "label": "label", **self.columns}
                for ours, theirs in named.items():
                    if theirs not in header:
                        raise LossyBenchError(
                            f"{self.labels}: no column {theirs!r} for the {ours}; {nearest(theirs, header)}; say which "
                            "in `columns`"
                        )
                named |= {name: name for name in ("split", "group") if name not in named and name in header}
                blank = dict.fromkeys(("split", "group"), "")
                return [
                    (reader.line_num, blank | {ours: (row[theirs] or "").strip() for ours, theirs in named.items()})
                    for row in reader
                ]
        except OSError as error:
            raise LossyBenchError(f"data set {self.name!r}: labels: {self.labels}: {error.strerror}") from None
        except (UnicodeDecodeError, csv.Error) as error:
            raise LossyBenchError(f"{self.labels}: not a CSV in UTF-8 ({error})") from None

    def files(self, folder: Path, findings: list[Finding]) -> list[Path]:
        """The files below a folder that are of the medium; of others it is noted that they are left out."""
        found = sorted(Source(folder).files())
        findings += [
            Finding("file of another kind", "note", str(file), f"is no {self.medium} by its name and is left out")
            for file in found
            if file.suffix.lower() not in self.extensions and file != self.labels
        ]
        return [file for file in found if file.suffix.lower() in self.extensions]


def _natural(label: str) -> tuple[bool, int, str]:
    """Numbers in the order of numbers, before words."""
    return (not label.isdecimal(), int(label) if label.isdecimal() else 0, label)


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
    suffixes = {entry.path.suffix.lower() for entry in entries} & LOSSY
    return tuple(sorted({"JPEG" if suffix in (".jpg", ".jpeg") else suffix[1:].upper() for suffix in suffixes}))
