"""The CSV of labels: which file has which label, in which split and group."""

from __future__ import annotations

import codecs
import collections
import csv
import dataclasses
import difflib
import io
import math
import posixpath
import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lossybench.data.dataset import FACTOR, SPLITS, Finding, Severity
from lossybench.errors import LossyBenchError, nearest, visible

# What splits are called elsewhere.
SPLIT_OF = {split: split for split in SPLITS} | {
    "training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test",
}  # fmt: skip
# How spreadsheets and pandas write that a value is missing, in the very letters: a class may be called "na" or "None".
MISSING = {"nan", "NaN", "-nan", "NA", "N/A", "n/a", "#N/A", "#NA", "<NA>", "null", "NULL"}
_BYTE_ORDERS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_NEAR = 10  # so many files that do not exist are compared with all that do, which takes long


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the table by our own names of its columns; "" for what is not there. line: where it ends, from 1.

    groups: factor -> what the row has in that column.
    """

    line: int
    file: str
    label: str
    groups: Mapping[str, str]
    split: str = ""


def rows(path: Path, columns: Mapping[Any, str | list[str]], fault: Severity, findings: list[Finding]) -> list[Row]:
    """The rows of the CSV `path` whose fields are as many as the header's; the others are findings.

    columns: what file, label, split and group are called where they differ; of several groups, a list. fault: how
    severe a bad row is. The text is UTF-8, or UTF-16 with a byte order mark. The header tells whether comma, semicolon
    or tab separates the fields. Raises LossyBenchError when the file is no such text, or has no header with these
    columns, and for a column of groups whose title cannot be the name of a factor.
    """
    text = _text(path)
    wanted = [
        (name, title)
        for name, theirs in {"file": "file", "label": "label", **columns}.items()
        for title in ([theirs] if isinstance(theirs, str) else theirs)
    ]
    reader = None
    try:
        header, reader = _header(path, text, wanted)
        optional = [(name, name) for name in ("split", "group") if name not in columns]
        wanted += [one for one in optional if _column(one[1], header) is not None]
        at = [(name, header.index(_column(title, header) or "")) for name, title in wanted]
        places = {name: place for name, place in at if name != "group"}
        shared = _factors(path, header, [place for name, place in at if name == "group"])
        found = []
        for fields in reader:
            if not any(field.strip() for field in fields):
                continue
            where = f"{path}, line {reader.line_num}"
            if len(fields) < len(header) or any(field.strip() for field in fields[len(header) :]):
                text = f"has {len(fields)} fields, the header {len(header)}; quote a field that holds the separator"
                findings.append(Finding("row of another length", fault, where, text, left_out=True))
                continue
            groups = {factor: fields[place].strip() for factor, place in shared.items()}
            texts = {name: fields[place].strip() for name, place in places.items()}
            found.append(Row(reader.line_num, groups=groups, **texts))
        return found
    except csv.Error as error:
        line = reader.line_num + 1 if reader else 1  # the header
        raise LossyBenchError(f"{path}: not a CSV: line {line} or before: {error}") from None


def _text(path: Path) -> str:
    """The text of the CSV `path`. Raises LossyBenchError when there is none, or it is in another encoding."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LossyBenchError(f"{path}: {error.strerror}") from None
    encoding = "utf-16" if content.startswith(_BYTE_ORDERS) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise LossyBenchError(f"{path}: not a CSV in UTF-8, at line {line}; save it as UTF-8") from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise LossyBenchError(f"{path}: not a CSV in UTF-8: a zero byte at line {line}; save it as UTF-8")
    return text


def _header(path: Path, text: str, wanted: list[tuple[str, str]]) -> tuple[list[str], Any]:
    """The titles of the columns, and the reader of what follows, with the separator that splits off those `wanted`.

    wanted: our own name and the title of each.
    """
    for separator in (",", ";", "\t"):
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
        header = [title.strip() for title in next(reader, [])]
        if all(_column(theirs, header) is not None for _, theirs in wanted):
            twice = [title for title in header if title and header.count(title) > 1]
            if twice:
                raise LossyBenchError(f"{path}: two columns are called {twice[0]!r}")
            return header, reader
    first = text.partition("\n")[0].partition("\r")[0]
    header = [title.strip() for title in re.split("[,;\t]", first)]
    ours, theirs = next((o, t) for o, t in wanted if _column(t, header) is None)
    raise LossyBenchError(
        f"{path}: no column {theirs!r} for the {ours}; {nearest(theirs, map(visible, header[:20]))}; the first line "
        "names the columns, one of which holds the labels; say which in `columns`"
    )


def _factors(path: Path, header: list[str], places: list[int]) -> dict[str, int]:
    """The factors that the columns at `places` in the `header` are, called as these in lower case and with _."""
    found: dict[str, int] = {}
    for place in places:
        factor = re.sub(r"\W+", "_", header[place].casefold()).strip("_")
        if not FACTOR.fullmatch(factor):
            raise LossyBenchError(
                f"{path}: column {header[place]!r} cannot name what items share: call it by a to z, digits and _, a "
                "letter first"
            )
        if factor in found:
            raise LossyBenchError(
                f"{path}: columns {header[found[factor]]!r} and {header[place]!r} of groups are both called {factor!r}"
            )
        found[factor] = place
    return found


def _column(name: str, header: list[str]) -> str | None:
    """The title in the `header` that is `name`, if need be in other case; None when there is none, or several."""
    if name in header:
        return name
    alike = [title for title in header if title.casefold() == name.strip().casefold()]
    return alike[0] if len(alike) == 1 else None


class Files:
    """The files below `root`, by id (the path from `root`), and by each other way in which a table may name them."""

    def __init__(self, root: Path, ids: Iterable[str]) -> None:
        self.root, self.ids = root, list(ids)
        self._exact = set(self.ids)
        self._ways: list[dict[str, list[str]]] = [collections.defaultdict(list) for _ in range(4)]
        for id in self.ids:
            stem = posixpath.splitext(id)[0]
            for way, key in zip(
                self._ways, (stem, _loose(id), _loose(stem), _loose(posixpath.basename(id))), strict=True
            ):
                way[key].append(id)
        self._compared = 0

    def find(self, name: str) -> tuple[str, str]:
        """The id of the one file that `name` fits, and "", or else "" and what is wrong.

        Fits the path from `root`, with or without extension; if none is, so does a path that is written with
        backslashes, with "./", from the file system's root, in other case, or in another normal form of Unicode.
        """
        short, loose, loosely_short, _ = self._ways
        if name in self._exact:
            return name, ""
        path = posixpath.normpath(name.replace("\\", "/"))
        roots = {str(root).replace("\\", "/") for root in (self.root.absolute(), self.root.resolve())}
        for root in roots:
            if path.startswith(f"{root.rstrip('/')}/"):
                path = path[len(root.rstrip("/")) + 1 :]
        if path.startswith(("/", "../")) or path == ".." or re.match("[A-Za-z]:/", path):
            return "", f"lies outside {self.root}"
        for way, key in ((short, name), (loose, _loose(path)), (loosely_short, _loose(path))):
            if matches := ([path] if path in self._exact else way.get(key, [])):
                break
        else:
            return "", f"does not exist{self._nearest(path)}"
        if len(matches) > 1:
            return "", f"matches {', '.join(sorted(matches)[:5])}; write it as the file is called, with its extension"
        return matches[0], ""

    def _nearest(self, path: str) -> str:
        """Which file may be meant, in words: one of the same name elsewhere, or else of a name that is much alike."""
        near = self._ways[3].get(_loose(posixpath.basename(path)), [])
        if not near and self._compared < _NEAR:
            self._compared += 1
            stems = {posixpath.splitext(id)[0]: id for id in self.ids[:5000]}
            near = [stems[stem] for stem in difflib.get_close_matches(posixpath.splitext(path)[0], stems, n=1)]
        return f"; the nearest file is {near[0]!r}" if near else ""


def _loose(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


def natural(label: str) -> tuple[bool, float, str]:
    """Labels that are numbers in the order of numbers, before words."""
    number = _number(label)
    return (number is None, number or 0.0, label)


def _number(label: str) -> float | None:
    """The number that `label` spells; None for a word, nan and inf included."""
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", label):
        return None
    number = float(label)
    return number if math.isfinite(number) else None


def alike(classes: list[str], counts: Mapping[int, int]) -> list[Finding]:
    """A warning for each two or more classes that differ by case, spaces, normal form or the spelling of a number.

    counts: the number of items of each label.
    """
    groups = collections.defaultdict(list)
    for label, title in enumerate(classes):
        number = _number(title)
        key = " ".join(unicodedata.normalize("NFKC", title).casefold().replace("_", " ").split())
        groups[key if number is None else str(number)].append(label)
    return [
        Finding(
            "classes of like names",
            "warning",
            " and ".join(f"class {classes[label]!r} ({counts[label]} items)" for label in labels),
            "are classes apart, though their names differ in case, spaces or spelling alone",
        )
        for labels in groups.values()
        if len(labels) > 1
    ]
