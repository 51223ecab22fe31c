"""Mutated inputs against all that reads what strangers made: `make fuzz`, or `python tests/fuzz.py --help`.

A case is a kind and a number, which seed all that is random in it. Its input is made in an empty folder and given to
the product in a worker process. Anything but acceptance or a LossyBenchError of one line is a failure: another
exception, a dead worker, more than SECONDS or MEMORY, a check that disagrees with fetch, a program other than ffmpeg, a
marker file that a hostile name, pickle or tag makes when it is executed, or a change outside the case's own folder.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import contextlib
import dataclasses
import hashlib
import importlib
import io
import json
import os
import pickle
import queue
import random
import resource
import select
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import traceback
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
for variable in ("OPENBLAS_NUM_THREADS", "OPENCV_FFMPEG_LOGLEVEL", "OPENCV_LOG_LEVEL"):
    os.environ.setdefault(variable, {"OPENBLAS_NUM_THREADS": "1", "OPENCV_LOG_LEVEL": "SILENT"}.get(variable, "-8"))

SECONDS = 10  # of one case
MEMORY = 2 << 30  # bytes that a worker, or a program that it starts, holds at most at any time; torch takes 0.4 of it
SPACE = 24 << 30  # bytes of addresses, so that a size of terabytes fails at once
FILE = 1 << 28  # bytes of a file that is written
ALLOWED = ("ffmpeg",)  # how the names of programs begin that may be started

KINDS: dict[str, tuple[int, Callable[[Case], None]]] = {}


def kind(cases: int) -> Callable[[Callable[[Case], None]], Callable[[Case], None]]:
    """Register a function that makes and tries one case. cases: how many of 10,000 are of this kind."""

    def register(function: Callable[[Case], None]) -> Callable[[Case], None]:
        KINDS[function.__name__] = cases, function
        return function

    return register


class FailureError(Exception):
    """What must not be, said of an accepted or refused input."""


# Mutations


def hostile(marker: Path) -> list[str]:
    """Texts that do harm where they are executed, shown as markup, or taken for paths. marker: what they would make."""
    return [
        f"$(touch {marker})", f"`touch {marker}`", f"; touch {marker} #", f"| touch {marker}", f"a && touch {marker}",
        f"';touch {marker};'", "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "&lt;b&gt;",
        "../../outside", "../outside/secret.png", "/etc/passwd", "/", ".", "..", "", " ", "  a ", "a\nb", "a\r\nb",
        "\t", "\x1b[31mred",
        "\u202egnp.exe", "e\u0301", "\u00e9", "\ufb00", "\U0001f600", "\ufeffa", "a\x00b", "-rf", "--help", "~",
        "$HOME", "%s%n", "{0}",
        "{wildcards}", "{", "*", "?", "[a", "a" * 255, "a" * 5000, "con", "a:b", "a\\b", "=1+1", "None",
        "nan", "1e999", "-1", "0", "1_000", "\u0661", "true", "\u2028",
    ]  # fmt: skip


NUMBERS = [
    0, -1, 1, 2, 255, 256, 65535, 65536, 2**31 - 1, -(2**31), 2**31, 2**32, 2**53, 2**63 - 1, 2**63, -(2**63), 10**40,
    0.5, -0.0, 1e-320, 1e300, float("inf"), float("-inf"), float("nan"),
]  # fmt: skip


def mutated(rng: random.Random, content: bytes) -> bytes:
    """The content after one to three mutations: bits flipped, cut, inserted, repeated, sizes overwritten."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        length = len(data)
        # Headers are at the start or at the end, and most of a file is neither.
        near = rng.choice((64, 512, length)) or 1
        at = rng.randrange(min(near, length)) if length else 0
        if rng.random() < 0.15 and length:
            at = length - 1 - at
        how = rng.randrange(8)
        if how == 0:
            for _ in range(rng.choice((1, 1, 4, 30))):
                if data:
                    data[rng.randrange(min(len(data), max(near, 1)))] ^= 1 << rng.randrange(8)
        elif how == 1:
            del data[at:]
        elif how == 2:
            data[at:at] = rng.randbytes(rng.choice((1, 4, 100)))
        elif how == 3:
            del data[at : at + rng.choice((1, 2, 4, 16, 200))]
        elif how in (4, 5):
            size = rng.choice((1, 2, 4, 8))
            value = rng.choice((0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 65500, 2**31 - 1, 2**32 - 1, 2**63 - 1, len(data)))
            value &= (1 << 8 * size) - 1
            data[at : at + size] = value.to_bytes(size, rng.choice(("little", "big")))
        elif how == 6:
            part = data[at : at + rng.choice((4, 50, 1000))]
            data[at:at] = part * rng.choice((1, 3, 50))
        else:
            other = rng.randrange(length) if length else 0
            data[at : at + 64] = data[other : other + 64]
    return bytes(data)


def value(rng: random.Random, marker: Path) -> Any:
    """Something that is seldom right: a number, text, list or mapping."""
    return rng.choice(
        (
            rng.choice(NUMBERS), rng.choice(NUMBERS), rng.choice(hostile(marker)), rng.choice(hostile(marker)), None,
            True, [], {}, [None], [[]], [rng.choice(NUMBERS)], [rng.choice(hostile(marker))], {"a": 1}, {"": None},
        )
    )  # fmt: skip


def spots(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything in nested lists and dictionaries."""
    found = [path] if path else []
    if isinstance(content, dict | list):
        pairs = content.items() if isinstance(content, dict) else enumerate(content)
        for key, inner in pairs:
            found += spots(inner, (*path, key))
    return found


def changed(rng: random.Random, content: Any, marker: Path) -> Any:
    """A copy of nested lists and dictionaries in which one to three places are replaced, removed, doubled or added."""
    content = json.loads(json.dumps(content))
    for _ in range(rng.choice((1, 1, 2, 3))):
        there = spots(content)
        if not there:
            break
        *path, last = rng.choice(there)
        inside = content
        for key in path:
            inside = inside[key]
        how = rng.randrange(6)
        if how <= 2:
            inside[last] = value(rng, marker)
        elif how == 3:
            del inside[last]
        elif how == 4 and isinstance(inside, list):
            inside.insert(last, json.loads(json.dumps(inside[rng.randrange(len(inside))])))
        elif isinstance(inside, dict):
            inside[rng.choice(hostile(marker))] = value(rng, marker)
    return content


# A case


class Case:
    """One input and what became of it. `folder` is for the input, `out` for what the product writes."""

    def __init__(self, kind: str, number: int, root: Path) -> None:
        self.kind, self.number, self.root = kind, number, root
        self.random = random.Random(f"{kind}:{number}")
        self.folder, self.out, self.outside = root / "case/in", root / "case/out", root / "outside"
        self.marker = root / "MARK"
        self.refusals: list[str] = []

    def path(self, name: str) -> Path:
        """A file of the input, whose folder is there."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def attempt(self, function: Callable[..., Any], *arguments: Any, names: str | None = None, **named: Any) -> Any:
        """What the function returns, or None where it refuses, in one line that tells what it is about.

        names: a text that the line must hold; the case's folder, or a data set, codec or payload when left out.
        """
        from lossybench.errors import LossyBenchError

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return function(*arguments, **named)
        except LossyBenchError as error:
            self.one_line(str(error), names)
            self.refusals.append(str(error))
            return None

    def one_line(self, text: str, names: str | None = None) -> None:
        """Fail for a message of several lines, with characters that steer a terminal, or that names nothing."""
        bad = [c for c in text if not c.isprintable()]
        if bad:
            raise FailureError(f"a message with the character {bad[0]!r}: {text[:200]!r}")
        if len(text) > 5000:
            raise FailureError(f"a message of {len(text)} characters: {text[:200]!r}")
        about = (
            (names,)
            if names is not None
            else (str(self.folder), "data set", "codec", "payload", "item ", "setting", "class ", "split ")
        )
        if not any(name in text for name in about) and ".png: " not in text:
            raise FailureError(f"a message that names nothing: {text[:300]!r}")

    def study(self, adapter: str, options: dict[str, Any], must_refuse: bool = False) -> None:
        """Check and fetch the data set: both refuse it, or both find the same items, which can be read back."""
        from lossybench import artifacts, codecs
        from lossybench.stages.fetch import fetch
        from lossybench.tools import check

        codec, at = ("opus", 32) if adapter == "audio_folder" else ("jpeg", 50)
        level = {codec: (codecs.get(codec), [at])}
        report = self.attempt(check.examine, adapter, options, level)
        table = self.out / "data.parquet"
        fine = report is not None
        if report is not None:
            for line in check.text(report).split("\n"):
                self.one_line(line[:1000], "")
            json.dumps(check.as_json(report), allow_nan=True)
            # What a codec cannot do is no matter of the data, which fetch alone reads.
            faults = [f for f in report.findings if f.severity == "error" and f.kind != "cannot be compressed"]
            fine = not faults
        before = len(self.refusals)
        self.attempt(fetch, adapter, "fuzz", table, options)
        fetched = len(self.refusals) == before
        if fetched != table.exists():
            raise FailureError(f"fetch {'accepts' if fetched else 'refuses'}, and its table is {'not ' * fetched}there")
        if fine != fetched:
            why = self.refusals[-1] if not fetched else [f"{f.kind}: {f.item}: {f.text}" for f in faults][:3]
            raise FailureError(f"check {'accepts' if fine else 'refuses'} and fetch does not: {why}")
        if fetched:
            if must_refuse:
                raise FailureError("accepted what reaches outside, or is no such medium")
            rows = list(artifacts.iter_rows(table))
            if len(rows) != len(report.sizes):
                raise FailureError(f"check reads {len(report.sizes)} items and fetch {len(rows)}")
            for row in rows:
                codecs.get("original").decode(row["media"], tuple(row["shape"]), row["sampling_rate"])


# Payloads and tables


_cache: dict[Any, Any] = {}


def once(key: Any, make: Callable[[], Any]) -> Any:
    """What `make` returned the first time."""
    if key not in _cache:
        _cache[key] = make()
    return _cache[key]


def media(medium: str, seed: int = 0) -> tuple[Any, float]:
    """A small item of the medium and its sampling rate."""
    import numpy as np

    rng = np.random.default_rng(seed)
    if medium == "audio":
        return (6000 * np.sin(np.arange(2000) / 9) + rng.normal(0, 300, 2000)).astype(np.int16), 16000.0
    picture = (np.indices((24, 32)).sum(0)[..., None] * (3, 2, 4) + rng.integers(0, 9, (24, 32, 3))).astype(np.uint8)
    return (picture, 0.0) if medium == "image" else (np.stack([np.roll(picture, i, 1) for i in range(4)]), 25.0)


LEVELS = {"jpeg": 50, "webp": 50, "jpeg2000": 20, "h264": 30, "hevc": 30, "original": 0, "mp3": 64, "opus": 32}
LEVELS |= {"avif": 50, "jpegxl": 50, "vp9": 30, "av1": 30}
LEVELS |= {"aac": 32, "vorbis": 3}


@kind(2800)
def payload(case: Case) -> None:
    """A payload of any codec, with the right and with wrong shapes and rates."""
    from lossybench import codecs

    rng = case.random
    names = [name for name in codecs.names() if not codecs.codec_class(name).learns]  # tests/test_learned.py
    name = names[case.number % len(names)]
    codec = codecs.get(name)
    medium = rng.choice(sorted(codec.media))
    item, rate = media(medium)
    shape: Any = item.shape
    coded = once((name, medium), lambda: codec.encode(item, LEVELS.get(name, codec.bounds[0]), rate).payload)
    if rng.random() < 0.1:  # that of another codec
        other = rng.choice([n for n in names if medium in codecs.codec_class(n).media])
        coded = once(
            (other, medium),
            lambda: (
                codecs.get(other).encode(item, LEVELS.get(other, codecs.codec_class(other).bounds[0]), rate).payload
            ),
        )
    if rng.random() < 0.9:
        coded = mutated(rng, coded)
    if name == "original" and medium == "image" and rng.random() < 0.7:
        coded = _with_checksums(coded)
    if rng.random() < 0.2:
        shape = list(shape)
        shape[rng.randrange(len(shape))] = rng.choice(
            (1, 3, 8, 24, 33, 1000, 16384, 65500, 2**20, 2**31 - 1, 0, -1, None)
        )
        shape = shape if rng.random() < 0.5 else tuple(shape)
    if rng.random() < 0.1:
        rate = rng.choice((*NUMBERS, 8000.0, 44100.0, 48000.0, None, "25"))
    decoded = case.attempt(codec.decode, coded, shape, rate)
    if decoded is not None and (decoded.shape != tuple(shape) or decoded.dtype != item.dtype):
        raise FailureError(f"decodes to {decoded.dtype} of shape {decoded.shape}, not {shape}")


def _with_checksums(png: bytes) -> bytes:
    """A PNG whose chunks' checksums are right, so that what they hold is looked at."""
    import zlib

    data, at = bytearray(png), 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            break
        data[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(data)


def _data_table(medium: str) -> tuple[Any, list[dict[str, Any]], dict[str, Any]]:
    from lossybench import codecs, kinds

    item, rate = media(medium)
    coded = once(("original", medium), lambda: codecs.get("original").encode(item, 0, rate).payload)
    rows = [
        {"id": f"a/{i}.png", "split": split, "groups": {"speaker": f"g{i}"}, "media": coded, "shape": list(item.shape),
         "sampling_rate": rate, "label": i % 2}
        for i, split in enumerate(("train", "train", "val", "test", "test"))
    ]  # fmt: skip
    meta = {"task": "fuzz", "sources": "", "medium": medium, "kind": "classification", "classes": ["a", "b"],
            "card": {"title": "t"}, "compressed_before": []}  # fmt: skip
    return kinds.load("classification").data_schema(), rows, meta


@kind(1500)
def table(case: Case) -> None:
    """A data table: damaged bytes, or another schema, rows or metadata; given to all readers and to compress."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from lossybench import artifacts
    from lossybench.stages.compress import compress

    rng = case.random
    medium = rng.choice(("image", "audio", "video"))
    schema, rows, meta = _data_table(medium)
    path = case.path("data.parquet")
    how = rng.randrange(4)
    if how == 0:
        whole = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), whole)
        path.write_bytes(mutated(rng, whole.getvalue()))
    else:
        text = json.dumps(changed(rng, meta, case.marker) if how == 1 else meta).encode()
        if rng.random() < 0.15:
            deep = b"[" * 100000
            text = rng.choice(
                (b"", b"{", b"\xff\xfe", b"[]", b"1", b'"a"', b"null", deep, b'{"a": "' + b"x" * (1 << 24) + b'"}')
            )
        if how == 2:
            fields = list(schema)
            for _ in range(rng.choice((1, 1, 2))):
                at = rng.randrange(len(fields))
                types = (
                    pa.int64(),
                    pa.string(),
                    pa.float64(),
                    pa.list_(pa.int64()),
                    pa.binary(),
                    pa.bool_(),
                    pa.null(),
                )
                new = (
                    fields[at].with_type(rng.choice(types))
                    if rng.random() < 0.6
                    else fields[at].with_name(rng.choice("ab"))
                )
                fields = fields[:at] + ([new] if rng.random() < 0.8 else []) + fields[at + 1 :]
                if not fields:
                    break
            schema = pa.schema(fields)
            columns = [_column(field, rows, rng) for field in schema]
            content = pa.Table.from_arrays(columns, schema=schema)
        else:
            for row in rows:
                if rng.random() < 0.5:
                    key = rng.choice(list(row))
                    strange = [value(rng, case.marker) for _ in range(3)]
                    if key == "media":
                        strange = [mutated(rng, row["media"]), b"", None]
                    if key == "shape":
                        strange = [[], None, [None], [0], [2**31 - 1] * 4, [1] * 9, [24, 32, 3, 3], [-1, 2, 3]]
                    if key == "groups":
                        strange = [None, {}, {"speaker": None}, [("a", "b"), ("a", "c")], {"": "\x1b[2J"}]
                    row[key] = rng.choice(strange)
            content = pa.Table.from_arrays([_column(field, rows, rng) for field in schema], schema=schema)
        pq.write_table(content.replace_schema_metadata({artifacts.META_KEY: text}), path)
    original = path.read_bytes()
    for read in (
        artifacts.read_meta,
        lambda p: list(artifacts.iter_rows(p)),
        lambda p: list(artifacts.iter_rows(p, ["id", "label"], ["test"])),
        artifacts.read_table,
        lambda p: artifacts.read_table(p, ["id", "shape"]),
        lambda p: compress(
            p, "jpeg" if medium != "audio" else "opus", [50 if medium != "audio" else 32], [case.out / "c.parquet"]
        ),
    ):
        path.write_bytes(original)  # a damaged table is moved out of the way
        case.attempt(read, path)


def _column(field: Any, rows: list[dict[str, Any]], rng: random.Random) -> Any:
    import pyarrow as pa

    values = [row.get(field.name) for row in rows]
    for wanted in (values, [None] * len(rows)):
        with contextlib.suppress(pa.ArrowException, TypeError, ValueError, OverflowError):
            return pa.array(wanted, type=field.type)
    return pa.nulls(len(rows), field.type)


# Folders of media


PICTURES = (".png", ".jpg", ".webp", ".bmp", ".tif", ".ppm", ".gif", ".jpeg", ".tiff", ".pgm")
SOUNDS = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".m4a", ".webm", ".opus")
CLIPS = (".mp4", ".mkv", ".avi", ".webm", ".mov", ".mpg")


def picture(suffix: str, variant: int, seed: int = 0) -> bytes:
    """A picture's file; variants differ in mode, and the first is RGB."""
    from PIL import Image

    mode = ("RGB", "L", "P", "RGBA", "1", "I;16", "CMYK")[variant]
    image = Image.fromarray(media("image", seed)[0])
    image = image.convert("I").point(lambda x: x * 200).convert("I;16") if mode == "I;16" else image.convert(mode)
    for one in (image, image.convert("RGB"), image.convert("L")):
        file = io.BytesIO()
        with contextlib.suppress(OSError, KeyError, ValueError):
            one.save(file, Image.registered_extensions()[suffix])
            return file.getvalue()
    raise AssertionError(suffix)


def sound(suffix: str, variant: int, seed: int = 0) -> bytes:
    """A sound's file; variants differ in subtype or in channels."""
    import av
    import numpy as np
    import soundfile

    samples, rate = media("audio", seed)
    file = io.BytesIO()
    form = {".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG", ".mp3": "MP3", ".aiff": "AIFF"}.get(suffix)
    if form:
        known = list(soundfile.available_subtypes(form))
        known = [one for one in known if soundfile.check_format(form, one)]
        shaped = samples if variant % 2 else np.stack([samples, samples], 1)
        with contextlib.suppress(soundfile.SoundFileError):
            soundfile.write(file, shaped, int(rate), format=form, subtype=known[variant % len(known)])
            return file.getvalue()
        file = io.BytesIO()
        soundfile.write(file, samples, int(rate), format=form)
        return file.getvalue()
    muxer, encoder, rate_out = {
        ".m4a": ("mp4", "aac", 16000),
        ".webm": ("webm", "libopus", 48000),
        ".opus": ("ogg", "libopus", 48000),
    }[suffix]
    with av.open(file, "w", format=muxer) as container:
        stream = container.add_stream(encoder, rate=rate_out)
        stream.layout = "mono"
        resampler = av.AudioResampler(stream.format, stream.layout, rate_out)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = 16000
        fifo = av.AudioFifo()
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            part.pts = None
            fifo.write(part)
        while chunk := fifo.read(stream.codec_context.frame_size or 1024, partial=True):
            container.mux(stream.encode(chunk))
        container.mux(stream.encode(None))
    return file.getvalue()


def clip(suffix: str, variant: int, seed: int = 0) -> bytes:
    """A clip's file."""
    import av

    frames, rate = media("video", seed)
    file = io.BytesIO()
    muxer = {".mp4": "mp4", ".mkv": "matroska", ".avi": "avi", ".webm": "webm", ".mov": "mov", ".mpg": "mpeg"}[suffix]
    encoder = {".webm": "libvpx", ".mpg": "mpeg1video", ".avi": "mjpeg"}.get(suffix, ("libx264", "mpeg4")[variant % 2])
    with av.open(file, "w", format=muxer) as container:
        stream = container.add_stream(encoder, rate=int(rate))
        stream.width, stream.height = 32, 24
        stream.pix_fmt = "yuvj420p" if encoder == "mjpeg" else "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()


def _media_folder(case: Case, adapter: str, suffixes: tuple[str, ...], make: Callable[[str, int, int], bytes]) -> None:
    """Two classes of whole files, and among them one that is mutated, replaced or asks for another file."""
    rng = case.random
    suffix = suffixes[case.number % len(suffixes)]
    variants = {"image_folder": 7, "audio_folder": 6, "video_folder": 2}[adapter]
    safe = suffixes[0]
    for i in range(8):
        case.path(f"{'ab'[i % 2]}/{i}{safe}").write_bytes(once((make, i), lambda i=i: make(safe, 0, i)))
    variant = rng.randrange(variants)
    content = once((make, suffix, variant), lambda: make(suffix, variant, 8))
    must_refuse = False
    if rng.random() < 0.08:
        secret = case.outside / f"secret{safe}"
        must_refuse = True
        content = rng.choice((
            f"ffconcat version 1.0\nfile '{secret}'\n",
            f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n",
            f"#EXTM3U\n#EXTINF:1,\n{secret}\n",
            f"<svg xmlns='http://www.w3.org/2000/svg'><image href='{secret}'/></svg>",
            f"[playlist]\nFile1={secret}\n", "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio 9 RTP/AVP 0\n",
            "%!PS\n(touch) show\n", "",
        )).encode()  # fmt: skip
    else:
        content = mutated(rng, content)
        if suffix == ".png" and rng.random() < 0.7:
            content = _with_checksums(content)
    case.path(f"{rng.choice('ab')}/odd{suffix}").write_bytes(content)
    options: dict[str, Any] = {"path": str(case.folder), "on_error": rng.choice(("stop", "skip"))}
    if adapter == "audio_folder":
        options["sample_rate"] = 16000
    if must_refuse:
        options["on_error"] = "stop"
    case.study(adapter, options, must_refuse)


@kind(800)
def pictures(case: Case) -> None:
    """A folder of pictures."""
    _media_folder(case, "image_folder", PICTURES, picture)


@kind(600)
def sounds(case: Case) -> None:
    """A folder of sounds."""
    _media_folder(case, "audio_folder", SOUNDS, sound)


@kind(500)
def clips(case: Case) -> None:
    """A folder of clips."""
    _media_folder(case, "video_folder", CLIPS, clip)


@kind(400)
def names(case: Case) -> None:
    """Names of files and folders, links, pipes and folders where files are expected."""
    rng = case.random
    titles = ["a", "b"]
    for i, title in enumerate(titles):
        title = _name(rng, case) if rng.random() < 0.4 else title
        for j in range(4):
            name = _name(rng, case) if rng.random() < 0.3 else str(j)
            with contextlib.suppress(OSError, ValueError):  # names that no file can have
                case.path(f"{title}/{name}.png").write_bytes(small_picture(10 * i + j))
    folder = case.folder / "a"
    folder.mkdir(parents=True, exist_ok=True)
    how = rng.randrange(9)
    odd = folder / "odd.png"
    targets = (case.outside / "secret.png", Path("/dev/zero"), Path("/dev/stdin"), odd, Path("/nowhere"), case.folder)
    if how < 6:
        odd.symlink_to(targets[how])
    elif how == 6:
        os.mkfifo(odd)
    elif how == 7:
        odd.mkdir()
    else:
        odd.write_bytes(b"")
    case.study("image_folder", {"path": str(case.folder), "on_error": rng.choice(("stop", "skip"))})


def small_picture(seed: int) -> bytes:
    """A PNG; each seed has its own."""
    return once((picture, seed), lambda: picture(".png", 0, seed))


def _name(rng: random.Random, case: Case) -> str:
    text = rng.choice(hostile(case.marker)).replace("/", "_").replace("\x00", "")
    return os.fsdecode(text.encode() + (b"\xff\xfe" if rng.random() < 0.1 else b"")) or "x"


# Annotations


@kind(700)
def coco(case: Case) -> None:
    """COCO's JSON: other values, doubled and missing entries, damaged text."""
    rng = case.random
    for i in range(8):
        case.path(f"images/{i}.png").write_bytes(small_picture(i))
    content = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 32, "height": 24} for i in range(8)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {
                "id": i,
                "image_id": i % 8,
                "category_id": 1 + i % 2,
                "bbox": [2, 3, 10 + i % 4, 8],
                "area": 80,
                "iscrowd": 0,
            }
            for i in range(12)
        ],
    }
    text = json.dumps(changed(rng, content, case.marker)).encode()
    if rng.random() < 0.2:
        text = rng.choice((mutated(rng, text), b"[" * 200000, b"\xff" + text, text.decode().encode("utf-16"), b""))
    case.path("labels.json").write_bytes(text)
    options = {"images": str(case.folder / "images"), "annotations": str(case.folder / "labels.json")}
    case.study("coco", {**options, "on_error": rng.choice(("stop", "skip"))})


@kind(400)
def masks(case: Case) -> None:
    """Masks: COCO's polygons and run lengths, or files of masks."""
    import cv2
    import numpy as np

    rng, skip = case.random, {"on_error": case.random.choice(("stop", "skip"))}
    for i in range(8):
        case.path(f"images/{i}.png").write_bytes(small_picture(i))
    if rng.random() < 0.5:
        shapes = [
            [[2, 3, 12, 3, 12, 11]],
            {"size": [24, 32], "counts": [50, 20, 698]},
            {"size": [24, 32], "counts": "bb0d0lT1"},
        ]
        notes = [
            {"id": i, "image_id": i % 8, "category_id": 1 + i % 2, "bbox": [2, 3, 10, 8], "segmentation": shapes[i % 3]}
            for i in range(12)
        ]
        content = {
            "images": [{"id": i, "file_name": f"{i}.png", "width": 32, "height": 24} for i in range(8)],
            "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
            "annotations": changed(rng, notes, case.marker),
        }
        case.path("notes.json").write_bytes(json.dumps(content).encode())
        options = {"images": str(case.folder / "images"), "annotations": str(case.folder / "notes.json")}
        case.study("coco_masks", options | skip)
        return
    for i in range(8):
        mask = np.full((24, 32), i % 2, np.uint8)
        mask[:12] = 1
        content = cv2.imencode(rng.choice((".png", ".tiff", ".bmp")), mask)[1].tobytes()
        content = mutated(rng, content) if rng.random() < 0.2 else content
        case.path(f"masks/{i}{rng.choice(('.png', '.png', '.tif', '.jpg'))}").write_bytes(content)
    case.study("mask_folder", {"path": str(case.folder), "classes": ["a", "b"]} | skip)


@kind(600)
def labels(case: Case) -> None:
    """A CSV of labels."""
    rng = case.random
    for i in range(8):
        case.path(f"images/{i}.png").write_bytes(small_picture(i))
    rows = [["file", "label", "split", "group", "site"]]
    rows += [
        [f"{i}.png", "ab"[i % 2], ("train", "train", "val", "test")[i // 2], f"g{i}", f"s{i % 3}"] for i in range(8)
    ]
    for _ in range(rng.choice((1, 1, 2, 4))):
        row = rng.choice(rows)
        how = rng.randrange(5)
        if how <= 2 and row:
            row[rng.randrange(len(row))] = str(value(rng, case.marker))
        elif how == 3:
            row += [str(value(rng, case.marker))]
        else:
            rows.insert(rng.randrange(len(rows)), list(row))
    comma = rng.choice((",", ",", ",", ",", ";", "\t"))
    joined = "\n".join(comma.join(row) for row in rows)
    text = joined.encode(errors="surrogateescape")
    if rng.random() < 0.3:
        text = rng.choice(
            (mutated(rng, text), b"\xef\xbb\xbf" + text, joined.encode("utf-16"), b"", b'"' + text, text * 20)
        )
    case.path("labels.csv").write_bytes(text)
    options = {"path": str(case.folder / "images"), "labels": str(case.folder / "labels.csv")}
    options |= rng.choice(({}, {"columns": {"group": ["group", "site"]}}, {"group": "(?P<one>[0-9])?(?P<two>.)"}))
    case.study("image_folder", {**options, "on_error": rng.choice(("stop", "skip"))})


@kind(500)
def mot(case: Case) -> None:
    """A sequence of the MOT challenges: gt.txt and seqinfo.ini."""
    rng = case.random
    for i in range(12):
        case.path(f"s/img1/{i + 1:06d}.png").write_bytes(small_picture(i))
    stated = {
        "name": "s",
        "imDir": "img1",
        "frameRate": "25",
        "seqLength": "12",
        "imWidth": "32",
        "imHeight": "24",
        "imExt": ".png",
    }
    lines = [f"{i % 12 + 1},{i % 3},{2 + i % 5},3,10,9,1,1,1" for i in range(30)]
    for _ in range(rng.choice((1, 1, 2))):
        if rng.random() < 0.5:
            stated[rng.choice(list(stated))] = str(
                rng.choice((value(rng, case.marker), rng.choice(NUMBERS), "../../outside"))
            )
        else:
            at = rng.randrange(len(lines))
            cells = lines[at].split(",")
            cells[rng.randrange(len(cells))] = str(value(rng, case.marker))
            lines[at] = ",".join(cells[: rng.choice((9, 9, 9, 10, 8, 3, 1))])
    ini = "[Sequence]\n" + "".join(f"{key}={text}\n" for key, text in stated.items())
    gt = "\n".join(lines)
    parts = {"s/seqinfo.ini": ini.encode(errors="surrogateescape"), "s/gt/gt.txt": gt.encode(errors="surrogateescape")}
    for name, content in parts.items():
        case.path(name).write_bytes(mutated(rng, content) if rng.random() < 0.2 else content)
    options = {"path": str(case.folder / "s"), "clip_frames": 2, "gap": 0, "on_error": rng.choice(("stop", "skip"))}
    case.study("mot", options)


# Configs, checkpoints and archives


CONFIG = {
    "results": "results",
    "seed": 0,
    "deltas": [1, 2],
    "bootstrap": 100,
    "tasks": {
        "digits": {
            "data": {"adapter": "digits", "train": 50, "val": 20, "test": 20},
            "codecs": {"jpeg": [50, 5], "hevc": {"levels": [30, 40], "options": {"preset": "fast", "chroma": "444"}}},
            "models": {"resnet": {"epochs": 2}},
            "seeds": [0, 1],
            "training": {"minimum": 0.5, "batch_size": 16},
            "regimes": {
                "mixed": {},
                "matched": [{"codec": "jpeg", "levels": [5]}],
                "adversarial": {"epsilon": "4/255"},
            },
            "attack": {"regimes": ["original"], "items": 8, "codecs": ["jpeg"], "levels": {"jpeg": [5]}},
        }
    },
    "cluster": {"gpu": True, "gpu_model": "a100", "memory": {"train": 4000}, "minutes": {"train": 30}},
}


@kind(800)
def config(case: Case) -> None:
    """A study's config: other values, tags, anchors, damaged text."""
    import yaml

    from lossybench import study

    rng = case.random
    text = yaml.safe_dump(changed(rng, CONFIG, case.marker)).encode()
    if rng.random() < 0.3:
        touch = f'!!python/object/apply:os.system ["touch {case.marker}"]'
        laughs = "a: &a [x, x]\n" + "".join(
            f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n"
            for a, b in zip("abcdefghijklmnopq", "bcdefghijklmnopqr", strict=True)
        )
        text = rng.choice((
            mutated(rng, text), mutated(rng, text), f"tasks: {touch}\n".encode(), text + f"results: {touch}\n".encode(),
            f"{laughs}tasks: *r\n".encode(), b"tasks: &a {b: *a}\n", b"[" * 3000, b"{a: " * 3000, b"\xff\xfe" + text,
            yaml.safe_dump(CONFIG).replace("50", "1" * 5000, 1).encode(), b"? [a]\n: b\n", b"--- a\n--- b\n", b"",
            b"results: 2020-13-45\n",
        ))  # fmt: skip
    path = case.path("study.yaml")
    path.write_bytes(text)
    case.attempt(study.load, path)


class _Executes:
    """Pickled, it makes the marker where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


@kind(500)
def checkpoint(case: Case) -> None:
    """State dicts, and the folder of a trained model."""
    import torch
    from safetensors.torch import save

    from lossybench import models
    from lossybench.models import existing

    rng = case.random
    state = {"a.weight": torch.arange(12.0).reshape(3, 4), "a.bias": torch.ones(3)}
    if rng.random() < 0.5:
        how = rng.randrange(6)
        file = io.BytesIO()
        if how <= 1:
            torch.save({"state_dict": state} if how else state, file)
        elif how == 2:
            torch.save(state, file, _use_new_zipfile_serialization=False)
        elif how == 3:
            torch.save({"a": _Executes(case.marker)}, file)
        elif how == 4:
            pickle.dump(_Executes(case.marker), file)
        else:
            file.write(save(state))
        content = file.getvalue()
        content = mutated(rng, content) if how not in (3, 4) or rng.random() < 0.3 else content
        if how == 5 and rng.random() < 0.3:
            header = json.dumps(
                {
                    "a": {
                        "dtype": "F32",
                        "shape": [rng.choice((2**40, -1, 0))],
                        "data_offsets": [0, rng.choice(NUMBERS[:13])],
                    }
                }
            ).encode()
            content = struct.pack("<Q", rng.choice((len(header), 2**40, 2**63))) + header + bytes(64)
        path = case.path("model" + (".safetensors" if how == 5 else ".pt"))
        path.write_bytes(content)
        case.attempt(existing.read_state, path)
        return
    folder = case.path("model/model.json").parent
    real = once("trained", _trained)
    info, weights = json.loads(real[0]), real[1]
    if rng.random() < 0.5:
        weights = mutated(rng, weights)
    info["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    if rng.random() < 0.6:
        info = changed(rng, info, case.marker)
        if isinstance(info, dict) and rng.random() < 0.8:
            info["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    text = json.dumps(info).encode()
    if rng.random() < 0.2:
        text = rng.choice((mutated(rng, text), b"[" * 100000, b"", b"[]", b"\xff\xfe"))
    (folder / models.INFO).write_bytes(text)
    (folder / models.WEIGHTS).write_bytes(weights)
    case.attempt(models.load, folder)


def _trained() -> tuple[bytes, bytes]:
    """The description and the weights of a small model, untrained, as a folder of training has them."""
    import torch

    from lossybench import models
    from lossybench.models.inputs import Input

    torch.manual_seed(0)
    (arch, *_) = models.names("image", "classification")
    taken = Input((24, 32))
    model = models.build(arch, "image", "classification", 2, taken)
    about = {"arch": arch, "medium": "image", "kind": "classification", "classes": ["a", "b"]}
    info = {**about, "input": dataclasses.asdict(taken)}
    with tempfile.TemporaryDirectory() as folder:
        models.save(model.state_dict(), info, [], Path(folder))
        return (Path(folder) / models.INFO).read_bytes(), (Path(folder) / models.WEIGHTS).read_bytes()


@kind(500)
def archive(case: Case) -> None:
    """Zip and tar archives: members that lead outside, links, devices, lies about sizes, damaged bytes."""
    from lossybench.data import download

    rng = case.random
    texts = [
        *hostile(case.marker),
        str(case.marker),
        "../MARK",
        "a/../../MARK",
        "a/../b",
        "C:/x",
        "a//b",
        "./a",
        "a/",
        "\u00e4.png",
    ]
    chosen = [
        "x/1.png",
        "x/2.png",
        *(rng.choice(texts) for _ in range(rng.choice((0, 1, 1, 2)))),
        rng.choice(("x/1.png", "x/3.png", "x", "x/1.png/y")),
    ]
    file = io.BytesIO()
    suffix = rng.choice((".zip", ".tar", ".tar.gz", ".tar.xz"))
    if suffix == ".zip":
        with (
            zipfile.ZipFile(file, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as made,
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # of names that are there twice
            for name in chosen:
                one = zipfile.ZipInfo(name.encode(errors="replace").decode()[:60000] or "x")
                if rng.random() < 0.15:
                    one.external_attr = rng.choice((stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFREG)) << 16
                made.writestr(one, rng.choice((b"content", b"../../outside", bytes(1 << 20))))
    else:
        with tarfile.open(fileobj=file, mode="w:" + suffix.rpartition(".")[2].replace("tar", "")) as made:
            for name in chosen:
                one = tarfile.TarInfo(name.replace("\x00", ""))
                one.size = 7
                if rng.random() < 0.2:
                    one.type = rng.choice(
                        (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE)
                    )
                    one.linkname, one.size = str(rng.choice((case.outside, "../..", "x/1.png"))), 0
                made.addfile(one, io.BytesIO(b"content"))
    content = file.getvalue()
    if rng.random() < 0.5:
        content = mutated(rng, content)
    path = case.path(f"archive{suffix}")
    path.write_bytes(content)
    out = case.out / "unpacked"
    case.attempt(download.unpack, {path.name: path}, out)
    for found in out.rglob("*") if out.exists() else ():
        if found.is_symlink() or not (found.is_file() or found.is_dir()):
            raise FailureError(f"unpacks a link or device {found.name!r}")


# The worker


def _events(case_root: Path, seen: list[str]) -> Callable[[str, tuple[Any, ...]], None]:
    """An audit hook that notes programs that are started, connections, and files opened for writing elsewhere."""
    allowed = (str(case_root), "/dev/null", "/proc/self/clear_refs")

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "socket.connect", "ctypes.dlopen.x"):
            seen.append(f"{event} {arguments[:2]!r}"[:300])
        elif event == "subprocess.Popen":
            program = Path(os.fsdecode(arguments[0])).name
            if not program.startswith(ALLOWED):
                seen.append(f"started {arguments[1]!r}"[:300])
        elif event == "open" and isinstance(arguments[0], str | bytes) and arguments[2] is not None:
            writes = arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            path = os.path.realpath(os.fsdecode(arguments[0]))
            if writes and not path.startswith(allowed):
                seen.append(f"wrote {path!r}")

    return hook


def snapshot(*roots: Path) -> dict[str, Any]:
    """What is below the roots: sizes and times of files, targets of links."""
    found: dict[str, Any] = {}
    for root in roots:
        for at, folders, files in os.walk(root):
            for name in [*folders, *files]:
                path = os.path.join(at, name)  # noqa: PTH118 - there are names that are no paths
                about = os.lstat(path)
                found[path] = (
                    about.st_mode,
                    about.st_size if name in files else 0,
                    about.st_mtime_ns if name in files else 0,
                )
    return found


def run_case(kind: str, number: int, root: Path, seen: list[str]) -> tuple[str, str]:
    """The outcome of a case, "accepted", "refused" or "failed", and what is to be said of it."""
    shutil.rmtree(root / "case", ignore_errors=True)  # what the start of the process left
    for part in ("case/in", "case/out", "case/tmp"):
        (root / part).mkdir(parents=True)
    case = Case(kind, number, root)
    before = snapshot(root / "outside")
    seen.clear()
    started = time.monotonic()
    try:
        KINDS[kind][1](case)
        outcome, why = ("refused", case.refusals[0]) if case.refusals else ("accepted", "")
    except FailureError as failure:
        outcome, why = "failed", str(failure)
    except Exception as error:
        place = [f for f in traceback.extract_tb(error.__traceback__) if "lossybench" in f.filename][-1:]
        where = f"{Path(place[0].filename).name}:{place[0].lineno} " if place else ""
        outcome, why = "failed", f"traceback: {where}{type(error).__name__}: {str(error)[:300]!r}"
    if seen:
        outcome, why = "failed", f"{seen[0]}; {why}"
    if case.marker.exists():
        case.marker.unlink()
        outcome, why = "failed", f"executed: the marker is there; {why}"
    if snapshot(root / "outside") != before or {path.name for path in root.iterdir()} - {"case", "outside", "log"}:
        outcome, why = "failed", f"wrote outside its folder: {sorted(path.name for path in root.iterdir())}; {why}"
    peak = max(_peak(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10)
    if peak > MEMORY:
        outcome, why = "failed", f"held {peak >> 20} MiB; {why}"
    if time.monotonic() - started > SECONDS:
        outcome, why = "failed", f"took {time.monotonic() - started:.1f} s; {why}"
    return outcome, why


def _peak() -> int:
    """The most bytes that this process held since `clear_refs` was written."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


def worker(root: Path) -> None:
    """Run the cases whose names come in, one a line, and say the outcome of each as a line of JSON."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    log = os.open(root / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    nothing = os.open("/dev/null", os.O_RDONLY)
    lines = os.fdopen(os.dup(0))
    os.dup2(nothing, 0)
    resource.setrlimit(resource.RLIMIT_AS, (SPACE, SPACE))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE, FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for name in ("TMPDIR", "HOME", "XDG_CACHE_HOME", "LOSSYBENCH_CACHE"):
        os.environ[name] = str(root / "case/tmp")
    tempfile.tempdir = str(root / "case/tmp")
    outside = root / "outside"
    outside.mkdir()
    for name, make in (("secret.png", picture), ("secret.wav", sound), ("secret.mp4", clip)):
        (outside / name).write_bytes(make(Path(name).suffix, 0))
    import lossybench.tools.check  # noqa: F401 - the time that imports take is no case's

    seen: list[str] = []
    sys.addaudithook(_events(root, seen))
    answers.write("ready\n")
    for line in lines:
        kind, _, number = line.strip().partition(":")
        if kind == "checkpoint":
            importlib.import_module("lossybench.models.existing")  # the time that this takes is no case's either
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        outcome, why = run_case(kind, int(number), root, seen)
        os.chdir(root)
        answers.write(json.dumps({"case": line.strip(), "outcome": outcome, "why": why}) + "\n")


# The harness


class Worker:
    """A worker process, which is started again after it died or was killed."""

    def __init__(self, root: Path, keep: bool = False) -> None:
        self.root, self.keep, self.process = root, keep, None
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process in an empty folder and wait until it is ready."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True)
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1] / "src")}
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), "--worker", str(self.root)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=self.root, env=environment, start_new_session=True,
        )  # fmt: skip
        assert self._line(120) == "ready", (self.root / "log").read_text()[-2000:]

    def _line(self, seconds: float) -> str | None:
        """The next line; "" when the process has died; None when it does not come in time."""
        assert self.process and self.process.stdout
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        return self.process.stdout.readline().decode().strip() if ready else None

    def run(self, case: str) -> dict[str, str]:
        """The answer for one case."""
        if self.process is None:
            self.start()
        assert self.process and self.process.stdin
        # The first case of a kind may import torch, so a second more than a case may take is granted here.
        self.process.stdin.write(f"{case}\n".encode())
        self.process.stdin.flush()
        line = self._line(SECONDS + 10)
        if line:
            if not self.keep:
                shutil.rmtree(self.root / "case", ignore_errors=True)
            return json.loads(line)
        why = "dead interpreter" if line == "" else f"hangs: no answer in {SECONDS + 10} s"
        code = self.process.poll()
        log = " ".join((self.root / "log").read_text(errors="replace").split())[-200:]
        self.stop()
        return {"case": case, "outcome": "failed", "why": f"{why} (status {code}): {log}"}

    def stop(self) -> None:
        """End the process and all that it started."""
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


def cases(count: int) -> list[str]:
    """The names of `count` cases, each kind with its share, mixed."""
    total = sum(share for share, _ in KINDS.values())
    named = [f"{name}:{i}" for name, (share, _) in KINDS.items() for i in range(max(1, round(count * share / total)))]
    random.Random(0).shuffle(named)
    return named


def run(
    named: list[str], processes: int, keep: bool = False, say: Callable[[str], None] = lambda text: None
) -> list[dict[str, str]]:
    """The answers for the cases, from so many processes. keep: leave the folder of each worker's last case."""
    base = Path(tempfile.mkdtemp(prefix="lossybench-fuzz-"))
    workers = [Worker(base / str(i), keep) for i in range(processes)]
    free: queue.Queue[Worker] = queue.Queue()
    for one in workers:
        free.put(one)

    def one_case(name: str) -> dict[str, str]:
        mine = free.get()
        try:
            return mine.run(name)
        finally:
            free.put(mine)

    answers, started = [], time.monotonic()
    try:
        with concurrent.futures.ThreadPoolExecutor(processes) as pool:
            for answer in pool.map(one_case, named):
                answers.append(answer)
                if answer["outcome"] == "failed":
                    say(f"FAILED {answer['case']}: {answer['why']}\n    python tests/fuzz.py --only {answer['case']}")
                if len(answers) % 500 == 0:
                    say(f"{len(answers)} of {len(named)} cases, {time.monotonic() - started:.0f} s")
    finally:
        for one in workers:
            one.stop()
        if keep:
            say(f"The input lies in {base / '0' / 'case' / 'in'}")
        else:
            shutil.rmtree(base, ignore_errors=True)
    return answers


def table_of(answers: list[dict[str, str]]) -> str:
    """The counts by kind and outcome."""
    counts = collections.Counter((answer["case"].partition(":")[0], answer["outcome"]) for answer in answers)
    outcomes = ("accepted", "refused", "failed")
    rows = [
        (name, *(counts[name, outcome] for outcome in outcomes)) for name in KINDS if any(k == name for k, _ in counts)
    ]
    rows.append(("all", *(sum(counts[name, outcome] for name in KINDS) for outcome in outcomes)))
    return "\n".join(
        ["kind         accepted  refused   failed", *(f"{row[0]:12}{row[1]:9}{row[2]:9}{row[3]:9}" for row in rows)]
    )


def main() -> int:
    """Run the cases that the command line names; 1 if any fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10000, help="how many in all (10000)")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="workers at a time")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), help="these kinds alone")
    parser.add_argument(
        "--only", nargs="+", metavar="KIND:NUMBER", help="these cases alone; the last one's input is kept"
    )
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.worker:
        worker(chosen.worker)
        return 0
    named = chosen.only or [
        name for name in cases(chosen.cases) if not chosen.kinds or name.partition(":")[0] in chosen.kinds
    ]
    started = time.monotonic()
    answers = run(
        named, 1 if chosen.only else chosen.processes, bool(chosen.only), lambda text: print(text, flush=True)
    )
    if chosen.only:
        for answer in answers:
            print(f"{answer['case']}: {answer['outcome']}: {answer['why']}")
    print(table_of(answers))
    print(f"{len(answers)} cases in {time.monotonic() - started:.0f} s")
    return int(any(answer["outcome"] == "failed" for answer in answers))


if __name__ == "__main__":
    sys.exit(main())
