"""Further measures of fidelity, against other implementations and published values.

What needs a package that is not installed is skipped.
"""

import json
import subprocess
import tomllib
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import pytest
from scipy import signal
from skimage import data

from lossybench import measures
from lossybench.config import TaskConfig, check_task
from lossybench.data.dataset import Description
from lossybench.errors import LossyBenchError
from lossybench.measures import vmaf
from lossybench.tools import listings

NOISE = np.random.default_rng(0)


@pytest.fixture
def measure(request):
    """The measure of that name, whose package is installed."""
    found = measures.get(request.param)
    pytest.importorskip(found.module)
    return found


def of(name):
    return pytest.mark.parametrize("measure", [name], indirect=True)


def jpeg(image, quality):
    coded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(coded, cv2.IMREAD_COLOR_RGB)


def clip(frames=10, height=96, width=128):
    """A view that moves over a photograph."""
    photo = data.astronaut()
    return np.stack([photo[3 * i : 3 * i + height, 100 + 5 * i : 100 + 5 * i + width] for i in range(frames)])


def speech(rate=16000):
    """Two seconds of sung vowels: harmonics below formants, with pauses, as speech has."""
    seconds = np.arange(2 * rate) / rate
    pitch = 120 + 20 * np.sin(2 * np.pi * 1.5 * seconds)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    sound = sum(np.sin(k * phase) / k * np.exp(-(((k * 120 - 700) / 900) ** 2)) for k in range(1, 25))
    sound = sound * (np.sin(2 * np.pi * 2.5 * seconds) > -0.3) + NOISE.normal(0, 0.001, len(seconds))
    return (8000 * sound / np.abs(sound).max()).round().astype(np.int16)


def noisy(media, sigma):
    low, high = np.iinfo(media.dtype).min, np.iinfo(media.dtype).max
    return np.clip(media + NOISE.normal(0, sigma, media.shape), low, high).round().astype(media.dtype)


ITEMS = {"image": (data.astronaut(), 0.0), "video": (clip(5, 240, 256), 25.0), "audio": (speech(), 16000.0)}


@pytest.mark.parametrize("measure", measures.names(), indirect=True)
def test_every_measure_falls_with_damage_from_the_value_of_identical_items(measure):
    for medium in measure.media:
        media, rate = ITEMS[medium]
        strongest = 3000 if medium == "audio" else 60
        values = [measure.measure(media, noisy(media, strongest * share), rate) for share in (0, 0.1, 1)]
        assert all(isinstance(value, float) for value in values)
        assert values == sorted(values, reverse=measure.better == "higher") and values[1] != values[2]
        low, high = measure.bounds
        assert all(low <= value <= high for value in values)
        best = high if measure.better == "higher" else low
        assert values[0] == pytest.approx(best, abs=3)  # a still clip has a VMAF of 97.4


@pytest.mark.parametrize("measure", measures.names(), indirect=True)
def test_every_measure_gives_the_same_value_again_and_leaves_items_alone(measure):
    for medium in measure.media:
        media, rate = ITEMS[medium]
        pair = (media, noisy(media, 20))
        before = [one.copy() for one in pair]
        for one in pair:
            one.flags.writeable = False
        assert measure.measure(*pair, rate) == measure.measure(*pair, rate)
        assert all(np.array_equal(*both) for both in zip(pair, before, strict=True))


SMALLEST = {
    "ms_ssim": ((161, 170, 3), (160, 170, 3), 0.0),
    "ssimulacra2": ((225, 230, 3), (224, 500, 3), 0.0),
    "vmaf": ((1, 64, 70, 3), (3, 63, 70, 3), 25.0),
    "stoi": ((7000,), (6000,), 16000.0),
    "pesq": ((4000,), (3999,), 16000.0),
}


@pytest.mark.parametrize("measure", measures.names(), indirect=True)
def test_items_below_the_smallest_have_no_value(measure):
    *shapes, rate = SMALLEST[measure.name]
    for shape, expected in zip(shapes, (True, False), strict=True):
        medium = {1: "audio", 3: "image", 4: "video"}[len(shape)]
        media = ITEMS[medium][0]
        item = media[tuple(slice(None, side) for side in shape)]
        if medium == "audio":  # without the pauses of speech
            item = NOISE.normal(0, 3000, shape).astype(np.int16)
        assert item.shape == shape
        assert (measure.measure(item, noisy(item, 5), rate) is not None) == expected


@pytest.mark.parametrize("measure", ["stoi", "pesq"], indirect=True)
def test_silence_and_rates_out_of_reach_have_no_value(measure):
    sound, silence = speech(), np.zeros(32000, np.int16)
    assert measure.measure(silence, sound, 16000.0) is None and measure.measure(silence, silence, 16000.0) is None
    assert measure.measure(sound, silence, 16000.0) in (None, 0)
    assert measure.measure(sound[::16], sound[::16], 1000.0) is None or measure.name == "stoi"


@of("ms_ssim")
@pytest.mark.parametrize(("size", "quality"), [((192, 208), 10), ((512, 512), 30), ((400, 336), 80)])
def test_ms_ssim_is_that_of_its_paper(measure, size, quality):
    """Of one colour, by its equation 7 with the exponents of its section 4.2. Sizes are multiples of 16."""
    photo = data.astronaut()[: size[0], : size[1]]
    other = jpeg(photo, quality)
    window = signal.windows.gaussian(11, 1.5)
    window = np.outer(window, window) / window.sum() ** 2

    def of_colour(x, y):
        found = 1.0
        for scale, exponent in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
            means = [signal.convolve2d(one, window, "valid") for one in (x, y, x * x, y * y, x * y)]
            variances = means[2] + means[3] - means[0] ** 2 - means[1] ** 2
            similar = (2 * (means[4] - means[0] * means[1]) + 58.5225) / (variances + 58.5225)
            if scale == 4:
                similar *= (2 * means[0] * means[1] + 6.5025) / (means[0] ** 2 + means[1] ** 2 + 6.5025)
            found *= similar.mean() ** exponent
            x, y = (one.reshape(len(one) // 2, 2, -1, 2).mean(axis=(1, 3)) if scale < 4 else one for one in (x, y))
        return found

    colours = [of_colour(photo[..., c].astype(float), other[..., c].astype(float)) for c in range(3)]
    assert measure.measure(photo, other) == pytest.approx(np.mean(colours), abs=1e-5)


@of("ssimulacra2")
@pytest.mark.parametrize(("quality", "expected"), [(14, 10), (20, 30), (35, 50)])
def test_ssimulacra2_of_jpeg_is_on_average_what_its_authors_say(measure, quality, expected):
    """The authors' README: the average of libjpeg-turbo's 4:2:0 at these qualities is 10, 30 and 50."""
    photos = [getattr(data, name)() for name in ("astronaut", "coffee", "chelsea", "rocket")]
    scores = [measure.measure(photo, jpeg(photo, quality)) for photo in photos]
    assert np.mean(scores) == pytest.approx(expected, abs=4)


@of("vmaf")
@pytest.mark.parametrize("quality", [5, 30, 90])
def test_vmaf_is_that_of_libvmaf(measure, quality, tmp_path):
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    if "libvmaf" not in subprocess.run([ffmpeg, "-filters"], capture_output=True, text=True).stdout:
        pytest.skip("this FFmpeg has no libvmaf")
    original = clip(20, 144, 176)
    decoded = np.stack([jpeg(frame, quality) for frame in original])
    inputs = []
    for name, media in (("decoded", decoded), ("original", original)):
        grey = bytes([128]) * (144 * 176 // 2)
        planes = (vmaf._luma(frame[None]).numpy().astype(np.uint8).tobytes() + grey for frame in media)
        (tmp_path / name).write_bytes(b"".join(planes))
        inputs += ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", "176x144", "-r", "25", "-i", name]
    how = "libvmaf=model=version=vmaf_v0.6.1:log_fmt=json:log_path=log"
    subprocess.run([ffmpeg, "-v", "error", *inputs, "-lavfi", how, "-f", "null", "-"], cwd=tmp_path, check=True)
    expected = json.loads((tmp_path / "log").read_text())["pooled_metrics"]["vmaf"]["mean"]
    assert measure.measure(original, decoded, 25.0) == pytest.approx(expected, abs=0.1)


@of("vmaf")
@pytest.mark.parametrize("frames", [1, 8, 9, 17])
def test_vmaf_of_a_clip_is_the_same_in_parts_and_whole(measure, frames, monkeypatch):
    original = clip(frames)
    decoded = noisy(original, 15)
    in_parts = measure.measure(original, decoded, 25.0)
    monkeypatch.setattr(vmaf, "FRAMES", 100)
    assert in_parts == pytest.approx(measure.measure(original, decoded, 25.0), abs=1e-4)


def test_luma_of_vmaf_is_that_of_ffmpeg():
    """swscale's BT.601 at limited range, which rounds in steps of its own."""
    frame = clip(1)
    given = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "128x96", "-i", "-"]
    wanted = ["-vf", "scale=flags=accurate_rnd", "-pix_fmt", "yuv444p", "-f", "rawvideo", "-"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *given, *wanted]
    done = subprocess.run(command, input=frame.tobytes(), capture_output=True, check=True)
    luma = np.frombuffer(done.stdout, np.uint8)[: 96 * 128].reshape(96, 128)
    assert np.abs(vmaf._luma(frame).numpy()[0, 0] - luma).max() <= 1


@of("stoi")
def test_stoi_is_one_for_louder_speech_and_falls_to_nothing_in_noise(measure):
    sound = speech()
    assert measure.measure(sound, sound // 4, 16000.0) == pytest.approx(1, abs=1e-3)
    unrelated = NOISE.normal(0, 3000, len(sound)).astype(np.int16)
    assert abs(measure.measure(sound, unrelated, 16000.0)) < 0.25


@of("pesq")
@pytest.mark.parametrize(("rate", "best"), [(8000, 4.5486), (11025, 4.5486), (16000, 4.6439), (44100, 4.6439)])
def test_pesq_of_identical_speech_is_the_scales_end(measure, rate, best):
    """4.5 on the raw scale, by the mapping functions of P.862.1 (narrow band) and P.862.2 (wide band)."""
    a, b = (-1.4945, 4.6607) if rate < 16000 else (-1.3669, 3.8224)
    assert best == pytest.approx(0.999 + (4.999 - 0.999) / (1 + np.exp(a * 4.5 + b)), abs=1e-3)
    sound = speech(rate)
    assert measure.measure(sound, sound, float(rate)) == pytest.approx(best, abs=1e-3)


def test_a_measure_that_is_not_installed_says_how_to_install_it(monkeypatch):
    ours = measures.get("ms_ssim")
    monkeypatch.setattr(type(ours), "module", "no_such_package")
    with pytest.raises(LossyBenchError, match="pip install pytorch-msssim"):
        ours.measure(data.astronaut(), data.astronaut())


def task(**keys):
    data_, models = {"adapter": "digits"}, {"resnet": None}
    return TaskConfig.model_validate({"data": data_, "codecs": {"jpeg": [50]}, "models": models, **keys})


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"measures": ["ms_sim"]}, "unknown measure 'ms_sim'; did you mean 'ms_ssim'"),
        ({"measures": ["pesq"]}, "tasks.toy.measures: measure 'pesq' is for audio, not for image"),
        ({"measures": ["ms_ssim"], "fidelity": "none"}, "tasks.toy.measures: fidelity is none"),
        ({"measures": ["ms_ssim"]}, "pip install pytorch-msssim"),
    ],
)
def test_measures_that_a_study_cannot_have_are_refused_when_it_is_read(keys, told, monkeypatch):
    monkeypatch.setattr(type(measures.get("ms_ssim")), "module", "no_such_package")
    with pytest.raises(LossyBenchError) as raised:
        check_task("toy", task(**keys), Description("image", "classification", ["a", "b"], {}, None))
    assert told in str(raised.value)


def test_the_list_of_measures_names_all_with_their_packages():
    listed = listings.measures()
    for name in measures.names():
        found = measures.get(name)
        assert found.name == name and f"pip install {found.package}" in listed and found.source in listed


def test_the_packages_of_all_measures_are_the_extra():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    named = [line.split(">=")[0] for line in project["optional-dependencies"]["measures"]]
    assert named == sorted(measures.get(name).package for name in measures.names())
