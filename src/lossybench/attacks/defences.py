"""What may stand in front of a model besides one codec at one level: a chain of codecs, or one drawn for each query.

Compression at random has been proposed as a defence (Guo et al. 2018, arXiv 1711.00117; SHIELD, Das et al. 2018, arXiv
1802.06816; BaRT, Raff et al. 2019, CVPR). An attacker knows what may be drawn, though not what will be: the gradient is
the mean over all that may be, and among several attempts the attacker keeps the one that does most harm on average
(expectation over transformation, Athalye et al. 2018, arXiv 1707.07397; exact here, because what may be drawn is
countable). What is judged is one query: for each item one way is drawn, the same for all attempts on it, and neither a
search nor a choice among attempts ever sees which. So the share of items that are right is an unbiased estimate of the
share of queries that would be, and its intervals hold as those of any other share.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from lossybench import codecs
from lossybench.attacks.preprocessor import RoundTrip
from lossybench.codecs import Codec, Medium


@dataclasses.dataclass(frozen=True)
class Chain:
    """Codecs, each at its level, that an item goes through one after the other. The chain has no level of its own."""

    steps: tuple[tuple[Codec, float], ...]
    name: ClassVar[str] = "chain"

    def check(self, level: float, medium: Medium, sampling_rate: float = 0.0) -> None:
        """Raise LossyBenchError for a level or medium that a codec does not take. level: 0, and of no meaning."""
        for codec, own in self.steps:
            codec.check(own, medium, sampling_rate)

    def roundtrip(self, media: np.ndarray, level: float, sampling_rate: float = 0.0) -> np.ndarray:
        """The item `media` as it comes out of the last codec. Arguments otherwise as of `check`."""
        for codec, own in self.steps:
            media = codec.roundtrip(media, own, sampling_rate)
        return media


@dataclasses.dataclass(frozen=True)
class Defence:
    """Ways through codecs, of which one is drawn for each query.

    name: of the defence. ways: the codecs of each way with their levels, one after the other.
    """

    name: str
    ways: tuple[tuple[tuple[Codec, float], ...], ...]

    @classmethod
    def of(cls, name: str, ways: Sequence[Sequence[Mapping[str, Any]]]) -> Defence:
        """The defence of that name. ways: {codec, level, options, variant} of each codec, in the order of a way.

        Raises LossyBenchError for an unknown codec or option.
        """

        def step(one: Mapping[str, Any]) -> tuple[Codec, float]:
            return codecs.made(one["codec"], one["options"], one.get("variant")), float(one["level"])

        return cls(name, tuple(tuple(map(step, way)) for way in ways))

    @property
    def fronts(self) -> list[tuple[RoundTrip, float]]:
        """What stands in front of the model on each way, and its level."""
        return [way[0] if len(way) == 1 else (Chain(way), 0.0) for way in self.ways]

    @property
    def title(self) -> str:
        """What readers know it by: "JPEG QF 75 or 50, drawn for each query", "JPEG QF 50, then HEVC QP 37"."""
        if len(self.ways) == 1:
            return ", then ".join(f"{codec.full_title()} {codec.level_label(level)}" for codec, level in self.ways[0])
        listed, before = [], None
        for codec, level in (way[0] for way in self.ways):
            label, title = codec.level_label(level), codec.full_title()
            # Of a codec that was named just before, the number is enough.
            listed.append(label.removeprefix(f"{codec.parameter} ") if codec == before else f"{title} {label}")
            before = codec
        return f"{', '.join(listed[:-1])} or {listed[-1]}, drawn for each query"

    def version(self) -> str:
        """Names and versions of its codecs."""
        return "; ".join(dict.fromkeys(codec.version() for codec, _ in itertools.chain(*self.ways)))

    def drawn(self, ids: Iterable[str], seed: int) -> np.ndarray:
        """(N,): the way that is drawn for the query of each item, from 0 on; it follows from its id and the `seed`."""
        # A hash, and no generator: it depends neither on the other items nor on what attacks draw.
        texts = (f"{seed}/{self.name}/{one}".encode() for one in ids)
        numbers = (int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") for text in texts)
        return np.array([number % len(self.ways) for number in numbers], int)
