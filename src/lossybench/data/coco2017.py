"""COCO 2017: objects of eighty classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from lossybench.data._published import Entry, Facts, one
from lossybench.data._published_boxes import PublishedBoxes
from lossybench.data.coco import parse
from lossybench.data.dataset import Finding
from lossybench.data.download import remotes
from lossybench.errors import LossyBenchError

_ADDRESS = "http://images.cocodataset.org"
_BY = "TensorFlow Datasets (SHA-256), PaddleDetection (MD5)"


class Coco2017(PublishedBoxes):
    """123,287 images. The published val is test here, since test's labels are not public; val is cut from train."""

    name = "coco2017"
    classes: ClassVar[list[str]] = [
        "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
        "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
        "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
        "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
        "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
        "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
        "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone",
        "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear",
        "hair drier", "toothbrush",
    ]  # fmt: skip
    facts = Facts(
        title="COCO 2017",
        source="https://cocodataset.org",
        licence="annotations CC BY 4.0; images under Flickr's terms of use",
        citation="Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014",
        prior_compression="published as JPEG",
        compressed_before=("JPEG",),
        splits="published train and val; val is test here, and val is cut from train",
        items={"train": 118_287, "test": 5_000},
        shape=(480, 640, 3),
        files=remotes(f"""
            {_ADDRESS}/annotations/annotations_trainval2017.zip 252907541
            sha256:113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268
            md5:f4bbac642086de4f52a3fdda2de5fa2c by {_BY}
            {_ADDRESS}/zips/train2017.zip 19336861798
            sha256:69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929
            md5:cced6f7f71b7629ddf16f17bbcfab6b2 by {_BY}
            {_ADDRESS}/zips/val2017.zip 815585330
            sha256:4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05
            md5:442b8da7639aecaf257c1dceb8ba8c80 by {_BY}
        """),
        note="boxes of crowds, and boxes that cover nothing, are left out",
    )

    def entries(self, root: Path) -> Iterator[Entry | Finding]:
        for published, split in (("train", "train"), ("val", "test")):
            notes = one(root, f"annotations/instances_{published}2017.json", self.name)
            # Some of the published boxes cover nothing; no user can mend that.
            found = parse(notes, one(root, f"{published}2017", self.name), published, "warning")
            if found.classes != self.classes:
                raise LossyBenchError(f"{notes}: its categories are not those of {self.facts.title}")
            yield from found.findings
            yield from (dataclasses.replace(entry, split=split) for entry in found.entries)

    def _counts(self, seed: int) -> dict[str, int]:
        self._fetch()
        return self._announced()  # to read the annotations takes a quarter of a minute
