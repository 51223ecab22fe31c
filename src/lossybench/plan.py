"""What a study will do, and about how long that takes, said before it starts."""

from __future__ import annotations

import time
import zlib

import numpy as np

from lossybench.attacks.methods import METHODS
from lossybench.attacks.settings import AttackSettings
from lossybench.data.base import SPLITS
from lossybench.study import ORIGINAL, Condition, Model, Study
from lossybench.tasks import settings as training_settings

# CPU seconds on a 2-core virtual machine, rounded from benchmark files of the default study. Media of other sizes than
# the embedded ones take more or less: this is an order, not a promise.
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
REFERENCE = 0.019  # seconds that `_calibrate` takes on that machine


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
    return "\n".join([f"The study in {study.root}: {total} jobs from nothing, {duration}", *lines])


def seconds(study: Study) -> float:
    """CPU seconds of a whole study on the reference machine; items of unknown number count as none."""
    return sum(_task_seconds(study, task) for task in study.tasks)


def _task_seconds(study: Study, task: str) -> float:
    about = study.description(task)
    counts = about.counts or {}
    train, test = counts.get("train", 0) + counts.get("val", 0), counts.get("test", 0)
    encode = ENCODE[about.medium]
    slowest = max(encode.values())
    total = START["fetch"] + FETCH[about.medium] * (train + test)

    def compressing(condition: Condition, items: int, measured: bool) -> float:
        measure = MEASURE[about.medium] if measured else 0.0
        return START["compress"] + (encode.get(condition.codec, slowest) + measure) * items

    total += sum(compressing(c, test, True) for c in study.conditions(task))
    trained = {c for model in study.models(task) for c in study.training_conditions(model)}
    total += sum(compressing(c, train, False) for c in trained)
    learn = LEARN[about.medium, about.kind]
    existing = study.existing(task)
    for model in study.models(task):
        total += START["train"]
        if model not in existing:
            training = _training(study, model)
            # Each step of an attack on a batch costs about as much as learning from it.
            rounds = 1 + (training.adversarial.steps if training.adversarial else 0)
            total += learn * train * training.epochs * rounds
        for codec in study.tested_codecs(model):
            total += START["evaluate"] + TEST_SHARE * learn * test * len(study.levels(task, codec))
    for attacked in study.attacked(task):
        settings = study.attack(attacked)
        items = min(settings.items, test)
        for codec in study.attacked_codecs(task):
            levels = 1 if codec == ORIGINAL else len(study.attacked_levels(task, codec))
            through = 0.0 if codec == ORIGINAL else encode.get(codec, slowest)
            steps = _attack_steps(settings, codec != ORIGINAL)
            total += START["attack"] + levels * items * steps * (learn + through)
    return total + START["aggregate"] + 2 * START["report"]


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
