"""Video files as frames."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from lossybench.errors import LossyBenchError


def read(path: Path, start: int = 0, stop: int | None = None, whole: bool = False) -> tuple[np.ndarray, float]:
    """Frames `start` up to `stop` (None: to the end), uint8 (frames, H, W, 3) RGB, and the frames/s.

    whole: refuse a damaged frame, and a file that has fewer frames than it announces.
    Raises LossyBenchError, naming the file, when it is no video or none of these frames is in it.
    """
    frames: list[np.ndarray] = []
    expected = 0
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise LossyBenchError(f"{path}: holds no video that can be read; is it whole?")
            stream = container.streams.video[0]
            rate = float(stream.average_rate or stream.guessed_rate or 0)
            if whole:  # what the container announces is 0 where it does not say
                expected = min(stream.frames, stop or stream.frames)
            for index, frame in enumerate(container.decode(stream)):
                if whole and frame.is_corrupt:
                    raise LossyBenchError(f"{path}: frame {index} is damaged")
                if index >= start:
                    frames.append(frame.to_ndarray(format="rgb24"))
                if index + 1 == stop:
                    break
    except (av.FFmpegError, OSError, ValueError) as error:
        raise LossyBenchError(f"{path}: not a video that ffmpeg can read ({error})") from None
    if start + len(frames) < expected:
        raise LossyBenchError(f"{path}: cut short: only {start + len(frames)} of {expected} frames can be decoded")
    if not frames:
        raise LossyBenchError(f"{path}: ends before frame {start}, counted from 0")
    if not rate:
        raise LossyBenchError(f"{path}: does not say its frame rate")
    if len({frame.shape for frame in frames}) > 1:
        raise LossyBenchError(f"{path}: its frames differ in size")
    return np.stack(frames), rate
