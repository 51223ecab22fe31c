"""Error rates of a study's verification task beside those of scikit-learn: `equal_error.py RESULTS TASK`.

Embeddings and pairs are read from the tables of the results, and nothing of the package is used but their names.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import roc_curve


def main(results: Path, task: str) -> None:
    """Print a line for each model, codec and level: the rates of the table `metrics`, and the largest difference."""
    rows = pd.read_parquet(results / "data" / f"{task}.parquet", columns=["id", "split", "identity", "against"])
    rows = rows[rows["split"] == "test"].set_index("id")
    said = pd.read_parquet(results / "summary" / task / "metrics.parquet")
    said = said.set_index(["arch", "regime", "seed", "codec", "level", "metric"])["value"].sort_index()
    for path in sorted((results / "outcomes" / task).glob("*/*/*/*.parquet")):
        arch, regime, seed, codec = path.relative_to(results / "outcomes" / task).with_suffix("").parts
        for level, found in pd.read_parquet(path).groupby("level"):
            embedding = {id: one / np.linalg.norm(one) for id, one in zip(found["id"], found["embedding"], strict=True)}
            pairs = [(one, other) for one, against in rows["against"].items() for other in against]
            scores = [float(np.dot(embedding[one], embedding[other])) for one, other in pairs]
            genuine = [rows["identity"][one] == rows["identity"][other] for one, other in pairs]
            far, tar, _ = roc_curve(genuine, scores, drop_intermediate=False)
            curve = interp1d(far, tar)
            theirs = {"eer": brentq(lambda x, curve=curve: 1 - x - curve(x), 0, 1, xtol=1e-13)}
            theirs |= {"tar_far_1": tar[far <= 0.01].max(), "tar_far_01": tar[far <= 0.001].max()}
            ours = said.loc[arch, regime, int(seed), codec, level]
            apart = max(abs(ours[name] - theirs[name]) for name in ours.index)
            print(
                arch, regime, seed, codec, f"{level:g}", *(f"{ours[name]:.6f}" for name in ours.index), f"{apart:.1e}"
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
