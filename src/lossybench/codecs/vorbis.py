"""Vorbis I (Xiph.Org, 2004), by libvorbis."""

from __future__ import annotations

import dataclasses
import functools
import io

import numpy as np
import soundfile
import soxr

from lossybench.codecs import _ogg
from lossybench.codecs._audio import SoundCodec
from lossybench.codecs._common import described
from lossybench.codecs.codec import Encoded

HEADERS = 3  # packets: identification, comment, setup (Vorbis I, section 4.2)
HIGHEST = 192000  # Hz; a little above 200 kHz libvorbis crashes
BLOCK = 2**16  # samples that are written at a time: libvorbis puts so many on its stack


@dataclasses.dataclass(frozen=True)
class Vorbis(SoundCodec):
    """The level is the quality of `oggenc -q`, 0 to 10, in variable bitrate. Clips above 192 kHz are coded at that.

    The payload is the file .ogg as libsndfile writes it, with the serial number 0. Coded media are the audio packets;
    the pages' headers and the three packets of the header are overhead. Of the latter, the one with the codebooks takes
    some 3 kB, which on clips of a second is more than the audio.
    """

    name = "vorbis"
    title = "Vorbis"
    parameter = "quality"
    bounds = (0, 10)

    def native(self, sampling_rate: int) -> int:
        return min(sampling_rate, HIGHEST)

    def encode_sound(self, samples: np.ndarray, sampling_rate: int, level: float) -> Encoded:
        payload = _encoded(samples.astype(np.float32) / 32768, sampling_rate, level)
        packets = coded = 0
        for page in _ogg.pages(payload):
            # The first audio packet begins a page (Vorbis I, section A.2).
            coded += len(page.body) if packets >= HEADERS else 0
            packets += page.whole
        return Encoded(payload, 8 * coded, 8 * (len(payload) - coded))

    def decode_sound(self, payload: bytes, count: int, sampling_rate: int) -> np.ndarray:
        length = [page.position for page in _ogg.pages(payload)][-1]
        if length != count:
            raise ValueError(f"it has {length} samples, not {count}")
        with soundfile.SoundFile(io.BytesIO(payload)) as file:
            if (file.format, file.subtype, file.channels, file.samplerate) != ("OGG", "VORBIS", 1, sampling_rate):
                raise ValueError(f"it is no mono Vorbis at {sampling_rate} Hz")
            decoded = file.read(count, dtype="float32")
        if len(decoded) != count:
            raise ValueError(f"it decodes to {len(decoded)} samples, not {count}")
        return decoded * np.float32(32768)

    def version(self) -> str:
        return described(
            self, f"{_libvorbis()} of libsndfile {soundfile.__libsndfile_version__}, soxr {soxr.__version__}"
        )


def _encoded(samples: np.ndarray, sampling_rate: int, level: float) -> bytes:
    """The file of float32 samples (n,) in [-1, 1] at `sampling_rate` Hz."""
    stream, strength = io.BytesIO(), 1 - level / 10
    how = {"format": "OGG", "subtype": "VORBIS", "compression_level": strength}
    with soundfile.SoundFile(stream, "w", sampling_rate, 1, **how) as file:
        for start in range(0, len(samples), BLOCK):
            file.write(samples[start : start + BLOCK])
    return _ogg.renumbered(stream.getvalue())


@functools.cache
def _libvorbis() -> str:
    """What libvorbis calls itself in the comment header that it writes (Vorbis I, section 5.2.1)."""
    file = _encoded(np.zeros(1, np.float32), 8000, 0)
    at = file.index(b"\x03vorbis") + 7
    length = int.from_bytes(file[at : at + 4], "little")
    return file[at + 4 : at + 4 + length].decode()
