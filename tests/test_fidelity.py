"""Fidelity measures against scikit-image and closed forms."""

import itertools
import math

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from lossybench import fidelity
from lossybench.errors import LossyBenchError

PHOTO = data.astronaut()[100:164, 200:280]
NOISE = np.random.default_rng(0)


def noisy(image, sigma):
    return np.clip(image + NOISE.normal(0, sigma, image.shape), 0, 255).round().astype(np.uint8)


@pytest.mark.parametrize("sigma", [1, 5, 30])
def test_pictures_agree_with_scikit_image(sigma):
    other = noisy(PHOTO, sigma)
    measured = fidelity.measure(PHOTO, other, "image")
    assert measured["psnr"] == pytest.approx(peak_signal_noise_ratio(PHOTO, other), abs=1e-3)
    assert measured["ssim"] == pytest.approx(structural_similarity(PHOTO, other, channel_axis=2))
    assert measured["snr"] is None and measured["spectral_distance"] is None


# The smallest, odd ones, and those at and beside the borders of the parts in which SSIM is computed, for 128 windows
# of 7 pixels.
SIDES = (7, 8, 13, 128, 133, 134, 135, 141, 262, 263)


@pytest.mark.parametrize("size", [*itertools.pairwise(SIDES), *itertools.pairwise(SIDES[::-1]), (7, 7), (400, 7)])
@pytest.mark.parametrize("damage", ["noise", "blocks", "inverted", "black", "dark flat"])
def test_ssim_is_that_of_scikit_image_at_every_size(size, damage):
    photo = data.astronaut()[: size[0], -size[1] :]
    if damage == "dark flat":  # where windows have no variance, rounding would weigh most
        photo = np.full_like(photo, 3)
        other = photo + (NOISE.random(photo.shape) < 0.02).astype(np.uint8)
    else:
        blocks = photo[::8, ::8].repeat(8, axis=0).repeat(8, axis=1)[: size[0], : size[1]]
        changed = {"noise": noisy(photo, 12), "blocks": blocks, "inverted": 255 - photo, "black": 0 * photo}
        other = changed[damage]
    expected = structural_similarity(photo, other, channel_axis=2, data_range=255)
    assert fidelity.ssim(photo, other) == pytest.approx(expected, abs=1e-7)
    assert fidelity.ssim(other, photo) == fidelity.ssim(photo, other)
    assert fidelity.ssim(photo, photo) == 1


@given(st.integers(7, 24), st.integers(7, 24), st.integers(0, 2**32 - 1))
def test_ssim_is_that_of_scikit_image_on_extreme_pixels(height, width, seed):
    random = np.random.default_rng(seed)
    pair = random.choice(np.array([0, 1, 254, 255], np.uint8), (2, height, width, 3))
    assert fidelity.ssim(*pair) == pytest.approx(structural_similarity(*pair, channel_axis=2), abs=1e-6)


@pytest.mark.parametrize(("how", "frames"), [("full", range(9)), ("sampled", (0, 4, 8))])
def test_ssim_of_a_clip_is_the_mean_over_its_frames_or_every_fourth(how, frames):
    clip = np.stack([data.astronaut()[row : row + 33, 200:245] for row in range(9)])
    damaged = np.stack([noisy(frame, 4 * number) for number, frame in enumerate(clip)])
    one_by_one = [structural_similarity(clip[i], damaged[i], channel_axis=2) for i in frames]
    assert fidelity.ssim(clip, damaged, how) == pytest.approx(np.mean(one_by_one), abs=1e-7)


@pytest.mark.parametrize("size", [(197, 40), (198, 41), (200, 7), (210, 13), (240, 9), (299, 299), (512, 400)])
@pytest.mark.parametrize("damage", ["noise", "inverted", "extremes"])
def test_sampled_ssim_is_the_mean_of_scikit_images_map_over_its_windows(size, damage):
    photo = data.astronaut()[: size[0], -size[1] :]
    other = noisy(photo, 12) if damage == "noise" else 255 - photo
    if damage == "extremes":
        photo, other = NOISE.choice(np.array([0, 1, 254, 255], np.uint8), (2, *size, 3))
    _, every = structural_similarity(photo, other, channel_axis=2, data_range=255, full=True)
    every = every[3:-3, 3:-3]
    if size[0] < 198:
        expected = every.mean()
    else:  # every k-th row, of which the n-th takes the part n modulo 8 of the columns
        step = {198: 3, 200: 3, 210: 3, 240: 3, 299: 3, 512: 7}[size[0]]
        columns, first = every.shape[1], (every.shape[0] - 1) % step // 2
        taken = [
            row[columns * (number % 8) // 8 :][: -(-columns // 8)] for number, row in enumerate(every[first::step])
        ]
        expected = np.concatenate(taken).mean()
    assert fidelity.ssim(photo, other, "sampled") == pytest.approx(expected, abs=1e-6)
    turned = [np.ascontiguousarray(one[:, ::-1])[:, ::-1] for one in (photo, other)]  # views of another memory layout
    assert fidelity.ssim(*turned, "sampled") == fidelity.ssim(photo, other, "sampled")


@given(st.integers(192, 10_000), st.integers(1, 10_000))
def test_sampled_windows_are_enough_and_spread_evenly_in_all_phases_of_a_codecs_grid(rows, columns):
    chosen = fidelity.sampled_windows(rows, columns)
    taken, step = chosen.rows, chosen.rows.step
    assert step % 2 == 1 and {row % 16 for row in taken} == set(range(16))
    assert len(taken) >= 64 > rows // (step + 2)
    assert taken[-1] < rows and abs(taken[0] - (rows - 1 - taken[-1])) <= 1 and taken[0] < step
    across = [column for start in chosen.starts for column in range(start, start + chosen.width)]
    assert set(across) == set(range(columns)) and len(across) < columns + 8
    assert chosen.count == len(taken) * chosen.width
    at = [np.unravel_index(chosen.pixels[line], (rows + 6, columns + 6, 3)) for line in (0, 6)]
    assert [list(where[0]) for where in at] == [list(taken), [row + 6 for row in taken]]
    assert list(at[0][1]) == [chosen.starts[n % 8] for n in range(len(taken))] and not at[0][2].any()


def test_sampled_ssim_of_photographs_is_near_that_of_all_windows():
    """The error that the docstring states, here of other photographs: those within scikit-image."""
    errors = []
    for name in ("astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field", "immunohistochemistry"):
        photo = getattr(data, name)()
        for quality in (10, 50, 90):
            coded = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
            errors.append(fidelity.ssim(photo, decoded, "sampled") - fidelity.ssim(photo, decoded))
    assert np.sqrt(np.mean(np.square(errors))) < 0.006 and abs(np.mean(errors)) < 0.003
    assert any(errors)


@pytest.mark.parametrize(("items", "step"), [(1, 1), (500, 1), (999, 1), (1000, 2), (9999, 19), (50_000, 100)])
def test_of_many_items_about_five_hundred_are_measured(items, step):
    assert fidelity.item_step(items, "sampled") == step and fidelity.item_step(items, "full") == 1
    assert len(range(0, items, step)) >= min(items, 500)


def test_nothing_is_measured_when_nothing_is_asked_for():
    assert set(fidelity.measure(PHOTO, noisy(PHOTO, 3), "image", how="none").values()) == {None}


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 7, 3), (1500, 1999, 3), (3, 47, 65, 3)])
def test_psnr_is_exact(shape):
    before = NOISE.integers(0, 256, shape).astype(np.uint8)
    for after in (255 - before, before ^ 1, before // 128 * 255):
        squared = int(np.sum((before.astype(np.int64) - after) ** 2))
        assert fidelity.psnr(before, after) == 10 * math.log10(255**2 / (squared / before.size))
    black = np.zeros(shape, np.uint8)
    assert fidelity.psnr(black, black + np.uint8(255)) == 0


def test_parts_of_larger_pictures_are_measured_as_they_are():
    """Views, whose rows do not follow each other in memory."""
    photo, other = data.astronaut()[::2, 30:-11], noisy(data.astronaut(), 9)[::2, 30:-11]
    expected = fidelity.measure(photo.copy(), other.copy(), "image")
    assert fidelity.measure(photo, other, "image") == expected
    assert fidelity.measure(photo[::-1, ::-1], other[::-1, ::-1], "image")["psnr"] == expected["psnr"]


def test_psnr_of_a_constant_offset_is_known():
    grey = np.full((9, 11, 3), 100, np.uint8)
    assert fidelity.psnr(grey, grey + np.uint8(5)) == pytest.approx(20 * math.log10(255 / 5))
    assert fidelity.psnr(grey, grey) == math.inf


def test_video_pools_errors_and_averages_ssim_over_frames():
    clip = np.stack([PHOTO] * 8)
    damaged = np.stack([*[PHOTO] * 4, noisy(PHOTO, 20), *[PHOTO] * 3])
    alone = fidelity.measure(clip[4], damaged[4], "image")
    measured = fidelity.measure(clip, damaged, "video", how="sampled")
    assert measured["psnr"] == pytest.approx(alone["psnr"] + 10 * math.log10(8), abs=1e-3)
    assert measured["ssim"] == pytest.approx((1 + alone["ssim"]) / 2)  # of frames 0 and 4
    assert fidelity.measure(clip, damaged, "video")["ssim"] == pytest.approx((7 + alone["ssim"]) / 8)


def test_ssim_is_not_made_up_for_pictures_smaller_than_its_window():
    tiny = PHOTO[:6, :20]
    assert fidelity.measure(tiny, tiny, "image")["ssim"] is None
    assert fidelity.measure(PHOTO[:7, :7], PHOTO[:7, :7], "image")["ssim"] == pytest.approx(1)


def test_snr_of_an_attenuated_clip_is_known():
    clip = (NOISE.normal(0, 3000, 16000)).astype(np.int16) // 10 * 10
    assert fidelity.snr(clip, clip // 10 * 9) == pytest.approx(20, abs=1e-9)
    assert fidelity.snr(clip, clip) == math.inf
    assert fidelity.snr(np.zeros(9, np.int16), np.ones(9, np.int16)) == -math.inf


@pytest.mark.parametrize("gain", [0.95, 0.5, 1.0, 2.0])
def test_si_sdr_of_a_scaled_clip_with_noise_across_it_is_known_whatever_the_gain(gain):
    """A sine plus a cosine of a tenth of its amplitude, which has nothing of it: 20 dB. SNR sees the gain too."""
    turns = 2 * np.pi * np.arange(8000) / 80
    clip = (10000 * np.sin(turns)).round().astype(np.int16)
    heard = (gain * (10000 * np.sin(turns) + 1000 * np.cos(turns))).round().astype(np.int16)
    assert fidelity.si_sdr(clip, heard) == pytest.approx(20, abs=0.01)
    expected = -10 * np.log10((1 - gain) ** 2 + (0.1 * gain) ** 2)
    assert fidelity.snr(clip, heard) == pytest.approx(expected, abs=0.01)


def test_si_sdr_is_that_of_torchmetrics():
    from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio as other

    for seed in range(5):
        noise = np.random.default_rng(seed)
        clip = noise.normal(0, 4000, 4000).round().astype(np.int16)
        heard = (0.9 * clip + noise.normal(0, 800, 4000)).round().astype(np.int16)
        expected = float(other(torch.from_numpy(heard).double(), torch.from_numpy(clip).double()))
        assert fidelity.si_sdr(clip, heard) == pytest.approx(expected, abs=1e-6)


def test_si_sdr_is_infinite_where_nothing_or_all_is_lost():
    silence, clip = np.zeros(100, np.int16), NOISE.integers(-9000, 9000, 100).astype(np.int16)
    assert fidelity.si_sdr(clip, clip) == fidelity.si_sdr(silence, silence) == np.inf
    assert fidelity.si_sdr(clip, 2 * clip) == np.inf
    assert fidelity.si_sdr(silence, clip) == fidelity.si_sdr(clip, silence) == -np.inf


def test_means_leave_out_what_is_infinite_and_it_is_counted():
    nan = float("nan")
    assert fidelity.mean_of([1.0, None, 3.0, np.inf, -np.inf, nan]) == 2
    assert fidelity.mean_of([np.inf, None]) == np.inf and fidelity.mean_of([-np.inf]) == -np.inf
    assert fidelity.mean_of([None, nan]) is None and fidelity.mean_of([]) is None
    rows = [dict.fromkeys(fidelity.MEASURES) | row for row in ({"psnr": np.inf}, {"snr": -np.inf}, {"snr": 3.0}, {})]
    rows += [dict.fromkeys(fidelity.MEASURES, nan)]
    assert fidelity.infinite(np.array([list(row.values()) for row in rows], float)) == 2


@pytest.mark.parametrize("rate", [8000, 22050])
@pytest.mark.parametrize("gain", [0.5, 0.1])
def test_spectral_distance_of_a_scaled_clip_is_the_gain_in_decibels(rate, gain):
    clip = NOISE.normal(0, 6000, rate).clip(-32768, 32767)
    scaled = (clip * gain).round().astype(np.int16)
    distance = fidelity.spectral_distance(clip.round().astype(np.int16), scaled, rate)
    assert distance == pytest.approx(-20 * math.log10(gain), rel=0.01)


def test_spectral_distance_sees_what_snr_cannot():
    """A flipped sign ruins the SNR and leaves the spectrum as it was."""
    clip = NOISE.normal(0, 6000, 8000).astype(np.int16)
    assert fidelity.snr(clip, -clip) == pytest.approx(-20 * math.log10(2))
    assert fidelity.spectral_distance(clip, -clip, 8000) == pytest.approx(0, abs=1e-9)


@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=600), st.integers(0, 2**32 - 1))
def test_audio_measures_are_finite_where_they_should_be(samples, seed):
    clip = np.array(samples, np.int16)
    other = np.random.default_rng(seed).integers(-32768, 32767, len(clip)).astype(np.int16)
    assert fidelity.spectral_distance(clip, clip, 8000) == 0
    distance = fidelity.spectral_distance(clip, other, 8000)
    assert math.isfinite(distance) and distance == pytest.approx(fidelity.spectral_distance(other, clip, 8000))
    assert not math.isnan(fidelity.snr(clip, other))


def test_silence_has_a_finite_distance():
    silence = np.zeros(8000, np.int16)
    dither = NOISE.integers(-1, 2, 8000).astype(np.int16)
    assert 0 < fidelity.spectral_distance(silence, dither, 8000) < 20


def test_measuring_changes_nothing_and_refuses_unlike_items():
    image = PHOTO.copy()
    image.flags.writeable = False
    fidelity.measure(image, noisy(PHOTO, 3), "image")
    with pytest.raises(LossyBenchError, match=r"\(64, 80, 3\)"):
        fidelity.measure(PHOTO, PHOTO[:32], "image")
