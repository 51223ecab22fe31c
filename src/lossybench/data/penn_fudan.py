"""Penn-Fudan: pedestrians on campus and in streets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from lossybench.data._published import Entry, Facts, one
from lossybench.data._published_boxes import PublishedBoxes
from lossybench.data.dataset import Box
from lossybench.data.download import remotes
from lossybench.errors import LossyBenchError

_SIZE = re.compile(r"Image size \(X x Y x C\) : (\d+) x (\d+) x")
_BOX = re.compile(r"\(Xmin, Ymin\) - \(Xmax, Ymax\) : \((\d+), (\d+)\) - \((\d+), (\d+)\)")


class PennFudan(PublishedBoxes):
    """170 images with 345 pedestrians, whose boxes are those of the annotation files; the masks are not used."""

    name = "penn_fudan"
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
        files=remotes("""
            https://www.cis.upenn.edu/~jshi/ped_html/PennFudanPed.zip
            md5:5aaa3dee905cef73325923716e38fc6d by Avalanche (ContinualAI)
        """),
    )

    def entries(self, root: Path) -> Iterator[Entry]:
        notes = one(root, "Annotation", self.name)
        for image in sorted((notes.parent / "PNGImages").glob("*.png")):
            note = notes / f"{image.stem}.txt"
            if not note.is_file():
                raise LossyBenchError(f"{note}: no such file, but there is {image}")
            # Pixels are counted from 1, and the last one belongs to the box.
            text = note.read_text()
            corners = (map(int, match) for match in _BOX.findall(text))
            boxes = [Box(left - 1, top - 1, right, bottom, 0) for left, top, right, bottom in corners]
            if not boxes:
                raise LossyBenchError(f"{note}: states no bounding box")
            size = _SIZE.search(text)
            stated = (int(size[1]), int(size[2])) if size else None
            yield Entry(image.name, image, "", {}, boxes=tuple(boxes), size=stated)
