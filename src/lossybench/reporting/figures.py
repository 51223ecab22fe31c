"""The figures of a task, drawn from its summary tables: one function a figure."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from lossybench.conditions import ORIGINAL, level_text
from lossybench.reporting import style
from lossybench.reporting.names import figure_names
from lossybench.reporting.summary import (
    ALL,
    METRIC_TITLES,
    OBLIVIOUS,
    REGIME_TITLES,
    VERDICT_SYMBOLS,
    Summary,
    amount,
    attack_size,
    budget_order,
    most_helped,
    number,
    percent,
)

Share = bool | Literal["row", "col"]
FIDELITY = {"psnr": "PSNR (dB)", "ssim": "SSIM", "snr": "SNR (dB)", "spectral_distance": "log-spectral distance (dB)"}


def draw(summary: Path, out: Path) -> list[Path]:
    """Draw every figure that the tables in `summary` have data for as `{stem}.png` and `{stem}.svg` in `out`.

    The stems are those of `names.figure_names`. Raises LossyBenchError naming the file when a table is missing.
    """
    tables = Summary(Path(summary))
    names = figure_names(
        tables.kind,
        has_attacks=not tables.attacks.empty,
        has_matched=bool((tables.transfer["train"] == "matched").any()),
        has_mixed=not tables.recovery.empty,
        has_attacked_regimes=tables.attacks["regime"].nunique() > 1,
    )
    paths = []
    with style.styled():
        for name in names:
            figure = FIGURES[name](tables)
            paths += style.save(figure, Path(out) / f"{name}.png", Path(out) / f"{name}.svg")
    return paths


def rate_accuracy(tables: Summary) -> Figure:
    """The primary metric against the measured rate; a row per regime, a column per architecture."""
    rows = tables.overall(tables.primary)
    figure, axes = _grid(len(tables.regimes), len(tables.archs), 4.4, 3.1, sharex=True, sharey=True)
    limits = tables.limits[tables.limits["delta"] == tables.delta]
    ends = []
    for (i, regime), (j, arch) in _product(tables.regimes, tables.archs):
        ax, here = axes[i, j], rows[(rows["arch"] == arch) & (rows["regime"] == regime)]
        ax.set_title(f"{arch}, {'not ' if here.empty else ''}{REGIME_TITLES[regime]}")
        _reference(ax, here)
        for codec in [] if here.empty else tables.codecs:
            curve = here[here["codec"] == codec].sort_values("rate")
            _curve(ax, codec, curve["rate"], curve)
            ends.append((ax, curve.iloc[0]))
            passed = curve.merge(limits, on=["arch", "regime", "codec", "level"], suffixes=("", "_limit"))
            colour = style.codec_look(codec).colour
            ax.plot(passed["rate"], 100 * passed["value"], "o", ms=10, mfc="none", mec=colour, mew=1.2)
        ax.set_xscale("log")
        ax.margins(x=0.15)  # room for the names
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
        ax.xaxis.set_minor_formatter(FuncFormatter(_minor_log))
        ax.tick_params(axis="x", which="minor", pad=5)  # on one line with the longer major ticks
        if i == len(tables.regimes) - 1:
            ax.set_xlabel(f"measured rate ({tables.rate_unit}, payload only, log scale)")
        if j == 0:
            ax.set_ylabel(f"{METRIC_TITLES[tables.primary]} (%)")
    for ax in axes.flat:  # only now are the shared axes final
        _name_ends(ax, [end for at, end in ends if at is ax])
    style.title(
        figure,
        f"{tables.task}: {METRIC_TITLES[tables.primary]} against rate, with 95 % intervals\n"
        f"ringed: strongest level shown to cost at most {tables.delta:g} points; named: strongest level tested",
    )
    _codec_legend(figure, tables)
    return figure


def fidelity_accuracy(tables: Summary) -> Figure:
    """The primary metric against fidelity, regime original; a row per architecture, a column per measure."""
    rows = tables.overall(tables.primary)
    rows = rows[rows["regime"] == ORIGINAL]
    lossy = rows[rows["codec"] != ORIGINAL]
    measures = [measure for measure in FIDELITY if np.isfinite(lossy[measure].astype(float)).any()]
    figure, axes = _grid(len(tables.archs), len(measures), 4.2, 3.1, sharex="col", sharey=True)
    for (i, arch), (j, measure) in _product(tables.archs, measures):
        ax, here = axes[i, j], rows[rows["arch"] == arch]
        ax.set_title(f"{arch}, {REGIME_TITLES[ORIGINAL]}")
        _reference(ax, here)
        for codec in tables.codecs:
            curve = here[here["codec"] == codec].sort_values(measure)
            # A level that changed nothing has an infinite PSNR or SNR, which no axis can show.
            curve = curve[np.isfinite(curve[measure].astype(float))]
            _curve(ax, codec, curve[measure], curve)
        if measure == "spectral_distance" and i == 0:  # shared by the column
            ax.invert_xaxis()
        if i == len(tables.archs) - 1:
            ax.set_xlabel(FIDELITY[measure] + ", more faithful to the right")
        if j == 0:
            ax.set_ylabel(f"{METRIC_TITLES[tables.primary]} (%)")
    style.title(figure, f"{tables.task}: {METRIC_TITLES[tables.primary]} against fidelity, with 95 % intervals")
    _codec_legend(figure, tables)
    return figure


def metrics(tables: Summary) -> Figure:
    """Every metric by level; a row per metric, a column per codec, a line per architecture and regime."""
    names = tables.metric_names
    figure, axes = _grid(len(names), len(tables.codecs), 2.6, 1.9, sharex="col", sharey="row")
    for i, name in enumerate(names):
        rows = tables.overall(name)
        for j, codec in enumerate(tables.codecs):
            ax, steps = axes[i, j], _steps(tables, codec, with_original=True)
            for (a, arch), (_, regime) in _product(tables.archs, tables.regimes):
                here = rows[(rows["arch"] == arch) & (rows["regime"] == regime)]
                here = here[here["codec"].isin([codec, ORIGINAL])]
                x, look = steps.places(here), style.look(a)
                ax.plot(x, 100 * here["value"], look.marker, ls=_dash(regime), color=look.colour)
                ax.fill_between(x, 100 * here["low"], 100 * here["high"], color=look.colour, alpha=0.1, lw=0)
            if i == 0:
                ax.set_title(tables.title(codec))
            if j == 0:
                macro = "macro " if tables.kind == "classification" else ""
                ax.set_ylabel(f"{macro}{METRIC_TITLES[name]} (%)")
            steps.axis(ax, last=i == len(names) - 1)
    handles = [
        Line2D(
            [],
            [],
            color=style.look(a).colour,
            marker=style.look(a).marker,
            ls=_dash(regime),
            label=f"{arch}, {REGIME_TITLES[regime]}",
        )
        for (a, arch), (_, regime) in _product(tables.archs, tables.regimes)
        if (arch, regime) in tables.trained
    ]
    _legend(figure, handles)
    style.title(figure, f"{tables.task}: what is lost by level, mild to strong\nwith 95 % intervals")
    return figure


def recovery(tables: Summary) -> Figure:
    """What training on a mixture of levels gains at each level; a panel per codec, a marker per architecture."""
    rows = tables.recovery.sort_values("strength", kind="stable")
    columns = 2 if len(tables.codecs) == 4 else min(3, len(tables.codecs))
    figure, axes = _grid(math.ceil(len(tables.codecs) / columns), columns, 3.5, 2.7, sharey=True)
    for ax in axes.flat[len(tables.codecs) :]:
        ax.remove()
    for ax, codec in zip(axes.flat, tables.codecs, strict=False):
        steps = _steps(tables, codec, with_original=True)
        for a, arch in enumerate(tables.archs):
            here, look = rows[(rows["arch"] == arch) & rows["codec"].isin([codec, ORIGINAL])], style.look(a)
            # Side by side, so that intervals of different architectures do not cover each other.
            x = steps.places(here) + 0.16 * (a - (len(tables.archs) - 1) / 2)
            decided = (here["low"] > 0) | (here["high"] < 0)
            spread = [100 * (here["difference"] - here["low"]), 100 * (here["high"] - here["difference"])]
            ax.errorbar(x, 100 * here["difference"], spread, fmt="none", ecolor=look.colour, elinewidth=1.3)
            for which, face in ((decided, look.colour), (~decided, "white")):
                ax.plot(x[which], 100 * here["difference"][which], look.marker, color=look.colour, mfc=face)
        ax.axhline(0, color=style.INK, lw=0.9)
        ax.set_title(tables.title(codec))
        if ax.get_subplotspec().is_first_col():
            ax.set_ylabel(f"gain in {METRIC_TITLES[tables.primary]} (points)")
        steps.axis(ax, last=True)
    handles = [
        Line2D([], [], color=style.look(a).colour, marker=style.look(a).marker, ls="", label=arch)
        for a, arch in enumerate(tables.archs)
    ]
    handles.append(
        Line2D([], [], color=style.FAINT, marker="o", mfc="white", ls="", label="hollow: interval includes 0")
    )
    _legend(figure, handles)
    style.title(
        figure,
        f"{tables.task}: gain from training on a mixture of levels instead of originals\n"
        "per test level, with 95 % intervals",
    )
    return figure


def transfer(tables: Summary) -> Figure:
    """Heat maps of training condition against test level, for each codec with matched models."""
    matched = tables.transfer[tables.transfer["train"] == "matched"]
    pairs = list(matched[["arch", "codec"]].drop_duplicates().sort_values(["arch", "codec"]).itertuples(index=False))
    maps = [_transfer_map(tables, arch, codec) for arch, codec in pairs]
    columns = min(2, len(pairs))
    wide, high = (max(one.shape[axis] for one in maps) for axis in (1, 0))
    figure, axes = _grid(math.ceil(len(pairs) / columns), columns, 1.4 + 0.66 * wide, 0.8 + 0.36 * high)
    for ax in axes.flat[len(pairs) :]:
        ax.remove()
    norm = Normalize(min(np.nanmin(one) for one in maps), max(np.nanmax(one) for one in maps))
    for ax, (arch, codec), values in zip(axes.flat, pairs, maps, strict=False):
        ax.imshow(values, cmap="cividis", norm=norm, aspect="auto")
        for (i, trained), (j, tested) in _product(values.index, values.columns):
            value = float(values.to_numpy()[i, j])
            ink = "white" if norm(value) < 0.55 else "black"
            text = "–" if math.isnan(value) else f"{value:.1f}"
            ax.text(j, i, text, ha="center", va="center", color=ink, fontsize=8.5)
            if trained == tested:
                ax.add_patch(Rectangle((j - 0.46, i - 0.43), 0.92, 0.86, fill=False, ec=ink, lw=1.3))
        ax.set_xticks(range(len(values.columns)), values.columns, rotation=30, ha="right", rotation_mode="anchor")
        ax.set_yticks(range(len(values.index)), values.index)
        ax.set(xlabel="tested on, mild to strong", ylabel="trained on", title=f"{arch}, {tables.title(codec)}")
        ax.grid(False)
        ax.tick_params(length=0)
    shades = matplotlib.cm.ScalarMappable(norm, "cividis")
    figure.colorbar(shades, ax=axes, label=f"{METRIC_TITLES[tables.primary]} (%)", shrink=0.9)
    style.title(
        figure, f"{tables.task}: does training carry over to other levels?\nframed: trained and tested on the same"
    )
    return figure


def limits(tables: Summary) -> Figure:
    """The strongest acceptable level per codec and margin, as a coloured table; a block of rows per regime."""
    rows = tables.limits[tables.limits["regime"].isin(tables.regimes)]
    lines = [(regime, codec) for regime in tables.regimes for codec in tables.codecs]
    across = min(2, len(tables.archs))
    down = math.ceil(len(tables.archs) / across)
    wide, high = 0.2 + 1.5 * len(tables.deltas), 0.4 * (len(lines) + 0.6 * len(tables.regimes))
    figure, axes = _grid(down, across, wide, high)
    for ax in axes.flat[len(tables.archs) :]:
        ax.remove()
    for index, (ax, arch) in enumerate(zip(axes.flat, tables.archs, strict=False)):
        y, ticks = 0.0, []
        for regime in tables.regimes:
            name = REGIME_TITLES[regime]
            heading = f"{name}:" if (arch, regime) in tables.trained else f"not {name}"
            ax.text(0.03, y + 0.36, heading, va="center", style="italic")
            y += 0.6
            for codec in tables.codecs:
                ticks.append((y + 0.5, tables.title(codec)))
                for x, delta in enumerate(tables.deltas):
                    cell = rows[(rows["arch"] == arch) & (rows["regime"] == regime) & (rows["codec"] == codec)]
                    cell = cell[cell["delta"] == delta]
                    if not cell.empty:
                        _limit_cell(ax, x, y, cell.iloc[0], tables)
                y += 1
        ax.set(xlim=(0, len(tables.deltas)), ylim=(y, 0), title=arch)
        ax.set_xticks(np.arange(len(tables.deltas)) + 0.5, [f"at most {delta:g} pt lost" for delta in tables.deltas])
        ax.set_yticks([at for at, _ in ticks], [name for _, name in ticks] if index % across == 0 else [])
        ax.tick_params(length=0, labeltop=True, labelbottom=False)
        ax.grid(False)
        ax.spines[:].set_visible(False)
    words = {
        "acceptable": "acceptable: strongest level shown",
        "inconclusive": "inconclusive: too few test items",
        "unacceptable": "unacceptable from the mildest level on",
    }
    _legend(
        figure,
        [
            Rectangle(
                (0, 0), 1, 1, fc=style.VERDICT_COLOURS[v], ec=style.FAINT, lw=0.5, label=f"{VERDICT_SYMBOLS[v]} {text}"
            )
            for v, text in words.items()
        ],
    )
    style.title(
        figure, f"{tables.task}: strongest compression that costs no more {METRIC_TITLES[tables.primary]} than allowed"
    )
    return figure


def attacks(tables: Summary) -> Figure:
    """Robustness by level, worst case per item; a row per model and goal (see `_attack_setups`), a column per codec."""
    rows = tables.worst
    setups = _attack_setups(rows)
    codecs = [codec for codec in tables.codecs if codec in set(rows["codec"])]
    figure, axes = _grid(len(setups), len(codecs), 2.7, 2.4, sharex="col", sharey="row")
    hollow = False
    for (i, setup), (j, codec) in _product(setups, codecs):
        ax, here = axes[i, j], rows[(rows[list(setup.index)] == setup).all(axis=1)]
        here = here[here["codec"].isin([codec, ORIGINAL])]
        steps = _steps(tables, codec, with_original=True, only=set(rows.loc[rows["codec"] == codec, "level"]))
        hollow |= _attack_panel(ax, tables, here, steps, setup["goal"])
        if i == 0:
            ax.set_title(f"{tables.title(codec)}\n\n", fontweight="bold")
        if j == 0:
            size = attack_size(setup["norm"], setup["epsilon"], tables.medium)
            about = f"{setup['arch']}, {REGIME_TITLES[setup['regime']]};\n{setup['goal']}, {size}"
            ax.set_title(about, loc="left", fontsize=8.5)
            ax.set_ylabel(_attack_measure(tables, setup["goal"]))
        steps.axis(ax, last=i == len(setups) - 1)
    _attack_legend(figure, tables, hollow)
    style.title(
        figure,
        f"{tables.task}: under attack with a codec in front of the model\n"
        f"worst of all attacks tried, item by item{_intervals(tables)}",
    )
    return figure


def attack_curves(tables: Summary) -> Figure:
    """Robustness against the budget, from clean items to chance; a row per model, a column per codec at one level."""
    rows = tables.worst
    norm, _ = tables.main_budget
    rows = rows[(rows["goal"] == "untargeted") & (rows["norm"] == norm)]
    best = most_helped(rows[rows["main"]])
    budgets = sorted(set(rows["epsilon"]), key=lambda epsilon: budget_order(norm, epsilon))
    models = list(tables.worst[["arch", "regime"]].drop_duplicates().itertuples(index=False))
    codecs = [codec for codec in tables.codecs if codec in set(tables.worst["codec"])]
    figure, axes = _grid(len(models), len(codecs), 2.7, 2.5, sharex=True, sharey=True)
    clean, clean_after, _ = tables.robust
    hollow = False
    for (i, (arch, regime)), (j, codec) in _product(models, codecs):
        ax, here = axes[i, j], rows[(rows["arch"] == arch) & (rows["regime"] == regime)]
        chosen = best[(best["arch"] == arch) & (best["regime"] == regime) & (best["codec"] == codec)]
        if chosen.empty:  # this model was not attacked in this norm, or only with a target
            ax.set_axis_off()
            continue
        at = here[(here["codec"] == codec) & here["level"].isin(chosen["level"])]
        bare = here[here["codec"] == ORIGINAL]
        curves = [(bare, clean, *BARE_LOOK)]
        curves += [(at[at["tier"] == tier], clean_after, colour, marker) for tier, _, colour, marker in ATTACKERS]
        for curve, unattacked, colour, marker in curves:
            curve = curve.assign(x=curve["epsilon"].map(budgets.index) + 1).sort_values("x")
            hollow |= _attack_curve(ax, tables, curve, curve["x"], colour, marker, "untargeted")
            start = curve.iloc[:1]  # no budget at all: the clean items
            ax.plot([0, *start["x"]], 100 * start[[unattacked, tables.robust[2]]].to_numpy().ravel(), color=colour)
            ax.plot(0, 100 * start[unattacked], marker, color=colour)
        _chance_line(ax, tables)
        ax.set_title(f"{tables.title(codec)}, {tables.label(codec, at['level'].iloc[0])}")
        ax.set_xticks(range(len(budgets) + 1), ["none", *(_short_size(norm, each, tables.medium) for each in budgets)])
        ax.set_ylim(-4, 104)
        if j == 0:
            ax.set_ylabel(f"{arch}, {regime}\n{_attack_measure(tables, 'untargeted')}")
        if i == len(models) - 1:
            unit = {"linf": "L∞ budget", "l2": "L2 budget", "snr": "SNR, dB"}.get(norm, "share of the picture")
            ax.set_xlabel(f"{unit}, small to large")
    _attack_legend(figure, tables, hollow, with_clean=False)
    style.title(
        figure,
        f"{tables.task}: how robustness falls with the attacker's budget\n"
        f"of each codec the level that gains most if it is ignored{_intervals(tables)}",
    )
    return figure


def attack_regimes(tables: Summary) -> Figure:
    """Clean and robust accuracy side by side; a block per architecture and measure, a row per regime."""
    rows, budget = tables.worst, tables.main_budget
    rows = rows[(rows["norm"] == budget[0]) & (rows["epsilon"] == budget[1]) & (rows["goal"] == "untargeted")]
    _, clean_after, robust = tables.robust
    archs = list(dict.fromkeys(tables.worst["arch"]))
    conditions = [(ORIGINAL, 0.0, "no codec")]
    for codec in tables.codecs:
        levels = [
            level for level in tables.levels(codec)["level"] if level in set(rows.loc[rows["codec"] == codec, "level"])
        ]
        conditions += [(codec, level, f"{tables.title(codec)}\n{tables.label(codec, level)}") for level in levels]
    # The bare model has no codec to be oblivious of: its worst case stands in both blocks.
    blocks = [
        ("clean items", clean_after, ALL),
        ("attacker ignores the codec", robust, OBLIVIOUS),
        ("worst of all attacks tried", robust, ALL),
    ]
    regimes = [regime for regime in REGIME_TITLES if regime in set(tables.worst["regime"])]
    high = 0.42 * len(regimes) + 0.55
    figure, axes = _grid(len(archs) * len(blocks), 1, 1.6 + 0.72 * len(conditions), high, sharex=True)
    norm, starred = Normalize(0, 100), False
    for (i, arch), (b, (what, column, tier)) in _product(archs, blocks):
        ax, values = axes[i * len(blocks) + b, 0], np.full((len(regimes), len(conditions)), np.nan)
        for (y, regime), (x, (codec, level, _)) in _product(regimes, conditions):
            here = rows[(rows["arch"] == arch) & (rows["regime"] == regime) & (rows["codec"] == codec)]
            cell = here[(here["level"] == level) & (here["tier"] == (ALL if codec == ORIGINAL else tier))]
            if cell.empty:
                ax.text(x, y, "–", ha="center", va="center")
                continue
            values[y, x] = 100 * cell[column].iloc[0]
            doubtful = column == robust and bool(cell["unreliable"].iloc[0])
            starred |= doubtful
            ink = "white" if norm(values[y, x]) < 0.55 else "black"
            text = f"{values[y, x]:.0f}{'*' * doubtful}"
            ax.text(x, y, text, ha="center", va="center", color=ink, fontsize=8.5)
        ax.imshow(values, cmap="cividis", norm=norm, aspect="auto")
        ax.set_yticks(range(len(regimes)), [REGIME_TITLES[regime] for regime in regimes])
        ax.set_xticks(range(len(conditions)), [name for *_, name in conditions], fontsize=7.5)
        ax.set_title(f"{arch}: {what}" if len(archs) > 1 else what, loc="left")
        ax.grid(False)
        ax.tick_params(length=0)
    measure = METRIC_TITLES[tables.primary]
    about = attack_size(*budget, tables.medium)
    note = "\n* a check failed: the figure is an upper bound" if starred else ""
    style.title(figure, f"{tables.task}: what training and compression do to robustness\n{measure} (%), {about}{note}")
    return figure


FIGURES: dict[str, Callable[[Summary], Figure]] = {
    "limits": limits,
    "rate_accuracy": rate_accuracy,
    "fidelity_accuracy": fidelity_accuracy,
    "metrics": metrics,
    "recovery": recovery,
    "transfer": transfer,
    "attacks": attacks,
    "attack_curves": attack_curves,
    "attack_regimes": attack_regimes,
}
# Tier of `worst`, legend text, colour, marker.
ATTACKERS = (
    (OBLIVIOUS, "attacker ignores the codec (oblivious)", "#0072B2", "s"),
    (ALL, "worst of everything tried", "#D55E00", "o"),
)
BARE_LOOK = (style.FAINT, "D")


def _attack_setups(rows: pd.DataFrame) -> list[pd.Series]:
    """The rows of the figure `attacks`: all goals at the main budget, and of each other norm its largest budget, of the
    first regime; of the others, which `attack_regimes` compares, the main attack alone.
    """
    keys = ["arch", "regime", "norm", "epsilon", "goal"]
    goals = ("untargeted", "targeted", "trigger")
    found = rows[[*keys, "main"]].drop_duplicates()
    main = found.loc[found["main"], "norm"].iloc[0]
    order = [budget_order(*budget) for budget in zip(found["norm"], found["epsilon"], strict=True)]
    found = found.assign(size=order, goal_order=found["goal"].map(goals.index))
    largest = found["size"] == found.groupby(["arch", "regime", "norm"])["size"].transform("max")
    first = found["regime"] == found.groupby("arch")["regime"].transform("first")
    shown = found["main"] & (first | (found["goal"] == "untargeted")) | (found["norm"] != main) & largest & first
    ordered = found[shown].sort_values(["arch", "main", "goal_order"], ascending=[True, False, True], kind="stable")
    return [setup for _, setup in ordered[keys].iterrows()]


def _attack_panel(ax: Axes, tables: Summary, rows: pd.DataFrame, steps: _Steps, goal: str) -> bool:
    """One model, goal and codec; true when some point is unreliable and therefore drawn hollow."""
    hollow = False
    bare = rows[rows["codec"] == ORIGINAL]
    if goal == "trigger":
        ax.axhline(0, color=style.FAINT, ls=(0, (5, 2)), lw=1.2)
    else:
        column = "tasr_after" if goal == "targeted" else tables.robust[2]
        for value in bare[column]:
            ax.axhline(100 * value, color=style.FAINT, ls=(0, (5, 2)), lw=1.2)
    if goal == "untargeted":
        _chance_line(ax, tables)
        clean = rows[(rows["tier"] == ALL)]
        ax.plot(steps.places(clean), 100 * clean[tables.robust[1]], color=style.INK, marker="_", lw=1)
    for tier, _, colour, marker in ATTACKERS:
        curve = pd.concat([bare, rows[(rows["codec"] != ORIGINAL) & (rows["tier"] == tier)]])
        if goal == "trigger" and tier == OBLIVIOUS:
            continue  # whoever wants a trigger knows of the codec
        hollow |= _attack_curve(ax, tables, curve, steps.places(curve), colour, marker, goal)
    if goal != "trigger":
        hollow |= _attack_curve(ax, tables, bare, steps.places(bare), *BARE_LOOK, goal)
        ax.set_ylim(-4, 104)
    return hollow


def _attack_curve(
    ax: Axes, tables: Summary, rows: pd.DataFrame, x: pd.Series, colour: str, marker: str, goal: str
) -> bool:
    """Points, joined, with a band for the interval (mAP has none), hollow where unreliable; true if any is."""
    column = {"untargeted": tables.robust[2], "targeted": "tasr_after", "trigger": "triggered"}[goal]
    doubtful = rows["unreliable"].astype(bool)
    ax.plot(x, 100 * rows[column], color=colour, marker=marker)
    if f"{column}_low" in rows:
        low, high = 100 * rows[f"{column}_low"], 100 * rows[f"{column}_high"]
        ax.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
        if (known := rows[column].notna()).sum() == 1:  # one point makes no band
            ax.vlines(x[known], low[known], high[known], color=colour, alpha=0.4)
    ax.plot(x[doubtful], 100 * rows[column][doubtful], marker, color=colour, mfc="white", zorder=4)
    return bool(doubtful.any())


def _attack_measure(tables: Summary, goal: str) -> str:
    robust = "robust mAP@0.5 (%)" if tables.kind == "detection" else "robust accuracy (%)"
    return {"untargeted": robust, "targeted": "TASR (%)", "trigger": "triggered (points)"}[goal]


def _short_size(norm: str, epsilon: float, medium: str) -> str:
    """A budget as a tick: the axis says of what."""
    if norm == "linf" and medium != "audio":
        return f"{number(255 * epsilon)}/255"
    return f"{number(100 * epsilon)} %" if norm == "share" else number(epsilon)


def _intervals(tables: Summary) -> str:
    return "" if tables.kind == "detection" else "; 95 % intervals"


def _chance_line(ax: Axes, tables: Summary) -> None:
    """What guessing has right. A detector that finds nothing has an mAP of 0."""
    if tables.kind == "classification":
        classes = tables.metrics.loc[tables.metrics["class"] != "", "class"].nunique()
        ax.axhline(100 / max(1, classes), color=style.FAINT, ls=":", lw=1.2)


def _attack_legend(figure: Figure, tables: Summary, hollow: bool, with_clean: bool = True) -> None:
    handles = [Line2D([], [], color=style.INK, marker="_", lw=1, label="clean items after the codec")] * with_clean
    handles += [Line2D([], [], color=colour, marker=marker, label=text) for _, text, colour, marker in ATTACKERS]
    handles.append(
        Line2D([], [], color=BARE_LOOK[0], marker=BARE_LOOK[1], ls=(0, (5, 2)) if with_clean else "-", label="no codec")
    )
    if tables.kind == "classification":
        handles.append(Line2D([], [], color=style.FAINT, ls=":", label="chance"))
    if hollow:
        text = "hollow: a check failed, unreliable"
        handles.append(Line2D([], [], color=style.FAINT, marker="o", mfc="white", ls="", label=text))
    _legend(figure, handles)


def _limit_cell(ax: Axes, x: int, y: float, cell: pd.Series, tables: Summary) -> None:
    colour, symbol = style.VERDICT_COLOURS[cell["verdict"]], VERDICT_SYMBOLS[cell["verdict"]]
    ax.add_patch(Rectangle((x + 0.015, y + 0.04), 0.97, 0.92, fc=colour, ec="none"))
    if cell["verdict"] == "acceptable":
        first = f"{symbol} {cell['label']}"
        second = f"{amount(cell['rate'])} {cell['rate_unit']}, saves {percent(cell['saving'])}"
    elif cell["verdict"] == "inconclusive":
        first = f"{symbol} none shown"
        second = "" if pd.isna(cell["items_needed"]) else f"needs about {cell['items_needed']:,.0f} items"
    else:
        first, second = f"{symbol} none", f"{tables.label(cell['codec'], cell['stopped_at'])} costs more"
    ax.text(x + 0.5, y + 0.3, first, ha="center", va="center", fontweight="bold", fontsize=9)
    ax.text(x + 0.5, y + 0.72, second, ha="center", va="center", fontsize=8)


def _transfer_map(tables: Summary, arch: str, codec: str) -> pd.DataFrame:
    """The primary metric in %, a row per training condition, a column per test level, both named and mild to strong."""
    rows = tables.transfer[(tables.transfer["arch"] == arch) & (tables.transfer["codec"] == codec)]
    trained = {regime: rows["train"] == regime for regime in REGIME_TITLES}
    for other in tables.codecs:
        prefix = "" if other == codec else f"{tables.title(other)} "
        for _, condition in tables.levels(other).iterrows():
            trained[prefix + condition["label"]] = (
                (rows["train"] == "matched")
                & (rows["train_codec"] == other)
                & (rows["train_level"] == condition["level"])
            )
    tested = {ORIGINAL: rows["test_level"].isna()}
    tested |= {c["label"]: rows["test_level"] == c["level"] for _, c in tables.levels(codec).iterrows()}
    found = pd.DataFrame(
        {
            column: {row: 100 * rows.loc[of & on, "value"].mean() for row, of in trained.items()}
            for column, on in tested.items()
        }
    )
    return found.dropna(how="all").dropna(how="all", axis=1)


def _grid(rows: int, columns: int, wide: float, high: float, sharex: Share = False, sharey: Share = False) -> Any:
    """A figure of rows x columns panels of that size in inches, and the axes as a 2-D array."""
    figure = Figure(figsize=(max(6.5, columns * wide + 0.6), rows * high + 1.1), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)


def _product(first: Iterable[Any], second: Iterable[Any]) -> Iterable[tuple[tuple[int, Any], tuple[int, Any]]]:
    """Pairs of (index, value) over both."""
    return itertools.product(enumerate(first), enumerate(second))


def _reference(ax: Axes, rows: pd.DataFrame) -> None:
    """The uncompressed reference as a line with its interval."""
    for _, row in rows[rows["codec"] == ORIGINAL].iterrows():
        ax.axhspan(100 * row["low"], 100 * row["high"], color="#000000", alpha=0.07, lw=0)
        ax.axhline(100 * row["value"], color=style.FAINT, ls=(0, (5, 2)), lw=1.2)


def _curve(ax: Axes, codec: str, x: pd.Series, rows: pd.DataFrame) -> None:
    """One codec's points, joined, with a band for the interval."""
    look = style.codec_look(codec)
    ax.fill_between(x, 100 * rows["low"], 100 * rows["high"], color=look.colour, alpha=0.13, lw=0)
    ax.plot(x, 100 * rows["value"], color=look.colour, marker=look.marker)


def _name_ends(ax: Axes, ends: list[pd.Series]) -> None:
    """Write the level left of each curve's end, pushed apart where names would cover each other."""
    if not ends:
        return
    ends = sorted(ends, key=lambda end: end["value"])
    wanted = [100 * end["value"] for end in ends]
    low, high = ax.get_ylim()
    gap, placed = 0.05 * (high - low), [wanted[0]]
    for at in wanted[1:]:
        placed.append(max(at, placed[-1] + gap))
    down = min(np.mean(placed) - np.mean(wanted), placed[0] - low)  # spread about the points, but inside the axes
    for end, at in zip(ends, placed, strict=True):
        ax.annotate(
            end["label"],
            (end["rate"], at - down),
            xytext=(-8, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=8,
            color=[0.65 * part for part in to_rgb(style.codec_look(end["codec"]).colour)],  # readable as text
        )


class _Steps(NamedTuple):
    """Evenly spaced places for a codec's levels, mildest first; the original, if shown, leads."""

    levels: list[float]  # -1 stands for the original
    unit: str  # what the numbers mean: "QF", "kb/s", "ratio"

    def places(self, rows: pd.DataFrame) -> pd.Series:
        """Where each row stands."""
        levels = rows["level"].where(rows["codec"] != ORIGINAL, -1.0)
        return levels.map({level: place for place, level in enumerate(self.levels)})

    def axis(self, ax: Axes, last: bool) -> None:
        """Name the levels below the panel, and say what they are when it is the last of its column."""
        names = ["orig." if level == -1 else level_text(level) for level in self.levels]
        ax.set_xticks(range(len(names)), names)
        ax.set_xlim(-0.4, len(names) - 0.6)
        ax.yaxis.set_major_locator(MaxNLocator(5))
        if last:
            ax.set_xlabel(f"level ({self.unit}), mild to strong")


def _steps(tables: Summary, codec: str, with_original: bool, only: set[float] | None = None) -> _Steps:
    levels = tables.levels(codec)
    row = levels.iloc[0]
    unit = str(row["label"]).replace(level_text(row["level"]), "", 1).strip()
    shown = [level for level in levels["level"] if only is None or level in only]
    return _Steps([-1.0] * with_original + shown, "ratio" if unit == ":1" else unit)


def _dash(regime: str) -> str:
    return {ORIGINAL: "-", "mixed": "--", "adversarial": ":"}[regime]


def _minor_log(value: float, _: int) -> str:
    """Label 2 and 5 of each decade: a narrow range of rates would otherwise show a single number."""
    lead = value / 10 ** math.floor(math.log10(value))
    return number(value) if round(lead, 6) in (2, 5) else ""


def _codec_legend(figure: Figure, tables: Summary) -> None:
    looks = {codec: style.codec_look(codec) for codec in tables.codecs}
    handles = [Line2D([], [], color=k.colour, marker=k.marker, label=tables.title(c)) for c, k in looks.items()]
    handles.append(Line2D([], [], color=style.FAINT, ls=(0, (5, 2)), label="uncompressed"))
    _legend(figure, handles)


def _legend(figure: Figure, handles: list[Any]) -> None:
    """A legend below the panels, where it cannot cover data, in as many columns as fit."""
    longest = max(len(handle.get_label()) for handle in handles)
    fit = max(1, int(figure.get_figwidth() / (0.45 + 0.063 * longest)))
    lines = math.ceil(len(handles) / fit)
    figure.legend(handles=handles, loc="outside lower center", ncols=math.ceil(len(handles) / lines))
