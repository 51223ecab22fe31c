"""By what a loss hurts: groups, classes and sizes of objects, beside COCO's, and how often a group is wrongly named."""

import dataclasses

import numpy as np
import pytest
import torch
from benchmarks import subgroups as simulated
from scipy.stats import binom
from test_analysis_aggregate import Study, wrong
from test_analysis_detection import draw, scene
from torchmetrics.detection import MeanAveragePrecision

from lossybench.analysis import box_metrics, subgroups
from lossybench.analysis.comparisons import Primary
from lossybench.analysis.sampling import Sampling
from lossybench.metrics import ACCURACY, Metric

STUDIES = 60


@pytest.mark.parametrize(
    "kind",
    [
        simulated.Kind((12,) * 20, 0.05),
        simulated.Kind((12,) * 20, 0.8),
        simulated.Kind((60,) * 8, 0.1, speakers=24, alike=0.3),
        simulated.Kind((40,) * 6, 0.1, resamples_alone=True),
    ],
    ids=str,
)
def test_a_group_that_loses_like_all_is_seldom_named(kind):
    wrongly, _, missed = simulated.rates(kind, STUDIES)
    assert max(wrongly, missed) * STUDIES <= binom.ppf(0.9995, STUDIES, 0.05)


def test_a_group_that_loses_much_more_is_named():
    wrongly, named, _ = simulated.rates(simulated.Kind((120,) * 6, 0.05, more=0.2), 20)
    assert named == 1 and wrongly == 0


def rows_of(before, after, parts, sampling, metric=ACCURACY, by=("site",)):
    """The rows by scores (n,) of items."""
    both = []
    for scores in (before, after):
        samples = np.array([[unit.mean(scores.astype(float)) for unit in sampling.units]])
        primary = Primary.of(metric, (0,), np.array([scores.mean()]), samples, None, 1.0, scores[None])
        both.append((subgroups.of_parts(parts, primary, (), sampling), primary))
    return {row["group"]: row for row in subgroups.subgroup_rows({}, *both, by, sampling)}


def test_losses_and_their_errors_are_those_of_drawing_items_and_voices_again():
    rng = np.random.default_rng(3)
    n, voices = 1500, 30
    voice, site = np.arange(n) % voices, rng.integers(0, 3, n)
    before = np.ones(n, bool)
    after = rng.random(n) > 0.1 + 0.15 * (site == 1) + 0.2 * (voice < 5)
    parts = {"site": {f"s{place}": np.flatnonzero(site == place) for place in range(3)}}
    found = rows_of(before, after, parts, Sampling.draw(n, {"voice": voice}, 50, 0))
    lost = before.astype(float) - after
    drawn = rng.multinomial(voices, np.full(voices, 1 / voices), 4000)[:, voice]
    for place in range(3):
        row, inside = found[f"s{place}"], site == place
        assert row["support"] == inside.sum() and row["judged"]
        assert row["loss"] == pytest.approx(lost[inside].mean())
        assert row["excess"] == pytest.approx(lost[inside].mean() - lost.mean())
        assert (row["reference"], row["value"]) == pytest.approx((1, after[inside].mean()))
        means = (drawn * (lost * inside)).sum(axis=1) / (drawn * inside).sum(axis=1)
        half = (row["loss_high"] - row["loss_low"]) / 2
        assert half == pytest.approx(2.045 * means.std(), rel=0.06)  # Student's t of 29 degrees of freedom
        excess = means - (drawn * lost).sum(axis=1) / drawn.sum(axis=1)
        error = max(excess.std(), lost.std() * np.sqrt(1 / inside.sum() - 1 / n))
        assert row["excess_high"] - row["excess"] == pytest.approx(2.541 * error, rel=0.06)  # of one in three
    assert [name for name, row in found.items() if row["hurt"]] == ["s1"] and found["s1"]["excess_low"] >= 0
    p = sorted(row["p"] for row in found.values())
    assert sorted(row["p_holm"] for row in found.values())[0] == pytest.approx(3 * p[0])


def test_of_a_metric_of_which_less_is_better_the_group_with_more_of_it_is_hurt():
    n = 400
    errors = np.linspace(1, 3, n)
    site = np.arange(n) % 2
    parts = {"site": {f"s{place}": np.flatnonzero(site == place) for place in range(2)}}
    counting = Metric("mae", "mean absolute error", "less", "objects", None)
    found = rows_of(errors, errors + 2 * site, parts, Sampling.draw(n, {}, 50, 0), counting)
    assert found["s1"]["hurt"] and not found["s0"]["hurt"]
    assert found["s1"]["loss"] == pytest.approx(2) and found["s1"]["excess"] == pytest.approx(1)
    assert found["s1"]["value"] == pytest.approx(found["s1"]["reference"] + 2)


def test_small_groups_are_counted_and_not_judged(tmp_path):
    """The first voice has 4 items, all of which are lost."""
    study = Study(tmp_path, n=404)
    study.groups = lambda item: {"voice": "rare" if item < 4 else f"v{item % 3}", "item": str(item)}
    Study.__init__(study, tmp_path, n=404)
    table = study.model(wrong(jpeg10=0.01)).summary()["subgroups"]
    assert set(table["by"]) == {"class", "voice"}  # each item has its own group of the other factor
    rows = table[(table["level"] == 10) & (table["by"] == "voice")].set_index("group")
    rare = rows.loc["rare"]
    assert rare["support"] == 4 and not rare["judged"] and not rare["hurt"] and np.isnan(rare["loss"])
    assert rows["judged"].sum() == 3
    assert study.summary(by=[])["subgroups"].empty
    assert set(study.summary(by=["voice"])["subgroups"]["by"]) == {"voice"}
    with pytest.raises(subgroups.LossyBenchError, match=r"toy: `by` has 'voices', .*did you mean 'voice'"):
        study.summary(by=["voices"])


def of_size(frames):
    """mAP at IoU 0.5 by size, and of each class, by torchmetrics."""

    def split(values, of):
        return torch.from_numpy(values).split(np.bincount(of, minlength=len(frames.item)).tolist())

    recalls = box_metrics.RECALL_THRESHOLDS.tolist()  # the default ones are float32
    metric = MeanAveragePrecision(
        backend="faster_coco_eval", iou_thresholds=[0.5], rec_thresholds=recalls, class_metrics=True
    )
    metric.warn_on_many_detections = False
    found = zip(*(split(each, frames.frame) for each in (frames.boxes, frames.labels, frames.scores)), strict=True)
    truth = zip(*(split(each, frames.true_frame) for each in (frames.true_boxes, frames.true_labels)), strict=True)
    metric.update(
        [{"boxes": boxes, "labels": labels, "scores": scores} for boxes, labels, scores in found],
        [{"boxes": boxes, "labels": labels} for boxes, labels in truth],
    )
    return metric.compute()


@pytest.mark.parametrize(("items", "frames", "seed"), [(60, 1, 0), (15, 4, 1)])
def test_precision_by_size_and_class_is_coco_s(items, frames, seed):
    data = scene(items, frames, seed)
    rng = np.random.default_rng(seed)

    def scaled(boxes, factor):
        return np.hstack([boxes[:, :2], boxes[:, :2] + factor[:, None] * (boxes[:, 2:] - boxes[:, :2])])

    # Of all three sizes, with detections that are of another size than the object they lie on.
    true = rng.choice([0.6, 1.6, 4.5], len(data.true_boxes))
    nearest = np.abs(data.boxes[:, None, :2] - data.true_boxes[None, :, :2]).sum(axis=2)
    nearest[data.frame[:, None] != data.true_frame[None]] = np.inf
    close = nearest.argmin(axis=1)
    found = np.where(np.isfinite(nearest.min(axis=1)), true[close], 1.0) * rng.uniform(0.75, 1.3, len(data.boxes))
    data = dataclasses.replace(
        data,
        boxes=scaled(data.boxes, found).astype(np.float32),
        true_boxes=scaled(data.true_boxes, true).astype(np.float32),
    )
    sampling = draw(items, 100, seed)
    groups, expected = box_metrics.by_size([data], sampling), of_size(data)
    assert [name.split(",")[0] for name in groups] == ["small", "medium", "large"]
    for name, group in groups.items():
        assert group.value == pytest.approx(float(expected[f"map_{name.split(',')[0]}"]), abs=1e-6), name
        assert 0.02 < group.value < 1 and group.samples.shape == (1, 100)
    assert sum(group.support for group in groups.values()) == len(data.true_boxes)
    classes = box_metrics.by_class([data], ["a", "b", "c"], sampling)
    of_class = [value for value in expected["map_per_class"].tolist() if value >= 0]  # -1: detected, and never there
    assert [group.value for group in classes.values()] == pytest.approx(of_class, abs=1e-6)
    weights = sampling.units[0].weights[:, :1].astype(np.float32)
    whole = box_metrics.map50(box_metrics.match(data, items), weights)
    assert np.mean([group.samples[0, 0] for group in classes.values()]) == pytest.approx(whole[0], abs=1e-6)


def test_where_coco_s_sizes_are_empty_objects_are_told_apart_by_thirds():
    data = scene(80, 1, 2)  # no object has 96² px
    names = list(box_metrics.sizes(data))
    assert [name.split(",")[0] for name in names] == ["smallest third", "middle third", "largest third"]
    areas = np.prod(data.true_boxes[:, 2:] - data.true_boxes[:, :2], axis=1)
    low, high = np.quantile(areas, (1 / 3, 2 / 3))
    assert f"to {low:,.0f} px²" in names[0] and f"above {high:,.0f} px²" in names[2]
    counts = [group.support for group in box_metrics.by_size([data], draw(80, 20)).values()]
    assert max(counts) - min(counts) <= 1 and sum(counts) == len(areas)
    alike = np.tile(np.float32([0, 0, 20, 20]), (len(areas), 1))
    assert box_metrics.sizes(dataclasses.replace(data, true_boxes=alike)) == {}


def test_in_detection_factors_tell_items_apart_by_the_precision_in_them(tmp_path):
    """The lost objects are those of the first items, which are of all voices alike."""
    study = Study(tmp_path, n=300, kind="detection", voices=3).model(wrong(jpeg10=0.3))
    table = study.summary()["subgroups"]
    assert set(table["by"]) == {"class", "voice"}  # all boxes are of one size
    rows = table[(table["level"] == 10) & (table["by"] == "voice")]
    assert rows["judged"].all() and not rows["hurt"].any() and rows["loss"].between(0.2, 0.3).all()
    assert not table[table["by"] == "class"]["judged"].any()  # there is one class alone, which is the average
