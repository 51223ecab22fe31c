"""The Free Spoken Digit Dataset."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from lossybench.data._published import Entry, Facts, one
from lossybench.data._published_audio import PublishedAudio
from lossybench.data.download import remotes
from lossybench.errors import LossyBenchError

_NAME = re.compile(r"(\d)_([^_]+)_(\d+)\.wav")  # digit, speaker, index


class Fsdd(PublishedAudio):
    """Ten spoken digits. Test is as published: recordings 0 to 4 of each digit and speaker; val is recordings 5 to 9.

    Groups are speakers; as published, every speaker is in every split. Clips keep their length.
    """

    name = "fsdd"
    classes: ClassVar[list[str]] = [str(digit) for digit in range(10)]
    facts = Facts(
        title="Free Spoken Digit Dataset",
        source="https://github.com/Jakobovski/free-spoken-digit-dataset",
        licence="CC BY-SA 4.0",
        citation="Jackson et al., Free Spoken Digit Dataset, Zenodo, doi 10.5281/zenodo.1342401",
        prior_compression="none",
        compressed_before=(),
        splits="published: recordings 0 to 4 of each digit and speaker are test; 5 to 9 are val here",
        # Of the release that is downloaded; its author adds to the repository.
        items={"train": 2_000, "val": 250, "test": 250},
        shape=(3_500,),
        files=remotes("""
            https://github.com/Jakobovski/free-spoken-digit-dataset/archive/v1.0.9.tar.gz
            sha256:8bc44cde129d505cbbb6b365c09f80c663f2aa77578afc634e6141a2f87100c0 by TensorFlow Datasets
        """),
    )
    sample_rate: int = Field(8000, ge=8000, le=48000, description="Hz that clips get; their own is 8000")

    def entries(self, root: Path) -> Iterator[Entry]:
        for file in sorted(one(root, "recordings", self.name).glob("*.wav")):
            match = _NAME.fullmatch(file.name)
            if not match:
                raise LossyBenchError(f"{file}: not named digit_speaker_index.wav")
            digit, speaker, index = match.groups()
            split = "test" if int(index) < 5 else "val" if int(index) < 10 else "train"
            yield Entry(f"recordings/{file.name}", file, split, {"speaker": speaker}, int(digit))
