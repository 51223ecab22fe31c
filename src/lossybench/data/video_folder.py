"""A user's video to classify, with one folder for each class."""

from __future__ import annotations

import av
import numpy as np
from pydantic import Field

from lossybench.data import _videos
from lossybench.data._files import ClassFolders, Entry
from lossybench.data.dataset import Finding

_SAME = {"mov,mp4,m4a,3gp,3g2,mj2": {"m4v", "mov"}, "matroska,webm": {"webm"}, "mpeg": {"mpg", "mpeg"}, "asf": {"wmv"}}


class VideoFolder(ClassFolders):
    """root[/split]/class/**/clip. Clips keep their resolution and frame rate, and become 8-bit RGB.

    A rotation in the file's metadata is not applied.
    """

    name = "video_folder"
    medium = "video"
    extensions = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".3gp")
    max_frames: int | None = Field(None, ge=1, description="frames kept of each clip, from its start; null: all")

    def decode(self, entry: Entry) -> tuple[np.ndarray, float]:
        return _videos.read(entry.path, 0, self.max_frames, whole=True)

    def look(self, entry: Entry) -> list[Finding]:
        path, findings = entry.path, []
        with av.open(str(path)) as container:
            known = container.format.extensions
            if known and path.suffix.lower().lstrip(".") not in known | _SAME.get(container.format.name, set()):
                text = f"is {container.format.long_name} by its content"
                findings.append(Finding("wrong extension", "warning", str(path), text))
            if container.streams.audio:
                findings.append(Finding("sound in a video", "note", str(path), "is left out"))
        return findings
