"""Imagenette: ten easily told classes of ImageNet."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from lossybench.data import _images
from lossybench.data._published import Entry, Facts, PublishedDataset, one
from lossybench.data.download import Remote

# WordNet ids, in the order of the labels.
_IDS = [
    "n01440764", "n02102040", "n02979186", "n03000684", "n03028079", "n03394916", "n03417042", "n03425413",
    "n03445777", "n03888257",
]  # fmt: skip
_ADDRESS = "https://s3.amazonaws.com/fast-ai-imageclas"
_BY = "torchvision (MD5), TensorFlow Datasets (SHA-256)"
_FILES = {
    "full": Remote(
        f"{_ADDRESS}/imagenette2.tgz",
        (
            "md5:fe2fc210e6bb7c5664d602c3cd71e612",
            "sha256:de32de18a7d8df0114d5e2c3c14cafb9558e8f00441a73aa7953681ad02be49c",
        ),
        1_556_914_727,
        _BY,
    ),
    "320px": Remote(
        f"{_ADDRESS}/imagenette2-320.tgz",
        (
            "md5:3df6f0d01a2c9592104656642f5e78a3",
            "sha256:5020a9130cea0348272823cb12d2db7e981c6f2afa3dce71ccd5b8013005c55e",
        ),
        341_553_947,
        _BY,
    ),
    "160px": Remote(
        f"{_ADDRESS}/imagenette2-160.tgz",
        (
            "md5:e793b78cc4c9e9a4ccc0c1155377a412",
            "sha256:88daccb09b6fce93f45e6c09ddeb269cce705549e6bff322092a2a5a11489863",
        ),
        98_948_031,
        _BY,
    ),
}


class Imagenette(PublishedDataset):
    """13,394 images; the published val is test, since it is what results are reported on; val is cut from train."""

    name = "imagenette"
    medium = "image"
    kind = "classification"
    classes: ClassVar[list[str]] = [
        "tench", "English springer", "cassette player", "chain saw", "church", "French horn", "garbage truck",
        "gas pump", "golf ball", "parachute",
    ]  # fmt: skip
    facts = Facts(
        title="Imagenette (version 2)",
        source="https://github.com/fastai/imagenette",
        licence="Apache-2.0 for the selection; the images under ImageNet's terms",
        citation="Howard, Imagenette: a subset of 10 easily classified classes from Imagenet, 2019",
        prior_compression="published as JPEG; 320px and 160px were scaled down from JPEG and compressed again",
        compressed_before=("JPEG",),
        splits="published train and val; val is test here, and val is cut from train",
        items={"train": 9_469, "test": 3_925},
        shape=(320, 427, 3),
        files=tuple(_FILES.values()),
    )
    size: Literal["full", "320px", "160px"] = Field("320px", description="shorter side of the published images")

    @property
    def shape(self) -> tuple[int, ...]:
        """See PublishedDataset."""
        return {"full": (375, 500, 3), "320px": (320, 427, 3), "160px": (160, 213, 3)}[self.size]

    @property
    def files(self) -> tuple[Remote, ...]:
        """See PublishedDataset."""
        return (_FILES[self.size],)

    def entries(self, root: Path) -> list[Entry]:
        """See PublishedDataset."""
        found: list[Entry] = []
        for published, split in (("train", "train"), ("val", "test")):
            folder = one(root, published, self.name)
            for label, wordnet in enumerate(_IDS):
                for file in sorted((folder / wordnet).glob("*.JPEG")):
                    id = f"{published}/{wordnet}/{file.name}"
                    found.append(Entry(id, file, split, id, label))
        return found

    def decode(self, entry: Entry) -> tuple[np.ndarray, float]:
        """See PublishedDataset."""
        return _images.read(entry.path), 0.0
