"""Where in frequency an attack's change lies, and how much of an item a codec keeps there.

An item is a sum of cosines of growing frequency, its discrete cosine transform: along time in audio, along height and
width in each colour of a picture or frame. The transform is orthonormal, so that what the coefficients of some
frequencies hold of the energy adds up to the whole. They are gathered into bands of `WIDTH` cycles a sample or pixel,
the frequency of a picture's coefficient being the length of its two. No cosine along an axis goes beyond half a cycle;
only a picture's diagonals do, and they end at 0.71. Their rare last coefficients belong to the last band.

Items are numbers (N, ...) of any scale in the model's layout, and the `medium` is theirs.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from scipy.fft import dctn

from lossybench.codecs.codec import Medium

WIDTH = 1 / 32  # cycles a sample or pixel: half the step from one coefficient of an 8 x 8 block to the next
_NOTHING = 1e-20  # of an item's energy: what a band has of it by the rounding of floats alone


def _count(medium: Medium) -> int:
    return 16 if medium == "audio" else 22


def edges(medium: Medium, sampling_rate: float) -> dict[str, object]:
    """The upper `edges` of the bands, of which the first begins at 0, and their `unit`, Hz or cycles/pixel.

    sampling_rate: of audio, in Hz.
    """
    if medium == "audio":
        return {"unit": "Hz", "edges": [sampling_rate * WIDTH * (i + 1) for i in range(_count(medium))]}
    return {"unit": "cycles/pixel", "edges": [WIDTH * (i + 1) for i in range(_count(medium) - 1)] + [math.sqrt(0.5)]}


def shares(change: np.ndarray, medium: Medium) -> np.ndarray:
    """(N, bands): the share of the energy of each `change` that lies in each band; NaN where nothing was changed."""
    energy = np.stack([_energies(one, medium) for one in change])
    with np.errstate(invalid="ignore"):
        return energy / energy.sum(1, keepdims=True)


def kept(clean: np.ndarray, decoded: np.ndarray, medium: Medium) -> np.ndarray:
    """(N, bands): the share of each item that comes out of a codec in each band as it went in, from 0 to 1.

    That is 1 less the energy of the error over that of the `clean` item, and 0 where the error is as large as the item:
    what comes out is then something else, or nothing. NaN where the item has nothing in a band. decoded: the items
    behind the codec.
    """
    found = []
    for before, after in zip(clean, decoded, strict=True):
        energy, error = _energies(before, medium), _energies(after.astype(np.float64) - before, medium)
        energy[energy <= _NOTHING * energy.sum()] = np.nan
        found.append(np.clip(1 - error / energy, 0, 1))
    return np.stack(found)


def _energies(item: np.ndarray, medium: Medium) -> np.ndarray:
    """(bands,): the energy of one item in each band."""
    axes = (-1,) if medium == "audio" else (-2, -1)
    power = np.square(dctn(item.astype(np.float64), axes=axes, norm="ortho"))
    band = _bands(item.shape[axes[0] :], _count(medium))
    return np.bincount(band, power.reshape(-1, band.size).sum(0), _count(medium))


@functools.cache
def _bands(sides: tuple[int, ...], count: int) -> np.ndarray:
    """The band, one of `count`, of each coefficient of an item of these sides."""
    along = np.meshgrid(*(np.arange(side) / (2 * side) for side in sides), indexing="ij")
    frequency = np.sqrt(sum(np.square(one) for one in along))
    return np.minimum(frequency / WIDTH, count - 1).astype(int).ravel()
