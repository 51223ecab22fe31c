"""Two studies side by side: differences against closed forms and other implementations, and what one of them lacks."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.stats import t as student
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint
from test_analysis_aggregate import Study, wrong

from lossybench.artifacts import read_meta, read_table, write_table
from lossybench.errors import LossyBenchError
from lossybench.tools.compare import PAIRED, compare


def _results(folder: Path, answers: dict[Any, float], kind: str = "classification", prefix: str = "") -> Path:
    """A results folder of the task toy. prefix: before the ids of its items, which are others then."""
    folder.mkdir()
    study = Study(folder / "made", kind=kind).model(answers)
    study.summary()
    if prefix:
        for path in [study.data, *study.outcomes]:
            rows = [row | {"id": prefix + row["id"]} for row in read_table(path).to_pylist()]
            write_table(path, read_table(path).schema.remove_metadata(), rows, read_meta(path))
    results = folder / "results"
    for path in study.outcomes:
        meta = read_meta(path)
        place = results / "outcomes/toy" / meta["arch"] / meta["regime"] / str(meta["seed"]) / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    (results / "data").mkdir()
    shutil.copy(study.data, results / "data/toy.parquet")
    shutil.copytree(study.folder / "summary", results / "summary/toy")
    return results


def _compared(a: Path, b: Path, out: Path, models: tuple[str, ...] = ()) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    compare(a, b, out=out, models=models)
    curves, limits = (pd.read_csv(out.with_suffix(f".{name}.csv")) for name in ("curves", "limits"))
    return curves.set_index(["codec", "level"]), limits.set_index(["baseline", "delta"]).loc["own"], out.read_text()


def test_the_same_items_are_paired(tmp_path):
    """Of 400 items b gets 20 more right at QF 10, all of which a gets wrong: the interval of a paired difference."""
    a = _results(tmp_path / "a", wrong(jpeg10=0.4))
    b = _results(tmp_path / "b", wrong(jpeg10=0.35))
    curves, limits, page = _compared(a, b, tmp_path / "out.html")
    assert set(curves["how"]) == {PAIRED} and "tested on the same 400 items" in page
    row = curves.loc["jpeg", 10]
    assert row["difference"] == pytest.approx(0.05)
    # 20 of 400 items tell them apart, all in favour of b: about the interval of a share of 20/400 by Wilson's score.
    low, high = proportion_confint(20, 400, method="wilson")
    assert (row["low"], row["high"]) == pytest.approx((low, high), abs=0.003)
    same = curves.loc["jpeg", 50]
    assert same["difference"] == 0 and same["low"] < 0 < same["high"] and same["high"] < 0.011
    assert set(limits["moved"]) == {"same"}


def test_other_items_are_independent_samples(tmp_path):
    a = _results(tmp_path / "a", wrong(jpeg10=0.4))
    b = _results(tmp_path / "b", wrong(jpeg10=0.3), prefix="other_")
    curves, _, page = _compared(a, b, tmp_path / "out.html")
    assert set(curves["how"]) == {"unpaired, as the test items differ"} and "as the test items differ" in page
    row = curves.loc["jpeg", 10]
    bounds = confint_proportions_2indep(280, 400, 240, 400, method="newcomb", compare="diff")
    assert (row["low"], row["high"]) == pytest.approx(bounds, abs=1e-6)
    shutil.rmtree(b / "outcomes")
    assert "as the data or outcomes of b are not there" in _compared(a, b, tmp_path / "out.html")[2]


def test_folds_are_drawn_whole_and_have_to_be_the_same(tmp_path):
    """The 20 items of 400 that b gets right and a gets wrong are of one fold in five, whose model tests them all."""
    a, b = (_results(tmp_path / name, wrong(jpeg10=share)) for name, share in (("a", 0.4), ("b", 0.35)))

    def deal(results, fold_of):
        path = results / "data/toy.parquet"
        table, meta = read_table(path), read_meta(path) | {"folds": 5}
        folds = pa.array([fold_of(number) for number in range(len(table))], pa.int32())
        at = table.schema.get_field_index("fold")
        table = table.replace_schema_metadata().set_column(at, table.schema.field(at), folds.cast(table["fold"].type))
        write_table(path, table.schema, table.to_pylist(), meta)

    alone = _compared(a, b, tmp_path / "out.html")[0].loc["jpeg", 10]
    for results in (a, b):
        deal(results, lambda number: 1 + min(number, 399) // 80)
    row = _compared(a, b, tmp_path / "out.html")[0].loc["jpeg", 10]
    assert row["how"] == PAIRED and row["difference"] == pytest.approx(0.05)
    # 0, 0, 20, 0 and 0 items of 80 in five folds, by the variance of Nadeau and Bengio 2003.
    wide = student.ppf(0.975, 4) * np.std([0, 0, 0.25, 0, 0], ddof=1) * np.sqrt(1 / 5 + 1 / 4)
    assert row["high"] - row["low"] == pytest.approx(2 * wide, rel=0.05) and row["low"] < 0 < alone["low"]
    deal(b, lambda number: 1 + number % 5)
    assert "unpaired, as the test items are dealt into other folds" in _compared(a, b, tmp_path / "out.html")[2]


def test_detectors_are_paired_by_the_same_resamples(tmp_path):
    a = _results(tmp_path / "a", wrong(jpeg10=0.4), kind="detection")
    b = _results(tmp_path / "b", wrong(jpeg10=0.3), kind="detection")
    row = _compared(a, b, tmp_path / "out.html")[0].loc["jpeg", 10]
    assert row["how"] == PAIRED and row["difference"] == pytest.approx(row["value_b"] - row["value_a"])
    # 40 of 400 items tell them apart, all in favour of b.
    error = np.sqrt(0.1 * 0.9 / 400)
    assert row["high"] - row["low"] == pytest.approx(2 * 1.96 * error, rel=0.25)


def test_limits_that_moved_are_told_by_strength(tmp_path):
    """A smaller QF is the stronger level, so that a limit that moves from QF 90 to QF 50 is stronger."""
    a = _results(tmp_path / "a", wrong(jpeg50=0.3))
    b = _results(tmp_path / "b", wrong())
    _, limits, page = _compared(a, b, tmp_path / "out.html")
    row = limits.loc[2]
    assert (row["label_a"], row["label_b"], row["moved"]) == ("QF 90", "QF 50", "stronger")
    assert row["rate_change"] == pytest.approx((700 - 1100) / 1100) and "▲ stronger in b" in page
    assert _compared(b, a, tmp_path / "out.html")[1].loc[2, "moved"] == "milder"
    none = _results(tmp_path / "none", wrong(jpeg90=0.5, jpeg50=0.5))
    assert _compared(a, none, tmp_path / "out.html")[1].loc[2, "moved"] == "only a"


def test_what_one_of_them_lacks_is_named_and_names_are_shown_not_obeyed(tmp_path):
    a = _results(tmp_path / "a", wrong())
    b = tmp_path / "b <script>&"
    shutil.copytree(a, b)
    shutil.copytree(b / "summary/toy", b / "summary/mine")
    for name in ("metrics", "conditions", "limits"):
        path = a / f"summary/toy/{name}.parquet"
        table = read_table(path)
        without = ("delta", 5) if name == "limits" else ("level", 50)
        rows = [row for row in table.to_pylist() if row[without[0]] != without[1]]
        write_table(path, table.schema.remove_metadata(), rows, read_meta(path))
    shutil.rmtree(a / "outcomes")  # whose levels are all there
    curves, limits, page = _compared(a, b, tmp_path / "out.html")
    shown = "b &lt;script&gt;&amp;"
    assert "<script" not in page and f"{shown} has the level jpeg 50 of toy." in page
    assert f"{shown} has the task mine." in page and f"{shown} has the margin 5 of toy." in page
    assert page.count("Only ") == 3 and ("jpeg", 50) not in curves.index and 5 not in limits.index


def test_two_models_of_a_study_are_compared(tmp_path):
    study = Study(tmp_path / "made").model(wrong()).model(wrong(jpeg10=0.2), regime="mixed")
    study.summary()
    results = tmp_path / "results"
    shutil.copytree(study.folder / "summary", results / "summary/toy")
    curves, _, page = _compared(results, results, tmp_path / "out.html", ("net/original", "net/mixed"))
    assert curves.loc[("jpeg", 10), "difference"] == pytest.approx(0.2) and "results, net/mixed" in page
    with pytest.raises(LossyBenchError, match=r"no model 'net/mixt'; did you mean 'net/mixed'"):
        compare(results, results, out=tmp_path / "out.html", models=("net/original", "net/mixt"))


def test_folders_without_a_study_and_studies_of_other_tasks_are_refused(tmp_path):
    a = _results(tmp_path / "a", wrong())
    with pytest.raises(LossyBenchError, match="no results folder"):
        compare(a, tmp_path, out=tmp_path / "out.html")
    with pytest.raises(LossyBenchError, match="name two as ARCHITECTURE/REGIME"):
        compare(a, a, out=tmp_path / "out.html", models=("net/original",))
    (tmp_path / "half/data").mkdir(parents=True)
    with pytest.raises(LossyBenchError, match="no task has a summary yet"):
        compare(a, tmp_path / "half", out=tmp_path / "out.html")
    shutil.copytree(a, tmp_path / "c")
    (tmp_path / "c/summary/toy").rename(tmp_path / "c/summary/mine")
    with pytest.raises(LossyBenchError, match="nothing in common"):
        compare(a, tmp_path / "c", out=tmp_path / "out.html")
    assert not (tmp_path / "out.html").exists()
