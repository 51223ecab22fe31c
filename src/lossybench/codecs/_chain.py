"""Chains: what happens to an item on its way, one step after the other, up to the codec whose bitstream arrives."""

from __future__ import annotations

import dataclasses
import hashlib
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import scipy

from lossybench.codecs._capture import DEGRADATIONS, Degradation
from lossybench.codecs._common import with_levels
from lossybench.codecs._variants import LEVEL, made
from lossybench.codecs.codec import Codec, Encoded, Medium, names
from lossybench.conditions import ORIGINAL
from lossybench.errors import LossyBenchError, naming, nearest

# What bitstreams say of their own size, or containers of their frame rate: the chain's level, which costs no bits.
_LEVEL = struct.Struct("<d")


class Step(NamedTuple):
    """One step of a chain. level: of its codec or degradation; None for the level of the chain."""

    what: Codec | Degradation
    level: float | None

    def said(self) -> str:
        """The step in words: "JPEG QF 90", "noise σ 4"; without a number where that is the chain's level."""
        if isinstance(self.what, Degradation):
            return self.what.title if self.level is None else self.what.said(self.level)
        title = self.what.full_title() if self.what.name != ORIGINAL else "lossless"
        alone = self.level is None or self.what.name == ORIGINAL
        return title if alone else f"{title} {self.what.level_label(self.level or 0)}"


@dataclasses.dataclass(frozen=True)
class Chain(Codec):
    """Codecs and degradations one after the other, of which the last is a codec: its bitstream is what arrives.

    Its coded media are those of the last codec, and so is its rate. The item before the first step stays what fidelity
    is measured against. What is random is seeded by that item's content, and therefore the same at every level, in
    every process and on any number of cores. What is sent smaller, or with fewer frames, comes back to the item's own
    shape once it is decoded.

    steps: in their order. One or more have the chain's level; these are all of one codec or degradation.
    """

    steps: tuple[Step, ...]

    name = "chain"

    def __post_init__(self) -> None:
        free = list(dict.fromkeys(step.what for step in self.steps if step.level is None))
        if len(free) != 1:
            found = "no step has" if not free else "steps of several kinds have"
            raise LossyBenchError(f"chain: {found} the level {LEVEL}; give it to one, which the levels are of")
        if not isinstance(self.steps[-1].what, Codec):
            raise LossyBenchError("chain: the last step must be a codec, whose bitstream arrives")
        media = frozenset.intersection(*(frozenset(step.what.media) for step in self.steps))
        if not media:
            raise LossyBenchError("chain: no medium is one of all its steps; leave some of them out")
        (one,) = free
        if isinstance(one, Codec):
            with_levels(self, one.parameter, one.unit, one.stronger, one.bounds, one.whole)
        else:
            with_levels(self, one.title, "", one.stronger, one.bounds, one.whole)
        for name, value in {"media": media, "title": self.full_title()}.items():
            object.__setattr__(self, name, value)

    @property
    def _told(self) -> bool:
        """Whether the shape of what is sent depends on the level, so that the payload has to tell it."""
        return any(isinstance(what, Degradation) and what.back and level is None for what, level in self.steps)

    @classmethod
    def of(cls, steps: Sequence[Mapping[str, Any]]) -> Chain:
        """The chain of these steps: {step: a codec or degradation, level, options, variant}, as `_variants` says.

        Raises LossyBenchError, with the number of the step, for what it cannot be.
        """
        return cls(tuple(_step(place, **one) for place, one in enumerate(steps)))

    def _at(
        self, level: float, shape: tuple[int, ...], rate: float
    ) -> Iterator[tuple[Step, float, tuple[int, ...], float]]:
        """Each step, its level, and the shape and sampling rate of what it gets. shape: of the item."""
        for step in self.steps:
            own = level if step.level is None else step.level
            yield step, own, shape, rate
            if isinstance(step.what, Degradation) and step.what.smaller:
                clip = _clip_shape(shape)
                smaller = step.what.smaller(clip, own)
                rate = rate / own if smaller[0] < clip[0] else rate
                shape = smaller if len(shape) == 4 else smaller[1:]

    def check(
        self, level: float, medium: Medium, sampling_rate: float = 0.0, shape: Sequence[int] | None = None
    ) -> None:
        """See `Codec`: every step has to do the item, as it comes there, at its level."""
        super().check(level, medium, sampling_rate, shape)
        for step in self.steps:
            own = level if step.level is None else step.level
            if isinstance(step.what, Codec) and shape is None:
                step.what.check(own, medium, sampling_rate)
            elif isinstance(step.what, Degradation):
                low, high = step.what.bounds
                if not low <= own <= high or (step.what.whole and own != int(own)):
                    whole = "a whole number from " if step.what.whole else ""
                    raise LossyBenchError(f"{step.what.name} {own:g} is out of range; use {whole}{low:g} to {high:g}")
        if shape is not None:
            for step, own, of_step, rate in self._at(level, tuple(shape), sampling_rate):
                if isinstance(step.what, Codec):
                    step.what.check(own, medium, rate, of_step)

    def _encode(self, media: np.ndarray, medium: Medium, level: float, sampling_rate: float) -> Encoded:
        item, encoded = media, None
        content = hashlib.blake2b(np.ascontiguousarray(media).data, digest_size=16).digest()
        for place, (step, own, shape, rate) in enumerate(self._at(level, media.shape, sampling_rate)):
            if encoded is not None and isinstance(before := self.steps[place - 1].what, Codec):
                item = before.decode(encoded.payload, shape, rate)
            if isinstance(step.what, Codec):
                encoded = step.what.encode(item, own, rate)
            else:
                generator = np.random.default_rng([place, *content])
                item = _as_clip(step.what.apply, item, own, rate, generator)
        assert encoded is not None  # of the last step, which is a codec
        if self._told:
            return encoded._replace(payload=_LEVEL.pack(level) + encoded.payload)
        return encoded

    def _decode(self, payload: bytes, shape: tuple[int, ...], sampling_rate: float) -> np.ndarray:
        level = 0.0  # of no meaning, unless shapes depend on it
        if self._told:
            (level,), payload = _LEVEL.unpack_from(payload), payload[_LEVEL.size :]
            self.check(level, _medium(shape), sampling_rate)
        ways = list(self._at(level, shape, sampling_rate))
        last, _, of_last, rate = ways[-1]
        assert isinstance(last.what, Codec)
        item = last.what.decode(payload, of_last, rate)
        for step, own, of_step, _ in reversed(ways[:-1]):
            if isinstance(step.what, Degradation) and step.what.back:
                item = _as_clip(step.what.back, item, _clip_shape(of_step), own)
        return item

    def full_title(self) -> str:
        """See `Codec`: "noise σ 4, JPEG QF 90, WebP", "JPEG, 5 times"."""
        said = [step.said() for step in self.steps]
        if len(said) > 1 and len(set(said)) == 1:
            return f"{said[0]}, {len(said)} times"
        return ", ".join(said)

    def level_label(self, level: float) -> str:
        """See `Codec`: as of the step that has the chain's level."""
        what = next(step.what for step in self.steps if step.level is None)
        return what.said(level) if isinstance(what, Degradation) else what.level_label(level)

    def version(self) -> str:
        """See `Codec`."""
        found = [step.what.version() for step in self.steps if isinstance(step.what, Codec)]
        degraded = f"numpy {np.__version__}, scipy {scipy.__version__}, OpenCV {cv2.__version__}"
        return "; ".join(dict.fromkeys([*found, degraded]))


def _step(place: int, step: str, level: float | str, options: Mapping[str, Any], variant: Mapping[str, Any]) -> Step:
    known = [*DEGRADATIONS, *(name for name in names() if name != ORIGINAL)]
    file = variant.get("codec", step)
    if file not in known and file not in names():
        raise LossyBenchError(f"chain.{place}: unknown step {step!r}; {nearest(step, known)}")
    if step in DEGRADATIONS and options:
        raise LossyBenchError(f"chain.{place}: {step} has no options; leave them out")
    with naming(f"chain.{place}"):
        what = DEGRADATIONS[step] if step in DEGRADATIONS else made(step, options, variant)
    return Step(what, None if level == LEVEL else float(level))


def _medium(shape: tuple[int, ...]) -> Medium:
    return {1: "audio", 3: "image"}.get(len(shape), "video")  # type: ignore[return-value]


def _clip_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of an item as degradations take it: of a picture that of a clip of one frame."""
    return (1, *shape) if len(shape) == 3 else shape


def _as_clip(change: Callable[..., np.ndarray], item: np.ndarray, *how: Any) -> np.ndarray:
    """What `change` makes of an item, a picture as a clip of one frame."""
    return change(item[None], *how)[0] if item.ndim == 3 else change(item, *how)
