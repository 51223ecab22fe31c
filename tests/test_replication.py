"""Published rate-distortion figures, from the photographs they were measured on; and the command that measures ours."""

import csv
import io
import os
import shutil
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
import soxr
from benchmarks import independent
from PIL import Image
from skimage import data as photographs

from lossybench import cli, codecs, fidelity, study
from lossybench.tools import plan

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("LOSSYBENCH_TEST_DATA") or ROOT.parent / "shared" / "data")


@pytest.fixture
def kodak():
    """The 24 photographs."""
    if not (SHARED / "kodak").is_dir():
        pytest.skip(f"{SHARED / 'kodak'} is not there; LOSSYBENCH_TEST_DATA names the folder with real data sets")
    return sorted((SHARED / "kodak").glob("*.png"))


@pytest.fixture
def photos(tmp_path):
    """A folder with two photographs, one of them in a folder below, and a file that is no picture."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    Image.fromarray(photographs.astronaut()[:256, :384]).save(folder / "a.png")
    Image.fromarray(photographs.coffee()[:200, :300]).save(folder / "more" / "b.png")
    (folder / "readme.txt").write_text("two photographs")
    return folder


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


def mean_of(files, roundtrip):
    """Mean bits per pixel and mean PSNR of `roundtrip`: Pillow image -> (bytes, decoded)."""
    rows = []
    for file in files:
        image = Image.open(file).convert("RGB")
        size, decoded = roundtrip(image)
        rows.append((8 * size / (image.width * image.height), psnr(np.asarray(image), decoded)))
    return np.mean(rows, axis=0)


def ours(name, level):
    def roundtrip(image):
        pixels = np.asarray(image)
        encoded = codecs.get(name).encode(pixels, level)
        decoded = codecs.get(name).decode(encoded.payload, pixels.shape)
        return (encoded.payload_bits + encoded.overhead_bits) / 8, decoded

    return roundtrip


def pillow_jpeg(quality):
    def roundtrip(image):
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        return len(file.getvalue()), np.asarray(Image.open(file))

    return roundtrip


def compressai_jpeg2000(level, folder, *more):
    """CompressAI's command, in which a level is half the ratio."""

    def roundtrip(image):
        image.save(folder / "in.png")
        ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y", "-i"]
        encoder = ["-pix_fmt", "yuv444p", "-c:v", "libopenjpeg", *more, "-compression_level", str(level)]
        subprocess.run([*ffmpeg, folder / "in.png", *encoder, folder / "coded.jp2"], check=True)
        subprocess.run([*ffmpeg, folder / "coded.jp2", folder / "out.png"], check=True)
        return (folder / "coded.jp2").stat().st_size, np.asarray(Image.open(folder / "out.png").convert("RGB"))

    return roundtrip


def measured(folder, out, *arguments):
    cli.main(["rates", str(folder), "--out", str(out), *arguments])
    with out.open(newline="") as file:
        return [
            {key: value if key in ("codec", "encoder") else float(value) for key, value in row.items()}
            for row in csv.DictReader(file)
        ]


# Of CompressAI's results on Kodak: bits per pixel and mean PSNR of R, G and B.
@pytest.mark.parametrize(
    ("name", "level", "bpp", "decibels"),
    [
        ("jpeg", 10, 0.3266, 26.577),
        ("jpeg", 25, 0.5879, 29.785),
        ("jpeg", 75, 1.3688, 34.394),
        ("webp", 50, 0.7218, 33.238),
    ],
)
def test_kodak_is_as_published(kodak, name, level, bpp, decibels):
    rate, quality = mean_of(kodak, ours(name, level))
    assert rate == pytest.approx(bpp, rel=0.03)
    assert quality == pytest.approx(decibels, abs=0.3)


def test_kodak_jpeg2000_differs_from_the_published_by_wavelet_and_colour_transform(kodak, tmp_path):
    """At 20:1 the published 1.1982 bpp give 35.68 dB; 9/7 in place of 5/3 gains 1.25 dB, RGB in 0.22 dB more."""
    few = kodak[::8]
    reversible = mean_of(few, compressai_jpeg2000(10, tmp_path))
    irreversible = mean_of(few, compressai_jpeg2000(10, tmp_path, "-irreversible", "1"))
    here = mean_of(few, ours("jpeg2000", 20))
    assert [reversible[0], irreversible[0], here[0]] == pytest.approx([1.1982] * 3, rel=0.03)
    assert 0.5 < irreversible[1] - reversible[1] < 2
    assert 0 < here[1] - irreversible[1] < 0.5


def test_rates_of_kodak_are_those_that_pillow_and_numpy_find(kodak, tmp_path):
    for file in kodak[:2]:
        (tmp_path / file.name).symlink_to(file)
    rows = measured(tmp_path, tmp_path / "jpeg.csv", "--codec", "jpeg", "--levels", "10", "50")
    assert [row["level"] for row in rows] == [50, 10]
    for row in rows:
        bpp, quality = mean_of(kodak[:2], pillow_jpeg(int(row["level"])))
        assert row["rate"] == pytest.approx(bpp, rel=1e-3)
        assert row["psnr"] == pytest.approx(quality, abs=1e-3)


def test_rates_weigh_items_alike_and_tell_media_from_files(photos, tmp_path, capsys):
    [row] = measured(photos, tmp_path / "j2k.csv", "--codec", "jpeg2000", "--levels", "20")
    assert (row["codec"], row["level"], row["items"]) == ("jpeg2000", 20, 2)
    assert row["coded_rate"] == pytest.approx(24 / 20, rel=0.02)  # the ratio is that of the coded media
    assert row["coded_rate"] < row["rate"]
    bpp, quality = mean_of(sorted(photos.rglob("*.png")), ours("jpeg2000", 20))
    assert (row["rate"], row["psnr"]) == pytest.approx((bpp, quality))
    printed = capsys.readouterr().out
    assert "OpenJPEG" in printed and "20:1" in printed and f"{row['psnr']:.4g}" in printed


def test_rates_of_sound_are_in_kilobits_a_second(tmp_path):
    noise = soxr.resample(np.random.default_rng(0).normal(0, 0.1, 8000), 8000, 16000)
    soundfile.write(tmp_path / "a.wav", noise, 16000)
    arguments = ["--medium", "audio", "--codec", "mp3", "--levels", "32", "64"]
    rows = measured(tmp_path, tmp_path / "mp3.csv", *arguments)
    assert [row["rate"] for row in rows] == pytest.approx([64, 32], rel=0.2)
    assert rows[0]["snr"] > rows[1]["snr"] and rows[0]["spectral_distance"] < rows[1]["spectral_distance"]


def test_items_that_come_back_identical_are_counted_and_left_out_of_means(tmp_path, capsys):
    grey, noise = np.full((64, 64, 3), 128, np.uint8), np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for name, picture in (("grey", grey), ("noise", noise)):
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    [row] = measured(tmp_path, tmp_path / "jpeg.csv", "--codec", "jpeg", "--levels", "50")
    alone = fidelity.psnr(noise, codecs.get("jpeg").roundtrip(noise, 50))
    assert (row["items"], row["infinite"]) == (2, 1) and row["psnr"] == pytest.approx(alone)
    assert "QF 50: 1 of 2 items have an infinite PSNR" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--codec", "jpeg", "--levels", "0"], "QF 0 is out of range; use 1 to 100"),
        (["--codec", "opus", "--levels", "16"], "codec 'opus' is for audio, not for image"),
        (["--codec", "jpeg", "--levels", "50", "--medium", "video"], "photos: holds no video file (.mp4"),
        (["--codec", "jpeg", "--levels", "50"], "photos does not exist"),
        (["--codec", "jpeg", "--levels", "50"], "c.png: not a whole image that can be read"),
    ],
)
def test_rates_refuse_what_they_cannot_measure(photos, arguments, message, capsys):
    if message.startswith("c.png"):
        (photos / "c.png").write_bytes((photos / "a.png").read_bytes()[:999])
    if message == "photos does not exist":
        photos.rename(photos.with_name("elsewhere"))
    with pytest.raises(SystemExit) as stopped:
        cli.main(["rates", str(photos), *arguments])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


# Those that differ do so by a conversion of colours or by another version of libopus.
ALIKE = [one for one in independent.COMPARED if "swscale" not in one.program and one.codec != "opus"]


@pytest.mark.parametrize("one", ALIKE, ids=lambda one: f"{one.codec}, {one.program}, {one.items}")
def test_independent_programs_give_the_same_rate_and_quality(one, kodak, tmp_path):
    """What tests/benchmarks/independent.py compares, on one item each; what differs is explained in docs/codecs.md."""
    if not shutil.which(one.program.split()[0]):
        pytest.skip(f"{one.program} is not installed")
    items = [next(independent.ITEMS[one.items](SHARED))]
    if one.items == "highway":
        items = [(items[0][0][:16], items[0][1])]
    (rate, quality), (its_rate, its_quality) = independent.both(one, one.levels[1], items, tmp_path)
    assert rate == pytest.approx(its_rate, rel=0.02) and quality == pytest.approx(its_quality, abs=0.2)


@pytest.mark.parametrize("name", ["cifar10_jpeg", "imagenette_jpeg5"])
def test_configs_of_what_is_downloaded_are_right(name):
    loaded = study.load(ROOT / "config" / "replicate" / f"{name}.yaml")
    assert f"results/{name}" in plan.describe(loaded, 2)
    assert plan.table(loaded)
