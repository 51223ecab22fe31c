"""HMDB51: human motion in clips from films and the web."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from lossybench.data import download
from lossybench.data._published import Entry, Facts, one
from lossybench.data._published_videos import PublishedVideos
from lossybench.data.download import remotes
from lossybench.errors import LossyBenchError

_ADDRESS = "https://serre-lab.clps.brown.edu/wp-content/uploads/2013/10"
# Source_action_visible-parts_camera_people_viewpoint_quality_number.avi
_VIDEO = re.compile(r"(.+)_[a-z]_[a-z]{2}_np\d+_[a-z]{2}_[a-z]{3}_\d+\.avi$")


class Hmdb51(PublishedVideos):
    """6,766 clips, 240 pixels high at 30 frames/s, in three published splits. Groups are source videos and actions.

    Each split takes 70 clips of a class for train and 30 for test, and leaves the others out.
    """

    name = "hmdb51"
    classes: ClassVar[list[str]] = [
        "brush_hair", "cartwheel", "catch", "chew", "clap", "climb", "climb_stairs", "dive", "draw_sword", "dribble",
        "drink", "eat", "fall_floor", "fencing", "flic_flac", "golf", "handstand", "hit", "hug", "jump", "kick",
        "kick_ball", "kiss", "laugh", "pick", "pour", "pullup", "punch", "push", "pushup", "ride_bike", "ride_horse",
        "run", "shake_hands", "shoot_ball", "shoot_bow", "shoot_gun", "sit", "situp", "smile", "smoke", "somersault",
        "stand", "swing_baseball", "sword", "sword_exercise", "talk", "throw", "turn", "walk", "wave",
    ]  # fmt: skip
    facts = Facts(
        title="HMDB51",
        source="https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database/",
        licence="CC BY 4.0",
        citation="Kuehne et al., HMDB: A Large Video Database for Human Motion Recognition, ICCV 2011",
        prior_compression="from films and the web, whose coding came first; published as AVI in DivX (MPEG-4 Part 2)",
        compressed_before=("film and web video", "DivX"),
        splits="train and test of split 1, 2 or 3 as published; val is whole source videos cut from train",
        items={"train": 3_570, "test": 1_530},
        shape=(93, 240, 340, 3),
        files=remotes(f"""
            {_ADDRESS}/hmdb51_org.rar md5:517d6f1f19f215c45cdd4d25356be1fb by DMVR (Google DeepMind)
            {_ADDRESS}/test_train_splits.rar md5:15e67781e70dcfbdce2d7dbb9b3344b5 by torchvision
        """),
    )
    split: int = Field(1, ge=1, le=3, description="which published split; published results are means over all three")

    def unpack_further(self, folder: Path) -> None:
        """See PublishedDataset. The archive holds one archive for each class."""
        for archive in sorted(folder.glob("*.rar")):
            download.unpack_into(archive, folder)
            archive.unlink()

    def entries(self, root: Path) -> Iterator[Entry]:
        lists = one(root, "testTrainMulti_7030_splits", self.name)
        videos = one(root, self.classes[0], self.name).parent
        for label, title in enumerate(self.classes):
            listed = lists / f"{title}_test_split{self.split}.txt"
            if not listed.is_file():
                raise LossyBenchError(f"{listed}: no such file, but it is one of the published lists")
            for line in listed.read_text().splitlines():
                clip, _, use = line.strip().rpartition(" ")
                if split := {"1": "train", "2": "test"}.get(use):
                    clip = clip.strip()
                    video = _VIDEO.sub(r"\1", clip)
                    yield Entry(f"{title}/{clip}", videos / title / clip, split, {"video": video}, label)
