"""Files are whole or absent, tables keep their rows and meta, damage is named."""

import errno
import os
import shutil
import subprocess
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lossybench import artifacts, kinds
from lossybench.errors import LossyBenchError

SCHEMA = kinds.load("classification").schema
ROW = {"level": 5.0, "label": 1, "prediction": 2, "correct": False, "scores": [0.25, 0.75]}


def _rows(count):
    return ({"id": f"item{index}", **ROW} for index in range(count))


def test_a_table_keeps_rows_and_meta_over_many_row_groups(tmp_path):
    path = tmp_path / "deep" / "table.parquet"
    count = 3 * artifacts.ROWS_PER_GROUP + 1
    assert artifacts.write_table(path, SCHEMA, _rows(count), {"task": "t", "seed": 3}) == count
    assert list(artifacts.iter_rows(path)) == list(_rows(count))
    assert artifacts.read_meta(path) == {"task": "t", "seed": 3}
    assert artifacts.read_table(path, ["id"]).num_rows == count


def test_the_same_rows_are_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        artifacts.write_table(tmp_path / name, SCHEMA, _rows(10), {"b": 1, "a": 2})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "table.parquet"
    artifacts.write_table(path, SCHEMA, _rows(3))
    before = path.read_bytes()

    def broken():
        yield from _rows(artifacts.ROWS_PER_GROUP + 5)
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        artifacts.write_table(path, SCHEMA, broken())
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["table.parquet"]


def test_what_a_killed_writer_left_is_swept_away(tmp_path):
    path = tmp_path / "table.parquet"
    (tmp_path / ".table.parquet.123.abcd.part.parquet").write_bytes(b"half")
    with artifacts.publish(path) as aside, artifacts.publish(aside) as within:  # as fetch does
        aside.write_bytes(b"")
        within.write_bytes(b"")
        shutil.copy(within, tmp_path / "kept")
    (tmp_path / "kept").rename(within)
    other = tmp_path / ".other.parquet.123.abcd.part.parquet"
    other.write_bytes(b"of another file")
    artifacts.write_table(path, SCHEMA, _rows(3))
    assert sorted(tmp_path.iterdir()) == sorted([path, other])


def test_missing_files_are_named(tmp_path):
    with pytest.raises(LossyBenchError, match=r"table\.parquet: no such artifact"):
        artifacts.read_table(tmp_path / "table.parquet")


@pytest.mark.parametrize("read", [lambda path: list(artifacts.iter_rows(path)), artifacts.read_table])
@pytest.mark.parametrize("damage", ["cut", "empty", "one bit"])
def test_a_damaged_file_is_named_and_moved_out_of_the_way(tmp_path, read, damage):
    path = tmp_path / "table.parquet"
    artifacts.write_table(path, SCHEMA, _rows(300))
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 0x08  # in the rows, not in the footer
    path.write_bytes({"cut": content[:-100], "empty": b"", "one bit": content}[damage])
    with pytest.raises(
        LossyBenchError, match=r"table\.parquet: damaged .* moved to table\.parquet\.damaged, so run again"
    ):
        read(path)
    assert [one.name for one in tmp_path.iterdir()] == ["table.parquet.damaged"]
    with pytest.raises(LossyBenchError, match="no such artifact"):
        read(path)


def test_an_error_of_the_file_system_moves_nothing(tmp_path, monkeypatch):
    """It may pass, and the file may be whole."""
    path = tmp_path / "table.parquet"
    artifacts.write_table(path, SCHEMA, _rows(3))

    def failing(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(artifacts.pq, "ParquetFile", failing)
    with pytest.raises(OSError, match="Input/output error"):
        artifacts.read_table(path)
    assert [one.name for one in tmp_path.iterdir()] == ["table.parquet"]


def test_of_two_writers_at_once_one_wins_whole(tmp_path):
    """An orphan and a rerun: whatever is read in between is one of theirs, and the older may be refused."""
    path = tmp_path / "table.parquet"
    start, errors, count = threading.Barrier(2), [], 4 * artifacts.ROWS_PER_GROUP

    def write(label):
        rows = ({"id": str(index), **ROW, "label": label} for index in range(count))
        start.wait()
        try:
            artifacts.write_table(path, SCHEMA, rows)
        except LossyBenchError as error:
            errors.append(str(error))

    for _ in range(5):
        path.unlink(missing_ok=True)
        writers = [threading.Thread(target=write, args=(label,)) for label in (1, 2)]
        for writer in writers:
            writer.start()
        while any(writer.is_alive() for writer in writers):
            if path.exists():
                assert artifacts.read_table(path, ["label"])["label"].to_pylist() in ([1] * count, [2] * count)
        assert len({*artifacts.read_table(path, ["label"])["label"].to_pylist()}) == 1
        assert [one.name for one in tmp_path.iterdir()] == ["table.parquet"]
    assert all("another job began to write it meanwhile" in error for error in errors)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    """Mounted read-only, since root may write to any other folder."""
    folder = tmp_path / "results"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", folder], capture_output=True).returncode:
        folder.chmod(0o500)
        if os.access(folder, os.W_OK):
            pytest.skip("this user can neither mount nor be refused")
    try:
        for path in (folder / "a.json", folder / "below/a.json"):
            with pytest.raises(LossyBenchError, match=r"a\.json: could not be written: .*; make the folder writable"):
                artifacts.write_json(path, {})
    finally:
        subprocess.run(["umount", folder], capture_output=True)
        folder.chmod(0o700)


def test_large_rows_end_a_row_group_early(tmp_path, monkeypatch):
    monkeypatch.setattr(artifacts, "BYTES_PER_GROUP", 1000)
    path = tmp_path / "table.parquet"
    rows = [{"path": bytes(size)} for size in (400, 400, 400, 5, 2000, 1)]
    assert artifacts.write_table(path, pa.schema([("path", pa.binary())]), rows) == 6
    file = pq.ParquetFile(path)
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [3, 2, 1]
    assert list(artifacts.iter_rows(path)) == rows


def _written(path, table, meta):
    pq.write_table(table.replace_schema_metadata({artifacts.META_KEY: meta}), path)
    return path


@pytest.mark.parametrize("meta", [b"{", b"[]", b"null", b"\xff", b"[" * 100000, b'{"classes": 3}'])
def test_meta_that_is_none_of_ours_is_damage(tmp_path, meta):
    path = _written(tmp_path / "table.parquet", pa.table({"id": ["a"]}), meta)
    with pytest.raises(LossyBenchError, match=r"table\.parquet: damaged .* moved to table\.parquet\.damaged"):
        artifacts.read_meta(path)


def test_a_key_that_meta_or_a_row_lacks_is_an_error_that_names_the_table(tmp_path):
    path = _written(tmp_path / "table.parquet", pa.table({"id": ["a"]}), b'{"task": "t"}')
    for found, key in ((artifacts.read_meta(path), "medium"), (next(artifacts.iter_rows(path)), "shape")):
        assert key not in found and found.get(key) is None
        with pytest.raises(LossyBenchError, match=rf"table\.parquet: lacks '{key}'"):
            found[key]
    for read in (
        lambda: list(artifacts.iter_rows(path, ["shape"])),
        lambda: list(artifacts.iter_rows(path, splits=["test"])),
    ):
        with pytest.raises(LossyBenchError, match=r"table\.parquet: no column '(shape|split)'; known: id"):
            read()


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"id": pa.array([1])}, "'id' is of type int64"),
        ({"shape": pa.array(["8"])}, "'shape' is of type string"),
        ({"shape": pa.array([[8, 8, 3]], pa.list_(pa.int64()))}, "'shape' is of type list"),
        ({"boxes": pa.array([[{"frame": 1}]])}, "'boxes' is of type list"),
        ({"groups": pa.array(["p1"])}, "'groups' is of type string"),
        ({"groups": pa.array([{"p": 1}], pa.map_(pa.string(), pa.int64()))}, "'groups' is of type map"),
        ({"shape": pa.array([None], pa.list_(pa.int32()))}, "'shape' has rows without a value"),
    ],
)
def test_columns_of_a_type_that_no_table_of_items_has_are_damage(tmp_path, columns, why):
    path = _written(tmp_path / "table.parquet", pa.table(columns), b"{}")
    with pytest.raises(LossyBenchError, match=rf"damaged \(column {why}"):
        list(artifacts.iter_rows(path))


ITEM_TABLES = [artifacts.DATA, artifacts.COMPRESSED, artifacts.ATTACKS, artifacts.DETECTION_ATTACKS]
ITEM_TABLES += [schema for kind in map(kinds.load, kinds.names()) for schema in (kind.data_schema(), kind.schema)]


@pytest.mark.parametrize("schema", ITEM_TABLES)
def test_tables_of_every_schema_are_read_back(tmp_path, schema):
    made = {field.name: None if field.name in artifacts._MAY_LACK else _some(field.type) for field in schema}
    artifacts.write_table(tmp_path / "table.parquet", schema, [made], {"classes": ["a"], "task": "t"})
    assert list(artifacts.iter_rows(tmp_path / "table.parquet")) == [made]


def _some(kind):
    if pa.types.is_struct(kind):
        return {field.name: _some(field.type) for field in kind}
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return [_some(kind.value_type)] * (kind.list_size if pa.types.is_fixed_size_list(kind) else 2)
    if pa.types.is_map(kind):
        return {key: _some(kind.item_type) for key in "ba"}
    values = {pa.string(): "a", pa.binary(): b"a", pa.bool_(): True}
    return values.get(kind, 1)
