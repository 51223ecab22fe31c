"""Advice in words from the summary tables alone: every number stands in the tables, and every claim is a verdict."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from lossybench.artifacts import publish
from lossybench.conditions import ORIGINAL
from lossybench.errors import visible
from lossybench.reporting.attack_page import STATUSES, defences, scope
from lossybench.reporting.summary import (
    METRIC_TITLES,
    NO_REFERENCE,
    VERDICT_SYMBOLS,
    Summary,
    amount,
    attack_size,
    interval,
    on_originals,
    percent,
    points,
    where,
    worst_limits,
)


def write(summaries: list[Path], out: Path) -> None:
    """Write the recommendations of all tasks as Markdown.

    summaries: a folder of tables per task. out: the file. Raises LossyBenchError naming a table that is missing.
    """
    tasks = [Summary(folder) for folder in summaries]
    parts = [_overview(tasks), *(_task(tables) for tables in tasks), _method(tasks)]
    with publish(out) as aside:
        aside.write_text("\n\n".join(parts) + "\n")


def headline(summaries: list[Path]) -> str:
    """Plain text for a terminal: the limits at the middle margin and the gains under attack.

    summaries: a folder of tables per task. Raises LossyBenchError naming a table that is missing.
    """
    tasks = [Summary(folder) for folder in summaries]
    header = ("task", "codec", "may lose", "strongest level", "rate", "saves", "on originals", "verdict")
    lines: list[tuple[str, ...]] = [header]
    lines += [(*cells[:-1], f"{cells[-1]}{', most economical' * best}") for cells, best in _headline_rows(tasks)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    text = [f"Strongest acceptable compression for {_which(tasks)}, worst of the architectures:", "", *text]
    for tables in tasks:
        text += ["", f"{tables.task}: {NO_REFERENCE}. {_no_reference_text(tables)}"] * bool(_unshown(tables))
        if not tables.worst.empty:
            text += ["", f"{tables.task} under attack ({_size(tables)}), gains of a codec in points:"]
            text += _defences(tables)
    return "\n".join(text)


def write_html(summaries: list[Path], out: Path) -> None:
    """Write the limits of every task, architecture, regime, codec and margin as one self-contained HTML table.

    summaries: a folder of tables per task. out: the file. Raises LossyBenchError naming a table that is missing.
    """
    header = ["task", "architecture", "trained on", "on originals", "codec", "may lose (points)", "verdict"]
    header += ["strongest level", "rate", "raw : payload", "saves", "stopped at"]
    body = []
    tasks = [Summary(folder) for folder in summaries]
    for tables in tasks:
        for _, row in tables.limits.iterrows():
            level, rate, saving = _level_cells(row)
            ratio = "–" if pd.isna(row["ratio"]) else amount(row["ratio"])
            model = [row["arch"], tables.trained_on(row["arch"], row["regime"]), on_originals(row)]
            cells = [tables.task, *model, tables.title(row["codec"])]
            cells += [f"{row['delta']:g}", f"{VERDICT_SYMBOLS[row['verdict']]} {row['verdict']}"]
            cells += [level, rate, ratio, saving, _stop(tables, row) or "–"]
            line = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
            body.append(f'<tr class="{row["verdict"].replace(" ", "-")}">{line}</tr>')
    columns = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    twice = "; ".join(f"{tables.task}: {tables.compressed_before}" for tables in tasks if tables.compressed_before)
    warning = f"<p>Originals that were compressed before: {html.escape(twice)}. {_TWICE}</p>" if twice else ""
    if any((tables.limits["verdict"] == NO_REFERENCE).any() for tables in tasks):
        warning += f"<p>No reference: {_NO_REFERENCE}</p>"
    with publish(out) as aside:
        aside.write_text(_PAGE.format(warning=warning, columns=columns, body="\n".join(body)))


_TWICE = (
    "All figures are then of a second compression, of media that have lost something already. On media that were never"
    " compressed the limits may be others, the mild ones most of all. Savings are against raw media, not against the"
    " files as they came."
)

_NO_REFERENCE = (
    "the result on originals is not shown (one-sided 95 % bound, each seed's model by itself) to exceed chance by more"
    " than the margin. A model that knows nothing loses nothing, whatever is done to its items, so its losses get no"
    " verdict. Chance is what answers that do not depend on the item reach: for accuracy the share of the largest"
    " class, in detection the mAP of the model's own boxes laid over other items."
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
.no-reference td {{ background: #F5EBC8 }}
</style></head><body>{warning}<table><thead><tr>{columns}</tr></thead><tbody>
{body}
</tbody></table></body></html>
"""


# The overview.


def _overview(tasks: list[Summary]) -> str:
    lines = [
        "# Recommendations",
        "",
        f"How far each task's media may be compressed for {_which(tasks)}. A level counts only if it is shown for every"
        " architecture. The codec that gets by with the lowest measured rate is in bold. Beside each limit stands what"
        " the worst architecture reaches on originals, with its 95 % interval, and what chance reaches.",
        "",
        "| task | codec | may lose | strongest acceptable level | rate | saves | on originals | verdict |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for cells, best in _headline_rows(tasks):
        lines.append(f"| {' | '.join(f'**{cell}**' if best else cell for cell in cells)} |")
    twice = [f"{tables.task} ({_as_text(tables.compressed_before)})" for tables in tasks if tables.compressed_before]
    if twice:
        lines += ["", f"Originals that were compressed before: {_listed(twice)}. {_TWICE}"]
    return "\n".join(lines)


def _headline_rows(tasks: list[Summary]) -> Iterator[tuple[tuple[str, ...], bool]]:
    """The cells of each task and codec, and whether it is the most economical acceptable codec of the task."""
    for tables in tasks:
        limits = worst_limits(tables, ORIGINAL)
        best = _most_economical(limits)
        for _, row in limits.iterrows():
            name = tables.title(row["codec"])
            cells = (tables.task, name, f"{tables.delta:g} points", *_level_cells(row))
            yield (*cells, f"{row['arch']} {on_originals(row)}", _verdict(tables, row)), row["codec"] == best


def _which(tasks: list[Summary]) -> str:
    """The models that recommendations are about: those of the regime `original`."""
    existing = any(tables.existing for tables in tasks)
    trained = any(set(where(tables.limits, regime=ORIGINAL)["arch"]) - set(tables.existing) for tables in tasks)
    texts = ["models trained on originals"] * trained
    texts += ["existing models as they came, whatever they were trained on"] * existing
    return " and for ".join(texts)


def _most_economical(limits: pd.DataFrame) -> str | None:
    rates = where(limits, verdict="acceptable").set_index("codec")["rate"]
    return None if rates.empty else str(rates.idxmin())


def _level_cells(row: pd.Series) -> tuple[str, str, str]:
    """The level, rate and saving of a limit; dashes where no level was shown to be acceptable."""
    if row["verdict"] != "acceptable":
        return "–", "–", "–"
    return row["label"], f"{amount(row['rate'])} {row['rate_unit']}", percent(row["saving"])


def _verdict(tables: Summary, row: pd.Series) -> str:
    if row["verdict"] == "acceptable":
        return "acceptable, even the strongest tested" if pd.isna(row["stopped_at"]) else "acceptable"
    if row["verdict"] == NO_REFERENCE:
        return f"{NO_REFERENCE}: {row['arch']} is not shown to be more than {row['delta']:g} points above chance"
    return f"{row['verdict']}: {_stop(tables, row)}"


def _stop(tables: Summary, row: pd.Series) -> str:
    """The level that the fixed sequence stopped at and why: "QF 5 costs more"; "" when none failed."""
    if pd.isna(row["stopped_at"]):
        return ""
    level, needed = tables.label(row["codec"], row["stopped_at"]), row["items_needed"]
    if row["stopped_verdict"] == "unacceptable":
        return f"{level} costs more"
    return f"{level} undecided" + (
        "" if pd.isna(needed) else f", about {needed:,.0f} test items would likely settle it"
    )


# One task.


def _task(tables: Summary) -> str:
    texts = (
        _before_text,
        _reference_text,
        _limit_text,
        _equal_rate_text,
        _training_text,
        _precision_text,
        _attack_text,
    )
    return "\n\n".join([f"## {tables.task}", *filter(None, (text(tables) for text in texts))])


def _before_text(tables: Summary) -> str:
    """The warning of double compression; "" for originals that are not known to have been compressed."""
    if not tables.compressed_before:
        return ""
    card = tables.meta.get("card", {}).get("prior_compression", "")
    told = f" ({_as_text(card)})" if card else ""
    before = _as_text(tables.compressed_before)
    return f"**Compressed twice.** The originals were compressed before: {before}{told}."


def _reference_text(tables: Summary) -> str:
    """What each model has on originals, which every loss is measured against, and which models know nothing."""
    models = where(tables.limits, regime=ORIGINAL)["arch"].unique()
    each = [f"{arch} {on_originals(tables.reference(arch, ORIGINAL))}" for arch in models]
    text = f"**On originals** the {METRIC_TITLES[tables.primary]} is (95 % interval): {'; '.join(each)}."
    return f"{text} **No reference.** {_no_reference_text(tables)}" if _unshown(tables) else text


def _unshown(tables: Summary) -> list[tuple[str, str]]:
    """The (architecture, regime) of each model without a reference at the middle delta, matched ones left out."""
    models = tables.limits[["arch", "regime"]].drop_duplicates().itertuples(index=False, name=None)
    return [model for model in models if model[1] in tables.regimes and not tables.has_reference(*model)]


def _no_reference_text(tables: Summary) -> str:
    """A sentence on the models without a reference at the middle delta, of which there has to be one."""
    listed = [
        f"{arch}, trained on: {tables.trained_on(arch, regime)} ({on_originals(tables.reference(arch, regime))})"
        for arch, regime in _unshown(tables)
    ]
    return (
        f"Not shown to be more than {tables.delta:g} points above chance on originals:"
        f" {'; '.join(listed)}. A model that knows nothing loses nothing, so what compression does to"
        f" {'this one' if len(listed) == 1 else 'these'} says nothing. Look for labels that do not fit the model's"
        " classes, wrong preparation, or too little training; or test on more items."
    )


def _limit_text(tables: Summary) -> str:
    limits = worst_limits(tables, ORIGINAL)
    metric, best = METRIC_TITLES[tables.primary], _most_economical(limits)
    says = [f"**No compression is shown to cost at most {tables.delta:g} points of {metric}.**"]
    if set(limits["verdict"]) == {NO_REFERENCE}:
        says = ["**No verdict on any codec,** because there is no reference."]
    if best is not None:
        level, rate, saving = _level_cells(where(limits, codec=best).iloc[0])
        says = [
            f"**{tables.title(best)} at {level}** ({rate}, saves {saving} of the raw bits) is the most economical"
            f" compression shown to cost at most {tables.delta:g} points of {metric} for {_which([tables])}"
            f" ({_listed(tables.archs)})."
        ]
    for start, verdict in (
        ("The limits of the others", "acceptable"),
        ("Not to be used at this margin", "unacceptable"),
    ):
        listed = []
        for _, row in where(limits[limits["codec"] != best], verdict=verdict).iterrows():
            level, rate, _ = _level_cells(row)
            why = f"{level}, {rate}" if verdict == "acceptable" else f"({_stop(tables, row)}, {row['arch']})"
            listed.append(f"{tables.title(row['codec'])} {why}")
        says += [f"{start}: {'; '.join(listed)}."] * bool(listed)
    unjudged = where(limits, verdict=NO_REFERENCE)
    if 0 < len(unjudged) < len(limits):
        says.append(f"No verdict, for want of a reference: {_listed(map(tables.title, unjudged['codec']))}.")
    says.append(_undecided(tables, where(limits, verdict="inconclusive"), "Nothing is shown for"))
    beyond = where(limits, verdict="acceptable", stopped_verdict="inconclusive")
    says.append(_undecided(tables, beyond, "Beyond the limits it is undecided for"))
    return " ".join(filter(None, says))


def _undecided(tables: Summary, rows: pd.DataFrame, start: str) -> str:
    """A sentence on the codecs that stopped at an inconclusive level, with the items that would settle all of them."""
    if rows.empty:
        return ""
    stops = zip(rows["codec"], rows["stopped_at"], strict=True)
    listed = (f"{tables.title(codec)} ({tables.label(codec, level)})" for codec, level in stops)
    return (
        f"{start} {_listed(listed)}: the {_items(tables):,} test items are too few, about"
        f" {rows['items_needed'].max():,.0f} would likely settle {'this' if len(rows) == 1 else 'all of these'}."
    )


def _items(tables: Summary) -> int:
    return int(tables.differences["n"].max())


def _equal_rate_text(tables: Summary) -> str:
    """The codec that wins most of its Bjontegaard comparisons, for each architecture."""
    rows = where(tables.bd, regime=ORIGINAL)
    if rows.empty:
        return ""
    lines = []
    for arch in tables.archs:
        here = where(rows, arch=arch)
        if not here.empty and not tables.has_reference(arch, ORIGINAL):
            lines.append(f"- {arch}: {NO_REFERENCE}, so that no codec can come out ahead.")
            continue
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
        gaps = [f"{tables.title(row['codec_a'])} {_gap(row)}" for _, row in where(both, codec_b=best).iterrows()]
        lines.append(f"- {arch}: {tables.title(best)} comes out ahead most often; against {'; '.join(gaps)}.")
    start = (
        f"**Which codec at equal rate.** Points of {METRIC_TITLES[tables.primary]} at equal rate, and rate at equal"
        f" {METRIC_TITLES[tables.primary]}: Bjontegaard averages over the rates that both codecs reach. They have no"
        " intervals, so do not rely on small differences."
    )
    return "\n".join([start, "", *lines])


def _gap(row: pd.Series) -> str:
    metric = f"{points(row['bd_metric'] / 100)} points"
    if pd.isna(row["bd_rate"]):
        return metric
    return f"{metric}, {abs(row['bd_rate']):.1f} % {'less' if row['bd_rate'] < 0 else 'more'} rate"


def _training_text(tables: Summary) -> str:
    """What training on a mixture of levels costs on originals, from which level on it gains, and the limits it has."""
    rows = tables.recovery
    if rows.empty:
        return ""
    metric = METRIC_TITLES[tables.primary]
    before, after = (worst_limits(tables, regime) for regime in (ORIGINAL, "mixed"))
    lines = [
        f"**Training on a mixture of levels** instead of originals changes the {metric} on originals by (points, 95 %"
        f" interval): {', '.join(_gains(tables, where(rows, codec=ORIGINAL)))}. Per codec:",
        "",
        "| codec | mildest level with a gain for every architecture | gain at the strongest level, points |"
        f" limit at {tables.delta:g} points, originals | limit, mixture |",
        "|---|---|---|---|---|",
    ]
    for codec in tables.codecs:
        here = where(rows, codec=codec)
        gains = _gains(tables, where(here, strength=here["strength"].max()))
        shown = (here["low"] > 0).groupby(here["strength"]).all()
        start = "no level"
        if shown.any():
            start = tables.label(codec, where(here, strength=shown.idxmax())["level"].iloc[0])
        limits = [_short_limit(where(each, codec=codec).iloc[0]) for each in (before, after)]
        lines.append(f"| {' | '.join([tables.title(codec), start, '; '.join(gains), *limits])} |")
    return "\n".join(lines)


def _gains(tables: Summary, rows: pd.DataFrame) -> list[str]:
    """The gain of each architecture in rows of `recovery`, with its interval, a missing reference, and where it led."""
    without = {arch for arch, regime in _unshown(tables) if regime in (ORIGINAL, "mixed")}
    return [
        f"{row['arch']}{f' ({NO_REFERENCE})' * (row['arch'] in without)} {points(row['difference'])}"
        f" {interval(row['low'], row['high'])} to {percent(row['mixed'])}"
        for _, row in rows.sort_values("arch").iterrows()
    ]


def _short_limit(row: pd.Series) -> str:
    return f"{row['label']}, {_level_cells(row)[1]}" if row["verdict"] == "acceptable" else str(row["verdict"])


def _precision_text(tables: Summary) -> str:
    rows = where(tables.differences[tables.differences["codec"] != ORIGINAL], regime=ORIGINAL)
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
    bare = where(rows, main=True, codec=ORIGINAL, goal="untargeted")
    clean, _, robust = tables.robust
    left = [
        f"{'at most ' * bool(row['unreliable'])}{percent(row[robust])}, of {percent(row[clean])} on clean items"
        f" ({row['arch']}, trained on: {tables.trained_on(row['arch'], row['regime'])})"
        for _, row in bare.iterrows()
    ]
    what = " of true objects found" if tables.kind == "detection" else ""
    lines = [
        f"**Under attack** ({_size(tables)}; the worst case per item over all attacks tried). Robust"
        f" {METRIC_TITLES[tables.primary]} without a codec: {_listed(left or ['not tested'])}. What a codec in front of"
        f" the model buys (points{what}; the 95 % intervals speak of {scope(tables)}), at the level that helps most"
        " against the attacker who ignores it, which flatters it:",
        "",
        *(f"- {says}" for says in _defences(tables)),
    ]
    more = "Other training regimes, every" if rows["regime"].nunique() > 1 else "Every"
    return "\n".join([*lines, "", f"{_reliability_text(tables)} {more} level and budget: `attacks.html`."])


def _defences(tables: Summary) -> list[str]:
    """What is left of each codec's defence, for each architecture in the first attacked regime."""
    regime = tables.worst["regime"].iloc[0]
    archs = where(tables.worst, regime=regime)["arch"].unique()
    return [
        f"{arch}, {tables.training(arch, regime)}. {says}" for arch in archs for says in defences(tables, arch, regime)
    ]


def _size(tables: Summary) -> str:
    return attack_size(*tables.main_budget, tables.medium)


def _reliability_text(tables: Summary) -> str:
    counts = tables.gates["status"].value_counts()
    listed = [f"{counts[status]} {words}" for status, words in STATUSES.items() if status in counts]
    text = f"Checks of the attacks: {_listed(listed)}." if listed else "No checks of the attacks were made."
    failed = where(tables.gates, status="fail")
    if failed.empty:
        return text
    reasons = [f"{gate} ({_listed(sorted(set(rows['codec'])))})" for gate, rows in failed.groupby("gate", sort=False)]
    return f"{text} **Failed, so that robustness is bounded from above only:** {'; '.join(reasons)}."


# Method.


def _method(tasks: list[Summary]) -> str:
    margins = sorted({delta for tables in tasks for delta in tables.deltas})
    seeds = sorted({int(n) for tables in tasks for n in tables.differences["seeds"]})
    notes = [
        "*Acceptable*: the one-sided 95 % bound of the loss against the same model's result on originals is below the"
        f" margin ({_listed(f'{delta:g}' for delta in margins)} points). *Unacceptable*: the loss is shown to exceed"
        " the margin. *Inconclusive*: the test set is too small to say; never read this as acceptable.",
        f"*No reference*: {_NO_REFERENCE}",
        "Items are compared in pairs: the same item with and without compression, by the same model"
        f" (models per architecture: {_listed(map(str, seeds))}).",
        "Levels are tested from the mildest to the strongest, stopping at the first that is not acceptable, so that no"
        " further correction is due within a codec. A codec's limit holds for all architectures at that level of"
        " confidence; picking the best of several codecs afterwards is not corrected for.",
        "The number of items that would settle a case assumes that the loss seen is the true one (80 % power).",
        "Rates are of the payload alone, averaged over the test items; savings are against raw media.",
        "Limits of models trained on a mixture or adversarially are against those models' own results on originals.",
        "Robust accuracy is the share of attacked items that no attack tried made wrong. *Oblivious*: attacks that"
        " ignore the codec. *Worst*: everything tried. A gain that is left may also mean that the attacks through the"
        " codec were too weak: nothing here proves robustness.",
    ]
    return "\n".join(["## How to read this", "", *(f"- {note}" for note in notes)])


def _listed(words: Iterable[str]) -> str:
    """The words as a text: "a", "a and b", "a, b and c"."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def _as_text(words: str) -> str:
    """The `words` of a data set's card in Markdown, as they are: no markup, no HTML, one line."""
    return re.sub(r"([\\`*_\[\]<>|~&#])", r"\\\1", visible(words))
