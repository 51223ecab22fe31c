"""Penn-Fudan: pedestrians on campus and in streets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

import numpy as np

from lossybench.data import _images
from lossybench.data._published import Entry, Facts, PublishedDataset, one
from lossybench.data.dataset import Box
from lossybench.data.download import Remote
from lossybench.errors import LossyBenchError

_BOX = re.compile(r"\(Xmin, Ymin\) - \(Xmax, Ymax\) : \((\d+), (\d+)\) - \((\d+), (\d+)\)")


class PennFudan(PublishedDataset):
    """170 images with 345 pedestrians, from the annotation files; masks are not used."""

    name = "penn_fudan"
    medium = "image"
    kind = "detection"
    classes: ClassVar[list[str]] = ["person"]
    facts = Facts(
        title="Penn-Fudan Database for Pedestrian Detection and Segmentation",
        source="https://www.cis.upenn.edu/~jshi/ped_html/",
        licence="not stated",
        citation="Wang et al., Object Detection Combining Recognition and Segmentation, ACCV 2007",
        prior_compression="published as PNG; the photographs were most likely JPEG before",
        compressed_before=("JPEG",),
        splits="none published; made from the seed, 0.7 : 0.1 : 0.2",
        items={"train": 119, "val": 17, "test": 34},
        shape=(390, 450, 3),
        files=(
            Remote(
                "https://www.cis.upenn.edu/~jshi/ped_html/PennFudanPed.zip",
                ("md5:5aaa3dee905cef73325923716e38fc6d",),
                published_by="Avalanche (ContinualAI)",
            ),
        ),
    )

    def entries(self, root: Path) -> list[Entry]:
        """See PublishedDataset."""
        notes = one(root, "Annotation", self.name)
        found: list[Entry] = []
        for image in sorted((notes.parent / "PNGImages").glob("*.png")):
            note = notes / f"{image.stem}.txt"
            if not note.is_file():
                raise LossyBenchError(f"{note}: no such file, but there is {image}")
            # Pixels are counted from 1, and the last one belongs to the box.
            boxes = [tuple(map(int, match)) for match in _BOX.findall(note.read_text())]
            if not boxes:
                raise LossyBenchError(f"{note}: states no bounding box")
            found.append(
                Entry(
                    image.name, image, "", image.name, boxes=tuple(Box(a - 1, b - 1, c, d, 0) for a, b, c, d in boxes)
                )
            )
        return found

    def decode(self, entry: Entry) -> tuple[np.ndarray, float]:
        """See PublishedDataset."""
        return _images.read(entry.path), 0.0
