"""The timing stage measures how much of a processor's time a codec takes to encode and to decode a task's items.

Times differ from run to run and from machine to machine. So they lie in tables of their own, from which no result but
that of costs follows.
"""

from __future__ import annotations

import functools
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from tqdm import tqdm

from lossybench import codecs
from lossybench.artifacts import TIMINGS, iter_rows, read_meta, write_table
from lossybench.conditions import ORIGINAL
from lossybench.errors import naming

ITEMS = 16  # test items, evenly spread
ROUNDS = 5
LEAST = 0.02  # seconds of a round at least: of small items it repeats the call, as a clock's ticks would count
MOST = 2.0  # seconds that one round over all items may take; of fewer items where one pass already takes longer


class Sample(NamedTuple):
    """One decoded item. media: as codecs take it. sampling_rate: as of `Codec.encode`."""

    name: str
    media: Any
    sampling_rate: float


def timing(
    data: Path,
    codec: str,
    levels: list[float],
    out: Path,
    options: dict[str, Any] | None = None,
    variant: dict[str, Any] | None = None,
) -> None:
    """Time a codec on some test items at each of its levels.

    Seconds are those of the process on all its cores; codecs here use one. Of several rounds over the items the median
    counts. What a codec does besides coding counts too: the search for a size, and Opus' and others' alignment.

    Args:
        data: the table that fetch made
        codec: the name of the codec: one that `lossybench codecs` lists, or the study's own name for a variant
        levels: the codec's strength parameters
        out: the table to write (artifacts.TIMINGS)
        options: the options of the encoder
        variant: what the codec is where its name is the study's own (lossybench.codecs._variants)

    Raises:
        LossyBenchError: naming the item, when it cannot be encoded or decoded.
    """
    coder, meta = codecs.made(codec, options, variant), read_meta(data)
    samples = _samples(data)
    rows = []
    for level in tqdm(levels, f"time {codec}", unit="level", mininterval=2):
        encodings = [
            functools.partial(_named, one.name, coder.encode, one.media, level, one.sampling_rate) for one in samples
        ]
        encodings[-1]()  # the first call may load what a codec works with
        few, encode = _timed(encodings)
        payloads = [one().payload for one in encodings[:few]]
        decodings = [
            functools.partial(_named, one.name, coder.decode, payload, one.media.shape, one.sampling_rate)
            for one, payload in zip(samples, payloads, strict=False)
        ]
        decodings[-1]()  # a codec that decodes as it encodes may still hold what it encoded last
        _, decode = _timed(decodings)
        rows.append(
            {
                **{"level": level, "encode_ms": 1000 * median(encode), "decode_ms": 1000 * median(decode)},
                **{"encode_spread": _spread(encode), "decode_spread": _spread(decode), "n": few},
            }
        )
    about = {"task": meta["task"], "codec": codec, "machine": machine(), "encoder": coder.version()}
    write_table(out, TIMINGS, rows, about)


def _samples(data: Path) -> list[Sample]:
    """The test items that are timed, decoded."""
    count = sum(1 for _ in iter_rows(data, ["split"], ["test"]))
    wanted = {place * count // ITEMS for place in range(ITEMS)}
    lossless, found = codecs.get(ORIGINAL), []
    for place, row in enumerate(iter_rows(data, ["id", "media", "shape", "sampling_rate"], ["test"])):
        if place in wanted:
            with naming(f"{data}: item {row['id']}"):
                media = lossless.decode(row["media"], tuple(row["shape"]), row["sampling_rate"])
            found.append(Sample(row["id"], media, row["sampling_rate"]))
    return found


def _named(name: str, work: Callable[..., Any], *arguments: Any) -> Any:
    with naming(f"item {name}"):
        return work(*arguments)


def _timed(works: Sequence[Callable[[], Any]]) -> tuple[int, list[float]]:
    """How many of the `works` there was time for, and the seconds of one of them on average, in each round."""
    start, few = time.process_time(), 0
    for work in works:
        work()
        few += 1
        if time.process_time() - start > MOST:
            break
    once = time.process_time() - start
    repeats = max(1, round(LEAST / max(once, 1e-6)))
    return few, [_round(works[:few], repeats) / (few * repeats) for _ in range(ROUNDS)]


def _round(works: Iterable[Callable[[], Any]], repeats: int) -> float:
    start = time.process_time()
    # Item after item: a codec may keep what it did for its latest one, as that of a size does among its levels.
    for _ in range(repeats):
        for work in works:
            work()
    return time.process_time() - start


def _spread(seconds: list[float]) -> float:
    """How far rounds reach from their median, as a share of it: half the range."""
    return (max(seconds) - min(seconds)) / 2 / max(median(seconds), 1e-9)


def machine() -> str:
    """The processor's name, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
