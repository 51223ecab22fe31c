"""JPEG 2000 (ITU-T T.800), irreversible 9/7 wavelet and colour transform, one layer, by OpenJPEG in Pillow.

OpenCV's encoder offers neither the 9/7 wavelet nor the colour transform, which costs it 4 dB on photographs.
"""

from __future__ import annotations

import dataclasses
import functools
import struct

import numpy as np
import PIL
from PIL import Jpeg2KImagePlugin, features

from lossybench.codecs._common import described
from lossybench.codecs._pillow import pillow_decode, pillow_encode
from lossybench.codecs._stills import StillCodec

SMALL = 48  # pixels of a side, below which packets have too few bytes for what their headers take


def _codestream(image: np.ndarray, ratio: float) -> bytes:
    return pillow_encode(
        "JPEG2000", image, no_jp2=True, irreversible=True, mct=1, quality_mode="rates", quality_layers=[ratio]
    )


@functools.lru_cache
def _header_bytes(shape: tuple[int, ...]) -> int:
    blank = _codestream(np.zeros(shape, np.uint8), 1)
    return len(blank) - Jpeg2000.look(blank)[0]


@dataclasses.dataclass(frozen=True)
class Jpeg2000(StillCodec):
    """The level is the ratio of the raw image to its coded media, the tile-part's packets.

    Headers, of about 150 bytes, come on top. OpenJPEG would take them out of the ratio, and on small images little
    would then be left for the coded media. What is counted is the .jp2 file: the codestream, which is kept, in the
    boxes that Pillow and OpenJPEG write around it. All of it but the packets is overhead.
    """

    name = "jpeg2000"
    title = "JPEG 2000"
    parameter = "ratio"
    unit = ":1"
    stronger = "higher"
    bounds = (1, 1000)
    container = 85  # the boxes jP, ftyp, jp2h with ihdr and colr, and the head of jp2c (ITU-T T.800, annex I)
    pixels = (2**31 - 1) // 12  # OpenJPEG counts the bytes of three components, four each, in 31 bits
    whole = False

    def caveat(self, shape: tuple[int, ...]) -> str:
        """See `Codec`. On halved photographs of 32 x 32 pixels, 50:1 gives 39 to 41 and the file a tenth of raw."""
        if min(shape[-3:-1]) >= SMALL:
            return ""
        return (
            f"below {SMALL} pixels a side ratios are not reached, and most of a .jp2 file is headers (some 240 bytes);"
            " read the measured rate, never the ratio"
        )

    def encode_still(self, image: np.ndarray, level: float) -> bytes:
        image = np.ascontiguousarray(image)
        return _codestream(image, image.nbytes / (image.nbytes / level + _header_bytes(image.shape)))

    def decode_still(self, bitstream: bytes) -> np.ndarray:
        return pillow_decode(Jpeg2KImagePlugin.Jpeg2KImageFile, bitstream)

    @staticmethod
    def look(bitstream: bytes) -> tuple[int, tuple[int, int]]:
        if bitstream[:2] != b"\xff\x4f" or bitstream[-2:] != b"\xff\xd9":
            raise ValueError("it does not run from a start-of-codestream to an end-of-codestream marker")
        # The first marker segment, SIZ (ITU-T T.800, A.5.1): the picture and its one tile have no offset, and each of
        # three components has 8 bits and all pixels.
        width, height, *rest = struct.unpack_from(">8I", bitstream, 8)
        if rest != [0, 0, width, height, 0, 0] or bitstream[40:51] != b"\0\x03" + 3 * b"\x07\x01\x01":
            raise ValueError("it is not one tile of three colours of 8 bits")
        at = 2
        while bitstream[at : at + 2] != b"\xff\x93":  # start of data
            if bitstream[at] != 0xFF:
                raise ValueError(f"no marker at byte {at}")
            at += 2 + int.from_bytes(bitstream[at + 2 : at + 4], "big")
        return len(bitstream) - at - 4, (height, width)

    def version(self) -> str:
        return described(self, f"OpenJPEG {features.version('jpg_2000')} (Pillow {PIL.__version__}); wavelet=9/7")
