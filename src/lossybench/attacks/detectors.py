"""A detector under attack: how its items are crafted by ART, and what counts as harm.

An untargeted attack raises the loss that the detector was trained by, against the true boxes; a targeted one lowers it
against the true boxes with other labels. A clip is one item: the codec gets the whole clip, and its loss is that of all
frames which evaluation searches.

The loss is not the goal: it may rise while an object is found again. So each item that a search goes through is
rounded, coded and searched for objects too. Of all of them, the clean one included, the one with most harm counts; of
equals the latest, which has climbed furthest. A search begins at the item, from where it comes further than from a
random place, and on items that keep some object it begins again at random.

The patch is one square of any pixels for all items that are crafted together. In each item it lies where it covers the
least of the true objects, so that it harms by what it adds, not by what it hides. The same descent finds it as the
other attacks. ART's own patch attacks do not fit: in none may the place depend on the item; DPatch and RobustDPatch
take no clips; RobustDPatch raises the loss only against the detector's own findings and rounds pictures to multiples of
its step; AdversarialPatchPyTorch 1.20.1 never clears the gradients of its former steps, and needs as many boxes in one
picture as in another.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from lossybench.attacks.attack_settings import Aim, AttackSettings, Goal
from lossybench.attacks.items import Crafted, Items, Tried
from lossybench.attacks.methods import METHODS, Effort
from lossybench.attacks.preprocessor import CodecPreprocessor
from lossybench.attacks.toolbox import PyTorchObjectDetector
from lossybench.attacks.victim import MOMENTUM, VictimBase, seed_all
from lossybench.errors import LossyBenchError
from lossybench.models.inputs import Input, fit
from lossybench.reading import read
from lossybench.tasks.detection import Detection

# Through the detector. On a CPU core the gradients of 32 frames of 128 x 128 take 1.5 times as long as those of 4 x 8.
FRAMES_AT_ONCE = {"cpu": 8, "cuda": 32}
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
        each = zip(items.truth, items.targets, tried.before, tried.after, strict=True)
        return np.array([self._share(aim.goal, *one) for one in each])

    def judge(self, integers: np.ndarray, truth: np.ndarray, way: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """What is found (N,) in the integers (N, ...) behind the codec, if any, and the share of objects that are lost.

        truth: of the items. way: which of several codecs.
        """
        found = self.predict(self.through[way].decode(integers) if self.through else integers)
        return found, np.array(
            [self._share("untargeted", one, [], [], of) for one, of in zip(truth, found, strict=True)]
        )

    def reached(
        self, x: torch.Tensor, seen: Sequence[torch.Tensor], truth: np.ndarray, targets: np.ndarray, goal: Goal
    ) -> np.ndarray:
        """(N,): the harm to items `x` (N, ...) as they are `seen` behind each codec: its mean over these.

        truth, targets: of the items. goal: of the attack.
        """
        searched = _Searched(self.network, self.task)
        with _evaluating(self.network), torch.no_grad():
            before = searched.find(x) if goal == "trigger" else [[]] * len(x)
            views = [zip(truth, targets, before, searched.find(one), strict=True) for one in seen]
        return np.mean([[self._share(goal, *one) for one in each] for each in views], axis=0)

    def _share(self, goal: Goal, truth: Mapping[str, np.ndarray], targets: Any, before: Any, after: Any) -> float:
        """The harm to one item in which so much is found `before` and `after` the codec; see `harm`."""
        objects = _found(truth)
        if not objects:
            return 0.0
        read_as = read(after, objects, self.least)
        won = read_as == targets if goal == "targeted" else read_as != truth["labels"]
        if goal == "trigger":
            won &= read(before, objects, self.least) == truth["labels"]
        return float(won.mean())

    def zero_gradient(self, items: Items) -> np.ndarray:
        """(N,): share of zeros in the gradient of the loss at the clean items, as an attacker sees it."""
        estimator = self.estimator(_Searched(self.network, self.task, self.through))
        shares: list[float] = []
        for part in self._parts(items.integers):
            gradient = estimator.loss_gradient(self.grid.floats(items.integers[part]), _targets(items.truth[part]))
            shares += (gradient == 0).reshape(len(gradient), -1).mean(1).tolist()
        self.network.eval()  # ART leaves it in training mode
        return np.array(shares)

    def craft(
        self,
        items: Items,
        aim: Aim,
        how: AttackSettings,
        entropy: tuple[int, ...],
        done: np.ndarray,
        start: np.ndarray | None = None,
    ) -> Crafted:
        """Adversarial items for `items`, made for one aim, through the codec where there is one.

        how: the effort. entropy: seeds random starts, and what a detector draws in its loss. done: bool (N,), items
        that are beaten already, on which an attack makes one run and no further ones. start: has no meaning, as no
        search on scores is for detectors. Raises LossyBenchError for a patch smaller than a pixel or larger than the
        picture.
        """
        method = METHODS[aim.attack]
        assert method.build is not None  # which a search on the scores has not
        seed_all(entropy)
        labels = items.targets if aim.goal == "targeted" else [one["labels"] for one in items.truth]
        watch: _Watch = (_PatchWatch if method.universal else _Watch)(
            self, items, _targets(items.truth, labels), aim, how
        )
        steps, step = how.search(method, bool(self.through), self.effort)
        radius = GREY if method.universal else float(self.grid.radius(aim.norm, aim.epsilon, items.integers[:1])[0])
        p, at_once = 2 if aim.norm == "l2" else np.inf, self.at_once(items.integers)
        # A method that goes on after another begins elsewhere than that one did.
        effort = Effort(p, radius, aim.goal == "targeted", steps, radius * step, at_once, random=bool(method.after))
        # What is made without regard to a codec shall still harm behind one: it goes on where an item is beaten.
        watch.stop = bool(self.through)
        watch.run(method.build, effort, np.arange(len(items.ids)))
        watch.stop = True
        again = dataclasses.replace(effort, momentum=MOMENTUM[aim.norm], random=True)
        some = np.array([len(one["labels"]) > 0 for one in items.truth])
        for _ in range(how.restarts if method.restarts else 0):
            left = np.flatnonzero(watch.left & some & ~done)
            if not len(left):
                break
            watch.run(method.build, again, left)
        self.network.eval()  # ART leaves it in training mode
        return Crafted(watch.best, watch.calls)

    def fields(self, items: Items, targeted: bool) -> list[dict[str, Any]]:
        """For each of the items what only artifacts.DETECTION_ATTACKS holds. targeted: whether the goal is."""
        both = zip(items.truth, items.targets, strict=True)
        return [{"truth": _found(truth), "targets": targets if targeted else []} for truth, targets in both]

    def at_once(self, integers: np.ndarray) -> int:
        """How many of the `integers` (N, ...) the detector gets together."""
        frames = len(self.task.searched(integers.shape[1])) if self.task.medium == "video" else 1
        return max(1, min(self.batch_size, FRAMES_AT_ONCE[self.device.type] // frames))

    def _parts(self, integers: np.ndarray) -> list[slice]:
        step = self.at_once(integers)
        return [slice(i, i + step) for i in range(0, len(integers), step)]

    def estimator(self, network: nn.Module) -> PyTorchObjectDetector:
        """The `network`, which returns {loss}, as ART attacks it."""
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
        return {"loss": self.loss(x, self.seen(x), targets)}

    def seen(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The items `x` behind each codec; as they are, where there is none."""
        return [one.forward(x)[0] for one in self.through] or [x]

    def loss(self, x: torch.Tensor, seen: Sequence[torch.Tensor], targets: Targets) -> torch.Tensor:
        """The loss, a scalar, of the items `x` as they are `seen`. The network has to be in training mode."""
        aimed = self._by_frame(targets, x)
        loss = torch.stack([self._loss(one, aimed) for one in seen]).mean()
        return loss.log() - self._loss(x, aimed).log() if self.trigger else loss

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


class _Watch(nn.Module):
    """A detector as one attack on N items asks it, and what the attack has come to; see `watch.Watch`.

    victim: the detector, behind its codecs. items: what is attacked. aimed: the targets that ART hands on. how: says
    how often each item may be asked about.

    best: the items with most harm so far, integers within the budget. harm: theirs, (N,). calls: how often each item
    was asked about, (N,). stop: whether items are left out of which no object is left.
    """

    def __init__(self, victim: DetectionVictim, items: Items, aimed: Targets, aim: Aim, how: AttackSettings) -> None:
        super().__init__()
        self.victim, self.items, self.aimed, self.aim, self.most = victim, items, aimed, aim, how.calls
        self.searched = _Searched(victim.network, victim.task, victim.through, aim.goal == "trigger")
        self.best, self.last = items.integers.copy(), items.integers.copy()
        self.harm, self.calls = np.zeros(len(items.ids)), np.zeros(len(items.ids), np.int32)
        self.stop = True
        self.rows = np.arange(len(items.ids))  # of the items that the search is given
        for part in self._split():  # the clean items are the first attempt
            x = self._tensor(victim.grid.floats(items.integers[part]))
            self._note(part, items.integers[part], x, self.searched.seen(x))

    @property
    def left(self) -> np.ndarray:
        """Those, bool (N,), that may be asked about again; beaten ones too unless the attack may `stop` at them."""
        return ~((self.harm >= 1) & self.stop) & (self.calls < self.most)

    def run(self, build: Callable[[Any, Effort], Any], effort: Effort, rows: np.ndarray) -> None:
        """Run once the attack that `build` builds, on the items of these rows."""
        attack = build(self.victim.estimator(self), effort)
        for first in range(0, len(rows), effort.batch_size):
            self.rows = rows[first : first + effort.batch_size]
            x = self.victim.grid.floats(self.items.integers[self.rows])
            self._look(self._tensor(attack.generate(x=x, y=[self.aimed[row] for row in self.rows])))

    def forward(self, x: torch.Tensor, targets: Targets) -> dict[str, torch.Tensor]:
        """The loss of the items `x` of `rows`, as far as they are left, with their `targets`."""
        at, asked, seen = self._look(x)
        at_left = self.left[self.rows[at]]
        if not at_left.any():
            return {"loss": 0 * x.sum()}
        here = torch.from_numpy(np.flatnonzero(at_left)).to(x.device)
        aimed = [targets[place] for place in at[at_left]]
        return {"loss": self.searched.loss(asked[here], [one[here] for one in seen], aimed)}

    def _look(self, x: torch.Tensor) -> tuple[np.ndarray, torch.Tensor, list[torch.Tensor]]:
        """Round those of the items `x` of `rows` that are left, see them behind the codecs, and note what they reach.

        Returns their places in `x`, (n,), the rounded items, and these as they are seen.
        """
        at, grid = np.flatnonzero(self.left[self.rows]), self.victim.grid
        rows, asked = self.rows[at], x[torch.from_numpy(at).to(x.device)]
        if not len(at):
            return at, asked, []
        clean = self.items.integers[rows]
        integers = grid.within(asked.detach().cpu().numpy(), clean, self.aim.norm, self.aim.epsilon)
        asked = self._tensor(grid.floats(integers)) + (asked - asked.detach())  # exactly the former, as a step from x
        seen = self.searched.seen(asked)
        # A search that begins at the item asks about it once more, which is neither looked at nor counted again.
        new = np.flatnonzero((integers != self.last[rows]).reshape(len(rows), -1).any(1))
        if len(new):
            here = torch.from_numpy(new).to(x.device)
            self._note(rows[new], integers[new], asked[here], [one[here] for one in seen])
        return at, asked, seen

    def _note(self, rows: np.ndarray, integers: np.ndarray, x: torch.Tensor, seen: Sequence[torch.Tensor]) -> None:
        self.calls[rows] += 1
        self.last[rows] = integers
        harm = self._reached(rows, x, seen)
        better = harm >= self.harm[rows]
        self.best[rows[better]], self.harm[rows[better]] = integers[better], harm[better]

    def _reached(self, rows: np.ndarray, x: torch.Tensor, seen: Sequence[torch.Tensor]) -> np.ndarray:
        return self.victim.reached(x, seen, self.items.truth[rows], self.items.targets[rows], self.aim.goal)

    def _split(self) -> list[np.ndarray]:
        size = self.victim.at_once(self.items.integers)
        return np.split(np.arange(len(self.items.ids)), range(size, len(self.items.ids), size))

    def _tensor(self, floats: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(floats).to(self.victim.device)


class _PatchWatch(_Watch):
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
        return {"loss": self.searched.loss(x, self.searched.seen(x), targets)}

    def _try(self, patch: torch.Tensor) -> None:
        """Ask about all items with this patch, as long as they may be asked."""
        if self.calls.max() >= self.most:
            return
        self.calls += 1
        found = []
        with torch.no_grad():
            for rows in self._split():
                x = self._pasted(rows, patch)
                found.append((x.cpu().numpy(), self._reached(rows, x, self.searched.seen(x))))
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


@contextlib.contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Within, the network finds objects, in whatever mode ART has put its modules for the sake of their losses."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


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
