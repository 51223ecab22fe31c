"""AAC (MPEG-4 Audio, ISO/IEC 14496-3), low complexity profile, by FFmpeg's own encoder."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import soxr

from lossybench.codecs._audio import SoundCodec, decode_packets, encode_packets
from lossybench.codecs._common import described, require
from lossybench.codecs._ffmpeg import ffmpeg_version
from lossybench.codecs.codec import Encoded, Medium
from lossybench.conditions import level_text
from lossybench.errors import LossyBenchError

# By the index that stands in headers (ISO/IEC 14496-3, table 1.18).
RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
FRAME = 1024  # samples
DELAY = 1024  # samples, by which the transform's overlap delays the encoder; the decoder adds none
MOST = 6  # bits a sample: 6144 a frame of one channel (ISO/IEC 14496-3, section 4.5.3.2)
HEADER = 7  # bytes of an ADTS header without a checksum


@dataclasses.dataclass(frozen=True)
class Aac(SoundCodec):
    """The level is the mean bitrate, at most 6 bits a sample: 48 kb/s at 8 kHz, 96 at 16, 264 at 44.1.

    Clips at a rate that AAC lacks are coded at the next higher one that it has, or at 96 kHz; see `SoundCodec`.
    coder: how quantisation is chosen, "twoloop" (FFmpeg's default) or "fast".
    The payload is the ADTS stream: the file .aac. Coded media are its frames; the 7 bytes before each are overhead.
    """

    name = "aac"
    title = "AAC"
    parameter = "bitrate"
    unit = "kb/s"
    bounds = (8, 288)

    coder: str = "twoloop"

    def __post_init__(self) -> None:
        require(self, "coder", ("twoloop", "fast"))

    def native(self, sampling_rate: int) -> int:
        return min((rate for rate in RATES if rate >= sampling_rate), default=RATES[0])

    def check(
        self, level: float, medium: Medium, sampling_rate: float = 0.0, shape: Sequence[int] | None = None
    ) -> None:
        super().check(level, medium, sampling_rate, shape)
        most = MOST * self.native(int(sampling_rate)) / 1000
        if sampling_rate and level > most:
            able = f"can do up to {level_text(most)} kb/s at {sampling_rate:g} Hz"
            raise LossyBenchError(f"codec 'aac' {able}, not {level_text(level)} kb/s")

    def encode_sound(self, samples: np.ndarray, sampling_rate: int, level: float) -> Encoded:
        floats, options = samples.astype(np.float32) / 32768, {"aac_coder": self.coder}
        packets, _ = encode_packets("aac", floats, sampling_rate, "fltp", round(level * 1000), options)
        payload = b"".join(_header(HEADER + len(packet), sampling_rate) + packet for packet in packets)
        return Encoded(payload, 8 * sum(map(len, packets)), 8 * HEADER * len(packets))

    def decode_sound(self, payload: bytes, count: int, sampling_rate: int) -> np.ndarray:
        frames, wanted = list(_frames(payload, sampling_rate)), -(-(count + DELAY) // FRAME)
        if len(frames) != wanted:
            raise ValueError(f"it has {len(frames)} frames, not {wanted}")
        return decode_packets("aac", frames, wanted * FRAME)[DELAY : DELAY + count] * np.float32(32768)

    def version(self) -> str:
        return described(self, f"encoder and decoder aac of {ffmpeg_version()}, soxr {soxr.__version__}; ABR")


def _header(length: int, sampling_rate: int) -> bytes:
    """The ADTS header (ISO/IEC 14496-3, section 1.A.3.2) of a mono frame of low complexity, `length` bytes with it."""
    fixed = 0xFFF1 << 12 | 1 << 10 | RATES.index(sampling_rate) << 6 | 1 << 2  # and no private, original or home bit
    return (fixed << 28 | length << 13 | 0x7FF << 2).to_bytes(HEADER, "big")


def _frames(payload: bytes, sampling_rate: int) -> Iterator[bytes]:
    """The frames of an ADTS stream with their headers. Raises ValueError for a header that `_header` did not make."""
    at = 0
    while at < len(payload):
        length = int.from_bytes(payload[at + 3 : at + 6], "big") >> 5 & 0x1FFF
        whole = HEADER < length <= len(payload) - at
        if not whole or payload[at : at + HEADER] != _header(length, sampling_rate):
            raise ValueError(f"no whole frame at {sampling_rate} Hz at byte {at}")
        yield payload[at : at + length]
        at += length
