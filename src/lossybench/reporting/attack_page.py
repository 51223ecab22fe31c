"""The page on attacks, `attacks.html`: what was attacked and how, what a codec bought, at what price, what to believe.

Made from the summary tables alone, for readers who never attacked a model.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from lossybench.artifacts import publish
from lossybench.conditions import ORIGINAL
from lossybench.reporting.summary import (
    ALL,
    METRIC_TITLES,
    OBLIVIOUS,
    REGIME_TITLES,
    WORST,
    Summary,
    attack_size,
    budget_order,
    interval,
    most_helped,
    over_seeds,
    percent,
    points,
)

TIERS = {
    "T0": "oblivious: knows the model, not the codec; items are made on the bare model and sent through the codec",
    "T1": "transfer: knows models of the other training regimes only; items are made on those",
    "T2": "adaptive: attacks through the real codec and takes its gradient for that of doing nothing (BPDA)",
    "T3-EoT": "adaptive, as T3, but does not know the level: attacks all levels at once",
    "T3": "adaptive: attacks through the real codec with the gradient of a stand-in: a differentiable JPEG, or a "
    "filter with the gains that the codec was measured to have",
    "T4": "scores only: searches through the real codec without gradients, on what all others left right",
}
ATTACKS = {
    "pgd": "many steps along the gradient",
    "pgd_doubled": "pgd with twice the steps, to see whether more would find more",
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
    "white-box beats black-box": "more fell without gradients, or to another model's items: the gradients are masked",
    "random noise is weaker": "random noise did more than the attack",
    "converged": "twice the steps still found more: yet more steps might, too",
    "gradients are not zero": "some items have no gradient at all: the attack has no direction there",
}
GOALS = {
    "untargeted": "any wrong class",
    "targeted": "a given wrong class",
    "trigger": "right without the codec, wrong behind it",
}


def write(summaries: list[Path], out: Path) -> None:
    """Write the page for all tasks. Raises LossyBenchError when a table is missing."""
    tasks = [Summary(Path(folder)) for folder in summaries]
    attacked = [tables for tables in tasks if not tables.attacks.empty]
    parts = [_introduction()] if attacked else ["<h1>Under attack</h1>", _text("This study attacks no model.")]
    parts += [_task(tables) for tables in attacked]
    with publish(out) as aside:
        aside.write_text(_PAGE.format(body="\n".join(parts)))


def defence(oblivious: pd.Series, worst: pd.Series | None) -> str:
    """What is left of a defence, by the intervals of its gain against the oblivious attacker and against all."""
    if pd.isna(oblivious["gain"]):
        verdict = "nothing to compare with: the model without a codec was not attacked"
    elif oblivious["gain_low"] <= 0:
        verdict = "no gain is shown, even against an attacker who ignores the codec"
    elif worst is None:
        verdict = "a gain against an attacker who ignores the codec; one who goes through it was not tried"
    elif worst["gain_high"] < 0:
        verdict = "the codec does harm: an attacker who goes through it gets further than without it"
    elif worst["gain_low"] <= 0 and worst["gain_high"] < oblivious["gain"]:
        verdict = "the gain vanishes when the attacker goes through the codec: no defence"
    elif worst["gain_low"] <= 0:
        verdict = "too few items to say whether the gain is left when the attacker goes through the codec"
    elif worst["gain"] < oblivious["gain"]:
        verdict = "part of the gain is left when the attacker goes through the codec"
    else:
        verdict = "the gain holds when the attacker goes through the codec"
    doubtful = oblivious["unreliable"] or (worst is not None and worst["unreliable"])
    return f"UNRELIABLE, a check failed: {verdict}" if doubtful else verdict


def defences(tables: Summary, arch: str, regime: str) -> list[str]:
    """What is left of each codec's defence of a model, per verdict a line with the codecs' gains at the main budget.

    Of each codec the level of `most_helped`.
    """
    rows = tables.worst
    rows = rows[rows["main"] & (rows["arch"] == arch) & (rows["regime"] == regime) & (rows["goal"] == "untargeted")]
    found: dict[str, list[str]] = {}
    for _, best in most_helped(rows).iterrows():
        through = rows[_same(rows, best) & (rows["tier"] == ALL)]
        worst = None if through.empty else through.iloc[0]
        case = f"{_condition(tables, best)} {gain(best)} oblivious, {gain(worst)} worst"
        found.setdefault(defence(best, worst), []).append(case)
    return [f"{verdict[0].upper()}{verdict[1:]}: {'; '.join(cases)}." for verdict, cases in found.items()]


def gain(row: pd.Series | None) -> str:
    """A gain in points with its interval; an upper bound where the attack behind the codec failed a check."""
    if row is None or pd.isna(row["gain"]):
        return "not tested"
    bound = "≤ " * bool(row["unreliable"])
    return f"{bound}{points(row['gain'])} {interval(row['gain_low'], row['gain_high'])}"


def _introduction() -> str:
    return "\n".join(
        [
            "<h1>Under attack</h1>",
            _text(
                "Does a codec in front of a model defend it against items that were changed on purpose, and does it "
                "open holes that were not there? The attacker knows the model's weights and may change each item a "
                "little: by no more than a budget. What is shown to the codec and to the model are real 8-bit pixels "
                "or 16-bit samples, and the budget holds for those."
            ),
            _table(["attacker", "who that is"], TIERS.items()),
            _list(
                [
                    "Robust accuracy: share of attacked items that are still right. The worst case counts: an item is "
                    "right only if no attack of that budget made it wrong. “Oblivious” is the worst case over "
                    "attackers who ignore the codec, “worst” that over everything tried.",
                    "Gain: robust accuracy behind the codec minus that of the same model without it, in points, with a "
                    "95 % interval, on the same items. Only a gain that is left in the column “worst” is a defence.",
                    "Price: accuracy that the codec costs on clean items. Never count it as an attacker's success.",
                    "Opens: items right when attacked but wrong after the codec, beyond those that the codec breaks "
                    "when clean. Triggered: the same where that was what the attacker wanted.",
                    "TASR: share of items not of the target class that are read as the target.",
                    "≤ (of TASR ≥) and grey: a check failed. The attack was poor, so the figure only bounds robustness "
                    "from above: a better attack may find the model less robust. A gain over a model whose own figure "
                    "is such a bound compares two bounds.",
                    "A figure that passes all checks is still what these attacks found, not a proof.",
                ]
            ),
        ]
    )


def _task(tables: Summary) -> str:
    parts = [f"<h2>{html.escape(tables.task)}</h2>", *_attacked(tables), *_bought(tables), *_holes(tables)]
    parts += [*_budgets(tables), *_regimes(tables), *_each(tables), *_reliability(tables)]
    return "\n".join(parts)


def _attacked(tables: Summary) -> list[str]:
    rows = tables.attacks
    models = rows[["arch", "regime", "seed"]].drop_duplicates()
    unit = "true objects in the attacked pictures" if tables.kind == "detection" else "test items"
    made = rows[rows["attack"] != WORST]
    attacks = [
        [
            name,
            ATTACKS.get(str(name), ""),
            ", ".join(_sizes(tables, each)),
            ", ".join(GOALS[goal] for goal in GOALS if goal in set(each["goal"])),
            ", ".join(tier for tier in TIERS if tier in set(each["tier"])),
        ]
        for name, each in made.groupby("attack", sort=False)
    ]
    settings = "; ".join(f"{name} {value}" for name, value in tables.attack_settings.items())
    listed = ", ".join(f"{arch} ({regime}, seed {seed})" for arch, regime, seed in models.itertuples(index=False))
    parts = ["<h3>What was attacked</h3>", _text(f"Models: {listed}. Attacked: {int(rows['n'].max())} {unit}.")]
    parts.append(_table(["attack", "what it does", "budgets", "wants", "tiers"], attacks))
    return [*parts, _text(f"Settings of the first: {settings}.")] if settings else parts


def _sizes(tables: Summary, rows: pd.DataFrame) -> list[str]:
    budgets = set(zip(rows["norm"], rows["epsilon"], strict=True))
    return [attack_size(*budget, tables.medium) for budget in sorted(budgets, key=lambda b: (b[0], budget_order(*b)))]


def _bought(tables: Summary) -> list[str]:
    """The table of gains at the main budget, every level, and what it amounts to."""
    rows = tables.worst[tables.worst["main"] & (tables.worst["goal"] == "untargeted")]
    clean, clean_after, _ = tables.robust
    metric = METRIC_TITLES[tables.primary]
    body = []
    for _, row in rows[rows["tier"] == ALL].iterrows():
        cells = [*_model(row), _condition(tables, row), percent(row[clean_after])]
        if row["codec"] == ORIGINAL:
            body.append([*cells, "", "", _robust(tables, row), "", ""])
            continue
        oblivious = rows[_same(rows, row) & (rows["tier"] == OBLIVIOUS)]
        ignored = ["–", "–"] if oblivious.empty else [_robust(tables, oblivious.iloc[0]), gain(oblivious.iloc[0])]
        body.append(
            [*cells, points(row[clean_after] - row[clean]), ignored[0], _robust(tables, row), ignored[1], gain(row)]
        )
    header = ["model", "trained on", "codec", f"clean {metric}", "price", f"robust {metric}, oblivious"]
    header += [f"robust {metric}, worst", "gain, oblivious", "gain, worst"]
    parts = [
        "<h3>What compression buys, and at what price</h3>",
        _text(
            "At the main budget. In words, of each codec the level that helps most against the attacker who ignores "
            "it, which flatters it:"
        ),
    ]
    for arch, regime in rows[["arch", "regime"]].drop_duplicates().itertuples(index=False):
        (size,) = _sizes(tables, rows[(rows["arch"] == arch) & (rows["regime"] == regime)])
        about = f"{arch}, {REGIME_TITLES[regime]}, {size}:"
        parts += [_text(about), _list(defences(tables, arch, regime))]
    parts += [_text("Level by level, in points:"), _table(header, body)]
    if tables.kind == "detection":
        parts.append(
            _text(
                "mAP has no interval here. Gains are in shares of true objects found as their class; their intervals "
                "resample whole pictures."
            )
        )
    return parts


def _holes(tables: Summary) -> list[str]:
    rows = tables.worst[tables.worst["main"]]
    body = []
    untargeted = rows[(rows["goal"] == "untargeted") & (rows["tier"] == ALL) & (rows["codec"] != ORIGINAL)]
    for _, row in untargeted.iterrows():
        same = rows[_same(rows, row, goal=False)]
        opens = [same[(same["goal"] == "untargeted") & (same["tier"] == tier)]["opened"] for tier in (OBLIVIOUS, ALL)]
        trigger = same[(same["goal"] == "trigger") & (same["tier"] == ALL)]
        triggered = "not tried"
        if len(trigger):
            one = trigger.iloc[0]
            triggered = f"{points(one['triggered'])} {interval(one['triggered_low'], one['triggered_high'])}"
            triggered += " (≥: a check failed)" * bool(one["unreliable"])
        tasr = same[same["goal"] == "targeted"]
        hits = [_tasr(tasr[tasr["tier"] == tier]) for tier in (OBLIVIOUS, ALL)]
        body.append([*_model(row), _condition(tables, row), *(_first_points(each) for each in opens), triggered, *hits])
    header = ["model", "trained on", "codec", "opens, oblivious", "opens, worst", "triggered", "TASR, oblivious"]
    bare = rows[(rows["codec"] == ORIGINAL) & (rows["goal"] == "targeted")]
    without = [f"{row['arch']} ({row['regime']}) {_tasr(bare.loc[[index]])}" for index, row in bare.iterrows()]
    return [
        "<h3>Where compression opens holes</h3>",
        _text("In points of all attacked items, beyond what the codec breaks on clean items."),
        _table([*header, "TASR, worst"], body),
        *([_text(f"TASR without a codec: {'; '.join(without)}.")] if without else []),
    ]


def _budgets(tables: Summary) -> list[str]:
    """Robustness at every budget, without a codec and of each codec where it helps most at the main one."""
    rows = tables.worst[tables.worst["goal"] == "untargeted"]
    best = most_helped(rows[rows["main"]])
    budgets = set(zip(rows["norm"], rows["epsilon"], strict=True))
    ordered = sorted(budgets, key=lambda budget: (budget[0], budget_order(*budget)))
    where = ["arch", "regime", "codec", "level"]
    body = []
    for _, model in rows[["arch", "regime"]].drop_duplicates().iterrows():
        chosen = best[(best["arch"] == model["arch"]) & (best["regime"] == model["regime"])]
        bare = pd.DataFrame([{**model, "codec": ORIGINAL, "level": 0.0}])
        for _, at in pd.concat([bare, chosen[where]]).iterrows():
            here = rows[(rows[where] == at).all(axis=1)]
            cells = []
            for norm, epsilon in ordered:
                of = here[(here["norm"] == norm) & (here["epsilon"] == epsilon)]
                tiers = [ALL] if at["codec"] == ORIGINAL else [OBLIVIOUS, ALL]
                each = [of[of["tier"] == tier] for tier in tiers]
                cells.append(" / ".join("–" if one.empty else _robust(tables, one.iloc[0]) for one in each))
            body.append([*_model(at), _condition(tables, at), *cells])
    header = ["model", "trained on", "codec", *(attack_size(*budget, tables.medium) for budget in ordered)]
    return [
        "<h3>How it falls with the budget</h3>",
        _text(
            f"Robust {METRIC_TITLES[tables.primary]}, oblivious / worst. Most attacks were tried at the main budget."
        ),
        _table(header, body),
    ]


def _regimes(tables: Summary) -> list[str]:
    """Regime x robustness x compression, side by side."""
    rows, (norm, epsilon) = tables.worst, tables.main_budget
    rows = rows[(rows["norm"] == norm) & (rows["epsilon"] == epsilon) & (rows["goal"] == "untargeted")]
    regimes = [regime for regime in REGIME_TITLES if regime in set(rows["regime"])]
    if len(regimes) < 2:
        return []
    _, clean_after, _ = tables.robust
    body = []
    for _, row in rows[rows["tier"] == ALL].drop_duplicates(["arch", "codec", "level"]).iterrows():
        cells = []
        for regime in regimes:
            here = rows[_same(rows, row, regime=False) & (rows["regime"] == regime)]
            worst = here[here["tier"] == ALL]
            oblivious = worst if row["codec"] == ORIGINAL else here[here["tier"] == OBLIVIOUS]
            clean = [percent(value) for value in worst[clean_after]]
            robust = [[_robust(tables, one) for _, one in each.iterrows()] for each in (oblivious, worst)]
            cells.append(" / ".join(next(iter(each), "–") for each in (clean, *robust)))
        body.append([row["arch"], _condition(tables, row), *cells])
    return [
        "<h3>Training, robustness and compression together</h3>",
        _text(
            f"{METRIC_TITLES[tables.primary]} on clean items / robust against the oblivious attacker / robust in the "
            f"worst case, {attack_size(norm, epsilon, tables.medium)}."
        ),
        _table(["model", "codec", *(REGIME_TITLES[regime] for regime in regimes)], body),
    ]


def _each(tables: Summary) -> list[str]:
    """Every attack by itself, at the level of each codec that helps most."""
    rows = over_seeds(tables.attacks[tables.attacks["goal"] == "untargeted"])
    best = most_helped(tables.worst[tables.worst["main"]])
    parts = [
        "<h3>Attack by attack</h3>",
        _text(
            f"Robust {METRIC_TITLES[tables.primary]} of each attack and tier, any wrong class wanted. The tiers T2 and "
            "above hold, item by item, the worst of their own and the weaker tiers' attempts."
        ),
    ]
    for (arch, regime), here in rows[rows["attack"] != WORST].groupby(["arch", "regime"], sort=False):
        chosen = best[(best["arch"] == arch) & (best["regime"] == regime)]
        places = [(ORIGINAL, 0.0), *zip(chosen["codec"], chosen["level"], strict=True)]
        budgets = here[["attack", "norm", "epsilon", "tier"]].drop_duplicates()
        size = [budget_order(*budget) for budget in zip(budgets["norm"], budgets["epsilon"], strict=True)]
        body = []
        for _, one in budgets.assign(size=size).sort_values(["attack", "norm", "size", "tier"]).iterrows():
            same = here[
                (here[["attack", "norm", "epsilon", "tier"]] == one[["attack", "norm", "epsilon", "tier"]]).all(axis=1)
            ]
            found = [same[(same["codec"] == codec) & (same["level"] == level)] for codec, level in places]
            cells = ["" if each.empty else _robust(tables, each.iloc[0]) for each in found]
            body.append([one["attack"], attack_size(one["norm"], one["epsilon"], tables.medium), one["tier"], *cells])
        names = [_condition(tables, pd.Series({"codec": codec, "level": level})) for codec, level in places]
        parts += [_text(f"{arch}, {regime}:"), _table(["attack", "budget", "tier", *names], body)]
    return parts


def _reliability(tables: Summary) -> list[str]:
    """All checks, how they went, what a failure means and where there was one."""
    body = []
    for name, rows in tables.gates.groupby("gate", sort=False):
        failed = rows[rows["status"] == "fail"]
        where: dict[str, list[str]] = {}
        for _, row in failed.iterrows():
            of = f"{row['arch']} ({row['regime']}), " + (
                "no codec" if row["codec"] == ORIGINAL else tables.title(row["codec"])
            )
            where.setdefault(of, []).append(
                "" if row["codec"] == ORIGINAL else tables.label(row["codec"], row["level"])
            )
        places = "; ".join(f"{of} {', '.join(dict.fromkeys(levels))}".strip() for of, levels in where.items())
        counts = [str((rows["status"] == status).sum()) for status in ("pass", "fail", "not applicable")]
        body.append([str(name), *counts, GATES.get(str(name), ""), places])
    doubtful = tables.worst[tables.worst["unreliable"]]
    bounds = []
    for (arch, regime, tier, reason), rows in doubtful.groupby(["arch", "regime", "tier", "reason"], sort=False):
        which = "oblivious" if tier == OBLIVIOUS else "worst"
        conditions = dict.fromkeys(_condition(tables, row) for _, row in rows.iterrows())
        goals = [goal for goal in GOALS if goal in set(rows["goal"])]
        bounds.append(
            [arch, regime, which, reason, ", ".join(conditions), ", ".join(_sizes(tables, rows)), ", ".join(goals)]
        )
    parts = [
        "<h3>What not to rely on</h3>",
        _text("Every check on every model, codec and level. A failure marks the attacks that it puts in doubt."),
        _table(["check", "passed", "failed", "not applicable", "a failure means", "failed at"], body),
    ]
    if not bounds:
        return [*parts, _text("No figure of the worst case is in doubt.")]
    header = ["model", "trained on", "figure", "why", "where", "budgets", "goals"]
    return [*parts, _text("Figures in doubt, bounds of robustness from above only:"), _table(header, bounds)]


# Cells.


def _model(row: pd.Series) -> list[str]:
    return [str(row["arch"]), str(row["regime"])]


def _condition(tables: Summary, row: pd.Series) -> str:
    if row["codec"] == ORIGINAL:
        return "no codec"
    return f"{tables.title(row['codec'])} {tables.label(row['codec'], row['level'])}"


def _same(rows: pd.DataFrame, row: pd.Series, goal: bool = True, regime: bool = True) -> pd.Series:
    """Which rows are of the same model and condition, and of the same goal and regime if so wished."""
    keys = ["arch", "codec", "level", *(["goal"] * goal), *(["regime"] * regime)]
    return (rows[keys] == row[keys]).all(axis=1)


def _robust(tables: Summary, row: pd.Series) -> str:
    return f"{'≤ ' * bool(row['unreliable'])}{percent(row[tables.robust[2]])}"


def _tasr(rows: pd.DataFrame) -> str:
    if rows.empty or pd.isna(rows["tasr_after"].iloc[0]):
        return "–"
    return f"{'≥ ' * bool(rows['unreliable'].iloc[0])}{percent(rows['tasr_after'].iloc[0])}"


def _first_points(values: pd.Series) -> str:
    return "–" if values.empty else points(values.iloc[0])


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
