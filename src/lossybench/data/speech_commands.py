"""Speech Commands, version 2: single spoken words."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from lossybench.data import audio_io
from lossybench.data._published import Entry, Facts, PublishedDataset, one
from lossybench.data.download import Remote


class SpeechCommands(PublishedDataset):
    """105,829 clips of 35 words, mostly of one second; group is the speaker. Background noise is left out."""

    name = "speech_commands"
    medium = "audio"
    kind = "classification"
    classes: ClassVar[list[str]] = [
        "backward", "bed", "bird", "cat", "dog", "down", "eight", "five", "follow", "forward", "four", "go", "happy",
        "house", "learn", "left", "marvin", "nine", "no", "off", "on", "one", "right", "seven", "sheila", "six",
        "stop", "three", "tree", "two", "up", "visual", "wow", "yes", "zero",
    ]  # fmt: skip
    facts = Facts(
        title="Speech Commands v0.02",
        source="https://arxiv.org/abs/1804.03209",
        licence="CC BY 4.0",
        citation="Warden, Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition, 2018",
        prior_compression="recorded in several formats, Ogg Vorbis from browsers among them; published as 16-bit WAV",
        compressed_before=("Ogg Vorbis",),
        splits="train, val (validation_list.txt) and test (testing_list.txt) as published; no speaker is in two",
        items={"train": 84_843, "val": 9_981, "test": 11_005},
        shape=(16_000,),
        files=(
            Remote(
                "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
                ("sha256:af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",),
                2_428_923_189,
                "torchaudio, TensorFlow Datasets",
            ),
        ),
    )
    sample_rate: int = Field(16000, ge=8000, le=48000, description="Hz that clips get; their own is 16000")

    @property
    def sampling_rate(self) -> float:
        """See PublishedDataset."""
        return self.sample_rate

    def entries(self, root: Path) -> list[Entry]:
        """See PublishedDataset."""
        lists = {"val": "validation_list.txt", "test": "testing_list.txt"}
        base = one(root, lists["val"], self.name).parent
        split_of = {id: split for split, name in lists.items() for id in one(base, name, self.name).read_text().split()}
        found: list[Entry] = []
        for label, word in enumerate(self.classes):
            for file in sorted((base / word).glob("*.wav")):
                id = f"{word}/{file.name}"
                speaker = file.stem.partition("_nohash_")[0]
                found.append(Entry(id, file, split_of.get(id, "train"), speaker, label))
        return found

    def decode(self, entry: Entry) -> tuple[np.ndarray, float]:
        """See PublishedDataset."""
        return audio_io.read(entry.path, self.sample_rate)
