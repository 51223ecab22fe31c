"""Where in frequency an attack's change lies, and how much of an item a codec keeps there.

An item is a sum of cosines of growing frequency, its discrete cosine transform: along time in audio, along height and
width in each colour of a picture or frame. The transform is orthonormal, so that what the coefficients of some
frequencies hold of the energy adds up to the whole. They are gathered into bands of `WIDTH` cycles a sample or pixel,
the frequency of a picture's coefficient being the length of its two. No cosine along an axis goes beyond half a cycle;
only a picture's diagonals do, and they end at 0.71. Their rare last coefficients belong to the last band.

Items are floats (N, ...) in the model's layout, and the `medium` is theirs.
"""

from __future__ import annotations

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
    energy = _energies(change, medium)
    with np.errstate(invalid="ignore"):
        return energy / energy.sum(1, keepdims=True)


def kept(clean: np.ndarray, decoded: np.ndarray, medium: Medium) -> np.ndarray:
    """(N, bands): the share of each item that comes out of a codec in each band as it went in, from 0 to 1.

    That is 1 less the energy of the error over that of the `clean` item, and 0 where the error is as large as the item:
    what comes out is then something else, or nothing. NaN where the item has nothing in a band. decoded: the items
    behind the codec.
    """
    energy, error = _energies(clean, medium), _energies(decoded - clean, medium)
    energy[energy <= _NOTHING * energy.sum(1, keepdims=True)] = np.nan
    return np.clip(1 - error / energy, 0, 1)


def _energies(items: np.ndarray, medium: Medium) -> np.ndarray:
    """(N, bands): the energy of each item in each band."""
    axes = (-1,) if medium == "audio" else (-2, -1)
    along = [np.arange(items.shape[axis]) / (2 * items.shape[axis]) for axis in axes]
    frequency = np.sqrt(sum(one**2 for one in np.meshgrid(*along, indexing="ij")))
    band = np.minimum(frequency / WIDTH, _count(medium) - 1).astype(int).ravel()
    energies = np.empty((len(items), _count(medium)))
    for item, of_bands in zip(items, energies, strict=True):  # one by one, since clips are large
        power = np.square(dctn(item.astype(np.float64), axes=axes, norm="ortho"))
        of_bands[:] = np.bincount(band, power.reshape(-1, band.size).sum(0), len(of_bands))
    return energies
