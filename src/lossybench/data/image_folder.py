"""A user's images for classification, one folder a class."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from lossybench.data import _images
from lossybench.data._files import ClassFolders
from lossybench.data.dataset import Finding, Medium


class ImageFolder(ClassFolders):
    """root[/split]/class/**/image; images keep their resolution and become 8-bit RGB (see _images.read)."""

    name: ClassVar[str] = "image_folder"
    medium: ClassVar[Medium] = "image"
    extensions: ClassVar[tuple[str, ...]] = _images.EXTENSIONS

    def decode(self, path: Path) -> tuple[np.ndarray, float]:
        """See ClassFolders."""
        return _images.read(path), 0.0

    def look(self, path: Path) -> list[Finding]:
        """See ClassFolders."""
        return _images.look(path)
