"""What each codec takes of bytes, of a processor's time and of money: a table, and a picture for each task."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from lossybench.artifacts import TIMINGS, publish, read_meta, read_table
from lossybench.conditions import ORIGINAL
from lossybench.reporting import figures, style
from lossybench.reporting.summary import ACCEPTED, Summary, worst_limits

_MILLION = 1e6  # items that costs are of
_GIGABYTE, _HOUR_MS = 1e9, 3.6e6


class Timed(NamedTuple):
    """The `rows` of all tables of artifacts.TIMINGS with their task and codec, and the `machines` they were made on."""

    rows: pd.DataFrame
    machines: list[str]


def write(summaries: list[Path], timings: list[Path], prices: dict[str, Any], table: Path) -> None:
    """Write the `table` (CSV).

    summaries: a folder of tables per task. timings: tables of artifacts.TIMINGS. prices: as `config.Prices` holds them.
    Raises LossyBenchError naming a table that is missing.
    """
    found = timed(timings).rows
    each = [rows(Summary(folder), found, prices) for folder in summaries]
    with publish(table) as aside:
        pd.concat(each).to_csv(aside, index=False, float_format="%.6g", lineterminator="\n")


def draw(summary: Path, timings: list[Path], out: Path) -> None:
    """Draw the frontier of a task as `out` (PNG), and an SVG beside it. summary, timings: as of `write`."""
    with style.styled():
        style.save(figures.frontier(Summary(summary), timed(timings).rows), out, out.with_suffix(".svg"))


def timed(timings: list[Path]) -> Timed:
    """What these tables of artifacts.TIMINGS hold; without any, rows that name no task."""
    found, machines = [pd.DataFrame({name: [] for name in ("task", "codec", *TIMINGS.names)})], set[str]()
    for path in timings:
        meta = read_meta(path)
        found.append(read_table(path).to_pandas().assign(task=meta["task"], codec=meta["codec"]))
        machines.add(meta["machine"])
    return Timed(pd.concat(found[1:] or found), sorted(machines))


def rows(tables: Summary, timed: pd.DataFrame, prices: dict[str, Any]) -> pd.DataFrame:
    """One row for each condition of a task: bytes, milliseconds, items a second, and costs of a million items.

    timed: rows of artifacts.TIMINGS with columns task and codec. prices: as `config.Prices` holds them.
    """
    of_task = timed[timed["task"] == tables.task].drop(columns="task")
    columns = ["codec", "title", "level", "label", "strength", "file_bytes", "saving_lossless", "saving_source"]
    found = tables.conditions[columns].merge(of_task, on=["codec", "level"], how="left", validate="one_to_one")
    found = found.sort_values("codec", key=lambda names: names != ORIGINAL, kind="stable", ignore_index=True)
    found.insert(0, "task", tables.task)
    gigabytes = found["file_bytes"] * _MILLION / _GIGABYTE
    found["decoded_per_second"] = 1000 / found["decode_ms"]
    found["storage"] = gigabytes * prices["storage"] * prices["months"]
    found["transfer"] = gigabytes * prices["transfer"] * prices["reads"]
    work = found["encode_ms"] + prices["reads"] * found["decode_ms"]
    found["cpu"] = work * _MILLION / _HOUR_MS * prices["cpu"]
    found["total"] = found[["storage", "transfer", "cpu"]].sum(axis=1, skipna=False)
    limits = worst_limits(tables)
    passed = limits[limits["verdict"].isin(ACCEPTED)]
    at = set(zip(passed["codec"], passed["level"], strict=True))
    found["limit"] = [pair in at for pair in zip(found["codec"], found["level"], strict=True)]
    return found.drop(columns="strength")
