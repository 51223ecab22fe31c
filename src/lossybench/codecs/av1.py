"""AV1 (AOMedia, 2018), by SVT-AV1, decoded by dav1d."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterable, Iterator

from av.video.frame import VideoFrame

from lossybench.codecs._common import require_whole
from lossybench.codecs._ffmpeg import decode_packets
from lossybench.codecs._headers import DELIMITER, FRAMES, TEMPORAL_DELIMITER, obus
from lossybench.codecs._video import FrameCodec
from lossybench.codecs.codec import Encoded, Medium

os.environ.setdefault("SVT_LOG", "1")  # errors alone: by itself SVT-AV1 prints its settings for every item


@dataclasses.dataclass(frozen=True)
class Av1(FrameCodec):
    """By default, the level is the QP of SVT-AV1's constant-QP mode; images are one key frame.

    The QP is 0 to 63, on a scale of AV1's own, and there is no adaptive quantisation. In video, frames that others are
    predicted from are finer, key frames the finest, as SVT-AV1 sets them. Chroma is 4:2:0, which is all that it can do.
    What is counted is the stream in the low-overhead format, as of a file .obu, which is also the payload. The units of
    frames and tiles are the coded media; sequence headers and temporal delimiters are overhead.

    preset: 0 (slow) to 10 (fast); 8 is SVT-AV1's default. gop: the number of frames from one key frame to the next.
    control: what the level is. "qp": see above. "crf": constant quality with adaptive quantisation, FFmpeg's `-crf`.
    """

    name = "av1"
    title = "AV1"
    parameter = "QP"
    bounds = (0, 63)
    controls = ("qp", "crf")
    encoder = "libsvtav1"
    decoder = "libdav1d"
    smallest = 16  # SVT-AV1 takes 4, but clips of noise so small overflow its buffers, and it refuses them
    side = 8704  # SVT-AV1's own bound of heights; widths may be up to 16384
    fastest = 240  # which changes no bit: in this mode nothing depends on the frame rate

    preset: int = 8
    gop: int = 32
    control: str = "qp"

    def __post_init__(self) -> None:
        self.take_levels((1, 63), whole=True)
        # At presets 11 to 13 and the finest levels, SVT-AV1 4.1 writes clips that no decoder reads.
        require_whole(self, "preset", 0, 10)
        require_whole(self, "gop", 1, 1000)

    def _options(self, level: float, medium: Medium, height: int, width: int) -> dict[str, str]:
        # With lp=1, one thread for each part of the encoder, its output repeats.
        adaptive = 2 if self.control == "crf" else 0
        parameters = f"rc=0:aq-mode={adaptive}:{self.control}={level:g}:keyint={self.gop}:scd=0:lp=1"
        return {"preset": str(self.preset), "svtav1-params": parameters}

    def gather(self, packets: Iterable[bytes], size: tuple[int, int], sampling_rate: float) -> Encoded:
        stream = b"".join(packets)
        coded = sum(unit.end - unit.start for unit in obus(stream) if unit.kind in FRAMES)
        return Encoded(stream, 8 * coded, 8 * (len(stream) - coded))

    def decode_payload(self, payload: bytes, count: int, size: tuple[int, int]) -> Iterator[VideoFrame]:
        starts = [unit.start for unit in obus(payload) if unit.kind == TEMPORAL_DELIMITER]
        if not payload.startswith(DELIMITER):
            raise ValueError("it does not start with a temporal delimiter")
        packets = (payload[start:end] for start, end in itertools.pairwise([*starts, len(payload)]))
        return decode_packets(self.decoder, packets, count, size, f"yuv{self.chroma}p")
