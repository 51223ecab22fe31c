"""Which codecs and levels a model tells, where these are the classes of a task: a confusion table with intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lossybench.analysis import intervals
from lossybench.analysis.comparisons import where
from lossybench.analysis.outcomes import Row, TestSet, Trained
from lossybench.analysis.sampling import Sampling
from lossybench.artifacts import read_table
from lossybench.conditions import Condition


def rows(
    files: Mapping[Trained, Mapping[str, Mapping[int, Sequence[Path]]]],
    conditions: Mapping[Condition, Row],
    classes: Sequence[tuple[str, float | None]],
    task: TestSet,
    sampling: Sampling,
) -> Iterator[Row]:
    """Rows of the table `identification` of all models at all conditions.

    files: outcomes by model, codec and seed. conditions: rows of the table `conditions`. classes: codec and level of
    each class, or None where a class is a codec at any level. What an item truly is, its id says: CODEC/LEVEL/NAME. For
    each true codec and level there is a row for each class that is told of any of its items, and one for each codec
    that is told of any, whatever the level, with the level null. The true ones are always among them.
    """
    codec_of = np.array([codec for codec, _ in classes], object)
    exact = [] if None in (level for _, level in classes) else list(enumerate(classes))
    chosen: dict[tuple[str, float], list[int]] = {}
    for place, (codec, text, _) in enumerate(name.split("/", 2) for name in task.ids):
        chosen.setdefault((codec, float(text)), []).append(place)
    samplings = {origin: sampling.of(np.array(items)) for origin, items in chosen.items()}
    for model, of_codec in files.items():
        for behind, by_seed in of_codec.items():
            tables = [_predictions(paths) for _, paths in sorted(by_seed.items())]
            for condition in (one for one in conditions if one.codec == behind):
                told = np.stack([table[condition.level].loc[task.ids].to_numpy() for table in tables])
                for (true, level), items in chosen.items():
                    of_items, how = told[:, items], samplings[true, level]
                    about = where(model, conditions[condition]) | {"true_codec": true, "true_level": level}
                    about |= {"n": len(items)}
                    for place, (name, of_class) in exact:
                        if (name, of_class) == (true, level) or (of_items == place).any():
                            yield about | _share(of_items == place, how, name, of_class)
                    codecs = codec_of[of_items]
                    for name in dict.fromkeys([true, *sorted(set(codecs.ravel()))]):
                        yield about | _share(codecs == name, how, name, None)


def _predictions(paths: Sequence[Path]) -> dict[float, pd.Series]:
    """The predicted classes by level, each by the items' ids."""
    tables = pd.concat([read_table(path, ["id", "level", "prediction"]).to_pandas() for path in paths])
    return {level: some.set_index("id")["prediction"] for level, some in tables.groupby("level")}


def _share(hits: np.ndarray, sampling: Sampling, codec: str, level: float | None) -> Row:
    """How often this codec and level were told. hits: bool (seeds, n)."""
    found = intervals.share(hits, sampling)
    bounds = {"share": found.value, "share_low": found.interval.low, "share_high": found.interval.high}
    return {"told_codec": codec, "told_level": level, **bounds}
