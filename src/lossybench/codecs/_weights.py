"""The weights of codecs that learn: a folder with a safetensors file for each level."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any, Protocol

from lossybench.errors import LossyBenchError

KEPT = 8  # networks in memory


class Learning(Protocol):
    """A codec that learns: its option `weights` is the folder, and `load` makes a network of the content of a file."""

    @property
    def weights(self) -> str: ...

    def load(self, content: bytes) -> Any: ...

    def __hash__(self) -> int: ...


def network(codec: Learning, level: int) -> tuple[Any, bytes]:
    """The network of a level and a hash of its weights. Raises LossyBenchError where there are none that fit."""
    if not codec.weights:
        raise LossyBenchError("it has no weights; a study trains them, and elsewhere its option weights names a folder")
    path = Path(codec.weights) / f"{level}.safetensors"
    try:
        return _read(codec, path, path.stat().st_mtime_ns)
    except FileNotFoundError:
        raise LossyBenchError(f"{path}: is missing; run the study again, which trains it") from None


@functools.lru_cache(maxsize=KEPT)
def _read(codec: Learning, path: Path, changed: int) -> tuple[Any, bytes]:
    """changed: when the file was, so that one that was made anew is read anew."""
    content = path.read_bytes()
    try:
        return codec.load(content), hashlib.sha256(content).digest()
    except Exception as error:  # safetensors' own, and torch's for other shapes
        why = " ".join(str(error).split())[:200]
        raise LossyBenchError(f"{path}: weights of another codec or other options ({why}); train them anew") from error
