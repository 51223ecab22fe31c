"""The compress stage: every item of a split through one codec at one level, with its bits and fidelity."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from lossybench import codecs
from lossybench.artifacts import COMPRESSED, iter_rows, read_meta, write_table
from lossybench.errors import LossyBenchError
from lossybench.fidelity import measure

SPLITS = {"train": ("train", "val"), "test": ("test",)}


def rate_of(payload_bits: int, shape: tuple[int, ...], medium: str, rate: float) -> float:
    """The rate of a bitstream: bits per pixel for images, kb/s for audio and video.

    shape: (H, W, 3), (samples,) or (frames, H, W, 3); rate: Hz or frames/s.
    """
    if medium == "image":
        return payload_bits / (shape[0] * shape[1])
    return payload_bits * rate / shape[0] / 1000


def compress(data: Path, codec: str, options: dict[str, Any], level: float, part: str, out: Path) -> None:
    """Encode the items of `data` into `out` (schema `artifacts.COMPRESSED`).

    part: "test" (the test split, with fidelity) or "train" (the train and val splits; their fidelity is left null,
    since nothing reports it and measuring it costs as much as encoding).
    Raises LossyBenchError naming the item when it cannot be encoded or decoded.
    """
    meta = read_meta(data)
    coder, lossless = codecs.get(codec, options), codecs.get("original")
    encoder = coder.version()

    def rows() -> Iterator[dict[str, Any]]:
        for row in tqdm(iter_rows(data, splits=SPLITS[part]), desc=f"{codec} {level:g}", unit="item", mininterval=2):
            shape, rate = tuple(row["shape"]), row["rate"]
            try:
                media = lossless.decode(row["media"], shape, rate)
                coder.check(level, meta["medium"], rate)
                encoded = coder.encode(media, level, rate)
                fidelity = dict.fromkeys(("psnr", "ssim", "snr", "spectral_distance"))
                if part == "test":
                    fidelity |= measure(media, coder.decode(encoded.payload, shape, rate), meta["medium"], rate)
            except LossyBenchError as error:
                raise LossyBenchError(f"{data}: item {row['id']}: {error}") from None
            yield {
                "id": row["id"],
                "split": row["split"],
                "payload": encoded.payload,
                "payload_bits": encoded.payload_bits,
                "overhead_bits": encoded.overhead_bits,
                "raw_bits": int(np.prod(shape)) * media.itemsize * 8,
                "rate": rate_of(encoded.payload_bits, shape, meta["medium"], rate),
                "encoder": encoder,
                **fidelity,
            }

    written = write_table(
        out,
        COMPRESSED,
        rows(),
        {"task": meta["task"], "medium": meta["medium"], "codec": codec, "level": level, "options": options},
    )
    if not written:
        out.unlink()
        raise LossyBenchError(f"{data}: no items of split {' or '.join(SPLITS[part])}")
