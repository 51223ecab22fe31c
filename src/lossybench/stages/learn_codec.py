"""The learn_codec stage trains one level of a codec that learns, on the items that models learn from too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from lossybench import codecs
from lossybench.artifacts import iter_rows, publish
from lossybench.conditions import ORIGINAL
from lossybench.errors import LossyBenchError, naming
from lossybench.models import runtime

# Cuttings that are learnt from, and by which the best state is chosen. A side is that of the task's smallest picture,
# as a multiple of UNIT pixels, to which codecs fill pictures up, and LARGEST at most.
CUTTINGS = {"train": 4096, "val": 256}
UNIT, LARGEST = 16, 64


def learn_codec(
    data: Path,
    codec: str,
    level: float,
    out: Path,
    options: dict[str, Any] | None = None,
    variant: dict[str, Any] | None = None,
) -> None:
    """Train the weights of one level of a codec that learns on the items of the split train.

    It learns from 4096 cuttings of pictures or of frames of clips, evenly many of each item, and the best state is
    chosen by 256 cuttings of the split val. The same arguments give the same bytes.

    Args:
        data: the table that fetch made
        codec: the name of the codec: one that `lossybench codecs` lists, or the study's own name for a variant
        level: the level that the weights are for
        out: the safetensors file to write
        options: the options of the codec
        variant: what the codec is where its name is the study's own (lossybench.codecs._variants)

    Raises:
        LossyBenchError: for a codec that has nothing to learn, items that are no pictures, and a split without items.
    """
    coder = codecs.made(codec, options, variant)
    if not coder.learns:
        raise LossyBenchError(f"codec {codec!r} has no weights to learn; compress with it as it is")
    runtime.start("cpu")
    side = _side(data)
    pictures = {split: np.stack(list(_cuttings(data, split, side))) for split in CUTTINGS}
    with tqdm(desc=f"learn {codec}", unit="step", mininterval=2) as bar:

        def tell(step: int, loss: float) -> None:
            bar.set_postfix(validation=f"{loss:.4f}")
            bar.update(step - bar.n)

        with naming(f"codec {codec!r} at {coder.level_label(level)}"):
            content = coder.learn(pictures["train"], pictures["val"], level, tell)
    with publish(out) as aside:
        aside.write_bytes(content)


def _side(data: Path) -> int:
    shapes = [row["shape"] for row in iter_rows(data, ["shape"], list(CUTTINGS))]
    if any(len(shape) < 3 for shape in shapes):
        raise LossyBenchError(f"{data}: holds audio, and codecs learn from pictures alone; leave the codec out")
    smallest = min((min(shape[-3:-1]) for shape in shapes), default=UNIT)
    return min(-(-smallest // UNIT) * UNIT, LARGEST)


def _cuttings(data: Path, split: str, side: int) -> Iterator[np.ndarray]:
    """Cuttings of the items of a split, uint8 (side, side, 3) each, at places drawn for each item.

    Pictures that are smaller are filled up with their edges. Raises LossyBenchError for a split without items.
    """
    count = sum(1 for _ in iter_rows(data, ["split"], [split]))
    if not count:
        raise LossyBenchError(f"{data}: a codec that learns needs items in the split {split}, and there are none")
    lossless = codecs.get(ORIGINAL)
    every, each = -(-count // CUTTINGS[split]), -(-CUTTINGS[split] // count)
    for place, row in enumerate(iter_rows(data, ["id", "media", "shape", "sampling_rate"], [split])):
        if place % every:
            continue
        draw = np.random.default_rng([place, count])
        with naming(f"{data}: item {row['id']}"):
            media = lossless.decode(row["media"], tuple(row["shape"]), row["sampling_rate"])
        for _ in range(each):
            picture = media if media.ndim == 3 else media[draw.integers(len(media))]
            top, left = (draw.integers(max(length - side, 0) + 1) for length in picture.shape[:2])
            cut = picture[top : top + side, left : left + side]
            yield np.pad(cut, ((0, side - cut.shape[0]), (0, side - cut.shape[1]), (0, 0)), mode="edge")
