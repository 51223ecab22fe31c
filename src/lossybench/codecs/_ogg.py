"""Ogg streams (RFC 3533): pages, checksums and serial numbers."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import NamedTuple

FIRST, LAST = 2, 4  # flags of a page

_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


class Page(NamedTuple):
    """One page. position: of the last sample that ends on it. whole: how many packets end on it."""

    position: int
    whole: int
    body: bytes


def checksum(page: bytes) -> bytes:
    """The 4 bytes of the CRC of a page whose own four are zeros.

    RFC 3533, section 6: polynomial 0x04C11DB7, from the highest bit on, started at 0. zlib's is of the same polynomial
    from the lowest bit on, started and ended at all ones: bits are reversed before and after, and the ones taken off.
    """
    reflected = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return reflected.to_bytes(4, "little").translate(_REVERSED)[::-1]


def pages(stream: bytes) -> Iterator[Page]:
    """The pages of a stream that `renumbered` made.

    Raises ValueError where a page is cut off, damaged, of another stream or out of order, and where the last one is not
    marked as such.
    """
    last = False
    for number, (at, end) in enumerate(_bounds(stream)):
        page = stream[at:end]
        if last or page[14:22] != bytes(4) + number.to_bytes(4, "little"):
            raise ValueError(f"page {number} is not of this stream")
        if page[22:26] != checksum(page[:22] + bytes(4) + page[26:]):
            raise ValueError(f"page {number} is damaged")
        if bool(page[5] & FIRST) != (number == 0):
            raise ValueError(f"page {number} is out of order")
        last = bool(page[5] & LAST)
        lacing = page[27 : 27 + page[26]]
        position = int.from_bytes(page[6:14], "little", signed=True)
        yield Page(position, sum(value < 255 for value in lacing), page[27 + page[26] :])
    if not last:
        raise ValueError("it is cut off")


def renumbered(stream: bytes) -> bytes:
    """The stream with the serial number 0: writers draw one at random, so that streams may be multiplexed."""
    found = []
    for at, end in _bounds(stream):
        page = stream[at : at + 14] + bytes(4) + stream[at + 18 : at + 22] + bytes(4) + stream[at + 26 : end]
        found.append(page[:22] + checksum(page) + page[26:])
    return b"".join(found)


def _bounds(stream: bytes) -> Iterator[tuple[int, int]]:
    """Where each page begins and ends."""
    at = 0
    while at < len(stream):
        if stream[at : at + 5] != b"OggS\0" or len(stream) < at + 27:
            raise ValueError(f"no page of Ogg at byte {at}")
        segments = stream[at + 26]
        end = at + 27 + segments + sum(stream[at + 27 : at + 27 + segments])
        if end > len(stream):
            raise ValueError("it is cut off within a page")
        yield at, end
        at = end
