"""Sequences in the layout of the MOT challenges, cut into clips (https://motchallenge.net/instructions).

    sequence/seqinfo.ini, sequence/img1/000001.jpg ..., sequence/gt/gt.txt

or with a video file in place of the folder of frames, which imDir of seqinfo.ini then names.
A line of gt.txt states frame, track, left, top, width, height and what more its dialect has (see DIALECTS).
"""

from __future__ import annotations

import collections
import configparser
import dataclasses
import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from lossybench.data import _boxes, _images, _videos
from lossybench.data._files import SHARES, Entry, FileDataset
from lossybench.data.dataset import SPLITS, Box, Finding, Severity
from lossybench.errors import LossyBenchError, shown
from lossybench.settings import MOST

Dialect = Literal["mot15", "mot17", "visdrone"]
# The classes by their numbers, in the order of these.
DIALECTS: dict[Dialect, dict[str, int]] = {
    # Of 2015: whether the object counts, and its place in the world or -1, -1, -1. All objects are pedestrians.
    "mot15": {"pedestrian": 1},
    # Of 2016 and later: whether the object counts, its class and visible share.
    "mot17": {
        "pedestrian": 1, "person_on_vehicle": 2, "car": 3, "bicycle": 4, "motorbike": 5, "non_motorised_vehicle": 6,
        "static_person": 7, "distractor": 8, "occluder": 9, "occluder_on_ground": 10, "occluder_full": 11,
        "reflection": 12, "crowd": 13,
    },
    # Of VisDrone-VID and -MOT: whether the object counts, its class, truncation and occlusion.
    "visdrone": {
        "ignored_region": 0, "pedestrian": 1, "people": 2, "bicycle": 3, "car": 4, "van": 5, "truck": 6, "tricycle": 7,
        "awning_tricycle": 8, "bus": 9, "motor": 10, "others": 11,
    },
}  # fmt: skip
_SLOWEST, _FASTEST = 0.001, 1000.0  # frames/s


@dataclasses.dataclass(frozen=True)
class SequenceInfo:
    """One sequence as its seqinfo.ini states it.

    images: the folder of the frames, or a video file. suffix: of the frames' files, in lower case. size: (width,
    height).
    """

    folder: Path
    images: Path
    sampling_rate: float
    frames: int
    size: tuple[int, int]
    suffix: str


class Truth(NamedTuple):
    """What a gt.txt holds. boxes: by frame, counted from 0. spoilt: the frames whose boxes are not all known.

    unused: how many rows of which classes are no objects to find, in words.
    """

    boxes: dict[int, tuple[Box, ...]]
    spoilt: set[int]
    findings: list[Finding]
    unused: str


class MotClips(FileDataset):
    """Options of what is cut from MOT sequences. Each clip is an item, and the clips of a sequence are a group."""

    medium = "video"
    kind = "detection"
    clip_frames: int = Field(16, ge=1, le=MOST, description="frames in each clip; clips do not overlap")
    every: int = Field(1, ge=1, le=MOST, description="keep every n-th frame")
    fractions: dict[str, float] = Field(
        SHARES, description="shares of each sequence's time that are train, val and test, in this order"
    )
    gap: int = Field(
        50,
        ge=0,
        le=MOST,
        description="frames left out between train, val and test, which are near-duplicates otherwise",
    )
    sequences: dict[str, list[str]] = Field(
        {}, description="names of whole sequences for train, val and test, instead of shares of each"
    )
    visibility: float = Field(0.0, ge=0, le=1, description="least visible share of objects that count, where stated")
    bit_depth: int | None = _images.BIT_DEPTH

    @model_validator(mode="after")
    def _whole(self) -> MotClips:
        shares = self.fractions
        if set(shares) != set(SPLITS) or min(shares.values()) <= 0 or abs(sum(shares.values()) - 1) > 1e-6:
            raise ValueError("fractions: give train, val and test, each above 0 and together 1")
        if self.sequences and set(self.sequences) != set(SPLITS):
            raise ValueError("sequences: give names for train, val and test, or leave it out")
        return self

    def clips(
        self, root: Path, objects: Mapping[str, int], dialect: Dialect | None, own: bool = False
    ) -> Iterator[Entry | Finding]:
        """The clips of the sequences in the folder `root`, and what is odd. A clip with a fault is left out.

        objects: the numbers of the classes that are to be found, in the order of their labels. dialect: of gt.txt; None
        to tell it from each. own: whether the numbers are the user's own, rather than those of the dialect.
        Raises LossyBenchError for a folder without sequences, and for names in `sequences` that it lacks.
        """
        folders, findings = find_sequences(root, self.name)
        yield from findings
        names = [folder.name for folder in folders]
        placed = list(itertools.chain(*self.sequences.values()))
        for name in placed:
            if name not in names:
                raise LossyBenchError(f"data set {self.name!r}: sequences: no {name!r}; there are {', '.join(names)}")
        if len(set(placed)) < len(placed):
            twice = next(name for name in placed if placed.count(name) > 1)
            raise LossyBenchError(f"data set {self.name!r}: sequences: {twice!r} is there twice; name it once")
        present, idle = set(), []
        readable = busy = False
        for folder in folders:
            if placed and folder.name not in placed:
                text = "is in none of `sequences` and is left out"
                yield Finding("sequence in no split", "note", str(folder), text, left_out=True)
                continue
            try:
                sequence = read_sequence(folder)
                files = frame_files(sequence)
                truth = read_boxes(sequence, objects, dialect, own, self.visibility, self.fault)
            except LossyBenchError as error:
                text = str(error).removeprefix(f"{folder}/")
                yield Finding("wrong sequence", self.fault, str(folder), text, left_out=True)
                continue
            readable = True
            yield from truth.findings
            busy |= bool(truth.boxes)
            if not truth.boxes:
                idle.append((folder, f"no row is an object to find ({', '.join(objects)}); there are: {truth.unused}"))
            missing = _missing(sequence, files)
            if missing:
                text = f"lacks {missing} of the {sequence.frames} frames that seqinfo.ini states (seqLength)"
                yield Finding("missing frames", self.fault, str(sequence.images), text, left_out=True)
            if beyond := sum(number > sequence.frames for number in files):
                text = (
                    f"has {beyond} frames beyond the {sequence.frames} of seqinfo.ini (seqLength), which are left out"
                )
                yield Finding("more frames than stated", "warning", str(sequence.images), text, left_out=True)
            for split, first, last in self._spans(folder.name, min(sequence.frames, max(files))):
                for clip in self._cut(sequence, files, truth, first, last):
                    present.add(split)
                    yield dataclasses.replace(clip, split=split)
        for folder, text in idle:
            yield Finding("no object to find", "warning" if busy else "error", str(folder / "gt" / "gt.txt"), text)
        if not readable:
            text = "none of its sequences can be read"
            yield Finding("no sequence", "error", f"data set {self.name!r}", text)
        for split in SPLITS:
            if readable and split not in present:
                text = (
                    f"no clip of {self.clip_frames} frames, every {self.every}, fits into split {split!r}; make clips "
                    "or the gap shorter, or the split's share larger"
                )
                yield Finding("empty split", "error", f"data set {self.name!r}", text)

    def _cut(
        self, sequence: SequenceInfo, files: Mapping[int, Path], truth: Truth, first: int, last: int
    ) -> Iterator[Entry]:
        """The clips of frames from `first` to before `last`, counted from 0, where all frames and boxes are known."""
        length = self.clip_frames * self.every
        # The last frame of a clip need not be followed by those that would be skipped.
        for start in range(first, last - (self.clip_frames - 1) * self.every, length):
            kept = range(start, start + length, self.every)
            if any(frame + 1 not in files or frame in truth.spoilt for frame in kept):
                continue
            boxes = tuple(
                dataclasses.replace(box, frame=index)
                for index, frame in enumerate(kept)
                for box in truth.boxes.get(frame, ())
            )
            name = sequence.folder.name
            id, file = f"{name}/{start + 1:06d}", files[start + 1]
            yield Entry(id, file, "", {"video": name}, -1, boxes, start, start + length, sequence.size)

    def _spans(self, name: str, frames: int) -> list[tuple[str, int, int]]:
        """The split, first frame and one past the last, counted from 0, of each part of the sequence of that name."""
        if self.sequences:
            return [(split, 0, frames) for split, names in self.sequences.items() if name in names]
        ends = np.rint(np.cumsum([self.fractions[split] for split in SPLITS]) * frames).astype(int).tolist()
        starts = [0, *(end + self.gap for end in ends[:-1])]
        return list(zip(SPLITS, starts, ends, strict=True))

    def decode(self, entry: Entry) -> tuple[np.ndarray, float]:
        """The frames of a clip that `clips` made, uint8 (frames, H, W, 3) RGB, and frames/s.

        Raises LossyBenchError, naming the file, for a frame that cannot be read or is of another size than stated.
        """
        sequence, files = self._kept(entry)
        if sequence.images.is_file():
            frames = _videos.read(sequence.images, entry.start, entry.start + (len(files) - 1) * self.every + 1)[0]
            frames = frames[:: self.every]
            if len(frames) < len(files):
                raise LossyBenchError(f"{sequence.images}: ends before frame {entry.stop}, which seqinfo.ini announces")
            if (frames.shape[2], frames.shape[1]) != entry.size:
                has, stated = (f"{one[0]} x {one[1]}" for one in (frames.shape[2:0:-1], entry.size or (0, 0)))
                raise LossyBenchError(f"{sequence.images}: its frames are {has} pixels, but seqinfo.ini says {stated}")
            return frames, sequence.sampling_rate / self.every
        frames = np.stack([_boxes.read(file, entry.size, self.bit_depth) for file in files])
        return frames, sequence.sampling_rate / self.every

    def _kept(self, entry: Entry) -> tuple[SequenceInfo, list[Path]]:
        """The sequence of a clip, and the files of those of its frames that are kept."""
        assert entry.stop is not None
        sequence = read_sequence(next(at for at in entry.path.parents if (at / "seqinfo.ini").is_file()))
        files = frame_files(sequence)
        return sequence, [files[number] for number in range(entry.start + 1, entry.stop + 1, self.every)]

    def file_bytes(self, entry: Entry) -> int | None:
        if self._kept(entry)[0].images.is_file():
            return None
        return sum(file.stat().st_size for file in self._kept(entry)[1])

    def look(self, entry: Entry) -> list[Finding]:
        if self._kept(entry)[0].images.is_file():
            return _videos.look(entry.path) if not entry.start else []
        return _boxes.look(entry.path, entry.size, self.bit_depth)


def find_sequences(root: Path, what: str) -> tuple[list[Path], list[Finding]]:
    """Folders of sequences: `root` itself, or those in it; and what looks like one, but lacks seqinfo.ini.

    Raises LossyBenchError, for the data set `what`, if there is none.
    """
    inside = sorted(folder for folder in root.glob("*/") if not folder.name.startswith("."))
    found = [folder for folder in [root, *inside] if (folder / "seqinfo.ini").is_file()]
    if not found:
        raise LossyBenchError(f"data set {what!r}: {root} holds no sequence: no seqinfo.ini in it or one folder below")
    text = "has no seqinfo.ini and is left out"
    return found, [
        Finding("sequence without seqinfo.ini", "warning", str(folder), text, left_out=True)
        for folder in inside
        if folder not in found and any((folder / part).is_dir() for part in ("gt", "img1"))
    ]


def read_sequence(folder: Path) -> SequenceInfo:
    """What seqinfo.ini in `folder` says. Raises LossyBenchError when that file is missing, incomplete or absurd."""
    file = folder / "seqinfo.ini"
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(file.read_text(encoding="utf-8-sig"))
        stated = parser["Sequence"]
        inside, rate = stated["imDir"], float(stated["frameRate"])
        suffix = "" if (folder / inside).is_file() else stated["imExt"].lower()
        frames, width, height = (_whole(stated, key) for key in ("seqLength", "imWidth", "imHeight"))
        if inside.startswith("/") or ".." in Path(inside).parts or "\0" in inside:
            raise ValueError(f"imDir {shown(inside)} is no folder in that of the sequence")
        if not _SLOWEST <= rate <= _FASTEST:
            raise ValueError(f"frameRate {rate:g} is not from {_SLOWEST:g} to {_FASTEST:g}")
    except (OSError, KeyError, ValueError, configparser.Error) as error:
        why = " ".join(str(error).split())[:200]
        raise LossyBenchError(f"{file}: not the seqinfo.ini of a MOT sequence ({why})") from None
    return SequenceInfo(folder, folder / inside, rate, frames, (width, height), f".{suffix.removeprefix('.')}")


def _whole(stated: Mapping[str, str], key: str) -> int:
    value = float(stated[key])
    if not 1 <= value < 2**31 or value != int(value):
        raise ValueError(f"{key} {stated[key][:40]} is no whole number from 1 to 2147483647")
    return int(value)


def frame_files(sequence: SequenceInfo) -> dict[int, Path]:
    """The files of the frames by their numbers, which count from 1 and end their names, as in 000001.jpg.

    Of a video file each frame's is that file. Raises LossyBenchError when there are none, and for a file whose number
    is not clear.
    """
    if sequence.images.is_file():
        return dict.fromkeys(range(1, sequence.frames + 1), sequence.images)
    if not sequence.images.is_dir():
        raise LossyBenchError(f"{sequence.images}: no such folder; imDir of seqinfo.ini names it")
    visible = [file for file in sequence.images.iterdir() if not file.name.startswith(".")]
    found: dict[int, Path] = {}
    for file in sorted(file for file in visible if file.suffix.lower() == sequence.suffix):
        digits = re.search(r"[0-9]+$", file.stem)
        if not digits or not int(digits[0]):
            raise LossyBenchError(f"{file}: its name does not end in the number of a frame, which counts from 1")
        if other := found.get(int(digits[0])):
            raise LossyBenchError(f"{file}: has the number of {other.name} in its name; which is that frame?")
        found[int(digits[0])] = file
    if not found:
        suffixes = sorted({file.suffix.lower() for file in visible})
        has = f"it has {', '.join(map(shown, suffixes[:5]))}" if suffixes else "it is empty"
        raise LossyBenchError(f"{sequence.images}: holds no {shown(sequence.suffix)} file (imExt); {has}")
    return found


def _missing(sequence: SequenceInfo, files: Mapping[int, Path]) -> str:
    """How many frames have no file, and which, in words."""
    spans, count, expected = [], 0, 1
    for number in [*sorted(number for number in files if number <= sequence.frames), sequence.frames + 1]:
        if number > expected:
            spans.append(f"{expected}" if number == expected + 1 else f"{expected} to {number - 1}")
            count += number - expected
        expected = number + 1
    return f"{count} ({', '.join(spans[:3])}{' and others' * (len(spans) > 3)})" if spans else ""


def read_boxes(
    sequence: SequenceInfo,
    objects: Mapping[str, int],
    dialect: Dialect | None,
    own: bool,
    visibility: float,
    fault: Severity,
) -> Truth:
    """The boxes of a sequence, clipped to the picture.

    objects, dialect, own: see MotClips.clips. visibility: the least visible share of an object, where it is stated.
    fault: how severe a wrong line is. Raises LossyBenchError for a gt.txt that cannot be understood as a whole.
    """
    file = sequence.folder / "gt" / "gt.txt"
    rows, spoilt, findings = _rows(file, fault)
    dialect, columns = _dialect(file, list(rows.values()), dialect)
    titles = dict(DIALECTS[dialect].items() if dialect == "mot15" or not own else objects.items())
    if dialect == "mot15" and "pedestrian" not in objects:
        what = "pedestrians, which `objects` does not name"
        raise LossyBenchError(f"{file}: states no classes (dialect mot15), so its objects are {what}")
    if not own:
        _check_names(file.with_name("labels.txt"), titles, objects)
    label_of = {titles[title]: label for label, title in enumerate(objects) if title in titles}
    title_of = {number: title for title, number in titles.items()}
    boxes = _boxes.Boxes(file, "line {}".format, fault)
    tracks: dict[tuple[float, float], list[float]] = {}
    others: collections.Counter[str] = collections.Counter()
    for line, row in rows.items():
        frame, track = row[:2]
        if frame > sequence.frames:
            boxes.odd("row beyond the sequence", line)
            continue
        try:
            counts, number, seen = _meaning(row[:columns], dialect, None if own else title_of)
            if not counts or number not in label_of or 0 <= seen < visibility:
                what = "" if counts else " that does not count"
                others[title_of.get(number, f"class {number}") + what] += 1
                continue
            if not boxes.add(line, frame, row[2:6], sequence.size, label_of[number]):
                boxes.odd("box outside the picture", line)
        except LossyBenchError as error:
            spoilt.add(int(frame) - 1)
            findings.append(Finding("wrong line", fault, f"{file}, line {line}", str(error), left_out=True))
            continue
        if track > 0 and tracks.setdefault((frame, track), row[2:6]) != row[2:6]:
            boxes.odd("track twice in a frame", line)
    found = {int(frame) - 1: those for frame, those in boxes.distinct().items()}
    findings += boxes.findings()
    steps = {later - sooner for sooner, later in itertools.pairwise(sorted(found))}
    if len(found) > 2 and len(steps) == 1 and min(steps) > 1:
        text = f"has boxes in every {min(steps)}th frame alone; the frames between count as without objects"
        findings.append(Finding("frames without boxes", "warning", str(file), text))
    unused = ", ".join(f"{count} {title}" for title, count in others.most_common())
    if unused and found:
        text = f"{others.total()} rows are no objects to find: {unused}"
        findings.append(Finding("other rows", "note", str(file), text))
    return Truth(found, spoilt, findings, unused or "none at all")


def _rows(file: Path, fault: Severity) -> tuple[dict[int, list[float]], set[int], list[Finding]]:
    """The rows of gt.txt by line, all of one length; the frames, from 0, of rows that are wrong; and what is wrong."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise LossyBenchError(f"{file}: not the gt.txt of a MOT sequence ({why})") from None
    found: dict[int, list[float]] = {}
    spoilt: set[int] = set()
    findings = []
    lines = [line.rstrip().removesuffix(",").split(",") for line in text.split("\n")]
    lengths = collections.Counter(len(cells) for cells in lines if cells != [""])
    usual = lengths.most_common(1)[0][0] if lengths else 0
    for line, cells in enumerate(lines, 1):
        if cells == [""]:
            continue
        row = [_boxes.parsed(cell) for cell in cells]
        frame, why = row[0], ""
        if None in row:
            why = f"{shown(cells[row.index(None)])} is no number"
        elif frame is None or frame < 0 or frame != int(frame):
            why, frame = f"{shown(cells[0])} is no number of a frame", None
        elif len(row) != usual:
            why = f"has {len(row)} values, where most lines have {usual}"
        elif not frame:
            raise LossyBenchError(
                f"{file}, line {line}: has the frame 0, but frames count from 1: all boxes would be a frame too early"
            )
        else:
            found[line] = [value for value in row if value is not None]
        if why:
            findings.append(Finding("wrong line", fault, f"{file}, line {line}", why, left_out=True))
            if frame is not None:
                spoilt.add(int(frame) - 1)
    return found, spoilt, findings


def _dialect(file: Path, rows: list[list[float]], stated: Dialect | None) -> tuple[Dialect, int]:
    """The dialect of the rows, and how many of their columns have a meaning in it."""
    if not rows:
        return stated or "mot17", 0
    columns = full = len(rows[0])
    if not 6 <= full <= 10:
        raise LossyBenchError(f"{file}: has {full} values in a line, separated by commas; MOT has 6 to 10")
    # What is -1 throughout is not stated.
    while columns > 6 and all(row[columns - 1] == -1 for row in rows):
        columns -= 1
    if stated == "mot15":
        return stated, min(columns, 7)
    if stated:
        if columns < 8:
            raise LossyBenchError(f"{file}: states no classes, as lines of {stated} do; its dialect is mot15")
        return stated, columns
    if columns == 10:
        last = ", ".join(f"{value:g}" for value in rows[0][7:])
        raise LossyBenchError(
            f"{file}: has ten values in a line, of which the last three ({last} at first) may be a place in the world "
            "(mot15), a class, a visible share and something else (mot17), or VisDrone's: state the option `dialect`: "
            "mot15, mot17 or visdrone"
        )
    return "mot15" if columns < 8 else "mot17", columns


def _meaning(row: list[float], dialect: Dialect, known: Mapping[int, str] | None) -> tuple[bool, int, float]:
    """Whether the object of a row counts, the number of its class, and its visible share, -1 where it is not stated.

    row: the columns that have a meaning. known: the classes that there are; None for any.
    """
    counts = row[6] if len(row) > 6 else 1
    if counts not in (0, 1):
        raise LossyBenchError(f"its seventh value, {counts:g}, is neither 1, for an object that counts, nor 0")
    if dialect == "mot15":
        return bool(counts), DIALECTS[dialect]["pedestrian"], -1
    number, seen = row[7], row[8] if dialect == "mot17" and len(row) > 8 else -1
    if number != int(number) or (known is not None and number not in known):
        numbers = "a whole number" if known is None else f"{min(known)} to {max(known)}"
        raise LossyBenchError(f"its class {number:g} is not {numbers} as in {dialect}")
    if seen != -1 and not 0 <= seen <= 1:
        raise LossyBenchError(f"its visible share {seen:g} is not from 0 to 1")
    return bool(counts), int(number), seen


def _check_names(file: Path, titles: Mapping[str, int], objects: Mapping[str, int]) -> None:
    """Refuse names of classes, one a line, that CVAT writes beside gt.txt, where they are others than the dialect's."""
    if not file.is_file():
        return
    theirs = dict(enumerate(file.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1))
    for title in objects:
        number = titles.get(title, 0)
        named = theirs.get(number, "").strip()
        if named and re.sub(r"[\s-]+", "_", named).casefold() != title:
            raise LossyBenchError(
                f"{file}: calls class {number} {shown(named)}, which is {title!r} otherwise; give the numbers "
                f"of your own classes, such as objects: {{{named}: {number}}}, or remove the file"
            )
