"""H.265/HEVC (ITU-T H.265) by x265."""

from __future__ import annotations

import dataclasses

from lossybench.codecs._video import BlockCodec


@dataclasses.dataclass(frozen=True)
class Hevc(BlockCodec):
    """See `BlockCodec`."""

    name = "hevc"
    title = "HEVC"
    encoder = "libx265"
    decoder = "hevc"
    smallest = 18
    tunes = ("animation", "grain", "psnr", "ssim", "fastdecode")

    def deterministic(self, height: int, width: int) -> str:
        # When a picture is no wider than one coding tree unit (CTU), x265's bits change from run to run, even with one
        # thread: seen with 64x64 clips. Units must therefore be narrower than the picture, and no taller.
        ctu = next(size for size in (64, 32, 16) if size < width and size <= height)
        # With units of less than 64 pixels, x265's tree of coding units, which qp has no use for, writes beyond its
        # memory: clips of 48 x 48 pixels at a constant quality ended the process.
        tree = ":cutree=0" if self.control != "qp" and ctu < 64 else ""
        # info=0 leaves out an SEI of 2 kB that tells the settings.
        # x265 would refuse long pictures with small units, which the standard's levels do not foresee.
        return f"ctu={ctu}:allow-non-conformance=1:pools=none:frame-threads=1:wpp=0:info=0:log-level=none{tree}"
