"""What attacks achieve before and after a codec, and the gates that say whether to believe it.

docs/attacks.md defines the terms. Robust accuracy is the share of all attacked items that are still right, and items
that were wrong when clean count as wrong. TASR is the share of the items whose label is not the target that are
predicted as the target. An attack beats an item when an untargeted one makes it wrong, a targeted one makes it the
target, or one that wants a trigger has it right without the codec and wrong behind it.

What is reported is the worst case per item over everything that was tried with one budget (Carlini et al. 2019, arXiv
1902.06705): the mean over items of the minimum over attacks, in the rows of the attack `worst`. Gain is robust accuracy
behind the codec minus that of the bare model, on the same items.

Where the unit is no item but a part of one, such as a true object (`TaskKind.attacked`), the intervals take items for
groups of units.

All intervals are of items, and of groups that items share, for the very model that was attacked: nothing is said of a
model that is trained anew. A gate fails by what was seen on these items. It passes only if the 95 % interval of what it
looks for ends below the margin, because few items show nothing of an attack that is poor; otherwise it has too few. A
gate that lacks the attacks to compare the main attack with was not run, and leaves that attack unchecked.

Several functions share these arguments. of: a table of attacks. here: its attacks at one level. codec: the codec in
front of the model.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm

from lossybench import kinds
from lossybench.analysis.attacked_objects import CONDITIONS
from lossybench.analysis.intervals import Estimate, all_agree, paired, share
from lossybench.analysis.outcomes import TestSet
from lossybench.analysis.sampling import Sampling
from lossybench.analysis.sampling import Units as Drawn
from lossybench.artifacts import read_meta, read_table
from lossybench.conditions import ORIGINAL, Condition, level_text
from lossybench.errors import LossyBenchError

OBLIVIOUS = "T0"
TRANSFER = "T1"
ADAPTIVE = ("T2", "T3-EoT", "T3")  # these follow gradients through the codec; T3-EoT does not know the level
WHITE_BOX_ADAPTIVE = ("T2", "T3")  # these know the level; the weaker comes first
SCORES = "T4"  # where another tier's item had won already, a row of T4 holds the worst of those items
WORST, ALL = "worst", "all"  # the attack and the tier of the rows over everything that was tried
NOISE, SINGLE_STEP, DOUBLED = "noise", "fgsm", "_doubled"  # the last ends the name of an attack

BLACK_BOX_QUERIES = 100  # a search on the scores with fewer queries finds too little to be evidence of anything
WITHIN_BUDGET = "norm within budget"  # the gate that marks items that went beyond their attack's budget
NORM_TOLERANCE = 1e-6  # of a norm, float32
SNR_TOLERANCE = 1e-3  # dB, float32
# Attacks start at random, so a gate must let a few items pass: one item, or these shares of all if that is more.
RISE_ALLOWED = 0.01  # from one budget to the next larger one
BLACK_BOX_ALLOWED = 0.02  # of items that only an attack without gradients beats; AutoAttack flags 0.2 % of 10,000
DOUBLING_ALLOWED = 0.01  # of items that twice the iterations from other starts beat too
ANOTHER_ALLOWED = 1  # item that another attack of the same kind beats more


class Key(NamedTuple):
    """One attack at one condition."""

    attack: str
    norm: str
    epsilon: float
    goal: str
    tier: str
    level: float

    @property
    def size(self) -> float:
        """A number that is larger for a larger budget: in dB the larger epsilon is the smaller change."""
        return -self.epsilon if self.norm == "snr" else self.epsilon

    @property
    def aim(self) -> tuple[str, float, str]:
        """The norm, its bound and the goal."""
        return self.norm, self.epsilon, self.goal

    def __str__(self) -> str:
        return f"{self.tier} {self.attack} {self.norm} {self.epsilon:.4g} {self.goal}"


Groups = dict[Key, pd.DataFrame]
Bounds = tuple[float, float, float]  # a figure and its 95 % interval


@dataclasses.dataclass(frozen=True)
class Gate:
    """One gate at one level.

    figure: None if nothing was compared. failed: the attacks whose rows it makes unreliable. unsure: the attacks that
    it can't vouch for, since too few items say whether they are good enough, or since it was not run. held: those of
    both that the worst case makes up for, as it holds the very items that they missed. judged: the attacks that it
    looked at; None where that has no meaning. not_run: whether it lacks what it compares the main attack with.
    """

    name: str
    figure: float | None
    note: str
    failed: Sequence[Key] = ()
    unsure: Sequence[Key] = ()
    held: Collection[Key] = ()
    judged: Collection[Key] | None = None
    not_run: bool = False

    @property
    def status(self) -> str:
        """As in the table `gates`."""
        if self.failed:
            return "fail"
        if self.not_run:
            return "not run"
        if self.figure is None:
            return "not applicable"
        return "too few items" if self.unsure else "pass"


@dataclasses.dataclass(frozen=True)
class Units:
    """The units that each attack of a table attacked, and how sure a share of them is.

    item: int (n,), the item of each unit, from 0 on: items are units, and in detection the true objects of items are.
    groups: factor -> int (n,), the group of each unit, from 0 on, of the factors that some items share. alpha: as of
    `Sampling`.
    """

    item: np.ndarray
    groups: dict[str, np.ndarray]
    alpha: float

    @functools.cached_property
    def sampling(self) -> Sampling:
        """Of all units."""
        return self._sampling(np.arange(len(self.item)))

    def _sampling(self, chosen: np.ndarray) -> Sampling:
        """Of the units `chosen`, int (m,). Objects are drawn with their items, however few items there are."""
        index = {name: np.unique(of[chosen], return_inverse=True)[1] for name, of in self.groups.items()}
        sampling = Sampling.draw(len(chosen), index, 1, 0, self.alpha)  # score intervals need no resamples
        items, item = np.unique(self.item[chosen], return_inverse=True)
        if 1 < len(items) < len(chosen):
            clusters = Drawn.draw("item", item, 1, 0)
            sampling = dataclasses.replace(sampling, units=(*sampling.units, clusters))
        return sampling

    def share(self, hits: np.ndarray, among: np.ndarray | None = None) -> Bounds:
        """The share of `hits` and its 95 % interval, in the units `among` or in all; bool (n,) each."""
        if among is None:
            return self._bounds(share(hits[None], self.sampling), self.item, 0.0)
        return self._bounds(share(hits[None, among], self._sampling(np.flatnonzero(among))), self.item[among], 0.0)

    def difference(self, before: np.ndarray, after: np.ndarray) -> Bounds:
        """The paired difference of two shares, after - before, of bool (n,) each, and its 95 % interval."""
        return self._bounds(paired(before[None], after[None], self.sampling), self.item, -1.0)

    def _bounds(self, found: Estimate, item: np.ndarray, least: float) -> Bounds:
        """An estimate with its interval. item: of its units. least: that it can be.

        Items whose objects all go together say no more than one object each would, and where none of them differs,
        nothing shows whether they do: the interval then reaches as far as for so many single objects.
        """
        low, high = found.interval.low, found.interval.high
        items = len(np.unique(item))
        if items < len(item):
            reach = all_agree(items, float(norm.ppf(1 - self.alpha / 2)))
            low, high = min(low, max(found.value - reach, least)), max(high, min(found.value + reach, 1.0))
        return found.value, low, high


@dataclasses.dataclass(frozen=True)
class Attacked:
    """One table of attacks.

    groups: by attack and condition, indexed by unit. main: the study's main attack at its own budget, untargeted.
    margin: in (0, 1), how much poorer an attack may be than a gate passes. queries: predictions for each item that a
    search on the scores may ask for. pictures: in detection the table's own rows, indexed by item; None in
    classification.
    """

    groups: Groups
    units: Units
    main: Key
    margin: float
    queries: int
    pictures: Groups | None = None

    @classmethod
    def read(cls, path: Path, task: TestSet, settings: dict[str, Any]) -> Attacked:
        """Read the table `path` of artifacts.ATTACKS, or of what attacks on the kind of task write.

        task: the test items, of which some were attacked. settings: as of `attack_rows`. The main attack is that of the
        first row, because tables hold the attacks in the study's order. Raises LossyBenchError for what `_groups`
        refuses, for an item that is no test item, and in detection for a table that names no threshold.
        """
        kind, meta = kinds.load(task.kind), read_meta(path)
        table = read_table(path, [name for name in kind.attacks.names if name != "adversarial"]).to_pandas()
        units_of = kind.attacked(table, meta)
        whole = units_of is table
        groups = _groups(units_of, path)
        main = Key(*table.iloc[0][list(Key._fields)])._replace(goal="untargeted")
        first = _first(groups)
        item, ids = pd.factorize(first.index if whole else _items(first))
        place = pd.Index(task.ids).get_indexer(ids)
        if (place < 0).any():
            raise LossyBenchError(f"{path}: item {ids[int(place.argmin())]} is not in the test split; attack again")
        of_items = {factor: index[place] for factor, index in task.groups.items()}
        shared = {factor: index[item] for factor, index in of_items.items() if len(np.unique(index)) < len(ids)}
        units = Units(item, shared, settings.get("alpha", 0.05))
        margin, queries = settings["defence_margin"] / 100, meta["settings"]["queries"]
        return cls(groups, units, main, margin, queries, None if whole else _by_key(table))

    def at(self, level: float) -> Groups:
        """The attacks at one level."""
        return {key: one for key, one in self.groups.items() if key.level == level}

    def calls(self, keys: list[Key]) -> np.ndarray:
        """What the attacks `keys` spent on each item, (items,): round trips, or predictions where there is no codec."""
        of = self.pictures or self.groups
        return np.sum([of[key]["calls"].to_numpy() for key in keys], axis=0)

    def worst(self, keys: list[Key]) -> tuple[pd.DataFrame, pd.DataFrame | None]:
        """Of each item the attempt that did most harm: rows as in `groups` and in `pictures`.

        keys: the attempts, all of one goal. The objects of a picture go together: an attacker hands in one picture.
        """
        attempts = [self.groups[key] for key in keys]
        harm = [np.bincount(self.units.item, _harm(one, keys[0].goal)) for one in attempts]
        choice = np.argmax(harm, axis=0)
        of_row = choice[self.units.item]
        chosen = pd.concat([one[of_row == k] for k, one in enumerate(attempts)]).sort_index()
        if self.pictures is None:
            return chosen, None
        of_item = dict(zip(_items(chosen), of_row, strict=True))  # items without objects take any attempt
        pictures = [self.pictures[key] for key in keys]
        parts = [one[[of_item.get(name, 0) == k for name in one.index]] for k, one in enumerate(pictures)]
        return chosen, pd.concat(parts).sort_index()


def _first(of: Groups) -> pd.DataFrame:
    return next(iter(of.values()))


def _items(objects: pd.DataFrame) -> pd.Index:
    """The item of each unit that is called "item#k"."""
    return objects.index.str.rpartition("#").get_level_values(0)


def _by_key(rows: pd.DataFrame) -> Groups:
    by_key: Any = rows.groupby(list(Key._fields), sort=True)
    return {Key(*key): one.set_index("id").sort_index() for key, one in by_key}


def _groups(rows: pd.DataFrame, path: Path) -> Groups:
    """Split rows of artifacts.ATTACKS by attack and condition, indexed by unit. path: of their table, for errors.

    Raises LossyBenchError for an empty table, missing predictions, repeated items and attacks on differing items.
    """
    if rows.empty:
        raise LossyBenchError(f"{path}: holds nothing that was attacked; delete it and attack again")
    for column in ("label", "target", *CONDITIONS):
        if rows[column].isna().any():
            item = rows.loc[rows[column].isna(), "id"].iloc[0]
            raise LossyBenchError(f"{path}: item {item} has no {column}; delete the file and attack again")
    result = _by_key(rows)
    first = _first(result).index
    for key, one in result.items():
        where = f"{path}: {key} at level {level_text(key.level)}"
        if not one.index.is_unique:
            raise LossyBenchError(f"{where} holds an item twice; delete the file and attack again")
        if not one.index.equals(first):
            raise LossyBenchError(
                f"{where} attacks other items than the file's first attack, but all must attack the same; delete the "
                "file and attack again"
            )
    return result


def summarise(group: pd.DataFrame, bare: pd.DataFrame | None, goal: str, units: Units) -> dict[str, Any]:
    """The measured columns of one row of the table `attacks`.

    group: one attack at one condition. bare: the attack on the bare model that the gain is over; None without a gain.
    goal: of the attack. units: what intervals are drawn over, items or objects.
    """
    n = len(group)
    right = {name: (group[name] == group["label"]).to_numpy() for name in CONDITIONS}
    clean, clean_after = float(right["clean"].mean()), float(right["clean_after"].mean())
    row: dict[str, Any] = {"n": n, "clean": clean, "clean_after": clean_after, "cost": clean - clean_after}
    aimed = ((group["target"] >= 0) & (group["target"] != group["label"])).to_numpy()
    hits = {name: (group[name] == group["target"]).to_numpy() for name in CONDITIONS}
    for name, when in (("tasr_clean_before", "clean"), ("tasr_clean", "clean_after")):
        row[name] = float(hits[when][aimed].mean()) if aimed.any() else None
    for when in ("before", "after"):
        row |= _with_interval(f"robust_{when}", units.share(right[when]))
        row |= _with_interval(f"tasr_{when}", units.share(hits[when], aimed) if aimed.any() else None)
    gain = None if bare is None else units.difference((bare["before"] == bare["label"]).to_numpy(), right["after"])
    row |= _with_interval("gain", gain)
    opened, broken = right["before"] & ~right["after"], right["clean"] & ~right["clean_after"]
    beyond = units.difference(broken, opened)
    row["opened"] = beyond[0]
    row |= _with_interval("triggered", beyond if goal == "trigger" else None)
    return row


def _with_interval(name: str, value: tuple[float, float, float] | None) -> dict[str, float | None]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), value or (None, None, None), strict=True))


def beaten(group: pd.DataFrame, goal: str) -> np.ndarray:
    """Which units of `group`, bool (n,), the attack of this `goal` beats behind the codec."""
    if goal == "targeted":
        return ((group["after"] == group["target"]) & (group["target"] != group["label"])).to_numpy()
    wrong = (group["after"] != group["label"]).to_numpy()
    return wrong & (group["before"] == group["label"]).to_numpy() if goal == "trigger" else wrong


def _harm(group: pd.DataFrame, goal: str) -> np.ndarray:
    """How bad an attack is for each unit (n,): the goal counts first, then an error behind the codec, then one without.

    The error without the codec makes `opened` careful: an item counts there only if no attempt has it wrong on both
    sides. The factors keep this order when the objects of a picture are added up. Behind a defence that draws, the
    expected harm counts in place of what is seen behind the one draw: the attacker chooses before the draw.
    """
    wrong = {when: (group[when] != group["label"]).to_numpy() for when in ("before", "after")}
    if _draws(group):
        return group["harm"].to_numpy(float) + 1e-8 * wrong["before"]
    lost = group["lost"].to_numpy() if "lost" in group else 0.0  # of what may be lost in part (`TaskKind.attacked`)
    return beaten(group, goal) + 1e-4 * wrong["after"] + 1e-6 * lost + 1e-8 * wrong["before"]


def _draws(group: pd.DataFrame) -> bool:
    """Whether these are attacks on a defence that draws, which say how much harm they expect."""
    return "harm" in group and bool(group["harm"].notna().all())


def _alone(key: Key, here: Groups) -> np.ndarray:
    """Which units, bool (n,), the attack beats with its own items, without those that stand in from a weaker tier."""
    own = True if key.tier in (OBLIVIOUS, TRANSFER) else here[key]["own"].to_numpy(bool)
    won = beaten(here[key], key.goal) & own
    others = [here[other] for other in here if other.tier != SCORES and other.aim == key.aim]
    if key.tier == SCORES and others and _draws(here[key]):
        # What it improved may have been beaten before behind the very draw that is judged.
        best = np.argmax([other["harm"] for other in others], axis=0)
        won &= ~np.array([beaten(other, key.goal) for other in others])[best, np.arange(len(won))]
    return won


def _few(n: int, allowed: float) -> float:
    """How many of n items a gate lets pass."""
    return max(1.0, allowed * n)


# Gates.


def gates(of: Attacked, codec: str, level: float, chance: float) -> list[Gate]:
    """All gates of one model behind one codec at one level. chance: the share of items that guessing has right."""
    here = of.at(level)
    made = [
        _adaptive(of, here, codec),
        _reaches_chance(of, here, codec, chance),
        _no_rise(of, here),
        _within_budget(here),
        _iterative(of, here, codec),
        _another(of, here, codec),
        _black_box(of, here, codec),
        _settled(of, here),
        _noise(of, here, codec),
        _converged(of, here, codec),
        _gradients(of, here, codec),
    ]
    main = [key for key in _knowing(here, codec) if key[:3] == of.main[:3]]  # attack, norm and epsilon
    return [_with_main(gate, main) for gate in made]


def _with_main(gate: Gate, main: list[Key]) -> Gate:
    """The gate, which leaves the attacks `main` unchecked if it judges others alone, or none for want of something."""
    if gate.judged is None or any(key in gate.judged for key in main):
        return gate
    note = gate.note if gate.figure is None else f"{gate.note}; the main attack was not among those compared"
    return dataclasses.replace(gate, note=note, unsure=[*gate.unsure, *main], not_run=True)


def _by_gradients(here: Groups, codec: str) -> list[Key]:
    """The attacks that follow a gradient through all that they attack, T3-EoT without knowing the codec's level."""
    tiers = (OBLIVIOUS,) if codec == ORIGINAL else ADAPTIVE
    return [key for key in here if key.tier in tiers and key.attack != NOISE]


def _knowing(here: Groups, codec: str) -> list[Key]:
    """The attacks by gradients that know the codec and its level."""
    return [key for key in _by_gradients(here, codec) if key.tier != "T3-EoT"]


def _white_box(here: Groups, codec: str) -> list[Key]:
    """The iterative attacks that know the codec and its level. Doubled ones get what these left, and are not here."""
    return [key for key in _knowing(here, codec) if key.attack != SINGLE_STEP and not _is_doubled(key)]


def _is_doubled(key: Key) -> bool:
    return key.attack.endswith(DOUBLED)


def _worst_of(key: Key) -> Key:
    """The worst case over everything that was tried with the budget and the goal of an attack."""
    return key._replace(attack=WORST, tier=ALL)


def strongest_tier(keys: list[Key], codec: str) -> str | None:
    """The tier of the best-informed attacks by gradients among `keys`; None if there are no such attacks."""
    tiers = {key.tier for key in keys if key.attack != NOISE}
    known = (OBLIVIOUS,) if codec == ORIGINAL else WHITE_BOX_ADAPTIVE
    return next((tier for tier in reversed(known) if tier in tiers), None)


def _too_many(of: Attacked, strong: np.ndarray, weak: np.ndarray) -> bool:
    """Whether a weaker attack may beat so many more units than a stronger one that the margin is reached.

    strong, weak: bool (n,), the units that each beats.
    """
    return of.units.difference(strong, weak)[2] >= of.margin


def _compare(
    name: str,
    pairs: list[tuple[Key, Key]],
    of: Attacked,
    here: Groups,
    absent: str,
    allowed: int = 0,
    where_left: bool = False,
) -> Gate:
    """A gate that fails when the second attack of some pair beats more items than the first, each with its own.

    It passes when no second attack can beat more by the margin. Its figure is the largest number of items that only the
    second attack of a pair beats. Pairs of which one attack was not run are left out. absent: the note when no pair is
    left. allowed: how many more it lets pass. where_left: whether it counts only items that the first attack's weaker
    tiers left, as its restarts are tried on these alone.
    """
    pairs = [pair for pair in pairs if pair[0] in here and pair[1] in here]
    if not pairs:
        return Gate(name, None, absent, judged=())
    failed, unsure, notes, worst = [], [], [], 0
    for strong, weak in pairs:
        a, b = _alone(strong, here), _alone(weak, here)
        if where_left:
            left = ~_beaten_before(strong, here)
            a, b = a & left, b & left
        worst = max(worst, int((b & ~a).sum()))
        if b.sum() > a.sum() + allowed:
            failed.append(strong)
            notes.append(f"{strong} alone beats {a.sum()} of {len(a)} items, {weak} beats {b.sum()}")
        elif _too_many(of, a, b):
            unsure.append(strong)
    note = "; ".join(notes) or f"figure: most items of one attack that only the other one beat, of {len(_first(here))}"
    return Gate(name, float(worst), note, failed, unsure, judged={strong for strong, _ in pairs})


def _beaten_before(key: Key, here: Groups) -> np.ndarray:
    """Which units, bool (n,), the weaker tiers of an attack beat with the same budget and goal."""
    order = (OBLIVIOUS, TRANSFER, *ADAPTIVE)
    weaker = [key._replace(tier=tier) for tier in order[: order.index(key.tier)]]
    found = [beaten(here[one], key.goal) for one in weaker if one in here]
    return np.any([np.zeros(len(here[key]), bool), *found], axis=0)


def _adaptive(of: Attacked, here: Groups, codec: str) -> Gate:
    """Who knows the codec can do all that one can who does not, so an attack that then beats fewer items is poor."""
    name = "adaptive beats oblivious"
    if codec == ORIGINAL:
        return Gate(name, None, "no codec, so nothing to adapt to")
    pairs = [(key, key._replace(tier=OBLIVIOUS)) for key in here if key.tier in ADAPTIVE and not _is_doubled(key)]
    # An item more is let pass, because on what T0 beat the other tiers make one run only.
    return _compare(name, pairs, of, here, "no adaptive attack was run", allowed=1)


def _iterative(of: Attacked, here: Groups, codec: str) -> Gate:
    """Many steps along the gradient must not be worse than one. Behind a codec only attacks through it are compared."""
    pairs = [(key, key._replace(attack=SINGLE_STEP)) for key in _white_box(here, codec)]
    return _compare("iterative beats single-step", pairs, of, here, "not both kinds of attack were run")


def _another(of: Attacked, here: Groups, codec: str) -> Gate:
    """Another search along the gradient that beats more with the same means shows that the main attack's is poor.

    That items of the other one count in the worst case does not help: what neither found might fall as easily.
    """
    white = _white_box(here, codec)
    main = [key for key in white if key.attack == of.main.attack]
    pairs = [
        (key, other)
        for key in main
        for other in white
        if other.attack != key.attack and (other.tier, other.aim) == (key.tier, key.aim)
    ]
    absent = "no other iterative attack of one budget was run"
    return _compare("no other attack is better", pairs, of, here, absent, ANOTHER_ALLOWED, where_left=True)


def _noise(of: Attacked, here: Groups, codec: str) -> Gate:
    """Random noise must not beat more items than the main attack in the best-informed tier."""
    tier = strongest_tier(list(here), codec)
    strong = [key for key in here if (key.attack, key.tier) == (of.main.attack, tier)]
    pairs = [(key, other) for key in strong for other in here if other.attack == NOISE and other.aim == key.aim]
    absent = "no white-box attack and noise of one budget were run"
    return _compare("random noise is weaker", pairs, of, here, absent)


def _black_box(of: Attacked, here: Groups, codec: str) -> Gate:
    """An attack that does better without gradients shows that the gradients are masked.

    Transfer must not beat more items. An attack on the scores gets only the items that all others left right, and
    starts from their best attempts. When it wins more than a few, the attacks that follow gradients at its budget are
    marked. The worst case holds what it won, and whether it would win still more is asked by `_settled`. But where it
    wins more than all of them together, it had nothing to start from, and the worst case is marked too.
    """
    name, n = "white-box beats black-box", len(_first(here))
    white = _white_box(here, codec)
    transfer = [(key, key._replace(tier=TRANSFER)) for key in white]
    on_scores = [key for key in here if key.tier == SCORES and any(key.aim == other.aim for other in white)]
    compared = _compare(name, transfer, of, here, "no black-box attack and white-box one of one budget were run")
    if compared.figure is None and not on_scores:
        return compared
    failed, unsure, judged = list(compared.failed), list(compared.unsure), set(compared.judged or ())
    notes = [compared.note] if failed else []
    worst, masked = compared.figure or 0.0, []
    for key in on_scores:
        outdone = [other for other in white if other.aim == key.aim]
        won = _alone(key, here)
        count = int(won.sum())
        worst = max(worst, float(count))
        if count > _few(n, BLACK_BOX_ALLOWED):
            failed += outdone
            notes.append(f"{key} beats {count} of {n} items that no other attack of its budget beats")
            if count > _taken_by_gradients(key, here, codec):
                masked.append(_worst_of(key))
        elif of.queries < BLACK_BOX_QUERIES:
            notes.append(_too_few_queries(of))
            continue
        elif _too_many(of, np.zeros(n, bool), won):
            unsure += outdone
        judged.update(outdone)
    note = "; ".join(notes) or f"figure: most items that only a black-box attack beat, of {n}"
    held = {*failed, *unsure} - {*compared.failed, *compared.unsure}
    return Gate(name, worst, note, [*failed, *masked], unsure, held, judged)


def _taken_by_gradients(like: Key, here: Groups, codec: str) -> int:
    """How many units that are right when clean the attacks by gradients take, of the budget and goal of `like`."""
    found = [_alone(key, here) for key in _by_gradients(here, codec) if key.aim == like.aim]
    right = (here[like]["clean_after"] == here[like]["label"]).to_numpy()
    return int((np.any(found, axis=0) & right).sum())


def _too_few_queries(of: Attacked) -> str:
    return f"a search of {of.queries} queries is no evidence; it takes {BLACK_BOX_QUERIES} or more"


def _settled(of: Attacked, here: Groups) -> Gate:
    """A search on the scores that still beats items in the second half of its queries would beat more with more.

    It is the last attack to be tried, so this holds for the worst case too.
    """
    name, n = "the search has settled", len(_first(here))
    on_scores = [key for key in here if key.tier == SCORES]
    enough = of.queries >= BLACK_BOX_QUERIES
    failed: list[Key] = []
    unsure: list[Key] = []
    counts = []
    for key in on_scores:
        late = _alone(key, here) & (here[key]["calls"] > of.queries / 2).to_numpy()
        counts.append(int(late.sum()))
        if counts[-1] > _few(n, BLACK_BOX_ALLOWED):
            failed += [key, _worst_of(key)]
        elif not enough or _too_many(of, np.zeros(n, bool), late):
            unsure += [key, _worst_of(key)]
    note = (
        f"figure: most items that a search on the scores beat in the second half of its {of.queries} queries; "
        f"{_few(n, BLACK_BOX_ALLOWED):g} of {n} items are let pass"
    )
    main = _worst_of(of.main._replace(level=next(iter(here)).level))
    tried = main in map(_worst_of, on_scores)
    if not tried:
        unsure.append(main)
        note = "no search on the scores was run" + " with the main budget" * bool(on_scores)
    elif not enough:
        note = _too_few_queries(of)
    figure = float(max(counts)) if counts else None
    return Gate(name, figure, note, failed, unsure, not_run=not (tried and enough))


def _reaches_chance(of: Attacked, here: Groups, codec: str, chance: float) -> Gate:
    """A white-box attack that may change enough leaves no more items right than guessing, else its gradients mislead.

    Gradients that mislead do so at every budget and for every goal, so all attacks that follow them are marked.
    """
    name = "white-box reaches chance"
    curve = [k for k in here if k.attack == of.main.attack and k.goal == "untargeted"]
    tier = strongest_tier(curve, codec)
    curve = sorted((key for key in curve if key.tier == tier), key=lambda key: key.size)
    if not curve:
        return Gate(name, None, "no untargeted white-box attack was run", judged=())
    failed: list[Key] = []
    unsure: list[Key] = []
    notes, worst = [], 0.0
    for key in {key.norm: key for key in curve}.values():  # the largest of each norm
        right, low, high = of.units.share(~beaten(here[key], key.goal))
        worst = max(worst, right)
        notes.append(f"{key.norm} {key.epsilon:.4g}")
        follow = [other for other in _by_gradients(here, codec) if other.norm == key.norm]
        if low > chance:
            failed += follow
        elif high >= chance + of.margin:
            unsure += follow
    note = (
        f"figure: robust accuracy at the largest budget of {of.main.attack} ({', '.join(notes)}); chance is "
        f"{chance:.3g}; the 95 % interval must not lie above it, and must end within {100 * of.margin:g} points of it"
    )
    return Gate(name, worst, note, failed, unsure, judged=curve)


def _no_rise(of: Attacked, here: Groups) -> Gate:
    """A larger budget contains the smaller one, so an attack that beats fewer items with it searched badly."""
    name = "no rise with budget"
    curves: dict[Key, list[Key]] = {}
    for key in sorted(here, key=lambda key: key.size):
        curves.setdefault(key._replace(epsilon=0), []).append(key)
    won = {key: beaten(one, key.goal) for key, one in here.items()}
    smaller = {large: small for curve in curves.values() for small, large in pairwise(curve)}
    if not smaller:
        return Gate(name, None, "each attack was run with one budget only", judged=())
    n = len(_first(here))
    rises = {large: int(won[small].sum()) - int(won[large].sum()) for large, small in smaller.items()}
    failed = [large for large, rise in rises.items() if rise > _few(n, RISE_ALLOWED)]
    unsure = [
        large for large, small in smaller.items() if large not in failed and _too_many(of, won[large], won[small])
    ]
    note = (
        "figure: largest rise of the share not beaten from one budget to the next larger one; "
        f"{_few(n, RISE_ALLOWED):g} of {n} items are let pass"
    )
    return Gate(name, max(rises.values()) / n, note, failed, unsure, judged={*smaller, *smaller.values()})


def _within_budget(here: Groups) -> Gate:
    """The bound must hold for the 8-bit or 16-bit item that the model is really shown.

    That is looked up for every item, so that it needs no certain number of them.
    """
    ratios: dict[Key, float] = {}
    failed = []
    for key in (key for key in here if key.norm in ("linf", "l2", "snr")):
        measured = here[key][key.norm].dropna()  # a silent item has no SNR
        if measured.empty:
            continue
        if key.norm == "snr":
            ratios[key] = float(10 ** ((key.epsilon - measured.min()) / 20))
            beyond = measured.min() < key.epsilon - SNR_TOLERANCE
        else:
            ratios[key] = float(measured.max() / key.epsilon)
            beyond = measured.max() > key.epsilon + NORM_TOLERANCE * max(1.0, key.epsilon)
        if beyond:
            failed.append(key)
    if not ratios:
        return Gate(WITHIN_BUDGET, None, "no norm-bounded attack was run")
    note = "figure: largest norm of a quantised perturbation, in budgets"
    return Gate(WITHIN_BUDGET, max(ratios.values()), note, failed)


def _converged(of: Attacked, here: Groups, codec: str) -> Gate:
    """Twice the iterations from other starts must beat hardly any further item, else the usual search is too short.

    It is then too short for every goal. Both searches together are what counts: two that each beat as many items, but
    not the same ones, would beat yet others from a third start.
    """
    name = "converged"
    won = {key: beaten(here[key], key.goal) for key in _white_box(here, codec)}
    doubled = {key: key._replace(attack=key.attack + DOUBLED) for key in won}
    union = {key: won[key] | beaten(here[twice], key.goal) for key, twice in doubled.items() if twice in here}
    if not union:
        return Gate(name, None, "no attack was run with doubled iterations too", judged=())
    n = len(_first(here))
    more = {key: int((both & ~won[key]).sum()) for key, both in union.items()}
    short = {key._replace(goal="") for key, extra in more.items() if extra > _few(n, DOUBLING_ALLOWED)}
    failed = [key for key in here if key._replace(goal="") in short]
    perhaps = {key._replace(goal="") for key, both in union.items() if _too_many(of, won[key], both)} - short
    unsure = [key for key in here if key._replace(goal="") in perhaps]
    note = (
        "figure: share of items that twice the iterations from other starts beat too; "
        f"{_few(n, DOUBLING_ALLOWED):g} of {n} items are let pass"
    )
    return Gate(name, max(more.values()) / n, note, failed, unsure, judged=union.keys())


def _gradients(of: Attacked, here: Groups, codec: str) -> Gate:
    """Where the gradient is all zeros an attack has no direction, so all attacks that follow it are marked."""
    name = "gradients are not zero"
    known = {key: one["zero_gradient"].notna().to_numpy() for key, one in here.items()}
    shares = {
        key: of.units.share((here[key]["zero_gradient"] == 1).to_numpy(), among)
        for key, among in known.items()
        if among.any()
    }
    if not shares:
        return Gate(name, None, "no gradient was looked at", judged=())
    blind = {key.tier for key, (share, _, _) in shares.items() if share > 0}
    dim = {key.tier for key, (_, _, high) in shares.items() if high >= of.margin} - blind
    failed, unsure = ([key for key in _by_gradients(here, codec) if key.tier in tiers] for tiers in (blind, dim))
    note = "figure: share of items whose gradient is all zeros, of the attack with most"
    seen = {key.tier for key in shares}
    judged = [key for key in _by_gradients(here, codec) if key.tier in seen]
    return Gate(name, max(share for share, _, _ in shares.values()), note, failed, unsure, judged=judged)


# The worst case per item.


def worst_keys(here: Groups, codec: str) -> dict[Key, list[Key]]:
    """The attacks that each row of `worst` is taken over: all of one budget and goal, or the oblivious ones alone.

    On the bare model there is no codec to be oblivious of, so there all attacks are taken together.
    """
    found: dict[Key, list[Key]] = {}
    for key in here:
        worst = key._replace(attack=WORST, tier=ALL)
        found.setdefault(worst, []).append(key)
        if codec != ORIGINAL and key.tier == OBLIVIOUS:
            found.setdefault(worst._replace(tier=OBLIVIOUS), []).append(key)
    return found


Doubts = tuple[list[str], list[str]]  # why a row is unreliable, and the gates that cannot vouch for it


def _doubts(key: Key, checked: list[Gate], held: bool = True) -> Doubts:
    """What the gates `checked` say of one attack. held: whether what the worst case makes up for counts (`Gate.held`).

    An attack that failed with a smaller budget is in doubt with larger ones too, which contain the smaller. Only the
    norm is looked up at each budget by itself.
    """
    failed, unsure = [], []
    for gate in checked:
        passed_over = () if held else gate.held
        marked = [one for one in gate.failed if one not in passed_over]
        if key in marked:
            failed.append(f"failed: {gate.name}")
        elif gate.name != WITHIN_BUDGET and any(_contains(key, one) for one in marked):
            failed.append(f"at a smaller budget: {gate.name}")
        if key in gate.unsure and key not in passed_over:
            unsure.append(gate.name)
    return failed, unsure


def _contains(key: Key, other: Key) -> bool:
    """Whether `key` is the attack `other` with a larger budget."""
    return key._replace(epsilon=other.epsilon) == other and key.size > other.size


def _worst_doubts(worst: Key, over: list[Key], codec: str, checked: list[Gate]) -> Doubts:
    """Why the worst case may be worse still: what `checked` says of the best-informed of the attacks `over`, and of it.

    The failure of a weaker tier, or of an attack of a single step, changes nothing, because the worst case holds what
    stronger ones found; unless its items went beyond the budget.
    """
    tier = OBLIVIOUS if worst.tier == OBLIVIOUS else strongest_tier(over, codec)
    if tier is None:
        return ["no white-box attack was run with this budget"], []
    searched = any(key.tier == SCORES for key in over)
    each = {key: _doubts(key, checked, held=not searched) for key in over}
    best = {key for key in over if key.tier == tier and key.attack != SINGLE_STEP}
    names = [name for key, (failed, _) in each.items() for name in failed if key in best or WITHIN_BUDGET in name]
    unsure = [name for key, (_, few) in each.items() for name in few if key in best]
    own = _doubts(worst, checked)
    return list(dict.fromkeys([*names, *own[0]])), list(dict.fromkeys([*unsure, *own[1]]))


def attack_rows(
    paths: Sequence[Path], strengths: dict[Condition, int], task: TestSet, settings: dict[str, Any]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
    """Rows of the tables `attacks` and `gates`, and what holds for all of them.

    The latter are the number of attacked `items`, of `groups` that these share by factor, the factor with too `few`
    groups as of `Sampling.few`, and the `thresholds` of detectors: of each model what the metadata of its attacks say.
    {} without attacks.

    paths: tables of attacks. strengths: of the study's conditions.
    settings: defence_margin (points), and alpha as of `Sampling`, 0.05 when left out. Raises LossyBenchError, naming
    the file, for what `Attacked.read` refuses, for other items than on the bare model, and for a level that the study
    does not have.
    """
    kind = kinds.load(task.kind)
    # A unit that is not found at all is one more way to be wrong.
    chance = 1 / (kind.read_as or max(len(task.classes) + kind.may_miss, 1))
    tables = []
    thresholds: dict[tuple[str, str, int], dict[str, Any]] = {}
    for path in paths:
        meta = read_meta(path)
        if "threshold" in meta:
            which = {name: meta[name] for name in ("arch", "regime", "seed", "threshold")}
            thresholds[meta["arch"], meta["regime"], meta["seed"]] = which | meta["threshold_from"]
        tables.append((meta["arch"], meta["regime"], int(meta["seed"]), meta["codec"] != ORIGINAL, meta["codec"], path))
    bare: dict[tuple[str, str, int], dict[Key, pd.DataFrame]] = {}
    bare_doubts: dict[tuple[str, str, int], dict[Key, Doubts]] = {}
    rows, checks = [], []
    attacked: dict[str, Any] = {}
    for *model, _, codec, path in sorted(tables):  # the bare model first, because the others are compared with it
        of = Attacked.read(path, task, settings)
        attacked = {"items": int(of.units.item.max()) + 1}
        attacked |= {"groups": of.units.sampling.groups, "few": of.units.sampling.few}
        attacked["thresholds"] = [thresholds[model] for model in sorted(thresholds)]
        levels = {key.level for key in of.groups}
        for level in levels:
            if Condition(codec, level) not in strengths:
                raise LossyBenchError(f"{path}: {Condition(codec, level)} is no condition of the study; attack again")
        for level in sorted(levels, key=lambda level: strengths[Condition(codec, level)]):
            where = dict(zip(("arch", "regime", "seed", "codec", "level"), (*model, codec, level), strict=True))
            here, checked = of.at(level), gates(of, codec, level, chance)
            checks += [
                where | {"gate": gate.name, "status": gate.status, "figure": gate.figure, "note": gate.note}
                for gate in checked
            ]
            doubts = {key: _doubts(key, checked) for key in here}
            found = {key: (one, of.pictures[key] if of.pictures else None) for key, one in here.items()}
            spent: dict[Key, np.ndarray] = {key: calls[calls > 0] for key in here for calls in [of.calls([key])]}
            for key, over in worst_keys(here, codec).items():
                found[key], doubts[key] = of.worst(over), _worst_doubts(key, over, codec, checked)
                spent[key] = of.calls(over)
            for key, (group, pictures) in found.items():
                same = key._replace(level=0.0)
                if key.tier != SCORES:  # which has its own on the bare model
                    same = same._replace(tier=ALL if key.attack == WORST else OBLIVIOUS)
                undefended = bare.get(tuple(model), {}).get(same)
                if undefended is not None and not undefended.index.equals(group.index):
                    raise LossyBenchError(
                        f"{path}: {key} at level {level_text(level)} attacks other items than on the bare model; attack"
                        " both again with the same settings"
                    )
                why, unchecked = doubts[key]
                if key.tier == OBLIVIOUS:  # these items were made on the bare model
                    doubted = bare_doubts.get(tuple(model), {}).get(key._replace(level=0.0), ([], []))
                    why, unchecked = (
                        [*own, *(f"on the bare model {each}" for each in theirs)]
                        for own, theirs in zip(doubts[key], doubted, strict=True)
                    )
                rows.append(
                    where
                    | {"strength": strengths[Condition(codec, level)]}
                    | {name: getattr(key, name) for name in ("attack", "norm", "epsilon", "goal", "tier")}
                    | {"main": (key.norm, key.epsilon) == (of.main.norm, of.main.epsilon)}
                    | summarise(group, undefended, key.goal, of.units)
                    | {
                        f"metric_{when}": None if pictures is None else kind.under_attack(pictures, when)
                        for when in CONDITIONS
                    }
                    | {"calls": float(spent[key].mean()) if spent[key].size else None}
                    | {"unreliable": bool(why), "reason": "; ".join(why), "unchecked": "; ".join(unchecked)}
                )
            if codec == ORIGINAL:
                bare[tuple(model)] = {key: group for key, (group, _) in found.items()}
                # Behind a codec the oblivious worst case holds the items of T0 alone, and none that a search found.
                for key, over in worst_keys(here, codec).items():
                    blind = key._replace(tier=OBLIVIOUS)
                    ignorant = [one for one in over if one.tier == OBLIVIOUS]
                    doubts[blind] = _worst_doubts(blind, ignorant, codec, checked)
                bare_doubts[tuple(model)] = doubts
    return rows, checks, attacked
