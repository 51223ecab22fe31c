"""Files are whole or absent, tables keep their rows and meta, damage is named."""

import pytest

from lossybench import artifacts
from lossybench.errors import LossyBenchError

ROW = {"level": 5.0, "label": 1, "prediction": 2, "correct": False, "scores": [0.25, 0.75]}


def _rows(count):
    return ({"id": f"item{index}", **ROW} for index in range(count))


def test_a_table_keeps_rows_and_meta_over_many_row_groups(tmp_path):
    path = tmp_path / "deep" / "table.parquet"
    count = 3 * artifacts.ROWS_PER_GROUP + 1
    assert (
        artifacts.write_table(path, artifacts.CLASSIFICATION_OUTCOMES, _rows(count), {"task": "t", "seed": 3}) == count
    )
    assert list(artifacts.iter_rows(path)) == list(_rows(count))
    assert artifacts.read_meta(path) == {"task": "t", "seed": 3}
    assert artifacts.read_table(path, ["id"]).num_rows == count


def test_the_same_rows_are_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        artifacts.write_table(tmp_path / name, artifacts.CLASSIFICATION_OUTCOMES, _rows(10), {"b": 1, "a": 2})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "table.parquet"
    artifacts.write_table(path, artifacts.CLASSIFICATION_OUTCOMES, _rows(3))
    before = path.read_bytes()

    def broken():
        yield from _rows(artifacts.ROWS_PER_GROUP + 5)
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        artifacts.write_table(path, artifacts.CLASSIFICATION_OUTCOMES, broken())
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["table.parquet"]


def test_what_a_killed_writer_left_is_swept_away(tmp_path):
    path = tmp_path / "table.parquet"
    (tmp_path / ".table.parquet.123.abcd.part.parquet").write_bytes(b"half")
    other = tmp_path / ".other.parquet.123.abcd.part.parquet"
    other.write_bytes(b"of another file")
    artifacts.write_table(path, artifacts.CLASSIFICATION_OUTCOMES, _rows(3))
    assert sorted(tmp_path.iterdir()) == sorted([path, other])


def test_missing_and_truncated_files_are_named(tmp_path):
    path = tmp_path / "table.parquet"
    with pytest.raises(LossyBenchError, match=r"table\.parquet: no such artifact"):
        artifacts.read_table(path)
    artifacts.write_table(path, artifacts.CLASSIFICATION_OUTCOMES, _rows(300))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(LossyBenchError, match=r"table\.parquet: not a whole Parquet file"):
        list(artifacts.iter_rows(path))
