"""Masks from files: folders, COCO, the Data Science Bowl's layout; all on trees made here."""

import json

import numpy as np
import pytest
from faster_coco_eval.core import mask as coco_mask
from PIL import Image

from lossybench import data
from lossybench.data import coco_masks
from lossybench.errors import LossyBenchError
from lossybench.masks import IGNORED, decode, encode, resized

RANDOM = np.random.default_rng(0)
CLASSES = ["background", "nucleus", "debris"]


def picture(path, height=20, width=24):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def mask_file(path, values, palette=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values.astype(np.uint8))
    if palette:
        image = image.convert("P") if image.mode != "L" else Image.frombytes("P", image.size, image.tobytes())
        image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [200] * 759)
    image.save(path)


def some_mask(height=20, width=24, values=(0, 1, 2, 255)):
    return RANDOM.choice(values, (height, width)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Ten pictures with masks, every other one with a palette."""
    masks = {}
    for number in range(10):
        picture(tmp_path / "images" / f"n{number}.png")
        masks[f"images/n{number}.png"] = some_mask()
        mask_file(tmp_path / "masks" / f"n{number}.png", masks[f"images/n{number}.png"], palette=number % 2 == 1)
    return tmp_path, masks


def mask_of(item):
    return decode(item.truth["mask"])


def items_of(name, **options):
    left_out = []
    return {item.id: item for item in data.get(name, options).items(0, left_out)}, left_out


def test_folder_of_images_and_masks(folder):
    root, masks = folder
    found, left_out = items_of("mask_folder", path=root, classes=CLASSES)
    assert {id: mask_of(item).tolist() for id, item in found.items()} == {
        id: mask.tolist() for id, mask in masks.items()
    }
    assert {item.split for item in found.values()} == {"train", "val", "test"}
    assert not left_out
    about = data.describe("mask_folder", {"path": root, "classes": CLASSES})
    assert (about.kind, about.classes) == ("segmentation", CLASSES)


def test_values_of_classes_may_be_named(folder):
    root, _ = folder
    for file in (root / "masks").iterdir():
        mask_file(file, some_mask(values=(0, 255)))
    found, _ = items_of("mask_folder", path=root, classes={"nothing": 0, "nucleus": 255})
    assert all(
        set(np.unique(mask_of(item))) == {0, 1} for item in found.values()
    )  # 255 is a class, so nothing is ignored


@pytest.mark.parametrize("layout", ["split above", "split below"])
def test_splits_by_folders(tmp_path, layout):
    for split, count in (("train", 3), ("val", 1), ("test", 2)):
        for number in range(count):
            at = f"{split}/%s" if layout == "split above" else f"%s/{split}"
            picture(tmp_path / (at % "leftImg") / f"{number}_img.jpg")
            mask_file(tmp_path / (at % "gt") / f"{number}_ids.png", some_mask())
    options = {"images": "leftImg", "masks": "gt", "image_suffix": "_img", "mask_suffix": "_ids"}
    found, _ = items_of("mask_folder", path=tmp_path, classes=CLASSES, **options)
    assert sorted(item.split for item in found.values()) == ["test"] * 2 + ["train"] * 3 + ["val"]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda root: mask_file(root / "masks/n3.png", some_mask(21, 24)), "masks/n3.png: is 24 x 21 pixels, and"),
        (lambda root: mask_file(root / "masks/n3.png", some_mask(values=(0, 7))), "masks/n3.png: has pixels of the"),
        (lambda root: (root / "masks/n3.png").unlink(), "images/n3.png: has no mask n3.png"),
        (lambda root: picture(root / "masks/n3.png"), "masks/n3.png: has colours"),
        (lambda root: (root / "masks/n3.png").write_bytes(b"no picture"), "masks/n3.png: not a whole mask"),
        (lambda root: mask_file(root / "masks/n3.bmp", some_mask()), "differs from"),
    ],
)
def test_spoilt_masks_are_named(folder, spoil, said):
    root, masks = folder
    spoil(root)
    with pytest.raises(LossyBenchError, match=r".") as raised:
        items_of("mask_folder", path=root, classes=CLASSES)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    found, left_out = items_of("mask_folder", path=root, classes=CLASSES, on_error="skip")
    assert len(left_out) == 1
    assert len(found) >= len(masks) - 1


def test_masks_in_jpeg_and_masks_of_no_image(folder):
    root, _ = folder
    (root / "masks/n3.png").unlink()
    picture(root / "masks/n3.jpg")
    with pytest.raises(LossyBenchError, match="JPEG changes the numbers"):
        items_of("mask_folder", path=root, classes=CLASSES)
    (root / "images/n3.png").unlink()
    mask_file(root / "masks/other.png", some_mask())
    found, left_out = items_of("mask_folder", path=root, classes=CLASSES)
    assert len(found) == 9
    assert [finding.kind for finding in left_out] == ["mask of no image"]


def test_options_that_cannot_be(tmp_path):
    (tmp_path / "images").mkdir()
    for options, said in (
        ({"classes": ["one"]}, "two to 255"),
        ({"classes": {"a": 1, "b": 1}}, "one value"),
        ({"classes": CLASSES, "masks": "images"}, "two folders"),
        ({"classes": CLASSES}, "has no folder 'masks'"),
        ({"classes": CLASSES, "images": "pictures"}, "has neither a folder 'pictures'"),
    ):
        with pytest.raises(LossyBenchError, match=said):
            data.describe("mask_folder", {"path": tmp_path, **options})


def test_nuclei_of_the_data_science_bowl(tmp_path):
    expected = {}
    for number in range(10):
        id = f"{number:08x}"
        picture(tmp_path / id / "images" / f"{id}.png")
        nuclei = [some_mask(values=(0, 0, 0, 255)) for _ in range(3)]
        for place, nucleus in enumerate(nuclei):
            mask_file(tmp_path / id / "masks" / f"{place}.png", nucleus)
        expected[id] = np.any(nuclei, axis=0).astype(int).tolist()
    found, _ = items_of("dsb2018", path=tmp_path)
    assert {id: mask_of(item).tolist() for id, item in found.items()} == expected
    for file in (tmp_path / "00000003/masks").iterdir():
        file.unlink()
    with pytest.raises(LossyBenchError, match="00000003: has no masks"):
        items_of("dsb2018", path=tmp_path)


@pytest.fixture
def annotated(tmp_path):
    """COCO's JSON of six pictures: polygons, run lengths, compressed ones, a crowd, and objects that cross."""
    images, notes = [], []

    def note(picture, category, shape, crowd=0):
        box = [1, 1, 5, 5]
        about = {"id": len(notes) + 1, "image_id": picture, "category_id": category, "bbox": box, "iscrowd": crowd}
        notes.append(about | {"segmentation": shape})

    for number in range(6):
        picture(tmp_path / f"{number}.png", 16, 20)
        images.append({"id": number, "file_name": f"{number}.png", "width": 20, "height": 16})
    note(0, 4, [[1, 1, 9, 1, 9, 8, 1, 8], [12, 3, 15, 3, 15, 6]])
    note(0, 9, [[5, 5, 15, 5, 15, 12, 5, 12]])
    shape = np.zeros((16, 20), np.uint8)
    shape[2:9, 3:11] = 1
    packed = coco_mask.encode(np.asfortranarray(shape))
    note(1, 9, {"size": [16, 20], "counts": packed["counts"].decode()})
    flat = shape.T.ravel()
    bounds = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *bounds, len(flat)]).tolist()
    note(2, 4, {"size": [16, 20], "counts": runs}, crowd=1)
    note(3, 4, {"size": [16, 20], "counts": runs})
    content = {"images": images, "annotations": notes}
    content["categories"] = [{"id": 9, "name": "car"}, {"id": 4, "name": "bus"}]
    file = tmp_path / "notes.json"
    file.write_text(json.dumps(content))
    return file, shape


def test_outlines_in_coco_json(annotated):
    file, shape = annotated
    options = {"annotations": file, "images": file.parent, "fractions": {"test": 1}}
    found, _ = items_of("coco_masks", **options)
    assert data.describe("coco_masks", options).classes == ["background", "bus", "car"]
    polygons = coco_mask.frPyObjects([[1, 1, 9, 1, 9, 8, 1, 8], [12, 3, 15, 3, 15, 6]], 16, 20)
    bus = coco_mask.decode(coco_mask.merge(polygons)) > 0
    car = coco_mask.decode(coco_mask.frPyObjects([[5, 5, 15, 5, 15, 12, 5, 12]], 16, 20))[..., 0] > 0
    expected = np.where(bus, 1, np.where(car, 2, 0))
    expected[bus & car] = IGNORED
    assert mask_of(found["0.png"]).tolist() == expected.tolist()
    assert mask_of(found["1.png"]).tolist() == (2 * shape).tolist()
    assert mask_of(found["2.png"]).tolist() == (IGNORED * shape.astype(int)).tolist()
    assert mask_of(found["3.png"]).tolist() == shape.tolist()
    assert not mask_of(found["4.png"]).any()
    assert all(item.boxes == () for item in found.values())


def test_run_lengths_are_those_of_coco():
    for _ in range(30):
        shape = (RANDOM.random((13, 17)) < RANDOM.random()).astype(np.uint8)
        text = coco_mask.encode(np.asfortranarray(shape))["counts"].decode()
        assert coco_masks.inside({"size": [13, 17], "counts": text}, 13, 17).tolist() == (shape > 0).tolist()


@pytest.mark.parametrize(
    "shape",
    [
        None, [], [[1, 2, 3]], [[1, 1, 2, 2, "3", 3]], [[0, 0, 1e9, 0, 5, 5]], {"size": [13, 17], "counts": [5]},
        {"size": [17, 13], "counts": [221]}, {"size": [13, 17], "counts": "zz"},
        {"size": [13, 17], "counts": "\x00\x01"}, {"size": [13, 17], "counts": [-1, 222]},
        {"size": [13, 17], "counts": "oooooooooooooooooooooooooooooooo"},
    ],
)  # fmt: skip
def test_outlines_that_are_none(shape):
    with pytest.raises(LossyBenchError, match=r"its|has no"):
        coco_masks.inside(shape, 13, 17)


def test_embedded_masks_hold_the_ink(monkeypatch):
    options = {"train": 3, "val": 1, "test": 2}
    scenes = {item.id.split("/", 1)[1]: item for item in data.get("digit_scenes", {**options, "size": 96}).items(4, [])}
    items = list(data.get("segmented_digits", {**options, "size": 96}).items(4, []))
    assert len(items) == 6
    for item in items:
        scene = scenes[item.id.split("/", 1)[1]]
        assert (item.media == scene.media).all()  # the same scenes
        for box in scene.boxes:
            part = mask_of(item)[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)] == box.label + 1
            assert part.any(axis=0).mean() > 0.8  # a box is tight around its ink, other digits may cover some
        assert set(np.unique(mask_of(item))) == {0, *(box.label + 1 for box in scene.boxes)}


def test_masks_in_tables():
    mask = some_mask()
    assert decode(encode(mask)).tolist() == mask.tolist()
    assert resized(mask, 40, 48).tolist() == mask.repeat(2, 0).repeat(2, 1).tolist()
    assert resized(mask.repeat(3, 0).repeat(3, 1), 20, 24).tolist() == mask.tolist()
    for content in (b"", b"no mask", encode(np.zeros((4, 4, 3), np.uint8))):
        with pytest.raises(LossyBenchError, match="fetch the data again"):
            decode(content)
