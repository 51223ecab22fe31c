"""Small data and compressed tables of synthetic items, for the tests of training and evaluation."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from lossybench import artifacts, codecs, kinds
from lossybench.fidelity import rate_of

CLASSES = ["left", "right"]
_SPLITS = ("train", "val", "test")


def bright_halves(count: int, size: int = 32, seed: int = 0) -> list[tuple[np.ndarray, int]]:
    """Noisy images with one bright half, left (0) or right (1): learnt within a few steps."""
    random = np.random.default_rng(seed)
    items = []
    for index in range(count):
        image = random.integers(60, 120, (size, size, 3)).astype(np.uint8)
        label = index % 2
        image[:, label * size // 2 : (label + 1) * size // 2] += 80
        items.append((image, label))
    return items


def data_row(name: str, split: str, media: np.ndarray, label: int = -1, boxes: Iterable[dict] = (), sampling_rate=0.0):
    """A row of a data table."""
    payload = codecs.get("original").encode(media, 0, sampling_rate).payload
    return {
        "id": name,
        "split": split,
        "groups": {"source": name},
        "media": payload,
        "shape": list(media.shape),
        "sampling_rate": sampling_rate,
        "label": label,
        "boxes": list(boxes),
    }


def write_data(path: Path, rows: list[dict[str, Any]], medium: str, kind: str, classes: list[str]) -> Path:
    """A data table of task `toy`."""
    meta = {"task": "toy", "medium": medium, "kind": kind, "classes": classes, "card": {}}
    artifacts.write_table(path, kinds.load(kind).data_schema(), rows, meta)
    return path


def write_compressed(path: Path, data: Path, codec: str, level: float, splits: tuple[str, ...]) -> Path:
    """A compressed table of some splits of a data table, without fidelity."""
    original, lossy, meta = codecs.get("original"), codecs.get(codec), artifacts.read_meta(data)

    def rows():
        for row in artifacts.iter_rows(data, splits=splits):
            about = (meta["medium"], row["sampling_rate"])
            media = original.decode(row["media"], tuple(row["shape"]), row["sampling_rate"])
            encoded = lossy.encode(media, level, row["sampling_rate"])
            yield {
                **dict.fromkeys(artifacts.COMPRESSED.names),
                "id": row["id"],
                "split": row["split"],
                "payload": encoded.payload,
                "payload_bits": encoded.payload_bits,
                "overhead_bits": encoded.overhead_bits,
                "raw_bits": 8 * media.nbytes,
                "rate": rate_of(encoded.payload_bits + encoded.overhead_bits, media.shape, *about),
                "coded_rate": rate_of(encoded.payload_bits, media.shape, *about),
                "encoder": lossy.version(),
            }

    artifacts.write_table(
        path,
        artifacts.COMPRESSED,
        rows(),
        {"task": meta["task"], "codec": codec, "level": level, "options": {}, "medium": meta["medium"]},
    )
    return path


def image_task(folder: Path, train: int = 48) -> tuple[Path, Path, Path]:
    """Data table, train part and test part (codec original) of a two-class image task."""
    counts = {"train": train, "val": 16, "test": 20}
    rows = [
        data_row(f"{split}-{index}", split, image, label)
        for split in _SPLITS
        for index, (image, label) in enumerate(bright_halves(counts[split], seed=_SPLITS.index(split)))
    ]
    data = write_data(folder / "data.parquet", rows, "image", "classification", CLASSES)
    train_part = write_compressed(folder / "original-train.parquet", data, "original", 0, ("train", "val"))
    return data, train_part, write_compressed(folder / "original-test.parquet", data, "original", 0, ("test",))
