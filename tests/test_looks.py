"""Studies whose test split grows look by look: the error levels, what is made anew, and what users are told."""

from __future__ import annotations

import itertools
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import small_study
import yaml
from PIL import Image
from scipy.stats import multivariate_normal, norm

from lossybench import artifacts
from lossybench.analysis import looks, tables
from lossybench.conditions import REFERENCE, Condition, Model
from lossybench.data import _splits
from lossybench.data.dataset import SPLITS, lacking
from lossybench.errors import LossyBenchError
from lossybench.layout import Layout
from lossybench.results import Results
from lossybench.stages.aggregate import aggregate
from lossybench.stages.compress import compress
from lossybench.stages.evaluate import evaluate
from lossybench.stages.fetch import fetch
from lossybench.study import Study
from lossybench.tools import plan
from lossybench.tools.more import more

# Bounds of O'Brien and Fleming's type by Lan and DeMets' spending at 2 to 5 equal looks, one-sided 2.5 %, as R's
# gsDesign (sfLDOF) and ldbounds give them; ldbounds is the program of Reboussin, DeMets, Kim and Lan (2000), Controlled
# Clinical Trials 21:190.
SPENDING = {
    2: [2.963, 1.969],
    3: [3.710, 2.511, 1.993],
    4: [4.333, 2.963, 2.359, 2.014],
    5: [4.877, 3.357, 2.680, 2.290, 2.031],
}
# The constants C of Pocock's bounds C and of O'Brien and Fleming's C sqrt(K/k), two-sided 5 %: tables 2.1 and 2.3 of
# Jennison and Turnbull (2000), Group Sequential Methods.
POCOCK = {2: 2.178, 3: 2.289, 4: 2.361, 5: 2.413}
O_BRIEN_FLEMING = {2: 1.977, 3: 2.004, 4: 2.024, 5: 2.040}


@pytest.mark.parametrize("count", SPENDING)
def test_levels_are_those_of_published_tables(count):
    planned = [700 * k for k in range(1, count + 1)]
    bounds = norm.isf([looks.level(planned, k, 0.025) for k in range(1, count + 1)])
    assert bounds == pytest.approx(SPENDING[count], abs=0.0006)


def test_levels_for_five_percent_are_those_of_another_program():
    """SeqBounds.jl 0.1 for the shares 0.25, 0.5, 0.75 and 1, on a grid that gives four digits."""
    found = norm.isf([looks.level([1, 2, 3, 4], k) for k in range(1, 5)])
    assert found == pytest.approx([3.74955, 2.53993, 2.01604, 1.72014], abs=1e-4)


@pytest.mark.parametrize("count", POCOCK)
def test_classical_bounds_are_crossed_as_often_as_published(count):
    planned = range(1, count + 1)
    for bounds in ([POCOCK[count]] * count, [O_BRIEN_FLEMING[count] * math.sqrt(count / k) for k in planned]):
        # Studies that cross both of the two-sided bounds are too few to see here.
        assert sum(looks.first_beyond(planned, bounds)) == pytest.approx(0.025, abs=5e-5)


@pytest.mark.parametrize("planned", [[1000, 2000, 4000], [500, 550, 3000], [400, 1000, 1100, 4000]])
def test_all_looks_together_keep_the_level(planned):
    """Against the joint normal distribution by another method (Genz 1992)."""
    levels = [looks.level(planned, k) for k in range(1, len(planned) + 1)]
    correlation = np.sqrt(np.minimum.outer(planned, planned) / np.maximum.outer(planned, planned))
    joint = multivariate_normal(cov=correlation, abseps=1e-7, releps=1e-7, maxpts=2_000_000, seed=0)
    assert joint.cdf(norm.isf(levels)) == pytest.approx(0.95, abs=1e-5)
    assert levels == sorted(levels) and levels[-1] < 0.05


def test_a_single_look_has_the_whole_level():
    assert looks.level([250], 1) == 0.05


@pytest.mark.parametrize(("groups", "seeds"), [(0, 0.0), (100, 0.0), (0, 0.01)])
def test_looking_repeatedly_calls_a_loss_beyond_the_margin_acceptable_in_five_percent_of_studies(groups, seeds):
    """Simulated studies that lose just the margin, 2 points, and stop at the first look that says acceptable.

    groups: of items that are lost together, the same at each look, or none. seeds: how far the models scatter, which is
    the same at each look too, and which the bounds here know.
    """
    planned, margin, studies = [1000, 2000, 4000], 0.02, 20_000
    random = np.random.default_rng(0)
    shared = random.normal(0, 0.1, (studies, groups)).mean(axis=1) if groups else np.zeros(studies)
    shared += random.normal(0, seeds, studies) if seeds else 0.0
    between = (0.01 / groups if groups else 0.0) + seeds**2
    lost = np.zeros(studies)
    called = {"each at 5 %": np.zeros(studies, bool), "spending": np.zeros(studies, bool)}
    for look, (before, n) in enumerate(zip([0, *planned], planned, strict=False), start=1):
        # Of an item's paired outcomes 7 % are lost and 5 % won by the codec.
        outcomes = random.multinomial(n - before, [0.07, 0.05, 0.88], studies)
        lost += outcomes[:, 0] - outcomes[:, 1]
        loss = lost / n + shared
        deviation = math.sqrt((0.12 - margin**2) / n + between)
        for name, level in {"each at 5 %": 0.05, "spending": looks.level(planned, look)}.items():
            called[name] |= loss + norm.isf(level) * deviation < margin
    assert called["spending"].mean() <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / studies)
    assert called["each at 5 %"].mean() > (0.09 if not groups and not seeds else 0.055)


# The data: a look is the next items, whatever else is read.

GENERATED = {
    "digits": {"train": 10, "val": 10, "size": 32},
    "digit_scenes": {"train": 1, "val": 1, "size": 96},
    "spoken_words": {"train": 12, "val": 12, "sample_rate": 8000},
    "moving_digits": {"train": 9, "val": 9, "frames": 8},
    "moving_digit_scenes": {"train": 1, "val": 1, "size": 64, "frames": 2},
    "segmented_digits": {"train": 1, "val": 1},
}


def rows(path: Path, split: str = "test") -> list[dict[str, Any]]:
    return [dict(row) for row in artifacts.iter_rows(path, splits=[split])]


@pytest.mark.parametrize("adapter", GENERATED)
def test_looks_of_generated_data_are_the_start_of_a_larger_split(tmp_path, adapter):
    options = GENERATED[adapter] | {"test": 30}
    fetch(adapter, "task", tmp_path / "whole.parquet", options, seed=3)
    for look, added in enumerate([(0, 14, 30), (14, 30, 30)], start=1):
        fetch(adapter, "task", tmp_path / f"look{look}.parquet", options, seed=3, look=added)
    whole = rows(tmp_path / "whole.parquet")
    assert rows(tmp_path / "look1.parquet") == whole[:14] and rows(tmp_path / "look2.parquet") == whole[14:]
    for split in ("train", "val"):
        assert rows(tmp_path / "look1.parquet", split) == rows(tmp_path / "whole.parquet", split)
        assert rows(tmp_path / "look2.parquet", split) == []


@pytest.fixture
def pictures(tmp_path) -> Path:
    """A folder of 90 pictures of two classes by 30 cameras, of which a third is the test split."""
    for number in range(90):
        path = tmp_path / "pictures" / "ab"[number % 2] / f"camera{number // 3:02d}-{number % 3}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (16, 16), number).save(path)
    return tmp_path / "pictures"


def test_looks_of_files_take_whole_groups_in_a_drawn_order(tmp_path, pictures):
    options = {"path": str(pictures), "group": "camera[0-9]+", "fractions": {"train": 0.3, "val": 0.1, "test": 0.6}}
    fetch("image_folder", "task", tmp_path / "whole.parquet", options)
    whole = {row["id"]: row for row in rows(tmp_path / "whole.parquet")}
    bounds = [0, 20, 31, len(whole)]
    found: list[list[dict[str, Any]]] = []
    for look, (start, stop) in enumerate(itertools.pairwise(bounds), start=1):
        fetch("image_folder", "task", tmp_path / f"look{look}.parquet", options, look=(start, stop, len(whole)))
        found.append(rows(tmp_path / f"look{look}.parquet"))
        assert len(found[-1]) == stop - start
    every = [row for of_look in found for row in of_look]
    assert {row["id"]: row for row in every} == whole and len(every) == len(whole)
    cameras = [re.search("camera[0-9]+", row["id"])[0] for row in every]
    together = [camera for camera, _ in itertools.groupby(cameras)]
    assert len(together) == len(set(together)) and together != sorted(together)
    assert {row["label"] for row in found[0]} == {0, 1}


def test_too_few_items_for_the_largest_look_are_told_at_fetch(tmp_path, pictures):
    with pytest.raises(LossyBenchError, match=r"'image_folder': key 'looks' asks for 70 test items, and there are 18"):
        fetch("image_folder", "task", tmp_path / "data.parquet", {"path": str(pictures)}, look=(0, 10, 70))


def test_a_look_may_lack_classes_of_the_test_split_and_only_of_that(tmp_path):
    options = GENERATED["digits"] | {"test": 30}
    fetch("digits", "task", tmp_path / "data.parquet", options, look=(0, 4, 30))
    assert len(rows(tmp_path / "data.parquet")) == 4
    counts = {("train", 0): 1, ("train", 1): 1, ("val", 0): 1, ("test", 0): 1}
    assert lacking("classification", ["a", "b"], counts, SPLITS, looked=True) == []
    (found,) = lacking("classification", ["a", "b"], counts, SPLITS)
    assert str(found).startswith("class 'b': has no items in 'test'")
    (found,) = lacking("classification", ["a", "b", "c"], counts, SPLITS, looked=True)
    assert str(found).startswith("class 'c': has no items in 'train'")


@pytest.mark.parametrize(("groups", "cut"), [(40, 100), (200, 50), (400, 100)])
def test_the_order_of_looks_favours_no_class(groups, cut):
    """Over many seeds the first look has its share of each class, and nearer to it than in an order drawn blindly."""
    random = np.random.default_rng(0)
    of_group = random.integers(0, groups, 400)
    labels = (of_group % 4 == 0).astype(int)
    named = [str(one) for one in of_group]
    shares = [labels[_splits.in_looks(labels.tolist(), named, seed)[:cut]].mean() for seed in range(300)]
    blind = [labels[_splits.in_looks([0] * 400, named, seed)[:cut]].mean() for seed in range(300)]
    for found in (shares, blind):
        assert np.mean(found) == pytest.approx(labels.mean(), abs=3 * np.std(found) / math.sqrt(len(found)))
    assert np.std(shares) < 0.7 * np.std(blind)


# The study: what is made of a look, and what its analysis is told.

STUDY: dict[str, Any] = {
    "results": "out",
    "deltas": [2],
    "bootstrap": 100,
    "tasks": {
        "digits": {
            "data": {"adapter": "digits", "train": 600, "val": 50, "test": 130, "size": 32},
            "codecs": {"jpeg": [50]},
            "models": {"resnet": {"epochs": 4}},
            "attack": {"items": 2, "steps": 1, "adaptive_steps": 1, "attacks": {"pgd": ["8/255"]}, "tiers": ["T0"]},
            "looks": [30, 60, 120],
        }
    },
}


def changed(**task: Any) -> dict[str, Any]:
    return STUDY | {"tasks": {"digits": STUDY["tasks"]["digits"] | task}}


@pytest.mark.parametrize(
    ("planned", "message"),
    [
        ([30], r"tasks\.digits\.looks: give two or more numbers"),
        ([60, 60], r"larger than the one before by a tenth or more"),
        ([100, 105], r"larger than the one before by a tenth or more"),
        ([5, 60], r"the first at least a tenth of the last"),
        ([30, 300], r"tasks\.digits\.looks: the largest takes 300 test items, and the data have 130; make"),
        ([0, 30], r"tasks\.digits\.looks\.0: .* greater than or equal to 1"),
        (60, r"tasks\.digits\.looks: .* list"),
    ],
)
def test_looks_that_cannot_be_are_refused(planned, message):
    with pytest.raises(LossyBenchError, match=message):
        Study(changed(looks=planned))


def taken(folder: Path, look: int, planned: list[int]) -> None:
    artifacts.write_json(folder / "out/looks.json", {"digits": {"look": look, "looks": planned}})


def test_without_looks_nothing_is_different(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study, plain = Study(STUDY), Study(changed(looks=[]))
    for one in (study, plain):
        assert list(one.looks("digits")) == [1]
        assert one.all_data("digits") == [Path("out/data/digits.parquet")]
    assert plain.added("digits", 1) == []
    settings = {"deltas": [2], "defence_margin": 10, "bootstrap": 100, "seed": 0, "rate": "file"}
    assert plain.analysis_settings("digits") == settings
    assert study.all_outcomes("digits") == plain.all_outcomes("digits")
    assert plan.jobs(study) == plan.jobs(plain)


def test_further_looks_lie_beside_the_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    taken(tmp_path, 2, [30, 60, 120])
    study, at_first = Study(STUDY), Study(STUDY | {"results": "elsewhere"})
    assert study.added("digits", 1) == [0, 30, 120] and study.added("digits", 2) == [30, 60, 120]
    assert study.all_data("digits")[1] == Path("out/look2/data/digits.parquet")
    assert [str(path) for path in study.all_compressed("digits", "test", 2)] == [
        "out/look2/compressed/digits/original/0/test.parquet",
        "out/look2/compressed/digits/jpeg/50/test.parquet",
    ]
    assert {path for path in study.branch("jpeg") if "look2" in path.parts} == {
        Path("out/look2/compressed/digits/jpeg/50/test.parquet"),
        Path("out/look2/outcomes/digits/resnet/original/0/jpeg.parquet"),
        Path("out/look2/evaluated/digits/jpeg.json"),
    }
    settings = study.analysis_settings("digits")
    assert (settings["look"], settings["looks"]) == (2, [30, 60, 120])
    assert settings["alpha"] == looks.level([30, 60, 120], 2)
    jobs, before = plan.jobs(study), plan.jobs(at_first)
    assert {name: jobs[name] - before[name] for name in jobs if jobs[name] != before[name]} == {
        "fetch": 1,
        "compress_digits_jpeg_test_look2": 1,
        "compress_digits_original_test_look2": 1,
        "evaluate_digits_jpeg_look2": 1,
        "evaluate_digits_original_look2": 1,
    }
    assert "items 600/50/60 (train/val/test), look 2 of 3" in plan.describe(study, 1)
    assert sum(job.items for job in plan.costs(study)) > sum(job.items for job in plan.costs(at_first))


def test_planned_looks_stay_once_one_has_been_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    taken(tmp_path, 2, [30, 60, 120])
    for other in ([30, 60, 130], []):
        with pytest.raises(LossyBenchError, match=r"tasks\.digits\.looks: must stay \[30, 60, 120\], of which .* 2"):
            Study(changed(looks=other))
    (tmp_path / "out/looks.json").write_text('{"digits": 2}')
    with pytest.raises(LossyBenchError, match=r"looks\.json: is not as `lossybench more` writes it"):
        Study(STUDY)


# `lossybench more`: whether a look is taken, and what is said.


def summary(folder: Path, *verdicts: tuple[str, str | None], **settings: Any) -> Path:
    """A table of limits with these (verdict, stopped_verdict), one codec each, and the config beside it."""
    limits = []
    for number, (verdict, stopped) in enumerate(verdicts):
        for regime, delta in itertools.product(("original", "mixed"), (1.0, 2.0, 5.0)):
            told = (verdict, stopped) if (regime, delta) == ("original", 2.0) else ("inconclusive", "inconclusive")
            row = dict.fromkeys(tables.SCHEMAS["limits"].names) | {"arch": "net", "regime": regime, "delta": delta}
            row |= {"codec": f"codec{number}", "baseline": "own", "verdict": told[0], "stopped_verdict": told[1]}
            limits.append(row | {"stopped_at": None if told[1] is None else 50.0})
    meta = {"settings": {"deltas": [1.0, 2.0, 5.0], "look": 1, "looks": [30, 60, 120], **settings}}
    artifacts.write_table(folder / "out/summary/digits/limits.parquet", tables.SCHEMAS["limits"], limits, meta)
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY | {"deltas": [5, 1, 2]}))
    return folder / "study.yaml"


def test_more_goes_by_the_headline_rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    decided = [("acceptable", None), ("acceptable", "unacceptable"), ("no reference", None)]
    meta = {"deltas": [5.0, 1.0, 2.0]}
    assert "digits: nothing is undecided at look 1 of 3\nNo test" in more(summary(tmp_path, *decided, **meta))
    assert not Path("out/looks.json").exists()
    undecided = summary(tmp_path, *decided, ("inconclusive", "inconclusive"), ("acceptable", "inconclusive"), **meta)
    said = more(undecided)
    assert "digits: look 2 of 3, 60 test items instead of 30 (2 limits undecided: net behind codec3 50, net" in said
    assert "run the same snakemake command again" in said
    assert json.loads(Path("out/looks.json").read_text()) == {"digits": {"look": 2, "looks": [30, 60, 120]}}
    with pytest.raises(LossyBenchError, match=r"limits\.parquet: is not of the present look and config; run snakemake"):
        more(undecided)
    more(summary(tmp_path, ("inconclusive", "inconclusive"), **meta, look=2))
    said = more(summary(tmp_path, ("inconclusive", "inconclusive"), **meta, look=3))
    assert "digits: no look is left after 120 test items (1 limit undecided: net behind codec0 50)\nNo test" in said


def test_more_says_where_there_is_nothing_to_go_by(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "study.yaml"
    config.write_text(yaml.safe_dump(STUDY))
    with pytest.raises(LossyBenchError, match=r"limits\.parquet: is not there yet; run snakemake first"):
        more(config)
    config.write_text(yaml.safe_dump(changed(looks=[])))
    assert more(config).startswith("digits: has no `looks`, so its test split stays as it is\nNo test split grows")


# All of it, by Snakemake itself.


@pytest.fixture(scope="module")
def first_look(tmp_path_factory) -> Path:
    folder = small_study.project(tmp_path_factory.mktemp("looks"), STUDY)
    small_study.run(folder, "--cores", "2", "--scheduler", "greedy", "--until", "aggregate")
    return folder


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """When each artifact was written, and what it holds; logs and times are none."""
    out, apart = folder / "out", {"logs", "benchmarks"}
    files = (path for path in out.rglob("*") if not apart & set(path.relative_to(out).parts) and path.is_file())
    return {str(path.relative_to(out)): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_a_further_look_makes_what_its_items_need_and_nothing_else(first_look, tmp_path):
    before = contents(first_look)
    command = [sys.executable, "-m", "lossybench", "more", small_study.CONFIG]
    said = subprocess.run(command, cwd=first_look, capture_output=True, text=True, check=True).stdout
    assert "digits: look 2 of 3, 60 test items instead of 30 (1 limit undecided: resnet behind jpeg 50)" in said
    planned = small_study.run(first_look, "-n", "--until", "aggregate")
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", planned.split("Reasons:")[0], re.M))
    rules = [f"{rule}_look2" for rule in ("compress_digits_{}_test", "evaluate_digits_{}")]
    added = {rule.format(codec): "1" for rule in rules for codec in ("original", "jpeg")}
    assert jobs == {"fetch": "1", **added, "aggregate": "1", "total": "6"}
    small_study.run(first_look, "--cores", "2", "--scheduler", "greedy", "--until", "aggregate")
    after = contents(first_look)
    made = {name for name in after if before.get(name) != after[name]}
    assert {name for name in made if not name.startswith("summary/")} == {
        "looks.json",
        "look2/data/digits.parquet",
        *(f"look2/compressed/digits/{condition}/test.parquet" for condition in ("original/0", "jpeg/50")),
        *(f"look2/outcomes/digits/resnet/original/0/{codec}.parquet" for codec in ("original", "jpeg")),
        *(f"look2/evaluated/digits/{codec}.json" for codec in ("original", "jpeg")),
    }
    assert before.keys() <= after.keys()

    # The same models on a test split of 60 items from the start.
    root, whole = first_look / "out", Layout(tmp_path)
    data = STUDY["tasks"]["digits"]["data"]
    options = {name: value for name, value in data.items() if name != "adapter"} | {"test": 60}
    fetch("digits", "digits", whole.data("digits"), options)
    model = Model("digits", "resnet", "original", 0)
    compressed, outcomes = [], []
    for condition in (REFERENCE, Condition("jpeg", 50.0)):
        compressed.append(whole.compressed("digits", condition, "test"))
        outcomes.append(whole.outcomes(model, condition.codec))
        compress(whole.data("digits"), condition.codec, [condition.level], compressed[-1:])
        evaluate([Layout(root).model(model)], whole.data("digits"), compressed[-1:], outcomes[-1:], device="cpu")
    settings = {"deltas": [2], "defence_margin": 10, "bootstrap": 100, "seed": 0}
    aggregate([whole.data("digits")], compressed, outcomes, settings, whole.summary("digits"))
    both = Results(root), Results(tmp_path)
    for frames in ([one.items("digits") for one in both], [one.outcomes("digits") for one in both]):
        assert_equal(*(frame.sort_values([*frame.columns[:1], "id"], kind="stable") for frame in frames))
    assert_equal(*(one.conditions for one in both))
    bounds = ["low", "high", "lower", "upper", "joint"]
    assert_equal(*(one.metrics.drop(columns=bounds[:2]) for one in both))
    assert_equal(*(one.differences.drop(columns=bounds) for one in both))
    assert (both[0].metrics["n"] == 60).all()
    assert len(both[0].compressed("digits", codec="jpeg", part="test")) == 60


def assert_equal(frame: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(frame.reset_index(drop=True), other.reset_index(drop=True))
