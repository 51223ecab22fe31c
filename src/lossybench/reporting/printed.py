"""What a paper takes from a study: tables as LaTeX and CSV, figures at column width, the methods, and what to cite."""

from __future__ import annotations

import contextlib
import json
import re
import textwrap
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from lossybench.analysis.tables import SCHEMAS
from lossybench.artifacts import RATE, SAVINGS, publish, read_meta, read_table, units
from lossybench.conditions import ORIGINAL, Regime
from lossybench.fidelity import MEASURES
from lossybench.metrics import SHARE, Metric
from lossybench.reporting import style
from lossybench.reporting.latex import Bibliography, Tex, escape, fallbacks, table
from lossybench.reporting.summary import (
    ACCEPTED,
    ALL,
    OBLIVIOUS,
    REGIME_TITLES,
    WORST,
    Summary,
    amount,
    attack_size,
    budgets,
    number,
    where,
    worst_limits,
)

WIDTHS = {"single": 3.5, "double": 7.0}  # inches: a column, and a page of two columns
_TEXT = 7.5  # points, the smallest text in figures
_RC: dict[Any, Any] = {
    **dict.fromkeys(("font.size", "axes.titlesize", "axes.labelsize"), _TEXT + 0.5),
    **dict.fromkeys(("legend.fontsize", "xtick.labelsize", "ytick.labelsize"), _TEXT),
    "pdf.fonttype": 42,  # outlines of TrueType, which journals ask for
    "lines.linewidth": 1.0,
    "lines.markersize": 3.5,
}
_MODEL = ("arch", "regime")


class _Columns(NamedTuple):
    """What of a summary table is printed.

    caption: of the table. columns: names, or a value with the ends of its interval. where: values that rows must have.
    """

    caption: str
    columns: tuple[str | tuple[str, str, str], ...]
    where: Mapping[str, Any] = {}


_PRINTED = {
    "limits": _Columns(
        "The strongest acceptable level of each codec",
        (*_MODEL, "codec", "baseline", "delta", ("reference", "reference_low", "reference_high"), "verdict", "label",
         "rate", "ratio", "saving", "stopped_at", "stopped_verdict"),
    ),
    "metrics": _Columns(
        "Metrics over all classes and seeds",
        (*_MODEL, "codec", "level", "metric", ("value", "low", "high"), "n", "support"),
        {"seed": -1, "class": ""},
    ),
    "conditions": _Columns(
        "Rates and fidelity",
        ("title", "label", "rate", "ratio", "saving", "saving_lossless", "overhead_share", "file_bytes",
         "psnr", "ssim", "snr", "si_sdr", "n"),
    ),
    "differences": _Columns(
        "Differences to originals, paired by item",
        (*_MODEL, "codec", "level", "baseline", "metric", "reference", "value", ("difference", "low", "high"), "p_holm",
         "n", "seeds"),
    ),
    "bd": _Columns(
        "Codecs at equal rate and at equal metric",
        (*_MODEL, "codec_a", "codec_b", ("bd_rate", "bd_rate_low", "bd_rate_high"),
         ("bd_metric", "bd_metric_low", "bd_metric_high"), "p_holm", "ahead", "status"),
    ),
    "attacks": _Columns(
        "Under the worst of all attacks, item by item",
        (*_MODEL, "seed", "codec", "level", "norm", "epsilon", "goal", "tier", "n", "clean", "clean_after",
         "robust_before", ("robust_after", "robust_after_low", "robust_after_high"), ("gain", "gain_low", "gain_high"),
         "unreliable"),
        {"attack": WORST},
    ),
}  # fmt: skip
_MEASURED = {RATE, "dB"}  # units of which three digits are shown
_OF_BITS = {*SAVINGS, "overhead_share", "above_target"}  # shares whatever the metric is
_LEFT_OUT = {"verdicts", "spectra"}  # of which the table of limits and a figure are the printed form


def export(folder: Path, summaries: Sequence[Path], out: Path) -> list[Path]:
    """Write tables, figures, methods.tex, references.bib and paper.tex, which shows them all.

    folder: the results. summaries: a folder of tables per task. out: the folder to write. Returns the files. Raises
    LossyBenchError for a table that is missing or damaged.
    """
    tasks = [Summary(one) for one in summaries]
    texts: dict[str, str] = {}
    for name in SCHEMAS:
        texts |= _table(name, tasks)
    limits = _chief_limits(tasks)
    if len(limits):
        texts |= _headline(limits)
    names = [path.removeprefix("tables/").removesuffix(".tex") for path in texts if path.endswith(".tex")]
    drawn = {name: figure for task in tasks for name, figure in figures(task).items()}
    if limits["saving_lossless"].notna().any():
        drawn |= {f"headline_{width}": across(limits, inches) for width, inches in WIDTHS.items()}
    bibliography = Bibliography()
    texts["methods.tex"] = methods(folder, tasks, bibliography)
    texts["references.bib"] = bibliography.text()
    beyond = fallbacks("".join(text for path, text in texts.items() if not path.endswith(".csv")))
    stems = sorted({name.rpartition("_")[0] for name in drawn})
    texts["paper.tex"] = _rendered(
        "paper.tex.j2", fallbacks=beyond, figures=list(map(Tex, stems)), tables=map(Tex, names)
    )
    written = []
    for path, text in texts.items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        with publish(out / path) as aside:
            aside.write_text(text, "utf-8")
        written.append(out / path)
    (out / "figures").mkdir(parents=True, exist_ok=True)
    for name, figure in drawn.items():
        with _styled():
            for form, undated in (("pdf", "CreationDate"), ("svg", "Date")):
                with publish(picture := out / "figures" / f"{name}.{form}") as aside:
                    figure.savefig(aside, format=form, metadata={undated: None})
                written.append(picture)
    return written


def _rendered(template: str, **facts: Any) -> str:
    """A template of LaTeX, in which every name is printed as it is."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lossybench.reporting"),
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=escape,
        autoescape=False,
    )
    return environment.get_template(template).render(**facts)


# Tables


def _table(name: str, tasks: Sequence[Summary]) -> dict[str, str]:
    """A summary table of all tasks: as CSV whole, with all digits, and as LaTeX what is printed; {} without rows."""
    frames = []
    for task in tasks:
        frame = read_table(task.folder / f"{name}.parquet").to_pandas()
        frame.insert(0, "task", task.task)
        frames.append(frame)
    whole = pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)
    if not len(whole):
        return {}
    texts = {f"tables/{name}.csv": whole.to_csv(index=False)}
    if name in _LEFT_OUT:
        return texts
    # A table without a form of its own is printed whole, but for columns that hold nothing.
    full = [one for one in SCHEMAS[name].names if whole[one].notna().any()]
    printed = _PRINTED.get(name, _Columns(name.replace("_", " ").capitalize(), tuple(full)))
    rows = where(whole, **printed.where)
    columns: list[Any] = ["task", *(one for one in printed.columns if rows[_first(one)].notna().any())]
    if len(rows):
        own = {task.task: task.metric for task in tasks if task.metric.unit != SHARE} if name != "attacks" else {}
        texts[f"tables/{name}.tex"] = _printed(name, printed.caption, rows, columns, units(SCHEMAS[name]), own)
    return texts


def _first(column: str | tuple[str, str, str]) -> str:
    return column if isinstance(column, str) else column[0]


def _printed(
    name: str,
    caption: str,
    rows: pd.DataFrame,
    columns: Sequence[Any],
    unit: Mapping[str, str],
    own: Mapping[str, Metric] = types.MappingProxyType({}),
) -> Tex:
    """Rows as LaTeX. columns: as in `_Columns`. unit: of each column.

    own: of tasks whose primary metric is no share, that metric: what is a share elsewhere is in its unit then, but for
    what is of bits.
    """
    header = []
    for column in columns:
        of = unit.get(_first(column), "")
        told = {"share": "%", "": ""}.get(of, of)
        if own and of == "share" and _first(column) not in _OF_BITS:
            told = " or ".join(["%", *sorted({metric.unit for metric in own.values()})])
        plain = told and (of == "share" or told in ("dB", "points"))
        header.append(_first(column).replace("_", " ") + (f" ({told})" if plain else ""))
    cells = []
    for row in rows.to_dict("records"):
        line = []
        for column in columns:
            of = unit.get(_first(column), "")
            if of == "share" and row["task"] in own and _first(column) not in _OF_BITS:
                of = ""
            if isinstance(column, str):
                text = cell(row[column], of)
                line.append(f"{text} {row['rate_unit']}" if column == "rate" and text else text)
            else:
                value, low, high = (cell(row[one], of) for one in column)
                line.append(f"{value} [{low}, {high}]" if low else value)
        cells.append(line)
    numbers = [not isinstance(column, str) or pd.api.types.is_numeric_dtype(rows[column]) for column in columns]
    return table(name, caption, header, cells, numbers)


def cell(value: Any, unit: str) -> str:
    """A value as tables print it: shares as percentages without their sign, other numbers to three digits at least."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, float):
        if unit == "share":
            return f"{100 * value + 0.0:.1f}".replace("-", "−")
        return (amount if unit in _MEASURED else number)(value).replace("-", "−")
    return str(value)


def _chief_limits(tasks: Sequence[Summary]) -> pd.DataFrame:
    """What a paper's text is about: a row per task and codec, of the worst architecture at the middle margin."""
    kept = ("arch", "delta", "verdict", "label", "rate", "rate_unit", "ratio", "saving_lossless")
    return pd.DataFrame(
        {"task": task.task, "codec": task.title(row["codec"]), **{name: row[name] for name in kept}}
        for task in tasks
        for row in worst_limits(task).to_dict("records")
    )


def _headline(limits: pd.DataFrame) -> dict[str, str]:
    """The table of `_chief_limits`."""
    caption = "The strongest level at which every model trained on originals is shown to lose less than delta"
    columns = list(limits.columns.drop("rate_unit"))
    return {
        "tables/headline.csv": limits.to_csv(index=False),
        "tables/headline.tex": _printed("headline", caption, limits, columns, units(SCHEMAS["limits"])),
    }


# Figures


def rate_axis(axes: Axes, unit: str) -> None:
    """Make the rates of the horizontal axis logarithmic, with plain numbers."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(f"rate ({unit})")


def _styled() -> contextlib.ExitStack:
    """The style of figures in papers."""
    stack = contextlib.ExitStack()
    stack.enter_context(style.styled())
    stack.enter_context(matplotlib.rc_context(_RC))
    return stack


def figures(task: Summary) -> dict[str, Figure]:
    """The figures of a task at each width: {name_width: figure}."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", task.task)
    found = {}
    for width, inches in WIDTHS.items():
        with _styled():
            found[f"{name}_curves_{width}"] = _curves(task, inches)
            if len(task.attacks):
                found[f"{name}_attacks_{width}"] = _gains(task, inches)
    return found


def across(limits: pd.DataFrame, inches: float) -> Figure:
    """How many times smaller than without loss media may be, by task and codec. limits: of `_chief_limits`."""
    with _styled():
        figure = Figure(figsize=(inches, 0.19 * len(limits) + 0.7), layout="constrained")
        axes = figure.subplots()
        times = 1 / (1 - limits["saving_lossless"])
        colours = {task: style.look(at).colour for at, task in enumerate(limits["task"].unique())}
        for place, (task, smaller) in enumerate(zip(limits["task"], times, strict=True)):
            if np.isnan(smaller):
                axes.annotate("none shown", (0.01, place), xycoords=("axes fraction", "data"), va="center", size=_TEXT)
            else:
                axes.plot([1, smaller], [place, place], color=colours[task], lw=0.8)
                axes.plot(smaller, place, "o", color=colours[task])
        names = limits["task"] + ", " + limits["codec"]
        axes.set_yticks(range(len(limits)), [textwrap.shorten(name, 44, placeholder=" …") for name in names])
        axes.set_ylim(len(limits) - 0.5, -0.5)
        rate_axis(axes, "")
        axes.set_xlabel("times smaller than without loss")
    return figure


def _panels(count: int, inches: float, height: float = 2.3) -> tuple[Figure, list[Axes]]:
    """So many panels of a height in a figure of a width: below each other in a column, else up to three in a row."""
    across = min(count, 3) if inches > 5 else 1
    down = -(-count // across)
    figure = Figure(figsize=(inches, height * down + 0.5), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    for axes in grid[count:]:
        axes.set_visible(False)
    for axes in grid:
        axes.tick_params(labelleft=True)
    return figure, list(grid[:count])


def _curves(task: Summary, inches: float) -> Figure:
    """The primary metric against the rate, a panel per model; full markers where it is acceptable at the middle δ."""
    rows = task.overall(task.primary)
    limits = where(task.main_limits, delta=task.delta)
    models = sorted(task.trained & {(arch, regime) for arch, regime in task.trained if regime in REGIME_TITLES})
    looks = style.codec_looks(task.codecs)
    figure, panels = _panels(len(models), inches)
    for axes, (arch, regime) in zip(panels, models, strict=True):
        for codec in task.codecs:
            curve = where(rows, arch=arch, regime=regime, codec=codec).sort_values("strength")
            limit = where(limits, arch=arch, regime=regime, codec=codec)
            reached = where(curve, level=limit["level"].iloc[0]) if len(limit) else curve.iloc[:0]
            passed = len(reached) and limit["verdict"].iloc[0] in ACCEPTED
            strongest = reached["strength"].iloc[0] if passed else 0
            look = looks[codec]
            axes.plot(curve["rate"], curve["value"], color=look.colour, label=task.title(codec))
            axes.vlines(curve["rate"], curve["low"], curve["high"], color=look.colour, lw=0.6)
            for accepted in (True, False):
                some = curve[(curve["strength"] <= strongest) == accepted]
                face = look.colour if accepted else "white"
                axes.plot(some["rate"], some["value"], look.marker, color=look.colour, mfc=face)
        axes.set_title(textwrap.fill(f"{arch}, {task.training(arch, regime)}", 34))
        rate_axis(axes, str(task.conditions["rate_unit"].iloc[0]))
        axes.set_ylabel(task.metric.axis)
    panels[0].legend()
    return figure


def _gains(task: Summary, inches: float) -> Figure:
    """What codecs gain against the attacker who ignores them, and against the best-informed one."""
    rows = where(task.worst[task.worst["codec"] != ORIGINAL], main=True, goal="untargeted")
    models = sorted(set(rows[list(_MODEL)].itertuples(index=False, name=None)))
    figure, panels = _panels(max(len(models), 1), inches, 3.2)
    for axes, (arch, regime) in zip(panels, models, strict=False):
        of_model = where(rows, arch=arch, regime=regime)
        places = list(of_model[["codec", "level"]].drop_duplicates().itertuples(index=False, name=None))
        for tier, face, shift, who in ((OBLIVIOUS, "white", -0.15, "ignores the codec"), (ALL, None, 0.15, "knows it")):
            some = where(of_model, tier=tier)
            at = [places.index(place) + shift for place in some[["codec", "level"]].itertuples(index=False, name=None)]
            values = 100 * some[["gain_low", "gain", "gain_high"]].to_numpy().T
            spread = [values[1] - values[0], values[2] - values[1]]
            axes.errorbar(at, values[1], spread, fmt="o", mfc=face or style.INK, color=style.INK, lw=0.8,
                          label=f"attacker {who}")  # fmt: skip
        axes.axhline(0, color=style.FAINT, lw=0.8)
        labels = [f"{task.title(codec)} {task.label(codec, level)}".strip() for codec, level in places]
        labels = [textwrap.shorten(label, 28, placeholder=" …") for label in labels]
        axes.set_xticks(range(len(places)), labels, rotation=90)
        axes.set_title(textwrap.fill(f"{arch}, {task.training(arch, regime)}", 34))
        axes.set_ylabel("gain (points)")
    panels[0].legend()
    return figure


# Methods


def methods(folder: Path, tasks: Sequence[Summary], bibliography: Bibliography) -> str:
    """What was done, in LaTeX. folder: the results. bibliography: where what is cited is gathered."""
    settings = tasks[0].meta["settings"]
    primary = {task.primary: task.metric.title for task in tasks}
    titles = [escape(title) + bibliography.cite(f"metric:{name}") for name, title in primary.items()]
    return _rendered(
        "methods.tex.j2",
        tasks=[_facts(folder, task, bibliography) for task in tasks],
        cite=bibliography.cite,
        metrics=Tex(_listed(titles)),
        resamples=settings["bootstrap"],
        deltas=_listed([f"{one:g}" for one in sorted({delta for task in tasks for delta in task.deltas})]),
        own_units=any(task.metric.unit != SHARE for task in tasks),
        confidence=number(100 * (1 - float(settings.get("alpha", 0.05)))),
        groups=any(task.groups for task in tasks),
        seeds=any((task.differences["seeds"] >= 3).any() for task in tasks),
        bd=any(len(task.bd) for task in tasks),
    )


def _facts(folder: Path, task: Summary, bibliography: Bibliography) -> dict[str, Any]:
    """What the methods say of a task."""
    card = task.meta.get("card", {})
    title = card.get("title", task.task)
    key = "data_" + (re.sub(r"\W+", "_", title.lower(), flags=re.ASCII).strip("_") or "set")
    if card:
        bibliography.add(key, title=title, howpublished=card.get("source", ""), note=card.get("citation", ""))
    models, test = [], int(task.conditions["n"].iloc[0])
    for arch, regime in sorted(task.trained):
        found = sorted((folder / "models" / task.task / arch / regime).glob("*/model.json"))
        about = json.loads(found[0].read_text()) if found else {}
        trained = task.training(arch, regime).partition(",")[0] if regime in REGIME_TITLES else _trained(task, regime)
        models.append(
            {
                "arch": arch,
                "part": "model:torchvision" if arch.startswith("torchvision/") else f"model:{arch}",
                "trained": trained,
                "epochs": None if task.came(arch, regime) else about.get("settings", {}).get("epochs"),
                "seeds": int(where(task.differences, arch=arch, regime=regime)["seeds"].max()),
                "regime_part": f"regime:{regime}",
            }
        )
    return {
        "name": task.task,
        "title": title,
        "key": key,
        "medium": task.medium,
        "kind": task.kind.partition(":")[0],  # of a user's own the module
        "test": test,
        "groups": sorted((factor, count) for factor, count in task.groups.items() if count < test),
        "before": task.compressed_before,
        "models": models,
        "codecs": [_codec(folder, task, codec) for codec in [*task.codecs, *task.grids]],
        "rate_of": {"file": "each codec's file"}.get(task.rate_of, task.rate_of),
        "fidelity": _fidelity(task),
        "attack": _attack(task) if len(task.attacks) else None,
    }


def _trained(task: Summary, regime: str) -> str:
    """How a model of a regime that has no title was trained."""
    about = Regime.read(regime)
    if about.condition:
        return f"trained on {task.title(about.condition.codec)} at {task.label(*about.condition)}"
    return f"trained on a mixture of levels without {task.title(about.codec)}"


def _codec(folder: Path, task: Summary, codec: str) -> dict[str, Any]:
    """The title and levels of a codec, and the parts of the study that it is: itself, and what its chain is of."""
    rows = where(task.all_conditions, codec=codec)
    paths = sorted((folder / "compressed" / task.task / codec).glob("*/test.parquet"))
    variant = read_meta(paths[0]).get("variant") or {} if paths else {}
    files = {codec, variant.get("codec", codec), *(step["step"] for step in variant.get("chain", []))}
    return {
        "title": rows["title"].iloc[0],
        "levels": _levels(list(rows["label"])),
        "encoder": rows["encoder"].iloc[0],
        "parts": [f"codec:{one}" for one in sorted(files)],
    }


def _levels(labels: Sequence[str]) -> str:
    """Levels of a codec as a list, in which a unit that all have stands once: "QF 95, 75 and 50", "64 and 32 kb/s"."""
    words = [label.split(" ") for label in labels]
    if all(len(each) == 2 for each in words):
        if len({first for first, _ in words}) == 1:
            return f"{words[0][0]} {_listed([last for _, last in words])}"
        if len({last for _, last in words}) == 1:
            return f"{_listed([first for first, _ in words])} {words[0][1]}"
    return _listed(labels)


def _fidelity(task: Summary) -> list[tuple[str, str]]:
    """The measures of fidelity of which a task has any value: what each is called, and the part of the study it is."""
    titles = {
        "psnr": "PSNR",
        "ssim": "SSIM",
        "snr": "SNR",
        "si_sdr": "SI-SDR",
        "spectral_distance": "spectral distance",
    }
    of_task = [(titles[name], f"fidelity:{name}") for name in MEASURES if task.conditions[name].notna().any()]
    return of_task + [(about["title"], f"measure:{name}") for name, about in task.meta.get("measures", {}).items()]


def _attack(task: Summary) -> dict[str, Any]:
    """What the methods say of the attacks on a task."""
    rows = task.attacks[task.attacks["attack"] != WORST]
    told = [
        {
            "name": name.replace("_", " "),
            "part": f"attack:{name}",
            "budgets": _listed([attack_size(*budget, task.medium) for budget in budgets(of_attack)]),
        }
        for name, of_attack in ((str(key), found) for key, found in rows.groupby("attack", sort=True))
    ]
    tiers = sorted(set(rows["tier"]))
    return {
        "items": task.attacked["items"],
        "attacks": told,
        "through": any(tier not in (OBLIVIOUS, "T1") for tier in tiers),
        "tiers": [f"tier:{tier}" for tier in tiers],
        "margin": number(100 * task.defence_margin),
    }


def _listed(texts: Sequence[str]) -> str:
    """Texts as a list: "a, b and c"."""
    return " and ".join(filter(None, [", ".join(texts[:-1]), *texts[-1:]]))
