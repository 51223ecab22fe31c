"""What all codecs share: checks of media and options, version strings, and the framing of packets."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Literal

from lossybench.codecs.codec import Codec
from lossybench.errors import LossyBenchError, nearest

CHROMA = ("420", "444")


def require(codec: Codec, option: str, allowed: Iterable[str]) -> None:
    """Raise LossyBenchError unless the codec's `option` is one of `allowed`."""
    value, known = getattr(codec, option), [str(name) for name in allowed]
    if value not in known:
        raise LossyBenchError(f"codec {codec.name!r}: {option} {value!r} is unknown; {nearest(str(value), known)}")


def with_levels(
    codec: Codec,
    parameter: str,
    unit: str,
    stronger: Literal["lower", "higher"],
    bounds: tuple[float, float],
    whole: bool = True,
) -> None:
    """Give this one codec levels of another kind than its class has. The arguments are the attributes of `Codec`."""
    levels = {"parameter": parameter, "unit": unit, "stronger": stronger, "bounds": bounds, "whole": whole}
    for name, value in levels.items():
        object.__setattr__(codec, name, value)  # dataclasses of codecs are frozen


def require_whole(codec: Codec, option: str, low: int, high: int) -> None:
    """Raise LossyBenchError unless the codec's `option` is a whole number from `low` to `high`."""
    value = getattr(codec, option)
    if not isinstance(value, int) or not low <= value <= high:
        raise LossyBenchError(f"codec {codec.name!r}: {option} {value!r} must be a whole number from {low} to {high}")


def described(codec: Codec, software: str) -> str:
    """The text `software` with the codec's options: "libx265 of FFmpeg 8.1.2; chroma=420, preset=medium"."""
    fields = dataclasses.fields(codec)  # type: ignore[arg-type]
    options = ", ".join(f"{field.name}={getattr(codec, field.name)}" for field in fields)
    return f"{software}; {options}" if options else software


def pack(packets: Iterable[bytes]) -> bytes:
    """The packets joined, each behind its length as a LEB128 integer: one byte up to 127, two up to 16383."""
    joined = bytearray()
    for packet in packets:
        length = len(packet)
        while length > 0x7F:
            joined.append(length & 0x7F | 0x80)
            length >>= 7
        joined.append(length)
        joined += packet
    return bytes(joined)


def unpack(joined: bytes) -> Sequence[bytes]:
    """The packets that `pack` joined. Raises ValueError when they do not end where `joined` ends."""
    packets, at = [], 0
    while at < len(joined):
        length = shift = 0
        while True:
            if at >= len(joined):
                raise ValueError("it is cut off within a packet's length")
            byte, at = joined[at], at + 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if at + length > len(joined):
            raise ValueError(f"it is cut off {at + length - len(joined)} bytes before the end of a packet")
        packets.append(joined[at : at + length])
        at += length
    return packets
