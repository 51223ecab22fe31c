"""What a bitstream costs, its rate, and how faithful the decoded item is: PSNR, SSIM, SNR and spectral distance."""

from __future__ import annotations

import math

import cv2
import numpy as np

from lossybench.codecs.codec import Medium
from lossybench.errors import LossyBenchError

MEASURES = ("psnr", "ssim", "snr", "spectral_distance")  # the columns of a compressed item
SSIM_FRAME_STEP = 4  # neighbouring frames are nearly alike
WINDOW = 7  # pixels of a side of the windows of SSIM
TILE = 128  # windows of a side that SSIM computes at a time: what it holds of so many fits the processor's cache


def rate_of(payload_bits: int, shape: tuple[int, ...], medium: str, sampling_rate: float) -> float:
    """The rate of a bitstream: bits per pixel for images, kb/s for audio and video.

    payload_bits: of the coded media. medium, shape: of the item, (H, W, 3), (samples,) or (frames, H, W, 3).
    sampling_rate: Hz of audio, frames/s of video.
    """
    if medium == "image":
        return payload_bits / (shape[0] * shape[1])
    return payload_bits * sampling_rate / shape[0] / 1000


def measure(
    original: np.ndarray, decoded: np.ndarray, medium: Medium, sampling_rate: float = 0.0
) -> dict[str, float | None]:
    """The columns MEASURES: psnr and ssim of images and video, snr and spectral_distance of audio, None for the others.

    original, decoded: as for `psnr` or `snr`. sampling_rate: of audio, in Hz. Raises LossyBenchError when the two items
    differ in shape or dtype.
    """
    if original.shape != decoded.shape or original.dtype != decoded.dtype:
        raise LossyBenchError(
            f"the decoded item is {decoded.dtype} of shape {decoded.shape}, but its original {original.dtype} of shape "
            f"{original.shape}; give two items of the same dtype and shape"
        )
    row: dict[str, float | None] = dict.fromkeys(MEASURES)
    if medium == "audio":
        distance = spectral_distance(original, decoded, sampling_rate)
        return row | {"snr": snr(original, decoded), "spectral_distance": distance}
    return row | {"psnr": psnr(original, decoded), "ssim": ssim(original, decoded)}


def psnr(original: np.ndarray, decoded: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB; +inf when identical.

    original, decoded: uint8 pictures (H, W, 3) or videos (frames, H, W, 3). The squared error is averaged over all red,
    green and blue values, in a video over all frames together.
    """
    # The sum over a frame is a whole number, of which OpenCV returns the square of the root.
    pairs = zip(_frames(original), _frames(decoded), strict=True)
    total = sum(round(cv2.norm(before, after, cv2.NORM_L2SQR)) for before, after in pairs)
    return 10 * math.log10(255**2 / (total / original.size)) if total else math.inf


def ssim(original: np.ndarray, decoded: np.ndarray) -> float | None:
    """Structural similarity, at most 1; None when a side is shorter than its window of 7 pixels.

    original, decoded: as for `psnr`. It is averaged over the channels and, in a video, over every fourth frame from the
    first. Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE TIP 2004, in
    scikit-image's default form: uniform windows of 7x7 pixels that lie within the picture, sample variances.
    """
    height, width = original.shape[-3:-1]
    if min(height, width) < WINDOW:
        return None
    total, windows = 0.0, 0
    for before, after in zip(_frames(original)[::SSIM_FRAME_STEP], _frames(decoded)[::SSIM_FRAME_STEP], strict=True):
        for top in range(0, height - WINDOW + 1, TILE):
            for left in range(0, width - WINDOW + 1, TILE):
                # Neighbouring tiles share the pixels of those windows that reach from one into the other.
                tile = np.s_[top : top + TILE + WINDOW - 1, left : left + TILE + WINDOW - 1]
                total += _sum_of_ssim(before[tile], after[tile])
        windows += (height - WINDOW + 1) * (width - WINDOW + 1) * 3
    return total / windows


def _frames(media: np.ndarray) -> np.ndarray:
    """The picture or video as (frames, H, W, 3)."""
    return media.reshape(-1, *media.shape[-3:])


def _sum_of_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """The sum of the SSIM of all windows and channels of two parts of pictures, uint8 (H, W, 3).

    With sums S over the n pixels of a window, d = x - y, and n (n - 1) times the covariance and the variance of d,
    c = n Sxy - Sx Sy and v = n Sdd - Sd^2, SSIM is (2 Sx Sy + c1) / (2 Sx Sy + c1 + Sd^2) times
    (2 c + c2) / (2 c + c2 + v), as its denominators are sums over x and y of Sx^2 and of the variances. All terms but
    the constants are whole numbers below 2^31, and are computed so: c and v are small differences of large ones.
    """
    n = WINDOW**2
    c1, c2 = np.float32((0.01 * 255 * n) ** 2), np.float32((0.03 * 255) ** 2 * n * (n - 1))
    distance = cv2.absdiff(x, y)
    sum_x, sum_y = _window_sums(x), _window_sums(y)
    means = 2 * sum_x * sum_y
    covariance = 2 * n * _window_sums(np.multiply(x, y, dtype=np.uint16)) - means
    offset = np.square(sum_x - sum_y)
    variance = n * _window_sums(np.multiply(distance, distance, dtype=np.uint16)) - offset
    means, covariance = means.astype(np.float32) + c1, covariance.astype(np.float32) + c2
    offset, variance = offset.astype(np.float32), variance.astype(np.float32)
    return sum(cv2.sumElems(means / (means + offset) * (covariance / (covariance + variance))))


def _window_sums(values: np.ndarray) -> np.ndarray:
    """The sums, int32 (H - 6, W - 6, 3), of all windows within `values`, uint8 or uint16 (H, W, 3)."""
    edge = WINDOW // 2
    return cv2.boxFilter(values, cv2.CV_32S, (WINDOW, WINDOW), normalize=False)[edge:-edge, edge:-edge]


def snr(original: np.ndarray, decoded: np.ndarray) -> float:
    """SNR in dB of int16 clips `original`, `decoded` (n,); +inf when identical, -inf when silence became sound."""
    clean = original.astype(np.float64)
    signal, noise = float(np.sum(clean**2)), float(np.sum((clean - decoded) ** 2))
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


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
