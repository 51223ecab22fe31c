"""What a file is by its first bytes, for names that do not tell.

No library is asked: Pillow, libsndfile and ffmpeg each try to read anything, and name a text file a picture or a clip.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple


class Signature(NamedTuple):
    """A format, the media that it may hold, and whether it is lossy as a rule."""

    title: str
    media: tuple[str, ...]
    lossy: bool = False


_IMAGE, _AUDIO, _VIDEO, _BOTH = ("image",), ("audio",), ("video",), ("audio", "video")
# Where a pattern has to stand at the start of the file. "." is any byte.
_PATTERNS = [
    (rb"\x89PNG\r\n\x1a\n", Signature("PNG", _IMAGE)),
    (rb"\xff\xd8\xff", Signature("JPEG", _IMAGE, True)),
    (rb"GIF8[79]a", Signature("GIF", _IMAGE)),
    (rb"BM.{4}\0{4}.{4}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", Signature("BMP", _IMAGE)),
    (rb"qoif", Signature("QOI", _IMAGE)),
    (rb"II\x2a\0|MM\0\x2a", Signature("TIFF", _IMAGE)),
    (rb"RIFF.{4}WEBP", Signature("WEBP", _IMAGE, True)),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", Signature("JPEG2000", _IMAGE, True)),
    (rb"P[1-6][ \t\r\n]+[\d#]", Signature("PNM", _IMAGE)),
    (rb".{4}ftypavi[fs]", Signature("AVIF", _IMAGE, True)),
    (rb".{4}ftyp(hei[cxms]|hev[cmxs]|mif1|msf1)", Signature("HEIC", _IMAGE, True)),
    (rb"(RIFF|RF64|BW64).{4}WAVE", Signature("WAV", _AUDIO)),
    (rb"fLaC", Signature("FLAC", _AUDIO)),
    (rb"FORM.{4}AIF[FC]", Signature("AIFF", _AUDIO)),
    (rb"\.snd\0\0", Signature("AU", _AUDIO)),
    (rb"caff\0", Signature("CAF", _AUDIO)),
    (rb"ID3[\x02-\x04]|\xff[\xfb\xfa\xf3\xf2\xe3\xe2][^\x00\xf0-\xff]", Signature("MP3", _AUDIO, True)),
    (rb"\xff[\xf1\xf9\xf0\xf8][\x40-\x7f]", Signature("AAC", _AUDIO, True)),
    (rb".{4}ftypM4[AB] ", Signature("M4A", _AUDIO, True)),
    (rb"OggS\0", Signature("OGG", _BOTH, True)),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Signature("WMV", _BOTH, True)),
    (rb"\x1a\x45\xdf\xa3", Signature("MATROSKA", _BOTH, True)),
    (rb".{4}(ftyp|moov|mdat|wide|free|skip)", Signature("MP4", _VIDEO, True)),
    (rb"RIFF.{4}AVI ", Signature("AVI", _VIDEO, True)),
    (rb"\0\0\x01[\xba\xb3]", Signature("MPEG", _VIDEO, True)),
    (rb"FLV\x01", Signature("FLV", _VIDEO, True)),
    (rb"\x47.{187}\x47", Signature("MPEG-TS", _VIDEO, True)),
]
_COMPILED = [(re.compile(pattern, re.DOTALL), signature) for pattern, signature in _PATTERNS]


def signature(path: Path) -> Signature | None:
    """The format of the file `path` by its first bytes; None for one that is unknown here, or cannot be read."""
    try:
        if not path.is_file():  # a pipe would wait for ever
            return None
        with path.open("rb") as file:
            head = file.read(192)
    except OSError:
        return None
    return next((one for pattern, one in _COMPILED if pattern.match(head)), None)
