"""MP3 (MPEG-1/2 Audio Layer III, ISO/IEC 11172-3 and 13818-3; MPEG-2.5 for low rates), by LAME."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from lossybench.codecs._audio import decode_packets, encode_packets, to_int16, whole_rate
from lossybench.codecs._common import described, require, with_levels
from lossybench.codecs._ffmpeg import ffmpeg_version
from lossybench.codecs.codec import Codec, Encoded, Medium
from lossybench.conditions import level_text
from lossybench.errors import LossyBenchError

_MPEG1 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MPEG25 = tuple(bitrate for bitrate in _MPEG2 if bitrate <= 64)  # at more than that, LAME codes at 64 without a word
BITRATES = {
    **dict.fromkeys((48000, 44100, 32000), _MPEG1),
    **dict.fromkeys((24000, 22050, 16000), _MPEG2),
    **dict.fromkeys((12000, 11025, 8000), _MPEG25),
}

# By LAME's technical FAQ, its encoder delays by 576 samples and every decoder by 529 (filter bank and overlap).
DELAY = 576 + 529
PADDING = 4 * 1152  # samples; less than this follows the clip, since LAME fills its last frames


@dataclasses.dataclass(frozen=True)
class Mp3(Codec):
    """The level is the constant bitrate by default. The payload is bare MP3 frames, without a Xing/LAME frame.

    All of it counts as coded media, including the frames that carry the encoder's delay (1105 samples) and padding.
    On clips of a second or less the measured rate is therefore above the nominal one.

    control: what the level is. "bitrate": a constant one. "abr": a mean bitrate, of which frames take what they need.
    "vbr": LAME's quality V, from 0 to 9, at whatever bitrate that takes.
    """

    name = "mp3"
    title = "MP3"
    media = frozenset({"audio"})
    parameter = "bitrate"
    unit = "kb/s"
    stronger = "lower"
    bounds = (8, 320)
    controls = ("bitrate", "abr", "vbr")

    control: str = "bitrate"

    def __post_init__(self) -> None:
        require(self, "control", self.controls)
        if self.control == "vbr":
            with_levels(self, "V", "", "higher", (0, 9), whole=False)

    def check(
        self, level: float, medium: Medium, sampling_rate: float = 0.0, shape: Sequence[int] | None = None
    ) -> None:
        super().check(level, medium, sampling_rate, shape)
        if sampling_rate and sampling_rate not in BITRATES:
            known = ", ".join(map(str, sorted(BITRATES)))
            raise LossyBenchError(f"codec 'mp3' cannot do {sampling_rate:g} Hz; it can {known}")
        possible = BITRATES[int(sampling_rate)] if sampling_rate else sorted({*_MPEG1, *_MPEG2})
        if self.control == "abr" and not possible[0] <= level <= possible[-1]:
            raise LossyBenchError(
                f"codec 'mp3' cannot do {level_text(level)} kb/s at {sampling_rate:g} Hz; use {possible[0]} to "
                f"{possible[-1]}"
            )
        if self.control == "bitrate" and level not in possible:
            where = f" at {sampling_rate:g} Hz" if sampling_rate else ""
            raise LossyBenchError(
                f"codec 'mp3' cannot do {level_text(level)} kb/s{where}; it can {', '.join(map(str, possible))} kb/s"
            )

    def _encode(self, media: np.ndarray, medium: Medium, level: float, sampling_rate: float) -> Encoded:
        whole = whole_rate(self.name, sampling_rate)
        options: dict[str, str] = {"abr": "1"} if self.control == "abr" else {}
        if self.control == "vbr":  # FFmpeg takes LAME's quality in its own lambda, of which 118 are one step
            options = {"flags": "+qscale", "global_quality": str(round(118 * level))}
        packets, _ = encode_packets("libmp3lame", media, whole, "s16p", int(level) * 1000, options)
        payload = b"".join(packets)
        return Encoded(payload, 8 * len(payload), 0)

    def _decode(self, payload: bytes, shape: tuple[int, ...], sampling_rate: float) -> np.ndarray:
        wanted = DELAY + shape[0]
        decoded = decode_packets("mp3float", _frames(payload), wanted + PADDING)
        if len(decoded) < wanted:
            raise ValueError(f"it decodes to {len(decoded)} samples, not {wanted}")
        return to_int16(decoded[DELAY : DELAY + shape[0]] * np.float32(32768))

    def version(self) -> str:
        return described(self, f"libmp3lame and decoder mp3float of {ffmpeg_version()}")


def _frames(payload: bytes) -> Iterator[bytes]:
    """The frames of the payload, by their headers (ISO/IEC 11172-3, section 2.4.1.3). Raises ValueError if damaged."""
    at = 0
    while at < len(payload):
        header = int.from_bytes(payload[at : at + 4], "big")
        mpeg1, index, rate_index = header >> 19 & 3 == 3, header >> 12 & 15, header >> 10 & 3
        if header >> 21 != 0x7FF or not 1 <= index <= 14 or rate_index == 3:
            raise ValueError(f"no frame header at byte {at}")
        bitrate = (_MPEG1 if mpeg1 else _MPEG2)[index - 1]
        sampling_rate = (44100, 48000, 32000)[rate_index] >> {3: 0, 2: 1, 0: 2}.get(header >> 19 & 3, 0)
        length = (144 if mpeg1 else 72) * bitrate * 1000 // sampling_rate + (header >> 9 & 1)
        if at + length > len(payload):
            raise ValueError("it is cut off within a frame")
        yield payload[at : at + length]
        at += length
