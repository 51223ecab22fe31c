"""Public data sets of images."""

from __future__ import annotations

import numpy as np

from lossybench.data import _images
from lossybench.data._published import Entry, PublishedDataset


class PublishedImages(PublishedDataset):
    """Images, each of which is a file of its own."""

    medium = "image"

    def decode(self, entry: Entry) -> tuple[np.ndarray, float]:
        return _images.read(entry.path), 0.0
