"""The compress stage passes every item of one part through one codec at one level and notes its bits and fidelity."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from lossybench import codecs
from lossybench.artifacts import COMPRESSED, iter_rows, read_meta, write_table
from lossybench.conditions import ORIGINAL, Condition
from lossybench.errors import LossyBenchError, naming
from lossybench.fidelity import MEASURES, measure, rate_of

SPLITS = {"train": ("train", "val"), "test": ("test",)}


def compress(
    data: Path,
    codec: str,
    level: float,
    out: Path,
    part: Literal["train", "test"] = "test",
    options: dict[str, Any] | None = None,
) -> None:
    """Encode one part of the items through one codec at one level.

    Args:
        data: the table that fetch made
        codec: the name of the codec; `lossybench codecs` lists them
        level: the codec's strength parameter
        out: the table to write (artifacts.COMPRESSED)
        part: "test" is the split test, with fidelity; "train" is the splits train and val, whose fidelity stays null,
            because nothing reports it
        options: the options of the encoder

    Raises:
        LossyBenchError: naming the item, when it cannot be encoded or decoded, and when the part has no items.
    """
    options = options or {}
    meta = read_meta(data)
    coder, lossless = codecs.get(codec, options), codecs.get(ORIGINAL)
    encoder = coder.version()

    def rows() -> Iterator[dict[str, Any]]:
        for row in tqdm(iter_rows(data, splits=SPLITS[part]), str(Condition(codec, level)), unit="item", mininterval=2):
            shape, sampling_rate = tuple(row["shape"]), row["sampling_rate"]
            with naming(f"{data}: item {row['id']}"):
                media = lossless.decode(row["media"], shape, sampling_rate)
                coder.check(level, meta["medium"], sampling_rate)
                encoded = coder.encode(media, level, sampling_rate)
                fidelity: dict[str, float | None] = dict.fromkeys(MEASURES)
                if part == "test":
                    decoded = coder.decode(encoded.payload, shape, sampling_rate)
                    fidelity = measure(media, decoded, meta["medium"], sampling_rate)
            yield {
                "id": row["id"],
                "split": row["split"],
                "payload": encoded.payload,
                "payload_bits": encoded.payload_bits,
                "overhead_bits": encoded.overhead_bits,
                "raw_bits": int(np.prod(shape)) * media.itemsize * 8,
                "rate": rate_of(encoded.payload_bits, shape, meta["medium"], sampling_rate),
                "encoder": encoder,
                **fidelity,
            }

    about = {"task": meta["task"], "medium": meta["medium"], "codec": codec, "level": level, "options": options}
    if not write_table(out, COMPRESSED, rows(), about):
        out.unlink()
        raise LossyBenchError(f"{data}: no items of split {' or '.join(SPLITS[part])}; fetch a data set that has some")
