"""What the adapters of verification share: which pairs of test items are compared, and folders of identities."""

from __future__ import annotations

import collections
import csv
import dataclasses
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator

from lossybench.data import _labels
from lossybench.data._files import ClassFolders, Entry, Survey, shared_groups, subfolders
from lossybench.data.dataset import Dataset, Description, Finding, Item, Source, lacking
from lossybench.errors import LossyBenchError, shown
from lossybench.settings import MOST, Place

FACTOR = "identity"


class Paired(Dataset):
    """Options of data sets whose test items are compared in pairs."""

    kind = "verification"
    pairs: int | Literal["all"] = Field(
        20_000,
        description="pairs of test items, half of them genuine if there are so many, drawn at random, always the same "
        "ones; or all. The same pairs are compared behind every codec",
    )
    enrolled: Literal["compressed", "original"] = Field(
        "compressed",
        description="the first item of a pair: compressed like the second one, or the original that was enrolled, "
        "where only the probe, the second one, goes through the codec",
    )

    @field_validator("pairs")
    @classmethod
    def _some(cls, pairs: Any) -> Any:
        if isinstance(pairs, int) and not 2 <= pairs <= 100 * MOST:
            raise ValueError(f"give 2 to {100 * MOST:,} pairs, or all")
        return pairs

    def compared(self, identity: str, label: int, against: Sequence[str]) -> dict[str, Any]:
        """What is true of an item. label: -1 unless it is trained on. against: the ids of what it is compared with."""
        enrolled_original = self.enrolled == "original"
        return {"identity": identity, "label": label, "against": list(against), "enrolled_original": enrolled_original}

    def drawn(self, ids: Sequence[str], identities: Sequence[str]) -> dict[str, list[str]]:
        """For each of the test items by its id the earlier items that it is compared with. identities: of each."""
        most = self.pairs if isinstance(self.pairs, int) else None
        against: dict[str, list[str]] = collections.defaultdict(list)
        for first, second in draw(identities, most):
            against[ids[second]].append(ids[first])
        return against


def draw(identities: Sequence[str], most: int | None) -> list[tuple[int, int]]:
    """Pairs (first, second) of places among the `identities`, first < second, ordered by second, then first.

    most: how many, half of them genuine if there are so many, and impostors' for the rest; all that there are for None.
    The same identities give the same pairs.
    """
    count = len(identities)
    if most is None or most >= count * (count - 1) // 2:
        return [(first, second) for second in range(count) for first in range(second)]
    random = np.random.default_rng(count)
    members = collections.defaultdict(list)
    for place, name in enumerate(identities):
        members[name].append(place)
    genuine = [pair for name in members for pair in itertools.combinations(members[name], 2)]
    impostors = count * (count - 1) // 2 - len(genuine)
    wanted = min(max(most // 2, most - impostors), len(genuine))
    chosen = {genuine[place] for place in random.permutation(len(genuine))[:wanted].tolist()}
    if most - wanted > impostors // 2:  # so many that most draws would be of pairs that are drawn already
        others = [(a, b) for a, b in itertools.combinations(range(count), 2) if identities[a] != identities[b]]
        chosen |= {others[place] for place in random.permutation(len(others))[: most - wanted].tolist()}
    while len(chosen) < min(most, wanted + impostors):
        first, second = sorted(random.integers(count, size=2).tolist())
        if identities[first] != identities[second]:
            chosen.add((first, second))
    return sorted(chosen, key=lambda pair: pair[::-1])


class IdentityFolders(Paired, ClassFolders):
    """root[/split]/identity/**/file, such as faces in the layout of LFW; or files whose names tell the identity."""

    kind = "verification"
    path: Place = Field(description="folder with one folder an identity, or with train, val, test folders of these")
    identity: re.Pattern[str] | None = Field(
        None,
        description="regular expression on an item's id (its path below `path`), whose first parenthesis is the "
        "identity; folders mean nothing then. The name of the folder when left out",
    )
    pairs: int | Literal["all"] | Place = Field(  # type: ignore[assignment]
        20_000,
        description="pairs of test items, half of them genuine if there are so many, drawn at random, always the same "
        "ones; all; or a file that lists them: pairs.txt as of LFW, lines as of VoxCeleb (1 or 0, file, file), or a "
        "CSV with the columns first and second. The same pairs are compared behind every codec",
    )

    @field_validator("identity")
    @classmethod
    def _one_parenthesis(cls, identity: re.Pattern[str] | None) -> re.Pattern[str] | None:
        if identity is not None and not identity.groups:
            raise ValueError("put the identity in parentheses, as in _([a-z]+)_")
        return identity

    @property
    def listed_pairs(self) -> Path | None:
        """The file that lists the pairs; None where they are drawn."""
        return self.pairs if isinstance(self.pairs, Path) else None

    def sources(self) -> list[Source]:
        return [*super().sources(), *([Source(self.listed_pairs)] if self.listed_pairs else [])]

    def about(self, found: Survey) -> Description:
        return dataclasses.replace(super().about(found), classes=_learnt(found))

    def survey(self, seed: int) -> Survey:
        findings: list[Finding] = []
        subfolders(self.path, f"data set {self.name!r}")  # raises the error when it is no folder
        names, entries = self._from_table(findings) if self.labels else self._identified(findings)
        # Identities are groups and no classes, of which each split would need some.
        entries = [
            dataclasses.replace(entry, groups={FACTOR: names[entry.label], **entry.groups}, label=-1)
            for entry in entries
        ]
        entries = self.with_splits(entries, seed) if entries else []
        if self.listed_pairs:
            entries = self._in_pairs(self.listed_pairs, entries, findings)
        findings += shared_groups(entries)
        for split in sorted({"val", "test"} & {entry.split for entry in entries}):
            compared = collections.Counter(entry.groups[FACTOR] for entry in entries if entry.split == split)
            if len(compared) < 2 or max(compared.values()) < 2:
                text = f"{len(compared)} identities in {split}; give two or more, and two or more items of one"
                findings.append(Finding("too few identities", "error", str(self.labels or self.path), text))
        tested = collections.Counter(entry.groups[FACTOR] for entry in entries if entry.split == "test")
        if single := [name for name, count in tested.items() if count == 1]:
            text = f"{len(single)} of {len(tested)} identities in test have one item, so no genuine pair: {single[0]!r}"
            findings.append(Finding("identities with one item", "note", str(self.path), text))
        counts = collections.Counter((entry.split, 0) for entry in entries)
        return Survey(names, entries, findings + lacking(self.kind, names, counts, {split for split, _ in counts}))

    def _identified(self, findings: list[Finding]) -> tuple[list[str], list[Entry]]:
        found: list[tuple[str, str, Path]] = []  # split, identity, file
        if self.identity:
            for file in self.files(self.path, findings):
                match = self.identity.search(file.relative_to(self.path).as_posix())
                if match and match[1]:
                    found.append(("", match[1], file))
                else:
                    text = f"option 'identity': {self.identity.pattern!r} finds no identity in its name"
                    findings.append(Finding("file without identity", self.fault, str(file), text, left_out=True))
        else:
            found = [
                (split, folder.name, file)
                for split, _, folders in self.parts(findings)
                for folder in folders
                for file in self.files(folder, findings)
            ]
        names = sorted({name for _, name, _ in found})
        number_of = {name: number for number, name in enumerate(names)}
        ids = [file.relative_to(self.path).as_posix() for _, _, file in found]
        return names, [
            Entry(id, file, split, self.groups_of(id), number_of[name])
            for id, (split, name, file) in zip(ids, found, strict=True)
        ]

    def _in_pairs(self, path: Path, entries: list[Entry], findings: list[Finding]) -> list[Entry]:
        """The entries without those of the split test that are in none of the listed pairs."""
        named = {id for pair in self._listed(path, entries) for id in pair}
        kept = [entry for entry in entries if entry.split != "test" or entry.id in named]
        if len(kept) < len(entries):
            text = f"names {len(named)} files; the other {len(entries) - len(kept)} test items are in no pair"
            findings.append(Finding("items in no pair", "note", str(path), text, left_out=True))
        return kept

    def _listed(self, path: Path, entries: Sequence[Entry]) -> list[tuple[str, str]]:
        """The ids of the pairs in the list `path`. Raises LossyBenchError, naming the line, for what is no pair."""
        tested = {entry.id: entry.groups[FACTOR] for entry in entries if entry.split == "test"}
        files, found = _labels.Files(self.path, tested), dict[tuple[str, str], None]()
        for line, first, second, same in _lines(path):
            where = f"{path}, line {line}"
            pair = []
            for name in (first, second):
                id, problem = files.find(name)
                if problem:
                    raise LossyBenchError(f"{where}: {shown(name)} {problem} among the test items of {self.path}")
                pair.append(id)
            if pair[0] == pair[1]:
                raise LossyBenchError(f"{where}: compares {shown(first)} with itself; a pair is of two files")
            if same is not None and same != (tested[pair[0]] == tested[pair[1]]):
                raise LossyBenchError(
                    f"{where}: says that {shown(first)} and {shown(second)} are {'' if same else 'not '}of one "
                    f"identity, and they are of {shown(tested[pair[0]])} and {shown(tested[pair[1]])}"
                )
            found[pair[0], pair[1]] = None
        genuine = sum(tested[first] == tested[second] for first, second in found)
        if not 0 < genuine < len(found):
            raise LossyBenchError(f"{path}: lists {genuine} genuine pairs of {len(found)}; list pairs of both sorts")
        return list(found)

    def each(self, found: Survey) -> Iterator[tuple[Entry, Item | Finding]]:
        learnt = {name: label for label, name in enumerate(_learnt(found))}
        tested = [entry for entry in found.entries if entry.split == "test"]
        against: dict[str, list[str]] = collections.defaultdict(list)
        if self.listed_pairs:
            for first, second in self._listed(self.listed_pairs, tested):
                against[second].append(first)
        else:
            against |= self.drawn([entry.id for entry in tested], [entry.groups[FACTOR] for entry in tested])
        for entry, item in super().each(found):
            if isinstance(item, Item):
                name = entry.groups[FACTOR]
                label = learnt[name] if entry.split == "train" else -1
                item = dataclasses.replace(item, truth=self.compared(name, label, against.get(entry.id, ())))
            yield entry, item


def _learnt(found: Survey) -> list[str]:
    """The identities that a network is trained to tell: those in the split train."""
    return sorted({entry.groups[FACTOR] for entry in found.entries if entry.split == "train"})


def _lines(path: Path) -> Iterator[tuple[int, str, str, bool | None]]:
    """The pairs in a list: line from 1, both files, and whether they are of one identity where the list says so."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is no text in UTF-8"
        raise LossyBenchError(f"pairs: {path}: {why}") from None
    if path.suffix.lower() == ".csv":
        reader = csv.reader(lines, skipinitialspace=True)
        header = [title.strip().lower() for title in next(reader, [])]
        if not {"first", "second"} <= set(header):
            raise LossyBenchError(f"{path}: the first line has to name the columns first and second")
        places = header.index("first"), header.index("second")
        for fields in filter(None, reader):
            if len(fields) != len(header):
                raise LossyBenchError(
                    f"{path}, line {reader.line_num}: has {len(fields)} fields, the header {len(header)}"
                )
            yield reader.line_num, fields[places[0]].strip(), fields[places[1]].strip(), None
        return
    for number, line in enumerate(lines, start=1):
        fields = line.split("\t") if "\t" in line else line.split()
        of_one = len(fields) == 3 and fields[1].isdigit() and fields[2].isdigit()
        if (number == 1 and len(fields) <= 2 and all(field.isdigit() for field in fields)) or not fields:
            continue  # LFW's first line: how many there are
        if of_one:
            yield number, _lfw(fields[0], fields[1]), _lfw(fields[0], fields[2]), True
        elif len(fields) == 4 and fields[1].isdigit() and fields[3].isdigit():
            yield number, _lfw(*fields[:2]), _lfw(*fields[2:]), False
        elif len(fields) == 3 and fields[0] in ("0", "1"):
            yield number, fields[1], fields[2], fields[0] == "1"
        else:
            raise LossyBenchError(
                f"{path}, line {number}: {shown(line)} is no pair: name, number, number; name, number, name, number; "
                "or 1 or 0, file, file"
            )


def _lfw(name: str, number: str) -> str:
    return f"{name}/{name}_{int(number):04d}"
