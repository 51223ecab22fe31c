"""Public data sets of audio."""

from __future__ import annotations

import numpy as np

from lossybench.data import audio_io
from lossybench.data._published import Entry, PublishedDataset


class PublishedAudio(PublishedDataset):
    """Clips to classify. A subclass gives the option `sample_rate` the clips' own rate as its default."""

    medium = "audio"
    kind = "classification"
    sample_rate: int

    @property
    def sampling_rate(self) -> float:
        return self.sample_rate

    @property
    def shape(self) -> tuple[int, ...]:
        return (round(self.facts.shape[0] * self.sample_rate / type(self).model_fields["sample_rate"].default),)

    def decode(self, entry: Entry) -> tuple[np.ndarray, float]:
        return audio_io.read(entry.path, self.sample_rate)
