"""The speaker encoder of Resemblyzer as a function that `speaker_verification.yaml` names: an embedding for each clip.

Resemblyzer is pip's package of that name (Apache-2.0), which carries its weights: a network of three LSTMs, trained on
the voices of LibriSpeech and VoxCeleb (Wan et al., "Generalized End-to-End Loss for Speaker Verification", ICASSP
2018). Only its weights are read, so that `pip install --no-deps Resemblyzer` is enough: the spectrogram and the windows
of 1.6 s are made here as the package makes them, but for the silences, which it cuts out and these clips hardly have.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchaudio
from torch import nn

RATE, HOP = 16_000, 160  # Hz, and samples from one column of the spectrogram to the next
WINDOW, STEP = 160, 77  # columns that the network sees at once, and from one window to the next
LEAST = 0.75  # of the last window has to be sound, unless it is the only one
LOUDNESS = -30.0  # dB of full scale, to which quieter clips are raised


class Encoder(nn.Module):
    """Clips (samples,) in [-1, 1] at RATE -> an embedding (256,) of length 1."""

    def __init__(self) -> None:
        super().__init__()
        found = importlib.util.find_spec("resemblyzer")
        if found is None or found.origin is None:
            raise ModuleNotFoundError("no package Resemblyzer; pip install --no-deps Resemblyzer")
        self.lstm, self.linear = nn.LSTM(40, 256, 3, batch_first=True), nn.Linear(256, 256)
        file = Path(found.origin).with_name("pretrained.pt")
        state = torch.load(file, map_location="cpu", weights_only=True)["model_state"]
        self.load_state_dict({name: value for name, value in state.items() if name.startswith(("lstm", "linear"))})
        self.mel = torchaudio.transforms.MelSpectrogram(
            RATE, n_fft=400, hop_length=HOP, n_mels=40, norm="slaney", mel_scale="slaney", pad_mode="constant"
        )  # not a part of the state dict above, which is why it is made after it is loaded

    @torch.no_grad()
    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        """See the class."""
        loudness = 10 * torch.log10(clip.square().mean() + 1e-12)
        clip = clip * 10 ** (max(LOUDNESS - float(loudness), 0.0) / 20)
        columns = -(-(len(clip) + 1) // HOP)
        starts = list(range(0, max(1, columns - WINDOW + STEP + 1), STEP))
        if len(starts) > 1 and (len(clip) - starts[-1] * HOP) < LEAST * WINDOW * HOP:
            starts.pop()
        clip = nn.functional.pad(clip, (0, max(0, (starts[-1] + WINDOW) * HOP - len(clip))))
        spectrogram = self.mel(clip).T
        _, (hidden, _) = self.lstm(torch.stack([spectrogram[start : start + WINDOW] for start in starts]))
        each = nn.functional.normalize(torch.relu(self.linear(hidden[-1])), dim=1)
        return nn.functional.normalize(each.mean(dim=0), dim=0)


@functools.cache
def _encoder() -> Encoder:
    return Encoder().eval()


def embed(items: list[dict[str, Any]]) -> list[dict[str, np.ndarray]]:
    """The embedding of each of the `items`, {id, media: int16 (samples,), rate: Hz}."""
    found = []
    for item in items:
        clip = torch.from_numpy(item["media"].astype(np.float32) / 32768)
        clip = torchaudio.functional.resample(clip, round(item["rate"]), RATE)
        found.append({"embedding": _encoder()(clip).numpy()})
    return found
