"""ESC-50: environmental sounds."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from lossybench.data._published import Entry, Facts, one
from lossybench.data._published_audio import PublishedAudio
from lossybench.data.download import remotes
from lossybench.errors import LossyBenchError


class Esc50(PublishedAudio):
    """2,000 clips of five seconds in five folds, no recording in two of them. Groups are Freesound's recordings.

    One fold is test and the next one val; published results are means over the five folds as test, for which a task has
    `folds: {count: 5, pattern: "^([1-5])-"}`: names of files begin with the fold.
    """

    name = "esc50"
    classes: ClassVar[list[str]] = [
        "dog", "rooster", "pig", "cow", "frog", "cat", "hen", "insects", "sheep", "crow", "rain", "sea_waves",
        "crackling_fire", "crickets", "chirping_birds", "water_drops", "wind", "pouring_water", "toilet_flush",
        "thunderstorm", "crying_baby", "sneezing", "clapping", "breathing", "coughing", "footsteps", "laughing",
        "brushing_teeth", "snoring", "drinking_sipping", "door_wood_knock", "mouse_click", "keyboard_typing",
        "door_wood_creaks", "can_opening", "washing_machine", "vacuum_cleaner", "clock_alarm", "clock_tick",
        "glass_breaking", "helicopter", "chainsaw", "siren", "car_horn", "engine", "train", "church_bells", "airplane",
        "fireworks", "hand_saw",
    ]  # fmt: skip
    facts = Facts(
        title="ESC-50: Dataset for Environmental Sound Classification",
        source="https://github.com/karolpiczak/ESC-50",
        licence="CC BY-NC 3.0",
        citation="Piczak, ESC: Dataset for Environmental Sound Classification, ACM Multimedia 2015, "
        "doi 10.1145/2733373.2806390",
        prior_compression="Ogg Vorbis (192 kb/s by the paper, after whatever the contributors of Freesound used); "
        "published as WAV",
        compressed_before=("Ogg Vorbis",),
        splits="the five published folds: `fold` is test, the next one val, the others train",
        items={"train": 1_200, "val": 400, "test": 400},
        shape=(220_500,),
        files=remotes("""
            https://github.com/karoldvl/ESC-50/archive/master.zip
            md5:7771e4b9d86d0945acce719c7a59305a by soundata, PaddleAudio
        """),
        note="the address is of the newest state of a repository: after a change there the checksum no longer holds, "
        "and `checksums` takes yours",
    )
    fold: int = Field(1, ge=1, le=5, description="fold to test on")
    sample_rate: int = Field(44100, ge=8000, le=48000, description="Hz that clips get; their own is 44100")

    def entries(self, root: Path) -> Iterator[Entry]:
        table = one(root, "meta/esc50.csv", self.name)
        splits = {self.fold: "test", self.fold % 5 + 1: "val"}
        with table.open(newline="") as file:
            for row in csv.DictReader(file):
                label = int(row["target"])
                if self.classes[label : label + 1] != [row["category"]]:
                    raise LossyBenchError(f"{table}: class {label} is {row['category']!r}, which is not as published")
                groups = {"recording": row["src_file"]}
                clip = table.parents[1] / "audio" / row["filename"]
                yield Entry(clip.name, clip, splits.get(int(row["fold"]), "train"), groups, label)
