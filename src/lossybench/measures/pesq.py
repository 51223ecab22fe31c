"""PESQ, by the package pesq."""

from __future__ import annotations

import numpy as np
import soxr

from lossybench.measures.measure import Measure

WIDE, NARROW = 16000, 8000  # Hz that ITU-T P.862.2 and P.862 are for


class Pesq(Measure):
    """The opinion of listeners to speech over a telephone that is predicted, from 1 (bad) to 4.64 (excellent).

    From 16 kHz on it is wide-band PESQ (P.862.2), of the sound resampled to 16 kHz; from 8 kHz on narrow-band PESQ
    (P.862 and P.862.1), of the sound resampled to 8 kHz. The two scales do not compare.
    """

    name = "pesq"
    title = "PESQ"
    media = frozenset({"audio"})
    unit = "MOS-LQO"
    bounds = (1, 4.65)
    better = "higher"
    smallest = "0.25 s, not silent, from 8 kHz on"
    source = "ITU-T P.862 (2001), P.862.1 (2003) and P.862.2 (2007)"
    package = "pesq"
    module = "pesq"

    def fits(self, shape: tuple[int, ...], sampling_rate: float) -> bool:
        return sampling_rate >= NARROW and shape[0] >= sampling_rate / 4

    def _measure(self, original: np.ndarray, decoded: np.ndarray, sampling_rate: float) -> float | None:
        from pesq import BufferTooShortError, NoUtterancesError, pesq

        if not (original.any() and decoded.any()):
            return None
        rate, mode = (WIDE, "wb") if sampling_rate >= WIDE else (NARROW, "nb")
        pair = (soxr.resample(sound.astype(np.float64), sampling_rate, rate) for sound in (original, decoded))
        try:
            return float(pesq(rate, *pair, mode))
        except (BufferTooShortError, NoUtterancesError, ValueError):  # the last where too little is left of the sound
            return None
