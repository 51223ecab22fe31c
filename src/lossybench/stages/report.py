"""The stage report: each task's figures and contact sheet, and the pages on the limits and attacks of all tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def figures(summary: Path, out: Path) -> None:
    """Draw the figures of a task from its summary tables.

    Args:
        summary: the folder that aggregate made
        out: the folder to write

    Raises:
        LossyBenchError: for a table that is missing, which it names.
    """
    from lossybench.reporting import figures

    figures.draw(summary, out)


def contact_sheet(data: Path, compressed: list[Path], out: Path, titles: dict[str, Any] | None = None) -> None:
    """Show what each codec does to sample items at each level.

    Args:
        data: the table that fetch made
        compressed: the test parts of every condition, the original among them
        out: the PNG to write
        titles: {codec: what readers know it by}, of codecs to which the study gives a title

    Raises:
        LossyBenchError: for an item or an original that is missing, and for a payload that is damaged.
    """
    from lossybench.reporting import contact_sheet

    contact_sheet.draw(data, compressed, out, titles)


def recommend(summaries: list[Path], out: Path, html: Path, attacks: Path) -> None:
    """Write recommendations, the table of limits and the page on attacks.

    Args:
        summaries: the folders that aggregate made
        out: the Markdown to write
        html: the table of limits to write, as HTML
        attacks: the page on attacks to write, as HTML

    Raises:
        LossyBenchError: for a table that is missing, which it names.
    """
    from lossybench.reporting import attack_page, recommendations

    recommendations.write(summaries, out)
    recommendations.write_html(summaries, html)
    attack_page.write(summaries, attacks)


def frontier(summary: Path, timings: list[Path], out: Path) -> None:
    """Draw what a task's models reach against bytes on disk, with the time of decoding as colour.

    Args:
        summary: the folder that aggregate made
        timings: the tables that timing made, of every codec of the task
        out: the PNG to write; beside it an SVG

    Raises:
        LossyBenchError: for a table that is missing, which it names.
    """
    from lossybench.reporting import costs

    costs.draw(summary, timings, out)


def costs(summaries: list[Path], timings: list[Path], prices: dict[str, Any], out: Path, table: Path) -> None:
    """Write what each codec takes of bytes, time and money.

    Args:
        summaries: the folders that aggregate made
        timings: the tables that timing made, of every task and codec
        prices: those of the config
        out: the page to write, as HTML
        table: the same as CSV

    Raises:
        LossyBenchError: for a table that is missing, which it names.
    """
    from lossybench.reporting import costs

    costs.write(summaries, timings, prices, out, table)
