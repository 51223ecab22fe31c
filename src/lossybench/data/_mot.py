"""Sequences in the layout of the MOT challenges, cut into clips (https://motchallenge.net/instructions).

    sequence/seqinfo.ini, sequence/img1/000001.jpg ..., sequence/gt/gt.txt

A line of gt.txt states frame, track, left, top, width, height, whether the object counts, class and visibility. The
lines of 2015 end with -1, -1, -1 instead, and all objects are pedestrians.
"""

from __future__ import annotations

import collections
import configparser
import csv
import dataclasses
import itertools
from pathlib import Path

import numpy as np
from pydantic import Field, model_validator

from lossybench.data import _images
from lossybench.data._files import SHARES, Entry, FileDataset
from lossybench.data.dataset import SPLITS, Box
from lossybench.errors import LossyBenchError

# The classes by their numbers in the challenges of 2016 and later.
OBJECTS = {
    "pedestrian": 1, "person_on_vehicle": 2, "car": 3, "bicycle": 4, "motorbike": 5, "non_motorised_vehicle": 6,
    "static_person": 7, "distractor": 8, "occluder": 9, "occluder_on_ground": 10, "occluder_full": 11, "reflection": 12,
    "crowd": 13,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Sequence:
    """One sequence as its seqinfo.ini states it."""

    folder: Path
    images: Path
    sampling_rate: float
    frames: int
    width: int
    height: int
    suffix: str


class MotClips(FileDataset):
    """Options of what is cut from MOT sequences. Each clip is an item; its group is the sequence."""

    medium = "video"
    kind = "detection"
    clip_frames: int = Field(16, ge=1, description="frames in each clip; clips do not overlap")
    every: int = Field(1, ge=1, description="keep every n-th frame")
    fractions: dict[str, float] = Field(
        SHARES, description="shares of each sequence's time that are train, val and test, in this order"
    )
    gap: int = Field(
        50, ge=0, description="frames left out between train, val and test, which are near-duplicates otherwise"
    )
    sequences: dict[str, list[str]] = Field(
        {}, description="names of whole sequences for train, val and test, instead of shares of each"
    )
    visibility: float = Field(0.0, ge=0, le=1, description="least visible share of objects that count, where stated")

    @model_validator(mode="after")
    def _whole(self) -> MotClips:
        shares = self.fractions
        if set(shares) != set(SPLITS) or min(shares.values()) <= 0 or abs(sum(shares.values()) - 1) > 1e-6:
            raise ValueError("fractions: give train, val and test, each above 0 and together 1")
        if self.sequences and set(self.sequences) != set(SPLITS):
            raise ValueError("sequences: give names for train, val and test, or leave it out")
        return self

    def clips(self, folders: list[Path], objects: list[str]) -> list[Entry]:
        """The clips of the sequences in the `folders`, with the boxes of the `objects`: names of OBJECTS.

        Raises LossyBenchError, naming the file, for what is not as the layout says, and for a split without clips.
        """
        names = [folder.name for folder in folders]
        for name in itertools.chain(*self.sequences.values()):
            if name not in names:
                raise LossyBenchError(f"data set {self.name!r}: sequences: no {name!r}; there are {', '.join(names)}")
        found: list[Entry] = []
        for folder in folders:
            sequence = read_sequence(folder)
            boxes = read_boxes(sequence, objects, self.visibility)
            for split, first, last in self._spans(sequence):
                length = self.clip_frames * self.every
                # The last frame of a clip need not be followed by those that would be skipped.
                for start in range(first, last - (self.clip_frames - 1) * self.every, length):
                    kept = range(start, start + length, self.every)
                    id = f"{folder.name}/{start + 1:06d}"
                    file = sequence.images / f"{start + 1:06d}{sequence.suffix}"
                    marked = tuple(
                        dataclasses.replace(box, frame=index)
                        for index, frame in enumerate(kept)
                        for box in boxes[frame]
                    )
                    found.append(Entry(id, file, split, folder.name, -1, marked, start, start + length))
        for split in SPLITS:
            if not any(entry.split == split for entry in found):
                raise LossyBenchError(
                    f"data set {self.name!r}: no clip of {self.clip_frames} frames, every {self.every}, fits into "
                    f"split {split!r}; make clips or the gap shorter, or the split's share larger"
                )
        return found

    def _spans(self, sequence: Sequence) -> list[tuple[str, int, int]]:
        """The split, first frame and one past the last, counted from 0, of each part of a sequence."""
        if self.sequences:
            return [(s, 0, sequence.frames) for s, names in self.sequences.items() if sequence.folder.name in names]
        ends = np.rint(np.cumsum([self.fractions[split] for split in SPLITS]) * sequence.frames).astype(int).tolist()
        starts = [0, *(end + self.gap for end in ends[:-1])]
        return list(zip(SPLITS, starts, ends, strict=True))

    def decode(self, entry: Entry) -> tuple[np.ndarray, float]:
        """The frames of a clip that `clips` made, uint8 (frames, H, W, 3) RGB, and frames/s.

        Raises LossyBenchError, naming the file, for a frame that cannot be read or is of another size.
        """
        assert entry.stop is not None
        rate = read_sequence(entry.path.parent.parent).sampling_rate / self.every
        numbers = range(entry.start + 1, entry.stop + 1, self.every)
        frames = [_images.read(entry.path.with_name(f"{number:06d}{entry.path.suffix}")) for number in numbers]
        if len({frame.shape for frame in frames}) > 1:
            raise LossyBenchError(f"{entry.path}: the frames after it differ in size")
        return np.stack(frames), rate


def find_sequences(root: Path, what: str) -> list[Path]:
    """Folders of sequences: `root` itself, or those in it. Raises LossyBenchError, for the data set `what`, if none."""
    found = sorted(file.parent for file in [*root.glob("seqinfo.ini"), *root.glob("*/seqinfo.ini")])
    if not found:
        raise LossyBenchError(f"data set {what!r}: {root} holds no sequence: no seqinfo.ini in it or one folder below")
    return found


def read_sequence(folder: Path) -> Sequence:
    """What seqinfo.ini in `folder` says. Raises LossyBenchError when that file is missing or incomplete."""
    file = folder / "seqinfo.ini"
    parser = configparser.ConfigParser()
    try:
        parser.read_string(file.read_text())
        stated = parser["Sequence"]
        images, rate, suffix = folder / stated["imDir"], float(stated["frameRate"]), stated["imExt"]
        frames, width, height = (int(stated[key]) for key in ("seqLength", "imWidth", "imHeight"))
        return Sequence(folder, images, rate, frames, width, height, suffix)
    except (OSError, KeyError, ValueError, configparser.Error) as error:
        raise LossyBenchError(f"{file}: not the seqinfo.ini of a MOT sequence ({error})") from None


def read_boxes(sequence: Sequence, objects: list[str], visibility: float) -> dict[int, list[Box]]:
    """The boxes of each frame, counted from 0, clipped to the picture. objects: names of OBJECTS, in order of labels.

    visibility: the least visible share of an object, where it is stated. Raises LossyBenchError for a broken gt.txt.
    """
    file = sequence.folder / "gt" / "gt.txt"
    label_of = {OBJECTS[title]: label for label, title in enumerate(objects)}
    found: dict[int, list[Box]] = collections.defaultdict(list)
    try:
        with file.open(newline="") as lines:
            for row in csv.reader(lines):
                frame, left, top, wide, high = int(row[0]), *map(float, row[2:6])
                kind, seen = (int(row[7]), float(row[8])) if len(row) == 9 else (OBJECTS["pedestrian"], 1.0)
                if float(row[6]) == 0 or kind not in label_of or seen < visibility:
                    continue
                x0, y0 = max(left, 0.0), max(top, 0.0)
                x1, y1 = min(left + wide, sequence.width), min(top + high, sequence.height)
                if x0 < x1 and y0 < y1:
                    found[frame - 1].append(Box(x0, y0, x1, y1, label_of[kind]))
    except (OSError, ValueError, IndexError) as error:
        raise LossyBenchError(f"{file}: not the gt.txt of a MOT sequence ({error})") from None
    return found
