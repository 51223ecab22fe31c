"""The figures of a task, each drawn by one function from the summary tables."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from lossybench.conditions import ORIGINAL, level_text
from lossybench.errors import visible
from lossybench.reporting import style
from lossybench.reporting.names import figure_names
from lossybench.reporting.summary import (
    ACCEPTED,
    ALL,
    BEST,
    HERE,
    NO_NUMBER,
    NO_REFERENCE,
    OBLIVIOUS,
    OWN,
    REGIME_TITLES,
    TOO_CLOSE,
    UNCHECKED,
    UNCHECKED_TEXT,
    VERDICT_SYMBOLS,
    Explained,
    Summary,
    amount,
    attack_size,
    budget_order,
    budgets,
    most_helped,
    needed,
    number,
    on_originals,
    percent,
    unchecked,
    where,
)

Share = bool | Literal["row", "col"]
FIDELITY = {"psnr": "PSNR (dB)", "ssim": "SSIM", "snr": "SNR (dB)", "si_sdr": "SI-SDR (dB)"}
FIDELITY |= {"spectral_distance": "log-spectral distance (dB)"}


def draw(summary: Path, out: Path) -> list[Path]:
    """Draw every figure that a task has data for and return the paths of the files.

    summary: the folder of the task's tables. out: the folder that gets `{stem}.png` and `{stem}.svg` for each stem of
    `names.figure_names`. Raises LossyBenchError, naming the file, when a table is missing.
    """
    tables = Summary(summary)
    names = figure_names(
        has_fidelity=tables.has_fidelity,
        has_attacks=not tables.attacks.empty,
        has_matched=bool((tables.transfer["train"] == "matched").any()),
        has_regimes=len(tables.regimes) > 1,
        has_attacked_regimes=tables.attacks["regime"].nunique() > 1,
        has_capture=bool(tables.grids),
        has_subgroups=tables.meta["settings"].get("by") != [],
        has_gaps=bool((tables.gaps["training"] != "").any()),
    )
    paths = []
    with style.styled():
        for name in names:
            paths += style.save(FIGURES[name](tables), out / f"{name}.png", out / f"{name}.svg")
    return paths


def rate_accuracy(tables: Summary) -> Figure:
    """The primary metric against the measured rate, with a row per regime and a column per architecture."""
    rows = tables.overall(tables.primary)
    figure, axes = _grid(len(tables.regimes), len(tables.archs), 4.4, 3.1, sharex=True, sharey=True)
    limits = where(tables.main_limits, delta=tables.delta)
    ends, looks = [], style.codec_looks(tables.codecs)
    for (i, regime), (j, arch) in _product(tables.regimes, tables.archs):
        ax, here = axes[i, j], where(rows, arch=arch, regime=regime)
        ax.set_title(f"{arch}, {tables.training(arch, regime)}")
        _reference(ax, tables, here)
        for codec in [] if here.empty else tables.codecs:
            curve = where(here, codec=codec).sort_values("rate")
            _curve(ax, looks[codec], curve["rate"], curve)
            ends.append((ax, curve.iloc[0]))
            _ring(ax, curve, limits, looks[codec].colour)
        _rate_axis(ax)
        ax.margins(x=0.15)  # room for the names
        if i == len(tables.regimes) - 1:
            ax.set_xlabel(f"measured rate ({tables.conditions['rate_unit'].iloc[0]}, {tables.rate_of}, log scale)")
        if j == 0:
            ax.set_ylabel(f"{tables.metric.axis}")
    for ax in axes.flat:  # only now are the shared axes final
        _name_ends(ax, [end for at, end in ends if at is ax], looks)
    about = (
        f"{tables.metric.title} against rate, with 95 % intervals\n"
        f"ringed: strongest level shown to cost at most {tables.margin}; named: strongest level tested"
        f"{_BY_BEST * (len(tables.regimes) > 1)}"
    )
    return _finished(figure, tables, about, _codec_keys(tables, tables.regimes))


def frontier(tables: Summary, timed: pd.DataFrame) -> Figure:
    """The primary metric of models of the regime `original` against bytes on disk, with the time of decoding as colour.

    There is a column per architecture. Points are faded where another one has no more bytes and at least as much of the
    metric, and is better in one of the two. timed: rows of artifacts.TIMINGS with a column codec.
    """
    rows = where(tables.overall(tables.primary), regime=ORIGINAL).merge(
        timed[["codec", "level", "decode_ms"]], on=["codec", "level"]
    )
    figure, axes = _grid(1, len(tables.archs), 4.8, 3.4, sharex=True, sharey=True)
    looks = style.codec_looks(tables.codecs) | {ORIGINAL: style.Look(style.INK, "X")}
    times = LogNorm(*(rows["decode_ms"].min() * 0.99, rows["decode_ms"].max() * 1.01))
    for ax, arch in zip(axes.flat, tables.archs, strict=True):
        here = where(rows, arch=arch)
        ax.set_title(f"{arch}, {tables.training(arch, ORIGINAL)}")
        size, value = here["file_bytes"].to_numpy(), here["value"].to_numpy()
        value = tables.metric.sign * value
        no_worse = (size <= size[:, None]) & (value >= value[:, None])
        better = (size < size[:, None]) | (value > value[:, None])
        faded = (no_worse & better).any(axis=1)
        for codec, look in looks.items():
            for dim in (True, False):
                of = here[(here["codec"] == codec).to_numpy() & (faded == dim)]
                how = {"c": of["decode_ms"], "norm": times, "cmap": "cividis_r", "marker": look.marker}
                edge = {"alpha": 0.25} if dim else {"edgecolors": style.INK, "linewidths": 0.6}
                ax.scatter(of["file_bytes"], of["value"], s=42, **how, **edge)
        _rate_axis(ax)
        ax.set_xlabel("bytes an item, on disk (log scale)")
    axes.flat[0].set_ylabel(f"{tables.metric.axis}")
    colours = ScalarMappable(times, "cividis_r")
    bar = figure.colorbar(colours, ax=list(axes.flat), label="decoding an item, ms of a core", pad=0.02)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    bar.ax.yaxis.set_minor_formatter(FuncFormatter(_minor_log))
    names = {codec: tables.title(codec) for codec in tables.codecs} | {ORIGINAL: "original, lossless"}
    keys = [_key(names[codec], style.INK, look.marker, ls="none") for codec, look in looks.items()]
    about = f"{tables.metric.title} against bytes on disk\nfaded: another point is no larger and no worse"
    return _finished(figure, tables, about, keys)


def fidelity_accuracy(tables: Summary) -> Figure:
    """The primary metric of models of the regime `original` against fidelity.

    There is a row per architecture and a column per measure of fidelity.
    """
    further = tables.meta.get("measures", {})
    titles = dict(FIDELITY)
    for name, about in further.items():
        titles[name] = about["title"] + (f" ({about['unit']})" if about["unit"] else "")
    falling = {"spectral_distance", *(name for name, about in further.items() if about["better"] == "lower")}
    rows = where(tables.overall(tables.primary), regime=ORIGINAL)
    lossy = rows[rows["codec"] != ORIGINAL]
    looks = style.codec_looks(tables.codecs)
    measures = [measure for measure in titles if np.isfinite(lossy[measure].astype(float)).any()]
    figure, axes = _grid(len(tables.archs), len(measures), 4.2, 3.1, sharex="col", sharey=True)
    for (i, arch), (j, measure) in _product(tables.archs, measures):
        ax, here = axes[i, j], where(rows, arch=arch)
        ax.set_title(f"{arch}, {tables.training(arch, ORIGINAL)}")
        _reference(ax, tables, here)
        for codec in tables.codecs:
            curve = where(here, codec=codec).sort_values(measure)
            # A level that changed nothing has an infinite PSNR or SNR, which no axis can show.
            curve = curve[np.isfinite(curve[measure].astype(float))]
            _curve(ax, looks[codec], curve[measure], curve)
        if measure in falling and i == 0:  # the axis is shared by the column
            ax.invert_xaxis()
        if i == len(tables.archs) - 1:
            ax.set_xlabel(titles[measure] + ", more faithful to the right")
        if j == 0:
            ax.set_ylabel(f"{tables.metric.axis}")
    about = f"{tables.metric.title} against fidelity, with 95 % intervals"
    if left_out := int(lossy["infinite"].max()):
        about += f"\nmeans leave out items of infinite PSNR, SNR or SI-SDR: up to {left_out} of {lossy['n'].max()}"
    return _finished(figure, tables, about, _codec_keys(tables, [ORIGINAL]))


def metrics(tables: Summary) -> Figure:
    """Every metric by level, with a row per metric, a column per codec and a line per architecture and regime."""
    shown = [metric for metric in tables.all_of_metrics if metric.drawn] or [tables.metric]
    names = [metric.name for metric in shown]
    figure, axes = _grid(len(names), len(tables.codecs), 2.6, 1.9, sharex="col", sharey="row")
    for i, name in enumerate(names):
        rows = tables.overall(name)
        for j, codec in enumerate(tables.codecs):
            ax, steps = axes[i, j], _steps(tables, codec)
            for (a, arch), (_, regime) in _product(tables.archs, tables.regimes):
                here = where(rows[rows["codec"].isin([codec, ORIGINAL])], arch=arch, regime=regime)
                x, look = steps.places(here), style.look(a)
                ax.plot(x, here["value"], look.marker, ls=DASHES[regime], color=look.colour)
                ax.fill_between(x, here["low"], here["high"], color=look.colour, alpha=0.1, lw=0)
            if i == 0:
                ax.set_title(tables.title(codec))
            if j == 0:
                ax.set_ylabel(shown[i].axis)
            steps.axis(ax, last=i == len(names) - 1)
    handles = [
        _key(f"{arch}, {tables.training(arch, regime)}", *style.look(a), ls=DASHES[regime])
        for (a, arch), (_, regime) in _product(tables.archs, tables.regimes)
        if (arch, regime) in tables.trained
    ]
    return _finished(figure, tables, "what is lost by level, mild to strong\nwith 95 % intervals", handles)


def capture(tables: Summary) -> Figure:
    """The primary metric of models trained on originals against the rate, a line for each level of a degradation.

    There is a row per architecture and a column per codec and degradation; the darkest line is of items as they came.
    """
    rows = where(tables.overall(tables.primary, captured=True), regime=ORIGINAL)
    limits = where(tables.capture, regime=ORIGINAL, baseline=OWN, delta=tables.delta)
    worse = limits[limits["degradation"] != ""]
    columns = list(worse[["codec", "degradation"]].drop_duplicates().itertuples(index=False, name=None))
    archs = [arch for arch in tables.archs if arch in set(limits["arch"])]
    figure, axes = _grid(len(archs), len(columns), 4.2, 3.1, sharex=True, sharey=True)
    for (i, arch), (j, (codec, degradation)) in _product(archs, columns):
        ax, look = axes[i, j], style.look(j)
        here = where(limits, arch=arch, codec=codec)
        lines = here[here["degradation"].isin(["", degradation])]
        _reference(ax, tables, where(rows, arch=arch))
        for k, (_, line) in enumerate(lines.iterrows()):
            pale = 0.6 * k / max(1, len(lines) - 1)
            colour = tuple((1 - pale) * part + pale for part in to_rgb(look.colour))
            curve = where(rows, arch=arch, codec=line["chain"]).sort_values("rate")
            ax.fill_between(curve["rate"], curve["low"], curve["high"], color=colour, alpha=0.13, lw=0)
            marker = style.look(k).marker
            ax.plot(curve["rate"], curve["value"], color=colour, marker=marker, label=line["condition"])
            passed = where(curve, level=line["level"])
            ax.plot(passed["rate"], passed["value"], "o", ms=10, mfc="none", mec=style.INK, mew=1.2)
        ax.set_title(f"{arch}, {tables.title(codec)}")
        ax.legend(fontsize=8, loc="lower right")
        _rate_axis(ax)
        if i == len(archs) - 1:
            ax.set_xlabel(f"measured rate ({tables.conditions['rate_unit'].iloc[0]}, log scale)")
        if j == 0:
            ax.set_ylabel(f"{tables.metric.axis}")
    about = (
        f"{tables.metric.title} as capture gets worse, with 95 % intervals\n"
        f"ringed: strongest level shown to cost at most {tables.margin} against originals as they came"
    )
    return _finished(figure, tables, about, [_key("uncompressed, as they came", style.FAINT, ls=BASELINE)])


def regimes(tables: Summary) -> Figure:
    """The primary metric of models of every regime against the rate, with a row per architecture, a column per codec.

    Lines stand for what the best model trained on originals has there, and for the middle delta below it, so that
    nothing seems a gain that begins at a loss.
    """
    rows = tables.overall(tables.primary)
    archs = [arch for arch in tables.archs if any(arch == of and regime != ORIGINAL for of, regime in tables.trained)]
    limits = where(tables.limits, baseline=BEST, delta=tables.delta)
    metric = tables.metric
    best = metric.scale * tables.best["reference"]
    figure, axes = _grid(len(archs), len(tables.codecs), 2.8, 2.7, sharex=True, sharey=True)
    for (i, arch), (j, codec) in _product(archs, tables.codecs):
        ax = axes[i, j]
        ax.axhline(best, color=style.FAINT, ls=BASELINE, lw=1.2)
        ax.axhline(best - metric.sign * tables.delta, color=style.INK, lw=0.9)
        for r, regime in enumerate(tables.regimes):
            here, look = where(rows, arch=arch, regime=regime), style.look(r)
            curve = where(here, codec=codec).sort_values("rate")
            ax.plot(curve["rate"], curve["value"], look.marker, ls=DASHES[regime], color=look.colour)
            ax.fill_between(curve["rate"], curve["low"], curve["high"], color=look.colour, alpha=0.13, lw=0)
            _ring(ax, curve, limits, look.colour)
            at_edge = {"transform": ax.get_yaxis_transform(), "clip_on": False, "color": look.colour, "mfc": "white"}
            for value in where(here, codec=ORIGINAL)["value"]:  # not at its rate, which is far from the others
                ax.plot(1, value, look.marker, **at_edge)
        if i == 0:
            ax.set_title(tables.title(codec))
        if j == 0:
            ax.set_ylabel(f"{arch}\n{tables.metric.axis}")
        _rate_axis(ax)
        if i == len(archs) - 1:
            ax.set_xlabel(f"measured rate ({tables.conditions['rate_unit'].iloc[0]}, {tables.rate_of})")
    handles = [
        _key(REGIME_TITLES[regime], *style.look(r), ls=DASHES[regime]) for r, regime in enumerate(tables.regimes)
    ]
    handles += [
        _key(f"best on originals: {tables.best_name}", style.FAINT, ls=BASELINE),
        _key(f"{tables.delta:g} {metric.points} {'below' if metric.sign > 0 else 'above'}", style.INK, lw=0.9),
        _key("right edge: on originals", style.FAINT, "o", ls="", mfc="white"),
    ]
    about = (
        f"{tables.metric.title} against rate by what models were trained on, with 95 % intervals\n"
        f"ringed: strongest level shown to give up at most {tables.margin} against the best on originals"
    )
    return _finished(figure, tables, about, handles)


def gaps(tables: Summary) -> Figure:
    """What of each loss training on compressed media wins back: stacked bars by level, a row per architecture and
    training, a column per codec.
    """
    rows = tables.gaps[(tables.gaps["training"] != "") & (tables.gaps["codec"] != ORIGINAL)]
    models = list(rows[["arch", "training"]].drop_duplicates().itertuples(index=False, name=None))
    figure, axes = _grid(len(models), len(tables.codecs), 2.8, 2.4, sharex="col", sharey="row")
    metric = tables.metric
    parts = (("remaining", style.look(1).colour), ("recovered", style.look(0).colour))
    for (i, (arch, training)), (j, codec) in _product(models, tables.codecs):
        ax, steps = axes[i, j], _steps(tables, codec)
        here = where(rows, arch=arch, training=training, codec=codec)
        x = steps.places(here).to_numpy()
        left = metric.scale * here["remaining"].clip(lower=0).to_numpy()
        ax.bar(x, left, 0.6, color=parts[0][1])
        ax.bar(x, metric.scale * here["recovered"].clip(lower=0), 0.6, bottom=left, color=parts[1][1], alpha=0.55)
        for shift, name in ((-0.12, "remaining"), (0.12, "loss")):
            value, low, high = (metric.scale * here[f"{name}{end}"].to_numpy() for end in ("", "_low", "_high"))
            marker = "_" if name == "loss" else "o"
            ax.errorbar(x + shift, value, [value - low, high - value], fmt=marker, color=style.INK, ms=4, lw=1)
        ax.axhline(0, color=style.FAINT, lw=0.8)
        if i == 0:
            ax.set_title(tables.title(codec))
        if j == 0:
            ax.set_ylabel(f"{arch}, {training}\n{metric.points} of {metric.title}")
        steps.axis(ax, last=i == len(models) - 1)
    handles: list[Artist] = [
        Rectangle((0, 0), 1, 1, fc=parts[0][1], label="remains after training on compressed media"),
        Rectangle((0, 0), 1, 1, fc=parts[1][1], alpha=0.55, label="won back by it"),
        _key("what remains, 95 %", style.INK, "o"),
        _key("what is lost without it, 95 %", style.INK, "_"),
    ]
    about = (
        "which part of a loss is won back by training on compressed media\nmatched: on this level, mixed: on several"
    )
    return _finished(figure, tables, about, handles)


def subgroups(tables: Summary) -> Figure:
    """What each class, size of objects and group of items loses, with a block of rows for each architecture and way of
    telling apart, and a column per codec, at the first level beyond its limit or the strongest.
    """
    scale, unit = tables.metric.scale, tables.metric.points
    rows = where(tables.subgroups, regime=ORIGINAL)
    found = rows[["arch", "by"]].drop_duplicates()
    blocks = list(zip(found["arch"], found["by"], strict=True)) or [(tables.archs[0], "")]
    counts = [max(where(rows, arch=arch, by=by)["group"].nunique(), 1) for arch, by in blocks]
    size = (max(6.5, 2.6 * len(tables.codecs) + 1.6), 0.2 * sum(counts) + 0.7 * len(blocks) + 1.1)
    figure = Figure(figsize=size, layout="constrained")
    how: dict[str, Any] = {"squeeze": False, "sharex": "col", "sharey": "row"}
    axes = figure.subplots(len(blocks), len(tables.codecs), height_ratios=[count + 2 for count in counts], **how)
    limits = where(tables.limits, regime=ORIGINAL, baseline=OWN, delta=tables.delta)
    for (i, (arch, by)), (j, codec) in _product(blocks, tables.codecs):
        ax, levels = axes[i, j], tables.levels(codec)["level"]
        stopped = where(limits, arch=arch, codec=codec)["stopped_at"].dropna()
        level = stopped.iloc[0] if len(stopped) else levels.iloc[-1]
        here = where(rows, arch=arch, by=by, codec=codec, level=level)
        ax.set_title(f"{tables.title(codec)}, {tables.label(codec, level)}", fontsize=8.5)
        ax.axvline(0, color=style.FAINT, lw=0.8)
        for y, (_, row) in enumerate(here.iterrows()):
            if not row["judged"]:
                ax.text(0, y, f" {row['support']}: too few", va="center", fontsize=7, color=style.FAINT)
                continue
            colour, marker = (style.look(0).colour, "D") if row["hurt"] else (style.look(1).colour, "o")
            ends = [[scale * (row["loss"] - row["loss_low"])], [scale * (row["loss_high"] - row["loss"])]]
            ax.errorbar(scale * row["loss"], y, xerr=ends, fmt=marker, color=colour, ms=4, lw=1)
        average = where(tables.differences, arch=arch, regime=ORIGINAL, baseline=OWN, codec=codec, level=level)
        for value in average["difference"]:
            ax.axvline(-scale * value, color=style.INK, lw=0.9, ls=BASELINE)
        names = [_wrapped(visible(name), 26) for name in here["group"]]
        ax.set_yticks(range(len(names)), names, fontsize=7.5)
        ax.set_ylim(len(names) - 0.4, -0.6)
        if j == 0:
            ax.set_ylabel(f"{arch}\n{by.replace('_', ' ')}", fontsize=8.5)
        if i == len(blocks) - 1:
            ax.set_xlabel(f"{unit} lost")
    handles: list[Artist] = [
        _key("shown to lose more than all items do", style.look(0).colour, "D", ls=""),
        _key("not shown to", style.look(1).colour, "o", ls=""),
        _key("all items", style.INK, ls=BASELINE),
    ]
    about = "by what a loss hurts, with 95 % intervals\nat the first level beyond the limit of"
    return _finished(figure, tables, f"{about} {tables.delta:g} {unit}, or the strongest", handles)


def transfer(tables: Summary) -> Figure:
    """Heat maps of training condition against test level, one for each codec with matched models."""
    matched = where(tables.transfer, train="matched")
    pairs = list(matched[["arch", "codec"]].drop_duplicates().sort_values(["arch", "codec"]).itertuples(index=False))
    maps = [_transfer_map(tables, arch, codec) for arch, codec in pairs]
    columns = min(2, len(pairs))
    wide, high = (max(one.shape[axis] for one in maps) for axis in (1, 0))
    figure, axes = _panels(len(pairs), columns, 1.4 + 0.66 * wide, 0.8 + 0.36 * high)
    norm = Normalize(min(np.nanmin(one) for one in maps), max(np.nanmax(one) for one in maps))
    for ax, (arch, codec), values in zip(axes, pairs, maps, strict=True):
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
    figure.colorbar(shades, ax=axes, label=f"{tables.metric.axis}", shrink=0.9)
    about = "does training carry over to other levels?\nframed: trained and tested on the same"
    return _finished(figure, tables, about)


def limits(tables: Summary) -> Figure:
    """The strongest acceptable level per codec and margin as a coloured table, with a block of rows per regime."""
    across = min(2, len(tables.archs))
    lines = len(tables.regimes) * (len(tables.codecs) + 1)
    wide, high = 0.2 + max(3.0, 1.5 * len(tables.deltas)), 0.4 * lines
    figure, axes = _panels(len(tables.archs), across, wide, high)
    for index, (ax, arch) in enumerate(zip(axes, tables.archs, strict=True)):
        y, ticks = 0.0, []
        for regime in tables.regimes:
            there = (arch, regime) in tables.trained
            heading = tables.training(arch, regime)
            if there:
                heading += f"; {tables.models(arch=arch, regime=regime, baseline=OWN if regime == ORIGINAL else BEST)}:"
                about = f"on originals {on_originals(tables.reference(arch, regime), tables.metric)}"
                ax.text(0.03, y + 0.76, about, va="center", fontsize=8)
            ax.text(0.03, y + 0.36, heading, va="center", style="italic")
            y += 1
            for codec in tables.codecs:
                ticks.append((y + 0.5, tables.title(codec)))
                for x, delta in enumerate(tables.deltas):
                    cell = where(tables.main_limits, arch=arch, regime=regime, codec=codec, delta=delta)
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
        HERE: f"{tables.says(HERE)}: strongest level shown",
        "inconclusive": "inconclusive, and what would likely settle it",
        "unacceptable": "unacceptable from the mildest level on",
        NO_REFERENCE: "no reference: model not shown to be above chance",
    }
    shown = {HERE if tables.few else "acceptable", "inconclusive", "unacceptable", *tables.main_limits["verdict"]}
    look: dict[str, Any] = {"ec": style.FAINT, "lw": 0.5}
    handles = [
        Rectangle((0, 0), 1, 1, fc=style.VERDICT_COLOURS[verdict], label=f"{VERDICT_SYMBOLS[verdict]} {text}", **look)
        for verdict, text in words.items()
        if verdict in shown
    ]
    about = f"strongest compression that costs no more {tables.metric.title} than allowed"
    about += _BY_BEST * (len(tables.regimes) > 1)
    return _finished(figure, tables, about, handles)


def attacks(tables: Summary) -> Figure:
    """The worst case per item by level, with a row per model and goal (see `_attack_setups`) and a column per codec."""
    rows = tables.worst
    setups = _attack_setups(rows)
    codecs = tables.attacked_codecs
    figure, axes = _grid(len(setups), len(codecs), 2.7, 2.4, sharex="col", sharey="row")
    signs: set[str] = set()
    for (i, setup), (j, codec) in _product(setups, codecs):
        ax, here = axes[i, j], where(rows[rows["codec"].isin([codec, ORIGINAL])], **setup)
        steps = _steps(tables, codec, only=set(where(rows, codec=codec)["level"]))
        signs |= _attack_panel(ax, tables, here, steps, setup["goal"])
        if i == 0:
            ax.set_title(f"{_wrapped(tables.title(codec))}\n\n", fontweight="bold")
        if j == 0:
            size = attack_size(setup["norm"], setup["epsilon"], tables.medium)
            about = f"{setup['arch']}, {tables.training(setup['arch'], setup['regime'])};\n{setup['goal']}, {size}"
            ax.set_title(about, loc="left", fontsize=8.5)
            ax.set_ylabel(_attack_measure(tables, setup["goal"]))
        steps.axis(ax, last=i == len(setups) - 1)
    about = (
        f"under attack with a codec in front of the model\nworst of all attacks tried, item by item{_intervals(tables)}"
    )
    return _finished(figure, tables, about, _attack_keys(tables, signs))


def attack_curves(tables: Summary) -> Figure:
    """Robustness against the budget, from clean items to the largest, with a row per model and a column per codec.

    Of each codec it is the level of `most_helped`.
    """
    norm, _ = tables.main_budget
    rows = where(tables.worst, goal="untargeted", norm=norm)
    best = most_helped(rows[rows["main"]])
    sizes = [epsilon for _, epsilon in budgets(rows)]
    models = list(tables.worst[["arch", "regime"]].drop_duplicates().itertuples(index=False))
    codecs = tables.attacked_codecs
    figure, axes = _grid(len(models), len(codecs), 2.7, 2.5, sharex=True, sharey=True)
    clean, clean_after, _ = tables.robust
    signs: set[str] = set()
    for (i, (arch, regime)), (j, codec) in _product(models, codecs):
        ax, here = axes[i, j], where(rows, arch=arch, regime=regime)
        chosen = where(best, arch=arch, regime=regime, codec=codec)
        if chosen.empty:  # this model was not attacked in this norm, or only with a target
            ax.set_axis_off()
            continue
        level = chosen["level"].iloc[0]
        at = where(here, codec=codec, level=level)
        curves = [(where(here, codec=ORIGINAL), clean, *BARE_LOOK)]
        curves += [(where(at, tier=tier), clean_after, colour, marker) for tier, _, colour, marker in ATTACKERS]
        for curve, unattacked, colour, marker in curves:
            curve = curve.assign(x=curve["epsilon"].map(sizes.index) + 1).sort_values("x")
            signs |= _attack_curve(ax, tables, curve, curve["x"], colour, marker, "untargeted")
            start = curve.iloc[:1]  # no budget at all: the clean items
            ax.plot([0, *start["x"]], 100 * start[[unattacked, tables.robust[2]]].to_numpy().ravel(), color=colour)
            ax.plot(0, 100 * start[unattacked], marker, color=colour)
        _chance_line(ax, tables)
        ax.set_title(_named(tables, codec, level))
        ax.set_xticks(range(len(sizes) + 1), ["none", *(_short_size(norm, each, tables.medium) for each in sizes)])
        ax.set_ylim(-4, 104)
        if j == 0:
            ax.set_ylabel(f"{arch}, {tables.trained_on(arch, regime)}\n{_attack_measure(tables, 'untargeted')}")
        if i == len(models) - 1:
            unit = {"linf": "L∞ budget", "l2": "L2 budget", "snr": "SNR, dB"}.get(norm, "share of the picture")
            ax.set_xlabel(f"{unit}, small to large")
    about = (
        "how robustness falls with the attacker's budget\n"
        f"of each codec the level that gains most if it is ignored{_intervals(tables)}"
    )
    return _finished(figure, tables, about, _attack_keys(tables, signs, with_clean=False))


def attack_regimes(tables: Summary) -> Figure:
    """Clean and robust accuracy side by side, with a block per architecture and measure and a row per regime."""
    norm, epsilon = tables.main_budget
    rows = where(tables.worst, norm=norm, epsilon=epsilon, goal="untargeted")
    _, clean_after, robust = tables.robust
    archs = list(dict.fromkeys(tables.worst["arch"]))
    conditions = [(ORIGINAL, 0.0, "no codec")]
    for codec in tables.attacked_codecs:
        levels = tables.levels(codec)["level"]
        attacked = levels[levels.isin(where(rows, codec=codec)["level"])]
        title = _wrapped(tables.title(codec), 14)
        conditions += [(codec, level, f"{title}\n{tables.label(codec, level)}") for level in attacked]
    # The bare model has no codec to be oblivious of: its worst case stands in both blocks.
    blocks = [
        ("clean items", clean_after, ALL),
        ("attacker ignores the codec", robust, OBLIVIOUS),
        ("worst of all attacks tried", robust, ALL),
    ]
    regimes = [regime for regime in REGIME_TITLES if regime in set(tables.worst["regime"])]
    high = 0.42 * len(regimes) + 0.55
    figure, axes = _grid(len(archs) * len(blocks), 1, 1.6 + 0.72 * len(conditions), high, sharex=True)
    shades, starred, asked = Normalize(0, 100), False, False
    for (i, arch), (b, (what, column, tier)) in _product(archs, blocks):
        ax, values = axes[i * len(blocks) + b, 0], np.full((len(regimes), len(conditions)), np.nan)
        for (y, regime), (x, (codec, level, _)) in _product(regimes, conditions):
            attacker = ALL if codec == ORIGINAL else tier
            cell = where(rows, arch=arch, regime=regime, codec=codec, level=level, tier=attacker)
            if cell.empty:
                ax.text(x, y, "–", ha="center", va="center")
                continue
            values[y, x] = 100 * cell[column].iloc[0]
            doubtful = column == robust and bool(cell["unreliable"].iloc[0])
            open_ = column == robust and unchecked(cell.iloc[0])
            starred, asked = starred | doubtful, asked | open_
            ink = "white" if shades(values[y, x]) < 0.55 else "black"
            text = f"{values[y, x]:.0f}{'*' * doubtful}{UNCHECKED * open_}"
            ax.text(x, y, text, ha="center", va="center", color=ink, fontsize=8.5)
        ax.imshow(values, cmap="cividis", norm=shades, aspect="auto")
        ax.set_yticks(range(len(regimes)), [tables.training(arch, regime) for regime in regimes])
        ax.set_xticks(range(len(conditions)), [name for *_, name in conditions], fontsize=7.5)
        ax.set_title(f"{arch}: {what}" if len(archs) > 1 else what, loc="left")
        ax.grid(False)
        ax.tick_params(length=0)
    about = f"{tables.metric.axis}, {attack_size(norm, epsilon, tables.medium)}"
    note = "\n* a check failed: the figure is an upper bound" * starred
    note += f"\n{UNCHECKED} {UNCHECKED_TEXT}" * asked
    return _finished(figure, tables, f"what training and compression do to robustness\n{about}{note}")


def attack_spectra(tables: Summary) -> Figure:
    """What each codec keeps by frequency, and where the changes of either attacker lie: see `Summary.explained`."""
    shown = tables.explained
    across = min(3, max(1, len(shown)))
    figure, axes = _panels(max(1, len(shown)), across, 3.3, 2.9, sharey=True)
    shares = [one.bands[["oblivious", "adaptive"]].max().max() for one in shown]
    most = max((share for share in shares if not math.isnan(share)), default=1.0)
    for index, (ax, one) in enumerate(zip(axes, shown, strict=False)):
        edges = one.scaled([0.0, *one.bands["upper"]])
        ax.stairs(100 * one.bands["kept"].fillna(0), edges, fill=True, color=KEPT)
        ax.set(xlim=(0, edges[-1]), xlabel=f"frequency ({one.unit})")
        ax.set(ylim=(0, 100 * HEADROOM), yticks=range(0, 101, 20))
        ax.set_title(_named(tables, one.codec, one.level))
        changes = ax.twinx()
        ticks = [tick for tick in MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(0, 100 * most) if tick <= 100 * most]
        changes.set(ylim=(0, 100 * most * HEADROOM), yticks=ticks)
        changes.grid(False)
        for (_, _, colour, _), who in zip(ATTACKERS, ("oblivious", "adaptive"), strict=True):
            changes.stairs(100 * one.bands[who], edges, color=colour, lw=1.6, baseline=None)
        _lost(changes, one)
        at_right = index % across == across - 1
        changes.tick_params(right=at_right, labelright=at_right)
        if at_right:
            changes.set_ylabel("share of the change (%)")
        if index % across == 0:
            ax.set_ylabel("kept of clean items (%)")
    about = "where attackers' changes lie, and what the codec keeps there\n"
    if shown:
        first, size = tables.worst.iloc[0], attack_size(*tables.main_budget, tables.medium)
        about += f"{first['arch']}, {tables.training(first['arch'], first['regime'])}; {size}\n"
        about += "of each codec the level that gains most if it is ignored"
    else:
        axes[0].set_axis_off()
        about += "nothing to show, because no untargeted attack was made"
    handles: list[Artist] = [Rectangle((0, 0), 1, 1, fc=KEPT, label="kept of clean items")]
    words = ("change, codec ignored", "change, through the codec")
    handles += [_key(text, colour) for text, (_, _, colour, _) in zip(words, ATTACKERS, strict=True)]
    return _finished(figure, tables, about, handles)


def _lost(ax: Axes, one: Explained) -> None:
    """Say above the curves of a panel how much of either change lies where the codec keeps less than half."""
    if one.above is not None:
        ax.axvline(one.above, 0, 1 / HEADROOM, color=style.INK, ls=":", lw=1)
    lines = [("where less than half is kept:" if one.lost.any() else "at least half is kept everywhere", style.INK)]
    for share, (_, _, colour, _) in zip(one.in_lost if one.lost.any() else (), ATTACKERS, strict=False):
        lines += [(f"{100 * share:.0f} % of the change", colour)] * (not math.isnan(share))
    for line, (text, colour) in enumerate(lines):
        at = (0.98, 0.99 - 0.085 * line)
        ax.text(*at, text, transform=ax.transAxes, ha="right", va="top", fontsize=8.5, color=colour)


_CLASSIC = (limits, rate_accuracy, fidelity_accuracy, metrics, capture, subgroups, gaps, regimes, transfer)
_ALL = (*_CLASSIC, attacks, attack_curves, attack_spectra, attack_regimes)
FIGURES: dict[str, Callable[[Summary], Figure]] = {figure.__name__: figure for figure in _ALL}
KEPT = "#DDDDDD"  # the area of what a codec keeps
HEADROOM = 1.35  # of panels with three lines of text above their curves
# Of each attacker: the tier of `worst`, the text of the legend, the colour and the marker.
ATTACKERS = (
    (OBLIVIOUS, "attacker ignores the codec (oblivious)", "#0072B2", "s"),
    (ALL, "worst of everything tried", "#D55E00", "o"),
)
HOLLOW = "hollow"
BARE_LOOK = style.Look(style.FAINT, "D")
DASHES = {ORIGINAL: "-", "mixed": "--", "adversarial": ":"}
BASELINE = (0, (5, 2))  # the dashes of the lines that stand for originals or for the bare model
# What the limits of figures are against, added to their titles where there are several regimes.
_BY_BEST = "\nagainst itself on originals; trained on something else: against the best trained on originals"


def _attack_setups(rows: pd.DataFrame) -> list[pd.Series]:
    """The rows of the figure `attacks`.

    Of an architecture's first regime these are all goals at the main budget and the largest budget of each other norm.
    Of the other regimes, which `attack_regimes` compares, it is the main attack alone.
    """
    keys = ["arch", "regime", "norm", "epsilon", "goal"]
    found = rows[[*keys, "main"]].drop_duplicates()
    main = found.loc[found["main"], "norm"].iloc[0]
    order = [budget_order(*budget) for budget in zip(found["norm"], found["epsilon"], strict=True)]
    found = found.assign(size=order, goal_order=found["goal"].map(["untargeted", "targeted", "trigger"].index))
    largest = found["size"] == found.groupby(["arch", "regime", "norm"])["size"].transform("max")
    first = found["regime"] == found.groupby("arch")["regime"].transform("first")
    shown = found["main"] & (first | (found["goal"] == "untargeted")) | (found["norm"] != main) & largest & first
    ordered = found[shown].sort_values(["arch", "main", "goal_order"], ascending=[True, False, True], kind="stable")
    return [setup for _, setup in ordered[keys].iterrows()]


def _attack_panel(ax: Axes, tables: Summary, rows: pd.DataFrame, steps: _Steps, goal: str) -> set[str]:
    """Draw one model, goal and codec. Returns the signs beside points (`_attack_curve`)."""
    signs: set[str] = set()
    bare = where(rows, codec=ORIGINAL)
    column = "tasr_after" if goal == "targeted" else tables.robust[2]
    for value in [0.0] if goal == "trigger" else bare[column]:  # without a codec there is nothing to trigger
        ax.axhline(100 * value, color=style.FAINT, ls=BASELINE, lw=1.2)
    if goal == "untargeted":
        _chance_line(ax, tables)
    if goal != "trigger":
        clean = where(rows, tier=ALL)
        unattacked = "tasr_clean" if goal == "targeted" else tables.robust[1]
        ax.plot(steps.places(clean), 100 * clean[unattacked], color=style.INK, marker="_", lw=1)
    for tier, _, colour, marker in ATTACKERS:
        if goal == "trigger" and tier == OBLIVIOUS:
            continue  # whoever wants a trigger knows of the codec
        curve = pd.concat([bare, where(rows[rows["codec"] != ORIGINAL], tier=tier)])
        signs |= _attack_curve(ax, tables, curve, steps.places(curve), colour, marker, goal)
    if goal != "trigger":
        signs |= _attack_curve(ax, tables, bare, steps.places(bare), *BARE_LOOK, goal)
        ax.set_ylim(-4, 104)
    return signs


def _attack_curve(
    ax: Axes, tables: Summary, rows: pd.DataFrame, x: pd.Series, colour: str, marker: str, goal: str
) -> set[str]:
    """Draw joined points with a band for the interval, which mAP has not. Returns which signs are beside points.

    HOLLOW is a point that failed a check, and UNCHECKED stands beside one that some check can't vouch for.
    """
    column = {"untargeted": tables.robust[2], "targeted": "tasr_after", "trigger": "triggered"}[goal]
    doubtful = rows["unreliable"].astype(bool)
    ax.plot(x, 100 * rows[column], color=colour, marker=marker)
    if f"{column}_low" in rows:
        low, high = 100 * rows[f"{column}_low"], 100 * rows[f"{column}_high"]
        ax.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
        if (known := rows[column].notna()).sum() == 1:  # one point makes no band
            ax.vlines(x[known], low[known], high[known], color=colour, alpha=0.4)
    ax.plot(x[doubtful], 100 * rows[column][doubtful], marker, color=colour, mfc="white", zorder=4)
    asked = pd.Series([unchecked(row) for _, row in rows.iterrows()], rows.index, bool) & rows[column].notna()
    for at, value in zip(x[asked], 100 * rows[column][asked], strict=True):
        ax.annotate(UNCHECKED, (at, value), (4, 3), textcoords="offset points", color=colour, fontsize=8)
    return {sign for sign, there in ((HOLLOW, doubtful), (UNCHECKED, asked)) if there.any()}


def _attack_measure(tables: Summary, goal: str) -> str:
    robust = f"robust {tables.attacked_metric.axis}"
    return {"untargeted": robust, "targeted": "TASR (%)", "trigger": "triggered (points)"}[goal]


def _short_size(norm: str, epsilon: float, medium: str) -> str:
    """A budget as the text of a tick, whose axis names the norm."""
    if norm == "linf" and medium != "audio":
        return f"{number(255 * epsilon)}/255"
    return f"{number(100 * epsilon)} %" if norm == "share" else number(epsilon)


def _intervals(tables: Summary) -> str:
    return "" if tables.robust[2] == "metric_after" else "\n95 % intervals of items, for these very models"


def _chance_line(ax: Axes, tables: Summary) -> None:
    """Draw what guessing has, where that follows from the data alone: that of a detector is the model's own."""
    if tables.chance_of_data:
        ax.axhline(tables.metric.scale * tables.limits["chance"].iloc[0], color=style.FAINT, ls=":", lw=1.2)


def _attack_keys(tables: Summary, signs: set[str], with_clean: bool = True) -> list[Line2D]:
    handles = [_key("clean items after the codec", style.INK, "_", lw=1)] * with_clean
    handles += [_key(text, colour, marker) for _, text, colour, marker in ATTACKERS]
    handles.append(_key("no codec", *BARE_LOOK, ls=BASELINE if with_clean else "-"))
    if tables.chance_of_data:
        handles.append(_key("chance", style.FAINT, ls=":"))
    if HOLLOW in signs:
        handles.append(_key("hollow: a check failed, unreliable", style.FAINT, "o", ls="", mfc="white"))
    if UNCHECKED in signs:
        handles.append(_key(f"{UNCHECKED}: {UNCHECKED_TEXT}", style.FAINT, ls=""))
    return handles


def _limit_cell(ax: Axes, x: int, y: float, cell: pd.Series, tables: Summary) -> None:
    colour, symbol = style.VERDICT_COLOURS[cell["verdict"]], VERDICT_SYMBOLS[cell["verdict"]]
    ax.add_patch(Rectangle((x + 0.015, y + 0.04), 0.97, 0.92, fc=colour, ec="none"))
    if cell["verdict"] in ACCEPTED:
        first = f"{symbol} {cell['label']}"
        second = f"{amount(cell['rate'])} {cell['rate_unit']}, saves {percent(cell['saving'])}"
    elif cell["verdict"] == "inconclusive":
        first = f"{symbol} none shown"
        words = {TOO_CLOSE: f"too close to {cell['delta']:g} pt to tell", NO_NUMBER: "no practical number would do"}
        second = words.get(cell["missing"]) or needed(cell).replace("test item", "item")
    elif cell["verdict"] == NO_REFERENCE:
        first, second = f"{symbol} {NO_REFERENCE}", f"not {cell['delta']:g} pt above chance"
    else:
        first, second = f"{symbol} none", f"{tables.label(cell['codec'], cell['stopped_at'])} costs more"
    ax.text(x + 0.5, y + 0.3, first, ha="center", va="center", fontweight="bold", fontsize=9)
    ax.text(x + 0.5, y + 0.72, second, ha="center", va="center", fontsize=8)


def _transfer_map(tables: Summary, arch: str, codec: str) -> pd.DataFrame:
    """The primary metric in %, with a row per training condition and a column per test level, both mild to strong."""
    rows = where(tables.transfer, arch=arch, codec=codec)
    trained = {regime: where(rows, train=regime) for regime in REGIME_TITLES}
    for other in tables.codecs:
        prefix = "" if other == codec else f"{tables.title(other)} "
        for _, at in tables.levels(other).iterrows():
            matched = where(rows, train="matched", train_codec=other, train_level=at["level"])
            trained[prefix + at["label"]] = matched
    tested = {ORIGINAL: rows["test_level"].isna()}
    tested |= {at["label"]: rows["test_level"] == at["level"] for _, at in tables.levels(codec).iterrows()}
    cells = {
        column: {row: tables.metric.scale * of.loc[on[of.index], "value"].mean() for row, of in trained.items()}
        for column, on in tested.items()
    }
    found = pd.DataFrame(cells)
    return found.dropna(how="all").dropna(how="all", axis=1)


def _grid(rows: int, columns: int, wide: float, high: float, sharex: Share = False, sharey: Share = False) -> Any:
    """A figure of rows x columns panels of this size in inches, and its axes as a 2-D array."""
    figure = Figure(figsize=(max(6.5, columns * wide + 0.6), rows * high + 1.1), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, sharex=sharex, sharey=sharey)


def _panels(count: int, columns: int, wide: float, high: float, sharey: Share = False) -> Any:
    """A figure of `count` panels in rows of `columns`, each of this size in inches, and the list of its axes."""
    figure, axes = _grid(math.ceil(count / columns), columns, wide, high, sharey=sharey)
    for ax in axes.flat[count:]:
        ax.remove()
    return figure, list(axes.flat[:count])


def _product(first: Iterable[Any], second: Iterable[Any]) -> Iterable[tuple[tuple[int, Any], tuple[int, Any]]]:
    """Every pair of a value of `first` and one of `second`, each as (index, value)."""
    return itertools.product(enumerate(first), enumerate(second))


def _reference(ax: Axes, tables: Summary, rows: pd.DataFrame) -> None:
    """Draw the result on originals as a line with its interval, and chance where that is not shown to be exceeded."""
    for _, row in where(rows, codec=ORIGINAL).iterrows():
        if not tables.has_reference(row["arch"], row["regime"]):
            chance = tables.metric.scale * tables.reference(row["arch"], row["regime"])["chance"]
            ax.axhline(chance, color=style.FAINT, ls=":", lw=1.2)
        ax.axhspan(row["low"], row["high"], color="#000000", alpha=0.07, lw=0)
        ax.axhline(row["value"], color=style.FAINT, ls=BASELINE, lw=1.2)


def _curve(ax: Axes, look: style.Look, x: pd.Series, rows: pd.DataFrame) -> None:
    """Draw the joined points of a codec with a band for the interval."""
    ax.fill_between(x, rows["low"], rows["high"], color=look.colour, alpha=0.13, lw=0)
    ax.plot(x, rows["value"], color=look.colour, marker=look.marker)


def _ring(ax: Axes, curve: pd.DataFrame, limits: pd.DataFrame, colour: str) -> None:
    """Draw a ring around the points of a `curve` that are among the `limits`."""
    passed = curve.merge(limits, on=["arch", "regime", "codec", "level"], suffixes=("", "_limit"))
    ax.plot(passed["rate"], passed["value"], "o", ms=10, mfc="none", mec=colour, mew=1.2)


def _rate_axis(ax: Axes) -> None:
    """Make the rates of the horizontal axis logarithmic, with plain numbers."""
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    ax.xaxis.set_minor_formatter(FuncFormatter(_minor_log))
    ax.tick_params(axis="x", which="minor", pad=5)  # on one line with the longer major ticks


def _name_ends(ax: Axes, ends: list[pd.Series], looks: dict[str, style.Look]) -> None:
    """Write the level to the left of each curve's end, and push levels apart that would cover each other."""
    if not ends:
        return
    ends = sorted(ends, key=lambda end: end["value"])
    wanted = [end["value"] for end in ends]
    low, high = ax.get_ylim()
    gap, placed = 0.05 * (high - low), [wanted[0]]
    for at in wanted[1:]:
        placed.append(max(at, placed[-1] + gap))
    down = min(np.mean(placed) - np.mean(wanted), placed[0] - low)  # spread about the points, but inside the axes
    beside: dict[str, Any] = {"xytext": (-8, 0), "textcoords": "offset points", "ha": "right", "va": "center"}
    for end, at in zip(ends, placed, strict=True):
        dark = [0.65 * part for part in to_rgb(looks[end["codec"]].colour)]  # readable as text
        ax.annotate(end["label"], (end["rate"], at - down), fontsize=8, color=dark, **beside)


class _Steps(NamedTuple):
    """Evenly spaced places for the original and, from the mildest on, the levels of a codec."""

    levels: list[float]  # -1 stands for the original
    unit: str  # the meaning of the numbers: "QF", "kb/s", "ratio"; "" of a defence, which has none

    def places(self, rows: pd.DataFrame) -> pd.Series:
        """The place of each row."""
        levels = rows["level"].where(rows["codec"] != ORIGINAL, -1.0)
        return levels.map({level: place for place, level in enumerate(self.levels)})

    def axis(self, ax: Axes, last: bool) -> None:
        """Name the levels below the panel, and name their unit if the panel is the last of its column."""
        names = ["orig.", *(level_text(level) if self.unit else "behind it" for level in self.levels[1:])]
        ax.set_xticks(range(len(names)), names)
        ax.set_xlim(-0.4, len(names) - 0.6)
        ax.yaxis.set_major_locator(MaxNLocator(5))
        if last and self.unit:
            ax.set_xlabel(f"level ({self.unit}), mild to strong")


def _steps(tables: Summary, codec: str, only: set[float] | None = None) -> _Steps:
    """The places of the original and of a codec's levels, or of those levels alone that `only` holds."""
    levels = tables.levels(codec)
    row = levels.iloc[0]
    unit = " ".join(str(row["label"]).replace(level_text(row["level"]), "", 1).split())
    shown = [level for level in levels["level"] if only is None or level in only]
    return _Steps([-1.0, *shown], "ratio" if unit == ":1" else unit)


def _named(tables: Summary, codec: str, level: float) -> str:
    """The title of a panel about a codec at a level, or about a defence."""
    return _wrapped(", ".join(filter(None, [tables.title(codec), tables.label(codec, level)])))


def _wrapped(title: str, width: int = 34) -> str:
    """The title of a codec or defence on lines of so many characters: those of defences are long."""
    return textwrap.fill(title, width)


def _minor_log(value: float, _: int) -> str:
    """The label of 2 and 5 in each decade, without which a narrow range of rates would show a single number."""
    lead = value / 10 ** math.floor(math.log10(value))
    return number(value) if round(lead, 6) in (2, 5) else ""


def _codec_keys(tables: Summary, regimes: list[str]) -> list[Line2D]:
    handles = [_key(tables.title(codec), *look) for codec, look in style.codec_looks(tables.codecs).items()]
    handles.append(_key("uncompressed", style.FAINT, ls=BASELINE))
    known = all(tables.has_reference(*model) for model in tables.trained if model[1] in regimes)
    return handles if known else [*handles, _key("chance", style.FAINT, ls=":")]


def _key(label: str, colour: str, marker: str | None = None, **how: Any) -> Line2D:
    """The entry of a legend for lines and points of this look."""
    return Line2D([], [], color=colour, marker=marker, label=label, **how)


def _finished(figure: Figure, tables: Summary, about: str, handles: Sequence[Artist] = ()) -> Figure:
    """The figure with a title that says what it is about, and with a legend below the panels, beside all data."""
    if handles:
        longest = max(len(str(handle.get_label())) for handle in handles)
        fit = max(1, int(figure.get_figwidth() / (0.45 + 0.063 * longest)))
        lines = math.ceil(len(handles) / fit)  # the columns are as many as fit
        figure.legend(handles=handles, loc="outside lower center", ncols=math.ceil(len(handles) / lines))
    style.title(figure, f"{tables.task}: {about}")
    return figure
