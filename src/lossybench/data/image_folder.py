"""A user's images to classify, with one folder for each class."""

from __future__ import annotations

import numpy as np

from lossybench.data import _images
from lossybench.data._files import ClassFolders, Entry
from lossybench.data.dataset import Finding


class ImageFolder(ClassFolders):
    """root[/split]/class/**/image. Images keep their resolution, and become 8-bit RGB (see _images.read)."""

    name = "image_folder"
    medium = "image"
    extensions = _images.EXTENSIONS
    bit_depth: int | None = _images.BIT_DEPTH

    def decode(self, entry: Entry) -> tuple[np.ndarray, float]:
        return _images.read(entry.path, self.bit_depth), 0.0

    def look(self, entry: Entry) -> list[Finding]:
        return _images.look(entry.path, self.bit_depth)
