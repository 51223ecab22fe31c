"""Imagenette: ten classes of ImageNet that are easy to tell apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from lossybench.data._published import Entry, Facts, one
from lossybench.data._published_images import PublishedImages
from lossybench.data.download import Remote, remotes

# WordNet ids, in the order of the labels.
_IDS = [
    "n01440764", "n02102040", "n02979186", "n03000684", "n03028079", "n03394916", "n03417042", "n03425413",
    "n03445777", "n03888257",
]  # fmt: skip
_ADDRESS = "https://s3.amazonaws.com/fast-ai-imageclas"
_BY = "torchvision (MD5), TensorFlow Datasets (SHA-256)"
_FILES = remotes(f"""
    {_ADDRESS}/imagenette2.tgz 1556914727 md5:fe2fc210e6bb7c5664d602c3cd71e612
    sha256:de32de18a7d8df0114d5e2c3c14cafb9558e8f00441a73aa7953681ad02be49c by {_BY}
    {_ADDRESS}/imagenette2-320.tgz 341553947 md5:3df6f0d01a2c9592104656642f5e78a3
    sha256:5020a9130cea0348272823cb12d2db7e981c6f2afa3dce71ccd5b8013005c55e by {_BY}
    {_ADDRESS}/imagenette2-160.tgz 98948031 md5:e793b78cc4c9e9a4ccc0c1155377a412
    sha256:88daccb09b6fce93f45e6c09ddeb269cce705549e6bff322092a2a5a11489863 by {_BY}
""")


class Imagenette(PublishedImages):
    """13,394 images. The published val is test here, since results are reported on it; val is cut from train."""

    name = "imagenette"
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
        files=_FILES,
    )
    size: Literal["full", "320px", "160px"] = Field("320px", description="shorter side of the published images")

    @property
    def shape(self) -> tuple[int, ...]:
        return {"full": (375, 500, 3), "320px": (320, 427, 3), "160px": (160, 213, 3)}[self.size]

    @property
    def files(self) -> tuple[Remote, ...]:
        return (_FILES[("full", "320px", "160px").index(self.size)],)

    def entries(self, root: Path) -> Iterator[Entry]:
        for published, split in (("train", "train"), ("val", "test")):
            folder = one(root, published, self.name)
            for label, wordnet in enumerate(_IDS):
                for file in sorted((folder / wordnet).glob("*.JPEG")):
                    id = f"{published}/{wordnet}/{file.name}"
                    yield Entry(id, file, split, {}, label)
