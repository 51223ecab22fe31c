"""The files that stages hand to each other: the schemas of their Parquet tables, and how files are read and written.

Every table carries a dictionary `meta` (JSON in the metadata of the Parquet schema) for what holds for all of its rows.
Tables are written row group by row group, so that memory stays flat however many items there are.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
import secrets
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lossybench.errors import LossyBenchError, nearest

META_KEY = b"lossybench"
ROWS_PER_GROUP, BYTES_PER_GROUP = 1024, 1 << 24  # a group ends at whichever comes first, and lies in memory whole

# Units that more than one table has, in words, because users read them (results.py).
RATE = "bits/pixel of images, kb/s of audio and video"
SAVINGS = ("saving", "saving_lossless", "saving_source")  # of raw media, of lossless ones, of the files as they came
LEVEL = "the codec's own: QF, QP, kb/s, ..."
EPSILON = "by norm: full scale (linf, l2), dB (snr), share of the area (share)"


def columns(*named: tuple[Any, ...]) -> pa.Schema:
    """A table's columns. named: (name, type) of each, or for numbers (name, type, unit), where "" is no unit."""
    return pa.schema(
        [pa.field(name, kind, metadata={"unit": unit[0]} if unit else None) for name, kind, *unit in named]
    )


def extended(schema: pa.Schema, *named: tuple[Any, ...]) -> pa.Schema:
    """The `schema` with further columns, which are given as to `columns`."""
    return pa.schema([*schema, *columns(*named)])


def extended_by(schema: pa.Schema, further: pa.Schema) -> pa.Schema:
    """The `schema` with the columns of another."""
    return pa.schema([*schema, *further])


def units(schema: pa.Schema) -> dict[str, str]:
    """The unit of each column of a `schema`; "" for none."""
    return {field.name: (field.metadata or {}).get(b"unit", b"").decode() for field in schema}


# The items of one task, stored losslessly; behind these columns stand those of the kind of task (`TaskKind.truth`),
# which also says what its outcomes are. meta: medium, kind, classes, card (source, licence, prior_compression), sources
# (one hash of the user's files, "" where there are none), and where there are folds how they were dealt.
DATA = columns(
    ("id", pa.string()),
    ("split", pa.string()),  # train, val or test; with folds all are test
    ("fold", pa.int32(), ""),  # whose model tests the item, from 1 on; null where the task has no folds
    ("groups", pa.map_(pa.string(), pa.string())),  # what is shared: {speaker: ...}; of all rows alike
    ("media", pa.binary()),  # the bitstream of the lossless codec `original`
    ("shape", pa.list_(pa.int32())),  # of the decoded item: (H, W, 3), (samples,) or (frames, H, W, 3)
    ("sampling_rate", pa.float32(), "Hz or frames/s"),  # of audio or video; 0 for images
    ("file_bytes", pa.int64(), "bytes"),  # of the files that the item was; null: generated, cut from a file, or scaled
)

# The items of one part behind one codec at one level. meta: task, medium, codec (its name in the study), variant (what
# it is where that is no name of a codec's file), level, options, fidelity (how much of it was measured: full, sampled,
# none), measures (name -> title, unit, better), each of which has a column behind these, and lossless (what
# lossless_bits are of).
COMPRESSED = columns(
    ("id", pa.string()),
    ("split", pa.string()),
    ("payload", pa.binary()),  # all that the decoder needs
    ("payload_bits", pa.int64(), "bits"),  # of the coded media alone
    ("overhead_bits", pa.int64(), "bits"),  # of all else in the codec's file: headers, tables, container
    ("raw_bits", pa.int64(), "bits"),  # of the uncompressed item: 8 for each colour of a pixel, 16 for each sample
    ("lossless_bits", pa.int64(), "bits"),  # as PNG, FLAC or FFV1, as meta `lossless` says; null: not looked at
    ("rate", pa.float64(), RATE),  # of the codec's file: payload_bits and overhead_bits
    ("coded_rate", pa.float64(), RATE),  # of payload_bits alone
    ("psnr", pa.float32(), "dB"),  # images and video; +inf when identical; null where not measured
    ("ssim", pa.float32(), ""),  # by `sampled`, of a part of the windows of pictures of 198 rows or more
    ("snr", pa.float32(), "dB"),  # audio
    ("si_sdr", pa.float32(), "dB"),  # audio: as snr, whatever the gain
    ("spectral_distance", pa.float32(), "dB"),  # audio: log-spectral distance
    ("encoder", pa.string()),
)

# What a codec takes of a processor's time on some test items. meta: task, codec, encoder, machine.
TIMINGS = columns(
    ("level", pa.float64(), LEVEL),
    ("encode_ms", pa.float64(), "ms an item"),  # of the process, on all its cores; the median of rounds over the items
    ("decode_ms", pa.float64(), "ms an item"),
    ("encode_spread", pa.float64(), "share"),  # how far rounds reach from their median
    ("decode_spread", pa.float64(), "share"),
    ("n", pa.int64(), "items"),
)

# One row for each item, attack and condition. meta: task, arch, regime, seed, codec, classes, settings, bands.
_ATTACK = [
    ("id", pa.string()),
    ("attack", pa.string()),  # pgd, pgd_doubled, pgd_l2, apgd, fgsm, square, noise, patch
    ("norm", pa.string()),  # linf, l2, snr; share in patches
    ("epsilon", pa.float64(), EPSILON),
    ("goal", pa.string()),  # untargeted, targeted, trigger
    ("tier", pa.string()),  # T0 oblivious ... T4, and T3-EoT, to which the level is unknown (docs/attacks.md)
    ("level", pa.float64(), LEVEL),  # of the meta's codec; 0 of a defence
    ("target_rule", pa.string()),  # "" when not targeted
    ("linf", pa.float32(), "full scale"),  # of the quantised perturbation
    ("l2", pa.float32(), "full scale"),
    ("snr", pa.float32(), "dB"),
    # Of the untargeted main attack, by bands of frequency (attacks/spectra.py), whose edges the meta holds.
    ("spectrum", pa.list_(pa.float32()), "share"),  # of the change in each band; null: not `own`, or not looked at
    ("kept", pa.list_(pa.float32()), "share"),  # of the clean item in each band behind the codec; of T0 alone
    ("zero_gradient", pa.float32(), "share"),  # of zeros in the loss's gradient at the clean item; null: not looked at
    ("calls", pa.int32(), ""),  # how often the attack asked the model about the item in this tier, through any codec
    # Of a defence that draws: the mean, over all that may be drawn, of how far the goal was reached, by which attackers
    # choose among their attempts; null elsewhere, where `after` says it.
    ("harm", pa.float32(), ""),
    ("own", pa.bool_()),  # made by this attack in this tier; false: a weaker tier's item, which did more harm
    ("adversarial", pa.binary()),  # a lossless bitstream; null where not `own`: the weaker tier's row has it
]

ATTACKS = columns(
    *_ATTACK,
    ("label", pa.int32(), ""),
    ("target", pa.int32(), ""),  # -1 when not targeted
    ("clean", pa.int32(), ""),  # prediction on the clean item, no codec
    ("clean_after", pa.int32(), ""),  # prediction on the clean item after the codec
    ("before", pa.int32(), ""),  # prediction on the adversarial item, no codec
    ("after", pa.int32(), ""),  # prediction on the adversarial item after the codec
)

_FOUND = pa.struct(  # pixels of the attacked frame; `frame` counts the searched frames of a clip, 0 in images
    [("frame", pa.int32()), ("box", pa.list_(pa.float32(), 4)), ("label", pa.int32()), ("score", pa.float32())]
)

DETECTION_ATTACKS = columns(
    *_ATTACK,
    ("truth", pa.list_(_FOUND)),  # score 1
    ("targets", pa.list_(pa.int32())),  # the class each true object shall be read as; empty when not targeted
    *((name, pa.list_(_FOUND)) for name in ("clean", "clean_after", "before", "after")),  # what is found, as in ATTACKS
)

SEGMENTATION_ATTACKS = columns(
    *_ATTACK,
    ("truth", pa.binary()),  # a mask at the size of the model's input, as a grey PNG; so are those below
    ("targets", pa.list_(pa.int32())),  # the class that the region of each class shall be read as; empty: not targeted
    *((name, pa.binary()) for name in ("clean", "clean_after", "before", "after")),  # what is found, as in ATTACKS
)

# meta: accepted_from too, the cosine from which on a pair is accepted.
VERIFICATION_ATTACKS = columns(
    *_ATTACK,
    ("enrolled_id", pa.string()),  # the enrolled item: of the same identity, or of another where the goal is targeted
    (
        "enrolled",
        pa.list_(pa.float32()),
    ),  # its embedding, as of the original; the model's own embeddings are those below
    *(
        (name, pa.list_(pa.float32())) for name in ("clean", "clean_after", "before", "after")
    ),  # of the item, as in ATTACKS
)

# What holds of every table of items, whoever made it. Only what these columns measure may be missing in a row.
_TYPES: dict[str, set[pa.DataType]] = {}


def know(*schemas: pa.Schema) -> None:
    """Have the columns of further tables of items checked wherever they are read: those of a kind of task."""
    for schema in schemas:
        for field in schema:
            _TYPES.setdefault(field.name, set()).add(field.type)


know(DATA, COMPRESSED, ATTACKS, DETECTION_ATTACKS, SEGMENTATION_ATTACKS, VERIFICATION_ATTACKS)
_MAY_LACK = {"psnr", "ssim", "snr", "si_sdr", "spectral_distance", "zero_gradient", "spectrum", "kept", "harm"}
_MAY_LACK |= {"adversarial", "file_bytes", "lossless_bits", "fold"}
_META_TYPES: dict[str, type] = {
    **dict.fromkeys(("task", "medium", "kind", "codec", "arch", "regime", "sources", "identity", "fidelity"), str),
    **dict.fromkeys(("classes", "compressed_before"), list),
    **dict.fromkeys(("card", "options", "variant", "settings", "bands", "measures"), dict),
}

# What a user can do about errors in writing.
MENDED = dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room")
MENDED |= dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "make the folder writable, or name another one")


@contextlib.contextmanager
def publish(path: Path | str) -> Iterator[Path]:
    """Yield a private name to write to beside `path`, and at the end put that file into place in one step.

    After an error the private file is removed instead. A reader therefore sees the whole file or none, on a shared file
    system too, and two writers never mix. What killed writers of the same file left behind is removed. Raises
    LossyBenchError when the disk is full, a quota is reached or the folder cannot be written to, and when another
    writer of the same file has begun in the meantime, because the older one gives up.
    """
    path = Path(path)
    aside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path)
        yield aside
        try:
            _to_disk(aside)
            aside.replace(path)
        except FileNotFoundError:
            raise LossyBenchError(
                f"{path}: another job began to write it meanwhile; this one, the older, gives up"
            ) from None
        _to_disk(path.parent)  # the new name, since only the content is on the disk until now
    except OSError as error:
        if error.errno not in MENDED:
            raise
        hint = f"{os.strerror(error.errno)}; {MENDED[error.errno]}, then run the same command again"
        raise LossyBenchError(f"{path}: could not be written: {hint}") from error
    finally:
        with contextlib.suppress(OSError):  # where the file system itself fails, its own error is the one to tell of
            aside.unlink(missing_ok=True)


def sweep(path: Path) -> None:
    """Remove what killed writers of the file `path` left beside it, private files of private files included."""
    for dots in (".", ".."):
        for leftover in path.parent.glob(f"{dots}{glob.escape(path.name)}.*.part{glob.escape(path.suffix)}"):
            leftover.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def damaged(path: Path | str, why: object) -> LossyBenchError:
    """The error to raise for the file `path` whose content is not what was written; `why` says how that shows.

    The file is moved out of the way, so that Snakemake finds it missing and the next run makes it again.
    """
    path, why = Path(path), " ".join(str(why).split())  # Arrow's messages may have several lines
    kept = path.with_name(f"{path.name}.damaged")
    try:
        path.replace(kept)
    except FileNotFoundError:  # another reader was faster
        pass
    except OSError as error:
        return LossyBenchError(f"{path}: damaged ({why}); delete it ({error}) and run again, so that it is made anew")
    return LossyBenchError(f"{path}: damaged ({why}); moved to {kept.name}, so run again and it is made anew")


def write_json(path: Path | str, content: Any) -> None:
    """Write `content` as JSON to `path`, atomically and with ordered keys: the same content is the same bytes."""
    with publish(path) as aside:
        aside.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


class Table:
    """A table in the making: see `writing`. `count` rows have been added; `meta` is written at the end."""

    def __init__(self, file: pq.ParquetWriter, schema: pa.Schema) -> None:
        self.count, self.meta = 0, dict[str, Any]()
        self._file, self._schema, self._group, self._size = file, schema, list[dict[str, Any]](), 0
        self._binary = [field.name for field in schema if pa.types.is_binary(field.type)]
        # Small rows fill larger groups, of which each costs as much to write as a hundred of them.
        self._most = ROWS_PER_GROUP if self._binary else 2 * ROWS_PER_GROUP

    def add(self, row: dict[str, Any]) -> None:
        """Add a row, a dictionary with the schema's keys."""
        self.count += 1
        self._group.append(row)
        for name in self._binary:
            self._size += len(row.get(name) or b"")
        if len(self._group) >= self._most or self._size >= BYTES_PER_GROUP:
            self._write()

    def finish(self) -> None:
        """Write what is still in memory."""
        if self._group:
            self._write()
        self._file.add_key_value_metadata({META_KEY: json.dumps(self.meta, sort_keys=True).encode()})

    def _write(self) -> None:
        self._file.write_table(pa.Table.from_pylist(self._group, schema=self._schema))
        self._group, self._size = [], 0


@contextlib.contextmanager
def writing(path: Path | str, schema: pa.Schema, meta: dict[str, Any] | None = None) -> Iterator[Table]:
    """Yield a `Table` to add rows to, which becomes the Parquet file `path` at the end; after an error nothing does.

    schema: of the rows. meta: what holds for all rows; the table's `meta` may be added to until the end.
    """
    # Payloads are compressed already, so zstd only helps the other columns. Checksums tell of damage within a page.
    how = {"compression": "zstd", "write_statistics": False, "write_page_checksum": True}
    with publish(path) as aside, pq.ParquetWriter(aside, schema, **how) as file:
        table = Table(file, schema)
        table.meta |= meta or {}
        yield table
        table.finish()


def write_table(
    path: Path | str, schema: pa.Schema, rows: Iterable[dict[str, Any]], meta: dict[str, Any] | None = None
) -> int:
    """Stream `rows`, dictionaries with the schema's keys, into a Parquet file atomically, and return their number.

    path: of the file. meta: what holds for all rows; it is written after them, so that `rows` may add to it. Raises
    whatever `rows` raise, and then writes nothing.
    """
    with writing(path, schema) as table:
        for row in rows:
            table.add(row)
        table.meta = meta or {}
    return table.count


@contextlib.contextmanager
def _open(path: Path | str) -> Iterator[pq.ParquetFile]:
    """The Parquet file `path`. Whatever reading it raises within says that it is damaged."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except FileNotFoundError:
        raise LossyBenchError(f"{path}: no such artifact; run the stage that makes it first") from None
    except LossyBenchError:
        raise
    except MemoryError:
        raise LossyBenchError(f"{path}: not enough memory to read it") from None
    except Exception as error:  # Arrow, its codecs and the decoding of text have no common class for what they raise
        if getattr(error, "errno", None):  # the file system failed, and the file may be whole
            raise
        raise damaged(path, error) from error


class _Named(dict[str, Any]):
    """A dictionary from the table `path`, whose missing keys are an error that names the table."""

    path: Path | str

    def __missing__(self, key: str) -> Any:
        raise LossyBenchError(f"{self.path}: lacks {key!r}; it is no such table, or damaged: delete it and run again")


def _named(path: Path | str, content: Any) -> dict[str, Any]:
    found = _Named(content)
    found.path = path
    return found


def read_meta(path: Path | str) -> dict[str, Any]:
    """The dictionary `meta` of the table `path`, of which a missing key raises LossyBenchError.

    Raises LossyBenchError for a missing or damaged file too, and for `meta` that is none of ours.
    """
    with _open(path) as file:
        meta = json.loads((file.metadata.metadata or {}).get(META_KEY, b"{}"))
        if not isinstance(meta, dict):
            raise ValueError(f"its meta is a {type(meta).__name__}, not a dictionary")
        for key, kind in _META_TYPES.items():
            if not isinstance(meta.get(key, kind()), kind | None):
                raise ValueError(f"{key!r} in its meta is a {type(meta[key]).__name__}, not a {kind.__name__}")
        return _named(path, meta)


def identity(path: Path) -> str | None:
    """What the table `path` says that it was made from; None where it is missing, damaged or does not say."""
    try:
        found = json.loads((pq.read_metadata(path).metadata or {})[META_KEY]).get("identity")
        return found if isinstance(found, str) else None
    except (OSError, ValueError, KeyError, AttributeError, pa.ArrowException):
        return None


def iter_rows(
    path: Path | str, columns: list[str] | None = None, splits: Iterable[str] | None = None
) -> Iterator[dict[str, Any]]:
    """The rows of the table `path` as dictionaries in their order, with one row group in memory at a time.

    columns: those wanted; all when left out. splits: those wanted; all when left out. Raises LossyBenchError for a
    missing or damaged file, for a column that it lacks, and for one whose type or nulls no table of items has.
    """
    for rows in _groups_of(path, columns, splits):
        try:
            found = rows.to_pylist(maps_as_pydicts="strict")
        except KeyError as error:  # a row that says of two groups that they are its one of a factor
            raise damaged(path, error.args[0]) from None
        for row in found:
            yield _named(path, row)


def _groups_of(path: Path | str, columns: list[str] | None, splits: Iterable[str] | None) -> Iterator[pa.Table]:
    """The row groups of the table `path` without rows of other splits. Arguments and errors: see `iter_rows`."""
    wanted = set(splits) if splits is not None else None
    with _open(path) as file:
        _check_columns(path, file.schema_arrow, [*(columns or ()), *(["split"] if wanted is not None else [])])
        names = columns if columns is None or wanted is None or "split" in columns else [*columns, "split"]
        for group in range(file.num_row_groups):
            if wanted and wanted.isdisjoint(file.read_row_group(group, columns=["split"]).column(0).to_pylist()):
                continue
            rows = file.read_row_group(group, columns=names)
            for name in rows.column_names:
                if name in _TYPES and name not in _MAY_LACK and rows.column(name).null_count:
                    raise ValueError(f"column {name!r} has rows without a value")
            if wanted is not None:
                rows = rows.filter(pc.is_in(rows.column("split"), pa.array(sorted(wanted), pa.string())))
            yield rows


class Rows(Mapping[str, dict[str, Any]]):
    """The rows of a table by their ids, in their order, held as Arrow holds them: a tenth of what dictionaries take.

    path, columns, splits, errors: see `iter_rows`; the columns include `id`.
    """

    def __init__(self, path: Path | str, columns: list[str], splits: Iterable[str] | None = None) -> None:
        self.path, groups = path, list(_groups_of(path, columns, splits))
        self._columns = dict[str, Any]()
        if groups:
            table = pa.concat_tables(groups).combine_chunks()
            self._columns = {name: table.column(name) for name in table.column_names}
        ids = self._columns["id"].to_pylist() if groups else []
        self._places = {name: place for place, name in enumerate(ids)}

    def __getitem__(self, name: str) -> dict[str, Any]:
        place = self._places[name]
        return _named(self.path, {key: column[place].as_py() for key, column in self._columns.items()})

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _check_names(path: Path | str, schema: pa.Schema, wanted: Iterable[str]) -> None:
    for name in wanted:
        if name not in schema.names:
            raise LossyBenchError(f"{path}: no column {name!r}; {nearest(name, schema.names)}")


def _check_columns(path: Path | str, schema: pa.Schema, wanted: Iterable[str]) -> None:
    _check_names(path, schema, wanted)
    if len(set(schema.names)) < len(schema.names):
        raise ValueError("two of its columns have one name")
    for field in schema:
        if field.name in _TYPES and not any(_alike(field.type, kind) for kind in _TYPES[field.name]):
            raise ValueError(f"column {field.name!r} is of type {field.type}")


def _alike(a: pa.DataType, b: pa.DataType) -> bool:
    """Whether types are the same but for the names that Parquet gives the values of lists."""
    if pa.types.is_nested(a) and pa.types.is_nested(b):
        inner = [[kind.field(i) for i in range(kind.num_fields)] for kind in (a, b)]
        listed = not pa.types.is_struct(a)
        return (
            type(a) is type(b)
            and len(inner[0]) == len(inner[1])
            and all((listed or x.name == y.name) and _alike(x.type, y.type) for x, y in zip(*inner, strict=True))
        )
    return a == b


def read_table(path: Path | str, columns: Collection[str] | None = None, without: Collection[str] = ()) -> pa.Table:
    """The whole table `path`, or its named `columns`, or all but those `without`: for tables that memory can hold.

    Raises LossyBenchError for a column that the table lacks and for a missing or damaged file.
    """
    with _open(path) as file:
        names = file.schema_arrow.names
        _check_names(path, file.schema_arrow, columns or ())
        return file.read(columns=[name for name in names if name not in without] if columns is None else columns)


class Parts:
    """Pieces of a table that takes long to make. Each is kept on the disk at once, so that an interrupted job goes on.

    path: of the table. The pieces lie in a hidden folder beside it, because Snakemake removes the outputs of failed
    jobs. identity: a hash of all that the rows follow from (settings, inputs, code); pieces of another are made anew.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self.folder, self.meta = path.with_name(f".{path.name}.parts"), {"identity": identity}

    def rows(self, name: str, schema: pa.Schema, make: Callable[[], Iterable[dict[str, Any]]]) -> list[dict[str, Any]]:
        """The rows of the piece `name`, as they were kept, or else as `make` makes them, which are then kept.

        schema: of the rows.
        """
        if self.has(name):
            return list(iter_rows(self._path(name)))
        rows = list(make())
        write_table(self._path(name), schema, rows, self.meta)
        return rows

    def has(self, name: str) -> bool:
        """Whether the piece `name` is kept."""
        path = self._path(name)
        return path.exists() and read_meta(path) == self.meta

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.parquet"

    def discard(self) -> None:
        """Remove all pieces, which is right once the table is whole."""
        shutil.rmtree(self.folder, ignore_errors=True)
