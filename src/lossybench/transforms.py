"""Codecs as augmentation for torchvision and torchaudio: media pass a real codec at a level that is drawn at random.

Random numbers come from torch's own generator, so that `torch.manual_seed` or a DataLoader's `generator` decides them.
The coding is done on the CPU. The output is detached, because no gradient flows through a codec.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import PIL.Image
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from lossybench import codecs
from lossybench.codecs._audio import to_int16, whole_rate
from lossybench.errors import LossyBenchError

Options = dict[str, Any] | None


class _Drawn(torch.nn.Module):
    """A codec, the levels to draw from, and the probability p that a call is coded. rate: Hz; None for pictures."""

    def __init__(self, codec: str, levels: Iterable[float], options: Options, p: float, rate: float | None) -> None:
        super().__init__()
        self.codec, self.levels = codecs.get(codec, options), tuple(levels)
        self.p, self.sampling_rate = p, rate or 0
        if not self.levels or not 0 <= p <= 1:
            raise LossyBenchError(f"levels {self.levels}, p {p:g}: give one level at least, and p from 0 to 1")
        for level in self.levels:
            self.codec.check(level, "image" if rate is None else "audio", self.sampling_rate)

    def draw(self) -> float | None:
        """A level, each as likely as the others, or with probability 1 - p None, which means no coding."""
        level = self.levels[int(torch.randint(len(self.levels), ()))]
        return level if torch.rand(()) < self.p else None

    def extra_repr(self) -> str:
        """What `print` shows of the module."""
        return f"{self.codec}, levels={list(self.levels)}, p={self.p:g}"

    def _each(self, media: np.ndarray, axes: int, level: float) -> np.ndarray:
        """The round trips of all items of `media`; the last `axes` axes are those of one item."""
        out = np.empty_like(media)
        for at in np.ndindex(media.shape[:-axes]):
            out[at] = self.codec.roundtrip(media[at], level, self.sampling_rate)
        return out


class RandomCodec(_Drawn, v2.Transform):
    """A transform of pictures and videos, to be used like those of `torchvision.transforms.v2`.

    codec: a name of `codecs.names()`. levels: one of them is drawn in each call, for all that the call is given.
    options: the codec's, such as {"chroma": "444"}. p: the probability that a call is coded; other calls return their
    input.

    Input: tv_tensors.Image or plain tensors (..., 3, H, W), coded picture by picture; tv_tensors.Video (..., frames, 3,
    H, W), coded clip by clip; both uint8 in 0..255 or float in 0..1; PIL images of mode RGB. As in all v2 transforms,
    boxes, masks and labels pass unchanged, and so does any plain tensor that is not the first or comes with a typed
    picture. Output: the same type, shape, dtype and device. uint8 becomes what `codec.roundtrip` makes of it, bit for
    bit; float is rounded to 8 bits before that and divided by 255 after it.

    Raises LossyBenchError when made with an impossible level, option or p, and when called with other input.
    """

    _transformed_types = (tv_tensors.Image, tv_tensors.Video, v2.functional.is_pure_tensor, PIL.Image.Image)

    def __init__(self, codec: str, levels: Iterable[float], options: Options = None, p: float = 1.0) -> None:
        super().__init__(codec, levels, options, p, None)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The level of one call, None for no coding. flat_inputs: what the call is given to code."""
        if not flat_inputs:
            raise LossyBenchError("nothing to code in this sample; give a tensor (..., 3, H, W) or a PIL image")
        return {"level": self.draw()}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """`inpt`, a picture, clip or batch, after the codec at the level in `params`, which `make_params` gave."""
        level, axes = params["level"], 4 if isinstance(inpt, tv_tensors.Video) else 3
        if level is None:
            return inpt
        if isinstance(inpt, PIL.Image.Image):
            if inpt.mode != "RGB":
                raise LossyBenchError(f"a PIL image of mode {inpt.mode}; it must be RGB: image.convert('RGB')")
            return PIL.Image.fromarray(self.codec.roundtrip(np.array(inpt), level))
        if inpt.ndim < axes or inpt.shape[-3] != 3 or (inpt.dtype != torch.uint8 and not inpt.is_floating_point()):
            wanted = f"uint8 or float (..., {'frames, ' if axes == 4 else ''}3, H, W)"
            raise LossyBenchError(f"a {type(inpt).__name__} {inpt.dtype} {tuple(inpt.shape)}; it must be {wanted}")
        media = inpt.detach().as_subclass(torch.Tensor).cpu()
        if inpt.is_floating_point():
            media = (_within(media, 0, "put the codec before Normalize") * 255).round().byte()
        coded = torch.from_numpy(self._each(media.movedim(-3, -1).numpy(), axes, level)).movedim(-1, -3).contiguous()
        coded = coded.to(inpt.device, inpt.dtype)
        return tv_tensors.wrap(coded / 255 if inpt.is_floating_point() else coded, like=inpt)


class RandomAudioCodec(_Drawn):
    """A module for waveforms, to be used like those of `torchaudio.transforms`; it codes in evaluation mode too.

    codec, levels, options, p: as in `RandomCodec`, for a codec of audio. sample_rate: in Hz, a whole number.

    Input: float (..., time) in -1..1. Each channel and each item of a batch is coded by itself, as mono, and all of a
    call at one level. Output: the same shape, dtype and device. The input is multiplied by 32768 and rounded to int16;
    what `codec.roundtrip` makes of that, bit for bit, is divided by 32768.

    Raises LossyBenchError when made with an impossible level, rate, option or p, and when called with other input.
    """

    def __init__(
        self, codec: str, levels: Iterable[float], sample_rate: int, options: Options = None, p: float = 1.0
    ) -> None:
        super().__init__(codec, levels, options, p, sample_rate)
        whole_rate(codec, sample_rate)

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        """The `waveform` after the codec, at a level that is drawn for this call."""
        if not isinstance(waveform, torch.Tensor) or not waveform.is_floating_point() or not waveform.ndim:
            what = getattr(waveform, "dtype", type(waveform).__name__)
            raise LossyBenchError(f"a waveform of {what}; it must be a float tensor (..., time)")
        if (level := self.draw()) is None:
            return waveform
        samples = _within(waveform.detach().cpu(), -1, "divide int16 samples by 32768").numpy() * 32768
        return torch.from_numpy(self._each(to_int16(samples), 1, level)).to(waveform.device, waveform.dtype) / 32768


def _within(media: torch.Tensor, low: int, hint: str) -> torch.Tensor:
    """`media` as float32. Raises LossyBenchError, which ends in `hint`, for NaN and for values outside low..1."""
    if not ((media >= low) & (media <= 1)).all():
        raise LossyBenchError(f"values from {media.min():g} to {media.max():g}, not {low} to 1; clamp them, or {hint}")
    return media.float()
