"""The bootstrap's mAP against torchmetrics with faster-coco-eval, plain and with repeated items."""

import numpy as np
import pytest
import torch
from torchmetrics.detection import MeanAveragePrecision

from lossybench.analysis import box_metrics as detection
from lossybench.analysis.comparisons import Primary, reference
from lossybench.analysis.sampling import Sampling

Z = 1.959964  # of two-sided 95 %


def draw(items: int, resamples: int, seed: int = 0, groups: np.ndarray | None = None) -> Sampling:
    return Sampling.draw(items, {} if groups is None else {"video": groups}, resamples, seed)


def scene(items: int, frames: int, seed: int, classes: int = 3) -> detection.Frames:
    """Random true boxes, detections near them and elsewhere; some frames without either; scores without ties."""
    rng = np.random.default_rng(seed)
    found, labels, of_found, true, true_labels, of_true = [], [], [], [], [], []
    for frame in range(items * frames):
        count = rng.integers(0, 5)
        corner = rng.uniform(0, 90, (count, 2))
        boxes = np.hstack([corner, corner + rng.uniform(15, 40, (count, 2))])
        label = rng.integers(0, classes, count)
        strays = rng.integers(0, 8) * (frame % 7 > 0)
        stray = rng.uniform(0, 90, (strays, 2))
        near = np.vstack([boxes + rng.uniform(-4, 4, boxes.shape) for _ in range(2)])
        found += [near, np.hstack([stray, stray + 30])]
        labels += [label, label, rng.integers(0, classes + 1, strays)]  # one class is never true
        of_found += [frame] * (2 * count + strays)
        true.append(boxes)
        true_labels.append(label)
        of_true += [frame] * count
    scores = rng.permutation(len(of_found)).astype(np.float32) / len(of_found)
    return detection.Frames(
        np.repeat(np.arange(items), frames),
        np.array(of_found),
        np.vstack(found).astype(np.float32),
        np.concatenate(labels),
        scores,
        np.array(of_true),
        np.vstack(true).astype(np.float32),
        np.concatenate(true_labels),
    )


def repeated(frames: detection.Frames, times: np.ndarray) -> detection.Frames:
    """Each item `times` times, as a data set of its own."""
    rows = [
        frame for item in range(len(times)) for _ in range(times[item]) for frame in np.flatnonzero(frames.item == item)
    ]

    def parts(owner: np.ndarray, *arrays: np.ndarray) -> list[np.ndarray]:
        at = [np.flatnonzero(owner == row) for row in rows]
        of = np.repeat(np.arange(len(rows)), [len(each) for each in at])
        return [of, *(each[np.concatenate(at)] for each in arrays)]

    found = parts(frames.frame, frames.boxes, frames.labels, frames.scores)
    true = parts(frames.true_frame, frames.true_boxes, frames.true_labels)
    return detection.Frames(np.arange(len(rows)), *found, *true)


def coco_map(frames: detection.Frames) -> tuple[float, float]:
    """mAP@[.5:.95] and mAP@0.5 over all classes, by torchmetrics."""

    def split(values: np.ndarray, of: np.ndarray) -> tuple[torch.Tensor, ...]:
        return torch.from_numpy(values).split(np.bincount(of, minlength=len(frames.item)).tolist())

    # Its default thresholds are float32 and differ between processors in the last bit.
    metric = MeanAveragePrecision(
        backend="faster_coco_eval",
        iou_thresholds=detection.IOU_THRESHOLDS.tolist(),
        rec_thresholds=detection.RECALL_THRESHOLDS.tolist(),
    )
    metric.warn_on_many_detections = False
    found = zip(*(split(each, frames.frame) for each in (frames.boxes, frames.labels, frames.scores)), strict=True)
    truth = zip(*(split(each, frames.true_frame) for each in (frames.true_boxes, frames.true_labels)), strict=True)
    metric.update(
        [{"boxes": boxes, "labels": labels, "scores": scores} for boxes, labels, scores in found],
        [{"boxes": boxes, "labels": labels} for boxes, labels in truth],
    )
    result = metric.compute()
    return float(result["map"]), float(result["map_50"])


@pytest.mark.parametrize(("items", "frames", "seed"), [(40, 1, 0), (12, 5, 1), (120, 1, 2), (1, 1, 6)])
def test_map_equals_torchmetrics_also_on_repeated_items(items, frames, seed):
    data = scene(items, frames, seed)
    matches = detection.match(data, items)
    plain = detection.weighted(matches, 0.5, np.ones((items, 1)))[:2, 0]
    assert 0.05 < plain[0] < plain[1] <= 1
    assert plain == pytest.approx(coco_map(data), abs=1e-6)
    assert detection.plain_map50(data) == plain[1]
    times = draw(items, 3, seed).units[0].weights.astype(np.float32)
    drawn = detection.weighted(matches, 0.5, times)[:2]
    assert (detection.map50(matches, times) == drawn[1]).all()
    for r in range(3):
        assert drawn[:, r] == pytest.approx(coco_map(repeated(data, times[:, r].astype(int))), abs=1e-6)


def test_a_hundred_detections_a_frame_and_class_count_as_in_coco():
    # The only hit has the 101st score.
    boxes = np.array([[0, 0, 10, 10]] + [[50, 50, 60, 60]] * 100, np.float32)
    scores = np.linspace(0.1, 0.9, 101, dtype=np.float32)
    zero = np.zeros(101, int)
    data = detection.Frames(zero[:1], zero, boxes, zero, scores, zero[:1], boxes[:1], zero[:1])
    matches = detection.match(data, 1)
    assert not matches.hit.any()
    assert coco_map(data)[1] == 0


def test_counts_at_a_threshold():
    # Two true boxes; above the threshold one hit, one double of it, one stray of a class that is never true.
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 11], [50, 50, 60, 60], [20, 20, 30, 30]], np.float32)
    data = detection.Frames(
        np.array([0]),
        np.zeros(4, int),
        boxes,
        np.array([0, 0, 1, 0]),
        np.array([0.9, 0.8, 0.7, 0.2], np.float32),
        np.zeros(2, int),
        boxes[[0, 3]],
        np.array([0, 0]),
    )
    matches = detection.match(data, 1)
    names = detection.names(matches.classes, ["a", "b"])
    at = dict(zip(names, detection.weighted(matches, 0.5, np.ones((1, 1), np.float32))[:, 0], strict=True))
    assert [at[kind, ""] for kind in ("precision", "recall", "f1", "accuracy")] == pytest.approx(
        [1 / 3, 1 / 2, 2 / 5, 1 / 4]
    )
    assert at["precision", "a"] == pytest.approx(1 / 2)
    assert ("map", "b") not in at
    assert detection.best_threshold(matches) == pytest.approx(0.9)  # F1 there 2/3, as with all four


def test_nothing_detected():
    none = np.zeros(0, int)
    box = np.array([[0, 0, 9, 9]], np.float32)
    data = detection.Frames(np.array([0, 1]), none, box[:0], none, none.astype("f4"), np.array([1]), box, np.array([0]))
    matches = detection.match(data, 2)
    sampling = draw(2, 20)
    measured = detection.measure(matches, detection.best_threshold(matches), sampling)
    assert (measured.values == 0).all()
    assert np.isnan(measured.samples).any()  # resamples of the item without a true box alone say nothing
    for (kind, _), one in zip(
        detection.names(matches.classes, ["a"]), detection.estimates([measured], sampling), strict=True
    ):
        high = Z**2 / (1 + Z**2)  # Wilson's of none of one
        high = {"f1": 2 * high / (1 + high), "precision": 1}.get(kind, high)
        assert one.value == one.interval.low == 0 and one.interval.high == pytest.approx(high)


def test_what_items_share_widens_intervals_as_repeated_items_do():
    """Each item three times over, as groups: the intervals of the items once, but for t quantiles of 39 groups."""
    data, sampling = scene(40, 1, 0), draw(40, 1000)
    groups = np.repeat(np.arange(40), 3)
    thrice = repeated(data, np.full(40, 3))
    of_groups = draw(120, 1000, groups=groups)
    (once, *_), (grouped, *_), (lone, *_) = (
        detection.estimates([detection.measure(detection.match(one, how.n), 0.5, how)], how)
        for one, how in ((data, sampling), (thrice, of_groups), (thrice, draw(120, 1000)))
    )
    assert grouped.value == pytest.approx(once.value) and grouped.units == "video"
    assert 2 < grouped.effect < 4.5 and lone.units == ""
    for one, wanted in ((grouped, once), (lone, grouped)):
        width, of_wanted = (each.interval.high - each.interval.low for each in (one, wanted))
        assert width / of_wanted == pytest.approx(1.03 if one is grouped else 3**-0.5, rel=0.15)


def scenes(detect, items=60, rng=None):
    """Frames with two true boxes each, and the detections that `detect` makes of these boxes (2, 4)."""
    corner = rng.uniform(0, 80, (items, 2, 2))
    true = np.concatenate([corner, corner + rng.uniform(15, 40, (items, 2, 2))], axis=2).astype(np.float32)
    found = np.stack([detect(boxes) for boxes in true]).astype(np.float32)
    of, count = np.repeat(np.arange(items), 2), found.shape[1]
    scores = rng.permutation(items * count).astype(np.float32) / (items * count)
    labels = np.zeros(items * count, np.int64)
    return detection.Frames(
        *(np.arange(items), np.repeat(np.arange(items), count), found.reshape(-1, 4), labels, scores),
        *(of, true.reshape(-1, 4), np.zeros(len(of), np.int64)),
    )


def shown_above_chance(frames, items=60):
    """By how much a detector's mAP50 is shown to exceed what its detections reach on other items."""
    sampling = draw(items, 200)
    matches = detection.match(frames, items)
    measured = detection.measure(matches, 0.5, sampling)
    blind = np.array([coco_map(detection.unseen(frames, 0))[1]])
    primary = Primary((0,), measured.values[1:2], measured.primary[None], None)
    return reference(("net", "original"), primary, 0.0, 1.0, blind, sampling).above_chance


def test_a_detector_that_does_not_look_is_not_shown_to_be_above_chance():
    """With the margin of one point: boxes drawn at random, a lattice that is the same for all items, and nothing."""
    rng, runs = np.random.default_rng(0), 12

    def random(_):
        corner = rng.uniform(0, 80, (20, 2))
        return np.hstack([corner, corner + rng.uniform(15, 40, (20, 2))])

    grid = np.stack(np.meshgrid(np.arange(0, 80, 14), np.arange(0, 80, 14)), axis=-1).reshape(-1, 2)
    lattice = np.hstack([grid, grid + 28])
    by_chance = [shown_above_chance(scenes(random, rng=rng)) for _ in range(runs)]
    assert np.mean(np.array(by_chance) > 0.01) <= 0.05
    collapsed = [scenes(lambda _: lattice, rng=rng) for _ in range(runs)]
    assert np.mean([shown_above_chance(one) > 0.01 for one in collapsed]) <= 0.05
    assert np.mean([coco_map(one)[1] for one in collapsed]) > 0.01  # though it reaches more than nothing
    nothing = scenes(lambda _: np.zeros((0, 4)), rng=rng)
    assert shown_above_chance(nothing) < 0 == coco_map(detection.unseen(nothing, 0))[1]
    able = [shown_above_chance(scenes(lambda boxes: boxes + rng.normal(0, 3, (2, 4)), rng=rng)) for _ in range(5)]
    assert min(able) > 0.3


def test_detections_move_to_another_item_frame_by_frame():
    """Clips of 1, 2 and 3 frames; a detection says by its box which frame it was made in."""
    item = np.repeat([0, 1, 2], [1, 2, 3])
    box = np.zeros((6, 4), np.float32)
    box[:, 0] = np.arange(6)
    each, none = np.arange(6), np.zeros(6, np.int64)
    frames = detection.Frames(item, each, box, none, np.linspace(0, 1, 6, dtype=np.float32), each, box, none)
    moved = detection.unseen(frames, seed=3)
    came, went = moved.boxes[:, 0].astype(int), moved.frame
    first = np.array([0, 1, 3])
    assert (item[came] != item[went]).all() and (came - first[item[came]] == went - first[item[went]]).all()
    assert (np.diff(went) >= 0).all() and (moved.scores == frames.scores[came]).all()
    assert moved.true_boxes is frames.true_boxes
    # Each item has what fits of another's: frames that the other clip lacks are left out.
    pairs = dict(zip(item[came].tolist(), item[went].tolist(), strict=True))
    assert sorted(pairs) == sorted(pairs.values()) == [0, 1, 2]
    assert len(came) == sum(min(a + 1, b + 1) for a, b in pairs.items())
