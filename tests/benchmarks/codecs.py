"""What do the codecs cost beside the bare library? CPU milliseconds of `encode` and `decode`, and the ratio.

Run `python tests/benchmarks/codecs.py`, or name codecs or items: `... codecs.py hevc 48x48`; --quick leaves out what
takes long. Bare is what one would write with the same library and the same settings to get the same bytes (but for
headers) and the same media, and without any check of level, size or damage:

- JPEG, WebP: `cv2.cvtColor` to BGR and `cv2.imencode`; `cv2.imdecode` to RGB. JPEG 2000, AVIF, JPEG XL:
  Pillow's `save` and `Image.open`. In clips, frame by frame into one array.
- H.264, HEVC, VP9, AV1: PyAV with one context for an item, frames by `VideoFrame.from_ndarray`, swscale's conversion to
  full range and back, bilinear, one converter for all frames; the encoder's packets, without a parser. It is a cruder
  conversion than ours: it rounds in other places, and on the way back it repeats the chroma of 2x2 pixels instead of
  interpolating it.
- MP3, Opus: PyAV with one context, `AudioFrame.from_ndarray`, `to_ndarray`, samples rounded to int16; for Opus, soxr
  to 48 kHz where the rate needs it, and back.
- AAC, AMR-NB, G.711, G.722: as MP3, with soxr to the codec's own rate and back where they need it. G.711's and G.722's
  encoders take the clip at once. Vorbis: soundfile, to and from memory.
- original: the settings of `codecs/original.py` through OpenCV, soundfile or PyAV, and swscale from RGB to planes and
  back.

Bare and own calls take turns; each figure is the median of the rounds, in process time, on one thread.
"""

from __future__ import annotations

import argparse
import io
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
import soundfile
import soxr
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from PIL import Image
from skimage import data

from lossybench import codecs
from lossybench.codecs import jpeg2000, original
from lossybench.codecs._audio import SoundCodec
from lossybench.codecs.mp3 import DELAY
from lossybench.codecs.opus import CLOCK, NATIVE

LEVELS = {"original": 0, "jpeg": 50, "jpeg2000": 20, "webp": 50, "h264": 30, "hevc": 30, "mp3": 64, "opus": 32}
LEVELS |= {"avif": 50, "jpegxl": 50, "vp9": 35, "av1": 35}
VIDEO = ("h264", "hevc", "vp9", "av1")
LEVELS |= {"aac": 64, "vorbis": 3, "g711": 64, "g722": 64, "amrnb": 12.2}
PICTURES = ((48, 48), (512, 512), (1080, 1920))
CLIPS = ((16, 64, 64), (16, 240, 320), (8, 1080, 1920))
SOUNDS = ((1, 16000), (1, 44100), (60, 16000), (60, 44100))
RATE = 25  # frames/s
LEAST = 0.03  # seconds that are measured at once: short calls are repeated

Coder = tuple[Callable[[np.ndarray], bytes], Callable[[bytes], np.ndarray]]


def photograph(height: int, width: int) -> np.ndarray:
    """Photographs at their own resolution beside and below each other, uint8 (height, width, 3)."""
    photos = [photo[-300:, 60:510][:, :450] for photo in (data.astronaut(), data.coffee(), data.rocket())]
    rows = -(-height // 300)
    columns = -(-width // 450)
    tiles = [np.hstack([photos[(row + column) % 3] for column in range(columns)]) for row in range(rows)]
    return np.ascontiguousarray(np.vstack(tiles)[:height, :width])


def clip(frames: int, height: int, width: int) -> np.ndarray:
    """A camera that moves over photographs and has some noise."""
    noise, large = np.random.default_rng(0), photograph(height + frames, width + 2 * frames)
    views = [large[i : i + height, 2 * i : 2 * i + width] for i in range(frames)]
    return np.stack(
        [np.clip(np.rint(view + noise.normal(0, 1.5, view.shape)), 0, 255).astype(np.uint8) for view in views]
    )


def sound(seconds: int, rate: int) -> np.ndarray:
    """A voice-like tone of a falling pitch with overtones and pauses, and some noise, int16."""
    time_, noise = np.arange(seconds * rate) / rate, np.random.default_rng(0)
    phase = 2 * np.pi * np.cumsum(140 + 30 * np.sin(2 * np.pi * 0.7 * time_)) / rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 20)) * np.clip(4 * np.sin(2 * np.pi * 3 * time_) + 1, 0, 1)
    return np.rint(6000 * voice + 300 * noise.normal(size=len(time_))).astype(np.int16)


def bare(codec: codecs.Codec, media: np.ndarray, rate: float) -> Coder:
    """The bare library's encoder and decoder of items like this one."""
    if media.ndim == 1:
        return _bare_sound(codec, media, int(rate))
    if codec.name in VIDEO or (codec.name == "original" and media.ndim == 4):
        return _bare_video(codec, media)
    if codec.name == "original" and media[..., 0].size >= original._SMALL:
        return _bare_magicyuv(media)
    encode, decode = _bare_still(codec)
    if media.ndim == 3:
        return encode, decode
    sizes: list[int] = []

    def encode_clip(frames: np.ndarray) -> bytes:
        packets = [encode(frame) for frame in frames]
        sizes[:] = map(len, packets)
        return b"".join(packets)

    def decode_clip(payload: bytes) -> np.ndarray:
        decoded, at = np.empty(media.shape, np.uint8), 0
        for index, size in enumerate(sizes):
            decoded[index] = decode(payload[at : at + size])
            at += size
        return decoded

    return encode_clip, decode_clip


def _bare_still(codec: codecs.Codec) -> Coder:
    level = LEVELS[codec.name]
    if codec.name == "jpeg2000":

        def encode_jpeg2000(image: np.ndarray) -> bytes:
            ratio = image.nbytes / (image.nbytes / level + jpeg2000._header_bytes(image.shape))
            file, how = (
                io.BytesIO(),
                {"irreversible": True, "mct": 1, "quality_mode": "rates", "quality_layers": [ratio]},
            )
            Image.fromarray(image).save(file, "JPEG2000", no_jp2=True, **how)
            return file.getvalue()

        return encode_jpeg2000, lambda payload: np.array(Image.open(io.BytesIO(payload)))
    if codec.name in ("avif", "jpegxl"):
        form, how = {
            "avif": ("AVIF", {"max_threads": 1, "autotiling": False, "advanced": {"tune": "iq"}}),
            "jpegxl": ("JXL", {"num_threads": 0}),
        }[codec.name]

        def encode_by_pillow(image: np.ndarray) -> bytes:
            file = io.BytesIO()
            Image.fromarray(image).save(file, form, quality=level, **how)
            return file.getvalue()

        return encode_by_pillow, lambda payload: np.array(Image.open(io.BytesIO(payload)))
    extension, parameters = {
        "jpeg": (".jpg", [cv2.IMWRITE_JPEG_QUALITY, level, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x221111]),
        "webp": (".webp", [cv2.IMWRITE_WEBP_QUALITY, level]),
        "original": (".png", [cv2.IMWRITE_PNG_COMPRESSION, 6]),
    }[codec.name]
    return (
        lambda image: cv2.imencode(extension, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), parameters)[1].tobytes(),
        lambda payload: cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_COLOR_RGB),
    )


def _bare_video(codec: codecs.Codec, media: np.ndarray) -> Coder:
    frames, (height, width) = media if media.ndim == 4 else media[None], media.shape[-3:-1]
    if codec.name == "original":
        encoder, standard, pixels, options = "libx264rgb", "h264", "rgb24", original._LOSSLESS
    else:
        encoder, standard, pixels = codec.encoder, codec.decoder, "yuv420p"
        options = codec._options(LEVELS[codec.name], "video" if media.ndim == 4 else "image", height, width)
    full = {
        "dst_color_range": ColorRange.JPEG,
        "dst_colorspace": Colorspace.ITU601,
        "interpolation": Interpolation.BILINEAR,
    }

    sizes: list[int] = []

    def encode(media: np.ndarray) -> bytes:
        context, convert = av.CodecContext.create(encoder, "w"), VideoReformatter()
        context.width, context.height, context.pix_fmt = width, height, pixels
        context.framerate, context.time_base, context.thread_count = Fraction(RATE), Fraction(1, RATE), 1
        context.options = options
        packets = []
        for index, rgb in enumerate(media.reshape(frames.shape)):
            frame = VideoFrame.from_ndarray(rgb, "rgb24")
            if pixels != "rgb24":
                frame = convert.reformat(frame, format=pixels, **full)
            frame.pts = index
            packets += context.encode(frame)
        packets = list(map(bytes, packets + context.encode(None)))
        sizes[:] = map(len, packets)
        return b"".join(packets)

    def decode(payload: bytes) -> np.ndarray:
        context, convert = av.CodecContext.create(standard, "r"), VideoReformatter()
        context.thread_count = 1
        decoded, index = np.empty(frames.shape, np.uint8), 0
        ends = list(itertools.accumulate(sizes))
        for packet in [*(av.Packet(payload[end - size : end]) for size, end in zip(sizes, ends, strict=True)), None]:
            for frame in context.decode(packet):
                decoded[index] = convert.reformat(
                    frame, format="rgb24", interpolation=Interpolation.BILINEAR
                ).to_ndarray()
                index += 1
        return decoded.reshape(media.shape)

    return encode, decode


def _bare_magicyuv(media: np.ndarray) -> Coder:
    height, width = media.shape[:2]

    def encode(image: np.ndarray) -> bytes:
        context = av.CodecContext.create("magicyuv", "w")
        context.width, context.height, context.pix_fmt = width, height, "gbrp"
        context.time_base, context.thread_count, context.options = Fraction(1, 25), 1, {"pred": "gradient"}
        frame = VideoFrame.from_ndarray(image, "rgb24").reformat(format="gbrp")
        return b"".join(map(bytes, context.encode(frame) + context.encode(None)))

    def decode(payload: bytes) -> np.ndarray:
        context = av.CodecContext.create("magicyuv", "r")
        context.thread_count = 1
        return context.decode(av.Packet(payload))[0].to_ndarray(format="rgb24")

    return encode, decode


def _bare_sound(codec: codecs.Codec, media: np.ndarray, rate: int) -> Coder:
    if codec.name == "original":

        def write(samples: np.ndarray) -> bytes:
            file = io.BytesIO()
            soundfile.write(file, samples, rate, format="FLAC", subtype="PCM_16")
            return file.getvalue()

        return write, lambda payload: soundfile.read(io.BytesIO(payload), dtype="int16")[0]
    if codec.name == "vorbis":

        def write_vorbis(samples: np.ndarray) -> bytes:
            file, how = io.BytesIO(), {"format": "OGG", "subtype": "VORBIS"}
            soundfile.write(file, samples, rate, compression_level=1 - LEVELS["vorbis"] / 10, **how)
            return file.getvalue()

        return write_vorbis, lambda payload: soundfile.read(io.BytesIO(payload), dtype="int16")[0]
    encoder, decoder, form, delay = {
        "mp3": ("libmp3lame", "mp3float", "s16p", DELAY),
        "opus": ("libopus", "libopus", "s16", 0),
        "aac": ("aac", "aac", "fltp", 1024),
        "g711": ("pcm_mulaw", "pcm_mulaw", "s16", 0),
        "g722": ("g722", "g722", "s16", 22),
        "amrnb": ("libopencore_amrnb", "libopencore_amrnb", "s16", 40),
    }[codec.name]
    inner = codec.native(rate) if isinstance(codec, SoundCodec) else rate
    inner = CLOCK if codec.name == "opus" and rate not in NATIVE else inner
    outer, floats = CLOCK if codec.name == "opus" else inner, form.startswith("flt")
    bits = round(LEVELS[codec.name] * 1000)
    header, sizes, skip = b"", list[int](), delay

    def encode(samples: np.ndarray) -> bytes:
        nonlocal header, skip
        if floats or inner != rate:
            samples = samples.astype(np.float32)
            samples = samples if inner == rate else soxr.resample(samples, rate, inner)
            samples = samples / 32768 if floats else np.clip(np.rint(samples), -32768, 32767).astype(np.int16)
        if delay in (22, 40):  # of the encoders that give out no more than they got
            samples = np.concatenate([samples, np.zeros(delay + 2, np.int16)])
        context = av.CodecContext.create(encoder, "w")
        context.sample_rate, context.layout, context.format, context.bit_rate = inner, "mono", form, bits
        context.time_base = Fraction(1, inner)
        context.options = {"vbr": codec.vbr, "application": codec.application} if codec.name == "opus" else {}
        context.open()
        packets, size = [], len(samples) if codec.name == "g722" else context.frame_size or len(samples)
        for start in range(0, len(samples), size):
            frame = AudioFrame.from_ndarray(samples[None, start : start + size], form, "mono")
            frame.sample_rate, frame.pts = inner, start
            packets += context.encode(frame)
        packets = list(map(bytes, packets + context.encode(None)))
        sizes[:] = map(len, packets)
        header = bytes(context.extradata or b"")
        if codec.name == "opus":
            skip = int.from_bytes(header[10:12], "little")
        return b"".join(packets)

    def decode(payload: bytes) -> np.ndarray:
        context, at, decoded = av.CodecContext.create(decoder, "r"), 0, []
        if codec.name in ("g711", "g722", "amrnb"):
            context.sample_rate, context.layout = inner, "mono"
        elif header:
            context.extradata = header[:10] + bytes(2) + header[12:] if codec.name == "opus" else header
        for size in sizes:
            decoded += [frame.to_ndarray().reshape(-1) for frame in context.decode(av.Packet(payload[at : at + size]))]
            at += size
        decoded += [frame.to_ndarray().reshape(-1) for frame in context.decode(None)]
        samples = np.concatenate(decoded)[skip:]
        if outer != rate or codec.name == "opus":
            samples = soxr.resample(samples.astype(np.float32), outer, rate)
        if samples.dtype == np.int16:
            return samples[: len(media)]
        if codec.name in ("mp3", "aac"):
            samples = samples * np.float32(32768)
        return np.clip(np.rint(samples[: len(media)]), -32768, 32767).astype(np.int16)

    return encode, decode


def items(quick: bool) -> Iterator[tuple[str, np.ndarray, float]]:
    """What is coded, with its name and rate."""
    for height, width in PICTURES[: 2 if quick else 3]:
        yield f"picture {width}x{height}", photograph(height, width), 0
    for frames, height, width in CLIPS[: 2 if quick else 3]:
        yield f"clip {frames}x{width}x{height}", clip(frames, height, width), RATE
    for seconds, rate in SOUNDS[: 2 if quick else 4]:
        yield f"sound {seconds} s {rate / 1000:g} kHz", sound(seconds, rate), rate


def interleaved(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The median CPU milliseconds of each call."""
    repeats = {}
    for name, call in calls.items():
        call()  # first calls load libraries
        start = time.process_time()
        call()
        repeats[name] = max(1, min(1000, int(LEAST / max(1e-5, time.process_time() - start))))
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.process_time()
            for _ in range(repeats[name]):
                call()
            spent[name].append((time.process_time() - start) / repeats[name] * 1000)
    return {name: statistics.median(times) for name, times in spent.items()}


def rows(quick: bool, names: list[str] | None = None, rounds: int = 7) -> list[dict[str, Any]]:
    """One row for each codec and item: CPU milliseconds of bare and own calls, and own over bare.

    quick: no 1080p and no minute of sound. names: codecs, and parts of items' names; all when left out.
    """
    return list(_rows(quick, names or [], rounds))


def _rows(quick: bool, names: list[str], rounds: int) -> Iterator[dict[str, Any]]:
    bare_ones = [name for name in codecs.names() if not codecs.codec_class(name).learns]  # no library is behind others
    wanted = [name for name in bare_ones if name in names] or bare_ones
    parts = [part for part in names if part not in wanted]
    for item, media, rate in items(quick):
        for codec in map(codecs.get, wanted if not parts or any(part in item for part in parts) else ()):
            if codecs.codec.medium_of(media) in codec.media:
                yield {"codec": codec.name, "item": item, **_row(codec, media, rate, rounds)}


def _row(codec: codecs.Codec, media: np.ndarray, rate: float, rounds: int) -> dict[str, Any]:
    level, (encode, decode) = LEVELS[codec.name], bare(codec, media, rate)
    stream, own = encode(media), codec.encode(media, level, rate)
    codec.roundtrip(media, level, rate)  # and Opus no longer remembers what it decoded while encoding
    assert decode(stream).shape == media.shape
    spent = interleaved(
        {
            "bare encode": lambda: encode(media),
            "bare decode": lambda: decode(stream),
            "own decode": lambda: codec.decode(own.payload, media.shape, rate),
            "own encode": lambda: codec.encode(media, level, rate),
            "bare both": lambda: decode(encode(media)),
            "own both": lambda: codec.decode(codec.encode(media, level, rate).payload, media.shape, rate),
        },
        rounds,
    )
    return spent | {
        "encode": spent["own encode"] / spent["bare encode"],
        "decode": spent["own decode"] / spent["bare decode"],
        "both": spent["own both"] / spent["bare both"],
        "bytes": len(own.payload),
    }


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="only codecs and items whose names contain these texts")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    columns = ("bare encode", "own encode", "bare decode", "own decode", "encode", "decode", "both")
    print(f"{'codec':10}{'item':22}" + "".join(f"{name:>13}" for name in columns) + f"{'bytes':>12}")
    for row in _rows(asked.quick, asked.names, asked.rounds):
        line = "".join(f"{row[column]:13.3f}" for column in columns)
        print(f"{row['codec']:10}{row['item']:22}{line}{row['bytes']:12}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
