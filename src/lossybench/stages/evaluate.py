"""The evaluate stage notes what models predict for every test item, at all levels of one codec."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from lossybench import artifacts, codecs, kinds, models, tasks
from lossybench.errors import LossyBenchError, naming
from lossybench.fingerprint import fingerprint
from lossybench.models import WEIGHTS, runtime
from lossybench.models.inputs import Sent
from lossybench.tasks.media import stage, to_float
from lossybench.tasks.task_kind import Example, TaskKind

BATCH = 32  # examples; more are no faster on a CPU core
TOGETHER = 2**30  # bytes of weights: so many models are in memory at once, and each such lot decodes the items anew

Truth = Mapping[str, Mapping[str, Any]]  # the test rows of the data table by id
Feed = Callable[..., Iterator[Any]]  # maps a function over items, with decoding ahead


class Asked(NamedTuple):
    """A model that is asked."""

    network: Any  # on its device
    by_item: int  # so many items at a time it is asked about, by `inputs.Sent`; 0 where it takes tensors
    task: TaskKind
    fold: int  # which it is asked about alone; 0 for all items
    note: Callable[[dict[str, Any]], None]  # takes each outcome


class Waiting(NamedTuple):
    """An example until its batch is full.

    item: the row of the data table that it is of, read once for all models. sent: what goes to models that are asked
    item by item, if there are any.
    """

    name: str
    item: Mapping[str, Any]
    example: Example
    sent: Sent | None


def evaluate(
    model: list[Path],
    data: Path,
    compressed: list[Path],
    out: list[Path],
    record: Path | None = None,
    device: str = "auto",
    threads: int = 1,
    anew: bool = False,
) -> None:
    """Test models on all levels of one codec, item by item. Each item is decoded once for all of them.

    A table that is there already stays as it is, with its time, where it was made from the same model, items and code.

    Args:
        model: the folders that train or adopt made
        data: the table that fetch made, for labels and boxes
        compressed: test parts, all of one codec, in the order in which the levels shall be written
        out: the tables to write (of the schema of the kind of task), one for each model, in the same order
        record: a JSON file to write: {table: what it was made from} of every table
        device: auto, cpu or cuda
        threads: CPU threads that decode items ahead; they change no result
        anew: make all tables again

    Raises:
        LossyBenchError: when the tables are of different codecs or tasks, or lack test items, and when there are not as
            many tables as models.
    """
    if len(model) != len(out):
        raise LossyBenchError(f"evaluate: {len(model)} models and {len(out)} tables; give one table for each model")
    metas = [artifacts.read_meta(path) for path in compressed]
    infos = [_info(folder, compressed, metas) for folder in model]
    columns = ["id", "fold", "shape", "sampling_rate", *tasks.kind_class(infos[0]["kind"]).truth.names]
    truth = artifacts.Rows(data, columns, splits=["test"])
    items = _digest(truth, compressed, metas)
    coder = codecs.modules(metas[0]["codec"], metas[0].get("variant"))
    identities = [_identity(info, coder, items) for info in infos]
    wanted = [
        place
        for place, (path, identity) in enumerate(zip(out, identities, strict=True))
        if anew or artifacts.identity(path) != identity
    ]
    if wanted:
        runtime.hold_memory()
        chosen = runtime.start(device, all(runtime.deterministic(infos[place]) for place in wanted))
        lots = _lots(model, wanted)
        bar = tqdm(total=len(lots) * len(truth) * len(compressed), desc="evaluate", unit="item", mininterval=1)
        with torch.inference_mode(), bar as progress:
            for lot in lots:
                with contextlib.ExitStack() as stack:
                    asked = [
                        stack.enter_context(_asked(model[at], out[at], metas[0]["codec"], identities[at], chosen))
                        for at in lot
                    ]
                    # A thread decodes while this one does nothing but wait for a model behind a command or url.
                    waits = any(one.by_item for one in asked)
                    feed = functools.partial(runtime.in_order, device=chosen, threads=threads + waits)
                    for path, of_level in zip(compressed, metas, strict=True):
                        level_outcomes(asked, chosen, feed, path, of_level, truth, progress)
    if record:
        artifacts.write_json(record, dict(zip(map(str, out), identities, strict=True)))


def _info(model: Path, compressed: list[Path], metas: list[dict[str, Any]]) -> dict[str, Any]:
    """The model.json of a model, which fits the compressed tables of these `metas`."""
    info = models.read_info(model)
    if not compressed:
        raise LossyBenchError("evaluate: no compressed tables given; give one for each level")
    for path, meta in zip(compressed, metas, strict=True):
        if meta["task"] != info["task"]:
            raise LossyBenchError(f"{path}: is of task {meta['task']!r}; {model} needs task {info['task']!r}")
        if meta["codec"] != metas[0]["codec"]:
            first = f"{compressed[0]} of {metas[0]['codec']!r}"
            raise LossyBenchError(f"{path}: is of codec {meta['codec']!r}, but {first}; give tables of one codec")
    return info


def _digest(truth: Truth, compressed: Sequence[Path], metas: Sequence[Mapping[str, Any]]) -> str:
    """A hash of what is decoded, and of what is true of it. Fidelity, say, does not count."""
    digest = hashlib.blake2b()
    for row in truth.values():
        digest.update(json.dumps(row, sort_keys=True, default=bytes.hex).encode())
    for path, meta in zip(compressed, metas, strict=True):
        digest.update(
            json.dumps([meta.get(key) for key in ("codec", "options", "variant", "level")], sort_keys=True).encode()
        )
        for row in artifacts.iter_rows(path, ["id", "payload"]):
            digest.update(f"{row['id']} {len(row['payload'])} ".encode() + row["payload"])
    return digest.hexdigest()


def _identity(info: Mapping[str, Any], coder: Sequence[str], items: str) -> str:
    """A hash of all that a model's outcomes follow from: the model, the code, and `items`, their digest.

    coder: the modules of the codec.
    """
    if "existing" in info:
        own = models.existing_modules(info["existing"]["settings"])
        own = [name for name in own if importlib.util.find_spec(name)]  # `load` tells of a class that is gone
    else:
        own = [models.module_name(info["arch"], info["medium"], info["kind"])]
    code = fingerprint(__name__, kinds.module_name(info["kind"]), *coder, *own)
    return hashlib.blake2b(json.dumps([code, info, items], sort_keys=True).encode(), digest_size=16).hexdigest()


def _lots(folders: Sequence[Path], wanted: Sequence[int]) -> list[list[int]]:
    """The places in `folders` of the `wanted` models, parted so that each part's weights are `TOGETHER` bytes at most.

    A model that has more is alone.
    """
    lots: list[list[int]] = []
    room = 0
    for place in wanted:
        size = (folders[place] / WEIGHTS).stat().st_size
        if not lots or size > room:
            lots.append([])
            room = TOGETHER
        lots[-1].append(place)
        room -= size
    return lots


@contextlib.contextmanager
def _asked(model: Path, out: Path, codec: str, identity: str, device: torch.device) -> Iterator[Asked]:
    """A model on its device, with the table that takes its outcomes and is published at the end."""
    network, info = models.load(model)
    task = tasks.get(info)
    meta: dict[str, Any] = {
        key: info[key] for key in ("task", "arch", "regime", "seed", "fold", "classes", "kind") if key in info
    }
    meta |= {"codec": codec, "environment": runtime.environment(device), "existing": "existing" in info}
    with artifacts.writing(out, task.schema, {**meta, "identity": identity}) as table:
        yield Asked(network.to(device), getattr(network, "by_item", 0), task, meta.get("fold", 0), table.add)


def level_outcomes(
    asked: Sequence[Asked],
    device: torch.device,
    feed: Feed,
    path: Path,
    meta: Mapping[str, Any],
    truth: Truth,
    progress: tqdm,
) -> None:
    """Note the outcomes of all test items at one level.

    asked: the models, on `device`. path, meta: the compressed table and its `meta`. progress: a bar, moved on by each
    item. Raises LossyBenchError for items that the data lack, and for test items that the table lacks.
    """
    codec = codecs.made(meta["codec"], meta["options"], meta.get("variant"))
    level, missing = float(meta["level"]), set(truth)
    # Models that take in the same of an item share its examples, batch by batch.
    alike: dict[Any, list[Asked]] = {}
    for one in asked:
        alike.setdefault((one.fold, one.task.takes_in(training=False)), []).append(one)
    folds = {one.fold for one in asked}
    waiting: list[list[Waiting]] = [[] for _ in alike]

    def rows() -> Iterator[dict[str, Any]]:
        for row in artifacts.iter_rows(path, ["id", "payload"], splits=["test"]):
            if row["id"] not in truth:
                raise LossyBenchError(f"{path}: item {row['id']!r} is not in the data; compress the data again")
            missing.discard(row["id"])
            if folds & {0, truth[row["id"]]["fold"]}:
                yield row

    def decode(row: dict[str, Any]) -> list[list[Waiting]]:
        item = truth[row["id"]]
        with naming(f"{path}: item {row['id']}"):
            decoded = codec.decode(row["payload"], tuple(item["shape"]), item["sampling_rate"])
            return [
                [waits(some, row["id"], item, one) for one in some[0].task.examples(decoded, item, training=False)]
                if fold in (0, item["fold"])
                else []
                for (fold, _), some in alike.items()
            ]

    def waits(some: Sequence[Asked], name: str, item: Mapping[str, Any], example: Example) -> Waiting:
        sent = None
        for asked in some:
            if asked.by_item:
                sent = sent or Sent.of(name, item, example.media, example.frame, asked.task.info)
                sent = asked.network.packed(sent)
        return Waiting(name, item, example, sent)

    def predict(some: Sequence[Asked], batch: list[Waiting]) -> None:
        @functools.cache
        def floats() -> torch.Tensor:
            return to_float(stage(np.stack([one.example.media for one in batch]), device), some[0].task.medium, device)

        for asked in some:
            with naming(f"{path}: items {batch[0].name} to {batch[-1].name}"):
                given: Any = [one.sent for one in batch] if asked.by_item else floats()
                predictions = asked.task.predictions(asked.network, given)
            for one, prediction in zip(batch, predictions, strict=True):
                outcome = asked.task.outcome(one.example, prediction, one.item)
                asked.note({"id": one.name, "level": level, **outcome})
        batch.clear()

    for found in feed(decode, rows()):
        for some, batch, new in zip(alike.values(), waiting, found, strict=True):
            batch += new
            if len(batch) >= max(one.by_item or BATCH for one in some):
                predict(some, batch)
        progress.update()
    for some, batch in zip(alike.values(), waiting, strict=True):
        if batch:
            predict(some, batch)
    if missing:
        raise LossyBenchError(f"{path}: lacks {len(missing)} test items, such as {min(missing)!r}; compress them again")
