"""Attacks on segmenters against something independent: a segmenter worked out by hand, and a plain loop in torch."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import media_tables
import numpy as np
import pytest
import torch

from lossybench import codecs, models
from lossybench.artifacts import iter_rows, read_meta
from lossybench.attacks.attack_settings import Aim, AttackSettings
from lossybench.attacks.losses import objects
from lossybench.attacks.preprocessor import CodecPreprocessor
from lossybench.attacks.segmenters import SegmentationVictim
from lossybench.errors import LossyBenchError
from lossybench.integers import GRIDS
from lossybench.masks import decode, encode
from lossybench.stages import attack as stage

SIDE, MARGIN = 32, 20  # pixels; levels of 255 by which the true class's colour exceeds the others
PIXELS = GRIDS["image"]
CPU = torch.device("cpu")


class Brightest(torch.nn.Module):
    """Of each pixel the class is the colour that is brightest, as the mean of 3 x 3 pixels if `wide`."""

    gain = 20.0

    def __init__(self, wide: bool = False) -> None:
        super().__init__()
        self.wide = wide

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gain * (torch.nn.functional.avg_pool2d(x, 3, 1, 1) if self.wide else x)


INFO = {
    "medium": "image", "kind": "segmentation", "classes": list("rgb"), "settings": {"label_smoothing": 0.0},
    "input": {"shape": [SIDE, SIDE], "sampling_rate": 0.0},
}  # fmt: skip


def scene(seed: int) -> tuple[np.ndarray, dict[str, Any]]:
    """A picture of two or three regions, each of the colour of its class, and its data row."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    top, left = rng.integers(2, 12, 2)
    mask[top : top + 16, left : left + 16] = 1
    mask[20:, :12] = 2 if seed % 2 else 1
    media = np.repeat(rng.integers(100, 120, (SIDE, SIDE, 1), dtype=np.uint8), 3, axis=2)
    np.put_along_axis(media, mask[..., None].astype(int), media[..., :1] + MARGIN, axis=2)
    return media, {"shape": [SIDE, SIDE, 3], "mask": encode(mask)}


def prepared(*through: CodecPreprocessor, wide: bool = False, count: int = 4, **changes: Any) -> SimpleNamespace:
    network = Brightest(wide).eval()
    how = AttackSettings.of("image", "segmentation", {"goals": ["untargeted", "targeted"], "restarts": 1, **changes})
    victim = SegmentationVictim(network, CPU, INFO, PIXELS, 50, through)
    pairs = [victim.item(*scene(seed), whole=True) for seed in range(count)]
    integers, truth = np.stack([one for one, _ in pairs]), objects([one for _, one in pairs])
    items = SimpleNamespace(ids=np.array([f"i{i}" for i in range(count)]), integers=integers, truth=truth)
    items.targets = victim.targets(integers, truth, how)
    return SimpleNamespace(network=network, how=how, victim=victim, items=items)


def made(case: SimpleNamespace, aim: Aim) -> np.ndarray:
    return case.victim.craft(case.items, aim, case.how, (0,), np.zeros(len(case.items.ids), bool)).integers


def harm(case: SimpleNamespace, integers: np.ndarray, aim: Aim) -> np.ndarray:
    tried = SimpleNamespace(before=case.victim.predict(integers), after=case.victim.after(integers))
    return case.victim.harm(tried, case.items, aim)


@pytest.mark.parametrize("attack", ["pgd", "fgsm"])
@pytest.mark.parametrize("goal", ["untargeted", "targeted"])
def test_a_pixel_falls_when_its_budget_is_half_the_margin(attack, goal):
    case = prepared()
    truth = [decode(one) for one in case.items.truth]
    assert all(
        (decode(one) == mask).all() for one, mask in zip(case.victim.predict(case.items.integers), truth, strict=True)
    )
    for epsilon, falls in ((MARGIN // 2 - 2, False), (MARGIN // 2 + 2, True)):
        aim = Aim(attack, "linf", epsilon / 255, goal)
        found = made(case, aim)
        assert np.abs(found.astype(int) - case.items.integers).max() <= epsilon
        masks = [decode(one) for one in case.victim.predict(found)]
        for mask, true, targets in zip(masks, truth, case.items.targets, strict=True):
            wanted = targets[true] if goal == "targeted" else None
            if not falls:
                assert (mask == true).all()
            elif goal == "targeted":
                assert (mask == wanted).all()
            else:
                assert (mask != true).all()
        assert ((harm(case, found, aim) >= 1) == falls).all()


def test_a_network_that_is_sure_has_no_gradient_but_a_margin():
    """Where the softmax of float32 is 1, cross-entropy has nothing to follow: only what begins again beats the item."""
    aim = Aim("pgd", "linf", (MARGIN // 2 + 2) / 255, "untargeted")
    for restarts, falls in ((0, False), (1, True)):
        case = prepared(restarts=restarts)
        case.victim.network.gain = 1e4
        assert ((harm(case, made(case, aim), aim) >= 1) == falls).all()


def plain_pgd(case: SimpleNamespace, aim: Aim) -> np.ndarray:
    """PGD from the item through JPEG, whose gradient is taken for the identity, in a loop of torch's own."""
    jpeg, clean = codecs.get("jpeg"), torch.from_numpy(PIXELS.floats(case.items.integers))
    masks = torch.from_numpy(np.stack([decode(one) for one in case.items.truth])).long()
    x = clean.clone()
    for _ in range(case.how.adaptive_steps):
        pictures = (x * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        seen = np.stack([jpeg.decode(jpeg.encode(one, 25, 0).payload, one.shape, 0) for one in pictures])
        through = (torch.from_numpy(seen).permute(0, 3, 1, 2) / 255).requires_grad_()
        torch.nn.functional.cross_entropy(case.network(through), masks).backward()
        moved = (x + aim.epsilon * case.how.adaptive_step * through.grad.sign()).clamp(0, 1)
        x = torch.minimum(torch.maximum(moved, clean - aim.epsilon), clean + aim.epsilon)
    return (x * 255).round().to(torch.uint8).numpy()


def test_through_a_codec_it_does_as_much_as_a_plain_loop_and_more_than_obliviously():
    aim = Aim("pgd", "linf", 16 / 255, "untargeted")
    behind = prepared(CodecPreprocessor(codecs.get("jpeg"), 25, "image"), wide=True)
    adaptive = harm(behind, made(behind, aim), aim).mean()
    oblivious = harm(behind, made(prepared(wide=True), aim), aim).mean()
    clean = harm(behind, behind.items.integers, aim).mean()
    assert adaptive >= harm(behind, plain_pgd(behind, aim), aim).mean() > clean
    assert adaptive >= oblivious - 1e-3  # by regions; the tie-breaker is less


def test_a_trigger_is_right_without_the_codec():
    aim = Aim("pgd", "linf", 24 / 255, "trigger")
    case = prepared(CodecPreprocessor(codecs.get("jpeg"), 10, "image"), wide=True)
    found = made(case, aim)
    for before, truth, reached in zip(
        case.victim.predict(found), case.items.truth, harm(case, found, aim), strict=True
    ):
        if reached >= 1:  # all regions
            assert (decode(before) == decode(truth)).mean() > 0.5
    assert harm(case, found, aim).mean() > harm(case, case.items.integers, aim).mean()


def test_what_cannot_be_attacked():
    with pytest.raises(LossyBenchError, match="patch is not for segmentation"):
        AttackSettings.of("image", "segmentation", {"attacks": {"pgd": ["8/255"], "patch": [0.05]}})
    with pytest.raises(LossyBenchError, match="least_likely has no meaning"):
        AttackSettings.of("image", "segmentation", {"target_rule": "least_likely"})


def test_tables_of_attacks(tmp_path):
    info = {**INFO, "task": "toy", "arch": "unet", "regime": "original", "seed": 0}
    info["settings"] = info["settings"] | {"device": "cpu", "deterministic": True}
    torch.manual_seed(0)
    model = models.build("unet", "image", "segmentation", 3, models.Input((SIDE, SIDE)))
    models.save(model.state_dict(), info, [], tmp_path / "model")
    rows = []
    for seed in range(4):
        media, truth = scene(seed)
        row = media_tables.data_row(f"i{seed}", "test", media)
        rows.append({key: row[key] for key in row if key not in ("label", "boxes")} | {"mask": truth["mask"]})
    data = media_tables.write_data(tmp_path / "data.parquet", rows, "image", "segmentation", list("rgb"))
    part = media_tables.write_compressed(tmp_path / "jpeg.parquet", data, "jpeg", 25.0, ("test",))
    settings = {"items": 3, "steps": 2, "adaptive_steps": 2, "restarts": 0, "batch_size": 2}
    settings |= {"attacks": {"pgd": ["8/255"], "noise": ["8/255"]}, "goals": ["untargeted", "targeted", "trigger"]}
    bare, behind, again = (tmp_path / f"{name}.parquet" for name in ("bare", "behind", "again"))
    stage.attack(tmp_path / "model", data, [], "original", bare, settings=settings)
    for out in (behind, again):
        stage.attack(tmp_path / "model", data, [part], "jpeg", out, oblivious=bare, settings=settings)
    assert behind.read_bytes() == again.read_bytes()
    assert "threshold" not in read_meta(bare)
    found = list(iter_rows(behind))
    assert {row["tier"] for row in found} == {"T0", "T2", "T3"}
    for row in [*iter_rows(bare), *found]:
        assert row["linf"] <= 8 / 255 + 1e-6
        assert all(
            decode(row[name]).shape == (SIDE, SIDE) for name in ("truth", "clean", "clean_after", "before", "after")
        )
        assert len(row["targets"]) == 3 * (row["goal"] == "targeted")
