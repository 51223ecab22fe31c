"""How near limits without labels are to those with labels: both from the same outcomes of studies that are finished.

`python tests/benchmarks/no_labels.py RESULTS...` takes folders of results, judges every task of theirs that has labels
once by these and once by each kind of own answers (`truth: model`, and `scores` of classifiers), and prints for each
codec and margin by how many levels own answers move the limit: below 0 they allow less compression than labels do. At
the end it counts the limits of each model, and those that hold for every architecture trained on originals, as reports
give them. It writes nothing into the results.
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
    moved: dict[tuple[str, str], Counter[int]] = {}
    for results in asked.results:
        for data in sorted((results / "data").glob("*.parquet")):
            settings = {"deltas": asked.deltas, "defence_margin": 10, "bootstrap": 1000, "seed": 0}
            kind = kinds.load(read_meta(data)["kind"])
            table = limits(results, data.stem, settings)
            for truth in kind.own_answers:
                other = limits(results, data.stem, {**settings, "truth": truth, "truth_score": asked.score})
                table[truth] = other["place"] - table["place"]
                plain = [each[each.index.get_level_values("regime") == "original"]["place"] for each in (table, other)]
                of_all, own_of_all = (each.groupby(["codec", "delta"]).min() for each in plain)
                for what, found in (("each model", table[truth]), ("every architecture", own_of_all - of_all)):
                    moved.setdefault((truth, what), Counter()).update(found.tolist())
            print(f"{data.stem}: acceptable levels with labels, and by how many levels own answers move that")
            print(table.to_string(), flush=True)
    for (truth, what), counts in moved.items():
        total = counts.total()
        near = sum(count for places, count in counts.items() if abs(places) <= 1)
        told = ", ".join(f"{places:+d}: {counts[places]}" for places in sorted(counts))
        share = f"{near} of {total} ({near / total:.1%})"
        print(f"truth: {truth}, limits of {what}: within one level {share}; levels moved {told}")


if __name__ == "__main__":
    main()
