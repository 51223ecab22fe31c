"""Embedded audio classification: spoken words by many synthetic voices, in noise."""

from __future__ import annotations

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
# Variants that sound like people and differ from each other: no whispers, robots or near copies of another.
_VOICES = (  # noqa: SIM905
    "Alex Alicia Andrea Andy Annie Denis Diogo Gene Henrique Hugo Jacky Marco Mario Michael Mike Nguyen Reed "
    "RicishayMax Storm Tweaky adam anika antonio aunty belinda benjamin boris caleb david ed edward f1 f2 f3 f4 f5 "
    "grandma grandpa gustave ian iven john kaukovalta klatt klatt4 linda m1 m2 m3 m4 m5 m6 m7 m8 marcelo max michel "
    "miguel norbert pablo paul pedro quincy rob robert sandro steph travis victor"
).split()
_ACCENTS = ["en-us", "en", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029"]
_SHARES = {"train": (0.0, 0.6), "val": (0.6, 0.7), "test": (0.7, 1.0)}  # of the voices
_SNR = (15.0, 40.0)  # dB, of the word in its noise
_HEADROOM = 1.0  # dB below full scale


class SpokenWords(Dataset):
    """Twelve rhyming words of one second, balanced, peak-normalised. The group is the voice, each in one split only."""

    name: ClassVar[str] = "spoken_words"
    train: int = Field(2400, ge=12, le=MOST, description="clips to train on")
    val: int = Field(400, ge=12, le=MOST, description="clips to validate on")
    test: int = Field(1200, ge=12, le=MOST, description="clips to test on")
    sample_rate: int = Field(16000, ge=8000, le=48000, description="sampling rate (Hz)")

    def describe(self, seed: int) -> Description:
        card = {
            "title": "Spoken words in noise",
            "source": f"synthesised by eSpeak NG (espeakng-loader): {len(_VOICES)} voices, {len(_ACCENTS)} accents, "
            "varied speed, pitch and noise",
            "licence": "eSpeak NG is GPL-3.0-or-later; its licence does not extend to the audio it makes",
            "citation": "eSpeak NG, https://github.com/espeak-ng/espeak-ng",
            "prior_compression": "none",
        }
        counts = {split: getattr(self, split) for split in SPLITS}
        return Description("audio", "classification", _WORDS, card, counts, self.sample_rate)

    def items(self, seed: int, left_out: list[Finding]) -> Iterator[Item]:
        for split in SPLITS:
            plans = [self._plan(seed, split, index) for index in range(getattr(self, split))]
            # One process a split, so that the number of training clips does not change the test clips.
            for index, word in enumerate(_espeak.speak([request for _, request in plans])):
                label, request = plans[index]
                random = np.random.default_rng([seed, SPLITS.index(split), index, 1])
                media = self._record(random, audio_io.resample(word, _espeak.RATE, self.sample_rate))
                voice = request[0].split("+")[1]
                yield Item(f"{self.name}/{split}/{index:06d}", split, {"voice": voice}, media, self.sample_rate, label)

    def _plan(self, seed: int, split: str, index: int) -> tuple[int, _espeak.Request]:
        block, place = divmod(index, len(_WORDS))
        order = np.random.default_rng([seed, SPLITS.index(split), block, 2]).permutation(len(_WORDS))
        label = int(order[place])
        start, stop = (round(share * len(_VOICES)) for share in _SHARES[split])
        voices = np.random.default_rng(seed).permutation(_VOICES)[start:stop]
        random = np.random.default_rng([seed, SPLITS.index(split), index, 0])
        voice = f"{random.choice(_ACCENTS)}+{random.choice(voices)}"
        return label, (voice, _WORDS[label], int(random.integers(120, 201)), int(random.integers(25, 76)))

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


def _noise(random: np.random.Generator, samples: int) -> np.ndarray:
    """Gaussian noise whose power falls with the frequency to the power of 0 (white) to 2 (brown), with a mean of 0."""
    spectrum = np.fft.rfft(random.standard_normal(samples))
    slope = np.arange(spectrum.size, dtype=np.float64)
    slope[0] = np.inf
    return np.fft.irfft(spectrum * slope ** (-random.uniform(0.0, 2.0) / 2), samples)
