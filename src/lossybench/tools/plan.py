"""What a study will do, how long it takes and how much it writes, said before it starts."""

from __future__ import annotations

import collections
import contextlib
import functools
import json
import math
import time
import timeit
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lossybench import data, kinds
from lossybench.attacks.attack_settings import AttackSettings
from lossybench.attacks.methods import METHODS
from lossybench.codecs._variants import TARGETS
from lossybench.conditions import ORIGINAL, Model
from lossybench.config import GPU_STAGES, Stage
from lossybench.data._published import PublishedDataset
from lossybench.data.dataset import SPLITS, Description
from lossybench.errors import naming
from lossybench.models.existing_settings import SAMPLES, ExistingSettings, is_existing
from lossybench.stages import timing
from lossybench.study import Study, load
from lossybench.tasks import training_settings

# CPU seconds on a 2-core virtual machine, rounded from the benchmark files of the default study, for items of its
# sizes; larger and smaller items take more or less in proportion. These are orders of magnitude, not promises.
START = {
    "fetch": 1.5,
    "learn_codec": 75.0,  # with the default steps and channels, on cuttings of 48 pixels a side
    "preflight": 4.0,
    "compress": 0.8,
    "timing": 0.8,
    "train": 3.5,
    "evaluate": 2.8,
    "attack": 5.5,
    "aggregate": 4.0,
    "report": 4.0,
}
FETCH = {"image": 0.004, "audio": 0.004, "video": 0.02}  # for an item
ENCODE = {  # for an item
    "image": {"original": 0.001, "jpeg": 0.0003, "webp": 0.0005, "jpeg2000": 0.002, "h264": 0.0015, "hevc": 0.005}
    | {"avif": 0.006, "jpegxl": 0.006, "vp9": 0.008, "av1": 0.008, "learned": 0.009},
    "audio": {"original": 0.001, "mp3": 0.006, "opus": 0.01, "aac": 0.005, "vorbis": 0.004, "amrnb": 0.005}
    | {"g711": 0.0003, "g722": 0.0015},
    "video": {"original": 0.007, "jpeg": 0.002, "jpeg2000": 0.02, "h264": 0.007, "hevc": 0.012}
    | {"avif": 0.11, "jpegxl": 0.06, "vp9": 0.04, "av1": 0.03},
}
DECODE = 0.3  # what decoding an item costs, as a share of what encoding and decoding it does
MEASURE = {"image": 0.0001, "audio": 0.0005, "video": 0.0006}  # for the fidelity of an item
LEARN = {  # for an item and epoch
    ("image", "classification"): 0.001,
    ("image", "detection"): 0.007,
    ("image", "segmentation"): 0.011,
    ("audio", "classification"): 0.001,
    ("video", "classification"): 0.004,
    ("video", "detection"): 0.02,
}
TEST_SHARE = 0.5  # what a tested item costs, as a share of what an item and epoch costs in training
LEARN_SHARE = 3.0  # what an item and epoch costs of a model that was timed at predictions alone
LEFT = 0.2  # the share of the items that one run of an attack leaves to further runs and to other attacks
GONE = 0.6  # the share of its steps that a run through a codec takes until an item is beaten, or till the end
# The shape of an item in the embedded data sets, and the bytes that their models see of it.
SHAPES = {
    ("image", "classification"): (48, 48, 3),
    ("image", "detection"): (128, 128, 3),
    ("image", "segmentation"): (96, 96, 3),
    ("audio", "classification"): (16000,),
    ("video", "classification"): (16, 64, 64, 3),
    ("video", "detection"): (16, 96, 96, 3),
}
SEEN = {
    ("image", "classification"): 48 * 48 * 3,
    ("image", "detection"): 128 * 128 * 3,
    ("image", "segmentation"): 96 * 96 * 3,
    ("audio", "classification"): 16000 * 2,
    ("video", "classification"): 8 * 64 * 64 * 3,
    ("video", "detection"): 16 * 96 * 96 * 3,
}
# The share of an item's bytes that is stored: losslessly, and by a codec as the mean over the default study's levels.
STORED = {
    "image": {"original": 0.48, "jpeg": 0.045, "webp": 0.04, "jpeg2000": 0.07, "h264": 0.032, "hevc": 0.028},
    "audio": {"original": 0.62, "mp3": 0.13, "opus": 0.1, "aac": 0.13, "vorbis": 0.25, "amrnb": 0.04}
    | {"g711": 0.25, "g722": 0.22},
    "video": {"original": 0.3, "jpeg": 0.045, "jpeg2000": 0.06, "h264": 0.01, "hevc": 0.008},
}
SOUGHT = 6  # times as long as one pass of an encoder: what a target size takes, which is found by bisection
ROW = 150  # the bytes of a row of tables beside the media, and of an outcome
DETECTED = 3000  # the bytes of an item's detections
WEIGHTS, TORCHVISION = 1e6, 1e8  # the bytes of a model of this package and of torchvision
# The share of an item's bytes by which each attack on it grows the table: on the bare model, and through a codec.
ADVERSARIAL = (0.65, 1.4)
SUMMARY = 5e6  # the bytes of a task's summary and figures
GPU_SPEEDUP = 20  # how many times as fast as a core a GPU learns and attacks: assumed (docs/performance.md)
TIMED = 1.0  # seconds for which `preflight` times each thing that a model does
TRIED = 16  # items in a trial
REFERENCE = 0.019  # seconds that `_calibrate` takes on that machine


def plan(config: Path = Path("config.yaml"), /, cores: int = 1) -> str:
    """Say what a study will do, about how long it takes and what it stores.

    Args:
        config: the study
        cores: how many CPU cores there are
    """
    study = load(config)
    times = timings(study, trial=True)
    return f"{describe(study, cores, times)}\n\n{table(study, times)}"


class Timing(NamedTuple):
    """The seconds of the reference machine's CPU that a model takes for an item, and how that is known."""

    learn: float
    predict: float
    how: str


Timings = dict[tuple[str, str], Timing]  # by task and architecture


def timings(study: Study, trial: bool = False) -> Timings:
    """What is known of the models' speed, measured by `preflight`, or here and now.

    trial: whether to time those architectures here that `preflight` has not timed yet, with random weights, which takes
    some seconds for each. A checkpoint of the user's own is timed by `adopt` alone. What is in no `Timing` counts as a
    compact model.
    Raises LossyBenchError, naming the key, for a model that fails in such a trial.
    """
    found: Timings = {}
    for task in study.tasks:
        measured: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):  # there is none yet, or a damaged one
            measured = json.loads(study.layout.preflight(task, "json").read_bytes())["models"]
        for arch in study.task(task).models:
            if arch in measured:
                found[task, arch] = _timing(measured[arch], "preflight")
            elif trial and ("/" in arch or arch in study.task(task).trained):
                with naming(f"tasks.{task}.models.{arch}"):
                    found[task, arch] = _timing(_tried(study, task, arch), "a trial now")
    return found


def _timing(measured: Mapping[str, float], how: str) -> Timing:
    scale = REFERENCE / _calibrate()
    predict = measured["predict"] * scale
    return Timing(measured["learn"] * scale if "learn" in measured else LEARN_SHARE * predict, predict, how)


def _tried(study: Study, task: str, arch: str) -> dict[str, float]:
    """The seconds, {learn, predict}, in which this machine's CPU learns and predicts an item of noise."""
    import torch  # which takes seconds

    from lossybench import models, tasks
    from lossybench.models import inputs
    from lossybench.stages import preflight
    from lossybench.tasks.task_kind import Example

    about, own = study.description(task), study.task(task).models[arch] or {}
    exists = is_existing(own)
    chosen: Any = ExistingSettings(**own) if exists else _training(study, Model(task, arch, ORIGINAL, 0))
    size = chosen.input_size
    kind = kinds.load(about.kind)
    if not size and exists and not kind.placed:
        from lossybench.models import from_torchvision

        size = from_torchvision.published(arch.partition("/")[2], about.medium, about.kind, chosen.checkpoint)
        size = (*(16,) * (about.medium == "video"), *tuple(size.transforms().crop_size * 2)[:2])
    shape = tuple(size or (_shape(study, task) if about.medium == "audio" else _shape(study, task)[:-1]))
    if about.medium == "video" and kind.by_frame:
        shape = (models.window(arch), *shape[-2:])
    # Where only reading tells the rate, it is taken for the one that torchaudio's encoders need.
    rate = about.sampling_rate or 16000.0 if about.medium == "audio" else 0.0
    info = {
        "medium": about.medium,
        "kind": about.kind,
        "classes": about.classes,
        "input": {"shape": shape, "sampling_rate": rate},
        "settings": training_settings.read({}, about.medium, about.kind).model_dump(mode="json"),
    }
    torch.set_num_threads(1)  # as in a job
    model = models.build(arch, about.medium, about.kind, len(about.classes), inputs.Input(shape, rate))
    random = np.random.default_rng(0)
    if about.medium == "audio":
        media = [random.integers(-9999, 9999, shape).astype(np.int16) for _ in range(TRIED)]
    else:
        media = [random.integers(0, 256, (*shape, 3)).astype(np.uint8) for _ in range(TRIED)]
    made = tasks.get(info)
    return preflight.timed(made, model, [Example(one, made.some_target()) for one in media], 2)


def jobs(study: Study) -> dict[str, int]:
    """The number of jobs of each rule for a whole study from nothing, as Snakemake counts them."""
    count = collections.Counter(page=1, recommend=1, costs=1, all=1)
    for task in study.tasks:
        existing, models, looks = len(study.existing(task)), len(study.models(task)), len(study.looks(task))
        count.update(preflight=1, cleared=1, adopt=existing, train=models - existing, aggregate=1)
        count.update(fetch=looks, attack=len(study.all_attacks(task)), contact_sheet=1)
        of_look = {look: f"_look{look}" * (look > 1) for look in study.looks(task)}
        for look, codec, part, levels in study.compressions(task):
            learns = study.codecs[task][codec].learns  # such a codec has a job for each level
            count.update({"compress": len(levels)} if learns else [f"compress_{task}_{codec}_{part}{of_look[look]}"])
        count.update(f"evaluate_{task}_{codec}{of_look[look]}" for look, codec, _ in study.evaluations(task))
        count.update({f"figures_{task}": 1, f"frontier_{task}": 1, "timing": len(study.codecs[task])})
        count.update(learn_codec=len(study.all_weights(task)))
    return count


def describe(study: Study, cores: int, times: Timings | None = None) -> str:
    """The plan of a study in words: the jobs, about how long they take on so many cores, and what each task is.

    times: of the models; by default those that `preflight` has measured.
    """
    times = timings(study) if times is None else times
    lines = []
    for task in study.tasks:
        about = study.description(task)
        items, planned = "number unknown until read", study.task(task).looks
        if about.counts:
            counts = collections.Counter(about.counts)
            counts["test"] = sum(_tested(study, task))
            items = "/".join(str(counts[split]) for split in SPLITS)
        items += " (train/val/test)"
        if folds := study.task(task).folds:
            items = f"{about.counts['test'] if about.counts else 'number unknown until read,'} in {folds.count} folds"
        items += f"{f', look {study.looks(task)[-1]} of {len(planned)}' if planned else ''}"
        attacked = f", {len(study.attacked(task))} attacked" if study.attacked(task) else ""
        lines.append(
            f"  {task}: {about.medium} {about.kind}, items {items}, {len(study.conditions(task))} "
            f"conditions, {len(study.models(task))} models{attacked}"
        )
    per_core = "each core" if cores > 1 else "the core"
    duration = f"how long depends on the number of items; {per_core} runs one job at a time"
    if all(study.description(task).counts is not None for task in study.tasks):
        here = sum(job.seconds for job in costs(study, times)) * _calibrate() / REFERENCE / cores
        duration = f"about {_minutes(here)} on {cores} core{'s' * (cores > 1)} like these"
    total = sum(jobs(study).values())
    return "\n".join(
        [f"The study in {study.layout.root}: {total} jobs from nothing, {duration}", *lines, *_told(study, times)]
    )


def _told(study: Study, times: Timings) -> list[str]:
    """A line for each codec whose levels say little, and for each model that was timed, or is large and was not."""
    lines = []
    for task in study.tasks:
        if study.description(task).counts is not None:
            shape = _shape(study, task)
            caveats = {codec.title: codec.caveat(shape) for codec in study.codecs[task].values()}
            lines += [f"    {task}, {title}: warning: {text}" for title, text in caveats.items() if text]
        for arch, own in study.task(task).models.items():
            if (task, arch) in times:
                learn, predict, how = times[task, arch]
                here = 1000 * _calibrate() / REFERENCE
                told = f"{learn * here:.3g} ms of a core to learn from an item and {predict * here:.3g} to predict it"
                lines.append(f"    {task}, {arch}: {told} (measured by {how})")
            elif "/" in arch or is_existing(own):
                lines.append(
                    f"    {task}, {arch}: not timed yet, so that it counts as a compact model; it may take far longer"
                )
    return lines


class Job(NamedTuple):
    """What one job costs."""

    stage: Stage
    items: int  # passes of an item through the job
    seconds: float  # of the reference machine's CPU
    learning: float = 0.0  # those of the seconds that a GPU would take over
    size: float = 0.0  # bytes that the job writes

    @property
    def with_gpu(self) -> float:
        """The seconds of the job with a GPU for what a GPU can do."""
        return self.seconds - self.learning + self.learning / GPU_SPEEDUP


def table(study: Study, times: Timings | None = None) -> str:
    """A table of what a study costs on a cluster. It looks at one item of each folder.

    The columns are, per stage: jobs, item passes, storage, CPU hours without any GPU, hours for which train, evaluate
    and attack jobs hold a GPU where they have one, and the minutes of the longest job, on what the config's `cluster`
    section gives it, beside the limit of its first try.
    """
    import pandas as pd  # here, since every start of Snakemake imports this module

    by_stage = collections.defaultdict(list)
    for job in costs(study, timings(study) if times is None else times):
        by_stage[job.stage].append(job)
    rows = []
    for stage, found in by_stage.items():
        longest = max(job.with_gpu if study.requests(stage).get("gpu") else job.seconds for job in found)
        rows.append(
            {
                "stage": stage,
                "jobs": len(found),
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
    whole = ["jobs", "item passes"]
    shown[whole] = shown[whole].map("{:,.0f}".format)
    return (
        f"{shown.to_string(float_format='{:,.1f}'.format)}\n"
        f"A GPU is assumed, not measured, to be {GPU_SPEEDUP} times as fast as a core at learning and attacking. With "
        "networks as small as the default study's it was no faster."
    )


def expected(study: Study) -> dict[str, float]:
    """The seconds that a job of each stage takes on a core like this one, in the mean over the stage's jobs."""
    by_stage = collections.defaultdict(list)
    for job in costs(study, timings(study)):
        by_stage[job.stage].append(job.seconds * _calibrate() / REFERENCE)
    return {stage: sum(found) / len(found) for stage, found in by_stage.items()}


def costs(study: Study, times: Timings | None = None) -> Iterator[Job]:
    """What each job of the study costs from nothing; items of unknown number count as none. times: of the models."""
    for task in study.tasks:
        yield from _task_costs(study, task, times or {})
    yield from 3 * [Job("report", 0, START["report"])]  # page, recommendations, and costs


def _task_costs(study: Study, task: str, times: Timings) -> Iterator[Job]:
    about = study.description(task)
    counts = about.counts or {}
    tested = _tested(study, task)
    items = {"train": [counts.get("train", 0) + counts.get("val", 0)], "test": tested}
    # With folds a model learns from all but one of them, and tests that one.
    folds = study.task(task).folds
    parts = folds.count if folds else 1
    learnt = tested[0] - tested[0] // parts if folds else items["train"][0]
    raw = _bytes(_shape(study, task), about.medium)
    scale = raw / _bytes(_of_kind(SHAPES, about), about.medium)
    encode, stored = ENCODE[about.medium], STORED[about.medium]

    def coding(codec: str) -> float:
        each = (encode.get(file, max(encode.values())) for file in study.codec_files(task, codec))
        sought = study.coder(task, codec)["variant"].get("parameter") in TARGETS
        return sum(each) * scale * (SOUGHT if sought else 1)

    for count in (items["train"][0] + tested[0], *tested[1:]):
        size = count * (stored[ORIGINAL] * raw + ROW)
        yield Job("fetch", count, START["fetch"] + FETCH[about.medium] * scale * count, size=size)
    timed = {model.arch: _speed(study, model, raw, times) for model in study.models(task)}
    tried = sum(TIMED * (2 + (arch in study.task(task).trained)) for arch in timed)
    yield Job("preflight", 0, START["preflight"] + tried)
    for _ in study.all_weights(task):
        yield Job("learn_codec", 0, START["learn_codec"])
    for look, codec, part, levels in study.compressions(task):
        each = coding(codec) + MEASURE[about.medium] * scale * (part == "test")
        count = items[part][look - 1]
        passes = count * len(levels)
        size = passes * (stored.get(study.codec_files(task, codec)[-1], max(list(stored.values())[1:])) * raw + ROW)
        decoding = count * DECODE * encode[ORIGINAL] * scale
        yield Job("compress", passes, START["compress"] + decoding + each * passes, size=size)
    for codec in study.codecs[task]:
        of_level = 6 * min(2 * timing.MOST, max(2 * timing.LEAST, min(timing.ITEMS, tested[0]) * coding(codec)))
        yield Job("timing", 0, START["timing"] + of_level * len(study.levels(task, codec)))
    outcome = ROW if kinds.load(about.kind).per_item else DETECTED
    for model in study.models(task):
        learn, predict, _ = timed[model.arch]
        size = TORCHVISION if model.arch.startswith("torchvision/") else WEIGHTS
        passes = rounds = 0
        asked = 0.0
        if model in study.existing(task):
            asked = min(SAMPLES[0], tested[0]) * predict
        else:
            training = _training(study, model)
            # Each step of an attack on a batch costs about as much as learning from it.
            rounds = 1 + (training.adversarial.steps if training.adversarial else 0)
            passes = learnt * training.epochs
        yield Job("train", passes, START["train"] + asked + learn * passes * rounds, learn * passes * rounds, size)
    for look, codec, models in study.evaluations(task):
        decoded = tested[look - 1] * len(study.levels(task, codec))
        predicting = decoded * sum(timed[model.arch].predict for model in models) / parts
        passes = decoded * len(models) // parts
        decoding = decoded * DECODE * coding(codec)
        yield Job("evaluate", passes, START["evaluate"] + decoding + predicting, predicting, passes * outcome)
    for model in study.attacked(task):
        settings = study.attack(model)
        learn, *_ = timed[model.arch]
        attacked = min(settings.items, tested[0])
        for codec in study.attacked_codecs(task):
            behind = codec != ORIGINAL
            levels = study.attacked_levels(task, codec) if behind else [0.0]
            # A search goes through all that a defence may draw at each step.
            defence = study.defences(task).get(codec)
            ways = [[step.codec for step in way] for way in defence.ways] if defence else [[codec]] * len(levels)
            passes = attacked * len(ways)
            steps = _attack_steps(settings, behind)
            learning = passes * steps * learn
            through = attacked * steps * sum(coding(one) for way in ways for one in way) if behind else 0.0
            size = attacked * len(settings.aims) * (ADVERSARIAL[behind] * raw + ROW)
            yield Job("attack", passes, START["attack"] + learning + through, learning, size)
    yield Job("aggregate", 0, START["aggregate"], size=SUMMARY)
    yield from 3 * [Job("report", 0, START["report"])]  # figures, frontier and contact sheet


def _tested(study: Study, task: str) -> list[int]:
    """The number of test items that each look up to the present one adds."""
    if not study.task(task).looks:
        return [(study.description(task).counts or {}).get("test", 0)]
    return [stop - start for start, stop, _ in (study.added(task, look) for look in study.looks(task))]


def _shape(study: Study, task: str) -> tuple[int, ...]:
    """The shape of a decoded item: of the first where media lie in a folder, else as they are published or embedded."""
    about, config = study.description(task), study.task(task).data
    dataset: Any = data.get(config.adapter, study.data_options(task))
    if getattr(dataset, "path", None):
        shape = next(dataset.items(study.config.seed, [])).media.shape
    elif isinstance(dataset, PublishedDataset):
        shape = tuple(dataset.shape)
    else:
        sides = list(_of_kind(SHAPES, about))
        for option, axes in (("size", (-3, -2)), ("frames", (0,))):
            if isinstance(value := getattr(dataset, option, None), int):
                for axis in axes:
                    sides[axis] = round(sides[axis] * value / type(dataset).model_fields[option].default)
        shape = tuple(sides)
    scale = config.scale
    if scale and scale.crop:
        shape = (*shape[:-3], *scale.crop, 3)
    elif scale and scale.resize:
        height, width = (round(side * scale.resize / min(shape[-3:-1])) for side in shape[-3:-1])
        shape = (*shape[:-3], height, width, 3)
    return shape


def _of_kind(measured: Mapping[tuple[str, str], Any], about: Description) -> Any:
    """What was `measured` of a medium and kind of task; of a kind that was not, what classification takes."""
    return measured.get((about.medium, about.kind), measured[about.medium, "classification"])


def _bytes(shape: Sequence[int], medium: str) -> float:
    return float(math.prod(shape) * (2 if medium == "audio" else 1))


def _speed(study: Study, model: Model, raw: float, times: Timings) -> Timing:
    """What a model takes for an item. raw: the bytes of an item, which has to be decoded and brought to its input."""
    about = study.description(model.task)
    if timing := times.get((model.task, model.arch)):
        learnt, searched = _examples(study, model)
        return timing._replace(learn=learnt * timing.learn, predict=searched * timing.predict)
    exists = model in study.existing(model.task)
    settings = ExistingSettings(**study.existing_settings(model)) if exists else _training(study, model)
    size = settings.input_size
    seen = math.prod(size) * (2 if about.medium == "audio" else 3) if size else raw
    learn = _of_kind(LEARN, about) * seen / _of_kind(SEEN, about)
    return Timing(learn, TEST_SHARE * learn, "")


def _examples(study: Study, model: Model) -> tuple[float, float]:
    """How many examples, each of which a model takes in at once, an item has in training and in testing."""
    about = study.description(model.task)
    if about.medium != "video" or not kinds.load(about.kind).by_frame:
        return 1, 1
    frames = _shape(study, model.task)[0]
    if model in study.existing(model.task):
        return 1, math.ceil(frames / ExistingSettings(**study.existing_settings(model)).frame_stride)
    settings = _training(study, model)
    return min(settings.frames_per_clip, frames), math.ceil(frames / settings.frame_stride)


def _attack_steps(settings: AttackSettings, behind: bool) -> float:
    """The steps of all attacks on an item, each of which costs a pass through the codec and one of learning.

    Behind a codec an attack leaves an item when it is beaten.
    """
    steps = 0.0
    for aim in settings.aims:
        method = METHODS[aim.attack]
        each = settings.adaptive_steps * GONE if behind else settings.steps
        if method.access == "scores":
            steps += LEFT * settings.queries
        elif method.access == "gradients" and (behind or aim.goal != "trigger"):
            run = method.effort * each * (LEFT if method.after else 1)
            steps += run + run * method.restarts * settings.restarts * LEFT
    # The main attack follows the poorer gradient as well.
    return steps + 2 * settings.adaptive_steps * GONE * behind


def _training(study: Study, model: Model) -> training_settings.TrainingSettings:
    about = study.description(model.task)
    return training_settings.read(study.training_settings(model), about.medium, about.kind)


@functools.cache
def _calibrate() -> float:
    """The CPU seconds that one core needs for a fixed piece of work, the best of three."""
    content = np.random.default_rng(0).integers(0, 32, 1_000_000, np.uint8).tobytes()
    return min(timeit.repeat(lambda: zlib.compress(content), timer=time.process_time, number=1, repeat=3))


def _minutes(amount: float) -> str:
    return f"{amount / 60:.0f} minutes" if amount > 90 else f"{amount:.0f} seconds"
