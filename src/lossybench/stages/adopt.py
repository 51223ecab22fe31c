"""The adopt stage: takes over a model that exists already, in place of training one."""

from __future__ import annotations

import dataclasses
import itertools
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from lossybench import artifacts, codecs, models, tasks
from lossybench.conditions import ORIGINAL
from lossybench.errors import LossyBenchError
from lossybench.models import existing_settings, from_torchvision, runtime
from lossybench.models.existing import PROGRAM, Classifier, first_line, read_state, rebuild
from lossybench.models.existing_settings import ExistingSettings
from lossybench.models.inputs import Input, common_shape
from lossybench.tasks import training_settings
from lossybench.tasks.media import to_float


def adopt(data: Path, task: str, arch: str, out: Path, settings: dict[str, Any] | None = None, seed: int = 0) -> None:
    """Take over a model that exists already, in place of training one.

    The model is tried on the first test items.

    Args:
        data: the table that fetch made
        task: the name of the task
        arch: the name of the model, or torchvision/NAME for published weights
        out: the folder to write, as training would have written it (models.save)
        settings: checkpoint, class, classes, input_size, normalise and so on (existing_settings.ExistingSettings)
        seed: the number under which the model is filed

    Raises:
        LossyBenchError: where the checkpoint does not load or does not fit its class, and where the model refuses the
            items or returns anything but one finite output for each class that `classes` names; nothing is published
            then.
    """
    meta = artifacts.read_meta(data)
    medium, kind, classes = meta["medium"], meta["kind"], meta["classes"]
    how = existing_settings.read(arch, settings or {}, medium, kind, classes)
    form, total = existing_settings.form(arch, how), 0
    runtime.start("cpu")
    if form == "published":
        how, state, total = _published(arch, how, medium, kind)
    elif form == "state":
        state = read_state(existing_settings.checkpoint_file(how.checkpoint))
    else:
        content = existing_settings.checkpoint_file(how.checkpoint).read_bytes()
        state = {PROGRAM: torch.frombuffer(bytearray(content), dtype=torch.uint8)}
    assert how.classes is not None
    known = existing_settings.named(how.classes)
    rows = list(artifacts.iter_rows(data, ["id", "shape", "sampling_rate"], splits=["test"]))
    if not rows:
        raise LossyBenchError(f"{data}: no items in the split test")
    about: dict[str, Any] = {
        "settings": how.model_dump(mode="json", by_alias=True),
        "form": form,
        "layout": how.layout or existing_settings.LAYOUTS[medium][0],
        "normalise": how.normalise.model_dump(mode="json") if how.normalise else None,
        "outputs": how.outputs,
        "total": total,
        "picked": existing_settings.outputs_of(known, classes),
        "rest": [],
    }
    shape = how.input_size or common_shape([row["shape"] for row in rows], medium, str(data))
    input = Input(tuple(shape), rows[0]["sampling_rate"] if medium == "audio" else 0.0, how.resize, how.interpolation)
    info: dict[str, Any] = {
        "task": task,
        "regime": ORIGINAL,
        "arch": arch,
        "seed": seed,
        **{key: meta[key] for key in ("medium", "kind", "classes")},
        "input": dataclasses.asdict(input),
        "settings": training_settings.read({"input_size": shape}, medium, kind).model_dump(mode="json"),
        "existing": about,
    }
    try:
        model = rebuild(info, state).eval()
        batch = _first_items(data, info)
        with torch.inference_mode():
            if isinstance(model, Classifier):
                about["rest"] = _rest(model, batch, known, not isinstance(how.classes, dict))
            else:
                model(batch)
    except LossyBenchError as error:
        raise LossyBenchError(f"{arch}: {error}") from None
    except Exception as error:  # the user's own code may raise anything
        raise LossyBenchError(
            f"{arch}: fails on a batch of {medium} of the shape {list(batch.shape)} ({first_line(error)}); check "
            "input_size and layout"
        ) from error
    info["others"] = int(bool(about["rest"]))
    info["parameters"] = sum(value.numel() for value in state.values() if form != "onnx")
    info["environment"] = {"python": platform.python_version(), "torch": torch.__version__}
    models.save(state, info, [], out)


def _first_items(data: Path, info: Mapping[str, Any]) -> torch.Tensor:
    """Two test items as model input; the first one twice, where there is no second."""
    original, task = codecs.get(ORIGINAL), tasks.get(info)
    rows = artifacts.iter_rows(data, ["media", "shape", "sampling_rate", "label", "boxes"], splits=["test"])
    decoded = ((original.decode(row["media"], tuple(row["shape"]), row["sampling_rate"]), row) for row in rows)
    examples = (example for media, row in decoded for example in task.examples(media, row, training=False))
    first = [example.media for example in itertools.islice(examples, 2)]
    return to_float(torch.from_numpy(np.stack((first * 2)[:2])), info["medium"], torch.device("cpu"))


def _rest(model: Classifier, batch: torch.Tensor, known: Mapping[str, int], listed: bool) -> list[int]:
    """The outputs that belong to none of the data set's classes, once what the model returns is checked.

    known: {name: output}. listed: whether the study names all outputs, in order, and not those of some classes.
    """
    found = model.all_outputs(batch)
    if not isinstance(found, torch.Tensor) or found.ndim != 2 or len(found) != len(batch):
        what = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
        raise LossyBenchError(f"returns {what} for a batch of {len(batch)}; a classifier returns (batch, outputs)")
    if not found.isfinite().all():
        raise LossyBenchError("its outputs on the first items are not finite; check normalise")
    total, highest = found.shape[1], max(known.values())
    if highest >= total or (listed and len(known) != total):
        raise LossyBenchError(
            f"has {total} outputs, but `classes` names {len(known)}, up to output {highest}; list the name of every "
            "output, in order, or map the data set's classes: {name: output}"
        )
    sums = found.float().sum(1)
    probable = bool((found >= 0).all() and functional.mse_loss(sums, torch.ones_like(sums)) < 1e-6)
    if probable != (model.outputs == "probabilities"):
        now = "probabilities" if probable else "logits"
        raise LossyBenchError(f"its outputs seem to be {now}; set outputs: {now}")
    return [index for index in range(total) if index not in set(model.picked)]


def _published(
    arch: str, how: ExistingSettings, medium: str, kind: str
) -> tuple[ExistingSettings, dict[str, torch.Tensor], int]:
    """The settings, completed by what torchvision says of its weights; the weights; and the number of outputs."""
    weights = from_torchvision.published(arch.removeprefix(existing_settings.PUBLISHED), medium, kind, how.checkpoint)
    preset, names = weights.transforms(), list(weights.meta["categories"])
    # ImageNet has two classes "crane", and COCO has gaps called "N/A": a name that is there twice tells no class.
    said: dict[str, Any] = {"classes": {name: i for i, name in enumerate(names) if names.count(name) == 1}}
    if kind == "classification":
        size = tuple(preset.crop_size * 2)[:2]  # [224] means a square
        if medium == "video":
            size = (how.input_size[0] if how.input_size else 16, *size)
        shorter = preset.resize_size
        said |= {
            "input_size": size,
            "resize": min(shorter) if isinstance(shorter, list | tuple) else shorter,
            "interpolation": preset.interpolation.value,
            "normalise": {"mean": preset.mean, "std": preset.std},
        }
    given = how.model_dump(by_alias=False, exclude_unset=True)
    return ExistingSettings(**{**said, **given}), weights.get_state_dict(progress=True, check_hash=True), len(names)
