"""The compress stage passes every item of one part through one codec, level by level, and notes bits and fidelity."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from lossybench import ahead, codecs
from lossybench.artifacts import COMPRESSED, extended, iter_rows, read_meta, writing
from lossybench.codecs.original import LOSSLESS, lossless_bits
from lossybench.conditions import ORIGINAL
from lossybench.errors import LossyBenchError, naming
from lossybench.fidelity import MEASURES, How, item_step, measure, rate_of
from lossybench.measures import get as measure_named

MOST_LOSSLESS = 100  # items; PNG and FFV1 are slower than most codecs
SPLITS = {"train": ("train", "val"), "test": ("test",)}


def compress(
    data: Path,
    codec: str,
    levels: list[float],
    out: list[Path],
    part: Literal["train", "test"] = "test",
    options: dict[str, Any] | None = None,
    fidelity: How = "sampled",
    measures: Sequence[str] = (),
    identity: str = "",
    threads: int = 1,
    variant: dict[str, Any] | None = None,
) -> None:
    """Encode one part of the items through one codec, each item at every level once its original is decoded.

    Args:
        data: the table that fetch made
        codec: the name of the codec: one that `lossybench codecs` lists, or the study's own name for a variant
        levels: the codec's strength parameters
        out: the tables to write (artifacts.COMPRESSED), one for each level, in the same order
        part: "test" is the split test, with fidelity; "train" is the splits train and val, whose fidelity stays null,
            because nothing reports it
        options: the options of the encoder
        fidelity: how much of it is measured: all of it (full); of many items about 500, of clips every fourth
            frame, of larger pictures some of SSIM's windows (sampled); or none
        measures: further measures of fidelity; `lossybench measures` lists them
        identity: any text that says what the tables are made from; they keep it in their `meta`
        threads: CPU threads that code items side by side; they change no result
        variant: what the codec is where its name is the study's own (lossybench.codecs._variants), e.g. {codec: jpeg}

    Raises:
        LossyBenchError: naming the item, when it cannot be encoded or decoded, when the part has no items, and when
            there are not as many tables as levels.
    """
    if len(levels) != len(out):
        raise LossyBenchError(f"compress: {len(levels)} levels and {len(out)} tables; give one table for each level")
    options, variant = options or {}, variant or {}
    meta = read_meta(data)
    coder, lossless = codecs.made(codec, options, variant), codecs.get(ORIGINAL)
    for level in levels:
        coder.check(level, meta["medium"])
    encoder = coder.version()
    how: How = fidelity if part == "test" else "none"
    further = [measure_named(name) for name in measures] if how != "none" else []
    count = sum(1 for _ in iter_rows(data, ["split"], SPLITS[part]))
    step = item_step(count, how)
    medium, unmeasured = meta["medium"], dict.fromkeys([*MEASURES, *measures])
    # Of which items it is asked what they take losslessly: some, evenly spread, of those that models are tested on.
    compared = range(0, count, -(-count // MOST_LOSSLESS)) if codec == ORIGINAL and part == "test" and count else ()

    def coded(numbered: tuple[int, dict[str, Any]]) -> list[dict[str, Any]]:
        number, row = numbered
        measured: How = how if number % step == 0 else "none"
        with naming(f"{data}: item {row['id']}"):
            media = lossless.decode(row["media"], tuple(row["shape"]), row["sampling_rate"])
            lossless_too = number in compared
            return [at(level, row, media, measured, lossless_too) for level in levels]

    def at(level: float, row: dict[str, Any], media: np.ndarray, measured: How, lossless_too: bool) -> dict[str, Any]:
        shape, sampling_rate = media.shape, row["sampling_rate"]
        encoded = coder.encode(media, level, sampling_rate)
        values = unmeasured
        if measured != "none":
            decoded = coder.decode(encoded.payload, shape, sampling_rate)
            values = measure(media, decoded, medium, sampling_rate, measured)
            values |= {one.name: one.measure(media, decoded, sampling_rate) for one in further}
        bits = encoded.payload_bits + encoded.overhead_bits
        return {
            "id": row["id"],
            "split": row["split"],
            "payload": encoded.payload,
            "payload_bits": encoded.payload_bits,
            "overhead_bits": encoded.overhead_bits,
            "raw_bits": media.nbytes * 8,
            "lossless_bits": lossless_bits(media, medium, sampling_rate) if lossless_too else None,
            "rate": rate_of(bits, shape, medium, sampling_rate),
            "coded_rate": rate_of(encoded.payload_bits, shape, medium, sampling_rate),
            "encoder": encoder,
            **values,
        }

    about = {"task": meta["task"], "medium": medium, "codec": codec, "options": options, "variant": variant}
    about |= {"identity": identity, "fidelity": how, "lossless": LOSSLESS[medium]}
    about["measures"] = {one.name: {"title": one.title, "unit": one.unit, "better": one.better} for one in further}
    schema = extended(COMPRESSED, *((one.name, pa.float32(), one.unit) for one in further))
    with contextlib.ExitStack() as stack:
        tables = [
            stack.enter_context(writing(path, schema, {**about, "level": level}))
            for level, path in zip(levels, out, strict=True)
        ]
        rows = ahead.in_order(coded, enumerate(iter_rows(data, splits=SPLITS[part])), threads - 1)
        for found in tqdm(rows, f"compress {codec}", count, unit="item", mininterval=2):
            for table, one in zip(tables, found, strict=True):
                table.add(one)
        if not tables[0].count:
            splits = " or ".join(SPLITS[part])
            raise LossyBenchError(f"{data}: no items of split {splits}; fetch a data set that has some")
