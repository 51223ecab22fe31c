"""A detector under attack: how its items are crafted by ART, and what counts as harm.

An untargeted attack raises the loss that the detector was trained by, against the true boxes; a targeted one lowers it
against the true boxes with other labels (`losses`). A clip is one item: the codec gets the whole clip, and its loss is
that of all frames which evaluation searches.

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from lossybench.attacks.attack_settings import Aim, AttackSettings, Goal
from lossybench.attacks.items import Items
from lossybench.attacks.losses import GREY, Asked, LossVictim, LossWatch, Targets, objects
from lossybench.attacks.methods import Effort
from lossybench.attacks.preprocessor import CodecPreprocessor
from lossybench.errors import LossyBenchError
from lossybench.models.inputs import Input, fit
from lossybench.reading import read
from lossybench.tasks.detection import Detection

# Through the detector. On a CPU core the gradients of 32 frames of 128 x 128 take 1.5 times as long as those of 4 x 8.
FRAMES_AT_ONCE = {"cpu": 8, "cuda": 32}


class DetectionVictim(LossVictim):
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

    def asked(self, through: Sequence[CodecPreprocessor] = (), trigger: bool = False) -> Searched:
        """As of `LossVictim`."""
        return Searched(self.network, self.task, through, trigger)

    def aimed(self, truth: np.ndarray, targets: np.ndarray | None = None) -> Targets:
        """Boxes (K, 5), the frame before the corners, and labels (K,)."""
        return _targets(truth, [one["labels"] for one in truth] if targets is None else targets)

    def beatable(self, truth: np.ndarray) -> np.ndarray:
        """Those with a true object."""
        return np.array([len(one["labels"]) > 0 for one in truth])

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

    def share(self, goal: Goal, truth: Mapping[str, np.ndarray], targets: Any, before: Any, after: Any) -> float:
        """The share of the true objects in which the goal is reached, and 0 where there are none.

        Untargeted: those not read as their label. Targeted: those read as their target. Trigger: those read as their
        label without the codec and not behind it. See `reading.read`.
        """
        objects = _found(truth)
        if not objects:
            return 0.0
        read_as = read(after, objects, self.least)
        won = read_as == targets if goal == "targeted" else read_as != truth["labels"]
        if goal == "trigger":
            won &= read(before, objects, self.least) == truth["labels"]
        return float(won.mean())

    def fields(self, items: Items, targeted: bool) -> list[dict[str, Any]]:
        """For each of the items what only artifacts.DETECTION_ATTACKS holds. targeted: whether the goal is."""
        both = zip(items.truth, items.targets, strict=True)
        return [{"truth": _found(truth), "targets": targets if targeted else []} for truth, targets in both]

    def at_once(self, integers: np.ndarray) -> int:
        """How many of the `integers` (N, ...) the detector gets together."""
        frames = len(self.task.searched(integers.shape[1])) if self.task.medium == "video" else 1
        return max(1, min(self.batch_size, FRAMES_AT_ONCE[self.device.type] // frames))


class Searched(Asked):
    """A detector as ART attacks it, on all frames of an item that evaluation searches."""

    def plain(self, x: torch.Tensor, targets: Targets) -> torch.Tensor:
        """As of `Asked`. The network has to be in training mode."""
        return torch.stack(list(self.network(self._frames(x), self._by_frame(targets, x)).values())).sum()

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


class _PatchWatch(LossWatch):
    """The same for one patch (1, 3, side, side) in all items, of which that with most harm on average counts.

    Each gradient is that of the next batch of items. Each time that all of them have had their turn, it is seen what
    the patch of then does to them. An item that is harmed more without it stays clean.
    """

    def __init__(self, victim: DetectionVictim, items: Items, aimed: Targets, aim: Aim, how: AttackSettings) -> None:
        super().__init__(victim, items, aimed, aim, how)
        height, width = items.integers.shape[-2:]
        self.side = patch_side(aim.epsilon, height, width)
        self.places = [least_covering(one["boxes"], self.side, height, width) for one in items.truth]
        self.clean_harm, self.mean = self.harm, -1.0
        self.turns: Iterator[tuple[int, np.ndarray]] = iter(())

    def run(self, build: Callable[[Any, Effort], Any], effort: Effort, rows: np.ndarray) -> None:
        """Run once the attack that `build` builds, on all items, as long as there are `rows` that are left."""
        self.turns = itertools.cycle(enumerate(self._split()))
        patch = np.full((1, 3, self.side, self.side), GREY, np.float32)
        nowhere = _targets(np.array([{"boxes": np.zeros((0, 4)), "labels": [], "frame": []}], object))
        found = build(self.victim.estimator(self), effort).generate(x=patch, y=nowhere)
        self._try(self._tensor(found))

    def forward(self, patch: torch.Tensor, _: Targets) -> dict[str, torch.Tensor]:
        """The loss of the next batch of items with this patch."""
        turn, rows = next(self.turns)
        if self.calls.max() >= self.most:
            return {"loss": 0 * patch.sum()}
        if turn == 0:
            self._try(patch)
        else:
            self.calls[rows] += 1
        targets = [{key: value.to(patch.device) for key, value in self.aimed[row].items()} for row in rows]
        x = self._pasted(rows, patch)
        return {"loss": self.asked.loss(x, self.asked.seen(x), targets)}

    def _try(self, patch: torch.Tensor) -> None:
        """Ask about all items with this patch, as long as they may be asked."""
        if self.calls.max() >= self.most:
            return
        self.calls += 1
        found = []
        with torch.no_grad():
            for rows in self._split():
                x = self._pasted(rows, patch)
                found.append((x.cpu().numpy(), self._reached(rows, x, self.asked.seen(x))))
        floats, harm = map(np.concatenate, zip(*found, strict=True))
        if harm.mean() >= self.mean:
            self.mean, self.harm = harm.mean(), np.maximum(harm, self.clean_harm)
            kept = (harm < self.clean_harm).reshape(-1, *[1] * (floats.ndim - 1))
            self.best = np.where(kept, self.items.integers, self.victim.grid.integers(floats))

    def _pasted(self, rows: np.ndarray, patch: torch.Tensor) -> torch.Tensor:
        """The items of these rows with the patch, rounded, in its places."""
        grid = self.victim.grid
        rounded = self._tensor(grid.floats(grid.integers(patch.detach().cpu().numpy())))
        colours, pasted = rounded + (patch - patch.detach()), self._tensor(grid.floats(self.items.integers[rows]))
        for i, row in enumerate(rows):
            top, left = self.places[row]
            pasted[i, ..., top : top + self.side, left : left + self.side] = colours[0]
        return pasted


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
    """Truths (N,) as ART hands them to `Searched`, with other labels where these are given."""
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


DetectionVictim.universal = _PatchWatch
