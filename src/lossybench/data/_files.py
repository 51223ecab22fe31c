"""What the adapters of users' own files share: options, splits, groups, and what happens to unreadable files."""

from __future__ import annotations

import abc
import collections
import csv
import dataclasses
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field, field_validator

from lossybench.data import _splits
from lossybench.data.dataset import SPLITS, Box, Dataset, Description, Finding, Item, Severity, Source, needed
from lossybench.errors import LossyBenchError, naming, nearest

SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}  # where the data come without splits
LOSSY = {".jpg", ".jpeg", ".webp", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".wma", ".mp4", ".m4v", ".mov", ".mkv",
          ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".3gp"}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Entry:
    """An item still to be read from a file: id, group, label and boxes as in Item; split is "" until it is assigned.

    size: the (width, height) of the picture that the boxes were drawn on, where the annotations state it.
    start, stop: the item is the file's records or frames from `start` up to `stop` (None: to the end).
    """

    id: str
    path: Path
    split: str
    group: str
    label: int = -1
    boxes: tuple[Box, ...] = ()
    start: int = 0
    stop: int | None = None
    size: tuple[int, int] | None = None


class Survey(NamedTuple):
    """What listings and labels alone tell of a data set: no media have been read. The entries are in their splits."""

    classes: list[str]
    entries: list[Entry]
    findings: list[Finding]


class FileDataset(Dataset):
    """Data that are read from files, some of which may be missing or unreadable."""

    on_error: Literal["stop", "skip"] = Field(
        "stop",
        description="at an item that is missing, damaged or wrongly labelled: stop, or skip it and say so on the card",
    )

    @abc.abstractmethod
    def survey(self, seed: int) -> Survey:
        """All classes, all entries, and all that is odd about them, without reading media.

        A fault of one item is a finding of the severity `fault`, and that item is left out. seed: what the splits are
        made from. Raises LossyBenchError only where nothing can be listed: no folder, no table, no such columns.
        """

    @abc.abstractmethod
    def about(self, found: Survey) -> Description:
        """What the data set is, by what its survey `found`, whether or not a study could run with it."""

    @abc.abstractmethod
    def decode(self, entry: Entry) -> tuple[np.ndarray, float]:
        """Media and sampling rate of one item. Raises LossyBenchError, naming the file, when it cannot be read."""

    def look(self, entry: Entry) -> list[Finding]:
        """What is odd about the file of an item that can be read, by its header."""
        return []

    @property
    def fault(self) -> Severity:
        """How severe a fault of one item is: with `on_error: skip` the study goes on without it."""
        return "error" if self.on_error == "stop" else "warning"

    @property
    def sampling_rate(self) -> float:
        """Hz that all clips of audio are brought to; 0 for other media."""
        return 0.0

    def read(self, entry: Entry) -> tuple[np.ndarray, float]:
        """What `decode` gives. Raises LossyBenchError, naming the file, whatever it is that cannot be read."""
        with naming(entry.path):
            if not entry.path.is_file():
                raise LossyBenchError("no such file")
            if not entry.path.stat().st_size:
                raise LossyBenchError("has no bytes")
            return self.decode(entry)

    def listed(self, seed: int) -> Survey:
        """The survey of a data set that can be read. Raises LossyBenchError for the first finding that is an error."""
        found = self.survey(seed)
        errors = [finding for finding in found.findings if finding.severity == "error"]
        if errors:
            more = f" (and {len(errors) - 1} more: `lossybench check` lists them)" if len(errors) > 1 else ""
            skip = "; mend or remove it, or set on_error: skip" if errors[0].left_out else ""
            raise LossyBenchError(f"{errors[0]}{skip}{more}")
        return found

    def describe(self, seed: int) -> Description:
        return self.about(self.listed(seed))

    def items(self, seed: int, left_out: list[Finding]) -> Iterator[Item]:
        found = self.listed(seed)
        left_out += [finding for finding in found.findings if finding.left_out]
        for entry in found.entries:
            try:
                media, rate = self.read(entry)
            except LossyBenchError as error:
                if self.on_error == "stop":
                    raise LossyBenchError(f"{error}; mend or remove it, or set on_error: skip") from None
                left_out.append(unreadable(entry, error, self.fault))
                continue
            yield Item(entry.id, entry.split, entry.group, media, rate, entry.label, entry.boxes)


def unreadable(entry: Entry, error: LossyBenchError, severity: Severity) -> Finding:
    """The finding that the media of an item cannot be read, for the reason that the `error` gives."""
    text = str(error).removeprefix(f"{entry.path}: ")
    kind = "unreadable file"
    if "no bytes" in text:
        kind = "empty file"
    elif "no samples" in text:
        kind = "clip of no length"
    elif any(word in text for word in ("truncated", "cut short")):
        kind = "truncated file"
    return Finding(kind, severity, str(entry.path), text, left_out=True)


class UserFiles(FileDataset):
    """Options of all data sets that are read from a user's own files."""

    fractions: dict[str, float] = Field(
        SHARES,
        description="shares of train, val and test where the data come without splits; {test: 1} to train nothing",
    )
    group: re.Pattern[str] | None = Field(
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

    def group_of(self, id: str) -> str:
        """The source of the item `id`: what the option `group` finds in it, or else the item itself.

        Raises LossyBenchError when that expression finds nothing.
        """
        if self.group is None:
            return id
        match = self.group.search(id)
        if not match:
            pattern = self.group.pattern
            raise LossyBenchError(f"data set {self.name!r}: option 'group': {pattern!r} does not match {id!r}")
        return match.group(1) if match.re.groups else match.group(0)

    def with_splits(self, entries: list[Entry], seed: int) -> list[Entry]:
        """The entries in splits by the options and the seed (see `split_up`). Warns of a group in two splits."""
        shares = self.fractions if "train" in self.fractions else SHARES
        rest = shares["train"] + shares["val"]
        of_train = {split: shares[split] / rest for split in ("train", "val")}
        entries = split_up(entries, self.fractions, of_train, seed)
        if shared := shared_groups(entries):
            warnings.warn(f"data set {self.name!r}: {shared[0].item} {shared[0].text}", stacklevel=2)
        return entries

    def described(self, folder: Path, classes: list[str], entries: Sequence[Entry]) -> Description:
        """The description of data in `folder`: what the entries' files tell, and over it what the card states."""
        lossy = sum(entry.path.suffix.lower() in LOSSY for entry in entries)
        prior = f"{lossy} of {len(entries)} files are in lossy formats" if lossy else "files are in lossless formats"
        unstated = dict.fromkeys(("source", "licence", "citation"), "not stated")
        card = {"title": folder.resolve().name, **unstated, "prior_compression": prior, **self.card}
        counts = dict(collections.Counter(entry.split for entry in entries))
        before = compressed_before(self.card, entries)
        return Description(self.medium, self.kind, classes, card, counts, self.sampling_rate, before)


def split_up(entries: list[Entry], shares: dict[str, float], of_train: dict[str, float], seed: int) -> list[Entry]:
    """The entries ordered by split and id, once those without a split have one and val is cut from train if missing.

    shares: of train, val and test, for entries that all have no split. of_train: the shares of train and val where
    there is train, but no val. seed: what the splits are drawn from, see _splits.assign.
    """
    given = {entry.split for entry in entries}
    if given == {""} or ("train" in given and "val" not in given):
        undivided, shares = ("", shares) if given == {""} else ("train", of_train)
        dealt = [entry for entry in entries if entry.split == undivided]
        labels = [max(0, entry.label) for entry in dealt]  # detection has no class of an item: all are one stratum
        found = _splits.assign(labels, [entry.group for entry in dealt], shares, seed)
        entries = [entry for entry in entries if entry.split != undivided]
        entries += [dataclasses.replace(entry, split=to) for entry, to in zip(dealt, found, strict=True)]
    return sorted(entries, key=lambda entry: (SPLITS.index(entry.split), entry.id))


def shared_groups(entries: Sequence[Entry]) -> list[Finding]:
    """A warning for each group of the entries that is in more than one split."""
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
    """One folder for each class, with or without train, val and test folders above: root[/split]/class/**/file.

    Or else files anywhere below the root, and a CSV of labels.
    """

    kind = "classification"
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

    def about(self, found: Survey) -> Description:
        return self.described(self.path, found.classes, found.entries)

    def sources(self) -> list[Source]:
        return [Source(self.path, self.extensions), *([Source(self.labels)] if self.labels else [])]

    def survey(self, seed: int) -> Survey:
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
        return Survey(classes, entries, findings + self._thin(classes, entries))

    def _thin(self, classes: list[str], entries: list[Entry]) -> list[Finding]:
        """Classes and splits that lack items."""
        findings = []
        few = "too few files or groups to give split {!r} any; add some, or make the splits yourself"
        of_class = collections.Counter(entry.label for entry in entries)
        present = {(entry.split, entry.label) for entry in entries}
        splits = {entry.split for entry in entries}
        for label, title in enumerate(classes):
            if of_class[label] == 1 and "train" in splits:
                text = "has a single item, which is in one split only"
                findings.append(Finding("single item", "warning", f"class {title!r}", text))
            for split in ("train", "test"):
                if "train" in splits and of_class[label] and (split, label) not in present:
                    text = f"class {title!r} has {few.format(split)}"
                    findings.append(Finding("class missing in a split", "error", str(self.path), text))
        return findings + [
            Finding("empty split", "error", str(self.path), few.format(split))
            for split in needed(splits)
            if entries and split not in splits
        ]

    def _from_folders(self, findings: list[Finding]) -> tuple[list[str], list[Entry]]:
        root, what = self.path, f"data set {self.name!r}"
        folders = {folder.name: folder for folder in subfolders(root, what)}
        parts = [("", root)]
        if "train" in folders or "test" in folders:
            if "test" not in folders:
                raise LossyBenchError(f"{root}: has no folder 'test' beside 'train'; give both, or 'test' alone")
            if others := set(folders) - set(SPLITS):
                raise LossyBenchError(f"{root}: {others.pop()!r} is beside train and test; give splits or classes")
            parts = [(split, folders[split]) for split in SPLITS if split in folders]
        classes = sorted({folder.name for _, part in parts for folder in subfolders(part, what)})
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
        subfolders(self.path, f"data set {self.name!r}")  # raises the error when it is no folder
        rows = self._rows()
        there = {file.relative_to(self.path).as_posix(): file for file in self.files(self.path, findings)}
        short: dict[str, list[str]] = collections.defaultdict(list)
        for id in there:
            short[str(Path(id).with_suffix(""))].append(id)
        found: dict[str, dict[str, str]] = {}
        for number, row in rows:
            where, file = f"{self.labels}, row {number}", row["file"]
            matches = [file] if file in there else short.get(file, [])
            if len(matches) != 1:
                what = f"matches {', '.join(matches)}; give the extension" if matches else "does not exist"
                findings.append(Finding("missing file", "error", where, f"{file!r} {what}"))
            elif not row["label"]:
                findings.append(Finding("row without a label", "error", where, f"{file!r} has no label"))
            elif row["split"] not in ("", *SPLITS):
                text = f"split {row['split']!r} of {file!r} is none of {', '.join(SPLITS)}"
                findings.append(Finding("unknown split", "error", where, text))
            elif matches[0] in found:
                findings.append(Finding("file listed twice", "error", where, f"{file!r} is listed twice"))
            else:
                found[matches[0]] = row
        findings += [
            Finding("file without a label", "warning", str(there[id]), f"is not in {self.labels} and is left out")
            for id in there
            if id not in found
        ]
        lacking = [id for id, row in found.items() if not row["split"]]
        if 0 < len(lacking) < len(found):
            text = f"{lacking[0]!r} and others have none; give all items a split, or none"
            findings.append(Finding("items without a split", "error", str(self.labels), text))
            found = {id: row for id, row in found.items() if row["split"]}
        classes = sorted({row["label"] for row in found.values()}, key=_natural)
        number_of = {title: number for number, title in enumerate(classes)}
        entries = []
        for id, row in sorted(found.items()):
            group = row["group"] if row["group"] and self.group is None else self.group_of(id)
            entries.append(Entry(id, there[id], row["split"], group, number_of[row["label"]]))
        return classes, entries

    def _rows(self) -> list[tuple[int, dict[str, str]]]:
        """Line number and row of each item in the CSV, by our own names of the columns; "" for what is not there."""
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
        """The files below `folder` that are of the medium, sorted. findings: notes of the others, left out, go here."""
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
    """The visible folders in `root`. Raises LossyBenchError, about `what`, when `root` is not a folder."""
    if not root.is_dir():
        problem = "is not a folder" if root.exists() else "does not exist"
        raise LossyBenchError(f"{what}: folder {root} {problem}; paths count from where you run")
    return sorted(folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith("."))


def compressed_before(card: dict[str, str], entries: Sequence[Entry]) -> tuple[str, ...]:
    """The lossy codings that the media went through: as the card says ("JPEG, DivX"), or else by the entries' files."""
    if "compressed_before" in card:
        return tuple(name.strip() for name in card["compressed_before"].split(",") if name.strip())
    suffixes = {entry.path.suffix.lower() for entry in entries} & LOSSY
    return tuple(sorted({"JPEG" if suffix in (".jpg", ".jpeg") else suffix[1:].upper() for suffix in suffixes}))
