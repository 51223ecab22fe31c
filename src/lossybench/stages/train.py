"""The train stage: trains one architecture on one regime with one seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lossybench import artifacts, models
from lossybench.decoded import Store
from lossybench.errors import LossyBenchError
from lossybench.models import runtime
from lossybench.training import CHECKPOINT, prepared


def train(
    data: Path,
    compressed: list[Path],
    task: str,
    arch: str,
    regime: str,
    out: Path,
    settings: dict[str, Any] | None = None,
    seed: int = 0,
    threads: int = 1,
    decoded: Path | None = None,
    room: float = 0.0,
    fold: int = 0,
) -> None:
    """Train one model on originals or on compressed media.

    The weights kept are those of the epoch with the best validation accuracy or mAP50, measured on the media of the
    model's own regime: in adversarial training on attacked items.

    A checkpoint is saved at intervals, and on SIGTERM or SIGINT, which then end the run (SystemExit, 128 + signal). The
    same command goes on from the checkpoint, within an epoch too, and ends with the same weights: on the CPU bit for
    bit. A checkpoint of other inputs, settings or code is not used. When the model is whole the checkpoint is removed.

    Args:
        data: the table that fetch made, for labels and boxes
        compressed: the train parts to learn from: one, or several for mixed training. Of each item `draws` versions
            are kept, each from another part as far as there are so many; every part is used equally often, and each
            epoch takes another version
        task: the name of the task
        arch: the architecture, such as resnet or torchvision/resnet18
        regime: the name of what the model is trained on: original, mixed, adversarial,
            matched_CODEC_LEVEL or held_out_CODEC
        out: the folder to write: weights.safetensors, model.json and history.json
        settings: training settings (tasks.training_settings.TrainingSettings)
        seed: the seed of the weights and batches
        threads: CPU threads that decode and prepare batches ahead; they change no result
        decoded: the folder in which training jobs share decoded media, which change no result and may be deleted
        room: the GB that this folder may take; 0 shares nothing
        fold: the fold that the model does not learn from, counted from 1, where the items have folds; the compressed
            parts then hold all items

    Raises:
        LossyBenchError: for a wrong setting, parts that lack items, a loss that is not finite, a full disk, or a model
            below `minimum`; nothing is published then.
    """
    about = {"task": task, "regime": regime, **({"fold": fold} if fold else {})}
    store = Store(decoded, room) if decoded and room else None
    with prepared(data, compressed, about, arch, seed, settings or {}, out, threads, store) as run:
        model, validation, history = run.run()
    chosen, metric, info = run.settings, run.task.metric, dict(run.task.info)
    reached = validation["original"]
    sign = run.task.metrics[0].sign
    poor = chosen.minimum is not None and reached is not None and sign * reached < sign * chosen.minimum
    if not poor:
        info["validation"] = {"metric": metric, **validation}
        info["parameters"] = sum(parameter.numel() for parameter in model.parameters())
        info["environment"] = runtime.environment(run.device)
        models.save(model.state_dict(), info, history, out)
    artifacts.sweep(out / CHECKPOINT)
    (out / CHECKPOINT).unlink(missing_ok=True)
    if poor:
        raise LossyBenchError(
            f"{out}: {arch} reached a validation {metric} of {reached:.3f} on original items, worse than the minimum "
            f"of {chosen.minimum:g}; train it longer (epochs: {chosen.epochs}) or on more items than "
            f"{len(run.examples.train.targets)}, or lower `minimum` if the task is that hard"
        )
