"""By frequency: what a codec keeps of the attacked items, and where the main attack's changes of them lie.

The changes of the attacker who ignores the codec were made on the bare model (tier T0). Those of the attacker who goes
through it are of the best-informed tier by gradients, without the items that it took over from a weaker tier. Both are
looked at on the items that the codec seems to defend: those that it leaves right if it is ignored. Any other is beaten
without regard to the codec, so that its change says nothing of how the codec is overcome. In detection all items count,
because a picture has several objects, of which some are nearly always left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import t as student

from lossybench import kinds
from lossybench.analysis.outcomes import Row
from lossybench.analysis.robustness import OBLIVIOUS, WHITE_BOX_ADAPTIVE
from lossybench.artifacts import read_meta, read_table
from lossybench.conditions import ORIGINAL

HALF = 0.5  # a band of which a codec keeps less is one that it loses


def rows(paths: Sequence[Path]) -> Iterator[Row]:
    """Rows of the table `spectra`: each band of frequencies, at each level of each codec before each attacked model.

    paths: tables of artifacts.ATTACKS or DETECTION_ATTACKS. There are no rows where no untargeted attack was made.
    """
    bare: dict[tuple[str, str, int], pd.DataFrame] = {}
    behind = []
    for path in paths:
        meta = read_meta(path)
        model = (meta["arch"], meta["regime"], int(meta["seed"]))
        judged = ["label", "after"] if kinds.load(meta["kind"]).attacked_unit == "test item" else []
        table = read_table(path, ["id", "tier", "level", "spectrum", "kept", *judged]).to_pandas()
        if meta["codec"] == ORIGINAL:
            bare[model] = table
        else:
            behind += [(*model, meta["codec"], level, here, meta) for level, here in table.groupby("level")]
    for arch, regime, seed, codec, level, here, meta in sorted(behind, key=lambda one: one[:5]):
        main = here[(here["tier"] == OBLIVIOUS) & here["kept"].notna()]
        if main.empty:
            continue
        defended = main[main["after"] == main["label"]] if "label" in main else main
        best = next((tier for tier in reversed(WHITE_BOX_ADAPTIVE) if tier in set(here["tier"])), "")
        kept = _by_band(main, "kept")
        oblivious, adaptive = (
            _by_band(table[(table["tier"] == tier) & table["id"].isin(defended["id"])], "spectrum")
            for table, tier in ((bare[arch, regime, seed], OBLIVIOUS), (here, best))
        )
        moved, low, high = _moved(kept, oblivious, adaptive)
        for band, (lower, upper) in enumerate(pairwise([0.0, *meta["bands"]["edges"]])):
            yield {
                "arch": arch,
                "regime": regime,
                "seed": seed,
                "codec": codec,
                "level": level,
                "band": band,
                "lower": lower,
                "upper": upper,
                "unit": meta["bands"]["unit"],
                "kept": _mean(kept, band),
                "oblivious": _mean(oblivious, band),
                "adaptive": _mean(adaptive, band),
                "moved": moved,
                "moved_low": low,
                "moved_high": high,
                "n": len(kept),
                "defended": len(oblivious),
                "own": len(adaptive),
            }


def _by_band(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """The values of a `column`: a row for each item of which it was measured, a column for each band."""
    found = table[table[column].notna()]
    return pd.DataFrame(found[column].tolist(), index=found["id"])


def _mean(each: pd.DataFrame, band: int) -> float | None:
    """The mean over the items that have something in a band; None if there is no such item."""
    values = each[band].to_numpy() if len(each) else np.empty(0)
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _moved(kept: pd.DataFrame, oblivious: pd.DataFrame, adaptive: pd.DataFrame) -> Sequence[float | None]:
    """How much more of the adaptive change lies in bands that the codec loses than of the oblivious, and its interval.

    The interval is Student's of the differences of the same items; None for fewer than two of these.
    """
    lost = kept.columns[kept.mean() < HALF]
    both = oblivious.index.intersection(adaptive.index)
    if len(both) < 2:
        return None, None, None
    difference = (adaptive.loc[both, lost] - oblivious.loc[both, lost]).sum(axis=1)
    value = float(difference.mean())
    reach = float(student.ppf(0.975, len(both) - 1) * difference.std() / np.sqrt(len(both)))
    return value, max(value - reach, -1.0), min(value + reach, 1.0)
