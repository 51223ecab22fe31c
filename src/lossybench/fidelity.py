"""What a bitstream costs, its rate, and how faithful the decoded item is: PSNR, SSIM, SNR, SI-SDR and others."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np

from lossybench.codecs.codec import Medium
from lossybench.errors import LossyBenchError

MEASURES = ("psnr", "ssim", "snr", "si_sdr", "spectral_distance")  # the columns of a compressed item
How = Literal["full", "sampled", "none"]  # how much of the items is measured
ITEMS = 500  # "sampled": at least so many items of a table, where it has as many
FRAME_STEP = 4  # "sampled": neighbouring frames are nearly alike
ROWS = 64  # "sampled": rows of SSIM's windows in a picture, at least
TURNS = 8  # "sampled": parts of the width that these rows take in turn
WINDOW = 7  # pixels of a side of the windows of SSIM
TILE = 128  # windows of a side that SSIM computes at a time: what it holds of so many fits the processor's cache


def rate_of(bits: int, shape: tuple[int, ...], medium: str, sampling_rate: float) -> float:
    """The rate of a bitstream: bits per pixel for images, kb/s for audio and video.

    bits: those of it that count. medium, shape: of the item, (H, W, 3), (samples,) or (frames, H, W, 3).
    sampling_rate: Hz of audio, frames/s of video.
    """
    if medium == "image":
        return bits / (shape[0] * shape[1])
    return bits * sampling_rate / shape[0] / 1000


def item_step(items: int, how: How) -> int:
    """Of how many items of a table one is measured: of every item 0, step, 2 step and so on.

    items: how many the table has. how: "full" is all; "sampled" is about ITEMS, evenly spread, and all where there are
    fewer than twice as many.
    """
    return max(1, items // ITEMS) if how == "sampled" else 1


def measure(
    original: np.ndarray, decoded: np.ndarray, medium: Medium, sampling_rate: float = 0.0, how: How = "full"
) -> dict[str, float | None]:
    """The columns MEASURES: psnr and ssim of images and video, all others of audio; None for those of other media.

    original, decoded: as for `psnr` or `snr`. sampling_rate: of audio, in Hz. how: as for `ssim`; all other measures
    are of the whole item. "none" leaves all of them None. Raises LossyBenchError when the two items differ in shape or
    dtype.
    """
    if original.shape != decoded.shape or original.dtype != decoded.dtype:
        raise LossyBenchError(
            f"the decoded item is {decoded.dtype} of shape {decoded.shape}, but its original {original.dtype} of shape "
            f"{original.shape}; give two items of the same dtype and shape"
        )
    row: dict[str, float | None] = dict.fromkeys(MEASURES)
    if how == "none":
        return row
    if medium == "audio":
        distance = spectral_distance(original, decoded, sampling_rate)
        ratios = {"snr": snr(original, decoded), "si_sdr": si_sdr(original, decoded)}
        return row | ratios | {"spectral_distance": distance}
    return row | {"psnr": psnr(original, decoded), "ssim": ssim(original, decoded, how)}


def psnr(original: np.ndarray, decoded: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB; +inf when identical.

    original, decoded: uint8 pictures (H, W, 3) or videos (frames, H, W, 3). The squared error is averaged over all red,
    green and blue values, in a video over all frames together.
    """
    # The sum over a frame is a whole number, of which OpenCV returns the square of the root.
    pairs = zip(_frames(original), _frames(decoded), strict=True)
    total = sum(round(cv2.norm(before, after, cv2.NORM_L2SQR)) for before, after in pairs)
    return 10 * math.log10(255**2 / (total / original.size)) if total else math.inf


def ssim(original: np.ndarray, decoded: np.ndarray, how: How = "full") -> float | None:
    """Structural similarity, at most 1; None when a side is shorter than its window of 7 pixels.

    original, decoded: as for `psnr`. It is averaged over the windows, the channels and, in a video, the frames. how:
    "full" is all windows of all frames. "sampled" is every fourth frame from the first and, in pictures of 198 rows or
    more, those windows that `sampled_windows` names. On photographs of 299x299 to 768x512 pixels this differs from
    "full" by 0.005 (root mean square), and on average over them by 0.001.

    Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE TIP 2004, in
    scikit-image's default form: uniform windows of 7x7 pixels that lie within the picture, sample variances.
    """
    height, width = original.shape[-3:-1]
    if min(height, width) < WINDOW:
        return None
    sampled = how == "sampled"
    rows, columns = height - WINDOW + 1, width - WINDOW + 1
    chosen = sampled_windows(rows, columns) if sampled else None
    total, step = 0.0, FRAME_STEP if sampled else 1
    pairs = list(zip(_frames(original)[::step], _frames(decoded)[::step], strict=True))
    for before, after in pairs:
        total += _sum_over_strips(before, after, chosen) if chosen else _sum_over_tiles(before, after)
    return total / (3 * len(pairs) * (chosen.count if chosen else rows * columns))


@dataclasses.dataclass(frozen=True)
class Windows:
    """A sample of the windows of a picture. Those of the n-th of the `rows` begin at column `starts[n % TURNS]`.

    pixels: int (7, rows), where each row of pixels that they cover begins in the flattened picture.
    """

    rows: range
    starts: list[int]
    width: int  # windows in a row
    pixels: np.ndarray

    @property
    def count(self) -> int:
        """How many windows there are."""
        return len(self.rows) * self.width


@functools.lru_cache(64)
def sampled_windows(rows: int, columns: int) -> Windows | None:
    """The windows that a sampled SSIM looks at; None for all windows, of a small picture.

    rows, columns: how many there are. Every k-th row is taken, where k is the largest odd number that leaves ROWS rows
    or more: an odd step meets the grids of codecs, of 8 and 16 pixels, in all phases. The rows take the first to the
    eighth part of the columns in turn. All windows are taken where k is 1.
    """
    step = (rows // ROWS - 1) // 2 * 2 + 1
    if step < 2:
        return None
    chosen, starts = range((rows - 1) % step // 2, rows, step), [columns * turn // TURNS for turn in range(TURNS)]
    left = np.resize(starts, len(chosen))
    pixels = (np.arange(WINDOW)[:, None] + np.array(chosen)) * (columns + WINDOW - 1) + left
    return Windows(chosen, starts, math.ceil(columns / TURNS), 3 * pixels)


def _frames(media: np.ndarray) -> np.ndarray:
    """The picture or video as (frames, H, W, 3)."""
    return media.reshape(-1, *media.shape[-3:])


def _sum_over_tiles(before: np.ndarray, after: np.ndarray) -> float:
    """The sum of the SSIM of all windows and channels of two pictures, uint8 (H, W, 3)."""
    total, edge = 0.0, WINDOW // 2
    for top in range(0, len(before) - WINDOW + 1, TILE):
        for left in range(0, before.shape[1] - WINDOW + 1, TILE):
            # Neighbouring tiles share the pixels of those windows that reach from one into the other.
            tile = np.s_[top : top + TILE + WINDOW - 1, left : left + TILE + WINDOW - 1]
            x, y = before[tile], after[tile]
            distance = cv2.absdiff(x, y)
            products = (np.multiply(x, y, dtype=np.uint16), np.multiply(distance, distance, dtype=np.uint16))
            sums = [
                cv2.boxFilter(values, cv2.CV_32S, (WINDOW, WINDOW), normalize=False)[edge:-edge, edge:-edge]
                for values in (x, y, *products)
            ]
            total += _sum_of_ssim(*sums)
    return total


def _sum_over_strips(before: np.ndarray, after: np.ndarray, chosen: Windows) -> float:
    """As `_sum_over_tiles`, of these windows alone."""
    edge = WINDOW // 2
    # Together, as one piece: where the largest pieces of memory are freed one by one, they go back to the system, and
    # asking for them again costs more than all that is computed in them.
    x, y, products = np.empty((3, *chosen.pixels.shape, chosen.width + WINDOW - 1, 3), np.uint16)
    for picture, strips in ((before, x), (after, y)):
        flat, length = picture.ravel(), strips[0, 0].size
        pieces = np.lib.stride_tricks.as_strided(flat, (flat.size - length + 1, length), (1, 1))
        strips.reshape(*chosen.pixels.shape, length)[:] = pieces[chosen.pixels]
    sums = [values.sum(axis=0, dtype=np.uint16) for values in (x, y)]
    np.multiply(x, y, out=products)
    x -= y  # which may wrap, but the squares are below 2^16 and come out right
    x *= x
    sums += [values.sum(axis=0, dtype=np.int32) for values in (products, x)]
    across = (cv2.boxFilter(one, cv2.CV_32S, (WINDOW, 1), normalize=False)[:, edge:-edge] for one in sums)
    return _sum_of_ssim(*across)


def _sum_of_ssim(sum_x: np.ndarray, sum_y: np.ndarray, sum_xy: np.ndarray, sum_dd: np.ndarray) -> float:
    """The sum of the SSIM of windows and channels, from their sums over the pixels, int32 (rows, columns, 3).

    With sums S over the n pixels of a window, d = x - y, and n (n - 1) times the covariance and the variance of d,
    c = n Sxy - Sx Sy and v = n Sdd - Sd^2, SSIM is (2 Sx Sy + c1) / (2 Sx Sy + c1 + Sd^2) times
    (2 c + c2) / (2 c + c2 + v), as its denominators are sums over x and y of Sx^2 and of the variances. All terms but
    the constants are whole numbers below 2^31, and are computed so: c and v are small differences of large ones.
    """
    n = WINDOW**2
    c1, c2 = np.float32((0.01 * 255 * n) ** 2), np.float32((0.03 * 255) ** 2 * n * (n - 1))
    means = sum_x * sum_y
    means *= 2
    covariance = sum_xy * (2 * n)
    covariance -= means
    offset = sum_x - sum_y
    offset *= offset
    variance = sum_dd * n
    variance -= offset
    # In place, because memory that is asked for anew costs more than what is computed in it.
    luminance, structure, offset, variance = (one.astype(np.float32) for one in (means, covariance, offset, variance))
    luminance += c1
    structure += c2
    offset += luminance
    variance += structure
    luminance /= offset
    structure /= variance
    luminance *= structure
    return sum(cv2.sumElems(luminance))


def snr(original: np.ndarray, decoded: np.ndarray) -> float:
    """SNR in dB of int16 clips `original`, `decoded` (n,); +inf when identical, -inf when silence became sound."""
    clean = original.astype(np.float64)
    signal, noise = float(np.sum(clean**2)), float(np.sum((clean - decoded) ** 2))
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


def si_sdr(original: np.ndarray, decoded: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio in dB of int16 clips `original` s and `decoded` d, (n,).

    It is the SNR of d as an estimate of a s, where a = <d, s> / <s, s> is the gain that suits d best: Le Roux et al.,
    "SDR - half-baked or well done?", ICASSP 2019. An encoder that makes a clip quieter, as LAME does, loses nothing by
    that. +inf when d is s at another gain; -inf when one of them alone is silent, and when d has nothing of s.
    """
    clean, received = original.astype(np.float64), decoded.astype(np.float64)
    # By sums, not by dot products, which OpenBLAS splits among threads that wait longer than they work.
    power, common = float(np.sum(clean * clean)), float(np.sum(clean * received))
    target = clean * (common / power if power else 0.0)
    noise = float(np.sum((target - received) ** 2))
    if common == 0:
        return -math.inf if power or noise else math.inf
    return 10 * math.log10(float(np.sum(target * target)) / noise) if noise else math.inf


def mean_of(values: Sequence[float | None] | np.ndarray) -> float | None:
    """The mean of the values of a measure that are finite, None and NaN being no values.

    An infinite one, of an item that came back identical or of silence that did not, would decide the mean alone:
    `infinite` counts these. Infinity where all are; None where there are none.
    """
    found = np.array(values, float)
    found = found[~np.isnan(found)]
    finite = found[np.isfinite(found)]
    return float(finite.mean()) if len(finite) else float(found.max()) if len(found) else None


def infinite(values: np.ndarray) -> int:
    """Of how many items some measure is infinite. values: float (items, measures), NaN where there is none."""
    return int(np.isinf(values).any(axis=1).sum())


def spectral_distance(original: np.ndarray, decoded: np.ndarray, sampling_rate: float) -> float:
    """Log-spectral distance in dB of `original`, `decoded`, int16 (samples,) at `sampling_rate` Hz; 0 when identical.

    It is the root mean square over frequency of the difference of the log power spectra, averaged over frames: Gray and
    Markel, "Distance measures for speech processing", IEEE TASSP 1976. Windows are Hann's, 32 ms long and 16 ms apart.
    The power of 16-bit quantisation noise (1/12 in squared steps) is added to both spectra: digital silence, whose
    logarithm is infinite, then counts no more than what 16 bits can tell from it.
    """
    difference = _log_spectra(original, sampling_rate) - _log_spectra(decoded, sampling_rate)
    return float(np.mean(np.sqrt(np.mean(difference**2, axis=1))))


def _log_spectra(samples: np.ndarray, sampling_rate: float) -> np.ndarray:
    """The power spectra (frames, frequencies) of a clip in dB."""
    hop = max(round(0.016 * sampling_rate), 1)
    frames = max(math.ceil(len(samples) / hop) - 1, 1)
    padded = np.zeros((frames + 1) * hop)
    padded[: len(samples)] = samples
    window = np.hanning(2 * hop + 1)[:-1]
    overlapping = np.lib.stride_tricks.sliding_window_view(padded, 2 * hop)[::hop]
    power = np.abs(np.fft.rfft(overlapping * window, axis=1)) ** 2 / np.sum(window**2)
    return 10 * np.log10(power + 1 / 12)
