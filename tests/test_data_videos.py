"""Video as it is read, against the ffmpeg program: what healthy files of unusual kinds show, and which are refused."""

import random
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from lossybench.data import _videos
from lossybench.errors import LossyBenchError
from lossybench.tools import check

FFMPEG = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-y"]
COUNT, HEIGHT, WIDTH = 12, 48, 64
H264 = ("-c:v", "libx264", "-qp", "4", "-g", "4", "-pix_fmt", "yuv420p")


def ffmpeg(*arguments, content=None):
    return subprocess.run([*FFMPEG, *map(str, arguments)], input=content, capture_output=True, check=True).stdout


def scene(count=COUNT, height=HEIGHT, width=WIDTH):
    """Frames whose four corners differ, with noise and a box that moves: RGB."""
    noise = np.random.default_rng(0).integers(-9, 10, (count, height, width, 3))
    frames = np.zeros((count, height, width, 3), np.int64)
    frames[:, : height // 2, : width // 2] = 220, 30, 30
    frames[:, : height // 2, width // 2 :] = 30, 200, 30
    frames[:, height // 2 :, : width // 2] = 30, 30, 210
    frames[:, height // 2 :, width // 2 :] = 230, 230, 60
    for index, frame in enumerate(frames):
        frame[8:16, 3 * index : 3 * index + 6] = 255
    return np.clip(frames + noise, 0, 255).astype(np.uint8)


def encode(path, *arguments, frames=None, pixels="rgb24", rate=25):
    frames = scene() if frames is None else frames
    size = f"{frames.shape[2]}x{frames.shape[1]}"
    ffmpeg(
        "-f",
        "rawvideo",
        "-pix_fmt",
        pixels,
        "-s",
        size,
        "-r",
        rate,
        "-i",
        "-",
        *arguments,
        path,
        content=frames.tobytes(),
    )
    return path


def shown(path, *decoder, pixels="rgb24"):
    """The bytes of the frames that the ffmpeg program shows of the file's video, cover pictures left aside."""
    return ffmpeg(
        *decoder, "-i", path, "-map", "0:V:0", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", pixels, "-"
    )


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return encode(tmp_path_factory.mktemp("plain") / "plain.mp4", *H264)


# Pixels ----------------------------------------------------------------------------------------------------------

FORMATS = {
    "bt709.mp4": ("-vf", "scale=out_color_matrix=bt709:out_range=pc", "-colorspace", "bt709", "-color_range", "pc",
                  *H264),
    "ten.mkv": ("-c:v", "libx265", "-x265-params", "log-level=none:qp=4", "-pix_fmt", "yuv420p10le"),
    "grey.mp4": (*H264[:-1], "gray"),
    "full.avi": ("-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj420p"),
    "b_frames.avi": ("-c:v", "mpeg4", "-q:v", "2", "-bf", "2"),
    "vp9.webm": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-crf", "10", "-b:v", "0", "-pix_fmt", "yuv420p"),
    "fields.mpg": ("-c:v", "mpeg2video", "-q:v", "2", "-flags", "+ilme+ildct", "-vf", "setfield=tff"),
    "fragments.mp4": (*H264, "-movflags", "frag_keyframe+empty_moov"),
    "live.mkv": (*H264, "-live", "1"),
    "program.ts": H264,
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_pixels_and_rate_are_those_of_the_ffmpeg_program(tmp_path, name):
    path = encode(tmp_path / name, *FORMATS[name])
    frames, rate = _videos.read(path, whole=True)
    expected = np.frombuffer(shown(path), np.uint8).reshape(COUNT, HEIGHT, WIDTH, 3)
    assert rate == 25
    assert np.abs(frames.astype(int) - expected).max() <= 2
    grey = np.array([0.299, 0.587, 0.114])
    assert np.abs(frames @ grey - scene() @ grey).mean() < 10  # the program shows the scene, not something else


def test_odd_sizes_single_frames_and_many_frames(tmp_path):
    odd = encode(tmp_path / "odd.mp4", *H264[:-1], "yuv444p", frames=scene(3, 49, 65))
    frames, _ = _videos.read(odd, whole=True)
    assert np.abs(frames.astype(int) - np.frombuffer(shown(odd), np.uint8).reshape(frames.shape)).max() <= 2
    for name in ("one.mp4", "one.mkv"):
        frames, rate = _videos.read(encode(tmp_path / name, *H264, frames=scene(1)), whole=True)
        assert (frames.shape, rate) == ((1, HEIGHT, WIDTH, 3), 25)
    many = scene(2000, 16, 16)
    path = encode(tmp_path / "many.mkv", "-c:v", "ffv1", "-pix_fmt", "gbrp", frames=many, rate="30000/1001")
    frames, rate = _videos.read(path, whole=True)
    assert np.array_equal(frames, many)
    assert rate == pytest.approx(30000 / 1001, rel=1e-9)


TURNS = {
    "90": ("-display_rotation", "90"),
    "180": ("-display_rotation", "180"),
    "270": ("-display_rotation", "270"),
    "mirrored": ("-display_rotation", "0", "-display_hflip"),
    "upside down": ("-display_rotation", "0", "-display_vflip"),
    "transposed": ("-display_rotation", "90", "-display_hflip"),
    "transposed the other way": ("-display_rotation", "270", "-display_hflip"),
}


@pytest.mark.parametrize("turn", TURNS)
def test_frames_are_turned_and_flipped_as_the_file_says(tmp_path, plain, turn):
    path = tmp_path / "turned.mp4"
    ffmpeg(*TURNS[turn], "-i", plain, "-c", "copy", path)
    frames, _ = _videos.read(path, whole=True)
    assert frames.shape[1:3] == ((WIDTH, HEIGHT) if "9" in turn or "7" in turn or "trans" in turn else (HEIGHT, WIDTH))
    assert np.abs(frames.astype(int) - np.frombuffer(shown(path), np.uint8).reshape(frames.shape)).max() <= 2
    untouched, _ = _videos.read(plain)
    assert frames.shape != untouched.shape or np.abs(frames.astype(int) - untouched).mean() > 20


def test_motion_jpeg_with_exif_is_turned_and_other_angles_are_refused(tmp_path, plain):
    for number in range(3):
        exif = Image.Exif()
        exif[0x112] = 6
        Image.fromarray(scene(1)[0]).save(tmp_path / f"{number}.jpg", exif=exif, quality=98)
    ffmpeg("-framerate", 10, "-i", tmp_path / "%d.jpg", "-c", "copy", tmp_path / "camera.avi")
    frames, rate = _videos.read(tmp_path / "camera.avi", whole=True)
    assert rate == 10
    upright = np.rot90(scene(1)[0], -1).astype(int)  # EXIF 6: to be turned by 90 degrees clockwise
    assert np.abs(frames[0] - upright).mean() < 20
    ffmpeg("-display_rotation", 30, "-i", plain, "-c", "copy", tmp_path / "askew.mp4")
    with pytest.raises(LossyBenchError, match=r"askew\.mp4: .*other than quarters"):
        _videos.read(tmp_path / "askew.mp4")


@pytest.mark.parametrize(("name", "decoder", "coding"), [
    ("alpha.mov", None, ("-c:v", "qtrle", "-pix_fmt", "argb")),
    ("alpha9.webm", "libvpx-vp9", ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-pix_fmt", "yuva420p")),
    ("alpha8.webm", "libvpx", ("-c:v", "libvpx", "-auto-alt-ref", "0", "-pix_fmt", "yuva420p")),
])  # fmt: skip
def test_transparency_is_laid_over_white(tmp_path, name, decoder, coding):
    ramp = np.broadcast_to(np.linspace(0, 255, WIDTH).astype(np.uint8)[:, None], (COUNT, HEIGHT, WIDTH, 1))
    path = encode(tmp_path / name, *coding, frames=np.concatenate([scene(), ramp], axis=3), pixels="rgba")
    frames, rate = _videos.read(path, whole=True)
    rgba = np.frombuffer(shown(path, *(("-c:v", decoder) if decoder else ()), pixels="rgba"), np.uint8)
    rgba = rgba.reshape(COUNT, HEIGHT, WIDTH, 4).astype(float)
    assert rgba[..., 3].min() < 20
    assert rgba[..., 3].max() > 235
    share = rgba[..., 3:] / 255
    assert np.abs(frames - (rgba[..., :3] * share + 255 * (1 - share))).max() <= 2
    assert rate == 25


def test_the_video_is_read_wherever_it_lies_among_sound_and_covers(tmp_path, plain):
    ffmpeg("-f", "lavfi", "-i", "color=red:s=40x40", "-frames:v", 1, tmp_path / "cover.png")
    cover, copied = ("-i", tmp_path / "cover.png"), ("-c", "copy")
    ffmpeg(*cover, "-i", plain, "-map", 0, "-map", 1, *copied, "-disposition:v:0", "attached_pic", tmp_path / "a.mp4")
    ffmpeg("-i", plain, *cover, "-map", 0, "-map", 1, *copied, "-disposition:v:1", "attached_pic", tmp_path / "b.mp4")
    sound = ("-f", "lavfi", "-i", "sine=d=2")
    ffmpeg(*sound, "-i", plain, "-map", 0, "-map", 1, "-c:v", "copy", tmp_path / "c.mkv")  # longer than the video
    expected, _ = _videos.read(plain)
    for name in ("a.mp4", "b.mp4", "c.mkv"):
        frames, rate = _videos.read(tmp_path / name, whole=True)
        assert np.array_equal(frames, expected)
        assert rate == 25
    ffmpeg(*sound, *cover, "-map", 0, "-map", 1, "-c:v", "copy", "-disposition:v:0", "attached_pic", tmp_path / "d.mp4")
    with pytest.raises(LossyBenchError, match=r"d\.mp4: holds no video"):
        _videos.read(tmp_path / "d.mp4")


# Frame rates -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("times", "tick", "declared", "rate"), [
    ([0, 40, 80, 120], 1 / 1000, 25, 25),
    ([0, 33, 67, 100, 133], 1 / 1000, 30000 / 1001, 30000 / 1001),  # rounded to milliseconds
    ([0, 67, 133, 200], 1 / 1000, 30, 4 / 0.266),  # 66 ms is the shortest
    ([0, 1, 3, 4], 1 / 25, 25, 20),  # AVI that leaves out a frame: 4 frames in 5 ticks
    ([0, 100, 200, 1200], 1 / 1000, 25, 4 / 1.3),
    ([0, 100, 200, 1200], 1 / 1000, 0, 4 / 1.3),
    ([7], 1 / 1000, 24, 24),
    ([7], 1 / 1000, 0, 0),
    ([0, None, 80], 1 / 1000, 24, 24),
    ([0, 80, 40], 1 / 1000, 24, 24),
])  # fmt: skip
def test_the_rate_is_frames_over_their_span_where_the_file_says_otherwise(times, tick, declared, rate):
    assert _videos.frame_rate(times, Fraction(tick).limit_denominator(1000), declared) == pytest.approx(rate)


def test_variable_rates_edit_lists_and_left_out_frames(tmp_path, plain):
    late = ("-vf", "setpts='if(gt(N,5),PTS+(N-5)*0.2/TB,PTS)'", "-fps_mode", "vfr")
    ffmpeg("-i", plain, *late, "-c:v", "libvpx", "-deadline", "realtime", "-b:v", "1M", tmp_path / "varies.webm")
    left_out = ("-vf", "select='not(eq(mod(n,4),2))'", "-fps_mode", "vfr")
    ffmpeg("-i", plain, *left_out, "-c:v", "mjpeg", tmp_path / "left_out.avi")  # announces 12 frames, holds 9
    ffmpeg("-ss", "0.12", "-i", plain, "-c", "copy", tmp_path / "trimmed.mp4")  # packets before are to be discarded
    for name, count, span in (
        ("varies.webm", 12, 12 * 0.04 + 6 * 0.2),
        ("left_out.avi", 9, 0.48),
        ("trimmed.mp4", 9, 0.36),
    ):
        frames, rate = _videos.read(tmp_path / name, whole=True)
        expected = np.frombuffer(shown(tmp_path / name), np.uint8).reshape(-1, HEIGHT, WIDTH, 3)
        assert len(frames) == len(expected) == count
        assert np.abs(frames.astype(int) - expected).max() <= 2
        assert rate == pytest.approx(count / span, rel=1e-3)
        assert [finding.kind for finding in _videos.look(tmp_path / name)] == ["variable frame rate"] * (name[0] != "t")
    assert _videos.read(tmp_path / "varies.webm", stop=6)[1] == 25  # of the frames that are kept


# What is refused -------------------------------------------------------------------------------------------------

CUT = {
    "matroska.mkv": (H264, "cut short: holds"),
    "web.webm": (("-c:v", "libvpx", "-deadline", "realtime", "-b:v", "1M"), "cut short: holds"),
    "fast.mp4": ((*H264, "-movflags", "faststart"), "cut short: holds"),
    "end.mp4": (H264, "not a video"),
    "old.avi": (("-c:v", "mpeg4", "-q:v", "2"), "cut short: holds"),
    "program.mpg": (("-c:v", "mpeg2video", "-q:v", "2"), "frame \\d+ is damaged"),
    "transport.ts": (H264, "cut short: ends within a packet"),
    "windows.wmv": (("-c:v", "wmv2", "-q:v", "2"), "frame \\d+ is damaged"),
}


@pytest.mark.parametrize("name", CUT)
def test_files_that_are_cut_short_are_refused(tmp_path, name):
    coding, reason = CUT[name]
    path = encode(tmp_path / name, *coding, frames=scene(25))
    assert len(_videos.read(path, whole=True)[0]) == 25
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    with pytest.raises(LossyBenchError, match=f"{name}: {reason}"):
        _videos.read(path, whole=True)


def test_a_shorter_clip_than_its_header_announces_is_refused(tmp_path):
    path = encode(tmp_path / "frames.avi", "-c:v", "mjpeg")
    content = bytearray(path.read_bytes())
    at = content.index(b"strh") + 8 + 32  # dwLength
    assert int.from_bytes(content[at : at + 4], "little") == COUNT
    content[at : at + 4] = (1000).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(LossyBenchError, match=r"frames\.avi: cut short: ends after 0\.48 of 40\.00 s"):
        _videos.read(path, whole=True)
    path = encode(tmp_path / "zeros.mkv", *H264, frames=scene(25))  # a download whose end never came
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
    with pytest.raises(LossyBenchError, match=r"zeros\.mkv: (cut short: ends after|frame \d+ is damaged|not a video)"):
        _videos.read(path, whole=True)


def test_what_is_too_large_is_refused_by_its_header(tmp_path, plain, monkeypatch):
    monkeypatch.setattr(_videos, "LARGEST", 5 * HEIGHT * WIDTH * 3 + 1)
    live = encode(tmp_path / "live.mkv", *H264, "-live", "1")  # does not say how long it is
    for path in (plain, live):
        with pytest.raises(LossyBenchError, match="set max_frames to 5 or fewer"):
            _videos.read(path)
        assert len(_videos.read(path, stop=5, whole=True)[0]) == 5
    monkeypatch.setattr(_videos, "_Reader", None)  # nothing is decoded
    with pytest.raises(LossyBenchError, match="12 or more of 64 x 48 pixels"):
        _videos.read(plain)


def test_files_that_name_other_files_are_no_videos(tmp_path, plain):
    ffmpeg("-i", plain, "-c", "copy", tmp_path / "secret.ts")
    listed = {
        "concat": "ffconcat version 1.0\nfile 'secret.ts'\n",
        "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\nsecret.ts\n#EXT-X-ENDLIST\n",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5555 RTP/AVP 96\n",
    }
    for name, text in listed.items():
        (tmp_path / f"{name}.mp4").write_text(text)
        with pytest.raises(LossyBenchError, match=rf"{name}\.mp4: not a video"):
            _videos.read(tmp_path / f"{name}.mp4")
    # The list would be read without the reader's own: it is what keeps it out.
    with av.open(str(tmp_path / "concat.mp4")) as container:
        assert container.format.name == "concat"


def test_names_are_never_addresses(tmp_path, plain, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("concat:a|b.mp4", "http:x.mp4", "%03d.mp4", "a\nb.mp4"):
        (tmp_path / name).write_bytes(plain.read_bytes())
        assert len(_videos.read(Path(name))[0]) == COUNT


def test_damaged_files_are_read_or_refused_by_name(tmp_path):
    random_ = random.Random(0)
    codings = {"a.mkv": H264, "b.webm": FORMATS["vp9.webm"], "c.avi": FORMATS["b_frames.avi"], "d.ts": H264}
    whole = [encode(tmp_path / name, *coding) for name, coding in codings.items()]
    refused = 0
    for number in range(80):
        path = whole[number % len(whole)]
        content = bytearray(path.read_bytes())
        first = random_.randrange(len(content) if number % 3 else 600)
        content[first : first + random_.choice((1, 4, 100))] = random_.choice((b"\xff" * 4, b"", bytes(4), b"\x7f"))
        bad = tmp_path / f"bad{path.suffix}"
        bad.write_bytes(content)
        try:
            frames, rate = _videos.read(bad, whole=True)
            _videos.look(bad)
        except LossyBenchError as error:
            assert str(error).startswith(f"{bad}: ")
            refused += 1
        else:
            assert frames.dtype == np.uint8
            assert _videos.RATES[0] <= rate <= _videos.RATES[1]
    assert 20 < refused < 80


# What check says of it -------------------------------------------------------------------------------------------


def test_check_names_what_is_odd_about_video(tmp_path):
    root = tmp_path / "clips"
    for title in "ab":
        (root / title).mkdir(parents=True)
        for number in range(4):
            encode(root / title / f"{number}.mp4", *H264)
    odd = {
        "wide.mp4": ((*H264, "-vf", "setsar=2"), "non-square pixels"),
        "fields.mpg": (FORMATS["fields.mpg"], "interlaced video"),
        "hdr.mp4": ((*H264, "-x264-params", "transfer=smpte2084"), "HDR video"),
        "ten.mkv": (FORMATS["ten.mkv"], "video of more than 8 bits"),
        "alpha.mov": (("-vf", "format=argb", "-c:v", "qtrle"), "transparent video"),
    }
    for name, (coding, _) in odd.items():
        encode(root / "a" / name, *coding)
    cut = encode(root / "b" / "cut.mkv", *H264)
    cut.write_bytes(cut.read_bytes()[:-500])
    report = check.examine("video_folder", {"path": root}, {})
    found = {(finding.item, finding.kind): finding for finding in report.findings}
    for name, (_, kind) in odd.items():
        assert (str(root / "a" / name), kind) in found
    assert found[str(cut), "truncated file"].severity == "error"
    assert set(report.rates) == {25}
