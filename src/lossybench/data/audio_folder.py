"""A user's audio to classify, with one folder for each class."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from lossybench.data import audio_io
from lossybench.data._files import ClassFolders, Entry
from lossybench.data.dataset import Finding


class AudioFolder(ClassFolders):
    """root[/split]/class/**/clip. Clips keep their length, and become 16-bit mono at one sampling rate."""

    name = "audio_folder"
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
