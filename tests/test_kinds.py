"""Kinds of task as plug-ins: one of a user's from its config to the report, and the general ways to score."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import norm
from test_fingerprint import _forget

from lossybench import data, kinds, tasks
from lossybench.analysis.comparisons import paired
from lossybench.analysis.measured import ALL_SEEDS, of_items, of_weights
from lossybench.analysis.sampling import Sampling
from lossybench.artifacts import read_meta, read_table
from lossybench.errors import LossyBenchError
from lossybench.fingerprint import fingerprint
from lossybench.metrics import Metric
from lossybench.tasks.task_kind import TaskKind

HERE = Path(__file__).parent
ERROR = Metric("absolute_error", "mean absolute error", better="less", unit="objects", most=None)
DICE = Metric("dice", "Dice")


# A user's kind


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished study of a kind, a data adapter and a model that lie in one file beside the config."""
    folder = tmp_path_factory.mktemp("counting")
    shutil.copy(HERE / "counting.py", folder)
    study = {
        "deltas": [0.5, 1],
        "bootstrap": 200,
        "tasks": {
            "dots": {
                "data": {"adapter": "counting:Dots", "test": 40},
                "models": {"counter": {"function": "counting:predict"}},
                "codecs": {"jpeg": [50, 10, 2], "webp": [50, 1]},
            }
        },
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(study))
    command = [sys.executable, "-m", "snakemake", "-s", str(HERE.parent / "Snakefile"), "--configfile", "config.yaml"]
    done = subprocess.run([*command, "--cores", "2"], cwd=folder, capture_output=True, text=True, timeout=900)
    logs = "".join(path.read_text()[-600:] for path in sorted(folder.glob("results/logs/**/*.log")))
    assert not done.returncode, f"{done.stdout[-2000:]}{done.stderr[-3000:]}{logs[-3000:]}"
    return folder / "results"


def test_a_users_kind_runs_from_its_config_to_the_report(counted):
    rows = read_table(counted / "data/dots.parquet").to_pandas()
    assert (rows["count"].between(0, 9)).all() and not {"label", "boxes"} & set(rows)
    for path in counted.glob("outcomes/dots/counter/original/0/*.parquet"):
        # The error of each level, counted again from what was coded.
        outcomes = read_table(path).to_pandas().merge(rows[["id", "count"]], on="id", suffixes=("", "_true"))
        assert (outcomes["count"] == outcomes["count_true"]).all()
        error = (outcomes["counted"] - outcomes["count"]).abs().groupby(outcomes["level"]).mean()
        metrics = read_table(counted / "summary/dots/metrics.parquet").to_pandas()
        metrics = metrics.query(f"metric == 'absolute_error' and seed == -1 and codec == '{path.stem}'")
        assert metrics.set_index("level")["value"].sort_index().tolist() == pytest.approx(error.tolist())
        assert (metrics["low"] <= metrics["value"]).all() and (metrics["low"] >= 0).all()


def test_where_less_is_better_a_loss_is_negative_all_the_same(counted):
    differences = read_table(counted / "summary/dots/differences.parquet").to_pandas().query("baseline == 'own'")
    assert (differences["difference"] == differences["reference"] - differences["value"]).all()
    worst = differences.query("codec == 'jpeg' and level == 2").iloc[0]
    assert worst["value"] > 2 and worst["upper"] < -1
    limits = read_table(counted / "summary/dots/limits.parquet").to_pandas().query("baseline == 'own' and delta == 1")
    jpeg = limits.set_index("codec").loc["jpeg"]
    assert (jpeg["verdict"], jpeg["stopped_at"], jpeg["stopped_verdict"]) == ("acceptable", 2, "unacceptable")
    rows = read_table(counted / "data/dots.parquet").to_pandas()
    chance = (rows["count"] - rows["count"].median()).abs().mean()
    assert jpeg["chance"] == pytest.approx(chance) and jpeg["above_chance"] < chance - jpeg["reference"]


def test_the_report_speaks_of_the_kinds_own_metric_and_unit(counted):
    said = (counted / "recommendations.md").read_text()
    assert "to cost at most 1 objects of mean absolute error" in said and "chance 2." in said
    assert "accuracy" not in said.partition("## dots")[2].partition("## How")[0]
    assert "(0.5 and 1 objects)" in said
    assert read_meta(counted / "summary/dots/limits.parquet")["metrics"][0]["unit"] == "objects"
    drawn = (counted / "figures/dots/rate_accuracy.svg").read_text()
    assert "mean absolute error (objects)" in drawn


def test_a_name_of_no_kind_or_adapter_says_what_would_be_right(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    assert issubclass(tasks.kind_class("counting:Counting"), TaskKind)
    assert data.get("counting:Dots", {"test": 3}).test == 3
    for name, why in (
        ("detections", "did you mean 'detection'.*or your own: module:Class"),
        ("os:system", "module of Python itself"),
        ("nosuch:Kind", "No module named 'nosuch'; put the module beside the config"),
        ("counting:Dots", "no class 'Dots' that derives from TaskKind"),
        ("counting:Nothing", "no class 'Nothing' that derives from TaskKind"),
    ):
        with pytest.raises(LossyBenchError, match=why):
            kinds.load(name)
    with pytest.raises(LossyBenchError, match="derives from Dataset"):
        data.get("counting:Counting")


# What each declares


@pytest.mark.parametrize("name", kinds.names())
def test_what_a_kind_declares_is_whole(name):
    kind = kinds.load(name)
    assert issubclass(kind, TaskKind) and kind.defaults and set(kind.defaults) <= {"image", "audio", "video"}
    assert kind.schema.names[0] == "id" and "level" in kind.schema.names
    assert len({metric.name for metric in kind.metrics}) == len(kind.metrics)
    assert set(kind.data_schema().names) >= {"id", "split", "media", *kind.truth.names}


def test_kinds_and_the_aggregate_stage_load_without_torch():
    code = "import sys; from lossybench import kinds; import lossybench.stages.aggregate\n"
    code += "[kinds.load(name) for name in kinds.names()]; assert 'torch' not in sys.modules, 'torch'"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert not done.returncode, done.stderr


def test_an_edit_of_a_kind_reruns_what_uses_the_edited_part(tmp_path, monkeypatch):
    """Fetch goes by the truth alone, and no outcome by what a kind imports of the analysis."""
    package = tmp_path / "lossybench"
    shutil.copytree(HERE.parent / "src" / "lossybench", package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.syspath_prepend(str(tmp_path))
    kept = {name: one for name, one in sys.modules.items() if name.partition(".")[0] == "lossybench"}
    for name in kept:
        monkeypatch.delitem(sys.modules, name)

    def prints():
        _forget()
        kind = "lossybench.tasks.detection"
        return (
            fingerprint("lossybench.stages.fetch", *kinds.of_truth("detection")),
            fingerprint("lossybench.stages.evaluate", kind),
            fingerprint("lossybench.stages.aggregate", kind),
        )

    def changed(path, old, new):
        file = package / path
        text = file.read_text()
        assert old in text
        before = prints()
        file.write_text(text.replace(old, new, 1))
        after = prints()
        file.write_text(text)
        return [one != other for one, other in zip(before, after, strict=True)]

    try:
        assert changed("analysis/box_metrics.py", "MAX_DETECTIONS = 100", "MAX_DETECTIONS = 99") == [False, False, True]
        assert changed("tasks/detection.py", "SMALLEST = 2.0", "SMALLEST = 3.0") == [False, True, True]
        boxes = '{"boxes": [vars(box) for box in item.boxes]}'
        assert changed("tasks/detection.py", boxes, '{"boxes": []}') == [True, True, True]
    finally:
        _forget()


# Scores item by item, and metrics over items


def _sampling(n: int, groups: int = 0, resamples: int = 400) -> Sampling:
    index = {"voice": np.arange(n) % groups} if groups else {}
    return Sampling.draw(n, index, resamples, 0)


def test_a_mean_over_items_is_the_same_whether_scored_by_item_or_over_items():
    random = np.random.default_rng(0)
    scores = {seed: random.gamma(2.0, 1.0, 120) for seed in (0, 1)}
    sampling = _sampling(120, groups=30)
    by_item = of_items([ERROR], {seed: {ERROR.name: one} for seed, one in scores.items()}, sampling)

    def over(one):
        return lambda weights, factor: {ERROR.name: one @ weights / weights.sum(axis=0)}

    together = of_weights([ERROR], {seed: over(one) for seed, one in scores.items()}, sampling)
    assert by_item.names == together.names == [(ERROR.name, "")]
    np.testing.assert_allclose(by_item.primary.samples, together.primary.samples, rtol=1e-5)
    assert by_item.primary.value == pytest.approx(np.mean(list(scores.values())))
    assert (by_item.primary.values < 0).all()  # turned, so that more is better
    assert by_item.primary.reach == max(one.max() for one in scores.values())


def test_a_metric_of_which_less_is_better_is_judged_as_its_mirror_image():
    """What is lost of a share, and what is added to the share that is missing from it, have the same interval."""
    random = np.random.default_rng(1)
    before, after = random.beta(8, 2, 150), random.beta(6, 2, 150)
    missing = Metric("missing", "what Dice lacks", better="less")
    sampling = _sampling(150)

    def difference(metric, of):
        pair = [of_items([metric], {0: {metric.name: of(one)}}, sampling).primary for one in (before, after)]
        return paired(*pair, sampling).estimate

    plain, turned = difference(DICE, lambda one: one), difference(missing, lambda one: 1 - one)
    assert plain.value == pytest.approx(turned.value) == pytest.approx(float((after - before).mean()))
    assert plain.interval.lower == pytest.approx(turned.interval.lower)
    assert plain.interval.upper == pytest.approx(turned.interval.upper)


def test_intervals_of_scores_that_are_no_hits_cover():
    """Of a mean of shares and of errors without an end, against the mean that they are drawn from."""
    random, z = np.random.default_rng(2), norm.ppf(0.975)
    for metric, draw, true in (
        (DICE, lambda: random.beta(9, 1, 60), 0.9),
        (ERROR, lambda: random.gamma(1.0, 0.5, 60), 0.5),
    ):
        inside, widths = [], []
        for study in range(200):
            sampling = Sampling.draw(60, {}, 200, study)
            interval = of_items([metric], {0: {metric.name: draw()}}, sampling).found[ALL_SEEDS][0].interval
            inside.append(interval.low <= true <= interval.high)
            widths.append(interval.high - interval.low)
        assert np.mean(inside) >= 0.92
        deviation = np.sqrt(0.9 * 0.1 / 11) if metric is DICE else 0.5
        assert np.mean(widths) < 2.2 * 2 * z * deviation / np.sqrt(60)  # and is no wider than it must be


def test_scores_that_all_agree_leave_the_interval_open():
    sampling = _sampling(10)
    same = of_items([DICE], {0: {"dice": np.ones(10)}}, sampling)
    assert same.found[0][0].interval.low < 0.8 and same.found[0][0].interval.high == 1
    pair = [of_items([ERROR], {0: {ERROR.name: np.full(10, 2.0)}}, sampling).primary] * 2
    none = paired(*pair, sampling).estimate
    assert none.value == 0 and none.interval.lower == pytest.approx(-2.0 * 1.6449**2 / (10 + 1.6449**2), rel=1e-3)


def test_a_margin_is_in_points_of_a_share_and_in_the_unit_of_all_else():
    assert DICE.margin(2) == 0.02 and ERROR.margin(2) == 2
    assert (DICE.shown(0.9541), ERROR.shown(1.254)) == ("95.4 %", "1.25 objects")
    assert (DICE.gap(-0.012), ERROR.gap(0.35), ERROR.interval(-2, 0.4)) == ("−1.2", "+0.35", "[−2, +0.4]")
    assert (DICE.axis, ERROR.axis, ERROR.more) == (
        "Dice (%)",
        "mean absolute error (objects)",
        "less mean absolute error",
    )


def test_metrics_by_class_stand_in_the_kinds_order():
    hit, label = np.array([True, False, True, True]), np.array([0, 0, 1, 1])
    frame = pd.DataFrame({"hit": hit, "label": label})

    def over(weights, factor):
        found = {"dice": hit @ weights / weights.sum(axis=0)}
        for name in ("b", "a"):
            of = weights * (label == "ab".index(name))[:, None]
            total = of.sum(axis=0)
            found["dice", name] = np.divide(hit @ of, total, out=np.full(len(total), np.nan), where=total > 0)
        return found

    measured = of_weights([DICE], {0: over}, _sampling(4), support={"a": 2, "b": 2})
    assert measured.names == [("dice", ""), ("dice", "b"), ("dice", "a")]
    each = frame.groupby("label")["hit"].mean()
    assert [one.value for one in measured.found[0]] == [0.75, each[1], each[0]]
