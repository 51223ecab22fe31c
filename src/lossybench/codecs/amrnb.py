"""AMR-NB (3GPP TS 26.071 and 26.090, 1999): the speech codec of GSM and UMTS, by OpenCORE."""

from __future__ import annotations

import dataclasses

import numpy as np
import soxr

from lossybench.codecs._audio import SoundCodec, decode_packets, encode_packets, to_int16
from lossybench.codecs._common import described
from lossybench.codecs._ffmpeg import ffmpeg_version
from lossybench.codecs.codec import Encoded

MAGIC = b"#!AMR\n"  # of files of one channel (RFC 4867, section 5.1)
FRAME = 160  # samples: 20 ms
BITRATES = (4.75, 5.15, 5.9, 6.7, 7.4, 7.95, 10.2, 12.2)  # kb/s of modes 0 to 7
SIZES = [1 + -(-round(20 * bitrate) // 8) for bitrate in BITRATES]  # bytes of a frame, the one before its bits included
DELAY = 40  # samples: the encoder looks 5 ms ahead (TS 26.090, section 5.2.1)


@dataclasses.dataclass(frozen=True)
class AmrNb(SoundCodec):
    """The level is the bitrate of one of the eight modes. Clips at any rate are coded at 8 kHz; see `SoundCodec`.

    The payload is the file .amr. Coded media are the speech bits of each frame, filled up to whole bytes; the file's
    first six bytes, and the byte before each frame that tells its mode, are overhead.
    """

    name = "amrnb"
    title = "AMR-NB"
    parameter = "bitrate"
    unit = "kb/s"
    bounds = (4.75, 12.2)
    levels = BITRATES

    def native(self, sampling_rate: int) -> int:
        return 8000

    def encode_sound(self, samples: np.ndarray, sampling_rate: int, level: float) -> Encoded:
        frames = _frames(len(samples))
        padded = np.zeros(frames * FRAME, np.int16)
        padded[: len(samples)] = to_int16(samples)
        packets, _ = encode_packets("libopencore_amrnb", padded, sampling_rate, "s16", round(level * 1000))
        payload = MAGIC + b"".join(packets[:frames])  # one more may come of flushing the encoder
        return Encoded(payload, 8 * (len(payload) - len(MAGIC) - frames), 8 * (len(MAGIC) + frames))

    def decode_sound(self, payload: bytes, count: int, sampling_rate: int) -> np.ndarray:
        frames = _frames(count)
        size, left_over = divmod(len(payload) - len(MAGIC), frames)
        if not payload.startswith(MAGIC) or left_over or size not in SIZES:
            raise ValueError(f"it is no .amr file of {frames} frames")
        packets = [payload[at : at + size] for at in range(len(MAGIC), len(payload), size)]
        if any(packet[0] != SIZES.index(size) << 3 | 4 for packet in packets):  # 4: no transmission error
            raise ValueError("a frame says that it is of another mode than its length tells")
        decoded = decode_packets("libopencore_amrnb", packets, frames * FRAME, sampling_rate=sampling_rate)
        return decoded[DELAY : DELAY + count]

    def version(self) -> str:
        return described(self, f"libopencore_amrnb of {ffmpeg_version()}, soxr {soxr.__version__}")


def _frames(count: int) -> int:
    """How many frames a clip of `count` samples takes with the delay."""
    return -(-(count + DELAY) // FRAME)
