"""The table of speeds: every stage is timed, and what is said to be waiting is waiting."""

from __future__ import annotations

import time

import media_tables
import pytest

from lossybench import codecs, models
from lossybench.errors import LossyBenchError
from lossybench.stages.train import train
from lossybench.tools.speed import speed


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    data, part, test = media_tables.image_task(folder)
    settings = {"epochs": 1, "batch_size": 8, "device": "cpu"}
    train(data, [part], "toy", "resnet", "original", folder / "model", settings, 0)
    return folder / "model", data, [part], test


def _read(table):
    lines = [line.split() for line in table.splitlines()]
    return {name: (float(rate), float(waits.rstrip("%"))) for name, rate, waits in lines[-3:]}


def test_a_slow_decoder_is_what_evaluation_waits_for(toy, monkeypatch):
    table = speed(*toy, {"items": 4, "steps": 2})
    assert "device: cpu" in table and "threads: 1" in table
    found = _read(table)
    assert list(found) == ["training", "evaluation", "PGD"]
    assert all(rate > 0 and 0 <= waits <= 100 for rate, waits in found.values())
    cls = codecs.codec_class("original")
    decode = cls.decode

    def slow(self, *arguments):
        time.sleep(0.05)
        return decode(self, *arguments)

    monkeypatch.setattr(cls, "decode", slow)
    rate, waits = _read(speed(*toy, {"items": 4, "steps": 2}))["evaluation"]
    assert rate < 20 and waits > 50


def test_detectors_are_refused(toy, tmp_path):
    models.write_json(tmp_path / models.INFO, {**models.read_info(toy[0]), "kind": "detection"})
    with pytest.raises(LossyBenchError, match="speed is measured on classifiers; this one does detection"):
        speed(tmp_path, *toy[1:])


def test_attacks_are_timed_too_where_a_codec_is_named(toy):
    table = speed(*toy, {"items": 4, "steps": 2, "queries": 2}, codec="jpeg", level=50.0)
    rows = {line.split("  ")[0]: line.split() for line in table.splitlines()}
    assert {"T0 pgd", "T0 square", "T2 pgd jpeg 50", "T3 pgd jpeg 50"} <= set(rows)
    assert all(float(rows[name][-2].rstrip("%")) > 0 for name in ("T2 pgd jpeg 50", "T3 pgd jpeg 50"))
