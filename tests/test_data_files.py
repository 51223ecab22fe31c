"""Users' own files: layouts, splits, damaged files, COCO; all on trees made here."""

import collections
import json
import re
import subprocess
import unicodedata
from pathlib import Path

import av
import cv2
import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
from PIL import Image

from lossybench import artifacts, codecs, data
from lossybench.data import _images, _splits, audio_io
from lossybench.data._files import SHARES
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
        splits[row["groups"]["group"]].add(row["split"])
        pixels = codecs.get("original").decode(row["media"], tuple(row["shape"]))
        assert np.array_equal(pixels[..., ::-1], cv2.imread(str(pictures / row["id"])))
        assert row["label"] == ["cat", "dog"].index(row["id"].split("/")[0])
    assert len(splits) == 20
    assert all(len(of) == 1 for of in splits.values())
    counts = data.describe("image_folder", {"path": pictures, "group": r"(\w+/t\d+)_"}).counts
    assert counts == collections.Counter(row["split"] for row in rows)


def test_named_parentheses_are_factors_and_splits_keep_the_first_apart(tmp_path):
    """Ten speakers in three rooms each: no speaker may be in two splits, and every room is in all of them."""
    for title in ("yes", "no"):
        for speaker in range(10):
            for room in "abc":
                write_image(tmp_path / "in" / title / f"s{speaker}_{room}_{title}.png", picture(4, 4))
    options = {"path": tmp_path / "in", "group": "(?P<speaker>s[0-9]+)_(?P<room>.)(_)"}
    rows = build("image_folder", options, tmp_path / "out.parquet")
    of = {factor: collections.defaultdict(set) for factor in ("speaker", "room")}
    for row in rows:
        speaker, room, _ = row["id"].split("/")[1].split("_")
        assert list(row["groups"].items()) == [("speaker", speaker), ("room", room)]
        for factor, name in row["groups"].items():
            of[factor][name].add(row["split"])
    assert all(len(splits) == 1 for splits in of["speaker"].values()) and len(of["speaker"]) == 10
    assert all(len(splits) == 3 for splits in of["room"].values()) and len(of["room"]) == 3
    findings = surveyed(tmp_path / "in", fractions=SHARES, group=options["group"]).findings
    (shared,) = (finding for finding in findings if finding.kind == "factor in two splits")
    assert (
        shared.item == "room"
        and shared.text.startswith("has 3 of its 3 groups in test")
        and shared.severity == "warning"
    )
    assert not [finding for finding in findings if finding.kind == "group in two splits"]
    # The other way round it is the rooms, too few of which there are for three splits to have all classes otherwise.
    rows = build("image_folder", {**options, "group": "_(?P<room>.)_"}, tmp_path / "out.parquet")
    assert len({(row["groups"]["room"], row["split"]) for row in rows}) == 3
    # Without the option nothing is known to be shared, and items are dealt one by one.
    assert {len(row["groups"]) for row in build("image_folder", {"path": tmp_path / "in"}, tmp_path / "o.parquet")} == {
        0
    }


@pytest.mark.parametrize(
    ("group", "why"),
    [
        ("(?P<Speaker>.)", "factor 'Speaker': name it by a to z"),
        ("(?P<_s>.)", "factor '_s'"),
        ("(?P<speaker>x)?(?P<digit>[0-9])", r"option 'group'.* finds no speaker in 'cat/t00_0\.png'"),
        ("cat()|dog()", "finds no group in 'cat"),
    ],
)
def test_factors_that_cannot_be_are_refused(pictures, group, why):
    with pytest.raises(LossyBenchError, match=why):
        data.describe("image_folder", {"path": pictures, "group": group})


def test_the_bytes_of_an_items_own_file_are_kept_unless_it_was_scaled_or_generated(pictures, tmp_path):
    def kept(adapter, options=None, scale=None):
        fetch(adapter, "t", tmp_path / "t.parquet", options, scale)
        return {row["id"]: row["file_bytes"] for row in artifacts.iter_rows(tmp_path / "t.parquet")}

    of_files = kept("image_folder", {"path": pictures})
    assert of_files == {name: (pictures / name).stat().st_size for name in of_files} and len(of_files) == 40
    assert set(kept("image_folder", {"path": pictures}, {"resize": 16}).values()) == {None}
    assert set(kept("digits", {"train": 10, "val": 10, "test": 10}).values()) == {None}


def test_items_of_other_factors_than_the_first_are_refused(tmp_path, monkeypatch):
    class Odd(data.Dataset):
        name, medium, kind = "odd", "image", "classification"
        shared: tuple[dict[str, str], ...]

        def describe(self, seed):
            return data.dataset.Description("image", "classification", ["a", "b"], {}, {"test": 2})

        def items(self, seed, left_out):
            for index, groups in enumerate(self.shared):
                yield data.dataset.Item(f"i{index}", "test", groups, picture(), label=index)

    def write(*shared):
        monkeypatch.setattr(data, "get", lambda *_: Odd(shared=shared))
        fetch("odd", "t", tmp_path / "t.parquet")

    one, turned = {"patient": "1", "camera": "a"}, {"camera": "a", "patient": "1"}
    for shared, why in (
        (
            (one, turned),
            r"i1': has the groups .'camera': 'a', 'patient': '1'., and the first item .'patient', 'camera'.;",
        ),
        ((one, {}), r"i1': has the groups ..,"),
        (({"Patient": "1"}, {"Patient": "1"}), r"i0': has the groups .'Patient': '1'.,.* called by a to z"),
    ):
        with pytest.raises(LossyBenchError, match=f"data set 'odd': item '{why}"):
            write(*shared)
        assert not (tmp_path / "t.parquet").exists()
    write(one, one)


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
    refuse("class 'eel': has no items in 'test'; add files or groups")
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


# What is read, and what is left out ------------------------------------------------------------------------------


def surveyed(path, adapter="image_folder", **options):
    return data.get(adapter, {"path": path, "fractions": {"test": 1}, **options}).survey(0)


def told(found):
    return {Path(finding.item).name: finding for finding in found.findings}


def test_what_programs_leave_among_data_is_left_out_and_told(pictures, tmp_path, caplog):
    junk = [
        "cat/@eaDir/0.png",
        "cat/__MACOSX/0.png",
        "cat/.ipynb_checkpoints/0.png",
        "$RECYCLE.BIN/0.png",
        ".git/0.png",
    ]
    junk += ["lost+found/0.png", "cat/._0.png", "cat/Thumbs.db", "cat/.DS_Store", "dog/desktop.ini"]
    for name in junk:
        (pictures / name).parent.mkdir(exist_ok=True)
        (pictures / name).write_bytes((pictures / "cat/t00_0.png").read_bytes())
    (pictures / "dog/notes.txt").write_text("notes")
    (pictures / "dog/copy.png.bak").write_bytes((pictures / "cat/t00_0.png").read_bytes())
    (pictures / "lost.png").write_bytes((pictures / "cat/t00_0.png").read_bytes())
    found = surveyed(pictures)
    assert found.classes == ["cat", "dog"] and len(found.entries) == 40
    assert all(finding.left_out for finding in found.findings) and len(found.findings) == len(junk) + 3
    assert "is PNG by its content, but .bak is not read as image" in told(found)["copy.png.bak"].text
    build("image_folder", {"path": pictures}, tmp_path / "out.parquet")
    card = artifacts.read_meta(tmp_path / "out.parquet")["card"]["left_out"]
    for count in ("hidden or no data (10): ", "file of another kind (1): ", "unknown extension (1): "):
        assert count in card
    assert "file without a label (1): " in card and card in caplog.text


def test_pictures_are_known_by_content_where_names_do_not_tell(tmp_path):
    """All that Pillow writes is read without extension; what it does not write is left out."""
    colour = Image.fromarray(picture())
    formats = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "JPEG2000", "PPM", "AVIF")
    for title in ("cat", "dog"):
        for number, name in enumerate(formats):
            (tmp_path / title).mkdir(exist_ok=True)
            colour.save(tmp_path / title / f"scan_{name}", name)
            colour.save(tmp_path / title / f"scan_0.{number}", name)
        for suffix in ("jfif", "jpe", "avif", "jp2", "apng"):
            colour.save(tmp_path / title / f"named.{suffix}")
        for number, text in enumerate(
            ("BMW is a car", "P5 of 7", "notes", "", "II*", "RIFF of water", "\xff\xfeh\0i\0")
        ):
            (tmp_path / title / f"text{number}").write_bytes(text.encode("latin-1"))
    found = surveyed(tmp_path)
    assert len(found.entries) == 2 * (2 * len(formats) + 5)
    assert {Path(finding.item).name for finding in found.findings} == {f"text{number}" for number in range(7)}
    about = data.get("image_folder", {"path": tmp_path}).about(found)
    assert set(about.compressed_before) == {"JPEG", "WEBP", "AVIF", "JPEG2000"}


def test_sound_and_video_are_known_by_content(tmp_path):
    for title in ("yes", "no"):
        for number, name in enumerate(("WAV", "FLAC", "OGG", "AIFF", "MP3", "AU", "CAF", "RF64")):
            write_wav(tmp_path / "sounds" / title / f"clip{number}", tone(), format=name)
        for number, (container, codec) in enumerate(
            [("mp4", "libx264"), ("avi", "mpeg4"), ("matroska", "libx264"), ("mpeg", "mpeg1video"), ("flv", "flv")]
        ):
            clip = tmp_path / "clips" / title / f"clip{number}"
            clip.parent.mkdir(parents=True, exist_ok=True)
            with av.open(str(clip), "w", format=container) as file:
                stream = file.add_stream(codec, rate=25)
                stream.height = stream.width = 32
                for _ in range(5):
                    file.mux(stream.encode(av.VideoFrame.from_ndarray(picture(32, 32), format="rgb24")))
                file.mux(stream.encode())
    assert len(surveyed(tmp_path / "sounds", "audio_folder").entries) == 16
    assert len(surveyed(tmp_path / "clips", "video_folder").entries) == 10
    for adapter, folder in (("image_folder", "clips"), ("video_folder", "sounds"), ("audio_folder", "missing")):
        with pytest.raises(LossyBenchError):
            data.describe(adapter, {"path": tmp_path / folder})


def test_links_to_folders_are_told_and_end(pictures, tmp_path):
    """Links in a circle, to whose end 2 ** 20 ways lead, are listed once."""
    apart = tmp_path / "apart"
    for number in range(20):
        (apart / str(number)).mkdir(parents=True)
        for way in ("one", "other"):
            (apart / str(number) / way).symlink_to(apart / str((number + 1) % 20))
        write_image(apart / str(number) / f"{number}.png", picture())
    (pictures / "cat/more").symlink_to(apart / "0")
    (pictures / "dog/up").symlink_to(pictures)
    (pictures / "fox").symlink_to(pictures / "cat")
    found = surveyed(pictures)
    counts = collections.Counter(found.classes[entry.label] for entry in found.entries)
    assert counts == {"cat": 40, "dog": 20, "fox": 40}
    findings = told(found)
    assert f"is a link to {apart / '0'} and is followed" in findings["more"].text and not findings["more"].left_out
    assert "links to a folder that it lies in" in findings["up"].text and findings["up"].left_out
    assert "is followed" in findings["fox"].text


def test_other_names_of_splits_are_known(tmp_path):
    for split in ("Training", "validation", "TEST"):
        for title in ("cat", "dog"):
            write_image(tmp_path / split / title / "0.png", picture())
    assert data.describe("image_folder", {"path": tmp_path}).counts == {"train": 2, "val": 2, "test": 2}
    write_image(tmp_path / "train" / "cat" / "0.png", picture())
    with pytest.raises(LossyBenchError, match="'Training' and 'train' are one split"):
        data.describe("image_folder", {"path": tmp_path})


# The CSV of labels -----------------------------------------------------------------------------------------------

NAMES = [f"{folder}/{number}.png" for folder in "ab" for number in range(1, 5)]


@pytest.fixture
def listed(tmp_path):
    """A function that surveys eight pictures by a CSV of this text."""
    for name in NAMES:
        write_image(tmp_path / "in" / name, picture(4, 4))

    def survey(content, **options):
        (tmp_path / "labels.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
        return surveyed(tmp_path / "in", labels=tmp_path / "labels.csv", **options)

    return survey


def table(rows, comma=",", end="\n", head=("file", "label")):
    return "".join(comma.join(row) + end for row in (head, *rows))


RIGHT = [(name, "cat" if name < "b" else "dog") for name in NAMES]


@pytest.mark.parametrize(
    "content",
    [
        table(RIGHT),
        table(RIGHT).encode("utf-8-sig"),
        table(RIGHT).encode("utf-16"),
        table(RIGHT).encode("utf-16-be").join([b"\xfe\xff", b""]),
        table(RIGHT, ";"),
        table(RIGHT, "\t"),
        table(RIGHT, end="\r\n"),
        table(RIGHT, end="\r"),
        table(RIGHT, ", "),
        table(RIGHT, head=("File", " Label ")),
        table(RIGHT) + "\n\n,,\n",
        table([(f'"{file}"', f'"{label}"') for file, label in RIGHT]),
        table([(file[:-4], label) for file, label in RIGHT]),
        table([(f"{file}", label, "") for file, label in RIGHT], head=("file", "label", "")),
    ],
)
def test_a_table_is_read_in_many_dialects(listed, content):
    found = listed(content)
    assert found.findings == [] and found.classes == ["cat", "dog"]
    assert {entry.id: found.classes[entry.label] for entry in found.entries} == dict(RIGHT)


def test_columns_of_groups_are_factors_called_as_they_are(listed, tmp_path):
    rows = [(*row, f"p{number // 2}", "" if number else "Nord") for number, row in enumerate(RIGHT)]
    head = ("file", "label", "Patient ID", "site")

    def groups(content, **options):
        return [dict(entry.groups) for entry in listed(content, **options).entries]

    found = groups(table(rows, head=head), columns={"group": ["patient id", "site"]})
    # What has no site shares none, and is a group of its own.
    sites = ["Nord", *NAMES[1:]]
    assert found == [{"patient_id": f"p{number // 2}", "site": sites[number]} for number in range(8)]
    assert list(found[0]) == ["patient_id", "site"]
    found = groups(table(rows, head=head), columns={"group": "site"})
    assert found == [{"site": name} for name in sites]
    found = groups(table(rows, head=("file", "label", "Group", "site")))
    assert found == [{"group": f"p{number // 2}"} for number in range(8)]
    assert groups(table(rows, head=head)) == [{}] * 8
    assert groups(table(rows, head=head), group="(?P<folder>[ab])/") == [{"folder": name[0]} for name in NAMES]

    def refuse(why, head, columns):
        with pytest.raises(LossyBenchError, match=why):
            listed(table(rows, head=head), columns=columns)

    refuse("column '2nd' cannot name what items share: call it by", ("file", "label", "2nd", "site"), {"group": "2nd"})
    refuse("column 'Größe' cannot name", ("file", "label", "Größe", "site"), {"group": ["site", "Größe"]})
    refuse(
        "columns 'Site' and 'site' of groups are both called 'site'",
        ("file", "label", "Site", "site"),
        {"group": ["Site", "site"]},
    )
    refuse("both called 'site'", head, {"group": ["site", "site"]})
    refuse("no column 'room' for the group; known", head, {"group": ["site", "room"]})
    refuse("'columns': group: give the name of one column or more", head, {"group": []})
    refuse("'columns': label: give the name of one column", head, {"label": ["label"]})


def test_files_are_found_by_other_spellings(listed, tmp_path):
    write_image(tmp_path / "in" / unicodedata.normalize("NFD", "café.png"), picture())
    write_image(tmp_path / "in/Upper.PNG", picture())
    write_image(tmp_path / "in/twin.png", picture())
    write_image(tmp_path / "in/TWIN.png", picture())
    write_image(tmp_path / "outside.png", picture())
    ways = ["./a/1.png", "a\\2.png", str(tmp_path / "in/a/3.png"), "A/4.PNG", unicodedata.normalize("NFC", "café.png")]
    ways += ["b/../b/1.png", "upper.png", "twin.png", "TWIN.png"]
    found = listed(table([(way, str(number % 2)) for number, way in enumerate(ways)]), on_error="skip")
    ids = ["a/1.png", "a/2.png", "a/3.png", "a/4.png", unicodedata.normalize("NFD", "café.png"), "b/1.png", "Upper.PNG"]
    assert {entry.id: entry.label for entry in found.entries} == {
        id: number % 2 for number, id in enumerate([*ids, "twin.png", "TWIN.png"])
    }
    (note,) = (finding for finding in found.findings if finding.kind == "file by another name")
    assert note.text.startswith("7 files") and "'./a/1.png' for 'a/1.png'" in note.text

    wrong = {
        "Twin.png": "matches TWIN.png, twin.png",
        "../outside.png": "lies outside",
        "c/4.png": "nearest file is 'a/4.png'",
    }
    wrong |= {"/etc/passwd": "lies outside", "a/../../outside.png": "lies outside", "C:\\a\\1.png": "lies outside"}
    wrong |= {"a/11.png": "nearest file is 'a/1.png'", "zzz": "does not exist", "": "does not exist"}
    for name, why in wrong.items():
        bad = listed(table([*RIGHT, (name, "cat")]))
        (finding,) = (one for one in bad.findings if one.kind == "missing file")
        assert why in finding.text and finding.item.endswith("labels.csv, line 10") and finding.severity == "error", (
            name
        )


@pytest.mark.parametrize(
    ("row", "kind", "why"),
    [
        ("a/1.png,cat, small", "row of another length", "has 3 fields, the header 2"),
        ("a/1.png", "row of another length", "has 1 fields, the header 2"),
        ("a/1.png,", "row without a label", "has no label"),
        ("a/1.png,NaN", "row without a label", "'NaN', which stands for a missing value"),
        ('a/1.png,"cat\ndog"', "label of several lines", "is a quote missing?"),
        ("gone.png,cat", "missing file", "does not exist"),
        ("a/2.png,dog", "file listed twice", "another label, split or group in line 2"),
    ],
)
def test_bad_rows_stop_or_are_left_out_and_told(listed, row, kind, why):
    lines = table(RIGHT).splitlines()
    del lines[1]
    (finding, *_) = (one for one in listed("\n".join([*lines, row])).findings if one.kind == kind)
    assert finding.severity == "error" and finding.left_out and why in finding.text
    found = listed("\n".join([*lines, row]), on_error="skip")
    assert "error" not in {one.severity for one in found.findings} and found.classes == ["cat", "dog"]
    assert "a/1.png" not in {entry.id for entry in found.entries}
    assert ("a/2.png" in {entry.id for entry in found.entries}) == (kind != "file listed twice")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (
            table(RIGHT, head=("a/0.png", "cat")),
            r"no column 'file' for the file; known: a/0\.png, cat; the first line names",
        ),
        (
            table([(f, "1", "0") for f in NAMES], head=("file", "cat", "dog")),
            "no column 'label'.*one of which holds the lab",
        ),
        (table(RIGHT, head=("file", "label", "label")), "two columns are called 'label'"),
        (table([*RIGHT, ("é.png", "cat")]).encode("latin-1"), "not a CSV in UTF-8, at line 10"),
        (table(RIGHT).encode("utf-16-le"), "a zero byte at line 1"),
        (table([*RIGHT, ("x\0.png", "cat")]), "a zero byte at line 10"),
        (table([*RIGHT, ('"a/1.png', "cat")]), "not a CSV: line 1[01] or before: unexpected end"),
        (b'"file,label\n1.png,cat\n', "not a CSV: line 1 or before: unexpected end"),
        (table([*RIGHT, ("x" * 200_000, "cat")]), "field larger than field limit"),
        ("", "no column 'file'"),
    ],
)
def test_what_is_no_table_is_one_error(listed, content, why):
    with pytest.raises(LossyBenchError, match=why) as error:
        listed(content)
    assert "\n" not in str(error.value)


def test_rows_of_one_file_with_one_label_are_one_item(listed):
    found = listed(table(RIGHT + RIGHT))
    assert len(found.entries) == 8
    assert {(one.kind, one.severity, one.left_out) for one in found.findings} == {
        ("file listed twice", "warning", True)
    }


def test_splits_of_a_table_have_other_names_too(listed):
    splits = ["Train", "training", "Validation", "test", "train", "TRAIN", "dev", "Testing"]
    rows = [(*row, split) for row, split in zip(RIGHT, splits, strict=True)]
    counts = collections.Counter(entry.split for entry in listed(table(rows, head=("file", "label", "Split"))).entries)
    assert counts == {"train": 4, "val": 2, "test": 2}


@pytest.mark.parametrize(
    ("labels", "alike"),
    [
        (["cat", "Cat", "dog", "dog "], ["cat", "Cat"]),
        (["1", "01", "10", "2"], ["1", "01"]),
        (["1", "1.0", "2", "3"], ["1", "1.0"]),
        (["hot dog", "hot  dog", "Hot_Dog", "x"], ["hot dog", "hot  dog", "Hot_Dog"]),
        (["caf\u00e9", "cafe\u0301", "x", "y"], ["caf\u00e9", "cafe\u0301"]),
        (["-1", "1", "10", "0"], []),
    ],
)
def test_classes_of_like_names_are_told_with_their_counts(listed, labels, alike):
    found = listed(table([(file, labels[number % 4]) for number, file in enumerate(NAMES)]))
    assert [(one.kind, one.severity) for one in found.findings] == [("classes of like names", "warning")] * bool(alike)
    for label in alike:
        assert f"class {label!r} (2 items)" in found.findings[0].item


def test_numbers_are_in_the_order_of_numbers(listed):
    labels = ["10", "-1", "2.5", "9", "x", "nan1", "1e3", "0"]
    found = listed(table(list(zip(NAMES, labels, strict=True))))
    assert found.classes == ["-1", "0", "2.5", "9", "10", "1e3", "nan1", "x"]


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
        assert row["sampling_rate"] == 10 and row["file_bytes"] is None  # of more frames than these
        assert np.array_equal(codecs.get("original").decode(row["media"], (4, 32, 48, 3), 10), clips[row["id"]][:4])

    for row in build("video_folder", {"path": root}, out):
        assert row["file_bytes"] == (root / row["id"]).stat().st_size

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
