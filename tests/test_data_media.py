"""Pictures and sounds of unusual kinds, cut, damaged and hostile ones, against other readers and arithmetic."""

import io
import json
import re
import struct
import subprocess
import zlib

import cv2
import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
import tifffile
from PIL import Image, ImageCms

from lossybench import codecs
from lossybench.data import _images, audio_io
from lossybench.errors import LossyBenchError
from lossybench.stages.fetch import fetch
from lossybench.tools import check

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
RATE = 16000
TIME = np.arange(2 * RATE) / RATE
# Tones that swell, with noise here and there: what a coder with a variable rate gives unequal frames.
SOUND = 0.4 * np.sin(2 * np.pi * 440 * TIME) * (1 + np.sin(3 * TIME)) / 2
SOUND += 0.05 * np.random.default_rng(0).standard_normal(len(TIME)) * (np.sin(7 * TIME) > 0)


def kinds(findings):
    return {finding.kind: finding for finding in findings}


# Sound -----------------------------------------------------------------------------------------------------------


def ffmpeg(*arguments):
    return subprocess.run([FFMPEG, "-v", "error", "-y", *map(str, arguments)], check=True, capture_output=True).stdout


def wav(path, samples=SOUND, rate=RATE, **how):
    soundfile.write(path, samples, rate, **how)
    return path


def coded(path, *how):
    """The sound as the ffmpeg program codes it; a format that is no option goes by the name of the file."""
    ffmpeg("-i", wav(path.with_name("source.wav")), *how, path)
    return path


def piped(path, *how):
    """The sound as the ffmpeg program writes it to a pipe, where it cannot go back to state the length."""
    path.write_bytes(ffmpeg("-i", wav(path.with_name("source.wav")), *how, "-f", path.suffix[1:], "-"))
    return path


def by_ffmpeg(path, channels=1):
    """float64 (samples,) on the scale of int16 as the ffmpeg program decodes them, channels averaged."""
    return 32768 * np.frombuffer(ffmpeg("-i", path, "-f", "f64le", "-"), "<f8").reshape(-1, channels).mean(axis=1)


def test_wav_is_read_by_its_content(tmp_path):
    written = {
        "f32": {"subtype": "FLOAT"}, "f64": {"subtype": "DOUBLE"}, "f32ext": {"subtype": "FLOAT", "format": "WAVEX"},
        "f64ext": {"subtype": "DOUBLE", "format": "WAVEX"}, "ulawext": {"subtype": "ULAW", "format": "WAVEX"},
        "alaw": {"subtype": "ALAW"}, "adpcm": {"subtype": "IMA_ADPCM"}, "u8": {"subtype": "PCM_U8"},
        "i24ext": {"subtype": "PCM_24", "format": "WAVEX"}, "i32": {"subtype": "PCM_32"}, "rf64": {"format": "RF64"},
        "big": {"endian": "BIG"}, "w64": {"format": "W64"},
    }  # fmt: skip
    for name, how in written.items():
        path = wav(tmp_path / f"{name}.wav", **how)
        expected, _ = soundfile.read(path)
        found, rate = audio_io.read(path)
        assert rate == RATE and len(found) == len(expected), name
        assert np.abs(found - 32768 * expected).max() <= 0.5, name
        assert "wrong extension" not in kinds(audio_io.look(path, RATE)), name
    # A plain `ffmpeg -ar 96000 -c:a pcm_f32le` writes an extensible header.
    path = coded(tmp_path / "float96.wav", "-ar", "96000", "-c:a", "pcm_f32le")
    assert np.abs(audio_io.read(path)[0] - by_ffmpeg(path)).max() <= 0.5
    surround = coded(tmp_path / "surround.wav", "-ac", "6", "-c:a", "pcm_f32le")
    assert np.abs(audio_io.read(surround)[0] - by_ffmpeg(surround, 6)).max() <= 0.5


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("a.m4a", ["-c:a", "aac", "-t", "0.51234"]),  # ends within a frame, by its edit list
        ("lossless.m4a", ["-c:a", "alac"]),
        ("a.aac", ["-f", "adts"]),
        ("a.wma", ["-c:a", "wmav2"]),
        ("a.webm", ["-c:a", "libopus"]),
        ("live.webm", ["-c:a", "libvorbis", "-live", "1"]),
        ("mp3.wav", ["-c:a", "libmp3lame"]),
        ("g726.wav", ["-c:a", "g726", "-ar", "8000"]),
        ("flac.ogg", ["-c:a", "flac"]),
        ("variable.mp3", ["-q:a", "4"]),
        ("unstated.mp3", ["-q:a", "4", "-write_xing", "0"]),  # of which libsndfile reads a third
        ("tagged.mp3", ["-id3v2_version", "4", "-write_id3v1", "1", "-metadata", "title=x"]),
    ],
)
def test_what_only_ffmpeg_knows_is_as_its_program_decodes_it(tmp_path, name, how):
    path = coded(tmp_path / name, *how)
    found, _ = audio_io.read(path)
    expected = by_ffmpeg(path)
    assert len(found) == len(expected)
    assert np.abs(found - expected).max() <= 0.51
    assert audio_io.look(path, audio_io.read(path)[1]) == []


def test_sound_written_to_a_pipe_is_whole(tmp_path):
    for name, how in {"a.wav": [], "a.flac": [], "a.ogg": ["-c:a", "libvorbis"], "a.aiff": [], "a.au": []}.items():
        found, _ = audio_io.read(piped(tmp_path / name, *how))
        assert len(found) == len(SOUND), name
    for name, how in {"a.wv": [], "a.caf": [], "a.asf": ["-c:a", "wmav2"]}.items():
        found, expected = audio_io.read(piped(tmp_path / name, *how))[0], by_ffmpeg(tmp_path / name)
        assert len(found) == len(expected) and np.abs(found - expected).max() <= 0.51, name
    whole = wav(tmp_path / "whole.wav").read_bytes()
    at = whole.index(b"data") + 4
    for size in (0xFFFFFFFF, 0x7FFFF000, 0x80000000):  # of FFmpeg, SoX and arecord
        path = tmp_path / "placeholder.wav"
        path.write_bytes(whole[:at] + struct.pack("<I", size) + whole[at + 4 :])
        assert len(audio_io.read(path)[0]) == len(SOUND)
    path = tmp_path / "list.wav"
    path.write_bytes(whole + b"LIST" + struct.pack("<I", 4) + b"INFO")
    assert np.array_equal(audio_io.read(path)[0], np.rint(32768 * soundfile.read(tmp_path / "whole.wav")[0]))
    # In fragments, the last one states a shorter frame, which the ffmpeg program pads; the encoder's delay is kept.
    path = coded(tmp_path / "fragments.m4a", "-c:a", "aac", "-movflags", "frag_keyframe+empty_moov")
    found, expected = audio_io.read(path)[0], by_ffmpeg(path)
    assert len(found) == len(SOUND) + 1024 and np.abs(found - expected[: len(found)]).max() <= 0.51


CUT = {
    "a.wav": {}, "rf64.wav": {"format": "RF64"}, "ext.wav": {"format": "WAVEX", "subtype": "FLOAT"},
    "w64.wav": {"format": "W64"}, "a.aiff": {}, "a.au": {}, "a.caf": {}, "a.flac": {}, "a.ogg": {},
    "a.opus": {"format": "OGG", "subtype": "OPUS"}, "a.mp3": {},
    "end.m4a": ["-c:a", "aac"], "start.m4a": ["-c:a", "aac", "-movflags", "faststart"], "alac.m4a": ["-c:a", "alac"],
    "a.wma": ["-c:a", "wmav2"], "a.webm": ["-c:a", "libopus"], "flac.ogg": ["-c:a", "flac"], "mp3.wav": ["-c:a", "mp3"],
    "g726.wav": ["-c:a", "g726", "-ar", "8000"],
}  # fmt: skip


@pytest.mark.parametrize("name", CUT)
def test_sound_that_was_cut_is_refused(tmp_path, name):
    how, path = CUT[name], tmp_path / name
    whole = (wav(path, **how) if isinstance(how, dict) else coded(path, *how)).read_bytes()
    audio_io.read(path)
    for share in (0.3, 0.6, 0.95):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(LossyBenchError, match=f"{re.escape(name)}: .*(cut short|damaged|not audio)"):
            audio_io.read(path)


@pytest.mark.parametrize("name", ["a.flac", "piped.flac", "a.ogg", "a.opus", "flac.ogg"])
def test_a_flipped_byte_is_found_where_there_are_checksums(tmp_path, name):
    path = tmp_path / name
    if name == "piped.flac":
        piped(path)
    else:
        coded(path, "-c:a", {"a.ogg": "libvorbis", "a.opus": "libopus"}.get(name, "flac"))
    whole, (right, _) = path.read_bytes(), audio_io.read(path)
    random = np.random.default_rng(1)
    for at in random.integers(9000 if name == "a.flac" else 200, len(whole), 12):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        try:
            assert np.array_equal(audio_io.read(path)[0], right)  # such as a flip in a tag
        except LossyBenchError as error:
            assert str(path) in str(error)


def test_lengths_are_named(tmp_path):
    path = wav(tmp_path / "a.wav")
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(LossyBenchError, match=r"a\.wav: cut short: 63500 of 64000 bytes of samples"):
        audio_io.read(path)
    path = wav(tmp_path / "a.flac")
    path.write_bytes(path.read_bytes()[:-9000])
    with pytest.raises(LossyBenchError, match=r"a\.flac: cut short or damaged after 0 of 32000 samples"):
        audio_io.read(path)
    path = coded(tmp_path / "a.m4a", "-movflags", "faststart")
    path.write_bytes(path.read_bytes()[:-9000])
    with pytest.raises(LossyBenchError, match=r"a\.m4a: cut short after 0\.\d+ of 2\.000 s"):
        audio_io.read(path)
    path = wav(tmp_path / "a.mp3")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(LossyBenchError, match=r"a\.mp3: cut short: \d+ of 5\d MPEG frames"):
        audio_io.read(path)


def test_sound_that_no_study_can_use_is_named(tmp_path):
    whole = wav(tmp_path / "a.wav").read_bytes()
    at, path = whole.index(b"data") + 4, tmp_path / "zero.wav"
    path.write_bytes(whole[:at] + bytes(4) + whole[at + 4 :])
    with pytest.raises(LossyBenchError, match=r"zero\.wav: its header announces no samples, but 64000 bytes follow"):
        audio_io.read(path)
    piped(tmp_path / "big.wav", "-rf64", "always")
    with pytest.raises(LossyBenchError, match=r"big\.wav: its header announces no samples, but 64000 bytes follow"):
        audio_io.read(tmp_path / "big.wav")
    path.write_bytes(whole[:at] + bytes(4) + b"LIST" + struct.pack("<I", 4) + b"INFO")
    with pytest.raises(LossyBenchError, match=r"zero\.wav: holds no samples"):
        audio_io.read(path)
    with pytest.raises(LossyBenchError, match=r"nan\.wav: .*no numbers"):
        audio_io.read(wav(tmp_path / "nan.wav", np.where(SOUND > 0.1, np.nan, SOUND), subtype="FLOAT"))
    for rate in (50, 2_000_000):
        with pytest.raises(LossyBenchError, match=rf"rate\.wav: states {rate} Hz; 100 to 1000000 Hz are read"):
            audio_io.read(wav(tmp_path / "rate.wav", rate=rate), 16000)
    with pytest.raises(LossyBenchError, match=r"one\.wav: too short: 1 sample at 44100 Hz is less than one at 16000"):
        audio_io.read(wav(tmp_path / "one.wav", SOUND[:1], 44100), 16000)
    assert len(audio_io.read(wav(tmp_path / "ten.wav", SOUND[:10], 44100), 16000)[0]) == 4


def test_the_longest_sound_is_bounded(tmp_path, monkeypatch):
    path = wav(tmp_path / "a.flac")
    monkeypatch.setattr(audio_io, "LONGEST", len(SOUND))
    audio_io.read(path)
    with pytest.raises(LossyBenchError, match=rf"a\.flac: is longer than {len(SOUND)} samples at 48000 Hz"):
        audio_io.read(path, 48000)
    monkeypatch.setattr(audio_io, "LONGEST", len(SOUND) - 1)
    for name in ("a.flac", "a.m4a"):
        with pytest.raises(LossyBenchError, match=rf"{name}: has more than {len(SOUND) - 1} samples"):
            audio_io.read(coded(tmp_path / name))


def test_a_playlist_opens_no_other_file(tmp_path):
    wav(tmp_path / "secret.wav")
    for text in ("ffconcat version 1.0\nfile secret.wav\n", "#EXTM3U\n#EXTINF:1,\nsecret.wav\n#EXT-X-ENDLIST\n"):
        path = tmp_path / "list.mp3"
        path.write_text(text)
        with pytest.raises(LossyBenchError, match=r"list\.mp3: not audio"):
            audio_io.read(path)


def test_channels_that_cancel_and_overloads_are_findings(tmp_path):
    found = kinds(audio_io.look(wav(tmp_path / "anti.wav", np.stack([SOUND, -SOUND], 1)), RATE))
    assert found["channels cancel"].severity == "warning"
    left = kinds(audio_io.look(wav(tmp_path / "left.wav", np.stack([SOUND, 0 * SOUND], 1)), RATE))
    assert set(left) == {"several channels"}
    loud = wav(tmp_path / "loud.wav", 4 * SOUND, subtype="FLOAT")
    peak, share = 20 * np.log10(4 * np.abs(SOUND).max()), 100 * np.mean(np.abs(4 * SOUND) > 1)
    over = kinds(audio_io.look(loud, RATE))["over full scale"]
    assert over.severity == "warning" and f"{peak:.1f} dB" in over.text and f"{share:.2g} %" in over.text
    assert np.array_equal(audio_io.read(loud)[0], np.clip(np.rint(4 * SOUND.astype("f4") * 32768), -32768, 32767))
    assert audio_io.look(wav(tmp_path / "full.wav", SOUND / np.abs(SOUND).max(), subtype="FLOAT"), RATE) == []
    assert "wrong extension" in kinds(audio_io.look(coded(tmp_path / "x.mp3", "-f", "ipod"), RATE))


@pytest.mark.parametrize("name", ["mp3", "opus"])
def test_codecs_take_the_shortest_clips(name):
    codec = codecs.get(name)
    for rate in (16000, 44100):
        for length in (1, 2, 10, 100, 600, 1152):
            clip = np.rint(32767 * SOUND[:length]).astype(np.int16)
            assert codec.roundtrip(clip, 64, rate).shape == (length,)


# Pictures --------------------------------------------------------------------------------------------------------

RANDOM = np.random.default_rng(0)
DEEP = RANDOM.integers(0, 65536, (6, 5, 3), dtype=np.uint16)
TWELVE = RANDOM.integers(0, 4096, (6, 5, 3), dtype=np.uint16)
ALPHA = RANDOM.integers(0, 65536, (6, 5, 1), dtype=np.uint16)
GREY = {"photometric": "minisblack"}
COLOUR = {"photometric": "rgb"}


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(pixels, *chunks):
    """The bytes of a PNG of 16 bits, of uint16 (H, W), (H, W, 3) or (H, W, 4)."""
    height, width = pixels.shape[:2]
    colour = {2: 0, 3: {2: 4, 3: 2, 4: 6}.get(pixels.shape[-1])}[pixels.ndim]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tif(pixels, **how):
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **how)
    return file.getvalue()


def ppm(pixels, white):
    height, width = pixels.shape[:2]
    return b"P%d %d %d %d\n" % (pixels.ndim + 3, width, height, white) + pixels.astype(">u2").tobytes()


def shown(values, white):
    """uint8 (H, W, 3) of grey or RGB values."""
    pixels = np.rint(values * (255 / white))
    return np.repeat(pixels[..., None], 3, axis=2) if values.ndim == 2 else pixels


def turned(pixels):
    """The pixels as each EXIF orientation shows them."""
    across = pixels.swapaxes(0, 1)
    half = np.rot90(pixels, 2)
    return {
        1: pixels, 2: pixels[:, ::-1], 3: half, 4: pixels[::-1], 5: across, 6: np.rot90(pixels, -1),
        7: np.rot90(across, 2), 8: np.rot90(pixels),
    }  # fmt: skip


def over_white(values, white, alpha):
    return values * (255 / white) * (alpha / 65535) + 255 * (1 - alpha / 65535)


GREY12, GREY16 = TWELVE[..., 0], DEEP[..., 0]
KEY = struct.pack(">HHH", *TWELVE[0, 0].tolist())
PICTURES = {
    # file, option, content, what it shows, the kind of its finding
    "rgb16.png": (None, png(DEEP), shown(DEEP, 65535), "16-bit image"),
    "grey16.tif": (None, tif(GREY16, **GREY), shown(GREY16, 65535), "16-bit image"),
    "rgb12.png": (None, png(TWELVE), shown(TWELVE, 4095), "12 bits in 16"),
    "grey12.png": (None, png(GREY12), shown(GREY12, 4095), "12 bits in 16"),
    "rgb12.tif": (None, tif(TWELVE, **COLOUR), shown(TWELVE, 4095), "12 bits in 16"),
    "zipped12.tif": (None, tif(TWELVE, compression="zlib", **COLOUR), shown(TWELVE, 4095), "12 bits in 16"),
    "big-endian12.tif": (None, tif(TWELVE, byteorder=">", **COLOUR), shown(TWELVE, 4095), "12 bits in 16"),
    "rgb12.ppm": (None, ppm(TWELVE, 65535), shown(TWELVE, 4095), "12 bits in 16"),
    "grey12.pgm": (None, ppm(GREY12, 65535), shown(GREY12, 4095), "12 bits in 16"),
    "stated.png": (16, png(TWELVE), shown(TWELVE, 65535), "16-bit image"),
    "stated14.tif": (14, tif(GREY12, **GREY), shown(GREY12, 16383), "16-bit image"),
    "stated12.ppm": (None, ppm(TWELVE, 4095), shown(TWELVE, 4095), "16-bit image"),
    "stated12.pgm": (None, ppm(GREY12, 4095), shown(GREY12, 4095), "16-bit image"),
    "thousand.ppm": (None, ppm(TWELVE % 1001, 1000), shown(TWELVE % 1001, 1000), "16-bit image"),
    "ten.png": (None, png(GREY12 >> 2, chunk(b"sBIT", b"\x0a")), shown(GREY12 >> 2, 1023), "16-bit image"),
    "full.png": (None, png(DEEP, chunk(b"sBIT", b"\x0c\x0c\x0c")), shown(DEEP, 65535), "16-bit image"),
    "ten.tif": (
        None,
        tif(TWELVE >> 2, extratags=[(281, "H", 3, (1023,) * 3, True)], **COLOUR),
        shown(TWELVE >> 2, 1023),
        "16-bit image",
    ),
    "white-is-0.tif": (None, tif(GREY16, photometric="miniswhite"), 255 - shown(GREY16, 65535), "16-bit image"),
    "alpha.png": (None, png(np.dstack([TWELVE, ALPHA])), over_white(TWELVE, 4095, ALPHA), "transparent image"),
    "alpha.tif": (
        None,
        tif(np.dstack([TWELVE, ALPHA]), extrasamples=["unassalpha"], **COLOUR),
        over_white(TWELVE, 4095, ALPHA),
        "transparent image",
    ),
    "multiplied.tif": (
        None,
        tif(np.dstack([np.rint(DEEP * (ALPHA / 65535)).astype("u2"), ALPHA]), extrasamples=["assocalpha"], **COLOUR),
        over_white(DEEP, 65535, ALPHA),
        "transparent image",
    ),
    "key.png": (
        None,
        png(TWELVE, chunk(b"tRNS", KEY)),
        np.where((TWELVE[0, 0] == TWELVE).all(2)[..., None], 255, shown(TWELVE, 4095)),
        "transparent image",
    ),
    "grey-key.png": (
        None,
        png(GREY12, chunk(b"tRNS", KEY[:2])),
        np.where((GREY12[0, 0] == GREY12)[..., None], 255, shown(GREY12, 4095)),
        "transparent image",
    ),
}


@pytest.mark.filterwarnings("ignore:pictures of 16 bits")
@pytest.mark.parametrize("name", PICTURES)
def test_pictures_of_more_than_8_bits_keep_their_brightness(tmp_path, name):
    bit_depth, content, expected, kind = PICTURES[name]
    path = tmp_path / name
    path.write_bytes(content)
    found = _images.read(path, bit_depth)
    assert found.shape == expected.shape and found.dtype == np.uint8
    assert np.abs(found - expected).max() <= 0.51
    assert kind in kinds(_images.look(path, bit_depth))


@pytest.mark.filterwarnings("ignore:pictures of 16 bits")
def test_deep_and_grey_pictures_are_turned(tmp_path):
    grey8 = (GREY16 >> 8).astype(np.uint8)
    for pixels, white in ((DEEP, 65535), (TWELVE, 4095), (GREY12, 4095), (grey8, 255)):
        for orientation, expected in turned(pixels).items():
            tag = [(274, "H", 1, orientation, True)]
            exif = Image.Exif()
            exif[274] = orientation
            files = {"a.tif": tif(pixels, extratags=tag, **(COLOUR if pixels.ndim == 3 else GREY))}
            if white > 255:
                files["a.png"] = png(pixels, chunk(b"eXIf", exif.tobytes()[6:]))
            for name, content in files.items():
                path = tmp_path / name
                path.write_bytes(content)
                assert np.array_equal(_images.read(path), shown(expected, white)), (name, orientation, white)


def test_a_guessed_depth_is_said(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png(TWELVE))
    with pytest.warns(UserWarning, match="taken as of 12 bits.*bit_depth"):
        _images.read(path)
    found = kinds(_images.look(path))["12 bits in 16"]
    assert found.severity == "warning" and f"above {TWELVE.max()}" in found.text and "bit_depth: 12" in found.text
    path.write_bytes(png(DEEP))
    with pytest.raises(LossyBenchError, match=r"a\.png: .*outside 0 to 4095, the range of bit_depth"):
        _images.read(path, 12)
    path.write_bytes(tif(np.moveaxis(DEEP, 2, 0).copy(), photometric="rgb", planarconfig="separate"))
    with pytest.raises(LossyBenchError, match=r"a\.png: .*PlanarConfiguration 1"):
        _images.read(path)


def test_depth_is_an_option_and_mixed_depths_are_found(tmp_path):
    for title in ("cat", "dog"):
        (tmp_path / "in" / title).mkdir(parents=True)
        for number in range(8):
            pixels = RANDOM.integers(0, 4096, (32, 32, 3), dtype=np.uint16) * (16 if number == 7 else 1)
            (tmp_path / "in" / title / f"{number}.png").write_bytes(png(pixels))
    options = {"path": str(tmp_path / "in")}
    with pytest.warns(UserWarning, match="taken as of 12 bits"):
        report = check.examine("image_folder", options, {})
    found = kinds(report.findings)
    assert found["mixed bit depths"].severity == "warning"
    assert {"12 bits in 16", "16-bit image"} < set(found) and not report.impossible
    stated = check.examine("image_folder", options | {"bit_depth": 16}, {})
    assert {finding.kind for finding in stated.findings} == {"16-bit image", "rare class"}
    with pytest.raises(LossyBenchError, match="range of bit_depth"):
        fetch("image_folder", "task", tmp_path / "out.parquet", options | {"bit_depth": 12})
    with pytest.raises(LossyBenchError, match="bit_depth"):
        check.examine("image_folder", options | {"bit_depth": 20})
    coco = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 32, "height": 32} for n in range(8)],
        "annotations": [{"id": n, "image_id": n, "category_id": 1, "bbox": [1, 1, 9, 9]} for n in range(8)],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(coco))
    options = {"annotations": tmp_path / "a.json", "images": tmp_path / "in" / "cat", "bit_depth": 12}
    with pytest.raises(LossyBenchError, match=r"7\.png: .*range of bit_depth"):
        fetch("coco", "task", tmp_path / "out.parquet", options)


def test_pictures_of_hundreds_of_megapixels_are_bounded_by_their_header(tmp_path):
    path = tmp_path / "big.png"
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20000, 9500, 8, 2, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    found = kinds(_images.look(path))["very large picture"]  # no error, and no pixel is decoded
    assert found.severity == "warning" and "20000 x 9500" in found.text and "0.6 GB" in found.text
    for side in (24000, 40000):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
        with pytest.raises(LossyBenchError, match=rf"big\.png: has ({side} x {side}|{side**2}) pixels.*268435456"):
            _images.read(path)


def test_pictures_of_other_content_are_refused(tmp_path):
    path = tmp_path / "a.png"
    for content in (b"", b"<html>404</html>", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"):
        path.write_bytes(content)
        with pytest.raises(LossyBenchError, match=r"a\.png: not an image that can be read: its content is none of PNG"):
            _images.read(path)


def test_colour_profiles_are_findings_where_they_change_colours(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # The same with the colourants of red and green exchanged: nothing is as far from sRGB.
    swapped = srgb.replace(b"rXYZ", b"xXYZ").replace(b"gXYZ", b"rXYZ").replace(b"xXYZ", b"gXYZ")
    image = Image.fromarray(RANDOM.integers(0, 256, (9, 9, 3), dtype=np.uint8))
    seen = {}
    for name, profile in (("none", None), ("srgb", srgb), ("swapped", swapped), ("broken", b"no profile")):
        path = tmp_path / f"{name}.png"
        image.save(path, icc_profile=profile)
        seen[name] = kinds(_images.look(path)).get("colour profile")
        assert np.array_equal(_images.read(path), np.asarray(image))  # as PyTorch's loaders see it
    assert seen["none"] is None and seen["srgb"] is None
    assert "255 levels" in seen["swapped"].text and "cannot be read" in seen["broken"].text


def test_pictures_that_only_pillow_knows_are_as_it_decodes_them(tmp_path):
    photo = cv2.resize(RANDOM.integers(0, 256, (5, 6, 3), dtype=np.uint8), (40, 30))
    for name in ("a.avif", "a.webp", "a.gif", "a.jfif", "a.bmp", "a.jp2", "a.tif", "a.ppm"):
        path = tmp_path / name
        Image.fromarray(photo).save(path)
        assert np.array_equal(_images.read(path), np.asarray(Image.open(path).convert("RGB"))), name
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) * 2 // 3])
        with pytest.raises(LossyBenchError, match=f"{name}: not a whole image"):
            _images.read(path)
