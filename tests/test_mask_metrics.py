"""Metrics of segmentation against torchmetrics, hand-made figures and simulation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score, MulticlassJaccardIndex

from lossybench.analysis import mask_metrics
from lossybench.analysis.sampling import Sampling

CLASSES = ["background", "nucleus", "debris"]


def counted(truth: np.ndarray, found: np.ndarray, classes: int) -> np.ndarray:
    """Numbers of hit, true and predicted pixels (items, classes, 3) of masks (items, H, W), of which 255 is ignored."""
    seen = truth != 255
    return np.array(
        [
            [[(t & f & s).sum(), (t & s).sum(), (f & s).sum()] for t, f in ((a == k, b == k) for k in range(classes))]
            for a, b, s in zip(truth, found, seen, strict=True)
        ]
    )


@pytest.fixture(scope="module")
def masks() -> tuple[np.ndarray, np.ndarray]:
    """True and predicted masks of 40 items, some pixels of which are ignored."""
    random = np.random.default_rng(3)
    truth = random.choice(3, (40, 12, 16), p=[0.7, 0.25, 0.05]).astype(np.uint8)
    found = np.where(random.random(truth.shape) < 0.8, truth, random.choice(3, truth.shape)).astype(np.uint8)
    truth[random.random(truth.shape) < 0.1] = 255
    return truth, found


def test_values_are_those_of_torchmetrics(masks: tuple[np.ndarray, np.ndarray]) -> None:
    truth, found = masks
    sampling = Sampling.draw(len(truth), {}, 50, 0)
    counts = counted(truth, found, 3)
    measured = mask_metrics.measure(counts, sampling)
    values = dict(zip(mask_metrics.names(mask_metrics.present(counts), CLASSES), measured.values, strict=True))
    how = {"num_classes": 3, "ignore_index": 255}
    tensors = torch.from_numpy(found).long(), torch.from_numpy(truth).long()
    for kind, metric in (("miou", MulticlassJaccardIndex), ("dice", MulticlassF1Score)):
        assert values[kind, ""] == pytest.approx(float(metric(**how, average="macro")(*tensors)), abs=1e-6)
        each = metric(**how, average="none")(*tensors).tolist()
        assert [values[kind, name] for name in CLASSES] == pytest.approx(each, abs=1e-6)
    assert values["accuracy", ""] == pytest.approx(float(MulticlassAccuracy(**how, average="micro")(*tensors)))
    # A resample is a data set in which each item is repeated as often as it was drawn.
    for resample in (0, 17):
        times = sampling.units[0].weights[:, resample]
        again = (torch.repeat_interleave(each, torch.from_numpy(times.astype(int)), dim=0) for each in tensors)
        expected = float(MulticlassJaccardIndex(**how)(*again))
        assert measured.primary[0, resample] == pytest.approx(expected, abs=1e-6)


def test_values_by_hand() -> None:
    truth = np.array([[[0, 0, 1, 1]], [[0, 0, 0, 255]]], np.uint8)
    found = np.array([[[0, 1, 1, 2]], [[0, 0, 0, 1]]], np.uint8)
    counts = counted(truth, found, 3)
    present = mask_metrics.present(counts)
    assert present.tolist() == [0, 1]  # no pixel is truly debris, so its mistaken pixel is none of its own
    measured = mask_metrics.measure(counts, Sampling.draw(2, {}, 20, 0))
    values = dict(zip(mask_metrics.names(present, CLASSES), measured.values, strict=True))
    assert values["miou", "background"] == 4 / 5
    assert values["miou", "nucleus"] == 1 / 3
    assert values["miou", ""] == pytest.approx((4 / 5 + 1 / 3) / 2)
    assert values["dice", "nucleus"] == pytest.approx(2 / 4)
    assert values["accuracy", ""] == 5 / 7
    assert mask_metrics.constant(counts) == pytest.approx(5 / 7 / 2)  # background everywhere, and no nucleus
    assert mask_metrics.of_item(counts) == pytest.approx([(1 / 2 + 1 / 3) / 2, 1.0])


def simulated(random: np.random.Generator, items: int) -> np.ndarray:
    """Counts of items that differ in size and difficulty, of a frequent, a usual and a rare class."""
    sizes = np.stack(
        [random.integers(600, 900, items), random.integers(50, 200, items), random.integers(20, 60, items)]
    )
    sizes[2, random.random(items) > 0.3] = 0
    right = random.beta(*np.array([[30, 8, 5], [2, 2, 2]])[:, :, None], size=(3, items))
    hit = np.round(sizes * right)
    predicted = hit + np.round(sizes * random.beta(2, 10, (3, items)))
    return np.stack([hit, sizes, predicted], axis=-1).transpose(1, 0, 2)


def test_intervals_cover() -> None:
    """Of 95 % intervals of mean IoU about as many hold the value of endless items, at 40 items and one model."""
    random = np.random.default_rng(5)
    totals = simulated(random, 200_000).sum(axis=0)
    union = totals[:, mask_metrics.TRUE] + totals[:, mask_metrics.PREDICTED] - totals[:, mask_metrics.HIT]
    truth = float((totals[:, mask_metrics.HIT] / union).mean())
    held = []
    for _ in range(400):
        sampling = Sampling.draw(40, {}, 200, int(random.integers(2**31)))
        found = mask_metrics.estimates([mask_metrics.measure(simulated(random, 40), sampling)], sampling)[0]
        held.append(found.interval.low <= truth <= found.interval.high)
    assert 0.92 <= np.mean(held) <= 0.985, np.mean(held)


def test_few_items_of_a_class_are_not_certain() -> None:
    counts = simulated(np.random.default_rng(1), 60)
    counts[0, 2], counts[1:, 2] = (
        (20, 30, 40),
        0,
    )  # the rare class is in one item, which the bootstrap takes for certain
    sampling = Sampling.draw(60, {}, 200, 0)
    found = mask_metrics.estimates([mask_metrics.measure(counts, sampling)], sampling)
    of = dict(zip(mask_metrics.names(np.arange(3), CLASSES), found, strict=True))
    width = {name: of["miou", name].interval.high - of["miou", name].interval.low for name in CLASSES}
    assert width["debris"] > 3 * width["nucleus"]
    alone = mask_metrics.measure(counts[:1], Sampling.draw(1, {}, 20, 0))
    one = mask_metrics.estimates([alone], Sampling.draw(1, {}, 20, 0))[0]
    assert one.interval.high - one.interval.low > 0.5
