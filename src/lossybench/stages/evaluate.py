"""The evaluate stage notes what one model predicts for every test item, at all levels of one codec."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from lossybench import artifacts, codecs, models, tasks
from lossybench.errors import LossyBenchError, naming
from lossybench.models import runtime
from lossybench.tasks.media import stage, to_float
from lossybench.tasks.task_kind import Example, TaskKind

BATCH = 32  # examples; more are no faster on a CPU core


def evaluate(
    model: Path, data: Path, compressed: list[Path], out: Path, device: str = "auto", threads: int = 1
) -> None:
    """Test one model on all levels of one codec, item by item.

    Args:
        model: the folder that train or adopt made
        data: the table that fetch made, for labels and boxes
        compressed: test parts, all of one codec, in the order in which the levels shall be written
        out: the table to write (artifacts.*_OUTCOMES)
        device: auto, cpu or cuda
        threads: CPU threads that decode items ahead; they change no result

    Raises:
        LossyBenchError: when the tables are of different codecs or tasks, or lack test items.
    """
    network, info = models.load(model)
    chosen = runtime.start(device, runtime.deterministic(info))
    network.to(chosen)
    feed = functools.partial(runtime.in_order, device=chosen, threads=threads)
    metas = [artifacts.read_meta(path) for path in compressed]
    _check(info, compressed, metas)
    columns = ["id", "shape", "sampling_rate", "label", "boxes"]
    truth = {row["id"]: row for row in artifacts.iter_rows(data, columns, splits=["test"])}
    task = tasks.get(info)
    meta = {key: info[key] for key in ("task", "arch", "regime", "seed", "classes", "kind")}
    meta |= {"codec": metas[0]["codec"], "environment": runtime.environment(chosen), "existing": "existing" in info}

    def rows() -> Iterator[dict[str, Any]]:
        bar = tqdm(total=len(truth) * len(compressed), desc="evaluate", unit="item", mininterval=1)
        with torch.inference_mode(), bar as progress:
            for path, of_level in zip(compressed, metas, strict=True):
                yield from level_outcomes(task, network, chosen, feed, path, of_level, truth, progress)

    artifacts.write_table(out, task.schema, rows(), meta)


def _check(info: Mapping[str, Any], compressed: list[Path], metas: list[dict[str, Any]]) -> None:
    if not compressed:
        raise LossyBenchError("evaluate: no compressed tables given; give one for each level")
    for path, meta in zip(compressed, metas, strict=True):
        if meta["task"] != info["task"]:
            raise LossyBenchError(f"{path}: is of task {meta['task']!r}; the model needs task {info['task']!r}")
        if meta["codec"] != metas[0]["codec"]:
            first = f"{compressed[0]} of {metas[0]['codec']!r}"
            raise LossyBenchError(f"{path}: is of codec {meta['codec']!r}, but {first}; give tables of one codec")


def level_outcomes(
    task: TaskKind,
    network: torch.nn.Module,
    device: torch.device,
    feed: Callable[..., Iterator[Any]],
    path: Path,
    meta: Mapping[str, Any],
    truth: Mapping[str, Mapping[str, Any]],
    progress: tqdm,
) -> Iterator[dict[str, Any]]:
    """The outcomes of all test items at one level.

    network: the model, on `device`. feed: maps a function over items, with decoding ahead. path, meta: the compressed
    table and its `meta`. truth: the test rows of the data table by id. progress: a bar, moved on by each item. Raises
    LossyBenchError for items that the data lack, and for test items that the table lacks.
    """
    codec = codecs.get(meta["codec"], meta["options"])
    missing = set(truth)
    waiting: list[tuple[str, Example]] = []

    def rows() -> Iterator[dict[str, Any]]:
        for row in artifacts.iter_rows(path, ["id", "payload"], splits=["test"]):
            if row["id"] not in truth:
                raise LossyBenchError(f"{path}: item {row['id']!r} is not in the data; compress the data again")
            missing.discard(row["id"])
            yield row

    def decode(row: dict[str, Any]) -> list[tuple[str, Example]]:
        item = truth[row["id"]]
        with naming(f"{path}: item {row['id']}"):
            decoded = codec.decode(row["payload"], tuple(item["shape"]), item["sampling_rate"])
            return [(row["id"], example) for example in task.examples(decoded, item, training=False)]

    def predict() -> Iterator[dict[str, Any]]:
        media = stage(np.stack([example.media for _, example in waiting]), device)
        with naming(f"{path}: items {waiting[0][0]} to {waiting[-1][0]}"):
            predictions = task.predict(network, to_float(media, task.medium, device))
        for (name, example), prediction in zip(waiting, predictions, strict=True):
            yield {"id": name, "level": float(meta["level"]), **task.outcome(example, prediction, truth[name])}
        waiting.clear()

    for examples in feed(decode, rows()):
        waiting += examples
        if len(waiting) >= BATCH:
            yield from predict()
        progress.update()
    if waiting:
        yield from predict()
    if missing:
        raise LossyBenchError(f"{path}: lacks {len(missing)} test items, such as {min(missing)!r}; compress them again")
