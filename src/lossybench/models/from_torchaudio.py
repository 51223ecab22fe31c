"""torchaudio's speech encoders by name (wav2vec 2.0, HuBERT, WavLM), with a linear head: audio classifiers for a GPU.

torchaudio ships no classifier of sounds or words; its encoders are what one is made from, by training the head and the
encoder together on published weights (Yang et al., "SUPERB", Interspeech 2021).
"""

from __future__ import annotations

from typing import Any

import torch
import torchaudio
from torch import nn
from torch.nn import functional

from lossybench.errors import LossyBenchError, nearest
from lossybench.models.inputs import Input

RATE = 16000  # Hz that all of them were trained at
BUNDLES: dict[str, Any] = {
    name.lower(): getattr(torchaudio.pipelines, name)
    for name in dir(torchaudio.pipelines)
    if name.isupper() and "ASR" not in name and hasattr(torchaudio.models, name.lower())
}  # those whose architecture has a function of the same name: no speech recognisers


class Encoder(nn.Module):
    """Audio (N, samples) -> logits (N, classes): the mean of the encoder's features over time, and a linear layer."""

    def __init__(self, encoder: Any, classes: int, normalises: bool) -> None:
        super().__init__()
        self.encoder, self.normalises = encoder, normalises
        width = encoder.encoder.transformer.layers[0].final_layer_norm.normalized_shape[0]
        self.head = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See `lossybench.models.build`."""
        if self.normalises:  # as its weights were trained
            x = functional.layer_norm(x, x.shape[1:])
        features, _ = self.encoder(x)
        return self.head(features.mean(1))


def build(name: str, medium: str, kind: str, classes: int, input: Input, weights: str | None) -> nn.Module:
    """torchaudio's encoder `name` with a head; see `lossybench.models.build` for the other arguments.

    Raises LossyBenchError for an encoder or weights that torchaudio does not have, and for another rate than 16 kHz.
    """
    if name not in BUNDLES:
        raise LossyBenchError(f"torchaudio has no encoder {name!r}; {nearest(name, BUNDLES)}")
    if input.sampling_rate != RATE:
        wanted = f"takes {RATE} Hz, not {input.sampling_rate:g}"
        raise LossyBenchError(f"torchaudio/{name} {wanted}; set the data's sample_rate")
    encoder = getattr(torchaudio.models, name)()
    if weights is not None:
        if weights not in ("DEFAULT", name.upper()):
            raise LossyBenchError(f"torchaudio/{name}: unknown weights {weights!r}; use DEFAULT")
        published = BUNDLES[name].get_model()  # downloads; torchaudio may wrap it to normalise
        encoder.load_state_dict(getattr(published, "model", published).state_dict())
    return Encoder(encoder, classes, BUNDLES[name]._normalize_waveform)
