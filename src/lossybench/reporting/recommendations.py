"""Advice in words from the summary tables alone: every number stands in the tables, and every claim is a verdict."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from lossybench.artifacts import SAVINGS, publish
from lossybench.conditions import ORIGINAL, level_text
from lossybench.enough import FEWEST_GROUPS, FEWEST_OF_CLASS
from lossybench.errors import visible
from lossybench.reporting.advice import advice
from lossybench.reporting.attack_page import STATUSES, WIDEST_GAIN, defences, mark, scope, threshold
from lossybench.reporting.hurt import hurt
from lossybench.reporting.summary import (
    ACCEPTED,
    BEST,
    NO_NUMBER,
    NO_REFERENCE,
    OWN,
    REGIME_TITLES,
    TOO_CLOSE,
    UNCHECKED,
    UNCHECKED_TEXT,
    Summary,
    amount,
    attack_size,
    counted,
    interval,
    needed,
    on_originals,
    percent,
    plural,
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
    rows = list(_headline_rows(tasks))
    lines = [_HEADER, *((*cells[:-1], f"{cells[-1]}{', most economical' * best}") for cells, best in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    text = [f"Strongest acceptable compression for {_which(tasks)}, worst of the architectures:", "", *text]
    notes = [_PICKED] * any(best for _, best in rows)
    notes += [_TWO_NUMBERS] * any(cells[-1].endswith(_SETTLES) for cells, _ in rows)
    text += ["", " ".join(notes)] * bool(notes)
    for tables in tasks:
        text += ["", f"{tables.task}: {NO_REFERENCE}. {_no_reference_text(tables)}"] * bool(_unshown(tables))
        if not tables.worst.empty:
            text += ["", f"{tables.task} under attack ({_size(tables)}), gains of a codec in points:"]
            text += _defences(tables)
    return "\n".join(text)


_MOST_LISTED = 10  # rare classes; the page of a data set of hundreds would show nothing else

_TWICE = (
    "All figures are then of a second compression, of media that have lost something already. On media that were never"
    " compressed the limits may be others, the mild ones most of all."
)

_NO_REFERENCE = (
    "the result on originals is not shown (one-sided 95 % bound, each seed's model by itself) to exceed chance by more"
    " than the margin. A model that knows nothing loses nothing, whatever is done to its items, so its losses get no"
    " verdict. Chance is what answers that do not depend on the item reach"
)


_PICKED = (
    "The level of the most economical codec holds for all codecs of its task at once, so that picking the cheapest is"
    " allowed for."
)

_SETTLES = "in all would likely settle it"

_TWO_NUMBERS = (
    "Of two numbers that would likely settle a level (90 % power), the smaller is enough if nothing is lost, the larger"
    " if half of the margin is. Where the loss lies beside the margin there is no such number."
)

_DESIGN_EFFECT = (
    "Design effect: how many times larger the variance is, because items share a group, than that of as many"
    " independent items."
)

# The overview.


_HEADER = (
    "task",
    "codec",
    "may lose",
    "strongest acceptable level",
    "rate",
    "saves of raw",
    "of lossless",
    "of own files",
    "on originals",
    "holds for",
    "verdict",
)


def _overview(tasks: list[Summary]) -> str:
    lines = [
        "# Recommendations",
        "",
        f"How far each task's media may be compressed for {_which(tasks)}. A level counts only if it is shown for every"
        " architecture. In bold is the lowest measured rate among the levels that hold for all codecs of the task at"
        " once, so that picking the cheapest is allowed for. Each other limit holds by itself. Beside each"
        " limit stand what the worst architecture reaches on originals, with its 95 % interval, and what chance"
        " reaches; and whether the limit is of these trained models or of training anew.",
        "",
        f"| {' | '.join(_HEADER)} |",
        "|---" * len(_HEADER) + "|",
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
        best = _most_economical(tables)
        for _, alone in worst_limits(tables).iterrows():
            row = best if best is not None and alone["codec"] == best["codec"] else alone
            level = (tables.task, tables.title(row["codec"]), f"{tables.margin}", *_level_cells(row))
            holds = tables.models(regime=ORIGINAL, baseline=OWN, codec=row["codec"])
            yield (
                (*level, f"{row['arch']} {on_originals(row, tables.metric)}", holds, _verdict(tables, row, alone)),
                row is best,
            )


def _which(tasks: list[Summary]) -> str:
    """The models that recommendations are about: those of the regime `original`."""
    return " and for ".join(_plain(tasks))


def _plain(tasks: list[Summary]) -> list[str]:
    """The kinds of models of the regime `original`."""
    existing = any(tables.existing for tables in tasks)
    trained = any(set(where(tables.limits, regime=ORIGINAL)["arch"]) - set(tables.existing) for tables in tasks)
    texts = ["models trained on originals"] * trained
    texts += ["existing models as they came, whatever they were trained on"] * existing
    return texts


def _baselines(tasks: list[Summary]) -> str:
    return (
        "Losses are against what the same model has on originals: this is what the codec costs that model. Where models"
        " or trainings are compared, losses are against what the best has on originals, of"
        f" {' and '.join(_plain(tasks))}: this is what is given up by whoever switches model and codec."
    )


def _most_economical(tables: Summary) -> pd.Series | None:
    """The row of the codec of lowest rate among those whose limits hold for all codecs at once; None without any."""
    limits = worst_limits(tables, jointly=True)
    limits = limits[limits["verdict"].isin(ACCEPTED)]
    return None if limits.empty else limits.sort_values("rate", kind="stable").iloc[0]


def _level_cells(row: pd.Series) -> tuple[str, ...]:
    """The level, rate and savings of a limit; dashes where no level was shown to be acceptable, or nothing is known."""
    if row["verdict"] not in ACCEPTED:
        return ("–",) * (2 + len(SAVINGS))
    savings = ("–" if pd.isna(row[name]) else percent(row[name]) for name in SAVINGS)
    return row["label"], f"{amount(row['rate'])} {row['rate_unit']}", *savings


def _saves(tables: Summary, row: pd.Series) -> str:
    """What a limit saves, as a text: "saves 94.1 % of the raw bits, 86.0 % of PNG and 41.2 % of their own files"."""
    of = dict(zip(SAVINGS, ("the raw bits", str(tables.meta["lossless"]), "their own files"), strict=True))
    known = [f"{percent(row[name])} of {what}" for name, what in of.items() if not pd.isna(row[name])]
    return f"saves {_listed(known)}"


def _verdict(tables: Summary, row: pd.Series, alone: pd.Series) -> str:
    """The verdict of a row of `worst_limits` in words. alone: that of its codec by itself, which may reach further."""
    if row["verdict"] in ACCEPTED:
        further = ""
        if alone["level"] != row["level"]:
            further = f" ({alone['label']} if {tables.title(row['codec'])} alone is asked about)"
        elif pd.isna(alone["stopped_at"]):
            further = ", even the strongest tested"
        return tables.says(row["verdict"]) + further
    if row["verdict"] == NO_REFERENCE:
        least = f"{row['delta']:g} {tables.metric.points} {tables.metric.beyond} chance"
        return f"{NO_REFERENCE}: {row['arch']} is not shown to be more than {least}"
    return _not_shown(tables, row)


def _not_shown(tables: Summary, row: pd.Series) -> str:
    """An inconclusive or unacceptable limit with its reason: "inconclusive at QF 90: too close to 2 points to tell"."""
    if row["verdict"] == "inconclusive":
        return f"inconclusive at {tables.label(row['codec'], row['stopped_at'])}: {lacking(tables, row)}"
    return f"unacceptable: {_stop(tables, row)}"


def _stop(tables: Summary, row: pd.Series) -> str:
    """The level that the fixed sequence stopped at and why: "QF 5 costs more"; "" when none failed."""
    if pd.isna(row["stopped_at"]):
        return ""
    level = tables.label(row["codec"], row["stopped_at"])
    if row["stopped_verdict"] == "unacceptable":
        return f"{level} costs more"
    return f"{level} undecided: {lacking(tables, row)}"


def lacking(tables: Summary, row: pd.Series) -> str:
    """What would decide the level at which a row of limits stopped, in words."""
    if row["missing"] == TOO_CLOSE:
        return f"too close to {row['delta']:g} {tables.metric.points} to tell"
    if row["missing"] == NO_NUMBER:
        return "no practical number of items, groups or seeds would settle it"
    return f"{needed(row)} {_SETTLES}"


# One task.


def _task(tables: Summary) -> str:
    texts = (
        _warnings,
        _reference_text,
        _identification_text,
        _limit_text,
        _equal_rate_text,
        _capture_text,
        _gap_text,
        _subgroup_text,
        _training_text,
        _held_out_text,
        _precision_text,
        _attack_text,
    )
    return "\n\n".join([f"## {tables.task}", *filter(None, (text(tables) for text in texts))])


def warnings(tables: Summary) -> list[tuple[str, str]]:
    """What readers must know before any figure of a task, each with its title, as plain text; often nothing."""
    found = []
    if tables.compressed_before:
        card = visible(tables.meta.get("card", {}).get("prior_compression", ""))
        told = f" ({card})" if card else ""
        before = visible(tables.compressed_before)
        found.append(("Compressed twice.", f"The originals were compressed before: {before}{told}."))
    if tables.own_answers:
        found.append(("Own answers.", tables.own_answers))
    if tables.folds:
        found.append(("Folds.", _folds_text(tables)))
    if tables.few:
        found.append(("Few groups.", _few_text(tables)))
    if tables.rare:
        found.append(("Rare classes.", _rare_text(tables)))
    missed = tables.conditions[tables.conditions["above_target"].astype(float) > 0]
    if len(missed):
        listed = [f"{row['title']}, {row['label']}: {percent(row['above_target'])}" for _, row in missed.iterrows()]
        text = (
            "Some items have larger files than a level allows even at the strongest level of the encoder, at which they"
            f" are coded. Of the items it is for {'; '.join(listed)}."
        )
        found.append(("Targets that are missed.", text))
    if not tables.has_fidelity:
        unsaid = "nothing here says how near decoded items are to their originals"
        found.append(("Fidelity was not measured.", f"The config says fidelity: none, so {unsaid}."))
    return found


def _warnings(tables: Summary) -> str:
    return "\n\n".join(f"**{title}** {_as_text(text)}" for title, text in warnings(tables))


def _folds_text(tables: Summary) -> str:
    """How a task was cross-validated, and what its intervals speak of."""
    told = (
        f"The items are dealt into {tables.folds} folds. Each item was tested by the model that learnt from the other"
        " folds alone, and all figures are of all items together."
    )
    if tables.differences["fold_error"].isna().all():
        return f"{told} Intervals are of these models: two folds do not show how much other models would differ."
    kind = f"of {tables.few}" if tables.few else "of the same kind"
    return (
        f"{told} Intervals also know how the models of the folds scatter, and speak of models that learn from as many"
        f" other items {kind}. Models of two folds learn from mostly the same items; how alike that makes them"
        " is assumed (Nadeau and Bengio 2003), since one cross-validation cannot show it (Bengio and Grandvalet 2004)."
    )


def in_words(tables: Summary) -> list[str]:
    """What the tables of a task say, as lines of Markdown: what the page shows too."""
    texts = (_reference_text, _identification_text, _limit_text, _equal_rate_text, _precision_text)
    return [line for text in texts for line in text(tables).splitlines() if line]


def _few_text(tables: Summary) -> str:
    """The warning of a task whose test items are of few groups."""
    return (
        f"All test items are of {tables.few}, too few to say anything of others: verdicts, limits and intervals hold"
        f" for {tables.few}."
    )


def _for_few(tables: Summary) -> str:
    """ " for these 6 speakers"; "" where limits hold for others too."""
    return f" for {tables.few}" if tables.few else ""


def _rare_text(tables: Summary) -> str:
    """The warning of a task that has classes with few test items."""
    items = plural(tables.unit)
    rarest = sorted(tables.rare.items(), key=lambda each: each[1])
    listed = [f"{visible(name)} ({count})" for name, count in rarest[:_MOST_LISTED]]
    listed += [f"{len(rarest) - _MOST_LISTED} more"] * (len(rarest) > _MOST_LISTED)
    return (
        f"Classes with fewer than {FEWEST_OF_CLASS} {items}: {_listed(listed)}. What is said of each of them is hardly"
        " more than a guess."
    )


def _reference_text(tables: Summary) -> str:
    """What each model has on originals, which every loss is measured against, and which models know nothing."""
    models = where(tables.limits, regime=ORIGINAL)["arch"].unique()
    each = [f"{arch} {on_originals(tables.reference(arch, ORIGINAL), tables.metric)}" for arch in models]
    text = f"**On originals** the {tables.metric.title} is (95 % interval): {'; '.join(each)}."
    return f"{text} **No reference.** {_no_reference_text(tables)}" if _unshown(tables) else text


def _unshown(tables: Summary) -> list[tuple[str, str]]:
    """The (architecture, regime) of each model without a reference at the middle delta, matched ones left out."""
    models = tables.limits[["arch", "regime"]].drop_duplicates().itertuples(index=False, name=None)
    return [model for model in models if model[1] in tables.regimes and not tables.has_reference(*model)]


def _no_reference_text(tables: Summary) -> str:
    """A sentence on the models without a reference at the middle delta, of which there has to be one."""
    listed = [
        f"{arch}, trained on: {tables.trained_on(arch, regime)}"
        f" ({on_originals(tables.reference(arch, regime), tables.metric)})"
        for arch, regime in _unshown(tables)
    ]
    look = "labels that do not fit the model's classes, wrong preparation, or too little training"
    if tables.own_answers:
        look = "wrong preparation, or answers that are the same whatever the item"
    return (
        f"Not shown to be more than {tables.margin} {tables.metric.beyond} chance on originals:"
        f" {'; '.join(listed)}. A model that knows nothing loses nothing, so what compression does to"
        f" {'this one' if len(listed) == 1 else 'these'} says nothing. Look for {look};"
        " or test on more items."
    )


def _limit_text(tables: Summary) -> str:
    limits, best = worst_limits(tables), _most_economical(tables)
    accepted = limits[limits["verdict"].isin(ACCEPTED)]
    cost = f"to cost at most {tables.margin} of {tables.metric.title}"
    together = "both codecs at once" if len(tables.codecs) == 2 else f"all {len(tables.codecs)} codecs at once"
    if best is not None:
        level, rate, *_ = _level_cells(best)
        title = tables.title(best["codec"])
        says = [
            f"**{title} at {level}** ({rate}, {_saves(tables, best)}) is the most economical compression shown"
            f" {cost} for {_which([tables])} ({_listed(tables.archs)}){_for_few(tables)}."
        ]
        if len(tables.codecs) > 1:
            says.append(f"This holds for {together}, so that picking the cheapest is allowed for.")
            alone = where(limits, codec=best["codec"]).iloc[0]["label"]
            says += [f"If {title} alone is asked about, it is {alone}."] * bool(alone != best["label"])
    elif set(limits["verdict"]) == {NO_REFERENCE}:
        says = ["**No verdict on any codec,** because there is no reference."]
    elif accepted.empty:
        says = [f"**No compression is shown {cost}{_for_few(tables)}.**"]
    else:
        says = [f"**No codec can be picked:** no limit holds for {together}, but each of these does by itself."]
    rest = accepted if best is None else accepted[accepted["codec"] != best["codec"]]
    others = [f"{tables.title(row['codec'])} {_short_limit(tables, row)}" for _, row in rest.iterrows()]
    says += [f"The limits of the others, each by itself: {'; '.join(others)}."] * bool(others and best is not None)
    if best is not None and (rest["rate"] < best["rate"]).any():
        lower = _listed(map(tables.title, rest.loc[rest["rate"] < best["rate"], "codec"]))
        says.append(f"The lower rates of {lower} are not shown for {together}: they may not be picked for being low.")
    says += [f"Shown {cost}{_for_few(tables)}: {'; '.join(others)}."] * bool(others and best is None)
    lost = where(limits, verdict="unacceptable").iterrows()
    listed = [f"{tables.title(row['codec'])} ({_stop(tables, row)}, {row['arch']})" for _, row in lost]
    says += [f"Not to be used at this margin: {'; '.join(listed)}."] * bool(listed)
    unjudged = where(limits, verdict=NO_REFERENCE)
    if 0 < len(unjudged) < len(limits):
        says.append(f"No verdict, for want of a reference: {_listed(map(tables.title, unjudged['codec']))}.")
    undecided = where(limits, verdict="inconclusive")
    beyond = where(accepted, stopped_verdict="inconclusive")
    says.append(_undecided(tables, undecided, "Nothing is shown for"))
    says.append(_undecided(tables, beyond, "Beyond the limits it is undecided for"))
    if pd.concat([undecided["needed_low"], beyond["needed_low"]]).notna().any():
        says.append(f"(Of two numbers, the smaller is enough if nothing is lost, the larger if {_half(tables)}.)")
    return " ".join(filter(None, says))


def _half(tables: Summary) -> str:
    """ "1 point is", "0.5 points are": half of the middle delta, which an undecided level might lose."""
    half, unit = tables.delta / 2, tables.metric.points
    return "1 point is" if (half, unit) == (1, "points") else f"{half:g} {unit} are"


def _undecided(tables: Summary, rows: pd.DataFrame, start: str) -> str:
    """A sentence on the codecs that stopped at an inconclusive level, and what would settle each of them."""
    if rows.empty:
        return ""
    listed = (
        f"{tables.title(row['codec'])} ({tables.label(row['codec'], row['stopped_at'])}: {lacking(tables, row)})"
        for _, row in rows.iterrows()
    )
    return f"{start} {'; '.join(listed)}."


def items(tables: Summary) -> int:
    """The number of test items."""
    return int(tables.differences["n"].max())


def _equal_rate_text(tables: Summary) -> str:
    """Which codecs are shown to be ahead of which at equal rate, for each architecture trained on originals."""
    rows = where(tables.bd, regime=ORIGINAL)
    if rows.empty:
        return ""
    metric, turned = tables.metric.title, ", above 0 where that is less" * (tables.metric.sign < 0)
    lines = [
        f"**Which codec at equal rate{_for_few(tables)}.** A codec is ahead of another where it is shown to have"
        f" {tables.metric.more} at equal rate, corrected for the number of pairs. Given are {tables.metric.points} of"
        f" {metric} at equal rate{turned}, and rate at equal {metric},"
        " each with its 95 % interval: Bjontegaard averages over what both codecs reach.",
        "",
    ]
    for arch in rows["arch"].unique():
        if not tables.has_reference(arch, ORIGINAL):
            lines.append(f"- {arch}: {NO_REFERENCE}, so that no codec can come out ahead.")
            continue
        holds = tables.models(arch=arch, regime=ORIGINAL, baseline=OWN)
        lines.append(f"- {arch} ({holds}): {' '.join(_ranking(tables, where(rows, arch=arch)))}")
    return "\n".join(lines)


def _ranking(tables: Summary, rows: pd.DataFrame) -> Iterator[str]:
    """Sentences on the pairs of codecs of one model. rows: of the table `bd`."""
    others = len(set(rows["codec_a"]) | set(rows["codec_b"])) - 1
    compared = rows[rows["p"].notna()]
    for codec in sorted(set(compared["ahead"]) - {""}):
        turned = where(compared, ahead=codec, codec_a=codec).rename(columns=_TURNED)
        gaps, ratios = ([f"{name}{end}" for end in ("", "_low", "_high")] for name in ("bd_metric", "bd_rate"))
        turned[gaps] = -turned[gaps]
        turned[ratios] = 100 * (1 / (1 + turned[ratios] / 100) - 1)
        beaten = pd.concat([where(compared, ahead=codec, codec_b=codec), turned]).sort_values("codec_a")
        much = "comes out ahead of all others" if len(beaten) == others > 1 else "is ahead"
        each = [
            f"of {tables.title(row['codec_a'])} by {_gap(row, tables.metric.points)}" for _, row in beaten.iterrows()
        ]
        yield f"{tables.title(codec)} {much}: {'; '.join(each)}."
    for start, left in (("Not told apart", where(compared, ahead="")), ("Not compared", rows[rows["p"].isna()])):
        each = [
            f"{tables.title(row['codec_b'])} and {tables.title(row['codec_a'])}"
            f" ({row['status'] if pd.isna(row['p']) else _gap(row, tables.metric.points)})"
            for _, row in left.iterrows()
        ]
        if each:
            yield f"{start}: {'; '.join(each)}."


# How the columns of `bd` are called that are seen from the other codec of the pair.
_TURNED = {"codec_a": "codec_b", "codec_b": "codec_a", "bd_metric_low": "bd_metric_high"}
_TURNED |= {"bd_metric_high": "bd_metric_low", "bd_rate_low": "bd_rate_high", "bd_rate_high": "bd_rate_low"}


def _gap(row: pd.Series, unit: str) -> str:
    """What codec_b of a row of `bd` has over codec_a: "+1.2 [+0.3, +2.0] points, 12.0 [4.0, 19.0] % less rate".

    unit: what differences of the metric are counted in.
    """
    low, high = (row[f"bd_metric_{end}"] / 100 for end in ("low", "high"))
    text = f"{points(row['bd_metric'] / 100)} {interval(low, high)} {unit}"
    if pd.isna(row["bd_rate_low"]):
        return text
    bounds = [row["bd_rate_low"], row["bd_rate_high"]]
    less = row["bd_rate"] < 0
    low, high = (-bounds[1], -bounds[0]) if less else bounds
    low, high = (f"{round(each, 1) + 0.0:.1f}".replace("-", "−") for each in (low, high))
    return f"{text}, {abs(row['bd_rate']):.1f} [{low}, {high}] % {'less' if less else 'more'} rate"


def _capture_text(tables: Summary) -> str:
    """How limits move as capture gets worse, of models trained on originals."""
    if not tables.grids:
        return ""
    metric = tables.metric
    lines = [
        "**Conditions of capture.** The same items, degraded before they are coded; every loss is against originals as"
        " they came, and so counts what the degradation costs. At the mildest level of a codec it is hardly anything"
        f" else ({metric.points}, 95 % interval). The limit is the strongest level shown to cost at most"
        f" {tables.margin}"
        f"{_for_few(tables)}:",
        "",
        "| codec | architecture | condition | at the mildest level | limit |",
        "|---" * 5 + "|",
    ]
    for _, row in where(tables.capture, regime=ORIGINAL, baseline=OWN, delta=tables.delta).iterrows():
        cost = f"{metric.gap(row['mildest_difference'])} {metric.interval(row['mildest_low'], row['mildest_high'])}"
        words = {"inconclusive": "none shown", "unacceptable": "none"}
        limit = words.get(row["verdict"], NO_REFERENCE)
        if row["verdict"] in ACCEPTED:
            limit = f"{row['label']}, {amount(row['rate'])} {row['rate_unit']}"
        lines.append(f"| {tables.title(row['codec'])} | {row['arch']} | {row['condition']} | {cost} | {limit} |")
    return "\n".join(lines)


def _identification_text(tables: Summary) -> str:
    """Which codec and level models tell of media that nothing has happened to since; "" where that is not the task."""
    if tables.identification.empty:
        return ""
    titles = dict(zip(map(tuple, tables.meta["conditions"]), tables.meta["classes"], strict=True))
    lines = [
        "**Which codec was it.** Models were asked which codec, and at which level, had coded each item. The share of"
        " items of each kind for which both were told, and for which the codec was, whatever the level (95 % interval)."
        " This is of items that nothing has happened to since.",
        "",
        "| what it was | architecture | codec and level told | codec told | most often taken for |",
        "|---" * 5 + "|",
    ]
    asked = where(tables.identification, codec=ORIGINAL, regime=ORIGINAL)
    for (codec, level), arch in itertools.product(
        dict.fromkeys(zip(asked["true_codec"], asked["true_level"], strict=True)), tables.archs
    ):
        rows = where(asked, true_codec=codec, true_level=level, arch=arch)
        at_level = "" if codec == ORIGINAL else f" at {level_text(level)}"
        title = titles.get((codec, level)) or f"{titles[codec, None]}{at_level}"
        of_level, of_codec = rows[rows["told_level"].notna()], rows[rows["told_level"].isna()]
        right = (of_level["told_codec"] == codec) & (of_level["told_level"] == level)
        cells = [_told(of_level[right]), _told(of_codec[of_codec["told_codec"] == codec])]
        wrong = (of_codec[of_codec["told_codec"] != codec] if of_level.empty else of_level[~right]).sort_values("share")
        taken = "–"
        if len(wrong):
            most = wrong.iloc[-1]
            of = None if pd.isna(most["told_level"]) else most["told_level"]
            taken = f"{_as_text(titles[most['told_codec'], of])}, {percent(most['share'])}"
        lines.append(f"| {_as_text(title)} | {arch} | {' | '.join(cells)} | {taken} |")
    return "\n".join(lines)


def _told(rows: pd.DataFrame) -> str:
    """The share in the one row of `identification` with its interval; a dash for none."""
    if rows.empty:
        return "–"
    ((share, low, high),) = rows[["share", "share_low", "share_high"]].to_numpy()
    return f"{percent(share)} ({100 * low:.1f} to {100 * high:.1f})"


def _training_text(tables: Summary) -> str:
    """What models trained on something else than originals give up and gain, each architecture by itself."""
    others = [regime for regime in tables.regimes if regime != ORIGINAL]
    if not others:
        return ""
    metric = tables.metric
    models = [(arch, regime) for arch in tables.archs for regime in others if (arch, regime) in tables.trained]
    each = []
    for arch, regime in models:
        row = where(tables.differences, baseline=BEST, codec=ORIGINAL, arch=arch, regime=regime).iloc[0]
        lost = (
            f"{metric.shown(row['value'])}, {metric.gap(row['difference'])} {metric.interval(row['low'], row['high'])}"
        )
        holds = tables.models(arch=arch, regime=regime, baseline=BEST)
        each.append(f"{arch} {tables.training(arch, regime)}: {lost} ({holds})")
    words = _listed(REGIME_TITLES[regime].removeprefix("trained ") for regime in others)
    regimes = [ORIGINAL, *others]
    lines = [
        f"**Training {words}.** Here every loss is against the best model trained on originals, on originals:"
        f" {tables.best_name}, {metric.shown(tables.best['reference'])}. This is what is given up by whoever switches"
        f" model and codec. The {metric.title} on originals, and its difference to that ({metric.points}, 95 %"
        f" interval): {'; '.join(each)}. Limits at {tables.margin}{_for_few(tables)}:",
        "",
        f"| codec | architecture | {' | '.join(REGIME_TITLES[regime] for regime in regimes)} | gain of the mixture from"
        f" | at the strongest level, {metric.points} |",
        "|---" * (4 + len(regimes)) + "|",
    ]
    limits = where(tables.limits, baseline=BEST, delta=tables.delta)
    for codec, arch in itertools.product(tables.codecs, dict.fromkeys(arch for arch, _ in models)):
        cells = [tables.title(codec), arch]
        for regime in regimes:
            found = where(limits, codec=codec, arch=arch, regime=regime)
            cells.append("–" if found.empty else _short_limit(tables, found.iloc[0]))
        lines.append(f"| {' | '.join([*cells, *_gain_cells(tables, codec, arch)])} |")
    return "\n".join(lines)


def _gap_text(tables: Summary) -> str:
    """What helps at the first level beyond each limit; "" where no level is beyond one."""
    found = where(advice(tables), beyond=True)
    if found.empty:
        return ""
    lines = [
        "**What helps beyond the limits.** Of each codec, at the first level that is not shown to be acceptable at"
        f" {tables.margin} (95 % intervals; a sentence's advice is wrong in at most 5 % of studies):",
        "",
        *(f"- {_as_text(text)}" for text in found["text"]),
    ]
    return "\n".join(lines)


def _subgroup_text(tables: Summary) -> str:
    """Which classes, sizes of objects and groups of items lose more than all; "" where nothing is told apart."""
    rows = where(tables.subgroups, regime=ORIGINAL)
    if rows.empty:
        return ""
    found = hurt(tables)
    told = rows[["by", "group", "judged"]].groupby(["by", "group"], sort=False)["judged"].any()
    small = int((~told).sum())
    counts = told.groupby(level="by", sort=False).size()
    listed = _as_text(_listed(counted(count, str(by)) for by, count in counts.items()))
    listed += f", of which {small} {'has' if small == 1 else 'have'} too few items" * bool(small)
    lines = [
        f"**By what is hurt.** Told apart were {listed}."
        " A group is named where it is shown to lose more than all items do (5 % for all groups of a kind at a level,"
        " by Holm's procedure; of these models), each once for a codec, at the mildest such level."
    ]
    if found.empty:
        return f"{lines[0]} None is shown to."
    lines += ["", *(f"- {_as_text(text)}" for text in found["text"][:_MOST_LISTED])]
    lines += [f"- and {len(found) - _MOST_LISTED} more: `subgroups.csv`."] * (len(found) > _MOST_LISTED)
    return "\n".join(lines)


def _held_out_text(tables: Summary) -> str:
    """What models that never learnt from a codec have on it."""
    rows = where(tables.held_out[tables.held_out["codec"] == tables.held_out["held_out"]])
    if rows.empty:
        return ""
    metric = tables.metric
    lines = [
        "**A codec that training never saw.** Models that learnt from a mixture without the codec, and from none of its"
        f" variants, tested on it: {metric.title}, and the difference ({metric.points}, 95 % interval) to"
        " models trained on originals and to those whose mixture had the codec:",
        "",
        "| codec | level | architecture | codec held out | over originals | over the whole mixture |",
        "|---" * 6 + "|",
    ]
    for _, row in rows.iterrows():
        gains = (
            "–"
            if math.isnan(row[name])
            else f"{metric.gap(row[name])} {metric.interval(row[f'{name}_low'], row[f'{name}_high'])}"
            for name in ("over_original", "over_mixed")
        )
        cells = [
            tables.title(row["codec"]),
            tables.label(row["codec"], row["level"]),
            row["arch"],
            metric.shown(row["value"]),
        ]
        lines.append(f"| {' | '.join([*cells, *gains])} |")
    return "\n".join(lines)


def _gain_cells(tables: Summary, codec: str, arch: str) -> tuple[str, str]:
    """The mildest level at which training on a mixture is shown to gain, and the gain at the strongest one."""
    rows = where(tables.gaps, codec=codec, arch=arch, training="mixed").sort_values("strength")
    if rows.empty:
        return "–", "–"
    gained, last, metric = rows[rows["recovered_low"] > 0], rows.iloc[-1], tables.metric
    start = "no level" if gained.empty else tables.label(codec, gained["level"].iloc[0])
    gain = f"{metric.gap(last['recovered'])} {metric.interval(last['recovered_low'], last['recovered_high'])}"
    gain += f" to {metric.shown(last['trained'])}"
    return start, gain


def _short_limit(tables: Summary, row: pd.Series) -> str:
    """A limit in a few words: "QF 10, 0.45 bpp", "unacceptable"."""
    if row["verdict"] in ACCEPTED:
        level, rate, *_ = _level_cells(row)
        return f"{level}, {rate}"
    return NO_REFERENCE if row["verdict"] == NO_REFERENCE else _not_shown(tables, row)


def _precision_text(tables: Summary) -> str:
    """How many items, groups and models there are, and how far intervals reach."""
    rows = _own_losses(tables)
    half = (rows["high"] - rows["low"]) / 2
    least, most = (tables.metric.gap(one)[1:] for one in (half.min(), half.max()))
    reach = least if least == most else f"{least} to {most}"
    holds = sorted({tables.models(regime=ORIGINAL, baseline=OWN, arch=arch) for arch in rows["arch"]})
    says = [
        f"**How precise.** {items(tables):,} test items{of_groups(tables)}; per architecture: {' or '.join(holds)}."
        f" The 95 % intervals of the losses reach {reach} {tables.metric.points} to either side."
    ]
    if not tables.groups:
        says.append("The data set names nothing that items share, so they are taken as independent.")
    elif (effect := _design_effect(tables, regime=ORIGINAL, baseline=OWN)) != "–":
        says.append(f"Design effect of what they share: {effect}.")
    if tables.alpha != 0.05:
        says.append(
            f"The test set may grow look by look: at this look every bound has the error {100 * tables.alpha:.2g} % in"
            " place of 5 %."
        )
    return " ".join(says)


def _own_losses(tables: Summary) -> pd.DataFrame:
    """The differences of models trained on originals to themselves, at all levels of all codecs."""
    return where(tables.differences[tables.differences["codec"] != ORIGINAL], regime=ORIGINAL, baseline=OWN)


def of_groups(tables: Summary) -> str:
    """ " of 21 speakers, no two of the same digit": what test items share; "" where the data set names nothing."""
    shared = {factor: count for factor, count in tables.groups.items() if count < items(tables)}
    text = f" of {_listed(counted(count, factor) for factor, count in shared.items())}" if shared else ""
    alone = [f"the same {factor.replace('_', ' ')}" for factor in tables.groups if factor not in shared]
    return f"{text}, no two of {' or '.join(alone)}" if alone else text


def _design_effect(tables: Summary, **chosen: str) -> str:
    """The design effects of the chosen `differences`: "1.2 to 3.4 (speaker)"; a dash where no groups count."""
    if tables.few or all(count == items(tables) for count in tables.groups.values()):
        return "–"
    rows = where(tables.differences[tables.differences["codec"] != ORIGINAL], **chosen)
    least, most = f"{rows['design_effect'].min():.1f}", f"{rows['design_effect'].max():.1f}"
    factors = sorted(factor.replace("_", " ") for factor in set(rows["factor"]) if factor)
    effect = least if least == most else f"{least} to {most}"
    return f"{effect} ({_listed(factors)})" if factors else effect


# Attacks.


def _attack_text(tables: Summary) -> str:
    rows = tables.worst
    if rows.empty:
        return ""
    bare = where(rows, main=True, codec=ORIGINAL, goal="untargeted")
    clean, _, robust = tables.robust
    left = [
        f"{'at most ' * bool(row['unreliable'])}{percent(row[robust])}{mark(row)}, of {percent(row[clean])} on clean"
        f" items ({row['arch']}, trained on: {tables.trained_on(row['arch'], row['regime'])})"
        for _, row in bare.iterrows()
    ]
    done = "found" if tables.attacked_metric == tables.metric else "decided right"
    what = f" of {plural(tables.attacked_unit)} {done}" if tables.beats_parts else ""
    lines = [
        f"**Under attack** ({_size(tables)}; the worst case per item over all attacks tried). Robust"
        f" {tables.attacked_metric.title} without a codec: {_listed(left or ['not tested'])}. What a codec in front of"
        f" the model buys (points{what}; the 95 % intervals speak of {scope(tables)}), at the level that helps most"
        " against the attacker who ignores it, which flatters it:",
        "",
        *(f"- {says}" for says in _defences(tables)),
    ]
    more = "Other training regimes, every" if rows["regime"].nunique() > 1 else "Every"
    last = f"{threshold(tables)} {_reliability_text(tables)} {more} level and budget: `index.html`."
    return "\n".join([*lines, "", last.strip()])


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


def no_reference(tasks: list[Summary]) -> str:
    """When a model has no reference, and what chance is of the metrics of these tasks."""
    said = dict.fromkeys(tables.chance_in_words for tables in tasks if tables.chance_in_words)
    return f"{_NO_REFERENCE}{': ' * bool(said)}{', '.join(said)}."


def _method(tasks: list[Summary]) -> str:
    margins = sorted({delta for tables in tasks for delta in tables.deltas})
    units = _listed(dict.fromkeys(tables.metric.points for tables in tasks))
    notes = [
        "*Acceptable*: the one-sided 95 % bound of the loss is below the margin"
        f" ({_listed(f'{delta:g}' for delta in margins)} {units}). *Unacceptable*: the loss is shown to exceed the"
        " margin. *Inconclusive*: neither is shown; never read this as acceptable.",
        f"*Acceptable for these 6 speakers*: the test items are of so few groups (below {FEWEST_GROUPS} speakers,"
        " photographs or whatever the data set names) that nothing can be said of others. Bounds are then of items"
        " within these groups, and so is every other verdict of that task. Where there are more groups, bounds are the"
        " wider of those by items and those by groups, and *acceptable* means for other items and other groups too.",
        "*This model*, *these 2 models*: what is shown holds for the models that were tested, and another training run"
        " may lose more. *Training anew (3 seeds)*: from three seeds on, bounds know the scatter between them too, and"
        " hold for models that are trained in the same way. Where several architectures are meant, it is the models of"
        " each.",
        f"*No reference*: {no_reference(tasks)}",
        _baselines(tasks),
        "Items are compared in pairs: the same item with and without compression.",
        "Levels are tested from the mildest to the strongest, stopping at the first that is not acceptable, so that no"
        " further correction is due within a codec. A codec's limit holds for all architectures at that level of"
        " confidence. The codec in bold is picked by limits that hold for all codecs of the task at once (Bonferroni).",
        "*Too close to tell*: the loss seen is between half and one and a half times the margin, so that no number of"
        f" items is worth naming. {_TWO_NUMBERS}",
        f"{_DESIGN_EFFECT} Items of a data set that names nothing they share are taken as independent.",
        f"{_rates_text(tasks)} Savings are of raw media (8 bits a colour, 16 a sample); of the same items without loss"
        " (PNG, FLAC or FFV1, of up to 100 of them); and of their own files, where each item came in one. A"
        " negative one is growth.",
        "Robust accuracy is the share of attacked items that no attack tried made wrong. *Oblivious*: attacks that"
        " ignore the codec. *Worst*: everything tried. A gain that is left may also mean that the attacks through the"
        " codec were too weak: nothing here proves robustness. Their intervals are of items, for the very models that"
        " were attacked.",
        f"*{UNCHECKED}* beside a robust accuracy or gain, *UNCHECKED* before a verdict: no check of the attack failed,"
        f" but {UNCHECKED_TEXT}. *Too few items* beside a gain: its interval is wider than {100 * WIDEST_GAIN:g}"
        " points, so that it shows neither a gain, nor none, nor harm.",
    ]
    return "\n".join(["## How to read this", "", *(f"- {note}" for note in notes)])


def _rates_text(tasks: list[Summary]) -> str:
    """What rates are of, in words."""
    if tasks[0].rate_of != "file":
        return "Rates are of the coded media alone, without headers and containers, averaged over the test items."
    shares = pd.concat(tables.conditions[tables.conditions["codec"] != ORIGINAL]["overhead_share"] for tables in tasks)
    least, most = percent(shares.min()), percent(shares.max())
    return (
        "Rates are of each codec's own file as it lies on disk, headers included, averaged over the test items. From"
        f" {least} to {most} of these files is not coded media, more of it in small items."
    )


def _listed(words: Iterable[str]) -> str:
    """The words as a text: "a", "a and b", "a, b and c"."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def _as_text(words: str) -> str:
    """The `words` of a data set's card in Markdown, as they are: no markup, no HTML, one line."""
    return re.sub(r"([\\`*_\[\]<>|~&#])", r"\\\1", visible(words))
