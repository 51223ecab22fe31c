"""Do rates and samples of the audio codecs agree with those of independent tools at the same setting?

Run `python tests/benchmarks/independent_audio.py RECORDINGS`, a folder of .wav files such as the spoken digits of FSDD.
It needs Debian's ffmpeg, sox with libsox-fmt-all, vorbis-tools and libspandsp2; a codec whose tool is missing is left
out, and said. For each codec and setting, over --clips files that are spread over the folder:

- our rate, and the tool's from the size of its file, in kb/s of all clips together; and the ratio of the two
- our SNR and the tool's, dB, as the mean of the clips. Of what the tool decodes, the codec's delay is taken off.

Clips are given to both at the codec's own rate, where they are brought once, by soxr: 16 kHz for G.722.

The tools: AAC, Debian's ffmpeg 5.1, an older version of the same encoder. Vorbis, oggenc and oggdec. G.711, sox and
Debian's ffmpeg. G.722, SpanDSP's encoder and decoder, packed, with silence of the codec's delay behind the clips,
without which their last samples would never be decoded. AMR-NB, sox with OpenCORE, which sends next to nothing in
pauses (DTX), and the ffmpeg of imageio-ffmpeg with OpenCORE, which codes them.
"""

from __future__ import annotations

import argparse
import ctypes
import ctypes.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import imageio_ffmpeg
import numpy as np
import soundfile
import soxr

from lossybench import codecs, fidelity

COLUMNS = ("codec", "setting", "our rate", "tool's rate", "ratio", "our SNR", "tool's SNR")
# A tool's way: it gets a .wav file, a level and a path to write to, and gives the samples that it decodes that to.
Way = Callable[[Path, float, Path], np.ndarray]


class Tool(NamedTuple):
    """How one codec is run by others."""

    needs: tuple[str, ...]  # programs, or shared libraries
    rate: int  # Hz, of the clips
    levels: tuple[float, ...]
    delay: int  # samples, of what the tool decodes
    way: Way
    options: dict[str, Any] = {}  # noqa: RUF012 - never changed


def run(*command: Any) -> None:
    """Run a program, whose output is shown where it fails."""
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


def samples(path: Path) -> np.ndarray:
    """The samples of a sound file, int16 (n,)."""
    return soundfile.read(path, dtype="int16")[0]


def aac(wav: Path, level: float, out: Path) -> np.ndarray:
    """By ffmpeg, whose decoder drops nothing of a bare ADTS stream."""
    run("ffmpeg", "-v", "error", "-y", "-i", wav, "-c:a", "aac", "-b:a", f"{level:g}k", "-f", "adts", out)
    run("ffmpeg", "-v", "error", "-y", "-f", "aac", "-i", out, out.with_suffix(".back.wav"))
    return samples(out.with_suffix(".back.wav"))


def vorbis(wav: Path, level: float, out: Path) -> np.ndarray:
    """By oggenc and oggdec."""
    run("oggenc", "-Q", "-q", f"{level:g}", "-o", out, wav)
    run("oggdec", "-Q", "-o", out.with_suffix(".back.wav"), out)
    return samples(out.with_suffix(".back.wav"))


def g711_of_sox(wav: Path, level: float, out: Path) -> np.ndarray:
    """By sox."""
    raw = ("-t", "raw", "-e", "mu-law", "-r", "8000", "-c", "1")
    run("sox", "-D", wav, *raw, out)
    run("sox", "-D", *raw, out, "-e", "signed", "-b", "16", out.with_suffix(".back.wav"))
    return samples(out.with_suffix(".back.wav"))


def g711_of_ffmpeg(law: str) -> Way:
    """By ffmpeg."""

    def way(wav: Path, level: float, out: Path) -> np.ndarray:
        run("ffmpeg", "-v", "error", "-y", "-i", wav, "-f", law, out)
        run(
            "ffmpeg", "-v", "error", "-y", "-f", law, "-ar", "8000", "-ac", "1", "-i", out, out.with_suffix(".back.wav")
        )
        return samples(out.with_suffix(".back.wav"))

    return way


def amrnb_of_sox(wav: Path, level: float, out: Path) -> np.ndarray:
    """By sox, with silence of the codec's delay behind the clip."""
    run("sox", "-D", wav, "-t", "amr-nb", "-C", codecs.codec_class("amrnb").levels.index(level), out, "pad", "0", "40s")
    run("sox", "-D", "-t", "amr-nb", out, "-e", "signed", "-b", "16", out.with_suffix(".back.wav"))
    return samples(out.with_suffix(".back.wav"))


def amrnb_of_ffmpeg(wav: Path, level: float, out: Path) -> np.ndarray:
    """By imageio-ffmpeg."""
    program, back = imageio_ffmpeg.get_ffmpeg_exe(), out.with_suffix(".back.wav")
    how = ("-c:a", "libopencore_amrnb")
    run(program, "-v", "error", "-y", "-i", wav, *how, "-b:a", f"{level:g}k", "-f", "amr", out)
    run(program, "-v", "error", "-y", *how, "-f", "amr", "-i", out, back)
    return samples(back)


def g722(wav: Path, level: float, out: Path) -> np.ndarray:
    """By SpanDSP, packed (its option 2)."""
    library = ctypes.CDLL(ctypes.util.find_library("spandsp"))
    states = []
    for name in ("g722_encode_init", "g722_decode_init"):
        getattr(library, name).restype = ctypes.c_void_p
        states.append(ctypes.c_void_p(getattr(library, name)(None, int(level * 1000), 2)))
    clip = samples(wav)
    # A multiple of 16 samples, as the encoder keeps codewords back that do not fill a byte. The decoder keeps one back
    # for which it has read all bytes, and gets one byte more.
    padded = np.concatenate([clip, np.zeros(22 + -(len(clip) + 22) % 16, np.int16)])
    coded, decoded = np.zeros(len(padded), np.uint8), np.zeros(len(padded) + 16, np.int16)
    to, through, back = (array.ctypes.data_as(ctypes.c_void_p) for array in (padded, coded, decoded))
    length = library.g722_encode(states[0], through, to, len(padded))
    out.write_bytes(coded[:length].tobytes())
    return decoded[: library.g722_decode(states[1], back, through, length + 1)]


TOOLS = {
    "aac": Tool(("ffmpeg",), 8000, (16, 24, 32, 40), 1024, aac),
    "vorbis": Tool(("oggenc", "oggdec"), 8000, (0, 3, 6, 10), 0, vorbis),
    "g711 sox": Tool(("sox",), 8000, (64,), 0, g711_of_sox),
    "g711 ffmpeg": Tool(("ffmpeg",), 8000, (64,), 0, g711_of_ffmpeg("mulaw")),
    "g711 ffmpeg, A-law": Tool(("ffmpeg",), 8000, (64,), 0, g711_of_ffmpeg("alaw"), {"law": "a"}),
    "g722": Tool(("spandsp",), 16000, (64, 56, 48), 22, g722),
    "amrnb sox": Tool(("sox",), 8000, (12.2, 7.95, 4.75), 40, amrnb_of_sox),
    "amrnb ffmpeg": Tool((), 8000, (12.2, 7.95, 4.75), 40, amrnb_of_ffmpeg),
}


def rows(recordings: list[Path], names: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """One row for each codec and setting, with COLUMNS. names: those of TOOLS; all when left out."""
    for name in names or TOOLS:
        tool = TOOLS[name]
        missing = [one for one in tool.needs if not (shutil.which(one) or ctypes.util.find_library(one))]
        if missing:
            print(f"{name}: left out, as there is no {' and no '.join(missing)}", file=sys.stderr)
            continue
        codec = codecs.get(name.partition(" ")[0], tool.options)
        for level in tool.levels:
            with tempfile.TemporaryDirectory() as folder:
                yield {"codec": name, "setting": codec.level_label(level)} | _row(
                    codec, level, tool, recordings, Path(folder)
                )


def _row(codec: codecs.Codec, level: float, tool: Tool, recordings: list[Path], folder: Path) -> dict[str, float]:
    ours = theirs = seconds = 0.0
    own, other = [], []
    for path in recordings:
        clip, rate = soundfile.read(path, dtype="int16")
        clip = np.rint(soxr.resample(clip.astype(np.float32), rate, tool.rate)).clip(-32768, 32767).astype(np.int16)
        wav, coded = folder / "clip.wav", folder / "coded.bin"
        soundfile.write(wav, clip, tool.rate, "PCM_16")
        encoded = codec.encode(clip, level, tool.rate)
        own.append(fidelity.snr(clip, codec.decode(encoded.payload, clip.shape, tool.rate)))
        other.append(fidelity.snr(clip, tool.way(wav, level, coded)[tool.delay :][: len(clip)]))
        ours += encoded.payload_bits + encoded.overhead_bits
        theirs += 8 * coded.stat().st_size
        seconds += len(clip) / tool.rate
    return {
        "our rate": ours / seconds / 1000,
        "tool's rate": theirs / seconds / 1000,
        "ratio": ours / theirs,
        "our SNR": float(np.mean(own)),
        "tool's SNR": float(np.mean(other)),
    }


def main() -> int:
    """Prints the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(TOOLS)}")
    parser.add_argument("--clips", type=int, default=60)
    asked = parser.parse_args()
    found = sorted(asked.recordings.glob("*.wav"))
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for row in rows(found[:: max(1, len(found) // asked.clips)][: asked.clips], asked.names):
        shown = [
            format(row[name], places)
            for name, places in zip(COLUMNS[2:], (".2f", ".2f", ".3f", ".2f", ".2f"), strict=True)
        ]
        print(f"| {' | '.join((row['codec'], row['setting'], *shown))} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
