"""What a study measured, read and checked: its items, its conditions and each model's outcomes.

Where a task is tested look by look, there is a table of each kind for each look, and together they count as one.
Whatever would silently shrink or unpair a comparison is refused: missing levels, items or seeds, and NaN.
"""

from __future__ import annotations

import dataclasses
import functools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from lossybench import codecs
from lossybench.artifacts import read_meta, read_table
from lossybench.conditions import ORIGINAL, REFERENCE, Condition, level_text
from lossybench.errors import LossyBenchError
from lossybench.fidelity import MEASURES, infinite, mean_of

Row = dict[str, Any]
Trained = tuple[str, str]  # an architecture and a regime: all models that differ in their seeds alone


@dataclasses.dataclass(frozen=True)
class TestSet:
    """The test items of a task.

    truth: the columns of the data table that hold what is true of each item, as the kind of task declares them. groups:
    factor -> int (n,), the index of each item's group from 0 on; {} where nothing is known to be shared. data: the
    table of the items, named in errors. file_bytes: float (n,), of each item's own files, NaN where there are none;
    None where it was not asked for. group_names: factor -> the names of its groups, by their indices. folds: int (n,),
    the fold of each item from 0 on, whose model tests it; None where the task has no folds.
    """

    name: str
    medium: str
    kind: str
    classes: list[str]
    ids: list[str]
    truth: pa.Table
    groups: dict[str, np.ndarray]
    data: Path
    file_bytes: np.ndarray | None = None
    group_names: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    folds: np.ndarray | None = None

    @functools.cached_property
    def index(self) -> pa.Array:
        """The ids as Arrow holds them."""
        return pa.array(self.ids, pa.string())


def read_task(data: list[Path], truth: list[str]) -> TestSet:
    """The test split of the tables `data` (artifacts.DATA): of the first look, then what each further one added.

    truth: the columns that say what is true of an item.

    Raises LossyBenchError when the split is empty, for an item that is in it twice, and when its items are not all of
    the same factors.
    """
    first, *_ = data
    meta = read_meta(first)
    table = _read(data, ["id", "split", "groups", "file_bytes", "fold", *truth])
    test = table.filter(pc.equal(table["split"], "test"))
    if not len(test):
        raise LossyBenchError(f"{first}: the split test has no items; add some, because models are tested on them")
    counts = pc.value_counts(test["id"])
    if len(counts) < len(test):
        twice = next(one["values"] for one in counts.to_pylist() if one["counts"] > 1)
        raise LossyBenchError(f"{named(data)}: item {twice!r} is in the split test twice; fetch the data again")
    ids, groups, group_names = test["id"].to_pylist(), dict[str, np.ndarray](), dict[str, list[str]]()
    shared = test["groups"].combine_chunks()
    of_item = np.repeat(np.arange(len(test)), np.diff(shared.offsets.to_numpy()))
    for factor in pc.unique(shared.keys).to_pylist():
        of_factor = pc.equal(shared.keys, factor)
        if not np.array_equal(of_item[of_factor.to_numpy(zero_copy_only=False)], np.arange(len(test))):
            raise LossyBenchError(f"{named(data)}: its items differ in what they may share; delete it and run again")
        encoded = shared.items.filter(of_factor).dictionary_encode()
        groups[factor], group_names[factor] = encoded.indices.to_numpy(), encoded.dictionary.to_pylist()
    own = test["file_bytes"].to_pandas().to_numpy(float)
    folds = test["fold"].to_numpy() - 1 if "folds" in meta else None
    name, medium, kind, classes = (meta[key] for key in ("task", "medium", "kind", "classes"))
    return TestSet(name, medium, kind, classes, ids, test.select(truth), groups, first, own, group_names, folds)


def _read(paths: Iterable[Path], columns: list[str] | None = None, whole: Iterable[str] = ()) -> pa.Table:
    """The rows of all tables. columns: those wanted; all when left out. whole: those that must hold no NaN."""
    tables = []
    for path in paths:
        tables.append(read_table(path, columns).replace_schema_metadata())
        for column in whole:
            _refuse_nan(path, tables[-1], column)
    return pa.concat_tables(tables)


def read_conditions(
    compressed: list[Path],
    task: TestSet,
    counted: Literal["file", "coded"] = "file",
    titles: Mapping[str, str] | None = None,
) -> tuple[dict[Condition, Row], dict[Condition, np.ndarray]]:
    """Rows of the table `conditions`: the original first, then codec by codec from the mildest level on. And the rates
    (n,) of each condition, in the order of the task's items.

    compressed: tables of artifacts.COMPRESSED, one for each condition and look. counted: which bits rates and savings
    are of: all of the codec's file, or those of the coded media. titles: those that the study gives its codecs; others
    are by the codec and its options. Raises LossyBenchError for other items than the task's and when the original is
    missing.
    """
    found: dict[Condition, Row] = {}
    bits: dict[Condition, np.ndarray] = {}
    lossless = np.full(len(task.ids), np.nan)
    rates: dict[Condition, np.ndarray] = {}
    by_codec: dict[str, codecs.Codec] = {}
    paths: dict[Condition, list[Path]] = defaultdict(list)
    for path in compressed:
        meta = read_meta(path)
        paths[Condition(meta["codec"], float(meta["level"]))].append(path)
        by_codec.setdefault(meta["codec"], codecs.made(meta["codec"], meta["options"], meta.get("variant")))
    for condition, of_looks in paths.items():
        codec = by_codec[condition.codec]
        measured = [*MEASURES, *read_meta(of_looks[0]).get("measures", {})]
        columns = ["id", "payload_bits", "overhead_bits", "raw_bits", "lossless_bits", "rate", "coded_rate"]
        read = _read(of_looks, [*columns, *measured, "encoder"])
        order = np.argsort(_places(of_looks, read["id"], task, "this file"))
        table = read.select([*columns[1:], *measured]).take(order).to_pandas()
        file = table["payload_bits"] + table["overhead_bits"]
        rates[condition] = table["rate" if counted == "file" else "coded_rate"].to_numpy()
        bits[condition] = (file if counted == "file" else table["payload_bits"]).to_numpy(float)
        if condition == REFERENCE:
            lossless = table["lossless_bits"].to_numpy(float)
        found[condition] = {
            "codec": condition[0],
            "title": (titles or {}).get(condition.codec) or codec.full_title(),
            "level": condition[1],
            "label": codec.title if condition == REFERENCE else codec.level_label(condition[1]),
            "strength": 0,
            "rate": rates[condition].mean(),
            "file_rate": table["rate"].mean(),
            "coded_rate": table["coded_rate"].mean(),
            "rate_unit": "bpp" if task.medium == "image" else "kb/s",
            "ratio": table["raw_bits"].sum() / bits[condition].sum(),
            "saving": _saving(bits[condition], table["raw_bits"].to_numpy(float)),
            "overhead_share": table["overhead_bits"].sum() / file.sum(),
            "file_bytes": file.mean() / 8,
            "above_target": _above(file, codec.most_bits(condition.level, table["raw_bits"])),
            **{name: mean_of(table[name]) for name in measured},
            "infinite": infinite(table[list(MEASURES)].to_numpy(float)),
            "encoder": " | ".join(sorted(pc.unique(read["encoder"]).to_pylist())),
            "n": len(table),
        }
    if REFERENCE not in found:
        raise LossyBenchError(f"{task.name}: no compressed test part of codec {ORIGINAL!r}; every study needs it")
    own = task.file_bytes
    for condition, row in found.items():
        row["saving_lossless"] = _saving(bits[condition], lossless)
        row["saving_source"] = _saving(bits[condition], 8 * own) if own is not None and np.isfinite(own).all() else None
    ordered = {REFERENCE: found.pop(REFERENCE)}
    for name in sorted({name for name, _ in found}):
        levels = by_codec[name].by_strength([level for other, level in found if other == name])
        for strength, level in enumerate(levels, start=1):
            ordered[Condition(name, level)] = found[Condition(name, level)] | {"strength": strength}
    return ordered, rates


def _above(file: pd.Series, most: Any) -> float | None:
    """The share of files that have more than `most` bits; None where there is no such target."""
    return None if most is None else float((file > most).mean())


def _saving(bits: np.ndarray, before: np.ndarray) -> float | None:
    """The share of the bits `before` that is saved, over the items of which they are known; None where of none."""
    known = np.isfinite(before)
    return float(1 - bits[known].sum() / before[known].sum()) if known.any() else None


def outcome_files(outcomes: list[Path], task: TestSet) -> dict[Trained, dict[str, dict[int, list[Path]]]]:
    """The files `outcomes` by model, codec and seed: one for each look, or one for each fold.

    Raises LossyBenchError for a file of another task, for a model without the original, and for a codec that not all
    seeds of a model have.
    """
    found: dict[Trained, dict[str, dict[int, list[Path]]]] = defaultdict(lambda: defaultdict(dict))
    for path in sorted(outcomes):
        meta = read_meta(path)
        if meta["task"] != task.name:
            raise LossyBenchError(f"{path}: holds outcomes of task {meta['task']!r}; give those of {task.name!r} alone")
        found[meta["arch"], meta["regime"]][meta["codec"]].setdefault(int(meta["seed"]), []).append(path)
    if not found:
        raise LossyBenchError(f"{task.name}: no outcomes; evaluate a model first")
    for (arch, regime), of_codec in found.items():
        seeds = {seed for by_seed in of_codec.values() for seed in by_seed}
        for codec in {ORIGINAL, *of_codec}:
            for seed in sorted(seeds - set(of_codec.get(codec, {}))):
                raise LossyBenchError(
                    f"outcomes/{task.name}/{arch}/{regime}/{seed}/{codec}.parquet is missing: every model needs the "
                    f"codec {ORIGINAL!r}, and all seeds of a model the same codecs; evaluate it"
                )
    return found


def existing_archs(outcomes: list[Path]) -> list[str]:
    """The architectures of `outcomes` that name models which existed before the study, in alphabetical order."""
    return sorted({meta["arch"] for meta in map(read_meta, outcomes) if meta["existing"]})


@dataclasses.dataclass(frozen=True)
class Outcomes:
    """The outcomes of one model and seed at one level.

    rows: of the kind's schema, in the order of the task's items, and of an item in that of the table. item: int
    (rows,), the place of each row's item among the task's.
    """

    rows: pa.Table
    item: np.ndarray


def read_outcomes(
    paths: list[Path], schema: pa.Schema, levels: list[float], task: TestSet, per_item: bool
) -> dict[float, Outcomes]:
    """The outcomes of one model, seed and codec at each level.

    paths: tables of the `schema`, one for each look. levels: those that were compressed. per_item: whether each item
    has one row. Raises LossyBenchError unless the tables hold exactly these levels, each with the task's items, and for
    NaN among their numbers.
    """
    floats = [field.name for field in schema if _holds_floats(field.type)]
    table = _read(paths, schema.names, whole=floats)
    found = {}
    for level, rows in _by_level(paths, table["level"].to_numpy(), levels).items():
        ids = table["id"].take(rows)
        item = _places(paths, ids, task, f"level {level_text(level)}", once=per_item)
        order = np.argsort(item, kind="stable")
        found[level] = Outcomes(table.take(rows[order]), item[order])
    return found


def _holds_floats(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind.value_type if pa.types.is_list(kind) else kind)


def _by_level(paths: list[Path], of_rows: np.ndarray, levels: list[float]) -> dict[float, np.ndarray]:
    """The rows of each level, int (m,), by the level of each row. Raises LossyBenchError unless they are exactly these
    levels.
    """
    parts = {level: np.flatnonzero(of_rows == level) for level in pd.unique(of_rows).tolist()}
    if wrong := sorted(set(parts) ^ set(levels)):
        what = ", ".join(f"{level_text(one)} ({'missing' if one in levels else 'not compressed'})" for one in wrong)
        raise LossyBenchError(f"{named(paths)}: levels differ from the compressed ones: {what}; evaluate again")
    return parts


def named(paths: list[Path]) -> str:
    """Tables of all looks in a message."""
    return " with ".join(map(str, paths))


def _places(paths: list[Path], ids: pa.ChunkedArray, task: TestSet, what: str, once: bool = True) -> np.ndarray:
    """The place among the task's items of each row, int (rows,), by the rows' `ids`.

    what: the part of `paths` that they are of. Raises LossyBenchError unless they are the task's items, each once or,
    if not `once`, at least once. Ids stay as Arrow holds them, as 100,000 texts of Python take 10 MB.
    """
    places = pc.index_in(ids, value_set=task.index)
    if not places.null_count:
        found = places.to_numpy()
        counts = np.bincount(found, minlength=len(task.ids))
        if (counts == 1).all() if once else counts.all():
            return found
    _refuse_items(paths, (ids if once else pc.unique(ids)).to_pylist(), task, what)


def _refuse_items(paths: list[Path], ids: list[str], task: TestSet, what: str) -> NoReturn:
    missing, foreign = sorted(set(task.ids) - set(ids)), sorted(set(ids) - set(task.ids))
    example = f"lacks {missing[0]!r}" if missing else f"has {foreign[0]!r}" if foreign else "holds one twice"
    raise LossyBenchError(
        f"{named(paths)}: {what} holds {len(ids)} items ({example}), the test split of {task.data} {len(task.ids)}; "
        "redo it"
    )


def _refuse_nan(path: Path, table: pa.Table, column: str) -> None:
    values = table[column]
    if pc.any(pc.is_nan(pc.list_flatten(values) if pa.types.is_list(values.type) else values)).as_py():
        raise LossyBenchError(f"{path}: NaN among the {column}, so the model has diverged; train it again")
