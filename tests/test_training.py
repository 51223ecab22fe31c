"""Training: repeatable, resumable, honest about its minimum; mixed draws."""

from __future__ import annotations

import functools
import itertools
import json
import os
import random
import signal

import media_tables
import numpy as np
import pytest
import torch

from lossybench import artifacts, models, tasks, training
from lossybench.errors import LossyBenchError
from lossybench.models.inputs import Input
from lossybench.stages.train import train
from lossybench.tasks import training_settings as training_settings
from lossybench.tasks.training_settings import Adversary

SETTINGS = {"epochs": 3, "batch_size": 8, "shift": 0.0, "device": "cpu"}
FILES = (models.WEIGHTS, models.INFO, models.HISTORY)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Data table, original train part, and a JPEG train part."""
    folder = tmp_path_factory.mktemp("toy")
    data, original, _ = media_tables.image_task(folder)
    jpeg = media_tables.write_compressed(folder / "jpeg-train.parquet", data, "jpeg", 20, ("train", "val"))
    return data, original, jpeg


def _train(toy, out, sources, regime="original", seed=0, **settings):
    train(toy[0], sources, "toy", "resnet", regime, out, {**SETTINGS, **settings}, seed)
    return {name: (out / name).read_bytes() for name in FILES}


def test_same_seed_same_bytes_other_seed_other_weights(toy, tmp_path):
    first = _train(toy, tmp_path / "a", [toy[1]])
    assert first == _train(toy, tmp_path / "b", [toy[1]])
    assert first[models.WEIGHTS] != _train(toy, tmp_path / "c", [toy[1]], seed=1)[models.WEIGHTS]
    info = json.loads(first[models.INFO])
    assert info["validation"]["original"] == info["validation"]["own"] > 0.9
    assert not (tmp_path / "a" / training.CHECKPOINT).exists()


def _terminated(toy, out, patch, pause, *arguments, sent=signal.SIGTERM, **settings):
    """A run that the signal reaches before its pause of this number: after a step, or a batch of validation."""
    pauses, pause_of = itertools.count(1), training.Run._pause

    def interrupted(run):
        if next(pauses) == pause:
            os.kill(os.getpid(), sent)
        pause_of(run)

    with patch.context() as patched, pytest.raises(SystemExit) as ended:
        patched.setattr(training.Run, "_pause", interrupted)
        _train(toy, out, *arguments, **settings)
    assert ended.value.code == 128 + sent
    assert {path.name for path in out.iterdir()} == {training.CHECKPOINT}


# 48 items in batches of 8 are 6 steps; the 7th pause is in validation, after which the 8th is in the next epoch.
@pytest.mark.parametrize(
    ("regime", "pause"),
    [("original", pause) for pause in (*random.Random(0).sample(range(1, 21), 3), 7)]
    + [("mixed", 11), ("adversarial", 14), ("adversarial", 17)],
)
def test_a_run_ended_by_a_signal_goes_on_to_the_same_bytes(toy, tmp_path, monkeypatch, regime, pause):
    sources = [toy[1], toy[2]] if regime == "mixed" else [toy[1]]
    settings = {"adversarial": {"epsilon": 0.1, "steps": 2}} if regime == "adversarial" else {}
    whole = _train(toy, tmp_path / "whole", sources, regime, **settings)
    _terminated(toy, tmp_path / "cut", monkeypatch, pause, sources, regime, **settings)
    losses = _counted_losses(monkeypatch)
    assert _train(toy, tmp_path / "cut", sources, regime, **settings) == whole
    # In adversarial training the loss is asked for twice more a step, and each time that it validates.
    if regime != "adversarial":
        assert len(losses) == 18 - 6 * (pause // 7) - min(pause % 7, 6)
    assert {path.name for path in (tmp_path / "cut").iterdir()} == set(FILES)


def _counted_losses(monkeypatch):
    from lossybench.tasks.classification import Classification

    losses, loss_of = [], Classification.loss

    def counted(task, *arguments):
        losses.append(0)
        return loss_of(task, *arguments)

    monkeypatch.setattr(Classification, "loss", counted)
    return losses


def test_ended_in_every_step_it_still_ends_with_the_same_bytes(toy, tmp_path, monkeypatch):
    """With dropout and batch norm, and from checkpoints of runs that began with one."""
    settings = {"epochs": 1}
    monkeypatch.setattr(training.models, "build", functools.partial(_with_dropout, models.build))
    whole = _train(toy, tmp_path / "whole", [toy[1]], **settings)
    for _ in range(6):
        _terminated(toy, tmp_path / "cut", monkeypatch, 1, [toy[1]], sent=signal.SIGINT, **settings)
    assert _train(toy, tmp_path / "cut", [toy[1]], **settings) == whole


def _with_dropout(build, *arguments):
    model = build(*arguments)
    model.register_forward_pre_hook(
        lambda module, inputs: (torch.nn.functional.dropout(inputs[0], 0.1, module.training), *inputs[1:])
    )
    return model


@pytest.mark.parametrize("change", ["settings", "data", "code"])
def test_checkpoint_of_another_run_is_not_used(toy, tmp_path, monkeypatch, change, capsys):
    whole = _train(toy, tmp_path / "whole", [toy[1]])
    with monkeypatch.context() as patch:
        if change == "code":
            patch.setattr(training, "source_digest", lambda *_: "another")
        settings = {"learning_rate": 1e-3} if change == "settings" else {}
        _terminated(toy, tmp_path / "cut", patch, 8, [toy[2 if change == "data" else 1]], **settings)
    assert _train(toy, tmp_path / "cut", [toy[1]]) == whole
    assert "of another run" in capsys.readouterr().err


def test_a_damaged_checkpoint_is_not_used(toy, tmp_path, monkeypatch, capsys):
    whole = _train(toy, tmp_path / "whole", [toy[1]])
    for damage in ("cut", "flipped"):
        out = tmp_path / damage
        _terminated(toy, out, monkeypatch, 8, [toy[1]])
        content = bytearray((out / training.CHECKPOINT).read_bytes())
        if damage == "flipped":
            content[len(content) // 2] ^= 0x10
        (out / training.CHECKPOINT).write_bytes(content[: len(content) // 2] if damage == "cut" else content)
        assert _train(toy, out, [toy[1]]) == whole
        assert "damaged" in capsys.readouterr().err


def test_checkpoints_are_saved_at_intervals(toy, tmp_path, monkeypatch):
    """What a run that is killed without notice goes on from."""
    whole = _train(toy, tmp_path / "whole", [toy[1]])
    steps, epoch_of = [], training.Run.epoch

    def killed(run, epoch):
        if epoch == 3:
            raise MemoryError
        return epoch_of(run, epoch)

    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(training, "INTERVAL", 0.0)
        patch.setattr(training.Run, "epoch", killed)
        _train(toy, tmp_path / "cut", [toy[1]])
    monkeypatch.setattr(
        training.Run, "epoch", lambda run, epoch: steps.append((epoch, run.step)) or epoch_of(run, epoch)
    )
    assert _train(toy, tmp_path / "cut", [toy[1]]) == whole
    assert steps == [(2, 6), (3, 0)]  # of the second epoch only the validation


def test_threads_change_no_byte(toy, tmp_path):
    sources, settings = [toy[1], toy[2]], {**SETTINGS, "shift": 0.1, "flip": True}
    for threads in (1, 2, 5):
        train(toy[0], sources, "toy", "resnet", "mixed", tmp_path / str(threads), settings, 0, threads=threads)
    one, two, five = ([(tmp_path / n / name).read_bytes() for name in FILES] for n in "125")
    assert one == two == five


@pytest.mark.parametrize(
    ("medium", "arch", "shape", "range_"),
    [
        ("image", "resnet", (32, 32), (0.0, 1.0)),
        ("audio", "logmel_cnn", (8000,), (-1.0, 32767 / 32768)),
        ("video", "frame_tcn", (4, 32, 32), (0.0, 1.0)),
    ],
)
def test_perturbed_batches_stay_in_bounds_and_are_worse_than_noise(medium, arch, shape, range_):
    torch.manual_seed(0)
    input = Input(shape, 8000.0 if medium == "audio" else 0.0)
    model = models.build(arch, medium, "classification", 3, input).train()
    info = {"medium": medium, "classes": ["a", "b", "c"], "settings": {"label_smoothing": 0.0}}
    task = tasks.get(
        {**info, "kind": "classification", "input": {"shape": shape, "sampling_rate": input.sampling_rate}}
    )
    frame = {"image": (3, *shape), "audio": shape, "video": (4, 3, *shape[1:])}[medium]
    batch = torch.empty(12, *frame).uniform_(*range_)
    batch.view(12, -1)[:, :50] = range_[0]
    batch.view(12, -1)[:, 50:100] = range_[1]
    targets, clean = [0, 1, 2] * 4, batch.clone()
    before = {name: value.clone() for name, value in model.state_dict().items()}

    epsilon = 8 / 255
    found = training.perturb(task, model, batch, targets, Adversary(epsilon=epsilon, steps=5), np.random.default_rng(0))
    assert found.shape == batch.shape and torch.equal(batch, clean)
    assert 0.9 * epsilon < float((found - batch).abs().max()) <= epsilon + 1e-6
    assert range_[0] <= float(found.min()) and float(found.max()) <= range_[1]
    # Nothing of it stays in the model.
    assert model.training and all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

    model.eval()
    noises = [epsilon * torch.randn_like(batch).sign() for _ in range(5)]
    with torch.inference_mode():
        plain = float(task.loss(model, batch, targets))
        noisy = max(float(task.loss(model, (batch + noise).clamp(*range_), targets)) for noise in noises)
        attacked = float(task.loss(model, found, targets))
    assert attacked - plain > 3 * abs(noisy - plain)


def _robust_accuracy(folder, epsilon, steps=20):
    """Accuracy on new bright halves under PGD as textbooks have it."""
    model, _ = models.load(folder)
    items = media_tables.bright_halves(60, seed=9)
    clean = torch.from_numpy(np.stack([image for image, _ in items])).permute(0, 3, 1, 2) / 255
    labels = torch.tensor([label for _, label in items])
    torch.manual_seed(1)
    found = (clean + epsilon * (2 * torch.rand(clean.shape) - 1)).clamp(0, 1)
    for _ in range(steps):
        found = found.detach().requires_grad_()
        torch.nn.functional.cross_entropy(model(found), labels).backward()
        stepped = found + 2.5 * epsilon / steps * found.grad.sign()
        found = torch.min(torch.max(stepped, clean - epsilon), clean + epsilon).clamp(0, 1)
    return float((model(found).argmax(1) == labels).float().mean())


def test_adversarial_training_makes_robust_what_other_training_does_not(toy, tmp_path):
    epsilon, adversary = 0.1, {"epsilon": 0.1, "steps": 3}
    _train(toy, tmp_path / "plain", [toy[1]], epochs=6)
    _train(toy, tmp_path / "robust", [toy[1]], "adversarial", epochs=6, adversarial=adversary)
    assert models.read_info(tmp_path / "robust")["validation"]["original"] > 0.9
    assert _robust_accuracy(tmp_path / "plain", epsilon) < 0.3
    assert _robust_accuracy(tmp_path / "robust", epsilon) > 0.8


def test_the_epoch_kept_is_the_best_under_attack(toy, tmp_path):
    # So large an epsilon that the halves cannot be told apart: right when clean, wrong when attacked.
    adversary = {"epsilon": 0.3, "steps": 3}
    _train(toy, tmp_path, [toy[1]], "adversarial", adversarial=adversary)
    history = json.loads((tmp_path / models.HISTORY).read_text())
    assert [set(entry) for entry in history] == [{"epoch", "loss", "val_accuracy"}] * 3
    validation = models.read_info(tmp_path)["validation"]
    assert validation["own"] == max(entry["val_accuracy"] for entry in history) < validation["original"]


def test_detectors_and_half_told_adversaries_are_refused():
    whole = {"adversarial": {"epsilon": 0.1, "steps": 3}}
    assert training_settings.read(whole, "video", "classification").adversarial == Adversary(epsilon=0.1, steps=3)
    with pytest.raises(LossyBenchError, match="image detection is not trained adversarially, only classification"):
        training_settings.read(whole, "image", "detection")
    with pytest.raises(LossyBenchError, match=r"'adversarial\.epsilon' is missing: L-infinity bound"):
        training_settings.read({"adversarial": {"steps": 3}}, "image", "classification")
    with pytest.raises(LossyBenchError, match=r"did you mean 'adversarial\.epsilon'"):
        training_settings.read({"adversarial": {"epsilom": 0.1, "steps": 3, "epsilon": 1}}, "image", "classification")


def test_below_the_minimum_nothing_is_published(toy, tmp_path):
    with pytest.raises(LossyBenchError, match=r"accuracy of 0\.\d+ .*minimum of 0\.999.*epochs: 1") as error:
        _train(toy, tmp_path, [toy[1]], epochs=1, learning_rate=1e-9, minimum=0.999)
    assert "lower `minimum`" in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_minimum_is_not_asked_of_a_matched_model(toy, tmp_path):
    _train(toy, tmp_path, [toy[2]], "matched_jpeg_20", epochs=1, learning_rate=1e-9, minimum=0.999)
    assert models.read_info(tmp_path)["validation"]["original"] is None


@pytest.mark.parametrize(("items", "sources", "draws"), [(100, 5, 2), (37, 4, 3), (10, 1, 3), (9, 3, 7)])
def test_draws_are_stratified_distinct_and_seeded(items, sources, draws):
    drawn = training.draw_sources(items, sources, draws, np.random.default_rng(0))
    assert drawn.shape == (items, min(draws, sources))
    assert all(len(set(row)) == len(row) for row in drawn.tolist())
    counts = np.bincount(drawn.ravel(), minlength=sources)
    assert counts.max() - counts.min() <= 1
    assert np.array_equal(drawn, training.draw_sources(items, sources, draws, np.random.default_rng(0)))
    if sources > 1 and draws < sources:
        assert not np.array_equal(drawn, training.draw_sources(items, sources, draws, np.random.default_rng(1)))


def test_each_payload_is_decoded_once(toy, tmp_path, monkeypatch):
    from lossybench import codecs

    decoded = []
    for name in ("original", "jpeg"):
        cls = codecs.codec_class(name)
        decode = cls.decode

        def counted(self, payload, shape, sampling_rate=0.0, decode=decode):
            decoded.append(hash(payload))
            return decode(self, payload, shape, sampling_rate)

        monkeypatch.setattr(cls, "decode", counted)
    _train(toy, tmp_path, [toy[1], toy[2]], "mixed", draws=2)
    assert len(decoded) == len(set(decoded))
    assert len(decoded) == 48 * 2 + 16 + 8  # train: both; val: one each, and the originals of those drawn as JPEG


def test_what_is_wrong_with_the_inputs_is_said(toy, tmp_path):
    short = tmp_path / "short.parquet"
    rows = list(artifacts.iter_rows(toy[1]))[:-3]
    artifacts.write_table(short, artifacts.COMPRESSED, rows, artifacts.read_meta(toy[1]))
    with pytest.raises(LossyBenchError, match="lacks 3 items"):
        _train(toy, tmp_path / "a", [short])
    with pytest.raises(LossyBenchError, match="did you mean 'epochs'"):
        _train(toy, tmp_path / "b", [toy[1]], epoch=3)
    with pytest.raises(LossyBenchError, match="input_size"):
        _train(toy, tmp_path / "c", [toy[1]], input_size=[3, 32, 32])
    with pytest.raises(LossyBenchError, match="lower learning_rate"):
        _train(toy, tmp_path / "d", [toy[1]], learning_rate=1e30)


def test_a_detector_trains_on_video(tmp_path):
    random = np.random.default_rng(0)
    rows = []
    for split, count in (("train", 4), ("val", 2)):
        for index in range(count):
            clip = random.integers(0, 60, (4, 64, 64, 3)).astype(np.uint8)
            boxes = []
            for frame in range(4):
                x, y = 10 + 4 * frame, 20
                clip[frame, y : y + 20, x : x + 20] = 220
                boxes.append({"frame": frame, "x0": x, "y0": y, "x1": x + 20, "y1": y + 20, "label": 0})
            rows.append(media_tables.data_row(f"{split}{index}", split, clip, boxes=boxes, sampling_rate=25.0))
    data = media_tables.write_data(tmp_path / "data.parquet", rows, "video", "detection", ["square"])
    source = media_tables.write_compressed(tmp_path / "train.parquet", data, "original", 0, ("train", "val"))
    settings = {"epochs": 30, "batch_size": 4, "validate_every": 30, "frames_per_clip": 2, "device": "cpu"}
    train(data, [source], "toy", "fcos_temporal", "original", tmp_path / "m", settings, 0)
    info = models.read_info(tmp_path / "m")
    assert info["input"]["shape"] == [3, 64, 64]
    assert info["validation"]["own"] > 0.8


def test_a_run_of_any_few_steps_is_trained(toy, tmp_path):
    """A rise of exactly one step is none to torch's one-cycle schedule."""
    for steps in (1, 2, 3, 4, 5, 8):
        history = json.loads(_train(toy, tmp_path / str(steps), [toy[1]], epochs=steps, batch_size=64)[models.HISTORY])
        assert len(history) == steps and all(np.isfinite(entry["loss"]) for entry in history)


def test_a_run_of_one_step_learns(toy, tmp_path):
    """The last step of a one-cycle schedule has next to no learning rate, and here it is the only one."""
    _train(toy, tmp_path / "m", [toy[1]], epochs=1, batch_size=64, weight_decay=0)
    trained, _ = models.load(tmp_path / "m")
    torch.manual_seed(0)
    fresh = models.build("resnet", "image", "classification", 2, Input((32, 32)))
    moved = [(a - b).abs().max() for a, b in zip(trained.parameters(), fresh.parameters(), strict=True)]
    assert min(moved) > 1e-4


@pytest.mark.parametrize(("items", "classes", "batch"), [(1, 1, 1), (1, 1, 8), (2, 300, 1), (3, 2, 2)])
def test_a_run_on_next_to_nothing_is_trained(tmp_path, items, classes, batch):
    names = ["Cat", "cat", *(f"c{number}" for number in range(298))][:classes]
    rows = [
        media_tables.data_row(f"{split}{number}", split, picture, label % classes)
        for split, count in (("train", items), ("val", 1))
        for number, (picture, label) in enumerate(media_tables.bright_halves(count))
    ]
    data = media_tables.write_data(tmp_path / "d.parquet", rows, "image", "classification", names)
    part = media_tables.write_compressed(tmp_path / "p.parquet", data, "original", 0, ("train", "val"))
    for epochs in (1, 2, 3):
        settings = {"epochs": epochs, "batch_size": batch, "device": "cpu"}
        train(data, [part], "toy", "resnet", "original", tmp_path / str(epochs), settings, 0)
        history = json.loads((tmp_path / str(epochs) / models.HISTORY).read_text())
        assert len(history) == epochs and all(np.isfinite(entry["loss"]) for entry in history)
