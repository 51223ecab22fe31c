"""What the headers of bitstreams tell: the units of AV1, and the sizes of AVIF and JPEG XL pictures.

AV1's are by its Bitstream & Decoding Process Specification, version 1.0.0 with errata 1, section 5; the boxes of AVIF
by ISO/IEC 14496-12, section 8.11.3; JPEG XL's by ISO/IEC 18181-1, annex D.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

SEQUENCE_HEADER, TEMPORAL_DELIMITER = 1, 2
FRAMES = (3, 4, 6, 7)  # frame headers, groups of tiles, both in one, frame headers repeated

DELIMITER = b"\x12\0"  # a temporal delimiter, whole

AVIF_SIDE = 32768  # pixels; libavif encodes larger pictures, but decodes none
RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # of width to height, that JPEG XL has numbers for


class Bits:
    """Reads whole numbers of so many bits each out of bytes, one after the other. `at` bits are read already."""

    def __init__(self, data: bytes, lowest_first: bool = False) -> None:
        """lowest_first: the first bit of a byte, and of a number, is its lowest one."""
        text = "".join(f"{byte:08b}"[:: -1 if lowest_first else 1] for byte in data)
        self.text, self.step, self.at = text, -1 if lowest_first else 1, 0

    def take(self, count: int) -> int:
        """The number of the next `count` bits. Raises ValueError when fewer are left."""
        bits = self.text[self.at : self.at + count]
        if len(bits) < count:
            raise ValueError("its header is cut off")
        self.at += count
        return int(bits[:: self.step], 2)


class Obu(NamedTuple):
    """Where a unit lies in its stream: `start` to `end`, its data from `data` on. kind: its type by the standard."""

    kind: int
    start: int
    data: int
    end: int


def obus(stream: bytes) -> Iterator[Obu]:
    """The units of a stream in the low-overhead format, each of which tells its size.

    Raises ValueError when the stream is not whole or is of another format.
    """
    at = 0
    while at < len(stream):
        start, head = at, stream[at]
        if head & 0b10000011 != 0b10:  # a bit that has to be 0, the one that says that a size follows, and a spare one
            raise ValueError(f"no AV1 unit with a size at byte {at}")
        at += 2 if head & 4 else 1  # with an extension of one byte, or without
        size = shift = 0
        while True:
            if at >= len(stream) or shift > 28:
                raise ValueError(f"the AV1 unit at byte {start} is cut off within its size")
            byte, at = stream[at], at + 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if at + size > len(stream):
            raise ValueError(f"the AV1 unit at byte {start} is cut off")
        yield Obu(head >> 3, start, at, at + size)
        at += size


def still_size(header: bytes) -> tuple[int, int]:
    """The (height, width) that a sequence header of a still picture tells; `header`: the unit's data.

    Raises ValueError for a header that is not of the short form, in which each frame is of exactly that size.
    """
    bits = Bits(header[:8])
    if bits.take(5) & 3 != 3:  # seq_profile, still_picture and reduced_still_picture_header
        raise ValueError("it is no AV1 still picture with a short header")
    bits.take(5)  # seq_level_idx
    counts = bits.take(4) + 1, bits.take(4) + 1
    width, height = (bits.take(count) + 1 for count in counts)
    return height, width


def look_at_avif(bitstream: bytes) -> tuple[int, tuple[int, int]]:
    """The bytes of frames and tiles in an AVIF of one picture, and the (height, width) that its sequence header tells.

    Raises ValueError or IndexError when the file is of another structure, or does not end where it ends.
    """
    data = bitstream.index(b"mdat") + 4  # the last box, behind its length, holds the picture
    place = bitstream.index(b"iloc") + 18  # where the picture's place and length are told
    numbers = [int.from_bytes(bitstream[at : at + 4], "big") for at in (data - 8, place, place + 4)]
    if bitstream[4:12] != b"ftypavif" or numbers != [len(bitstream) - data + 8, data, len(bitstream) - data]:
        raise ValueError("it is no AVIF of one picture that ends where it ends")
    units = list(obus(bitstream[data:]))
    sizes = [
        still_size(bitstream[data + unit.data : data + unit.end]) for unit in units if unit.kind == SEQUENCE_HEADER
    ]
    if len(sizes) != 1 or max(sizes[0]) > AVIF_SIDE:
        raise ValueError(f"it holds {len(sizes)} pictures, or one that libavif does not decode")
    box = bitstream.index(b"ispe") + 8  # libavif scales pictures to the size that is told here
    width, height = (int.from_bytes(bitstream[at : at + 4], "big") for at in (box, box + 4))
    if (height, width) != sizes[0]:
        raise ValueError(f"it tells two sizes, {width} x {height} and {sizes[0][1]} x {sizes[0][0]} pixels")
    return sum(unit.end - unit.start for unit in units if unit.kind in FRAMES), sizes[0]


def look_at_jpegxl(codestream: bytes) -> tuple[int, tuple[int, int]]:
    """The bytes of frames in a codestream of JPEG XL, and the (height, width) that its header tells.

    Raises ValueError for what is not the codestream of one 8-bit RGB picture with nothing besides.
    """
    bits = Bits(codestream[2:12], lowest_first=True)
    eighths = bits.take(1)

    def side() -> int:
        count = 5 if eighths else (9, 13, 18, 30)[bits.take(2)]
        return (bits.take(count) + 1) * (8 if eighths else 1)

    height = side()
    ratio = bits.take(3)
    width = side() if ratio == 0 else height * RATIOS[ratio - 1][0] // RATIOS[ratio - 1][1]
    # Two bits say that all else is as it is by default.
    if codestream[:2] != b"\xff\x0a" or bits.take(2) != 3:
        raise ValueError("it is no JPEG XL of one RGB picture of 8 bits")
    return len(codestream) - 2 - -(-bits.at // 8), (height, width)
