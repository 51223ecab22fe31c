"""MOT17Det: pedestrians in street videos."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from lossybench.data import _mot
from lossybench.data._published import Entry, Facts, PublishedDataset, one
from lossybench.data.download import remotes


class Mot17Det(_mot.MotClips, PublishedDataset):
    """The seven labelled sequences, 5,316 frames, cut into clips. The labels of the published test are not public."""

    name = "mot17det"
    classes: ClassVar[list[str]] = ["pedestrian"]
    facts = Facts(
        title="MOT17Det (MOT Challenge 2017, detection)",
        source="https://motchallenge.net/data/MOT17Det/",
        licence="CC BY-NC-SA 3.0",
        citation="Milan et al., MOT16: A Benchmark for Multi-Object Tracking, arXiv 1603.00831, 2016",
        prior_compression="video of cameras and of the web, whose coding came first; published as JPEG frames",
        compressed_before=("camera and web video", "JPEG"),
        splits="the published train only: shares of each sequence's time with gaps between, or whole sequences",
        items={},
        shape=(16, 1080, 1920, 3),
        files=remotes("https://motchallenge.net/data/MOT17Det.zip"),
        note="objects that the benchmark does not count, or of another class, are left out",
    )

    def entries(self, root: Path) -> list[Entry]:
        return self.clips(_mot.find_sequences(one(root, "train", self.name), self.name), self.classes)
