"""The search of the product against an attack in plain torch that shares no code with it, and that attack by itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from kornia.enhance import jpeg_codec_differentiable
from rival import Rival
from test_attacks import Study, digits, rows, study  # noqa: F401

from lossybench import codecs

STEPS = 24  # of 255, the bound


def decoder(codec: str, level: float) -> Any:
    coder = codecs.get(codec)
    return lambda items: np.stack([coder.roundtrip(item, level) for item in items])


def through_jpeg(quality: float) -> Any:
    """The gradient through kornia's JPEG."""

    def backward(items: torch.Tensor, _: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        x = items.clone().requires_grad_()
        decoded = jpeg_codec_differentiable(x, torch.full((len(x),), float(quality)))
        return torch.autograd.grad(decoded, x, gradient)[0]

    return backward


@pytest.mark.parametrize("codec, level, tier", [("original", 0, "T0"), ("jpeg", 25, "T3"), ("h264", 40, "T2")])
def test_the_search_leaves_as_many_right_as_a_rival(
    study: Study,  # noqa: F811
    digits: SimpleNamespace,  # noqa: F811
    codec: str,
    level: int,
    tier: str,
) -> None:
    how: dict[str, Any] = {"attacks": {"pgd": [STEPS / 255]}, "items": 300, "goals": ["untargeted"], "restarts": 3}
    path = study.attack(**how)
    bare = Rival(digits.network, digits.media, digits.labels, STEPS).run(10, 3, 0.25)
    found = bare
    if codec != "original":
        path = study.attack(codec, (level,), **how, tiers=["T0", tier])
        backward = through_jpeg(level) if tier == "T3" else None
        found = Rival(digits.network, digits.media, digits.labels, STEPS, decoder(codec, level), backward)
        found.score(found.left, bare.best[found.left])  # as every tier also tries what the bare model fell for
        found.run(*((20, 3, 0.5) if backward else (10, 3, 1.0)))
    ours = rows(path, tier=tier)
    right = (ours.after == ours.label).mean()
    assert right == pytest.approx(len(found.left) / 300, abs=0.02)
    assert 0.02 < right < (ours.clean_after == ours.label).mean() - 0.1  # neither all nor nothing


def test_a_rival_keeps_its_bound_and_what_it_says_of_its_best_items_is_true(digits: SimpleNamespace) -> None:  # noqa: F811
    media, labels = digits.media[:40], digits.labels[:40]
    decode = decoder("jpeg", 25)
    for bound in (STEPS, np.full(40, 255 * 1.0)):
        found = Rival(digits.network, media, labels, bound, decode).run(restarts=2)
        change = found.best.astype(int) - media
        size = np.abs(change).max() if bound is STEPS else np.sqrt((change**2).sum((1, 2, 3))).max()
        assert 0.95 * np.max(bound) < size <= np.max(bound)
        seen = torch.from_numpy(np.moveaxis(decode(found.best), -1, 1).astype(np.float32) / 255)
        wrong = digits.network(seen).argmax(1).numpy() != labels
        assert (wrong == (found.margins <= 0)).all() and wrong.any() and not wrong.all()
        assert found.calls[~wrong].tolist() == [1 + 3 * 11] * (~wrong).sum() and found.calls.min() < 34
