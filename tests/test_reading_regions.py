"""What is read at a true region, against a loop over classes."""

import numpy as np
import pandas as pd
import torch
from torchmetrics.classification import MulticlassJaccardIndex

from lossybench.analysis.attacked_regions import mean_iou, regions
from lossybench.masks import encode
from lossybench.reading import NOTHING, read_regions


def read_slowly(found, truth):
    known = truth != 255
    result = []
    for label in sorted(set(truth[known].tolist())):
        mine, read, own = (truth == label) & known, NOTHING, 0.0
        for other in range(256):
            theirs = (found == other) & known
            iou = (mine & theirs).sum() / max((mine | theirs).sum(), 1)
            read, own = (other if iou > 0.5 else read), (iou if other == label else own)
        result.append((label, read, own))
    return result


def test_regions_are_read_by_the_rule():
    random = np.random.default_rng(0)
    for share in (0.2, 0.5, 0.8):
        truth = random.choice([0, 1, 2, 3, 255], (20, 24)).astype(np.uint8)
        other = (truth.astype(int) + 1) % 5  # another class for each, 1 beyond the last
        found = np.where(random.random(truth.shape) < share, truth, np.where(truth == 255, 0, other)).astype(np.uint8)
        labels, read, iou = read_regions(found, truth)
        assert list(zip(labels.tolist(), read.tolist(), iou.tolist(), strict=True)) == read_slowly(found, truth)
    ignored = np.full((3, 3), 255, np.uint8)
    assert [len(one) for one in read_regions(np.zeros_like(ignored), ignored)] == [0, 0, 0]


def test_regions_of_tables():
    random = np.random.default_rng(1)
    truth = [random.choice(3, (8, 9)).astype(np.uint8) for _ in range(3)]
    truth[2][truth[2] == 1] = 0  # one region less
    columns = {name: [encode(one) for one in truth] for name in ("truth", "clean", "clean_after", "before")}
    after = [np.roll(one, 1) for one in truth]
    columns["after"] = [encode((one + 1) % 3) for one in truth[:2]] + [encode(after[2])]
    table = pd.DataFrame({"id": ["a", "b", "c"], "targets": [[1, 2, 0], [1, 2, 0], []], "own": True, **columns})
    rows = regions(table)
    assert rows["id"].tolist() == [*(f"{item}#{k}" for item in "ab" for k in range(3)), "c#0", "c#2"]
    assert (rows["clean"] == rows["label"]).all() and (rows["before"] == rows["label"]).all()
    assert rows["after"].tolist()[:6] == rows["target"].tolist()[:6] == [1, 2, 0] * 2
    assert rows["target"].tolist()[6:] == [-1, -1]
    assert rows["lost"].tolist()[:6] == [1.0] * 6  # each region is read as another class
    assert mean_iou(table, "clean") == 1.0
    found = torch.from_numpy(np.stack([*((one + 1) % 3 for one in truth[:2]), after[2]])).long()
    expected = MulticlassJaccardIndex(3)(found, torch.from_numpy(np.stack(truth)).long())
    assert abs(mean_iou(table, "after") - float(expected)) < 1e-6
