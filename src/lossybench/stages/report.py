"""The stage report: each task's figures and contact sheet, and the page and the recommendations on all tasks."""

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


def contact_sheet(
    data: Path, compressed: list[Path], out: Path, samples: Path, titles: dict[str, Any] | None = None
) -> None:
    """Show what each codec does to sample items at each level.

    Args:
        data: the table that fetch made
        compressed: the test parts of every condition, the original among them
        out: the PNG to write
        samples: the same by item, codec and level, which the page shows and plays, to write as JSON
        titles: {codec: what readers know it by}, of codecs to which the study gives a title

    Raises:
        LossyBenchError: for an item or an original that is missing, and for a payload that is damaged.
    """
    from lossybench.reporting import contact_sheet

    contact_sheet.draw(data, compressed, out, samples, titles)


def recommend(summaries: list[Path], out: Path) -> None:
    """Write recommendations.

    Args:
        summaries: the folders that aggregate made
        out: the Markdown to write

    Raises:
        LossyBenchError: for a table that is missing, which it names.
    """
    from lossybench.reporting import recommendations

    recommendations.write(summaries, out)


def page(summaries: list[Path], timings: list[Path], samples: list[Path], study: dict[str, Any], out: Path) -> None:
    """Write the page that answers, shows, plays and is asked.

    Args:
        summaries: the folders that aggregate made; of one without tables the page says what is missing
        timings: the tables that timing made, of every task and codec
        samples: what contact-sheet kept of each task
        study: config, the study's; and left, {task: what is not there yet} of a study that is not finished
        out: the page to write, as HTML

    Raises:
        LossyBenchError: for a table that is damaged.
    """
    from lossybench.reporting import page

    page.write(summaries, timings, samples, study, out)


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


def costs(summaries: list[Path], timings: list[Path], prices: dict[str, Any], table: Path) -> None:
    """Write what each codec takes of bytes, time and money.

    Args:
        summaries: the folders that aggregate made
        timings: the tables that timing made, of every task and codec
        prices: those of the config
        table: the CSV to write

    Raises:
        LossyBenchError: for a table that is missing, which it names.
    """
    from lossybench.reporting import costs

    costs.write(summaries, timings, prices, table)
