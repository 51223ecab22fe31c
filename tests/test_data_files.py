"""Users' own files: layouts, splits, damaged files, COCO; all on trees made here."""

import collections
import json
import re
import subprocess

import av
import cv2
import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
from PIL import Image

from lossybench import artifacts, codecs, data
from lossybench.data import _images, _splits, audio_io
from lossybench.errors import LossyBenchError
from lossybench.stages.fetch import fetch

RANDOM = np.random.default_rng(0)


def picture(height=20, width=24):
    return RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_image(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels[..., ::-1])


def write_wav(path, samples, rate=16000, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **how)


@pytest.fixture
def pictures(tmp_path):
    """Two classes of 20 pictures each, two of every track."""
    root = tmp_path / "pictures"
    for title in ("cat", "dog"):
        for number in range(20):
            write_image(root / title / f"t{number // 2:02d}_{number}.png", picture())
    return root


def rows_of(path, columns=None):
    return list(artifacts.iter_rows(path, columns))


def build(name, options, out, seed=0):
    fetch(name, "task", out, options, seed=seed)
    return rows_of(out)


# Splits ----------------------------------------------------------------------------------------------------------


def test_splits_are_stratified_seeded_and_in_proportion():
    labels = [0] * 100 + [1] * 50 + [2] * 10
    groups = [str(index) for index in range(160)]
    shares = {"train": 0.7, "val": 0.1, "test": 0.2}
    found = _splits.assign(labels, groups, shares, 0)
    for label, size in ((0, 100), (1, 50), (2, 10)):
        counts = collections.Counter(split for split, of in zip(found, labels, strict=True) if of == label)
        assert counts == {split: round(share * size) for split, share in shares.items()}
    assert found == _splits.assign(labels, groups, shares, 0)
    assert found != _splits.assign(labels, groups, shares, 1)


def test_splits_keep_groups_whole_even_across_classes():
    labels = [index % 2 for index in range(120)]
    groups = [f"speaker{index // 8}" for index in range(120)]
    found = _splits.assign(labels, groups, {"train": 0.7, "val": 0.1, "test": 0.2}, 0)
    of_group = collections.defaultdict(set)
    for group, split in zip(groups, found, strict=True):
        of_group[group].add(split)
    assert all(len(splits) == 1 for splits in of_group.values())
    counts = collections.Counter(found)
    assert set(counts) == {"train", "val", "test"}
    assert abs(counts["train"] - 84) <= 8


# Folders ---------------------------------------------------------------------------------------------------------


def test_image_folder_keeps_pixels_and_tracks(pictures, tmp_path):
    rows = build("image_folder", {"path": pictures, "group": r"(\w+/t\d+)_"}, tmp_path / "out.parquet")
    assert len(rows) == 40
    splits = collections.defaultdict(set)
    for row in rows:
        splits[row["group"]].add(row["split"])
        pixels = codecs.get("original").decode(row["media"], tuple(row["shape"]))
        assert np.array_equal(pixels[..., ::-1], cv2.imread(str(pictures / row["id"])))
        assert row["label"] == ["cat", "dog"].index(row["id"].split("/")[0])
    assert len(splits) == 20
    assert all(len(of) == 1 for of in splits.values())
    counts = data.describe("image_folder", {"path": pictures, "group": r"(\w+/t\d+)_"}).counts
    assert counts == collections.Counter(row["split"] for row in rows)


def test_given_splits_are_kept_and_val_is_cut_from_train(tmp_path):
    for split, number in (("train", 16), ("test", 4)):
        for title in ("a", "b"):
            for index in range(number):
                write_image(tmp_path / "in" / split / title / f"{index}.png", picture())
    rows = build("image_folder", {"path": tmp_path / "in"}, tmp_path / "out.parquet")
    assert collections.Counter(row["split"] for row in rows) == {"train": 28, "val": 4, "test": 8}
    for row in rows:
        assert (row["split"] == "test") == row["id"].startswith("test/")


def test_folder_layouts_that_cannot_work_are_named(pictures, tmp_path):
    def refuse(match, path=pictures, **options):
        with pytest.raises(LossyBenchError, match=match):
            data.describe("image_folder", {"path": path, **options})

    refuse("does not exist", tmp_path / "nowhere")
    (pictures / "eel").mkdir()
    (pictures / "eel" / "notes.txt").write_text("none yet")
    refuse("holds no image file of class 'eel'")
    write_image(pictures / "eel" / "only.png", picture())
    refuse("class 'eel' has too few files or groups")
    refuse("'group'.*does not match", group="speaker")
    refuse("'group': .*valid regular expression .*'[(]'", group="(")
    refuse("together 1", fractions={"train": 0.5, "val": 0.1, "test": 0.1})
    one = tmp_path / "one"
    write_image(one / "cat" / "1.png", picture())
    refuse("1 class folders", one)
    write_image(tmp_path / "half" / "train" / "cat" / "1.png", picture())
    refuse("no folder 'test'", tmp_path / "half")


@pytest.mark.parametrize("damage", ["truncated.png", "truncated.jpg", "text.png", "empty.png"])
def test_damaged_images_stop_or_are_counted(pictures, tmp_path, damage, caplog):
    bad = pictures / "dog" / damage
    if damage.startswith("truncated"):
        write_image(bad, picture(64, 64))
        bad.write_bytes(bad.read_bytes()[:-700])
    else:
        bad.write_text("no picture" if damage.startswith("text") else "")
    out = tmp_path / "out.parquet"
    with pytest.raises(LossyBenchError, match=f"{damage}.*on_error: skip"):
        build("image_folder", {"path": pictures}, out)
    assert not out.exists()
    rows = build("image_folder", {"path": pictures, "on_error": "skip"}, out)
    assert len(rows) == 40
    told = artifacts.read_meta(out)["card"]["left_out"]
    assert re.match(rf"\w+ file \(1\): .*{damage}: ", told)
    assert told in caplog.text
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_pictures_of_other_kinds_become_rgb8(tmp_path):
    colour = picture(6, 5)
    grey16 = RANDOM.integers(0, 65536, (6, 5), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "grey16.png"), grey16)
    assert np.array_equal(_images.read(tmp_path / "grey16.png")[..., 1], np.rint(grey16 / 257))
    cv2.imwrite(str(tmp_path / "grey.png"), colour[..., 0])
    assert np.array_equal(_images.read(tmp_path / "grey.png"), np.repeat(colour[..., :1], 3, axis=2))
    alpha = np.dstack([colour, np.full((6, 5), 255, np.uint8)])
    alpha[0, 0, 3] = 0
    Image.fromarray(alpha).save(tmp_path / "alpha.png")
    shown = _images.read(tmp_path / "alpha.png")
    assert shown[0, 0].tolist() == [255, 255, 255]
    assert np.array_equal(shown[1:], colour[1:])
    exif = Image.Exif()
    exif[0x0112] = 6  # turn 90 degrees clockwise to show
    Image.fromarray(colour).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(_images.read(tmp_path / "turned.png"), np.rot90(colour, -1))
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(LossyBenchError, match=r"float.tif.*floating-point"):
        _images.read(tmp_path / "float.tif")


def test_a_group_across_given_splits_is_warned_of(tmp_path):
    for split in ("train", "val", "test"):
        for title in ("a", "b"):
            write_image(tmp_path / split / title / "tom_1.png", picture())
    with pytest.warns(UserWarning, match="group 'tom' is in test and train and val"):
        data.describe("image_folder", {"path": tmp_path, "group": "([a-z]+)_"})


# Audio -----------------------------------------------------------------------------------------------------------


def tone(rate=16000, seconds=0.5, hertz=440.0):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)


def test_audio_is_read_to_mono_at_the_rate(tmp_path):
    samples = np.rint(tone() * 32767).astype(np.int16)
    write_wav(tmp_path / "same.wav", samples)
    read, rate = audio_io.read(tmp_path / "same.wav")
    assert rate == 16000
    assert np.array_equal(read, samples)

    stereo = np.stack([tone(44100), np.zeros(22050)], axis=1)
    for subtype in ("PCM_16", "PCM_24", "FLOAT"):
        write_wav(tmp_path / f"{subtype}.wav", stereo, 44100, subtype=subtype)
        read, rate = audio_io.read(tmp_path / f"{subtype}.wav", 16000)
        assert (rate, len(read)) == (16000, 8000)
        middle = slice(500, -500)  # away from the edges, where filters ring
        assert np.abs(read[middle] / 32768 - tone()[middle] / 2).max() < 1e-3


def test_compressed_audio_is_read_by_the_carried_ffmpeg(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")  # no ffmpeg, no ffprobe but the carried one
    write_wav(tmp_path / "a.flac", tone())
    subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", tmp_path / "a.flac", tmp_path / "a.mp3"],
        check=True,
    )
    flac, _ = audio_io.read(tmp_path / "a.flac")
    assert np.abs(flac / 32768 - tone()).max() < 1e-3
    mp3, rate = audio_io.read(tmp_path / "a.mp3")
    assert rate == 16000
    spectrum = np.abs(np.fft.rfft(mp3[1000:-1000].astype(float)))
    assert abs(np.argmax(spectrum) * rate / (len(mp3) - 2000) - 440) < 5


def test_audio_folder_names_what_it_cannot_read(tmp_path):
    root = tmp_path / "in"
    for title in ("yes", "no"):
        for number in range(6):
            write_wav(root / title / f"{number}.wav", tone(hertz=300 + 20 * number))
    out = tmp_path / "out.parquet"
    assert {row["sampling_rate"] for row in build("audio_folder", {"path": root, "sample_rate": 8000}, out)} == {8000}
    bad = root / "no" / "bad.wav"
    whole = (root / "no" / "0.wav").read_bytes()
    for content, reason in ((whole[:-500], "cut short"), (whole[:40], "damaged"), (b"hello", "not audio")):
        bad.write_bytes(content)
        with pytest.raises(LossyBenchError, match=rf"bad\.wav.*{reason}"):
            build("audio_folder", {"path": root}, out)
    assert len(build("audio_folder", {"path": root, "on_error": "skip"}, out)) == 12
    assert "unreadable file (1): " in artifacts.read_meta(out)["card"]["left_out"]


# Video -----------------------------------------------------------------------------------------------------------


def write_video(path, frames, codec="ffv1", rate=10):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "bgr0" if codec == "ffv1" else "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def test_video_folder_keeps_frames_and_rate(tmp_path):
    root = tmp_path / "in"
    clips = {}
    for title in ("run", "walk"):
        for number in range(4):
            frames = RANDOM.integers(0, 256, (6, 32, 48, 3), dtype=np.uint8)
            write_video(root / title / f"{number}.mkv", frames)
            clips[f"{title}/{number}.mkv"] = frames
    out = tmp_path / "out.parquet"
    for row in build("video_folder", {"path": root, "max_frames": 4}, out):
        assert row["sampling_rate"] == 10
        assert np.array_equal(codecs.get("original").decode(row["media"], (4, 32, 48, 3), 10), clips[row["id"]][:4])

    bad = root / "run" / "bad.mp4"
    write_video(bad, np.zeros((6, 32, 48, 3), np.uint8), "libx264")
    whole = bad.read_bytes()
    for content in (whole[: len(whole) // 2], b"not a video"):
        bad.write_bytes(content)
        with pytest.raises(LossyBenchError, match=r"bad\.mp4: (not a|holds no) video"):
            build("video_folder", {"path": root}, out)
    short = root / "run" / "bad.avi"
    bad.unlink()
    write_video(short, RANDOM.integers(0, 256, (20, 32, 48, 3), dtype=np.uint8), "mpeg4")
    short.write_bytes(short.read_bytes()[:-8000])
    with pytest.raises(LossyBenchError, match=r"bad\.avi: "):
        build("video_folder", {"path": root}, out)


# COCO ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def coco(tmp_path):
    images, annotations = [], []
    for number in range(1, 13):
        write_image(tmp_path / "images" / f"{number}.png", picture(20, 30))
        images.append({"id": number, "file_name": f"{number}.png", "width": 30, "height": 20})
        if number != 12:  # the last shows nothing
            box = {"id": number, "image_id": number, "category_id": 7 if number % 2 else 3, "bbox": [1.5, 2, 10, 12]}
            annotations.append(box)
    annotations.append({"id": 50, "image_id": 1, "category_id": 3, "bbox": [20, 10, 40, 40]})  # reaches outside
    annotations.append({"id": 51, "image_id": 1, "category_id": 3, "bbox": [0, 0, 9, 9], "iscrowd": 1})
    categories = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    file = tmp_path / "all.json"
    file.write_text(json.dumps(content))
    return tmp_path, content, file


def test_coco_boxes_labels_and_negatives(coco, tmp_path):
    root, _, file = coco
    options = {"annotations": file, "images": root / "images"}
    rows = {row["id"]: row for row in build("coco", options, tmp_path / "out.parquet")}
    meta = artifacts.read_meta(tmp_path / "out.parquet")
    assert meta["classes"] == ["cat", "dog"]  # by ascending category id
    assert "1 boxes of crowds" in meta["card"]["left_out"]
    assert len(rows) == 12
    assert collections.Counter(row["split"] for row in rows.values()) == {"train": 7, "val": 2, "test": 3}
    assert rows["12.png"]["boxes"] == []
    assert rows["2.png"]["boxes"] == [{"frame": 0, "x0": 1.5, "y0": 2.0, "x1": 11.5, "y1": 14.0, "label": 0}]
    assert rows["1.png"]["boxes"][1] == {"frame": 0, "x0": 20, "y0": 10, "x1": 30, "y1": 20, "label": 0}
    assert all(row["label"] == -1 for row in rows.values())


def test_coco_with_a_file_a_split(coco, tmp_path):
    root, content, _ = coco
    for split, numbers in (("train", range(1, 9)), ("test", range(9, 13))):
        part = {
            "images": [image for image in content["images"] if image["id"] in numbers],
            "annotations": [note for note in content["annotations"] if note["image_id"] in numbers],
            "categories": content["categories"],
        }
        (root / f"{split}.json").write_text(json.dumps(part))
    files = {split: root / f"{split}.json" for split in ("train", "test")}
    rows = build("coco", {"annotations": files, "images": root / "images"}, tmp_path / "out.parquet")
    assert collections.Counter(row["split"] for row in rows) == {"train": 7, "val": 1, "test": 4}
    with pytest.raises(LossyBenchError, match="one each for train, test"):
        data.get("coco", {"annotations": {"train": files["train"]}, "images": root})


def test_coco_mistakes_are_named(coco, tmp_path):
    root, content, file = coco
    options = {"annotations": file, "images": root / "images"}

    def refuse(match, **changes):
        file.write_text(json.dumps({**content, **changes}))
        with pytest.raises(LossyBenchError, match=match):
            build("coco", options, tmp_path / "out.parquet")

    empty = {"id": 99, "image_id": 2, "category_id": 3, "bbox": [5, 5, 0, 4]}
    refuse("annotation 99: its bbox.*covers nothing", annotations=[*content["annotations"], empty])
    build("coco", {**options, "on_error": "skip"}, tmp_path / "out.parquet")
    assert "empty box (1): " in artifacts.read_meta(tmp_path / "out.parquet")["card"]["left_out"]
    refuse("annotation 98: its image_id", annotations=[{**empty, "id": 98, "image_id": 77}])
    refuse("annotation 1: has no 'bbox'", annotations=[{"id": 1, "image_id": 1, "category_id": 3}])
    refuse("has no list 'categories'", categories=None)
    refuse(
        r"elsewhere\.png: no such image.*on_error",
        images=[{**content["images"][0], "file_name": "elsewhere.png"}, *content["images"][1:]],
    )
    file.write_text("{")
    with pytest.raises(LossyBenchError, match="not JSON"):
        data.describe("coco", options)
    with pytest.raises(LossyBenchError, match=r"gone\.json"):
        data.describe("coco", {**options, "annotations": root / "gone.json"})
