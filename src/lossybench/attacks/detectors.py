"""A detector under attack: how its items are crafted by ART, and what counts as harm.

An untargeted attack raises the loss that the detector was trained by, against the true boxes; a targeted one lowers it
against the true boxes with other labels. A clip is one item: the codec gets the whole clip, and its loss is that of all
frames which evaluation searches.

The patch is one square of any pixels for all items that are crafted together. In each item it lies where it covers the
least of the true objects, so that it harms by what it adds, not by what it hides. The same descent finds it as the
other attacks. ART's own patch attacks do not fit: in none may the place depend on the item; DPatch and RobustDPatch
take no clips; RobustDPatch raises the loss only against the detector's own findings and rounds pictures to multiples of
its step; AdversarialPatchPyTorch 1.20.1 never clears the gradients of its former steps, and needs as many boxes in one
picture as in another.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from art.estimators.object_detection import PyTorchObjectDetector
from torch import nn

from lossybench.attacks.attack_settings import Aim, AttackSettings
from lossybench.attacks.items import Items, Tried
from lossybench.attacks.methods import METHODS, Effort
from lossybench.attacks.preprocessor import CodecPreprocessor
from lossybench.attacks.victim import VictimBase, seed_all
from lossybench.errors import LossyBenchError
from lossybench.models.inputs import Input, fit
from lossybench.reading import read
from lossybench.tasks.detection import Detection

FRAMES_AT_ONCE = 32  # through the detector; more is no faster on a CPU core, and takes 20 MB a frame of 128 x 128
GREY = 0.5  # where the search for a patch begins; no colour is further away than this

# What ART hands on of each item's truth: boxes (K, 5), the frame before the corners, and labels (K,).
Targets = list[dict[str, Any]]


class DetectionVictim(VictimBase):
    """A detector, bare or behind a codec, as it predicts from integers (N, ...) in the model's layout.

    Images are (N, 3, H, W) and clips (N, frames, 3, H, W), at the height and width of the model's input and with all of
    their frames. Predictions are arrays (N,) of lists of what was found, each {frame, box, label, score} as in
    artifacts.DETECTION_ATTACKS. A truth is a dictionary {boxes (K, 4) in pixels of the input, labels (K,), frame (K,)};
    a frame's number counts the searched frames alone. Items without a true object are attacked like all others, which
    makes the detector find what is not there; `harm` counts lost objects and stays 0 for them.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.task = Detection(self.info)

    def item(self, media: np.ndarray, row: Mapping[str, Any], whole: bool) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The decoded item `media` as integers in the model's layout, and its truth. row: its row of the data table.

        whole: whether all clips are of one length. Raises LossyBenchError for clips that are not.
        """
        clip = self.task.medium == "video"
        if clip and not whole:
            raise LossyBenchError("clips of different lengths can't be attacked together; cut them to one length")
        size = Input((len(media), *self.task.input.shape[-2:])) if clip else self.task.input
        frames = self.task.searched(len(media)) if clip else np.zeros(1, int)
        each = [self.task.target(row, int(frame)) for frame in frames]
        truth = {key: np.concatenate([one[key] for one in each]) for key in ("boxes", "labels")}
        truth["frame"] = np.repeat(np.arange(len(each)), [len(one["labels"]) for one in each])
        return self.grid.layout(fit(media, self.task.medium, size, crop=False)), truth

    def predict(self, integers: np.ndarray) -> np.ndarray:
        """What is found (N,) in the integers (N, ...) without the codec."""
        searched, found = _Searched(self.network, self.task), []
        with torch.inference_mode():
            for part in self._parts(integers):
                found += searched.find(torch.from_numpy(self.grid.floats(integers[part])).to(self.device))
        return objects(found)

    def targets(self, integers: np.ndarray, truth: np.ndarray, how: AttackSettings) -> np.ndarray:
        """(N,): for all items at once the classes (K,) that their true objects shall be read as, never their label.

        Objects of one item and class share the target, so that what moves through a clip has one. integers: the clean
        items. truth: theirs. how: says by which rule. Raises LossyBenchError where there is no other class.
        """
        if self.classes == 1 and "targeted" in how.goals:
            raise LossyBenchError("attack setting goals: targeted needs a second class; use [untargeted]")
        away = np.ones((len(truth), self.classes), int)
        if how.target_rule == "random" and self.classes > 1:
            away = np.random.default_rng(how.seed).integers(1, self.classes, away.shape)
        labels = [one["labels"] for one in truth]
        return objects([(mine + by[mine]) % self.classes for mine, by in zip(labels, away, strict=True)])

    @staticmethod
    def target(row: Mapping[str, Any]) -> np.ndarray:
        """The target classes (K,) in `row`, a row of artifacts.DETECTION_ATTACKS."""
        return np.array(row["targets"], int)

    def harm(self, tried: Tried, items: Items, aim: Aim) -> np.ndarray:
        """(N,): the share of the true objects of each of the items in which what was tried reached the goal of the aim.

        Untargeted: those not read as their label. Targeted: those read as their target. Trigger: those read as their
        label without the codec and not behind it. See `reading.read`. The share is 0 where there are no objects.
        """
        shares = np.zeros(len(items.ids))
        for i, truth in enumerate(items.truth):
            objects = _found(truth)
            after = read(tried.after[i], objects)
            won = after == items.targets[i] if aim.goal == "targeted" else after != truth["labels"]
            if aim.goal == "trigger":
                won &= read(tried.before[i], objects) == truth["labels"]
            shares[i] = won.mean() if len(won) else 0.0
        return shares

    def zero_gradient(self, items: Items) -> np.ndarray:
        """(N,): share of zeros in the gradient of the loss at the clean items, as an attacker sees it."""
        estimator = self._estimator(_Searched(self.network, self.task, self.through))
        shares: list[float] = []
        for part in self._parts(items.integers):
            gradient = estimator.loss_gradient(self.grid.floats(items.integers[part]), _targets(items.truth[part]))
            shares += (gradient == 0).reshape(len(gradient), -1).mean(1).tolist()
        self.network.eval()  # ART leaves it in training mode
        return np.array(shares)

    def craft(self, items: Items, aim: Aim, how: AttackSettings, entropy: tuple[int, ...]) -> np.ndarray:
        """Adversarial integers (N, ...) for `items`, made for one aim, through the codec where there is one.

        how: the effort. entropy: seeds what a detector draws in its loss; the search itself starts at the item, and
        that for a patch at grey. Raises LossyBenchError for a patch smaller than a pixel or larger than the picture.
        """
        method = METHODS[aim.attack]
        seed_all(entropy)
        labels = items.targets if aim.goal == "targeted" else [one["labels"] for one in items.truth]
        aimed = _targets(items.truth, labels)
        searched = _Searched(self.network, self.task, self.through, aim.goal == "trigger")
        steps, step = how.search(method, bool(self.through), self.effort)
        radius = GREY if method.universal else float(self.grid.radius(aim.norm, aim.epsilon, items.integers[:1])[0])
        p, at_once = 2 if aim.norm == "l2" else np.inf, self._at_once(items.integers)
        effort = Effort(p, radius, aim.goal == "targeted", steps, radius * step, how.queries, at_once)
        if method.universal:
            found = self._patched(items, aimed, aim, searched, method.build, effort)
        else:
            attack = method.build(self._estimator(searched), effort)
            found = attack.generate(x=self.grid.floats(items.integers), y=aimed)
            found = self.grid.within(found, items.integers, aim.norm, aim.epsilon)
        self.network.eval()  # ART leaves it in training mode
        return found

    def _patched(
        self, items: Items, aimed: Targets, aim: Aim, searched: _Searched, build: Any, effort: Effort
    ) -> np.ndarray:
        height, width = items.integers.shape[-2:]
        side = patch_side(aim.epsilon, height, width)
        places = np.array([least_covering(one["boxes"], side, height, width) for one in items.truth])
        aimed = [{key: value.to(self.device) for key, value in one.items()} for one in aimed]
        batches = [
            (torch.from_numpy(self.grid.floats(items.integers[part])).to(self.device), aimed[part], places[part])
            for part in self._parts(items.integers)
        ]
        patch = np.full((1, 3, side, side), GREY, np.float32)
        nowhere = _targets(np.array([{"boxes": np.zeros((0, 4)), "labels": [], "frame": []}], object))
        found = build(self._estimator(_Patched(searched, batches)), effort).generate(x=patch, y=nowhere)
        patched = items.integers.copy()
        for item, (top, left) in zip(patched, places, strict=True):
            item[..., top : top + side, left : left + side] = self.grid.integers(found[0])
        return patched

    def fields(self, items: Items, targeted: bool) -> list[dict[str, Any]]:
        """For each of the items what only artifacts.DETECTION_ATTACKS holds. targeted: whether the goal is."""
        both = zip(items.truth, items.targets, strict=True)
        return [{"truth": _found(truth), "targets": targets if targeted else []} for truth, targets in both]

    def _at_once(self, integers: np.ndarray) -> int:
        frames = len(self.task.searched(integers.shape[1])) if self.task.medium == "video" else 1
        return max(1, min(self.batch_size, FRAMES_AT_ONCE // frames))

    def _parts(self, integers: np.ndarray) -> list[slice]:
        step = self._at_once(integers)
        return [slice(i, i + step) for i in range(0, len(integers), step)]

    def _estimator(self, network: nn.Module) -> PyTorchObjectDetector:
        bounds = self.grid.clip_values
        return PyTorchObjectDetector(network, clip_values=bounds, attack_losses=("loss",), device_type=self.device_type)


class _Searched(nn.Module):
    """A detector as ART expects it, on whole items (N, ...). Its loss is that behind the codecs, if there are any.

    The codecs are part of it because ART takes a detector's gradient behind its preprocessors. The loss of several is
    their mean: expectation over transformation (Athalye et al. 2018, arXiv 1707.07397), exact because levels are
    countable. With `trigger` the loss is that behind the codec in proportion to that without it. Both are positive, and
    by the logarithm neither outgrows the other.
    """

    def __init__(
        self, network: nn.Module, task: Detection, through: Sequence[CodecPreprocessor] = (), trigger: bool = False
    ) -> None:
        super().__init__()
        self.network, self.task, self.through, self.trigger = network, task, through, trigger

    def forward(self, x: torch.Tensor, targets: Targets) -> dict[str, torch.Tensor]:
        aimed = self._by_frame(targets, x)
        seen = [one.forward(x)[0] for one in self.through] or [x]
        loss = torch.stack([self._loss(one, aimed) for one in seen]).mean()
        return {"loss": loss.log() - self._loss(x, aimed).log() if self.trigger else loss}

    def find(self, x: torch.Tensor) -> list[list[dict[str, Any]]]:
        """What the network, in evaluation mode, finds in each of the items `x` without a codec."""
        found = iter(self.task.predict(self.network, self._frames(x)))
        count = self._count(x)
        return [
            [
                {"frame": frame, "box": box, "label": int(label), "score": score}
                for frame, one in enumerate(itertools.islice(found, count))
                for box, label, score in zip(*(one[key].tolist() for key in ("boxes", "labels", "scores")), strict=True)
            ]
            for _ in x
        ]

    def _loss(self, x: torch.Tensor, targets: Targets) -> torch.Tensor:
        return torch.stack(list(self.network(self._frames(x), targets).values())).sum()

    def _count(self, x: torch.Tensor) -> int:
        return len(self.task.searched(x.shape[1])) if self.task.medium == "video" else 1

    def _frames(self, x: torch.Tensor) -> torch.Tensor:
        """Pictures as they are; of clips the windows around searched frames (N x searched, window, 3, H, W)."""
        if self.task.medium == "image":
            return x
        windows = self.task.windows(self.task.searched(x.shape[1]), x.shape[1])
        return x[:, torch.from_numpy(windows).to(x.device)].flatten(0, 1)

    def _by_frame(self, targets: Targets, x: torch.Tensor) -> Targets:
        return [
            {"boxes": one["boxes"][here, 1:], "labels": one["labels"][here]}
            for one in targets
            for here in (one["boxes"][:, 0] == frame for frame in range(self._count(x)))
        ]


class _Patched(nn.Module):
    """A detector of one patch (1, 3, side, side), which each call pastes into the items of the next batch.

    batches: items (N, ...), their targets, and the patch's top and left in them (N, 2).
    """

    def __init__(self, searched: _Searched, batches: list[tuple[torch.Tensor, Targets, np.ndarray]]) -> None:
        super().__init__()
        self.searched, self.batches = searched, itertools.cycle(batches)

    def forward(self, patch: torch.Tensor, _: Targets) -> dict[str, torch.Tensor]:
        items, targets, places = next(self.batches)
        side, pasted = patch.shape[-1], items.clone()
        for i, (top, left) in enumerate(places):
            pasted[i, ..., top : top + side, left : left + side] = patch[0]
        return self.searched(pasted, targets)


def patch_side(share: float, height: int, width: int) -> int:
    """The side in pixels of the largest square within this share (0 to 1) of the area `height` x `width` in pixels.

    Raises LossyBenchError where the side is less than a pixel, or longer than the picture.
    """
    side = math.isqrt(math.floor(share * height * width + 1e-6))
    if not 1 <= side <= min(height, width):
        raise LossyBenchError(
            f"attack setting attacks: patch: the square of share {share:g} has a side of {side} pixels in pictures of "
            f"{width} x {height}; it must be between 1 and {min(height, width)}"
        )
    return side


def least_covering(boxes: np.ndarray, side: int, height: int, width: int) -> tuple[int, int]:
    """Top and left of the square of `side` pixels that covers least of the boxes (K, 4) of a picture.

    height, width: of the picture, in pixels. The place is the one with the smallest sum of the covered shares of the
    boxes; of equals the topmost, then leftmost.
    """
    tops, lefts = np.arange(height - side + 1), np.arange(width - side + 1)
    covered = np.zeros((len(tops), len(lefts)))
    for x0, y0, x1, y1 in boxes.astype(np.float64):
        rows = np.clip(np.minimum(tops + side, y1) - np.maximum(tops, y0), 0, None)
        columns = np.clip(np.minimum(lefts + side, x1) - np.maximum(lefts, x0), 0, None)
        covered += rows[:, None] * columns / ((x1 - x0) * (y1 - y0))
    top, left = np.unravel_index(np.argmin(covered), covered.shape)
    return int(top), int(left)


def _targets(truth: np.ndarray, labels: Sequence[np.ndarray] | np.ndarray | None = None) -> Targets:
    """Truths (N,) as ART hands them to `_Searched`, with other labels where these are given."""
    return [
        {
            "boxes": torch.from_numpy(np.column_stack([one["frame"], one["boxes"]]).astype(np.float32)),
            "labels": torch.from_numpy(np.asarray(one["labels"] if labels is None else labels[i], np.int64)),
        }
        for i, one in enumerate(truth)
    ]


def _found(truth: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """A truth in the form of a prediction, with a score of 1."""
    return [
        {"frame": frame, "box": box, "label": label, "score": 1.0}
        for frame, box, label in zip(*(truth[key].tolist() for key in ("frame", "boxes", "labels")), strict=True)
    ]


def objects(each: Sequence[Any]) -> np.ndarray:
    """An array (N,) that holds each as it is; np.array would make further axes of lists of equal lengths."""
    return np.fromiter(each, object, len(each))
