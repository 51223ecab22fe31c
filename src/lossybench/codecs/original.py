"""The lossless codec, which data tables store media with: PNG, FLAC and, for video, H.264 in its lossless RGB mode."""

from __future__ import annotations

import dataclasses
import io
import struct
import zlib

import cv2
import numpy as np
import soundfile
from av.video.frame import VideoFrame

from lossybench.codecs._audio import whole_rate
from lossybench.codecs._common import described
from lossybench.codecs._ffmpeg import bare, decode_frames, encode_frames, ffmpeg_version
from lossybench.codecs._stills import cv2_decode, cv2_encode, cv2_version
from lossybench.codecs.codec import Codec, Encoded, Medium

# On natural clips this takes a fifth of FFV1's bytes and a third of its time.
_LOSSLESS = {"preset": "veryfast", "qp": "0", "x264-params": "keyint=infinite:threads=1"}


@dataclasses.dataclass(frozen=True)
class Original(Codec):
    """The decoded item is the encoded one, bit by bit. The one level is 0."""

    name = "original"
    title = "Original"
    media = frozenset({"image", "audio", "video"})
    parameter = "level"
    stronger = "higher"
    bounds = (0, 0)

    def largest_side(self, medium: Medium) -> int:
        """See `Codec`: the bound of libpng in OpenCV for pictures, that of x264 for video."""
        return 16384 if medium == "video" else self.side

    def _encode(self, media: np.ndarray, medium: Medium, level: float, sampling_rate: float) -> Encoded:
        if medium == "image":
            payload = cv2_encode(".png", media, [cv2.IMWRITE_PNG_COMPRESSION, 6])
            coded, _ = _look_at_png(payload)
        elif medium == "audio":
            file = io.BytesIO()
            soundfile.write(file, media, whole_rate(self.name, sampling_rate), format="FLAC", subtype="PCM_16")
            payload = file.getvalue()
            coded = len(payload) - _flac_header_bytes(payload)
        else:
            frames = [VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24") for frame in media]
            return bare(encode_frames("libx264rgb", frames, sampling_rate, _LOSSLESS), "h264")
        return Encoded(payload, 8 * coded, 8 * (len(payload) - coded))

    def _decode(self, payload: bytes, shape: tuple[int, ...], sampling_rate: float) -> np.ndarray:
        if len(shape) == 3:
            _, size = _look_at_png(payload)
            if size != shape[:2]:
                raise ValueError(f"it is of {size[1]} x {size[0]} pixels, not {shape[1]} x {shape[0]}")
            return cv2_decode(payload)
        if len(shape) == 1:
            if payload[:4] != b"fLaC":
                raise ValueError("no marker of FLAC")
            with soundfile.SoundFile(io.BytesIO(payload)) as file:
                if (file.frames, file.channels) != (shape[0], 1):
                    raise ValueError(f"it has {file.frames} samples and {file.channels} channels, not {shape[0]} and 1")
                return file.read(dtype="int16")
        frames = decode_frames("h264", payload, shape[0], (shape[1], shape[2]), "gbrp")
        return np.stack([frame.to_ndarray() for frame in frames])

    def level_label(self, level: float) -> str:
        return "original"

    def version(self) -> str:
        software = f"libpng: {cv2_version('PNG')}; FLAC by libsndfile {soundfile.__libsndfile_version__}"
        return described(self, f"{software}; lossless H.264 RGB by libx264rgb of {ffmpeg_version()}")


def _look_at_png(png: bytes) -> tuple[int, tuple[int, int]]:
    """The bytes of the image data chunks, and (height, width) of the header.

    Raises ValueError when a chunk is cut off or its checksum is wrong, or a picture is not as this codec writes it.
    """
    width, height, form = struct.unpack_from(">IIH", png, 16)
    if png[:16] != b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR" or form != 0x0802:  # 8 bits a colour, three colours
        raise ValueError("no header of a PNG of three colours of 8 bits")
    at, coded, kind = 8, 0, b""
    while kind != b"IEND":
        length, kind = int.from_bytes(png[at : at + 4], "big"), png[at + 4 : at + 8]
        end = at + 8 + length
        if zlib.crc32(png[at + 4 : end]) != int.from_bytes(png[end : end + 4], "big") or end + 4 > len(png):
            raise ValueError(f"the PNG chunk at byte {at} is not whole")
        coded += length if kind == b"IDAT" else 0
        at = end + 4
    return coded, (height, width)


def _flac_header_bytes(flac: bytes) -> int:
    """The bytes of marker and metadata blocks (RFC 9639, section 8): a block's first bit says that it is the last."""
    at, last = 4, False
    while not last:
        last = bool(flac[at] & 0x80)
        at += 4 + int.from_bytes(flac[at + 1 : at + 4], "big")
    return at
