"""German Traffic Sign Recognition Benchmark."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from lossybench.data._published import Entry, Facts, one
from lossybench.data._published_images import PublishedImages
from lossybench.data.download import remotes

_ADDRESS = "https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370"


class Gtsrb(PublishedImages):
    """Traffic signs of 15 to 250 pixels, mostly cut out tightly. Groups are tracks: 30 pictures of one sign.

    Training images lie in Training/ (the mended archive) or in Final_Training/Images/ (the first one).
    """

    name = "gtsrb"
    kind = "classification"
    classes: ClassVar[list[str]] = [
        "limit 20", "limit 30", "limit 50", "limit 60", "limit 70", "limit 80", "end of limit 80", "limit 100",
        "limit 120", "no passing", "no passing by trucks", "right of way", "priority road", "yield", "stop",
        "no vehicles", "no trucks", "no entry", "danger", "bend left", "bend right", "double bend", "bumpy road",
        "slippery road", "road narrows", "road works", "traffic lights", "pedestrians", "children", "bicycles", "ice",
        "wild animals", "end of all limits", "turn right", "turn left", "ahead only", "ahead or right",
        "ahead or left", "keep right", "keep left", "roundabout", "end of no passing", "end of no passing by trucks",
    ]  # fmt: skip
    facts = Facts(
        title="German Traffic Sign Recognition Benchmark",
        source="https://benchmark.ini.rub.de/gtsrb_news.html",
        licence="not stated",
        citation="Stallkamp et al., Man vs. computer: Benchmarking machine learning algorithms for traffic sign "
        "recognition, Neural Networks 32, 2012",
        prior_compression="unknown inside the camera; published as raw PPM",
        compressed_before=(),
        splits="train and test as published; val is whole tracks cut from train",
        items={"train": 26_640, "test": 12_630},
        shape=(50, 50, 3),
        files=remotes(f"""
            {_ADDRESS}/GTSRB-Training_fixed.zip md5:513f3c79a4c5141765e10e952eaa2478 by torchvision
            {_ADDRESS}/GTSRB_Final_Test_Images.zip md5:c7e4e6327067d32654124b0fe9e82185 by torchvision
            {_ADDRESS}/GTSRB_Final_Test_GT.zip md5:fe31e9c9270bbcd7b84b7f21a9d9d9e5 by torchvision
        """),
        note="the test images are of tracks of 30, too, but are published without them: each counts as a track of its "
        "own, so that intervals are too narrow",
    )

    def entries(self, root: Path) -> Iterator[Entry]:
        base = one(root, "Final_Test", self.name).parent
        training = base / "Training"
        if not training.is_dir():
            training = one(base, "Final_Training/Images", self.name)
        for label in range(len(self.classes)):
            for file in sorted((training / f"{label:05d}").glob("*.ppm")):
                track = f"{label:05d}/{file.stem.partition('_')[0]}"
                yield Entry(f"train/{label:05d}/{file.name}", file, "train", {"track": track}, label)
        truth = base / "Final_Test" / "GT-final_test.csv"
        if not truth.is_file():
            truth = one(root, truth.name, self.name)
        with truth.open(newline="") as table:
            for row in csv.DictReader(table, delimiter=";"):
                image = base / "Final_Test" / "Images" / row["Filename"]
                yield Entry(f"test/{image.name}", image, "test", {"track": f"test/{image.name}"}, int(row["ClassId"]))
