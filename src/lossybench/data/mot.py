"""A user's video to detect objects in, annotated in the layout of the MOT challenges."""

from __future__ import annotations

import collections
from pathlib import Path

from pydantic import Field, field_validator

from lossybench.data import _mot
from lossybench.data._files import Survey, compressed_before
from lossybench.data.dataset import SPLITS, Description, Source
from lossybench.errors import nearest


class Mot(_mot.MotClips):
    """One sequence, or a folder of sequences (see _mot)."""

    name = "mot"
    path: Path = Field(description="folder of a sequence, or of several")
    objects: list[str] = Field(
        ["pedestrian"], min_length=1, description="what is to be found: names of the MOT classes"
    )
    card: dict[str, str] = Field(
        {}, description="title, source, licence, citation, prior_compression and compressed_before, as you know them"
    )

    @field_validator("objects")
    @classmethod
    def _known(cls, objects: list[str]) -> list[str]:
        for title in objects:
            if title not in _mot.OBJECTS:
                raise ValueError(f"no MOT class {title!r}; {nearest(title, _mot.OBJECTS)}")
        return objects

    def about(self, found: Survey) -> Description:
        counts = collections.Counter(entry.split for entry in found.entries)
        before = compressed_before(self.card, found.entries)
        unstated = dict.fromkeys(("source", "licence", "citation"), "not stated")
        prior = "frames are JPEG files" if "JPEG" in before else "frames are in a lossless format"
        card = {"title": self.path.resolve().name, **unstated, "prior_compression": prior, **self.card}
        return Description(self.medium, self.kind, self.objects, card, dict(counts), 0.0, before)

    def sources(self) -> list[Source]:
        read = [_mot.read_sequence(folder) for folder in _mot.find_sequences(self.path, self.name)]
        notes = [Source(one.folder / name) for one in read for name in ("seqinfo.ini", "gt/gt.txt")]
        return notes + [Source(one.images, (one.suffix.lower(),)) for one in read]

    def survey(self, seed: int) -> Survey:
        entries = self.clips(_mot.find_sequences(self.path, self.name), self.objects)
        return Survey(self.objects, sorted(entries, key=lambda entry: (SPLITS.index(entry.split), entry.id)), [])
