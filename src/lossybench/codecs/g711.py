"""G.711 (ITU-T, 1988): the logarithmic samples of telephone networks."""

from __future__ import annotations

import dataclasses

import numpy as np
import soxr

from lossybench.codecs._audio import SoundCodec, decode_packets, encode_packets, to_int16
from lossybench.codecs._common import described, require
from lossybench.codecs._ffmpeg import ffmpeg_version
from lossybench.codecs.codec import Encoded


@dataclasses.dataclass(frozen=True)
class G711(SoundCodec):
    """The level is the one bitrate that there is, 64 kb/s. Clips at any rate are coded at 8 kHz; see `SoundCodec`.

    law: "mu" (North America, Japan) or "a" (elsewhere).
    The payload is the raw stream, one byte a sample without a header: the file .ul or .al. All of it is coded media.
    """

    name = "g711"
    title = "G.711"
    parameter = "bitrate"
    unit = "kb/s"
    bounds = (64, 64)
    levels = (64,)

    law: str = "mu"

    def __post_init__(self) -> None:
        require(self, "law", ("mu", "a"))

    def native(self, sampling_rate: int) -> int:
        return 8000

    def encode_sound(self, samples: np.ndarray, sampling_rate: int, level: float) -> Encoded:
        packets, _ = encode_packets(f"pcm_{self.law}law", to_int16(samples), sampling_rate, "s16", 0)
        payload = b"".join(packets)
        return Encoded(payload, 8 * len(payload), 0)

    def decode_sound(self, payload: bytes, count: int, sampling_rate: int) -> np.ndarray:
        if len(payload) != count:
            raise ValueError(f"it has {len(payload)} samples, not {count}")
        return decode_packets(f"pcm_{self.law}law", [payload], count, sampling_rate=sampling_rate)

    def version(self) -> str:
        return described(self, f"pcm_{self.law}law of {ffmpeg_version()}, soxr {soxr.__version__}")
