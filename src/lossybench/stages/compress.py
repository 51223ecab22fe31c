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
from lossybench.conditions import ORIGINAL
from lossybench.errors import LossyBenchError, naming
from lossybench.fidelity import MEASURES, How, item_step, measure, rate_of
from lossybench.measures import get as measure_named

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
        fidelity: how much of it is measured: all of it (full); of many items about a thousand, of clips every fourth
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
    encoder = coder.version()
    how: How = fidelity if part == "test" else "none"
    further = [measure_named(name) for name in measures] if how != "none" else []
    count = sum(1 for _ in iter_rows(data, ["split"], SPLITS[part]))
    step = item_step(count, how)

    def coded(numbered: tuple[int, dict[str, Any]]) -> list[dict[str, Any]]:
        number, row = numbered
        measured: How = how if number % step == 0 else "none"
        with naming(f"{data}: item {row['id']}"):
            media = lossless.decode(row["media"], tuple(row["shape"]), row["sampling_rate"])
            return [at(level, row, media, measured) for level in levels]

    def at(level: float, row: dict[str, Any], media: np.ndarray, measured: How) -> dict[str, Any]:
        shape, sampling_rate = media.shape, row["sampling_rate"]
        coder.check(level, meta["medium"], sampling_rate)
        encoded = coder.encode(media, level, sampling_rate)
        values: dict[str, float | None] = dict.fromkeys([*MEASURES, *measures])
        if measured != "none":
            decoded = coder.decode(encoded.payload, shape, sampling_rate)
            values |= measure(media, decoded, meta["medium"], sampling_rate, measured)
            values |= {one.name: one.measure(media, decoded, sampling_rate) for one in further}
        return {
            "id": row["id"],
            "split": row["split"],
            "payload": encoded.payload,
            "payload_bits": encoded.payload_bits,
            "overhead_bits": encoded.overhead_bits,
            "raw_bits": media.nbytes * 8,
            "rate": rate_of(encoded.payload_bits, shape, meta["medium"], sampling_rate),
            "encoder": encoder,
            **values,
        }

    about = {"task": meta["task"], "medium": meta["medium"], "codec": codec, "options": options, "variant": variant}
    about |= {"identity": identity, "fidelity": how}
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
