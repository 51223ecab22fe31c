"""Metrics of segmentation against torchmetrics, hand-made figures and simulation."""

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score, MulticlassJaccardIndex

from lossybench.analysis import mask_metrics
from lossybench.analysis.mask_metrics import Counts
from lossybench.analysis.measured import ALL_SEEDS
from lossybench.analysis.sampling import Sampling
from lossybench.tasks.segmentation import Segmentation, counted

CLASSES = ["background", "nucleus", "debris"]


def counts_of(truth, found, classes=3):
    return np.array([counted(*pair, classes) for pair in zip(found, truth, strict=True)])


@pytest.fixture(scope="module")
def masks():
    """True and predicted masks of 40 items; some pixels are ignored, and some taken for none of the classes."""
    random = np.random.default_rng(3)
    truth = random.choice(3, (40, 12, 16), p=[0.7, 0.25, 0.05]).astype(np.uint8)
    found = np.where(random.random(truth.shape) < 0.8, truth, random.choice(4, truth.shape)).astype(np.uint8)
    truth[random.random(truth.shape) < 0.1] = 255
    return truth, found


def test_values_are_those_of_torchmetrics(masks):
    truth, found = masks
    sampling = Sampling.draw(len(truth), {}, 50, 0)
    of = Counts(counts_of(truth, found), CLASSES)
    weights = np.concatenate([np.ones((40, 1)), sampling.units[0].weights[:, [0, 17]]], axis=1)
    values = of.weighed(weights)
    how = {"num_classes": 4, "ignore_index": 255}  # the fourth is none of the classes, and no item truly has it
    for column, times in enumerate(weights.T.astype(int)):
        # A resample is a data set in which each item is repeated as often as it was drawn.
        tensors = [torch.from_numpy(each.repeat(times, axis=0)).long() for each in (found, truth)]
        for kind, metric in (("miou", MulticlassJaccardIndex), ("dice", MulticlassF1Score)):
            each = metric(**how, average="none")(*tensors).tolist()[:3]
            assert [values[kind, name][column] for name in CLASSES] == pytest.approx(each, abs=1e-6)
            assert values[kind, ""][column] == pytest.approx(np.mean(each), abs=1e-6)
        right = MulticlassAccuracy(**how, average="micro")(*tensors)
        assert values["pixel_accuracy", ""][column] == pytest.approx(float(right))


def test_values_by_hand():
    truth = np.array([[[0, 0, 1, 1]], [[0, 0, 0, 255]]], np.uint8)
    found = np.array([[[0, 1, 1, 2]], [[0, 0, 0, 1]]], np.uint8)
    of = Counts(counts_of(truth, found), CLASSES)
    assert of.present.tolist() == [0, 1]  # no pixel is truly debris, so its mistaken pixel is none of its own
    values = {name: value[0] for name, value in of.weighed(np.ones((2, 1))).items()}
    assert values["miou", "background"] == 4 / 5
    assert values["miou", "nucleus"] == 1 / 3
    assert values["miou", ""] == pytest.approx((4 / 5 + 1 / 3) / 2)
    assert values["dice", "nucleus"] == pytest.approx(2 / 4)
    assert values["pixel_accuracy", ""] == 5 / 7
    assert mask_metrics.constant(of.counts) == pytest.approx(5 / 7 / 2)  # background everywhere, and no nucleus
    assert mask_metrics.of_item(of.counts) == pytest.approx([(1 / 2 + 1 / 3) / 2, 1.0])


def simulated(random, items):
    """Counts of items that differ in size and difficulty, of a frequent, a usual and a rare class."""
    sizes = np.stack([random.integers(*ends, items) for ends in ((600, 900), (50, 200), (20, 60))])
    sizes[2, random.random(items) > 0.3] = 0
    right = random.beta(*np.array([[30, 8, 5], [2, 2, 2]])[:, :, None], size=(3, items))
    hit = np.round(sizes * right)
    taken = hit + np.round(sizes * random.beta(2, 10, (3, items)))
    return np.stack([hit, sizes, taken], axis=-1).transpose(1, 0, 2).astype(np.int64)


def measured(counts, sampling):
    return Segmentation.measure({0: counts}, {}, _Task, sampling)


class _Task:
    classes = CLASSES


def test_intervals_cover():
    """Of 95 % intervals of mean IoU about as many hold the value of endless items, at 40 items and one model."""
    random = np.random.default_rng(5)
    hit, true, taken = simulated(random, 200_000).sum(axis=0).T
    truth, held = float((hit / (true + taken - hit)).mean()), []
    for _ in range(200):
        found = measured(simulated(random, 40), Sampling.draw(40, {}, 150, int(random.integers(2**31))))
        interval = found.found[ALL_SEEDS][found.names.index(("miou", ""))].interval
        held.append(interval.low <= truth <= interval.high)
    assert 0.91 <= np.mean(held) <= 0.99, np.mean(held)


def test_few_items_of_a_class_are_not_certain():
    counts = simulated(np.random.default_rng(1), 60)
    counts[0, 2], counts[1:, 2] = (
        (20, 30, 40),
        0,
    )  # the rare class is in one item, which the bootstrap takes for certain
    found = measured(counts, Sampling.draw(60, {}, 200, 0))
    assert found.support == {"": 60, "background": 60, "nucleus": 60, "debris": 1}
    widths = {
        name: one.interval.high - one.interval.low
        for name, one in zip(found.names, found.found[ALL_SEEDS], strict=True)
    }
    assert widths["miou", "debris"] > 3 * widths["miou", "nucleus"]
    alone = measured(counts[:1], Sampling.draw(1, {}, 20, 0)).found[ALL_SEEDS][0].interval
    assert alone.high - alone.low > 0.5


def test_classes_apart_are_those_of_the_metrics(masks):
    truth, found = masks
    sampling = Sampling.draw(len(truth), {}, 30, 0)
    counts = counts_of(truth, found)
    counts[1:, 2] = 0  # one item has debris
    apart = Segmentation.apart({0: counts, 1: counts}, ["class"], _Task, sampling)["class"]
    of = Counts(counts, CLASSES)
    values, samples = of.weighed(np.ones((40, 1))), of.weighed(sampling.units[0].weights)
    assert apart["debris"].items.tolist() == [0] and apart["debris"].support == 1
    for name in CLASSES:
        assert apart[name].value == pytest.approx(values["miou", name][0])
        assert apart[name].samples[0] == pytest.approx(samples["miou", name], nan_ok=True)
    assert np.isnan(apart["debris"].samples).any()  # drawn by no resample, it has no IoU
