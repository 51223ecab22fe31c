"""The settings of training. torch is not imported, so that a study is checked at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import pydantic
from pydantic import Field

from lossybench import tasks
from lossybench.errors import LossyBenchError, explain
from lossybench.settings import MOST, Settings, Shape


class Adversary(Settings):
    """How training batches are attacked: see `training.perturb`."""

    epsilon: float = Field(gt=0, le=1, description="L-infinity bound as a share of full scale")
    steps: int = Field(ge=1, le=MOST, description="gradient steps an attack")


class TrainingSettings(Settings):
    """How a model is trained. What a study leaves out is set by the architecture, then by the kind of task."""

    epochs: int = Field(ge=1, le=MOST, description="passes over the training items")
    batch_size: int = Field(ge=1, le=MOST, description="examples a step")
    learning_rate: float = Field(gt=0, description="peak of the one-cycle schedule of AdamW")
    weight_decay: float = Field(0.05, ge=0, description="of AdamW, decoupled; on matrices and kernels only")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="of the cross-entropy; classification only")
    shift: float = Field(0.1, ge=0, le=0.5, description="augmentation: largest random shift, as a share of the size")
    gain: float = Field(0.2, ge=0, lt=1, description="augmentation: largest random change of contrast or amplitude")
    flip: bool = Field(False, description="augmentation: mirror half of the pictures; not for digits or text")
    draws: int = Field(
        3, ge=1, le=MOST, description="compressed versions kept of each item in mixed training; one an epoch"
    )
    input_size: Shape | None = Field(
        None,
        description="what the model sees: [height, width], [samples], or [frames, height, width] to classify video; "
        "by default the size of the items, which must then be all alike",
    )
    frames_per_clip: int = Field(6, ge=1, le=MOST, description="frames a clip to learn from; video detection only")
    frame_stride: int = Field(4, ge=1, le=MOST, description="evaluate every n-th frame of a clip; video detection only")
    validate_every: int = Field(
        1, ge=1, le=MOST, description="epochs between validations; the last epoch always is validated"
    )
    minimum: float | None = Field(
        None,
        ge=0,
        le=1,
        description="least validation accuracy or mAP50 on original items of a model that trained on them; "
        "below it training fails",
    )
    weights: str | None = Field(None, description="pretrained weights of a torchvision/NAME model, such as DEFAULT")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where to train; auto takes CUDA if there")
    mixed_precision: bool = Field(
        True, description="train in bfloat16 where that is safe, on GPUs that compute in it; the CPU uses float32"
    )
    deterministic: bool = Field(
        True,
        description="on a GPU, take kernels that repeat bit for bit, in training and in all that the model is used for "
        "later; false takes the fastest. The CPU always repeats",
    )
    adversarial: Adversary | None = Field(
        None, description="train on attacked items; set by the regime `adversarial` alone, classification only"
    )


AXES = {"audio": 1, "image": 2, "video": 3}  # of what a model sees


def read(
    settings: Mapping[str, Any], medium: str, kind: str, arch: Mapping[str, Any] | None = None
) -> TrainingSettings:
    """The `settings` of a study over those of the architecture (`arch`) over the defaults of the medium and kind.

    Raises LossyBenchError for an unknown key, naming the nearest right one, for a value out of range, and for a
    detector that shall be trained adversarially.
    """
    about = tasks.kind_class(kind)
    if medium not in about.defaults:
        raise LossyBenchError(f"{kind} is for {' and '.join(about.defaults)}, not for {medium}")
    try:
        made = TrainingSettings.model_validate({**about.defaults[medium], **(arch or {}), **settings})
    except pydantic.ValidationError as error:
        nested = {f"adversarial.{name}": field for name, field in Adversary.model_fields.items()}
        fields = {**TrainingSettings.model_fields, **nested}
        raise LossyBenchError(explain(error.errors()[0], fields, "training setting")) from None
    axes = AXES[medium] - (medium == "video" and about.by_frame)  # a model then sees the frames about one frame
    if made.input_size and len(made.input_size) != axes:
        raise LossyBenchError(
            f"training setting 'input_size': {list(made.input_size)} must have {axes} numbers for {medium} {kind}"
        )
    if made.adversarial and about.existing != "classifier":
        raise LossyBenchError(f"{medium} {kind} is not trained adversarially, only classification is; leave it out")
    return made
