"""MOT17Det: pedestrians in street videos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from lossybench.data import _boxes, _mot
from lossybench.data._published import Entry, Facts, PublishedDataset, Survey, one
from lossybench.data.dataset import Finding
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

    def survey(self, seed: int) -> Survey:
        found = super().survey(seed)
        return found._replace(findings=found.findings + _boxes.of_sets(self.name, found.classes, found.entries))

    def entries(self, root: Path) -> Iterator[Entry | Finding]:
        yield from self.clips(one(root, "train", self.name), {"pedestrian": 1}, "mot17")
