"""The Free Spoken Digit Dataset (Jackson et al., CC BY-SA 4.0): from a local copy, or downloaded."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from lossybench.data import audio_io, download
from lossybench.data._files import Entry, FileDataset
from lossybench.data.base import SPLITS, Description, Item
from lossybench.errors import LossyBenchError

_NAME = re.compile(r"(\d)_([^_]+)_(\d+)\.wav")  # digit, speaker, index
_DIGITS = [str(digit) for digit in range(10)]


class Fsdd(FileDataset):
    """Ten spoken digits. Test is the published split (index 0 to 4 of each digit and speaker), val is index 5 to 9.

    group is the speaker; as published, every speaker is in every split. Clips keep their length.
    """

    name: ClassVar[str] = "fsdd"
    path: Path | None = Field(None, description="local copy: the folder with recordings/ in it; null: download")
    url: str = Field(
        "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/v1.0.9.tar.gz",
        description="archive to download: an address, or the path of a local copy of it",
    )
    # As TensorFlow Datasets records it for this address.
    sha256: str = Field(
        "8bc44cde129d505cbbb6b365c09f80c663f2aa77578afc634e6141a2f87100c0",
        pattern="^[0-9a-fA-F]{64}$",
        description="checksum of the archive",
    )
    sample_rate: int | None = Field(None, ge=8000, le=48000, description="Hz that clips get; null: their own, 8000")

    def describe(self, seed: int) -> Description:
        """See Dataset."""
        card = {
            "title": "Free Spoken Digit Dataset",
            "source": "https://github.com/Jakobovski/free-spoken-digit-dataset",
            "licence": "CC BY-SA 4.0",
            "citation": "Jackson et al., Free Spoken Digit Dataset, Zenodo, doi 10.5281/zenodo.1342401",
            "prior_compression": "none",
        }
        counts = None
        if self.path is not None:
            counts = dict(collections.Counter(entry.split for entry in self._entries(self.path)))
        return Description("audio", "classification", _DIGITS, card, counts, self.sample_rate or 8000)

    def items(self, seed: int, skipped: list[str]) -> Iterator[Item]:
        """See Dataset."""
        folder = self.path
        if folder is None:
            archive = download.fetch(self.url, self.sha256, download.cache())
            folder = download.unpack(archive, download.cache() / f"fsdd-{self.sha256[:16].lower()}")
        yield from self.read(self._entries(folder), lambda path: audio_io.read(path, self.sample_rate), skipped)

    def _entries(self, folder: Path) -> list[Entry]:
        recordings = sorted(at for at in [folder / "recordings", *folder.glob("*/recordings")] if at.is_dir())
        if not recordings:
            raise LossyBenchError(f"data set 'fsdd': {folder} has no folder 'recordings'")
        entries = []
        for file in sorted(recordings[0].glob("*.wav")):
            match = _NAME.fullmatch(file.name)
            if not match:
                raise LossyBenchError(f"{file}: not named digit_speaker_index.wav")
            digit, speaker, index = match.groups()
            split = "test" if int(index) < 5 else "val" if int(index) < 10 else "train"
            entries.append(Entry(f"recordings/{file.name}", file, split, speaker, int(digit)))
        if not entries:
            raise LossyBenchError(f"data set 'fsdd': {recordings[0]} holds no .wav file")
        return sorted(entries, key=lambda entry: (SPLITS.index(entry.split), entry.id))
