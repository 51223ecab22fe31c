"""WebP, lossy (VP8 key frame, RFC 6386 and RFC 9649), by libwebp in OpenCV."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from lossybench.codecs._common import described
from lossybench.codecs._stills import StillCodec, cv2_encode, cv2_version


@dataclasses.dataclass(frozen=True)
class Webp(StillCodec):
    """The level is libwebp's quality. The standard allows 4:2:0 at limited range alone. The VP8 chunk's data are the
    coded media.
    """

    name = "webp"
    title = "WebP"
    parameter = "quality"
    stronger = "lower"
    bounds = (1, 100)

    def encode_still(self, image: np.ndarray, level: float) -> bytes:
        return cv2_encode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, int(level)])

    @staticmethod
    def coded_bytes(bitstream: bytes) -> int:
        at, coded = 12, 0
        if bitstream[:4] + bitstream[8:12] != b"RIFFWEBP":
            raise ValueError("no RIFF/WEBP header")
        while at < len(bitstream):
            length = int.from_bytes(bitstream[at + 4 : at + 8], "little")
            coded += length if bitstream[at : at + 4] == b"VP8 " else 0
            at += 8 + length + length % 2
        if at != len(bitstream) or not coded:
            raise ValueError("its chunks do not end where it ends")
        return coded

    def version(self) -> str:
        return described(self, f"libwebp: {cv2_version('WEBP')}")
