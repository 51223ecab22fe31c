"""What a codec buys against attacks, in words: verdicts by intervals, each with what may be believed of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd

from lossybench.conditions import ORIGINAL
from lossybench.reporting.summary import (
    ALL,
    UNCHECKED,
    UNCHECKED_TEXT,
    WORST,
    Explained,
    Summary,
    attack_size,
    budgets,
    counted,
    interval,
    most_helped,
    number,
    on_originals,
    percent,
    plural,
    points,
    these,
    unchecked,
    where,
)

WIDEST_GAIN = 0.4  # of a gain's 95 % interval, as a share: whatever is said of a wider one is said of too few items


class Verdict(NamedTuple):
    """What is left of a codec's defence, in a few words and in a sentence."""

    brief: str
    text: str


# The results of a check in the table `gates`, and in words.
STATUSES = {
    "pass": "passed",
    "fail": "failed",
    "too few items": "with too few items",
    "not run": "not run",
    "not applicable": "not applicable",
}
MODEL = ["arch", "regime"]
AT = [*MODEL, "codec", "level"]


def defence(oblivious: pd.Series, worst: pd.Series | None, chance: float, margin: float, items: int) -> Verdict:
    """What is left of a codec's defence, judged by 95 % intervals of items, for these very models.

    Of a gain with an interval wider than WIDEST_GAIN nothing is said but that there are too few items. The codec helps
    if the gain is shown to be above 0, and what is right to be above chance. It is no defence if the gain is shown to
    be below the margin, or if there is one, but less than the margin more is shown to be right than by chance. Each end
    of an interval is beyond the truth in 2.5 % of studies, so that of codecs which leave as much as the margin at most
    5 % are called no defence.

    oblivious, worst: the rows of `worst` for the attacker who ignores the codec and for everything that was tried;
    worst is None where no attack went through the codec. chance: the robust accuracy of a model behind a codec that
    leaves nothing to see, which gains whatever the attack had taken. margin: the least gain that counts, in (0, 1).
    items: how many were attacked. Where checks failed, were not run or had too few items, the verdict says so.
    """
    last = oblivious if worst is None else worst
    if pd.isna(last["gain"]):
        return Verdict("not tested", "nothing to compare with: the model without a codec was not attacked")
    does = "ignores" if worst is None else "goes through"
    against, least = f"when the attacker {does} the codec", f"less than {100 * margin:g} points"
    few = f"too few items ({items:,}) to say"
    if _is_wide(last):
        wide = f"{few} anything of the gain {against}: its interval is wider than {100 * WIDEST_GAIN:g} points"
        return Verdict("too few items", wide)
    brief = f"helps by {_bare(last['gain_low'])} to {_bare(last['gain_high'])} points"
    if last["gain_high"] < 0:
        brief, verdict = "opens a hole", f"the codec does harm: an attacker who {does} it gets further than without it"
    elif last["gain_high"] < margin:
        brief, verdict = "no defence", f"no defence: {least} are gained {against}"
    elif last["gain_low"] <= 0:
        return Verdict("too few items", f"{few} whether a gain is left {against}")
    elif last["robust_after_high"] < chance + margin:
        brief, verdict = "no defence", f"no defence: a gain, but {least} more are right than by chance {against}"
    elif last["robust_after_low"] <= chance:
        brief, verdict = "too few items", f"a gain, but {few} whether more is right than by chance {against}"
    elif worst is None:
        brief += " if ignored"
        verdict = "a gain against an attacker who ignores the codec; one who goes through it was not tried"
    elif _is_wide(oblivious):
        verdict = f"a gain is left {against}"
    elif worst["gain"] < oblivious["gain"]:
        verdict = "part of the gain is left when the attacker goes through the codec"
    else:
        verdict = "the gain holds when the attacker goes through the codec"
    rows = [row for row in (oblivious, worst) if row is not None]
    if any(row["unreliable"] for row in rows):
        # The attack was poor, so that what helps may help less; what does not help is none the better for that.
        return Verdict(brief.replace("helps by", "in doubt, at most"), f"UNRELIABLE, a check failed: {verdict}")
    if any(map(unchecked, rows)):
        return Verdict(f"{brief} {UNCHECKED}", f"UNCHECKED, {UNCHECKED_TEXT}: {verdict}")
    return Verdict(brief, verdict)


def _bare(gain: float) -> str:
    """A gain in points without its sign, where that is +."""
    return points(gain).removeprefix("+")


def _is_wide(row: pd.Series) -> bool:
    """Whether the items are too few for any word on a gain."""
    return bool(row["gain_high"] - row["gain_low"] > WIDEST_GAIN)


def judged(tables: Summary, arch: str, regime: str) -> Iterator[tuple[pd.Series, pd.Series | None, Verdict]]:
    """Each codec at the level of `most_helped`, before the attacker who ignores it and in the worst case, judged.

    tables: the task. arch, regime: the model. All of it is at the main budget.
    """
    rows = where(tables.worst, main=True, arch=arch, regime=regime, goal="untargeted")
    # Of parts of items, such as objects, a model that finds nothing has none right; and of pairs one that accepts none.
    chance = 0.0 if tables.beats_parts else tables.reference(arch, regime)["chance"]
    for _, best in most_helped(rows).iterrows():
        through = where(rows, **best[AT], tier=ALL)
        worst = None if through.empty else through.iloc[0]
        verdict = defence(best, worst, chance, tables.defence_margin, tables.attacked["items"])
        yield best, worst, verdict if tables.has_reference(arch, regime) else _NOTHING_TO_DEFEND


def defences(tables: Summary, arch: str, regime: str) -> list[str]:
    """A sentence per verdict of `judged`, with the codecs that it holds for and their gains."""
    found: dict[str, list[str]] = {}
    for best, worst, verdict in judged(tables, arch, regime):
        case = f"{condition(tables, *best[['codec', 'level']])} {gain(best)} oblivious, {gain(worst)} worst"
        case += f" (robust {tables.attacked_metric.title} {_robust(tables, worst)})" if worst is not None else ""
        found.setdefault(verdict.text, []).append(case)
    only = f" (for {_few(tables)})" if tables.attacked["few"] else ""
    return [f"{verdict[0].upper()}{verdict[1:]}{only}: {'; '.join(cases)}." for verdict, cases in found.items()]


def verdicts(tables: Summary) -> list[dict[str, Any]]:
    """Of each attacked model its name and, codec by codec, the verdict with the figures behind it."""
    found = []
    for arch, regime in tables.worst[MODEL].drop_duplicates().itertuples(index=False):
        rows, sees = where(tables.worst, main=True, arch=arch, regime=regime), tables.has_reference(arch, regime)
        of_codec = [
            {"place": condition(tables, *best[["codec", "level"]]), "brief": verdict.brief, "text": verdict.text}
            | {"oblivious": gain(best), "worst": gain(worst)}
            | {"hole": _hole(where(rows, **best[AT], goal="trigger"), sees)}
            | {"robust": "not tested" if worst is None else _robust(tables, worst)}
            for best, worst, verdict in judged(tables, arch, regime)
        ]
        about = {"arch": arch, "regime": regime, "training": tables.training(arch, regime), "codecs": of_codec}
        found.append(about | {"budget": ", ".join(attack_size(*one, tables.medium) for one in budgets(rows))})
    return found


def _hole(rows: pd.DataFrame, sees: bool) -> str:
    """How many points of items are made to be wrong behind the codec alone, if shown.

    rows: with that goal. An unreliable one is a lower bound: a better attack finds more. sees: whether the model is
    shown to be above chance, without which there is nothing that a codec could spoil.
    """
    for _, row in where(rows, tier=ALL).iterrows():
        if not sees:
            return _NOTHING_TO_DEFEND.brief
        if row["triggered_low"] > 0:
            shown = f"{points(row['triggered'])} {interval(row['triggered_low'], row['triggered_high'])}{mark(row)}"
            return f"opens a hole: {'≥ ' * bool(row['unreliable'])}{shown}"
        return "none shown"
    return "not tried"


def about(tables: Summary) -> dict[str, Any]:
    """What was attacked and how: models, counts of items, and each attack with what it does."""
    rows = tables.attacks
    unit = f"{plural(tables.attacked_unit)} of the attacked items" if tables.beats_parts else plural(tables.unit)
    counts = [f"{int(rows['n'].max())} {unit}"]
    counts += [counted(count, factor) for factor, count in tables.attacked["groups"].items()]
    return {
        "models": [
            f"{arch} (trained on: {tables.trained_on(arch, regime)}, seed {seed}; {tables.metric.title} on"
            f" originals {on_originals(tables.reference(arch, regime), tables.metric)})"
            for arch, regime, seed in rows[[*MODEL, "seed"]].drop_duplicates().itertuples(index=False)
        ],
        "items": ", ".join(counts),
        "threshold": threshold(tables),
        "defences": sorted(tables.defences.values()),
        "attacks": {
            str(name): ", ".join(attack_size(*one, tables.medium) for one in budgets(each))
            for name, each in rows[rows["attack"] != WORST].groupby("attack", sort=False)
        },
    }


_NOTHING_TO_DEFEND = Verdict("nothing to defend", "nothing to defend: the model is not shown to be above chance")


def scope(tables: Summary) -> str:
    """What the intervals of attacks speak of: "other items of these 6 voices, for this very model"."""
    items = f"other items of {_few(tables)}" if tables.attacked["few"] else "other items like these"
    seeds = tables.attacks.groupby(MODEL)["seed"].nunique().max()
    return f"{items}, for {'this very model' if seeds == 1 else f'these {seeds} models'}"


def threshold(tables: Summary) -> str:
    """From which score on objects count, of each attacked detector, and how that was chosen; "" in classification."""
    found = tables.attacked.get("thresholds", [])
    of = [
        f"{one['threshold']:.2f} on"
        + f" ({one['arch']}, {one['regime']}, seed {one['seed']})" * (len(found) > 1)
        + f", where {percent(one['found'])} of the {one['objects']:,} clean"
        f" {'validation' if one['split'] == 'val' else one['split']} objects are found at an"
        f" {tables.metric.title} of {percent(one['map50'])}"
        for one in found
    ]
    return f"Objects count from a score of {'; '.join(of)}." if of else ""


def _few(tables: Summary) -> str:
    """The groups that findings on attacks hold for alone, of which there have to be too few."""
    return these(*tables.attacked["few"])


def gain(row: pd.Series | None) -> str:
    """The gain of a row of `worst` in points with its interval, and the signs of what is to be thought of it.

    It is an upper bound if the row is unreliable, and unchecked with UNCHECKED. A wide one is of too few items.
    """
    if row is None or pd.isna(row["gain"]):
        return "not tested"
    return (
        f"{'≤ ' * bool(row['unreliable'])}{points(row['gain'])} {interval(row['gain_low'], row['gain_high'])}"
        f"{mark(row)}{' (too few items)' * _is_wide(row)}"
    )


def mark(row: pd.Series) -> str:
    """What follows the figures of a row of `attacks`."""
    return f" {UNCHECKED}" * unchecked(row)


def explanation(tables: Summary, one: Explained) -> str:
    """In words how much of either attacker's change lies where the codec keeps less than half of the items."""
    codec = condition(tables, one.codec, one.level)
    if not one.lost.any():
        return f"{codec} keeps at least half of what clean items have at every frequency."
    place = f"in {one.lost.sum()} of {len(one.bands)} bands of frequency"
    if one.above is not None:
        place = f"above {number(one.above)} {one.unit}"
    oblivious, adaptive = (f"{100 * share:.0f} %" for share in one.in_lost)
    of_all = one.bands.iloc[0]
    said = f"{codec} keeps less than half of what clean items have {place}. "
    if not of_all["defended"]:
        return f"{said}It leaves no item right if it is ignored, so that there is nothing to explain."
    n, own = (counted(of_all[count], "item") for count in ("defended", "own"))
    said += f"Of the change by an attacker who ignores the codec {oblivious} lies there ({n})"
    moved, low, high = of_all[["moved", "moved_low", "moved_high"]].astype(float)
    if math.isnan(moved):
        return f"{said}."
    said += f", of that by one who goes through it {adaptive} ({own}; on the same items {points(moved)} points "
    said += f"{interval(low, high)})"
    if low <= 0 <= high:
        return f"{said}: no move is shown."
    return f"{said}: it has moved {'to what the codec keeps' if high < 0 else 'there'}."


def condition(tables: Summary, codec: str, level: float) -> str:
    """What stands in front of the model, as readers know it: "JPEG QF 10"."""
    return "no codec" if codec == ORIGINAL else f"{tables.title(codec)} {tables.label(codec, level)}".strip()


def _robust(tables: Summary, row: pd.Series) -> str:
    """The robust measure of a row of `worst`: an upper bound if the row is unreliable."""
    share = row[tables.robust[2]]
    return "–" if pd.isna(share) else f"{'≤ ' * bool(row['unreliable'])}{percent(share)}{mark(row)}"
