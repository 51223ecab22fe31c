"""What an attack remembers of its search: the best rounded item, what it cost, and that beaten items are left alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lossybench.attacks.attack_settings import Budget
from lossybench.attacks.random_search import search
from lossybench.attacks.watch import Loss, Watch, gaps, margins
from lossybench.integers import GRIDS

GRID = GRIDS["image"]
EIGHT = Budget("linf", 8 / 255)


class Spy:
    """A linear model of pictures that notes which integers it sees, as one view."""

    def __init__(self, classes: int = 3, shape: tuple[int, ...] = (3, 4, 4), quantised: int = 1) -> None:
        generator = torch.Generator().manual_seed(0)
        self.weights = torch.randn(classes, int(np.prod(shape)), generator=generator)
        self.quantised = quantised
        self.seen: list[np.ndarray] = []

    def logits(self, integers: np.ndarray) -> np.ndarray:
        coarse = integers // self.quantised * self.quantised
        return coarse.reshape(len(coarse), -1).astype(np.float32) / 255 @ self.weights.numpy().T

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        integers = np.rint(x.detach().numpy() * 255).astype(int)
        assert np.allclose(integers / 255, x.detach().numpy(), atol=1e-6)  # nothing but integers is asked
        self.seen.append(integers)
        return torch.from_numpy(self.logits(integers))[:, None] + 0 * (x.flatten(1) @ self.weights.T)[:, None]


def watched(spy: Spy, n: int = 6, most: int = 1000, budget: Budget = EIGHT) -> tuple[Watch, np.ndarray, np.ndarray]:
    """A watch over random pictures, which it has been asked about, the pictures and their classes."""
    clean = np.random.default_rng(1).integers(60, 190, (n, 3, 4, 4)).astype(np.uint8)
    truth = spy.logits(clean).argmax(1)
    watch = Watch(spy, GRID, clean, truth, budget, "untargeted", most, torch.device("cpu"))
    watch.ask(GRID.floats(clean))
    return watch, clean, truth


def by_hand(logits: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The best other logit minus the true one."""
    right = logits[np.arange(len(truth)), truth]
    others = [max(row[k] for k in range(len(row)) if k != t) for row, t in zip(logits, truth, strict=True)]
    return np.array(others) - right


def test_of_all_that_was_asked_the_best_is_kept_and_the_budget_holds() -> None:
    spy = Spy(quantised=16)
    watch, clean, truth = watched(spy)
    random = np.random.default_rng(2)
    best = by_hand(spy.logits(clean), truth)
    for _ in range(40):
        watch.rows = np.arange(6)
        left = watch.left
        asked = GRID.floats(clean) + random.uniform(-0.2, 0.2, clean.shape).astype(np.float32)  # far beyond the budget
        watch.ask(asked)
        rounded = np.clip(np.rint(asked * 255), np.maximum(clean.astype(int) - 8, 0), np.minimum(clean + 8.0, 255))
        found = by_hand(spy.logits(rounded.astype(int)), truth)
        best[left] = np.maximum(best, found)[left]
    assert watch.beaten.any() and not watch.beaten.all()
    assert np.allclose(by_hand(spy.logits(watch.best), truth), best, atol=1e-5)
    assert (watch.beaten == (best > 0)).all()
    assert np.abs(watch.best.astype(int) - clean).max() <= 8


def test_beaten_items_are_left_alone_unless_the_attack_goes_on() -> None:
    spy = Spy()
    watch, clean, _ = watched(spy, budget=Budget("linf", 40 / 255))
    random = np.random.default_rng(3)
    for _ in range(30):
        watch.rows = np.arange(6)
        watch.ask(GRID.floats(clean) + random.choice([-0.15, 0.15], clean.shape).astype(np.float32))
    assert sum(map(len, spy.seen)) == watch.calls.sum() < 31 * 6
    assert (watch.calls[~watch.beaten] == 31).all() and watch.beaten.any()
    before = watch.calls.copy()
    watch.stop = False
    watch.ask(GRID.floats(clean) + np.float32(0.02))
    assert (watch.calls == before + 1).all()


def test_a_watch_gives_logits_of_all_rows_and_slopes_of_those_that_are_left() -> None:
    spy = Spy()
    watch, clean, truth = watched(spy)
    watch.beaten[[1, 4]] = True
    x = torch.from_numpy(GRID.floats(clean)).requires_grad_()
    logits = watch(x)
    assert logits.shape == (6, 1, 3)
    assert np.allclose(logits[:, 0].detach().numpy(), spy.logits(clean), atol=1e-4)
    Loss("cross-entropy")(logits, torch.eye(3)[truth]).backward()
    assert len(spy.seen[-1]) == 4
    watch.beaten[:] = True
    assert watch(x).shape == (6, 1, 3) and watch(x).requires_grad


def test_no_item_costs_more_than_it_may() -> None:
    spy = Spy(quantised=64)  # hard to move
    watch, clean, _ = watched(spy, most=7)
    search(watch, clean, 50, np.random.default_rng(0))
    assert watch.calls.max() == 7 and (watch.calls[~watch.beaten] == 7).all()


def test_the_same_item_asked_twice_costs_once() -> None:
    watch, clean, _ = watched(Spy())
    for _ in range(3):
        watch.ask(GRID.floats(clean))
    assert (watch.calls == 1).all()


@pytest.mark.parametrize("budget", [Budget("linf", 8 / 255), Budget("l2", 0.15)])
def test_the_search_on_scores_goes_on_from_where_it_begins(budget: Budget) -> None:
    spy = Spy()
    watch, clean, truth = watched(spy, 40, budget=budget)
    search(watch, clean, 150, np.random.default_rng(0))
    from_clean = by_hand(spy.logits(watch.best), truth)
    assert (from_clean >= by_hand(spy.logits(clean), truth) - 1e-5).all() and watch.beaten.sum() > 3
    start = watch.best.copy()
    again, *_ = watched(spy, 40, budget=budget)
    search(again, start, 150, np.random.default_rng(9))
    assert (by_hand(spy.logits(again.best), truth) >= from_clean - 1e-5).all()
    assert (
        again.calls[watch.beaten & (watch.calls > 1)].max() == 2
    )  # the clean item, and then the start, which beats it
    change = (again.best.astype(float) - clean) / 255
    size = np.abs(change).max((1, 2, 3)) if budget.norm == "linf" else np.sqrt((change**2).sum((1, 2, 3)))
    assert size.max() <= budget.epsilon + 1e-6


def test_margins_and_gaps_by_hand() -> None:
    logits = torch.tensor([[[3.0, 1.0, 2.0], [0.0, 5.0, 1.0]]])  # one item, two views
    assert margins(logits, torch.tensor([0])).tolist() == [[-1.0, 5.0]]
    assert margins(logits, torch.eye(3)[[1]]).tolist() == [[2.0, -4.0]]
    assert gaps(logits, torch.tensor([0]), "untargeted").tolist() == [[-1.0, 5.0]]
    assert gaps(logits, torch.tensor([1]), "targeted").tolist() == [[-2.0, 4.0]]
    assert gaps(logits, torch.tensor([0]), "trigger").tolist() == [[1.0, 5.0]]  # kept without the codec, lost behind it


def test_losses_point_to_the_goal() -> None:
    """A step up the loss, or down it towards a target, brings each view nearer to its goal that has not reached it."""
    random = torch.Generator().manual_seed(4)
    for kind, goal in (("cross-entropy", "untargeted"), ("margin", "untargeted"), ("margin", "targeted"),
                       ("trigger", "trigger")):  # fmt: skip
        logits = torch.randn(50, 2, 5, generator=random).requires_grad_()
        aimed = torch.randint(0, 5, (50,), generator=random)
        loss = Loss(kind, goal == "targeted")
        loss.reduction = "none"
        each = loss(logits, torch.eye(5)[aimed])
        assert each.shape == (50,)
        (slope,) = torch.autograd.grad(each.sum(), logits)
        moved = logits + (-1 if goal == "targeted" else 1) * 1e-3 * slope
        before, after = gaps(logits, aimed, goal), gaps(moved, aimed, goal)  # type: ignore[arg-type]
        short = before < -1e-3
        assert (after > before)[short].all()
        if kind == "margin":
            assert (slope[before > 0] == 0).all()
        loss.reduction = "mean"
        assert torch.isclose(loss(logits, torch.eye(5)[aimed]), each.mean())


def test_of_several_views_the_number_that_is_reached_counts_first() -> None:
    def network(x: torch.Tensor) -> torch.Tensor:
        """Two views of two classes: the first pixel decides the first, the second one the other."""
        flat = x.flatten(1)
        return torch.stack([torch.stack([flat[:, i], 0.5 + 0 * flat[:, i]], 1) for i in (0, 1)], dim=1)

    clean = np.full((1, 3, 4, 4), 134, np.uint8)
    watch = Watch(network, GRID, clean, np.array([0]), Budget("linf", 1.0), "untargeted", 99, torch.device("cpu"))
    floats = np.repeat(GRID.floats(clean), 3, axis=0)
    floats[0, 0, 0, :2] = 0.51, 0.51  # nearly
    floats[1, 0, 0, :2] = 0.2, 1.0  # one of two
    floats[2, 0, 0, :2] = 0.49, 0.49  # both
    for asked, reached in zip(floats, (0, 1, 2), strict=True):
        watch.ask(asked[None])
        assert (gaps(watch.logits, watch.aimed, "untargeted") > 0).sum() == reached
        assert watch.beaten[0] == (reached == 2)
