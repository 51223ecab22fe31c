"""Image files as RGB."""

from __future__ import annotations

import contextlib
import functools
import io
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageCms, ImageFile, ImageOps, TiffImagePlugin, UnidentifiedImageError
from pydantic import Field

from lossybench.codecs.codec import MOST_PIXELS
from lossybench.data.dataset import Finding
from lossybench.errors import LossyBenchError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".gif", ".jfif", ".jpe",
              ".avif", ".jp2", ".pbm", ".pnm", ".apng", ".dib", ".qoi")  # fmt: skip
# Named, because some others of Pillow's formats run programs (EPS) or are known by nothing but their names.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "TIFF", "PPM", "GIF", "AVIF", "JPEG2000", "QOI")
_KINDS = f"{', '.join(FORMATS[:-1])} and {FORMATS[-1]}"
BIT_DEPTH = Field(
    None,
    ge=8,
    le=16,
    description="bits that pictures of more than 8 bits hold, such as 12 in files of 16; null: what each file states, "
    "and 12 where it states 16 and no value is above 4095",
)
LARGE = 2**26  # pixels above which a picture needs gigabytes wherever it is coded, decoded and measured
Image.MAX_IMAGE_PIXELS = MOST_PIXELS  # Pillow's own bound refuses pictures of 179 megapixels as attacks

_SAME = {"MPO": "JPEG", "DIB": "BMP"}  # Pillow's names of formats that share an extension
_ORIENTATION = 0x0112  # the tag of EXIF, and of TIFF
# What undoes each orientation's turn.
_BACK = dict(enumerate((
    Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_90, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_270,
), start=2))  # fmt: skip
_GUESSED = 12  # bits of what detectors of telescopes, microscopes and thermal cameras put into 16
_GAMMA = 1 / 2.2
_ROUNDING = 4  # levels by which the sRGB profiles of several makers differ
_GREY = ("I", "I;16", "I;16B", "I;16L", "I;16N")  # Pillow's modes of more than 8 bits
_COLOURS = ("RGB", "RGBA", "RGBX")
_BITS, _PHOTOMETRIC, _MOST, _PLANAR, _EXTRA = 258, 262, 281, 284, 338  # tags of TIFF


def read(path: Path, bit_depth: int | None = None, turn: bool = True) -> np.ndarray:
    """uint8 (H, W, 3) RGB of the image file `path`, turned as its EXIF orientation says unless `turn` is False.

    Grey becomes three equal channels, and transparency is laid over white. More than 8 bits become 8: the largest value
    that the depth allows becomes 255. bit_depth: as BIT_DEPTH describes. Of several frames the first is taken. Colour
    profiles are not applied. Raises LossyBenchError when the file is no image, ends early, has more than MOST_PIXELS,
    or holds more than `bit_depth` bits.
    """
    # By Pillow, since OpenCV returns what there is of a truncated file and only prints a warning.
    with _opened(path) as file:
        # Before it is loaded, which forgets how it is stored, and turns a TIFF.
        white, turned = _white(path, file), _orientation(file) if file.format == "TIFF" else 1
        file.load()
        image: Image.Image = file
        if file.mode == "F":
            raise ValueError("it has floating-point pixels; 8 or 16 bits are needed")
        if white > 255:
            values, white, guessed = _deep(path, file, white, bit_depth)
            if guessed:
                warnings.warn(
                    f"pictures of 16 bits without a value above {white} are taken as of {_GUESSED} bits: "
                    "`lossybench check` names them, and the option bit_depth states what they are",
                    stacklevel=2,
                )
            image = _shallow(file, values, white)
        if turn:
            image = ImageOps.exif_transpose(image)
        elif turned > 1:
            image = image.transpose(_BACK[turned])
        if image.has_transparency_data:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
        return np.array(image.convert("RGB"))


def orientation(path: Path) -> int:
    """How the header of the readable image file `path` says that it is to be turned, as EXIF numbers it; 1 for not."""
    with _opened(path) as file:
        return _orientation(file)


def _orientation(file: Image.Image) -> int:
    stated = file.getexif().get(_ORIENTATION, 1)
    return stated if stated in _BACK else 1


def look(path: Path, bit_depth: int | None = None) -> list[Finding]:
    """What is odd about the readable image file `path`: format, channels, depth, colours, size, frames.

    The header tells, and the pixels where they may hold fewer bits than the file. bit_depth: as in `read`.
    """
    findings = []

    def find(kind: str, severity: str, text: str) -> None:
        findings.append(Finding(kind, severity, str(path), text))  # type: ignore[arg-type]

    with _opened(path) as file:
        kind, white = _SAME.get(file.format or "", file.format), _white(path, file)
        if Image.registered_extensions().get(path.suffix.lower(), kind) != kind:
            find("wrong extension", "warning", f"is {file.format} by its content")
        if file.width * file.height > LARGE:
            size = f"{file.width} x {file.height} pixels, {3 * file.width * file.height / 1e9:.1f} GB"
            find(
                "very large picture", "warning", f"is {size}, of which each stage holds several copies; scale or cut it"
            )
        if getattr(file, "n_frames", 1) > 1 and file.format != "MPO":
            find("several frames", "warning", "only the first is taken")
        if problem := _profile(file):
            find("colour profile", "note", f"{problem}; it is not applied")
        if white > 255:
            file.seek(0)
            file.load()
            values, found, guessed = _deep(path, file, white, bit_depth)
            if guessed:
                text = (
                    f"is of 16 bits, but no value is above {int(values[..., :3].max())}: it is taken as of {_GUESSED}"
                )
                find("12 bits in 16", "warning", f"{text} bits; set bit_depth: {_GUESSED} if that is right, or else 16")
            else:
                find("16-bit image", "note", f"becomes 8-bit: {found} becomes 255")
        if file.has_transparency_data:
            find("transparent image", "note", "is laid over white")
        elif white <= 255 and file.mode in ("L", "1", "LA"):
            find("grey image", "note", "becomes three equal channels")
        elif white <= 255 and file.mode not in ("RGB", "P"):
            find("colour space", "note", f"is {file.mode} and becomes RGB")
    return findings


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[ImageFile.ImageFile]:
    """The file `path`, open and not yet loaded. Raises LossyBenchError, naming it, for what goes wrong inside."""
    try:
        # By its name, Pillow would map an uncompressed file into memory, and shear a TIFF that is to be turned.
        with path.open("rb") as raw, Image.open(raw, formats=FORMATS) as file:
            if file.width * file.height > MOST_PIXELS:
                raise _too_large(f"{file.width} x {file.height}", path)
            yield file
    except LossyBenchError:
        raise
    except FileNotFoundError:
        raise LossyBenchError(f"{path}: no such image") from None
    except UnidentifiedImageError:
        raise LossyBenchError(f"{path}: not an image that can be read: its content is none of {_KINDS}") from None
    except Image.DecompressionBombError as error:
        raise _too_large(str(error).partition("(")[2].partition(" pixels")[0], path) from None
    except Exception as error:  # for damaged files, Pillow's plugins raise almost anything
        raise LossyBenchError(f"{path}: not a whole image that can be read ({error})") from None


def _too_large(size: str, path: Path) -> LossyBenchError:
    return LossyBenchError(
        f"{path}: has {size} pixels by its header; {MOST_PIXELS} is the most that is read: scale it down, or cut it"
    )


def _white(path: Path, file: ImageFile.ImageFile) -> int:
    """The value that is white by the way in which the file, not loaded yet, is stored; 255 where Pillow sees to it.

    Pillow keeps the 16 bits of grey pictures, but only the upper 8 of coloured ones.
    """
    bits = 8
    if file.format == "PNG":
        bits = 16 if "16" in str(file.tile[0].args) else 8
    elif file.format == "PPM":
        stored = file.tile[0].args
        return max(255, int(stored[1])) if isinstance(stored, tuple) else 65535 if file.mode in _GREY else 255
    elif file.format == "JPEG2000":
        bits = _jpeg2000_bits(path.read_bytes())
    elif isinstance(file, TiffImagePlugin.TiffImageFile) and file.mode in (*_GREY, *_COLOURS):
        bits = max(file.tag_v2.get(_BITS, (1,)))
        if bits > 8 and file.mode in _COLOURS and file.tag_v2.get(_PLANAR) == 2:
            raise ValueError("planes of 16 bits lie one behind another; save it with PlanarConfiguration 1")
    return (1 << min(bits, 16)) - 1 if bits > 8 else 255


def _deep(path: Path, file: ImageFile.ImageFile, white: int, bit_depth: int | None) -> tuple[np.ndarray, int, bool]:
    """The values of a loaded file of more than 8 bits, the value that is white, and whether that is a guess.

    The values are uint16, (H, W, 1) grey or (H, W, 3 or 4) RGB or RGBA, turned as Pillow's are after loading. white: as
    the file is stored. bit_depth: as in `read`. Raises ValueError for values beyond the depth.
    """
    content = path.read_bytes()
    if file.mode in _GREY and file.format in ("PNG", "TIFF"):
        values = np.asarray(file)[..., None]
    else:
        found = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        if found is None or found.dtype != np.uint16 or found.shape[:2] != (file.height, file.width):
            raise ValueError(f"its {white.bit_length()} bits a channel are stored in a way that OpenCV does not read")
        values = found[..., None] if found.ndim == 2 else found[..., [2, 1, 0, 3][: found.shape[2]]]
    least, most, guessed = int(values[..., :3].min()), int(values[..., :3].max()), False
    if bit_depth:
        white = (1 << bit_depth) - 1
    elif white == 65535:
        bits = _stated_bits(file, content)
        if most < 1 << bits < 65536:
            white = (1 << bits) - 1
        elif most < 1 << _GUESSED:
            white, guessed = (1 << _GUESSED) - 1, most > 0
    if least < 0 or most > white:
        raise ValueError(f"it has pixels outside 0 to {white}" + ", the range of bit_depth" * bool(bit_depth))
    return values.astype(np.uint16), white, guessed


def _shallow(file: ImageFile.ImageFile, values: np.ndarray, white: int) -> Image.Image:
    """The values of `_deep` as RGB in 8 bits, laid over white, with the orientation that the file still has."""
    tags = file.tag_v2 if isinstance(file, TiffImagePlugin.TiffImageFile) else {}
    scale = np.float32(255 / white) * np.arange(white + 1, dtype=np.float32)
    if tags.get(_PHOTOMETRIC) == 0:
        scale = scale[::-1]  # white is 0
    if values.shape[2] == 4:
        alpha = values[..., 3:]
        alpha = alpha / np.float32(white if alpha.max() <= white else 65535)  # which may be whole where colours are not
        colours = scale[values[..., :3]] * (1 if tags.get(_EXTRA) == (1,) else alpha)  # 1: multiplied already
        pixels = np.rint(np.minimum(colours + 255 * (1 - alpha), 255)).astype(np.uint8)
    else:
        pixels = np.rint(scale).astype(np.uint8)[values]
        if values.shape[2] == 1 and isinstance(key := file.info.get("transparency"), int):
            pixels[values == key] = 255
    image = Image.fromarray(np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3))))
    image.info["exif"] = file.getexif().tobytes()
    return image


def _stated_bits(file: ImageFile.ImageFile, content: bytes) -> int:
    """The bits that the content of a 16-bit file has by its own words: PNG's sBIT, TIFF's MaxSampleValue; or else 16.

    Both may also speak of values that fill 16 bits. It is for the caller to compare them with the values.
    """
    if isinstance(file, TiffImagePlugin.TiffImageFile):
        most = max(file.tag_v2.get(_MOST, (65535,)))
        return most.bit_length() if most & (most + 1) == 0 and most >= 255 else 16
    at = 8 if file.format == "PNG" else len(content)
    while (name := content[at + 4 : at + 8]) and name != b"IDAT":
        length = struct.unpack_from(">I", content, at)[0]
        if name == b"sBIT":
            channels = content[at + 8 : at + 8 + length]
            return max(channels[:3] if length > 2 else channels[:1], default=16) or 16
        at += 12 + length
    return 16


def _jpeg2000_bits(content: bytes) -> int:
    """The bits of the first component, by the marker segment SIZ (ISO/IEC 15444-1, annex A.5.1)."""
    at = content.find(b"\xff\x4f\xff\x51")
    return (content[at + 42] & 0x7F) + 1 if at >= 0 else 8


def _profile(file: ImageFile.ImageFile) -> str:
    """What the file says of its colours, where that is not sRGB; or else ""."""
    if (profile := file.info.get("icc_profile")) and file.mode in ("L", "RGB", "RGBA", "P", "LA"):
        return _change(profile, "L" if file.mode in ("L", "LA") else "RGB")
    gamma = file.info.get("gamma")
    if gamma and "srgb" not in file.info and abs(gamma - _GAMMA) > 0.02:
        return f"states a gamma of {gamma:.3f}, not {_GAMMA:.3f} as sRGB has about"
    return ""


@functools.lru_cache(64)
def _change(profile: bytes, mode: str) -> str:
    """By how much a colour profile changes colours on the way to sRGB; "" where by no more than it rounds."""
    grid = np.stack(np.meshgrid(*[np.linspace(0, 255, 6)] * 3), -1).reshape(36, 6, 3).astype(np.uint8)
    colours = Image.fromarray(grid if mode == "RGB" else grid[..., 0])
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = ImageCms.getProfileDescription(opened).strip()
        seen = ImageCms.profileToProfile(colours, opened, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return "has one that cannot be read"
    assert seen is not None
    most = np.abs(np.asarray(seen).astype(int) - np.asarray(colours.convert("RGB"))).max()
    return f"{name!r} changes colours by up to {most} of 255 levels on the way to sRGB" if most > _ROUNDING else ""
