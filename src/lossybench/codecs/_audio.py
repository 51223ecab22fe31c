"""What audio codecs share: FFmpeg's packets from samples and back through PyAV, and sampling rates."""

from __future__ import annotations

import abc
import itertools
from collections.abc import Iterable
from fractions import Fraction
from typing import cast

import av
import numpy as np
import soxr
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame

from lossybench.codecs.codec import Codec, Encoded, Medium
from lossybench.errors import LossyBenchError

AT_ONCE = 64  # frames that are given to an encoder: PyAV cuts them, faster than it takes them one by one


class SoundCodec(Codec):
    """A codec of audio that works at certain sampling rates alone.

    A clip at another rate is brought to the one that `native` says, and back (soxr, linear phase, so that nothing is
    shifted). What such a codec does to a clip therefore includes the band limit of half its own rate, as a telephone's
    does. Subclasses define `native`, `encode_sound`, `decode_sound` and `version`.
    """

    media = frozenset({"audio"})
    stronger = "lower"
    whole = False

    @abc.abstractmethod
    def native(self, sampling_rate: int) -> int:
        """The sampling rate, Hz, at which clips of `sampling_rate` are coded."""

    @abc.abstractmethod
    def encode_sound(self, samples: np.ndarray, sampling_rate: int, level: float) -> Encoded:
        """What `encode` does with `samples` (n,) at a native rate, int16, or float32 on its scale when resampled."""

    @abc.abstractmethod
    def decode_sound(self, payload: bytes, count: int, sampling_rate: int) -> np.ndarray:
        """The `count` samples, on the scale of int16, that lie where those of `encode_sound` did. Raises ValueError."""

    def _encode(self, media: np.ndarray, medium: Medium, level: float, sampling_rate: float) -> Encoded:
        whole = whole_rate(self.name, sampling_rate)
        rate = self.native(whole)
        samples = media
        if rate != whole:
            # soxr rounds the length, perhaps to nothing: with a little silence behind the clip, enough comes of it.
            silence = np.zeros(2 + 2 * whole // rate, np.float32)
            samples = soxr.resample(np.concatenate([media, silence]), whole, rate)[: _length(len(media), whole, rate)]
        return self.encode_sound(samples, rate, level)

    def _decode(self, payload: bytes, shape: tuple[int, ...], sampling_rate: float) -> np.ndarray:
        whole = whole_rate(self.name, sampling_rate)
        rate = self.native(whole)
        samples = self.decode_sound(payload, _length(shape[0], whole, rate), rate)
        if rate != whole:
            samples = soxr.resample(samples.astype(np.float32), rate, whole)
        if not np.isfinite(samples).all():  # what damaged numbers in a payload may become
            raise ValueError("it decodes to samples that are no numbers")
        return to_int16(samples[: shape[0]])


def _length(count: int, sampling_rate: int, other: int) -> int:
    """How many samples at the rate `other` a clip of `count` samples at `sampling_rate` takes.

    At another rate, one is added: the clip's last sample may lie behind the last of those that begin within the clip.
    """
    return count if other == sampling_rate else -(-count * other // sampling_rate) + 1


def whole_rate(codec: str, sampling_rate: float) -> int:
    """The sampling rate, Hz, as an integer. codec: the name of the codec that needs it.

    Raises LossyBenchError for a rate that is no whole number from 1 on.
    """
    if sampling_rate < 1 or sampling_rate != int(sampling_rate):
        raise LossyBenchError(
            f"codec {codec!r}: audio needs its sampling rate, a whole number of Hz, not {sampling_rate:g}"
        )
    return int(sampling_rate)


def to_int16(samples: np.ndarray) -> np.ndarray:
    """The samples, any shape on the scale of int16, rounded and clipped: a peak that overshoots must not wrap."""
    if samples.dtype == np.int16:
        return samples
    return np.clip(np.rint(samples), -32768, 32767).astype(np.int16)


def ogg_bytes(packets: Iterable[int], most: int) -> int:
    """The bytes of the Ogg pages (RFC 3533, section 6) that hold packets of so many bytes each.

    most: the packets that a page is closed after; it is closed before when its 255 segments are full.
    """
    size = pages = segments = count = 0
    for length in packets:
        left = length // 255 + 1
        size, count = size + length + left, count + 1
        while left:
            taken = min(left, 255 - segments)
            left, segments = left - taken, segments + taken
            if segments == 255 or (not left and count == most):
                pages, segments, count = pages + 1, 0, 0
    return size + 27 * (pages + (segments > 0))


def encode_packets(
    encoder: str,
    samples: np.ndarray,
    sampling_rate: int,
    sample_format: str,
    bit_rate: int,
    options: dict[str, str] | None = None,
) -> tuple[list[bytes], bytes]:
    """The packets of mono `samples` (n,), and the encoder's header (extradata).

    encoder, sample_format, options: by FFmpeg's names; the samples have the format's dtype. sampling_rate: Hz.
    bit_rate: bits/s; 0 for encoders that have one only.
    """
    context = cast(AudioCodecContext, av.CodecContext.create(encoder, "w"))
    context.sample_rate, context.layout, context.format = sampling_rate, "mono", sample_format
    context.time_base = Fraction(1, sampling_rate)
    context.bit_rate = bit_rate
    context.thread_count = 1
    context.options = options or {}
    context.open()
    packets = []
    size = AT_ONCE * (context.frame_size or 1024)  # 0: frames of any size
    for start in range(0, len(samples), size):
        chunk = np.ascontiguousarray(samples[None, start : start + size])
        frame = AudioFrame.from_ndarray(chunk, format=sample_format, layout="mono")
        frame.sample_rate, frame.pts = sampling_rate, start
        packets += context.encode(frame)
    packets += context.encode(None)
    return [bytes(packet) for packet in packets], bytes(context.extradata or b"")


def decode_packets(
    decoder: str,
    packets: Iterable[bytes],
    most: int,
    header: bytes = b"",
    sampling_rate: int = 0,
    options: dict[str, str] | None = None,
) -> np.ndarray:
    """All samples (n,) that the decoder makes of the packets, in the decoder's own dtype. header: its extradata.

    most: so many samples may come. sampling_rate: Hz, for decoders of packets that do not tell that they are mono at
    such a rate. options: further ones of the decoder, by FFmpeg's names. Raises av.FFmpegError or ValueError when the
    packets are damaged, hold more, or are not mono.
    """
    context = cast(AudioCodecContext, av.CodecContext.create(decoder, "r"))
    context.thread_count = 1
    context.options = {"err_detect": "explode", **(options or {})}
    if sampling_rate:
        context.sample_rate, context.layout = sampling_rate, "mono"
    if header:
        context.extradata = header
    samples, done = np.empty(0), 0
    for packet in itertools.chain(map(av.Packet, packets), [None]):  # None: the end
        for frame in context.decode(packet):
            if done + frame.samples > most or len(frame.layout.channels) != 1:
                raise ValueError("it decodes to more samples than the clip has, or to several channels")
            if not done:
                samples = np.empty(most, frame.to_ndarray().dtype)
            # Of the many short frames, to_ndarray would take a tenth of the time of decoding.
            samples[done : done + frame.samples] = np.frombuffer(
                cast(memoryview, frame.planes[0]), samples.dtype, frame.samples
            )
            done += frame.samples
    if not done:
        raise ValueError("it decodes to nothing")
    return samples[:done]
