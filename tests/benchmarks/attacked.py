"""How often is what is said of attacks wrong? Coverage of intervals, verdicts on defences and checks, by simulation.

Run `python tests/benchmarks/attacked.py` (about ten minutes), or with `--quick` (about one minute, a tenth of the
studies). It prints Markdown tables of percentages of studies. *Before* is the rule that took what is not shown for what
is not there: a gain whose interval held 0 and ended below that against the oblivious attacker had vanished, and a check
that did not fail was passed.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pandas as pd

from lossybench.analysis.robustness import Attacked, Bounds, Key, Units, gates
from lossybench.reporting.attack_page import defence

MARGIN, CHANCE = 0.1, 0.1  # CHANCE: of the checks
SIZES = (12, 24, 40, 100, 400)
KEPT = (0.05, 0.3)  # of the bare model, right under attack
QUERIES = 200
MAIN = Key("pgd", "linf", 0.1, "untargeted", "T2", 10.0)
Rows = tuple[pd.Series, pd.Series]  # of `worst`: the oblivious attacker, and everything that was tried


def alone(n: int) -> Units:
    """Items that share nothing."""
    return Units(np.arange(n), {}, 0.05)


def studies(n: int, left: float, kept: float, count: int, weak: float = 0.3, seed: int = 0) -> Iterator[Rows]:
    """Studies of `n` items and of a codec that leaves a gain.

    kept: the share of items that the bare model has right under attack. left: how much more it has right behind the
    codec in the worst case; a tenth of what was kept is lost there, and other items are won. weak: the share of the
    rest that only the oblivious attacker leaves right.
    """
    rng = np.random.default_rng([seed, n])
    units = alone(n)
    for _ in range(count):
        u = rng.random((3, n))
        before = u[0] < kept
        after = np.where(before, u[1] < 0.9, u[1] < (left + 0.1 * kept) / (1 - kept))
        yield tuple(worst_row(units, before, right) for right in (after | (u[2] < weak), after))


def worst_row(units: Units, before: np.ndarray, right: np.ndarray) -> pd.Series:
    """The columns of a row of `worst` that verdicts go by. before, right: bool (n,), without and behind the codec."""
    row = {"unreliable": False, "unchecked": ""}
    for name, bounds in (("gain", units.difference(before, right)), ("robust_after", units.share(right))):
        row |= dict(zip((name, f"{name}_low", f"{name}_high"), bounds, strict=True))
    return pd.Series(row)


def verdict(rows: Rows) -> str:
    """What is said of one study, in short."""
    said = defence(*rows, KEPT[0], MARGIN, items=0).text  # less chance, no less is right than is gained
    return next((short for short in ("no defence", "too few", "harm") if short in said), "helps")


def vanishes(rows: Rows) -> bool:
    """Whether the rule before said that the gain vanishes."""
    oblivious, worst = rows
    return oblivious["gain_low"] > 0 >= worst["gain_low"] and worst["gain_high"] < oblivious["gain"]


# A check compares two attacks. Of each, the healthy share of items that only the stronger one beats, and that only the
# weaker one beats; in the other cases the weaker one beats so many points more.
COMPARED = {
    "adaptive beats oblivious": (MAIN._replace(tier="T0"), 0.30, 0.01),
    "iterative beats single-step": (MAIN._replace(attack="fgsm"), 0.30, 0.01),
    "random noise is weaker": (MAIN._replace(attack="noise"), 0.80, 0.00),
    "no other attack is better": (MAIN._replace(attack="apgd"), 0.05, 0.01),
    "no rise with budget": (MAIN._replace(epsilon=0.05), 0.30, 0.005),
    "converged": (MAIN._replace(attack="pgd_doubled"), 0.005, 0.005),
    "white-box beats black-box": (MAIN._replace(attack="square", tier="T4"), 0.50, 0.002),
    "the search has settled": (MAIN._replace(attack="square", tier="T4"), 0.50, 0.002),
}
CASES = {"healthy": 0.0, "poorer by 10 points": 0.1, "poorer by 20 points": 0.2}


def attack(beats: np.ndarray, blind: np.ndarray | None = None) -> pd.DataFrame:
    """The rows of an attack that `beats` these items, bool (n,), at its last query. blind: those without a gradient."""
    wrong = beats.astype(int)
    rows = {"label": 0, "target": -1, "before": wrong, "after": wrong, "clean": 0, "clean_after": 0, "own": True}
    return pd.DataFrame(
        rows | {"calls": QUERIES, "linf": 0.1, "zero_gradient": 0.5 if blind is None else blind.astype(float)}
    )


def checked(name: str, case: str, n: int, rng: np.random.Generator) -> str:
    """The result of one check in one study."""
    more, u = CASES[case], rng.random(n)
    if name == "white-box reaches chance":
        found = {MAIN: attack(u >= (CHANCE + more if more else 0.02))}
    elif name == "gradients are not zero":
        found = {MAIN: attack(np.ones(n, bool), u < more)}
    else:
        other, strong, weak = COMPARED[name]
        alone_counts = name == "converged" or other.tier == "T4"  # what the stronger attack alone beats is no matter
        strong, weak = (0.0 if alone_counts else 0.02, more + 0.02 * (not alone_counts)) if more else (strong, weak)
        only_strong, only_weak = u < strong, u > 1 - weak
        both = ~only_strong & ~only_weak & (u > 0.6)
        second = only_weak if other.tier == "T4" else both | only_weak  # T4 gets only what all others left right
        found = {MAIN: attack(both | only_strong), other: attack(second)}
    of = Attacked(found, alone(n), MAIN, MARGIN, QUERIES)
    return next(gate.status for gate in gates(of, "jpeg", MAIN.level, CHANCE) if gate.name == name)


# Coverage.


def units_of(kind: str, n: int, rng: np.random.Generator) -> tuple[Units, np.ndarray, float]:
    """Units, the group of each, and the correlation within groups."""
    if kind == "items alone":
        return alone(n), np.arange(n), 0.0
    if kind == "4 items a voice":
        voice = np.arange(n) // 4
        return Units(np.arange(n), {"voice": voice}, 0.05), voice, 0.1
    item = np.repeat(np.arange(n), rng.integers(1, 7, n))
    return Units(item, {}, 0.05), item, 0.3


def covered(bounds: Bounds, truth: float) -> bool:
    """Whether an interval holds the truth."""
    return bounds[1] <= truth <= bounds[2]


def coverage(kind: str, n: int, kept: float, left: float, count: int) -> tuple[float, float]:
    """The coverage of a share (robust accuracy, TASR) and of a gain."""
    rng = np.random.default_rng([n, int(1000 * kept), int(1000 * left)])
    hits = np.zeros(2)
    for _ in range(count):
        units, group, correlation = units_of(kind, n, rng)
        size = group.max() + 1
        u = rng.random((2, len(group)))
        rates = [np.full(size, rate) for rate in (kept, (left + 0.1 * kept) / (1 - kept))]
        if correlation:
            spread = 1 / correlation - 1
            rates = [rng.beta(rate * spread, (1 - rate) * spread) for rate in rates]
        before = u[0] < rates[0][group]
        after = np.where(before, u[1] < 0.9, u[1] < rates[1][group])
        hits += covered(units.share(before), kept), covered(units.difference(before, after), left)
    return tuple(100 * hits / count)


# Tables.


def table(title: str, header: list[str], rows: list[list[object]]) -> None:
    """Print one table in Markdown."""
    print(f"\n{title}\n\n| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(f'{cell:.1f}' if isinstance(cell, float) else str(cell) for cell in row)} |", flush=True)


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the studies")
    count = 200 if parser.parse_args().quick else 2000

    rows = []
    for kind in ("items alone", "4 items a voice", "objects of a picture"):
        for n in (*SIZES, 1000):
            if kind == "4 items a voice" and n < 100:
                continue  # fewer than 20 voices
            cells = [coverage(kind, n, *rates, count) for rates in ((0.05, 0.05), (0.3, 0.1), (0.6, 0.2))]
            rows.append([kind, n, *(cell[which] for which in (0, 1) for cell in cells)])
    settings = ["5 %, +5", "30 %, +10", "60 %, +20"]
    names = [f"{what} ({one})" for what in ("share", "gain") for one in settings]
    table("Coverage of 95 % intervals", ["units", "items or pictures", *names], rows)

    rows = []
    for left in (0.0, 0.05, 0.1, 0.2):
        for n in SIZES:
            made = [each for kept in KEPT for each in studies(n, left, kept, count)]
            said = Counter(map(verdict, made))
            before = sum(map(vanishes, made))
            cells = [100 * said[each] / len(made) for each in ("no defence", "helps", "harm", "too few")]
            rows.append([100 * left, n, 100 * before / len(made), *cells])
    header = ["points left", "items", "before: no defence", "no defence", "helps", "harm", "too few items"]
    table("Verdicts on a codec", header, rows)

    rows = []
    rng = np.random.default_rng(0)
    for name in ("white-box reaches chance", "gradients are not zero", *COMPARED):
        for case in CASES:
            cells = []
            for n in SIZES:
                said = Counter(checked(name, case, n, rng) for _ in range(count // 4))
                passed, failed, few = (400 * said[status] / count for status in ("pass", "fail", "too few items"))
                cells.append(f"{passed + few:.0f}; {passed:.0f} / {failed:.0f} / {few:.0f}")
            rows.append([name, case, *cells])
    title = "Checks: passed before; passed / failed / too few items"
    table(title, ["check", "the attack is", *(f"{n} items" for n in SIZES)], rows)


if __name__ == "__main__":
    main()
