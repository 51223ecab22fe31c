"""Users' image files as RGB."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from lossybench.errors import LossyBenchError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".gif")


def read(path: Path) -> np.ndarray:
    """uint8 (H, W, 3) RGB of an image file, turned as its EXIF orientation says.

    Grey becomes three equal channels, 16 bits become 8 (65535 becomes 255), transparency is laid over white, of
    several frames the first is taken. Raises LossyBenchError when it is no image, or ends early.
    """
    # Pillow, not OpenCV: OpenCV returns what there is of a truncated file and only prints a warning.
    try:
        with Image.open(path) as file:
            file.load()
            image = ImageOps.exif_transpose(file)
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
    # What Pillow raises for damaged files, by format.
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise LossyBenchError(f"{path}: not a whole image that can be read ({error})") from None
