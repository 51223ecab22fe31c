"""G.722 (ITU-T, 1988): ADPCM in two bands, the "HD voice" of telephones."""

from __future__ import annotations

import dataclasses

import numpy as np
import soxr

from lossybench.codecs._audio import SoundCodec, decode_packets, encode_packets, to_int16
from lossybench.codecs._common import described
from lossybench.codecs._ffmpeg import ffmpeg_version
from lossybench.codecs.codec import Encoded

DELAY = 22  # samples at 16 kHz, of the two filter banks of 24 taps (G.722, section 1.4.3): 11 in each


@dataclasses.dataclass(frozen=True)
class G722(SoundCodec):
    """The level is the bitrate of the mode: 64, 56 or 48 kb/s. Clips at any rate are coded at 16 kHz; see `SoundCodec`.

    A codeword of 8 bits stands for two samples. At 56 and 48 kb/s its last one or two bits are not sent, which costs
    no more than their precision, as neither side's prediction is made from them (G.722, section 1.3).
    The payload is the raw stream without a header, all of it coded media: the file .g722 at 64 kb/s. Codewords of 7 and
    6 bits lie close together, from the lowest bit of each byte on, as SpanDSP packs them.
    """

    name = "g722"
    title = "G.722"
    parameter = "bitrate"
    unit = "kb/s"
    bounds = (48, 64)
    levels = (48, 56, 64)

    def native(self, sampling_rate: int) -> int:
        return 16000

    def encode_sound(self, samples: np.ndarray, sampling_rate: int, level: float) -> Encoded:
        # An even count, as codewords stand for pairs, and silence behind the clip until the filters gave it all out.
        padded = np.zeros(2 * _codewords(len(samples)), np.int16)
        padded[: len(samples)] = to_int16(samples)
        packets, _ = encode_packets("g722", padded, sampling_rate, "s16", 0)
        payload, bits = b"".join(packets), int(level) // 8
        if bits < 8:
            codewords = np.right_shift(np.frombuffer(payload, np.uint8), np.uint8(8 - bits))
            split = np.unpackbits(codewords[:, None], axis=1, count=bits, bitorder="little")
            payload = np.packbits(split, bitorder="little").tobytes()
        return Encoded(payload, 8 * len(payload), 0)

    def decode_sound(self, payload: bytes, count: int, sampling_rate: int) -> np.ndarray:
        codewords = _codewords(count)
        lengths = {-(-codewords * bits // 8): bits for bits in (8, 7, 6)}
        if len(payload) not in lengths:
            raise ValueError(f"it has {len(payload)} bytes; {count} samples take {', '.join(map(str, lengths))}")
        bits = lengths[len(payload)]
        if bits < 8:
            packed = np.frombuffer(payload, np.uint8)
            split = np.unpackbits(packed, count=codewords * bits, bitorder="little").reshape(-1, bits)
            payload = (np.packbits(split, axis=1, bitorder="little")[:, 0] << (8 - bits)).tobytes()
        decoded = decode_packets(
            "g722", [payload], 2 * codewords, sampling_rate=sampling_rate, options={"bits_per_codeword": str(bits)}
        )
        return decoded[DELAY : DELAY + count]

    def version(self) -> str:
        return described(self, f"g722 of {ffmpeg_version()}, soxr {soxr.__version__}")


def _codewords(count: int) -> int:
    """How many codewords a clip of `count` samples takes with the delay."""
    return -(-(count + DELAY) // 2)
