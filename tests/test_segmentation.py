"""The kind of task `segmentation`: targets that move with their pictures, outcomes, and models that exist already."""

import base64
import textwrap
import warnings

import media_tables
import numpy as np
import pytest
import torch
from test_attacks_segmentation import Brightest, scene
from torchmetrics.classification import MulticlassJaccardIndex

from lossybench import artifacts, codecs, models, tasks
from lossybench.errors import LossyBenchError
from lossybench.masks import IGNORED, decode, encode, resized
from lossybench.models.inputs import Input
from lossybench.stages.adopt import adopt
from lossybench.stages.aggregate import aggregate
from lossybench.stages.compress import compress
from lossybench.stages.evaluate import evaluate
from lossybench.stages.fetch import fetch
from lossybench.stages.train import train
from lossybench.tasks import media as batches
from lossybench.tasks.segmentation import unpacked

CLASSES = list("rgb")


def info(shape=(32, 32), **more):
    settings = {"label_smoothing": 0.0}
    about = {"medium": "image", "kind": "segmentation", "classes": CLASSES, "settings": settings}
    return {**about, "input": {"shape": list(shape), "sampling_rate": 0.0}, **more}


def test_masks_move_with_their_pictures():
    """A picture whose colours tell its mask is moved; what moved in is of no class, the rest still fits."""
    task, (media, row) = tasks.get(info()), scene(1)
    (target,) = task.targets(row)
    assert unpacked(target).tolist() == decode(row["mask"]).tolist()
    for down, right, flip in ((0, 0, False), (5, -3, False), (-4, 7, True), (0, 0, True)):
        picture = batches.move(media, "image", down, right, flip)
        mask = task.shift_target(target, down, right, flip)
        known = mask != IGNORED
        assert known.sum() == (32 - abs(down)) * (32 - abs(right))
        assert (picture.argmax(axis=2)[known] == mask[known]).all()


def test_loss_is_the_cross_entropy_of_pixels_with_a_class():
    task, network = tasks.get(info()), Brightest()
    media = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    masks = np.random.default_rng(0).choice([0, 1, 2, IGNORED], (3, 32, 32)).astype(np.uint8)
    masks[2] = IGNORED
    expected = torch.nn.functional.cross_entropy(network(media), torch.from_numpy(masks).long(), ignore_index=IGNORED)
    packed = [np.frombuffer(encode(mask), np.uint8) for mask in masks]
    assert float(task.loss(network, media, packed)) == pytest.approx(float(expected), rel=1e-6)
    assert float(task.loss(network, media[2:], packed[2:])) == 0  # nothing to learn, and no NaN


def test_score_is_the_mean_iou_of_torchmetrics():
    random, task = np.random.default_rng(1), tasks.get(info())
    truth = random.choice([0, 1, 2, IGNORED], (5, 32, 32)).astype(np.uint8)
    found = random.choice(3, (5, 32, 32)).astype(np.uint8)
    metric = MulticlassJaccardIndex(3, ignore_index=IGNORED)
    expected = float(metric(torch.from_numpy(found).long(), torch.from_numpy(truth).long()))
    assert task.score(list(found), list(truth)) == pytest.approx(expected, abs=1e-6)


def test_outcomes_are_counted_at_the_items_own_size():
    task, (media, row) = tasks.get(info((16, 16))), scene(3)
    (example,) = task.examples(media, row, training=False)
    assert example.media.shape == (16, 16, 3) and unpacked(example.target).shape == (16, 16)
    assert unpacked(example.target).tolist() == resized(decode(row["mask"]), 16, 16).tolist()
    found = np.array(task.outcome(example, unpacked(example.target), row)["counts"]).reshape(3, 3)
    true = decode(row["mask"])
    assert found[:, 1].tolist() == [(true == k).sum() for k in range(3)] and found[:, 1].sum() == 32 * 32
    assert found[:, 2].tolist() == [4 * (resized(true, 16, 16) == k).sum() for k in range(3)]


@pytest.mark.parametrize("name", ["lraspp_mobilenet_v3_large", "fcn_resnet50"])
def test_torchvisions_models_by_name(name):
    torch.manual_seed(0)
    model = models.build(f"torchvision/{name}", "image", "segmentation", 3, Input((32, 32))).eval()
    with torch.inference_mode():
        assert model(torch.rand(1, 3, 32, 32)).shape == (1, 3, 32, 32)
    with pytest.raises(LossyBenchError, match="no image segmentation model 'resnet18'"):
        models.build("torchvision/resnet18", "image", "segmentation", 3, Input((32, 32)))


def test_the_compact_network_takes_any_size():
    torch.manual_seed(0)
    network = models.build("unet", "image", "segmentation", 5, Input((33, 47))).eval()
    assert 200_000 < sum(one.numel() for one in network.parameters()) < 600_000
    with torch.inference_mode():
        assert network(torch.rand(2, 3, 33, 47)).shape == (2, 5, 33, 47)


# Models that exist already -----------------------------------------------------------------------------------------

OUTPUTS = ["other", "b", "r", "g"]  # of the model, in another order than the data's


class Coarse(torch.nn.Module):
    """The brightest colour at half the size, as a dictionary."""

    def forward(self, x):
        found = torch.nn.functional.avg_pool2d(x, 2)
        return {"out": torch.cat([found[:, :1] * 0, found[:, [2, 0, 1]]], dim=1)}


@pytest.fixture(scope="module")
def task_tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("masks")
    rows = []
    for seed in range(6):
        media, truth = scene(seed)
        row = media_tables.data_row(f"i{seed}", "test", media)
        rows.append({key: row[key] for key in row if key not in ("label", "boxes")} | {"mask": truth["mask"]})
    data = media_tables.write_data(folder / "data.parquet", rows, "image", "segmentation", CLASSES)
    return data, media_tables.write_compressed(folder / "original.parquet", data, "original", 0.0, ("test",))


SERVED = """
    import base64

    import cv2
    import numpy as np

    OUTPUT = np.array([2, 3, 1])


    def rows(items):
        return [{"mask": OUTPUT[item["media"].argmax(axis=2)]} for item in items]


    def packed(items):
        masks = [OUTPUT[item["media"].argmax(axis=2)].astype(np.uint8) for item in items]
        return [{"mask": base64.b64encode(cv2.imencode(".png", mask)[1]).decode()} for mask in masks]


    def colours(items):
        return [{"mask": item["media"]} for item in items]


    def small(items):
        return [{"mask": OUTPUT[item["media"].argmax(axis=2)][:-1]} for item in items]
"""


@pytest.fixture
def served(tmp_path, monkeypatch):
    (tmp_path / "masks_served.py").write_text(textwrap.dedent(SERVED))
    monkeypatch.syspath_prepend(str(tmp_path))


def counts_of(data, model, test, tmp_path):
    evaluate([model], data, [test], [tmp_path / "o.parquet"], device="cpu")
    rows = artifacts.read_table(tmp_path / "o.parquet").to_pylist()
    return {row["id"]: np.array(row["counts"]).reshape(3, 3).tolist() for row in rows}


@pytest.mark.parametrize("which", ["rows", "packed"])
def test_a_function_answers_masks(served, task_tables, tmp_path, which):
    data, test = task_tables
    adopt(data, "toy", "own", tmp_path / "m", {"function": f"masks_served:{which}", "classes": OUTPUTS})
    for counts in counts_of(data, tmp_path / "m", test, tmp_path).values():
        assert all(hit == true == taken for hit, true, taken in counts)  # it knows the rule by which scenes are made


@pytest.mark.parametrize(
    ("which", "said"),
    [("colours", "item i.* as mask; it is the number"), ("small", "answers a mask of 32 x 31 pixels")],
)
def test_answers_that_are_no_masks(served, task_tables, tmp_path, which, said):
    data, test = task_tables
    with pytest.raises(LossyBenchError, match=said):
        adopt(data, "toy", "own", tmp_path / "m", {"function": f"masks_served:{which}", "classes": OUTPUTS})
        counts_of(data, tmp_path / "m", test, tmp_path)


@pytest.mark.parametrize("form", ["ts", "onnx"])
def test_programs_return_logits(task_tables, tmp_path, form):
    data, test = task_tables
    network, example, path = Coarse(), torch.rand(2, 3, 32, 32), tmp_path / f"net.{form}"
    if form == "ts":
        torch.jit.trace(network, example, strict=False).save(path)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            axes = {"input_names": ["x"], "dynamic_axes": {"x": {0: "n"}}, "external_data": False}
            torch.onnx.export(network, (example,), path, dynamo=False, **axes)
    adopt(data, "toy", "own", tmp_path / "m", {"checkpoint": str(path), "classes": OUTPUTS})
    found = counts_of(data, tmp_path / "m", test, tmp_path)
    for row in artifacts.iter_rows(data):
        media = codecs.get("original").decode(row["media"], tuple(row["shape"]))
        logits = network(torch.from_numpy(media).permute(2, 0, 1)[None] / 255)["out"]
        grown = torch.nn.functional.interpolate(logits, (32, 32), mode="bilinear", align_corners=False)[0]
        answer, true = grown[[2, 3, 1]].argmax(0).numpy(), decode(row["mask"])
        expected = [[((true == k) & (answer == k)).sum(), (true == k).sum(), (answer == k).sum()] for k in range(3)]
        assert np.abs(np.array(found[row["id"]]) - expected).max() <= 1  # of pixels where two outputs are equal


def test_logits_that_are_none():
    task = tasks.get(info(existing={"picked": [0, 1, 2]}))
    for wrong in (torch.zeros(2, 3), torch.zeros(2, 2, 32, 32), {}, None):
        with pytest.raises(LossyBenchError, match="a segmenter returns logits"):
            task.logits(lambda x, wrong=wrong: wrong, torch.zeros(2, 3, 32, 32))
    text = base64.b64encode(encode(np.full((4, 4), 7, np.uint8))).decode()
    assert (task.answered({"mask": text}) == 3).all()  # an output that is none of the classes


# From data to tables ------------------------------------------------------------------------------------------------


def test_from_scenes_to_limits(tmp_path):
    """Each stage by itself; what aggregation says of a condition is what torchmetrics says of the predicted masks."""
    data = tmp_path / "data.parquet"
    fetch("segmented_digits", "scenes", data, {"train": 12, "val": 4, "test": 6})
    parts, classes = {}, artifacts.read_meta(data)["classes"]
    for codec, level in (("original", 0.0), ("jpeg", 10.0)):
        parts[codec] = [tmp_path / f"{codec}-{part}.parquet" for part in ("train", "test")]
        for part, out in zip(("train", "test"), parts[codec], strict=True):
            compress(data, codec, [level], [out], part=part)
    settings = {"epochs": 1, "batch_size": 6, "device": "cpu", "flip": True}
    for out in (tmp_path / "model", tmp_path / "again"):
        train(data, [parts["original"][0]], "scenes", "unet", "original", out, settings)
    assert (tmp_path / "model" / models.WEIGHTS).read_bytes() == (tmp_path / "again" / models.WEIGHTS).read_bytes()
    outcomes = [tmp_path / f"outcomes-{codec}.parquet" for codec in parts]
    for (_, test), out in zip(parts.values(), outcomes, strict=True):
        evaluate([tmp_path / "model"], data, [test], [out], device="cpu")
    settings = {"deltas": [5], "defence_margin": 5, "bootstrap": 100, "seed": 0}
    aggregate([data], [test for _, test in parts.values()], outcomes, settings, tmp_path / "summary")

    network, about = models.load(tmp_path / "model")
    found, truth, jpeg = [], [], codecs.get("jpeg")
    masks = {row["id"]: decode(row["mask"]) for row in artifacts.iter_rows(data, splits=["test"])}
    for row in artifacts.iter_rows(parts["jpeg"][1]):
        picture = torch.from_numpy(jpeg.decode(row["payload"], (96, 96, 3)))
        with torch.inference_mode():
            found.append(network(picture.permute(2, 0, 1)[None] / 255).argmax(1)[0])
        truth.append(torch.from_numpy(masks[row["id"]]).long())
    metric = MulticlassJaccardIndex(11, average="none")(torch.stack(found), torch.stack(truth)).numpy()
    there = [k for k in range(11) if any((mask == k).any() for mask in masks.values())]
    table = artifacts.read_table(tmp_path / "summary" / "metrics.parquet").to_pandas()
    rows = table[(table["codec"] == "jpeg") & (table["seed"] == -1) & (table["metric"] == "miou")].set_index("class")
    assert rows.loc["", "value"] == pytest.approx(metric[there].mean(), abs=1e-6)
    assert rows.loc["background", "value"] == pytest.approx(metric[0], abs=1e-6)
    assert set(rows.index) == {"", *(classes[k] for k in there)}
    assert about["validation"]["own"] >= 0
    verdicts = artifacts.read_table(tmp_path / "summary" / "verdicts.parquet").to_pandas()
    assert "jpeg" in set(verdicts["codec"])
