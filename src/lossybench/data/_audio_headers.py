"""What the containers of sound say of their own length and content, which shows that a file was cut or damaged.

libsndfile and FFmpeg read what there is of a cut file without a word.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import BinaryIO, Literal

from lossybench.errors import LossyBenchError

# Writers to a pipe cannot go back to state the size: FFmpeg leaves 0xFFFFFFFF, SoX 0x7FFFF000, arecord 0x80000000.
# Of sizes of 64 bits, all ones or nearly.
_PLACEHOLDERS = (range(0x7FFF0000, 1 << 32), range(1 << 62, 1 << 64))
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def check_whole(path: Path) -> None:
    """Raise LossyBenchError, with the lengths, where the container of the file `path` shows that it is not whole.

    WAV (RIFF, RIFX, RF64, W64), AIFF, AU and CAF state the bytes of their samples. Ogg numbers its pages, gives each a
    checksum and marks the last. Other containers pass: their decoders know.
    """
    length = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        file.seek(0)
        if head[:4] == b"OggS":
            _check_ogg(path, file)
            return
        stated = None
        if head[:4] in (b"RIFF", b"RF64", b"FORM", b"RIFX"):
            stated = _iff(file, "little" if head[:4] in (b"RIFF", b"RF64") else "big")
        elif head[:4] == b"riff":
            stated = _w64(file)
        elif head[:4] == b"caff":
            stated = _caf(file)
        elif head[:4] == b".snd":
            stated = int.from_bytes(head[8:12], "big"), int.from_bytes(head[4:8], "big")
        if stated is None:
            return
        announced, start = stated
        found = max(0, length - start)
        if head[:4] in (b"RIFF", b"RIFX", b"RF64") and not announced and found and not _chunk_follows(file, start):
            raise LossyBenchError(
                f"{path}: its header announces no samples, but {found} bytes follow, as where a recorder was stopped "
                "before it wrote the length; write the file again with its length, for instance by ffmpeg or sox"
            )
        if found < announced and not any(announced in sizes for sizes in _PLACEHOLDERS):
            raise LossyBenchError(f"{path}: cut short: {found} of {announced} bytes of samples are there")


def _iff(file: BinaryIO, order: Literal["little", "big"]) -> tuple[int, int] | None:
    """Bytes and place of the samples in chunks of id, size and content, padded to even; None when there is none."""
    file.seek(12)
    wide = None
    while len(head := file.read(8)) == 8:
        size = int.from_bytes(head[4:], order)
        if head[:4] == b"ds64":  # of RF64: the sizes that 32 bits cannot hold
            wide = int.from_bytes(file.read(16)[8:], order)
            size -= 16
        if head[:4] in (b"data", b"SSND"):
            return (size if wide is None or size != 0xFFFFFFFF else wide), file.tell()
        file.seek(size + size % 2, 1)
    return None


def _w64(file: BinaryIO) -> tuple[int, int] | None:
    """As _iff, of W64: ids of 16 bytes, sizes of 8 that count themselves and the id, padding to 8."""
    file.seek(40)
    while len(head := file.read(24)) == 24:
        size = int.from_bytes(head[16:], "little") - 24
        if head[:4] == b"data":
            return size, file.tell()
        if size < 0 or size > 1 << 32:
            return None
        file.seek(size + -size % 8, 1)
    return None


def _caf(file: BinaryIO) -> tuple[int, int] | None:
    """As _iff, of CAF: ids of 4 bytes, sizes of 8, no padding; a size of -1 where it is unknown."""
    file.seek(8)
    while len(head := file.read(12)) == 12:
        size = int.from_bytes(head[4:], "big", signed=True)
        if head[:4] == b"data" or size < 0:
            return size, file.tell()
        file.seek(min(size, 1 << 62), 1)
    return None


def _chunk_follows(file: BinaryIO, at: int) -> bool:
    """Whether a chunk begins there, such as LIST after samples that are none."""
    file.seek(at)
    id = file.read(8)[:4]
    return len(id) == 4 and id.decode("latin-1").isprintable() and id.isascii() and id.strip().isalnum()


def _check_ogg(path: Path, file: BinaryIO) -> None:
    """Raise LossyBenchError unless all pages are there and as they were written (RFC 3533, section 6)."""
    last, at, sequence = False, 0, dict[bytes, int]()
    while (head := file.read(27))[:4] == b"OggS":
        sizes = file.read(head[26]) if len(head) == 27 else b""
        body = file.read(sum(sizes))
        found, announced = len(head) + len(sizes) + len(body), 27 + (head[26] if len(head) == 27 else 0) + sum(sizes)
        if found < announced:
            raise LossyBenchError(f"{path}: cut short: {found} of {announced} bytes of its last page are there")
        stream, number = head[14:18], int.from_bytes(head[18:22], "little")
        checksum = _ogg_checksum(head[:22] + bytes(4) + head[26:] + sizes + body)
        if checksum != int.from_bytes(head[22:26], "little") or sequence.get(stream, number - 1) != number - 1:
            raise LossyBenchError(f"{path}: damaged: the page at byte {at} is not as it was written, or not the next")
        sequence[stream], last, at = number, bool(head[5] & 4), at + found
    if not last:
        raise LossyBenchError(f"{path}: cut short, or damaged: after {at} bytes the page marked as its last is missing")


def _ogg_checksum(page: bytes) -> int:
    """CRC-32 with zlib's polynomial, but from the highest bit down, and starting from and ending with plain zeros."""
    mirrored = zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)


def mpeg_frames(path: Path) -> tuple[int, bool]:
    """The MPEG frames that the file's first frame (Xing, Info or VBRI) announces, 0 where it says nothing.

    And whether the file lacks bytes that are announced there.
    """
    with path.open("rb") as file:
        tag = file.read(10)
        at = 0
        if tag[:3] == b"ID3" and len(tag) == 10:
            size = sum((byte & 0x7F) << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=True))
            at = 10 + size + 10 * bool(tag[5] & 0x10)
        file.seek(at)
        start = file.read(4096)
    for mark, first in ((b"Xing", 8), (b"Info", 8), (b"VBRI", 10)):
        place = start.find(mark)
        if place >= 0 and len(start) >= place + 18:
            numbers = [int.from_bytes(start[place + n : place + n + 4], "big") for n in (4, first, first + 4)]
            if mark == b"VBRI":
                return numbers[2], path.stat().st_size < at + numbers[1]
            flags, frames, size = numbers
            known = flags & 3 == 3
            return (frames if flags & 1 else 0), known and path.stat().st_size < at + size
    return 0, False
