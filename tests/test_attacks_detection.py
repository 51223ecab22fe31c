"""Attacks on detectors against something independent: a detector that is worked out by hand, and the real codecs."""

from __future__ import annotations

import itertools
import logging
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import media_tables
import numpy as np
import pandas as pd
import pytest
import torch

from lossybench import codecs, models
from lossybench.analysis.attacked_objects import CONDITIONS, objects, robust_map
from lossybench.artifacts import ATTACKS, COMPRESSED, DETECTION_ATTACKS, iter_rows, read_meta, read_table, write_table
from lossybench.attacks import surrogates, threshold
from lossybench.attacks.attack_settings import Aim, AttackSettings
from lossybench.attacks.detectors import DetectionVictim, Searched, _targets, least_covering, patch_side
from lossybench.attacks.items import Crafted
from lossybench.attacks.methods import METHODS, Effort
from lossybench.attacks.preprocessor import CodecPreprocessor
from lossybench.codecs.codec import Codec
from lossybench.errors import LossyBenchError
from lossybench.integers import GRIDS
from lossybench.models.inputs import Input
from lossybench.reading import NOTHING, read
from lossybench.stages import attack as stage
from lossybench.tasks.detection import Detection

SIDE, CELL, CLASSES, RATE, LEAST = 32, 8, 3, 25.0, 0.5
PIXELS = GRIDS["image"]
UNTARGETED = Aim("pgd", "linf", 48 / 255, "untargeted")
TARGETED = UNTARGETED._replace(goal="targeted")


class Cells(torch.nn.Module):
    """Finds a cell of 8 x 8 pixels wherever a colour is above a half on average; the colour is the class.

    Of windows of frames it looks at the middle one. Its batch norm changes nothing until it learns; what it gets to see
    is kept in `seen`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(3, eps=1e-9)
        self.seen: torch.Tensor | None = None

    def forward(self, x: torch.Tensor, targets: list[dict[str, torch.Tensor]] | None = None) -> Any:
        self.seen = x.detach()
        x = x[:, x.shape[1] // 2] if x.ndim == 5 else x
        logits = 20 * (torch.nn.functional.avg_pool2d(self.norm(x), CELL) - 0.5)
        if self.training:
            assert targets is not None
            wanted = torch.zeros_like(logits)
            for truth, one in zip(targets, wanted, strict=True):
                for (left, top, *_), label in zip(truth["boxes"], truth["labels"], strict=True):
                    one[label, int(top) // CELL, int(left) // CELL] = 1
            return {"cells": torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted)}
        return [self._found(scores) for scores in logits.sigmoid()]

    @staticmethod
    def _found(scores: torch.Tensor) -> dict[str, torch.Tensor]:
        labels, rows, columns = torch.nonzero(scores > 0.3, as_tuple=True)
        corner = torch.stack([columns, rows], dim=1).float() * CELL
        order = scores[labels, rows, columns].argsort(descending=True, stable=True)
        found = {
            "boxes": torch.cat([corner, corner + CELL], 1),
            "labels": labels,
            "scores": scores[labels, rows, columns],
        }
        return {key: value[order] for key, value in found.items()}


def info(medium: str, window: int = 3) -> dict[str, Any]:
    shape = [SIDE, SIDE] if medium == "image" else [window, SIDE, SIDE]
    settings = {"frame_stride": 4, "frames_per_clip": 2}
    return {
        "medium": medium, "kind": "detection", "classes": list("rgb"), "settings": settings,
        "input": {"shape": shape, "sampling_rate": 0.0},
    }  # fmt: skip


def scene(medium: str, seed: int, frames: int = 8) -> tuple[np.ndarray, dict[str, Any]]:
    """A dark textured picture or clip with two coloured cells, which a clip moves by a cell half-way; its data row."""
    rng = np.random.default_rng(seed)
    clip = np.tile(rng.integers(90, 120, (1, SIDE, SIDE, 3), np.uint8), (frames, 1, 1, 1))
    boxes = []
    columns, labels = rng.integers(0, 3, 2), rng.integers(0, CLASSES, 2)
    for frame in range(frames):
        for row, column, label in zip((0, 2), columns + frame // 4, labels, strict=True):
            top, left = row * CELL, int(column) * CELL
            clip[frame, top : top + CELL, left : left + CELL, label] = 165
            box = {"x0": left, "y0": top, "x1": left + CELL, "y1": top + CELL}
            boxes.append({"frame": frame, "label": int(label), **box})
    media = clip if medium == "video" else clip[0]
    return media, {"shape": media.shape, "boxes": boxes if medium == "video" else boxes[:2]}


def prepared(medium: str, *through: CodecPreprocessor, count: int = 6, **changes: Any) -> SimpleNamespace:
    """A victim with items as the attack stage holds them."""
    network = Cells().eval().requires_grad_(False)
    how = AttackSettings.of(medium, "detection", {"goals": ["untargeted", "targeted"], **changes})
    victim = DetectionVictim(network, torch.device("cpu"), info(medium), PIXELS, 50, through, LEAST)
    made = [victim.item(*scene(medium, seed), whole=True) for seed in range(count)]
    truth = np.empty(count, object)
    truth[:] = [one for _, one in made]
    integers = np.stack([one for one, _ in made])
    items = SimpleNamespace(
        ids=np.array([f"item{i}" for i in range(count)]),
        integers=integers,
        truth=truth,
        targets=victim.targets(integers, truth, how),
        clean=victim.predict(integers),
        clean_after=victim.after(integers),
    )
    return SimpleNamespace(network=network, how=how, victim=victim, items=items)


def tried(victim: DetectionVictim, integers: np.ndarray) -> SimpleNamespace:
    return SimpleNamespace(before=victim.predict(integers), after=victim.after(integers))


def made(case: SimpleNamespace, aim: Aim, seed: int = 0, done: bool = False, **settings: Any) -> Crafted:
    """What an attack makes of all items of a case, with settings other than the case's."""
    how = case.how.model_copy(update=settings)
    return case.victim.craft(case.items, aim, how, (seed,), np.full(len(case.items.ids), done))


def harm(case: SimpleNamespace, crafted: Crafted, aim: Aim = UNTARGETED) -> np.ndarray:
    return case.victim.harm(tried(case.victim, crafted.integers), case.items, aim)


def jpeg(surrogate: bool = False, remember: int = 0) -> CodecPreprocessor:
    through = CodecPreprocessor(codecs.get("jpeg"), 25, "image", remember=remember)
    if surrogate:
        through.surrogate = surrogates.of(through, PIXELS.layout(scene("image", 0)[0])[None], 0.03, 0)
    return through


def h264() -> CodecPreprocessor:
    return CodecPreprocessor(codecs.get("h264"), 30, "video", RATE)


@pytest.mark.parametrize("medium", ["image", "video"])
def test_undefended_pgd_leaves_nothing_right_and_noise_everything(medium):
    case = prepared(medium)
    victim, items = case.victim, case.items
    for aim, least in ((UNTARGETED, 1.0), (TARGETED, 0.9)):
        assert victim.harm(tried(victim, items.integers), items, aim).max() == 0
        assert harm(case, made(case, aim), aim).mean() >= least
    assert harm(case, made(case, UNTARGETED._replace(attack="noise"))).mean() == 0


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("medium", ["image", "video"])
@pytest.mark.parametrize(
    ("attack", "norm", "epsilon"),
    [
        ("pgd", "linf", 8 / 255), ("pgd_doubled", "linf", 8 / 255), ("fgsm", "linf", 8 / 255),
        ("mifgsm", "linf", 8 / 255), ("noise", "linf", 8 / 255), ("pgd_l2", "l2", 1.0), ("patch", "share", 0.05),
    ],
)  # fmt: skip
def test_every_attack_keeps_its_bound_in_integers(attack, norm, epsilon, medium, behind):
    case = prepared(medium, *([jpeg() if medium == "image" else h264()] if behind else []), count=2)
    crafted = made(case, Aim(attack, norm, epsilon, "untargeted"), steps=2, adaptive_steps=2, restarts=1)
    assert crafted.integers.dtype == np.uint8
    change = (crafted.integers.astype(float) - case.items.integers) / 255
    if norm == "share":
        changed = (change != 0).any(axis=tuple(range(1, change.ndim - 2)))
        assert changed.any(axis=(1, 2)).all()
        assert changed.sum((1, 2)).max() <= epsilon * SIDE * SIDE
    else:
        size = np.linalg.norm(change.reshape(len(change), -1), axis=1) if norm == "l2" else np.abs(change)
        assert 0.5 * epsilon < size.max() <= epsilon + 1e-9


def textbook(case: SimpleNamespace, aim: Aim, steps: int, step: float) -> list[np.ndarray]:
    """The items of projected gradient descent from the clean item on, all of them, rounded; `step` is in epsilons.

    The gradient is that of the cells' cross-entropy at the decoded item.
    """
    clean = PIXELS.floats(case.items.integers)
    wanted = torch.zeros(len(clean), CLASSES, SIDE // CELL, SIDE // CELL)
    for one, truth in zip(wanted, case.items.truth, strict=True):
        for (left, top, *_), label in zip(truth["boxes"].astype(int), truth["labels"], strict=True):
            one[label, top // CELL, left // CELL] = 1
    x, found = clean, [case.items.integers]
    for _ in range(steps):
        decoded = torch.from_numpy(PIXELS.floats(case.victim.through[0].decode(found[-1]))).requires_grad_()
        logits = 20 * (torch.nn.functional.avg_pool2d(decoded, CELL) - 0.5)
        torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted).backward()
        x = x + step * aim.epsilon * np.sign(decoded.grad.numpy())
        x = np.clip(np.clip(x, clean - aim.epsilon, clean + aim.epsilon), 0, 1).astype(np.float32)
        found.append(np.rint(255 * x).astype(np.uint8))
    return found


def moody() -> CodecPreprocessor:
    """A codec that makes each half of a picture darker by a number that looks random, but is always the same."""
    through = jpeg()

    def decode(items: np.ndarray) -> np.ndarray:
        halves = items.reshape(len(items), CLASSES, 2, -1).swapaxes(1, 2)
        darker = np.array([[zlib.crc32(half.tobytes()) % 45 for half in item] for item in halves])
        decoded = halves - np.minimum(halves, darker[..., None, None])
        return decoded.swapaxes(1, 2).reshape(items.shape).astype(np.uint8)

    through.decode = decode
    return through


def lost(case: SimpleNamespace, integers: np.ndarray) -> np.ndarray:
    """The share of the cells of each item whose brightest colour, if above a half, is not their class."""
    means = case.victim.through[0].decode(integers).reshape(len(integers), CLASSES, 4, CELL, 4, CELL).mean((3, 5)) / 255
    shares = []
    for mean, truth in zip(means, case.items.truth, strict=True):
        left, top = truth["boxes"].astype(int)[:, 0] // CELL, truth["boxes"].astype(int)[:, 1] // CELL
        here = mean[:, top, left]
        shares.append(((here.argmax(0) != truth["labels"]) | (here.max(0) < 0.5)).mean())
    return np.array(shares)


def test_of_all_items_of_a_textbook_search_the_best_counts():
    case = prepared("image", moody(), count=12)
    aim = UNTARGETED._replace(epsilon=6 / 255)
    steps = textbook(case, aim, 6, 0.5)
    each = np.stack([lost(case, integers) for integers in steps])
    ours = made(case, aim, adaptive_steps=6, adaptive_step=0.5, restarts=0)
    assert harm(case, ours).tolist() == each.max(0).tolist()
    assert each.max(0).sum() > each[-1].sum() + 1  # the last would have been the poorer choice
    # An item is asked about until none of its objects is left, and only where it has moved.
    wanted = np.where((each == 1).any(0), (each == 1).argmax(0), len(each) - 1)
    moved = [sum((b[i] != a[i]).any() for a, b in itertools.pairwise(steps[: n + 1])) for i, n in enumerate(wanted)]
    assert ours.calls.tolist() == [1 + count for count in moved]


def test_restarts_never_help_the_model_and_leave_alone_what_others_beat():
    case = prepared("image", moody(), count=12)
    aim = UNTARGETED._replace(epsilon=6 / 255)
    few = {"adaptive_steps": 3, "adaptive_step": 0.3}
    once, often, spared = (
        made(case, aim, **few, **more) for more in ({"restarts": 0}, {"restarts": 4}, {"restarts": 4, "done": True})
    )
    assert (harm(case, often) >= harm(case, once)).all()
    assert harm(case, often).mean() > harm(case, once).mean()
    beaten = harm(case, once) == 1
    assert 0 < beaten.sum() < 12
    assert (often.calls > once.calls).tolist() == (~beaten).tolist()
    assert np.array_equal(spared.integers, once.integers)
    assert np.array_equal(spared.calls, once.calls)


@pytest.mark.parametrize("attack", ["pgd", "patch"])
def test_calls_are_round_trips_and_are_capped(attack, monkeypatch):
    coded = []
    plain = Codec.roundtrip
    monkeypatch.setattr(Codec, "roundtrip", lambda *arguments: coded.append(arguments) or plain(*arguments))
    case = prepared("image", jpeg(remember=1000), count=5)
    case.victim.through[0]._remembered.cache_clear()
    coded.clear()
    aim = Aim(attack, METHODS[attack].norm, 0.05, "untargeted")
    free = made(case, aim, adaptive_steps=3, adaptive_step=0.3, restarts=2)
    assert free.calls.sum() == len(coded) > 15
    capped = made(case, aim, adaptive_steps=3, adaptive_step=0.3, restarts=2, calls=6)
    assert capped.calls.max() == 6 < free.calls.max()


def test_what_is_made_without_a_codec_goes_on_where_an_item_is_beaten():
    bare, behind = (prepared("image", *through) for through in ((), (jpeg(),)))
    aim = UNTARGETED._replace(epsilon=96 / 255)
    crafted = made(bare, aim, steps=8, step_ratio=1)
    assert harm(bare, crafted).tolist() == [1] * 6
    assert crafted.calls.tolist() == [9] * 6  # the clean item, and eight more
    assert made(behind, aim, adaptive_steps=8, adaptive_step=1 / 8).calls.max() < 9


def test_random_starts_lie_in_the_ball_and_repeat():
    case = prepared("image")
    x = PIXELS.floats(case.items.integers)
    estimator = case.victim.estimator(Searched(case.network, case.victim.task))

    def start(seed: int, p: float, radius: float, random: bool = True) -> np.ndarray:
        effort = Effort(p, radius, False, 1, 1e-9, len(x), random=random)
        np.random.seed(seed)  # of the generator from which ART draws
        return METHODS["pgd"].build(estimator, effort).generate(x=x, y=_targets(case.items.truth)) - x

    for p, radius in ((np.inf, 0.1), (2, 1.0)):
        change = start(0, p, radius)
        sizes = np.linalg.norm(change.reshape(len(x), -1), p, axis=1)
        assert (sizes > 0.9 * radius).all()
        assert (sizes < 1.001 * radius).all()
        assert np.array_equal(change, start(0, p, radius))
        assert not np.array_equal(change, start(1, p, radius))
        assert np.abs(start(0, p, radius, random=False)).max() < 1e-6
    aim = UNTARGETED._replace(epsilon=8 / 255)
    again = [made(case, aim, steps=2, restarts=2).integers for _ in range(2)]
    assert np.array_equal(*again)
    doubled = aim._replace(attack="pgd_doubled")  # which goes on after pgd, and so begins elsewhere
    both = (made(case, doubled, restarts=0, step_ratio=0.1), made(case, aim, restarts=0, steps=20, step_ratio=0.2))
    assert all(harm(case, one).max() == 0 for one in both)  # so that these are where the searches came to
    assert np.abs(both[1].integers.astype(int) - case.items.integers).max() <= 2
    assert np.abs(both[0].integers.astype(int) - case.items.integers).max() > 4


def test_the_network_is_left_as_it_was():
    case = prepared("image", jpeg())
    case.network.norm.momentum = 0.5
    before = {key: value.clone() for key, value in case.network.state_dict().items()}
    for attack in ("pgd", "patch"):
        made(case, Aim(attack, "linf", 0.05, "untargeted"), adaptive_steps=2, restarts=1)
    case.victim.zero_gradient(case.items)
    assert not any(module.training for module in case.network.modules())
    assert all(torch.equal(before[key], value) for key, value in case.network.state_dict().items())


@pytest.mark.parametrize("medium", ["image", "video"])
def test_the_attack_sees_what_the_real_codec_makes_of_the_whole_item(medium):
    through = jpeg() if medium == "image" else h264()
    case = prepared(medium, through)
    x = torch.from_numpy(PIXELS.floats(case.items.integers))
    Searched(case.network.train(), case.victim.task, [through]).train()(x, _targets(case.items.truth))
    case.network.eval()
    for item, seen in zip(case.items.integers, case.network.seen.chunk(len(x)), strict=True):
        decoded = codecs.get(through.codec.name).roundtrip(PIXELS.media(item), through.level, through.sampling_rate)
        wanted = PIXELS.floats(PIXELS.layout(decoded))
        # Of a clip frames 0 and 4, each with the one before and the one after.
        assert np.array_equal(seen, wanted[[[0, 0, 1], [3, 4, 5]]] if medium == "video" else wanted[None])
        if medium == "video":  # coded as one, not picture by picture
            alone = through.codec.roundtrip(PIXELS.media(item)[4:5], through.level, through.sampling_rate)
            assert not np.array_equal(alone[0], decoded[4])


def test_a_stand_in_changes_the_gradient_and_not_what_is_seen():
    plain, better = prepared("image", jpeg()), prepared("image", jpeg(surrogate=True))
    gradients = []
    for case in (plain, better):
        x = torch.from_numpy(PIXELS.floats(case.items.integers)).requires_grad_()
        searched = Searched(case.network, case.victim.task, case.victim.through).train()
        loss = searched(x, _targets(case.items.truth))["loss"]
        gradients.append(torch.autograd.grad(loss, x)[0])
        case.network.eval()
    assert torch.equal(plain.network.seen, better.network.seen)
    assert not torch.allclose(*gradients)


def test_several_codecs_are_their_mean_and_a_trigger_is_right_without():
    case = prepared("image", jpeg(), CodecPreprocessor(codecs.get("jpeg"), 5, "image"))
    x, aimed = torch.from_numpy(PIXELS.floats(case.items.integers)), _targets(case.items.truth)

    def loss(*through: CodecPreprocessor, trigger: bool = False) -> float:
        return float(Searched(case.network, case.victim.task, through, trigger).train()(x, aimed)["loss"])

    one, other = case.victim.through
    assert loss(one, other) == pytest.approx((loss(one) + loss(other)) / 2)
    assert loss(one, trigger=True) == pytest.approx(np.log(loss(one) / loss()))
    blind = np.array([[]] * 6 + [None], object)[:6]
    for before, harmed in ((case.items.clean, 1.0), (blind, 0.0)):
        some = SimpleNamespace(before=before, after=blind)
        assert case.victim.harm(some, case.items, UNTARGETED._replace(goal="trigger")).tolist() == [harmed] * 6


@pytest.mark.parametrize("medium", ["image", "video"])
def test_a_patch_changes_one_square_beside_the_objects_and_is_the_same_everywhere(medium):
    case = prepared(medium)
    adversarial = made(case, Aim("patch", "share", 0.05, "untargeted")).integers
    side = patch_side(0.05, SIDE, SIDE)
    assert side == 7
    squares = []
    for item, clean, truth in zip(adversarial, case.items.integers, case.items.truth, strict=True):
        top, left = least_covering(truth["boxes"], side, SIDE, SIDE)
        square = np.zeros(item.shape, bool)
        square[..., top : top + side, left : left + side] = True
        assert np.array_equal(item[~square], clean[~square])
        assert (item != clean)[square].mean() > 0.9
        for left_, top_, *_ in truth["boxes"]:
            assert not square[..., int(top_) : int(top_) + CELL, int(left_) : int(left_) + CELL].any()
        squares.append(item[..., top : top + side, left : left + side].reshape(-1, 3, side, side))
    assert (np.concatenate(squares) == squares[0][0]).all()
    found = case.victim.predict(adversarial)
    assert all(len(now) > len(was) for now, was in zip(found, case.items.clean, strict=True))  # of what is not there


def test_the_place_of_a_patch():
    free = np.array([[0, 0, 20, 20], [20, 0, 32, 32]], np.float32)
    assert least_covering(free, 8, 32, 32) == (20, 0)
    assert least_covering(np.zeros((0, 4)), 8, 32, 32) == (0, 0)
    everywhere = np.array([[0, 0, 32, 32], [0, 0, 16, 16]], np.float32)
    assert least_covering(everywhere, 16, 32, 32) == (0, 16)
    for share in (0.0005, 1.1):
        with pytest.raises(LossyBenchError, match=r"patch: the square of share"):
            patch_side(share, 32, 32)


@pytest.mark.parametrize("medium", ["image", "video"])
def test_items_are_prepared_as_for_evaluation(medium):
    network, task = Cells().eval().requires_grad_(False), Detection(info(medium))
    victim = DetectionVictim(network, torch.device("cpu"), info(medium), PIXELS, 50)
    media, row = scene(medium, 3)
    integers, truth = victim.item(media, row, whole=True)
    examples = task.examples(media, row, training=False)
    x = torch.from_numpy(np.stack([example.media for example in examples])).movedim(-1, -3) / 255
    found = victim.predict(integers[None])[0]
    for frame, (example, expected) in enumerate(zip(examples, task.predict(network, x), strict=True)):
        here = truth["frame"] == frame
        assert np.array_equal(truth["boxes"][here], example.target["boxes"])
        assert np.array_equal(truth["labels"][here], example.target["labels"])
        mine = [one for one in found if one["frame"] == frame]
        assert [one["label"] for one in mine] == expected["labels"].tolist()
        assert np.array_equal([one["box"] for one in mine], expected["boxes"])
    assert len(examples) == (1 if medium == "image" else 2)
    item, aimed = torch.from_numpy(PIXELS.floats(integers[None])), _targets(np.array([truth], object))
    searched = Searched(network, task).train()
    network.norm.eval()  # as ART has it: a batch's own mean is another for another layout of the same numbers
    loss = searched(item, aimed)["loss"]
    assert float(loss) == pytest.approx(float(task.loss(network, x, [each.target for each in examples])), rel=1e-5)


@pytest.mark.parametrize("arch", ["fcos", "fcos_temporal"])
def test_real_detectors_are_attacked_in_the_frames_they_look_at(arch):
    torch.manual_seed(0)
    window = models.window(arch)
    network = (
        models.build(arch, "video", "detection", CLASSES, Input((window, SIDE, SIDE))).eval().requires_grad_(False)
    )
    victim = DetectionVictim(network, torch.device("cpu"), info("video", window), PIXELS, 50, (), LEAST)
    media, row = scene("video", 0)
    integers, truth = victim.item(media, row, whole=True)
    nothing = {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, int), "frame": np.zeros(0, int)}
    truths = np.array([truth, nothing], object)
    items = SimpleNamespace(integers=np.stack([integers] * 2), truth=truths, targets=truths, ids=[0, 1])
    how = AttackSettings.of("video", "detection", {"steps": 1, "restarts": 0})
    adversarial = victim.craft(items, UNTARGETED, how, (0,), np.zeros(2, bool)).integers
    moved = (adversarial != items.integers).any(axis=(2, 3, 4))
    wanted = [0, 4] if window == 1 else [0, 1, 3, 4, 5]
    assert [np.flatnonzero(one).tolist() for one in moved] == [wanted, wanted]
    zeros = victim.zero_gradient(items)
    assert zeros == pytest.approx(1 - len(wanted) / 8, abs=0.02)


def test_targets_are_another_class_and_one_for_what_moves():
    case = prepared("video", target_rule="random")
    drawn = set()
    for truth, targets in zip(case.items.truth, case.items.targets, strict=True):
        assert (targets != truth["labels"]).all()
        assert set(targets) <= set(range(CLASSES))
        of = {(label, target) for label, target in zip(truth["labels"], targets, strict=True)}
        assert len(of) == len(set(truth["labels"]))
        drawn |= {(target - label) % CLASSES for label, target in of}
    assert drawn == {1, 2}
    only = DetectionVictim(case.network, torch.device("cpu"), {**info("image"), "classes": ["r"]}, PIXELS, 50)
    with pytest.raises(LossyBenchError, match=r"goals: targeted needs a second class"):
        only.targets(case.items.integers, case.items.truth, case.how)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("detection", {"target_rule": "least_likely"}, "target_rule: least_likely has no meaning"),
        (
            "detection",
            {"attacks": {"pgd": ["8/255"], "square": ["8/255"]}},
            "square is not for detection; use any of pgd",
        ),
        ("classification", {"attacks": {"pgd": ["8/255"], "patch": [0.05]}}, "patch is not for classification"),
        ("detection", {"attacks": {"pgd": ["8/255"], "patch": [1.5]}}, "must be above 0 and at most 1"),
    ],
)
def test_settings_that_make_no_sense(kind, settings, message):
    with pytest.raises(LossyBenchError, match=message):
        AttackSettings.of("image", kind, settings)


def test_default_attacks_on_detectors():
    aims = AttackSettings.of("video", "detection", {}).aims
    assert aims[:2] == [Aim("pgd", "linf", 8 / 255, goal) for goal in ("untargeted", "targeted")]
    assert aims[-1] == Aim("patch", "share", 0.05, "untargeted")


def one(frame: int, box: list[float], label: int, score: float = 1.0) -> dict[str, Any]:
    return {"frame": frame, "box": box, "label": label, "score": score}


TRUE = [one(0, [0, 0, 10, 10], 1), one(0, [20, 0, 30, 10], 2), one(1, [0, 0, 10, 10], 1)]


def test_reading():
    found = [
        one(0, [0, 0, 10, 10], 1, 0.6),
        one(0, [0, 0, 10, 9], 2, 0.9),  # higher, and near enough: 0.9
        one(0, [0, 0, 10, 4.9], 0, 0.99),  # 0.49
        one(0, [20, 0, 30, 10], 2, 0.49),  # not sure enough
        one(0, [20, 0, 30, 5], 0, 0.5),  # both just so
        one(0, [0, 0, 10, 10], 0, 0.4),
    ]
    assert read(found, TRUE, 0.5).tolist() == [2, 0, NOTHING]
    assert read(found, TRUE, 0.61).tolist() == [2, NOTHING, NOTHING]
    assert read([], TRUE, 0.5).tolist() == [NOTHING] * 3
    assert read(found, [], 0.5).tolist() == []


def row(**changes: Any) -> dict[str, Any]:
    condition = {"attack": "pgd", "norm": "linf", "epsilon": 0.03, "tier": "T2", "level": 25.0, "own": True}
    right = [dict(box) for box in TRUE]
    found = {name: right for name in ("clean", "clean_after", "before", "after")}
    return {
        "id": "a",
        "goal": "targeted",
        "truth": right,
        "targets": np.array([2, 0, 2]),
        **condition,
        **found,
        **changes,
    }


@pytest.fixture
def table(tmp_path) -> pd.DataFrame:
    """Three items, one of them without an object, as they come back from a file."""
    after = [one(0, [0, 0, 10, 10], 2, 0.9), one(1, [40, 40, 50, 50], 1, 0.95)]
    nothing = {name: [] for name in ("truth", "targets", "clean", "clean_after", "before", "after")}
    rows = [
        row(after=after),
        row(**{**nothing, "id": "b", "before": [one(0, [0, 0, 9, 9], 1)]}),
        row(id="c", goal="untargeted", targets=[], before=after, after=[]),
    ]
    write_table(tmp_path / "attacks.parquet", DETECTION_ATTACKS, rows)
    return read_table(tmp_path / "attacks.parquet").to_pandas()


def test_one_row_for_each_true_object(table):
    result = objects(table, 0.5)
    assert list(result) == ATTACKS.names
    assert result["id"].tolist() == ["a#0", "a#1", "a#2", "c#0", "c#1", "c#2"]
    assert result["label"].tolist() == [1, 2, 1] * 2
    assert result["target"].tolist() == [2, 0, 2, -1, -1, -1]
    assert result["clean"].tolist() == result["clean_after"].tolist() == [1, 2, 1] * 2
    assert result["before"].tolist() == [1, 2, 1, 2, -1, -1]
    assert result["after"].tolist() == [2, -1, -1, -1, -1, -1]
    assert result["goal"].tolist() == ["targeted"] * 3 + ["untargeted"] * 3
    assert objects(table.iloc[1:2], 0.5).empty


def test_map_before_and_after(table):
    values = {name: robust_map(table.iloc[:1], name) for name in CONDITIONS}
    # Classes 1 and 2 of one item: behind the attack a false 2, and a 1 where there is none.
    assert values == {"clean": 1.0, "clean_after": 1.0, "before": 1.0, "after": 0.0}
    # A false 1 of the highest score in the item without objects: the two true ones come at precisions 1/2 and 2/3, of
    # which COCO reads the larger to the right, and equal scores stay in order.
    lower = [dict(box, score=0.9) for box in TRUE]
    both = pd.DataFrame([row(before=lower), dict(table.iloc[1])])
    assert robust_map(both, "before") == pytest.approx((2 / 3 + 1) / 2)
    assert all(np.isnan(robust_map(table.iloc[1:2], name)) for name in CONDITIONS)


def brightness(score: float) -> int:
    """The colour of a cell that `Cells` finds with about this score."""
    return round(255 * (0.5 + np.log(score / (1 - score)) / 20))


def lit(*cells: tuple[int, float, int]) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """A dark picture and its true objects, in a row: (colour that is lit, score of it, true class) each."""
    picture = np.full((SIDE, SIDE, 3), 100, np.uint8)
    for place, (colour, score, _) in enumerate(cells):
        picture[:CELL, place * CELL : (place + 1) * CELL, colour] = brightness(score)
    boxes = [
        {"frame": 0, "x0": CELL * place, "y0": 0, "x1": CELL * (place + 1), "y1": CELL, "label": label}
        for place, (*_, label) in enumerate(cells)
    ]
    return picture, boxes


def chosen(folder: Path, *pictures: tuple[np.ndarray, list[dict[str, Any]]], split: str = "val") -> dict[str, Any]:
    """The threshold of `Cells` on these pictures, which a data table has in a split."""
    rows = [media_tables.data_row(f"{i}", split, one, boxes=boxes) for i, (one, boxes) in enumerate(pictures)]
    if split == "val":  # test items, which shall not count where there are validation items
        rows += [media_tables.data_row("t", "test", lit((0, 0.9, 1))[0], boxes=lit((0, 0.9, 1))[1])]
    data = media_tables.write_data(folder / "data.parquet", rows, "image", "detection", list("rgb"))
    return threshold.choose(data, prepared("image", count=1).victim, 0)


def test_objects_count_from_the_score_at_which_as_many_are_read_as_map50_says(tmp_path, caplog):
    # Of four objects of one class three are found and one is too dark. All that is found is right, so that precision is
    # 1 up to a recall of 3/4, and COCO's mean over the recalls 0, 0.01, ..., 1 is 76/101.
    four = [lit((0, 0.95, 0), (0, 0.8, 0)), lit((0, 0.6, 0), (0, 0.2, 0))]
    found = chosen(tmp_path, *four)
    assert found["threshold_from"] == {
        "split": "val", "items": 2, "objects": 4, "map50": pytest.approx(76 / 101), "found": 0.75,
    }  # fmt: skip
    (sure,) = (x["score"] for x in prepared("image").victim.predict(np.moveaxis(four[1][0], -1, 0)[None])[0])
    assert found["threshold"] == pytest.approx(np.floor(100 * sure) / 100)  # the highest at which the third counts
    assert 0.55 < sure < 0.65
    # With a false detection that is surer than both right ones, 2/3 of all is right at best. One of two is nearer to
    # that than both, so that the surer one decides.
    false = lit((0, 0.95, 0), (0, 0.7, 0))
    found = chosen(tmp_path, (false[0], false[1][1:]), lit((0, 0.6, 0)))
    assert found["threshold_from"]["map50"] == pytest.approx(2 / 3)
    assert found["threshold_from"]["found"] == 0.5
    assert 0.65 < found["threshold"] < 0.75
    assert not caplog.records
    # A model that reads no object as its class, and data without validation items.
    found = chosen(tmp_path, lit((0, 0.9, 1)), split="test")
    assert (found["threshold"], found["threshold_from"]["found"], found["threshold_from"]["split"]) == (0.99, 0, "test")
    assert "no validation items" in caplog.text
    with pytest.raises(LossyBenchError, match=r"data.parquet: none of 1 items of the split val has an object"):
        chosen(tmp_path, (four[0][0], []))


def test_all_attacks_on_a_model_count_objects_from_one_score(tmp_path, monkeypatch):
    logging.getLogger("art").setLevel(logging.WARNING)
    network = Cells().eval().requires_grad_(False)
    about = {**info("image"), "task": "cells", "arch": "cells", "regime": "original", "seed": 0}
    monkeypatch.setattr(models, "load", lambda path, device: (network, about))
    rows = []
    for i in range(6):
        media, truth = scene("image", i)
        rows.append(media_tables.data_row(f"i{i}", "val" if i < 2 else "test", media, boxes=truth["boxes"]))
    data = media_tables.write_data(tmp_path / "data.parquet", rows, "image", "detection", list("rgb"))
    part = tmp_path / "jpeg.parquet"
    write_table(part, COMPRESSED, [], {"task": "cells", "codec": "jpeg", "level": 25, "options": {}})
    settings = {"attacks": {"pgd": ["38/255"], "pgd_doubled": ["38/255"], "noise": ["8/255"]}, "steps": 2, "calls": 20}
    bare, behind = tmp_path / "bare.parquet", tmp_path / "behind.parquet"
    stage.attack(tmp_path, data, [], "original", bare, settings=settings)
    stage.attack(tmp_path, data, [part], "jpeg", behind, oblivious=bare, settings=settings | {"adaptive_steps": 2})
    sure = min(one["score"] for item in prepared("image", count=2).items.clean for one in item)
    assert read_meta(bare)["threshold"] == pytest.approx(np.floor(100 * sure) / 100)
    for key in ("threshold", "threshold_from"):
        assert read_meta(bare)[key] == read_meta(behind)[key]
    assert len({row["tier"] for row in iter_rows(behind)}) == 3
    for row in (*iter_rows(bare), *iter_rows(behind)):
        assert row["calls"] <= 20
        assert row["calls"] >= 1 or row["attack"] == "pgd_doubled" or (row["tier"], row["level"]) == ("T0", 25)
