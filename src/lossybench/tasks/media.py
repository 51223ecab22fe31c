"""Batches of examples: augmentation, and the way from integers to floats on the device."""

from __future__ import annotations

import numpy as np
import torch


def stage(batch: np.ndarray, device: torch.device) -> torch.Tensor:
    """The batch as a tensor that `device` can fetch while the CPU goes on: for a GPU in pinned memory."""
    tensor = torch.from_numpy(np.ascontiguousarray(batch))
    return tensor.pin_memory() if device.type == "cuda" else tensor


def to_float(batch: torch.Tensor, medium: str, device: torch.device) -> torch.Tensor:
    """A staged batch of a medium as float32 model input on the device.

    Pictures, uint8 (N, [frames,] H, W, 3), become (N, [frames,] 3, H, W) in [0, 1], channels last in memory, which is
    the fastest layout on CPU and GPU. Audio, int16 (N, samples), becomes (N, samples) in [-1, 1).
    """
    tensor = batch.to(device, non_blocking=True)
    if medium == "audio":
        return tensor.float() / 32768
    return (tensor.float() / 255).movedim(-1, -3)


def limits(medium: str) -> tuple[float, float]:
    """The least and the greatest float that `to_float` makes of a medium."""
    return (-1.0, 32767 / 32768) if medium == "audio" else (0.0, 1.0)


def move(media: np.ndarray, medium: str, down: int, right: int, flip: bool) -> np.ndarray:
    """The item `media` of a medium, mirrored left to right if `flip`, then shifted by pixels; its edge is repeated.

    down, right: the shift. Audio is shifted by `right` samples, and silence moves in.
    """
    if medium == "audio":
        moved = np.zeros_like(media)
        moved[max(right, 0) : len(media) + min(right, 0)] = media[max(-right, 0) : len(media) + min(-right, 0)]
        return moved
    if flip:
        media = media[..., ::-1, :]
    height, width = media.shape[-3:-1]
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    columns = np.clip(np.arange(width) - right, 0, width - 1)
    return media[..., rows[:, None], columns, :]


def change_gain(batch: torch.Tensor, medium: str, largest: float, generator: np.random.Generator) -> torch.Tensor:
    """The float batch, its contrast around mid-grey (pictures) or amplitude (audio) multiplied within 1 ± `largest`.

    medium: of the batch. generator: draws a factor for each example.
    """
    factors = torch.from_numpy(generator.uniform(1 - largest, 1 + largest, len(batch)).astype(np.float32))
    factors = factors.to(batch.device).view(-1, *[1] * (batch.ndim - 1))
    centre = 0.0 if medium == "audio" else 0.5
    return ((batch - centre) * factors + centre).clamp(-1.0 if medium == "audio" else 0.0, 1.0)
