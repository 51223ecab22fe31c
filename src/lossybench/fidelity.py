"""What a bitstream costs (its rate), and how faithful the decoded item still is: PSNR, SSIM, SNR, spectral distance."""

from __future__ import annotations

import itertools
import math

import numpy as np

from lossybench.codecs.codec import Medium
from lossybench.errors import LossyBenchError

SSIM_FRAME_STEP = 4


def rate_of(payload_bits: int, shape: tuple[int, ...], medium: str, rate: float) -> float:
    """The rate of a bitstream: bits per pixel for images, kb/s for audio and video.

    shape: (H, W, 3), (samples,) or (frames, H, W, 3); rate: Hz or frames/s.
    """
    if medium == "image":
        return payload_bits / (shape[0] * shape[1])
    return payload_bits * rate / shape[0] / 1000


def measure(original: np.ndarray, decoded: np.ndarray, medium: Medium, rate: float = 0.0) -> dict[str, float | None]:
    """The fidelity columns of a compressed item: psnr and ssim for images and video, snr and spectral_distance for
    audio, None for those of the other media. `rate` is the sample rate of audio in Hz.

    Raises LossyBenchError when the two differ in shape or dtype.
    """
    if original.shape != decoded.shape or original.dtype != decoded.dtype:
        raise LossyBenchError(
            f"decoded item is {decoded.dtype} of shape {decoded.shape}, its original {original.dtype} of shape "
            f"{original.shape}; fidelity needs them alike"
        )
    if medium == "audio":
        distance = spectral_distance(original, decoded, rate)
        return {"psnr": None, "ssim": None, "snr": snr(original, decoded), "spectral_distance": distance}
    return {"psnr": psnr(original, decoded), "ssim": ssim(original, decoded), "snr": None, "spectral_distance": None}


def psnr(original: np.ndarray, decoded: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of 8-bit pictures, from the squared error over all R, G and B values, of all
    frames together in a video; +inf when identical.
    """
    error = float(np.mean(np.square(original.astype(np.float32) - decoded), dtype=np.float64))
    return 10 * math.log10(255**2 / error) if error else math.inf


def ssim(original: np.ndarray, decoded: np.ndarray) -> float | None:
    """Structural similarity of uint8 pictures (H, W, 3), at most 1, mean over channels; of a video (frames, H, W, 3),
    mean over every fourth frame from the first (all would cost as much as encoding, for neighbours that are nearly
    alike). None when a side is shorter than its 7-pixel window.

    Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE TIP 2004, in
    scikit-image's default form (uniform 7x7 window).
    """
    from skimage.metrics import structural_similarity  # slow to import, and not needed for audio

    height, width = original.shape[-3:-1]
    if min(height, width) < 7:
        return None
    pairs = zip(original.reshape(-1, height, width, 3), decoded.reshape(-1, height, width, 3), strict=True)
    frames = itertools.islice(pairs, 0, None, SSIM_FRAME_STEP)
    return float(np.mean([structural_similarity(a, b, channel_axis=2, data_range=255) for a, b in frames]))


def snr(original: np.ndarray, decoded: np.ndarray) -> float:
    """Signal-to-noise ratio in dB over the whole clip; +inf when identical, -inf when silence became sound."""
    clean = original.astype(np.float64)
    signal, noise = float(np.sum(clean**2)), float(np.sum((clean - decoded) ** 2))
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


def spectral_distance(original: np.ndarray, decoded: np.ndarray, rate: float) -> float:
    """Log-spectral distance in dB of int16 clips (samples,) at `rate` Hz; 0 when identical.

    The root mean square over frequency of the difference of the log power spectra, averaged over frames: Gray and
    Markel, "Distance measures for speech processing", IEEE TASSP 1976. Hann windows of 32 ms, hop 16 ms. The power
    of 16-bit quantisation noise (1/12 in squared steps) is added to both spectra, so that digital silence, whose
    logarithm is infinite, counts no more than what 16 bits can tell from it.
    """
    difference = _log_spectra(original, rate) - _log_spectra(decoded, rate)
    return float(np.mean(np.sqrt(np.mean(difference**2, axis=1))))


def _log_spectra(samples: np.ndarray, rate: float) -> np.ndarray:
    """Power spectra (frames, frequencies) in dB."""
    hop = max(round(0.016 * rate), 1)
    frames = max(math.ceil(len(samples) / hop) - 1, 1)
    padded = np.zeros((frames + 1) * hop)
    padded[: len(samples)] = samples
    window = np.hanning(2 * hop + 1)[:-1]
    overlapping = np.lib.stride_tricks.sliding_window_view(padded, 2 * hop)[::hop]
    power = np.abs(np.fft.rfft(overlapping * window, axis=1)) ** 2 / np.sum(window**2)
    return 10 * np.log10(power + 1 / 12)
