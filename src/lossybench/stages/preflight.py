"""The preflight stage: tries on a few items what later stages need, before anything is compressed."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lossybench import artifacts, codecs, models, tasks
from lossybench.attacks.items import chosen
from lossybench.codecs.codec import Medium
from lossybench.conditions import ORIGINAL
from lossybench.data._folds import learning
from lossybench.errors import LossyBenchError, naming
from lossybench.models import runtime
from lossybench.models.existing import first_line
from lossybench.tasks import training_settings
from lossybench.tasks.media import to_float
from lossybench.tasks.task_kind import Example, TaskKind
from lossybench.training import input_of

TIMED = 1.0  # seconds for which, about, a model is timed
_log = logging.getLogger(__name__)

Row = dict[str, Any]


def preflight(
    data: Path, task: str, out: Path, settings: dict[str, Any] | None = None, adopted: Sequence[Path] = ()
) -> None:
    """Try on a few items what later stages need, before anything is compressed.

    Every codec encodes and decodes the smallest and the largest items, every architecture learns from some items and
    predicts them, and every attacked model gives a gradient of its loss.

    Args:
        data: the table that fetch made
        task: the name of the task
        out: the JSON file to write: {models: {arch: {predict, learn}}}, CPU seconds for an item; learn is left out for
            models that exist already and are not attacked
        settings: codecs {name: {levels, options, variant}}, training {arch: training settings} and attacked
            {arch: {items, seed}}, which choose the items
        adopted: the folders of the models that exist already

    Raises:
        LossyBenchError: naming the codec and the item, or the model, that does not work; nothing is published then.
    """
    asked = {"codecs": {}, "training": {}, "attacked": {}, **(settings or {})}
    meta = artifacts.read_meta(data)
    splits = ("train", "val", "test") if asked["training"] else ("test",)
    columns = ["id", "split", "shape", "sampling_rate"]
    kind = tasks.kind_class(meta["kind"])
    if folds := meta.get("folds"):
        columns += ["groups", "fold", *kind.truth.names]
    rows = list(artifacts.iter_rows(data, columns, splits=splits))
    if not rows:
        raise LossyBenchError(f"{data}: no items in the split {splits[-1]}")
    _check_attacked(data, meta, [row for row in rows if row["split"] == "test"], asked["attacked"])
    _try_codecs(data, meta["medium"], rows, asked["codecs"])
    runtime.start("cpu")
    found: dict[str, dict[str, float]] = {}
    for arch, own in asked["training"].items():
        with naming(arch):
            learnt = [row for row in rows if row["split"] != "test"]
            if folds:  # as the model of the first fold would
                of_split = learning(rows, 1, folds, kind.labels)
                learnt = [row | {"split": name} for name, some in of_split.items() for row in some]
            found[arch] = _try_training(data, meta, task, arch, own, learnt, arch in asked["attacked"])
    for folder in adopted:
        model, info = models.load(folder)
        with naming(info["arch"]):
            found[info["arch"]] = {"predict": info["sample"]["seconds"]}
            if info["arch"] in asked["attacked"]:
                found[info["arch"]]["learn"] = _try_attack(data, model, info)
    artifacts.write_json(out, {"models": found})


def _try_codecs(data: Path, medium: Medium, rows: Sequence[Row], asked: Mapping[str, Mapping[str, Any]]) -> None:
    lossless = codecs.get(ORIGINAL)
    extreme = _extremes(rows)
    for row in _with_media(data, [row["id"] for row in extreme]):
        shape, sampling_rate = tuple(row["shape"]), row["sampling_rate"]
        media = lossless.decode(row["media"], shape, sampling_rate)
        for name, how in asked.items():
            coder = codecs.made(name, how["options"], how.get("variant"))
            what = f"{data}: item {row['id']}, of the shape {list(shape)}, which is one of the smallest or largest"
            with naming(f"{what}, does not pass {name}"):
                for level in how["levels"]:
                    coder.check(level, medium, sampling_rate, shape)
                for level in dict.fromkeys((how["levels"][0], how["levels"][-1])):
                    coder.decode(coder.encode(media, level, sampling_rate).payload, shape, sampling_rate)


def _check_attacked(
    data: Path, meta: Mapping[str, Any], tested: Sequence[Row], attacked: Mapping[str, Mapping[str, int]]
) -> None:
    """Raise LossyBenchError where the test items that are attacked cannot be attacked together."""
    for arch, how in attacked.items():
        some = [tested[place] for place in chosen(len(tested), how["items"], how["seed"])]
        rates = sorted({row["sampling_rate"] for row in some})
        if len(rates) > 1:
            what = f"sampling rates, from {rates[0]:g} to {rates[-1]:g}; bring them to one"
            raise LossyBenchError(f"{data}: the items on which {arch} is attacked have {len(rates)} {what}")
        lengths = sorted({row["shape"][0] for row in some})
        if len(lengths) > 1 and meta["medium"] == "video" and tasks.kind_class(meta["kind"]).by_frame:
            what = f"lengths, from {lengths[0]} to {lengths[-1]} frames; cut them to one"
            raise LossyBenchError(f"{data}: the clips on which {arch} is attacked have {len(lengths)} {what}")


def _extremes(rows: Sequence[Row]) -> list[Row]:
    """The smallest and the largest items, and those that are longest along one axis; one of each shape."""
    shapes = np.array([row["shape"] for row in rows], np.int64)
    sizes = shapes.prod(axis=1)
    uneven = shapes.min(axis=0) < shapes.max(axis=0)
    places = [sizes.argmin(), sizes.argmax(), *shapes.argmax(axis=0)[uneven]]
    return list({tuple(rows[place]["shape"]): rows[place] for place in places}.values())


def _with_media(data: Path, ids: Sequence[str]) -> Iterator[Row]:
    """The rows of the items of these ids, with all columns, in the order of the table."""
    wanted = set(ids)
    for row in artifacts.iter_rows(data):
        if row["id"] in wanted:
            yield row
            wanted.remove(row["id"])
            if not wanted:
                return


def _try_training(
    data: Path, meta: Mapping[str, Any], name: str, arch: str, own: dict[str, Any], rows: Sequence[Row], attacked: bool
) -> dict[str, float]:
    """The seconds in which the architecture predicts and learns from an item. rows: of the splits train and val."""
    medium, kind = meta["medium"], meta["kind"]
    how = training_settings.read(own, medium, kind, models.default_settings(arch, medium, kind))
    learnt = [row for row in rows if row["split"] == "train"]
    if not learnt or len(learnt) == len(rows):
        raise LossyBenchError(f"{data}: training needs items in train and in val, and one of them has none")
    input = input_of(rows, how, medium, kind, arch, str(data))
    info = {
        **{key: meta[key] for key in ("medium", "kind", "classes")},
        "task": name,
        "input": {"shape": input.shape, "sampling_rate": input.sampling_rate},
        "settings": how.model_dump(mode="json"),
    }
    task = tasks.get(info)
    torch.manual_seed(0)
    model = models.build(arch, medium, kind, len(meta["classes"]), input, how.weights)
    examples = list(itertools.islice(_examples(data, task, [row["id"] for row in learnt], True), how.batch_size))
    # The items are dealt out evenly to the steps, so that the least batch is this one.
    total = len(learnt) * (how.frames_per_clip if medium == "video" and task.by_frame else 1)
    found = timed(task, model, examples, total // max(1, round(total / how.batch_size)))
    if attacked:
        _gradient(task, model, examples[:2])
    return found


def timed(task: TaskKind, model: torch.nn.Module, examples: Sequence[Example], least: int) -> dict[str, float]:
    """The CPU seconds for an example, {learn, predict}, in which a model learns from some examples and predicts them.

    examples: a batch at most; without targets nothing is learnt. least: the number of examples in the smallest batch
    that training will have. Raises LossyBenchError for a loss that is not finite.
    """

    def learn(some: Sequence[Example]) -> None:
        loss = task.loss(model.train(), _batch(some, task.medium), [example.target for example in some])
        if not loss.isfinite():
            raise LossyBenchError(f"its loss on the first items is {float(loss)}")
        loss.backward()

    def predict(some: Sequence[Example]) -> None:
        with torch.inference_mode():
            task.predict(model.eval(), _batch(some, task.medium))

    seconds = {"predict": _seconds(predict, examples, 1)}
    if examples[0].target is not None:
        seconds["learn"] = _seconds(learn, examples, max(1, min(2, least)))
    return seconds


def _try_attack(data: Path, model: torch.nn.Module, info: Mapping[str, Any]) -> float:
    """The seconds that an existing model takes for its gradient at an item, as attacks follow it."""
    task = tasks.get(info)
    ids = [row["id"] for row in artifacts.iter_rows(data, ["id"], splits=["test"])]
    examples = list(itertools.islice(_examples(data, task, ids, False), 32))
    return _seconds(lambda some: _gradient(task, model, some), examples, min(2, len(examples)))


def _gradient(task: TaskKind, model: torch.nn.Module, examples: Sequence[Example]) -> None:
    """Raise LossyBenchError where the model has no losses, or its loss no finite gradient with respect to the items."""
    media = _batch(examples, task.medium).requires_grad_()
    model.train(task.loss_in_training)
    loss = task.loss(model, media, [example.target for example in examples])
    try:
        (gradient,) = torch.autograd.grad(loss, media)
    except RuntimeError as error:
        raise LossyBenchError(
            f"its loss has no gradient with respect to the items ({first_line(error)}), which attacks follow; leave "
            "it out of attack.archs"
        ) from None
    if not gradient.isfinite().all():
        raise LossyBenchError(
            "the gradient of its loss, which attacks follow, is not finite; leave it out of attack.archs"
        )
    if not gradient.any():
        _log.warning("the gradient of its loss is 0 at the first items, so that attacks which follow it will not work")


def _seconds(work: Callable[[Sequence[Example]], None], examples: Sequence[Example], first: int) -> float:
    """The CPU seconds for an example: tried on the `first`, then timed on as many as take about `TIMED` seconds."""
    start = time.process_time()
    work(examples[:first])
    each = (time.process_time() - start) / first
    some = examples[: max(first, int(TIMED / max(each, 1e-6)))]
    start = time.process_time()
    work(some)
    return (time.process_time() - start) / len(some)


def _examples(data: Path, task: TaskKind, ids: Sequence[str], training: bool) -> Iterator[Example]:
    original = codecs.get(ORIGINAL)
    for row in _with_media(data, ids):
        with naming(f"{data}: item {row['id']}"):
            media = original.decode(row["media"], tuple(row["shape"]), row["sampling_rate"])
            examples = task.examples(media, row, training=training)
        yield from examples


def _batch(examples: Sequence[Example], medium: str) -> torch.Tensor:
    return to_float(torch.from_numpy(np.stack([example.media for example in examples])), medium, torch.device("cpu"))
