"""VMAF, by the package vmaf-torch."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from lossybench.measures.measure import Measure

FRAMES = 8  # that are looked at together: more would only take more memory
# BT.601 (ITU-R BT.601-7, section 2.5) at limited range, 16 to 235, for which VMAF was made.
_LUMA = np.array([0.299, 0.587, 0.114]) * (235 - 16) / 255


class Vmaf(Measure):
    """A regression of opinions on visual information, loss of detail and motion: the model v0.6.1, for 1080p on TV.

    It looks at the luma alone, of all frames, and the value is the mean over them, clipped to 0 to 100 frame by frame.
    """

    name = "vmaf"
    title = "VMAF"
    media = frozenset({"video"})
    bounds = (0, 100)
    better = "higher"
    smallest = "64 pixels a side"
    source = 'Li et al.: "Toward a practical perceptual video quality metric", Netflix 2016'
    package = "vmaf-torch"
    module = "vmaf_torch"

    def fits(self, shape: tuple[int, ...], sampling_rate: float) -> bool:
        return min(shape[1:3]) >= 64

    def _measure(self, original: np.ndarray, decoded: np.ndarray, sampling_rate: float) -> float:
        import torch

        scores = []
        for start in range(0, len(original), FRAMES):
            # Motion is between neighbouring frames, so each part comes with the frames beside it.
            first, end = max(start - 1, 0), start + FRAMES + 1
            with torch.inference_mode():
                found = _model()(_luma(original[first:end]), _luma(decoded[first:end]))
            scores.append(found.flatten().numpy()[start - first :][:FRAMES])
        return float(np.concatenate(scores).mean())


@functools.cache
def _model() -> Any:
    from vmaf_torch import VMAF

    return VMAF(clip_score=True).eval()


def _luma(clip: np.ndarray) -> Any:
    """The luma of a clip, a float tensor (frames, 1, H, W) of whole numbers from 16 to 235."""
    import torch

    return torch.stack([torch.from_numpy(np.rint(frame @ _LUMA + 16).astype(np.float32))[None] for frame in clip])
