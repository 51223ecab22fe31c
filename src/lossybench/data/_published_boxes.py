"""Public data sets of images with boxes."""

from __future__ import annotations

import numpy as np

from lossybench.data import _boxes
from lossybench.data._published import Entry, Survey
from lossybench.data._published_images import PublishedImages
from lossybench.data.dataset import Finding


class PublishedBoxes(PublishedImages):
    """Images to detect objects in, each of which is a file of its own."""

    kind = "detection"

    def survey(self, seed: int) -> Survey:
        found = super().survey(seed)
        return found._replace(findings=found.findings + _boxes.of_sets(self.name, found.classes, found.entries))

    def decode(self, entry: Entry) -> tuple[np.ndarray, float]:
        return _boxes.read(entry.path, entry.size), 0.0

    def look(self, entry: Entry) -> list[Finding]:
        return _boxes.look(entry.path, entry.size)
