"""The 1,000 ImageNet-compatible images of the NIPS 2017 competition on adversarial examples."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from lossybench.data._published import Entry, Facts, one
from lossybench.data._published_images import PublishedImages


class ImagenetNips2017(PublishedImages):
    """Images of 299 x 299 to test on: those that images.csv lists. A copy with fewer needs `on_error: skip`.

    Classes are the numbers 0 to 999 of ImageNet's 1,000 classes; the file counts them from 1.
    """

    name = "imagenet_nips2017"
    kind = "classification"
    classes: ClassVar[list[str]] = [str(number) for number in range(1000)]
    facts = Facts(
        title="NIPS 2017 adversarial competition, development images",
        source="https://github.com/ZhengyuZhao/Targeted-Tansfer",
        licence="CC BY 2.0, by the authors named in images.csv",
        citation="Kurakin et al., Adversarial Attacks and Defences Competition, 2018",
        prior_compression="photographs from Flickr that were JPEG, cropped and scaled since, so that no 8 x 8 grid is "
        "left; published as PNG",
        compressed_before=("JPEG",),
        splits="test only",
        items={"test": 1_000},
        shape=(299, 299, 3),
        files=(),
    )

    def entries(self, root: Path) -> Iterator[Entry]:
        table = one(root, "images.csv", self.name)
        with table.open(newline="") as file:
            for row in csv.DictReader(file):
                image = table.parent / "images" / f"{row['ImageId']}.png"
                yield Entry(row["ImageId"], image, "test", {}, int(row["TrueLabel"]) - 1)
