"""VP9 (Google, 2013), by libvpx, decoded by FFmpeg."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterable, Iterator
from fractions import Fraction

from av.video.frame import VideoFrame

from lossybench.codecs._common import CHROMA, require, require_whole
from lossybench.codecs._ffmpeg import decode_packets
from lossybench.codecs._video import FrameCodec
from lossybench.codecs.codec import Encoded, Medium

FILE = struct.Struct("<4sHH4sHHIIIxxxx")  # of IVF: mark, version, length, codec, width, height, time base, frames
FRAME = struct.Struct("<IQ")  # length and time of each frame


@dataclasses.dataclass(frozen=True)
class Vp9(FrameCodec):
    """By default, the level is libvpx's constant quality, FFmpeg's `-crf` with `-b:v 0`; images are one key frame.

    It is 0 to 63, on a scale of VP9's own. The quantiser of key frames is about a quarter of that of others, as libvpx
    sets it; with one quantiser for all frames, a clip needed half as many bits more for the same PSNR.
    What is counted is the stream in IVF, the format of libvpx's own tools, as VP9 has none without a container: frames
    are the coded media; IVF's header of 32 bytes, 12 bytes for each frame, and indices of superframes are overhead.

    chroma: "420" or "444". speed: libvpx's cpu-used at the deadline "good", 0 (slow) to 5. gop: the number of frames
    from one key frame to the next. control: what the level is: "crf", or "bitrate", the mean kb/s of a clip.
    """

    name = "vp9"
    title = "VP9"
    parameter = "CRF"
    bounds = (0, 63)
    controls = ("crf", "bitrate")
    encoder = "libvpx-vp9"
    decoder = "vp9"
    smallest = 2
    side = 65536  # 16 bits

    chroma: str = "420"
    speed: int = 1
    gop: int = 32
    control: str = "crf"

    def __post_init__(self) -> None:
        self.take_levels(self.bounds, whole=True)
        require(self, "chroma", CHROMA)
        require_whole(self, "speed", 0, 5)
        require_whole(self, "gop", 1, 1000)

    def _options(self, level: float, medium: Medium, height: int, width: int) -> dict[str, str]:
        aim = {"crf": f"{level:g}", "b": "0"} if self.control == "crf" else {"b": str(round(level * 1000))}
        return aim | {
            **{"g": str(self.gop), "deadline": "good", "cpu-used": str(self.speed)},
            **{"aq-mode": "0", "row-mt": "0", "tile-columns": "0", "frame-parallel": "0"},
        }

    def gather(self, packets: Iterable[bytes], size: tuple[int, int], sampling_rate: float) -> Encoded:
        frames = list(packets)
        rate = Fraction(sampling_rate or 25).limit_denominator(1001)
        coded = sum(len(frame) - _index_bytes(frame) for frame in frames)
        head = FILE.pack(
            b"DKIF", 0, FILE.size, b"VP90", size[1] & 0xFFFF, size[0] & 0xFFFF, *rate.as_integer_ratio(), len(frames)
        )
        stream = b"".join([head, *(FRAME.pack(len(frame), time) + frame for time, frame in enumerate(frames))])
        return Encoded(stream, 8 * coded, 8 * (len(stream) - coded))

    def decode_payload(self, payload: bytes, count: int, size: tuple[int, int]) -> Iterator[VideoFrame]:
        if payload[:4] != b"DKIF" or payload[8:12] != b"VP90":
            raise ValueError("no IVF header of VP9")
        packets, at = list[bytes](), FILE.size
        while at < len(payload):
            length, _ = FRAME.unpack_from(payload, at)
            at += FRAME.size + length
            packets.append(payload[at - length : at])
        if at != len(payload):
            raise ValueError("it is cut off within a frame")
        return decode_packets(self.decoder, packets, count, size, f"yuv{self.chroma}p")


def _index_bytes(packet: bytes) -> int:
    """The bytes of the index at the end of a packet of several frames (VP9 Bitstream Specification 0.6, annex B)."""
    mark = packet[-1]
    length = 2 + ((mark >> 3 & 3) + 1) * ((mark & 7) + 1)
    return length if mark >> 5 == 6 and packet[-length : 1 - length] == packet[-1:] else 0
