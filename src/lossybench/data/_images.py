"""Image files as RGB."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from lossybench.data.dataset import Finding
from lossybench.errors import LossyBenchError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".gif")
_SAME = {"MPO": "JPEG", "DIB": "BMP"}  # Pillow's names of formats that share an extension
_ORIENTATION = 0x0112  # the tag of EXIF, and of TIFF
# What undoes each orientation's turn.
_BACK = dict(enumerate((
    Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_90, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_270,
), start=2))  # fmt: skip
_DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N")


def read(path: Path, turn: bool = True) -> np.ndarray:
    """uint8 (H, W, 3) RGB of the image file `path`, turned as its EXIF orientation says unless `turn` is False.

    Grey becomes three equal channels, 16 bits become 8 (65535 becomes 255), and transparency is laid over white. Of
    several frames the first is taken. Raises LossyBenchError when the file is no image, or ends early.
    """
    # By Pillow, since OpenCV returns what there is of a truncated file and only prints a warning.
    try:
        with Image.open(path) as file:
            # Pillow turns a TIFF as it loads it, and forgets the orientation.
            turned = _orientation(file) if not turn and file.format == "TIFF" else 1
            file.load()
            image = ImageOps.exif_transpose(file) if turn else file.transpose(_BACK[turned]) if turned > 1 else file
            if image.mode == "F":
                raise ValueError("it has floating-point pixels; 8 or 16 bits are needed")
            if image.mode.startswith("I"):
                grey = np.asarray(image).astype(np.int64)
                if grey.min() < 0 or grey.max() > 65535:
                    raise ValueError("it has pixels outside 0 to 65535")
                return np.repeat(np.rint(grey / 257).astype(np.uint8)[..., None], 3, axis=2)
            if image.has_transparency_data:
                white = Image.new("RGBA", image.size, "white")
                image = Image.alpha_composite(white, image.convert("RGBA"))
            return np.array(image.convert("RGB"))
    except FileNotFoundError:
        raise LossyBenchError(f"{path}: no such image") from None
    # Pillow raises these for damaged files, depending on the format.
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise LossyBenchError(f"{path}: not a whole image that can be read ({error})") from None


def orientation(path: Path) -> int:
    """How the header of the readable image file `path` says that it is to be turned, as EXIF numbers it; 1 for not."""
    with Image.open(path) as file:
        return _orientation(file)


def _orientation(file: Image.Image) -> int:
    stated = file.getexif().get(_ORIENTATION, 1)
    return stated if stated in _BACK else 1


def look(path: Path) -> list[Finding]:
    """What is odd about the readable image file `path`, by its header: format, channels, depth, frames."""
    findings = []
    with Image.open(path) as file:
        kind = _SAME.get(file.format or "", file.format)
        if Image.registered_extensions().get(path.suffix.lower(), kind) != kind:
            findings.append(Finding("wrong extension", "warning", str(path), f"is {file.format} by its content"))
        if file.mode in _DEEP:
            findings.append(Finding("16-bit image", "note", str(path), "becomes 8-bit"))
        elif file.has_transparency_data:
            findings.append(Finding("transparent image", "note", str(path), "is laid over white"))
        elif file.mode in ("L", "1", "LA"):
            findings.append(Finding("grey image", "note", str(path), "becomes three equal channels"))
        elif file.mode not in ("RGB", "P"):
            findings.append(Finding("colour space", "note", str(path), f"is {file.mode} and becomes RGB"))
        if getattr(file, "n_frames", 1) > 1 and file.format != "MPO":
            findings.append(Finding("several frames", "warning", str(path), "only the first is taken"))
    return findings
