"""JPEG (ITU-T T.81), baseline with the standard's Huffman tables, by libjpeg-turbo in OpenCV."""

from __future__ import annotations

import dataclasses
import functools
import re
import struct

import cv2
import numpy as np

from lossybench.codecs._common import CHROMA, described, require
from lossybench.codecs._stills import StillCodec, cv2_encode, cv2_version

SAMPLING = {"420": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, "444": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444}
FRAME = 158  # where the frame header starts, behind the marker of JFIF and the quantisation tables
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # which no entropy-coded segment holds
HEADER = 623  # bytes up to the entropy-coded segment: markers of JFIF, tables, frame and scan


@functools.lru_cache(maxsize=256)  # pictures of one size and level have the same
def _header(header: bytes) -> tuple[int, tuple[int, int]]:
    """Where the entropy-coded segment starts, and (height, width). Raises as `Jpeg.look`."""
    if header[:2] != b"\xff\xd8":
        raise ValueError("it does not start with a start-of-image marker")
    at, marker, sizes = 2, 0, []
    while marker != 0xDA:  # start of scan: the entropy-coded segment follows its header
        if header[at] != 0xFF:
            raise ValueError(f"no marker at byte {at}")
        marker = header[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame; others are tables
            sizes.append(struct.unpack_from(">HH", header, at + 5))
            if marker != 0xC0:
                raise ValueError("it is no baseline JPEG")
        at += 2 + int.from_bytes(header[at + 2 : at + 4], "big")
    if len(sizes) != 1:
        raise ValueError(f"it has {len(sizes)} frame headers, not one")
    return at, sizes[0]


def _scans(bitstream: bytes) -> tuple[int, tuple[int, int]]:
    """The bytes of all entropy-coded segments of a progressive JPEG, and (height, width). Raises as `Jpeg.look`."""
    at, coded = 2, 0
    while at < len(bitstream) - 2:
        if bitstream[at] != 0xFF:
            raise ValueError(f"no marker at byte {at}")
        scan = bitstream[at + 1] == 0xDA
        at += 2 + int.from_bytes(bitstream[at + 2 : at + 4], "big")
        if scan and (end := _MARKER.search(bitstream, at)):
            coded, at = coded + end.start() - at, end.start()
    if at != len(bitstream) - 2:
        raise ValueError("its segments do not end where it ends")
    return coded, struct.unpack_from(">HH", bitstream, FRAME + 5)


@dataclasses.dataclass(frozen=True)
class Jpeg(StillCodec):
    """The level is the quality factor. The scans' entropy-coded segments are the coded media; the tables are overhead.

    chroma: "420" or "444". progressive: ten scans from coarse to fine, as web sites send, with Huffman tables made for
    the picture; the pixels are those of baseline.
    """

    name = "jpeg"
    title = "JPEG"
    parameter = "QF"
    stronger = "lower"
    bounds = (1, 100)
    side = 65500  # libjpeg's JPEG_MAX_DIMENSION; the standard's own is 65535

    chroma: str = "420"
    progressive: bool = False

    def __post_init__(self) -> None:
        require(self, "chroma", CHROMA)

    def encode_still(self, image: np.ndarray, level: float) -> bytes:
        sampling = SAMPLING[self.chroma]
        parameters = [cv2.IMWRITE_JPEG_QUALITY, int(level), cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
        parameters += [cv2.IMWRITE_JPEG_PROGRESSIVE, int(self.progressive)]
        return cv2_encode(".jpg", image, parameters)

    @staticmethod
    def look(bitstream: bytes) -> tuple[int, tuple[int, int]]:
        if bitstream[-2:] != b"\xff\xd9":
            raise ValueError("it does not end with an end-of-image marker")
        if bitstream.startswith(b"\xff\xc2", FRAME):
            return _scans(bitstream)
        header, size = _header(bitstream[:HEADER])
        return len(bitstream) - header - 2, size

    def version(self) -> str:
        return described(self, f"libjpeg-turbo: {cv2_version('JPEG')}")
