"""A user's video to detect objects in, annotated in the layout of the MOT challenges."""

from __future__ import annotations

import collections
import contextlib

from pydantic import Field, NonNegativeInt, model_validator

from lossybench.data import _boxes, _mot
from lossybench.data._files import Entry, Survey, compressed_before
from lossybench.data.dataset import SPLITS, Description, Finding, Source
from lossybench.errors import LossyBenchError, nearest
from lossybench.settings import Place


class Mot(_mot.MotClips):
    """One sequence, or a folder of sequences (see _mot)."""

    name = "mot"
    path: Place = Field(description="folder of a sequence, or of several")
    objects: list[str] | dict[str, NonNegativeInt] = Field(
        ["pedestrian"],
        min_length=1,
        description="what is to be found: names of the dialect's classes, or of your own with their numbers: {car: 2}",
    )
    dialect: _mot.Dialect | None = Field(
        None, description="what gt.txt states after the box: mot15, mot17 or visdrone; null: as its columns tell"
    )
    card: dict[str, str] = Field(
        {}, description="title, source, licence, citation, prior_compression and compressed_before, as you know them"
    )

    @model_validator(mode="after")
    def _known(self) -> Mot:
        known = _mot.DIALECTS[self.dialect or "mot17"]
        for title in self.objects if isinstance(self.objects, list) else ():
            if title not in known:
                raise ValueError(f"no {self.dialect or 'MOT'} class {title!r}; {nearest(title, known)}")
        if len(set(self._numbers.values())) < len(self.objects):
            raise ValueError("objects: names a class twice")
        return self

    @property
    def _numbers(self) -> dict[str, int]:
        """The number of each class that is to be found, in the order of the labels."""
        if isinstance(self.objects, dict):
            return self.objects
        return {title: _mot.DIALECTS[self.dialect or "mot17"][title] for title in self.objects}

    def about(self, found: Survey) -> Description:
        counts = collections.Counter(entry.split for entry in found.entries)
        before = compressed_before(self.card, found.entries)
        unstated = dict.fromkeys(("source", "licence", "citation"), "not stated")
        prior = f"frames are of {' and '.join(before)} files" if before else "frames are in a lossless format"
        card = {"title": self.path.resolve().name, **unstated, "prior_compression": prior, **self.card}
        return Description(self.medium, self.kind, list(self.objects), card, dict(counts), 0.0, before)

    def sources(self) -> list[Source]:
        found = []
        for folder in _mot.find_sequences(self.path, self.name)[0]:
            found += [Source(folder / name) for name in ("seqinfo.ini", "gt/gt.txt", "gt/labels.txt")]
            # What a broken seqinfo.ini would have named is not read either.
            with contextlib.suppress(LossyBenchError):
                sequence = _mot.read_sequence(folder)
                found.append(Source(sequence.images, (sequence.suffix,)))
        return found

    def survey(self, seed: int) -> Survey:
        found = list(self.clips(self.path, self._numbers, self.dialect, isinstance(self.objects, dict)))
        entries = [one for one in found if isinstance(one, Entry)]
        findings = [one for one in found if isinstance(one, Finding)]
        entries.sort(key=lambda entry: (SPLITS.index(entry.split), entry.id))
        classes = list(self.objects)
        return Survey(classes, entries, findings + _boxes.of_sets(self.name, classes, entries))
