"""Speech Commands, version 2: single spoken words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from lossybench.data._published import Entry, Facts, one
from lossybench.data._published_audio import PublishedAudio
from lossybench.data.download import remotes


class SpeechCommands(PublishedAudio):
    """105,829 clips of 35 words, mostly of one second. Groups are speakers. Background noise is left out."""

    name = "speech_commands"
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
        files=remotes("""
            http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz 2428923189
            sha256:af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58 by torchaudio, TensorFlow Datasets
        """),
    )
    sample_rate: int = Field(16000, ge=8000, le=48000, description="Hz that clips get; their own is 16000")

    def entries(self, root: Path) -> Iterator[Entry]:
        lists = {"val": "validation_list.txt", "test": "testing_list.txt"}
        base = one(root, lists["val"], self.name).parent
        split_of = {id: split for split, name in lists.items() for id in one(base, name, self.name).read_text().split()}
        for label, word in enumerate(self.classes):
            for file in sorted((base / word).glob("*.wav")):
                id = f"{word}/{file.name}"
                speaker = file.stem.partition("_nohash_")[0]
                yield Entry(id, file, split_of.get(id, "train"), {"speaker": speaker}, label)
