"""Files of masks: what the adapters of segmentation share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lossybench.data._files import Entry
from lossybench.errors import LossyBenchError, naming
from lossybench.masks import IGNORED

EXTENSIONS = (".png", ".bmp", ".tif", ".tiff", ".pgm", ".gif")  # of masks: what is lossless and holds numbers
_FORMATS = ("PNG", "BMP", "TIFF", "PPM", "GIF")
BACKGROUND = "background"
_NAMED = 5  # values that an error names


@dataclasses.dataclass(frozen=True)
class MaskedEntry(Entry):
    """An entry with what its mask is made from: files, or annotations, as its adapter understands them."""

    mask: Any = None


def read(path: Path, values: Mapping[int, int], size: tuple[int, int], picture: Path) -> np.ndarray:
    """The mask, uint8 (H, W) of class numbers and IGNORED, that the file `path` holds.

    values: the class of each value that pixels may have, or IGNORED. size: (width, height) of the `picture` that the
    mask is of. Palette images count by their indices, pictures of one bit as 0 and 1, and colours only where they are
    grey. Raises LossyBenchError, naming the file, for another size, another value, colours, and what is no image.
    """
    with naming(path):
        found = _numbers(path)
        if found.shape[::-1] != size:
            raise LossyBenchError(
                f"is {found.shape[1]} x {found.shape[0]} pixels, and its picture {picture} is {size[0]} x {size[1]}; "
                "a mask must be of its very picture"
            )
        there = np.unique(found).tolist()
        if unknown := [value for value in there if value not in values]:
            more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
            raise LossyBenchError(
                f"has pixels of the values {', '.join(map(str, unknown[:_NAMED]))}{more}, and those of the classes are "
                f"{', '.join(map(str, sorted(values)))}; state all in the option classes, or which one is `ignored`"
            )
        mask = np.empty(found.shape, np.uint8)
        for value in there:
            mask[found == value] = values[value]
        return mask


def _numbers(path: Path) -> np.ndarray:
    """The values of the pixels of a mask's file, (H, W)."""
    if not path.is_file():
        raise LossyBenchError("no such mask")
    try:
        with Image.open(path, formats=_FORMATS) as file:
            file.load()
            found = np.array(file)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise LossyBenchError(f"not a whole mask that can be read ({error})") from None
    if found.ndim == 3:
        grey = found[..., 0]
        if (found[..., :3] != grey[..., None]).any() or (found.shape[2] == 4 and found[..., 3].min() < 255):
            raise LossyBenchError("has colours; a mask holds the number of a class in each pixel, grey or by a palette")
        found = grey
    if found.dtype.kind not in "biu":
        raise LossyBenchError(f"holds numbers of the type {found.dtype}; whole numbers are needed")
    return found.astype(np.int64)


def values_of(classes: Any, ignored: int | None) -> dict[int, int]:
    """The class of each value of a mask's pixels: by their order in a list, or by the values that a mapping names.

    ignored: the value of pixels that nothing is counted of, unless it is that of a class.
    """
    numbers = classes.values() if isinstance(classes, Mapping) else range(len(classes))
    return ({} if ignored is None else {ignored: IGNORED}) | {value: label for label, value in enumerate(numbers)}
