"""A search on the scores alone, which begins at the best item that is known.

It is Square (Andriushchenko et al. 2020, arXiv 1912.00049) in its proposals: squares of one colour at the bound, which
become smaller. ART's Square begins at stripes and takes no other start; behind a codec it beats hardly anything in a
few hundred queries, while a search that begins where the gradients came to goes on where these are wrong.
"""

from __future__ import annotations

import math

import numpy as np

from lossybench.attacks.watch import Watch

LARGEST = 0.1  # share of a picture's area, or of a sound's length, that the first proposals cover
BLOCK = 512  # samples: no wave of a proposal is shorter than this


def search(watch: Watch, start: np.ndarray, queries: int, generator: np.random.Generator) -> None:
    """Ask `watch` about `start`, integers (N, ...) in the model's layout, and about changes of the best of each item.

    queries: how often each item is asked about, its start included, or until it is beaten.
    """
    grid = watch.grid
    watch.ask(grid.floats(start))
    radius = grid.radius(*watch.budget, watch.clean)
    for query in range(1, queries):
        watch.rows = np.flatnonzero(watch.left)
        if not len(watch.rows):
            break
        share = LARGEST / 2 ** math.floor(math.log2(1 + 8 * query / queries))
        clean, best = grid.floats(watch.clean[watch.rows]), grid.floats(watch.best[watch.rows])
        proposals = [
            _proposal(*each, watch.budget.norm, grid.channels_last, share, generator)
            for each in zip(clean, best, radius[watch.rows], strict=True)
        ]
        watch.ask(np.stack(proposals).astype(np.float32))


def _proposal(
    clean: np.ndarray,
    best: np.ndarray,
    radius: float,
    norm: str,
    pictures: bool,
    share: float,
    generator: np.random.Generator,
) -> np.ndarray:
    """A change of the item `best`, near the bound `radius` around `clean`. share: how much of the item changes."""
    where, pattern = _square(clean.shape, share, generator) if pictures else _wave(clean.shape, share, generator)
    if norm == "linf":
        proposal = best.copy()
        proposal[where] = clean[where] + radius * np.sign(pattern)
        return proposal
    # In L2 the pattern gets a part of the bound, and the rest of the change makes room for it.
    change = best - clean
    pattern = pattern / max(np.linalg.norm(pattern), 1e-12)
    change[where] += radius * generator.uniform(0.1, 0.5) * pattern
    return clean + change * min(1.0, radius / max(float(np.linalg.norm(change)), 1e-12))


def _square(shape: tuple[int, ...], share: float, generator: np.random.Generator) -> tuple[tuple, np.ndarray]:
    """A place in pictures or frames (..., 3, H, W), and one sign for each colour there."""
    height, width = shape[-2:]
    side = int(np.clip(round(math.sqrt(share * height * width)), 1, min(height, width)))
    top, left = (int(generator.integers(0, length - side + 1)) for length in (height, width))
    where = (..., slice(top, top + side), slice(left, left + side))
    signs = generator.choice([-1.0, 1.0], (3, 1, 1))
    return where, np.broadcast_to(signs, (*shape[:-3], 3, side, side))


def _wave(shape: tuple[int, ...], share: float, generator: np.random.Generator) -> tuple[tuple, np.ndarray]:
    """A time in a sound (samples,), and a wave of one frequency that fades in and out there."""
    length = min(shape[-1], max(BLOCK, round(share * shape[-1])))
    start = int(generator.integers(0, shape[-1] - length + 1))
    # Pitch is heard in octaves, and codecs keep the low ones.
    frequency = 2.0 ** generator.uniform(-7, -1)  # cycles per sample
    phase = 2 * np.pi * (frequency * np.arange(length) + generator.uniform())
    return (slice(start, start + length),), np.hanning(length + 2)[1:-1] * np.sin(phase)
