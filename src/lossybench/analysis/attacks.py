"""What attacks achieve before and after a codec, and the gates that say whether to believe it.

Definitions (design, sections 2 and 7). Robust accuracy: share of all attacked items still right, those wrong when
clean included. TASR: share of the items whose label is not the target that are predicted as the target. Gain: robust
accuracy after the codec minus that of the bare model under the same oblivious attack, on the same items. An item is
`beaten` when an untargeted attack makes it wrong, or a targeted one makes it the target.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lossybench.analysis.intervals import discordant, tango, wilson
from lossybench.artifacts import ATTACKS, read_meta, read_table
from lossybench.errors import LossyBenchError

BARE = "original"  # the codec in whose table the attacks on the bare model are
OBLIVIOUS = "T0"
WHITE_BOX_ADAPTIVE = ("T2", "T3")
BLACK_BOX = ("T1", "T4")
SINGLE_STEP = ("fgsm",)
EPSILON_TOLERANCE = 1e-6  # float32
RISE_TOLERANCE = 0.01  # of robust accuracy: iterative attacks start at random and vary that much

# Gates of the design that need runs which the attack stage does not make.
NOT_RUN = {
    "random noise is weaker": "no attack by random noise was run",
    "converged": "no attack with doubled iterations was run",
    "gradients are not zero": "the share of zero gradients was not recorded",
}


class Key(NamedTuple):
    """One attack at one condition."""

    attack: str
    norm: str
    epsilon: float
    goal: str
    tier: str
    level: float

    def __str__(self) -> str:
        return f"{self.tier} {self.attack} {self.norm} {self.epsilon:.4g} {self.goal}"


Groups = dict[Key, pd.DataFrame]


@dataclasses.dataclass(frozen=True)
class Gate:
    """One gate at one level. failed: the attacks whose rows it makes unreliable. figure: None if not applicable."""

    name: str
    status: str
    figure: float | None
    note: str
    failed: tuple[Key, ...] = ()


def groups(rows: pd.DataFrame, name: str) -> Groups:
    """Split a table of artifacts.ATTACKS by attack and condition, indexed by item id; `name` is for errors.

    Raises LossyBenchError for missing predictions, repeated items and attacks on differing items.
    """
    needed = ["label", "target", "clean", "clean_after", "before", "after"]
    for column in needed:
        if rows[column].isna().any():
            item = rows.loc[rows[column].isna(), "id"].iloc[0]
            raise LossyBenchError(f"{name}: item {item} has no {column}; delete the file and attack again")
    by_key: Any = rows.groupby(list(Key._fields), sort=True)
    result = {Key(*key): one.set_index("id").sort_index() for key, one in by_key}
    first = next(iter(result.values())).index if result else pd.Index([])
    for key, one in result.items():
        if not one.index.is_unique:
            raise LossyBenchError(
                f"{name}: {key} at level {key.level:g} holds an item twice; delete it and attack again"
            )
        if not one.index.equals(first):
            raise LossyBenchError(
                f"{name}: {key} at level {key.level:g} attacks other items than the first attack of the file; all must "
                "attack the same; delete it and attack again"
            )
    return result


def summarise(group: pd.DataFrame, bare: pd.DataFrame | None) -> dict[str, Any]:
    """The measured columns of one row of the `attacks` table. bare: the same attack on the bare model, if it was run.

    Raises LossyBenchError when `bare` is of other items.
    """
    n = len(group)
    right = {name: (group[name] == group["label"]).to_numpy() for name in ("clean", "clean_after", "before", "after")}
    share = {name: float(each.mean()) for name, each in right.items()}
    row: dict[str, Any] = {"n": n, "clean": share["clean"], "clean_after": share["clean_after"]}
    aimed = ((group["target"] >= 0) & (group["target"] != group["label"])).to_numpy()
    for when in ("before", "after"):
        low, high = wilson(right[when].sum(), n)
        row |= {f"robust_{when}": share[when], f"robust_{when}_low": low, f"robust_{when}_high": high}
        row |= dict.fromkeys((f"tasr_{when}", f"tasr_{when}_low", f"tasr_{when}_high"))
        if aimed.any():
            hits = int((group[when] == group["target"])[aimed].sum())
            low, high = wilson(hits, int(aimed.sum()))
            row |= {f"tasr_{when}": hits / aimed.sum(), f"tasr_{when}_low": low, f"tasr_{when}_high": high}
    row |= {"gain": None, "gain_low": None, "gain_high": None}
    if bare is not None:
        if not bare.index.equals(group.index):
            raise LossyBenchError(
                "attacks other items than on the bare model; attack both again with the same settings"
            )
        undefended = (bare["before"] == bare["label"]).to_numpy()
        lost, won = discordant(undefended[None], right["after"][None])
        low, high = tango(lost, won, n)
        row |= {"gain": (won - lost) / n, "gain_low": low, "gain_high": high}
    row["cost"] = share["clean"] - share["clean_after"]
    opened = right["before"] & ~right["after"]
    broken = right["clean"] & ~right["clean_after"]
    row["opened"] = float(opened.mean() - broken.mean())
    return row


def gates(of: Groups, codec: str, level: float, classes: int) -> list[Gate]:
    """All gates of one model behind one codec at one level, computed from `groups` of that file."""
    here = {key: one for key, one in of.items() if key.level == level}
    return [
        _adaptive(here, codec),
        _reaches_chance(here, codec, 1 / classes),
        _no_rise(here),
        _within_epsilon(here),
        _iterative(here, codec),
        _black_box(here, codec),
        *(Gate(name, "not applicable", None, note) for name, note in NOT_RUN.items()),
    ]


def unreliable(of: list[Gate]) -> dict[Key, str]:
    """The attacks whose figures the failed gates put in doubt, and why."""
    reasons: dict[Key, list[str]] = {}
    for gate in of:
        for key in dict.fromkeys(gate.failed):
            reasons.setdefault(key, []).append(f"failed: {gate.name}")
    return {key: "; ".join(each) for key, each in reasons.items()}


def beaten(group: pd.DataFrame, goal: str) -> np.ndarray:
    """bool (n,): did the attack reach its goal behind the codec?"""
    if goal == "targeted":
        return ((group["after"] == group["target"]) & (group["target"] != group["label"])).to_numpy()
    return (group["after"] != group["label"]).to_numpy()


def _compare(name: str, pairs: list[tuple[Key, Key]], here: Groups, absent: str) -> Gate:
    """Pass when the first attack of each pair beats no fewer items than the second; figure: only the second beat.

    Items that stand in from a weaker attack do not count for the first: the worst of both can't lose to either.
    """
    if not pairs:
        return Gate(name, "not applicable", None, absent)
    failed, notes, worst = [], [], 0
    for strong, weak in pairs:
        a, b = beaten(here[strong], strong.goal), beaten(here[weak], weak.goal)
        if strong.tier != weak.tier:
            a = a & here[strong]["own"].to_numpy(bool)
        only = int((b & ~a).sum())
        worst = max(worst, only)
        if a.sum() < b.sum():
            failed += [strong, weak] if weak.tier == strong.tier else [strong]
            notes.append(f"{strong} alone beats {a.sum()} of {len(a)} items, {weak} beats {b.sum()}")
    note = (
        "; ".join(notes)
        or f"figure: most items of one attack that only the weaker one beat, of {len(here[pairs[0][0]])}"
    )
    return Gate(name, "fail" if failed else "pass", float(worst), note, tuple(failed))


def _adaptive(here: Groups, codec: str) -> Gate:
    """Whoever knows the codec can do whatever one can who does not: fewer items beaten means a poor attack."""
    pairs = [
        (key, key._replace(tier=OBLIVIOUS))
        for key in here
        if key.tier in WHITE_BOX_ADAPTIVE and key._replace(tier=OBLIVIOUS) in here
    ]
    absent = "no codec, so nothing to adapt to" if codec == BARE else "no adaptive attack was run"
    return _compare("adaptive beats oblivious", pairs, here, absent)


def _iterative(here: Groups, codec: str) -> Gate:
    """More steps along the gradient must not be worse than one. (Oblivious items behind a codec may well be.)"""
    pairs = [
        (key, other)
        for key in _white_box(here, codec)
        for other in here
        if other.attack in SINGLE_STEP and other[1:] == key[1:]
    ]
    return _compare("iterative beats single-step", pairs, here, "not both kinds of attack were run")


def _black_box(here: Groups, codec: str) -> Gate:
    """An attack without gradients that does better shows that gradients are masked."""
    pairs = [
        (key, other)
        for key in _white_box(here, codec)
        for other in here
        if other.tier in BLACK_BOX and other[1:4] == key[1:4]
    ]
    return _compare("white-box beats black-box", pairs, here, "no black-box attack was run")


def _white_box(here: Groups, codec: str) -> Iterator[Key]:
    """Iterative attacks that see the gradient of all that they attack."""
    tiers = (OBLIVIOUS,) if codec == BARE else WHITE_BOX_ADAPTIVE
    return (key for key in here if key.tier in tiers and key.attack not in SINGLE_STEP)


def _reaches_chance(here: Groups, codec: str, chance: float) -> Gate:
    """A white-box attack that may change enough leaves no more right than guessing, else its gradients mislead."""
    name = "white-box reaches chance"
    keys = [key for key in _white_box(here, codec) if key.goal == "untargeted"]
    if not keys:
        return Gate(name, "not applicable", None, "no untargeted iterative white-box attack was run")
    failed: list[Key] = []
    worst = 0.0
    largest: dict[Key, float] = {}
    for key in keys:
        largest[key._replace(epsilon=0)] = max(key.epsilon, largest.get(key._replace(epsilon=0), 0))
    for key in keys:
        if key.epsilon == largest[key._replace(epsilon=0)]:
            right = ~beaten(here[key], key.goal)
            worst = max(worst, float(right.mean()))
            if wilson(right.sum(), len(right))[0] > chance:
                failed += [other for other in keys if other._replace(epsilon=0) == key._replace(epsilon=0)]
    note = f"figure: robust accuracy at the largest epsilon; chance is {chance:.3g}, within its 95 % interval"
    return Gate(name, "fail" if failed else "pass", worst, note, tuple(failed))


def _no_rise(here: Groups) -> Gate:
    """A larger budget contains the smaller one."""
    name = "no rise with epsilon"
    curves: dict[Key, list[Key]] = {}
    for key in sorted(here):
        curves.setdefault(key._replace(epsilon=0), []).append(key)
    steps = [pair for curve in curves.values() for pair in pairwise(curve)]
    if not steps:
        return Gate(name, "not applicable", None, "each attack was run with one epsilon only")
    rises = {
        (small, large): float(beaten(here[small], small.goal).mean() - beaten(here[large], large.goal).mean())
        for small, large in steps
    }
    failed = [large for (_, large), rise in rises.items() if rise > RISE_TOLERANCE]
    note = f"figure: largest rise of the share not beaten from one epsilon to the next; {RISE_TOLERANCE:g} is let pass"
    return Gate(name, "fail" if failed else "pass", max(rises.values()), note, tuple(failed))


def _within_epsilon(here: Groups) -> Gate:
    """The bound must hold for the 8-bit or 16-bit item that is really shown."""
    name = "norm within epsilon"
    ratios = {
        key: float(one[key.norm].max() / key.epsilon)
        for key, one in here.items()
        if key.norm in ("linf", "l2") and one[key.norm].notna().all()
    }
    if not ratios:
        return Gate(name, "not applicable", None, "no norm-bounded attack was run")
    failed = [key for key, ratio in ratios.items() if (ratio - 1) * key.epsilon > EPSILON_TOLERANCE]
    note = "figure: largest norm of a quantised perturbation, in epsilons"
    return Gate(name, "fail" if failed else "pass", max(ratios.values()), note, tuple(failed))


def attack_rows(
    paths: list[Path], strengths: dict[tuple[str, float], int], classes: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of the tables `attacks` and `gates` from artifacts.ATTACKS files.

    strengths: of the study's conditions, by codec and level. Raises LossyBenchError, naming the file, for what
    `groups` and `summarise` refuse and for a level that the study does not have.
    """
    bare: dict[tuple[str, str, int], Groups] = {}
    doubted: dict[tuple[str, str, int], dict[Key, str]] = {}
    rows, checks = [], []
    metas = {path: read_meta(path) for path in paths}

    def order(path: Path) -> tuple[Any, ...]:
        meta = metas[path]
        # The bare model first: the others are compared with it.
        return meta["arch"], meta["regime"], int(meta["seed"]), meta["codec"] != BARE, meta["codec"]

    for path in sorted(paths, key=order):
        codec = metas[path]["codec"]
        model = (metas[path]["arch"], metas[path]["regime"], int(metas[path]["seed"]))
        table = read_table(path, [name for name in ATTACKS.names if name != "adversarial"])
        of = groups(table.to_pandas(), str(path))
        for level in {key.level for key in of}:
            if (codec, level) not in strengths:
                raise LossyBenchError(f"{path}: {codec} at level {level:g} is no condition of the study; attack again")
        if codec == BARE:
            bare[model] = of
        for level in sorted({key.level for key in of}, key=lambda level: strengths[codec, level]):
            where = dict(zip(("arch", "regime", "seed", "codec", "level"), (*model, codec, level), strict=True))
            checked = gates(of, codec, level, classes)
            reasons = unreliable(checked)
            if codec == BARE:
                doubted[model] = reasons
            checks += [
                where | {"gate": gate.name, "status": gate.status, "figure": gate.figure, "note": gate.note}
                for gate in checked
            ]
            for key in (key for key in of if key.level == level):
                undefended = key._replace(tier=OBLIVIOUS, level=0.0)
                try:
                    content = summarise(of[key], None if codec == BARE else bare.get(model, {}).get(undefended))
                except LossyBenchError as error:
                    raise LossyBenchError(f"{path}: {key} at level {level:g} {error}") from None
                why = [reasons[key]] if key in reasons else []
                if codec != BARE and key.tier == OBLIVIOUS and undefended in doubted.get(model, {}):
                    why.append(f"on the bare model {doubted[model][undefended]}")
                rows.append(
                    where
                    | {"strength": strengths[codec, level]}
                    | {name: getattr(key, name) for name in ("attack", "norm", "epsilon", "goal", "tier")}
                    | content
                    | {"unreliable": bool(why), "reason": "; ".join(why)}
                )
    return rows, checks
