"""FFmpeg's video codecs through PyAV: elementary streams from frames and back, without a container."""

from __future__ import annotations

import ctypes
import itertools
import os
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple, cast

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane

from lossybench.codecs.codec import Encoded

FULL_RANGE, BT601 = 2, 6  # AVCOL_RANGE_JPEG, AVCOL_SPC_SMPTE170M

BLOCK = 64  # pixels; decoders allocate whole blocks of up to so many each way

PIECE = 2**20  # bytes of a stream that are given to a parser at a time

START = b"\x00\x00\x00\x01"

KEPT = 16  # encoders of a thread that are kept open for further pictures: a codec's levels, and some sizes of items

# Encoders mark what they make by how many pictures they made before, with bits that no decoder minds. Bit n % period of
# such a number says whether the n-th picture is marked as the first is. x264 numbers intra pictures 0 and 1 in turn
# (idr_pic_id), and ends what its arithmetic coder writes with a bit of 0x35a4e4f5; x265 sets a flag about the borders
# of slices, of which a picture has one, by the bits of 0x5f4e4a53.
MARKS = {"libx264": (0x35A4E4F5 & 0x55555555, 32), "libx265": (0x5F4E4A53, 31)}


class _Nal(NamedTuple):
    """How a standard numbers its NAL units (ITU-T H.264, table 7-1; H.265, table 7-1)."""

    shift: int  # of the type within the first byte
    mask: int
    slices: Collection[int]
    parameter_sets: Collection[int]
    end: bytes  # the end-of-bitstream unit, whole


NAL = {"h264": _Nal(0, 31, range(1, 6), (7, 8), b"\x0b"), "hevc": _Nal(1, 63, range(32), (32, 33, 34), b"\x4a\x01")}


def ffmpeg_version() -> str:
    """The versions of FFmpeg and PyAV."""
    return f"FFmpeg {av.ffmpeg_version_info} (PyAV {av.__version__})"


def planes(frame: VideoFrame) -> list[np.ndarray]:
    """The planes of a frame of 8-bit samples, uint8 (H, W) each, as views that keep the frame in memory."""
    return [_rows(plane)[:, : plane.width] for plane in frame.planes]


def _rows(plane: VideoPlane) -> np.ndarray:
    """All bytes of a plane, uint8 (H, bytes of a row), those that fill up its rows included, as a view."""
    return np.frombuffer(cast(memoryview, plane), np.uint8).reshape(plane.height, -1)


def encode_frames(
    encoder: str,
    frames: Iterable[Sequence[np.ndarray]],
    size: tuple[int, int],
    pixels: str,
    sampling_rate: float,
    options: dict[str, str],
    full_range: bool = False,
) -> Iterator[bytes]:
    """The packets of `frames`, encoded by one thread; of H.264 and HEVC, whole Annex B streams.

    frames: the planes of each, uint8 (rows, bytes), which are copied before the next frame is asked for. size: (height,
    width). encoder, pixels, options: by FFmpeg's names. sampling_rate: frames/s; 0 where it is unknown. full_range: the
    frames are BT.601 Y'CbCr at full range, and the stream shall say so.
    """
    context = _encoder(encoder, size, pixels, sampling_rate, options, full_range)
    frame = VideoFrame(size[1], size[0], pixels)
    for index, source in enumerate(frames):
        frame.make_writable()  # a new one, should the encoder still hold it
        _fill(frame, source, index)
        yield from map(bytes, context.encode(frame))
    yield from map(bytes, context.encode(None))


def encode_still(
    encoder: str, still: Sequence[np.ndarray], size: tuple[int, int], pixels: str, options: dict[str, str]
) -> list[bytes]:
    """The packets of one picture at full range, as `encode_frames` makes them, by an encoder that is kept for the next.

    encoder: one of MARKS. options: such that it holds no frame back and codes each by itself; what it is made to hold
    back raises RuntimeError. All else is as in `encode_frames`.

    To open an encoder takes longer than it takes to code a picture of 48x48 pixels.
    """
    key = encoder, size, pixels, *options.items()
    mine = _kept.setdefault((os.getpid(), threading.get_ident()), OrderedDict())
    kept = mine.pop(key, None)  # away while it codes, so that one which failed is not used again
    if kept is None:
        kept = _Encoder(_encoder(encoder, size, pixels, 0, options, full_range=True), MARKS[encoder])
    packets = kept.encode(still, VideoFrame(size[1], size[0], pixels))
    mine[key] = kept
    if len(mine) > KEPT:
        mine.popitem(last=False)
    return packets


# The encoders that are kept open, by process and thread, the latest last. x265 works in threads of its own, which a
# forked process lacks, so that it would wait for them without end: to code, and to close an encoder of its parent's.
_kept: dict[tuple[int, int], OrderedDict[tuple[object, ...], _Encoder]] = {}


def _never_close() -> None:
    """Hold on to all encoders that were inherited, beyond the end of the interpreter."""
    for encoders in _kept.values():
        for one in encoders.values():
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(one.context))


os.register_at_fork(after_in_child=_never_close)


class _Encoder:
    """An encoder of pictures that stand for themselves. marks: of MARKS."""

    def __init__(self, context: VideoCodecContext, marks: tuple[int, int]) -> None:
        self.context, self.done = context, 0
        self.as_first, self.period = marks

    def encode(self, still: Sequence[np.ndarray], frame: VideoFrame) -> list[bytes]:
        """The packets of one picture, as if it were the first. frame: to fill."""
        while not self.as_first >> self.done % self.period & 1:
            # A grey picture, which takes least, in place of one that would be marked.
            self._next([np.full_like(plane, 128) for plane in still], frame)
        return self._next(still, frame)

    def _next(self, still: Sequence[np.ndarray], frame: VideoFrame) -> list[bytes]:
        frame.make_writable()
        _fill(frame, still, self.done)
        packets = [bytes(packet) for packet in self.context.encode(frame)]
        self.done += 1
        if len(packets) != 1:
            raise RuntimeError(f"{self.context.codec.name} gave {len(packets)} packets for a picture, not 1")
        return packets


def _fill(frame: VideoFrame, source: Sequence[np.ndarray], index: int) -> None:
    for plane, values in zip(frame.planes, source, strict=True):
        _rows(plane)[:, : values.shape[1]] = values
    frame.pts = index


def _encoder(
    encoder: str, size: tuple[int, int], pixels: str, sampling_rate: float, options: dict[str, str], full_range: bool
) -> VideoCodecContext:
    """An encoder, not open yet. Arguments: see `encode_frames`."""
    context = cast(VideoCodecContext, av.CodecContext.create(encoder, "w"))
    context.height, context.width = size
    context.pix_fmt = pixels
    context.framerate = Fraction(sampling_rate or 25).limit_denominator(1001)
    context.time_base = 1 / context.framerate
    context.thread_count = 1
    context.options = options
    if full_range:
        context.color_range, context.colorspace = FULL_RANGE, BT601
    return context


def decode_frames(standard: str, stream: bytes, count: int, size: tuple[int, int], pixels: str) -> Iterator[VideoFrame]:
    """The `count` frames, in display order, of a stream that `bare` made. standard: "h264" or "hevc".

    size: (height, width) of each frame. pixels: FFmpeg's name of their pixel format. Raises av.FFmpegError or
    ValueError when the stream is damaged or is not of such frames, before more or larger ones take memory.
    """
    # Decoders fill in what a cut-off slice lacks, HEVC's without a word; the end unit tells that nothing is missing.
    if not stream.endswith(START + NAL[standard].end):
        raise ValueError("it is cut off")
    context = cast(VideoCodecContext, av.CodecContext.create(standard, "r"))
    # Piece by piece, as packets are copies.
    pieces = (memoryview(stream)[at : at + PIECE] for at in range(0, len(stream), PIECE))
    packets = itertools.chain.from_iterable(map(context.parse, itertools.chain(pieces, [None])))
    yield from _decoded(context, packets, count, size, pixels)


def decode_packets(
    decoder: str, packets: Iterable[bytes], count: int, size: tuple[int, int], pixels: str
) -> Iterator[VideoFrame]:
    """The `count` frames, in display order, of packets that a parser is not needed for. decoder: by FFmpeg's name.

    All else is as in `decode_frames`.
    """
    context = cast(VideoCodecContext, av.CodecContext.create(decoder, "r"))
    yield from _decoded(context, map(av.Packet, packets), count, size, pixels)


def _decoded(
    context: VideoCodecContext, packets: Iterable[av.Packet], count: int, size: tuple[int, int], pixels: str
) -> Iterator[VideoFrame]:
    """What `decode_frames` and `decode_packets` return, by a decoder that is not open yet."""
    context.thread_count = 1
    most = (size[0] + BLOCK) * (size[1] + BLOCK)
    context.options = {"err_detect": "explode", "max_pixels": str(most)}  # the default conceals errors
    decoded = 0
    for packet in itertools.chain(packets, [None]):  # None: the end
        for frame in context.decode(packet):
            found = frame.height, frame.width, frame.format.name.replace("yuvj", "yuv")  # j: at full range
            if found != (*size, pixels):
                raise ValueError(f"its frames are {found}, not {(*size, pixels)}")
            if decoded == count:
                raise ValueError(f"it decodes to more than {count} frames")
            if frame.is_corrupt:
                raise ValueError("its decoder had to conceal errors")
            decoded += 1
            yield frame
    if decoded != count:
        raise ValueError(f"it decodes to {decoded} frames, not {count}")


def bare(packets: Iterable[bytes], standard: str) -> Encoded:
    """Annex B packets cut down to parameter sets and slices, and closed by an end unit. standard: "h264" or "hevc".

    What is counted is the stream of these NAL units, with the start codes that the encoder gave them: slices are the
    coded media, parameter sets and start codes overhead. SEI, which tells no decoder anything, is neither kept nor
    counted, and the end unit, which only serves to find a cut, is kept and not counted.
    """
    nal = NAL[standard]
    kept, coded = list[bytes](), 0
    for packet in packets:
        at = packet.find(START[1:]) + 3
        while at > 2:
            start, at = at, packet.find(START[1:], at) + 3
            # A start code may begin with one zero more.
            end = len(packet) if at < 3 else at - 3 - (packet[at - 4] == 0)
            kind = packet[start] >> nal.shift & nal.mask
            if kind in nal.slices or kind in nal.parameter_sets:
                kept.append(packet[start - 3 - (packet[start - 4 : start - 3] == b"\0") : end])
                coded += end - start if kind in nal.slices else 0
    stream = b"".join(kept)
    return Encoded(stream + START + nal.end, 8 * coded, 8 * (len(stream) - coded))
