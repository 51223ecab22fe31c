"""What to do, in words, from the summary tables alone: every number stands in them, every claim is a verdict."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from lossybench.artifacts import publish
from lossybench.conditions import ORIGINAL
from lossybench.reporting.attack_page import defences
from lossybench.reporting.summary import (
    METRIC_TITLES,
    REGIME_TITLES,
    VERDICT_SYMBOLS,
    Summary,
    amount,
    attack_size,
    interval,
    percent,
    points,
    worst_limits,
)


def write(summaries: list[Path], out: Path) -> None:
    """Write the recommendations of all tasks as Markdown. Raises LossyBenchError when a table is missing."""
    tasks = [Summary(Path(folder)) for folder in summaries]
    parts = [_overview(tasks), *(_task(tables) for tables in tasks), _method(tasks)]
    with publish(out) as aside:
        aside.write_text("\n\n".join(parts) + "\n")


def headline(summaries: list[Path]) -> str:
    """Plain text for a terminal: the limits at the middle margin, a line per task and codec, and gains under attack."""
    tasks = [Summary(Path(folder)) for folder in summaries]
    rows = list(_headline_rows(tasks))
    header = ("task", "codec", "may lose", "strongest level", "rate", "saves", "verdict")
    lines = [header, *((*cells[:-1], f"{cells[-1]}{', most economical' * best}") for cells, best in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    text = ["Strongest acceptable compression, trained on originals, worst of the architectures:", "", *text]
    for tables in tasks:
        if not tables.worst.empty:
            text += ["", f"{tables.task} under attack ({_size(tables)}), gains of a codec in points:"]
            text += _defences(tables)
    return "\n".join(text)


def write_html(summaries: list[Path], out: Path) -> None:
    """Write every limit (task, architecture, regime, codec, margin) as one self-contained HTML table."""
    header = ["task", "architecture", "regime", "on originals", "codec", "may lose (points)", "verdict"]
    header += ["strongest level", "rate", "raw : payload", "saves", "stopped at"]
    body = []
    tasks = [Summary(Path(folder)) for folder in summaries]
    for tables in tasks:
        for _, row in tables.limits.iterrows():
            cells = [tables.task, row["arch"], row["regime"], percent(row["reference"])]
            cells += [tables.title(row["codec"]), f"{row['delta']:g}"]
            cells += [f"{VERDICT_SYMBOLS[row['verdict']]} {row['verdict']}", *_level_cells(row)]
            cells.insert(-1, "–" if pd.isna(row["ratio"]) else amount(row["ratio"]))
            cells.append(_stop(tables, row) or "–")
            line = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
            body.append(f'<tr class="{row["verdict"]}">{line}</tr>')
    columns = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    twice = [f"{tables.task}: {tables.compressed_before}" for tables in tasks if tables.compressed_before]
    warning = (
        f"<p>Originals that were compressed before: {html.escape('; '.join(twice))}. {_TWICE}</p>" if twice else ""
    )
    with publish(out) as aside:
        aside.write_text(_PAGE.format(warning=warning, columns=columns, body="\n".join(body)))


_TWICE = (
    "What is measured is a second compression, of media that lost something already: limits, the mild ones most of"
    " all, may be others on media that never were compressed, and savings are against raw media, not the files as they"
    " came."
)

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Limits</title><style>
body {{ font: 14px sans-serif; color: #222 }}
table {{ border-collapse: collapse }}
th {{ position: sticky; top: 0; background: #fff; text-align: left }}
th, td {{ padding: 3px 10px; border-bottom: 1px solid #ddd; white-space: nowrap }}
.acceptable td {{ background: #BFE0F5 }}
.inconclusive td {{ background: #E8E8E8 }}
.unacceptable td {{ background: #F7CDB5 }}
</style></head><body>{warning}<table><thead><tr>{columns}</tr></thead><tbody>
{body}
</tbody></table></body></html>
"""


# The overview.


def _overview(tasks: list[Summary]) -> str:
    rows = [
        "| " + " | ".join(f"**{cell}**" if best else cell for cell in cells) + " |"
        for cells, best in _headline_rows(tasks)
    ]
    twice = [f"{tables.task} ({tables.compressed_before})" for tables in tasks if tables.compressed_before]
    warning = ["", f"Originals that were compressed before: {_listed(twice)}. {_TWICE}"] if twice else []
    return "\n".join(
        [
            "# Recommendations",
            "",
            "How far each task's media may be compressed for models trained on originals. A level counts only if it is"
            " shown for every architecture. Bold: the codec that gets by with the lowest measured rate.",
            "",
            "| task | codec | may lose | strongest acceptable level | rate | saves | verdict |",
            "|---|---|---|---|---|---|---|",
            *rows,
            *warning,
        ]
    )


def _headline_rows(tasks: list[Summary]) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Cells per task and codec, and whether it is the task's most economical acceptable codec."""
    for tables in tasks:
        limits = worst_limits(tables, ORIGINAL)
        best = _most_economical(limits)
        for _, row in limits.iterrows():
            name = tables.title(row["codec"])
            cells = (tables.task, name, f"{tables.delta:g} points", *_level_cells(row), _verdict(tables, row))
            yield cells, row["codec"] == best


def _most_economical(limits: pd.DataFrame) -> str | None:
    rates = limits[limits["verdict"] == "acceptable"].set_index("codec")["rate"]
    return None if rates.empty else str(rates.idxmin())


def _level_cells(row: pd.Series) -> tuple[str, str, str]:
    """Level, rate and saving of a limit; dashes where none was shown."""
    if row["verdict"] != "acceptable":
        return "–", "–", "–"
    return row["label"], f"{amount(row['rate'])} {row['rate_unit']}", percent(row["saving"])


def _verdict(tables: Summary, row: pd.Series) -> str:
    if row["verdict"] == "acceptable":
        return "acceptable, even the strongest tested" if pd.isna(row["stopped_at"]) else "acceptable"
    return f"{row['verdict']}: {_stop(tables, row)}"


def _stop(tables: Summary, row: pd.Series) -> str:
    """The level that the fixed sequence stopped at and why: "QF 5 costs more"; "" when every level passed."""
    if pd.isna(row["stopped_at"]):
        return ""
    level = tables.label(row["codec"], row["stopped_at"])
    return f"{level} costs more" if row["stopped_verdict"] == "unacceptable" else f"{level} undecided{_needed(row)}"


def _needed(row: pd.Series) -> str:
    return (
        "" if pd.isna(row["items_needed"]) else f", about {row['items_needed']:,.0f} test items would likely settle it"
    )


# One task.


def _task(tables: Summary) -> str:
    parts = [
        f"## {tables.task}",
        _before_text(tables),
        _limit_text(tables),
        _equal_rate_text(tables),
        _training_text(tables),
    ]
    parts += [_precision_text(tables), _attack_text(tables)]
    return "\n\n".join(part for part in parts if part)


def _before_text(tables: Summary) -> str:
    """The warning of double compression; "" for originals that are not known to have been compressed."""
    if not tables.compressed_before:
        return ""
    told = f" ({tables.prior_compression})" if tables.prior_compression else ""
    return f"**Compressed twice.** The originals were compressed before: {tables.compressed_before}{told}."


def _limit_text(tables: Summary) -> str:
    limits = worst_limits(tables, ORIGINAL)
    metric, best = METRIC_TITLES[tables.primary], _most_economical(limits)
    says = []
    if best is None:
        says.append(f"**No compression is shown to cost at most {tables.delta:g} points of {metric}.**")
    else:
        row = limits[limits["codec"] == best].iloc[0]
        level, rate, saving = _level_cells(row)
        says.append(
            f"**{tables.title(best)} at {level}** ({rate}, saves {saving} of the raw bits) is the most economical"
            f" compression shown to cost at most {tables.delta:g} points of {metric} for models trained on originals"
            f" ({_listed(tables.archs)})."
        )
    others = [row for _, row in limits.iterrows() if row["verdict"] == "acceptable" and row["codec"] != best]
    if others:
        listed = (f"{tables.title(row['codec'])} {', '.join(_level_cells(row)[:2])}" for row in others)
        says.append(f"The limits of the others: {'; '.join(listed)}.")
    refused = [row for _, row in limits.iterrows() if row["verdict"] == "unacceptable"]
    if refused:
        listed = (f"{tables.title(row['codec'])} ({_stop(tables, row)}, {row['arch']})" for row in refused)
        says.append(f"Not to be used at this margin: {'; '.join(listed)}.")
    says.append(_undecided(tables, limits[limits["verdict"] == "inconclusive"], "Nothing is shown for"))
    beyond = limits[(limits["verdict"] == "acceptable") & (limits["stopped_verdict"] == "inconclusive")]
    says.append(_undecided(tables, beyond, "Beyond the limits it is undecided for"))
    return " ".join(filter(None, says))


def _undecided(tables: Summary, rows: pd.DataFrame, start: str) -> str:
    """Which codecs stopped at an inconclusive level, and how many items would settle all of them."""
    if rows.empty:
        return ""
    listed = _listed(
        f"{tables.title(row['codec'])} ({tables.label(row['codec'], row['stopped_at'])})" for _, row in rows.iterrows()
    )
    return (
        f"{start} {listed}: the {_items(tables):,} test items are too few, about {rows['items_needed'].max():,.0f}"
        f" would likely settle {'this' if len(rows) == 1 else 'all of these'}."
    )


def _items(tables: Summary) -> int:
    return int(tables.differences["n"].max())


def _equal_rate_text(tables: Summary) -> str:
    """Which codec at equal rate, per architecture: the one that wins most of its Bjontegaard comparisons."""
    rows = tables.bd[tables.bd["regime"] == ORIGINAL]
    if rows.empty:
        return ""
    lines = []
    for arch in tables.archs:
        here = rows[rows["arch"] == arch]
        # Each pair from both sides, so that every codec is `codec_b`. A ratio of rates inverts; a gap changes sign.
        swapped = here.rename(columns={"codec_a": "codec_b", "codec_b": "codec_a"})
        inverse = 100 * (1 / (1 + swapped["bd_rate"] / 100) - 1)
        both = pd.concat([here, swapped.assign(bd_metric=-swapped["bd_metric"], bd_rate=inverse)])
        both = both.dropna(subset="bd_metric").sort_values(["codec_b", "codec_a"])
        if both.empty:
            lines.append(f"- {arch}: no two codecs could be compared ({'; '.join(sorted(set(here['status'])))}).")
            continue
        wins = (both["bd_metric"] > 0).groupby(both["codec_b"]).sum()
        best = str(wins.idxmax())
        gaps = [f"{tables.title(row['codec_a'])} {_gap(row)}" for _, row in both[both["codec_b"] == best].iterrows()]
        lines.append(f"- {arch}: {tables.title(best)} comes out ahead most often; against {'; '.join(gaps)}.")
    start = (
        f"**Which codec at equal rate.** Points of {METRIC_TITLES[tables.primary]} at equal rate, and rate at equal"
        f" {METRIC_TITLES[tables.primary]}: Bjontegaard averages over the rates that both codecs reach. They have no"
        " intervals, so make nothing of small ones."
    )
    return "\n".join([start, "", *lines])


def _gap(row: pd.Series) -> str:
    metric = f"{points(row['bd_metric'] / 100)} points"
    if pd.isna(row["bd_rate"]):
        return metric
    return f"{metric}, {abs(row['bd_rate']):.1f} % {'less' if row['bd_rate'] < 0 else 'more'} rate"


def _training_text(tables: Summary) -> str:
    """Does training on a mixture of levels win it back, from which level, and what does it cost on originals?"""
    rows = tables.recovery
    if rows.empty:
        return ""
    metric = METRIC_TITLES[tables.primary]
    cost = [
        f"{row['arch']} {points(row['difference'])} {interval(row['low'], row['high'])}"
        for _, row in rows[rows["codec"] == ORIGINAL].sort_values("arch").iterrows()
    ]
    before, after = (worst_limits(tables, regime) for regime in (ORIGINAL, "mixed"))
    lines = [
        "**Training on a mixture of levels** instead of originals changes the "
        f"{metric} on originals by (points, 95 % interval): {', '.join(cost)}. Per codec:",
        "",
        "| codec | mildest level with a gain for every architecture | gain at the strongest level, points |"
        f" limit at {tables.delta:g} points, originals | limit, mixture |",
        "|---|---|---|---|---|",
    ]
    for codec in tables.codecs:
        here = rows[rows["codec"] == codec]
        strongest = here[here["strength"] == here["strength"].max()].sort_values("arch")
        gains = [
            f"{row['arch']} {points(row['difference'])} {interval(row['low'], row['high'])}"
            for _, row in strongest.iterrows()
        ]
        shown = (here["low"] > 0).groupby(here["strength"]).all()
        first = next((strength for strength, all_gain in shown.items() if all_gain), None)
        start = "no level" if first is None else here.loc[here["strength"] == first, "level"].iloc[0]
        cells = [tables.title(codec), start if isinstance(start, str) else tables.label(codec, start), "; ".join(gains)]
        cells += [_short_limit(limits[limits["codec"] == codec].iloc[0]) for limits in (before, after)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _short_limit(row: pd.Series) -> str:
    return f"{row['label']}, {_level_cells(row)[1]}" if row["verdict"] == "acceptable" else str(row["verdict"])


def _precision_text(tables: Summary) -> str:
    rows = tables.differences[(tables.differences["regime"] == ORIGINAL) & (tables.differences["codec"] != ORIGINAL)]
    half = (rows["high"] - rows["low"]) / 2
    seeds = int(rows["seeds"].max())
    least, most = f"{100 * half.min():.1f}", f"{100 * half.max():.1f}"
    reach = least if least == most else f"{least} to {most}"
    return (
        f"**How precise.** {_items(tables):,} test items and {seeds} model{'s' * (seeds > 1)} per architecture; the"
        f" 95 % intervals of the losses reach {reach} points to either side."
    )


# Attacks.


def _attack_text(tables: Summary) -> str:
    rows = tables.worst
    if rows.empty:
        return ""
    bare = rows[rows["main"] & (rows["codec"] == ORIGINAL) & (rows["goal"] == "untargeted")]
    left = [
        f"{'at most ' * bool(row['unreliable'])}{percent(row[tables.robust[2]])} ({row['arch']}, {row['regime']})"
        for _, row in bare.iterrows()
    ]
    what = " of true objects found" if tables.kind == "detection" else ""
    lines = [
        f"**Under attack** ({_size(tables)}; the worst case per item over all attacks tried). Robust"
        f" {METRIC_TITLES[tables.primary]} without a codec: {_listed(left or ['not tested'])}. What a codec in front of"
        f" the model buys (points{what}, 95 % interval), at the level that helps most against the attacker who ignores"
        " it, which flatters it:",
        "",
        *(f"- {says}" for says in _defences(tables)),
    ]
    more = "Other training regimes, every" if rows["regime"].nunique() > 1 else "Every"
    return "\n".join([*lines, "", f"{_reliability_text(tables)} {more} level and budget: `attacks.html`."])


def _defences(tables: Summary) -> list[str]:
    """What is left of each codec's defence, per architecture, of the first attacked regime."""
    rows = tables.worst
    models = rows.loc[rows["regime"] == rows["regime"].iloc[0], ["arch", "regime"]].drop_duplicates()
    return [
        f"{arch}, {REGIME_TITLES[regime]}. {says}"
        for arch, regime in models.itertuples(index=False)
        for says in defences(tables, arch, regime)
    ]


def _size(tables: Summary) -> str:
    return attack_size(*tables.main_budget, tables.medium)


def _reliability_text(tables: Summary) -> str:
    counts = tables.gates["status"].value_counts()
    words = {"pass": "passed", "fail": "failed", "not applicable": "not applicable"}
    listed = [f"{counts[status]} {word}" for status, word in words.items() if status in counts]
    text = f"Checks of the attacks: {_listed(listed)}." if listed else "No checks of the attacks were made."
    failed = tables.gates[tables.gates["status"] == "fail"]
    if failed.empty:
        return text
    reasons = [f"{gate} ({_listed(sorted(set(rows['codec'])))})" for gate, rows in failed.groupby("gate", sort=False)]
    return f"{text} **Failed, so that robustness is bounded from above only:** {'; '.join(reasons)}."


# Method.


def _method(tasks: list[Summary]) -> str:
    margins = sorted({delta for tables in tasks for delta in tables.deltas})
    seeds = sorted({int(n) for tables in tasks for n in tables.differences["seeds"]})
    return "\n".join(
        [
            "## How to read this",
            "",
            "- *Acceptable*: the one-sided 95 % bound of the loss against the same model's result on originals is below"
            f" the margin ({_listed(f'{delta:g}' for delta in margins)} points). *Unacceptable*: the loss is shown to"
            " exceed it. *Inconclusive*: the test set is too small to say; never read it as acceptable.",
            "- Items are compared in pairs: the same item with and without compression, by the same model"
            f" (models per architecture: {_listed(map(str, seeds))}).",
            "- Levels are tested from the mildest to the strongest, stopping at the first that is not acceptable, so no"
            " further correction is due within a codec. A codec's limit holds for all architectures at that level of"
            " confidence; picking the best of several codecs afterwards is not corrected for.",
            "- The number of items that would settle a case assumes that the loss seen is the true one (80 % power).",
            "- Rates are of the payload alone, averaged over the test items; savings are against raw media.",
            "- Limits of models trained on a mixture or adversarially are against those models' own results on"
            " originals.",
            "- Robust accuracy: share of attacked items that no attack tried made wrong. *Oblivious*: attacks that"
            " ignore the codec; *worst*: everything tried. A gain that is left may also mean that the attacks through"
            " the codec were too weak: nothing here proves robustness.",
        ]
    )


def _listed(words: Iterable[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
