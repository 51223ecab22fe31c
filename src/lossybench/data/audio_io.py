"""Audio as int16 mono at a sampling rate, from a file or from samples.

What libsndfile knows is read by soundfile; the rest, and MPEG audio, by FFmpeg's libraries (PyAV): where an MP3 does
not state its length, libsndfile guesses it from the first frames and ends there. Rates are converted by soxr. Samples
stay floating-point until they are rounded, once, at the end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import warnings
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr
from av.audio.stream import AudioStream
from av.container import InputContainer

from lossybench.data._audio_headers import check_whole, mpeg_frames
from lossybench.data.dataset import Finding
from lossybench.errors import LossyBenchError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that there is no ffmpeg on the PATH, which nothing here needs
    from pydub import AudioSegment, effects

EXTENSIONS = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac", ".wma", ".aif", ".aiff", ".webm", ".wave",
              ".w64", ".oga", ".aifc", ".au", ".caf")  # fmt: skip
LONGEST = 2**27  # samples of all channels together, before or after resampling; in memory about 4 GB at most
RATES = (100, 1_000_000)  # Hz; a header that states another rate is damaged, or lies
CANCELLED = 0.01  # the share of the channels' power below which their average counts as cancelled (-20 dB)
OVERLOADED = 0.001  # the share of samples beyond full scale from which on their clipping makes results doubtful
_BLOCK = 2**16
_UNKNOWN = 2**60  # libsndfile states more samples than this where a file was written to a pipe

# By libsndfile's names of formats, and by FFmpeg's.
_SUFFIXES = {
    **dict.fromkeys(("WAV", "WAVEX", "RF64", "W64", "wav"), (".wav", ".wave", ".w64")),
    **dict.fromkeys(("FLAC", "flac"), (".flac",)),
    **dict.fromkeys(("OGG", "ogg"), (".ogg", ".oga", ".opus")),
    **dict.fromkeys(("AIFF", "aiff"), (".aif", ".aiff", ".aifc")),
    **dict.fromkeys(("AU", "au"), (".au", ".snd")),
    **dict.fromkeys(("CAF", "caf"), (".caf",)),
    "NIST": (".sph", ".nist"),
    "mp3": (".mp3", ".mp2"),
    "aac": (".aac",),
    "mov": (".m4a", ".mp4", ".m4b", ".mov", ".3gp"),
    "matroska": (".webm", ".mka", ".mkv"),
    "asf": (".wma", ".asf"),
    "ac3": (".ac3",),
    "amr": (".amr",),
    "wv": (".wv",),
    "tta": (".tta",),
    "ape": (".ape",),
}
_FFMPEG = ",".join(name for name in _SUFFIXES if name.islower()) + ",mp4,m4a,3gp,3g2,mj2,webm"
# These containers state the length of what is in them. FFmpeg guesses that of the others.
_STATED = ("wav", "aiff", "caf", "mov", "matroska", "wv", "tta")
_SIZED = ("wav", "aiff", "caf", "au")  # check_whole has compared the sizes of these


@dataclasses.dataclass
class _Sound:
    """An open file. kind: a key of _SUFFIXES. whole: whether samples are integers as they are stored, without loss.

    blocks: float64 (samples, channels) each, full scale at 1.
    """

    kind: str
    whole: bool
    rate: int
    channels: int
    blocks: Iterator[np.ndarray]


def read(path: Path, rate: int | None = None) -> tuple[np.ndarray, int]:
    """The int16 (samples,) of the file `path`, mono at `rate` Hz (None: its own), and the rate.

    Channels are averaged, and what is beyond full scale is clipped. Raises LossyBenchError, naming the file, when it is
    no audio, is cut short or damaged, is longer than LONGEST, has a rate outside RATES, or is too short to have one
    sample at `rate`.
    """
    with _opened(path) as sound:
        if not RATES[0] <= sound.rate <= RATES[1]:
            raise LossyBenchError(f"{path}: states {sound.rate} Hz; {RATES[0]} to {RATES[1]} Hz are read")
        blocks = [block.mean(axis=1) for block in sound.blocks]
    mono = 32768 * np.concatenate(blocks) if blocks else np.zeros(0)
    target = rate or sound.rate
    if not mono.size:
        raise LossyBenchError(f"{path}: holds no samples")
    if not np.isfinite(mono).all():
        raise LossyBenchError(f"{path}: holds samples that are no numbers (NaN or infinite)")
    if mono.size * target / sound.rate > LONGEST:
        raise LossyBenchError(f"{path}: is longer than {LONGEST} samples at {target} Hz, the most that is read; cut it")
    samples = resample(mono, sound.rate, target)
    if not samples.size:
        text = f"{mono.size} sample{'s' * (mono.size > 1)} at {sound.rate} Hz is less than one at {target} Hz"
        raise LossyBenchError(f"{path}: too short: {text}; leave it out, or raise sample_rate")
    return samples, target


def look(path: Path, rate: int) -> list[Finding]:
    """What is odd about the readable file `path` when it is brought to `rate` Hz.

    The header tells, and the samples where there are several channels, or more than full scale is possible.
    """
    findings = []
    with _opened(path) as sound:
        if path.suffix and path.suffix.lower() not in _SUFFIXES.get(sound.kind, ()):
            findings.append(Finding("wrong extension", "warning", str(path), f"is {sound.kind.upper()} by its content"))
        if sound.rate != rate:
            text = f"{sound.rate} Hz becomes {rate} Hz"
            findings.append(Finding("other sample rate", "note", str(path), text))
        if sound.channels != 1:
            text = f"{sound.channels} channels are averaged"
            findings.append(Finding("several channels", "note", str(path), text))
        if sound.channels == 1 and sound.whole:
            return findings
        power = of_mono = peak = beyond = count = 0.0
        for block in sound.blocks:
            mono = block.mean(axis=1)
            power, of_mono = power + (block**2).mean(axis=1).sum(), of_mono + (mono**2).sum()
            peak, beyond = max(peak, np.abs(mono).max()), beyond + (np.abs(mono) > 1).sum()
            count += len(mono)
    if power and of_mono < CANCELLED * power:
        quieter = "silence" if not of_mono else f"{10 * math.log10(power / of_mono):.0f} dB quieter than they are"
        text = f"{sound.channels} channels cancel each other: their average is {quieter}; give one channel alone"
        findings.append(Finding("channels cancel", "warning", str(path), text))
    if beyond:
        text = f"peaks {20 * math.log10(peak):.1f} dB above full scale; {100 * beyond / count:.2g} % of it is clipped"
        severe = beyond >= OVERLOADED * count
        findings.append(Finding("over full scale", "warning" if severe else "note", str(path), text))
    return findings


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[_Sound]:
    """The file `path`, open. Raises LossyBenchError, naming it, for what goes wrong before it is closed."""
    try:
        check_whole(path)
        try:
            file = soundfile.SoundFile(path)
        except soundfile.LibsndfileError:
            file = None  # what only FFmpeg knows
        # libsndfile cannot read on in a FLAC of unknown length, which was written to a pipe.
        if file and file.format in _SUFFIXES and "MPEG" not in file.subtype and file.frames < _UNKNOWN:
            with file:
                whole = file.subtype.startswith("PCM") or file.subtype in ("ULAW", "ALAW")
                yield _Sound(file.format, whole, file.samplerate, file.channels, _by_soundfile(path, file))
            return
        # With these formats alone: a playlist would have other files read.
        with av.open(f"file:{path}", "r", options={"format_whitelist": _FFMPEG}) as container:
            if not container.streams.audio:
                raise LossyBenchError(f"{path}: holds no sound; it is another kind of file, cut short or damaged")
            stream = container.streams.audio[0]
            if not stream.codec_context:
                raise LossyBenchError(f"{path}: its sound is in a coding that FFmpeg does not know")
            kind = container.format.name.partition(",")[0]
            yield _Sound(kind, False, stream.rate, stream.channels, _by_ffmpeg(path, container, stream, kind))
    except (soundfile.SoundFileError, av.FFmpegError, OSError, ValueError, OverflowError) as error:
        why = getattr(error, "error_string", None) or getattr(error, "strerror", None) or error
        raise LossyBenchError(f"{path}: not audio that can be read, or damaged ({why})") from None


def _by_soundfile(path: Path, file: soundfile.SoundFile) -> Iterator[np.ndarray]:
    found = 0
    while True:
        try:
            block = file.read(_BLOCK, dtype="float64", always_2d=True)
        except soundfile.LibsndfileError as error:
            where = f"after {found} of {file.frames} samples"
            raise LossyBenchError(f"{path}: cut short or damaged {where} ({error.error_string.strip()})") from None
        if not len(block):
            break
        found += len(block)
        _check_length(path, found * file.channels)
        yield block
    if found < file.frames:
        raise LossyBenchError(f"{path}: cut short or damaged: {found} of {file.frames} samples can be decoded")


def _by_ffmpeg(path: Path, container: InputContainer, stream: AudioStream, kind: str) -> Iterator[np.ndarray]:
    stream.codec_context.options = {"err_detect": "crccheck+explode"}
    stated = _stated_seconds(container, stream, kind)
    to_float = av.AudioResampler(format="dblp")
    found = packets = longest = 0
    for packet in container.demux(stream):
        if packet.is_corrupt and kind != "mp3" and kind not in _SIZED:
            whole = f" of {stated:.3f}" * bool(stated)
            raise LossyBenchError(f"{path}: cut short after {found / stream.rate:.3f}{whole} s, within a packet")
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            if kind != "mp3":
                raise
            continue  # tags behind the last frame, or a first frame that leans on others before it
        packets += bool(packet.size)
        for frame in frames:
            if frame.sample_rate != stream.rate:
                raise ValueError(f"its sampling rate changes from {stream.rate} to {frame.sample_rate} Hz")
            if kind == "flac" and frame.time is not None and round(frame.time * stream.rate) != found:
                raise LossyBenchError(f"{path}: damaged: a frame is missing after {found} samples")
            longest = max(longest, frame.samples)
            for converted in to_float.resample(frame):
                block = converted.to_ndarray().T
                if kind == "mov" and frame.time_base:  # the edit list may end within a frame
                    block = block[: round(frame.duration * frame.time_base * stream.rate) or None]
                found += len(block)
                _check_length(path, found * stream.channels)
                yield block
    if kind == "mp3":
        announced, lacking = mpeg_frames(path)
        if packets < announced - (not lacking):  # some writers count the frame that announces, too
            raise LossyBenchError(f"{path}: cut short: {packets} of {announced} MPEG frames are there")
    # Decoders may keep a frame back, and containers round; both stay below two frames.
    if found + 2 * longest < stated * stream.rate:
        text = f"{found / stream.rate:.3f} of {stated:.3f} s can be decoded"
        raise LossyBenchError(f"{path}: cut short or damaged: {text}")


def _stated_seconds(container: InputContainer, stream: AudioStream, kind: str) -> float:
    """How long the sound is by its container; 0 where that does not say, or says it of several streams together."""
    if kind not in _STATED:
        return 0.0
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base if len(container.streams) == 1 else 0.0


def _check_length(path: Path, samples: int) -> None:
    if samples > LONGEST:
        raise LossyBenchError(f"{path}: has more than {LONGEST} samples, the most that is read; cut it into clips")


def resample(samples: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """The (samples,) on the scale of int16 at `from_rate` Hz brought to `to_rate` Hz (soxr HQ) as int16.

    They are rounded once, at the end, and clipped.
    """
    if from_rate != to_rate:
        samples = soxr.resample(samples.astype(np.float64), from_rate, to_rate)
    return np.clip(np.rint(samples), -32768, 32767).astype(np.int16)


def normalise(samples: np.ndarray, rate: int, headroom: float) -> np.ndarray:
    """The int16 (samples,) at `rate` Hz, scaled so that the peak is `headroom` dB below full scale; silence stays."""
    segment = AudioSegment(samples.tobytes(), sample_width=2, frame_rate=rate, channels=1)
    return np.array(effects.normalize(segment, headroom).get_array_of_samples(), np.int16)
