"""Architectures: shapes, gradients, capacity to learn; saving, loading; preparing items."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch
from torch.nn import functional

from lossybench import models
from lossybench.errors import LossyBenchError
from lossybench.models import runtime
from lossybench.models.inputs import Input, common_shape, fit, prepare, spread

SHAPES = {"image": (48, 48), "audio": (8000,), "video": (8, 64, 64)}
CLASSIFIERS = [(medium, arch) for medium in SHAPES for arch in models.names(medium, "classification")]
DETECTORS = [(medium, arch) for medium in ("image", "video") for arch in models.names(medium, "detection")]


@pytest.fixture(autouse=True)
def _torch():
    runtime.start("cpu")
    torch.manual_seed(0)


def _batch(medium: str, count: int, shape: tuple[int, ...]) -> torch.Tensor:
    if medium == "audio":
        return torch.rand(count, *shape) * 2 - 1
    return torch.rand(count, *shape[:-2], 3, *shape[-2:])


def _detector(medium: str, arch: str) -> tuple[torch.nn.Module, torch.Tensor]:
    shape = (models.window(arch), 64, 64) if medium == "video" else (64, 64)
    return models.build(arch, medium, "detection", 3, Input(shape)), _batch(medium, 2, shape)


def test_two_architectures_of_each_kind():
    assert len(CLASSIFIERS) >= 6 and len(DETECTORS) >= 4
    assert all(len(models.names(medium, "classification")) >= 2 for medium in SHAPES)


@pytest.mark.parametrize(("medium", "arch"), CLASSIFIERS)
def test_classifier_shapes_gradients_and_capacity(medium, arch):
    model = models.build(arch, medium, "classification", 3, Input(SHAPES[medium], 8000.0))
    x, y = _batch(medium, 6, SHAPES[medium]).requires_grad_(), torch.arange(6) % 3
    logits = model(x)
    assert logits.shape == (6, 3)
    functional.cross_entropy(logits, y).backward()
    assert x.grad is not None and torch.isfinite(x.grad).all() and (x.grad.abs().flatten(1).sum(1) > 0).all()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(40):  # six items of noise must be learnt by heart
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x.detach()), y)
        loss.backward()
        optimizer.step()
    assert loss < 0.3
    # In evaluation an item's logits do not depend on what else is in its batch.
    model.eval()
    torch.testing.assert_close(model(x.detach())[:1], model(x.detach()[:1]), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("medium", ["image", "video"])
def test_classifiers_ignore_brightness(medium):
    """Each item is standardised inside the model: a darker and flatter copy is the same item."""
    for arch in models.names(medium, "classification"):
        model = models.build(arch, medium, "classification", 3, Input(SHAPES[medium])).eval()
        x = _batch(medium, 2, SHAPES[medium])
        torch.testing.assert_close(model(x), model(0.6 * x + 0.1), rtol=0.05, atol=0.05)


@pytest.mark.parametrize(("medium", "arch"), DETECTORS)
def test_detector_losses_gradients_and_predictions(medium, arch):
    model, x = _detector(medium, arch)
    targets = [
        {"boxes": torch.tensor([[8.0, 8.0, 30.0, 40.0]]), "labels": torch.tensor([2])},
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)},
    ]
    x.requires_grad_()
    losses = model(x, targets)
    torch.stack(list(losses.values())).sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all() and x.grad.abs().sum() > 0
    model.eval()
    with torch.inference_mode():
        found = model(x.detach())
    assert len(found) == 2
    for of_item in found:
        assert len(of_item["boxes"]) == len(of_item["labels"]) == len(of_item["scores"]) <= 30
        assert of_item["boxes"].numel() == 0 or (of_item["boxes"].min() >= 0 and of_item["boxes"].max() <= 64)


@pytest.mark.parametrize("arch", models.names("image", "detection"))
def test_detector_learns_one_scene(arch):
    model = models.build(arch, "image", "detection", 3, Input((64, 64)))
    x = torch.full((2, 3, 64, 64), 0.3)
    x[0, :, 8:32, 8:32] = 0.9
    x[1, 0, 30:56, 24:50] = 0.9
    targets = [
        {"boxes": torch.tensor([[8.0, 8.0, 32.0, 32.0]]), "labels": torch.tensor([0])},
        {"boxes": torch.tensor([[24.0, 30.0, 50.0, 56.0]]), "labels": torch.tensor([2])},
    ]
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        torch.stack(list(model(x, targets).values())).sum().backward()
        optimizer.step()
    model.eval()
    with torch.inference_mode():
        found = model(x)
    for of_item, target in zip(found, targets, strict=True):
        assert of_item["labels"][0] == target["labels"][0]  # labels count from 0
        assert (of_item["boxes"][0] - target["boxes"][0]).abs().max() < 6


def test_temporal_detector_uses_its_neighbours():
    model, x = _detector("video", "fcos_temporal")
    x.requires_grad_()
    targets = [{"boxes": torch.tensor([[8.0, 8.0, 30.0, 40.0]]), "labels": torch.tensor([1])}] * 2
    torch.stack(list(model(x, targets).values())).sum().backward()
    assert (x.grad.abs().sum(dim=(0, 2, 3, 4)) > 0).all()  # of all three frames


def test_unknown_architecture_names_the_nearest():
    with pytest.raises(LossyBenchError, match="did you mean 'resnet'"):
        models.build("resnett", "image", "classification", 2, Input((32, 32)))
    with pytest.raises(LossyBenchError, match="did you mean 'resnet18'"):
        models.build("torchvision/resnet_18", "image", "classification", 2, Input((32, 32)))
    with pytest.raises(LossyBenchError, match="no pretrained weights"):
        models.build("resnet", "image", "classification", 2, Input((32, 32)), weights="DEFAULT")


def test_torchvision_models_by_name():
    image = models.build("torchvision/resnet18", "image", "classification", 4, Input((32, 32)))
    assert image(torch.rand(2, 3, 32, 32)).shape == (2, 4)
    # torchvision's own normalisation, applied outside, must agree with the one inside.
    from torchvision.transforms.v2.functional import normalize

    x = torch.rand(1, 3, 32, 32)
    image.eval()
    torch.testing.assert_close(image(x), image.model(normalize(x, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])))


def test_torchvision_detector_counts_labels_from_zero():
    name = "torchvision/ssdlite320_mobilenet_v3_large"
    model = models.build(name, "image", "detection", 2, Input((96, 96))).eval()
    with torch.inference_mode():
        found = model(torch.rand(1, 3, 96, 96))[0]
    assert set(found["labels"].tolist()) <= {0, 1}


def _info(model: torch.nn.Module) -> dict:
    return {
        "arch": "resnet",
        "medium": "image",
        "kind": "classification",
        "classes": ["a", "b", "c"],
        "input": {"shape": [32, 32], "sampling_rate": 0.0},
        "settings": {},
    }


def test_round_trip_gives_equal_logits(tmp_path):
    model = models.build("resnet", "image", "classification", 3, Input((32, 32)))
    model(torch.rand(8, 3, 32, 32))  # moves the running statistics
    models.save(model.state_dict(), _info(model), [], tmp_path)
    loaded, info = models.load(tmp_path)
    x = torch.rand(4, 3, 32, 32)
    assert torch.equal(loaded(x), model.eval()(x)) and not loaded.training
    assert info["classes"] == ["a", "b", "c"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["history.json", "model.json", "weights.safetensors"]


def test_damaged_or_foreign_weights_are_refused(tmp_path):
    model = models.build("resnet", "image", "classification", 3, Input((32, 32)))
    models.save(model.state_dict(), _info(model), [], tmp_path)
    weights = tmp_path / models.WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-4] + b"oops")
    with pytest.raises(
        LossyBenchError, match=r"weights\.safetensors: damaged .* moved to weights\.safetensors\.damaged"
    ):
        models.load(tmp_path)
    with pytest.raises(LossyBenchError, match="missing"):
        models.load(tmp_path)
    description = tmp_path / models.INFO
    description.write_bytes(description.read_bytes()[:100])
    with pytest.raises(LossyBenchError, match=r"model\.json: damaged .* moved to model\.json\.damaged"):
        models.load(tmp_path)
    with pytest.raises(LossyBenchError, match="train the model first"):
        models.load(tmp_path)


def _prepared(medium: str, shape: tuple[int, ...], media: np.ndarray, kind: str = "classification") -> np.ndarray:
    info = json.loads(json.dumps({"medium": medium, "kind": kind, "input": {"shape": shape, "sampling_rate": 8000}}))
    return prepare(media, info)


@pytest.mark.parametrize(
    "change",
    [{"arch": None}, {"classes": 3}, {"input": {}}, {"input": {"shape": [8], "more": 1}}, {"medium": []}, {"kind": {}}],
)
def test_a_description_that_is_none_of_ours_is_damage(tmp_path, change):
    (tmp_path / "model.json").write_text(json.dumps(
        {"arch": "resnet", "medium": "image", "kind": "classification", "classes": ["a", "b"],
         "input": {"shape": [8, 8]}, "weights_sha256": "", **change}
    ))  # fmt: skip
    with pytest.raises(LossyBenchError, match=r"model\.json: damaged"):
        models.read_info(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\x02\0\0\0\0\0\0\0{}", b"\xff\xff\xff\xff\xff\xff\xff\x7f{}"])
def test_weights_that_are_no_safetensors_or_of_another_model_name_the_folder(tmp_path, content):
    model = models.build("resnet", "image", "classification", 3, Input((32, 32)))
    models.save(model.state_dict(), _info(model), [], tmp_path)
    info = json.loads((tmp_path / "model.json").read_bytes())
    (tmp_path / "weights.safetensors").write_bytes(content)
    (tmp_path / "model.json").write_text(json.dumps({**info, "weights_sha256": hashlib.sha256(content).hexdigest()}))
    with pytest.raises(LossyBenchError, match=tmp_path.name):
        models.load(tmp_path)


def test_prepare_scales_without_loss_and_keeps_what_fits():
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (20, 30, 3), np.uint8)
    ready = _prepared("image", (20, 30), image)
    assert ready.dtype == np.float32 and ready.shape == (3, 20, 30)
    assert np.array_equal(np.rint(ready * 255).astype(np.uint8), image.transpose(2, 0, 1))
    clip = random.integers(0, 256, (5, 20, 30, 3), np.uint8)
    assert np.array_equal(np.rint(_prepared("video", (5, 20, 30), clip) * 255), clip.transpose(0, 3, 1, 2))
    audio = np.array([-32768, 0, 32767], np.int16)
    assert np.array_equal(_prepared("audio", (3,), audio) * 32768, audio.astype(np.float32))


def test_fit_crops_for_classification_and_keeps_all_for_detection():
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 200  # the middle third
    assert (fit(wide, "image", Input((10, 10)), crop=True) == 200).all()
    whole = fit(wide, "image", Input((10, 30)), crop=False)
    assert (whole[:, 10:20] == 200).all() and (whole[:, :10] == 0).all()


def test_fit_spreads_frames_and_centres_audio():
    clip = np.arange(16, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    assert fit(clip, "video", Input((4, 4, 4)), crop=True)[:, 0, 0, 0].tolist() == [0, 5, 10, 15]
    assert fit(clip[:3], "video", Input((5, 4, 4)), crop=True)[:, 0, 0, 0].tolist() == [0, 1, 2, 2, 2]
    assert spread(3, 3).tolist() == [0, 1, 2]
    audio = np.arange(10, dtype=np.int16)
    assert fit(audio, "audio", Input((4,)), crop=True).tolist() == [3, 4, 5, 6]
    assert fit(audio[:3], "audio", Input((5,)), crop=True).tolist() == [0, 1, 2, 0, 0]


def test_items_of_different_sizes_ask_for_an_input_size():
    assert common_shape([[4, 6, 3], [4, 6, 3]], "image", "data") == (4, 6)
    with pytest.raises(LossyBenchError, match="input_size"):
        common_shape([[4, 6, 3], [8, 6, 3]], "image", "data")


@pytest.mark.parametrize("arch", models.names("image", "detection"))
def test_detectors_see_the_same_pixels_in_training_and_evaluation(arch):
    """torchvision skips its own resizing in training only: left to it, evaluation searched pictures of one pixel."""
    model = models.build(arch, "image", "detection", 3, Input((64, 96)))
    media = torch.rand(2, 3, 64, 96)
    seen = {mode: model.train(mode).transform(list(media))[0].tensors for mode in (True, False)}
    assert seen[False].shape == (2, 3, 64, 96)
    assert torch.equal(seen[True], seen[False])
