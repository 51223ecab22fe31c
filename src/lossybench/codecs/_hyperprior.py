"""A scale hyperprior with means, its training, and its bitstream: what the codec `learned` is made of.

After Ballé et al. 2018 (arXiv 1802.01436), with the means of Minnen et al. 2018 (arXiv 1809.02736), in the small: three
strided convolutions with generalised divisive normalisation (GDN) lead to the latents, which are 1/8 of the picture a
side, two more to the hyper-latents, at 1/16. Of the hyper-latents each channel has a mixture of logistic
distributions as its prior, in place of Ballé's small network, because its integrals have a closed form.

It imports torch, which takes seconds; so only the methods of the codec import it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import constriction
import numpy as np
import torch
from torch import nn
from torch.nn import functional

# The coder computes with integers alone, and its models turn the numbers given into the same integers everywhere.
RangeEncoder, RangeDecoder = constriction.stream.queue.RangeEncoder, constriction.stream.queue.RangeDecoder
Categorical, QuantizedGaussian = constriction.stream.model.Categorical, constriction.stream.model.QuantizedGaussian

STEP = 16  # pixels of a side for one hyper-latent; pictures are filled up to a multiple of it
MIXED = 3  # logistic distributions a channel
# Values that can be told: latents less their means, and hyper-latents. What lies beyond is cut off.
MOST, MOST_HYPER = 255, 63
# Standard deviations of latents, 64 evenly spaced by their logarithm, as in CompressAI. Multiples of 2^-16, so that
# they are the same numbers on every machine.
SCALES = np.rint(np.geomspace(0.11, 64, 64) * 2**16) / 2**16
GAIN = 8  # of the latents over what a new network makes of pictures, which rounding would level
BATCH, RATE, LOOKS = 8, 4e-3, 20  # pictures a step; the largest step of Adam; how often the validation loss is taken

Change = Callable[[torch.Tensor], torch.Tensor]


class Gdn(nn.Module):
    """Generalised divisive normalisation (Ballé et al. 2016, arXiv 1511.06281), or its inverse as there simplified."""

    def __init__(self, channels: int, inverse: bool = False) -> None:
        super().__init__()
        self.beta = nn.Parameter(torch.ones(channels))
        self.gamma = nn.Parameter(math.sqrt(0.1) * torch.eye(channels))
        self.inverse = inverse

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (N, C, H, W). Squares of the parameters keep what is divided by positive."""
        norm = functional.conv2d(x * x, self.gamma[:, :, None, None] ** 2, self.beta**2 + 1e-6).sqrt()
        return x * norm if self.inverse else x / norm


def _down(inner: int, outer: int) -> nn.Module:
    return nn.Conv2d(inner, outer, 5, stride=2, padding=2)


def _up(inner: int, outer: int) -> nn.Module:
    return nn.ConvTranspose2d(inner, outer, 5, stride=2, padding=2, output_padding=1)


def _start(layer: nn.Module) -> None:
    """Random weights that keep the variance of what passes (He et al. 2015, arXiv 1502.01852), without bias.

    PyTorch's own shrink it threefold, and after three layers all would drown in the noise that stands for rounding.
    """
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        inputs = layer.in_channels * math.prod(layer.kernel_size) / (4 if isinstance(layer, nn.ConvTranspose2d) else 1)
        nn.init.normal_(layer.weight, std=inputs**-0.5)
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)


class Hyperprior(nn.Module):
    """The network. channels: of its inner layers and of the hyper-latents; there are twice as many of the latents."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        n, m = channels, 2 * channels
        self.channels = n
        self.analysis = nn.Sequential(_down(3, n), Gdn(n), _down(n, n), Gdn(n), _down(n, m))
        self.synthesis = nn.Sequential(_up(m, n), Gdn(n, True), _up(n, n), Gdn(n, True), _up(n, 3))
        self.hyper_analysis = nn.Sequential(nn.Conv2d(m, n, 3, padding=1), nn.LeakyReLU(), _down(n, n))
        self.hyper_synthesis = nn.Sequential(_up(n, n), nn.LeakyReLU(), nn.Conv2d(n, 2 * m, 3, padding=1))
        self.apply(_start)
        self.prior = nn.Parameter(torch.zeros(3, MIXED, n, 1, 1))  # logits, means, logarithms of scales
        with torch.no_grad():
            self.prior[1] = torch.linspace(-2, 2, MIXED)[:, None, None, None]
        self.table: torch.Tensor
        # The prior's probabilities as numbers in the file, so that no decoder computes them in its own way.
        self.register_buffer("table", torch.zeros(n, 2 * MOST_HYPER + 1, dtype=torch.float64))

    def _of_prior(self, z: torch.Tensor) -> torch.Tensor:
        """The probability of the interval of length 1 around each value of z, (N, C, H, W)."""
        logits, means, scales = self.prior.to(z.dtype)
        # On the side where both values are small, as their difference is more exact there.
        away = -(z[:, None] - means).abs()
        inside = [torch.sigmoid((away + half) * torch.exp(-scales)) for half in (0.5, -0.5)]
        return (torch.softmax(logits, 0) * (inside[0] - inside[1])).sum(1)

    def _of_latents(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The means of the latents, and the logarithms of their standard deviations. z: hyper-latents."""
        means, scales = self.hyper_synthesis(z).chunk(2, 1)
        return means, scales.clamp(math.log(SCALES[0]), math.log(SCALES[-1]))

    def forward(self, x: torch.Tensor, changed: Change) -> tuple[torch.Tensor, ...]:
        """What x, (N, 3, H, W) from 0 to 1 with H and W multiples of STEP, comes back as, and its bits, a number.

        changed: what stands for rounding: noise in training (Ballé et al. 2017, arXiv 1611.01704), or rounding itself.
        """
        y = GAIN * self.analysis(x - 0.5)
        z = changed(self.hyper_analysis(y))
        means, scales = self._of_latents(z)
        rest = changed(y - means)
        bits = -torch.log2(self._of_prior(z).clamp(min=1e-9)).sum()
        bits = bits - torch.log2(_of_gaussian(rest, scales).clamp(min=1e-9)).sum()
        return self.synthesis((rest + means) / GAIN) + 0.5, bits

    # The bitstream. Here all is in double precision: two machines, or two numbers of threads, differ in the sixteenth
    # digit, and a standard deviation of the table or a pixel that is rounded otherwise for that is not to be expected.

    def finish(self) -> None:
        """Fill the table of the prior, after which the network can code."""
        values = torch.arange(-MOST_HYPER, MOST_HYPER + 1, dtype=torch.float64)
        with torch.no_grad():
            likely = self._of_prior(values.expand(1, self.channels, 1, -1))[0, :, 0]
            self.table.copy_((likely + 1e-9) / (likely + 1e-9).sum(1, keepdim=True))

    @torch.inference_mode()
    def encode(self, image: np.ndarray) -> bytes:
        """The entropy-coded latents of an image, uint8 (H, W, 3)."""
        z, rest = self.latents(image)
        words = RangeEncoder()
        words.encode(z.ravel() + MOST_HYPER, Categorical(perfect=False), self._probabilities(z.shape))
        words.encode(rest.ravel(), QuantizedGaussian(-MOST, MOST), *self._scales(z)[1:])
        whole = words.get_compressed().astype(">u4").tobytes()

        def same(coded: bytes) -> bool:
            try:
                found = self._read(coded, z.shape)
            except AssertionError:
                return False
            return all(np.array_equal(one, other) for one, other in zip(found, (z, rest), strict=True))

        return _shortest(whole, same)

    @torch.inference_mode()
    def decode(self, coded: bytes, height: int, width: int) -> np.ndarray:
        """The image, uint8 (H, W, 3), of its entropy-coded latents. Raises an error for what no encoder wrote."""
        z, rest = self._read(coded, (self.channels, -(-height // STEP), -(-width // STEP)))
        x = self.synthesis(torch.from_numpy(self._scales(z)[0] + rest)[None] / GAIN)[0] + 0.5
        pixels = (255 * x).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0)
        return np.ascontiguousarray(pixels[:height, :width].numpy())

    @torch.inference_mode()
    def latents(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The hyper-latents, and the latents less their means, that an image is coded as: int32 (C, H, W) each."""
        height, width = image.shape[:2]
        filled = np.pad(image, ((0, -height % STEP), (0, -width % STEP), (0, 0)), mode="edge")
        y = GAIN * self.analysis(torch.from_numpy(filled / 255 - 0.5).permute(2, 0, 1)[None])
        z = self.hyper_analysis(y)[0].round().clamp(-MOST_HYPER, MOST_HYPER).numpy().astype(np.int32)
        rest = np.rint(y[0].numpy() - self._scales(z)[0]).clip(-MOST, MOST)
        return z, rest.astype(np.int32)

    def _read(self, coded: bytes, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Hyper-latents, of `shape`, and latents less their means. Bytes that are not there are zeros."""
        words = RangeDecoder(np.frombuffer(coded + bytes(-len(coded) % 4), ">u4").astype(np.uint32))
        z = words.decode(Categorical(perfect=False), self._probabilities(shape)).reshape(shape) - MOST_HYPER
        means, zeros, scales = self._scales(z)
        return z, words.decode(QuantizedGaussian(-MOST, MOST), zeros, scales).reshape(means.shape)

    def _probabilities(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.repeat(self.table.numpy(), math.prod(shape[1:]), axis=0)

    def _scales(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of the latents the means, (C, H, W); and of them less their means the means, 0, and standard deviations."""
        means, scales = self._of_latents(torch.from_numpy(z.astype(np.float64))[None])
        low, high = math.log(SCALES[0]), math.log(SCALES[-1])
        index = ((scales.numpy() - low) * ((len(SCALES) - 1) / (high - low))).round().astype(np.int64).ravel()
        return means[0].numpy(), np.zeros(index.shape), SCALES[index]


def _of_gaussian(rest: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """The probability of the interval of length 1 around each value. scales: logarithms of standard deviations."""
    away, inverse = -rest.abs(), torch.exp(-scales)
    return torch.special.ndtr((away + 0.5) * inverse) - torch.special.ndtr((away - 0.5) * inverse)


def _shortest(whole: bytes, same: Callable[[bytes], bool]) -> bytes:
    """The least bytes that are read as `whole` is, where bytes beyond the end are zeros. same: whether that is so.

    The coder ends with words of 4 bytes, of which small pictures have few.
    """
    while whole:
        cut = int.from_bytes(whole[:-1], "big")
        each = (n.to_bytes(len(whole) - 1, "big") for n in (cut, cut + 1) if n < 256 ** (len(whole) - 1))
        shorter = next(filter(same, each), None)
        if shorter is None:
            break
        whole = shorter
    return whole


def train(
    pictures: np.ndarray,
    validation: np.ndarray,
    weight: float,
    steps: int,
    channels: int,
    seed: int,
    tell: Callable[[int, float], None],
) -> bytes:
    """Train a network, and return the safetensors file that `load` reads.

    pictures, validation: uint8 (N, S, S, 3) each, S a multiple of STEP. weight: of the squared error in the loss, bits
    per pixel + weight * 255^2 * MSE, as in CompressAI. tell: is told the steps done and the validation loss from time
    to time. The network is that of the best validation loss, for which values are rounded as in coding. The same
    arguments give the same bytes on the same machine, with one thread.
    """
    from safetensors.torch import save

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Hyperprior(channels)
        best, state = math.inf, dict[str, torch.Tensor]()
        optimizer = torch.optim.Adam(network.parameters(), RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps + 1, pct_start=0.1)
        for step in range(1, steps + 1):
            some = _batch(pictures[torch.randint(len(pictures), (BATCH,)).numpy()])
            optimizer.zero_grad()
            loss = _loss(network, some.flip(3) if step % 2 else some, weight, _noisy)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            if step % -(-steps // LOOKS) == 0 or step == steps:
                with torch.no_grad():
                    reached = float(_loss(network, _batch(validation), weight, torch.round))
                tell(step, reached)
                if reached < best:
                    best, state = reached, {name: one.clone() for name, one in network.state_dict().items()}
    if not state:
        raise ValueError("its training has no finite loss; train fewer steps, or with another seed")
    network.load_state_dict(state)
    network.finish()
    return save(network.state_dict())


def load(content: bytes, channels: int) -> Hyperprior:
    """The network of a safetensors file, ready to code. Raises an error for one that is not of so many channels."""
    from safetensors.torch import load as tensors

    with torch.device("meta"):  # which draws no random numbers, that belong to whatever this process trains
        network = Hyperprior(channels)
    network.load_state_dict(tensors(content), assign=True)
    return network.double().eval().requires_grad_(False)


def _noisy(x: torch.Tensor) -> torch.Tensor:
    return x + torch.rand_like(x) - 0.5


def _batch(pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


def _loss(network: Hyperprior, x: torch.Tensor, weight: float, changed: Change) -> torch.Tensor:
    decoded, bits = network(x, changed)
    pixels = x.numel() / 3
    return bits / pixels + weight * 255**2 * functional.mse_loss(decoded, x)
