"""Video files as frames.

What a frame looks like is left to FFmpeg's filters, which the ffmpeg program uses too. What a file is, is left to its
content, among the containers of `_CONTAINERS`: others, such as playlists, name further files and addresses to read.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.buffer import Buffer
from av.container import InputContainer
from av.filter import Graph
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lossybench.codecs.codec import MOST_BYTES
from lossybench.data.dataset import Finding
from lossybench.errors import LossyBenchError, naming

LARGEST = MOST_BYTES  # of a clip's frames as RGB
RATES = (0.01, 1000.0)  # frames/s that are possible

_CONTAINERS = ("mov", "matroska", "avi", "mpeg", "mpegts", "mpegvideo", "m4v", "asf", "flv")
_SAME = {  # what else files of these containers are called
    "mov,mp4,m4a,3gp,3g2,mj2": {"m4v", "mov"}, "matroska,webm": {"webm"}, "mpeg": {"mpg", "mpeg"},
    "mpegvideo": {"mpg", "mpeg"}, "asf": {"wmv"},
}  # fmt: skip
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own decoders of these leave out transparency
_HDR = {16: "PQ", 18: "HLG"}  # ITU-T H.273, table 3
_TS_PACKETS = (188, 192, 204)  # bytes: as standardised, with a time stamp before it, with parity after it
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"  # RFC 8794 and 9559


def read(path: Path, start: int = 0, stop: int | None = None, whole: bool = False) -> tuple[np.ndarray, float]:
    """Frames `start` up to `stop` (None: to the end), uint8 (frames, H, W, 3) RGB, and their rate in frames/s.

    Frames are turned and flipped as the file says, and transparency is laid over white. For the rate see `frame_rate`.

    whole: refuse a damaged frame, and a file that is shorter than it announces.
    Raises LossyBenchError, naming the file, when it is no video, none of these frames is in it, it turns frames by
    other than quarters, or the frames have more than LARGEST bytes.
    """
    frames: np.ndarray = np.empty(0, np.uint8)
    times: list[int | None] = []
    with naming(path), _opened(path) as (container, stream):
        declared = float(stream.guessed_rate or stream.average_rate or 0)
        _refuse_large(container, stream, declared, start, stop)
        if whole:
            _refuse_fewer_bytes(path, container, stream)
        reader, as_rgb = _Reader(container, stream, whole), _AsRgb()
        for index, frame in enumerate(reader):
            if whole and (frame.is_corrupt or reader.damaged):
                raise LossyBenchError(f"frame {index} is damaged")
            if index >= start:
                rgb = as_rgb(frame)
                if not times:
                    # What is not written to takes no memory, so that frames need be in it only once.
                    frames = np.empty((max(1, LARGEST // rgb.nbytes), *rgb.shape), np.uint8)
                if rgb.shape != frames.shape[1:]:
                    raise LossyBenchError("its frames differ in size")
                if len(times) == len(frames) or rgb.nbytes > LARGEST:
                    raise _too_large(len(times) + 1, *rgb.shape[:2])
                frames[len(times)] = rgb
                times.append(frame.pts)
            if index + 1 == stop:
                break
        else:
            if whole:
                _refuse_fewer_seconds(container, stream, reader.end, times)
        if not times:
            raise LossyBenchError(f"ends before frame {start}, counted from 0")
        rate = frame_rate(times, stream.time_base or Fraction(1), declared)
        if not RATES[0] <= rate <= RATES[1]:
            raise LossyBenchError(f"its frame rate is {rate:g} frames/s; {RATES[0]:g} to {RATES[1]:g} are possible")
    frames.resize((len(times), *frames.shape[1:]), refcheck=False)
    return frames, rate


def frame_rate(times: Sequence[int | None], tick: Fraction, declared: float) -> float:
    """The rate, in frames/s, of n frames that are shown from `times` on, in display order.

    The rate that the file declares holds if the n - 1 intervals between the times are together as long as it makes
    them, to 0.05 % and the rounding of times to ticks. Otherwise the rate is n over the span of the frames: from the
    first time to the last, and for the last frame the shortest interval, which is one beat where frames were dropped;
    what files say of its duration is often wrong. A single frame has the declared rate.

    times: in units of `tick` seconds; None where the file does not say one, and the declared rate then holds.
    declared: frames/s; 0 where the file declares none.
    """
    known = [time for time in times if time is not None]
    intervals = sorted(after - before for before, after in itertools.pairwise(known))
    if len(known) < max(2, len(times)) or intervals[0] < 0 or sum(intervals) == 0:
        return declared
    expected = len(intervals) / (declared * float(tick)) if declared else 0.0
    rounding = 1 if declared * float(tick) < 0.5 else 0  # in AVI a tick is a frame, and nothing is rounded
    if abs(sum(intervals) - expected) <= rounding + 5e-4 * expected:
        return declared
    return len(known) / ((sum(intervals) + intervals[0]) * float(tick))


def look(path: Path, stop: int | None = None) -> list[Finding]:
    """What is odd about the first `stop` frames (None: all) of the readable video file `path`, without decoding all."""
    found: list[tuple[str, str, str]] = []
    times, frame = [], None
    with naming(path), _opened(path) as (container, stream):
        names = container.format.extensions | _SAME.get(container.format.name, set())
        if container.format.extensions and path.suffix.lower().lstrip(".") not in names:
            found.append(("wrong extension", "warning", f"is {container.format.long_name} by its content"))
        if container.streams.audio:
            found.append(("sound in a video", "note", "is left out"))
        if len(_videos(container)) > 1:
            found.append(("several videos in one file", "warning", "only the first is taken"))
        decoder = _decoder(stream)
        for packet in container.demux(stream):
            time = packet.pts if packet.pts is not None else packet.dts
            if time is not None and not packet.is_discard:
                times.append(time)
            if frame is None:
                frame = next(iter(decoder.decode(packet)), None)
            if stop and len(times) >= stop + 100:  # packets may come in another order than frames are shown
                break
        if varying := _varying(sorted(times)[:stop], stream.time_base or Fraction(1)):
            text = f"frames last from {varying[0]:.3g} to {varying[1]:.3g} s; the mean rate counts"
            found.append(("variable frame rate", "warning", text))
        aspect = stream.sample_aspect_ratio
        if aspect and aspect != 1:
            text = f"its pixels are {aspect.numerator}:{aspect.denominator} and are read as if they were square"
            found.append(("non-square pixels", "warning", text))
        if frame is not None:
            if frame.interlaced_frame:
                text = "its frames consist of two fields each, and are read as they are"
                found.append(("interlaced video", "warning", text))
            if transfer := _HDR.get(frame.color_trc):
                found.append(("HDR video", "warning", f"has transfer {transfer} and is read without tone mapping"))
            if _transparent(frame):
                found.append(("transparent video", "note", "is laid over white"))
            if max(part.bits for part in frame.format.components) > 8:
                found.append(("video of more than 8 bits", "note", "becomes 8-bit"))
    return [Finding(kind, severity, str(path), text) for kind, severity, text in found]  # type: ignore[arg-type]


def _varying(times: list[int], tick: Fraction) -> tuple[float, float] | None:
    """The shortest and longest interval, in seconds, if they differ by more than a fifth and the rounding to ticks."""
    intervals = sorted(after - before for before, after in itertools.pairwise(times))
    if not intervals:
        return None
    shortest, usual, longest = intervals[0], intervals[len(intervals) // 2], intervals[-1]
    if longest - shortest <= max(0.2 * usual, min(2, 0.5 * usual)):
        return None
    return shortest * float(tick), longest * float(tick)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The file, opened, and its video. Raises LossyBenchError when it has none, and for all that FFmpeg raises."""
    # With the prefix, no name of a file is taken for an address; the lists keep FFmpeg from opening anything else.
    options = {"format_whitelist": ",".join(_CONTAINERS), "protocol_whitelist": "file"}
    try:
        with av.open(f"file:{path.absolute()}", options=options, metadata_errors="replace") as container:
            videos = _videos(container)
            if not videos or videos[0].codec_context is None:
                raise LossyBenchError("holds no video that can be read; is it whole?")
            yield container, videos[0]
    except (av.FFmpegError, OSError) as error:
        raise LossyBenchError(f"not a video that ffmpeg can read ({error.strerror})") from None


def _videos(container: InputContainer) -> list[VideoStream]:
    return [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]


def _decoder(stream: VideoStream) -> VideoCodecContext:
    context = stream.codec_context
    if stream.metadata.get("alpha_mode") == "1" and context.name in _WITH_ALPHA:
        return cast(VideoCodecContext, av.CodecContext.create(_WITH_ALPHA[context.name], "r"))
    return context


class _Reader:
    """The decoded frames of a file's video, in display order.

    strict: report faults that decoders would conceal. end: seconds, on the file's clock, to the end of what was read of
    any of its streams. damaged: whether a packet of the video was.
    """

    def __init__(self, container: InputContainer, stream: VideoStream, strict: bool) -> None:
        self._container, self._stream, self._decoder = container, stream, _decoder(stream)
        if strict:  # otherwise the decoders of WMV conceal every fault
            self._decoder.options = {"err_detect": "crccheck+bitstream+buffer"}
        self.end, self.damaged = 0.0, False

    def __iter__(self) -> Iterator[VideoFrame]:
        for packet in self._container.demux():
            time = packet.pts if packet.pts is not None else packet.dts
            if time is not None and packet.time_base:
                self.end = max(self.end, float((time + (packet.duration or 0)) * packet.time_base))
            if packet.stream.index == self._stream.index:
                self.damaged |= packet.is_corrupt
                yield from self._decoder.decode(packet)


class _AsRgb:
    """Makes frames RGB, uint8 (H, W, 3), upright and without transparency."""

    def __init__(self) -> None:
        self._graphs: dict[tuple[object, ...], Graph] = {}  # one, unless the kind of frame changes within the file

    def __call__(self, frame: VideoFrame) -> np.ndarray:
        filters = (*_turns(frame), ("format", "rgba" if _transparent(frame) else "rgb24"))
        kind = (frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range, *filters)
        if kind not in self._graphs:
            self._graphs = {kind: _graph(frame, filters)}
        rgb = cast(np.ndarray, _filtered(frame, self._graphs[kind]).to_ndarray())
        if rgb.shape[-1] == 3:
            return rgb
        alpha = rgb[..., 3:].astype(np.uint16)
        return ((rgb[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _transparent(frame: VideoFrame) -> bool:
    return any(part.is_alpha for part in frame.format.components)


def _turns(frame: VideoFrame) -> tuple[tuple[str, str | None], ...]:
    """The filters, with their arguments, that bring a frame upright: what its display matrix says."""
    try:
        side = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # it has a kind of side data that PyAV has no name for, such as EXIF
        unknown = [("sidedata", f"mode=delete:type={number}") for number in range(len(SideDataType), 64)]
        side = _filtered(frame, _graph(frame, unknown)).side_data.get("DISPLAYMATRIX")
    if side is None:
        return ()
    # A pixel at (x, y) is shown at (a x + c y, b x + d y), but for a shift (ISO/IEC 14496-12, section 6.2.2).
    a, b, _, c, d = (int(value) for value in np.frombuffer(bytes(cast(Buffer, side)), np.int32)[:5])
    if max(abs(b), abs(c)) <= 0.02 * min(abs(a), abs(d)):
        return (("hflip", None),) * (a < 0) + (("vflip", None),) * (d < 0)
    if max(abs(a), abs(d)) <= 0.02 * min(abs(b), abs(c)):
        ways = {(True, True): "cclock_flip", (True, False): "clock", (False, True): "cclock"}
        return (("transpose", ways.get((b > 0, c > 0), "clock_flip")),)
    raise LossyBenchError("says that its frames are to be turned by other than quarters; turn them when encoding it")


def _graph(frame: VideoFrame, filters: Iterable[tuple[str, str | None]]) -> Graph:
    """A chain of filters, by name and argument, for frames like this one."""
    graph = Graph()
    graph.threads = 1
    size = {"width": frame.width, "height": frame.height, "format": frame.format}
    source = graph.add_buffer(**size, time_base=Fraction(1, 1000))  # type: ignore[arg-type]
    graph.link_nodes(source, *(graph.add(name, value) for name, value in filters), graph.add("buffersink")).configure()
    return graph


def _filtered(frame: VideoFrame, graph: Graph) -> VideoFrame:
    graph.vpush(frame)
    return graph.vpull()


def _refuse_large(container: InputContainer, stream: VideoStream, rate: float, start: int, stop: int | None) -> None:
    """Raise LossyBenchError when the wanted frames, as the header announces them, have more than LARGEST bytes."""
    announced = stream.frames or round((container.duration or 0) / av.time_base * rate)
    count = max(1, min(announced, stop or announced) - start)
    if count * stream.height * stream.width * 3 > LARGEST:
        raise _too_large(count, stream.height, stream.width)


def _too_large(count: int, height: int, width: int) -> LossyBenchError:
    most = LARGEST // (height * width * 3)
    remedy = f"set max_frames to {most} or fewer, or make its frames smaller" if most else "make its frames smaller"
    size = count * height * width * 3 / 1e9
    return LossyBenchError(
        f"its frames, {count} or more of {width} x {height} pixels, have {size:.2f} GB or more, and a clip may have "
        f"{LARGEST / 1e9:.2f} GB; {remedy}"
    )


def _refuse_fewer_bytes(path: Path, container: InputContainer, stream: VideoStream) -> None:
    """Raise LossyBenchError when the file is to have more bytes than it has, by its index or its outermost header."""
    if container.format.name == "mpegts" and all(container.size % length for length in _TS_PACKETS):
        raise LossyBenchError(f"cut short: ends within a packet of {_TS_PACKETS[0]} bytes")
    size = path.stat().st_size
    entries = stream.index_entries
    announced = max((entry.pos + entry.size for entry in entries[max(0, len(entries) - 1000) :]), default=0)
    with path.open("rb") as file:
        head = file.read(4096)
    if head[:4] == b"RIFF":
        announced = max(announced, int.from_bytes(head[4:8], "little"))  # but for 8 bytes, which some writers count
    elif head[:4] == _EBML and (at := head.find(_SEGMENT)) > 0 and (first := head[at + 4]):
        length = 9 - first.bit_length()  # of the number, which begins with a bit for it (RFC 8794, section 4)
        number = int.from_bytes(head[at + 4 : at + 4 + length], "big") & ~(1 << 7 * length)
        if number != (1 << 7 * length) - 1:  # which means that it was not known
            announced = at + 4 + length + number
    if announced > size:
        raise LossyBenchError(f"cut short: holds {size} of {announced} bytes")


def _refuse_fewer_seconds(
    container: InputContainer, stream: VideoStream, end: float, times: Sequence[int | None]
) -> None:
    """Raise LossyBenchError when the file ends earlier than it announces by two frames and a tenth of a second.

    Nearer is no fault: writers count the last frame, the sound's padding or the clock on the wall. Nothing is said of a
    single frame, which may be shown for any time. end: in seconds on the file's clock, of all its streams. times: of
    the frames.
    """
    known = sorted(time for time in times if time is not None)
    if len(known) < 2 or not stream.time_base:
        return
    announced = ((container.start_time or 0) + (container.duration or 0)) / av.time_base
    if container.format.name == "avi" and stream.average_rate:  # where FFmpeg shortens the duration to what is there
        announced = max(announced, float(stream.frames / stream.average_rate))
    longest = max(after - before for before, after in itertools.pairwise(known))
    if announced - end > 2 * float(longest * stream.time_base) + 0.1:
        raise LossyBenchError(f"cut short: ends after {end:.2f} of {announced:.2f} s")
