"""KTH: six human actions, filmed for the purpose."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from lossybench.data._published import Entry, Facts, one
from lossybench.data._published_videos import PublishedVideos
from lossybench.data.download import remotes
from lossybench.errors import LossyBenchError

_ADDRESS = "https://www.csc.kth.se/cvap/actions"
_SPLITS = {"Training": "train", "Validation": "val", "Test": "test"}
_LINE = re.compile(r"(person\d+)_([a-z]+)_(d\d)\s+frames\s+(.*)")
_RANGE = re.compile(r"(\d+)-(\d+)")


class Kth(PublishedVideos):
    """2,391 sequences of 160 x 120 at 25 frames/s, cut from 599 files as published. Groups are persons."""

    name = "kth"
    classes: ClassVar[list[str]] = ["boxing", "handclapping", "handwaving", "jogging", "running", "walking"]
    facts = Facts(
        title="KTH human actions",
        source="https://www.csc.kth.se/cvap/actions/",
        licence="not stated",
        citation="Schuldt et al., Recognizing Human Actions: A Local SVM Approach, ICPR 2004",
        prior_compression="filmed for the set; published as AVI in DivX (MPEG-4 Part 2), whatever `uncomp` in the "
        "names says",
        compressed_before=("DivX",),
        splits="persons of train, val and test as published",
        items={"train": 760, "val": 768, "test": 863},
        shape=(100, 120, 160, 3),
        files=remotes(f"""
            {_ADDRESS}/boxing.zip sha1:adb36ed9c29c846d44d2ba15f348bd115c951bbd by vipy (Visym)
            {_ADDRESS}/handclapping.zip sha1:d3b81261aa822ef63d0d1523f945bfaff27814d2 by vipy (Visym)
            {_ADDRESS}/handwaving.zip sha1:0792f7cd69f7f895a205c08ac212ddaa7177e370 by vipy (Visym)
            {_ADDRESS}/jogging.zip sha1:21943bdbcef9dad106db0d74661e49eaeaa15a25 by vipy (Visym)
            {_ADDRESS}/running.zip sha1:da83bb313edfd4455fffdda6263696fa10d43c6f by vipy (Visym)
            {_ADDRESS}/walking.zip sha1:a3e81537271a0ab4576591774baa38c2d97b7e3a by vipy (Visym)
            {_ADDRESS}/00sequences.txt
        """),
        note="a sequence that lies behind the end of its file, as one of boxing does, is left out and counted",
    )

    on_error: Literal["stop", "skip"] = Field(
        "skip", description="at a sequence that cannot be read: stop, or skip it and say so on the card"
    )

    def entries(self, root: Path) -> Iterator[Entry]:
        listing = one(root, "00sequences.txt", self.name)
        files = {file.name: file for file in root.rglob("*_uncomp.avi")}
        split_of: dict[str, str] = {}
        for line in listing.read_text(errors="replace").splitlines():
            title, _, persons = line.partition(":")
            if title.strip() in _SPLITS:
                for number in re.findall(r"\d+", persons):
                    split_of[f"person{int(number):02d}"] = _SPLITS[title.strip()]
            elif match := _LINE.match(line.strip()):
                person, action, scene, ranges = match.groups()
                if action not in self.classes or person not in split_of:
                    raise LossyBenchError(f"{listing}: {line!r}: its action or person is in no list above")
                stem = f"{person}_{action}_{scene}"
                file = files.get(f"{stem}_uncomp.avi", listing.with_name(f"{stem}_uncomp.avi"))
                for number, (first, last) in enumerate(_RANGE.findall(ranges), 1):  # counted from 1, both included
                    id, label = f"{stem}/{number}", self.classes.index(action)
                    yield Entry(id, file, split_of[person], {"person": person}, label, (), int(first) - 1, int(last))
