"""What helps against a loss, in sentences: each row of the table `gaps` that a report shows, and why."""

from __future__ import annotations

import pandas as pd

from lossybench.conditions import ORIGINAL
from lossybench.reporting.summary import AS_IT_CAME, OWN, REGIME_TITLES, Summary, amount, where

TRAINED_ON = {"matched": "training on this level", "mixed": "training on a mixture of levels"}


def advice(tables: Summary) -> pd.DataFrame:
    """What helps at each level of each codec, a row each, from the mildest level on.

    Columns: arch; codec, level and label; training, as in `gaps`: matched where there is such a model, else mixed, else
    ""; advice, as in `gaps`; beyond, whether this is the first level beyond the codec's limit at the middle delta; and
    text, one sentence, which names the codec, the level and the architecture. It is plain text: titles are as the
    config has them.
    """
    limits = where(tables.limits, regime=ORIGINAL, baseline=OWN, delta=tables.delta)
    stopped = limits.set_index(["arch", "codec"])["stopped_at"]
    lossy = tables.gaps[tables.gaps["codec"] != ORIGINAL]
    # The training is chosen before anything is known of what it wins back: choosing the better one would flatter it.
    chosen = lossy.sort_values("training", key=lambda names: names.map({"matched": 0, "mixed": 1, "": 2}))
    chosen = chosen.drop_duplicates(["arch", "codec", "level"]).sort_values(["arch", "codec", "strength"])
    rows = [
        {key: row[key] for key in ("arch", "codec", "level")}
        | {"label": tables.label(row["codec"], row["level"])}
        | {key: row[key] for key in ("training", "advice")}
        | {"beyond": bool(stopped.get((row["arch"], row["codec"])) == row["level"]), "text": _sentence(tables, row)}
        for _, row in chosen.iterrows()
    ]
    columns = ["arch", "codec", "level", "label", "training", "advice", "beyond", "text"]
    return pd.DataFrame(rows, columns=columns)


def _sentence(tables: Summary, row: pd.Series) -> str:
    """What a row of `gaps` says."""
    came = AS_IT_CAME if tables.came(row["arch"], ORIGINAL) else REGIME_TITLES[ORIGINAL]
    where_ = f"{tables.title(row['codec'])} at {tables.label(row['codec'], row['level'])}, {row['arch']} {came}"
    if row["advice"] == "nothing to explain":
        return f"{where_}: no loss is shown, so there is nothing to explain."
    says = f"{where_}: {_points(tables, row, 'loss')} are lost"
    if row["training"]:
        says += f", of which {TRAINED_ON[row['training']]} wins back {_points(tables, row, 'recovered')}"
        says += f" and leaves {_points(tables, row, 'remaining')}"
    if row["advice"] == "train on compressed media":
        also = f"; without it, {_other(tables, row)}" if row["other_low"] > 0 else ""
        return f"{says}. Train on compressed media{also}."
    if row["advice"] == "another codec":
        return f"{says}. Another codec: {_other(tables, row)}."
    if row["advice"] == "more bits":
        return f"{says}. More bits: at least half of the loss remains with matched training."
    if not row["training"]:
        return f"{says}. What helps is not shown: no such model was trained on compressed media."
    if row["training"] == "mixed" and row["mostly_high"] <= 0:
        return f"{says}. What helps is not shown: training on this level alone was not tried."
    return f"{says}. What helps is not shown: what is won back may be more or less than half of the loss."


def _other(tables: Summary, row: pd.Series) -> str:
    """The other codec of a row, its rate and what is lost less with it."""
    other = where(tables.conditions, codec=row["other_codec"], level=row["other_level"]).iloc[0]
    here = where(tables.conditions, codec=row["codec"], level=row["level"]).iloc[0]
    rates = f"{amount(other['rate'])} {other['rate_unit']}, against {amount(here['rate'])}"
    return f"{other['title']} at {other['label']} ({rates}) loses {_points(tables, row, 'other')} less"


def _points(tables: Summary, row: pd.Series, name: str) -> str:
    """A figure of a row with its interval: "12.3 points [10.1, 14.4]"."""
    metric = tables.metric
    value, low, high = (metric.gap(row[key]).lstrip("+") for key in (name, f"{name}_low", f"{name}_high"))
    return f"{value} {metric.points} [{low}, {high}]"
