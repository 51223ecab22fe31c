"""H.264/AVC (ITU-T H.264) by x264."""

from __future__ import annotations

import dataclasses

from lossybench.codecs._video import BlockCodec


@dataclasses.dataclass(frozen=True)
class H264(BlockCodec):
    """See `BlockCodec`. At QP 0, x264 codes the Y'CbCr samples losslessly."""

    name = "h264"
    title = "H.264"
    encoder = "libx264"
    decoder = "h264"
    smallest = 2
    side = 16384  # x264's own bound

    def deterministic(self, height: int, width: int) -> str:
        return "threads=1:lookahead-threads=1:sliced-threads=0"
