"""Two studies side by side: what changed in limits and curves, on one page and in two tables."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lossybench.conditions import ORIGINAL, Condition, level_text
from lossybench.errors import LossyBenchError, nearest
from lossybench.metrics import Metric
from lossybench.reporting.summary import amount, percent
from lossybench.results import Results

# What both have to have, from the widest to the narrowest: the columns, and what one of them is called.
_COMMON = {
    ("task",): "task",
    ("task", "arch", "regime"): "model",
    ("task", "codec"): "codec",
    ("task", "codec", "level"): "level",
}
_CURVE, _LIMIT = ["task", "arch", "regime", "codec", "level"], ["task", "arch", "regime", "codec", "baseline", "delta"]
PAIRED = "paired by item"
SINGLE = "model"  # what stands for the architecture where one model of each is compared


def compare(a: Path, b: Path, /, out: Path = Path("compare.html"), models: Sequence[str] = ()) -> str:
    """Compare two studies, or two models, and write what differs as a page and two tables.

    Only what both have is compared: tasks, models, codecs, levels and margins. The page names the rest. Differences are
    b minus a. Where both were tested on the same items, they are paired by item.

    Args:
        a: the results folder of a study
        b: the results folder of another study, or the same for two of its models
        out: the page to write; beside it tables with the endings .limits.csv and .curves.csv
        models: two as ARCHITECTURE/REGIME, of which the first is a's and the second b's; all by default

    Raises:
        LossyBenchError: for a folder without a finished study, for a model that no task has, and for studies that have
            nothing in common.
    """
    from lossybench.artifacts import publish

    if models and len(models) != 2:
        raise LossyBenchError(f"--models: {len(models)} given; name two as ARCHITECTURE/REGIME, a's and b's")
    studies = _Study.read(a, *models[:1]), _Study.read(b, *models[1:])
    limits, curves = limit_rows(*studies), curve_rows(*studies)
    if not len(curves):
        raise LossyBenchError(f"{a} and {b} have nothing in common: {'; '.join(lacking(*studies))}")
    texts = {out: _page(studies, limits, curves)}
    texts |= {out.with_suffix(".limits.csv"): limits.to_csv(index=False)}
    texts |= {out.with_suffix(".curves.csv"): curves.to_csv(index=False)}
    out.parent.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        with publish(path) as aside:
            aside.write_text(text, encoding="utf-8")
    return f"{out}: {len(curves)} results and {len(limits)} limits of {curves['task'].nunique()} tasks compared"


class _Study(NamedTuple):
    """What is compared of a study.

    name: what the page calls it. model: the one that alone is compared, as ARCHITECTURE/REGIME, or "". limits, curves:
    rows of all tasks; curves are of the primary metric over all seeds. conditions: of all tasks.
    """

    name: str
    model: str
    results: Results
    limits: pd.DataFrame
    curves: pd.DataFrame
    conditions: pd.DataFrame

    @classmethod
    def read(cls, folder: Path, model: str = "") -> _Study:
        """The study in a results folder, or one of its models alone."""
        results = Results(folder)
        if not any((folder / "summary").glob("*/limits.parquet")):
            raise LossyBenchError(f"{folder}: no task has a summary yet; let the study run to its end first")
        conditions, limits = results.conditions, results.limits
        primary = results.differences[["task", "metric"]].drop_duplicates()
        curves = results.metrics.merge(primary)
        curves = curves[(curves["seed"] == -1) & (curves["class"] == "")].drop(columns=["n", "strength"])
        shown = ["task", "codec", "level", "title", "label", "strength", "rate", "rate_unit", "n"]
        curves = curves.merge(conditions[shown], on=["task", "codec", "level"])
        if model:
            named = [rows["arch"] + "/" + rows["regime"] for rows in (curves, limits)]
            if model not in set(named[0]):
                raise LossyBenchError(f"{folder}: no model {model!r}; {nearest(model, set(named[0]))}")
            curves, limits = (
                rows[name == model].assign(arch=SINGLE, regime="")
                for rows, name in zip((curves, limits), named, strict=True)
            )
        return cls(f"{folder}{f', {model}' * bool(model)}", model, results, limits, curves, conditions)

    def of_task(self, task: str) -> pd.DataFrame:
        """The rows of `curves` of a task."""
        return self.curves[self.curves["task"] == task]

    def metric(self, task: str) -> Metric:
        """The primary metric of a task. Studies that do not say what it is are older than those whose is no share."""
        told, name = self.results.meta(task).get("metrics"), str(self.of_task(task)["metric"].iloc[0])
        return Metric(**told[0]) if told else Metric(name, name)


def lacking(a: _Study, b: _Study) -> list[str]:
    """What only one of two studies has, a sentence each. What a whole task lacks is not told again of its codecs."""
    found, tasks = [], set(a.curves["task"]) & set(b.curves["task"])
    for columns, what in _COMMON.items():
        seen = [set(study.curves[list(columns)].itertuples(index=False, name=None)) for study in (a, b)]
        codecs = set.intersection(*(set(zip(one.curves["task"], one.curves["codec"], strict=True)) for one in (a, b)))
        for name, own in ((a.name, seen[0] - seen[1]), (b.name, seen[1] - seen[0])):
            for task, *rest in sorted(own):
                if (what == "task" or task in tasks) and (what != "level" or (task, rest[0]) in codecs):
                    found.append(f"Only {name} has the {what} {_words(task, *rest)}.")
    for study, other in ((a, b), (b, a)):
        for task in sorted(tasks):
            own, of_other = (set(one.limits.loc[one.limits["task"] == task, "delta"]) for one in (study, other))
            found += [f"Only {study.name} has the margin {delta:g} of {task}." for delta in sorted(own - of_other)]
    return found


def _words(task: str, *rest: Any) -> str:
    """A task, or something of it: "jpeg 10 of digits"."""
    named = " ".join(level_text(one) if isinstance(one, float) else str(one) for one in rest if one != "")
    return f"{named} of {task}" if named else task


def limit_rows(a: _Study, b: _Study) -> pd.DataFrame:
    """The limits that both have, side by side: each column of a and b, how b's `moved`, and the change of its rate.

    moved: "stronger" or "milder", as the level of b is beside that of a; "same"; "only a" or "only b", where the other
    has none; "neither". rate_change: (b - a) / a; null unless both have a limit and rates of the same unit.
    """
    kept = ["verdict", "level", "label", "rate", "rate_unit", "saving", "stopped_at", "stopped_verdict"]
    both = [study.limits[[*_LIMIT, *kept]] for study in (a, b)]
    rows = both[0].merge(both[1], on=_LIMIT, suffixes=("_a", "_b"))
    keys = set(zip(rows["task"], rows["codec"], strict=True))
    up = {(task, codec): _stronger_is_more(a, b, task, codec) for task, codec in keys}
    moved = []
    for row in rows.to_dict("records"):
        first, second = row["level_a"], row["level_b"]
        if math.isnan(first) or math.isnan(second):
            has_one = "only b" if math.isnan(first) else "only a"
            moved.append("neither" if math.isnan(first) and math.isnan(second) else has_one)
        elif first == second:
            moved.append("same")
        else:
            moved.append("stronger" if (second > first) == up[row["task"], row["codec"]] else "milder")
    change = (rows["rate_b"] / rows["rate_a"] - 1).where(rows["rate_unit_a"] == rows["rate_unit_b"])
    return rows.assign(moved=moved, rate_change=change).sort_values(_LIMIT, ignore_index=True)


def _stronger_is_more(a: _Study, b: _Study, task: str, codec: str) -> bool:
    """Whether a larger level of a codec is a stronger one, by the order in which the studies have its levels."""
    for study in (a, b):
        rows = study.conditions[(study.conditions["task"] == task) & (study.conditions["codec"] == codec)]
        levels = rows.sort_values("strength")["level"].tolist()
        if len(levels) > 1:
            return bool(levels[-1] > levels[0])
    # Each has one level, the rate of which says which is stronger.
    rates = [study.curves[(study.curves["task"] == task) & (study.curves["codec"] == codec)] for study in (a, b)]
    first, second = (rows.iloc[0] for rows in rates)
    return bool((second["rate"] < first["rate"]) == (second["level"] > first["level"]))


def curve_rows(a: _Study, b: _Study) -> pd.DataFrame:
    """The primary metric of both at each condition that both have, and its difference b - a with a 95 % interval.

    The difference is turned so that more than 0 is better in b, whatever the metric. how: PAIRED, or why it is not.
    """
    kept = ["metric", "value", "low", "high", "title", "label", "strength", "rate", "rate_unit", "n"]
    both = [study.curves[[*_CURVE, *kept]] for study in (a, b)]
    rows = both[0].merge(both[1].drop(columns=["title", "label", "strength"]), on=[*_CURVE, "metric"],
                         suffixes=("_a", "_b"))  # fmt: skip
    metrics = {task: b.metric(task) for task in rows["task"].unique()}
    paired = {task: _paired(a, b, task) for task in metrics}
    found = []
    for row in rows.to_dict("records"):
        of_task = paired[row["task"]]
        if not isinstance(of_task, str):
            found.append((*of_task[tuple(row[column] for column in _CURVE[1:])], PAIRED))
            continue
        # The distances of both bounds to the values add as squares: Newcombe 1998, Statistics in Medicine 17:873-890,
        # method 10, and for any metric Zou and Donner 2008, Statistics in Medicine 27:1693-1702.
        low = (
            row["value_b"] - row["value_a"] - math.hypot(row["value_b"] - row["low_b"], row["high_a"] - row["value_a"])
        )
        high = (
            row["value_b"] - row["value_a"] + math.hypot(row["high_b"] - row["value_b"], row["value_a"] - row["low_a"])
        )
        turned = sorted(metrics[row["task"]].sign * end for end in (low, high))
        found.append((metrics[row["task"]].sign * (row["value_b"] - row["value_a"]), *turned, of_task))
    added = pd.DataFrame(found, columns=["difference", "low", "high", "how"], index=rows.index)
    return pd.concat([rows, added], axis=1).sort_values(["task", "arch", "regime", "codec", "strength"],
                                                        ignore_index=True)  # fmt: skip


def _paired(a: _Study, b: _Study, task: str) -> dict[tuple[Any, ...], tuple[float, float, float]] | str:
    """The differences of a task's results at all conditions that both studies have, paired by item.

    The models are taken as trained independently of each other. Returned is {(arch, regime, codec, level): (difference,
    low, high)} with the ends of 95 % intervals, or why they cannot be paired.
    """
    from lossybench import tasks
    from lossybench.analysis import comparisons
    from lossybench.analysis.outcomes import read_task
    from lossybench.analysis.sampling import Sampling

    kinds = {study.results.meta(task)["kind"] for study in (a, b)}
    if len(kinds) > 1:
        return f"unpaired, as they are of other kinds: {', '.join(sorted(kinds))}"
    try:
        kind = tasks.kind_class(kinds.pop())
    except LossyBenchError as error:  # a user's own, which may lie beside the config of the study
        return f"unpaired, as their kind of task could not be loaded: {error}"
    read = []
    for side, study in (("a", a), ("b", b)):
        paths = [path for (name,), path in study.results.layout.tables("data") if name == task]
        outcomes = [path for (name, *_), path in study.results.layout.tables("outcomes") if name == task]
        if not (paths and outcomes):
            return f"unpaired, as the data or outcomes of {side} are not there any more"
        try:
            read.append((study, read_task(paths, kind.truth.names), outcomes))
        except LossyBenchError as error:
            return f"unpaired, as the items of {side} could not be read: {error}"
    first, second = read[0][1], read[1][1]
    if set(first.ids) != set(second.ids):
        return "unpaired, as the test items differ"
    # Both go by the order of the first, in which the second has to tell the same of each item.
    place = {name: at for at, name in enumerate(second.ids)}
    order = [place[name] for name in first.ids]
    if not second.truth.take(order).equals(first.truth):
        return "unpaired, as what is true of the test items differs"
    # The items of a fold are tested by the same model, and err together.
    folds = None if second.folds is None else second.folds[order]
    if not np.array_equal(np.array(first.folds), np.array(folds)):
        return "unpaired, as the test items are dealt into other folds"
    settings = b.results.meta(task)["settings"]
    sampling = Sampling.draw(len(first.ids), first.groups, settings["bootstrap"], settings["seed"], folds=first.folds)
    codecs = set.intersection(*(set(study.of_task(task)["codec"]) for study in (a, b)))
    sides = [_primaries(study, first, kind, codecs, outcomes, sampling) for study, _, outcomes in read]
    found = {}
    for key in sides[0].keys() & sides[1].keys():
        estimate = comparisons.paired(sides[0][key], sides[1][key], sampling, same_models=False).estimate
        found[key] = estimate.value, estimate.interval.low, estimate.interval.high
    return found


def _primaries(
    study: _Study, task: Any, kind: Any, codecs: set[str], outcomes: list[Path], sampling: Any
) -> dict[tuple[Any, ...], Any]:
    """The primary metric of a study's compared models at all levels of these codecs, by (arch, regime, codec, level).

    task: the test items, in the order in which results are to be. kind: of the task. outcomes: the files.
    """
    from lossybench.analysis.outcomes import outcome_files
    from lossybench.stages.aggregate import measured

    rows = study.conditions[study.conditions["task"] == task.name]
    conditions: dict[Condition, dict[str, Any]] = {
        Condition(*one): {} for one in rows[["codec", "level"]].itertuples(index=False, name=None)
    }
    found = {}
    for (arch, regime), of_codec in outcome_files(outcomes, task).items():
        if study.model in ("", f"{arch}/{regime}"):
            name = (SINGLE, "") if study.model else (arch, regime)
            chosen = {codec: by_seed for codec, by_seed in of_codec.items() if codec in codecs}
            for condition, one, *_ in measured(kind, chosen, conditions, [], task, sampling):
                found[*name, condition.codec, condition.level] = one.primary
    return found


def _page(studies: tuple[_Study, _Study], limits: pd.DataFrame, curves: pd.DataFrame) -> str:
    """The page, whose words stand in the template."""
    from markupsafe import Markup

    from lossybench.reporting.templating import environment

    plain = limits["regime"].isin(["original", ""])
    main = limits[(limits["baseline"] == "own") == plain]
    tasks = [
        {
            "name": task,
            "limits": main[main["task"] == task].to_dict("records"),
            "models": [
                {"name": name, "rows": rows.to_dict("records"), "figure": Markup(_figure(rows, metric))}
                for name, rows in of_task.groupby(of_task["arch"] + " " + of_task["regime"], sort=True)
            ],
            "better": int((of_task["low"] > 0).sum()),
            "worse": int((of_task["high"] < 0).sum()),
            "n": len(of_task),
            "how": sorted(set(of_task["how"])),
            "items": [of_task["n_a"].iloc[0], of_task["n_b"].iloc[0]],
            "encoders": _encoders(studies, str(task)),
            "metric": metric,
        }
        for task, of_task in curves.groupby("task", sort=True)
        for metric in [studies[1].metric(str(task))]
    ]
    filled = environment(percent=percent, turned=_turned, amount=amount, there=pd.notna)
    names = [study.name for study in studies]
    return filled.get_template("compare.html.j2").render(
        names=names, tasks=tasks, lacking=lacking(*studies), paired=PAIRED
    )


def _encoders(studies: tuple[_Study, _Study], task: str) -> list[tuple[str, str, str]]:
    """The codecs that two studies have encoded by different programs: the codec, and what a and b used."""
    both = [one.conditions[one.conditions["task"] == task].groupby("codec")["encoder"].first() for one in studies]
    return [(codec, both[0][codec], both[1][codec]) for codec in both[0].index.intersection(both[1].index)
            if both[0][codec] != both[1][codec]]  # fmt: skip


def _turned(difference: float, metric: Metric) -> str:
    """A difference in what margins are counted in, with its sign: "−1.2"."""
    return f"{round(metric.scale * difference, 1 if metric.scale > 1 else 3) + 0.0:+g}".replace("-", "−")


def _figure(rows: pd.DataFrame, metric: Metric) -> str:
    """The curves of one model in both studies, and their differences with intervals, as an SVG."""
    import matplotlib
    from matplotlib.figure import Figure

    from lossybench.reporting import style
    from lossybench.reporting.printed import rate_axis

    codecs = [codec for codec in rows["codec"].unique() if codec != ORIGINAL]
    looks = style.codec_looks(sorted(codecs))
    with style.styled(), matplotlib.rc_context({"svg.fonttype": "none"}):
        figure = Figure(figsize=(9, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        for codec in codecs:
            of_codec = rows[rows["codec"] == codec].sort_values("strength")
            colour, marker = looks[codec]
            title = of_codec["title"].iloc[0]
            for side, dash, fill in (("a", "--", "none"), ("b", "-", "full")):
                line = {"color": colour, "linestyle": dash, "marker": marker, "fillstyle": fill}
                left.plot(
                    of_codec[f"rate_{side}"], metric.scale * of_codec[f"value_{side}"], **line, label=f"{title}, {side}"
                )
            spread = metric.scale * of_codec[["low", "difference", "high"]].to_numpy().T
            right.errorbar(of_codec["rate_b"], spread[1], [spread[1] - spread[0], spread[2] - spread[1]],
                           color=colour, marker=marker, capsize=2, label=title)  # fmt: skip
        right.axhline(0, color=style.INK, linewidth=0.8)
        for axes in (left, right):
            rate_axis(axes, str(rows["rate_unit_b"].iloc[0]))
        left.set_ylabel(f"{metric.title} ({metric.unit or '%'})")
        right.set_ylabel(f"better in b by ({metric.points})")
        left.legend(fontsize=7)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()[file.getvalue().index("<svg") :]
