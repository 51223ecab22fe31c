"""What a bitstream costs, its rate, and how faithful the decoded item is: PSNR, SSIM, SNR and spectral distance."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from lossybench.codecs.codec import Medium
from lossybench.errors import LossyBenchError

MEASURES = ("psnr", "ssim", "snr", "spectral_distance")  # the columns of a compressed item
BAND = 2**22  # pixels that are measured at a time: SSIM needs about 200 bytes for each
SSIM_FRAME_STEP = 4  # measuring all frames would cost as much as encoding, and neighbours are nearly alike


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
    errors, rows = [], []
    for before, after in _bands(original, decoded, 0):
        errors.append(float(np.mean(np.square(before.astype(np.float32) - after), dtype=np.float64)))
        rows.append(len(before))
    error = errors[0] if len(errors) == 1 else float(np.average(errors, weights=rows))
    return 10 * math.log10(255**2 / error) if error else math.inf


def ssim(original: np.ndarray, decoded: np.ndarray) -> float | None:
    """Structural similarity, at most 1; None when a side is shorter than its window of 7 pixels.

    original, decoded: as for `psnr`. It is averaged over the channels and, in a video, over every fourth frame from the
    first. Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE TIP 2004, in
    scikit-image's default form (uniform window of 7x7 pixels).
    """
    from skimage.metrics import structural_similarity  # which is slow to import and not needed for audio

    height, width = original.shape[-3:-1]
    if min(height, width) < 7:
        return None
    pairs = zip(original.reshape(-1, height, width, 3), decoded.reshape(-1, height, width, 3), strict=True)
    found = []
    for pair in itertools.islice(pairs, 0, None, SSIM_FRAME_STEP):
        # The mean over a band is that over its rows but three at either edge, which belong to its neighbours.
        bands = list(_bands(*pair, margin=3))
        means = (structural_similarity(before, after, channel_axis=2, data_range=255) for before, after in bands)
        found.append(np.average(list(means), weights=[len(before) - 6 for before, _ in bands]))
    return float(np.mean(found))


def _bands(original: np.ndarray, decoded: np.ndarray, margin: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Both arrays in parts of about BAND pixels along the first axis, which share `2 * margin` rows with the next."""
    step = max(1, len(original) * BAND * 3 // original.size)
    if step >= len(original) - 2 * margin:
        yield original, decoded
        return
    for start in range(margin, len(original) - margin, step):
        stop = min(start + step, len(original) - margin)
        part = slice(start - margin, stop + margin)
        yield original[part], decoded[part]


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
