"""Attacks that follow the loss that a model was trained by: what attacked detectors and segmenters share.

An untargeted attack raises that loss against what is true; a targeted one lowers it against what shall be read instead.

The loss is not the goal: it may rise while an object is found again. So each item that a search goes through is
rounded, coded and looked at too. Of all of them, the clean one included, the one with most harm counts; of equals the
latest, which has climbed furthest. A search begins at the item, from where it comes further than from a random place,
and on items that are not beaten wholly it begins again at random.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from lossybench.attacks.attack_settings import Aim, AttackSettings, Goal
from lossybench.attacks.items import Crafted, Items, Tried
from lossybench.attacks.methods import METHODS, Effort
from lossybench.attacks.preprocessor import CodecPreprocessor
from lossybench.attacks.toolbox import PyTorchObjectDetector
from lossybench.attacks.victim import MOMENTUM, VictimBase, seed_all

GREY = 0.5  # where the search for a change of all items begins; no value is further away than this
# What ART hands on of each item's truth, as if of a detector: the tensors boxes and labels.
Targets = list[dict[str, Any]]


class Asked(nn.Module, abc.ABC):
    """A model as ART expects a detector, on whole items (N, ...). Its loss is that behind the codecs, if there are any.

    The codecs are part of it because ART takes a detector's gradient behind its preprocessors. The loss of several is
    their mean: expectation over transformation (Athalye et al. 2018, arXiv 1707.07397), exact because levels are
    countable. With `trigger` the loss is that behind the codec in proportion to that without it. Both are positive, and
    by the logarithm neither outgrows the other.

    again: whether the search begins again, and may follow another loss. targeted: whether it lowers the loss.
    """

    def __init__(
        self, network: nn.Module, task: Any, through: Sequence[CodecPreprocessor] = (), trigger: bool = False
    ) -> None:
        super().__init__()
        self.network, self.task, self.through, self.trigger = network, task, through, trigger
        self.again, self.targeted = False, False

    def forward(self, x: torch.Tensor, targets: Targets) -> dict[str, torch.Tensor]:
        """The loss of the items `x` with their `targets`, as ART asks for it."""
        return {"loss": self.loss(x, self.seen(x), targets)}

    def seen(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The items `x` behind each codec; as they are, where there is none."""
        return [one.forward(x)[0] for one in self.through] or [x]

    def loss(self, x: torch.Tensor, seen: Sequence[torch.Tensor], targets: Targets) -> torch.Tensor:
        """The loss, a scalar, of the items `x` as they are `seen`. A detector has to be in training mode."""
        loss = torch.stack([self.plain(one, targets) for one in seen]).mean()
        return loss.log() - self.plain(x, targets).log() if self.trigger else loss

    @abc.abstractmethod
    def plain(self, x: torch.Tensor, targets: Targets) -> torch.Tensor:
        """The loss, a scalar above 0, of the items `x` without a codec."""

    @abc.abstractmethod
    def find(self, x: torch.Tensor) -> list[Any]:
        """What the network, in evaluation mode, finds in each of the items `x` without a codec."""


class LossVictim(VictimBase):
    """A model, bare or behind a codec, whose harm is a share of what is true of an item.

    Predictions and truths are arrays (N,) of whatever the kind of task finds in an item.
    universal: watches an attack of one change for all items; none, where there is no such attack.
    """

    universal: ClassVar[Any] = None

    @abc.abstractmethod
    def asked(self, through: Sequence[CodecPreprocessor] = (), trigger: bool = False) -> Asked:
        """The model as ART attacks it; see `Asked` for the arguments."""

    @abc.abstractmethod
    def aimed(self, truth: np.ndarray, targets: np.ndarray | None = None) -> Targets:
        """The truths (N,) as ART hands them on, or what shall be read in their place: `targets` (N,)."""

    @abc.abstractmethod
    def beatable(self, truth: np.ndarray) -> np.ndarray:
        """Of which items, bool (N,), something can be lost. truth: theirs."""

    @abc.abstractmethod
    def share(self, goal: Goal, truth: Any, targets: Any, before: Any, after: Any) -> float:
        """The harm to one item: the share of what is true of it in which the `goal` is reached, and 1 if all is.

        truth, targets: of the item. before, after: what is found without and behind the codec; of `before` only a
        trigger asks, else it may be None.
        """

    @abc.abstractmethod
    def at_once(self, integers: np.ndarray) -> int:
        """How many of the `integers` (N, ...) the model gets together."""

    def gathered(self, truths: Sequence[Any]) -> np.ndarray:
        """The truths of items as an array (N,), each as it is."""
        return objects(truths)

    def predict(self, integers: np.ndarray) -> np.ndarray:
        """What is found (N,) in the integers (N, ...) without the codec."""
        asked, found = self.asked(), []
        with torch.inference_mode():
            for part in self._parts(integers):
                found += asked.find(torch.from_numpy(self.grid.floats(integers[part])).to(self.device))
        return objects(found)

    def harm(self, tried: Tried, items: Items, aim: Aim) -> np.ndarray:
        """(N,): the harm to each of the items of what was tried, by the goal of the aim; see `share`."""
        each = zip(items.truth, items.targets, tried.before, tried.after, strict=True)
        return np.array([self.share(aim.goal, *one) for one in each])

    def judge(self, integers: np.ndarray, truth: np.ndarray, way: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """What is found (N,) in the integers (N, ...) behind the codec, if any, and the share of it that is lost.

        truth: of the items. way: which of several codecs.
        """
        found = self.predict(self.through[way].decode(integers) if self.through else integers)
        both = zip(truth, found, strict=True)
        return found, np.array([self.share("untargeted", one, None, None, of) for one, of in both])

    def reached(
        self, x: torch.Tensor, seen: Sequence[torch.Tensor], truth: np.ndarray, targets: np.ndarray, goal: Goal
    ) -> np.ndarray:
        """(N,): the harm to items `x` (N, ...) as they are `seen` behind each codec: its mean over these.

        truth, targets: of the items. goal: of the attack.
        """
        asked = self.asked()
        with _evaluating(self.network), torch.no_grad():
            before = asked.find(x) if goal == "trigger" else [None] * len(x)
            views = [zip(truth, targets, before, asked.find(one), strict=True) for one in seen]
        return np.mean([[self.share(goal, *one) for one in each] for each in views], axis=0)

    def zero_gradient(self, items: Items) -> np.ndarray:
        """(N,): share of zeros in the gradient of the loss at the clean items, as an attacker sees it."""
        estimator = self.estimator(self.asked(self.through))
        shares: list[float] = []
        for part in self._parts(items.integers):
            gradient = estimator.loss_gradient(self.grid.floats(items.integers[part]), self.aimed(items.truth[part]))
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

        how: the effort. entropy: seeds random starts, and what a model draws in its loss. done: bool (N,), items
        that are beaten already, on which an attack makes one run and no further ones. start: has no meaning, as no
        search on scores is for detectors. Raises LossyBenchError for a patch smaller than a pixel or larger than the
        picture.
        """
        method = METHODS[aim.attack]
        assert method.build is not None  # which a search on the scores has not
        seed_all(entropy)
        aimed = self.aimed(items.truth, items.targets if aim.goal == "targeted" else None)
        watch = (self.universal if method.universal else LossWatch)(self, items, aimed, aim, how)
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
        some = self.beatable(items.truth)
        watch.asked.again, watch.asked.targeted = aim.goal != "trigger", aim.goal == "targeted"
        for _ in range(how.restarts if method.restarts else 0):
            left = np.flatnonzero(watch.left & some & ~done)
            if not len(left):
                break
            watch.run(method.build, again, left)
        self.network.eval()  # ART leaves it in training mode
        return Crafted(watch.best, watch.calls)

    def _parts(self, integers: np.ndarray) -> list[slice]:
        step = self.at_once(integers)
        return [slice(i, i + step) for i in range(0, len(integers), step)]

    def estimator(self, network: nn.Module) -> PyTorchObjectDetector:
        """The `network`, which returns {loss}, as ART attacks it."""
        bounds = self.grid.clip_values
        return PyTorchObjectDetector(network, clip_values=bounds, attack_losses=("loss",), device_type=self.device_type)


class LossWatch(nn.Module):
    """A model as one attack on N items asks it, and what the attack has come to; see `watch.Watch`.

    victim: the model, behind its codecs. items: what is attacked. aimed: the targets that ART hands on. how: says
    how often each item may be asked about.

    best: the items with most harm so far, integers within the budget. harm: theirs, (N,). calls: how often each item
    was asked about, (N,). stop: whether items are left out that are
    beaten wholly.
    """

    def __init__(self, victim: LossVictim, items: Items, aimed: Targets, aim: Aim, how: AttackSettings) -> None:
        super().__init__()
        self.victim, self.items, self.aimed, self.aim, self.most = victim, items, aimed, aim, how.calls
        self.asked = victim.asked(victim.through, aim.goal == "trigger")
        self.best, self.last = items.integers.copy(), items.integers.copy()
        self.harm, self.calls = np.zeros(len(items.ids)), np.zeros(len(items.ids), np.int32)
        self.stop = True
        self.rows = np.arange(len(items.ids))  # of the items that the search is given
        for part in self._split():  # the clean items are the first attempt
            x = self._tensor(victim.grid.floats(items.integers[part]))
            self._note(part, items.integers[part], x, self.asked.seen(x))

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
        return {"loss": self.asked.loss(asked[here], [one[here] for one in seen], aimed)}

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
        seen = self.asked.seen(asked)
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


def objects(each: Sequence[Any]) -> np.ndarray:
    """An array (N,) that holds each as it is; np.array would make further axes of lists of equal lengths."""
    return np.fromiter(each, object, len(each))
