"""Boxes against pictures: labels of COCO and MOT give the right boxes, or are named by check and fetch."""

import json
import random
import re

import av
import numpy as np
import pytest
from PIL import Image, ImageOps

from lossybench import artifacts, codecs, data
from lossybench.data import _images
from lossybench.errors import LossyBenchError
from lossybench.stages.fetch import fetch
from lossybench.tools import check

BOX = [8, 6, 20, 10]
CORNERS = (8, 6, 28, 16)


def draw(path, width=64, height=48, orientation=1, box=BOX):
    """A dark picture that is bright in the box, in stored pixels."""
    pixels = np.full((height, width, 3), 40, np.uint8)
    x, y, wide, high = box
    pixels[y : y + high, x : x + wide] = 250
    exif = Image.Exif()
    exif[0x112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, exif=exif)
    return path


def bright(media):
    """The corners of what is bright."""
    rows, columns = np.nonzero(media[..., 0] > 150)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def corners(box):
    return box["x0"], box["y0"], box["x1"], box["y1"]


def told(adapter, options):
    """What check finds, {kind: its finding}, and whether fetch takes the data: its rows, or its error in one line."""
    found = {finding.kind: finding for finding in check.examine(adapter, options, {}).findings}
    out = options["path" if adapter == "mot" else "images"].parent / "out.parquet"
    try:
        fetch(adapter, "task", out, options)
    except LossyBenchError as error:
        assert "\n" not in str(error)
        assert any(finding.severity == "error" for finding in found.values()), error  # check refuses it as well
        return found, str(error)
    assert all(finding.severity != "error" for finding in found.values())
    return found, list(artifacts.iter_rows(out))


def media(row):
    return codecs.get("original").decode(row["media"], tuple(row["shape"]), row["sampling_rate"])


# COCO ------------------------------------------------------------------------------------------------------------


class Coco:
    """Three pictures with a box each, whose JSON a test changes."""

    def __init__(self, root):
        self.root = root
        self.images = [{"id": n, "file_name": f"{n}.png", "width": 64, "height": 48} for n in range(3)]
        self.annotations = [{"id": n, "image_id": n, "category_id": 1, "bbox": BOX} for n in range(3)]
        self.categories = [{"id": 1, "name": "thing"}]
        for n in range(3):
            draw(root / "img" / f"{n}.png")

    def told(self, **more):
        file = self.root / "a.json"
        lists = {key: getattr(self, key) for key in ("images", "annotations", "categories")}
        file.write_text(json.dumps(lists))
        return told("coco", {"annotations": file, "images": self.root / "img", "fractions": {"test": 1}, **more})


@pytest.fixture
def coco(tmp_path):
    return Coco(tmp_path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 8])
@pytest.mark.parametrize("stated", ["stored", "turned"])
def test_boxes_are_of_the_stored_or_of_the_turned_picture(coco, suffix, orientation, stated):
    """The bright part of the picture is where the box is, whichever of the two the JSON means."""
    file = draw(coco.root / "img" / f"e.{suffix}", orientation=orientation)
    with Image.open(file) as opened:  # the independent reader
        turned = ImageOps.exif_transpose(opened).convert("RGB")
    width, height = (64, 48) if stated == "stored" else turned.size
    coco.images = [{"id": 0, "file_name": file.name, "width": width, "height": height}]
    x0, y0, x1, y1 = CORNERS if (width, height) != turned.size else map(int, bright(np.asarray(turned)))
    coco.annotations = [{"id": 0, "image_id": 0, "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0]}]
    findings, [row] = coco.told()
    assert row["shape"] == [height, width, 3]
    assert corners(row["boxes"][0]) == bright(media(row))
    assert ("picture turned by EXIF" in findings) == (orientation == 3)  # no size tells: it is turned, and said


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_an_image_is_read_as_it_is_stored(tmp_path, orientation, suffix):
    file = draw(tmp_path / f"e.{suffix}", orientation=orientation)
    assert np.array_equal(_images.read(file, turn=False), _images.read(draw(tmp_path / f"plain.{suffix}")))
    assert _images.orientation(file) == orientation


def test_a_picture_of_another_size_than_its_annotations_is_refused(coco):
    draw(coco.root / "img" / "1.png", 128, 96)
    draw(coco.root / "img" / "2.jpg", 96, 64, orientation=6)
    coco.images[2]["file_name"] = "2.jpg"
    _, error = coco.told()
    assert "1.png: is 128 x 96 pixels, but its annotations say 64 x 48" in error
    found, rows = coco.told(on_error="skip")
    assert len(rows) == 1 and "2.jpg: is 96 x 64 pixels (64 x 96 as EXIF turns it)" in str(found["unreadable file"])


def image(coco, **changes):
    coco.images[1] |= changes


def note(coco, **changes):
    coco.annotations[1] |= changes


def category(coco, *extra):
    coco.categories += extra


# What is changed, and the boxes of the second picture, or else what the error says of it.
COCO = {
    "text ids": (lambda c: (image(c, id="1"), c.images.__setitem__(slice(None), [c.images[1]]),
                            c.annotations.__setitem__(slice(None), [c.annotations[1] | {"image_id": "1"}])), [CORNERS]),
    "whole numbers as floats": (lambda c: image(c, id=1.0), [CORNERS]),
    "outside": (lambda c: note(c, bbox=[50, 40, 20, 10]), [(50, 40, 64, 48)]),
    "polygons": (lambda c: note(c, bbox=None, segmentation=[[8, 6, 28, 6, 20, 16], [9, 7, 9, 8, 10, 8]]), [CORNERS]),
    "crowd": (lambda c: note(c, iscrowd=1, segmentation={"counts": [1], "size": [48, 64]}), []),
    "box twice": (lambda c: c.annotations.append(c.annotations[1] | {"id": 9}), [CORNERS]),
    "annotation id twice": (lambda c: note(c, id=0), [CORNERS]),
    "no size": (lambda c: (c.images[1].pop("width"), c.images[1].pop("height")), [CORNERS]),
    "category 0 and gaps": (lambda c: category(c, {"id": 0, "name": "root"}, {"id": 90, "name": "z"}), [CORNERS]),
    "path with a dot": (lambda c: image(c, file_name="./1.png"), [CORNERS]),
    "image id twice": (lambda c: image(c, id=0), "images[0]: its id 0 is that of two images"),
    "file twice": (lambda c: image(c, file_name="0.png"), "images[0]: its file '0.png' is that of two ids, 0 and 1"),
    "file twice, by another path": (lambda c: image(c, file_name="./0.png"), "its file '0.png' is that of two ids"),
    "category id twice": (lambda c: category(c, {"id": 1, "name": "dog"}), "categories[1]: its id 1 is that of"),
    "category name twice": (lambda c: category(c, {"id": 2, "name": "thing"}), "its name 'thing' is that of another"),
    "ids of two types": (lambda c: image(c, id="1"), "images[0] has the id 0, a number, and images[1] has the id '1'"),
    "texts for numbers": (lambda c: note(c, category_id="1"), "category_id '1', a text"),
    "id is no id": (lambda c: image(c, id=[1]), "images[1]: its id [1] is neither a whole number nor a text"),
    "true is no id": (lambda c: image(c, id=True), "images[1]: its id True is neither"),
    "half an id": (lambda c: note(c, image_id=0.5), "annotation 1: its image_id 0.5 is neither"),
    "unknown image": (lambda c: note(c, image_id=7), "annotation 1: its image_id 7 is not among the images"),
    "unknown category": (lambda c: note(c, category_id=7), "its category_id 7 is not among the categories"),
    "NaN": (lambda c: note(c, bbox=[float("nan"), 1, 2, 3]), "annotation 1: its box [nan, 1, 2, 3] is not four"),
    "texts in a box": (lambda c: note(c, bbox=["1", 2, 3, 4]), "annotation 1: its box ['1', 2, 3, 4] is not"),
    "endless": (lambda c: note(c, bbox=[1, 2, 10**400, 4]), "annotation 1: its box"),
    "three numbers": (lambda c: note(c, bbox=[1, 2, 3]), "annotation 1: its box [1, 2, 3] is not four numbers"),
    "negative": (lambda c: note(c, bbox=[28, 16, -20, -10]), "annotation 1: its box [28, 16, -20, -10] has a negative"),
    "no area": (lambda c: note(c, bbox=[8, 6, 0, 10]), "annotation 1: its bbox [8, 6, 0, 10] covers nothing"),
    "no box": (lambda c: c.annotations[1].pop("bbox"), "annotation 1: has no 'bbox', and no polygons"),
    "crowd is a text": (lambda c: note(c, iscrowd="0"), "annotation 1: its iscrowd '0' is neither 0 nor 1"),
    "half a size": (lambda c: c.images[1].pop("width"), "images[1]: its width None and height 48 are no size"),
    "size 0": (lambda c: image(c, width=0), "images[1]: its width 0 and height 48 are no size"),
    "out of the folder": (lambda c: image(c, file_name="a/../../img/1.png"), "is no path below the folder"),
    "absolute": (lambda c: image(c, file_name="/etc/passwd"), "'/etc/passwd' is no path below the folder"),
    "zero byte": (lambda c: image(c, file_name="1\0.png"), r"'1\x00.png' is no text of one line"),
    "two lines": (lambda c: image(c, file_name="1\n.png"), r"'1\n.png' is no text of one line"),
    "no UTF-8": (lambda c: image(c, file_name="\ud800"), "is no text of one line"),
    "too long for a file": (lambda c: image(c, file_name="x" * 300), "no such image"),
    "missing, but elsewhere": (lambda c: image(c, file_name="sub/1.png"), "no such image; there is '1.png'"),
    "name is a number": (lambda c: category(c, {"id": 2, "name": 3}), "categories[1]: its name 3 is no text"),
    "no objects": (lambda c: c.images.append(7), "images[3]: 7 is no object with keys"),
    "a dictionary": (lambda c: setattr(c, "annotations", {}), "has no list 'annotations'"),
    "no categories": (lambda c: c.categories.clear(), "has no categories"),
    "no boxes at all": (lambda c: c.annotations.clear(), "no item of split 'test' has a box"),
}  # fmt: skip


@pytest.mark.parametrize("change, expected", COCO.values(), ids=COCO)
def test_coco_gives_the_right_boxes_or_names_the_entry(coco, change, expected):
    change(coco)
    _, rows = coco.told()
    if isinstance(expected, str):
        assert expected in rows
    else:
        [row] = (row for row in rows if row["id"] == "1.png")
        assert [corners(box) for box in row["boxes"]] == expected
        assert all(corners(box) == CORNERS for row in rows if row["id"] != "1.png" for box in row["boxes"])


def test_an_image_whose_boxes_are_not_all_known_is_left_out_whole(coco):
    """With a box less, a right answer of a model would count as wrong."""
    coco.annotations.append(coco.annotations[1] | {"id": 9, "bbox": [1, 2, float("inf"), 3]})
    coco.annotations.append(coco.annotations[2] | {"id": 10, "bbox": [1, 2, 0, 3]})
    found, rows = coco.told(on_error="skip")
    assert [row["id"] for row in rows] == ["0.png", "2.png"]
    assert all(found[kind].left_out for kind in ("image with a wrong annotation", "empty box"))
    assert "annotation 9" in artifacts.read_meta(coco.root / "out.parquet")["card"]["left_out"]


def test_coco_from_windows_and_keys_given_twice(coco):
    (coco.root / "img" / "sub").mkdir()
    (coco.root / "img" / "1.png").rename(coco.root / "img" / "sub" / "1.png")
    image(coco, file_name="sub\\1.png")
    assert [row["id"] for row in coco.told()[1]] == ["0.png", "2.png", "sub/1.png"]
    file, options = coco.root / "a.json", {"annotations": coco.root / "a.json", "images": coco.root / "img"}
    text = file.read_text()
    file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert data.get("coco", options).survey(0).classes == ["thing"]
    file.write_text(text[:-1] + ', "images": []}')
    assert "an object has the key 'images' twice" in told("coco", options)[1]
    file.write_text("[" * 100000)
    assert "not JSON" in told("coco", options)[1]


def test_what_is_odd_about_boxes_is_counted_with_its_place(coco):
    boxes = {10: [-3, 0, 9, 9], 11: [0, 0, 64, 48], 12: [5, 5, 1, 20], 13: BOX}
    for id, box in boxes.items():
        coco.annotations.append({"id": id, "image_id": 2, "category_id": 1 if id < 13 else 2, "bbox": box})
    category(coco, {"id": 2, "name": "other"})
    found, rows = coco.told()
    assert "1 boxes (annotation 10) reach beyond their picture" in found["box beyond the picture"].text
    assert "the farthest by 3 pixels" in found["box beyond the picture"].text
    assert "(annotation 11)" in found["box as large as the picture"].text
    assert "(annotation 12)" in found["tiny box"].text
    assert "(annotation 13)" in found["one box, two classes"].text
    assert sum(len(row["boxes"]) for row in rows) == 7
    report = check.examine("coco", {"annotations": coco.root / "a.json", "images": coco.root / "img"}, {})
    assert sum(report.boxes[split, 0] for split in ("train", "val", "test")) == 6
    coco.annotations = coco.annotations[:1]
    found, _ = coco.told()
    report = check.examine(
        "coco", {"annotations": coco.root / "a.json", "images": coco.root / "img", "fractions": {"test": 1}}, {}
    )
    assert "thing boxes: 1 test" in check.text(report) and "items without boxes: 2 test" in check.text(report)
    assert str(found["class without boxes"]) == "class 'other': has no box in test"


# MOT -------------------------------------------------------------------------------------------------------------


FRAMES = 24
INFO = {"name": "s", "imDir": "img1", "frameRate": 25, "seqLength": FRAMES, "imWidth": 32, "imHeight": 24}


class Mot:
    """A sequence with one moving object, whose files a test changes."""

    def __init__(self, root):
        self.root = root / "in"
        self.info = {**INFO, "imExt": ".png"}
        self.end = "1,1,1"  # of each line, after the box
        self.lines = None
        self.frames("{:06d}.png")

    def frames(self, name, numbers=range(1, FRAMES + 1), size=(32, 24)):
        for file in (self.root / "img1").glob("*"):
            file.unlink()
        for number in numbers:
            file = self.root / "img1" / name.format(number)
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", size, (number, number, number)).save(file)

    def told(self, **more):
        lines = self.lines or [f"{frame},1,{frame % 9},3,6,4,{self.end}".strip(",") for frame in range(1, FRAMES + 1)]
        (self.root / "gt").mkdir(exist_ok=True)
        (self.root / "gt" / "gt.txt").write_text("\n".join(lines))
        info = "\n".join(f"{key}={value}" for key, value in self.info.items())
        (self.root / "seqinfo.ini").write_text(f"[Sequence]\n{info}\n")
        fractions = {"train": 0.5, "val": 0.25, "test": 0.25}
        return told("mot", {"path": self.root, "clip_frames": 3, "gap": 0, "fractions": fractions, **more})

    def right(self, rows, label=0):
        """Every frame has its own picture and its own box."""
        assert len(rows) == FRAMES / 3
        for row in rows:
            first = int(row["id"][-6:])
            assert media(row)[:, 0, 0, 0].tolist() == [first, first + 1, first + 2]
            expected = [(i, (first + i) % 9, 3, (first + i) % 9 + 6, 7, label) for i in range(3)]
            assert [(box["frame"], *corners(box), box["label"]) for box in row["boxes"]] == expected
            files = sorted((self.root / "img1").iterdir(), key=lambda file: int(re.sub(r"\D", "", file.stem)))
            assert row["file_bytes"] == sum(file.stat().st_size for file in files[first - 1 : first + 2])


@pytest.fixture
def mot(tmp_path):
    return Mot(tmp_path)


@pytest.mark.parametrize(
    "end, options",
    [
        ("", {}),
        ("1", {}),
        ("1,1", {}),
        ("1,3", {"objects": ["car"]}),
        ("1,3,-1", {"objects": ["car"]}),
        ("1,3,0.5", {"objects": ["bicycle", "car"]}),
        ("1,3,0.5,-1", {"objects": ["car"]}),
        ("1,3,-1,-1", {"objects": ["car"]}),
        ("1,-1,-1,-1", {}),
        ("-1,-1,-1,-1", {}),
        ("1,1.0,1", {}),
        ("1,4,0,1", {"objects": ["van", "car"], "dialect": "visdrone"}),
        ("1,4,0.5,7", {"objects": ["bicycle"], "dialect": "mot17"}),
        ("1,-8.7,2.5,0", {"dialect": "mot15"}),
        ("1,70,1", {"objects": {"drone": 70}}),
    ],
)
def test_the_dialects_of_mot_are_told_apart(mot, end, options):
    mot.end = end
    _, rows = mot.told(**options)
    mot.right(rows, label=len(options.get("objects", [0])) - 1)


@pytest.mark.parametrize("name", ["{:08d}.png", "{}.png", "img_{:05d}.png", "{:06d}.PNG"])
def test_frames_go_by_the_numbers_in_their_names(mot, name):
    mot.frames(name)
    mot.right(mot.told()[1])


def as_video(mot, frames=FRAMES, size=(32, 24)):
    """The sequence's frames as an FFV1 file, which seqinfo.ini names."""
    with av.open(str(mot.root / "camera 1.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25, width=size[0], height=size[1], pix_fmt="bgr0")
        for number in range(1, frames + 1):
            picture = np.full((size[1], size[0], 3), number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="bgr0")))
        container.mux(stream.encode())
    mot.info.update(imDir="camera 1.mkv")
    mot.info.pop("imExt")


def test_a_sequence_may_be_a_video_file(mot):
    as_video(mot)
    _, rows = mot.told()
    assert len(rows) == FRAMES / 3
    for row in rows:
        first = int(row["id"][-6:])
        assert media(row)[:, 0, 0, 0].tolist() == [first, first + 1, first + 2] and row["sampling_rate"] == 25
        assert [box["frame"] for box in row["boxes"]] == [0, 1, 2] and row["file_bytes"] is None
    _, every = mot.told(every=2, clip_frames=2)
    first = int(every[0]["id"][-6:])
    assert media(every[0])[:, 0, 0, 0].tolist() == [first, first + 2]


@pytest.mark.parametrize(
    "how, message",
    [({"frames": FRAMES - 2}, "camera 1.mkv: ends before frame"), ({"size": (16, 24)}, "its frames are 16 x 24")],
)
def test_a_video_file_has_the_frames_that_are_announced(mot, how, message):
    as_video(mot, **how)
    assert message in mot.told()[1]


def line(mot, text, number=2):
    mot.lines = [f"{frame},1,{frame % 9},3,6,4,1,1,1" for frame in range(1, FRAMES + 1)]
    mot.lines[number - 1] = text


# Texts that leave the boxes as they are.
@pytest.mark.parametrize(
    "text", ["2.0, 1, 2, 3, 6, 4, 1, 1.0, 1 \r", "2,1,2,3,6,4,1,1,1,\n\n  \n", "\n2,1,2,3,6,4,1,1,1"]
)
def test_blank_lines_spaces_and_floats_change_nothing(mot, text):
    line(mot, text)
    mot.right(mot.told()[1])


MOT = {
    "frame 0": (lambda m: line(m, "0,1,2,3,6,4,1,1,1"), "gt.txt, line 2: has the frame 0, but frames count from 1"),
    "beyond": (lambda m: line(m, "99,1,2,3,6,4,1,1,1"), "1 boxes (line 2) are of frames beyond the last one"),
    "header": (lambda m: line(m, "frame,id,x,y,w,h,a,b,c", 1), "gt.txt, line 1: 'frame' is no number"),
    "columns": (lambda m: line(m, "2,1,2,3,6,4,1,1"), "gt.txt, line 2: has 8 values, where most lines have 9"),
    "NaN": (lambda m: line(m, "2,1,nan,3,6,4,1,1,1"), "gt.txt, line 2: 'nan' is no number"),
    "infinite": (lambda m: line(m, "2,1,2,3,1e999,4,1,1,1"), "gt.txt, line 2: '1e999' is no number"),
    "negative size": (lambda m: line(m, "2,1,2,3,-6,4,1,1,1"), "line 2: its box [2.0, 3.0, -6.0, 4.0] has a negative"),
    "half a frame": (lambda m: line(m, "2.5,1,2,3,6,4,1,1,1"), "gt.txt, line 2: '2.5' is no number of a frame"),
    "class": (lambda m: line(m, "2,1,2,3,6,4,1,14,1"), "gt.txt, line 2: its class 14 is not 1 to 13 as in mot17"),
    "flag": (lambda m: line(m, "2,1,2,3,6,4,0.9,1,1"), "gt.txt, line 2: its seventh value, 0.9, is neither 1"),
    "visibility": (lambda m: line(m, "2,1,2,3,6,4,1,1,2"), "gt.txt, line 2: its visible share 2 is not from 0 to 1"),
    "eleven columns": (lambda m: setattr(m, "end", "1,1,1,1,1"), "gt.txt: has 11 values in a line"),
    "VisDrone": (lambda m: setattr(m, "end", "1,4,0,0"), "has ten values in a line"),
    "other classes": (lambda m: setattr(m, "end", "1,3"), "is an object to find (pedestrian); there are: 24 car"),
    "ignored": (lambda m: setattr(m, "end", "0,1,1"), "there are: 24 pedestrian that does not count"),
    "sizes": (lambda m: m.frames("{:06d}.png", size=(64, 48)), "000001.png: is 64 x 48 pixels, but its annotations"),
    "no such frames": (lambda m: m.frames("{:06d}.jpg"), "img1: holds no '.png' file (imExt); it has '.jpg'"),
    "fewer": (lambda m: m.info.update(seqLength=30), "img1: lacks 6 (25 to 30) of the 30 frames"),
    "hole": (lambda m: m.frames("{:06d}.png", [*range(1, 5), *range(7, 25)]), "img1: lacks 2 (5 to 6) of the 24"),
    "from 0": (lambda m: m.frames("{:06d}.png", range(24)), "000000.png: its name does not end in the number"),
    "huge": (lambda m: m.info.update(seqLength=10**9), "of the 1000000000 frames"),
    "endless": (lambda m: m.info.update(seqLength=10**30), "not the seqinfo.ini of a MOT sequence (seqLength"),
    "rate 0": (lambda m: m.info.update(frameRate=0), "frameRate 0 is not from 0.001 to 1000"),
    "rate NaN": (lambda m: m.info.update(frameRate="nan"), "frameRate nan is not"),
    "imDir": (lambda m: m.info.update(imDir="../x"), "imDir '../x' is no folder in that of the sequence"),
    "percent": (lambda m: m.info.update(imDir="%(name)s"), "%(name)s: no such folder"),
    "no width": (lambda m: m.info.pop("imWidth"), "seqinfo.ini: not the seqinfo.ini of a MOT sequence ('imWidth')"),
}  # fmt: skip


@pytest.mark.parametrize("change, expected", MOT.values(), ids=MOT)
def test_what_is_wrong_in_a_sequence_is_named(mot, change, expected):
    change(mot)
    _, error = mot.told()
    assert expected in error


def test_clips_with_missing_frames_or_wrong_lines_are_left_out(mot):
    mot.frames("{:06d}.png", [*range(1, 5), *range(7, 25)])  # 5 and 6 are of the second clip
    line(mot, "8,1,nan,3,6,4,1,1,1", 8)  # of the third
    mot.told()
    with pytest.raises(LossyBenchError, match="nan"):  # known before any picture is read
        data.describe("mot", {"path": mot.root, "clip_frames": 3, "gap": 0})
    found, rows = mot.told(on_error="skip")
    assert [row["id"][-2:] for row in rows] == ["01", "10", "13", "16", "19", "22"]
    left_out = artifacts.read_meta(mot.root.parent / "out.parquet")["card"]["left_out"]
    assert "lacks 2 (5 to 6)" in left_out and "line 8" in left_out and found["missing frames"].severity == "warning"


def test_rows_listed_twice_are_left_out_and_shared_tracks_are_said(mot):
    line(mot, "2,1,2,3,6,4,1,1,1")
    mot.lines += [mot.lines[0], "3,1,9,9,9,9,1,1,1"]
    found, rows = mot.told()
    assert "1 boxes (line 25) state the same box" in found["box listed twice"].text
    assert "1 boxes (line 26) have the track of another" in found["track twice in a frame"].text
    assert sum(len(row["boxes"]) for row in rows) == FRAMES + 1


def test_frames_without_boxes_and_other_rows_are_said(mot):
    mot.lines = [f"{frame},1,1,3,6,4,1,1,1" for frame in range(1, FRAMES + 1, 9)] + ["1,2,1,3,6,4,1,3,1"]
    found, _ = mot.told()
    assert "every 9th frame" in found["frames without boxes"].text
    assert found["other rows"].text == "1 rows are no objects to find: 1 car"
    assert "'val'" in found["split without boxes"].text


def test_classes_of_ones_own_are_not_taken_for_those_of_mot(mot):
    (mot.root / "gt").mkdir()
    (mot.root / "gt" / "labels.txt").write_text("Car\nbus\n")
    assert "labels.txt: calls class 1 'Car', which is 'pedestrian' otherwise" in mot.told()[1]
    mot.right(mot.told(objects={"car": 1})[1])
    (mot.root / "gt" / "labels.txt").write_text("Pedestrian\n")
    mot.right(mot.told()[1])
    with pytest.raises(LossyBenchError, match="no visdrone class 'pedestrain'; did you mean 'pedestrian'"):
        data.get("mot", {"path": mot.root, "dialect": "visdrone", "objects": ["pedestrain"]})
    with pytest.raises(LossyBenchError, match="names a class twice"):
        data.get("mot", {"path": mot.root, "objects": ["car", "car"]})


def test_sequences_that_are_left_out_are_said(mot, tmp_path):
    mot.told()
    (tmp_path / "in").rename(tmp_path / "a")
    (tmp_path / "all" / "b" / "gt").mkdir(parents=True)
    (tmp_path / "a").rename(tmp_path / "all" / "a")
    options = {"path": tmp_path / "all", "clip_frames": 3, "gap": 0}
    found, rows = told("mot", options)
    assert found["sequence without seqinfo.ini"].item == str(tmp_path / "all" / "b") and rows
    with pytest.raises(LossyBenchError, match="'a' is there twice"):
        fetch(
            "mot",
            "task",
            tmp_path / "out.parquet",
            {**options, "sequences": {s: ["a"] for s in ("train", "val", "test")}},
        )


def test_published_pictures_have_the_size_that_is_published_with_their_boxes(tmp_path):
    root = tmp_path / "PennFudanPed"
    (root / "Annotation").mkdir(parents=True)
    for n in range(10):
        draw(root / "PNGImages" / f"{n}.png")
        lines = ["Image size (X x Y x C) : 64 x 48 x 3", "(Xmin, Ymin) - (Xmax, Ymax) : (9, 7) - (28, 16)"]
        (root / "Annotation" / f"{n}.txt").write_text("\n".join(lines))
    fetch("penn_fudan", "task", tmp_path / "out.parquet", {"path": root})
    assert {corners(row["boxes"][0]) for row in artifacts.iter_rows(tmp_path / "out.parquet")} == {CORNERS}
    draw(root / "PNGImages" / "3.png", 32, 24)
    with pytest.raises(LossyBenchError, match=r"3\.png: is 32 x 24 pixels, but its annotations say 64 x 48"):
        fetch("penn_fudan", "task", tmp_path / "out.parquet", {"path": root})


# Anything --------------------------------------------------------------------------------------------------------

ANYTHING = [None, True, 0, -1, 2.5, 1e308, float("nan"), 10**400, "", "a" * 5000, "../x", "\0", "\ud800", [], [[1]], {}]
CELLS = ["", "nan", "-1", "0", "1e308", "1.5", "a", "9" * 30, "\0", '"', "1_0", "1,1", "%(x)s"]


def survives(adapter, options):
    """Boxes that lie in their pictures, or an error of one line."""
    for on_error in ("stop", "skip"):
        try:
            dataset = data.get(adapter, {**options, "on_error": on_error})
            dataset.sources()
            for item in dataset.items(0, []):
                height, width = item.media.shape[-3:-1]
                assert all(0 <= b.x0 < b.x1 <= width and 0 <= b.y0 < b.y1 <= height for b in item.boxes)
        except LossyBenchError as error:
            assert "\n" not in str(error) and len(str(error)) < 3000


def test_whatever_stands_in_labels_no_traceback_comes_of_it(coco, mot):
    chance = random.Random(0)
    coco.told()
    mot.told()
    file, gt, ini = coco.root / "a.json", mot.root / "gt" / "gt.txt", mot.root / "seqinfo.ini"
    text, rows, info = file.read_text(), gt.read_text().split("\n"), ini.read_text().split("\n")
    for _ in range(150):
        content = json.loads(text)
        for _ in range(chance.randint(1, 3)):
            entry = chance.choice(content[chance.choice(list(content))] or [{}])
            entry[chance.choice([*entry, "iscrowd"])] = chance.choice(ANYTHING)
        file.write_text(json.dumps(content))
        survives("coco", {"annotations": file, "images": coco.root / "img", "fractions": {"test": 1}})
    for _ in range(60):
        for lines, at, mark in ((list(rows), gt, ","), (list(info), ini, "=")):
            place = chance.randrange(len(lines))
            cells = lines[place].split(mark)
            cells[chance.randrange(len(cells))] = chance.choice(CELLS)
            lines[place] = mark.join(cells)
            at.write_text("\n".join(lines))
        survives("mot", {"path": mot.root, "clip_frames": 3, "gap": 0})
