"""Codecs of still pictures through Pillow and its plug-ins."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import AvifImagePlugin, Image

from lossybench.codecs.codec import MOST_PIXELS

Image.MAX_IMAGE_PIXELS = MOST_PIXELS  # Pillow's own bound refuses pictures of 179 megapixels as attacks
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # of its decoder; jobs run side by side


def pillow_encode(form: str, image: np.ndarray, **how: Any) -> bytes:
    """The bitstream of `image`, uint8 (H, W, 3) RGB. form: Pillow's name of the format. how: its options for it."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, form, **how)
    return file.getvalue()


def pillow_decode(form: Callable[[io.BytesIO], Image.Image], bitstream: bytes) -> np.ndarray:
    """The picture, uint8 (H, W, 3) RGB, of a bitstream. form: Pillow's class for files of the format.

    Not by Image.open, which refuses large pictures, whose size is known here, and would try all other formats.
    """
    return np.array(form(io.BytesIO(bitstream)))
