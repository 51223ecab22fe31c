"""The lossless codec, which data tables store media with, and which is read far more often than written.

Of pictures, MagicYUV (predicted from their neighbours, then Huffman codes), where it is the better of the two, or PNG.
Of clips, H.264 in its lossless RGB mode with CAVLC. Of sound, FLAC.

What lossless media take is asked of others: see `LOSSLESS`.
"""

from __future__ import annotations

import dataclasses
import io
import struct
import zlib

import av
import cv2
import numpy as np
import soundfile
from av.video.frame import VideoFrame
from PIL import Image

from lossybench.codecs._audio import whole_rate
from lossybench.codecs._common import described
from lossybench.codecs._ffmpeg import bare, decode_frames, encode_frames, ffmpeg_version, planes
from lossybench.codecs._stills import cv2_decode, cv2_encode, cv2_version
from lossybench.codecs.codec import Codec, Encoded, Medium

# With CABAC, x264's default, clips have 7 to 13 % fewer bytes and take three times as long to decode.
_LOSSLESS = {"preset": "veryfast", "qp": "0", "x264-params": "keyint=infinite:threads=1:cabac=0"}

# On photographs from 128 x 128 pixels on, MagicYUV takes 11 to 20 % fewer bytes than PNG at zlib's level 6, and less
# than half of its time to decode. Lossless WebP and FFV1 take yet 16 to 18 % fewer, but two and eight times as long to
# decode. On smaller pictures the tables of MagicYUV outweigh that.
_SMALL = 2**14  # pixels
# Its shortest code has a bit, of which a pixel takes three. Only drawings come near that, and PNG knows repetition.
_FLAT = 4  # bits a pixel
# What savings against lossless media are counted from, as readers know it: PNG as Pillow makes it, with all of its
# filters and zlib's level 6; FLAC at libsndfile's default; FFV1 (RFC 9043) in four slices, without a container.
LOSSLESS: dict[Medium, str] = {"image": "PNG", "audio": "FLAC", "video": "FFV1"}
_MAGIC = bytes.fromhex("4d414759 20000000 07650c00 00002000")  # the header's start: 8-bit G, B, R, not interlaced


@dataclasses.dataclass(frozen=True)
class Original(Codec):
    """The decoded item is the encoded one, bit by bit. The one level is 0.

    Its settings are quick to decode and not the densest there are. The densest that were tried take 16 to 18 % fewer
    bytes for photographs, and for clips 7 to 13 % fewer, or half where little moves. Its rates are thus those of a
    practical lossless codec and no bound. Of MagicYUV, the slices are the coded media; header, tables and a checksum
    are overhead.
    """

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
            payload, coded = _encode_picture(media)
        elif medium == "audio":
            file = io.BytesIO()
            soundfile.write(file, media, whole_rate(self.name, sampling_rate), format="FLAC", subtype="PCM_16")
            payload = file.getvalue()
            coded = len(payload) - _flac_header_bytes(payload)
        else:
            size = media.shape[1:3]
            frames = ([frame.reshape(size[0], -1)] for frame in media)
            return bare(encode_frames("libx264rgb", frames, size, "rgb24", sampling_rate, _LOSSLESS), "h264")
        return Encoded(payload, 8 * coded, 8 * (len(payload) - coded))

    def _decode(self, payload: bytes, shape: tuple[int, ...], sampling_rate: float) -> np.ndarray:
        if len(shape) == 3:
            return _decode_picture(payload, (shape[0], shape[1]))
        if len(shape) == 1:
            if payload[:4] != b"fLaC":
                raise ValueError("no marker of FLAC")
            with soundfile.SoundFile(io.BytesIO(payload)) as file:
                if (file.frames, file.channels) != (shape[0], 1):
                    raise ValueError(f"it has {file.frames} samples and {file.channels} channels, not {shape[0]} and 1")
                return file.read(dtype="int16")
        clip = np.empty(shape, np.uint8)
        frames = decode_frames("h264", payload, shape[0], (shape[1], shape[2]), "gbrp")
        for rgb, frame in zip(clip, frames, strict=True):
            _to_rgb(frame, rgb)
        return clip

    def level_label(self, level: float) -> str:
        return "original"

    def version(self) -> str:
        software = f"MagicYUV and lossless H.264 RGB (libx264rgb, CAVLC) of {ffmpeg_version()}"
        software += f"; libpng: {cv2_version('PNG')}; FLAC by libsndfile {soundfile.__libsndfile_version__}"
        return described(self, software)


def lossless_bits(media: np.ndarray, medium: Medium, sampling_rate: float) -> int:
    """The bits of an item in the codec that LOSSLESS names. The arguments are those of `Codec.encode`."""
    if medium == "image":
        file = io.BytesIO()
        Image.fromarray(media).save(file, "PNG")
        return 8 * file.tell()
    if medium == "audio":
        encoded = Original().encode(media, 0, sampling_rate)
        return encoded.payload_bits + encoded.overhead_bits
    height, width = media.shape[1:3]
    frames = ([cv2.cvtColor(frame, cv2.COLOR_RGB2BGRA).reshape(height, -1)] for frame in media)
    packets = encode_frames("ffv1", frames, (height, width), "bgr0", sampling_rate, {"level": "3", "slices": "4"})
    return 8 * sum(map(len, packets))


def _encode_picture(image: np.ndarray) -> tuple[bytes, int]:
    """The bitstream of `image`, uint8 (H, W, 3), and the bytes of its coded media."""
    height, width = image.shape[:2]
    if height * width >= _SMALL:
        red, green, blue = cv2.split(np.ascontiguousarray(image))
        packets = encode_frames("magicyuv", [(green, blue, red)], (height, width), "gbrp", 0, {"pred": "gradient"})
        frame = b"".join(packets)
        payload = frame + zlib.crc32(frame).to_bytes(4, "little")
        if 8 * len(payload) >= _FLAT * height * width:
            return payload, _look_at_magicyuv(payload)[0]
        png = cv2_encode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 6])
        if len(payload) <= len(png):
            return payload, _look_at_magicyuv(payload)[0]
    else:
        png = cv2_encode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 6])
    return png, _look_at_png(png)[0]


def _decode_picture(payload: bytes, wanted: tuple[int, int]) -> np.ndarray:
    """The picture, uint8 (H, W, 3), of `wanted` (height, width). Raises an error when the payload is none of that."""
    magic = payload[:4] == _MAGIC[:4]
    _, size = _look_at_magicyuv(payload) if magic else _look_at_png(payload)
    if size != wanted:
        raise ValueError(f"it is of {size[1]} x {size[0]} pixels, not {wanted[1]} x {wanted[0]}")
    if not magic:
        return cv2_decode(payload)
    context = av.CodecContext.create("magicyuv", "r")
    context.thread_count = 1
    (frame,) = context.decode(av.Packet(payload[:-4]))
    return _to_rgb(frame, np.empty((*size, 3), np.uint8))


def _to_rgb(frame: VideoFrame, rgb: np.ndarray) -> np.ndarray:
    """`rgb`, uint8 (H, W, 3), filled with a frame in FFmpeg's format gbrp."""
    green, blue, red = planes(frame)
    cv2.merge([red, green, blue], dst=rgb)
    return rgb


def _look_at_magicyuv(payload: bytes) -> tuple[int, tuple[int, int]]:
    """The bytes of the slices, and (height, width) of the header.

    Raises ValueError when the checksum is wrong, or a picture is not as this codec writes it: in one slice a plane.
    """
    width, height, slice_width, slice_height, tables = struct.unpack_from("<5I", payload, 16)
    if payload[:16] != _MAGIC or (slice_width, slice_height) != (width, height):
        raise ValueError("no header of a MagicYUV frame of three colours of 8 bits")
    if zlib.crc32(memoryview(payload)[:-4]) != int.from_bytes(payload[-4:], "little"):
        raise ValueError("its checksum is wrong")
    return len(payload) - 4 - (32 + tables), (height, width)  # the place of the first slice is told from the header on


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
