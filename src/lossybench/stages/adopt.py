"""The adopt stage: takes over a model that exists already, in place of training one."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import logging
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from lossybench import artifacts, codecs, models, tasks
from lossybench.chance import above_chance, chance, lower_bound
from lossybench.conditions import ORIGINAL
from lossybench.errors import LossyBenchError, naming
from lossybench.metrics import Metric
from lossybench.models import existing_settings, from_torchvision, runtime
from lossybench.models.existing import PROGRAM, Classifier, Detector, check_archive, first_line, read_state, rebuild
from lossybench.models.existing_settings import SAMPLES, ExistingSettings
from lossybench.models.inputs import Input, Sent, common_shape
from lossybench.reading import NOTHING, read
from lossybench.tasks import training_settings
from lossybench.tasks.media import to_float
from lossybench.tasks.task_kind import Example, TaskKind

BATCH = 16  # items
EXCHANGES = 19  # in so many ways pictures are given the boxes of others: 19 of 20 is 95 %
SHOWN = 20  # of so many classes all outputs are told
ITEMS, OBJECTS = "these", "the true objects"  # what answers are of, in words
FAR_BETTER = 0.1  # by so much another order of the outputs must be right more often to be told
_log = logging.getLogger(__name__)


def adopt(data: Path, task: str, arch: str, out: Path, settings: dict[str, Any] | None = None, seed: int = 0) -> None:
    """Take over a model that exists already, in place of training one.

    The model is tried on a sample of the test items, from which its accuracy or mAP50 is measured: 200 items, and where
    these do not show it to be above chance, 2,000.

    Args:
        data: the table that fetch made
        task: the name of the task
        arch: the name of the model, or torchvision/NAME for published weights
        out: the folder to write, as training would have written it (models.save)
        settings: checkpoint, class, classes, input_size, normalise and so on (existing_settings.ExistingSettings); or
            command, function or url
        seed: the number under which the model is filed, which also draws the sample

    Raises:
        LossyBenchError: where the checkpoint does not load or does not fit its class; where the model refuses the
            items or returns anything but one finite output for each class that `classes` names; and where it is not
            shown to be above chance, or stays below `minimum`. Nothing is published then.
    """
    meta = artifacts.read_meta(data)
    medium, kind, classes = meta["medium"], meta["kind"], meta["classes"]
    how = existing_settings.read(arch, settings or {}, medium, kind, classes)
    form, total = existing_settings.form(arch, how), 0
    services = form in existing_settings.SERVICES
    runtime.start("cpu")
    if form == "published":
        how, state, total = _published(arch, how, medium, kind)
    elif form == "state":
        state = read_state(existing_settings.checkpoint_file(str(how.checkpoint)))
    elif services:
        state = {}
    else:
        path = existing_settings.checkpoint_file(str(how.checkpoint))
        check_archive(path)
        if not (content := path.read_bytes()):
            raise LossyBenchError(f"{path}: is empty")
        state = {PROGRAM: torch.frombuffer(bytearray(content), dtype=torch.uint8)}
    known = existing_settings.named(classes if how.classes is None else how.classes)
    if not meta.get("labelled", True):
        classes = sorted(known, key=known.__getitem__)  # all that the model knows
    rows = list(artifacts.iter_rows(data, ["id", "shape", "sampling_rate"], splits=["test"]))
    if not rows:
        raise LossyBenchError(f"{data}: no items in the split test")
    about: dict[str, Any] = {
        "settings": how.model_dump(mode="json", by_alias=True),
        "form": form,
        "layout": how.layout or existing_settings.LAYOUTS[medium][0],
        "normalise": how.normalise.model_dump(mode="json") if how.normalise else None,
        "outputs": "probabilities" if services else how.outputs or "logits",  # services are brought to these
        "total": total,
        "picked": existing_settings.outputs_of(known, classes),
        "rest": [],
    }
    frames = medium == "video" and tasks.kind_class(kind).by_frame  # of which the model sees one at a time
    if services:
        about |= {"known": known, "scores": how.outputs or "probabilities"}
        about["rest"] = [place for place in range(max(known.values(), default=-1) + 2) if place not in about["picked"]]
        about["files"] = existing_settings.identity(arch, settings or {})
    elif how.detections:
        about["listed"] = None if isinstance(how.classes, dict) else len(known)
    shape: Sequence[int] = how.input_size or ()
    if not shape and not services:
        shape = common_shape([row["shape"][frames:] for row in rows], medium, str(data))
    if shape and frames:
        shape = (1, *shape)
    input = Input(tuple(shape), rows[0]["sampling_rate"] if medium == "audio" else 0.0, how.resize, how.interpolation)
    trained = {"frame_stride": how.frame_stride} | ({"input_size": tuple(shape)[frames:]} if shape else {})
    info: dict[str, Any] = {
        "task": task,
        "regime": ORIGINAL,
        "arch": arch,
        "seed": seed,
        **{key: meta[key] for key in ("medium", "kind")},
        "classes": classes,
        "input": dataclasses.asdict(input),
        "settings": training_settings.read(trained, medium, kind).model_dump(mode="json"),
        "existing": about,
    }
    trial = _Trial(data, info, len(rows), meta.get("labelled", True))
    try:
        model = rebuild(info, state).eval()
        if isinstance(model, Classifier) and not services:
            about["rest"] = model.rest = _rest(model, trial.first_items(), known, not isinstance(how.classes, dict))
        sample = trial.sample(model)
    except LossyBenchError as error:
        raise LossyBenchError(f"{arch}: {error}") from None
    except Exception as error:  # the user's own code may raise anything
        of = f"{medium} of the shape {list(shape)}" if shape else medium
        raise LossyBenchError(
            f"{arch}: fails on a batch of {of} ({first_line(error)}); check input_size and layout"
        ) from error
    _judge(arch, sample, about["picked"], classes, how.minimum, trial.task.metrics[0])
    info["others"] = int(bool(about["rest"]))
    info["sample"] = {
        "metric": trial.task.metric,
        "value": sample.value,
        "chance": sample.chance,
        "items": sample.items,
        "seconds": sample.seconds,
    }
    info["parameters"] = sum(value.numel() for value in state.values() if form != "onnx")
    info["environment"] = {"python": platform.python_version(), "torch": torch.__version__}
    models.save(state, info, [], out)


class _Sample(NamedTuple):
    """What a model answers on a sample of the test items.

    said: what was measured, in words. value, chance: accuracy or mAP50, and what answers that do not depend on the item
    reach. shown, could_be: whether the model is shown to be above chance, and whether any model could be. asked: what
    `labels` and `answers` are of, items or true objects. These are the class of each and the output that the model
    gives for it, -1 for none; empty where a kind of task has no classes to mix up. seconds: of one core, for an item.
    """

    said: str
    value: float
    chance: float
    shown: bool
    could_be: bool
    items: int
    asked: str
    labels: np.ndarray
    answers: np.ndarray
    seconds: float


class _Trial:
    """A model on a sample of the test items.

    info: the content of model.json so far. total: of test items. labelled: whether anything is known of them.
    """

    def __init__(self, data: Path, info: Mapping[str, Any], total: int, labelled: bool = True) -> None:
        self.data, self.info, self.total, self.labelled = data, info, total, labelled
        self.task: TaskKind = tasks.get(info)
        self.order = np.random.default_rng([info["seed"], 0]).permutation(total)

    def first_items(self) -> Any:
        """Two test items as model input; the first one twice, where there is no second."""
        first = list(self._examples(2))
        return self._batch((first * 2)[:2], by_item=False)

    def sample(self, model: nn.Module) -> _Sample:
        """What the model answers on the smaller sample, or on the larger where the smaller does not show its worth."""
        found = self._sample(model, SAMPLES[0])
        if not found.shown and self.total > SAMPLES[0]:
            _log.info("%s: not shown to be above chance; on to a larger sample", found.said)
            found = self._sample(model, SAMPLES[1])
        return found

    def _sample(self, model: nn.Module, size: int) -> _Sample:
        size = min(size, self.total)
        bar = iter(tqdm(self._examples(size), "try", size, unit="item", mininterval=1))
        answers: list[Any] = []
        predictions: list[Any] = []
        targets: list[Any] = []
        seconds = 0.0
        # Another process computes for a model that is asked item by item.
        clock = time.perf_counter if getattr(model, "by_item", False) else time.process_time
        while batch := list(itertools.islice(bar, BATCH)):
            media = self._batch(batch, getattr(model, "by_item", False))
            targets += [example.target for _, example in batch]
            start = clock()
            with torch.inference_mode():
                if isinstance(model, Classifier):
                    answers += model.all_outputs(media).argmax(1).tolist()
                elif not isinstance(model, Detector):
                    predictions += self.task.predictions(model, media)
                else:
                    found = model.all_found(media)
                    answers += found
                    predictions += map(_arrays, model.translated(found))
            seconds += clock() - start
        if not self.labelled:
            return self._constancy(answers or predictions, seconds / len(targets))
        ways = {"classifier": self._accuracy, "detector": self._precision, "plain": self._score}
        return ways[self.task.existing](targets, answers, predictions, seconds / len(targets))

    def _constancy(self, answers: Sequence[Any], seconds: float) -> _Sample:
        """Of items of which nothing is known, how many get the answer that most get. From one and the same answer to
        all of them, nothing could be learnt."""
        count, nothing = len(answers), np.zeros(0, int)
        most = max(collections.Counter(map(_in_brief, answers)).values())
        said = f"gives the same answer to {most} of {self._of(count)}"
        return _Sample(said, 1.0, most / count, most < count, count > 1, count, ITEMS, nothing, nothing, seconds)

    def _accuracy(self, targets: Sequence[Any], answers: Sequence[int], _: object, seconds: float) -> _Sample:
        labels, given = np.array(targets), np.array(answers)
        count, guessed = len(labels), chance(labels, len(self.info["classes"]))
        right = int((given == np.array(self.info["existing"]["picked"])[labels]).sum())
        said = (
            f"accuracy {right / count:.3%} on {self._of(count)}, where the best constant answer has {guessed:.3%} and "
            f"the exact one-sided 95 % lower bound of the model's accuracy is {lower_bound(right, count):.3%}"
        )
        shown, could_be = (above_chance(each, count, guessed, 0) for each in (right, count))
        return _Sample(said, right / count, guessed, shown, could_be, count, ITEMS, labels, given, seconds)

    def _score(self, targets: list[Any], _: object, predictions: Sequence[Any], seconds: float) -> _Sample:
        """The primary metric, which must be better than it is on the truth of other items, in all exchanges."""
        metric, count = self.task.metrics[0], len(targets)
        value = self.task.score(predictions, targets)
        turns = range(1, min(EXCHANGES, count - 1) + 1)
        others = [self.task.score(predictions, targets[turn:] + targets[:turn]) for turn in turns]
        guessed = metric.sign * max((metric.sign * other for other in others), default=-metric.sign * value)
        said = (
            f"{metric.title} {metric.shown(value)} on {self._of(count)}, where its answers have "
            f"{metric.shown(guessed)} at best on the truth of other items"
        )
        shown, nothing = metric.sign * (value - guessed) > 0, np.zeros(0, int)
        told = {target.tobytes() if isinstance(target, np.ndarray) else repr(target) for target in targets}
        could_be = len(told) > 1
        return _Sample(said, value, guessed, shown, could_be, count, ITEMS, nothing, nothing, seconds)

    def _precision(
        self, targets: list[Any], found: Sequence[Any], predictions: Sequence[Any], seconds: float
    ) -> _Sample:
        """mAP50, which must exceed what the same findings have on the boxes of other pictures, in all exchanges."""
        count, value = len(targets), self.task.score(predictions, targets)
        # Frames that follow each other are alike, so that those of clips are exchanged with frames far away.
        each = max(1, count // (EXCHANGES + 1)) if self.info["medium"] == "video" else 1
        turns = range(each, min(EXCHANGES * each, count - 1) + 1, each)
        others = [self.task.score(predictions, targets[turn:] + targets[:turn]) for turn in turns]
        guessed = max(others, default=0.0)
        said = (
            f"mAP50 {value:.4f} on {self._of(count)}, where its findings have up to {guessed:.4f} on the boxes of "
            "other pictures"
        )
        objects = sum(len(target["labels"]) for target in targets)
        labels, answers = _read_objects(targets, found)
        return _Sample(said, value, guessed, value > guessed, bool(objects), count, OBJECTS, labels, answers, seconds)

    def _of(self, count: int) -> str:
        if self.info["medium"] == "video" and self.task.by_frame:
            return f"{count} frames of test items (seed {self.info['seed']})"
        drawn = "all" if count == self.total else f"{count} of"
        return f"{drawn} {self.total} test items" + f" (seed {self.info['seed']})" * (count < self.total)

    def _examples(self, size: int) -> Iterator[tuple[Mapping[str, Any], Example]]:
        """The examples of the first `size` items of the seeded order, in that of the table, with their items' rows."""
        original, drawn = codecs.get(ORIGINAL), set(self.order[:size].tolist())
        columns = ["id", "media", "shape", "sampling_rate", *self.task.truth.names]
        for index, row in enumerate(artifacts.iter_rows(self.data, columns, splits=["test"])):
            if index in drawn:
                with naming(f"{self.data}: item {row['id']}"):
                    media = original.decode(row["media"], tuple(row["shape"]), row["sampling_rate"])
                    examples = self.task.examples(media, row, training=False)
                for example in examples:
                    yield row, example

    def _batch(self, some: Sequence[tuple[Mapping[str, Any], Example]], by_item: bool) -> Any:
        if by_item:
            return [Sent.of(row["id"], row, one.media, one.frame, self.info) for row, one in some]
        media = torch.from_numpy(np.stack([example.media for _, example in some]))
        return to_float(media, self.info["medium"], torch.device("cpu"))


def _in_brief(answer: Any) -> str:
    """What two answers that are the same have in common: of detections, their labels and boxes in whole pixels."""
    if not isinstance(answer, Mapping) or "boxes" not in answer:
        return repr(answer)
    return repr((answer["labels"].tolist(), answer["boxes"].round().tolist()))


def _arrays(found: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: part.float().numpy() for name, part in found.items()}


def _read_objects(targets: Sequence[Any], found: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """The label of each true object, and the detector's own label that is read at it, whatever its score."""
    labels, answers = [], []
    for target, of_item in zip(targets, found, strict=True):
        boxes, own, scores = (of_item[name].tolist() for name in ("boxes", "labels", "scores"))
        near = [
            {"frame": 0, "box": box, "label": label, "score": score}
            for box, label, score in zip(boxes, own, scores, strict=True)
        ]
        truth = [{"frame": 0, "box": box} for box in target["boxes"].tolist()]
        labels.append(target["labels"])
        answers.append(read(near, truth, least=0.0))
    return np.concatenate(labels).astype(int), np.concatenate(answers).astype(int)


def _judge(
    arch: str, sample: _Sample, picked: list[int], classes: list[str], minimum: float | None, metric: Metric
) -> None:
    """Raise LossyBenchError for a model that is at chance or worse than the `minimum`, and log how it did otherwise."""
    better = _better_order(sample, np.array(picked), classes)
    hint = better or "check classes, normalise, input_size and layout"
    if not sample.shown and sample.could_be:
        raise LossyBenchError(f"{arch}: is not shown to be above chance: {sample.said}; {hint}")
    if minimum is not None and metric.sign * sample.value < metric.sign * minimum:
        side = "below the minimum" if metric.sign > 0 else "above the most"
        raise LossyBenchError(f"{arch}: is {side} of {minimum:g}: {sample.said}; {hint}")
    _log.info("%s: %s", arch, sample.said)
    if not sample.shown:
        _log.warning("%s: no model could be shown to be above chance on these items: too few, or all of a class", arch)
    if better:
        _log.warning("%s: %s", arch, better)


def _better_order(sample: _Sample, picked: np.ndarray, classes: list[str]) -> str:
    """What to write in `classes`, where another order of the outputs fits the labels far better; "" where none does.

    picked: the output of each class. An order that is found by matching outputs to labels is found on one half of the
    sample and tested on the other: with few items of a class some order always fits those that it was found on.
    """
    labels, answers = sample.labels, sample.answers
    if len(labels) < 2:
        return ""
    random = np.random.default_rng(0).permutation(len(labels)) % 2 == 0
    every, outputs = np.ones(len(labels), bool), np.sort(picked)
    tried = [
        ("with all outputs shifted up by one, as where output 0 is the background", picked + 1, every),
        ("with all outputs shifted down by one, as where labels count from 1", picked - 1, every),
        ("with the names in the order of text", outputs[_ranks(classes)], every),
    ]
    if all(map(str.isdecimal, classes)):
        tried.append(
            ("with the names in the order of numbers", outputs[_ranks([int(name) for name in classes])], every)
        )
    read = answers != NOTHING
    seen = random & read
    columns, column = np.unique(np.concatenate([picked, answers[seen]]), return_inverse=True)
    counts = np.zeros((len(classes), len(columns)), int)
    np.add.at(counts, (labels[seen], column[len(picked) :]), 1)
    tried.append(
        ("with outputs matched to the labels", columns[linear_sum_assignment(counts, maximize=True)[1]], ~random)
    )
    least = chance(labels, len(classes)) if sample.asked == ITEMS else 0.0
    best, found = FAR_BETTER, ""
    for how, order, tested in tried:
        right, count = int(((answers == order[labels]) & read)[tested].sum()), int(tested.sum())
        given = float((answers == picked[labels])[tested].mean())
        if right / count - given > best and lower_bound(right, count) > max(given, least):
            best = right / count - given + FAR_BETTER  # a plain order is believed before a matched one
            known = sorted({label for label in labels[tested | seen].tolist() if order[label] >= 0})
            pairs = [f"{classes[one]!r}: {order[one]}" for one in known]
            shown = ", ".join(pairs if len(pairs) <= SHOWN else [*pairs[:5], "..."])
            told = f"{right / count:.3%} of {sample.asked} are right in place of {given:.3%}"
            found = f"{how}, {told}; if that is meant, write in `classes`: {{{shown}}}"
    return found


def _ranks(values: Sequence[Any]) -> np.ndarray:
    """The rank of each value among all."""
    return np.argsort(np.argsort(np.array(values)))


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
    assert how.checkpoint is not None
    weights = from_torchvision.published(arch.removeprefix(existing_settings.PUBLISHED), medium, kind, how.checkpoint)
    preset, names = weights.transforms(), list(weights.meta["categories"])
    # ImageNet has two classes "crane", and COCO has gaps called "N/A": a name that is there twice tells no class.
    said: dict[str, Any] = {"classes": {name: i for i, name in enumerate(names) if names.count(name) == 1}}
    if tasks.kind_class(kind).existing == "classifier":
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
