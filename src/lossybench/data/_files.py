"""What the adapters of users' own files share: options, splits, groups, and what happens to unreadable files."""

from __future__ import annotations

import abc
import collections
import dataclasses
import posixpath
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field, field_validator, model_validator

from lossybench import kinds
from lossybench.data import _labels, _splits
from lossybench.data._signatures import signature
from lossybench.data.dataset import (
    FACTOR,
    SPLITS,
    Box,
    Dataset,
    Description,
    Finding,
    Item,
    Look,
    Severity,
    Source,
    lacking,
    listing,
    suffix_of,
)
from lossybench.errors import LossyBenchError, naming, nearest
from lossybench.settings import Place

SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}  # where the data come without splits
BESIDE, _TEXT = Path("beside"), ".txt"  # the value of the option `texts`, and what the files are called then
LARGEST_TEXT = 2**20  # bytes of a text beside a file
_JPEG = {".jpg", ".jpeg", ".jfif", ".jpe"}
_LOSSY = {*_JPEG, ".webp", ".avif", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".wma", ".mp4", ".m4v", ".mov",
          ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".flv", ".ogv", ".wmv", ".3gp"}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Entry:
    """An item still to be read from a file: id, groups, label and boxes as in Item; split is "" until it is assigned.

    size: the (width, height) of the picture that the boxes were drawn on, where the annotations state it.
    start, stop: the item is the file's records or frames from `start` up to `stop` (None: to the end). truth: as in
    Item.
    """

    id: str
    path: Path
    split: str
    groups: Mapping[str, str]
    label: int = -1
    boxes: tuple[Box, ...] = ()
    start: int = 0
    stop: int | None = None
    size: tuple[int, int] | None = None
    truth: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def whole(self) -> str:
        """What is kept together in splits and looks: the group of the first factor, or the item where there is none."""
        return next(iter(self.groups.values()), self.id)


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

    def truth(self, entry: Entry, media: np.ndarray) -> Mapping[str, Any]:
        """What else than label and boxes is true of an item with these media, as of `Item`.

        Raises LossyBenchError, naming the file, where that cannot be read.
        """
        return entry.truth

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
                raise LossyBenchError("is no file" if entry.path.exists() else "no such file")
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

    def file_bytes(self, entry: Entry) -> int | None:
        """The bytes of the files that hold an item and nothing else; None for a part of a file."""
        return None if entry.start or entry.stop is not None else entry.path.stat().st_size

    def describe(self, seed: int) -> Description:
        return self.about(self.listed(seed))

    def each(self, found: Survey) -> Iterator[tuple[Entry, Item | Finding]]:
        """Each entry of the survey, with its item, or with the finding that its file cannot be read."""
        for entry in found.entries:
            try:
                media, rate = self.read(entry)
                truth = self.truth(entry, media)
            except LossyBenchError as error:
                yield entry, unreadable(entry, error, self.fault)
            else:
                about = (entry.id, entry.split, entry.groups, media, rate, entry.label, entry.boxes)
                yield entry, Item(*about, self.file_bytes(entry), truth)

    def items(self, seed: int, left_out: list[Finding]) -> Iterator[Item]:
        yield from self._read(self.listed(seed), left_out)

    def items_of(self, look: Look, seed: int, left_out: list[Finding]) -> Iterator[Item]:
        """See Dataset. Looks are of listed items, those included that turn out to be unreadable and are left out.

        Raises LossyBenchError where the largest look takes more test items than there are.
        """
        found = self.listed(seed)
        tested = [entry for entry in found.entries if entry.split == "test"]
        if look.most > len(tested):
            raise LossyBenchError(
                f"data set {self.name!r}: key 'looks' asks for {look.most:,} test items, and there are {len(tested):,}"
            )
        order = _splits.in_looks([entry.label for entry in tested], [entry.whole for entry in tested], seed)
        entries = [] if look.start else [entry for entry in found.entries if entry.split != "test"]
        entries += [tested[index] for index in order[look.start : look.stop]]
        yield from self._read(found._replace(entries=entries), left_out)

    def _read(self, found: Survey, left_out: list[Finding]) -> Iterator[Item]:
        left_out += [finding for finding in found.findings if finding.left_out]
        for _, item in self.each(found):
            if isinstance(item, Item):
                yield item
            elif item.severity == "error":
                raise LossyBenchError(f"{item}; mend or remove it, or set on_error: skip")
            else:
                left_out.append(item)


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
        description="regular expression on an item's id that finds what items share: each named parenthesis is a "
        "factor, as in (?P<speaker>...); without any, the first one (or the whole match) is the factor `group`. Made "
        "splits keep the groups of the first factor whole",
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
    def _factors(cls, group: re.Pattern[str] | None) -> re.Pattern[str] | None:
        for name in group.groupindex if group else ():
            if not FACTOR.fullmatch(name):
                raise ValueError(f"factor {name!r}: name it by a to z, digits and _, a letter first")
        return group

    def groups_of(self, id: str) -> dict[str, str]:
        """What the option `group` finds in an item's `id`: factor -> name of the group; {} without that option.

        Raises LossyBenchError when the expression does not match, or finds nothing for a factor.
        """
        if self.group is None:
            return {}
        where = f"data set {self.name!r}: option 'group': {self.group.pattern!r}"
        match = self.group.search(id)
        if not match:
            raise LossyBenchError(f"{where} does not match {id!r}")
        found = match.groupdict() or {"group": match[1] if match.re.groups else match[0]}
        for factor, name in found.items():
            if not name:
                raise LossyBenchError(f"{where} finds no {factor} in {id!r}")
        return found

    def with_splits(self, entries: list[Entry], seed: int) -> list[Entry]:
        """The entries in splits by the options and the seed (see `split_up`). Warns of groups in two splits."""
        shares = self.fractions if "train" in self.fractions else SHARES
        rest = shares["train"] + shares["val"]
        of_train = {split: shares[split] / rest for split in ("train", "val")}
        entries = split_up(entries, self.fractions, of_train, seed)
        if shared := shared_groups(entries):
            warnings.warn(f"data set {self.name!r}: {shared[0].item} {shared[0].text}", stacklevel=2)
        return entries

    def described(self, folder: Path, classes: list[str], entries: Sequence[Entry]) -> Description:
        """The description of data in `folder`: what the entries' files tell, and over it what the card states."""
        lossy = sum(bool(lossy_coding(entry.path)) for entry in entries)
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
        found = _splits.assign(labels, [entry.whole for entry in dealt], shares, seed)
        entries = [entry for entry in entries if entry.split != undivided]
        entries += [dataclasses.replace(entry, split=to) for entry, to in zip(dealt, found, strict=True)]
    return sorted(entries, key=lambda entry: (SPLITS.index(entry.split), entry.id))


def shared_groups(entries: Sequence[Entry]) -> list[Finding]:
    """A warning for each group of the first factor that is in two splits, and for each other factor that is shared.

    Splits can hardly keep several factors apart, and those that we make do so for the first alone.
    """
    findings = []
    for place, factor in enumerate(entries[0].groups if entries else ()):
        splits_of = collections.defaultdict(set)
        for entry in entries:
            splits_of[entry.groups[factor]].add(entry.split)
        if not place:
            text = "is in {}, as the data came; test results may be too good"
            findings += [
                Finding(
                    "group in two splits", "warning", f"{factor} {name!r}", text.format(" and ".join(sorted(splits)))
                )
                for name, splits in splits_of.items()
                if len(splits) > 1
            ]
        elif shared := [name for name, splits in splits_of.items() if "test" in splits and len(splits) > 1]:
            tested = sum("test" in splits for splits in splits_of.values())
            text = (
                f"has {len(shared)} of its {tested} groups in test, such as {shared[0]!r}, in train or val too: test "
            )
            text += f"items share their {factor} with training items, and results say little of a new one"
            findings.append(Finding("factor in two splits", "warning", factor, text))
    return findings


class ClassFolders(UserFiles):
    """One folder for each class, with or without train, val and test folders above: root[/split]/class/**/file.

    Or else files anywhere below the root, with a CSV of labels or texts, with a text beside each, or with neither.
    """

    kind = "classification"
    extensions: ClassVar[tuple[str, ...]]
    path: Place = Field(description="folder with one folder a class, or with train, val, test folders of classes")
    labels: Place | None = Field(
        None,
        description="CSV with a header: of each item its file below `path` (the extension may be left out), its label "
        "and, if there are such columns, its split and group (what items share); folders mean nothing then",
    )
    texts: Place | None = Field(
        None,
        description="what is written or said in each item, for models that read or transcribe: a CSV as `labels` is, "
        "with a column text in place of label; or `beside`, a file NAME.txt in UTF-8 beside each NAME.png",
    )
    unlabelled: str | None = Field(
        None,
        description="kind of task of files that have no labels and lie anywhere below `path`: classification, "
        "detection, text. The task needs `truth: model` then",
    )
    columns: dict[Literal["file", "label", "text", "split", "group"], str | list[str]] = Field(
        {},
        description="names of these columns of `labels` or `texts` where they differ: {file: ImageId, label: "
        "TrueLabel}; of several factors that items share, a list: {group: [speaker, site]}",
    )

    @field_validator("columns")
    @classmethod
    def _one_each(cls, columns: dict[str, str | list[str]]) -> dict[str, str | list[str]]:
        for name, theirs in columns.items():
            if not isinstance(theirs, str) and (name != "group" or not theirs):
                raise ValueError(f"{name}: give the name of one column{' or more' * (name == 'group')}")
        return columns

    @model_validator(mode="before")
    @classmethod
    def _tested_alone(cls, options: Any) -> Any:
        """Where there are no classes to learn, all items are for testing unless `fractions` says otherwise."""
        classless = isinstance(options, dict) and (options.get("texts") or options.get("unlabelled"))
        return {"fractions": {"test": 1.0}, **options} if classless else options

    @model_validator(mode="after")
    def _one_truth(self) -> ClassFolders:
        if self.unlabelled is not None and self.unlabelled not in kinds.names():
            raise ValueError(
                f"unlabelled: no kind of task {self.unlabelled!r}; {nearest(self.unlabelled, kinds.names())}"
            )
        given = [name for name in ("labels", "texts", "unlabelled") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{given[0]} and {given[1]} exclude each other; give one")
        return self

    @property
    def _table(self) -> Path | None:
        """The CSV that says what is true of the files."""
        return self.labels or (self.texts if self.texts != BESIDE else None)

    @property
    def _of_kind(self) -> str:
        return self.unlabelled or ("text" if self.texts else self.kind)

    def about(self, found: Survey) -> Description:
        described = self.described(self.path, found.classes, found.entries)
        return dataclasses.replace(described, kind=self._of_kind, labelled=not self.unlabelled)

    def sources(self) -> list[Source]:
        """See Dataset. Files without extension count, since their content decides whether they are read."""
        suffixes = (*self.extensions, "", *([_TEXT] if self.texts == BESIDE else []))
        return [Source(self.path, suffixes), *([Source(self._table)] if self._table else [])]

    def survey(self, seed: int) -> Survey:
        findings: list[Finding] = []
        subfolders(self.path, f"data set {self.name!r}")  # raises the error when it is no folder
        if self._table:
            classes, entries = self._from_table(findings)
        elif self._of_kind == self.kind and not self.unlabelled:
            classes, entries = self._from_folders(findings)
        else:
            classes, entries = [], self._anywhere(findings)
        if len(classes) < 2 and self._of_kind == self.kind and not self.unlabelled:
            text = f"{len(classes)} class{' folders' * (not self.labels)}; classification needs two or more"
            findings.append(Finding("too few classes", "error", str(self.labels or self.path), text))
        entries = self.with_splits(entries, seed) if entries else []
        of_class = collections.Counter(entry.label for entry in entries)
        counts = collections.Counter((entry.split, entry.label) for entry in entries)
        splits = {entry.split for entry in entries}
        findings += shared_groups(entries) + _labels.alike(classes, of_class)
        findings += [
            Finding("single item", "warning", f"class {title!r}", "has a single item, which is in one split only")
            for label, title in enumerate(classes)
            if of_class[label] == 1 and "train" in splits
        ]
        return Survey(classes, entries, findings + lacking(self._of_kind, classes, counts, splits))

    def _anywhere(self, findings: list[Finding]) -> list[Entry]:
        """The files below the root, with the texts beside them or with nothing that is known of them."""
        entries = []
        files = self.files(self.path, findings)
        if not files:
            text = f"holds no {self.medium} file ({', '.join(self.extensions)})"
            findings.append(Finding("empty folder", "error", str(self.path), text))
        for file in files:
            id = file.relative_to(self.path).as_posix()
            truth: dict[str, Any] = {"text": None} if self._of_kind == "text" else {}
            if self.texts == BESIDE:
                try:
                    truth = {"text": _text_beside(file)}
                except LossyBenchError as error:
                    findings.append(Finding("file without a text", self.fault, str(file), str(error), left_out=True))
                    continue
            entries.append(Entry(id, file, "", self.groups_of(id), truth=truth))
        return entries

    def parts(self, findings: list[Finding]) -> list[tuple[str, Path, list[Path]]]:
        """The split, "" where there are none, the folder of each part of the data, and the folders of classes in it.

        findings: see `_folders`. Raises LossyBenchError where folders of splits and classes are mixed up.
        """
        folders = self._folders(self.path, findings)
        of_split: dict[str, list[Path]] = collections.defaultdict(list)
        for folder in folders:
            of_split[_labels.SPLIT_OF.get(folder.name.lower(), "")].append(folder)
        if "train" not in of_split and "test" not in of_split:
            return [("", self.path, folders)]
        if "test" not in of_split:
            raise LossyBenchError(f"{self.path}: has no folder 'test' beside 'train'; give both, or 'test' alone")
        if others := of_split.pop("", None):
            raise LossyBenchError(f"{self.path}: {others[-1].name!r} is beside train and test; give splits or classes")
        if twice := next((folders for folders in of_split.values() if len(folders) > 1), None):
            names = " and ".join(repr(folder.name) for folder in twice)
            raise LossyBenchError(f"{self.path}: {names} are one split; give one folder for each")
        found = [(split, of_split[split][0]) for split in SPLITS if split in of_split]
        return [(split, part, self._folders(part, findings)) for split, part in found]

    def _from_folders(self, findings: list[Finding]) -> tuple[list[str], list[Entry]]:
        parts = self.parts(findings)
        classes = sorted({folder.name for _, _, folders in parts for folder in folders})
        entries = []
        for split, part, _ in parts:
            for label, title in enumerate(classes):
                files = self.files(part / title, findings)
                if not files and split != "val":
                    text = f"holds no {self.medium} file of class {title!r} ({', '.join(self.extensions)})"
                    findings.append(Finding("empty class", "error", str(part / title), text))
                for file in files:
                    id = file.relative_to(self.path).as_posix()
                    entries.append(Entry(id, file, split, self.groups_of(id), label))
        return classes, entries

    def _folders(self, folder: Path, findings: list[Finding]) -> list[Path]:
        """The folders in `folder`, of classes or splits; files beside them have no label and are left out."""
        files, folders = listing(folder, findings)
        findings += [
            Finding("file without a label", "warning", str(file), "lies in no class folder and is left out", True)
            for file in self._of_medium(files, findings)
        ]
        return self._storable(folders, findings)

    def _from_table(self, findings: list[Finding]) -> tuple[list[str], list[Entry]]:
        """The classes and entries of the CSV of labels, or no classes and the entries of that of texts."""
        table = self._table
        assert table is not None
        what = "text" if self.texts else "label"
        titles = {name: title for name, title in self.columns.items() if name not in ("label", "text")}
        titles["label"] = self.columns.get("text" if self.texts else "label", what)
        rows = _labels.rows(table, titles, self.fault, findings)
        there = {file.relative_to(self.path).as_posix(): file for file in self.files(self.path, findings)}
        files = _labels.Files(self.path, there)
        found: dict[str, _labels.Row] = {}
        named, torn, other = set[str](), set[str](), list[str]()
        for row in rows:
            where = f"{table}, line {row.line}"

            def bad(kind: str, text: str, where: str = where) -> None:
                findings.append(Finding(kind, self.fault, where, text, left_out=True))

            id, problem = files.find(row.file)
            split = _labels.SPLIT_OF.get(row.split.lower(), row.split)
            first = found.get(id)
            if not problem and id not in named and row.file not in (id, posixpath.splitext(id)[0]):
                other.append(f"{row.file!r} for {id!r}")
            if problem:
                bad("missing file", f"{row.file!r} {problem}")
            elif not row.label or (row.label in _labels.MISSING and not self.texts):
                marked = f", but {row.label!r}, which stands for a missing value" if row.label else ""
                bad(f"row without a {what}", f"{row.file!r} has no {what}{marked}")
            elif not row.label.isprintable() and not self.texts:
                bad(
                    "label of several lines",
                    f"label {row.label!r} of {row.file!r} is no line of text; is a quote missing?",
                )
            elif split not in ("", *SPLITS):
                bad("unknown split", f"split {row.split!r} of {row.file!r} is none of {', '.join(_labels.SPLIT_OF)}")
            elif first and (first.label, first.split, first.groups) != (row.label, split, row.groups):
                bad("file listed twice", f"{row.file!r} has another {what}, split or group in line {first.line}")
                torn.add(id)
            elif first:
                text = f"{row.file!r} is in line {first.line} too, with the same {what}; it is taken once"
                findings.append(Finding("file listed twice", "warning", where, text, left_out=True))
            else:
                found[id] = dataclasses.replace(row, split=split)
            named.add(id)
        if other:
            text = f"{len(other)} files are named in another way than they are called, such as {other[0]}"
            findings.append(Finding("file by another name", "note", str(table), text))
        findings += [
            Finding(f"file without a {what}", "warning", str(file), f"has no sound row in {table}; left out", True)
            for id, file in there.items()
            if id not in named
        ]
        found = {id: row for id, row in found.items() if id not in torn}  # nobody knows which row is right
        splits = {row.split for row in found.values()}
        entries = []
        classes = [] if self.texts else sorted({row.label for row in found.values()}, key=_labels.natural)
        number_of = {title: number for number, title in enumerate(classes)}
        for id, row in sorted(found.items()):
            if not row.split and splits != {""}:
                where, text = f"{table}, line {row.line}", f"{row.file!r} has no split, but other files have one"
                findings.append(Finding("row without a split", self.fault, where, text, left_out=True))
                continue
            # An item whose field is empty shares nothing, so that it is a group of its own.
            groups = self.groups_of(id) or {factor: name or id for factor, name in row.groups.items()}
            label, truth = (-1, {"text": row.label}) if self.texts else (number_of[row.label], {})
            entries.append(Entry(id, there[id], row.split, groups, label, truth=truth))
        return classes, entries

    def files(self, folder: Path, findings: list[Finding]) -> list[Path]:
        """The files below `folder` that are of the medium, sorted. findings: of what is left out, and why."""
        return self._of_medium(sorted(Source(folder).files(None, findings)), findings)

    def _of_medium(self, files: list[Path], findings: list[Finding]) -> list[Path]:
        """Those of the `files` that are of the medium by their extension, or without one by their first bytes."""
        found = []
        for file in files:
            suffix = suffix_of(file)
            content = None if suffix in self.extensions else signature(file)
            ours = content is not None and self.medium in content.media
            if suffix in self.extensions or (ours and not suffix):
                found.append(file)
            elif content and ours:
                text = (
                    f"is {content.title} by its content, but {suffix} is not read as {self.medium}, so it is left out"
                )
                findings.append(Finding("unknown extension", "warning", str(file), text, left_out=True))
            elif file != self._table and not (self.texts == BESIDE and suffix == _TEXT):
                text = f"is no {self.medium} by its name and is left out"
                findings.append(Finding("file of another kind", "note", str(file), text, left_out=True))
        return self._storable(found, findings)

    def _storable(self, paths: list[Path], findings: list[Finding]) -> list[Path]:
        """Those of the files or folders whose names are UTF-8, as tables need."""
        found = []
        for path in paths:
            try:
                path.name.encode()
                found.append(path)
            except UnicodeEncodeError:
                text = "its name is not UTF-8 and cannot be stored; rename it"
                findings.append(Finding("name not in UTF-8", self.fault, str(path), text, left_out=True))
        return found


def _text_beside(file: Path) -> str:
    """The text in the file that is called like `file`, with .txt. Raises LossyBenchError where there is none."""
    path = file.with_suffix(_TEXT)
    try:
        if path.stat().st_size > LARGEST_TEXT:
            raise LossyBenchError(f"{path}: has more than {LARGEST_TEXT:,} bytes; give what is written or said in it")
        text = path.read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        raise LossyBenchError(f"{path}: {error.strerror}; write there what is written or said in it") from None
    except UnicodeDecodeError:
        raise LossyBenchError(f"{path}: is no text in UTF-8; save it as UTF-8") from None
    if not text:
        raise LossyBenchError(f"{path}: has no text; write there what is written or said in it")
    return text


def subfolders(root: Path, what: str) -> list[Path]:
    """The folders in `root` that `listing` lists. Raises LossyBenchError, about `what`, when `root` is not a folder."""
    if not root.is_dir():
        problem = "is not a folder" if root.exists() else "does not exist"
        raise LossyBenchError(f"{what}: folder {root} {problem}; paths count from where you run")
    return listing(root, [])[1]


def lossy_coding(path: Path) -> str:
    """What the file `path` was compressed with, by its extension, or without one by its first bytes; "" if lossless."""
    suffix = suffix_of(path)
    if not suffix:
        content = signature(path)
        return content.title if content and content.lossy else ""
    return "JPEG" if suffix in _JPEG else suffix[1:].upper() if suffix in _LOSSY else ""


def compressed_before(card: dict[str, str], entries: Sequence[Entry]) -> tuple[str, ...]:
    """The lossy codings that the media went through: as the card says ("JPEG, DivX"), or else by the entries' files."""
    if "compressed_before" in card:
        return tuple(name.strip() for name in card["compressed_before"].split(",") if name.strip())
    return tuple(sorted({lossy_coding(entry.path) for entry in entries} - {""}))
