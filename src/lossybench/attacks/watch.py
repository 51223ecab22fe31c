"""What ART's attacks lack: the best item of a search, whatever loop runs it, and no effort on items that are beaten.

Behind a codec the objective jumps: of all the items that a search goes through, the last is seldom the best. ART
returns the last one, also of APGD, and searches on where an item is beaten. So an attack is given a `Watch` for its
model. ART's attacks need gradients, and for each of them they put an item to the model. There the watch rounds the item
to integers within the budget, which the codec and the model are asked about, and remembers the best of each item.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from lossybench.attacks.attack_settings import Budget, Goal
from lossybench.integers import Grid


def margins(logits: torch.Tensor, aimed: torch.Tensor) -> torch.Tensor:
    """By how much the best other class exceeds the aimed one: (N, views), from logits (N, views, K).

    aimed: classes (N,), or their one-hot codes (N, K). This is the loss f_6 of Carlini, Wagner 2017, arXiv 1608.04644.
    """
    chosen = aimed > 0 if aimed.ndim > 1 else functional.one_hot(aimed, logits.shape[-1]) > 0
    chosen = chosen[:, None].expand_as(logits)
    return logits.masked_fill(chosen, -torch.inf).amax(-1) - logits.masked_fill(~chosen, -torch.inf).amax(-1)


def gaps(logits: torch.Tensor, aimed: torch.Tensor, goal: Goal) -> torch.Tensor:
    """By how much each view (N, views) of the items has reached the goal; above 0 it has. logits: (N, views, K).

    aimed: the classes (N,) that items shall be read as, in targeted attacks, or shall not be read as. In attacks that
    want a trigger the first view is without the codec, where the class shall stay.
    """
    margin = margins(logits, aimed)
    if goal == "trigger":
        return torch.cat([-margin[:, :1], margin[:, 1:]], dim=1)
    return -margin if goal == "targeted" else margin


class Loss(nn.Module):
    """A loss of what a watched model returns, logits (N, views, K), as ART calls it: untargeted attacks raise it.

    kind: `cross-entropy`, its mean over the views; `margin`, which looks at the nearest class alone, and of several
    views at those that have not reached the goal yet; `trigger`: logistic in the margin of both views, so that the one
    which has not reached the goal leads.
    """

    def __init__(self, kind: str, targeted: bool = False) -> None:
        super().__init__()
        self.kind, self.targeted = kind, targeted
        self.reduction = "mean"  # ART sets it

    def forward(self, logits: torch.Tensor, one_hot: torch.Tensor) -> torch.Tensor:
        """The loss, a scalar or (N,) as `reduction` says. one_hot: the classes aimed at, (N, K)."""
        if self.kind == "cross-entropy":
            each = -(functional.log_softmax(logits, dim=-1) * one_hot[:, None]).sum(-1).mean(-1)
        elif self.kind == "margin":
            margin = margins(logits, one_hot)
            each = (margin.clamp(min=0) if self.targeted else margin.clamp(max=0)).mean(-1)
        else:
            each = functional.logsigmoid(gaps(logits, one_hot, "trigger")).mean(-1)
        return each if self.reduction == "none" else each.mean()


class _Rounded(torch.autograd.Function):
    """Other values in the place of `x`, with the gradient of `x`."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, rounded: torch.Tensor) -> torch.Tensor:
        return rounded

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradients[0], None


class Watch(nn.Module):
    """A model as one attack on N items asks it, and what the attack has come to.

    network: gives logits (n, views, K) of items in the model's floats. grid: the integers of its medium. clean: the
    items, integers (N, ...). aimed: classes (N,), see `gaps`. budget, goal: of the attack. most: how often each item
    may be asked about.

    best: the best items so far, integers within the budget. rank: the larger, the nearer these are to the goal, (N,).
    beaten: whether they reach it, bool (N,). logits: theirs. calls: how often each item was asked about, (N,). stop:
    whether beaten items are left out; an attack whose items shall hold elsewhere too goes on. A search has to name in
    `rows` which items it is given. shift: floats (N, ...), which are added to all that it asks about: a search that can
    only begin at the items then begins elsewhere. None for none.
    """

    def __init__(
        self,
        network: Callable[[torch.Tensor], torch.Tensor],
        grid: Grid,
        clean: np.ndarray,
        aimed: np.ndarray,
        budget: Budget,
        goal: Goal,
        most: int,
        device: torch.device,
    ) -> None:
        super().__init__()
        self.network, self.grid, self.clean = network, grid, clean
        self.budget, self.goal, self.most = budget, goal, most
        self.aimed, self.device = torch.from_numpy(np.asarray(aimed, np.int64)).to(device), device
        self.last = clean.copy()
        self.best, self.rank = clean.copy(), np.full(len(clean), -np.inf)
        self.calls, self.beaten = np.zeros(len(clean), np.int32), np.zeros(len(clean), bool)
        self.stop = True
        self.shift: np.ndarray | None = None
        self.rows = np.arange(len(clean))
        self.logits: Any = None  # (N, views, K) on the device, once the model was asked

    @property
    def left(self) -> np.ndarray:
        """Those, bool (N,), that may be asked about again; beaten ones too unless the attack may `stop` at them."""
        return ~(self.beaten & self.stop) & (self.calls < self.most)

    def ask(self, floats: np.ndarray) -> None:
        """Look at items of `rows`, in the model's floats, of which no gradient is wanted."""
        with torch.no_grad():
            self.forward(torch.from_numpy(floats).to(self.device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, views, K) of the items `x` (n, ...) of `rows`, or of the best ones of those that are not left."""
        at = np.flatnonzero(self.left[self.rows])
        rows, here = self.rows[at], torch.from_numpy(at).to(x.device)
        logits = None
        if len(at):
            floats = x.detach().cpu().numpy()[at] + (0 if self.shift is None else self.shift[rows])
            integers = self.grid.within(floats, self.clean[rows], *self.budget)
            asked = x if len(at) == len(x) else x[here]
            logits = self.network(_Rounded.apply(asked, torch.from_numpy(self.grid.floats(integers)).to(x.device)))
            self._note(rows, integers, logits.detach())
        if logits is not None and len(at) == len(x):
            return logits
        known = self.logits[torch.from_numpy(self.rows).to(x.device)]
        return known.index_copy(0, here, logits) if logits is not None else known + 0 * x.sum()

    def _note(self, rows: np.ndarray, integers: np.ndarray, logits: torch.Tensor) -> None:
        # ART's APGD asks for the loss and for the gradient of the same item, of which the codec's output is remembered.
        self.calls[rows] += (integers != self.last[rows]).reshape(len(rows), -1).any(1) | (self.calls[rows] == 0)
        self.last[rows] = integers
        at = torch.from_numpy(rows).to(logits.device)
        reached = gaps(logits, self.aimed[at], self.goal).cpu().numpy().astype(np.float64)
        # Of several views the number that is reached counts first: an attacker does not know which one it will meet.
        rank = (reached > 0).sum(1) + (reached / (1 + np.abs(reached))).mean(1) / 2
        if self.goal == "trigger":  # the view without a codec counts as much as all others together
            rank += (reached.shape[1] - 2) * (reached[:, 0] > 0)
        better = rank > self.rank[rows]
        chosen, of = rows[better], torch.from_numpy(np.flatnonzero(better)).to(logits.device)
        self.rank[chosen], self.best[chosen] = rank[better], integers[better]
        self.logits = logits.new_zeros(len(self.clean), *logits.shape[1:]) if self.logits is None else self.logits
        self.logits[at[of]] = logits[of]
        self.beaten[chosen] = (reached[better] > 0).all(1)
