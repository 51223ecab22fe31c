"""What a study will do, how long that takes and how much it writes, said before it starts."""

from __future__ import annotations

import collections
import math
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lossybench import data
from lossybench.attacks.attack_settings import AttackSettings
from lossybench.attacks.methods import METHODS
from lossybench.conditions import ORIGINAL, Condition, Model
from lossybench.config import GPU_STAGES, Stage
from lossybench.data._published import PublishedDataset
from lossybench.data.dataset import SPLITS
from lossybench.layout import Part
from lossybench.models.existing_settings import ExistingSettings
from lossybench.study import Study, load
from lossybench.tasks import training_settings as training_settings

# CPU seconds on a 2-core virtual machine, rounded from benchmark files of the default study, for items of its sizes;
# others take more or less in proportion. This is an order, not a promise.
START = {"fetch": 1.5, "compress": 0.8, "train": 3.5, "evaluate": 2.8, "attack": 5.5, "aggregate": 4.0, "report": 4.0}
FETCH = {"image": 0.001, "audio": 0.002, "video": 0.01}  # an item
ENCODE = {  # an item
    "image": {"original": 0.001, "jpeg": 0.0003, "webp": 0.0005, "jpeg2000": 0.002, "h264": 0.0015, "hevc": 0.005},
    "audio": {"original": 0.001, "mp3": 0.006, "opus": 0.01},
    "video": {"original": 0.007, "jpeg": 0.002, "jpeg2000": 0.02, "h264": 0.007, "hevc": 0.012},
}
MEASURE = {"image": 0.001, "audio": 0.001, "video": 0.012}  # fidelity of an item
LEARN = {  # an item and epoch
    ("image", "classification"): 0.001,
    ("image", "detection"): 0.007,
    ("audio", "classification"): 0.001,
    ("video", "classification"): 0.004,
    ("video", "detection"): 0.02,
}
TEST_SHARE = 0.5  # of what an item and epoch costs in training
LEFT = 0.3  # share of the items that attacks without gradients are left with
# Bytes of an item as the embedded data sets have it, and as their models see it where that is less.
RAW = {
    ("image", "classification"): 48 * 48 * 3,
    ("image", "detection"): 128 * 128 * 3,
    ("audio", "classification"): 16000 * 2,
    ("video", "classification"): 16 * 64 * 64 * 3,
    ("video", "detection"): 16 * 96 * 96 * 3,
}
SEEN = {**RAW, ("video", "classification"): 8 * 64 * 64 * 3}
# Share of an item's bytes that is stored: losslessly, and by codecs on average over the default study's levels.
STORED = {
    "image": {"original": 0.48, "jpeg": 0.045, "webp": 0.04, "jpeg2000": 0.07, "h264": 0.032, "hevc": 0.028},
    "audio": {"original": 0.62, "mp3": 0.13, "opus": 0.1},
    "video": {"original": 0.3, "jpeg": 0.045, "jpeg2000": 0.06, "h264": 0.01, "hevc": 0.008},
}
ROW = 150  # bytes of a row of tables beside media, and of an outcome
DETECTED = 3000  # bytes of an item's detections
WEIGHTS, TORCHVISION = 1e6, 1e8  # bytes of a model
ADVERSARIAL = (0.65, 1.4)  # an item's bytes by which each attack on it grows the table: bare, through a codec
SUMMARY = 5e6  # bytes of a task's summary and figures
GPU_SPEEDUP = 20  # of learning and attacking over one core: assumed, not measured
REFERENCE = 0.019  # seconds that `_calibrate` takes on that machine


def plan(config: Path = Path("config.yaml"), /, cores: int = 1) -> str:
    """Say what a study will do, about how long it takes and what it stores.

    Args:
        config: the study
        cores: how many CPU cores there are
    """
    study = load(config)
    return f"{describe(study, cores)}\n\n{table(study)}"


def jobs(study: Study) -> dict[str, int]:
    """Jobs of a whole study from nothing, by rule; the same numbers that Snakemake counts."""
    stages = ("fetch", "compress", "train", "adopt", "evaluate", "attack", "aggregate", "contact_sheet", "recommend")
    count = dict.fromkeys(stages, 0)
    for task in study.tasks:
        count["fetch"] += 1
        count["compress"] += len(study.all_compressed(task, "test")) + len(study.all_compressed(task, "train"))
        count["adopt"] += len(study.existing(task))
        count["train"] += len(study.models(task)) - len(study.existing(task))
        count["evaluate"] += len(study.all_outcomes(task))
        count["attack"] += len(study.all_attacks(task))
        count["aggregate"] += 1
        count[f"figures_{task}"] = 1
        count["contact_sheet"] += 1
    count["recommend"] = 1
    count["all"] = 1
    return count


def describe(study: Study, cores: int) -> str:
    """The plan in words: per task items, conditions, models, attacks; jobs in all and about how long they take."""
    lines = []
    known = True
    for task in study.tasks:
        about = study.description(task)
        counts = about.counts
        known &= counts is not None
        items = "/".join(str(counts.get(split, 0)) for split in SPLITS) if counts else "number unknown until read"
        attacked = f", {len(study.attacked(task))} attacked" if study.attacked(task) else ""
        lines.append(
            f"  {task}: {about.medium} {about.kind}, items {items} (train/val/test), {len(study.conditions(task))} "
            f"conditions, {len(study.models(task))} models{attacked}"
        )
    total = sum(jobs(study).values())
    per_core = "each core" if cores > 1 else "the core"
    here = seconds(study) * _calibrate() / REFERENCE / cores
    duration = (
        f"about {_minutes(here)} on {cores} core{'s' * (cores > 1)} like these"
        if known
        else f"how long depends on the number of items; {per_core} runs one job at a time"
    )
    return "\n".join([f"The study in {study.layout.root}: {total} jobs from nothing, {duration}", *lines])


class Job(NamedTuple):
    """What one job costs: item passes, CPU seconds on the reference machine, those of them that a GPU would take over,
    and bytes written.
    """

    stage: Stage
    items: int
    seconds: float
    learning: float = 0.0
    size: float = 0.0

    @property
    def with_gpu(self) -> float:
        """Seconds with a GPU for what it can do."""
        return self.seconds - self.learning + self.learning / GPU_SPEEDUP


def table(study: Study) -> str:
    """A table for whoever runs it on a cluster, with a line on how to read it; looks at one item of each folder.

    Per stage: jobs, jobs that a cluster sees (short ones travel together), item passes, storage, CPU hours without any
    GPU, hours for which train, evaluate and attack jobs hold a GPU where they have one, and the minutes of the longest
    job, with what the config's `cluster` section gives it, beside the limit of its first try.
    """
    import pandas as pd  # here, since every start of Snakemake imports this module

    by_stage = collections.defaultdict(list)
    for job in costs(study):
        by_stage[job.stage].append(job)
    rows = []
    for stage, found in by_stage.items():
        longest = max(job.with_gpu if study.requests(stage).get("gpu") else job.seconds for job in found)
        rows.append(
            {
                "stage": stage,
                "jobs": len(found),
                "on a cluster": _submitted(study, stage, len(found)),
                "item passes": sum(job.items for job in found),
                "GB": sum(job.size for job in found) / 1e9,
                "CPU hours": sum(job.seconds for job in found) / 3600,
                "GPU hours": sum(job.with_gpu for job in found) / 3600 if stage in GPU_STAGES else 0.0,
                "longest, minutes": longest / 60,
                "limit, minutes": study.requests(stage)["runtime"],
            }
        )
    columns = pd.DataFrame(rows).set_index("stage")
    total = columns.drop(columns=["longest, minutes", "limit, minutes"]).sum().rename("total")
    shown = pd.concat([columns.astype(object), total.to_frame().T.astype(object)]).fillna("")
    shown[["jobs", "on a cluster", "item passes"]] = shown[["jobs", "on a cluster", "item passes"]].map(
        "{:,.0f}".format
    )
    return (
        f"{shown.to_string(float_format='{:,.1f}'.format)}\n"
        f"A GPU is assumed, not measured, to be {GPU_SPEEDUP} times as fast as a core at learning and attacking."
    )


def _submitted(study: Study, stage: Stage, jobs: int) -> int:
    """Jobs that a cluster sees: the levels of a codec in compress, the codecs of a model in evaluate are one."""
    if stage == "evaluate":
        return sum(len(study.models(task)) for task in study.tasks)
    if stage == "compress":
        paths = [
            path for task in study.tasks for part in ("test", "train") for path in study.all_compressed(task, part)
        ]
        return len({(path.parent.parent, path.name) for path in paths})
    return jobs


def seconds(study: Study) -> float:
    """CPU seconds of a whole study on the reference machine; items of unknown number count as none."""
    return sum(job.seconds for job in costs(study))


def costs(study: Study) -> Iterator[Job]:
    """Every job of the study from nothing with what it costs; items of unknown number count as none."""
    for task in study.tasks:
        yield from _task_costs(study, task)
    yield Job("report", 0, START["report"])


def _task_costs(study: Study, task: str) -> Iterator[Job]:
    about = study.description(task)
    kind = about.medium, about.kind
    counts = about.counts or {}
    items = {"train": counts.get("train", 0) + counts.get("val", 0), "test": counts.get("test", 0)}
    raw = _raw(study, task)
    scale = raw / RAW[kind]
    encode, stored = ENCODE[about.medium], STORED[about.medium]

    def coding(codec: str) -> float:
        return encode.get(codec, max(encode.values())) * scale

    everything = sum(items.values())
    size = everything * (stored[ORIGINAL] * raw + ROW)
    yield Job("fetch", everything, START["fetch"] + FETCH[about.medium] * scale * everything, size=size)
    for part, condition in _conditions(study, task):
        codec = condition.codec
        each = coding(codec) + MEASURE[about.medium] * scale * (part == "test")
        size = items[part] * (stored.get(codec, max(list(stored.values())[1:])) * raw + ROW)
        yield Job("compress", items[part], START["compress"] + each * items[part], size=size)
    outcome = DETECTED if about.kind == "detection" else ROW
    for model in study.models(task):
        learn = LEARN[kind] * _seen(study, model, about.medium, raw) / SEEN[kind]
        size = TORCHVISION if model.arch.startswith("torchvision/") else WEIGHTS
        passes = rounds = 0
        if model not in study.existing(task):
            training = _training(study, model)
            # Each step of an attack on a batch costs about as much as learning from it.
            rounds = 1 + (training.adversarial.steps if training.adversarial else 0)
            passes = items["train"] * training.epochs
        yield Job("train", passes, START["train"] + learn * passes * rounds, learn * passes * rounds, size)
        for codec in study.tested_codecs(model):
            passes = items["test"] * len(study.levels(task, codec))
            learning = TEST_SHARE * learn * passes
            yield Job("evaluate", passes, START["evaluate"] + learning, learning, passes * outcome)
    for model in study.attacked(task):
        settings = study.attack(model)
        learn = LEARN[kind] * _seen(study, model, about.medium, raw) / SEEN[kind]
        attacked = min(settings.items, items["test"])
        for codec in study.attacked_codecs(task):
            behind = codec != ORIGINAL
            passes = attacked * (len(study.attacked_levels(task, codec)) if behind else 1)
            steps = _attack_steps(settings, behind)
            learning = passes * steps * learn
            through = passes * steps * coding(codec) if behind else 0.0
            size = attacked * len(settings.aims) * (ADVERSARIAL[behind] * raw + ROW)
            yield Job("attack", passes, START["attack"] + learning + through, learning, size)
    yield Job("aggregate", 0, START["aggregate"], size=SUMMARY)
    yield Job("report", 0, START["report"])  # figures
    yield Job("report", 0, START["report"])  # contact sheet


def _conditions(study: Study, task: str) -> Iterator[tuple[Part, Condition]]:
    """Every part and condition that is compressed."""
    yield from (("test", condition) for condition in study.conditions(task))
    trained = {c: None for model in study.models(task) for c in study.training_conditions(model)}
    yield from (("train", condition) for condition in trained)


def _raw(study: Study, task: str) -> float:
    """Bytes of a decoded item: of the first one where media lie in a folder, else as published or embedded."""
    about, config = study.description(task), study.task(task).data
    dataset: Any = data.get(config.adapter, config.options)
    if getattr(dataset, "path", None):
        return next(dataset.items(study.config.seed, [])).media.nbytes
    if isinstance(dataset, PublishedDataset):
        return float(math.prod(dataset.shape) * (2 if about.medium == "audio" else 1))
    raw = float(RAW[about.medium, about.kind])
    for option, power in (("size", 2), ("frames", 1)):
        if isinstance(value := getattr(dataset, option, None), int):
            raw *= (value / type(dataset).model_fields[option].default) ** power
    return raw


def _seen(study: Study, model: Model, medium: str, raw: float) -> float:
    """Bytes of an item as a model sees it."""
    if model in study.existing(model.task):
        size = ExistingSettings(**study.existing_settings(model)).input_size
    else:
        size = _training(study, model).input_size
    return math.prod(size) * (2 if medium == "audio" else 3) if size else raw


def _attack_steps(settings: AttackSettings, behind: bool) -> float:
    """Steps an item, all attacks together; each costs a pass through the codec and about what learning from it does."""
    steps = 0.0
    for aim in settings.aims:
        method = METHODS[aim.attack]
        if method.access == "scores":
            steps += LEFT * settings.queries
        elif method.access == "gradients" and behind:
            steps += method.effort * settings.adaptive_steps
        elif method.access == "gradients" and aim.goal != "trigger":
            steps += method.effort * settings.steps
    # The main attack follows the poorer gradient too.
    return settings.restarts * (steps + 2 * settings.adaptive_steps * behind)


def _training(study: Study, model: Model) -> training_settings.TrainingSettings:
    about = study.description(model.task)
    return training_settings.read(study.training_settings(model), about.medium, about.kind)


def _calibrate() -> float:
    """CPU seconds of a fixed piece of work on one core, the best of three."""
    content = np.random.default_rng(0).integers(0, 32, 1_000_000, np.uint8).tobytes()

    def once() -> float:
        start = time.process_time()
        zlib.compress(content)
        return time.process_time() - start

    return min(once() for _ in range(3))


def _minutes(amount: float) -> str:
    return f"{amount / 60:.0f} minutes" if amount > 90 else f"{amount:.0f} seconds"
