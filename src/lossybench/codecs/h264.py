"""H.264/AVC (ITU-T H.264) by x264."""

from __future__ import annotations

import dataclasses

import cv2

from lossybench.codecs._video import BlockCodec
from lossybench.codecs.codec import Medium

AVX_512 = 13  # OpenCV's CV_CPU_AVX_512F


@dataclasses.dataclass(frozen=True)
class H264(BlockCodec):
    """See `BlockCodec`. At QP 0, x264 codes the Y'CbCr samples losslessly."""

    name = "h264"
    title = "H.264"
    encoder = "libx264"
    decoder = "h264"
    smallest = 2
    tunes = ("film", "animation", "grain", "stillimage", "psnr", "ssim", "fastdecode")
    side = 16384  # x264's own bound
    kept = 128 * 128
    at_once = "rc-lookahead=0:sync-lookahead=0:force-cfr=1"

    def deterministic(self, height: int, width: int, medium: Medium) -> str:
        parameters = "threads=1:lookahead-threads=1:sliced-threads=0"
        # On clips of 64 x 64 pixels at a constant quality, x264's code for AVX-512 gave 5 to 8 different streams in 30
        # runs. Without its macroblock tree, or with the code for AVX2, there was one.
        return f"{parameters}:asm=AVX2" if self.control != "qp" and cv2.checkHardwareSupport(AVX_512) else parameters
