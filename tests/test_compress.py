"""The compress stage: all levels together, item by item."""

from __future__ import annotations

import io

import cv2
import media_tables
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from lossybench import artifacts, codecs
from lossybench.codecs.jpeg import Jpeg
from lossybench.codecs.original import Original
from lossybench.errors import LossyBenchError
from lossybench.measures import Measure
from lossybench.stages.compress import compress

LEVELS = [90.0, 50.0, 5.0]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return media_tables.image_task(tmp_path_factory.mktemp("data"), train=2)[0]


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("threads", [1, 3])
def test_levels_made_together_are_those_made_alone(data, tmp_path, part, threads):
    together = [tmp_path / f"{level}.parquet" for level in LEVELS]
    compress(data, "jpeg", LEVELS, together, part, identity="x", threads=threads)
    for level, path in zip(LEVELS, together, strict=True):
        compress(data, "jpeg", [level], [tmp_path / "alone.parquet"], part, identity="x")
        assert path.read_bytes() == (tmp_path / "alone.parquet").read_bytes()
        assert artifacts.read_meta(path)["level"] == level and artifacts.identity(path) == "x"


def test_each_original_is_decoded_once(data, tmp_path, monkeypatch):
    decode, decoded = Original.decode, []
    monkeypatch.setattr(
        Original, "decode", lambda self, payload, *how: decoded.append(payload) or decode(self, payload, *how)
    )
    compress(data, "jpeg", LEVELS, [tmp_path / f"{level}" for level in LEVELS])
    assert len(decoded) == len(set(decoded)) == 20


def test_nothing_is_left_of_any_level_when_one_fails(data, tmp_path, monkeypatch):
    jpeg, coded = Jpeg, []
    encode = jpeg.encode_still

    def fails(codec, image, level):
        coded.append(level)
        if len(coded) == 6:
            raise cv2.error("no more")
        return encode(codec, image, level)

    with monkeypatch.context() as patched:
        patched.setattr(jpeg, "encode_still", fails)
        with pytest.raises(LossyBenchError, match=r"item .*: codec 'jpeg': image of shape .* at QF 10: .*no more"):
            compress(data, "jpeg", [50, 10], [tmp_path / "a", tmp_path / "b"])
    assert coded == [50, 10] * 3 and not list(tmp_path.iterdir())
    with pytest.raises(LossyBenchError, match="codec 'jpeg': QF 101 is out of range"):
        compress(data, "jpeg", [50, 101], [tmp_path / "a", tmp_path / "b"])
    assert not list(tmp_path.iterdir())
    with pytest.raises(LossyBenchError, match="2 levels and 1 tables; give one table for each level"):
        compress(data, "jpeg", [50, 10], [tmp_path / "a"])


def test_a_variant_is_coded_by_its_codec_and_filed_under_its_own_name(data, tmp_path):
    how = {"options": {"chroma": "444"}}
    compress(data, "jpeg444", [50], [tmp_path / "variant"], **how, variant={"codec": "jpeg"})
    compress(data, "jpeg", [50], [tmp_path / "plain"], **how)
    variant, plain = (artifacts.read_table(tmp_path / name).to_pylist() for name in ("variant", "plain"))
    assert variant == plain
    meta = artifacts.read_meta(tmp_path / "variant")
    assert (meta["codec"], meta["options"], meta["variant"]) == ("jpeg444", how["options"], {"codec": "jpeg"})
    coder = codecs.made(meta["codec"], meta["options"], meta["variant"])
    assert coder == codecs.get("jpeg", how["options"]) and coder.full_title() == "JPEG 4:4:4"


def test_a_part_without_items_is_told_and_leaves_nothing(tmp_path):
    rows = [row for row in artifacts.iter_rows(media_tables.image_task(tmp_path, train=2)[0]) if row["split"] != "test"]
    data = media_tables.write_data(tmp_path / "few.parquet", rows, "image", "classification", media_tables.CLASSES)
    with pytest.raises(LossyBenchError, match="no items of split test"):
        compress(data, "jpeg", [50], [tmp_path / "out.parquet"])
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(50) + b"PAR1"])
def test_a_file_that_is_no_table_says_nothing_of_what_it_was_made_from(tmp_path, content):
    path = tmp_path / "damaged.parquet"
    path.write_bytes(content)
    assert artifacts.identity(path) is None and path.exists()
    assert artifacts.identity(tmp_path / "missing") is None


def test_rates_are_of_the_file_and_some_originals_are_compared_with_lossless_media(data, tmp_path, monkeypatch):
    monkeypatch.setattr("lossybench.stages.compress.MOST_LOSSLESS", 7)
    lossless = codecs.get("original")
    for codec, part in (("original", "test"), ("original", "train"), ("jpeg", "test")):
        path = tmp_path / f"{codec}-{part}.parquet"
        compress(data, codec, [50 if codec == "jpeg" else 0], [path], part)
        rows = list(artifacts.iter_rows(path))
        for row in rows:
            pixels = row["raw_bits"] / 24
            assert row["rate"] == pytest.approx((row["payload_bits"] + row["overhead_bits"]) / pixels)
            assert row["coded_rate"] == pytest.approx(row["payload_bits"] / pixels)
        known = [number for number, row in enumerate(rows) if row["lossless_bits"] is not None]
        assert known == ([0, 3, 6, 9, 12, 15, 18] if (codec, part) == ("original", "test") else [])
        assert artifacts.read_meta(path)["lossless"] == "PNG"
        for number in known:
            (item,) = [row for row in artifacts.iter_rows(data) if row["id"] == rows[number]["id"]]
            picture, file = lossless.decode(item["media"], tuple(item["shape"])), io.BytesIO()
            Image.fromarray(picture).save(file, "PNG")
            assert rows[number]["lossless_bits"] / 8 == pytest.approx(len(file.getvalue()), rel=0.05, abs=60)


class Halves(Measure):
    """Half of the largest difference; of items brighter than 130 on average alone."""

    name, title, media, unit, bounds, better = "halves", "Halves", frozenset({"image"}), "steps", (0, 127.5), "lower"
    smallest, source, package, module = "any", "these tests", "numpy", "numpy"

    def fits(self, shape, sampling_rate):
        return True

    def _measure(self, original, decoded, sampling_rate):
        return np.abs(original.astype(int) - decoded).max() / 2 if original.mean() > 130 else None


@pytest.fixture
def measured(data, tmp_path, monkeypatch):
    """A table made with these arguments, and its rows."""
    monkeypatch.setattr("lossybench.stages.compress.measure_named", lambda name: Halves())

    def make(part="test", **how):
        compress(data, "jpeg", [10], [tmp_path / "out.parquet"], part, **how)
        return tmp_path / "out.parquet", list(artifacts.iter_rows(tmp_path / "out.parquet"))

    return make


def test_fidelity_changes_no_payload_and_may_be_left_out(measured, monkeypatch):
    _, whole = measured(fidelity="full")
    assert measured()[1] == whole  # the pictures are small
    monkeypatch.setattr(Jpeg, "decode", None)  # nothing is decoded for nothing
    path, without = measured(fidelity="none", measures=["halves"])
    assert [row | dict.fromkeys(("psnr", "ssim")) for row in whole] == [
        {name: row[name] for name in artifacts.COMPRESSED.names} for row in without
    ]
    assert all(row["psnr"] is None for row in without) and artifacts.read_meta(path)["fidelity"] == "none"


def test_of_many_items_those_evenly_spread_are_measured(measured, monkeypatch):
    _, whole = measured()
    monkeypatch.setattr("lossybench.fidelity.ITEMS", 4)
    _, some = measured(measures=["halves"])
    assert [number for number, row in enumerate(some) if row["psnr"] is not None] == [0, 5, 10, 15]
    assert [row["psnr"] for row in some[::5]] == [row["psnr"] for row in whole[::5]]
    assert [row["payload"] for row in some] == [row["payload"] for row in whole]
    assert all(row["psnr"] is not None for row in measured(fidelity="full")[1])


def test_a_further_measure_is_a_column_that_says_what_it_is(data, measured):
    path, rows = measured(measures=["halves"])
    lossless = codecs.get("original")
    for row, item in zip(rows, artifacts.iter_rows(data, splits=["test"]), strict=True):
        original = lossless.decode(item["media"], tuple(item["shape"]))
        decoded = Jpeg().decode(row["payload"], original.shape)
        expected = np.abs(original.astype(int) - decoded).max() / 2 if original.mean() > 130 else None
        assert row["halves"] == expected
    assert {row["halves"] is None for row in rows} == {True, False}
    assert artifacts.units(pq.read_schema(path))["halves"] == "steps"
    assert artifacts.read_meta(path)["measures"] == {"halves": {"title": "Halves", "unit": "steps", "better": "lower"}}
    assert "halves" not in measured("train", measures=["halves"])[1][0]
