"""Embedded audio classification: spoken words by many synthetic voices, in noise."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from pydantic import Field

from lossybench.data import _espeak, audio_io
from lossybench.data.dataset import SPLITS, Dataset, Description, Finding, Item
from lossybench.settings import MOST

# Two of the rhyming sets of the Modified Rhyme Test, which speech coders are measured with (House et al., J. Acoust.
# Soc. Am. 37, 1965; ANSI/ASA S3.2): words differ in their first consonant only, which codecs blur first.
_WORDS = ["pin", "sin", "tin", "fin", "din", "win", "hold", "cold", "told", "fold", "sold", "gold"]
_ACCENTS = ["en-us", "en", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029"]
_SNR = (15.0, 40.0)  # dB, of the word in its noise
_HEADROOM = 1.0  # dB below full scale
_VOICES = 180  # that one process of eSpeak is given: it lists 349 at most, 141 languages among them


class SpokenWords(Dataset):
    """Twelve rhyming words of one second, balanced, peak-normalised.

    Each voice says every word once, so that 1,200 clips have 100 voices, and no voice is in two splits.
    """

    name: ClassVar[str] = "spoken_words"
    train: int = Field(2400, ge=12, le=MOST, description="clips to train on")
    val: int = Field(400, ge=12, le=MOST, description="clips to validate on")
    test: int = Field(1200, ge=12, le=MOST, description="clips to test on")
    sample_rate: int = Field(16000, ge=8000, le=48000, description="sampling rate (Hz)")

    def describe(self, seed: int) -> Description:
        card = {
            "title": "Spoken words in noise",
            "source": "synthesised by eSpeak NG (espeakng-loader) with voices of our own, drawn at random, one every "
            f"{len(_WORDS)} clips, in {len(_ACCENTS)} accents, at varied speed and pitch, in noise",
            "licence": "eSpeak NG is GPL-3.0-or-later; its licence does not extend to the audio it makes",
            "citation": "eSpeak NG, https://github.com/espeak-ng/espeak-ng",
            "prior_compression": "none",
        }
        counts = {split: getattr(self, split) for split in SPLITS}
        return Description("audio", "classification", _WORDS, card, counts, self.sample_rate)

    def items(self, seed: int, left_out: list[Finding]) -> Iterator[Item]:
        for split in SPLITS:
            count, step = getattr(self, split), _VOICES * len(_WORDS)
            # Each split has processes of its own, so that the number of training clips does not change the test clips.
            for start in range(0, count, step):
                yield from self._said(seed, split, range(start, min(start + step, count)))

    def _said(self, seed: int, split: str, clips: range) -> Iterator[Item]:
        """The items of some `clips` of a split, all by one process of eSpeak."""
        plans = [_plan(seed, split, index) for index in clips]
        voices = {plan.voice: _variant(plan.voice, seed, split, plan.block) for plan in plans}
        requests = [(f"{plan.accent}+{plan.voice}", _WORDS[plan.label], plan.speed, plan.pitch) for plan in plans]
        for index, plan, word in zip(clips, plans, _espeak.speak(requests, voices), strict=True):
            random = np.random.default_rng([seed, SPLITS.index(split), index, 1])
            media = self._record(random, audio_io.resample(word, _espeak.RATE, self.sample_rate))
            id = f"{self.name}/{split}/{index:06d}"
            yield Item(id, split, {"voice": plan.voice}, media, self.sample_rate, plan.label)

    def _record(self, random: np.random.Generator, word: np.ndarray) -> np.ndarray:
        """The word at a random place in a second of coloured noise, int16 (sample_rate,), peak-normalised."""
        word = np.trim_zeros(word)[: self.sample_rate].astype(np.float64)
        clip = np.zeros(self.sample_rate)
        start = random.integers(self.sample_rate - word.size + 1)
        clip[start : start + word.size] = word
        noise = _noise(random, self.sample_rate)
        snr = random.uniform(*_SNR)
        noise *= np.sqrt(np.mean(word**2) / np.mean(noise**2)) * 10 ** (-snr / 20)
        mixed = clip + noise
        mixed *= 32767 / np.abs(mixed).max()
        return audio_io.normalise(np.rint(mixed).astype(np.int16), self.sample_rate, _HEADROOM)


@dataclasses.dataclass(frozen=True)
class _Plan:
    """What is said in a clip, and how."""

    block: int
    label: int
    voice: str
    accent: str
    speed: int  # words a minute
    pitch: int  # 0..99, around the voice's own


def _plan(seed: int, split: str, index: int) -> _Plan:
    """The plan of a split's `index`-th clip. So many clips in a row as there are words are a block of one voice."""
    block, place = divmod(index, len(_WORDS))
    of_block = np.random.default_rng([seed, SPLITS.index(split), block, 2])
    label = int(of_block.permutation(len(_WORDS))[place])
    accent = str(of_block.choice(_ACCENTS))
    random = np.random.default_rng([seed, SPLITS.index(split), index, 0])
    speed, pitch = int(random.integers(120, 201)), int(random.integers(35, 66))
    return _Plan(block, label, f"{split}-{block:05d}", accent, speed, pitch)


def _variant(name: str, seed: int, split: str, block: int) -> str:
    """The file of a voice drawn at random: https://github.com/espeak-ng/espeak-ng/blob/master/docs/voices.md.

    Its ranges are about those of the voices that come with eSpeak NG and sound like people. A longer vocal tract lowers
    all formants, and as a rule goes with a lower pitch.
    """
    random = np.random.default_rng([seed, SPLITS.index(split), block, 3])
    size = random.uniform(-1, 1)  # from the longest vocal tract to the shortest
    pitch = 80 * 2.6 ** ((size + 1) / 2 * 0.7 + 0.3 * random.random())
    lines = [
        "language variant",
        f"name {name}",
        f"pitch {pitch:.0f} {pitch * random.uniform(1.15, 1.5):.0f}",
        f"flutter {random.integers(0, 11)}",
        f"roughness {random.integers(0, 4)}",
        f"voicing {random.integers(60, 101)}",
        f"consonants {random.integers(80, 131)} {random.integers(80, 131)}",
        f"tone 600 {random.integers(140, 256)} 1200 {random.integers(100, 256)} 3000 {random.integers(70, 256)}",
    ]
    for formant in range(9):
        frequency = 103 + 13 * size + random.uniform(-4, 4)
        lines.append(f"formant {formant} {frequency:.0f} {random.integers(75, 121)} {random.integers(80, 141)}")
    if random.random() < 0.3:
        lines.append("breath " + " ".join(str(amplitude) for amplitude in random.integers(0, 20, 6)))
    if random.random() < 0.3:
        lines.append(f"klatt {random.choice([1, 4])}")
    return "\n".join(lines) + "\n"


def _noise(random: np.random.Generator, samples: int) -> np.ndarray:
    """Gaussian noise whose power falls with the frequency to the power of 0 (white) to 2 (brown), with a mean of 0."""
    spectrum = np.fft.rfft(random.standard_normal(samples))
    slope = np.arange(spectrum.size, dtype=np.float64)
    slope[0] = np.inf
    return np.fft.irfft(spectrum * slope ** (-random.uniform(0.0, 2.0) / 2), samples)
