"""What CIFAR-10 and CIFAR-100 share: the binary version's records, of label bytes and 32 x 32 pixels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from lossybench.data._published import Entry, Facts, PublishedDataset, one
from lossybench.data.download import remotes
from lossybench.errors import LossyBenchError

PIXELS = 3 * 32 * 32


def facts(title: str, files: str) -> Facts:
    """The facts of a set by its title. files: the listing of its archive, see download.remotes."""
    return Facts(
        title=title,
        source="https://www.cs.toronto.edu/~kriz/cifar.html",
        licence="not stated",
        citation="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, University of Toronto, 2009",
        prior_compression="photographs from the web, as a rule JPEG, scaled down to 32 x 32 since, which leaves little "
        "of it; published as raw pixels",
        compressed_before=("JPEG",),
        splits="train and test as published; val is cut from train",
        items={"train": 50_000, "test": 10_000},
        shape=(32, 32, 3),
        files=remotes(files),
    )


class Cifar(PublishedDataset):
    """Records are read one at a time, of the binary version: the other one consists of pickles, which can run code."""

    medium = "image"
    kind = "classification"
    folder: ClassVar[str]
    names: ClassVar[str]  # the file with the class names
    label_bytes: ClassVar[int]  # at the start of a record; the last of them is the class

    def entries(self, root: Path) -> Iterator[Entry]:
        folder = one(root, self.folder, self.name)
        titles = one(folder, self.names, self.name).read_text().split()
        if titles != self.classes:
            raise LossyBenchError(f"{folder / self.names}: its classes are not those of {self.facts.title}")
        for file in sorted(folder.glob("*.bin")):
            split = "test" if file.stem.startswith("test") else "train"
            size = self.label_bytes + PIXELS
            content = np.memmap(file, np.uint8, "r")
            if content.size % size:
                raise LossyBenchError(f"{file}: {content.size} bytes are no whole records of {size}; it was cut short")
            labels = content.reshape(-1, size)[:, self.label_bytes - 1]
            if labels.max() >= len(self.classes):
                raise LossyBenchError(f"{file}: label {labels.max()} is none of the {len(self.classes)} classes")
            for index, label in enumerate(labels.tolist()):
                id = f"{file.stem}/{index:05d}"
                yield Entry(id, file, split, {}, label, (), index, index + 1)

    def decode(self, entry: Entry) -> tuple[np.ndarray, float]:
        with entry.path.open("rb") as file:
            file.seek(entry.start * (self.label_bytes + PIXELS) + self.label_bytes)
            planes = np.frombuffer(file.read(PIXELS), np.uint8).reshape(3, 32, 32)
        return np.ascontiguousarray(planes.transpose(1, 2, 0)), 0.0
