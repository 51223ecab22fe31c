"""What a paper takes from a finished study."""

from __future__ import annotations

from pathlib import Path


def paper(results: Path, /, out: Path = Path("paper")) -> str:
    """Write the tables, figures, methods and sources of a finished study for a paper.

    Every table comes as LaTeX (booktabs, longtable) and, with all columns and digits, as CSV; figures as PDF and SVG at
    the width of a column (3.5 inches) and of a page (7 inches); the methods as methods.tex with what they cite in
    references.bib. paper.tex shows all: `pdflatex paper; bibtex paper; pdflatex paper; pdflatex paper`.

    Args:
        results: the results folder
        out: the folder to write

    Raises:
        LossyBenchError: for a folder without a finished study, and for a table that is missing or damaged.
    """
    import logging

    from lossybench.artifacts import read_meta
    from lossybench.errors import LossyBenchError
    from lossybench.reporting import printed
    from lossybench.results import Results

    logging.getLogger("fontTools").setLevel(logging.WARNING)  # which tells what it leaves out of each font
    layout = Results(results).layout
    summaries = sorted(path.parent for path in (results / "summary").glob("*/limits.parquet"))
    if not summaries:
        raise LossyBenchError(f"{results}: no task has a summary yet; let the study run to its end first")
    for folder in summaries:
        if "metrics" not in read_meta(folder / "conditions.parquet"):
            raise LossyBenchError(f"{folder}: was made by an older LossyBench; let Snakemake make it anew")
    written = printed.export(layout.root, summaries, out)
    return f"{out}: {len(written)} files; paper.tex shows them all"
