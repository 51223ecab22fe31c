"""STOI, by the package pystoi."""

from __future__ import annotations

import warnings

import numpy as np

from lossybench.measures.measure import Measure


class Stoi(Measure):
    """How well speech can be understood: the correlation of envelopes in third-octave bands, in 384 ms at a time.

    It is computed at 10 kHz, of what is less than 40 dB below the loudest of the original.
    """

    name = "stoi"
    title = "STOI"
    media = frozenset({"audio"})
    bounds = (-1, 1)
    better = "higher"
    smallest = "0.42 s that are not silent"
    source = (
        'Taal, Hendriks, Heusdens, Jensen: "An algorithm for intelligibility prediction of time-frequency weighted '
        'noisy speech", IEEE TASLP 2011'
    )
    package = "pystoi"
    module = "pystoi"

    def fits(self, shape: tuple[int, ...], sampling_rate: float) -> bool:
        return shape[0] >= 0.4 * sampling_rate

    def _measure(self, original: np.ndarray, decoded: np.ndarray, sampling_rate: float) -> float | None:
        from pystoi import stoi

        if not original.any():
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            try:
                return float(stoi(original.astype(np.float64), decoded.astype(np.float64), int(sampling_rate)))
            except RuntimeWarning:  # too little is not silent
                return None
