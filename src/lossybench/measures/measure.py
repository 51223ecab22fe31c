"""What every further measure of fidelity is: one class in one file named after it, found by that name.

Items are numpy arrays as of codecs: images uint8 (H, W, 3) RGB; video uint8 (frames, H, W, 3) RGB; audio int16
(samples,) mono. The packages that compute the measures are optional, so a measure imports its own when it measures.
"""

from __future__ import annotations

import abc
import importlib
import importlib.util
import math
import pkgutil
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from lossybench.codecs.codec import Medium
from lossybench.errors import LossyBenchError, nearest


class Measure(abc.ABC):
    """A measure of how near a decoded item is to its original.

    Subclasses have no arguments. Their class attributes say all that a reader needs to know of the measure.
    """

    name: ClassVar[str]  # also of the column
    title: ClassVar[str]  # as readers know it, for figures: "MS-SSIM"
    media: ClassVar[frozenset[Medium]]
    unit: ClassVar[str] = ""
    bounds: ClassVar[tuple[float, float]]  # the lowest and the highest value; infinite where there is none
    better: ClassVar[Literal["higher", "lower"]]  # which values are of items that are nearer
    smallest: ClassVar[str]  # the smallest items that have a value, in words; `fits` decides
    source: ClassVar[str]  # the paper or standard that defines it
    package: ClassVar[str]  # what computes it, as pip installs it
    module: ClassVar[str]  # of that package

    @abc.abstractmethod
    def fits(self, shape: tuple[int, ...], sampling_rate: float) -> bool:
        """Whether items of this shape have a value. sampling_rate: Hz of audio, frames/s of video."""

    @abc.abstractmethod
    def _measure(self, original: np.ndarray, decoded: np.ndarray, sampling_rate: float) -> float | None:
        """What `measure` does once the items are known to fit."""

    def measure(self, original: np.ndarray, decoded: np.ndarray, sampling_rate: float = 0.0) -> float | None:
        """The value for a decoded item beside its original; None where the measure is not defined for it.

        original, decoded: items of one shape and dtype, of one of the measure's media, left as they are. sampling_rate:
        as of `fits`. Raises LossyBenchError when the measure's package is not installed, or yields no number.
        """
        self.require()
        if not self.fits(original.shape, sampling_rate):
            return None
        value = self._measure(original, decoded, sampling_rate)
        if value is not None and math.isnan(value):
            raise LossyBenchError(f"measure {self.name!r} is not a number for this item; leave the measure out")
        return None if value is None else float(value)

    def require(self) -> None:
        """Raise LossyBenchError, with the command that installs it, when the measure's package is not installed."""
        if importlib.util.find_spec(self.module) is None:
            raise LossyBenchError(
                f"measure {self.name!r} needs the package {self.package}, which is not installed; "
                f"run: pip install {self.package}"
            )


class PictureMeasure(Measure):
    """A measure of single pictures. That of a clip is the mean over every fourth frame, as neighbours are alike."""

    media = frozenset({"image", "video"})
    side: ClassVar[int]  # pixels of the smallest height or width

    @abc.abstractmethod
    def measure_picture(self, original: np.ndarray, decoded: np.ndarray) -> float:
        """The value of a picture, uint8 (H, W, 3)."""

    def fits(self, shape: tuple[int, ...], sampling_rate: float) -> bool:
        return min(shape[-3:-1]) >= self.side

    def _measure(self, original: np.ndarray, decoded: np.ndarray, sampling_rate: float) -> float:
        clips = (media.reshape(-1, *media.shape[-3:])[::4] for media in (original, decoded))
        return float(np.mean([self.measure_picture(*pair) for pair in zip(*clips, strict=True)]))


def names() -> list[str]:
    """All measures: the public modules of this package that define one."""
    modules = (module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return sorted(name for name in modules if not name.startswith("_") and name != "measure")


def get(name: str) -> Measure:
    """The measure of that name, of which only the own file is imported. Raises LossyBenchError for an unknown name."""
    if name not in names():
        raise LossyBenchError(f"unknown measure {name!r}; {nearest(name, names())}")
    module = importlib.import_module(f"lossybench.measures.{name}")
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Measure) and getattr(value, "name", None) == name:
            return value()
    raise LossyBenchError(f"{module.__file__}: defines no measure named {name!r}")
