"""Users' and published video files as frames."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from pydantic import Field

from lossybench.data._published import Entry, Part, PublishedDataset
from lossybench.errors import LossyBenchError


class PublishedVideos(PublishedDataset):
    """Published clips for classification. Frames that a file only announces are no fault: old AVI files do."""

    medium = "video"
    kind = "classification"
    max_frames: int | None = Field(None, ge=1, description="frames kept of each clip, from its start; null: all")

    @property
    def shape(self) -> tuple[int, ...]:
        """See PublishedDataset."""
        frames, *picture = self.facts.shape
        return (min(frames, self.max_frames or frames), *picture)

    def decode(self, entry: Entry) -> tuple[np.ndarray, float]:
        """See PublishedDataset."""
        start, stop = (entry.start, entry.stop) if isinstance(entry, Part) else (0, None)
        if self.max_frames is not None:
            stop = min(start + self.max_frames, stop or start + self.max_frames)
        return read(entry.path, start, stop)


def read(path: Path, start: int = 0, stop: int | None = None) -> tuple[np.ndarray, float]:
    """Frames `start` up to `stop` (None: all that can be decoded), uint8 (frames, H, W, 3) RGB, and frames/s.

    Raises LossyBenchError, naming the file, when it is no video or none of these frames is in it.
    """
    frames: list[np.ndarray] = []
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise LossyBenchError(f"{path}: holds no video that can be read; is it whole?")
            stream = container.streams.video[0]
            rate = float(stream.average_rate or stream.guessed_rate or 0)
            for index, frame in enumerate(container.decode(stream)):
                if index >= start:
                    frames.append(frame.to_ndarray(format="rgb24"))
                if index + 1 == stop:
                    break
    except (av.FFmpegError, OSError, ValueError) as error:
        raise LossyBenchError(f"{path}: not a video that ffmpeg can read ({error})") from None
    if not frames:
        raise LossyBenchError(f"{path}: ends before frame {start}")
    if not rate:
        raise LossyBenchError(f"{path}: says nothing of its frame rate")
    if len({frame.shape for frame in frames}) > 1:
        raise LossyBenchError(f"{path}: its frames change size")
    return np.stack(frames), rate
