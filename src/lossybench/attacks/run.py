"""The attack stage: crafts adversarial items on a model, bare or through a codec, and records what became of them.

Tiers (design, section 7):

* T0, oblivious: crafted on the bare model; the codec is put in front afterwards.
* T2, adaptive: crafted through the real codec with the identity backward (`preprocessor.CodecPreprocessor`).
  Whoever knows the codec can also submit the T0 item, so T2 reports for each item whichever of the two is worse for
  the model (worst case per example, Carlini et al. 2019, arXiv 1902.06705): adaptive is never weaker than oblivious.
  A T2 row that is not `own` is such a T0 item. The identity is a rough gradient, so T2 bounds what an
  adaptive attacker can do from one side only. Where the T0 item is often the worse one the gradient has failed: the
  untargeted robust accuracy of the through-codec items alone is that of the T2 rows plus the share that is not `own`.
* T3, adaptive with a better gradient: that of a differentiable stand-in for the codec (`surrogates`), where there is
  one; the codec itself still runs forward. It reports the worse of its own and the T2 row's item, `own` likewise.

Items are attacked at the model's input size: they are decoded and brought to that size as for evaluation, and the
codec works at that size. Where it is also the native size, the codec's output is that of the compress stage.
Adversarial items are rounded to 8-bit pixels or 16-bit samples, their bound holds after rounding, and every
prediction that is recorded was made on such integers.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from tqdm import tqdm

from lossybench import codecs, models
from lossybench.artifacts import ATTACKS, iter_rows, read_meta, write_table
from lossybench.attacks.methods import METHODS
from lossybench.attacks.preprocessor import CodecPreprocessor
from lossybench.attacks.quantised import GRIDS, Grid
from lossybench.attacks.settings import AttackSettings, Goal
from lossybench.attacks.surrogates import SURROGATES, Surrogate
from lossybench.errors import LossyBenchError
from lossybench.models import runtime
from lossybench.models.inputs import Input, fit

ORIGINAL = "original"
# Settings that an attack through a codec must share with the attack on the bare model whose items it reads.
SHARED = ("items", "epsilons", "attacks", "goals", "target_rule", "seed")


@dataclasses.dataclass(frozen=True)
class Aim:
    """One attack: method, L-infinity bound of full scale, goal."""

    attack: str
    epsilon: float
    goal: Goal


@dataclasses.dataclass(frozen=True)
class Items:
    """Attacked items; all arrays along the same N.

    integers: (N, ...) in the model's layout; labels, targets: classes; clean, clean_after: predictions on the clean
    item, bare and after the codec; oblivious: integers of the T0 item of each aim, none while those are made;
    rate: of all items, Hz for audio, 0 for images.
    """

    ids: np.ndarray
    integers: np.ndarray
    labels: np.ndarray
    targets: np.ndarray
    clean: np.ndarray
    clean_after: np.ndarray
    oblivious: dict[Aim, np.ndarray]
    rate: float

    def batches(self, size: int) -> Iterator[Items]:
        """The items in their order, `size` at a time."""
        for i in range(0, len(self.ids), size):
            part = slice(i, i + size)
            yield Items(
                self.ids[part],
                self.integers[part],
                self.labels[part],
                self.targets[part],
                self.clean[part],
                self.clean_after[part],
                {aim: integers[part] for aim, integers in self.oblivious.items()},
                self.rate,
            )


@dataclasses.dataclass(frozen=True)
class Tried:
    """Adversarial items.

    integers: (N, ...); before, after: predictions without and with the codec; own: False where it is the T0 item.
    """

    integers: np.ndarray
    before: np.ndarray
    after: np.ndarray
    own: np.ndarray


class Victim:
    """A classifier, bare or behind a codec, as it predicts from integers (N, ...) in the model's layout."""

    def __init__(
        self,
        network: torch.nn.Module,
        device: torch.device,
        grid: Grid,
        classes: int,
        batch_size: int,
        through: CodecPreprocessor | None = None,
    ) -> None:
        self.network, self.device, self.grid, self.classes = network, device, grid, classes
        self.batch_size, self.through = batch_size, through

    def scores(self, integers: np.ndarray) -> np.ndarray:
        """Logits (N, classes) without the codec."""
        batches = np.split(integers, range(self.batch_size, len(integers), self.batch_size))
        with torch.inference_mode():
            floats = (torch.from_numpy(self.grid.floats(batch)).to(self.device) for batch in batches)
            return np.concatenate([self.network(batch).cpu().numpy() for batch in floats])

    def after(self, integers: np.ndarray) -> np.ndarray:
        """Predictions (N,) after the codec, if there is one."""
        return self.scores(self.through.decode(integers) if self.through else integers).argmax(1)

    def tried(self, integers: np.ndarray, own: bool) -> Tried:
        """The predictions on adversarial items."""
        before = self.scores(integers).argmax(1)
        after = self.after(integers) if self.through else before
        return Tried(integers, before, after, np.full(len(before), own))

    def craft(self, items: Items, aim: Aim, how: AttackSettings, entropy: tuple[int, ...]) -> np.ndarray:
        """Adversarial integers for `items`, through the codec if there is one. `entropy` seeds the random start."""
        estimator = PyTorchClassifier(
            self.network,
            torch.nn.CrossEntropyLoss(),
            input_shape=items.integers.shape[1:],
            nb_classes=self.classes,
            clip_values=self.grid.clip_values,
            preprocessing_defences=[self.through] if self.through else None,
            preprocessing=None,
            device_type=self.device.type if self.device.type == "cpu" else "gpu",
        )
        steps = how.adaptive_steps if self.through else how.steps
        ratio = how.adaptive_step_ratio if self.through else how.step_ratio
        step, targeted = ratio * aim.epsilon / steps, aim.goal == "targeted"
        method = METHODS[aim.attack](estimator, aim.epsilon, targeted, steps, step, self.batch_size)
        # ART draws from the global generators.
        seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        np.random.seed(seed)
        torch.manual_seed(seed)
        # One-hot, because ART takes the integer labels of a two-class problem for something else.
        towards = np.eye(self.classes, dtype=np.float32)[items.targets if targeted else items.labels]
        floats = method.generate(self.grid.floats(items.integers), towards)
        return self.grid.within(floats, items.integers, aim.epsilon)


def attack(
    model: Path,
    data: Path,
    compressed: list[Path],
    codec: str,
    options: dict[str, Any],
    oblivious: Path | None,
    settings: dict[str, Any],
    out: Path,
) -> None:
    """Attack one model, bare (codec "original": T0) or through one codec (its T0 items seen through it, and T2).

    model: folder made by training. data: artifacts.DATA. compressed: the codec's test parts, which say what levels and
    options there are. oblivious: the table of the bare model's attack; needed for, and only for, a real codec.
    settings: see `AttackSettings`. out: artifacts.ATTACKS; without a codec its `level` is 0 and `after` is `before`.
    The same arguments write the same bytes on the same kind of processor.

    Raises LossyBenchError for a detector or video, an unknown setting, a level that was not compressed, tables that
    do not belong together, and an item that cannot be decoded, naming it.
    """
    device = runtime.start()
    network, info = models.load(model, device.type)
    network.requires_grad_(False)  # the items' gradients are wanted; the weights' would cost a third of the time
    if info["kind"] != "classification":
        raise LossyBenchError(f"{model}: attacks on {info['kind']} are not there yet; attack a classification model")
    how = AttackSettings.of(info["medium"], settings)
    coder = codecs.get(codec, options)
    bare = Victim(network, device, GRIDS[info["medium"]], len(info["classes"]), how.batch_size)
    tiers: dict[str, Surrogate | None] = {}
    aims = [Aim(*one) for one in itertools.product(how.attacks, how.epsilons, how.goals)]
    items = _items(data, info, bare, how)
    if codec == ORIGINAL:
        if oblivious:
            raise LossyBenchError(f"{oblivious}: not needed; the attack on the bare model is what makes such a table")
        levels = [0.0]
        rows = _rows({"T0": bare}, 0.0, items, aims, how)
    else:
        if not oblivious:
            raise LossyBenchError(f"codec {codec!r}: needs the attack table of codec {ORIGINAL!r}; make that first")
        levels = _levels(compressed, codec, options, how)
        items = _with_oblivious(items, oblivious, info, bare.grid, aims, how)

        tiers = {"T2": None} | ({"T3": SURROGATES[codec]} if codec in SURROGATES else {})

        def behind(level: float) -> dict[str, Victim]:
            return {
                tier: Victim(
                    network,
                    device,
                    bare.grid,
                    bare.classes,
                    how.batch_size,
                    CodecPreprocessor(coder, level, info["medium"], items.rate, 2 * how.batch_size, surrogate),
                )
                for tier, surrogate in tiers.items()
            }

        rows = itertools.chain.from_iterable(_rows(behind(level), level, items, aims, how) for level in levels)

    total = len(items.ids) * len(aims) * len(levels) * (1 + len(tiers))
    meta = {
        **{key: info[key] for key in ("task", "arch", "regime", "seed", "classes", "kind")},
        "codec": codec,
        "options": options,
        "settings": how.model_dump(),
        "versions": {name: version(name) for name in ("adversarial-robustness-toolbox", "kornia", "torch", "numpy")}
        | {"codec": coder.version()},
    }
    write_table(out, ATTACKS, tqdm(rows, f"attack {codec}", total, unit="row", mininterval=2), meta)


def _rows(
    victims: dict[str, Victim], level: float, items: Items, aims: list[Aim], how: AttackSettings
) -> Iterator[dict[str, Any]]:
    """All rows of one level. victims: the model as the attacker of each tier sees it, weaker tiers first; they differ
    in their gradients only. Behind a codec each batch's T0 rows come first.
    """
    victim = next(iter(victims.values()))
    items = dataclasses.replace(items, clean_after=victim.after(items.integers))
    for aim, (number, batch) in itertools.product(aims, enumerate(items.batches(how.batch_size))):
        known: list[Tried] = []
        if victim.through:
            known = [victim.tried(batch.oblivious[aim], own=False)]
            yield from _batch_rows("T0", level, batch, aim, known[0], how, victim.grid)
        for tier, attacked in victims.items():
            crafted = [
                attacked.tried(attacked.craft(batch, aim, how, (how.seed, number, restart)), own=True)
                for restart in range(how.restarts)
            ]
            worst = _worst([*crafted, *known], batch, aim)
            yield from _batch_rows(tier, level, batch, aim, worst, how, victim.grid)
            known = [dataclasses.replace(worst, own=np.zeros_like(worst.own))]


def _worst(candidates: list[Tried], items: Items, aim: Aim) -> Tried:
    """Per item the candidate that harms the model most after the codec; the first of equals."""

    def harm(tried: Tried) -> np.ndarray:
        wrong = (tried.after != items.labels).astype(int)
        return wrong + (tried.after == items.targets) if aim.goal == "targeted" else wrong

    choice = np.argmax([harm(tried) for tried in candidates], axis=0)
    pick = (choice, np.arange(len(choice)))
    return Tried(*(np.stack([getattr(t, f.name) for t in candidates])[pick] for f in dataclasses.fields(Tried)))


def _batch_rows(
    tier: str, level: float, items: Items, aim: Aim, tried: Tried, how: AttackSettings, grid: Grid
) -> Iterator[dict[str, Any]]:
    targeted = aim.goal == "targeted"
    bitstreams = _bitstreams(tried, grid, items.rate)
    change = grid.floats(tried.integers.astype(np.int32) - items.integers).reshape(len(items.ids), -1)
    for i, name in enumerate(items.ids):
        yield {
            "id": name,
            "attack": aim.attack,
            "norm": "linf",
            "epsilon": aim.epsilon,
            "goal": aim.goal,
            "tier": tier,
            "level": level,
            "label": items.labels[i],
            "target": items.targets[i] if targeted else -1,
            "target_rule": how.target_rule if targeted else "",
            "clean": items.clean[i],
            "clean_after": items.clean_after[i],
            "before": tried.before[i],
            "after": tried.after[i],
            "linf": np.abs(change[i]).max(),
            "l2": np.linalg.norm(change[i]),
            "own": bool(tried.own[i]),
            "adversarial": bitstreams[i],
        }


def _bitstreams(tried: Tried, grid: Grid, rate: float) -> list[bytes | None]:
    lossless = codecs.get(ORIGINAL)
    media = [grid.media(item) for item in tried.integers]
    return [lossless.encode(m, 0, rate).payload if own else None for m, own in zip(media, tried.own, strict=True)]


def _items(data: Path, info: dict[str, Any], bare: Victim, how: AttackSettings) -> Items:
    """The items to attack, in file order."""
    ids = [row["id"] for row in iter_rows(data, ["id"], splits=["test"])]
    if not ids:
        raise LossyBenchError(f"{data}: no items in the split test")
    chosen = {ids[i] for i in np.random.default_rng(how.seed).permutation(len(ids))[: how.items]}
    lossless, size = codecs.get(ORIGINAL), Input.of(info)
    names, integers, labels, rates = [], [], [], set()
    for row in iter_rows(data, ["id", "media", "shape", "rate", "label"], splits=["test"]):
        if row["id"] in chosen:
            try:
                media = lossless.decode(row["media"], tuple(row["shape"]), row["rate"])
            except LossyBenchError as error:
                raise LossyBenchError(f"{data}: item {row['id']}: {error}") from None
            names.append(row["id"])
            integers.append(bare.grid.layout(fit(media, info["medium"], size, crop=True)))
            labels.append(row["label"])
            rates.add(row["rate"])
    if len(rates) > 1:
        raise LossyBenchError(f"{data}: items of different rates {sorted(rates)} in one task; resample them to one")
    stacked, truth = np.stack(integers), np.array(labels)
    scores = bare.scores(stacked)
    clean = scores.argmax(1)
    return Items(np.array(names), stacked, truth, _targets(scores, truth, how), clean, clean, {}, rates.pop())


def _targets(scores: np.ndarray, labels: np.ndarray, how: AttackSettings) -> np.ndarray:
    """Target classes (N,), never the label. scores: logits (N, classes) of the bare model on the clean items."""
    if how.target_rule == "least_likely":
        others = scores.copy()
        others[np.arange(len(labels)), labels] = np.inf
        return others.argmin(1)
    classes = scores.shape[1]
    away = np.random.default_rng(how.seed).integers(1, classes, len(labels)) if how.target_rule == "random" else 1
    return (labels + away) % classes


def _levels(compressed: Iterable[Path], codec: str, options: dict[str, Any], how: AttackSettings) -> list[float]:
    """The levels to attack, checked against what was compressed."""
    there = []
    for path in compressed:
        meta = read_meta(path)
        if (meta["codec"], meta["options"]) != (codec, options):
            raise LossyBenchError(
                f"{path}: made by {meta['codec']} with options {meta['options']}, not by {codec} with {options}"
            )
        there.append(float(meta["level"]))
    for level in how.levels:
        if level not in there:
            known = ", ".join(f"{one:g}" for one in there) or "none"
            raise LossyBenchError(f"attack setting levels: {codec} {level:g} was not compressed; there is: {known}")
    return how.levels or there


def _with_oblivious(
    items: Items, path: Path, info: dict[str, Any], grid: Grid, aims: list[Aim], how: AttackSettings
) -> Items:
    """`items` with the adversarial items and targets of the bare model's table, which must belong to this attack."""
    meta = read_meta(path)
    for key, wanted in {**{key: info[key] for key in ("task", "arch", "regime", "seed")}, "codec": ORIGINAL}.items():
        if meta.get(key) != wanted:
            raise LossyBenchError(f"{path}: is of {key} {meta.get(key)!r}; give the table of {wanted!r}")
    for key in SHARED:
        was, now = meta["settings"][key], getattr(how, key)
        if was != now:
            raise LossyBenchError(f"{path}: attack setting {key} was {was!r}, is now {now!r}; make the table again")
    lossless, shape = codecs.get(ORIGINAL), grid.media(items.integers[0]).shape
    place = {name: i for i, name in enumerate(items.ids)}
    targets, oblivious = items.targets.copy(), {aim: np.empty_like(items.integers) for aim in aims}
    for row in iter_rows(path):
        if row["id"] not in place:
            raise LossyBenchError(f"{path}: attacks item {row['id']}, which is not chosen now; make the table again")
        i = place[row["id"]]
        media = lossless.decode(row["adversarial"], shape, items.rate)
        oblivious[Aim(row["attack"], row["epsilon"], row["goal"])][i] = grid.layout(media)
        if row["goal"] == "targeted":
            targets[i] = row["target"]
    return dataclasses.replace(items, targets=targets, oblivious=oblivious)
