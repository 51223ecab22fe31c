"""Opus (RFC 6716), by libopus."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import soxr

from lossybench.codecs._audio import decode_packets, encode_packets, to_int16, whole_rate
from lossybench.codecs._common import described, pack, require, unpack
from lossybench.codecs._ffmpeg import ffmpeg_version
from lossybench.codecs.codec import Codec, Encoded, Medium
from lossybench.errors import LossyBenchError

NATIVE = (8000, 12000, 16000, 24000, 48000)
CLOCK = 48000  # Hz, of the decoder's samples and of those that pre-skip counts
BANDWIDTHS = {"narrow": 4000, "medium": 6000, "wide": 8000, "superwide": 12000, "full": 20000}  # Hz, RFC 6716, table 1
SEARCH = 24  # samples at 48 kHz, to either side, within which the decoded clip is aligned


@dataclasses.dataclass(frozen=True)
class Opus(Codec):
    """The level is the target bitrate. Sampling rates that Opus lacks become 48 kHz and back (soxr, linear phase).

    vbr: "constrained" is libopus's own default: each packet takes what it needs, but the mean stays near the target, so
    that a level means about the same rate on every clip. "on" lets the rate follow the content, "off" is constant.
    application: "audio"; "voip" for speech, which emphasises formants and filters low frequencies; or "lowdelay".
    complexity: from 0 to 10, the encoder's effort. bandwidth: the highest frequency kept, of BANDWIDTHS, or "auto".
    Coded media are the packets; the header, and a length of one or two bytes for each packet, are overhead.
    """

    name = "opus"
    title = "Opus"
    media = frozenset({"audio"})
    parameter = "bitrate"
    unit = "kb/s"
    stronger = "lower"
    bounds = (6, 256)  # RFC 6716 starts at 6; FFmpeg's libopus ends at 256 a channel
    whole = False

    vbr: str = "constrained"
    application: str = "audio"
    complexity: int = 10
    bandwidth: str = "auto"

    def __post_init__(self) -> None:
        require(self, "vbr", ("on", "constrained", "off"))
        require(self, "application", ("audio", "voip", "lowdelay"))
        require(self, "bandwidth", ("auto", *BANDWIDTHS))
        if not 0 <= self.complexity <= 10:
            raise LossyBenchError(f"codec 'opus': complexity {self.complexity} must be a whole number from 0 to 10")

    def _encode(self, media: np.ndarray, medium: Medium, level: float, sampling_rate: float) -> Encoded:
        whole = whole_rate(self.name, sampling_rate)
        samples = media.astype(np.float32) / 32768
        if whole not in NATIVE:
            samples, whole = soxr.resample(samples, whole, CLOCK), CLOCK
        # With a millisecond of silence more, the clip's end is still there wherever pre-skip moves.
        padded = np.concatenate([samples, np.zeros(whole // 1000, np.float32)])
        options = {"vbr": self.vbr, "application": self.application, "compression_level": str(self.complexity)}
        if self.bandwidth != "auto":
            options["cutoff"] = str(BANDWIDTHS[self.bandwidth])
        packets, header = encode_packets("libopus", padded, whole, "flt", round(level * 1000), options)
        original = samples if whole == CLOCK else soxr.resample(samples, whole, CLOCK)
        decoded = _decoded(header, packets, len(original) + CLOCK)
        header = _aligned(header, decoded, original)
        payload, coded = pack([header, *packets]), sum(map(len, packets))
        _latest.payload, _latest.decoded = payload, decoded
        return Encoded(payload, 8 * coded, 8 * (len(payload) - coded))

    def _decode(self, payload: bytes, shape: tuple[int, ...], sampling_rate: float) -> np.ndarray:
        whole = whole_rate(self.name, sampling_rate)
        header, *packets = unpack(payload)
        most = -(-shape[0] * CLOCK // whole) + CLOCK  # less than a second of delay and padding comes on top
        decoded = _latest.take(payload)
        if decoded is None or len(decoded) > most:
            decoded = _decoded(header, packets, most)
        decoded = decoded[_pre_skip(header) :]
        samples = decoded if whole == CLOCK else soxr.resample(decoded, CLOCK, whole)
        if len(samples) < shape[0]:
            raise ValueError(f"it decodes to {len(samples)} samples, not {shape[0]}")
        return to_int16(samples[: shape[0]])

    def version(self) -> str:
        return described(self, f"libopus of {ffmpeg_version()}, soxr {soxr.__version__}")


class _Latest(threading.local):
    """What this thread's latest payload decodes to, as its encoder had to know: whoever encodes often decodes next."""

    payload = b""
    decoded: np.ndarray | None = None

    def take(self, payload: bytes) -> np.ndarray | None:
        """The decoded samples of that payload, if it is the latest one. They are given once, and then forgotten."""
        if payload != self.payload:
            return None
        decoded, self.payload, self.decoded = self.decoded, b"", None
        return decoded


_latest = _Latest()


def _pre_skip(header: bytes) -> int:
    """Samples at 48 kHz to drop at the start: the OpusHead's bytes 10 and 11 (RFC 7845, section 5.1)."""
    if header[:8] != b"OpusHead" or len(header) != 19:
        raise ValueError("no OpusHead")
    return int.from_bytes(header[10:12], "little")


def _with_pre_skip(header: bytes, samples: int) -> bytes:
    return header[:10] + samples.to_bytes(2, "little") + header[12:]


def _decoded(header: bytes, packets: list[bytes], most: int) -> np.ndarray:
    """All samples at 48 kHz, float32 (n,), with the delay at the start. most: as of `decode_packets`."""
    # With a pre-skip of 0, so that it does not matter what FFmpeg's decoder makes of pre-skip.
    return decode_packets("libopus", packets, most, _with_pre_skip(header, 0)).astype(np.float32, copy=False)


def _aligned(header: bytes, decoded: np.ndarray, original: np.ndarray) -> bytes:
    """The header with the pre-skip at which the cross-correlation of `decoded` and `original` is largest.

    decoded: what `_decoded` makes of the packets. original: the clip at 48 kHz.

    The encoder's own figure is right for its CELT mode. Its SILK mode, at low rates, is up to 6 samples late or 3
    early, depending on the speech.
    """
    skip = _pre_skip(header)
    length = min(len(original), len(decoded) - skip - SEARCH)
    if length < 1:  # at high sampling rates, a few samples are none at 48 kHz
        return header
    window = decoded[skip - SEARCH : skip + SEARCH + length]
    correlation = np.correlate(window, original[:length], "valid")
    # Among equals, as in silence, the one nearest to the encoder's own figure.
    offsets = np.arange(-SEARCH, SEARCH + 1)
    best = offsets[np.lexsort((np.abs(offsets), -correlation))[0]]
    return _with_pre_skip(header, skip + int(best))
