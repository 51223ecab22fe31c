"""What attacks achieve before and after a codec, and the gates that say whether to believe it.

docs/attacks.md defines the terms. Robust accuracy is the share of all attacked items that are still right, and items
that were wrong when clean count as wrong. TASR is the share of the items whose label is not the target that are
predicted as the target. An attack beats an item when an untargeted one makes it wrong, a targeted one makes it the
target, or one that wants a trigger has it right without the codec and wrong behind it.

What is reported is the worst case per item over everything that was tried with one budget (Carlini et al. 2019, arXiv
1902.06705): the mean over items of the minimum over attacks, in the rows of the attack `worst`. Gain is robust accuracy
behind the codec minus that of the bare model, on the same items.

In detection the unit is the true object (`attacked_objects`), and the intervals resample items with all their objects.

Several functions share these arguments. here: the attacks on one model at one level. codec: the codec in front of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lossybench.analysis import attacked_objects
from lossybench.analysis.intervals import of_samples, paired, share
from lossybench.analysis.sampling import Sampling
from lossybench.artifacts import ATTACKS, DETECTION_ATTACKS, read_meta, read_table
from lossybench.conditions import ORIGINAL, Condition, level_text
from lossybench.errors import LossyBenchError

OBLIVIOUS = "T0"
TRANSFER = "T1"
ADAPTIVE = ("T2", "T3-EoT", "T3")  # these follow gradients through the codec; T3-EoT does not know the level
WHITE_BOX_ADAPTIVE = ("T2", "T3")  # these know the level; the weaker comes first
SCORES = "T4"  # where another tier's item had won already, a row of T4 holds the worst of those items
WORST, ALL = "worst", "all"  # the attack and the tier of the rows over everything that was tried
NOISE, SINGLE_STEP, DOUBLED = "noise", "fgsm", "_doubled"  # the last ends the name of an attack

WITHIN_BUDGET = "norm within budget"  # the gate that marks items that went beyond their attack's budget
NORM_TOLERANCE = 1e-6  # of a norm, float32
SNR_TOLERANCE = 1e-3  # dB, float32
# Attacks start at random, so a gate must let a few items pass: one item, or these shares of all if that is more.
RISE_ALLOWED = 0.01  # from one budget to the next larger one
BLACK_BOX_ALLOWED = 0.02  # of items that only an attack without gradients beats; AutoAttack flags 0.2 % of 10,000
DOUBLING_ALLOWED = 0.01  # of items that twice the iterations beat more


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


@dataclasses.dataclass(frozen=True)
class Gate:
    """One gate at one level. failed: the attacks whose rows it makes unreliable. figure: None if not applicable."""

    name: str
    figure: float | None
    note: str
    failed: Sequence[Key] = ()

    @property
    def status(self) -> str:
        """As in the table `gates`."""
        return "not applicable" if self.figure is None else "fail" if self.failed else "pass"


@dataclasses.dataclass(frozen=True)
class Units:
    """The units that each attack of a table attacked, and how sure a share of them is.

    item: int (n,), the item of each unit. sampling: of the items, with all their units. objects: whether units are the
    true objects of items; otherwise they are items.
    """

    item: np.ndarray
    sampling: Sampling
    objects: bool = False

    def share(self, hits: np.ndarray, among: np.ndarray) -> tuple[float, float, float]:
        """The share of `hits` in the units `among`, bool (n,) each, and its 95 % interval."""
        if not self.objects:
            chosen = np.flatnonzero(among)
            found = share(hits[None, chosen], self.sampling.of(chosen))
        else:
            value = float((hits & among).sum() / among.sum())
            found = of_samples(np.array([value]), self._samples(hits & among, among), self.sampling, limits=(0, 1))
        return found.value, found.interval.low, found.interval.high

    def difference(self, before: np.ndarray, after: np.ndarray) -> tuple[float, float, float]:
        """The paired difference of two shares, after - before, of bool (n,) each, and its 95 % interval."""
        if not self.objects:
            found = paired(before[None], after[None], self.sampling)
        else:
            value = float(after.mean() - before.mean())
            samples = self._samples(after.astype(float) - before, np.ones(len(before)))
            found = of_samples(np.array([value]), samples, self.sampling, guard=True, limits=(-1, 1))
        return found.value, found.interval.low, found.interval.high

    def _samples(self, values: np.ndarray, among: np.ndarray) -> np.ndarray:
        """Resampled means (1, units, resamples) of values (n,) over the units `among`; NaN where there are none."""
        n = self.sampling.n
        of_items = [np.bincount(self.item, each, minlength=n) for each in (values, among)]
        with np.errstate(invalid="ignore"):
            ratios = [unit.total(of_items[0]) / unit.total(of_items[1]) for unit in self.sampling.units]
        return np.stack(ratios)[None]


@dataclasses.dataclass(frozen=True)
class Attacked:
    """One table of attacks.

    groups: by attack and condition, indexed by unit. main: the study's main attack at its own budget, untargeted.
    pictures: in detection the table's own rows, indexed by item; None in classification.
    """

    groups: Groups
    units: Units
    main: Key
    pictures: Groups | None = None

    @classmethod
    def read(cls, path: Path, kind: str, settings: dict[str, Any]) -> Attacked:
        """Read the table `path` of artifacts.ATTACKS or, if `kind` is detection, DETECTION_ATTACKS.

        settings: bootstrap (number of resamples), seed. The main attack is that of the first row, because tables hold
        the attacks in the study's order. Raises LossyBenchError for what `_groups` refuses.
        """
        names = (ATTACKS if kind == "classification" else DETECTION_ATTACKS).names
        table = read_table(path, [name for name in names if name != "adversarial"]).to_pandas()
        groups = _groups(table if kind == "classification" else attacked_objects.objects(table), path)
        how = (settings["bootstrap"], settings["seed"])
        main = Key(*table.iloc[0][list(Key._fields)])._replace(goal="untargeted")
        if kind == "classification":
            n = len(_first(groups))
            return cls(groups, Units(np.arange(n), Sampling.draw(n, {}, *how)), main)
        item = pd.factorize(_items(_first(groups)))[0]
        return cls(groups, Units(item, Sampling.draw(item.max() + 1, {}, *how), True), main, _by_key(table))

    def at(self, level: float) -> Groups:
        """The attacks at one level."""
        return {key: one for key, one in self.groups.items() if key.level == level}

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
    """The item of each true object: `attacked_objects.objects` names them "item#k"."""
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
    for column in ("label", "target", *attacked_objects.CONDITIONS):
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
    right = {name: (group[name] == group["label"]).to_numpy() for name in attacked_objects.CONDITIONS}
    clean, clean_after = float(right["clean"].mean()), float(right["clean_after"].mean())
    row: dict[str, Any] = {"n": n, "clean": clean, "clean_after": clean_after, "cost": clean - clean_after}
    every, aimed = np.ones(n, bool), ((group["target"] >= 0) & (group["target"] != group["label"])).to_numpy()
    for when in ("before", "after"):
        row |= _with_interval(f"robust_{when}", units.share(right[when], every))
        hits = (group[when] == group["target"]).to_numpy()
        row |= _with_interval(f"tasr_{when}", units.share(hits, aimed) if aimed.any() else None)
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
    sides. The factors keep this order when the objects of a picture are added up.
    """
    wrong = {when: (group[when] != group["label"]).to_numpy() for when in ("before", "after")}
    return beaten(group, goal) + 1e-4 * wrong["after"] + 1e-8 * wrong["before"]


def _alone(key: Key, here: Groups) -> np.ndarray:
    """Which units, bool (n,), the attack beats with its own items, without those that stand in from a weaker tier."""
    own = True if key.tier in (OBLIVIOUS, TRANSFER) else here[key]["own"].to_numpy(bool)
    return beaten(here[key], key.goal) & own


def _few(n: int, allowed: float) -> float:
    """How many of n items a gate lets pass."""
    return max(1.0, allowed * n)


# Gates.


def gates(of: Attacked, codec: str, level: float, chance: float) -> list[Gate]:
    """All gates of one model behind one codec at one level. chance: the share of items that guessing has right."""
    here = of.at(level)
    return [
        _adaptive(here, codec),
        _reaches_chance(here, codec, of, chance),
        _no_rise(here),
        _within_budget(here),
        _iterative(here, codec),
        _black_box(here, codec),
        _noise(here, codec, of.main),
        _converged(here, codec),
        _gradients(here, codec),
    ]


def _by_gradients(here: Groups, codec: str) -> list[Key]:
    """The attacks that follow a gradient through all that they attack, T3-EoT without knowing the codec's level."""
    tiers = (OBLIVIOUS,) if codec == ORIGINAL else ADAPTIVE
    return [key for key in here if key.tier in tiers and key.attack != NOISE]


def _white_box(here: Groups, codec: str) -> list[Key]:
    """The iterative attacks that know the codec and its level."""
    return [k for k in _by_gradients(here, codec) if k.tier != "T3-EoT" and k.attack != SINGLE_STEP]


def strongest_tier(keys: list[Key], codec: str) -> str | None:
    """The tier of the best-informed attacks by gradients among `keys`; None if there are no such attacks."""
    tiers = {key.tier for key in keys if key.attack != NOISE}
    known = (OBLIVIOUS,) if codec == ORIGINAL else WHITE_BOX_ADAPTIVE
    return next((tier for tier in reversed(known) if tier in tiers), None)


def _compare(name: str, pairs: list[tuple[Key, Key]], here: Groups, absent: str) -> Gate:
    """A gate that passes when the first attack of each pair beats no fewer items than the second, each with its own.

    It marks a first attack that beats fewer. Its figure is the largest number of items that only the second attack of a
    pair beats. Pairs of which one attack was not run are left out. absent: the note when no pair is left.
    """
    pairs = [pair for pair in pairs if pair[0] in here and pair[1] in here]
    if not pairs:
        return Gate(name, None, absent)
    failed, notes, worst = [], [], 0
    for strong, weak in pairs:
        a, b = _alone(strong, here), _alone(weak, here)
        worst = max(worst, int((b & ~a).sum()))
        if a.sum() < b.sum():
            failed.append(strong)
            notes.append(f"{strong} alone beats {a.sum()} of {len(a)} items, {weak} beats {b.sum()}")
    note = "; ".join(notes) or f"figure: most items of one attack that only the weaker one beat, of {len(_first(here))}"
    return Gate(name, float(worst), note, failed)


def _adaptive(here: Groups, codec: str) -> Gate:
    """Who knows the codec can do all that one can who does not, so an attack that then beats fewer items is poor."""
    pairs = [(key, key._replace(tier=OBLIVIOUS)) for key in here if key.tier in ADAPTIVE]
    absent = "no codec, so nothing to adapt to" if codec == ORIGINAL else "no adaptive attack was run"
    return _compare("adaptive beats oblivious", pairs, here, absent)


def _iterative(here: Groups, codec: str) -> Gate:
    """Many steps along the gradient must not be worse than one. Behind a codec only attacks through it are compared."""
    pairs = [(key, key._replace(attack=SINGLE_STEP)) for key in _white_box(here, codec)]
    return _compare("iterative beats single-step", pairs, here, "not both kinds of attack were run")


def _noise(here: Groups, codec: str, main: Key) -> Gate:
    """Random noise must not beat more items than the main attack in the best-informed tier."""
    tier = strongest_tier(list(here), codec)
    strong = [key for key in here if (key.attack, key.tier) == (main.attack, tier)]
    pairs = [(key, other) for key in strong for other in here if other.attack == NOISE and other.aim == key.aim]
    return _compare("random noise is weaker", pairs, here, "no white-box attack and noise of one budget were run")


def _black_box(here: Groups, codec: str) -> Gate:
    """An attack that does better without gradients shows that the gradients are masked.

    Transfer must not beat more items. An attack on the scores gets only the items that all others left right; when it
    wins more than a few of them, all attacks that follow gradients at its budget are marked.
    """
    name, n = "white-box beats black-box", len(_first(here))
    white = _white_box(here, codec)
    transfer = [(key, key._replace(tier=TRANSFER)) for key in white]
    on_scores = [key for key in here if key.tier == SCORES and any(key.aim == other.aim for other in white)]
    compared = _compare(name, transfer, here, "no black-box attack and white-box one of one budget were run")
    if compared.figure is None and not on_scores:
        return compared
    failed = list(compared.failed)
    notes = [compared.note] if failed else []
    worst = compared.figure or 0.0
    for key in on_scores:
        count = int(_alone(key, here).sum())
        worst = max(worst, float(count))
        if count > _few(n, BLACK_BOX_ALLOWED):
            failed += [other for other in white if other.aim == key.aim]
            notes.append(f"{key} beats {count} of {n} items that no other attack of its budget beats")
    note = "; ".join(notes) or f"figure: most items that only a black-box attack beat, of {n}"
    return Gate(name, worst, note, failed)


def _reaches_chance(here: Groups, codec: str, of: Attacked, chance: float) -> Gate:
    """A white-box attack that may change enough leaves no more items right than guessing, else its gradients mislead.

    Gradients that mislead do so at every budget and for every goal, so all attacks that follow them are marked.
    """
    name = "white-box reaches chance"
    curve = [k for k in here if k.attack == of.main.attack and k.goal == "untargeted"]
    tier = strongest_tier(curve, codec)
    curve = sorted((key for key in curve if key.tier == tier), key=lambda key: key.size)
    if not curve:
        return Gate(name, None, "no untargeted white-box attack was run")
    failed: list[Key] = []
    notes, worst = [], 0.0
    for key in {key.norm: key for key in curve}.values():  # the largest of each norm
        right = ~beaten(here[key], key.goal)
        share, low, _ = of.units.share(right, np.ones(len(right), bool))
        worst = max(worst, share)
        notes.append(f"{key.norm} {key.epsilon:.4g}")
        if low > chance:
            failed += [other for other in _by_gradients(here, codec) if other.norm == key.norm]
    note = (
        f"figure: robust accuracy at the largest budget of {of.main.attack} ({', '.join(notes)}); chance is "
        f"{chance:.3g}, which its 95 % interval must reach"
    )
    return Gate(name, worst, note, failed)


def _no_rise(here: Groups) -> Gate:
    """A larger budget contains the smaller one, so an attack that beats fewer items with it searched badly."""
    name = "no rise with budget"
    curves: dict[Key, list[Key]] = {}
    for key in sorted(here, key=lambda key: key.size):
        curves.setdefault(key._replace(epsilon=0), []).append(key)
    count = {key: int(beaten(one, key.goal).sum()) for key, one in here.items()}
    rises = {large: count[small] - count[large] for curve in curves.values() for small, large in pairwise(curve)}
    if not rises:
        return Gate(name, None, "each attack was run with one budget only")
    n = len(_first(here))
    failed = [large for large, rise in rises.items() if rise > _few(n, RISE_ALLOWED)]
    note = (
        "figure: largest rise of the share not beaten from one budget to the next larger one; "
        f"{_few(n, RISE_ALLOWED):g} of {n} items are let pass"
    )
    return Gate(name, max(rises.values()) / n, note, failed)


def _within_budget(here: Groups) -> Gate:
    """The bound must hold for the 8-bit or 16-bit item that the model is really shown."""
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


def _converged(here: Groups, codec: str) -> Gate:
    """Twice the iterations must beat hardly more items; otherwise the usual number is too small for every goal."""
    name = "converged"
    count = {key: int(_alone(key, here).sum()) for key in _white_box(here, codec)}
    doubled = {key: key._replace(attack=key.attack + DOUBLED) for key in count}
    more = {key: count[twice] - count[key] for key, twice in doubled.items() if twice in count}
    if not more:
        return Gate(name, None, "no attack was run with doubled iterations too")
    n = len(_first(here))
    short = {key._replace(goal="") for key, extra in more.items() if extra > _few(n, DOUBLING_ALLOWED)}
    failed = [key for key in here if key._replace(goal="") in short]
    note = (
        "figure: share of items that twice the iterations beat more; "
        f"{_few(n, DOUBLING_ALLOWED):g} of {n} items are let pass"
    )
    return Gate(name, max(more.values()) / n, note, failed)


def _gradients(here: Groups, codec: str) -> Gate:
    """Where the gradient is all zeros an attack has no direction, so all attacks that follow it are marked."""
    name = "gradients are not zero"
    seen = {key: one["zero_gradient"].dropna() for key, one in here.items()}
    shares = {key: float((each == 1).mean()) for key, each in seen.items() if len(each)}
    if not shares:
        return Gate(name, None, "no gradient was looked at")
    blind = {key.tier for key, share in shares.items() if share > 0}
    failed = [key for key in _by_gradients(here, codec) if key.tier in blind]
    note = "figure: share of items whose gradient is all zeros, of the attack with most"
    return Gate(name, max(shares.values()), note, failed)


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


def _worst_doubts(worst: Key, over: list[Key], codec: str, reasons: dict[Key, list[str]]) -> list[str]:
    """Why the worst case may be worse still: the gates that the best-informed of the attacks `over` failed.

    A weaker tier's failure changes nothing, unless its items went beyond the budget, because the worst case holds them.
    reasons: the failed gates of each attack.
    """
    tier = OBLIVIOUS if worst.tier == OBLIVIOUS else strongest_tier(over, codec)
    if tier is None:
        return ["no white-box attack was run with this budget"]
    names = [name for key in over for name in reasons[key] if key.tier == tier or name == WITHIN_BUDGET]
    return [f"failed: {name}" for name in dict.fromkeys(names)]


def attack_rows(
    paths: Sequence[Path], strengths: dict[Condition, int], classes: int, kind: str, settings: dict[str, Any]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of the tables `attacks` and `gates`.

    paths: tables of artifacts.ATTACKS, or of DETECTION_ATTACKS if `kind` is detection. strengths: of the study's
    conditions. classes: how many the task has. settings: bootstrap (number of resamples), seed. Raises LossyBenchError,
    naming the file, for what `_groups` refuses, for other items than on the bare model, and for a level that the study
    does not have.
    """
    # In detection an object that is not found at all is one more way to be wrong.
    chance = 1 / (classes + (kind == "detection"))
    tables = []
    for path in paths:
        meta = read_meta(path)
        tables.append((meta["arch"], meta["regime"], int(meta["seed"]), meta["codec"] != ORIGINAL, meta["codec"], path))
    bare: dict[tuple[str, str, int], dict[Key, tuple[pd.DataFrame, list[str]]]] = {}  # with its doubts
    rows, checks = [], []
    for *model, _, codec, path in sorted(tables):  # the bare model first, because the others are compared with it
        of = Attacked.read(path, kind, settings)
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
            reasons = {key: [gate.name for gate in checked if key in gate.failed] for key in here}
            doubts = {key: [f"failed: {name}" for name in names] for key, names in reasons.items()}
            found = {key: (one, of.pictures[key] if of.pictures else None) for key, one in here.items()}
            for key, over in worst_keys(here, codec).items():
                found[key], doubts[key] = of.worst(over), _worst_doubts(key, over, codec, reasons)
            for key, (group, pictures) in found.items():
                same = key._replace(level=0.0)
                if key.tier != SCORES:  # which has its own on the bare model
                    same = same._replace(tier=ALL if key.attack == WORST else OBLIVIOUS)
                undefended, doubted = bare.get(tuple(model), {}).get(same, (None, []))
                if undefended is not None and not undefended.index.equals(group.index):
                    raise LossyBenchError(
                        f"{path}: {key} at level {level_text(level)} attacks other items than on the bare model; attack"
                        " both again with the same settings"
                    )
                why = list(doubts[key])
                if key.tier == OBLIVIOUS:  # these items were made on the bare model
                    why += [f"on the bare model {each}" for each in doubted]
                rows.append(
                    where
                    | {"strength": strengths[Condition(codec, level)]}
                    | {name: getattr(key, name) for name in ("attack", "norm", "epsilon", "goal", "tier")}
                    | {"main": (key.norm, key.epsilon) == (of.main.norm, of.main.epsilon)}
                    | summarise(group, undefended, key.goal, of.units)
                    | attacked_objects.robust_map(pictures)
                    | {"unreliable": bool(why), "reason": "; ".join(why)}
                )
            if codec == ORIGINAL:
                bare[tuple(model)] = {key: (group, doubts[key]) for key, (group, _) in found.items()}
    return rows, checks
