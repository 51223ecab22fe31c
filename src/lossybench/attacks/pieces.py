"""The pieces in which the table of an attack is made, by one process or by several at the same time."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from lossybench import cores
from lossybench.artifacts import Parts

Rows = Iterable[dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Piece:
    """Rows that one process makes in one go.

    name: of their file. schema: theirs. count: how many rows of the table they are; 0 where only other pieces need
    them. make: makes the rows, the same in whatever process.
    """

    name: str
    schema: pa.Schema
    count: int
    make: Callable[[], Rows]


class Maker:
    """Makes pieces, or waits for those that another process makes. parts: where they are kept."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._helpers: cores.Helpers | None = None

    @contextlib.contextmanager
    def helped(self, pieces: Sequence[Piece], work: Callable[..., None], arguments: dict[str, Any]) -> Iterator[None]:
        """Within, helpers on idle cores call `work` with `arguments`, which makes the same `pieces`."""

        def left() -> int:
            return sum(not self.parts.has(piece.name) and not cores.is_claimed(self._lock(piece)) for piece in pieces)

        with cores.Helpers(work, arguments, left) as self._helpers:
            yield
        self._helpers = None

    def make(self, pieces: Sequence[Piece], tell: Callable[[int], object] = lambda count: None) -> None:
        """Make those of the `pieces` that nobody has begun. tell: gets the number of rows of the table that are new.

        Raises LossyBenchError where a helper failed.
        """
        for piece in pieces:
            self._check()
            if self.parts.has(piece.name):
                continue
            with self._claimed(piece) as mine:
                if mine:
                    self._kept(piece, tell)

    def rows(self, piece: Piece) -> list[dict[str, Any]]:
        """The rows of a piece: as another process makes them, or made here where nobody has begun.

        Raises LossyBenchError where a helper failed.
        """
        while not self.parts.has(piece.name):
            with self._claimed(piece) as mine:
                if mine:
                    return self._kept(piece)
            with self._helpers.lending() if self._helpers else contextlib.nullcontext():
                while cores.is_claimed(self._lock(piece)):
                    self._check()
                    time.sleep(cores.POLL)
        return self._kept(piece)

    def _kept(self, piece: Piece, tell: Callable[[int], object] = lambda count: None) -> list[dict[str, Any]]:
        def told() -> Iterator[dict[str, Any]]:
            for row in piece.make():
                yield row
                tell(min(piece.count, 1))

        return self.parts.rows(piece.name, piece.schema, told)

    def _check(self) -> None:
        if self._helpers:
            self._helpers.check()

    def _claimed(self, piece: Piece) -> contextlib.AbstractContextManager[bool]:
        return cores.claimed(self._lock(piece)) if cores.shared() else contextlib.nullcontext(True)

    def _lock(self, piece: Piece) -> Path:
        return self.parts.folder / f"{piece.name}.lock"
