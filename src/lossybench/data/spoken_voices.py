"""Embedded verification of speakers: the synthetic voices that say the spoken words."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from lossybench.data import _identities
from lossybench.data.dataset import Description, Finding, Item
from lossybench.data.spoken_words import SpokenWords
from lossybench.settings import MOST

_EACH = 12  # words of a voice


class SpokenVoices(_identities.Paired, SpokenWords):
    """Voices to tell apart by a word of one second; those of the test are none of those trained on.

    Each voice says twelve words once, at varied speed and pitch, in noise.
    """

    name: ClassVar[str] = "spoken_voices"
    train: int = Field(2400, ge=24, le=MOST, description="clips to train on, 12 a voice")
    val: int = Field(240, ge=24, le=MOST, description="clips to validate on, 12 a voice")
    test: int = Field(600, ge=24, le=MOST, description="clips to test on, 12 a voice")

    def describe(self, seed: int) -> Description:
        words = super().describe(seed)
        card = {**words.card, "title": "Spoken words in noise, by speaker"}
        voices = [_name("train", place) for place in range(-(-self.train // _EACH))]
        return dataclasses.replace(words, kind=self.kind, classes=voices, card=card)

    def items(self, seed: int, left_out: list[Finding]) -> Iterator[Item]:
        tested = [_name("test", place // _EACH) for place in range(self.test)]
        ids = [f"{self.name}/test/{place:06d}" for place in range(self.test)]
        against = self.drawn(ids, tested)
        seen = collections.Counter[str]()
        for item in super().items(seed, left_out):
            place, split = seen[item.split], item.split
            seen[split] += 1
            voice = item.groups["voice"]
            label = place // _EACH if split == "train" else -1
            truth = self.compared(voice, label, against.get(item.id, ()))
            yield dataclasses.replace(item, groups={_identities.FACTOR: voice}, truth=truth)


def _name(split: str, place: int) -> str:
    return f"{split}-{place:05d}"
