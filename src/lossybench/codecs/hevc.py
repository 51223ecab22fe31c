"""H.265/HEVC (ITU-T H.265) by x265."""

from __future__ import annotations

import dataclasses

from lossybench.codecs._video import BlockCodec
from lossybench.codecs.codec import Medium


@dataclasses.dataclass(frozen=True)
class Hevc(BlockCodec):
    """See `BlockCodec`."""

    name = "hevc"
    title = "HEVC"
    encoder = "libx265"
    decoder = "hevc"
    smallest = 18
    tunes = ("animation", "grain", "psnr", "ssim", "fastdecode")
    kept = 64 * 64  # of larger ones, the grey pictures between cost as much as opening an encoder
    at_once = "rc-lookahead=0"

    def deterministic(self, height: int, width: int, medium: Medium) -> str:
        # When a frame is no wider than one coding tree unit (CTU), x265's bits change from run to run, even with one
        # thread: seen with 64x64 clips. Units of clips must therefore be narrower than the frame, and no taller. Single
        # pictures were the same in 8,000 runs, and take the units that FFmpeg takes by itself: the largest that fit.
        ctu = next(size for size in (64, 32, 16) if size < width + (medium == "image") and size <= height)
        # With units of less than 64 pixels, x265's tree of coding units, which qp has no use for, writes beyond its
        # memory: clips of 48 x 48 pixels at a constant quality ended the process.
        tree = ":cutree=0" if self.control != "qp" and ctu < 64 else ""
        # info=0 leaves out an SEI of 2 kB that tells the settings.
        # x265 would refuse long pictures with small units, which the standard's levels do not foresee.
        return f"ctu={ctu}:allow-non-conformance=1:pools=none:frame-threads=1:wpp=0:info=0:log-level=none{tree}"
