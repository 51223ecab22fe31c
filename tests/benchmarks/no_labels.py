"""How near limits without labels are to those with labels: both from the same outcomes of studies that are finished.

`python tests/benchmarks/no_labels.py RESULTS...` takes folders of results, judges every task of theirs that has labels
once by these and once by each kind of own answers (`truth: model`, and `scores` of classifiers), and prints for each
codec and margin how many levels the limit moves: below 0 it is stronger, so that less compression is allowed. It writes
nothing into the results, and takes about a minute for a thousand items, models and levels each counted.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from lossybench import kinds
from lossybench.artifacts import read_meta
from lossybench.stages.aggregate import aggregate

MODEL = ["arch", "regime", "codec", "delta"]


def limits(results: Path, task: str, settings: dict[str, Any]) -> pd.DataFrame:
    """The limits of each model and codec of a task, against the model itself on originals.

    The column `place` is the number of levels that are acceptable, from the mildest on.
    """
    with tempfile.TemporaryDirectory() as folder:
        aggregate(
            [results / "data" / f"{task}.parquet"],
            sorted((results / "compressed" / task).rglob("test.parquet")),
            sorted((results / "outcomes" / task).rglob("*.parquet")),
            settings,
            Path(folder),
        )
        conditions = pd.read_parquet(Path(folder) / "conditions.parquet")
        found = pd.read_parquet(Path(folder) / "limits.parquet")
    strengths = conditions.set_index(["codec", "level"])["strength"]
    own = found[found["baseline"] == "own"].copy()
    own["place"] = [
        0 if pd.isna(row.level) else int(strengths[row.codec, row.level]) for row in own.itertuples(index=False)
    ]
    return own.set_index(MODEL)[["place", "verdict"]]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--deltas", type=float, nargs="+", default=[1, 2, 5])
    parser.add_argument("--score", type=float, default=0.5, help="least score of a detection that counts as an object")
    asked = parser.parse_args()
    moved: dict[str, Counter[int]] = {}
    for results in asked.results:
        for data in sorted((results / "data").glob("*.parquet")):
            settings = {"deltas": asked.deltas, "defence_margin": 10, "bootstrap": 1000, "seed": 0}
            kind = kinds.load(read_meta(data)["kind"])
            table = limits(results, data.stem, settings)
            for truth in kind.own_answers:
                other = limits(results, data.stem, {**settings, "truth": truth, "truth_score": asked.score})
                table[truth] = other["place"] - table["place"]
                moved.setdefault(truth, Counter()).update(table[truth].tolist())
            print(f"{data.stem}: acceptable levels with labels, and by how many levels own answers move that")
            print(table.to_string(), flush=True)
    for truth, counts in moved.items():
        total = counts.total()
        near = sum(count for places, count in counts.items() if abs(places) <= 1)
        told = ", ".join(f"{places:+d}: {counts[places]}" for places in sorted(counts))
        print(f"truth: {truth}: within one level {near} of {total} ({near / total:.1%}); levels moved {told}")


if __name__ == "__main__":
    main()
