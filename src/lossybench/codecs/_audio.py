"""Audio codecs of FFmpeg through PyAV: packets from samples and back."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame

from lossybench.errors import LossyBenchError


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
    encoder: str, samples: np.ndarray, sampling_rate: int, sample_format: str, bit_rate: int, options: dict[str, str]
) -> tuple[list[bytes], bytes]:
    """The packets of mono `samples` (n,), and the encoder's header (extradata).

    encoder, sample_format, options: by FFmpeg's names; the samples have the format's dtype. sampling_rate: Hz.
    bit_rate: bits/s.
    """
    context = cast(AudioCodecContext, av.CodecContext.create(encoder, "w"))
    context.sample_rate, context.layout, context.format = sampling_rate, "mono", sample_format
    context.time_base = Fraction(1, sampling_rate)
    context.bit_rate = bit_rate
    context.thread_count = 1
    context.options = options
    context.open()
    packets = []
    for start in range(0, len(samples), context.frame_size):
        chunk = np.ascontiguousarray(samples[None, start : start + context.frame_size])
        frame = AudioFrame.from_ndarray(chunk, format=sample_format, layout="mono")
        frame.sample_rate, frame.pts = sampling_rate, start
        packets += context.encode(frame)
    packets += context.encode(None)
    return [bytes(packet) for packet in packets], bytes(context.extradata or b"")


def decode_packets(decoder: str, packets: Iterable[bytes], most: int, header: bytes = b"") -> np.ndarray:
    """All samples (n,) that the decoder makes of the packets, in the decoder's own dtype. header: its extradata.

    most: so many samples may come. Raises av.FFmpegError or ValueError when the packets are damaged, hold more, or are
    not mono.
    """
    context = cast(AudioCodecContext, av.CodecContext.create(decoder, "r"))
    context.thread_count = 1
    context.options = {"err_detect": "explode"}
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
