"""JPEG XL (ISO/IEC 18181), lossy (VarDCT in XYB colours), by libjxl in pillow-jxl-plugin."""

from __future__ import annotations

import dataclasses
import json
from importlib import metadata

import numpy as np
from pillow_jxl import JpegXLImagePlugin

from lossybench.codecs._common import described, require_whole
from lossybench.codecs._headers import look_at_jpegxl
from lossybench.codecs._pillow import pillow_decode, pillow_encode
from lossybench.codecs._stills import StillCodec

JpegXLImagePlugin.DECODE_THREADS = 0  # none beside this one; jobs run side by side

PLUGIN = "pillow-jxl-plugin"


@dataclasses.dataclass(frozen=True)
class JpegXl(StillCodec):
    """The level is libjxl's quality, as of `cjxl -q`, which it maps to a distance; of quality 90 it is 1, just visible.

    Frames, their headers included, are the coded media; signature and header of the picture, of 4 to 11 bytes, are
    overhead. There is no container; `cjxl` writes none either unless there is something to put in it.

    effort: libjxl's, 1 (fast) to 9 (slow); 7 is its default.
    """

    name = "jpegxl"
    title = "JPEG XL"
    parameter = "quality"
    stronger = "lower"
    bounds = (0, 99)  # 100 would be lossless

    effort: int = 7

    def __post_init__(self) -> None:
        require_whole(self, "effort", 1, 9)

    def encode_still(self, image: np.ndarray, level: float) -> bytes:
        return pillow_encode("JXL", image, quality=level, effort=self.effort, num_threads=0)

    def decode_still(self, bitstream: bytes) -> np.ndarray:
        return pillow_decode(JpegXLImagePlugin.JXLImageFile, bitstream)

    @staticmethod
    def look(bitstream: bytes) -> tuple[int, tuple[int, int]]:
        return look_at_jpegxl(bitstream)

    def version(self) -> str:
        parts = next(
            str(file.read_text()) for file in metadata.files(PLUGIN) or () if file.name.endswith(".cyclonedx.json")
        )
        libjxl = {part["name"]: part["version"] for part in json.loads(parts)["components"]}["jpegxl-src"]
        return described(self, f"libjxl {libjxl} ({PLUGIN} {metadata.version(PLUGIN)})")
