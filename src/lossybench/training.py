"""Training: from compressed (or original) items to weights, resumable and bit for bit repeatable on the CPU."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import hashlib
import io
import itertools
import json
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from lossybench import artifacts, codecs, models, tasks
from lossybench.conditions import Condition
from lossybench.data._folds import learning
from lossybench.decoded import BLOCK, Records, Store
from lossybench.errors import LossyBenchError, naming
from lossybench.fingerprint import source_digest
from lossybench.models import runtime
from lossybench.models.inputs import Input, common_shape
from lossybench.tasks import media as batches
from lossybench.tasks import training_settings
from lossybench.tasks.task_kind import TaskKind
from lossybench.tasks.training_settings import Adversary, TrainingSettings

CHECKPOINT = ".checkpoint.pt"  # in the model's folder; Snakemake does not know it, so it outlives a failed job
INTERVAL = 60.0  # seconds between checkpoints, at least
DIGEST = 32  # bytes of the SHA-256 with which a checkpoint begins
# What a checkpoint holds of a run: the states of these parts, and these values.
PARTS, VALUES = ("model", "optimizer", "schedule"), ("identity", "step", "total", "best", "history")
WARM_UP = 0.25  # share of the steps in which the one-cycle schedule rises
LARGEST_GRADIENT = 5.0  # a norm; the limit steadies the first steps of detectors and transformers
VALIDATION_BATCH = 64
STEP_RATIO = 2.5  # steps of an attack times the size of one, over epsilon; Madry et al. 2018


@contextlib.contextmanager
def prepared(
    data: Path,
    sources: list[Path],
    task_meta: Mapping[str, Any],
    arch: str,
    seed: int,
    settings: dict[str, Any],
    out: Path,
    threads: int = 1,
    store: Store | None = None,
) -> Iterator[Run]:
    """The run of the train stage, ready for its first step, which can be taken within the context.

    data, arch, seed, settings, out, threads: see `stages.train.train`, also for errors. sources: the train parts.
    task_meta: holds the task, the regime and, of a model that leaves out a fold, that fold. store: keeps decoded media
    for other jobs too; those that it does not keep are deleted at the end of the context.
    """
    meta = artifacts.read_meta(data)
    medium, kind = meta["medium"], meta["kind"]
    chosen = training_settings.read(settings, medium, kind, models.default_settings(arch, medium, kind))
    device = runtime.start(chosen.device, chosen.deterministic)
    feed = functools.partial(runtime.in_order, device=device, threads=threads)
    columns = ["id", "shape", "sampling_rate", *tasks.kind_class(kind).truth.names]
    if fold := task_meta.get("fold"):
        there = list(artifacts.iter_rows(data, [*columns, "groups", "fold"]))
        rows = learning(there, fold, meta["folds"], tasks.kind_class(kind).labels)
    else:
        rows = {split: list(artifacts.iter_rows(data, columns, splits=[split])) for split in ("train", "val")}
        there = [*rows["train"], *rows["val"]]
    if not all(rows.values()):
        raise LossyBenchError(f"{data}: a split is empty; training needs items in train and in val")
    info: dict[str, Any] = {
        **{key: task_meta[key] for key in ("task", "regime", "fold") if key in task_meta},
        **{key: meta[key] for key in ("medium", "kind", "classes")},
        "arch": arch,
        "seed": seed,
        "input": dataclasses.asdict(input_of([*rows["train"], *rows["val"]], chosen, medium, kind, arch, str(data))),
        "settings": chosen.model_dump(mode="json"),
    }
    task = tasks.get(info)
    loader = _Loader(task, sources, rows, there, store)
    with contextlib.closing(loader.media):
        examples = loader.load(chosen.draws, seed, feed)
        del rows, there, loader  # a kilobyte for each item
        yield Run(task, examples, device, feed, out)


def draw_sources(items: int, sources: int, draws: int, generator: np.random.Generator) -> np.ndarray:
    """Which of the `sources` each of the `items` is taken from: (items, min(draws, sources)), distinct within an item.

    Over all items every source is used equally often, give or take one: items in a random order take the next `draws`
    sources in turn from a circle of the sources in a random order. generator: draws both orders.
    """
    draws = min(draws, sources)
    circle = generator.permutation(sources)
    turns = np.empty(items, np.int64)
    turns[generator.permutation(items)] = np.arange(items)
    return circle[(turns[:, None] * draws + np.arange(draws)) % sources]


def perturb(
    task: TaskKind,
    model: nn.Module,
    batch: torch.Tensor,
    targets: Sequence[Any],
    adversary: Adversary,
    generator: np.random.Generator,
) -> torch.Tensor:
    """The batch as projected gradient descent leaves it: adversarial training (Madry et al. 2018, arXiv 1706.06083).

    batch: float input of the `model`, whose loss on the `targets` is raised (see `task.loss`). The result differs from
    it by at most `adversary.epsilon` of full scale in each value, and stays within the medium's range. generator: draws
    the random start.

    ART's AdversarialTrainer is not used, as it takes over the whole of training: no schedule, no augmentation, no
    checkpoint. Nor is `lossybench.attacks`, as a changed attack must not retrain all models.
    """
    low, high = batches.limits(task.medium)

    def project(media: torch.Tensor) -> torch.Tensor:
        return media.clamp(batch - adversary.epsilon, batch + adversary.epsilon).clamp(low, high)

    # The model is attacked as it is tested: in evaluation mode. In training mode batch norm would count these passes in
    # its running statistics and let an item's gradient depend on the rest of the batch, and dropout would blur it.
    training = model.training
    model.eval()
    start = torch.from_numpy(2 * generator.random(tuple(batch.shape), np.float32) - 1).to(batch.device)
    media = project(batch + adversary.epsilon * start)
    for _ in range(adversary.steps):
        media.requires_grad_()
        (gradient,) = torch.autograd.grad(task.loss(model, media, targets), media)
        media = project(media.detach() + STEP_RATIO * adversary.epsilon / adversary.steps * gradient.sign())
    model.train(training)
    return media


def input_of(
    rows: Sequence[Mapping[str, Any]], settings: TrainingSettings, medium: str, kind: str, arch: str, where: str
) -> Input:
    """What a model that learns from the `rows` of a data table sees: `input_size`, or the one shape of all items.

    medium, kind, arch: of the model. where: the file that errors name. Raises LossyBenchError for clips of several
    sampling rates, for items of several shapes without `input_size`, and for one with a wrong number of axes.
    """
    rates = {row["sampling_rate"] for row in rows}
    if medium == "audio" and len(rates) > 1:
        raise LossyBenchError(f"{where}: clips have different sampling rates {sorted(rates)}; resample them to one")
    rate = rows[0]["sampling_rate"] if medium == "audio" else 0.0
    by_frame = medium == "video" and tasks.kind_class(kind).by_frame
    shapes = [row["shape"][1:] if by_frame else row["shape"] for row in rows]
    shape = settings.input_size or common_shape(shapes, medium, where)
    return Input((models.window(arch), *shape) if by_frame else tuple(shape), rate)


@dataclasses.dataclass
class _Split:
    """The examples of one split: their targets, and the numbers of the records that hold their versions."""

    targets: list[Any]
    records: np.ndarray  # record numbers (examples, draws)


@dataclasses.dataclass
class _Examples:
    media: Records  # uint8 or int16, on disk
    train: _Split
    val: _Split
    original: _Split | None  # the val items as originals, if the regime contains them
    digest: str  # of all that media and targets follow from


Feed = Callable[..., Iterator[Any]]  # prepares items ahead: see models.runtime.in_order
Row = dict[str, Any]


class _Loader:
    """Has each payload that training needs decoded once, onto the disk, so that the job's memory stays small.

    sources: the train parts. rows: of the data table, by split. there: those of all items that the parts hold, so that
    models of other folds find each in the same place. store: keeps what is decoded for other jobs too.
    """

    def __init__(
        self, task: TaskKind, sources: list[Path], rows: dict[str, list[Row]], there: list[Row], store: Store | None
    ) -> None:
        self.task, self.sources, self.rows, self.there, self.store = task, sources, rows, there, store
        self.metas = [artifacts.read_meta(source) for source in sources]
        self.codecs = [codecs.made(meta["codec"], meta["options"], meta.get("variant")) for meta in self.metas]
        self.places: dict[str, range] = {}  # of the records of each item among those of a source
        total = 0
        for row in there:
            self.places[row["id"]] = range(total, total + len(task.targets(row)))
            total = self.places[row["id"]].stop
        shape, dtype = (task.input.shape, np.int16) if task.medium == "audio" else ((*task.input.shape, 3), np.uint8)
        self.media = Records(shape, dtype, [None] * len(sources), total)
        code = source_digest("codecs", "models/inputs.py", "pictures.py", "tasks")
        self.view, self.identities = self._view(), [self._identity(index, code) for index in range(len(sources))]
        if store:
            names = [f"{task.info['task']}/{Condition(meta['codec'], meta['level'])}" for meta in self.metas]
            how = self.view, total, self.media.size
            each = zip(names, self.identities, strict=True)
            self.media.shelves = [store.shelf(name, identity, *how) for name, identity in each]

    def _view(self) -> str:
        """A hash of what the records of a source follow from besides its bitstreams and their decoder."""
        found = hashlib.sha256(repr(self.task.takes_in(training=True)).encode())
        for row in self.there:
            found.update(json.dumps([row["id"], row["shape"], row["sampling_rate"]]).encode())
        return found.hexdigest()[:32]

    def _identity(self, index: int, code: str) -> str:
        """A hash of the bitstreams of a source, and of what makes records of them. code: a hash of its own part."""
        with self.sources[index].open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        about = [self.metas[index].get(key) for key in ("codec", "options", "variant")]
        how = [content, *about, self.codecs[index].version(), code, np.__version__, cv2.__version__]
        return hashlib.sha256(json.dumps(how).encode()).hexdigest()[:32]

    def load(self, draws: int, seed: int, feed: Feed) -> _Examples:
        generator = np.random.default_rng([seed, 0])
        # Of each split its rows, and the sources that each of them is taken from.
        drawn = {
            split: (self.rows[split], draw_sources(len(self.rows[split]), len(self.sources), versions, generator))
            for split, versions in (("train", draws), ("val", 1))
        }
        originals = [index for index, meta in enumerate(self.metas) if meta["codec"] == "original"]
        if originals:
            drawn["original"] = self.rows["val"], np.full((len(self.rows["val"]), 1), originals[0])
        wanted: list[dict[str, Row]] = [{} for _ in self.sources]
        for row, sources in ((row, sources) for split in drawn.values() for row, sources in zip(*split, strict=True)):
            for source in sources:
                wanted[source][row["id"]] = row
        numbers: dict[tuple[int, str], range] = {}  # of the records of an item from a source
        with tqdm(total=sum(map(len, wanted)), desc="decode", unit="item", mininterval=1) as progress:
            for index, rows_of in enumerate(wanted):
                for name, found in self._decoded(index, rows_of, feed):
                    numbers[index, name] = found
                    progress.update()
        if self.store:
            self.store.tell(self.media)
        splits = {name: self._split(*split, numbers) for name, split in drawn.items()}
        digest = hashlib.blake2b(json.dumps([self.view, *self.identities]).encode())
        for split, (_, sources) in zip(splits.values(), drawn.values(), strict=True):
            digest.update(sources.tobytes() + json.dumps(split.targets, default=np.ndarray.tolist).encode())
        return _Examples(self.media, splits["train"], splits["val"], splits.get("original"), digest.hexdigest())

    def _decoded(self, index: int, wanted: dict[str, Row], feed: Feed) -> Iterator[tuple[str, range]]:
        """The ids of the items in `wanted`, which are taken out of it, and the numbers of their records from a source.

        Each comes as soon as its records are there.
        """
        source, codec, shelf = self.sources[index], self.codecs[index], self.media.shelves[index]

        def there() -> Iterator[tuple[str, range]]:
            for name in list(wanted):
                numbers = self.media.find(index, self.places[name])
                if numbers is not None:
                    del wanted[name]
                    yield name, numbers

        def decode(items: list[tuple[Row, bytes]]) -> list[tuple[str, list[bytes]]]:
            made = []
            for item, payload in items:
                with naming(f"{source}: item {item['id']}"):
                    decoded = codec.decode(payload, tuple(item["shape"]), item["sampling_rate"])
                    examples = self.task.examples(decoded, item, training=True)
                    made.append((item["id"], [example.media.tobytes() for example in examples]))
            return made

        # First what no other job is decoding at the moment, then what has not come from others meanwhile.
        for claiming in (True, False):
            yield from there()
            for made in feed(decode, self._missing(index, wanted, claiming)):
                for name, contents in made:
                    yield name, self.media.keep(index, self.places[name], contents)
                if shelf:
                    shelf.release(self._block(made[0][0]))
        yield from there()
        if wanted:
            missing = f"{len(wanted)} items of the data, such as {min(wanted)!r}"
            raise LossyBenchError(f"{source}: lacks {missing}; compress the data again")

    def _missing(self, index: int, wanted: dict[str, Row], claiming: bool) -> Iterator[list[tuple[Row, bytes]]]:
        """The items of a source to decode, a block at a time, with their payloads. Each is taken out of `wanted`.

        Left out are those that have come onto the shelf and, if `claiming`, those that another job has claimed.
        """
        shelf = self.media.shelves[index]
        payloads = artifacts.iter_rows(self.sources[index], ["id", "payload"]) if wanted else ()
        items = ((row["id"], row["payload"]) for row in payloads if row["id"] in wanted)
        for block, some in itertools.groupby(items, key=lambda item: self._block(item[0])):
            if shelf and claiming and not shelf.claim(block):
                continue
            found = [
                (wanted.pop(name), payload) for name, payload in some if not (shelf and shelf.holds(self.places[name]))
            ]
            if found:
                yield found
            elif shelf:
                shelf.release(block)

    def _block(self, name: str) -> int:
        return self.places[name].start // BLOCK

    def _split(self, rows: list[Row], sources: np.ndarray, numbers: Mapping[tuple[int, str], range]) -> _Split:
        targets: list[Any] = []
        records: list[tuple[int, ...]] = []
        for row, drawn in zip(rows, sources.tolist(), strict=True):
            targets.extend(self.task.targets(row))
            records.extend(zip(*(numbers[source, row["id"]] for source in drawn), strict=True))
        return _Split(targets, np.array(records))


class Run:
    """One training run: its epochs, its checkpoint, its best weights."""

    def __init__(self, task: TaskKind, examples: _Examples, device: torch.device, feed: Feed, out: Path) -> None:
        self.task, self.examples, self.device, self.feed = task, examples, device, feed
        self.checkpoint, info = out / CHECKPOINT, task.info
        self.seed: int = info["seed"]
        self.settings = settings = TrainingSettings(**info["settings"])
        torch.manual_seed(self.seed)
        wanted = info["arch"], info["medium"], info["kind"], len(info["classes"]), task.input, settings.weights
        self.model = models.build(*wanted).to(device)
        groups = [
            {"params": [one for one in self.model.parameters() if (one.ndim > 1) == decays], "weight_decay": decay}
            for decays, decay in ((True, settings.weight_decay), (False, 0.0))
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)
        self.steps = max(1, round(len(examples.train.targets) / settings.batch_size))
        # The last step has next to no learning rate, so that a run of one step would learn nothing.
        total = max(2, self.steps * settings.epochs)
        # A rise of exactly one step would divide by zero in torch.
        rise = WARM_UP if WARM_UP * total != 1 else 2 * WARM_UP
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, settings.learning_rate, total_steps=total, pct_start=rise
        )
        # How far the run has come: whole epochs, steps of the next one and their summed loss, the best weights so far.
        self.history: list[dict[str, Any]] = []
        self.begin_epoch()
        self.best: dict[str, Any] = {"value": -self.task.metrics[0].sign * math.inf, "epoch": 0, "weights": {}}
        self.identity = self._identity()
        self.saved = time.monotonic()
        self.told = 0  # the signal that told the run to end

    def run(self) -> tuple[nn.Module, dict[str, Any], list[dict[str, Any]]]:
        """Train to the end: the best model in evaluation mode, its validation figures, one entry of history an epoch.

        Raises LossyBenchError for a loss that is not finite, and SystemExit where a signal ends the run.
        """
        self._resume()
        epochs = self.settings.epochs
        progress = tqdm(total=epochs, initial=len(self.history), desc="train", unit="epoch", mininterval=1)
        with self._listening(), progress:
            while len(self.history) < epochs:
                epoch = len(self.history) + 1
                loss, value = self.epoch(epoch), None
                if epoch % self.settings.validate_every == 0 or epoch == epochs:
                    value = self._validate(self.examples.val, self.settings.adversarial)
                    sign = self.task.metrics[0].sign
                    # Of equally good epochs the later one is taken: by then the schedule has settled further.
                    if sign * value >= sign * self.best["value"]:
                        weights = copy.deepcopy(self.model.state_dict())
                        self.best = {"value": value, "epoch": epoch, "weights": weights}
                self.history.append({"epoch": epoch, "loss": loss, f"val_{self.task.metric}": value})
                self.begin_epoch()
                progress.set_postfix({"loss": f"{loss:.3f}", self.task.metric: value})
                progress.update()
            self.model.load_state_dict(self.best["weights"])
            original = None if self.examples.original is None else self._validate(self.examples.original)
        validation = {"own": self.best["value"], "original": original, "epoch": self.best["epoch"]}
        return self.model.eval(), validation, self.history

    def begin_epoch(self) -> None:
        """Note that no step of the coming epoch is done."""
        self.step, self.total = 0, torch.zeros((), device=self.device)

    def epoch(self, epoch: int) -> float:
        """Train for what is left of the epoch of this number, from 1 on, and return its mean loss.

        What is random in a step follows from the seed, the epoch and the step alone, on any number of threads. A
        checkpoint therefore holds no random states but these three numbers. Raises LossyBenchError for a loss that is
        not finite, and SystemExit where a signal ends the run.
        """
        split = self.examples.train
        count, draws = split.records.shape
        records = split.records[np.arange(count), (np.arange(count) + epoch) % draws]
        order = np.random.default_rng([self.seed, epoch]).permutation(count)
        parts = np.array_split(order, self.steps)

        def prepare(step: int) -> tuple[torch.Tensor, list[Any], np.random.Generator]:
            # Steps count from 1: to numpy [seed, epoch, 0] is the same seed as [seed, epoch].
            generator = np.random.default_rng([self.seed, epoch, step + 1])
            chosen = parts[step]
            return *self._augment(records[chosen], [split.targets[i] for i in chosen], generator), generator

        self.model.train()
        for media, targets, generator in self.feed(prepare, range(self.step, self.steps)):
            torch.manual_seed(int(generator.integers(2**62)))
            batch = batches.to_float(media, self.task.medium, self.device)
            batch = batches.change_gain(batch, self.task.medium, self.settings.gain, generator)
            with runtime.mixed_precision(self.device, self.settings.mixed_precision):
                if self.settings.adversarial:
                    batch = perturb(self.task, self.model, batch, targets, self.settings.adversarial, generator)
                loss = self.task.loss(self.model, batch, targets)
            self.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), LARGEST_GRADIENT)
            self.optimizer.step()
            self.schedule.step()
            self.total += loss.detach() * len(targets)
            self.step += 1
            self._pause()
        mean = float(self.total) / count
        if not np.isfinite(mean):
            raise LossyBenchError(
                f"{self.checkpoint.parent}: the loss is {mean} in epoch {epoch}; lower learning_rate "
                f"(now {self.settings.learning_rate:g})"
            )
        return mean

    def _augment(
        self, records: np.ndarray, targets: list[Any], generator: np.random.Generator
    ) -> tuple[torch.Tensor, list[Any]]:
        media = self.examples.media[records]
        medium, shape = self.task.medium, self.task.input.shape
        # Shifts are in pixels or samples; the one axis of audio is the horizontal one.
        reach = np.array([0, shape[0]] if medium == "audio" else shape[-2:]) * self.settings.shift
        shifts = np.round(generator.uniform(-1, 1, (len(media), 2)) * reach).astype(int).tolist()
        flips = (generator.random(len(media)) < 0.5) & self.settings.flip
        for index, ((down, right), flip) in enumerate(zip(shifts, flips.tolist(), strict=True)):
            media[index] = batches.move(media[index], medium, down, right, flip)
            targets[index] = self.task.shift_target(targets[index], down, right, flip)
        return batches.stage(media, self.device), targets

    def _validate(self, split: _Split, adversary: Adversary | None = None) -> float:
        """The metric on a split, which an `adversary` attacks from the same random starts in every epoch."""
        self.model.eval()
        generator = np.random.default_rng([self.seed, 0])
        predictions: list[Any] = []

        def prepare(start: int) -> tuple[torch.Tensor, list[Any]]:
            chosen = slice(start, start + VALIDATION_BATCH)
            return batches.stage(self.examples.media[split.records[chosen, 0]], self.device), split.targets[chosen]

        for media, targets in self.feed(prepare, range(0, len(split.targets), VALIDATION_BATCH)):
            batch = batches.to_float(media, self.task.medium, self.device)
            if adversary:
                with runtime.mixed_precision(self.device, self.settings.mixed_precision):
                    batch = perturb(self.task, self.model, batch, targets, adversary, generator)
            with torch.inference_mode():
                predictions += self.task.predict(self.model, batch)
            self._pause()
        return self.task.score(predictions, split.targets)

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """A context in which SIGTERM (a time limit, preemption) and SIGINT end the run at its next pause."""

        def note(number: int, frame: Any) -> None:
            self.told = number

        before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _pause(self) -> None:
        """Save a checkpoint where it is time to, or where the run was told to end, and then end the run.

        It is called where the state holds all that was done: after a step, and in validation, which is done again.
        """
        if not self.told and time.monotonic() - self.saved < INTERVAL:
            return
        self._save()
        if self.told:
            self._say(f"saved after {self._done()}; the same command goes on from there")
            raise SystemExit(128 + self.told)

    def _done(self) -> str:
        return f"{len(self.history)} epochs and {self.step} of {self.steps} steps"

    def _say(self, what: str) -> None:
        tqdm.write(f"{self.checkpoint}: {what}", sys.stderr)

    def _identity(self) -> str:
        """A hash of what a checkpoint must share with this run to be of use to it: inputs, settings, code, torch."""
        info = {**self.task.info, "settings": self.settings.model_dump(mode="json", exclude={"minimum"})}
        code = source_digest("training.py", "models", "tasks")
        parts = [self.examples.digest, torch.__version__, self.device.type, json.dumps(info, sort_keys=True), code]
        return hashlib.blake2b("\n".join(parts).encode()).hexdigest()

    def _save(self) -> None:
        state = {name: getattr(self, name).state_dict() for name in PARTS}
        state |= {name: getattr(self, name) for name in VALUES}
        memory = io.BytesIO()  # torch, writing straight to a full disk, does not say that it is full
        torch.save(state, memory)
        content = memory.getvalue()
        with artifacts.publish(self.checkpoint) as aside:
            aside.write_bytes(hashlib.sha256(content).digest() + content)
        self.saved = time.monotonic()

    def _resume(self) -> None:
        """Go on from the checkpoint, where it is whole and of this very run."""
        if not self.checkpoint.exists():
            return
        found = self.checkpoint.read_bytes()
        said, content = found[:DIGEST], found[DIGEST:]
        if hashlib.sha256(content).digest() != said:
            self._say("damaged; starting anew")
            return
        state = torch.load(io.BytesIO(content), map_location=self.device, weights_only=True)
        if state["identity"] != self.identity:
            self._say("of another run (inputs, settings or code differ); starting anew")
            return
        for name in PARTS:
            getattr(self, name).load_state_dict(state[name])
        for name in VALUES:
            setattr(self, name, state[name])
        self._say(f"going on after {self._done()}")
