"""AVIF (AOMedia, version 1.1), by libavif in Pillow; OpenCV's lets neither chroma nor tuning be chosen."""

from __future__ import annotations

import dataclasses

import numpy as np
import PIL
from PIL import AvifImagePlugin, features

from lossybench.codecs._common import CHROMA, described, require, require_whole
from lossybench.codecs._headers import AVIF_SIDE, look_at_avif
from lossybench.codecs._pillow import pillow_decode, pillow_encode
from lossybench.codecs._stills import StillCodec


@dataclasses.dataclass(frozen=True)
class Avif(StillCodec):
    """The level is libavif's quality, which it maps to the 64 quantisers of AV1, so that neighbours may be one.

    Colour is Y'CbCr by BT.601 at full range, as libavif has it for RGB. The units of frames and tiles (OBUs) are the
    coded media; boxes, sequence header and temporal delimiter, together about 285 bytes, are overhead.

    chroma: "420" or "444". speed: libaom's, 0 (slow) to 10; 6 is libavif's default. tune: what libaom optimises: "iq",
    libavif's default, adapts quantisers to the place; "ssim" and "psnr" do less of that.
    """

    name = "avif"
    title = "AVIF"
    parameter = "quality"
    stronger = "lower"
    bounds = (0, 99)  # at 100, libavif changes to a lossless mode
    side = AVIF_SIDE

    chroma: str = "420"
    speed: int = 6
    tune: str = "iq"

    def __post_init__(self) -> None:
        require(self, "chroma", CHROMA)
        require(self, "tune", ("iq", "ssim", "psnr"))
        require_whole(self, "speed", 0, 10)

    def encode_still(self, image: np.ndarray, level: float) -> bytes:
        how = {"quality": int(level), "speed": self.speed, "subsampling": ":".join(self.chroma), "codec": "aom"}
        return pillow_encode("AVIF", image, **how, advanced={"tune": self.tune}, max_threads=1, autotiling=False)

    def decode_still(self, bitstream: bytes) -> np.ndarray:
        return pillow_decode(AvifImagePlugin.AvifImageFile, bitstream)

    @staticmethod
    def look(bitstream: bytes) -> tuple[int, tuple[int, int]]:
        return look_at_avif(bitstream)

    def version(self) -> str:
        parts = ", ".join(f"{part} {AvifImagePlugin.get_codec_version(part)}" for part in ("aom", "dav1d"))
        return described(self, f"libavif {features.version('avif')} with {parts} (Pillow {PIL.__version__})")
