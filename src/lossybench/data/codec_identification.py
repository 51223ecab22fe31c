"""Which codec was it: what another task's compressed tables decode to, labelled with codec and level.

It is what a forensic reader asks of media whose files are gone. Koops, Micchi and Quinton (2024, "Robust lossy audio
compression identification", arXiv 2407.21545) show that networks answer it nearly always for codecs at the settings
that they have seen, and far less often at others.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from lossybench import codecs
from lossybench.artifacts import Rows, iter_rows, read_meta
from lossybench.conditions import Condition
from lossybench.data.dataset import SPLITS, Dataset, Description, Finding, Item
from lossybench.errors import LossyBenchError, naming
from lossybench.settings import MOST, Place, Settings

GRID = 16  # pixels: blocks and macroblocks of all codecs here begin at multiples of it


class Origin(Settings):
    """A condition of the other task: what one class is."""

    codec: str
    level: float
    titles: tuple[str, str] = Field(strict=False, description="what the codec is called, and both")
    train: Place | None = Field(description="the compressed items of the splits train and val; of unseen levels none")
    test: Place = Field(description="those of the split test")


class Source(Settings):
    """What the study knows of the other task."""

    medium: Literal["image", "audio", "video"]
    data: Place
    counts: dict[str, int] | None
    compressed_before: list[str]
    origins: list[Origin]


class CodecIdentification(Dataset):
    """Every item of another task of the study as each of its conditions gives it; the class is codec and level.

    An item keeps its split, so that no picture is in train and test in two versions, and its groups behind a first one,
    `item`, which all its versions share.
    """

    name = "codec_identification"
    medium = "image"  # of any: see `describe`
    kind = "classification"
    reads_task = True
    task: str = Field(description="the other task of the study, which has splits of its own")
    codecs: list[str] | None = Field(
        default=None, min_length=1, description="its codecs to be told apart, besides the original; all when left out"
    )
    tell: Literal["level", "codec"] = Field(
        default="level", description="what the classes are: codecs with their levels, or codecs alone"
    )
    unseen: dict[str, list[float]] = Field(
        default={}, description="its codecs to levels that are tested alone and never learnt from, with `tell: codec`"
    )
    train: int | None = Field(default=None, ge=1, le=MOST, description="its train items to take at most, drawn by seed")
    val: int | None = Field(default=None, ge=1, le=MOST, description="its val items to take at most")
    test: int | None = Field(default=None, ge=1, le=MOST, description="its test items to take at most")
    crop: int | None = Field(
        default=None,
        ge=GRID,
        le=4096,
        description="height and width of what is cut from the middle of pictures and frames, where blocks begin; "
        "smaller ones are left out. Whole when left out",
    )
    source: Source | None = Field(default=None, description="filled in by the study; leave it out")

    def describe(self, seed: int) -> Description:
        source = self._source()
        counts = None
        if source.counts is not None:
            taken = {split: self._most(split, count) for split, count in source.counts.items()}
            seen = sum(origin.train is not None for origin in source.origins)
            counts = {split: n * (len(source.origins) if split == "test" else seen) for split, n in taken.items()}
        card = {
            "title": f"The codecs behind the items of {self.task}",
            "source": f"the compressed tables of the task {self.task}",
            "licence": "that of the other task's items",
            "prior_compression": "that which is to be told",
        }
        classes = self._classes(source)
        before = tuple(source.compressed_before)
        told = tuple(classes)
        return Description(
            source.medium, self.kind, list(classes.values()), card, counts, compressed_before=before, conditions=told
        )

    def items(self, seed: int, left_out: list[Finding]) -> Iterator[Item]:
        source = self._source()
        if self.crop and source.medium == "audio":
            raise LossyBenchError("option 'crop': is for pictures and video; leave it out")
        about = Rows(source.data, ["id", "split", "shape", "sampling_rate", "groups"])
        chosen, labels = self._chosen(about, seed), list(self._classes(source))
        for part in ("train", "test"):
            origins = [origin for origin in source.origins if getattr(origin, part) is not None]
            tables = [Path(getattr(origin, part)) for origin in origins]
            metas = [read_meta(path) for path in tables]
            coders = [codecs.made(meta["codec"], meta["options"], meta.get("variant")) for meta in metas]
            rows = (iter_rows(path, ["id", "payload"]) for path in tables)
            for together in itertools.zip_longest(*rows, fillvalue={"id": None}):  # one that ends early has no id there
                name = together[0]["id"]
                for path, other in zip(tables, together, strict=True):
                    if other["id"] != name:
                        raise LossyBenchError(f"{path}: has other items than {tables[0]}; compress both again")
                if name not in chosen:
                    continue
                row = about[name]
                groups = {"item": name, **dict(row["groups"])}
                how = tuple(row["shape"]), row["sampling_rate"]
                for origin, path, coder, coded in zip(origins, tables, coders, together, strict=True):
                    with naming(f"{path}: item {name}"):
                        media = coder.decode(coded["payload"], *how)
                    cut = self._cut(media)
                    if cut is None:
                        text = f"is smaller than {self.crop} pixels"
                        left_out.append(Finding("too small to cut", "note", name, text, left_out=True))
                        break
                    id = f"{Condition(origin.codec, origin.level)}/{name}"
                    yield Item(id, row["split"], groups, cut, row["sampling_rate"], labels.index(self._class(origin)))

    def _source(self) -> Source:
        if self.source is None:
            raise LossyBenchError("reads another task's compressed tables, and is there within a study alone")
        return self.source

    def _class(self, origin: Origin) -> tuple[str, float | None]:
        return origin.codec, origin.level if self.tell == "level" else None

    def _classes(self, source: Source) -> dict[tuple[str, float | None], str]:
        """The classes, codec and level (None for all of them), and what each is called."""
        return {self._class(origin): origin.titles[self.tell == "level"] for origin in source.origins}

    def _most(self, split: str, count: int) -> int:
        most: int | None = getattr(self, split)
        return count if most is None else min(most, count)

    def _chosen(self, about: Rows, seed: int) -> set[str]:
        """The ids of the items that are taken: of each split as many as its option says, drawn by the seed."""
        of_split: dict[str, list[str]] = {split: [] for split in SPLITS}
        for name, row in about.items():
            of_split[row["split"]].append(name)
        found = [
            [names[place] for place in np.random.default_rng([seed, at]).permutation(len(names))]
            for at, names in enumerate(of_split.values())
        ]
        return set(
            itertools.chain.from_iterable(
                names[: self._most(split, len(names))] for split, names in zip(SPLITS, found, strict=True)
            )
        )

    def _cut(self, media: np.ndarray) -> np.ndarray | None:
        """The middle of a picture, or of a clip's frames, from where blocks begin; None where they are too small."""
        if not self.crop:
            return media
        height, width = media.shape[-3:-1]
        if min(height, width) < self.crop:
            return None
        top, left = ((side - self.crop) // 2 // GRID * GRID for side in (height, width))
        return np.ascontiguousarray(media[..., top : top + self.crop, left : left + self.crop, :])
