"""Levels of another kind than a codec's own, chains, and degradations: what a study makes of codecs by its config."""

from __future__ import annotations

import io
import itertools
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_codecs import ITEMS, RATE, pan, speech

from lossybench import codecs, fidelity
from lossybench.codecs import _targets, mp3
from lossybench.errors import LossyBenchError

IMAGE, CLIP, SOUND = ITEMS["image"][0], ITEMS["video"][1], ITEMS["audio"][0]


def of(file, parameter=None, **options):
    return codecs.made("mine", options, {"codec": file, **({"parameter": parameter} if parameter else {})})


def size(encoded):
    return (encoded.payload_bits + encoded.overhead_bits) / 8


# A target size


@pytest.mark.parametrize(
    "file, media, rate, targets",
    [
        *((file, IMAGE, 0, [6000, 3500, 2000]) for file in ("jpeg", "webp", "jpeg2000", "h264", "hevc")),
        ("h264", CLIP, 25, [9000, 4000]),
        ("mp3", SOUND, 16000, [9000, 3000]),
        ("opus", SOUND, 16000, [9000, 3000]),
        ("amrnb", speech(8000), 8000, [1000, 600]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_is_the_largest_that_is_not_above_the_target(file, media, rate, targets):
    codec, encoder = of(file, "bytes"), codecs.get(file)
    medium = codecs.codec.medium_of(media)
    levels = _targets.possible(encoder, medium, rate)
    for target in targets:
        encoded = codec.encode(media, target, rate)
        assert size(encoded) <= target
        assert (
            codec.decode(encoded.payload, media.shape, rate) == encoder.decode(encoded.payload, media.shape, rate)
        ).all()
        # It is what the encoder makes at one of its own levels, and at the next milder one the file would be larger.
        place = next(i for i, level in enumerate(levels) if encoder.encode(media, level, rate) == encoded)
        assert place == 0 or size(encoder.encode(media, levels[place - 1], rate)) > target
    assert codec.by_strength(targets) == sorted(targets, reverse=True)


def test_bits_per_pixel_are_those_of_the_whole_file_over_all_frames():
    for media in (IMAGE, CLIP):
        encoded, pixels = of("h264", "bpp").encode(media, 0.9, 25), media[..., 0].size
        assert encoded == of("h264", "bytes").encode(media, int(0.9 * pixels / 8), 25)
        assert 0.9 * 0.8 < 8 * size(encoded) / pixels <= 0.9


def test_a_target_that_no_level_meets_gets_the_smallest_file_and_is_told():
    codec, strongest = of("jpeg", "bytes"), codecs.get("jpeg").encode(IMAGE, 1)
    least = size(strongest)
    assert codec.encode(IMAGE, 100) == strongest and size(codec.encode(IMAGE, least)) == least
    assert 8 * least <= codec.most_bits(least, 8 * IMAGE.nbytes) < 8 * least + 1
    assert 8 * least > codec.most_bits(least - 1, 8 * IMAGE.nbytes)
    assert of("webp", "bpp").most_bits(0.5, 8 * CLIP.nbytes) == 0.5 * CLIP[..., 0].size
    assert codecs.get("jpeg").most_bits(50, 8 * IMAGE.nbytes) is None


def test_a_milder_target_keeps_more():
    for file in ("jpeg", "webp", "jpeg2000", "hevc"):
        codec = of(file, "bytes")
        found = [fidelity.psnr(IMAGE, codec.roundtrip(IMAGE, target)) for target in (8000, 4000, 2000)]
        assert found == sorted(found, reverse=True) and len(set(found)) == 3


def test_what_is_remembered_of_an_item_changes_nothing():
    codec, changed = of("jpeg", "bytes"), IMAGE.copy()
    before = codec.encode(changed, 4000)
    changed[:40] = 0  # the same array, of another content
    after = codec.encode(changed, 4000)
    assert after != before and after == of("jpeg", "bytes").encode(changed.copy(), 4000)
    assert codec.encode(IMAGE, 4000) == before


def test_labels_and_titles_of_targets():
    assert of("jpeg", "bytes").level_label(10000) == "≤ 10000 bytes"
    assert of("webp", "bpp").level_label(0.5) == "≤ 0.5 bpp"
    assert of("jpeg", "bytes", chroma="444").full_title() == "JPEG 4:4:4 to a size"
    assert of("hevc", "crf", preset="slow").full_title() == "HEVC slow, at constant quality"
    assert of("hevc", "crf").level_label(28) == "CRF 28" and of("h264", "bitrate").level_label(300) == "300 kb/s"


@pytest.mark.parametrize(
    "file, parameter, message",
    [
        ("jpeg", "crf", "codec 'jpeg': unknown parameter 'crf'; known: bpp, bytes"),
        ("h264", "cfr", "unknown parameter 'cfr'; did you mean 'crf'"),
        ("mp3", "bpp", "codec 'mp3' is for audio, which has no pixels; use parameter: bytes"),
    ],
)
def test_a_parameter_that_a_codec_lacks_is_refused_with_what_it_has(file, parameter, message):
    with pytest.raises(LossyBenchError, match=message):
        of(file, parameter)


# Constant quality and bitrate


SIZES = [(64, 64), (48, 48), (33, 40), (17, 23), (1, 1), (80, 200)]


@pytest.mark.parametrize("file", ["h264", "hevc", "vp9", "av1"])
def test_constant_quality_and_bitrate_repeat_bit_for_bit_at_any_size(file):
    for (height, width), frames in itertools.product(SIZES, (1, 11)):
        clip = (
            np.stack([ITEMS["image"][2][:height, :width] for _ in range(frames)])
            if width < 128
            else pan(np.tile(ITEMS["image"][2], (2, 3, 1)), frames, height)
        )
        for control in codecs.codec_class(file).controls:
            codec = of(file, control)
            level = 100 if control == "bitrate" else 28 if codec.whole else 28.5
            found = {codec.encode(clip, level, 25).payload for _ in range(6)}
            assert len(found) == 1, (clip.shape, control)
            assert codec.decode(found.pop(), clip.shape, 25).shape == clip.shape


@pytest.mark.parametrize("file", ["h264", "hevc", "vp9", "av1"])
@pytest.mark.parametrize("medium", ["image", "video"])
def test_a_higher_crf_takes_fewer_bits_and_keeps_less(file, medium):
    codec, media = of(file, "crf"), ITEMS[medium][0]
    made = [codec.encode(media, crf, 25) for crf in (16, 23 if codec.whole else 22.5, 30, 40)]
    kept = [fidelity.psnr(media, codec.decode(one.payload, media.shape, 25)) for one in made]
    assert [size(one) for one in made] == sorted((size(one) for one in made), reverse=True)
    assert kept == sorted(kept, reverse=True) and codec.by_strength([30, 16]) == [16, 30]


@pytest.mark.parametrize("file, near", [("h264", 0.15), ("vp9", 0.4), ("hevc", 0.4)])  # x265 takes longer to come near
def test_a_bitrate_is_met_by_a_clip_that_is_long_enough(file, near):
    # With noise, as no rate can be spent on what is wholly predicted.
    noise = np.random.default_rng(0).normal(0, 6, (120, 64, 64, 3))
    clip = np.clip(pan(np.tile(ITEMS["image"][0], (3, 4, 1)), 120) + noise, 0, 255).astype(np.uint8)
    for kbps in (400, 150):
        encoded = of(file, "bitrate").encode(clip, kbps, 25)
        assert fidelity.rate_of(8 * size(encoded), clip.shape, "video", 25) == pytest.approx(kbps, rel=near)
    with pytest.raises(LossyBenchError, match="a picture has no bitrate; use parameter: bytes or bpp"):
        of(file, "bitrate").encode(IMAGE, 100)
    with pytest.raises(LossyBenchError, match="a bitrate needs the clip's frames/s, which are unknown"):
        of(file, "bitrate").encode(CLIP, 100)


def test_x264_at_a_constant_quality_is_what_ffmpeg_makes_of_it(tmp_path):
    """Rate against the ffmpeg program, which is told the same settings: crf, gop, no scene cuts, one thread."""
    import imageio_ffmpeg

    codec, clip = of("h264", "crf"), pan(np.tile(ITEMS["image"][0], (3, 4, 1)), 24)
    (tmp_path / "raw").write_bytes(clip.tobytes())
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "64x64"]
    command += ["-r", "25", "-i", str(tmp_path / "raw"), "-vf", "scale=out_color_matrix=bt601:out_range=full"]
    command += ["-pix_fmt", "yuv420p", "-color_range", "pc", "-c:v", "libx264", "-crf", "26", "-threads", "1"]
    command += ["-x264-params", "keyint=32:scenecut=0:open-gop=0", "-f", "h264", str(tmp_path / "out.h264")]
    subprocess.run(command, check=True)
    # Of both the NAL units of slices alone (ITU-T H.264, table 7-1), without the words of the settings.
    units = (tmp_path / "out.h264").read_bytes().replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")
    theirs = sum(len(unit) for unit in units if unit and unit[0] & 31 in (1, 5))
    assert codec.encode(clip, 26, 25).payload_bits / 8 == pytest.approx(theirs, rel=0.03)


# Chains and conditions of capture


LEVEL = "LEVEL"


def step(what, level, options=None, variant=None):
    return {"step": what, "level": level, "options": options or {}, "variant": variant or {}}


def chain(*steps):
    return codecs.made("mine", {}, {"chain": [step(*one) for one in steps]})


def test_a_chain_of_codecs_is_what_each_makes_of_what_the_one_before_gave():
    steps = [("jpeg", 90, {"chroma": "444"}), ("webp", 60), ("hevc", LEVEL)]
    codec, item = chain(*steps), IMAGE
    for name, level, *options in steps[:2]:
        item = codecs.get(name, *options).roundtrip(item, level)
    expected = codecs.get("hevc").encode(item, 30)
    assert codec.encode(IMAGE, 30) == expected  # its rate is that of the last codec
    assert (codec.roundtrip(IMAGE, 30) == codecs.get("hevc").decode(expected.payload, IMAGE.shape)).all()
    assert (codec.parameter, codec.bounds, codec.stronger) == ("QP", (0, 51), "higher")
    assert codec.full_title() == "JPEG 4:4:4 QF 90, WebP quality 60, HEVC" and codec.level_label(30) == "QP 30"


def test_generations_are_the_same_codec_time_and_again():
    item, codec = SOUND, codecs.made("mp3_4", {}, {"codec": "mp3", "generations": 4})
    for _ in range(4):
        item = codecs.get("mp3").roundtrip(item, 32, 16000)
    assert (codec.roundtrip(SOUND, 32, 16000) == item).all() and codec.full_title() == "MP3, 4 times"


DEGRADED = [
    *((name, level, media) for name, level in
      (("noise", 8), ("light", 0.02), ("blur", 1.5), ("dirt", 0.2), ("rescale", 0.4), ("scale", 0.4))
      for media in ("image", "video")),
    ("frame_step", 3, "video"), ("snr", 15, "audio"), ("reverberation", 0.4, "audio"),
]  # fmt: skip


@pytest.mark.parametrize("name, level, medium", DEGRADED)
def test_a_degradation_depends_on_the_item_alone_and_grows_with_its_level(name, level, medium):
    media, rate = ITEMS[medium][0], RATE[medium]
    lossless = chain((name, level), ("original", LEVEL))
    seen = lossless.roundtrip(media, 0, rate)
    assert seen.shape == media.shape and seen.dtype == media.dtype
    assert (seen == lossless.roundtrip(media.copy(), 0, rate)).all()
    # The same at every level of what follows: with a lossy codec after it, the item before that codec is the same.
    lossy = codecs.get("opus" if medium == "audio" else "jpeg")
    if name not in ("scale", "frame_step"):
        assert chain((name, level), (lossy.name, LEVEL)).encode(media, 50, rate) == lossy.encode(seen, 50, rate)
    varied = chain((name, LEVEL), ("original", 0))
    levels = [level, 2 * level] if varied.stronger == "higher" else [level, level / 2]
    errors = [np.square(varied.roundtrip(media, one, rate) - media.astype(float)).mean() for one in levels]
    assert 0 < errors[0] < errors[1]
    other = ITEMS[medium][1]
    assert not (lossless.roundtrip(other, 0, rate) == seen[: len(other)]).all()


def test_noise_is_the_same_in_another_process():
    code = (
        "from test_variants import *; import hashlib;"
        "made = chain(('noise', 5), ('light', 0.1), ('jpeg', LEVEL)).encode(IMAGE, 50).payload;"
        "print(hashlib.sha256(made).hexdigest())"
    )
    here = Path(__file__).parent
    found = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=here).stdout for _ in "ab"
    }
    assert len(found) == 1 and len(found.pop()) == 65


def grey(value, size=200):
    return np.full((size, size, 3), value, np.uint8)


def test_noise_has_the_standard_deviation_that_it_says():
    for sigma in (2, 12):
        change = chain(("noise", sigma), ("original", LEVEL)).roundtrip(grey(128), 0) - 128.0
        assert change.std() == pytest.approx(np.hypot(sigma, 12**-0.5), rel=0.02) and abs(change.mean()) < 0.1


def test_light_has_the_variance_of_photons_and_of_reading():
    """In linear light the variance is a y + b of Foi et al. 2008: of photons 1 / well, of reading its square."""
    share, well = 0.1, 5000 * 0.1
    seen = chain(("light", share), ("original", LEVEL)).roundtrip(grey(150), 0) / 255
    linear = np.where(seen <= 0.04045, seen / 12.92, ((seen + 0.055) / 1.055) ** 2.4)
    true = ((150 / 255 + 0.055) / 1.055) ** 2.4
    assert linear.mean() == pytest.approx(true, rel=0.01)
    assert linear.var() == pytest.approx(true / well + (3 / well) ** 2, rel=0.05)


def test_blur_is_a_gaussian_and_keeps_the_sum_of_light():
    point = np.zeros((41, 41, 3), np.uint8)
    point[20, 20] = 255
    point = np.repeat(np.repeat(point, 5, 0), 5, 1)  # a square of 5, so that rounding does not matter
    seen = chain(("blur", 4), ("original", LEVEL)).roundtrip(point, 0)[..., 0].astype(float)
    at = np.arange(seen.shape[0])
    centre = (seen.sum(1) * at).sum() / seen.sum()
    variance = (seen.sum(1) * (at - centre) ** 2).sum() / seen.sum()
    assert variance == pytest.approx(4**2 + (5**2 - 1) / 12, rel=0.1) and seen.sum() == pytest.approx(
        25 * 255, rel=0.05
    )


def test_dirt_covers_the_share_and_stays_where_it_is():
    clip = np.stack([grey(200), grey(200), grey(200)])
    seen = chain(("dirt", 0.25), ("original", LEVEL)).roundtrip(clip, 0)
    assert (seen[0] == seen[2]).all() and seen.min() == pytest.approx(200 * 0.15, abs=2) and seen.max() == 200
    assert (seen[0, ..., 0] < 200 * (1 - 0.85 / 2)).mean() == pytest.approx(0.25, abs=0.04)


def test_an_snr_is_what_torchaudio_adds_noise_at():
    torch, torchaudio = pytest.importorskip("torch"), pytest.importorskip("torchaudio")
    seen = chain(("snr", 12), ("original", LEVEL)).roundtrip(SOUND, 0, 16000)
    assert fidelity.snr(SOUND, seen) == pytest.approx(12, abs=0.05)
    clean, noise = torch.tensor(SOUND.astype(float)), torch.randn(len(SOUND), dtype=torch.float64)
    theirs = torchaudio.functional.add_noise(clean, noise, torch.tensor(12.0)).numpy()
    assert fidelity.snr(SOUND, np.rint(theirs).clip(-32768, 32767).astype(np.int16)) == pytest.approx(12, abs=0.05)
    assert not chain(("snr", 12), ("original", LEVEL)).roundtrip(np.zeros(500, np.int16), 0, 16000).any()  # no energy


def test_reverberation_decays_by_60_db_in_the_time_it_says():
    click, rate, seconds = np.zeros(32000, np.int16), 16000, 0.8
    click[0] = 32767
    tail = chain(("reverberation", seconds), ("original", LEVEL)).roundtrip(click, 0, rate).astype(float)
    assert np.square(tail).sum() == pytest.approx(32767**2, rel=0.02)  # the room has the energy 1
    left = np.cumsum(np.square(tail[1:])[::-1])[::-1]  # Schroeder's integral
    decibels = 10 * np.log10(left[: int(0.4 * rate)] / left[0])
    slope = np.polyfit(np.arange(len(decibels)) / rate, decibels, 1)[0]
    assert slope == pytest.approx(-60 / seconds, rel=0.05)


def test_what_is_sent_smaller_comes_back_to_its_own_shape():
    small = chain(("scale", 0.5), ("webp", LEVEL))
    encoded, whole = small.encode(IMAGE, 80), codecs.get("webp").encode(IMAGE, 80)
    assert encoded.payload_bits < 0.5 * whole.payload_bits
    assert codecs.get("webp").decode(encoded.payload, (64, 64, 3)).shape == (64, 64, 3)
    # As the level: how far may pictures be scaled?
    scaled = chain(("scale", LEVEL), ("jpeg", 90))
    bits = [scaled.encode(IMAGE, share).payload_bits for share in (1, 0.5, 0.25)]
    assert bits == sorted(bits, reverse=True) and scaled.by_strength([0.5, 1]) == [1, 0.5]
    assert (scaled.roundtrip(IMAGE, 1) == codecs.get("jpeg").roundtrip(IMAGE, 90)).all()
    for shape in ((1, 1, 3), (5, 3, 3), (1, 40, 3)):
        assert scaled.roundtrip(np.zeros(shape, np.uint8), 0.3).shape == shape


@pytest.mark.parametrize("kept", [1, 2, 5, 12, 100])
def test_frames_that_are_not_sent_are_held(kept):
    clip = CLIP
    every = chain(("frame_step", kept), ("original", LEVEL)).roundtrip(clip, 0, 25)
    assert (every == clip[(np.arange(len(clip)) // kept) * kept]).all()
    varied = chain(("frame_step", LEVEL), ("original", 0))
    assert (varied.roundtrip(clip, kept, 25) == every).all()


@pytest.mark.parametrize(
    "steps, message",
    [
        ([("jpeg", 90)], "no step has the level LEVEL"),
        ([("noise", LEVEL), ("jpeg", LEVEL)], "steps of several kinds have the level LEVEL"),
        ([("jpeg", LEVEL), ("noise", 4)], "the last step must be a codec"),
        ([("jpeg", 90), ("opus", LEVEL)], "no medium is one of all its steps"),
        ([("nois", 4), ("jpeg", LEVEL)], "chain.0: unknown step 'nois'; did you mean 'noise'"),
        ([("noise", 4, {"chroma": "444"}), ("jpeg", LEVEL)], "chain.0: noise has no options; leave them out"),
    ],
)
def test_a_chain_that_cannot_be_is_refused(steps, message):
    with pytest.raises(LossyBenchError, match=message):
        chain(*steps)


def test_levels_of_steps_are_checked():
    for steps, level, message in (
        ([("noise", 400), ("jpeg", LEVEL)], 50, "noise 400 is out of range; use 0 to 128"),
        ([("jpeg", 101), ("webp", LEVEL)], 50, "codec 'jpeg': QF 101 is out of range"),
        ([("scale", LEVEL), ("jpeg", 90)], 2, "scale 2 is out of range"),
        (
            [("frame_step", 1.5), ("h264", LEVEL)],
            30,
            "frame_step 1.5 is out of range; use a whole number from 1 to 1000",
        ),
    ):
        with pytest.raises(LossyBenchError, match=message):
            chain(*steps).check(level, "video")


def test_a_damaged_chain_is_called_damaged():
    codec = chain(("scale", LEVEL), ("jpeg", 90))
    payload = codec.encode(IMAGE, 0.5).payload
    for damaged in (b"", payload[:5], payload[:-20], b"\xff" * 8 + payload[8:], payload[:8]):
        with pytest.raises(LossyBenchError):
            codec.decode(damaged, IMAGE.shape)


def test_an_edit_of_chains_concerns_chains_alone():
    assert codecs.modules("jpeg") == ["lossybench.codecs.jpeg"]
    found = codecs.modules(
        "mine", {"chain": [step("noise", 4), step("fast", LEVEL, None, {"codec": "hevc", "parameter": "bpp"})]}
    )
    assert found == [f"lossybench.codecs.{name}" for name in ("hevc", "_chain", "_targets")]
    from lossybench.fingerprint import _read

    followed, queue = set(), ["lossybench.codecs.jpeg"]
    while queue:
        name = queue.pop()
        if name not in followed:
            followed.add(name)
            queue += _read(name)[1]
    assert not any(name.endswith(("_chain", "_capture", "_targets")) for name in followed)


# Options


OPTIONS = [
    ("jpeg", {"progressive": True}, IMAGE, 0, 30),
    ("jpeg", {"progressive": True, "chroma": "444"}, CLIP[:2], 25, 80),
    ("h264", {"tune": "film", "preset": "slow"}, CLIP, 25, 30),
    ("hevc", {"tune": "grain"}, CLIP, 25, 30),
    ("h264", {"tune": "stillimage", "control": "crf"}, IMAGE, 0, 25),
    ("av1", {"preset": 4, "gop": 4}, CLIP, 25, 30),
    ("av1", {"control": "crf"}, IMAGE, 0, 30),
    ("vp9", {"speed": 5, "gop": 4}, CLIP, 25, 30),
    ("vp9", {"chroma": "444"}, IMAGE, 0, 30),
    ("avif", {"tune": "psnr", "speed": 8}, IMAGE, 0, 50),
    ("avif", {"chroma": "444"}, CLIP[:2], 25, 50),
    ("jpegxl", {"effort": 3}, IMAGE, 0, 50),
    ("mp3", {"control": "abr"}, SOUND, 16000, 33),
    ("mp3", {"control": "vbr"}, SOUND, 16000, 4.5),
    ("opus", {"complexity": 0}, SOUND, 16000, 24),
    ("opus", {"application": "lowdelay", "bandwidth": "narrow"}, SOUND, 16000, 24),
]


@pytest.mark.parametrize("name, options, media, rate, level", OPTIONS, ids=lambda value: str(value)[:40])
def test_every_option_repeats_acts_and_refuses_what_is_cut(name, options, media, rate, level):
    codec = codecs.get(name, options)
    encoded = codec.encode(media, level, rate)
    assert encoded == codec.encode(media.copy(), level, rate)
    assert encoded != codecs.get(name).encode(media, round(level) if name != "mp3" else 32, rate)
    assert encoded.payload_bits > 0 and encoded.overhead_bits >= 0
    decoded = codec.decode(encoded.payload, media.shape, rate)
    assert decoded.shape == media.shape and decoded.dtype == media.dtype
    for part in (0, 0.3, 0.7, 0.999):
        with pytest.raises(LossyBenchError):
            codec.decode(encoded.payload[: int(part * len(encoded.payload))], media.shape, rate)
    random = np.random.default_rng(0)
    for _ in range(40):
        damaged = bytearray(encoded.payload)
        damaged[random.integers(len(damaged))] ^= 1 << random.integers(8)
        try:
            assert codec.decode(bytes(damaged), media.shape, rate).shape == media.shape
        except LossyBenchError:
            continue


def test_a_progressive_jpeg_has_the_pixels_of_baseline_in_fewer_bytes():
    plain, progressive = codecs.get("jpeg"), codecs.get("jpeg", {"progressive": True})
    for photo, level in itertools.product(ITEMS["image"], (90, 50, 5)):
        file = progressive.encode(photo, level)
        assert (progressive.decode(file.payload, photo.shape) == plain.roundtrip(photo, level)).all()
        assert size(file) < size(plain.encode(photo, level))
        with Image.open(io.BytesIO(file.payload)) as picture:
            assert picture.info["progressive"] and picture.size == photo.shape[1::-1]
        # Coded media: all bytes of scans behind their headers, as another parser counts them.
        scans = re.split(rb"\xff\xda", file.payload)[1:]
        count = 0
        for scan in scans:
            body = scan[int.from_bytes(scan[:2], "big") :]
            count += re.search(rb"\xff[\x01-\xcf\xd8-\xfe]|$", body).start()
        assert 8 * count == file.payload_bits and 8 * len(file.payload) == file.payload_bits + file.overhead_bits


def test_mp3_at_a_mean_bitrate_or_quality_spends_frames_unevenly():
    clip, rate = np.concatenate([speech(16000, 2.0), np.zeros(16000, np.int16)]), 16000

    def bitrates(codec, level):
        return {len(frame) for frame in mp3._frames(codec.encode(clip, level, rate).payload)}

    assert len(bitrates(codecs.get("mp3"), 32)) == 1
    for control, level in (("abr", 32), ("vbr", 4)):
        codec = codecs.get("mp3", {"control": control})
        assert len(bitrates(codec, level)) > 2
    rates = [size(codecs.get("mp3", {"control": "vbr"}).encode(clip, v, rate)) for v in (0, 3, 6, 9)]
    assert rates == sorted(rates, reverse=True)
    with pytest.raises(LossyBenchError, match="codec 'mp3' cannot do 200 kb/s at 16000 Hz; use 8 to 160"):
        codecs.get("mp3", {"control": "abr"}).encode(clip, 200, rate)


def test_opus_bandwidth_is_what_is_kept():
    noise = np.random.default_rng(0).normal(0, 5000, 48000).astype(np.int16)
    for bandwidth, edge in (("narrow", 4000), ("wide", 8000), ("superwide", 12000)):
        seen = codecs.get("opus", {"bandwidth": bandwidth}).roundtrip(noise, 96, 48000)
        spectrum = np.abs(np.fft.rfft(seen)) ** 2
        at = np.fft.rfftfreq(len(seen), 1 / 48000)
        assert spectrum[at > 1.15 * edge].sum() < 0.01 * spectrum.sum() < spectrum[at < edge].sum()


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("jpeg", {"progressive": "yes"}, "option 'progressive'"),
        ("h264", {"tune": "flim"}, "tune 'flim' is unknown; did you mean 'film'"),
        ("hevc", {"tune": "film"}, "tune 'film' is unknown; .*known: animation, fastdecode, grain, none, psnr, ssim"),
        ("opus", {"complexity": 11}, "complexity 11 must be a whole number from 0 to 10"),
        ("opus", {"bandwidth": "wideband"}, "bandwidth 'wideband' is unknown; did you mean 'wide'"),
        ("mp3", {"control": "cbr"}, "control 'cbr' is unknown"),
    ],
)
def test_a_bad_value_of_an_option_is_refused_with_what_is_right(name, options, message):
    with pytest.raises(LossyBenchError, match=message):
        codecs.get(name, options)
