"""The lossless codec, which data tables store media with: PNG, FLAC and, for video, H.264 in its lossless RGB mode."""

from __future__ import annotations

import dataclasses
import io
import zlib

import av
import cv2
import numpy as np
import soundfile
from av.video.frame import VideoFrame

from lossybench.codecs._audio import whole_rate
from lossybench.codecs._common import damaged, described
from lossybench.codecs._ffmpeg import bare, decode_frames, encode_frames, ffmpeg_version
from lossybench.codecs._stills import cv2_encode, cv2_version
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

    def _encode(self, media: np.ndarray, medium: Medium, level: float, sampling_rate: float) -> Encoded:
        if medium == "image":
            payload = cv2_encode(".png", media, [cv2.IMWRITE_PNG_COMPRESSION, 6])
            coded = _png_coded_bytes(payload)
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
        try:
            if len(shape) == 3:
                _png_coded_bytes(payload)
                media = cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_COLOR_RGB)
            elif len(shape) == 1:
                media, _ = soundfile.read(io.BytesIO(payload), dtype="int16")
            else:
                frames = decode_frames("h264", payload, shape[0])
                media = np.stack([frame.to_ndarray() for frame in frames])
        except (av.FFmpegError, soundfile.SoundFileError, ValueError) as error:
            raise damaged(self.name, error) from error
        if media is None or media.shape != tuple(shape):
            found = "nothing" if media is None else f"shape {media.shape}"
            raise damaged(self.name, f"it decodes to {found}, not {tuple(shape)}")
        return media

    def level_label(self, level: float) -> str:
        return "original"

    def version(self) -> str:
        software = f"libpng: {cv2_version('PNG')}; FLAC by libsndfile {soundfile.__libsndfile_version__}"
        return described(self, f"{software}; lossless H.264 RGB by libx264rgb of {ffmpeg_version()}")


def _png_coded_bytes(png: bytes) -> int:
    """The bytes of the image data chunks. Raises ValueError when a chunk is cut off or its checksum is wrong."""
    at, coded, kind = 8, 0, b""
    while kind != b"IEND":
        length, kind = int.from_bytes(png[at : at + 4], "big"), png[at + 4 : at + 8]
        end = at + 8 + length
        if zlib.crc32(png[at + 4 : end]) != int.from_bytes(png[end : end + 4], "big") or end + 4 > len(png):
            raise ValueError(f"the PNG chunk at byte {at} is not whole")
        coded += length if kind == b"IDAT" else 0
        at = end + 4
    return coded


def _flac_header_bytes(flac: bytes) -> int:
    """The bytes of marker and metadata blocks (RFC 9639, section 8): a block's first bit says that it is the last."""
    at, last = 4, False
    while not last:
        last = bool(flac[at] & 0x80)
        at += 4 + int.from_bytes(flac[at + 1 : at + 4], "big")
    return at
