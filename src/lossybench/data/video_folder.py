"""A user's video to classify, with one folder for each class."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from lossybench.data import _videos
from lossybench.data._files import ClassFolders, Entry
from lossybench.data.dataset import Finding
from lossybench.settings import MOST


class VideoFolder(ClassFolders):
    """root[/split]/class/**/clip. Clips keep their resolution and mean frame rate, and become 8-bit RGB.

    They are turned and flipped as the file says, and transparency is laid over white.
    """

    name = "video_folder"
    medium = "video"
    extensions = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".3gp")
    max_frames: int | None = Field(
        None, ge=1, le=MOST, description="frames kept of each clip, from its start; null: all"
    )

    def file_bytes(self, entry: Entry) -> int | None:
        return super().file_bytes(entry) if self.max_frames is None else None

    def decode(self, entry: Entry) -> tuple[np.ndarray, float]:
        return _videos.read(entry.path, 0, self.max_frames, whole=True)

    def look(self, entry: Entry) -> list[Finding]:
        return _videos.look(entry.path, self.max_frames)
