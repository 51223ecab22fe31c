"""Models judged by their own answers, and texts: what is measured, what follows for true labels, and which data."""

import dataclasses
import sys

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from test_analysis_aggregate import SETTINGS, Study
from torchmetrics.functional.text import char_error_rate, word_error_rate

from lossybench import artifacts, config, data, edits, kinds
from lossybench.analysis import own_answers, text_metrics
from lossybench.analysis.box_metrics import Frames
from lossybench.analysis.intervals import paired
from lossybench.analysis.outcomes import Outcomes
from lossybench.analysis.sampling import Sampling
from lossybench.data import _digits
from lossybench.errors import LossyBenchError
from lossybench.reporting import recommendations
from lossybench.stages.adopt import adopt
from lossybench.stages.aggregate import aggregate
from lossybench.stages.fetch import fetch

OWN = {"truth": "model", "truth_score": 0.5}


def said(scores):
    return own_answers.Said(scores.argmax(axis=1), scores)


def of_labels(before, after):
    judge = own_answers.Labels()
    sampling = Sampling.draw(len(before), {}, 200, 0)
    settled = {0: judge.settle(said(before), None, sampling)}
    return judge.measure({0: said(after)}, settled, None, sampling)


def scores_of(random, n, classes=6):
    return random.dirichlet(np.full(classes, 0.3), n).astype(np.float32)


# What agreement says of accuracy -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_accuracy_never_loses_more_than_agreement_and_the_rest_is_told(seed):
    random = np.random.default_rng(seed)
    n, classes = int(random.integers(5, 400)), int(random.integers(2, 6))
    truth, before = random.integers(classes, size=(2, n))
    after = np.where(random.random(n) < random.random(), before, random.integers(classes, size=n))
    loss = (before == truth).astype(int) - (after == truth)
    changed = (before != after).astype(int)
    assert (np.abs(loss) <= changed).all()
    became_right = (before != truth) & (after == truth)
    wrong_twice = (before != truth) & (after != truth) & (before != after)
    assert changed.sum() - loss.sum() == 2 * became_right.sum() + wrong_twice.sum()


def test_bounds_by_agreement_are_no_milder_than_those_by_labels():
    """Tango's bound of the loss, and its bound of the share of changed answers, from the same simulated outcomes."""
    random, milder, studies = np.random.default_rng(1), 0, 400
    sampling = Sampling.draw(300, {}, 2, 0)
    for _ in range(studies):
        right, flip = random.random(300) < random.uniform(0.6, 1), random.random(300) < random.uniform(0, 0.1)
        # Of those whose answer changes, the wrong ones become right as often as a guess among four.
        after = np.where(flip, ~right & (random.random(300) < 0.25), right)
        by_labels = paired(right[None], after[None], sampling).interval.lower
        by_agreement = paired(np.ones((1, 300), bool), ~flip[None], sampling).interval.lower
        milder += by_agreement > by_labels + 1e-9
    assert milder <= 0.02 * studies


def test_scores_that_are_probabilities_never_understate_the_expected_loss():
    random = np.random.default_rng(2)
    before, after = scores_of(random, 4000), scores_of(random, 4000)
    truth = (before.cumsum(axis=1) < random.random((4000, 1))).sum(axis=1).clip(max=5)  # drawn from the scores
    loss = float(((before.argmax(1) == truth).astype(int) - (after.argmax(1) == truth)).mean())
    found = dict(
        zip([name for name, _ in of_labels(before, after).names], of_labels(before, after).found[0], strict=True)
    )
    weighed, agreement = 1 - found["weighed_agreement"].value, 1 - found["agreement"].value
    assert loss - 0.02 <= weighed <= agreement


def test_metrics_of_labels_are_those_of_loops():
    random = np.random.default_rng(3)
    before, after = scores_of(random, 60), scores_of(random, 60)
    same, weighed, distance = [], [], []
    for p, q in zip(before.astype(float), after.astype(float), strict=True):
        own, new = p.argmax(), q.argmax()
        same.append(own == new)
        weighed.append(1 - (p[own] - p[new]) / (p[own] + p[new]))
        distance.append(sum(abs(a - b) for a, b in zip(p, q, strict=True)) / 2)
    found = of_labels(before, after)
    assert found.names == [("agreement", ""), ("weighed_agreement", ""), ("score_distance", "")]
    values = [one.value for one in found.found[0]]
    assert values == pytest.approx([np.mean(same), np.mean(weighed), np.mean(distance)], rel=1e-6)
    assert [one.value for one in of_labels(before, before).found[0]] == [1, 1, 0]


def test_chance_is_the_best_constant_answer():
    scores = np.array([[0.9, 0.1, 0.0]] * 7 + [[0.2, 0.2, 0.6]] * 3, np.float32)
    sampling = Sampling.draw(10, {}, 100, 0)
    assert own_answers.Labels().settle(said(scores), None, sampling).chance == 0.7
    weighed = own_answers.Labels(tuple(own_answers.Labels().metrics[place] for place in (1, 0, 2)))
    of_first = (7 + 3 * (1 - (0.6 - 0.2) / 0.8)) / 10
    assert weighed.settle(said(scores), None, sampling).chance == pytest.approx(of_first)


# The stage ---------------------------------------------------------------------------------------------------------


def run(study, **more):
    out = study.folder / "summary"
    aggregate([study.data], study.compressed, study.outcomes, {**SETTINGS, "defence_margin": 10, **more}, out)
    tables = {name: artifacts.read_table(out / f"{name}.parquet").to_pandas() for name in ("limits", "metrics", "gaps")}
    return tables, artifacts.read_meta(out / "limits.parquet"), out


def test_a_task_is_judged_by_own_answers_from_aggregate_to_report(tmp_path):
    study = Study(tmp_path / "s")
    wrong = {("original", 0.0): 0.1, ("jpeg", 10.0): 0.3, ("jpeg", 50.0): 0.1, ("jpeg", 90.0): 0.1}
    study.model(wrong)
    tables, meta, out = run(study, **OWN)
    assert set(tables["limits"]["baseline"]) == {"own"} and tables["gaps"].empty
    assert (tables["limits"][["reference", "reference_low", "reference_high"]] == 1).all(axis=None)
    primary = tables["metrics"].query("metric == 'agreement' and seed == -1").set_index("level")["value"]
    assert primary.to_dict() == pytest.approx({0: 1, 90: 1, 50: 1, 10: 0.8})  # 0.1 were wrong alike
    at_five = tables["limits"].query("delta == 5").iloc[0]
    assert (at_five["level"], at_five["stopped_at"], at_five["stopped_verdict"]) == (50, 10, "unacceptable")
    assert meta["metrics"][0]["name"] == "agreement" and "what it answers wrongly" in meta["own_answers"]
    recommendations.write([out], tmp_path / "r.md")
    text = (tmp_path / "r.md").read_text()
    assert "**Own answers.**" in text and "falls by no more points than agreement does" in text


def test_a_model_that_answers_always_the_same_gets_no_verdict(tmp_path):
    study = Study(tmp_path / "s")
    study.model(dict.fromkeys([("original", 0.0), *(("jpeg", level) for level in (10.0, 50.0, 90.0))], 0.0))
    for path in study.outcomes:
        table = artifacts.read_table(path)
        rows = [row | {"prediction": 0, "scores": [0.8, 0.1, 0.1]} for row in table.to_pylist()]
        artifacts.write_table(path, kinds.load("classification").schema, rows, artifacts.read_meta(path))
    assert set(run(study, **OWN)[0]["limits"]["verdict"]) == {"no reference"}


# Detections ---------------------------------------------------------------------------------------------------------


def test_detections_on_originals_above_the_score_are_the_objects():
    boxes = np.array([[0, 0, 9, 9], [20, 0, 29, 9], [0, 0, 9, 9]], np.float32)
    nothing = (np.empty(0, int), np.empty((0, 4), np.float32), np.empty(0, int))
    frames = Frames(np.arange(4), np.array([0, 0, 1]), boxes, np.array([0, 1, 0]), np.array([0.9, 0.6, 0.3]), *nothing)
    judge, sampling = own_answers.Boxes(0.5), Sampling.draw(4, {}, 100, 0)
    task = dataclasses.make_dataclass("Task", ["ids"])(list("abcd"))
    settled = {0: judge.settle(frames, task, sampling)}
    assert len(settled[0].kept["true_labels"]) == 2
    assert judge.measure({0: frames}, settled, task, sampling).primary.value == 1
    # Without the detection of class 1, one of two classes has an average precision of 0.
    fewer = dataclasses.replace(frames, frame=frames.frame[[0, 2]], boxes=boxes[[0, 2]], labels=np.array([0, 0]),
                                scores=np.array([0.9, 0.3], np.float32))  # fmt: skip
    assert judge.measure({0: fewer}, settled, task, sampling).primary.value == pytest.approx(0.5)
    with pytest.raises(LossyBenchError, match="set truth_score lower"):
        own_answers.Boxes(0.95).settle(frames, task, sampling)


# Texts --------------------------------------------------------------------------------------------------------------

TRUE = ["teacher  force", "Sunday", "a b c", "x", "naïve café"]
READ = ["teacherforce", "sunday!", "a c", "", "naive café"]


def measured(truths, answers):
    found = text_metrics.measure(
        kinds.load("text").metrics, {0: (truths, answers)}, Sampling.draw(len(truths), {}, 200, 0)
    )
    return {name: one.value for (name, _), one in zip(found.names, found.found[0], strict=True)}


def test_error_rates_are_those_of_torchmetrics():
    true, read = ([" ".join(text.split()) for text in texts] for texts in (TRUE, READ))
    found = measured(TRUE, READ)
    assert found["cer"] == pytest.approx(float(char_error_rate(read, true)))
    assert found["wer"] == pytest.approx(float(word_error_rate(read, true)))
    assert found["exact"] == 0 and measured(TRUE, true) == {"cer": 0, "wer": 0, "exact": 1}
    assert measured(["ab"], ["wholly else"])["cer"] > 1


def test_true_error_rates_rise_by_no_more_than_the_edits_between_answers():
    random, letters = np.random.default_rng(4), np.array(list("abc "))
    for _ in range(50):
        true, before, after = (
            ["x" + "".join(random.choice(letters, random.integers(0, 9))) for _ in range(6)] for _ in range(3)
        )
        apart = edits.counted(before, after)[:, 0].sum() / edits.counted(true, after)[:, 1].sum()
        assert measured(true, after)["cer"] - measured(true, before)["cer"] <= apart + 1e-12


def test_a_reader_that_reads_nothing_or_the_same_is_at_chance():
    assert text_metrics.chance(["abc", "abd"], 0) == pytest.approx(1 / 6)
    assert text_metrics.chance(["abc", "xyz"], 0) == pytest.approx(0.5)
    assert text_metrics.chance(["a", "bcdefgh"], 0) == pytest.approx(7 / 8)
    rows = pa.table({"answer": ["", " "]})
    texts = own_answers.Texts()
    with pytest.raises(LossyBenchError, match="no text on any original"):
        texts.settle(texts.read(Outcomes(rows, np.arange(2)), None, None), None, Sampling.draw(2, {}, 10, 0))


# Data ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    random = np.random.default_rng(5)
    for number in range(6):
        path = folder / ("below" if number > 3 else "") / f"p{number}.png"
        Image.fromarray(random.integers(0, 255, (24, 24, 3), dtype=np.uint8)).save(path)
        path.with_suffix(".txt").write_text(f"word {number}\n", "utf-8")
    return folder


@pytest.mark.parametrize("kind", ["classification", "detection", "text"])
def test_a_folder_of_pictures_needs_no_labels(pictures, tmp_path, kind):
    out = tmp_path / "data.parquet"
    fetch("image_folder", "task", out, {"path": pictures, "unlabelled": kind})
    meta = artifacts.read_meta(out)
    assert (meta["kind"], meta["classes"], meta["labelled"]) == (kind, [], False)
    rows = list(artifacts.iter_rows(out))
    assert [row["id"] for row in rows] == ["below/p4.png", "below/p5.png", *(f"p{number}.png" for number in range(4))]
    assert {row["split"] for row in rows} == {"test"}
    assert [row[name] for row in rows for name in kinds.load(kind).truth.names] == [
        {"classification": -1, "detection": [], "text": ""}[kind]
    ] * 6


def test_texts_stand_beside_files_or_in_a_table(pictures, tmp_path):
    beside = data.get("image_folder", {"path": pictures, "texts": "beside"})
    assert beside.describe(0).kind == "text" and beside.describe(0).labelled
    found = {item.id: item.truth["text"] for item in beside.items(0, [])}
    assert found == {f"{'below/' * (number > 3)}p{number}.png": f"word {number}" for number in range(6)}
    assert any(file.suffix == ".txt" for source in beside.sources() for file in source.files())
    table = tmp_path / "texts.csv"
    table.write_text('file,words,split\np0.png,"two, words",test\np1,NA,test\n')
    listed = data.get("image_folder", {"path": pictures, "texts": table, "columns": {"text": "words"}})
    assert {item.id: item.truth["text"] for item in listed.items(0, [])} == {"p0.png": "two, words", "p1.png": "NA"}
    (pictures / "p2.txt").unlink()
    with pytest.raises(LossyBenchError, match=r"p2\.txt: No such file"):
        beside.describe(0)


def test_what_is_known_of_files_is_said_once(pictures, tmp_path):
    for options, message in (
        ({"unlabelled": "text", "texts": "beside"}, "exclude each other"),
        ({"unlabelled": "pictures"}, "no kind of task 'pictures'"),
    ):
        with pytest.raises(LossyBenchError, match=message):
            data.get("image_folder", {"path": pictures, **options})
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(LossyBenchError, match="holds no image file"):
        data.describe("image_folder", {"path": empty, "unlabelled": "detection"})


def test_printed_words_are_drawn_from_the_seed_and_can_be_seen():
    words = data.get("printed_words", {"test": 12})
    first, again = (list(words.items(0, [])) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert one.truth == other.truth and np.array_equal(one.media, other.media)
        assert one.media.shape[0] == 48 and len(one.truth["text"].split()) == 2
    assert len({item.truth["text"] for item in first}) == 12
    other_seed = next(data.get("printed_words", {"test": 12}).items(1, []))
    assert other_seed.truth != first[0].truth or not np.array_equal(other_seed.media, first[0].media)
    assert words.describe(0).counts == {"test": 12}
    # Ink moves the brightness of what it lies on far beyond what the collage varies by.
    assert np.median([np.ptp(item.media.astype(int).mean(axis=2)) for item in first]) > 80
    assert _digits.CARD["prior_compression"].endswith(words.describe(0).card["prior_compression"])


# The config ---------------------------------------------------------------------------------------------------------


def task(**more):
    model = {"command": "cat", "classes": ["a", "b", "c"]}
    return config.TaskConfig.model_validate(
        {"data": {"adapter": "digits"}, "codecs": {"jpeg": [50]}, "models": {"m": model}, **more}
    )


@pytest.mark.parametrize(
    "kind, labelled, more, message",
    [
        ("classification", False, {}, "truth: the data have no labels"),
        ("detection", True, {"truth": "scores"}, "scores is not for detection; use labels or model"),
        ("classification", False, {"truth": "model", "models": {"resnet": None}}, "would be trained"),
        ("classification", True, {"truth": "model", "attack": {}}, "attack: with truth: model each model has a truth"),
    ],
)
def test_a_task_that_cannot_be_judged_so_is_refused(kind, labelled, more, message):
    about = data.Description("image", kind, [] if not labelled else list("abc"), {}, None, labelled=labelled)
    with pytest.raises(LossyBenchError, match=message):
        config.check_task("t", task(**more), about)


# Models -------------------------------------------------------------------------------------------------------------

ANSWERS = """
def read(items):
    return [{"text": item["id"][-5]} for item in items]

def same(items):
    return [{"text": "always"} for item in items]

def label(items):
    return [{"label": int(item["media"][0, 0, 0]) % 3} for item in items]

def wrong(items):
    return [{"words": "none"} for item in items]
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "answers_of_ours.py").write_text(ANSWERS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield "answers_of_ours"
    sys.modules.pop("answers_of_ours", None)


def test_models_are_taken_over_without_labels(pictures, tmp_path, module):
    from lossybench import models

    out = tmp_path / "data.parquet"
    fetch("image_folder", "task", out, {"path": pictures, "unlabelled": "text"})
    adopt(out, "task", "m", tmp_path / "m", {"function": f"{module}:read"})
    info = models.read_info(tmp_path / "m")
    assert info["sample"]["items"] == 6 and info["sample"]["chance"] == pytest.approx(1 / 6)
    with pytest.raises(LossyBenchError, match="gives the same answer to 6 of all 6 test items"):
        adopt(out, "task", "m", tmp_path / "n", {"function": f"{module}:same"})
    with pytest.raises(LossyBenchError, match=r"item below/p4\.png: answers .*which may be empty, as text"):
        adopt(out, "task", "m", tmp_path / "n", {"function": f"{module}:wrong"})
    fetch("image_folder", "task", out, {"path": pictures, "unlabelled": "classification"})
    adopt(out, "task", "m", tmp_path / "c", {"function": f"{module}:label", "classes": ["a", "b", "c"]})
    assert models.read_info(tmp_path / "c")["classes"] == ["a", "b", "c"]
    with pytest.raises(LossyBenchError, match=r"classes.*the data have no labels"):
        adopt(out, "task", "m", tmp_path / "n", {"function": f"{module}:label"})
