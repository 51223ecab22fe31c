"""The search for adversarial items, bare or through a codec, tier by tier; see docs/attacks.md.

Tiers, by what the attacker knows:

* T0, oblivious: crafted on the bare model; the codec is put in front afterwards.
* T1, transfer: crafted on models of other regimes.
* T2, adaptive: through the real codec with the identity backward (`preprocessor.CodecPreprocessor`).
* T3, adaptive with a better gradient: that of a differentiable stand-in for the codec (`surrogates`); the codec itself
  still runs forward. T3-EoT does not know which of the attacked levels it meets.
* T4, without gradients: on the scores through the real codec, of the items that all the above left right.

From T2 on a tier reports for each item whichever is worst for the model, its own or a weaker tier's (worst case per
example, Carlini et al. 2019, arXiv 1902.06705): who knows the codec can also submit the T0 item. A row that is not
`own` is such an item. Where the weaker tier's item is often the worse one the gradient has failed.

Items are attacked at the model's input size (clips with all their frames): they are decoded and brought to that size as
for evaluation, and the codec works at that size. Where it is also the native size, the codec's output is that of the
compress stage. Adversarial items are rounded to 8-bit pixels or 16-bit samples, their bound holds after rounding, and
every prediction that is recorded was made on such integers.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from lossybench import codecs, models
from lossybench.artifacts import ATTACKS, DETECTION_ATTACKS, Parts, iter_rows, read_meta
from lossybench.attacks.attack_settings import Aim, AttackSettings, Budget
from lossybench.attacks.classifiers import ClassificationVictim
from lossybench.attacks.detectors import DetectionVictim, objects
from lossybench.attacks.items import Items, Stored, Tried
from lossybench.attacks.methods import METHODS
from lossybench.attacks.preprocessor import CodecPreprocessor
from lossybench.conditions import ORIGINAL, level_text
from lossybench.errors import LossyBenchError
from lossybench.integers import GRIDS, Grid, lengths
from lossybench.models import runtime

ALONE = ("T0", "T1")  # tiers whose rows are that tier's items and no other's
# Settings that an attack through a codec must share with the attack on the bare model whose items it reads.
SHARED = ("items", "attacks", "goals", "target_rule", "seed")

Victim = ClassificationVictim | DetectionVictim
VICTIMS: dict[str, type[Victim]] = {"classification": ClassificationVictim, "detection": DetectionVictim}
SCHEMAS = {"classification": ATTACKS, "detection": DETECTION_ATTACKS}
_EXPECTED = pa.schema([("item", pa.binary())])  # integers of one item, kept of those that are made for all levels

Schedule = dict[Aim, list[str]]  # attack -> the tiers it is tried in, weaker ones first


@dataclasses.dataclass(frozen=True)
class AttackedModel:
    """A model to attack: what `models.load` gives, on its device, with the settings it is attacked by."""

    network: torch.nn.Module
    info: dict[str, Any]
    device: torch.device
    how: AttackSettings
    threads: int

    @classmethod
    def load(cls, folder: Path, settings: dict[str, Any], threads: int) -> AttackedModel:
        """From a folder made by training; `settings` are AttackSettings as a study writes them."""
        network, info = models.load(folder, "cpu")
        device = runtime.start("auto", runtime.deterministic(info))
        network.to(device).requires_grad_(
            False
        )  # the items' gradients are wanted; the weights' would cost a third of the time
        return cls(network, info, device, AttackSettings.of(info["medium"], info["kind"], settings), threads)

    @property
    def grid(self) -> Grid:
        """The integers of its medium."""
        return GRIDS[self.info["medium"]]

    def behind(self, *through: CodecPreprocessor) -> Victim:
        """The model as an attacker sees it who goes through these, or through nothing."""
        return VICTIMS[self.info["kind"]](self.network, self.device, self.info, self.grid, self.how.batch_size, through)


def bare_schedule(how: AttackSettings, sources: bool) -> Schedule:
    """On the bare model. sources: whether there are models of other regimes."""
    found: Schedule = {}
    for aim in how.aims:
        if METHODS[aim.attack].access == "scores":
            found[aim] = ["T4"] if "T4" in how.tiers else []
        elif aim.goal != "trigger":
            found[aim] = ["T0"] + ["T1"] * (sources and _is_main(aim, how))
    return {aim: tiers for aim, tiers in found.items() if tiers}


def schedule(how: AttackSettings, stored: Stored, several: bool) -> Schedule:
    """Behind a codec. The weaker gradients are shown for the main attack; the rest follows the best one there is."""
    best = [tier for tier in ("T2", "T3") if tier in how.tiers][-1:]
    found: Schedule = {}
    for aim in how.aims:
        access = METHODS[aim.attack].access
        found[aim] = [tier for tier in ALONE if (tier, aim) in stored]
        if access == "scores":
            found[aim] = ["T4"] if "T4" in how.tiers else []
        elif access == "gradients" and _is_main(aim, how) and aim.goal != "trigger":
            eot = ["T3-EoT"] if several and aim.goal == "untargeted" else []
            found[aim] += [tier for tier in ["T2", *eot, "T3"] if tier[:2] in how.tiers]
        elif access == "gradients":
            found[aim] += best
    return {aim: tiers for aim, tiers in found.items() if tiers}


def _is_main(aim: Aim, how: AttackSettings) -> bool:
    return (aim.attack, aim.norm, aim.epsilon) == how.aims[0][:3]


def expected(anyone: Victim, schedule: Schedule, items: Items, how: AttackSettings, kept: Parts) -> Stored:
    """Items made against all levels at once: they are made once, and tried at each."""

    def made(aim: Aim, number: int, batch: Items) -> np.ndarray:
        def craft() -> Iterator[dict[str, bytes]]:
            return ({"item": item.tobytes()} for item in anyone.craft(batch, aim, how, (how.seed, number, 0)))

        rows = kept.rows(f"eot-{'-'.join(map(str, aim))}-{number}", _EXPECTED, craft)
        content = b"".join(row["item"] for row in rows)
        return np.frombuffer(content, items.integers.dtype).reshape(batch.integers.shape)

    return {
        ("T3-EoT", aim): np.concatenate(
            [made(aim, number, batch) for number, batch in enumerate(items.batches(how.batch_size))]
        )
        for aim, tiers in schedule.items()
        if "T3-EoT" in tiers
    }


@dataclasses.dataclass(frozen=True)
class Run:
    """All attacks at one level. attackers: per tier the models that its items are crafted on."""

    level: float
    attackers: Mapping[str, Sequence[Victim]]
    victim: AttackedModel

    def rows(self, items: Items, schedule: Schedule, kept: Parts) -> Iterator[dict[str, Any]]:
        """The rows of the attack table at this level, batch by batch; `kept` holds those of an interrupted job."""
        schema = SCHEMAS[self.victim.info["kind"]]
        for number, batch in enumerate(items.batches(self.victim.how.batch_size)):
            attacked = functools.partial(self._attacked, number, batch, schedule)
            yield from kept.rows(f"{level_text(self.level)}-{number}", schema, attacked)

    def _attacked(self, number: int, batch: Items, schedule: Schedule) -> Iterator[dict[str, Any]]:
        """One batch; it needs nothing of those before."""
        # Any tier would do: they differ in their gradients only.
        judge = next(iter(self.attackers.values()))[0]
        after = judge.after if judge.through else judge.predict
        batch = dataclasses.replace(batch, clean_after=after(batch.integers))
        tried_at: dict[Budget, list[Tried]] = defaultdict(list)
        for aim, tiers in schedule.items():
            known: list[Tried] = []
            for tier in tiers:
                if tier == "T4":
                    known = tried_at[aim.budget]
                found = self._try(tier, aim, batch, number, known, judge, after)
                yield from self._rows(tier, aim, batch, found, judge)
                known = [*known, found.borrowed()]
                if aim.goal == "untargeted":
                    tried_at[aim.budget].append(found.borrowed())

    def _try(
        self,
        tier: str,
        aim: Aim,
        batch: Items,
        number: int,
        known: list[Tried],
        judge: Victim,
        after: Callable[[np.ndarray], np.ndarray],
    ) -> Tried:
        how = self.victim.how

        def tried(integers: np.ndarray, own: bool = True) -> Tried:
            before = judge.predict(integers)
            return Tried(integers, before, after(integers) if judge.through else before, np.full(len(before), own))

        if (tier, aim) in batch.stored:
            candidates = [tried(batch.stored[tier, aim], own=tier not in ALONE)]
        elif tier == "T4":
            return self._without_gradients(aim, batch, number, known, judge, tried)
        else:
            candidates = [
                tried(attacker.craft(batch, aim, how, (how.seed, number, restart)))
                for attacker in self.attackers[tier]
                for restart in range(how.restarts)
            ]
        return _worst(candidates if tier in ALONE else [*candidates, *known], batch, aim, judge)

    def _without_gradients(
        self, aim: Aim, batch: Items, number: int, known: list[Tried], judge: Victim, tried: Callable[..., Tried]
    ) -> Tried:
        """The worst of `known`, and where that left an item unharmed, what a search on the scores finds."""
        worst = _worst(known, batch, aim, judge) if known else tried(batch.integers, own=False)
        left = np.flatnonzero(judge.harm(worst, batch, aim) == 0)
        if len(left):
            some = batch.at(left)
            found = tried(self.attackers["T4"][0].craft(some, aim, self.victim.how, (self.victim.how.seed, number, 0)))
            for f in dataclasses.fields(Tried):
                getattr(worst, f.name)[left] = getattr(found, f.name)
        return worst

    def _rows(self, tier: str, aim: Aim, items: Items, tried: Tried, judge: Victim) -> Iterator[dict[str, Any]]:
        how, grid = self.victim.how, self.victim.grid
        bitstreams = _bitstreams(tried, grid, items.sampling_rate)
        change = grid.floats(tried.integers.astype(np.int32) - items.integers)
        largest, l2 = np.abs(change).reshape(len(change), -1).max(1), lengths(change)
        with np.errstate(divide="ignore"):
            snr = 20 * np.log10(lengths(grid.floats(items.integers)) / l2)
        looked = _is_main(aim, how) and aim.goal == "untargeted" and tier in self.attackers and tier not in ("T1", "T4")
        zeros = self.attackers[tier][0].zero_gradient(items) if looked else [None] * len(l2)
        for i, own in enumerate(judge.fields(items, tried, aim)):
            yield own | {
                "id": items.ids[i],
                **aim._asdict(),
                "tier": tier,
                "level": self.level,
                "target_rule": how.target_rule if aim.goal == "targeted" else "",
                "linf": largest[i],
                "l2": l2[i],
                "snr": snr[i],
                "zero_gradient": zeros[i],
                "own": bool(tried.own[i]),
                "adversarial": bitstreams[i],
            }


def _worst(candidates: list[Tried], items: Items, aim: Aim, judge: Victim) -> Tried:
    """Per item the candidate that harms the model most; the first of equals."""
    choice = np.argmax([judge.harm(tried, items, aim) for tried in candidates], axis=0)
    pick = (choice, np.arange(len(choice)))
    return Tried(*(np.stack([getattr(t, f.name) for t in candidates])[pick] for f in dataclasses.fields(Tried)))


def _bitstreams(tried: Tried, grid: Grid, rate: float) -> list[bytes | None]:
    lossless = codecs.get(ORIGINAL)
    media = [grid.media(item) for item in tried.integers]
    return [lossless.encode(m, 0, rate).payload if own else None for m, own in zip(media, tried.own, strict=True)]


def attacked_items(data: Path, victim: AttackedModel) -> Items:
    """The items to attack, in file order."""
    info, how = victim.info, victim.how
    described = [(row["id"], row["shape"]) for row in iter_rows(data, ["id", "shape"], splits=["test"])]
    if not described:
        raise LossyBenchError(f"{data}: no items in the split test")
    order = np.random.default_rng(how.seed).permutation(len(described))[: how.items]
    chosen = dict(described[i] for i in order)
    lossless, bare = codecs.get(ORIGINAL), victim.behind()
    whole = info["medium"] != "video" or len({shape[0] for shape in chosen.values()}) == 1
    names, integers, truths, rates = [], [], [], set()
    for row in iter_rows(data, ["id", "media", "shape", "sampling_rate", "label", "boxes"], splits=["test"]):
        if row["id"] in chosen:
            try:
                media = lossless.decode(row["media"], tuple(row["shape"]), row["sampling_rate"])
                item, truth = bare.item(media, row, whole)
            except LossyBenchError as error:
                raise LossyBenchError(f"{data}: item {row['id']}: {error}") from None
            names.append(row["id"])
            integers.append(item)
            truths.append(truth)
            rates.add(row["sampling_rate"])
    if len(rates) > 1:
        raise LossyBenchError(f"{data}: items of different rates {sorted(rates)} in one task; resample them to one")
    stacked, known = np.stack(integers), objects(truths) if info["kind"] == "detection" else np.array(truths)
    clean = bare.predict(stacked)
    return Items(np.array(names), stacked, known, bare.targets(stacked, known, how), clean, clean, {}, rates.pop())


def with_stored(items: Items, path: Path, victim: AttackedModel) -> Items:
    """`items` with the adversarial items and targets of the bare model's table, which must belong to this attack."""
    meta, info, how = read_meta(path), victim.info, victim.how
    for key, wanted in {**{key: info[key] for key in ("task", "arch", "regime", "seed")}, "codec": ORIGINAL}.items():
        if meta.get(key) != wanted:
            raise LossyBenchError(f"{path}: is of {key} {meta.get(key)!r}; give the table of {wanted!r}")
    for key, now in how.model_dump(mode="json", include=set(SHARED)).items():
        if meta["settings"][key] != now:
            raise LossyBenchError(
                f"{path}: attack setting {key} was {meta['settings'][key]!r}, is now {now!r}; make the table again"
            )
    lossless, bare, shape = codecs.get(ORIGINAL), victim.behind(), victim.grid.media(items.integers[0]).shape
    place = {name: i for i, name in enumerate(items.ids)}
    targets = items.targets.copy()
    stored: Stored = defaultdict(lambda: np.empty_like(items.integers))
    for row in iter_rows(path):
        if row["id"] not in place:
            raise LossyBenchError(f"{path}: attacks item {row['id']}, which is not chosen now; make the table again")
        if row["tier"] in ALONE:
            aim = Aim(row["attack"], row["norm"], row["epsilon"], row["goal"])
            media = lossless.decode(row["adversarial"], shape, items.sampling_rate)
            stored[row["tier"], aim][place[row["id"]]] = victim.grid.layout(media)
        if row["goal"] == "targeted":
            targets[place[row["id"]]] = bare.target(row)
    return dataclasses.replace(items, targets=targets, stored=dict(stored))
