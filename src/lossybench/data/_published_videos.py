"""Public data sets of video."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from lossybench.data import _videos
from lossybench.data._published import Entry, PublishedDataset
from lossybench.settings import MOST


class PublishedVideos(PublishedDataset):
    """Clips to classify. It is no fault if a file announces more frames than it has: old AVI files do."""

    medium = "video"
    kind = "classification"
    max_frames: int | None = Field(
        None, ge=1, le=MOST, description="frames kept of each clip, from its start; null: all"
    )

    @property
    def shape(self) -> tuple[int, ...]:
        frames, *picture = self.facts.shape
        return (min(frames, self.max_frames or frames), *picture)

    def file_bytes(self, entry: Entry) -> int | None:
        return super().file_bytes(entry) if self.max_frames is None else None

    def decode(self, entry: Entry) -> tuple[np.ndarray, float]:
        stop = entry.stop
        if self.max_frames is not None:
            stop = min(entry.start + self.max_frames, stop or entry.start + self.max_frames)
        return _videos.read(entry.path, entry.start, stop)
