"""By what a loss hurts, in sentences: the groups of items and objects that are shown to lose more than all do."""

from __future__ import annotations

import pandas as pd

from lossybench.conditions import ORIGINAL
from lossybench.errors import visible
from lossybench.reporting.summary import AS_IT_CAME, OWN, REGIME_TITLES, Summary, where


def hurt(tables: Summary) -> pd.DataFrame:
    """The groups that models trained on originals are shown to hurt more than all, at the mildest level of each codec.

    Columns: arch, codec, level, label, by, group; within, whether that level is within the codec's limit at the middle
    delta; and text, one sentence. It is plain text: names are as the data set has them, made visible.
    """
    shown = where(tables.subgroups, regime=ORIGINAL, hurt=True).sort_values("strength", kind="stable")
    first = shown.drop_duplicates(["arch", "codec", "by", "group"]).sort_values(["arch", "codec", "by"], kind="stable")
    limits = where(tables.limits, regime=ORIGINAL, baseline=OWN, delta=tables.delta)
    strongest = limits.set_index(["arch", "codec"])["level"]
    strengths = tables.conditions.set_index(["codec", "level"])["strength"]
    rows = []
    for _, row in first.iterrows():
        limit = strongest.get((row["arch"], row["codec"]))
        within = not pd.isna(limit) and strengths[row["codec"], limit] >= row["strength"]
        about = {key: row[key] for key in ("arch", "codec", "level", "by", "group")}
        label = tables.label(row["codec"], row["level"])
        rows.append(about | {"label": label, "within": bool(within), "text": _sentence(tables, row, label)})
    return pd.DataFrame(rows, columns=["arch", "codec", "level", "label", "by", "group", "within", "text"])


def named(by: str, group: str) -> str:
    """A group as readers know it: "speaker george", "class cat", 'size "small, to 1,024 px²"'."""
    if by == "size":
        return f'size "{visible(group)}"'
    return f"{by.replace('_', ' ')} {visible(group)}"


def _sentence(tables: Summary, row: pd.Series, label: str) -> str:
    """What a row of `subgroups` says of a group that is hurt."""
    metric = tables.metric
    came = AS_IT_CAME if tables.came(row["arch"], ORIGINAL) else REGIME_TITLES[ORIGINAL]
    names = ("loss", "loss_low", "loss_high", "excess_low", "excess_high")
    loss, low, high, least, most = (metric.gap(row[name]).lstrip("+") for name in names)
    who = f"{tables.title(row['codec'])} at {label}, {row['arch']} {came}: {named(row['by'], row['group'])}"
    by = f"up to {most}" if row["excess_low"] == 0 else f"{least} to {most}"
    says = f"{who} loses {by} {metric.points} more than all items do"
    return f"{says} ({loss} [{low}, {high}], of {row['support']:,})."
