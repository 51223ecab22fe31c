"""The search for adversarial items, bare or through a codec, tier by tier; see docs/attacks.md.

The tiers, by what the attacker knows:

* T0, oblivious: items are crafted on the bare model; the codec is put in front afterwards.
* T1, transfer: items are crafted on models of other regimes.
* T2, adaptive: through the real codec with the identity as its gradient (`preprocessor.CodecPreprocessor`).
* T3, adaptive with a better gradient: that of a surrogate of the codec (`surrogates`), while the codec itself still
  runs forward. T3-EoT does not know which of the attacked levels it meets.
* T4, without gradients: on the scores through the real codec, for the items that all tiers above left unharmed, from
  the best of their attempts on.

From T2 on a tier reports for each item whichever is worst for the model, its own item or a weaker tier's (worst case
per example, Carlini et al. 2019, arXiv 1902.06705): an attacker who knows the codec can also submit the T0 item. A row
that is not `own` is such an item. Where the weaker tier's items are often the worse ones, the gradient has failed.

Items are attacked at the model's input size (clips with all their frames): they are decoded and brought to that size as
for evaluation, and the codec works at that size. Where that is also their native size, the codec's output is that of
the compress stage. Adversarial items are rounded to 8-bit pixels or 16-bit samples, their bound holds after rounding,
and every recorded prediction was made on such integers.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from lossybench import codecs, models, tasks
from lossybench.artifacts import iter_rows, read_meta
from lossybench.attacks import spectra
from lossybench.attacks.attack_settings import Aim, AttackSettings, Budget, Goal
from lossybench.attacks.classifiers import ClassificationVictim
from lossybench.attacks.defences import Defence
from lossybench.attacks.detectors import DetectionVictim
from lossybench.attacks.items import Crafted, Items, Stored, Tried, chosen
from lossybench.attacks.methods import METHODS
from lossybench.attacks.pieces import Piece
from lossybench.attacks.preprocessor import CodecPreprocessor
from lossybench.attacks.segmenters import SegmentationVictim
from lossybench.attacks.verifiers import VerificationVictim
from lossybench.conditions import ORIGINAL
from lossybench.errors import LossyBenchError, naming
from lossybench.integers import GRIDS, Grid, lengths
from lossybench.models import runtime

ALONE = ("T0", "T1")  # tiers whose rows are that tier's items and no other's
# The settings that an attack through a codec must share with the attack on the bare model whose items it reads.
SHARED = ("items", "attacks", "goals", "target_rule", "seed")

Victim = ClassificationVictim | DetectionVictim | SegmentationVictim | VerificationVictim
VICTIMS: dict[str, type[Victim]] = {
    "classification": ClassificationVictim,
    "detection": DetectionVictim,
    "segmentation": SegmentationVictim,
    "verification": VerificationVictim,
}
_EXPECTED = pa.schema([("item", pa.binary()), ("calls", pa.int32())])  # the integers of an item made for all levels

Schedule = dict[Aim, list[str]]  # attack -> the tiers in which it is tried, weaker ones first


@dataclasses.dataclass(frozen=True)
class AttackedModel:
    """A model to attack, as `models.load` gives it, on its device. how: the settings of attacks.

    least: the score from which on what a detector finds counts (see `threshold`). kept: what else the kind of task
    judges by (see `verifiers.Enrolled`).
    """

    network: torch.nn.Module
    info: dict[str, Any]
    device: torch.device
    how: AttackSettings
    least: float = 0.0
    kept: Any = None

    @classmethod
    def load(cls, folder: Path, settings: dict[str, Any]) -> AttackedModel:
        """The model in the folder `folder`, and AttackSettings of `settings` as a study writes them.

        Raises LossyBenchError for a wrong setting or a damaged model.
        """
        network, info = models.load(folder, "cpu")
        device = runtime.start("auto", runtime.deterministic(info))
        # Only the gradients of items are needed; those of the weights would cost a third of the time.
        network.to(device).requires_grad_(False)
        return cls(network, info, device, AttackSettings.of(info["medium"], info["kind"], settings))

    @property
    def grid(self) -> Grid:
        """The integers of the model's medium."""
        return GRIDS[self.info["medium"]]

    def behind(self, *through: CodecPreprocessor) -> Victim:
        """The model as an attacker sees it who goes through these codecs, or bare."""
        made = VICTIMS[self.info["kind"]]
        return made(
            self.network, self.device, self.info, self.grid, self.how.batch_size, through, self.least, self.kept
        )


def bare_schedule(how: AttackSettings, sources: bool) -> Schedule:
    """The attacks on the bare model that `how` asks for. sources: whether there are models of other regimes."""
    found: Schedule = {}
    for aim in how.aims:
        if METHODS[aim.attack].access == "scores":
            found[aim] = ["T4"] if "T4" in how.tiers else []
        elif aim.goal != "trigger":
            found[aim] = ["T0"] + ["T1"] * (sources and _is_main(aim, how))
    return {aim: tiers for aim, tiers in found.items() if tiers}


def schedule(how: AttackSettings, stored: Stored, several: bool) -> Schedule:
    """The attacks through a codec that `how` asks for. stored: the bare model's. several: whether levels are several.

    The main attack is tried with the weaker gradients too; all other attacks follow the best gradient there is.
    """
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


def apart(schedule: Schedule) -> list[Schedule]:
    """The `schedule` in parts that need nothing of each other: by budget and goal.

    A search on the scores begins at all that was found within its budget, and some methods go on where others ended.
    """
    found: dict[tuple[Budget, Goal], Schedule] = {}
    for aim, tiers in schedule.items():
        found.setdefault((aim.budget, aim.goal), {})[aim] = tiers
    return list(found.values())


def _is_main(aim: Aim, how: AttackSettings) -> bool:
    return (aim.attack, aim.norm, aim.epsilon) == how.aims[0][:3]


def _entropy(how: AttackSettings, number: int, aim: Aim) -> tuple[int, ...]:
    """What seeds an attack on the batch of this number: other attacks begin elsewhere."""
    return how.seed, number, *aim.attack.encode()


def _said(batch: Items) -> str:
    return f"attack on the items {batch.ids[0]} to {batch.ids[-1]}"


def expected(
    anyone: Callable[[], Victim], schedule: Schedule, items: Items, how: AttackSettings
) -> dict[Aim, list[Piece]]:
    """The items of T3-EoT for the `schedule` by batch, which are made once against all levels and then tried at each.

    anyone: gives the model behind all levels. items, how: what is attacked, and how.
    """

    def made(aim: Aim, number: int, batch: Items) -> Iterator[dict[str, Any]]:
        with naming(_said(batch)):
            crafted = anyone().craft(batch, aim, how, _entropy(how, number, aim), np.ones(len(batch.ids), bool))
        return ({"item": i.tobytes(), "calls": c} for i, c in zip(crafted.integers, crafted.calls, strict=True))

    return {
        aim: [
            Piece(f"eot-{'-'.join(map(str, aim))}-{number}", _EXPECTED, 0, functools.partial(made, aim, number, batch))
            for number, batch in enumerate(items.batches(how.batch_size))
        ]
        for aim, tiers in schedule.items()
        if "T3-EoT" in tiers
    }


def crafted(rows: Sequence[Mapping[str, Any]], batch: Items) -> Crafted:
    """What the `rows` of a piece of `expected` hold, made from this batch."""
    content = b"".join(row["item"] for row in rows)
    integers = np.frombuffer(content, batch.integers.dtype).reshape(batch.integers.shape)
    return Crafted(integers, np.array([row["calls"] for row in rows], np.int32))


@dataclasses.dataclass(frozen=True)
class Run:
    """All attacks on `victim` at one level, or behind one defence.

    attackers: for each tier the models on which its items are crafted. defence: where it is one.
    """

    level: float
    attackers: Mapping[str, Sequence[Victim]]
    victim: AttackedModel
    defence: Defence | None = None

    def rows(self, number: int, batch: Items, schedule: Schedule) -> Iterator[dict[str, Any]]:
        """The rows of the attack table for one batch at this level, which depend on no other batch.

        number: of the batch. schedule: which attacks to try in which tiers, or what is `apart` in that.
        """
        with naming(_said(batch)):
            yield from self._attacked(number, batch, schedule)

    @property
    def _judge(self) -> Victim:
        """Any tier would do: they differ in their gradients only."""
        return next(iter(self.attackers.values()))[0]

    def _attacked(self, number: int, batch: Items, schedule: Schedule) -> Iterator[dict[str, Any]]:
        batch = dataclasses.replace(batch, clean_after=self._clean(batch).after)
        everything: dict[Budget, list[Tried]] = defaultdict(list)
        by_tier: dict[tuple[str, Aim], Tried] = {}
        for aim, tiers in schedule.items():
            known: list[Tried] = []
            for tier in tiers:
                if tier == "T4":
                    known = everything[aim.budget]
                thorough = tier == max({"T0", "T2", "T3"}.intersection(tiers), default="")  # the best-informed one
                found = self._try(tier, aim, batch, number, known, by_tier, thorough)
                yield from self._rows(tier, aim, batch, found)
                by_tier[tier, aim] = found
                # To other tiers and attacks it is an item that they take from elsewhere.
                known = [*known, found.taken()]
                if aim.goal == "untargeted":
                    everything[aim.budget].append(known[-1])

    def _tried(self, crafted: Crafted, batch: Items, own: bool = True) -> Tried:
        before, count = self._judge.predict(crafted.integers), max(1, len(self._judge.through))
        each = [self._judge.judge(crafted.integers, batch.truth, way) for way in range(count)]
        ways, near = (np.stack(one, axis=1) for one in zip(*each, strict=True))
        # Of several ways those on which it is wrong count first.
        near = (near > 0).sum(1) + (near / (1 + np.abs(near))).mean(1) / 2
        drawn = self.defence.drawn(batch.ids, self.victim.how.seed) if self.defence else 0
        after = ways[np.arange(len(ways)), drawn]
        return Tried(crafted.integers, before, after, np.full(len(before), own), crafted.calls, near, ways)

    def _harm(self, tried: Tried, items: Items, aim: Aim) -> np.ndarray:
        """(N,): how near what was tried came to the goal, on average over all that a defence may draw.

        Never by what it does draw: an attacker who saw that would get as many tries at each item as there are attempts.
        """
        each = (dataclasses.replace(tried, after=after) for after in tried.ways.T)
        return np.mean([self._judge.harm(one, items, aim) for one in each], axis=0)

    def _try(
        self,
        tier: str,
        aim: Aim,
        batch: Items,
        number: int,
        known: list[Tried],
        by_tier: Mapping[tuple[str, Aim], Tried],
        thorough: bool,
    ) -> Tried:
        """What a tier makes of a batch. known: what weaker tiers made. by_tier: all that was made so far.

        thorough: whether it begins again on what is not beaten.
        """
        if (tier, aim) in batch.stored:
            found = self._tried(batch.stored[tier, aim], batch, own=tier not in ALONE)
            return found if tier in ALONE else self._worst([found, *known], batch, aim)
        former = METHODS[aim.attack].after
        if former and (one := by_tier.get((tier, aim._replace(attack=former)))):
            # What the other method beat counts as beaten by this one, which tries only the rest.
            worst = self._worst([dataclasses.replace(one, calls=np.zeros_like(one.calls)), *known], batch, aim)
            return self._on_rest(worst, tier, aim, batch, number)
        if tier == "T4":
            worst = self._worst(known, batch, aim) if known else self._clean(batch)
            return self._on_rest(worst, tier, aim, batch, number, known)
        done = self._harmed(known, batch, aim) if thorough else np.ones(len(batch.ids), bool)
        candidates = [
            self._tried(
                attacker.craft(batch, aim, self.victim.how, _entropy(self.victim.how, number, aim), done), batch
            )
            for attacker in self.attackers[tier]
        ]
        return self._worst(candidates if tier in ALONE else [*candidates, *known], batch, aim)

    def _clean(self, batch: Items) -> Tried:
        return self._tried(Crafted(batch.integers, np.zeros(len(batch.ids), np.int32)), batch, own=False)

    def _harmed(self, known: list[Tried], batch: Items, aim: Aim) -> np.ndarray:
        """Which items, bool (N,), some of `known` beats wholly."""
        beaten = [self._harm(one, batch, aim) >= 1 for one in known]
        return np.any(beaten, axis=0) if beaten else np.zeros(len(batch.ids), bool)

    def _on_rest(
        self, worst: Tried, tier: str, aim: Aim, batch: Items, number: int, known: Sequence[Tried] = ()
    ) -> Tried:
        """`worst`, and for items that it does not beat, what one more attack makes of them.

        known: among these is what a search on the scores begins at, item by item the nearest to being wrong.
        """
        left = np.flatnonzero(~self._harmed([worst], batch, aim))
        if not len(left):
            return worst
        start = None
        if known:
            nearest = np.argmax([one.near for one in known], axis=0)
            start = np.stack([one.integers for one in known])[nearest, np.arange(len(nearest))][left]
        how, rest, attacker = self.victim.how, batch.at(left), self.attackers[tier][0]
        nothing = np.zeros(len(left), bool)
        found = self._tried(attacker.craft(rest, aim, how, _entropy(how, number, aim), nothing, start), rest)
        # An item may have been harmed in part before, in some objects or behind some draws, and now less.
        found = self._worst([found, worst.at(left)], rest, aim)
        merged = {f.name: getattr(worst, f.name).copy() for f in dataclasses.fields(Tried)}
        for name, values in merged.items():
            values[left] = getattr(found, name)
        return Tried(**merged)

    def _worst(self, candidates: list[Tried], items: Items, aim: Aim) -> Tried:
        """For each item the candidate that harms the model most; the first of equals. All their calls were spent."""
        choice = np.argmax([self._harm(tried, items, aim) for tried in candidates], axis=0)
        pick = (choice, np.arange(len(choice)))
        found = Tried(*(np.stack([getattr(t, f.name) for t in candidates])[pick] for f in dataclasses.fields(Tried)))
        return dataclasses.replace(found, calls=np.sum([one.calls for one in candidates], axis=0))

    def _rows(self, tier: str, aim: Aim, items: Items, tried: Tried) -> Iterator[dict[str, Any]]:
        how, grid = self.victim.how, self.victim.grid
        lossless, media = codecs.get(ORIGINAL), map(grid.media, tried.integers)
        bitstreams = [
            lossless.encode(item, 0, items.sampling_rate).payload if own else None
            for item, own in zip(media, tried.own, strict=True)
        ]
        change = grid.floats(tried.integers.astype(np.int32) - items.integers)
        largest, l2 = np.abs(change).reshape(len(change), -1).max(1), lengths(change)
        with np.errstate(divide="ignore"):
            snr = 20 * np.log10(lengths(grid.floats(items.integers)) / l2)
        main = _is_main(aim, how) and aim.goal == "untargeted"
        spectrum, kept = self._spectra(tier, items, tried, change) if main else ([None] * len(l2),) * 2
        looked = main and tier in self.attackers and tier not in ("T1", "T4")
        zeros = self.attackers[tier][0].zero_gradient(items) if looked else [None] * len(l2)
        harm = self._harm(tried, items, aim) if tried.ways.shape[1] > 1 else [None] * len(l2)
        for i, own in enumerate(self._judge.fields(items, aim.goal == "targeted")):
            yield own | {
                "id": items.ids[i],
                **aim._asdict(),
                "tier": tier,
                "level": self.level,
                "target_rule": how.target_rule if aim.goal == "targeted" else "",
                "clean": items.clean[i],
                "clean_after": items.clean_after[i],
                "before": tried.before[i],
                "after": tried.after[i],
                "linf": largest[i],
                "l2": l2[i],
                "snr": snr[i],
                "spectrum": spectrum[i],
                "kept": kept[i],
                "zero_gradient": zeros[i],
                "harm": harm[i],
                "calls": tried.calls[i],
                "own": bool(tried.own[i]),
                "adversarial": bitstreams[i],
            }

    def _spectra(self, tier: str, items: Items, tried: Tried, change: np.ndarray) -> tuple[list[Any], list[Any]]:
        """The columns `spectrum` and `kept`. change: of each item."""
        medium = self.victim.info["medium"]
        shares = spectra.shares(change, medium).tolist()
        spectrum = [one if own and not math.isnan(one[0]) else None for one, own in zip(shares, tried.own, strict=True)]
        if tier != "T0" or not self._judge.through:
            return spectrum, [None] * len(shares)
        kept = [spectra.kept(items.integers, one.decode(items.integers), medium) for one in self._judge.through]
        return spectrum, np.mean(kept, axis=0).tolist()


def attacked_items(data: Path, victim: AttackedModel) -> Items:
    """The test items of the table `data` that `victim`'s settings choose, in file order.

    Raises LossyBenchError for a table without test items, an item that cannot be decoded, and different sampling rates.
    """
    info, how = victim.info, victim.how
    described = [(row["id"], row["shape"]) for row in iter_rows(data, ["id", "shape"], splits=["test"])]
    if not described:
        raise LossyBenchError(f"{data}: no items in the split test")
    selected = dict(described[i] for i in chosen(len(described), how.items, how.seed))
    lossless, bare = codecs.get(ORIGINAL), victim.behind()
    whole = info["medium"] != "video" or len({shape[0] for shape in selected.values()}) == 1
    found = []
    for row in iter_rows(
        data, ["id", "media", "shape", "sampling_rate", *tasks.kind_class(info["kind"]).truth.names], splits=["test"]
    ):
        if row["id"] in selected:
            with naming(f"{data}: item {row['id']}"):
                media = lossless.decode(row["media"], tuple(row["shape"]), row["sampling_rate"])
                found.append((row["id"], *bare.item(media, row, whole), row["sampling_rate"]))
    names, integers, truths, rates = zip(*found, strict=True)
    if len(set(rates)) > 1:
        raise LossyBenchError(f"{data}: items have different sampling rates {sorted(set(rates))}; resample them to one")
    stacked, known = np.stack(integers), bare.gathered(truths)
    clean = bare.predict(stacked)
    return Items(np.array(names), stacked, known, bare.targets(stacked, known, how), clean, clean, {}, rates[0])


def with_stored(items: Items, path: Path, victim: AttackedModel) -> Items:
    """`items` with the adversarial items and targets in the table `path` of the attacks on the bare `victim`.

    Raises LossyBenchError for a table of another model, of other settings or of other items.
    """
    meta, info, how = read_meta(path), victim.info, victim.how
    for key, wanted in {**{key: info[key] for key in ("task", "arch", "regime", "seed")}, "codec": ORIGINAL}.items():
        if meta.get(key) != wanted:
            raise LossyBenchError(f"{path}: belongs to {key} {meta.get(key)!r}; give the table of {wanted!r}")
    for key, now in how.model_dump(mode="json", include=set(SHARED)).items():
        if meta["settings"][key] != now:
            raise LossyBenchError(
                f"{path}: attack setting {key} was {meta['settings'][key]!r}, is now {now!r}; make the table again"
            )
    lossless, bare, shape = codecs.get(ORIGINAL), victim.behind(), victim.grid.media(items.integers[0]).shape
    place = {name: i for i, name in enumerate(items.ids)}
    targets = items.targets.copy()
    nothing = np.zeros(len(items.ids), np.int32)
    stored: Stored = defaultdict(lambda: Crafted(np.empty_like(items.integers), nothing))
    for row in iter_rows(path):
        if row["id"] not in place:
            raise LossyBenchError(f"{path}: attacks item {row['id']}, which is not chosen now; make the table again")
        if row["tier"] in ALONE:
            aim = Aim(row["attack"], row["norm"], row["epsilon"], row["goal"])
            with naming(f"{path}: item {row['id']}"):
                media = lossless.decode(row["adversarial"], shape, items.sampling_rate)
            stored[row["tier"], aim].integers[place[row["id"]]] = victim.grid.layout(media)
        if row["goal"] == "targeted":
            targets[place[row["id"]]] = bare.target(row)
    return dataclasses.replace(items, targets=targets, stored=dict(stored))
