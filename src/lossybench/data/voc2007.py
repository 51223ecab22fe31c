"""Pascal VOC 2007: objects of twenty classes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree

from lossybench.data._published import Entry, Facts, one
from lossybench.data._published_boxes import PublishedBoxes
from lossybench.data.dataset import Box
from lossybench.data.download import remotes
from lossybench.errors import LossyBenchError

_ADDRESS = "http://host.robots.ox.ac.uk/pascal/VOC/voc2007"
_BY = "torchvision (MD5), TensorFlow Datasets (SHA-256)"


class Voc2007(PublishedBoxes):
    """9,963 images in the published lists train, val and test."""

    name = "voc2007"
    classes: ClassVar[list[str]] = [
        "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
        "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
    ]  # fmt: skip
    facts = Facts(
        title="Pascal VOC 2007",
        source="http://host.robots.ox.ac.uk/pascal/VOC/voc2007/",
        licence="Flickr's terms of use",
        citation="Everingham et al., The PASCAL Visual Object Classes (VOC) Challenge, IJCV 88, 2010",
        prior_compression="published as JPEG",
        compressed_before=("JPEG",),
        splits="train, val and test as published",
        items={"train": 2_501, "val": 2_510, "test": 4_952},
        shape=(375, 500, 3),
        files=remotes(f"""
            {_ADDRESS}/VOCtrainval_06-Nov-2007.tar 460032000 md5:c52e279531787c972589f7e41ab4ae64
            sha256:7d8cd951101b0957ddfd7a530bdc8a94f06121cfc1e511bb5937e973020c7508 by {_BY}
            {_ADDRESS}/VOCtest_06-Nov-2007.tar 451020800 md5:b6e924de25625d8de591ea690078ad9f
            sha256:6836888e2e01dca84577a849d339fa4f73e1e4f135d312430c4856b5609b4892 by {_BY}
        """),
        note="objects marked difficult are left out, as the published evaluation does not count them either",
    )

    def entries(self, root: Path) -> Iterator[Entry]:
        base = one(root, "VOC2007", self.name)
        for split in ("train", "val", "test"):
            for name in one(base, f"ImageSets/Main/{split}.txt", self.name).read_text().split():
                boxes, size = self._boxes(base / "Annotations" / f"{name}.xml")
                yield Entry(name, base / "JPEGImages" / f"{name}.jpg", split, {}, boxes=boxes, size=size)

    def _boxes(self, note: Path) -> tuple[tuple[Box, ...], tuple[int, int] | None]:
        """The boxes of an annotation, and the width and height of its picture where it states them."""
        try:
            root = ElementTree.parse(note)
            width, height = (int(root.findtext(f"size/{side}", "0")) for side in ("width", "height"))
            boxes = []
            for thing in root.findall("object"):
                if thing.findtext("difficult") == "1":
                    continue
                label = self.classes.index(thing.findtext("name", ""))
                left, top, right, bottom = (
                    float(thing.findtext(f"bndbox/{side}", "")) for side in ("xmin", "ymin", "xmax", "ymax")
                )
                # Pixels are counted from 1, and the last one belongs to the box.
                boxes.append(Box(left - 1, top - 1, right, bottom, label))
        except (OSError, ValueError, ElementTree.ParseError) as error:
            raise LossyBenchError(f"{note}: not an annotation of Pascal VOC ({error})") from None
        return tuple(boxes), (width, height) if width and height else None
