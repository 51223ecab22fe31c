"""A results folder as pandas frames, for notebooks: `Results("results").limits`.

`frame.attrs["units"]` names the unit of each column, "" for texts, flags and what has none. Shares are fractions of 1.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from lossybench.analysis.tables import SCHEMAS
from lossybench.artifacts import LEVEL, columns, read_meta, read_table, units
from lossybench.conditions import level_text
from lossybench.errors import LossyBenchError, nearest
from lossybench.layout import TABLES, Layout

# The columns that the parts of a path fill.
_TEXTS = ((key, pa.string()) for key in ("task", "arch", "regime", "codec", "part"))
_KEYS = columns(*_TEXTS, ("seed", pa.int64(), ""), ("fold", pa.int64(), ""), ("level", pa.float64(), LEVEL))


def _table(name: str, about: str) -> Any:
    return property(lambda results: results.summary(name), doc=f"{about} Columns: analysis/tables.py.")


class Results:
    """What a study has measured so far. Files are read when they are asked for, each time anew.

    folder: of the results. Raises LossyBenchError for a folder without results.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder, self.layout = Path(folder), Layout(folder)
        if not any((self.folder / kind).is_dir() for kind in TABLES):
            raise LossyBenchError(f"{folder}: no results folder; give one that holds some of {', '.join(TABLES)}")

    @property
    def tasks(self) -> list[str]:
        """The names of the tasks that have any table, in order."""
        return sorted({parts[0] for kind in TABLES for parts, _ in self.layout.tables(kind)})

    conditions = _table("conditions", "Rate, ratio and mean fidelity of each codec and level.")
    metrics = _table("metrics", "Every metric of each model at each condition; seed -1 is the mean over seeds.")
    differences = _table("differences", "Each model's primary metric at a condition, minus that on the originals.")
    verdicts = _table("verdicts", "Whether the loss at a condition is smaller than each delta.")
    limits = _table("limits", "The strongest acceptable level for each model, codec and delta.")
    capture = _table("capture", "How limits move as capture gets worse, of codecs that have a grid.")
    transfer = _table("transfer", "Models trained at one condition and tested at others.")
    held_out = _table("held_out", "Models on a codec that the mixture they learnt from lacked.")
    gaps = _table("gaps", "How much of a loss training on compressed media wins back, and what follows.")
    subgroups = _table("subgroups", "What each class, size or group of items loses, and which lose more than all do.")
    identification = _table("identification", "Which codecs and levels models tell, of tasks that ask for them.")
    bd = _table("bd", "Bjontegaard deltas between codecs.")
    attacks = _table("attacks", "Accuracy under each attack, before and after each condition.")
    spectra = _table("spectra", "By frequency: what a codec keeps, and where the main attack's changes lie.")
    gates = _table("gates", "Checks that tell too weak an attack from a model that withstands it.")

    def summary(self, table: str) -> pd.DataFrame:
        """The summary table of this name, of all tasks that have it, after a column `task`.

        Raises LossyBenchError for the name of no table, and when no task has the table yet.
        """
        if table not in SCHEMAS:
            raise LossyBenchError(f"no summary table {table!r}; {nearest(table, SCHEMAS)}")
        return self._frame("summary", None, {"table": table})

    def meta(self, task: str) -> dict[str, Any]:
        """What holds for the whole `task`: its medium, kind, classes, data card and settings of the analysis.

        Raises LossyBenchError when the task has no summary.
        """
        return read_meta(self.layout.summary(task, "conditions"))

    def outcomes(self, task: str, columns: list[str] | None = None, **chosen: str | float) -> pd.DataFrame:
        """Every prediction of a `task` for every test item, in the columns that its kind declares (`TaskKind.schema`).

        columns: those wanted, to save memory; all when left out. chosen: arch, regime, seed and codec, in full or as a
        pattern ("matched_*"). Only files that fit are opened, so that large studies can be read piece by piece.

        Raises LossyBenchError, with what would be right, for an unknown column or choice, and when nothing fits.
        """
        return self._frame("outcomes", columns, {"task": task, **chosen})

    def attacked(self, task: str, columns: list[str] | None = None, **chosen: str | float) -> pd.DataFrame:
        """Every attack on every item (artifacts.[DETECTION_]ATTACKS), without media. Arguments as of `outcomes`."""
        return self._frame("attacks", columns, {"task": task, **chosen})

    def compressed(self, task: str, columns: list[str] | None = None, **chosen: str | float) -> pd.DataFrame:
        """Rate and fidelity of every item at every condition (artifacts.COMPRESSED), without bitstreams.

        chosen: codec, level and part ("test", "train"); task, columns: as of `outcomes`.
        """
        return self._frame("compressed", columns, {"task": task, **chosen})

    def items(self, task: str, columns: list[str] | None = None) -> pd.DataFrame:
        """The items of a `task` in all splits (artifacts.DATA), without their media; `columns` as in `outcomes`.

        `groups` holds a dictionary for each item: factor -> name of the group.
        """
        return self._frame("data", columns, {"task": task})

    def _frame(self, kind: str, names: list[str] | None, chosen: dict[str, str | float]) -> pd.DataFrame:
        """The rows of all tables of one `kind` that fit `chosen`, after columns of what their paths say."""
        keys, files = TABLES[kind], self.layout.tables(kind)
        for key, value in chosen.items():
            if key not in keys:
                raise LossyBenchError(f"{kind} cannot be chosen by {key!r}; {nearest(key, keys)}")
            wanted = value if isinstance(value, str) else level_text(value)
            known = {parts[keys.index(key)] for parts, _ in files}
            files = [file for file in files if fnmatchcase(file[0][keys.index(key)], wanted)]
            if not files:
                hint = nearest(wanted, known) if known else "nothing is there yet"
                raise LossyBenchError(f"{self.folder / kind}: no {key} {wanted!r}; {hint}")
        tables = []
        for parts, path in files:
            table = read_table(path, names, without=("media", "payload", "adversarial"))
            for at, (key, text) in enumerate(zip(keys, parts, strict=True)):
                if key in _KEYS.names:
                    field = _KEYS.field(key)
                    table = table.add_column(at, field, pa.repeat(pa.scalar(text).cast(field.type), len(table)))
            tables.append(table.replace_schema_metadata())
        whole = pa.concat_tables(tables, promote_options="default")  # tasks differ in their measures of fidelity
        frame = whole.to_pandas(maps_as_pydicts="strict")
        frame.attrs["units"] = units(whole.schema)
        return frame
