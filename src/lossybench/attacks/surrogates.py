"""Surrogates: differentiable stand-ins for codecs. T3 takes their gradient, while the real codec runs forward.

JPEG has a surrogate of its own; for every other codec one is measured.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from scipy.fft import dct
from torch.nn import functional

from lossybench.attacks.preprocessor import Backward, CodecPreprocessor, Surrogate

PROBES = 4  # round trips per item by which a surrogate is measured
BLOCK = {"picture": (8, 8), "audio": (1, 512)}  # 512 samples at 16 kHz: 32 ms, about what coders take
# Y'CbCr from RGB without its offsets, ITU-R BT.601-7.
YCBCR = torch.tensor([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])


def of(through: CodecPreprocessor, items: np.ndarray, amplitude: float, seed: int) -> Surrogate:
    """The surrogate for the codec and level of `through`. items, amplitude, seed: see `measured`."""
    if through.codec.name == "jpeg":
        # Robust accuracy: 7 % after 10 steps, 4 % after 20, 4 % after 40 (digits, resnet, QF 25, 8/255).
        return Surrogate(functools.partial(_through_jpeg, through.level), effort=2)
    return Surrogate(measured(through, items, amplitude, seed))


def jpeg(items: torch.Tensor, level: float) -> torch.Tensor:
    """The `items`, images (N, 3, H, W) or clips in [0, 1], through a JPEG whose rounding and clipping have slopes.

    level: its quality. The chroma is 4:2:0. The code is kornia's, after Reich et al., "Differentiable JPEG: The Devil
    is in the Details", WACV 2024, arXiv 2309.06978.
    """
    from kornia.enhance import jpeg_codec_differentiable

    pictures = items.reshape(-1, *items.shape[-3:])
    return jpeg_codec_differentiable(pictures, pictures.new_full((len(pictures),), level)).reshape(items.shape)


def _through_jpeg(level: float, items: torch.Tensor, _: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    with torch.enable_grad():
        item = items.detach().requires_grad_()
        return torch.autograd.grad(jpeg(item, level), item, gradient)[0]


def measured(through: CodecPreprocessor, items: np.ndarray, amplitude: float, seed: int) -> Backward:
    """The gradient through a filter that does to a small change of an item what the codec was seen to do on average.

    The codec `through` is probed: every value of `items` (integers (N, ...) in the model's layout) moves by `amplitude`
    (full scale is 1.0) up or down at random, drawn by `seed`. In blocks of an orthonormal DCT (of Y'CbCr in pictures)
    the output's change is regressed on the input's by least squares: one gain for each coefficient where the codec kept
    it, and one where the codec left it below the amplitude. What the codec throws away thus gets no gradient, and the
    attack spends its budget on what comes through.
    """
    blocks = _Blocks(through.grid.channels_last)
    clean = torch.from_numpy(through.grid.floats(items))
    decoded = through.forward(clean)[0]
    kept = blocks.of(decoded).abs() > amplitude
    pooled = functools.partial(torch.sum, dim=(0, 2, 4), keepdim=True)  # one value a channel and coefficient
    generator = torch.Generator().manual_seed(seed)
    sums = [[torch.zeros(()), torch.zeros(())], [torch.zeros(()), torch.zeros(())]]
    for _ in range(PROBES):
        moved = clean + amplitude * (2.0 * torch.randint(0, 2, clean.shape, generator=generator) - 1)
        # What leaves the range is clipped on the way to the codec, so the change is smaller there.
        moved = torch.from_numpy(through.grid.floats(through.grid.integers(moved.numpy())))
        change, result = blocks.of(moved - clean), blocks.of(through.forward(moved)[0] - decoded)
        for which, (where, (both, own)) in enumerate(zip((~kept, kept), sums, strict=True)):
            sums[which] = [both + pooled(change * result * where), own + pooled(change * change * where)]
    both, own = (torch.stack([pair[i] for pair in sums]) for i in (0, 1))
    gains = torch.where(own > 0, both / own.clamp(min=1e-12), both.sum(0) / own.sum(0)).clamp(min=0)

    def backward(x: torch.Tensor, seen: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        here = gains.to(x.device)
        factors = torch.where(blocks.of(seen).abs() > amplitude, here[1], here[0])
        return blocks.transposed(blocks.of(gradient, torch.linalg.inv(YCBCR).T) * factors, x)

    return backward


class _Blocks:
    """Block DCT: items (N, ...) to (M, channels, blocks down, rows, blocks right, columns).

    Pictures and frames have their colours for channels; audio is one row of one channel. As linear maps: planes = C x
    with the colour matrix C, and coefficients = D planes with D orthonormal. The way back is therefore C^-1 D^T and its
    transpose D C^-T; the transpose of `of` is C^T D^T.
    """

    def __init__(self, pictures: bool) -> None:
        self.pictures = pictures
        self.size = BLOCK["picture" if pictures else "audio"]
        self.rows, self.columns = (
            torch.from_numpy(dct(np.eye(side), axis=0, norm="ortho").astype(np.float32)) for side in self.size
        )

    def of(self, x: torch.Tensor, colours: torch.Tensor = YCBCR) -> torch.Tensor:
        """D C x: the coefficients of the items `x`. colours: C, or C^-T for the transpose of the way back."""
        if self.pictures:
            planes = torch.einsum("ij,njhw->nihw", colours.to(x.device), x.reshape(-1, *x.shape[-3:]))
        else:
            planes = x.reshape(len(x), 1, 1, -1)
        height, width = self.size
        planes = functional.pad(planes, (0, -planes.shape[-1] % width, 0, -planes.shape[-2] % height))
        m, channels, tall, wide = planes.shape
        down = self.rows.to(planes.device) @ planes.reshape(-1, height, wide)
        both = down.reshape(-1, width) @ self.columns.to(planes.device).T
        return both.reshape(m, channels, tall // height, height, wide // width, width)

    def transposed(self, coefficients: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """C^T D^T coefficients, in the shape of `like`."""
        m, channels, down, height, right, width = coefficients.shape
        along = coefficients.reshape(-1, width) @ self.columns.to(like.device)
        both = self.rows.to(like.device).T @ along.reshape(-1, height, right * width)
        planes = both.reshape(m, channels, down * height, right * width)
        if not self.pictures:
            return planes.reshape(m, -1)[:, : like.shape[1]]
        planes = planes[..., : like.shape[-2], : like.shape[-1]]
        return torch.einsum("ij,nihw->njhw", YCBCR.to(like.device), planes).reshape(like.shape)


def amplitude(norm: str, epsilon: np.ndarray, size: int) -> float:
    """A typical change of one value within the bounds `epsilon` (N,) of a norm on items of `size` values.

    That is all of an L-infinity bound, and an equal share of an L2 one.
    """
    return float(np.median(epsilon)) / (1.0 if norm == "linf" else math.sqrt(size))
