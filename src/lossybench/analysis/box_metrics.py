"""mAP, precision, recall, F1 and accuracy of detection, with bootstrap samples over items (images or clips).

Matching detections to true boxes does not depend on which items a resample draws, so it is done once, and a resample
only weighs the items. All values equal COCO's on a data set in which each item is repeated as often as it was drawn.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc
from scipy.sparse import csr_matrix

from lossybench.analysis.intervals import Estimate, of_share_samples, trials_of_mean
from lossybench.analysis.sampling import Sampling, Units
from lossybench.analysis.subgroups import Compute, Group
from lossybench.enough import FEWEST_OF_CLASS
from lossybench.errors import LossyBenchError

if TYPE_CHECKING:
    from lossybench.analysis.outcomes import Outcomes

PRIMARY = "map50"
KINDS = ("map", "map50", "precision", "recall", "f1", "accuracy")

# COCO's thresholds, in float64: the last bit decides whether recall "reaches" a threshold that it equals.
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_THRESHOLDS = np.linspace(0, 1, 101)
COCO_AREAS = (32.0**2, 96.0**2)  # up to where objects are small, and medium, in square pixels
MAX_DETECTIONS = 100  # of a class in a frame, as in COCO
# So many resamples tell the standard error of a metric within 5 %. Of the primary metric all are kept, because other
# figures are made of them.
VARIANCE_RESAMPLES = 200


@dataclasses.dataclass(frozen=True)
class Frames:
    """Detections and true boxes of one model at one condition, all frames of all items one after another.

    item: int (frames,), the index of each frame's item; frames are ordered by item. frame: int (detections,), the index
    of each detection's frame. boxes: float32 (detections, 4), x0 y0 x1 y1. labels: int. scores: float32. true_frame,
    true_boxes, true_labels: the same of the true boxes.
    """

    item: np.ndarray
    frame: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    true_frame: np.ndarray
    true_boxes: np.ndarray
    true_labels: np.ndarray


def frames_of(outcomes: Outcomes) -> Frames:
    """The detections and true boxes of one model's outcomes. Raises LossyBenchError for boxes of negative size."""
    order = np.lexsort((outcomes.rows["frame"].to_numpy(), outcomes.item))
    rows, item = outcomes.rows.take(order), outcomes.item[order]

    def flat(name: str) -> np.ndarray:
        values = pc.list_flatten(rows[name]).to_numpy()
        return values.astype(np.int64 if values.dtype.kind == "i" else np.float32)  # copied: Arrow's are read-only

    def owner(name: str) -> np.ndarray:
        return np.repeat(np.arange(len(rows)), pc.list_value_length(rows[name]).to_numpy())

    found = (owner("labels"), flat("boxes").reshape(-1, 4), flat("labels"), flat("scores"))
    true = (owner("true_labels"), flat("true_boxes").reshape(-1, 4), flat("true_labels"))
    frames = Frames(item, *found, *true)
    if (frames.boxes[:, :2] > frames.boxes[:, 2:]).any():
        raise LossyBenchError("has boxes with x1 < x0 or y1 < y0; evaluate again")
    return frames


@dataclasses.dataclass(frozen=True)
class Matches:
    """Detections, ordered by class and falling score, and whether each hits a true box.

    item, label, score: (detections,). hit: bool (detections, 10), one column for each IoU threshold. classes: the
    labels that have a true box. truths: float32 (classes, items), numbers of true boxes.
    """

    item: np.ndarray
    label: np.ndarray
    score: np.ndarray
    hit: np.ndarray
    truths: np.ndarray
    classes: np.ndarray

    def by(self, unit: Units) -> Matches:
        """The same, with the items of one unit taken together as one item."""
        if not unit.factor:
            return self
        truths = np.zeros((len(self.classes), unit.count), np.float32)
        np.add.at(truths.T, unit.index, self.truths.T)
        return dataclasses.replace(self, item=unit.index[self.item], truths=truths)


def match(frames: Frames, items: int, areas: tuple[float, float] | None = None) -> Matches:
    """Match by COCO's rule: in each frame and class, detections by falling score take the free true box of highest IoU.

    items: the number of items of the task, including those without any box. areas: of the true boxes that count, in
    square pixels, both included; all when left out. Detections that take another true box at IoU 0.5 are then left out,
    as are those that take none and have another area, and the matches are those at IoU 0.5 alone.
    """
    classes = np.unique(frames.true_labels)
    span = 1 + int(max(frames.labels.max(initial=0), frames.true_labels.max(initial=0)))
    # A group is a class in a frame. In it detections are ordered by falling score, with equal scores in file order.
    group = frames.frame * span + frames.labels
    order = np.lexsort((-frames.scores, group))
    group = group[order]
    rank = np.arange(len(group)) - np.searchsorted(group, group)
    order, group, rank = (each[rank < MAX_DETECTIONS] for each in (order, group, rank))

    true_group = frames.true_frame * span + frames.true_labels
    true_order = np.argsort(true_group, kind="stable")
    found, true = _corner_and_size(frames.boxes[order]), _corner_and_size(frames.true_boxes[true_order])
    counts = _within(true, areas)
    hit, spent = _greedy(group, rank, found, true_group[true_order], true, counts)

    truths = np.zeros((len(classes), items), np.float32)
    kept = true_order[counts]
    np.add.at(truths, (np.searchsorted(classes, frames.true_labels[kept]), frames.item[frames.true_frame[kept]]), 1)
    if areas:
        stays = ~spent[:, 0] & (hit[:, 0] | _within(found, areas))
        order, hit, here = order[stays], hit[stays], truths.any(axis=1)
        classes, truths = classes[here], truths[here]
    label, score, item = frames.labels[order], frames.scores[order], frames.item[frames.frame[order]]
    by_score = np.lexsort((np.arange(len(order)), -score, label))
    return Matches(item[by_score], label[by_score], score[by_score], hit[by_score], truths, classes)


def _corner_and_size(boxes: np.ndarray) -> np.ndarray:
    # Sizes are computed in float32, as torchmetrics hands them to COCO, and all else in float64, as COCO does.
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).astype(np.float64)


def _within(boxes: np.ndarray, areas: tuple[float, float] | None) -> np.ndarray:
    """Which boxes (any, 4), each x, y, width, height, have one of these areas; all without any."""
    low, high = areas or (0.0, np.inf)
    own = np.prod(boxes[:, 2:], axis=1)
    return np.logical_and(own >= low, own <= high)


def _greedy(
    group: np.ndarray,
    rank: np.ndarray,
    boxes: np.ndarray,
    true_group: np.ndarray,
    true_boxes: np.ndarray,
    counts: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Which detections hit at which threshold, and which take a true box that does not count: bool (detections,
    thresholds) each.

    Detections are sorted by group and by their rank in it. All groups are matched side by side, rank by rank. counts:
    bool (true,), of the true boxes. One that does not is taken only where none that does is left.
    """
    hit = np.zeros((len(group), len(IOU_THRESHOLDS)), bool)
    spent = hit.copy()
    groups, true_index, true_count = np.unique(true_group, return_inverse=True, return_counts=True)
    if not len(group) or not len(groups):
        return hit, spent
    slots = np.full((len(groups), true_count.max()), -1)
    slots[true_index, np.arange(len(true_group)) - np.searchsorted(true_group, true_group)] = np.arange(len(true_group))
    free = np.repeat((slots >= 0)[:, None], len(IOU_THRESHOLDS), axis=1)

    where = np.minimum(np.searchsorted(groups, group), len(groups) - 1)
    rivals = np.flatnonzero(groups[where] == group)  # other detections have no true box of their class in their frame
    by_rank = rivals[np.argsort(rank[rivals], kind="stable")]
    bounds = np.searchsorted(rank[by_rank], np.arange(rank[rivals].max(initial=-1) + 2))
    for start, stop in pairwise(bounds):
        now = by_rank[start:stop]
        at = where[now]
        iou = _iou(boxes[now][:, None], true_boxes[slots[at]])[:, None]
        candidates = np.where(free[at], iou, -1.0)[..., ::-1]  # reversed, because COCO gives ties to the later box
        taken = candidates
        if not counts.all():
            first = counts[slots[at]][:, None, ::-1] & (candidates >= IOU_THRESHOLDS[:, None])
            taken = candidates + 2.0 * first
        best = taken.argmax(axis=-1)[..., None]
        found = np.take_along_axis(candidates, best, axis=-1)[..., 0] >= IOU_THRESHOLDS
        of_those = np.take_along_axis(counts[slots[at]][:, None, ::-1], best, axis=-1)[..., 0]
        hit[now], spent[now] = found & of_those, found & ~of_those
        best = best[..., 0]
        row, threshold = np.nonzero(found)
        free[at[row], threshold, slots.shape[1] - 1 - best[row, threshold]] = False
    return hit, spent


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (..., 4), each x, y, width, height."""
    sides = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    inter = np.prod(np.maximum(sides, 0), axis=-1)
    union = np.prod(a[..., 2:], axis=-1) + np.prod(b[..., 2:], axis=-1) - inter
    return np.divide(inter, union, out=np.zeros(np.broadcast(inter, union).shape), where=union > 0)


def best_threshold(matches: Matches) -> float:
    """The score from which on detections count so that F1 at IoU 0.5 over all classes is highest.

    matches: of one model on originals. The score is kept for all conditions, because a deployed model is not retuned to
    each level. Since it is chosen on the test items, it favours the originals slightly. inf when nothing was detected.
    """
    order = np.argsort(-matches.score, kind="stable")
    score = matches.score[order]
    hits = np.cumsum(matches.hit[order, 0])
    f1 = 2 * hits / (np.arange(1, len(score) + 1) + matches.truths.sum())
    last = np.append(score[1:] != score[:-1], True) if len(score) else np.zeros(0, bool)  # equal scores go together
    return float(score[np.argmax(np.where(last, f1, -1.0))]) if len(score) else float("inf")


def names(present: np.ndarray, classes: list[str]) -> list[tuple[str, str]]:
    """The (metric, class) of each value that `measure` returns; the class "" stands for overall.

    present: the labels that have a true box. classes: names of all classes.
    """
    return [(kind, name) for name in ("", *(classes[k] for k in present)) for kind in KINDS]


@dataclasses.dataclass(frozen=True)
class Measured:
    """All metrics of one model at one condition, in the order of `names`.

    values: (metrics,). trials: (metrics,), as `intervals.of_share_samples` takes them. samples: (metrics, units,
    resamples), of the first VARIANCE_RESAMPLES. primary: (units, resamples), of all, the samples of mAP50.
    """

    values: np.ndarray
    trials: np.ndarray
    samples: np.ndarray
    primary: np.ndarray


def measure(matches: Matches, threshold: float, sampling: Sampling) -> Measured:
    """Measure one model at one condition.

    Precision, recall, F1 and accuracy, which is TP/(TP + FP + FN), are taken at IoU 0.5 of the detections with score >=
    threshold. Overall they are of all boxes together (micro); mAP and mAP50 are means over classes.
    """
    values = weighted(matches, threshold, np.ones((sampling.n, 1)))[:, 0]
    by_unit = [(matches.by(unit), unit.weights.astype(np.float32)) for unit in sampling.units]
    few = [weighted(one, threshold, weights[:, :VARIANCE_RESAMPLES].copy()) for one, weights in by_unit]
    samples, primary = np.stack(few, axis=1), np.stack([map50(one, weights) for one, weights in by_unit])
    return Measured(values, _trials(matches, threshold, values, np.nanvar(samples[:, 0], axis=1)), samples, primary)


def _trials(matches: Matches, threshold: float, values: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """The trials (metrics,) of `Measured`: the boxes that a metric is a share of. values, variances: (metrics,)."""
    truths, accepted = matches.truths.sum(axis=1).astype(float), matches.score >= threshold
    of_class = values.reshape(-1, len(KINDS))
    trials = np.zeros(of_class.shape)
    for place, k in enumerate((None, *matches.classes)):
        kept = accepted if k is None else accepted & (matches.label == k)
        found, hits = float(kept.sum()), float(matches.hit[kept, 0].sum())
        true = truths.sum() if k is None else truths[place - 1]
        # F1 is 2J/(1 + J), where J is the accuracy: the trials that give it the variance of J, carried over.
        of_f1 = (true + found) / (2 - of_class[place, KINDS.index("f1")])
        trials[place] = (true, true, max(found, 1e-9), true, of_f1, true + found - hits)
    for at in (KINDS.index("map"), KINDS.index("map50")):
        trials[0, at], each = trials_of_mean(of_class[1:, at], truths, float(variances[at]))
        trials[1:, at] *= each
    return trials.ravel()


def estimates(measured: Sequence[Measured], sampling: Sampling) -> list[Estimate]:
    """All metrics of models that differ in their seeds, in the order of `names`."""
    values, trials, samples, primary = (
        np.stack([getattr(one, field.name) for one in measured]) for field in dataclasses.fields(Measured)
    )
    return [
        of_share_samples(
            values[:, at],
            primary if at == KINDS.index(PRIMARY) else samples[:, at],
            float(trials[:, at].mean()),
            sampling,
        )
        for at in range(values.shape[1])
    ]


def plain_map50(frames: Frames) -> float:
    """mAP50 of all items, each counted once."""
    items = int(frames.item.max()) + 1
    return float(map50(match(frames, items), np.ones((items, 1)))[0])


def unseen(frames: Frames, seed: int) -> Frames:
    """The detections of each item laid over the true boxes of another, frame by frame.

    What they reach there, they reach without having seen the item: much when all boxes lie alike, and nothing when
    nothing is found. The pairs follow from `seed`; an item that is alone keeps its own detections.
    """
    items = int(frames.item.max()) + 1
    order = np.random.default_rng([seed, items]).permutation(items)
    other = np.empty(items, int)
    other[order] = np.roll(order, 1)
    starts, lengths = np.searchsorted(frames.item, np.arange(items)), np.bincount(frames.item)
    place, to = np.arange(len(frames.item)) - starts[frames.item], other[frames.item]
    moved = np.where(place < lengths[to], starts[to] + place, -1)[frames.frame]  # -1: the other item is shorter
    kept = np.argsort(moved, kind="stable")[(moved < 0).sum() :]
    found = {name: getattr(frames, name)[kept] for name in ("boxes", "labels", "scores")}
    return dataclasses.replace(frames, frame=moved[kept], **found)


def of_some(matches: Matches) -> Compute:
    """What computes mAP50 from how often each item counts, quickly where most items count for nothing."""

    def compute(weights: np.ndarray) -> np.ndarray:
        kept = (weights.max(axis=1) > 0)[matches.item]
        few = {name: getattr(matches, name)[kept] for name in ("item", "label", "score", "hit")}
        return map50(dataclasses.replace(matches, **few), weights)

    return compute


def sizes(frames: Frames) -> dict[str, tuple[float, float]]:
    """The sizes by which objects are told apart, and the areas of each in square pixels of the item.

    They are COCO's small, medium and large where each has FEWEST_OF_CLASS true boxes or more, and else the thirds of
    the true boxes by their area; {} where these are all of one size. Areas are of boxes, where COCO has masks.
    """
    areas = np.sort(np.prod(_corner_and_size(frames.true_boxes)[:, 2:], axis=1))
    places = np.searchsorted(areas, COCO_AREAS, side="right")
    words, (low, high) = ("small", "medium", "large"), COCO_AREAS
    starts = low, high  # COCO counts objects of exactly these areas on both sides
    if np.diff(places, prepend=0, append=len(areas)).min() < FEWEST_OF_CLASS:
        words = ("smallest third", "middle third", "largest third")
        low, high = map(float, np.quantile(areas, (1 / 3, 2 / 3)))
        if not float(areas[0]) < low < high < float(areas[-1]):
            return {}
        starts = float(np.nextafter(low, np.inf)), float(np.nextafter(high, np.inf))
    said = (f"to {low:,.0f} px²", f"to {high:,.0f} px²", f"above {high:,.0f} px²")
    ends = ((0.0, low), (starts[0], high), (starts[1], np.inf))
    return {f"{word}, {about}": (a, b) for word, about, (a, b) in zip(words, said, ends, strict=True)}


def by_size(found: Sequence[Frames], sampling: Sampling) -> dict[str, Group]:
    """mAP50 of objects of each size, as COCO's by area. found: the detections of each seed."""
    groups = {}
    for name, areas in sizes(found[0]).items():
        each = [match(frames, sampling.n, areas) for frames in found]
        groups[name] = _group([of_some(matches) for matches in each], each[0].truths.sum(axis=0), sampling)
    return groups


def by_class(found: Sequence[Frames], classes: Sequence[str], sampling: Sampling) -> dict[str, Group]:
    """AP50 of each class that has a true box. found: the detections of each seed."""
    each = [match(frames, sampling.n) for frames in found]
    groups = {}
    for place, label in enumerate(each[0].classes):
        alone = []
        for matches in each:
            kept = matches.label == label
            few = {name: getattr(matches, name)[kept] for name in ("item", "label", "score", "hit")}
            few |= {"truths": matches.truths[place : place + 1], "classes": matches.classes[place : place + 1]}
            alone.append(of_some(dataclasses.replace(matches, **few)))
        groups[classes[label]] = _group(alone, each[0].truths[place], sampling)
    return groups


def _group(compute: Sequence[Compute], truths: np.ndarray, sampling: Sampling) -> Group:
    """A group of objects. compute: of each seed. truths: (items,), how many of them are in each item.

    All items are drawn, because there may be detections in any; those with an object say how sure the metric is.
    """
    items = np.flatnonzero(truths)
    drawn = {unit.factor for unit in sampling.of(items).units}
    samples = [
        np.mean([one(unit.weights[unit.index, :VARIANCE_RESAMPLES].astype(np.float32)) for one in compute], axis=0)
        for unit in sampling.units
        if unit.factor in drawn
    ]
    value = float(np.mean([one(np.ones((sampling.n, 1), np.float32))[0] for one in compute]))
    return Group(items, int(truths.sum()), value, None, np.array(samples))


def weighted(matches: Matches, threshold: float, weights: np.ndarray) -> np.ndarray:
    """All metrics, (metrics, resamples), of the detections with score >= threshold.

    weights: float (items, resamples), how often each item counts, in whole numbers.
    """
    truths = matches.truths @ weights
    thresholds = range(len(IOU_THRESHOLDS))
    precision = np.stack(
        [_average_precision(matches, k, weights, truths[i], thresholds) for i, k in enumerate(matches.classes)]
    )
    means = [_mean_defined(precision.mean(axis=1)), _mean_defined(precision[:, 0])]
    rows = [*means, *_ratios(*_counts(matches, threshold, weights), truths.sum(axis=0))]
    for i, k in enumerate(matches.classes):
        counts = _counts(matches, threshold, weights, k)
        rows += [precision[i].mean(axis=0), precision[i, 0], *_ratios(*counts, truths[i])]
    return np.stack(rows)


def map50(matches: Matches, weights: np.ndarray) -> np.ndarray:
    """mAP50, (resamples,). weights: as in `weighted`."""
    truths = matches.truths @ weights
    of_class = [_average_precision(matches, k, weights, truths[i], (0,))[0] for i, k in enumerate(matches.classes)]
    return _mean_defined(np.stack(of_class))


def _mean_defined(values: np.ndarray) -> np.ndarray:
    """The mean over classes (axis 0) without those that have no true box in the resample; NaN when none has one."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(defined, values, 0).sum(axis=0) / defined.sum(axis=0)


def _average_precision(
    matches: Matches, label: int, weights: np.ndarray, truths: np.ndarray, thresholds: Sequence[int]
) -> np.ndarray:
    """COCO's 101-point interpolated AP of the class `label`: (thresholds, resamples).

    truths: (resamples,), numbers of true boxes of the class; AP is NaN where there are none. thresholds: the places in
    IOU_THRESHOLDS that are wanted.
    """
    start, stop = np.searchsorted(matches.label, [label, label + 1])
    hit, item = matches.hit[start:stop, list(thresholds)], matches.item[start:stop]
    result = np.zeros((len(thresholds), weights.shape[1]))
    hits = np.flatnonzero(hit.any(axis=1))  # recall rises at hits alone, so no other precision is read
    if len(hits):
        # The detections are counted from hit to hit, by a sparse product that needs one addition for each.
        last = hits[-1] + 1
        parts = (np.ones(last, weights.dtype), (np.searchsorted(hits, np.arange(last)), item[:last]))
        seen = _accumulate(np.add, csr_matrix(parts, shape=(len(hits), len(weights))) @ weights)
        np.maximum(seen, 1, out=seen)
        drawn, hit = weights[item[hits]], hit[hits]
    for t in range(len(thresholds)):
        rows = np.flatnonzero(hit[:, t])
        if not len(rows):
            continue
        found = _accumulate(np.add, drawn[rows])
        envelope = _accumulate(np.maximum, (found / seen[rows])[::-1])[::-1]
        reached = _thresholds_reached(found.astype(np.float64) / np.maximum(truths, 1))
        result[t] = (envelope * np.diff(reached, axis=0, prepend=0)).sum(axis=0) / len(RECALL_THRESHOLDS)
    return np.where(truths > 0, result, np.nan)


def _accumulate(of: np.ufunc, rows: np.ndarray) -> np.ndarray:
    """As of.accumulate(rows, axis=0), but in place and several times as fast."""
    for before, row in pairwise(rows):
        of(before, row, out=row)
    return rows


def _thresholds_reached(recall: np.ndarray) -> np.ndarray:
    """How many recall thresholds are <= recall: as searchsorted(side="right"), but several times as fast."""
    guess = (recall * (len(RECALL_THRESHOLDS) - 1)).astype(np.intp)  # off by at most one, by rounding
    above = np.append(RECALL_THRESHOLDS, np.inf)
    return guess + 1 + (above[guess + 1] <= recall) - (above[guess] > recall)


def _counts(
    matches: Matches, threshold: float, weights: np.ndarray, label: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted numbers of hits and of detections (resamples,) from the threshold on, of one class or of all."""
    kept = matches.score >= threshold
    if label is not None:
        kept &= matches.label == label
    hits, found = (
        np.bincount(matches.item[which], minlength=len(weights)).astype(np.float32) @ weights
        for which in (kept & matches.hit[:, 0], kept)
    )
    return hits, found


def _ratios(hits: np.ndarray, found: np.ndarray, truths: np.ndarray) -> list[np.ndarray]:
    """Precision, recall, F1 and accuracy. Without a detection precision is 0; without a true box all are NaN."""
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(found > 0, hits / found, 0)
        recall = hits / truths
        f1 = 2 * hits / (found + truths)
        accuracy = hits / (found + truths - hits)
    return [np.where(truths > 0, each, np.nan) for each in (precision, recall, f1, accuracy)]
