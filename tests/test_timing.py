"""What codecs take of time, by a clock of the test's own, and of bytes and money, by hand."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from media_tables import CLASSES, data_row, write_data
from test_report import Synthetic

from lossybench.artifacts import TIMINGS, read_meta, read_table, write_table
from lossybench.codecs.jpeg import Jpeg
from lossybench.errors import LossyBenchError
from lossybench.reporting import costs, figures
from lossybench.reporting.summary import Summary
from lossybench.stages import timing

PRICES = {"storage": 0.02, "months": 6, "transfer": 0.05, "reads": 3, "cpu": 0.04, "currency": "<b>"}


def _data(folder: Path, count: int) -> Path:
    random = np.random.default_rng(0)
    rows = [
        data_row(f"{split}/{n}", split, random.integers(0, 256, (8, 8, 3)).astype(np.uint8), n % 2)
        for split in ("train", "test")
        for n in range(count)
    ]
    return write_data(folder / "data.parquet", rows, "image", "classification", CLASSES)


@pytest.fixture
def clock(monkeypatch):
    """Encoding at quality q takes q ms and decoding 0.5 ms, the first call of each after a change of level ten times
    that: a start of something, which is not to count.
    """
    now, cold, asked = [0.0], set(), []
    monkeypatch.setattr(timing.time, "process_time", lambda: now[0])
    encode, decode = Jpeg.encode, Jpeg.decode

    def slow(which, level, took):
        now[0] += took * (1 if (which, level) in cold else 10)
        cold.add((which, level))

    def encoding(self, media, level, rate=0.0):
        slow("encode", level, level / 1000)
        asked.append(media.sum())
        return encode(self, media, level, rate)

    def decoding(self, payload, shape, rate=0.0):
        slow("decode", 0, 0.0005)
        return decode(self, payload, shape, rate)

    monkeypatch.setattr(Jpeg, "encode", encoding)
    monkeypatch.setattr(Jpeg, "decode", decoding)
    return asked


def test_times_are_those_of_one_call_whatever_starts_cold(tmp_path, clock):
    timing.timing(_data(tmp_path, 40), "jpeg", [50, 5], tmp_path / "t.parquet")
    found = read_table(tmp_path / "t.parquet").to_pandas()
    assert found["level"].tolist() == [50, 5] and (found["n"] == timing.ITEMS).all()
    assert found["encode_ms"].to_numpy() == pytest.approx([50, 5])
    assert found["decode_ms"].to_numpy() == pytest.approx([0.5, 0.5])
    assert found[["encode_spread", "decode_spread"]].to_numpy() == pytest.approx(0, abs=1e-9)
    meta = read_meta(tmp_path / "t.parquet")
    assert meta["codec"] == "jpeg" and meta["machine"] and "libjpeg" in meta["encoder"]
    assert len(set(clock)) == timing.ITEMS  # spread over the test items, each of which is another picture


def test_slow_items_are_timed_on_as_many_as_there_is_time_for(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(timing, "MOST", 0.25)
    timing.timing(_data(tmp_path, 20), "jpeg", [100], tmp_path / "t.parquet")
    found = read_table(tmp_path / "t.parquet").to_pandas()
    # The first call of all takes a second and does not count; then 0.1 s each.
    assert found["encode_ms"].to_numpy() == pytest.approx(100) and found["n"].item() == 3


def test_a_size_that_files_must_have_costs_its_whole_search_each_time(tmp_path, monkeypatch):
    """Encoding takes a microsecond by the test's clock, so that rounds repeat their calls."""
    now, encode = [0.0], Jpeg.encode
    monkeypatch.setattr(timing.time, "process_time", lambda: now[0])

    def encoding(self, media, level, rate=0.0):
        now[0] += 1e-6
        return encode(self, media, level, rate)

    monkeypatch.setattr(Jpeg, "encode", encoding)
    monkeypatch.setattr(timing, "LEAST", 1e-3)
    timing.timing(
        _data(tmp_path, 40), "small", [700], tmp_path / "t.parquet", {}, {"codec": "jpeg", "parameter": "bytes"}
    )
    found = read_table(tmp_path / "t.parquet").to_pandas()
    assert 6e-3 <= found["encode_ms"].item() <= 8e-3  # of 100 qualities bisection tries six to eight


def test_an_item_that_cannot_be_coded_is_named(tmp_path):
    with pytest.raises(LossyBenchError, match="item test/1: codec 'mp3' is for audio, not for image"):
        timing.timing(_data(tmp_path, 2), "mp3", [8], tmp_path / "t.parquet")


@pytest.fixture
def reckoned(tmp_path):
    """A summary, and its timings: encoding takes 10 ms at every level, and decoding 2."""
    folder, files = Synthetic("classification", "image").write(tmp_path / "digits"), []
    for codec, of in Summary(folder).conditions.groupby("codec"):
        files.append(tmp_path / f"{codec}.parquet")
        row = {"encode_ms": 10.0, "decode_ms": 2.0, "encode_spread": 0.04, "decode_spread": 0.05, "n": 16}
        rows = [row | {"level": level} for level in of["level"]]
        write_table(files[-1], TIMINGS, rows, {"task": "digits", "codec": codec, "machine": "a <i>", "encoder": "e"})
    return folder, files


def test_costs_are_reckoned_from_bytes_and_times(reckoned, tmp_path):
    folder, files = reckoned
    costs.write([folder], files, PRICES, tmp_path / "c.csv")
    costs.draw(folder, files, tmp_path / "f.png")
    found, conditions = pd.read_csv(tmp_path / "c.csv"), Summary(folder).conditions
    conditions = conditions.sort_values("codec", key=lambda names: names != "original", kind="stable")
    assert found["codec"].tolist() == conditions["codec"].tolist() and found["codec"][0] == "original"
    assert found["task"].unique() == ["digits"]
    # A million items of b bytes are b/1000 gigabytes; 10 + 3 * 2 ms a million times are 16,000 s.
    gigabytes = conditions["file_bytes"].to_numpy() / 1000
    assert found["storage"].to_numpy() == pytest.approx(gigabytes * 0.02 * 6, rel=1e-5)
    assert found["transfer"].to_numpy() == pytest.approx(gigabytes * 0.05 * 3, rel=1e-5)
    assert found["cpu"].to_numpy() == pytest.approx(16000 / 3600 * 0.04, rel=1e-5)
    assert found["total"].to_numpy() == pytest.approx(found[["storage", "transfer", "cpu"]].sum(axis=1), rel=1e-5)
    assert (found["decoded_per_second"] == 500).all()
    assert found["limit"].sum() > 0
    assert (tmp_path / "f.png").stat().st_size > 10_000 and (tmp_path / "f.svg").exists()


def test_faded_are_the_points_that_another_beats(reckoned):
    folder, files = reckoned
    tables = Summary(folder)
    figure = figures.frontier(tables, costs.timed(files).rows)
    ax = figure.axes[0]
    clear = {tuple(xy) for one in ax.collections if one.get_alpha() is None for xy in np.round(one.get_offsets(), 6)}
    faded = {tuple(xy) for one in ax.collections if one.get_alpha() for xy in np.round(one.get_offsets(), 6)}
    assert clear and faded and not clear & faded
    for x, y in faded:
        assert any(a <= x and b >= y for a, b in clear)
    for x, y in clear:
        assert not any((a <= x and b > y) or (a < x and b >= y) for a, b in clear | faded)
    assert math.isclose(len(clear | faded), len(tables.conditions))
