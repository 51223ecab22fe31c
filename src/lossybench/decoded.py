"""Decoded media on the disk, shared by all training jobs of a study that see a condition in the same way.

A shelf holds the examples of one condition's items as models of one input see them: a file of records of one size, in
which every item has its place from the start, and a file of marks. A mark holds the checksum of its record and is
written after it, so that what a killed job, a full disk or a power cut left behind is not taken for whole. Jobs that
write the same record write the same bytes, so nothing depends on locks but who decodes what.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import math
import os
import shutil
import struct
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from lossybench.errors import LossyBenchError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
BLOCK = 8  # records for which a claim stands
GB = 10**9
_log = logging.getLogger(__name__)


class Store:
    """The decoded media of a study, below the folder `root`, which may be removed while no job trains.

    room: GB of the disk that all shelves together may take. Half of what is free on the disk stays free.
    """

    def __init__(self, root: Path, room: float) -> None:
        self.root, self.room = root, room

    def shelf(self, name: str, source: str, view: str, records: int, size: int) -> Shelf | None:
        """The shelf of a condition as models of one input see it; None where the file system has no locks.

        name: of the task and the condition, as in paths. source: a hash of the media's bitstreams and of what decodes
        them; shelves of `name` with another one are out of date and removed. view: a hash of all else that the records
        follow from. records, size: how many there are, and the bytes of each. Where too little room is left, the shelf
        ends before its last record. Raises OSError where the folder cannot be written to.
        """
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        with self._alone() as locked:
            if not locked:
                _log.warning("%s: its file system has no locks; decoded media are not shared", self.root)
                return None
            for old in folder.iterdir():
                if not old.name.startswith(f"{source}-"):
                    old.unlink(missing_ok=True)
            shelf = Shelf(folder / f"{source}-{view}", size)
            files = [file.stat() for file in self.root.rglob("*.records")]
            promised, written = sum(file.st_size for file in files), sum(512 * file.st_blocks for file in files)
            free = shutil.disk_usage(folder).free - max(0, promised - written)
            left = int(min(self.room * GB - promised, free / 2))
            shelf.extend(min(records, shelf.capacity + max(0, left) // size))
            return shelf

    def tell(self, records: Records) -> None:
        """Say in the log where the records of a job were, and why not all of them are on shelves."""
        there, own = f"{records.found} found in {self.root}, {records.kept} kept there", records.apart
        short = f"; {own} not, as the {self.room:g} GB that they may take are used up, or half of the free disk is"
        _log.info("decoded media: %s%s", there, short if own else "")

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether a context begins in which no other job makes or extends a shelf; not where there are no locks."""
        with (self.root / "lock").open("w") as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX)
            except OSError:
                yield False
            else:
                yield True


class Shelf:
    """Records in a file, numbered from 0.

    path: of its files, without their endings. size: the bytes of a record.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size, self.full = path, size, False
        self.records, self.marks = (
            os.open(f"{path}.{name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666) for name in ("records", "marks")
        )
        self.capacity = os.fstat(self.records).st_size // size
        self.buffer = bytearray(size)

    def close(self) -> None:
        """Close the files, after which nothing can be asked of the shelf; what this job claimed is free again."""
        os.close(self.records)
        os.close(self.marks)

    def extend(self, capacity: int) -> None:
        """Make room for so many records, at least; none takes disk space before it is written."""
        if capacity > self.capacity:
            os.ftruncate(self.records, capacity * self.size)
            self.capacity = capacity

    def holds(self, numbers: range) -> bool:
        """Whether the records of these numbers are there and whole: each is read and compared with its checksum."""
        if numbers.stop > self.capacity:
            return False
        marks = os.pread(self.marks, 8 * len(numbers), 8 * numbers.start).ljust(8 * len(numbers), b"\0")
        return all(
            mark
            and os.preadv(self.records, [self.buffer], number * self.size) == self.size
            and mark == _mark(self.buffer)
            for number, mark in zip(numbers, struct.unpack(f"<{len(numbers)}Q", marks), strict=True)
        )

    def keep(self, first: int, contents: list[bytes]) -> bool:
        """Write the records from number `first` on, and return whether there was room for them."""
        if self.full or first + len(contents) > self.capacity:
            return False
        try:
            _write(self.records, b"".join(contents), first * self.size)
            _write(self.marks, struct.pack(f"<{len(contents)}Q", *map(_mark, contents)), 8 * first)
        except OSError as error:
            if error.errno not in FULL:
                raise
            _log.warning("%s: %s; decoded media are not shared from here on", self.path, os.strerror(error.errno))
            self.full = True
        return not self.full

    def claim(self, block: int) -> bool:
        """Take it on to decode a block of records, unless another job has; a claim ends with the job that made it.

        A claim only saves work, so that whoever has nothing else left to do need not wait for one.
        """
        try:
            fcntl.lockf(self.marks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, block)
        except OSError:
            return False
        return True

    def release(self, block: int) -> None:
        """Give a claimed block free, whose records are kept now."""
        fcntl.lockf(self.marks, fcntl.LOCK_UN, 1, block)


class Records:
    """Arrays of one shape on the disk, numbered through: those of each source's shelf, then those of a scratch file.

    shape, dtype: of each array. shelves: of each source the shelf; None where there is none. places: how many records a
    source has. The scratch file takes what no shelf has room for, and is gone once it is closed. Arrays are read when
    they are asked for: a mapped file would count as memory of the job.
    """

    def __init__(
        self, shape: tuple[int, ...], dtype: type[np.generic], shelves: Sequence[Shelf | None], places: int
    ) -> None:
        self.shape, self.dtype, self.shelves, self.places = shape, dtype, shelves, places
        self.size = math.prod(shape) * np.dtype(dtype).itemsize
        self.found = self.kept = self.apart = 0  # records that were there, were kept on shelves, and were not
        self._scratch = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115, as `close` closes it

    def close(self) -> None:
        """Close all files, after which nothing can be asked of the records."""
        self._scratch.close()
        for shelf in filter(None, self.shelves):
            shelf.close()

    def find(self, source: int, places: range) -> range | None:
        """The numbers of the records at these places of a source's shelf; None unless all are there and whole."""
        shelf = self.shelves[source]
        if not shelf or not shelf.holds(places):
            return None
        self.found += len(places)
        return self._numbers(source, places)

    def keep(self, source: int, places: range, contents: list[bytes]) -> range:
        """Write records, which belong at these places of a source's shelf, and return their numbers.

        Raises LossyBenchError where the disk of the scratch file is full.
        """
        shelf = self.shelves[source]
        if shelf and shelf.keep(places.start, contents):
            self.kept += len(places)
            return self._numbers(source, places)
        first = len(self.shelves) * self.places + self.apart
        try:
            _write(self._scratch.fileno(), b"".join(contents), self.apart * self.size)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise LossyBenchError(
                f"{tempfile.gettempdir()}: full; training keeps decoded media there, "
                f"{self.size * self.apart / GB:.1f} GB so far; set TMPDIR to a folder with more room"
            ) from error
        self.apart += len(places)
        return range(first, first + len(places))

    def _numbers(self, source: int, places: range) -> range:
        return range(source * self.places + places.start, source * self.places + places.stop)

    def __getitem__(self, numbers: np.ndarray) -> np.ndarray:
        """The arrays of these record numbers (N,), stacked: (N, *shape)."""
        found = np.empty((len(numbers), *self.shape), self.dtype)
        into = found.reshape(-1).view(np.uint8).data
        for index, number in enumerate(numbers.tolist()):
            source, place = divmod(number, self.places)
            shelf = self.shelves[source] if source < len(self.shelves) else None
            file, at = self._scratch.fileno(), number - len(self.shelves) * self.places
            if shelf:
                file, at = shelf.records, place
            if os.preadv(file, [into[index * self.size : (index + 1) * self.size]], at * self.size) != self.size:
                where = shelf.path if shelf else tempfile.gettempdir()
                raise LossyBenchError(f"{where}: decoded media were cut off while in use; run again")
        return found


def _mark(content: bytes | bytearray) -> int:
    """The mark of a record: its checksum, and above that a bit by which a mark differs from none."""
    return 1 << 32 | zlib.crc32(content)


def _write(file: int, content: bytes, at: int) -> None:
    """Write the whole `content` at a place of a file: near a full disk a single call may write a part."""
    left = memoryview(content)
    while left:
        written = os.pwrite(file, left, at)
        left, at = left[written:], at + written
