"""A user's video for classification, one folder a class."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import av
import numpy as np
from pydantic import Field

from lossybench.data._files import ClassFolders
from lossybench.data.dataset import Finding, Medium
from lossybench.errors import LossyBenchError

_SAME = {"mov,mp4,m4a,3gp,3g2,mj2": {"m4v", "mov"}, "matroska,webm": {"webm"}, "mpeg": {"mpg", "mpeg"}, "asf": {"wmv"}}


class VideoFolder(ClassFolders):
    """root[/split]/class/**/clip; clips keep resolution and frame rate and become 8-bit RGB.

    A rotation in the file's metadata is not applied.
    """

    name: ClassVar[str] = "video_folder"
    medium: ClassVar[Medium] = "video"
    extensions: ClassVar[tuple[str, ...]] = (
        ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".3gp",
    )  # fmt: skip
    max_frames: int | None = Field(None, ge=1, description="frames kept of each clip, from its start; null: all")

    def decode(self, path: Path) -> tuple[np.ndarray, float]:
        """See ClassFolders."""
        frames: list[np.ndarray] = []
        try:
            with av.open(str(path)) as container:
                if not container.streams.video:
                    raise LossyBenchError(f"{path}: holds no video that can be read; is it whole?")
                stream = container.streams.video[0]
                rate = float(stream.average_rate or stream.guessed_rate or 0)
                # What the container announces; 0 where it does not.
                expected = min(stream.frames, self.max_frames or stream.frames)
                for frame in container.decode(stream):
                    if frame.is_corrupt:
                        raise LossyBenchError(f"{path}: frame {len(frames)} is damaged")
                    frames.append(frame.to_ndarray(format="rgb24"))
                    if len(frames) == self.max_frames:
                        break
        except (av.FFmpegError, OSError, ValueError) as error:
            raise LossyBenchError(f"{path}: not a video that ffmpeg can read ({error})") from None
        if not frames or len(frames) < expected:
            raise LossyBenchError(f"{path}: cut short: {len(frames)} of {expected or 'any'} frames can be decoded")
        if not rate:
            raise LossyBenchError(f"{path}: says nothing of its frame rate")
        if len({frame.shape for frame in frames}) > 1:
            raise LossyBenchError(f"{path}: its frames change size")
        return np.stack(frames), rate

    def look(self, path: Path) -> list[Finding]:
        """See ClassFolders."""
        findings = []
        with av.open(str(path)) as container:
            known = container.format.extensions
            if known and path.suffix.lower().lstrip(".") not in known | _SAME.get(container.format.name, set()):
                text = f"is {container.format.long_name} by its content"
                findings.append(Finding("wrong extension", "warning", str(path), text))
            if container.streams.audio:
                findings.append(Finding("sound in a video", "note", str(path), "is left out"))
        return findings
