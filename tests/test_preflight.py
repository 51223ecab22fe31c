"""What cannot work is told before anything is compressed, by name; what compress made is not made again for it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time

import media_tables
import numpy as np
import pytest
import small_study
import torch
import torchvision
import yaml
from safetensors.torch import save_file

from lossybench.codecs import jpeg
from lossybench.errors import LossyBenchError
from lossybench.stages.preflight import preflight
from lossybench.study import Study
from lossybench.tools import plan

SETTINGS = {"device": "cpu"}


def _clips(folder, lengths):
    random = np.random.default_rng(0)
    rows = [
        media_tables.data_row(
            f"{split}{i}", split, random.integers(-99, 99, length).astype(np.int16), i % 2, (), 8000.0
        )
        for split in ("train", "val", "test")
        for i, length in enumerate(lengths)
    ]
    return media_tables.write_data(folder / "clips.parquet", rows, "audio", "classification", ["a", "b"])


def test_a_trained_model_is_timed(tmp_path):
    data, _, _ = media_tables.image_task(tmp_path)
    preflight(
        data,
        "toy",
        tmp_path / "p.json",
        {"training": {"resnet": SETTINGS}, "attacked": {"resnet": {"items": 8, "seed": 0}}},
    )
    (name, found), *others = json.loads((tmp_path / "p.json").read_text())["models"].items()
    assert name == "resnet" and not others and 0 < found["predict"] < found["learn"] < 1


def test_clips_of_several_lengths_need_an_input_size(tmp_path):
    data = _clips(tmp_path, [8000, 9000])
    with pytest.raises(
        LossyBenchError, match=r"^logmel_cnn: .*2 different shapes, from \(8000,\) to \(9000,\).*input_size"
    ):
        preflight(data, "toy", tmp_path / "p.json", {"training": {"logmel_cnn": SETTINGS}})
    assert not (tmp_path / "p.json").exists()
    preflight(data, "toy", tmp_path / "p.json", {"training": {"logmel_cnn": {**SETTINGS, "input_size": [8000]}}})


@pytest.mark.parametrize(
    ("kind", "frames", "rates", "message"),
    [
        ("classification", (4, 4), (25.0, 30.0), "have 2 sampling rates, from 25 to 30; bring them to one"),
        ("detection", (4, 6), (25.0, 25.0), "have 2 lengths, from 4 to 6 frames; cut them to one"),
    ],
)
def test_clips_that_cannot_be_attacked_together_are_told(tmp_path, kind, frames, rates, message):
    rows = [
        media_tables.data_row(f"c{i}", "test", np.zeros((count, 8, 8, 3), np.uint8), 0, (), rate)
        for i, (count, rate) in enumerate(zip(frames, rates, strict=True))
    ]
    data = media_tables.write_data(tmp_path / "d.parquet", rows, "video", kind, ["a"])
    preflight(data, "toy", tmp_path / "p.json", {"attacked": {"net": {"items": 1, "seed": 0}}})
    with pytest.raises(LossyBenchError, match=f"on which net is attacked {message}"):
        preflight(data, "toy", tmp_path / "p.json", {"attacked": {"net": {"items": 2, "seed": 0}}})


@pytest.mark.parametrize(
    ("arch", "settings", "message"),
    [
        ("torchvision/alexnet", {}, "^torchvision/alexnet: RuntimeError: .*size is too small"),
        ("torchvision/shufflenet_v2_x0_5", {"batch_size": 1}, "^torchvision/shufflenet.*more than 1 value per channel"),
        ("torchvision/resnet9", {}, "^torchvision/resnet9: torchvision has no image classification model"),
        ("torchvision/resnet18", {"weights": "BEST"}, "unknown weights 'BEST'"),
    ],
)
def test_an_architecture_that_cannot_learn_from_the_items_is_named(tmp_path, arch, settings, message):
    data, _, _ = media_tables.image_task(tmp_path)
    settings = {**SETTINGS, "input_size": [32, 32], **settings}
    with pytest.raises(LossyBenchError, match=message) as caught:
        preflight(data, "toy", tmp_path / "p.json", {"training": {arch: settings}})
    assert "\n" not in str(caught.value)


def test_codecs_meet_the_smallest_and_the_largest_items(tmp_path, monkeypatch):
    sizes = {"usual": (8, 8), "tiny": (1, 2), "wide": (4, 90), "high": (80, 5), "other": (9, 9)}
    rows = [media_tables.data_row(name, "test", np.zeros((*size, 3), np.uint8), 0) for name, size in sizes.items()]
    data = media_tables.write_data(tmp_path / "d.parquet", rows, "image", "classification", ["a"])
    seen, encode = [], jpeg.Jpeg._encode

    def noting(self, media, *rest):
        seen.append(media.shape[:2])
        if media.shape[1] > 80:
            raise AttributeError("libfoo\nbroke")
        return encode(self, media, *rest)

    settings = {"codecs": {"jpeg": {"levels": [50, 5], "options": {}}}}
    preflight(data, "toy", tmp_path / "p.json", settings)
    monkeypatch.setattr(jpeg.Jpeg, "_encode", noting)
    with pytest.raises(LossyBenchError, match=r"item wide, of the shape \[4, 90, 3\].*jpeg: .*libfoo broke"):
        preflight(data, "toy", tmp_path / "p.json", settings)
    assert seen == [(1, 2), (1, 2), (4, 90)]  # at the mildest and at the strongest level


# Real runs -----------------------------------------------------------------------------------------------------------

OWN = """
import torch
import torchvision
from torch import nn


class Guess(nn.Module):
    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(10))

    def forward(self, x):
        return self.bias + torch.sin(1e6 * x.sum((1, 2, 3)))[:, None] * torch.arange(10.0)


class Corner(nn.Module):
    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(10))

    def forward(self, images):
        box = {"boxes": torch.tensor([[0.0, 0, 30, 30]]), "labels": torch.tensor([1]), "scores": torch.tensor([0.9])}
        return [box for _ in images]
"""


def test_a_study_of_models_at_chance_ends_before_anything_is_compressed(tmp_path):
    """One that classifies and one that detects, each refused by name and with figures."""
    (tmp_path / "own.py").write_text(OWN)
    save_file({"bias": torch.zeros(10)}, tmp_path / "own.safetensors")
    digits = [str(number) for number in range(10)]
    guess = {"checkpoint": "own.safetensors", "class": "own:Guess", "classes": digits}
    corner = {"checkpoint": "own.safetensors", "class": "own:Corner", "classes": ["background", *digits]}
    data = {"train": 20, "val": 10, "test": 60}
    study = {
        "tasks": {
            "digits": {"data": {"adapter": "digits", **data}, "codecs": {"jpeg": [50]}, "models": {"guess": guess}},
            "scenes": {
                "data": {"adapter": "digit_scenes", **data},
                "codecs": {"jpeg": [50]},
                "models": {"corner": corner},
            },
        }
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "-s",
        str(small_study.ROOT / "Snakefile"),
        "--configfile",
        "study.yaml",
    ]
    command += ["--cores", "2", "--keep-going"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    for task, arch, metric in (("digits", "guess", "accuracy"), ("scenes", "corner", "mAP50")):
        (line,) = [one for one in _log(tmp_path, "adopt", task, arch).splitlines() if "error" in one]
        assert re.search(
            rf"error: {arch}: is not shown to be above chance: {metric} [\d.%]+ on all 60 test items", line
        )
    made = {path.name for path in (tmp_path / "results").iterdir()}
    assert "data" in made and not made & {"compressed", "models", "preflight", "outcomes"}


def _log(folder, *job):
    return folder.joinpath("results", "logs", *job[:-1], f"{job[-1]}.log").read_text()


def test_a_model_that_is_added_compresses_nothing_again(finished, tmp_path):
    """Nor does one that is refused, and that is left out again."""
    folder = small_study.copied(finished, tmp_path / "copy")
    path = folder / small_study.CONFIG
    study = yaml.safe_load(path.read_text())
    models = study["tasks"]["digits"]["models"]
    target = str(small_study.RESULTS / "preflight/digits.json")

    def run(arch, *arguments, check):
        study["tasks"]["digits"]["models"] = {**models, arch: {"epochs": 1}}
        path.write_text(yaml.safe_dump(study, sort_keys=False))
        return small_study.run(folder, "--cores", "2", *arguments, check=check)

    run("torchvision/alexnet", target, check=False)
    assert not (folder / target).exists()
    said = run("patch_transformer", "-n", "--quiet", "rules", check=True)
    due = dict(re.findall(r"^(\w+) +(\d+)$", said, re.M))
    assert int(due["preflight"]) and int(due["train"]) and int(due["evaluate_digits_jpeg"])
    assert not [name for name in due if name in ("fetch", "cleared") or name.startswith("compress")]


# The plan ------------------------------------------------------------------------------------------------------------


def test_the_plan_takes_the_times_that_were_measured(tmp_path):
    config = yaml.safe_load((small_study.ROOT / "config/smoke.yaml").read_text()) | {"results": str(tmp_path)}
    config["tasks"] = {"digits": config["tasks"]["digits"]}
    config["tasks"]["digits"]["models"] = {"torchvision/resnet50": {"epochs": 2}}
    loaded = Study(config)
    assert "torchvision/resnet50: not timed yet" in plan.describe(loaded, 1)
    (tmp_path / "preflight").mkdir()
    measured = {"models": {"torchvision/resnet50": {"learn": 2.0, "predict": 0.5}}}
    (tmp_path / "preflight/digits.json").write_text(json.dumps(measured))
    times = plan.timings(loaded)
    here = plan._calibrate() / plan.REFERENCE
    jobs = [job for job in plan.costs(loaded, times) if job.stage in ("train", "evaluate")]
    # Two epochs of 350 items, and of each codec's levels the 50 test items.
    assert jobs[0].seconds * here == pytest.approx(plan.START["train"] * here + 2 * 350 * 2.0)
    evaluated, models = jobs[len(loaded.models("digits"))], len(loaded.models("digits"))
    assert evaluated.seconds * here == pytest.approx(plan.START["evaluate"] * here + models * 50 * 0.5, rel=0.02)
    assert "2e+03 ms of a core to learn from an item and 500 to predict it (measured by preflight)" in plan.describe(
        loaded, 1
    )


def test_the_plan_times_a_large_model_that_was_not_measured(tmp_path):
    """About as it takes here: within a factor of two, on a machine that others use too."""
    config = yaml.safe_load((small_study.ROOT / "config/smoke.yaml").read_text()) | {"results": str(tmp_path)}
    config["tasks"] = {"digits": config["tasks"]["digits"]}
    config["tasks"]["digits"]["models"] = {"torchvision/resnet18": {"epochs": 2, "input_size": [96, 96]}}
    timing = plan.timings(Study(config), trial=True)["digits", "torchvision/resnet18"]

    network, x = torchvision.models.resnet18().eval(), torch.rand(16, 3, 96, 96)

    with torch.inference_mode():
        network(x)
        start = time.process_time()
        network(x)
        taken = (time.process_time() - start) / 16
    assert 0.4 < timing.predict * plan._calibrate() / plan.REFERENCE / taken < 2.5
