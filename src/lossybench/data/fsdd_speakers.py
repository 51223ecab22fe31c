"""The speakers of the Free Spoken Digit Dataset."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from lossybench.data import _identities, fsdd
from lossybench.data._files import Entry, Survey
from lossybench.data.dataset import Finding, Item

_DIGITS = 10


class FsddSpeakers(_identities.Paired, fsdd.Fsdd):
    """The five or six speakers of the spoken digits, to verify; a clip is several digits that one says in a row.

    All clips are tested on: so few speakers are too few to train on, and to speak of others than these.
    """

    name = "fsdd_speakers"
    classes: ClassVar[list[str]] = []
    facts = dataclasses.replace(
        fsdd.Fsdd.facts,
        title="Free Spoken Digit Dataset, by speaker",
        splits="all are test; a clip is several recordings of one speaker in a row",
        items={"test": 500},
        shape=(17_500,),
    )
    digits: int = Field(5, ge=1, le=_DIGITS, description="recordings a clip")

    def _announced(self) -> dict[str, int]:
        clips = sum(fsdd.Fsdd.facts.items.values()) // self.digits
        return {"test": min(clips, self.limit.get("test", clips))}

    def entries(self, root: Path) -> Iterator[Entry]:
        recordings = {entry.path.name: entry for entry in super().entries(root)}
        for speaker in sorted({entry.groups["speaker"] for entry in recordings.values()}):
            count = sum(entry.groups["speaker"] == speaker for entry in recordings.values())
            for start in range(0, count - self.digits + 1, self.digits):
                names = [_file(speaker, place) for place in range(start, start + self.digits)]
                if set(names) <= recordings.keys():
                    path = recordings[names[0]].path
                    id = f"recordings/{speaker}/{start // self.digits:03d}"
                    yield Entry(id, path, "test", {_identities.FACTOR: speaker}, 0, (), start, start + self.digits)

    def decode(self, entry: Entry) -> tuple[np.ndarray, float]:
        assert entry.stop is not None
        speaker = entry.groups[_identities.FACTOR]
        files = [entry.path.with_name(_file(speaker, place)) for place in range(entry.start, entry.stop)]
        parts = [fsdd.Fsdd.decode(self, dataclasses.replace(entry, path=file)) for file in files]
        return np.concatenate([media for media, _ in parts]), parts[0][1]

    def each(self, found: Survey) -> Iterator[tuple[Entry, Item | Finding]]:
        ids = [entry.id for entry in found.entries]
        against = self.drawn(ids, [entry.groups[_identities.FACTOR] for entry in found.entries])
        for entry, item in super().each(found):
            if isinstance(item, Item):
                truth = self.compared(entry.groups[_identities.FACTOR], -1, against.get(entry.id, ()))
                item = dataclasses.replace(item, truth=truth)
            yield entry, item


def _file(speaker: str, place: int) -> str:
    """The recording at a `place` of a speaker: the ten digits of the first take, then those of the next."""
    return f"{place % _DIGITS}_{speaker}_{place // _DIGITS}.wav"
