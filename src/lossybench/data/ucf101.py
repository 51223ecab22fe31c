"""UCF101: human actions in clips from YouTube."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from lossybench.data._published import Entry, Facts, one
from lossybench.data._published_videos import PublishedVideos
from lossybench.data.download import remotes

_ADDRESS = "https://www.crcv.ucf.edu/data/UCF101"
_VIDEO = re.compile(r"^v_(.+_g\d+)_c\d+.*$")


class Ucf101(PublishedVideos):
    """13,320 clips of 320 x 240 at 25 frames/s in three published splits. Groups are the videos they were cut from."""

    name = "ucf101"
    classes: ClassVar[list[str]] = [
        "ApplyEyeMakeup", "ApplyLipstick", "Archery", "BabyCrawling", "BalanceBeam", "BandMarching", "BaseballPitch",
        "Basketball", "BasketballDunk", "BenchPress", "Biking", "Billiards", "BlowDryHair", "BlowingCandles",
        "BodyWeightSquats", "Bowling", "BoxingPunchingBag", "BoxingSpeedBag", "BreastStroke", "BrushingTeeth",
        "CleanAndJerk", "CliffDiving", "CricketBowling", "CricketShot", "CuttingInKitchen", "Diving", "Drumming",
        "Fencing", "FieldHockeyPenalty", "FloorGymnastics", "FrisbeeCatch", "FrontCrawl", "GolfSwing", "Haircut",
        "Hammering", "HammerThrow", "HandstandPushups", "HandstandWalking", "HeadMassage", "HighJump", "HorseRace",
        "HorseRiding", "HulaHoop", "IceDancing", "JavelinThrow", "JugglingBalls", "JumpingJack", "JumpRope",
        "Kayaking", "Knitting", "LongJump", "Lunges", "MilitaryParade", "Mixing", "MoppingFloor", "Nunchucks",
        "ParallelBars", "PizzaTossing", "PlayingCello", "PlayingDaf", "PlayingDhol", "PlayingFlute", "PlayingGuitar",
        "PlayingPiano", "PlayingSitar", "PlayingTabla", "PlayingViolin", "PoleVault", "PommelHorse", "PullUps",
        "Punch", "PushUps", "Rafting", "RockClimbingIndoor", "RopeClimbing", "Rowing", "SalsaSpin", "ShavingBeard",
        "Shotput", "SkateBoarding", "Skiing", "Skijet", "SkyDiving", "SoccerJuggling", "SoccerPenalty", "StillRings",
        "SumoWrestling", "Surfing", "Swing", "TableTennisShot", "TaiChi", "TennisSwing", "ThrowDiscus",
        "TrampolineJumping", "Typing", "UnevenBars", "VolleyballSpiking", "WalkingWithDog", "WallPushups",
        "WritingOnBoard", "YoYo",
    ]  # fmt: skip
    facts = Facts(
        title="UCF101",
        source="https://www.crcv.ucf.edu/data/UCF101.php",
        licence="not stated",
        citation="Soomro et al., UCF101: A Dataset of 101 Human Actions Classes From Videos in The Wild, "
        "CRCV-TR-12-01, 2012",
        prior_compression="from YouTube, whose coding came first; published as AVI in DivX (MPEG-4 Part 2)",
        compressed_before=("web video", "DivX"),
        splits="train and test lists 1, 2 or 3 as published; val is whole source videos cut from train",
        items={"train": 9_537, "test": 3_783},
        shape=(186, 240, 320, 3),
        files=remotes(f"""
            {_ADDRESS}/UCF101.rar
            sha256:ca8dfadb4c891cb11316f94d52b6b0ac2a11994e67a0cae227180cd160bd8e55
            by torchvision (its prototype data sets)
            {_ADDRESS}/UCF101TrainTestSplits-RecognitionTask.zip 113943
            sha256:5c0d1a53b8ed364a2ac830a73f405e51bece7d98ce1254fd19ed4a36b224bd27
            by TensorFlow Datasets, torchvision (its prototype data sets)
        """),
    )
    split: int = Field(1, ge=1, le=3, description="which published split; published results are means over all three")

    def entries(self, root: Path) -> Iterator[Entry]:
        videos = one(root, "UCF-101", self.name)
        for split in ("train", "test"):
            listed = one(root, f"ucfTrainTestlist/{split}list{self.split:02d}.txt", self.name)
            for line in listed.read_text().splitlines():
                if line.strip():
                    clip = line.split()[0]
                    title, _, file = clip.partition("/")
                    video = _VIDEO.sub(r"\1", file)
                    yield Entry(clip, videos / clip, split, {"video": video}, self.classes.index(title))
