"""Levels of another kind than a codec's own, chains, and degradations: what a study makes of codecs by its config."""

from __future__ import annotations

import itertools
import subprocess

import numpy as np
import pytest
from test_codecs import ITEMS, pan

from lossybench import codecs, fidelity
from lossybench.codecs import _targets
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


def test_a_target_that_no_level_meets_is_refused_with_what_the_strongest_takes():
    least = size(codecs.get("jpeg").encode(IMAGE, 1))
    with pytest.raises(LossyBenchError, match=f"even at QF 1 it has {least:.0f} bytes, more than the 100 of"):
        of("jpeg", "bytes").encode(IMAGE, 100)
    assert size(of("jpeg", "bytes").encode(IMAGE, least)) == least


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
    assert of("jpeg", "bytes").level_label(10000) == "at most 10000 bytes"
    assert of("webp", "bpp").level_label(0.5) == "0.5 bpp"
    assert of("jpeg", "bytes", chroma="444").full_title() == "JPEG 4:4:4 to a size"
    assert of("hevc", "crf", preset="slow").full_title() == "HEVC slow, by crf"
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


@pytest.mark.parametrize("file", ["h264", "hevc"])
def test_constant_quality_and_bitrate_repeat_bit_for_bit_at_any_size(file):
    for (height, width), frames in itertools.product(SIZES, (1, 11)):
        clip = (
            np.stack([ITEMS["image"][2][:height, :width] for _ in range(frames)])
            if width < 128
            else pan(np.tile(ITEMS["image"][2], (2, 3, 1)), frames, height)
        )
        for control, level in (("crf", 28.5), ("bitrate", 100)):
            codec = of(file, control)
            found = {codec.encode(clip, level, 25).payload for _ in range(6)}
            assert len(found) == 1, (clip.shape, control)
            assert codec.decode(found.pop(), clip.shape, 25).shape == clip.shape


@pytest.mark.parametrize("file", ["h264", "hevc"])
@pytest.mark.parametrize("medium", ["image", "video"])
def test_a_higher_crf_takes_fewer_bits_and_keeps_less(file, medium):
    codec, media = of(file, "crf"), ITEMS[medium][0]
    made = [codec.encode(media, crf, 25) for crf in (16, 22.5, 30, 40)]
    kept = [fidelity.psnr(media, codec.decode(one.payload, media.shape, 25)) for one in made]
    assert [size(one) for one in made] == sorted((size(one) for one in made), reverse=True)
    assert kept == sorted(kept, reverse=True) and codec.by_strength([30, 16]) == [16, 30]


@pytest.mark.parametrize("file, near", [("h264", 0.15), ("hevc", 0.4)])  # x265 takes longer to come near
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
    theirs = (tmp_path / "out.h264").stat().st_size
    # Up to the words of the settings, which both write into an SEI.
    ours = codec.encode(clip, 26, 25)
    assert size(ours) == pytest.approx(theirs, rel=0.03) and ours.payload_bits / 8 < theirs - 600
