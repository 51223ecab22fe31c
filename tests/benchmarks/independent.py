"""Do our codecs give what other people's programs give? Rate and PSNR or SNR at the same setting, and BD-rates.

Run `python tests/benchmarks/independent.py DATA`, where DATA holds kodak/ (the 24 PNGs), fsdd/recordings/ (the spoken
digits) and highway_mot/highway/img1/ (frames); add names of codecs to compare these alone, --items N to take fewer
items, --bd for the second table alone. It needs the programs of libjpeg-turbo-progs, libopenjp2-tools, webp, ffmpeg,
lame and opus-tools (Debian's names) on the PATH, which bring their own libraries, of other versions than ours.

Each program codes the same item at the same setting into a file and decodes that file itself. Its rate is that of the
file's bytes. What a program must be told to have the same setting stands in its function here: where a default differs,
that is said in docs/codecs.md. FFMPEG in the environment names another ffmpeg, with newer libraries perhaps. Rates are
means over the items, as are PSNR and SI-SDR, which leaves out LAME's gain.

The second table has BD-rates on PSNR against JPEG at several sizes: the photographs' middle 512 x 512 pixels, averaged
down. The curves are those of means over the photographs, at six levels. Programs of video get our planes there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import scipy.signal
import soundfile
import soxr
from PIL import Image

from lossybench import codecs
from lossybench.analysis.rate_curves import Curves, deltas
from lossybench.codecs._video import to_rgb, to_yuv
from lossybench.codecs.jpeg2000 import _header_bytes
from lossybench.fidelity import psnr, rate_of, si_sdr

FFMPEG = os.environ.get("FFMPEG", "ffmpeg")
GOP = 32  # that of our video codecs
SIZES = (32, 48, 128, 512)


class Coded(NamedTuple):
    """The bytes of a file, and what it decodes to."""

    size: int
    media: np.ndarray


Tool = Callable[[np.ndarray, float, float, Path], Coded]  # an item, its level, its sampling rate and a scratch folder


def run(*command: object, stdin: bytes | None = None) -> bytes:
    """What a program writes to stdout."""
    done = subprocess.run(list(map(str, command)), input=stdin, capture_output=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}: {done.stderr.decode()[-500:]}")
    return done.stdout


def picture(media: np.ndarray, folder: Path) -> Path:
    """The item as a PPM."""
    Image.fromarray(media).save(folder / "in.ppm")
    return folder / "in.ppm"


def back(file: Path, coded: Path) -> Coded:
    """What a program decoded to the picture `file`."""
    return Coded(coded.stat().st_size, np.array(Image.open(file).convert("RGB")))


def cjpeg(media: np.ndarray, level: float, rate: float, folder: Path, *more: str) -> Coded:
    """With its defaults: 4:2:0, the standard's tables, the accurate integer transform."""
    coded, file = folder / "x.jpg", folder / "x.ppm"
    run("cjpeg", "-quality", int(level), *more, "-outfile", coded, picture(media, folder))
    run("djpeg", "-outfile", file, coded)
    return back(file, coded)


def cjpeg_optimized(media: np.ndarray, level: float, rate: float, folder: Path) -> Coded:
    """With tables made for the picture."""
    return cjpeg(media, level, rate, folder, "-optimize")


def opj(media: np.ndarray, level: float, rate: float, folder: Path) -> Coded:
    """The 9/7 wavelet. Its ratio is of the whole file; ours is of the packets, to which headers are added."""
    coded, file = folder / "x.jp2", folder / "x.ppm"
    ratio = media.nbytes / (
        media.nbytes / level + _header_bytes(media.shape) + codecs.codec_class("jpeg2000").container
    )
    run("opj_compress", "-i", picture(media, folder), "-o", coded, "-I", "-r", f"{ratio:.5f}")
    run("opj_decompress", "-i", coded, "-o", file)
    return back(file, coded)


def cwebp(media: np.ndarray, level: float, rate: float, folder: Path) -> Coded:
    """With its defaults (method 4)."""
    coded, file = folder / "x.webp", folder / "x.ppm"
    run("cwebp", "-quiet", "-q", int(level), picture(media, folder), "-o", coded)
    run("dwebp", "-quiet", "-ppm", coded, "-o", file)
    return back(file, coded)


# BT.601 at full range, with all of swscale's accuracy.
_SCALE = "flags=bilinear+accurate_rnd+full_chroma_int+full_chroma_inp"
_SEI = {"h264": "6", "hevc": "39|40"}


class Ffmpeg(NamedTuple):
    """FFmpeg's x264 or x265, without SEI in the stream.

    Of stills it codes the one frame at the QP itself, which by default would be 3 finer; of video, our GOP and B frames
    at full range, and in HEVC without what lets threads work on rows side by side (wpp). own: its swscale makes Y'CbCr
    4:2:0 and RGB again; else it gets and gives our planes, so that nothing but the coding is compared.
    """

    standard: str
    own: bool

    def __call__(self, media: np.ndarray, level: float, rate: float, folder: Path) -> Coded:
        """See `Tool`."""
        frames = media if media.ndim == 4 else media[None]
        height, width = frames.shape[1:3]
        x = {"h264": "x264", "hevc": "x265"}[self.standard]
        parameters = f"qp={int(level)}:keyint={GOP}:bframes=3:scenecut=0:open-gop=0" + ":ipratio=1" * (media.ndim == 3)
        parameters += ":info=0:log-level=none:wpp=0" if x == "x265" else ""
        coded, form, colours = folder / f"x.{self.standard}", "rgb24", []
        raw = frames.tobytes()
        if self.own:
            colours = ["-vf", f"scale={_SCALE}:out_range=full:out_color_matrix=bt601,format=yuv420p"]
        else:
            form, raw = "yuv420p", b"".join(plane.tobytes() for planes in to_yuv(frames, "420") for plane in planes)
        source = ["-f", "rawvideo", "-pix_fmt", form, "-s", f"{width}x{height}", "-r", rate or 25]
        source += ["-color_range", "pc", "-i", "-"]
        coding = ["-c:v", f"lib{x}", "-preset", "medium", "-threads", 1, f"-{x}-params", parameters]
        filtered = ["-color_range", "pc", "-bsf:v", f"filter_units=remove_types={_SEI[self.standard]}"]
        run(FFMPEG, "-v", "error", "-y", *source, *colours, *coding, *filtered, "-f", self.standard, coded, stdin=raw)
        back: list[str] = []
        if self.own:
            back = ["-vf", f"scale={_SCALE}:in_range=full:in_color_matrix=bt601,format=rgb24"]
        raw = run(FFMPEG, "-v", "error", "-i", coded, *back, "-f", "rawvideo", "-")
        values = np.frombuffer(raw, np.uint8)
        if self.own:
            return Coded(coded.stat().st_size, values.reshape(media.shape))
        ends, luma = (height * width, height * width * 5 // 4), (height, width)
        parts = (np.split(frame, ends) for frame in values.reshape(len(frames), -1))
        planes = ([y.reshape(luma), *(c.reshape(height // 2, width // 2) for c in chroma)] for y, *chroma in parts)
        return Coded(coded.stat().st_size, to_rgb(planes, frames.shape[:3], "420").reshape(media.shape))


def aligned(heard: np.ndarray, media: np.ndarray) -> np.ndarray:
    """The part of `heard` that correlates best with `media`, of its length."""
    heard = np.concatenate([np.zeros(100, np.int16), heard, np.zeros(len(media), np.int16)])
    lag = int(np.argmax(scipy.signal.correlate(heard.astype(float), media.astype(float), "valid")[:4000]))
    return heard[lag : lag + len(media)]


def sound(media: np.ndarray, rate: float, folder: Path) -> Path:
    """The item as a WAV."""
    soundfile.write(folder / "in.wav", media, int(rate))
    return folder / "in.wav"


def lame(media: np.ndarray, level: float, rate: float, folder: Path) -> Coded:
    """Constant bitrate, the sampling rate as it is, and no Xing frame (-t)."""
    coded = folder / "x.mp3"
    how = ["--quiet", "--cbr", "-b", int(level), "-m", "m", "--resample", rate / 1000, "-t"]
    run("lame", *how, sound(media, rate, folder), coded)
    raw = run("ffmpeg", "-v", "error", "-i", coded, "-f", "s16le", "-")
    return Coded(coded.stat().st_size, aligned(np.frombuffer(raw, np.int16), media))


def libopus(media: np.ndarray, level: float, rate: float, folder: Path) -> Coded:
    """FFmpeg's libopus with constrained VBR, and its decoder."""
    coded = folder / "x.opus"
    how = ["-c:a", "libopus", "-vbr", "constrained", "-b:a", f"{level}k", "-fflags", "+bitexact", "-flags", "+bitexact"]
    run(FFMPEG, "-v", "error", "-y", "-i", sound(media, rate, folder), "-map_metadata", -1, *how, coded)
    raw = run(FFMPEG, "-v", "error", "-c:a", "libopus", "-i", coded, "-f", "s16le", "-ar", int(rate), "-")
    return Coded(coded.stat().st_size, aligned(np.frombuffer(raw, np.int16), media))


def opusenc(media: np.ndarray, level: float, rate: float, folder: Path) -> Coded:
    """Constrained VBR, without the 512 bytes that it leaves empty for later tags."""
    coded, file = folder / "x.opus", folder / "x.wav"
    how = ["--quiet", "--cvbr", "--bitrate", level, "--padding", 0, "--discard-comments"]
    run("opusenc", *how, sound(media, rate, folder), coded)
    run("opusdec", "--quiet", "--rate", int(rate), coded, file)
    return Coded(coded.stat().st_size, aligned(soundfile.read(file, dtype="int16")[0], media))


class Compared(NamedTuple):
    """One of our codecs beside a program. items: a key of ITEMS."""

    codec: str
    options: dict[str, Any]
    items: str
    levels: tuple[float, ...]
    program: str
    tool: Tool


COMPARED = [
    Compared("jpeg", {}, "kodak", (90, 50, 10), "cjpeg", cjpeg),
    Compared("jpeg", {"tables": "optimized"}, "kodak", (90, 50, 10), "cjpeg -optimize", cjpeg_optimized),
    Compared("jpeg2000", {}, "kodak", (5, 20, 50), "opj_compress", opj),
    Compared("webp", {}, "kodak", (90, 50, 10), "cwebp", cwebp),
    *(
        Compared(name, {}, items, (22, 32, 42), f"ffmpeg{' and swscale' * own}", Ffmpeg(name, own))
        for items in ("kodak", "highway")
        for name in ("h264", "hevc")
        for own in (False, True)
    ),
    Compared("mp3", {}, "digits", (64, 32, 16), "lame", lame),
    Compared("opus", {}, "digits at 48 kHz", (64, 24, 12), "ffmpeg", libopus),
    Compared("opus", {}, "digits at 48 kHz", (64, 24, 12), "opusenc", opusenc),
]

BD_LEVELS: dict[str, tuple[float, ...]] = {
    "jpeg": (90, 75, 50, 30, 15, 5),
    "jpeg2000": (4, 8, 15, 30, 50, 80),
    "webp": (95, 85, 65, 40, 15, 1),
    "h264": (18, 23, 28, 33, 38, 44),
    "hevc": (18, 23, 28, 33, 38, 44),
}


def kodak(data: Path) -> Iterator[tuple[np.ndarray, float]]:
    """The photographs."""
    for file in sorted((data / "kodak").glob("*.png")):
        yield np.array(Image.open(file).convert("RGB")), 0.0


def digits(data: Path) -> Iterator[tuple[np.ndarray, float]]:
    """Each digit once by each speaker."""
    for file in sorted((data / "fsdd" / "recordings").glob("*_0.wav")):
        media, rate = soundfile.read(file, dtype="int16")
        yield media, float(rate)


def highway(data: Path) -> Iterator[tuple[np.ndarray, float]]:
    """Clips of 64 frames."""
    files = sorted((data / "highway_mot" / "highway" / "img1").iterdir())
    for start in range(0, len(files) - 64, 256):
        yield np.stack([np.array(Image.open(file).convert("RGB")) for file in files[start : start + 64]]), 25.0


def digits48(data: Path) -> Iterator[tuple[np.ndarray, float]]:
    """The digits at the rate that opusenc brings everything to, so that its resampler is not compared too."""
    for media, rate in digits(data):
        resampled = soxr.resample(media.astype(np.float32), rate, 48000)
        yield np.clip(np.rint(resampled), -32768, 32767).astype(np.int16), 48000.0


ITEMS = {"kodak": kodak, "digits": digits, "digits at 48 kHz": digits48, "highway": highway}


def figures(media: np.ndarray, rate: float, bits: float, decoded: np.ndarray) -> tuple[float, float]:
    """The rate of an item, and its PSNR or SI-SDR."""
    medium = {1: "audio", 3: "image", 4: "video"}[media.ndim]
    return rate_of(bits, media.shape, medium, rate), (si_sdr if medium == "audio" else psnr)(media, decoded)  # type: ignore[return-value]


def both(one: Compared, level: float, items: list[tuple[np.ndarray, float]], folder: Path) -> np.ndarray:
    """Our rate and quality and the program's, (2, 2), means over the items."""
    codec, found = codecs.get(one.codec, one.options), []
    for media, rate in items:
        encoded = codec.encode(media, level, rate)
        decoded = codec.decode(encoded.payload, media.shape, rate)
        other = one.tool(media, level, rate, folder)
        ours = figures(media, rate, encoded.payload_bits + encoded.overhead_bits, decoded)
        found.append([ours, figures(media, rate, 8 * other.size, other.media)])
    return np.mean(found, axis=0)


def same_setting(data: Path, wanted: list[str], most: int, folder: Path) -> None:
    """The first table."""
    print("| codec | items | setting | our rate | program | its rate | ratio | our dB | its dB | difference |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for one in COMPARED:
        if wanted and one.codec not in wanted:
            continue
        items = list(ITEMS[one.items](data))[:most]
        codec = codecs.get(one.codec, one.options)
        unit = "bpp" if one.items == "kodak" else "kb/s"
        for level in one.levels:
            (rate, quality), (its_rate, its_quality) = both(one, level, items, folder)
            options = ", ".join(one.options.values())
            print(
                f"| {codec.title}{f' ({options})' * bool(options)} | {one.items}, {len(items)} "
                f"| {codec.level_label(level)} | {rate:.4g} {unit} | {one.program} | {its_rate:.4g} "
                f"| {rate / its_rate:.3f} | {quality:.2f} | {its_quality:.2f} | {quality - its_quality:+.2f} |",
                flush=True,
            )


def bd_rates(data: Path, wanted: list[str], most: int, folder: Path) -> None:
    """The second table."""
    print("| pixels a side | codec | BD-rate against JPEG, % | from files of programs | of coded media alone |")
    print("|---|---|---|---|---|")
    tools = {
        one.codec: one for one in COMPARED if not one.options and one.items == "kodak" and "swscale" not in one.program
    }
    for size in SIZES:
        items = []
        for media, rate in list(kodak(data))[:most]:
            top, left = (media.shape[0] - 512) // 2, (media.shape[1] - 512) // 2
            middle = media[top : top + 512, left : left + 512]
            items.append((cv2.resize(middle, (size, size), interpolation=cv2.INTER_AREA), rate))
        curves: dict[str, list[Curves]] = {}
        for name, one in tools.items():
            if wanted and name not in (*wanted, "jpeg"):
                continue
            found = np.array([both(one, level, items, folder) for level in BD_LEVELS[name]])  # (levels, 2, 2)
            coded = [
                np.mean([rate_of(codecs.get(name).encode(media, level).payload_bits, media.shape, "image", 0)
                         for media, _ in items])
                for level in BD_LEVELS[name]
            ]  # fmt: skip
            points = [(found[:, 0, 0], found[:, 0, 1]), (found[:, 1, 0], found[:, 1, 1]), (coded, found[:, 0, 1])]
            curves[name] = [Curves.of(np.array(rates)[None], values[None] / 100) for rates, values in points]
        for name in curves:
            if name != "jpeg":
                deltas_ = [deltas(a, b) for a, b in zip(curves["jpeg"], curves[name], strict=True)]
                cells = [f"{100 * float(np.expm1(each.log_rate[0])):+.1f}" for each in deltas_]
                print(f"| {size} | {codecs.get(name).title} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("codecs", nargs="*")
    parser.add_argument("--items", type=int, default=10**6)
    parser.add_argument("--bd", action="store_true")
    chosen = parser.parse_args()
    missing = [
        name for name in ("cjpeg", "opj_compress", "cwebp", "ffmpeg", "lame", "opusenc") if not shutil.which(name)
    ]
    if missing:
        parser.error(f"not on the PATH: {', '.join(missing)}")
    with tempfile.TemporaryDirectory() as folder:
        table = bd_rates if chosen.bd else same_setting
        table(chosen.data, chosen.codecs, chosen.items, Path(folder))


if __name__ == "__main__":
    main()
