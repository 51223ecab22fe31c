"""What each codec takes of bytes, of a processor's time and of money: a page, a table and a picture for each task."""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from lossybench.artifacts import publish, read_meta, read_table
from lossybench.conditions import ORIGINAL
from lossybench.reporting import figures, style
from lossybench.reporting.summary import ACCEPTED, Summary, amount, worst_limits

_MILLION = 1e6  # items that costs are of
_GIGABYTE, _HOUR_MS = 1e9, 3.6e6
_MONEY = ("storage", "transfer", "cpu", "total")


def write(summaries: list[Path], timings: list[Path], prices: dict[str, Any], out: Path, table: Path) -> None:
    """Write the page `out` (HTML) and the `table` (CSV).

    summaries: a folder of tables per task. timings: tables of artifacts.TIMINGS. prices: as `config.Prices` holds them.
    Raises LossyBenchError naming a table that is missing.
    """
    tasks = [Summary(folder) for folder in summaries]
    timed, machines = _timed(timings)
    each = [rows(tables, timed, prices) for tables in tasks]
    with publish(table) as aside:
        pd.concat(each).to_csv(aside, index=False, float_format="%.6g", lineterminator="\n")
    with publish(out) as aside:
        aside.write_text(_page(tasks, each, prices, machines))


def draw(summary: Path, timings: list[Path], out: Path) -> None:
    """Draw the frontier of a task as `out` (PNG), and an SVG beside it. summary, timings: as of `write`."""
    with style.styled():
        style.save(figures.frontier(Summary(summary), _timed(timings)[0]), out, out.with_suffix(".svg"))


def _timed(timings: list[Path]) -> tuple[pd.DataFrame, list[str]]:
    """All rows of the tables of timings with their task and codec, and the machines on which they were made."""
    found, machines = [], set[str]()
    for path in timings:
        meta = read_meta(path)
        found.append(read_table(path).to_pandas().assign(task=meta["task"], codec=meta["codec"]))
        machines.add(meta["machine"])
    return pd.concat(found), sorted(machines)


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


def _page(tasks: list[Summary], each: list[pd.DataFrame], prices: dict[str, Any], machines: list[str]) -> str:
    money = html.escape(str(prices["currency"]))
    notes = [
        "Bytes are of the codec's file as it lies on disk, on average over the test items. Savings are of the same"
        " items as lossless files, and as they came, where they came as files.",
        f"Milliseconds are a processor's, of one core, for one item: the median of rounds over some test items, on"
        f" {html.escape(' and '.join(machines))}. They differ from run to run; half the range of the rounds stands"
        " behind ±. Encoding counts all that this package does for it, the search for a size included.",
        f"Costs are of a million items: stored for {prices['months']:g} months at {money} {prices['storage']:g} a"
        f" gigabyte and month, sent {prices['reads']:g} times at {money} {prices['transfer']:g} a gigabyte, encoded"
        f" once and decoded {prices['reads']:g} times at {money} {prices['cpu']:g} a core and hour. Set your own prices"
        " in the config, under prices; nothing but this page is made again.",
        "In bold: a codec's strongest level that is shown to cost no more than the middle margin for every architecture"
        " trained on originals (limits.html).",
    ]
    said = "".join(f"<p>{note}</p>" for note in notes)
    return _PAGE.format(
        notes=said, body="\n".join("".join(_task(*one, money)) for one in zip(tasks, each, strict=True))
    )


def _task(tables: Summary, found: pd.DataFrame, money: str) -> Iterator[str]:
    header = ["codec", "level", "bytes an item", "saves of lossless", "of own files", "encoding, ms", "decoding, ms"]
    header += ["decoded a second", *(f"{name}, {money}" for name in _MONEY)]
    yield f"<h2>{html.escape(tables.task)}</h2><table><thead><tr>"
    yield "".join(f"<th>{name}</th>" for name in header) + "</tr></thead><tbody>"
    for _, row in found.iterrows():
        original = row["codec"] == ORIGINAL
        cells = [row["title"], "as stored here" if original else row["label"], f"{row['file_bytes']:,.0f}"]
        cells += [_share(row[name]) for name in ("saving_lossless", "saving_source")]
        cells += [f"{amount(row[f'{of}_ms'])} ± {100 * row[f'{of}_spread']:.0f} %" for of in ("encode", "decode")]
        cells += [amount(row["decoded_per_second"]), *(amount(row[name]) for name in _MONEY)]
        chosen = ' class="limit"' if row["limit"] else ""
        yield f"<tr{chosen}>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>"
    yield "</tbody></table>"


def _share(share: float | None) -> str:
    return "–" if share is None or pd.isna(share) else f"{100 * share:.1f} %".replace("-", "−")


_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Bytes, time and money</title><style>
body {{ font: 14px sans-serif; color: #222 }}
p {{ max-width: 60em }}
table {{ border-collapse: collapse }}
th {{ position: sticky; top: 0; background: #fff; text-align: left }}
th, td {{ padding: 3px 10px; border-bottom: 1px solid #ddd; white-space: nowrap }}
td:nth-child(n+3), th:nth-child(n+3) {{ text-align: right }}
.limit td {{ font-weight: bold }}
</style></head><body>{notes}
{body}
</body></html>
"""
