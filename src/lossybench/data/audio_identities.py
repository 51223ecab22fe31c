"""A user's recordings of speakers to verify, with one folder for each."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from lossybench.data import audio_io
from lossybench.data._files import Entry
from lossybench.data._identities import IdentityFolders
from lossybench.data.dataset import Finding


class AudioIdentities(IdentityFolders):
    """root[/split]/identity/**/clip. Clips keep their length, and become 16-bit mono at one sampling rate."""

    name = "audio_identities"
    medium = "audio"
    extensions = audio_io.EXTENSIONS
    sample_rate: int = Field(16000, ge=8000, le=48000, description="sampling rate (Hz) that all clips get")

    def decode(self, entry: Entry) -> tuple[np.ndarray, float]:
        return audio_io.read(entry.path, self.sample_rate)

    def look(self, entry: Entry) -> list[Finding]:
        return audio_io.look(entry.path, self.sample_rate)

    @property
    def sampling_rate(self) -> float:
        return self.sample_rate
