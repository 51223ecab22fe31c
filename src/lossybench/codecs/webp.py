"""WebP, lossy (VP8 key frame, RFC 6386 and RFC 9649), by libwebp in OpenCV."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from lossybench.codecs._common import described
from lossybench.codecs._stills import StillCodec, cv2_encode, cv2_version


@dataclasses.dataclass(frozen=True)
class Webp(StillCodec):
    """The level is libwebp's quality. The standard allows 4:2:0 at limited range alone.

    What is counted is the .webp file: the data of the chunk VP8 are the coded media, with the probabilities that their
    coder starts from; the headers of RIFF and of the chunk, 20 bytes, are overhead.
    """

    name = "webp"
    title = "WebP"
    parameter = "quality"
    stronger = "lower"
    bounds = (1, 100)
    side = 16383  # 14 bits

    def encode_still(self, image: np.ndarray, level: float) -> bytes:
        return cv2_encode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, int(level)])

    @staticmethod
    def look(bitstream: bytes) -> tuple[int, tuple[int, int]]:
        if bitstream[:4] + bitstream[8:16] != b"RIFFWEBPVP8 " or bitstream[23:26] != b"\x9d\x01\x2a":
            raise ValueError("no header of a lossy WebP")
        coded = int.from_bytes(bitstream[16:20], "little")
        if 20 + coded + coded % 2 != len(bitstream):
            raise ValueError("its one chunk does not end where it ends")
        # RFC 6386, section 9.1: 14 bits each, below two bits of scaling.
        width, height = (int.from_bytes(bitstream[at : at + 2], "little") & 0x3FFF for at in (26, 28))
        return coded, (height, width)

    def version(self) -> str:
        return described(self, f"libwebp: {cv2_version('WEBP')}")
