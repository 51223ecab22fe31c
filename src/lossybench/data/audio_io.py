"""Audio as int16 mono at a sampling rate, from a file or from samples, by pydub.

pydub decodes what is not PCM WAV by an ffmpeg program; it gets the one that imageio-ffmpeg carries. Sampling rates are
converted by soxr, because pydub's own conversion does not filter before it drops samples.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import soundfile
import soxr

from lossybench.data.dataset import Finding
from lossybench.errors import LossyBenchError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that there is no ffmpeg on the PATH
    from pydub import AudioSegment, effects
    from pydub.audio_segment import extract_wav_headers
    from pydub.exceptions import CouldntDecodeError

AudioSegment.converter = imageio_ffmpeg.get_ffmpeg_exe()
EXTENSIONS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".wma", ".aif", ".aiff", ".webm", ".oga",
              ".au", ".caf")  # fmt: skip
_UNKNOWN_LENGTH = 0xFFFFFFFF  # a WAV written to a pipe


def read(path: Path, rate: int | None = None) -> tuple[np.ndarray, int]:
    """The int16 (samples,) of the file `path`, mono at `rate` Hz (None: its own), and the rate.

    Channels are averaged; wider samples are cut to 16 bits. Raises LossyBenchError, naming the file, when it is no
    audio or ends early.
    """
    try:
        segment = _decode(path)
        segment = segment.set_sample_width(2).set_channels(1)
    except (CouldntDecodeError, ValueError, IndexError, OSError) as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise LossyBenchError(f"{path}: not audio that ffmpeg can read ({lines[-1] if lines else error})") from None
    samples = np.array(segment.get_array_of_samples(), np.int16)
    if not samples.size:
        raise LossyBenchError(f"{path}: holds no samples")
    target = rate or segment.frame_rate
    return resample(samples, segment.frame_rate, target), target


def _decode(path: Path) -> AudioSegment:
    content = path.read_bytes()
    if content[:4] == b"RIFF" and content[8:12] == b"WAVE":
        headers = extract_wav_headers(content)
        if not headers or headers[-1].id != b"data":
            raise LossyBenchError(f"{path}: a WAV file without samples; it was cut short or is damaged")
        announced, found = headers[-1].size, len(content) - headers[-1].position - 8
        if found < announced != _UNKNOWN_LENGTH:
            raise LossyBenchError(f"{path}: cut short: {found} of {announced} bytes of samples are there")
        try:
            return AudioSegment(content)
        except CouldntDecodeError:
            pass  # a WAV file of something other than PCM, which ffmpeg may know
    # pydub's from_file would ask ffprobe, which imageio-ffmpeg does not carry.
    return AudioSegment.from_file_using_temporary_files(str(path), format=None)


def look(path: Path, rate: int) -> list[Finding]:
    """What is odd, by its header, about the readable file `path` when it is brought to `rate` Hz."""
    content = path.open("rb").read(12)
    kinds = {".wav": b"RIFF", ".flac": b"fLaC", ".ogg": b"OggS", ".opus": b"OggS", ".aif": b"FORM", ".aiff": b"FORM"}
    suffix, findings = path.suffix.lower(), []
    is_kind = next((kind for kind in kinds.values() if content.startswith(kind)), None)
    if kinds.get(suffix, is_kind) != is_kind:
        what = (is_kind or b"another format").decode()
        findings.append(Finding("wrong extension", "warning", str(path), f"is {what} by its content"))
    try:
        about = soundfile.info(path)
    except soundfile.LibsndfileError:  # a format that only ffmpeg knows
        return findings
    if about.samplerate != rate:
        findings.append(Finding("other sample rate", "note", str(path), f"{about.samplerate} Hz becomes {rate} Hz"))
    if about.channels != 1:
        findings.append(Finding("several channels", "note", str(path), f"{about.channels} channels are averaged"))
    return findings


def resample(samples: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """The int16 (samples,) at `from_rate` Hz brought to `to_rate` Hz (soxr HQ), rounded and clipped."""
    if from_rate == to_rate:
        return samples
    converted = soxr.resample(samples.astype(np.float64), from_rate, to_rate)
    return np.clip(np.rint(converted), -32768, 32767).astype(np.int16)


def normalise(samples: np.ndarray, rate: int, headroom: float) -> np.ndarray:
    """The int16 (samples,) at `rate` Hz, scaled so that the peak is `headroom` dB below full scale; silence stays."""
    segment = AudioSegment(samples.tobytes(), sample_width=2, frame_rate=rate, channels=1)
    return np.array(effects.normalize(segment, headroom).get_array_of_samples(), np.int16)
