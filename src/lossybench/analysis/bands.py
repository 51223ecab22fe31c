"""By frequency: what a codec keeps of the attacked items, and where the main attack's changes of them lie.

The changes of the attacker who ignores the codec were made on the bare model (tier T0). Those of the attacker who goes
through it are of the best-informed tier by gradients, without the items that it took over from a weaker tier.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lossybench.analysis.outcomes import Row
from lossybench.analysis.robustness import OBLIVIOUS, WHITE_BOX_ADAPTIVE
from lossybench.artifacts import read_meta, read_table
from lossybench.conditions import ORIGINAL


def rows(paths: Sequence[Path]) -> Iterator[Row]:
    """Rows of the table `spectra`: each band of frequencies, at each level of each codec before each attacked model.

    paths: tables of artifacts.ATTACKS or DETECTION_ATTACKS. There are no rows where no untargeted attack was made.
    """
    oblivious: dict[tuple[Any, ...], np.ndarray] = {}
    behind = []
    for path in paths:
        meta = read_meta(path)
        model = (meta["arch"], meta["regime"], int(meta["seed"]))
        table = read_table(path, ["tier", "level", "spectrum", "kept"]).to_pandas()
        if meta["codec"] == ORIGINAL:
            oblivious[model] = _measured(table, "spectrum", OBLIVIOUS)
        else:
            behind += [(*model, meta["codec"], level, here, meta) for level, here in table.groupby("level")]
    for arch, regime, seed, codec, level, here, meta in sorted(behind, key=lambda one: one[:5]):
        if not len(kept := _measured(here, "kept", OBLIVIOUS)):
            continue
        ignored = oblivious.get((arch, regime, seed), kept[:0])
        best = next((tier for tier in reversed(WHITE_BOX_ADAPTIVE) if tier in set(here["tier"])), "")
        through = _measured(here, "spectrum", best)
        edges, unit = meta["bands"]["edges"], meta["bands"]["unit"]
        for band, (lower, upper) in enumerate(pairwise([0.0, *edges])):
            yield {
                **{"arch": arch, "regime": regime, "seed": seed, "codec": codec, "level": level},
                **{"band": band, "lower": lower, "upper": upper, "unit": unit},
                "kept": _mean(kept, band),
                "oblivious": _mean(ignored, band),
                "adaptive": _mean(through, band),
                "n": len(kept),
                "own": len(through),
            }


def _measured(table: pd.DataFrame, column: str, tier: str) -> np.ndarray:
    """The values (n, bands) of a `column` in a `tier`, of the n items of which it was measured."""
    return np.array(table.loc[table["tier"] == tier, column].dropna().tolist())


def _mean(each: np.ndarray, band: int) -> float | None:
    """The mean of `each` (n, bands) over the items that have something in a `band`; None if there is no such item."""
    values = each[:, band] if len(each) else each
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
