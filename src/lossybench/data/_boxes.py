"""Boxes and the pictures that they were drawn on: what the adapters of detection share."""

from __future__ import annotations

import collections
import math
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lossybench.data import _images
from lossybench.data._files import Entry
from lossybench.data.dataset import Box, Finding, Severity, needed
from lossybench.errors import LossyBenchError, shown

TINY = 2.0  # pixels of a side; a smaller box is no object to learn from
_NAMED = 3  # places in a file that are named of each thing that is odd about many boxes


class Odd(NamedTuple):
    """What may be odd about many boxes of a file: how severe it is, and what is said of them after their number.

    severity: None for that of a fault.
    """

    severity: Severity | None
    text: str
    left_out: bool = False


ODD = {
    "box listed twice": Odd("warning", "state the same box of the same class again and are left out", left_out=True),
    "one box, two classes": Odd("note", "state the box of another class again; both are kept"),
    "box beyond the picture": Odd("note", "reach beyond their picture and are clipped to it"),
    "box outside the picture": Odd("note", "lie outside their picture and are left out", left_out=True),
    "row beyond the sequence": Odd(None, "are of frames beyond the last one (seqLength)", left_out=True),
    "track twice in a frame": Odd("warning", "have the track of another box in the same frame"),
    "tiny box": Odd("warning", f"are less than {TINY:g} pixels wide or high"),
    "box as large as the picture": Odd("note", "cover all of their picture"),
}


class Boxes:
    """The boxes of one file of annotations, by picture, and an account of what is odd about them.

    file: the annotations. name: what the place of each in the file is called, by its number. fault: how severe one is.
    """

    def __init__(self, file: Path, name: Callable[[int], str], fault: Severity) -> None:
        self._file, self._name, self._fault = file, name, fault
        self._made: dict[Hashable, list[tuple[int, Box]]] = collections.defaultdict(list)
        self._places: dict[str, list[int]] = collections.defaultdict(list)
        self._counts: collections.Counter[str] = collections.Counter()
        self._farthest = 0.0

    def odd(self, kind: str, at: int) -> None:
        """Count the box at the place `at` in the file as one of a `kind` of ODD."""
        self._counts[kind] += 1
        if self._counts[kind] <= _NAMED:
            self._places[kind].append(at)

    def add(self, at: int, picture: Hashable, sides: Any, size: tuple[int, int] | None, label: int) -> bool:
        """Clip a box to its picture and keep it; False where there is nothing of it in the picture.

        at: its place in the file. picture: its key, as of `distinct`. sides: left, top,
        width and height in pixels. size: the picture's (width, height); None where it is not known, and then only the
        upper and left edges clip. Raises LossyBenchError for `sides` that are no box.
        """
        numbers = [number(side) for side in sides] if isinstance(sides, list | tuple) else []
        given = [side for side in numbers if side is not None]
        if len(numbers) != 4 or len(given) != 4:
            raise LossyBenchError(f"its box {shown(sides)} is not four numbers: left, top, width, height")
        x, y, wide, high = given
        if wide < 0 or high < 0:
            raise LossyBenchError(f"its box {shown(sides)} has a negative width or height")
        width, height = size or (math.inf, math.inf)
        x0, y0, x1, y1 = max(x, 0.0), max(y, 0.0), min(x + wide, width), min(y + high, height)
        if x0 >= x1 or y0 >= y1:
            return False
        if (beyond := max(-x, -y, x + wide - width, y + high - height)) > 0:
            self._farthest = max(self._farthest, beyond)
            self.odd("box beyond the picture", at)
        if min(x1 - x0, y1 - y0) < TINY:
            self.odd("tiny box", at)
        if (x0, y0, x1, y1) == (0, 0, width, height):
            self.odd("box as large as the picture", at)
        self._made[picture].append((at, Box(x0, y0, x1, y1, label)))
        return True

    def distinct(self) -> dict[Any, tuple[Box, ...]]:
        """The boxes of each picture, in the order in which they came; those that came before are left out."""
        found = {}
        for picture, made in self._made.items():
            labels: dict[tuple[float, ...], list[int]] = {}
            kept = []
            for at, box in made:
                others = labels.setdefault((box.x0, box.y0, box.x1, box.y1), [])
                if box.label in others:
                    self.odd("box listed twice", at)
                    continue
                if others:
                    self.odd("one box, two classes", at)
                others.append(box.label)
                kept.append(box)
            found[picture] = tuple(kept)
        return found

    def findings(self) -> list[Finding]:
        """One of each kind of odd box, with their number and the places of the first."""
        found = []
        for kind, places in self._places.items():
            severity, text, left_out = ODD[kind]
            count, more = self._counts[kind], self._counts[kind] - len(places)
            named = f"{', '.join(map(self._name, places))}{f' and {more} more' * (more > 0)}"
            if kind == "box beyond the picture":
                text += f", the farthest by {self._farthest:.4g} pixels"
            found.append(
                Finding(kind, severity or self._fault, str(self._file), f"{count} boxes ({named}) {text}", left_out)
            )
        return found


def number(value: Any) -> float | None:
    """`value` as a finite number; None for whatever else it is. True and False are no numbers."""
    try:
        found = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def parsed(text: str) -> float | None:
    """The number that `text` spells in the manner of most programs; None where it spells none that is finite."""
    try:
        return number(float(text)) if "_" not in text else None
    except ValueError:
        return None


def read(path: Path, size: tuple[int, int] | None, bit_depth: int | None = None) -> np.ndarray:
    """uint8 (H, W, 3) RGB of the image file `path`, turned or not as it was when boxes were drawn on it.

    size: the (width, height) that the annotations state. Where that is the size of the picture as EXIF turns it, the
    picture is turned; where it is the stored size, it is not; where it is both, or None, it is turned (see `look`).
    bit_depth: as in `_images.read`.
    Raises LossyBenchError when it is neither, and when the file cannot be read.
    """
    sizes = []
    for turn in (True, False):
        picture = _images.read(path, bit_depth, turn)
        sizes.append(f"{picture.shape[1]} x {picture.shape[0]}")
        if size in (None, (picture.shape[1], picture.shape[0])):
            return picture
    turned, stored = sizes
    also = f" ({turned} as EXIF turns it)" if turned != stored else ""
    stated = "{} x {}".format(*size) if size else ""
    raise LossyBenchError(
        f"{path}: is {stored} pixels{also}, but its annotations say {stated}; boxes must be of this very file"
    )


def look(path: Path, size: tuple[int, int] | None, bit_depth: int | None = None) -> list[Finding]:
    """What is odd about a picture that `read` reads, by its header."""
    findings = _images.look(path, bit_depth)
    orientation = _images.orientation(path)
    # From 5 on, width and height change places; up to 4 the picture is mirrored or put on its head.
    if orientation > 1 and (orientation < 5 or size is None or size[0] == size[1]):
        text = (
            f"EXIF (orientation {orientation}) turns it, and no size in the annotations tells whether boxes are of the "
            "turned picture, which is taken; if they are not, remove the orientation from the file"
        )
        findings.append(Finding("picture turned by EXIF", "warning", str(path), text))
    return findings


def of_sets(name: str, classes: list[str], entries: Iterable[Entry]) -> list[Finding]:
    """Which splits lack boxes, and which classes lack them in some split. name: of the data set."""
    counts: collections.Counter[tuple[str, int]] = collections.Counter()
    splits = set()
    for entry in entries:
        splits.add(entry.split)
        counts.update((entry.split, box.label) for box in entry.boxes)
    wanted = [split for split in needed(splits) if split in splits]
    filled = [split for split in wanted if any(counts[split, label] for label in range(len(classes)))]
    findings = []
    for split in wanted:
        if split not in filled:
            text = f"no item of split {split!r} has a box: nothing can be {'found' if split == 'test' else 'learnt'}"
            severity: Severity = "warning" if split == "val" else "error"
            findings.append(Finding("split without boxes", severity, f"data set {name!r}", text))
    for label, title in enumerate(classes):
        lacking = [split for split in filled if not counts[split, label]]
        if lacking:
            # Data to test an existing model on need not show all that it knows.
            severity = "warning" if "train" in splits else "note"
            text = f"has no box in {', '.join(lacking)}"
            findings.append(Finding("class without boxes", severity, f"class {title!r}", text))
    return findings
