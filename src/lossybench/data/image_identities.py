"""A user's pictures of faces, or of whatever else is recognised, to verify, with one folder for each identity."""

from __future__ import annotations

import numpy as np

from lossybench.data import _images
from lossybench.data._files import Entry
from lossybench.data._identities import IdentityFolders
from lossybench.data.dataset import Finding


class ImageIdentities(IdentityFolders):
    """root[/split]/identity/**/image, as Labeled Faces in the Wild are. Images keep their resolution."""

    name = "image_identities"
    medium = "image"
    extensions = _images.EXTENSIONS
    bit_depth: int | None = _images.BIT_DEPTH

    def decode(self, entry: Entry) -> tuple[np.ndarray, float]:
        return _images.read(entry.path, self.bit_depth), 0.0

    def look(self, entry: Entry) -> list[Finding]:
        return _images.look(entry.path, self.bit_depth)
