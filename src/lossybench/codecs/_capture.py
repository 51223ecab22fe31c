"""What happens to media besides coding: conditions of capture, and smaller sizes or frame rates that are sent instead.

Whatever is random is drawn from a generator that the caller seeds. Frames of a clip pass one after the other, so that a
clip takes little more memory than itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

import cv2
import numpy as np

from lossybench.codecs._audio import to_int16
from lossybench.codecs.codec import Medium
from lossybench.conditions import level_text

cv2.setNumThreads(1)  # items are small, and jobs run side by side

PICTURES: frozenset[Medium] = frozenset({"image", "video"})
SOUND: frozenset[Medium] = frozenset({"audio"})

# Of a photosite at full light, of a phone's camera: the electrons that make white, and the noise of reading them.
FULL_WELL, READ_NOISE = 5000.0, 3.0
DIRT = 0.15  # the size of spots of dirt, as a share of the picture's shorter side
OPAQUE = 0.85  # the share of light that a spot keeps back
DIRECT = 0.5  # the share of a reverberant sound's energy that comes straight from the source

Apply = Callable[[np.ndarray, float, float, np.random.Generator], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Degradation:
    """One thing that happens to media, at a level of its own.

    label: the level in words, with {} for the number. apply: of (media, level, sampling rate, generator); clips are
    (frames, H, W, 3), a picture a clip of one frame, sounds (samples,), and what it gives has the same shape and
    dtype. Where less is sent from here on, smaller says of (shape, level) what shape that is, and back brings the
    receiver's clip to the shape before: of (clip, shape, level). whole: whether levels are whole numbers.
    """

    name: str
    title: str
    label: str
    media: frozenset[Medium]
    stronger: Literal["lower", "higher"]
    bounds: tuple[float, float]
    apply: Apply
    smaller: Callable[[tuple[int, ...], float], tuple[int, ...]] | None = None
    back: Callable[[np.ndarray, tuple[int, ...], float], np.ndarray] | None = None
    whole: bool = False

    def said(self, level: float) -> str:
        """The degradation at a level, in words: "noise σ 4"."""
        return f"{self.title} {self.label.format(level_text(level))}".strip()


def noise(clip: np.ndarray, level: float, rate: float, generator: np.random.Generator) -> np.ndarray:
    """White Gaussian noise on every colour of every pixel. level: its standard deviation, of 255."""
    return _each(clip, lambda frame: frame + level * generator.standard_normal(frame.shape, np.float32))


def light(clip: np.ndarray, level: float, rate: float, generator: np.random.Generator) -> np.ndarray:
    """A camera that has less light and amplifies the more, so that pictures keep their brightness and gain noise.

    level: the share of the light at which white fills a photosite. The noise is that of photons, which is Poisson's,
    and of reading, which is normal (Foi, Trimeche, Katkovnik, Egiazarian 2008, IEEE Trans. Image Processing 17(10),
    section II), on linear light (IEC 61966-2-1, sRGB).
    """
    well = FULL_WELL * level

    def dim(frame: np.ndarray) -> np.ndarray:
        electrons = generator.poisson(LINEAR[frame] * well) + READ_NOISE * generator.standard_normal(frame.shape)
        linear = np.clip(electrons / well, 0, 1)
        return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)

    return _each(clip, dim)


def blur(clip: np.ndarray, level: float, rate: float, generator: np.random.Generator) -> np.ndarray:
    """A lens out of focus, as a Gaussian. level: its standard deviation in pixels."""
    if not level:
        return clip
    return _each(clip, lambda frame: cv2.GaussianBlur(frame, (0, 0), level, borderType=cv2.BORDER_REFLECT))


def dirt(clip: np.ndarray, level: float, rate: float, generator: np.random.Generator) -> np.ndarray:
    """Dirt on the lens: dark spots with soft edges that stay where they are in a clip. level: the share they cover.

    The spots are where smooth noise is largest, which is drawn coarsely and interpolated, as its smoothing would take
    long on large pictures. Their edges are smoothed once more. They keep back OPAQUE of the light.
    """
    height, width = clip.shape[1:3]
    size = max(DIRT * min(height, width) / 2, 0.5)  # pixels; a cell of the coarse field is half of it
    cells = tuple(-(-2 * side // max(1, round(size))) + 4 for side in (height, width))
    coarse = cv2.GaussianBlur(generator.standard_normal(cells, np.float32), (0, 0), 2, borderType=cv2.BORDER_REFLECT)
    field = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    covered = (field > np.quantile(field, 1 - level)).astype(np.float32)
    kept = 1 - OPAQUE * cv2.GaussianBlur(covered, (0, 0), size / 4, borderType=cv2.BORDER_REFLECT)
    return _each(clip, lambda frame: frame * kept[..., None])


def snr(sound: np.ndarray, level: float, rate: float, generator: np.random.Generator) -> np.ndarray:
    """White noise. level: the clip's signal-to-noise ratio in dB, 10 log10 of the ratio of energies."""
    clean = sound.astype(np.float64)
    added = generator.standard_normal(len(sound))
    gain = np.sqrt(np.sum(clean**2) / max(np.sum(added**2), 1e-12)) * 10 ** (-level / 20)
    return to_int16(clean + gain * added)


def reverberation(sound: np.ndarray, level: float, rate: float, generator: np.random.Generator) -> np.ndarray:
    """A room: noise that decays exponentially follows the direct sound (Moorer 1979, Computer Music Journal 3(2)).

    level: seconds in which it falls by 60 dB. The room's response has the energy 1, DIRECT of it straight.
    """
    import scipy.signal  # which takes half a second, and is not needed to read a study

    count = min(len(sound), int(level * rate) + 1)
    if not level or count < 2:
        return sound
    tail = generator.standard_normal(count) * 10 ** (-3 * np.arange(count) / (level * rate))
    tail[0] = 0
    response = tail * np.sqrt((1 - DIRECT) / np.sum(tail**2))
    response[0] = np.sqrt(DIRECT)
    return to_int16(scipy.signal.fftconvolve(sound.astype(np.float64), response)[: len(sound)])


def rescale(clip: np.ndarray, level: float, rate: float, generator: np.random.Generator) -> np.ndarray:
    """Down to a share of the size and straight back. level: the share of height and width."""
    return enlarged(scale(clip, level, rate, generator), clip.shape, level)


def scale(clip: np.ndarray, level: float, rate: float, generator: np.random.Generator) -> np.ndarray:
    """Down to a share of the size, at which media are sent. level: the share of height and width."""
    height, width = scaled(clip.shape, level)[1:3]
    return np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in clip])


def scaled(shape: tuple[int, ...], level: float) -> tuple[int, ...]:
    """The shape of clips (frames, H, W, 3) that `scale` gives, at least one pixel each way."""
    return (shape[0], max(1, round(shape[1] * level)), max(1, round(shape[2] * level)), 3)


def frame_step(clip: np.ndarray, level: float, rate: float, generator: np.random.Generator) -> np.ndarray:
    """Every so many-th frame alone is sent. level: how many."""
    return np.ascontiguousarray(clip[:: int(level)])


def stepped(shape: tuple[int, ...], level: float) -> tuple[int, ...]:
    """The shape of clips (frames, H, W, 3) that `frame_step` gives."""
    return (-(-shape[0] // int(level)), *shape[1:])


def enlarged(clip: np.ndarray, shape: tuple[int, ...], level: float) -> np.ndarray:
    """A clip (frames, H, W, 3) brought back to `shape` by cubic interpolation."""
    size = shape[2], shape[1]
    return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC) for frame in clip])


def held(clip: np.ndarray, shape: tuple[int, ...], level: float) -> np.ndarray:
    """A clip (frames, H, W, 3) brought back to `shape`: each frame stays until the next one comes."""
    return np.repeat(clip, int(level), axis=0)[: shape[0]]


def _each(clip: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The clip with each frame changed, rounded and clipped."""
    changed = np.empty_like(clip)
    for into, frame in zip(changed, clip, strict=True):
        values = change(frame)
        into[...] = values if values.dtype == np.uint8 else np.clip(np.rint(values), 0, 255)
    return changed


def _linear() -> np.ndarray:
    """The linear light of each 8-bit value (IEC 61966-2-1)."""
    value = np.arange(256) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


LINEAR = _linear()

DEGRADATIONS = {
    one.name: one
    for one in (
        Degradation("noise", "noise", "σ {}", PICTURES, "higher", (0, 128), noise),
        Degradation("light", "light", "{}", PICTURES, "lower", (0.0001, 1), light),
        Degradation("blur", "blur", "σ {} px", PICTURES, "higher", (0, 100), blur),
        Degradation("dirt", "lens dirt", "on {}", PICTURES, "higher", (0, 0.9), dirt),
        Degradation("rescale", "rescaling", "to {}", PICTURES, "lower", (0.01, 1), rescale),
        Degradation("scale", "scale", "{}", PICTURES, "lower", (0.01, 1), scale, scaled, enlarged),
        Degradation(
            "frame_step", "frame step", "{}", frozenset({"video"}), "higher", (1, 1000), frame_step, stepped, held, True
        ),
        Degradation("snr", "SNR", "{} dB", SOUND, "lower", (-20, 100), snr),
        Degradation("reverberation", "reverberation", "{} s", SOUND, "higher", (0, 10), reverberation),
    )
}
