"""As independent.py, for AVIF, JPEG XL, VP9 and AV1: what other builds, and older versions, give at the same setting.

Run `python tests/benchmarks/independent_av1.py DATA`, with DATA and further arguments as of independent.py. It needs
avifenc, cjxl, SvtAv1EncApp, vpxenc and ffmpeg (Debian's libavif-bin, libjxl-tools, svt-av1, vpx-tools, ffmpeg) on the
PATH and the package imagecodecs. Debian 12's encoders are some years older than ours, and an encoder's choices change
from version to version as no format's do; the program of imageio-ffmpeg and imagecodecs, which are about as new as
ours and were built by others, therefore stand beside them. Encoders of video get our planes and give theirs.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import imageio_ffmpeg
import independent
import numpy as np
from independent import GOP, Coded, Compared, back, picture, run

from lossybench.codecs._video import to_rgb, to_yuv


def planes(media: np.ndarray) -> tuple[bytes, int, int]:
    """The Y'CbCr planes of all frames, as our codecs make them, and their height and width."""
    frames = media if media.ndim == 4 else media[None]
    return b"".join(plane.tobytes() for yuv in to_yuv(frames, "420") for plane in yuv), *frames.shape[1:3]


def frames(program: str, coded: Path, media: np.ndarray) -> Coded:
    """What an ffmpeg decodes a file to, in RGB as our codecs make it."""
    raw = run(program, "-v", "error", "-i", coded, "-pix_fmt", "yuv420p", "-f", "rawvideo", "-")
    count, height, width = (media if media.ndim == 4 else media[None]).shape[:3]
    found = []
    for values in np.frombuffer(raw, np.uint8).reshape(count, -1):
        y, cb, cr = np.split(values, (height * width, height * width * 5 // 4))
        found.append([y.reshape(height, width), *(each.reshape(height // 2, width // 2) for each in (cb, cr))])
    return Coded(coded.stat().st_size, to_rgb(found, (count, height, width), "420").reshape(media.shape))


def newer(encoder: str, form: str, *how: object) -> independent.Tool:
    """The program of imageio-ffmpeg. how: the encoder's options, with LEVEL for the level."""

    def tool(media: np.ndarray, level: float, rate: float, folder: Path) -> Coded:
        program, coded = imageio_ffmpeg.get_ffmpeg_exe(), folder / f"x.{form}"
        raw, height, width = planes(media)
        source = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{width}x{height}", "-r", rate or 25, "-i", "-"]
        coding = ["-c:v", encoder, "-threads", 1, *(str(one).replace("LEVEL", f"{level:g}") for one in how)]
        run(program, "-v", "error", "-y", *source, *coding, "-f", form, coded, stdin=raw)
        return frames(program, coded, media)

    return tool


def svt_app(media: np.ndarray, level: float, rate: float, folder: Path) -> Coded:
    """SVT-AV1's own program, which writes IVF: its header of 32 bytes, and 12 for each frame, are taken off again."""
    (raw, height, width), coded = planes(media), folder / "x.ivf"
    (folder / "x.yuv").write_bytes(raw)
    how = ["--rc", 0, "--aq-mode", 0, "-q", int(level), "--preset", 8, "--keyint", GOP - 1, "--lp", 1, "--progress", 0]
    run("SvtAv1EncApp", "-i", folder / "x.yuv", "-w", width, "-h", height, "--fps", int(rate or 25), *how, "-b", coded)
    found = frames("ffmpeg", coded, media)
    return found._replace(size=found.size - 32 - 12 * (len(media) if media.ndim == 4 else 1))


def vpxenc(media: np.ndarray, level: float, rate: float, folder: Path) -> Coded:
    """libvpx's own program, in one pass."""
    (raw, height, width), coded = planes(media), folder / "x.ivf"
    (folder / "x.yuv").write_bytes(raw)
    how = ["--end-usage=q", f"--cq-level={int(level)}", "--good", "--cpu-used=1", "--passes=1", "--threads=1"]
    how += [f"--kf-max-dist={GOP}", "--aq-mode=0", "--row-mt=0", "--tile-columns=0", f"--fps={int(rate or 25)}/1"]
    run("vpxenc", "--codec=vp9", "--i420", "-w", width, "-h", height, "--ivf", *how, "-o", coded, folder / "x.yuv")
    return frames("ffmpeg", coded, media)


def avifenc(media: np.ndarray, level: float, rate: float, folder: Path) -> Coded:
    """Version 0.11 knows no quality; it gets the quantiser that newer ones make of it, and must be told the tuning."""
    coded, file = folder / "x.avif", folder / "x.png"
    Path(folder / "in.png").write_bytes(independent.cv2.imencode(".png", media[..., ::-1])[1].tobytes())
    how = ["-a", "end-usage=q", "-a", f"cq-level={((100 - int(level)) * 63 + 50) // 100}", "-a", "tune=ssim"]
    run("avifenc", "-y", 420, "-s", 6, "-j", 1, "--min", 0, "--max", 63, *how, folder / "in.png", coded)
    run("avifdec", "-j", 1, coded, file)
    return back(file, coded)


def by_imagecodecs(media: np.ndarray, level: float, rate: float, folder: Path) -> Coded:
    """libavif in another build, with its defaults."""
    import imagecodecs

    file = imagecodecs.avif_encode(media, level=int(level), speed=6, pixelformat="420", codec="aom", numthreads=1)
    return Coded(len(file), imagecodecs.avif_decode(file, numthreads=1))


def cjxl(media: np.ndarray, level: float, rate: float, folder: Path) -> Coded:
    """With its defaults (effort 7)."""
    coded, file = folder / "x.jxl", folder / "x.ppm"
    run("cjxl", picture(media, folder), coded, "-q", int(level), "--num_threads", 0)
    run("djxl", coded, file)
    return back(file, coded)


def newer_libjxl(media: np.ndarray, level: float, rate: float, folder: Path) -> Coded:
    """The program of imageio-ffmpeg, which takes distances: libjxl's own formula makes them of qualities; up to 15."""
    program, coded = imageio_ffmpeg.get_ffmpeg_exe(), folder / "x.jxl"
    distance = 0.1 + 0.09 * (100 - level) if level >= 30 else 53 / 3000 * level**2 - 23 / 20 * level + 25
    how = ["-c:v", "libjxl", "-distance", f"{distance:.6f}", "-effort", 7, "-threads", 1]
    run(program, "-v", "error", "-y", "-i", picture(media, folder), *how, "-f", "image2", coded)
    raw = run(program, "-v", "error", "-i", coded, "-pix_fmt", "rgb24", "-f", "rawvideo", "-")
    return Coded(coded.stat().st_size, np.frombuffer(raw, np.uint8).reshape(media.shape))


_AV1 = f"rc=0:aq-mode=0:qp=LEVEL:keyint={GOP}:scd=0:lp=1"
_VP9 = ("-crf", "LEVEL", "-b:v", 0, "-g", GOP, "-deadline", "good", "-cpu-used", 1, "-aq-mode", 0, "-row-mt", 0)

# Of two programs for a codec, the second one, as new as ours, is that of the table of BD-rates.
COMPARED = [
    Compared("avif", {"tune": "ssim"}, "kodak", (90, 50, 10), "avifenc 0.11", avifenc),
    Compared("avif", {}, "kodak", (90, 50, 10), "imagecodecs", by_imagecodecs),
    Compared("jpegxl", {}, "kodak", (90, 60, 30), "cjxl 0.7", cjxl),
    Compared("jpegxl", {}, "kodak", (90, 60, 30), "newer ffmpeg", newer_libjxl),
    *(
        Compared(name, {}, items, levels, program, tool)
        for items in ("highway", "kodak")
        for name, levels, program, tool in (
            ("vp9", (20, 35, 50), "vpxenc 1.12", vpxenc),
            ("vp9", (20, 35, 50), "newer ffmpeg", newer("libvpx-vp9", "ivf", *_VP9, "-tile-columns", 0)),
            ("av1", (20, 35, 50), "SvtAv1EncApp 1.4", svt_app),
            ("av1", (20, 35, 50), "newer ffmpeg", newer("libsvtav1", "obu", "-preset", 8, "-svtav1-params", _AV1)),
        )
    ),
]
BD_LEVELS: dict[str, tuple[float, ...]] = {
    "avif": (90, 80, 65, 45, 25, 10),
    "jpegxl": (95, 85, 70, 50, 30, 12),
    "vp9": (10, 25, 35, 45, 53, 60),
    "av1": (10, 25, 35, 45, 53, 60),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("codecs", nargs="*")
    parser.add_argument("--items", type=int, default=10**6)
    parser.add_argument("--bd", action="store_true")
    chosen = parser.parse_args()
    missing = [name for name in ("avifenc", "cjxl", "SvtAv1EncApp", "vpxenc", "ffmpeg") if not shutil.which(name)]
    if missing:
        parser.error(f"not on the PATH: {', '.join(missing)}")
    jpeg = next(one for one in independent.COMPARED if one.codec == "jpeg")
    independent.COMPARED[:] = [*[jpeg][: chosen.bd], *COMPARED]
    independent.BD_LEVELS |= BD_LEVELS
    table = independent.bd_rates if chosen.bd else independent.same_setting
    with tempfile.TemporaryDirectory() as folder:
        table(chosen.data, chosen.codecs, chosen.items, Path(folder))


if __name__ == "__main__":
    main()
