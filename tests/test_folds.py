"""Cross-validation: how items are dealt into folds, one pooled table, what its intervals know, and what reruns."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import small_study
from scipy.stats import t as student

from lossybench import artifacts
from lossybench.analysis import intervals
from lossybench.analysis.sampling import Sampling
from lossybench.conditions import Model
from lossybench.config import TaskConfig
from lossybench.data._folds import Folds, learning
from lossybench.errors import LossyBenchError
from lossybench.reporting import recommendations
from lossybench.reporting.summary import Summary
from lossybench.results import Results
from lossybench.study import Study
from lossybench.tools import plan
from lossybench.tools.check import examine

sys.path.append(str(Path(__file__).parent / "benchmarks"))
import folds as simulation

WORDS = {
    "data": {"adapter": "spoken_words", "train": 60, "val": 20, "test": 40},
    "folds": {"count": 5, "by": "voice"},
    "codecs": {"mp3": [8]},
    "models": {"logmel_cnn": {"epochs": 1}},
}


def _study(**changes) -> Study:
    return Study({"results": "results/folds", "bootstrap": 100, "tasks": {"words": {**WORDS, **changes}}})


def _with(adapter: str, options: dict[str, int], folds: int) -> TaskConfig:
    """The section of a task with folds."""
    data = {"adapter": adapter, **options}
    return TaskConfig.model_validate({**WORDS, "data": data, "folds": {"count": folds}, "models": {"resnet": None}})


def _people(count: int, seed: int = 0) -> tuple[list[str], list[int]]:
    """The speaker and the class of 300 items."""
    random = np.random.default_rng(seed)
    return [f"speaker {i}" for i in random.integers(0, count, 300)], random.integers(0, 3, 300).tolist()


@pytest.mark.parametrize("count", [2, 3, 5, 10])
def test_folds_are_even_in_items_and_classes_and_part_no_group(count):
    speakers, labels = _people(60)
    items = [(who, [label]) for who, label in zip(speakers, labels, strict=True)]
    dealt = Folds(count=count, by="speaker", seed=1).dealt(items)
    assert all(len({fold for one, fold in zip(speakers, dealt, strict=True) if one == who}) == 1 for who in speakers)
    of_class = np.array([np.bincount(np.array(dealt)[np.array(labels) == label])[1:] for label in range(3)])
    assert of_class.shape == (3, count) and of_class.sum() == 300
    assert of_class.sum(axis=0).min() >= 0.85 * 300 / count and of_class.min() >= 0.5 * 100 / count
    assert dealt == Folds(count=count, by="speaker", seed=1).dealt(items)
    assert dealt != Folds(count=count, by="speaker", seed=2).dealt(items)


def test_as_many_groups_as_folds_are_the_folds_in_their_order():
    published = Folds(count=10, pattern=r"^(\d+)-")
    names = [f"{fold}-{clip}.wav" for clip in range(3) for fold in range(1, 11)]
    groups = [published.group(name, {"recording": "a"}) for name in names]
    assert published.dealt([(group, [0]) for group in groups]) == [int(group) for group in groups]
    assert Folds(count=2).group("x", {"voice": "a", "word": "b"}) == "a"
    assert Folds(count=2).group("x", {}) == "x"


def test_what_cannot_be_dealt_is_named():
    with pytest.raises(LossyBenchError, match=r"folds.by: the items have no factor 'speeker'; did you mean 'speaker'"):
        Folds(count=2, by="speeker").group("x", {"speaker": "a"})
    with pytest.raises(LossyBenchError, match=r"folds.pattern: '\^\[1-5\]-' does not match the id dog\.wav"):
        Folds(count=2, pattern="^[1-5]-").group("dog.wav", {})
    with pytest.raises(LossyBenchError, match=r"folds.count: 5 folds of only 2 groups; ask for fewer"):
        Folds(count=5).dealt([("a", [0]), ("b", [0]), ("a", [0])])
    with pytest.raises(
        LossyBenchError, match=r"all items of class 1 are in fold 2, whose model learns from the others"
    ):
        Folds(count=2).dealt([("a", [0]), ("b", [0]), ("b", [1])])
    for wrong in ({"by": "a", "pattern": "b"}, {"pattern": "("}):
        with pytest.raises(ValueError, match=r"give either by|no regular expression"):
            Folds(count=2, **wrong)


def test_a_model_learns_from_the_other_folds_and_validates_on_other_speakers():
    speakers, labels = _people(40)
    how = {"count": 4, "by": "speaker", "seed": 3}
    dealt = Folds(**how).dealt([(who, [label]) for who, label in zip(speakers, labels, strict=True)])
    rows = [
        {"id": str(i), "label": label, "groups": [("speaker", who)], "fold": fold}
        for i, (who, label, fold) in enumerate(zip(speakers, labels, dealt, strict=True))
    ]
    for fold in range(1, 5):
        found = learning(rows, fold, how, lambda row: [row["label"]])
        assert {row["id"] for some in found.values() for row in some} == {r["id"] for r in rows if r["fold"] != fold}
        train, val = ({row["groups"][0][1] for row in found[split]} for split in ("train", "val"))
        assert not train & val
        assert 0.08 < len(found["val"]) / sum(map(len, found.values())) < 0.18


def test_what_does_not_go_with_folds_is_refused_in_one_line():
    for changes, what in (
        ({"looks": [10, 40]}, "looks: looks add test items"),
        ({"attack": {"items": 4}}, "attack: attacks are on one model"),
        ({"models": {"own": {"url": "http://127.0.0.1:9/"}}}, "models.own: it exists already"),
    ):
        with pytest.raises(LossyBenchError, match=rf"tasks\.words\.folds: cannot go with {what}"):
            _study(**changes)


def test_a_study_has_a_model_for_each_fold_and_compresses_nothing_twice():
    study = _study(regimes={"mixed": {}}, seeds=[0, 4])
    models = study.models("words")
    assert len(models) == 2 * 2 * 5 and models[1] == Model("words", "logmel_cnn", "original", 0, 2)
    folder = study.layout.model(Model("words", "logmel_cnn", "mixed", 4, 3))
    assert folder == Path("results/folds/models/words/logmel_cnn/mixed/4_fold3")
    assert Model.read(*folder.parts[-4:]) == Model("words", "logmel_cnn", "mixed", 4, 3)
    assert {part for _, _, part, _ in study.compressions("words")} == {"test"}
    assert study.description("words").counts == {"test": 120}
    assert plan.jobs(study)["train"] == 20 and "items 120 in 5 folds" in plan.describe(study, 2, {})
    passes = {job.items for job in plan.costs(study, {}) if job.stage == "train"}
    assert passes == {96}  # an epoch of four fifths


def test_intervals_know_the_scatter_of_the_folds():
    random, n, folds = np.random.default_rng(0), 600, 6
    index = np.repeat(np.arange(folds), n // folds)
    hits = random.random((1, n)) < np.array([0.5, 0.6, 0.7, 0.8, 0.9, 0.95])[index]
    with_folds, alone = (Sampling.draw(n, {}, 2000, 0, folds=each) for each in (index, None))
    one, other = intervals.share(hits, with_folds), intervals.share(hits, alone)
    means = hits[0].reshape(folds, -1).mean(axis=1)
    of_items = hits.var() / n
    wanted = math.sqrt((means.var(ddof=1) / folds - of_items / 2) * (1 + folds / (folds - 1)))
    assert one.fold_error == pytest.approx(wanted, rel=0.01) and other.fold_error == 0
    reach = math.hypot(other.value - other.interval.low, student.ppf(0.975, folds - 1) * wanted)
    assert one.value - one.interval.low == pytest.approx(reach, rel=0.01)
    # A metric that is no mean over items is resampled fold by fold. Of a mean that has to give the same.
    samples = np.array([[unit.mean(hits[0].astype(float)) for unit in with_folds.units]])
    drawn = intervals.of_samples(hits.mean(axis=1), samples, with_folds, 0.0)
    assert drawn.fold_error == pytest.approx(wanted, rel=0.1)
    assert intervals.of_share_samples(hits.mean(axis=1), samples, n, with_folds).fold_error > 0.9 * wanted
    # With the folds alike, or only two of them, nothing is added.
    alike = intervals.share(np.tile([True, True, True, False], (1, n // 4)), with_folds)
    assert alike.fold_error == 0
    two = Sampling.draw(n, {}, 100, 0, folds=index % 2)
    assert two.folds is None and intervals.share(hits, two).fold_error == 0
    # What is kept of some items is kept of the folds.
    assert with_folds.of(np.arange(0, n, 3)).folds.count == folds
    assert with_folds.of(np.arange(150)).folds is None


@pytest.mark.parametrize("spread", [0.0, 0.03])
def test_intervals_cover_models_that_learn_from_other_items(spread):
    covers, alone, _, of_loss = simulation.covered(5, 1000, spread, 1 / 5, studies=400, seed=1)
    assert covers > 0.93 and of_loss > 0.93
    assert alone > 0.92 if spread == 0 else alone < 0.8


def test_check_deals_folds_as_fetch_does():
    options = {"train": 20, "val": 10, "test": 20}
    report = examine("digits", options, {}, task=_with("digits", options, 5))
    assert {split for split, _ in report.counts} == {"test"} and not report.impossible
    report = examine("digits", options, {}, task=_with("digits", options, 51))
    assert [f.text for f in report.findings if f.severity == "error"] == [
        "folds.count: 51 folds of only 50 groups; ask for fewer"
    ]


def test_five_folds_end_in_one_table_and_one_that_changes_alone_is_tested_again(tmp_path):
    study = {"results": "results", "deltas": [5], "bootstrap": 100, "tasks": {"words": WORDS}}
    folder = small_study.project(tmp_path / "study", study)
    wanted = "results/summary/words/metrics.parquet"
    small_study.run(folder, "--cores", "2", wanted)
    results = Results(folder / "results")
    items = results.items("words").set_index("id")
    assert len(items) == 120 and sorted(items["fold"].unique()) == [1, 2, 3, 4, 5]
    assert (items.groupby(items["groups"].map(lambda groups: groups["voice"]))["fold"].nunique() == 1).all()
    found = results.outcomes("words")
    assert (found["fold"].to_numpy() == items.loc[found["id"], "fold"].to_numpy()).all()
    assert found.groupby(["codec", "level"])["id"].nunique().eq(120).all() and len(found) == 2 * 120
    accuracy = found.groupby("codec")["correct"].mean()
    metrics = results.metrics.query("metric == 'accuracy' and `class` == '' and seed == 0").set_index("codec")
    assert metrics["value"].to_dict() == pytest.approx(accuracy.to_dict()) and (metrics["n"] == 120).all()
    assert results.meta("words")["folds"] == 5 and results.differences["fold_error"].notna().all()

    said = Summary(folder / "results/summary/words")
    assert said.models(baseline="own") == "training on other such items (5 folds)"
    assert "dealt into 5 folds" in recommendations._warnings(said)

    before = {path: path.stat().st_mtime_ns for path in folder.glob("results/*/words/**/*.*")}
    path = folder / "results/models/words/logmel_cnn/original/0_fold2/model.json"
    model = json.loads(path.read_text())
    artifacts.write_json(path, model | {"parameters": model["parameters"] + 1})
    small_study.run(folder, "--cores", "2", wanted)
    remade = {path for path, when in before.items() if path.exists() and path.stat().st_mtime_ns != when} - {path}
    names = {str(path.relative_to(folder / "results")) for path in remade}
    outcomes = {name for name in names if name.startswith("outcomes/")}
    assert outcomes == {f"outcomes/words/logmel_cnn/original/0_fold2/{codec}.parquet" for codec in ("mp3", "original")}
    assert {name.split("/")[0] for name in names} == {"outcomes", "summary", "evaluated"}
