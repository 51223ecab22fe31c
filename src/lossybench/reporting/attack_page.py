"""The page `attacks.html`: what was attacked and how, what a codec bought and at what cost, and what to believe.

It is made from the summary tables alone, for readers who never attacked a model.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pandas as pd

from lossybench.artifacts import publish
from lossybench.conditions import ORIGINAL
from lossybench.reporting.summary import (
    ALL,
    AS_IT_CAME,
    NO_REFERENCE,
    OBLIVIOUS,
    REGIME_TITLES,
    UNCHECKED,
    UNCHECKED_TEXT,
    WORST,
    Explained,
    Summary,
    attack_size,
    budget_order,
    budgets,
    counted,
    interval,
    most_helped,
    number,
    on_originals,
    over_seeds,
    percent,
    plural,
    points,
    these,
    unchecked,
    where,
)

WIDEST_GAIN = 0.4  # of a gain's 95 % interval, as a share: whatever is said of a wider one is said of too few items

TIERS = {
    "T0": "oblivious: knows the model, not the codec; items are made on the bare model and sent through the codec",
    "T1": "transfer: knows models of the other training regimes only; items are made on those",
    "T2": "adaptive: attacks through the real codec and takes its gradient for that of doing nothing (BPDA)",
    "T3-EoT": "adaptive, as T3, but does not know the level: attacks all levels at once",
    "T3": "adaptive: attacks through the real codec with the gradient of a stand-in: a differentiable JPEG, or a "
    "filter with the gains that the codec was measured to have",
    "T4": "scores only: searches through the real codec without gradients, on what all others left right, and from the "
    "best that they found",
}
ATTACKS = {
    "pgd": "many steps along the gradient; then again from other starts, on what is left",
    "pgd_doubled": "pgd, then twice the steps from yet other starts on what it left: would more find more?",
    "pgd_l2": "pgd with an L2 bound",
    "apgd": "pgd that chooses its step sizes",
    "fgsm": "one step along the gradient",
    "square": "random search on the scores",
    "noise": "random noise, which any attack must beat",
    "patch": "a patch that may show anything",
}
GATES = {
    "adaptive beats oblivious": "going through the codec did less than ignoring it: that search was poor",
    "white-box reaches chance": "the largest budget left more right than guessing: the gradients mislead",
    "no rise with budget": "a larger budget did less than a smaller one: that search was poor",
    "norm within budget": "items went beyond their budget: the figures are of another attack",
    "iterative beats single-step": "one step did more than many: the search got stuck",
    "no other attack is better": "another search of the same kind did more: that search was poor",
    "white-box beats black-box": "more fell without gradients, or to another model's items: the gradients are masked",
    "the search has settled": "the last search still found more towards its end: with more queries it would find more",
    "random noise is weaker": "random noise did more than the attack",
    "converged": "twice the steps from other starts found further items: yet more might, too",
    "gradients are not zero": "some items have no gradient at all: the attack has no direction there",
}
GOALS = {
    "untargeted": "any wrong class",
    "targeted": "a given wrong class",
    "trigger": "right without the codec, wrong behind it",
}


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


def write(summaries: list[Path], out: Path) -> None:
    """Write the page on the attacks of all tasks as HTML.

    summaries: a folder of tables per task. out: the file. Raises LossyBenchError naming a table that is missing.
    """
    attacked = [tables for tables in map(Summary, summaries) if not tables.attacks.empty]
    parts = [_introduction()] if attacked else ["<h1>Under attack</h1>", _text("This study attacks no model.")]
    for tables in attacked:
        parts.append(f"<h2>{html.escape(tables.task)}</h2>")
        for section in (_attacked, _bought, _why, _holes, _budgets, _regimes, _each, _reliability):
            parts += section(tables)
    with publish(out) as aside:
        aside.write_text(_PAGE.format(body="\n".join(parts)))


def defence(oblivious: pd.Series, worst: pd.Series | None, chance: float, margin: float, items: int) -> str:
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
        return "nothing to compare with: the model without a codec was not attacked"
    does = "ignores" if worst is None else "goes through"
    against, least = f"when the attacker {does} the codec", f"less than {100 * margin:g} points"
    too_few = f"too few items ({items:,}) to say"
    if _is_wide(last):
        return f"{too_few} anything of the gain {against}: its interval is wider than {100 * WIDEST_GAIN:g} points"
    if last["gain_high"] < 0:
        verdict = f"the codec does harm: an attacker who {does} it gets further than without it"
    elif last["gain_high"] < margin:
        verdict = f"no defence: {least} are gained {against}"
    elif last["gain_low"] <= 0:
        return f"{too_few} whether a gain is left {against}"
    elif last["robust_after_high"] < chance + margin:
        verdict = f"no defence: a gain, but {least} more are right than by chance {against}"
    elif last["robust_after_low"] <= chance:
        verdict = f"a gain, but {too_few} whether more is right than by chance {against}"
    elif worst is None:
        verdict = "a gain against an attacker who ignores the codec; one who goes through it was not tried"
    elif _is_wide(oblivious):
        verdict = f"a gain is left {against}"
    elif worst["gain"] < oblivious["gain"]:
        verdict = "part of the gain is left when the attacker goes through the codec"
    else:
        verdict = "the gain holds when the attacker goes through the codec"
    rows = [row for row in (oblivious, worst) if row is not None]
    if any(row["unreliable"] for row in rows):
        return f"UNRELIABLE, a check failed: {verdict}"
    return f"UNCHECKED, {UNCHECKED_TEXT}: {verdict}" if any(map(unchecked, rows)) else verdict


def _is_wide(row: pd.Series) -> bool:
    """Whether the items are too few for any word on a gain."""
    return bool(row["gain_high"] - row["gain_low"] > WIDEST_GAIN)


def defences(tables: Summary, arch: str, regime: str) -> list[str]:
    """A sentence per verdict of `defence`, with the codecs that it holds for and their gains at the main budget.

    tables: the task. arch, regime: the model. Of each codec it is the level of `most_helped`.
    """
    rows = where(tables.worst, main=True, arch=arch, regime=regime, goal="untargeted")
    known = tables.has_reference(arch, regime)
    # Of parts of items, such as objects, a model that finds nothing has none right; and of pairs one that accepts none.
    chance = 0.0 if tables.beats_parts else tables.reference(arch, regime)["chance"]
    found: dict[str, list[str]] = {}
    for _, best in most_helped(rows).iterrows():
        through = where(rows, **best[AT], tier=ALL)
        worst = None if through.empty else through.iloc[0]
        case = f"{_condition(tables, *best[['codec', 'level']])} {gain(best)} oblivious, {gain(worst)} worst"
        case += f" (robust {tables.attacked_metric.title} {_robust(tables, through)})" * (worst is not None)
        judged = (best, worst, chance, tables.defence_margin, tables.attacked["items"])
        verdict = defence(*judged) if known else _NOTHING_TO_DEFEND
        found.setdefault(verdict, []).append(case)
    only = f" (for {_few(tables)})" if tables.attacked["few"] else ""
    return [f"{verdict[0].upper()}{verdict[1:]}{only}: {'; '.join(cases)}." for verdict, cases in found.items()]


_NOTHING_TO_DEFEND = "nothing to defend: the model is not shown to be above chance"


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


def _introduction() -> str:
    about = (
        "Does a codec in front of a model defend it against items that were changed on purpose, and does it open holes "
        "that were not there? The attacker knows the model's weights and may change each item a little: by no more "
        "than a budget. The codec and the model are shown real 8-bit pixels or 16-bit samples, and these keep the "
        "budget."
    )
    terms = [
        "Robust accuracy: the share of attacked items that are still right. The worst case counts: an item is right "
        "only if no attack of that budget made it wrong. “Oblivious” is the worst case over attackers who ignore the "
        "codec, “worst” the worst case over everything that was tried.",
        "Gain: robust accuracy behind the codec minus that of the same model without it, in points, with a 95 % "
        "interval, on the same items. Only a gain that is left in the column “worst” is a defence. Intervals are of "
        "items, for the very model that was attacked: they leave out what another training run would change.",
        "A gain is left where its interval lies above 0. “No defence” is said where it ends below the margin that "
        "stands beside the words, and “harm” where it ends below 0. Elsewhere there are too few items to say, which is "
        f"no finding either way. Of an interval wider than {100 * WIDEST_GAIN:g} points nothing else is ever said.",
        "Cost: the accuracy that the codec takes away from clean items. It is no success of an attacker.",
        "Opens: the items that are right when attacked but wrong after the codec, beyond those that the codec breaks "
        "when clean. Triggered: the same share where that was what the attacker wanted.",
        "TASR (targeted attack success rate): of the items whose class is not the target, the share that is read as "
        "the target. The same share of clean items stands beside it: so many hit the target without any attack.",
        "A codec that leaves nothing to see makes the model guess, and a guess cannot be attacked: that is a gain over "
        "a model that the attack has all wrong, but no defence. So a gain counts only as far as more is right than by "
        "chance, and only for a model that is itself shown to be above chance on originals.",
        "A grey figure with ≤ (a TASR with ≥): a check failed. The attack was poor, so that the figure only bounds "
        "robustness from above: a better attack may find the model less robust. A gain over a model whose own figure "
        "is such a bound compares two bounds.",
        f"A figure with {UNCHECKED}, and UNCHECKED: no check failed, but {UNCHECKED_TEXT}, so that an attack which is "
        "poorer by the margin might have gone unseen.",
        "Calls: how often the attack sent an item through the codec, or asked the bare model; the mean of the items "
        "that it tried itself.",
        "A figure that passes all checks is still only what these attacks found, and no proof of robustness.",
    ]
    table = _table(["attacker", "what the attacker knows and does"], TIERS.items())
    return "\n".join(["<h1>Under attack</h1>", _text(about), table, _list(terms)])


def _attacked(tables: Summary) -> Iterator[str]:
    """The models, the attacks and their settings."""
    rows = tables.attacks
    models = rows[[*MODEL, "seed"]].drop_duplicates()
    unit = f"{plural(tables.attacked_unit)} of the attacked items" if tables.beats_parts else plural(tables.unit)
    attacks = [
        [
            name,
            ATTACKS.get(str(name), ""),
            _sizes(tables, each),
            ", ".join(GOALS[goal] for goal in GOALS if goal in set(each["goal"])),
            ", ".join(tier for tier in TIERS if tier in set(each["tier"])),
        ]
        for name, each in rows[rows["attack"] != WORST].groupby("attack", sort=False)
    ]
    listed = "; ".join(
        f"{arch} (trained on: {tables.trained_on(arch, regime)}, seed {seed}; {tables.metric.title} on"
        f" originals {on_originals(tables.reference(arch, regime), tables.metric)})"
        for arch, regime, seed in models.itertuples(index=False)
    )
    yield "<h3>What was attacked</h3>"
    numbers = [f"{int(rows['n'].max())} {unit}"]
    numbers += [counted(count, factor) for factor, count in tables.attacked["groups"].items()]
    yield _text(
        f"Models: {listed}. Attacked: {', '.join(numbers)}. All intervals speak of {scope(tables)}:"
        f" a model that is trained anew, with another seed, may differ by more. {threshold(tables)}"
    )
    yield _table(["attack", "what it does", "budgets", "wants", "tiers"], attacks)
    if tables.defences:
        yield _text(
            f"Besides codecs at one level: {'; '.join(sorted(tables.defences.values()))}. Where something is drawn,"
            " the attacker knows what may be drawn, but not what will be: gradients are means over all that may be, and"
            " that attempt counts which does most harm on average. Each item is then judged behind one draw, the same"
            " for all attempts on it. So the figures say what a single query meets; who may ask again meets other draws"
            " too."
        )
    if tables.attack_settings:
        settings = "; ".join(f"{name} {value}" for name, value in tables.attack_settings.items())
        yield _text(f"Settings of the attacks on the first model: {settings}.")


def _bought(tables: Summary) -> Iterator[str]:
    """The verdicts on each codec's defence, and its gain at the main budget, level by level."""
    rows = where(tables.worst, main=True, goal="untargeted")
    clean, clean_after, _ = tables.robust
    metric = tables.attacked_metric.title
    yield "<h3>What compression buys, and at what cost</h3>"
    yield _text(
        "All of this is at the main budget. The verdicts in words take of each codec the level that helps most "
        "against the attacker who ignores it, a choice that flatters the codec:"
    )
    for arch, regime in _models(rows):
        size = _sizes(tables, where(rows, arch=arch, regime=regime))
        yield _text(f"{arch}, {tables.training(arch, regime)}, {size}:")
        yield _list(defences(tables, arch, regime))
    body = []
    for index, row in where(rows, tier=ALL).iterrows():
        cells = [*_model(tables, *row[MODEL]), _condition(tables, row["codec"], row["level"])]
        cells.append(percent(row[clean_after]))
        robust = _robust(tables, rows.loc[[index]])
        if row["codec"] == ORIGINAL:
            body.append([*cells, "", "", robust, "", ""])
            continue
        oblivious = where(rows, **row[AT], tier=OBLIVIOUS)
        ignored = "–" if oblivious.empty else gain(oblivious.iloc[0])
        cost = points(row[clean_after] - row[clean])
        body.append([*cells, cost, _robust(tables, oblivious), robust, ignored, gain(row)])
    header = ["model", "trained on", "codec", f"clean {metric}", "cost", f"robust {metric}, oblivious"]
    header += [f"robust {metric}, worst", "gain, oblivious", "gain, worst"]
    yield _text("Level by level, in points:")
    yield _table(header, body)
    if tables.attacked_metric == tables.metric and tables.beats_parts:
        units = plural(tables.attacked_unit)
        yield _text(
            f"{metric} has no interval here. Gains are in shares of {units} found as their class; their intervals "
            "take those of a picture for a group."
        )


def _why(tables: Summary) -> Iterator[str]:
    """What each codec keeps by frequency, and where the changes lie that ignore it and those that go through it."""
    if not tables.explained:
        return
    first = tables.worst.iloc[0]
    yield "<h3>Why: what a codec keeps, and where the attackers' changes lie</h3>"
    yield _text(
        f"Of the main attack on {first['arch']}, {tables.training(first['arch'], first['regime'])}, any wrong class "
        "wanted. High frequencies are fine detail; low ones change slowly across a picture or in time. Shares are of a "
        f"change's energy, means over {'all items' if tables.beats_parts else _DEFENDED}. The figure "
        "attack_spectra shows all frequencies."
    )
    yield _list(explanation(tables, one) for one in tables.explained)


def explanation(tables: Summary, one: Explained) -> str:
    """In words how much of either attacker's change lies where the codec keeps less than half of the items."""
    codec = _condition(tables, one.codec, one.level)
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


_DEFENDED = "the items that the codec leaves right if it is ignored"


def _holes(tables: Summary) -> Iterator[str]:
    """What each codec opens, and how often targeted attacks hit their target."""
    rows = where(tables.worst, main=True)
    body = []
    for _, row in where(rows[rows["codec"] != ORIGINAL], goal="untargeted", tier=ALL).iterrows():
        same = where(rows, **row[AT])
        attackers = [where(same, tier=tier) for tier in (OBLIVIOUS, ALL)]
        opens = [where(each, goal="untargeted")["opened"] for each in attackers]
        triggered = "not tried"
        for _, one in where(same, goal="trigger", tier=ALL).iterrows():
            triggered = f"{points(one['triggered'])} {interval(one['triggered_low'], one['triggered_high'])}"
            triggered += " (≥: a check failed)" * bool(one["unreliable"]) + mark(one)
        cells = [*_model(tables, *row[MODEL]), _condition(tables, row["codec"], row["level"])]
        cells += ["–" if each.empty else points(each.iloc[0]) for each in opens]
        targeted = [where(each, goal="targeted") for each in attackers]
        body.append([*cells, triggered, _shown(targeted[1]["tasr_clean"]), *map(_tasr, targeted)])
    header = ["model", "trained on", "codec", "opens, oblivious", "opens, worst", "triggered", "TASR, clean items"]
    yield "<h3>Where compression opens holes</h3>"
    yield _text(
        "In points of all attacked items, beyond what the codec breaks on clean items. TASR is of attacked items, and "
        "of the same items when clean."
    )
    yield _table([*header, "TASR, oblivious", "TASR, worst"], body)
    bare = where(rows, codec=ORIGINAL, goal="targeted")
    if len(bare):
        without = (
            f"{' ('.join(_model(tables, *row[MODEL]))}) {_tasr(bare.loc[[index]])}, clean {percent(row['tasr_clean'])}"
            for index, row in bare.iterrows()
        )
        yield _text(f"TASR without a codec: {'; '.join(without)}.")


def _budgets(tables: Summary) -> Iterator[str]:
    """Robustness at every budget, without a codec and behind each codec at the level of `most_helped`."""
    rows = where(tables.worst, goal="untargeted")
    ordered = budgets(rows)
    body = []
    for arch, regime in _models(rows):
        for codec, level in _places(tables, arch, regime):
            here = where(rows, arch=arch, regime=regime, codec=codec, level=level)
            cells = []
            for norm, epsilon in ordered:
                tiers = [ALL] if codec == ORIGINAL else [OBLIVIOUS, ALL]
                each = [_robust(tables, where(here, norm=norm, epsilon=epsilon, tier=tier)) for tier in tiers]
                cells.append(" / ".join(each))
            body.append([*_model(tables, arch, regime), _condition(tables, codec, level), *cells])
    header = ["model", "trained on", "codec", *(attack_size(*budget, tables.medium) for budget in ordered)]
    metric = tables.attacked_metric.title
    yield "<h3>How it falls with the budget</h3>"
    yield _text(f"Robust {metric}, oblivious / worst. Most attacks were tried at the main budget.")
    yield _table(header, body)


def _regimes(tables: Summary) -> Iterator[str]:
    """The robustness of the regimes side by side, without a codec and behind each."""
    norm, epsilon = tables.main_budget
    rows = where(tables.worst, norm=norm, epsilon=epsilon, goal="untargeted")
    regimes = [regime for regime in REGIME_TITLES if regime in set(rows["regime"])]
    if len(regimes) < 2:
        return
    _, clean_after, _ = tables.robust
    body = []
    keys = ["arch", "codec", "level"]
    for arch, codec, level in where(rows, tier=ALL)[keys].drop_duplicates().itertuples(index=False):
        cells = []
        for regime in regimes:
            here = where(rows, arch=arch, codec=codec, level=level, regime=regime)
            worst = where(here, tier=ALL)
            oblivious = worst if codec == ORIGINAL else where(here, tier=OBLIVIOUS)
            clean = "–" if worst.empty else percent(worst[clean_after].iloc[0])
            cells.append(f"{clean} / {_robust(tables, oblivious)} / {_robust(tables, worst)}")
        body.append([arch, _condition(tables, codec, level), *cells])
    header = [REGIME_TITLES[regime] for regime in regimes]
    if set(rows["arch"]) & set(tables.existing):
        header[0] += f", or {AS_IT_CAME}"
    yield "<h3>Training, robustness and compression together</h3>"
    yield _text(
        f"{tables.attacked_metric.title} on clean items / robust against the oblivious attacker / robust in the worst "
        f"case, {attack_size(norm, epsilon, tables.medium)}."
    )
    yield _table(["model", "codec", *header], body)


def _each(tables: Summary) -> Iterator[str]:
    """Every attack by itself, at the level of each codec that helps most."""
    rows = over_seeds(where(tables.attacks, goal="untargeted"))
    rows = rows[(rows["attack"] != WORST) | (rows["tier"] == ALL)]
    yield "<h3>Attack by attack</h3>"
    yield _text(
        f"Robust {tables.attacked_metric.title} of each attack and tier, any wrong class wanted, and in brackets the "
        "calls for an item. The tiers T2 and above hold, item by item, the worst of their own attempts and of those of "
        f"the weaker tiers. The attack “{WORST}” is everything together, and its calls are the sum."
    )
    keys = ["attack", "norm", "epsilon", "tier"]
    for arch, regime in _models(rows):
        here, places = where(rows, arch=arch, regime=regime), _places(tables, arch, regime)
        made = here[keys].drop_duplicates()
        size = [budget_order(*budget) for budget in zip(made["norm"], made["epsilon"], strict=True)]
        body = []
        for _, one in made.assign(size=size).sort_values(["attack", "norm", "size", "tier"]).iterrows():
            same = where(here, **one[keys])
            found = [where(same, codec=codec, level=level) for codec, level in places]
            cells = ["" if each.empty else _robust(tables, each) + _calls(each["calls"].iloc[0]) for each in found]
            body.append([one["attack"], attack_size(one["norm"], one["epsilon"], tables.medium), one["tier"], *cells])
        yield _text(f"{arch}, {tables.training(arch, regime)}:")
        yield _table(["attack", "budget", "tier", *(_condition(tables, *place) for place in places)], body)


def _reliability(tables: Summary) -> Iterator[str]:
    """All checks with their results, the meaning of a failure and its places, and the figures that are in doubt."""
    body = []
    for name, rows in tables.gates.groupby("gate", sort=False):
        failed: dict[str, list[str]] = {}
        for _, row in where(rows, status="fail").iterrows():
            bare = row["codec"] == ORIGINAL
            of = f"{' ('.join(_model(tables, *row[MODEL]))}), {'no codec' if bare else tables.title(row['codec'])}"
            failed.setdefault(of, []).append("" if bare else tables.label(row["codec"], row["level"]))
        places = "; ".join(f"{of} {', '.join(dict.fromkeys(levels))}".strip() for of, levels in failed.items())
        counts = [(rows["status"] == status).sum() for status in STATUSES]
        body.append([name, *counts, GATES.get(str(name), ""), places])
    yield "<h3>What not to rely on</h3>"
    yield _text(
        "Every check on every model, codec and level. A failure marks the attacks that it puts in doubt. A check is "
        "passed only where an attack that is poorer by the margin of "
        f"{100 * tables.defence_margin:g} points would have been seen; otherwise there are too few items for it. One "
        "that was not run lacks an attack to compare the main one with."
    )
    yield _table(["check", *STATUSES.values(), "a failure means", "failed at"], body)
    for column, about in (
        ("reason", "Figures in doubt, which only bound robustness from above:"),
        ("unchecked", f"Figures that some checks can't vouch for ({UNCHECKED}): not run, or too few items:"),
    ):
        found = []
        doubtful = tables.worst[tables.worst[column] != ""]
        for (arch, regime, tier, why), rows in doubtful.groupby([*MODEL, "tier", column], sort=False):
            which = "oblivious" if tier == OBLIVIOUS else "worst"
            at = zip(rows["codec"], rows["level"], strict=True)
            conditions = ", ".join(dict.fromkeys(_condition(tables, *each) for each in at))
            goals = ", ".join(goal for goal in GOALS if goal in set(rows["goal"]))
            cells = [*_model(tables, str(arch), str(regime)), which, why, conditions, _sizes(tables, rows), goals]
            found.append(cells)
        if found:
            yield _text(about)
            yield _table(["model", "trained on", "figure", "why", "where", "budgets", "goals"], found)


# The parts of tables.


def _models(rows: pd.DataFrame) -> Iterable[tuple[str, str]]:
    """The (architecture, regime) of each model."""
    return rows[MODEL].drop_duplicates().itertuples(index=False, name=None)


def _model(tables: Summary, arch: str, regime: str) -> tuple[str, str]:
    """The cells that name a model: its architecture, with a note if it has no reference, and what it was trained on."""
    note = "" if tables.has_reference(arch, regime) else f" [{NO_REFERENCE}]"
    return arch + note, tables.trained_on(arch, regime)


def _places(tables: Summary, arch: str, regime: str) -> list[tuple[str, float]]:
    """No codec, then the level of each codec that helps a model most at its main budget."""
    chosen = most_helped(where(tables.worst, main=True, arch=arch, regime=regime))
    return [(ORIGINAL, 0.0), *zip(chosen["codec"], chosen["level"], strict=True)]


def _condition(tables: Summary, codec: str, level: float) -> str:
    return "no codec" if codec == ORIGINAL else f"{tables.title(codec)} {tables.label(codec, level)}".strip()


def _sizes(tables: Summary, rows: pd.DataFrame) -> str:
    return ", ".join(attack_size(*budget, tables.medium) for budget in budgets(rows))


def _robust(tables: Summary, rows: pd.DataFrame) -> str:
    """The robust measure of the first row, if there is one."""
    return _bounded("≤ ", rows, tables.robust[2])


def _tasr(rows: pd.DataFrame) -> str:
    return _bounded("≥ ", rows, "tasr_after")


def _bounded(sign: str, rows: pd.DataFrame, column: str) -> str:
    """The percentage in a column of the first row, after this sign if the row is unreliable."""
    if (shown := _shown(rows[column])) == "–":
        return shown
    return f"{sign * bool(rows['unreliable'].iloc[0])}{shown}{mark(rows.iloc[0])}"


def _shown(shares: pd.Series) -> str:
    """The first of these shares as a percentage, if there is one."""
    return "–" if shares.empty or pd.isna(shares.iloc[0]) else percent(shares.iloc[0])


def _calls(count: float) -> str:
    return "" if pd.isna(count) else f" ({count:,.0f})"


# HTML.


def _text(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def _list(items: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{html.escape(item)}</li>" for item in items) + "</ul>"


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    def cell(content: object) -> str:
        text = html.escape(str(content))
        return f'<td class="doubt">{text}</td>' if "≤ " in text or "≥ " in text or "≥:" in text else f"<td>{text}</td>"

    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    body = "\n".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"


_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Under attack</title><style>
body {{ font: 14px/1.45 sans-serif; color: #222; max-width: 1200px; margin: 1em auto; padding: 0 1em }}
p, ul {{ max-width: 50em }}
table {{ border-collapse: collapse; margin: 0.5em 0 1em }}
th {{ text-align: left; vertical-align: bottom; font-weight: 600 }}
th, td {{ padding: 3px 10px; border-bottom: 1px solid #ddd }}
td {{ vertical-align: top }}
.doubt {{ background: #E8E8E8; color: #555 }}
</style></head><body>
{body}
</body></html>
"""
