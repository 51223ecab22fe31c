"""Public data sets: miniatures in the exact published layout, from a server on the loopback to the table; and what of
them lies beside the checkout, from the real files."""

import collections
import csv
import hashlib
import io
import itertools
import json
import os
import wave
from pathlib import Path

import av
import cv2
import loopback
import numpy as np
import pytest

from lossybench import artifacts, cli, codecs, data
from lossybench.data._published import PublishedDataset
from lossybench.errors import LossyBenchError
from lossybench.stages.fetch import fetch
from lossybench.tools import check

RANDOM = np.random.default_rng(0)
PUBLISHED = sorted(name for name in data.names() if issubclass(data.dataset_class(name), PublishedDataset))


def picture(height=16, width=20):
    return RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(pixels, extension=".png"):
    return cv2.imencode(extension, pixels[..., ::-1])[1].tobytes()


def jpeg():
    return encoded(picture(), ".jpg")


def wav(rate, samples=400):
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, rate, 0, "NONE", ""))
        out.writeframes(RANDOM.integers(-9000, 9000, samples, np.int16).tobytes())
    return file.getvalue()


def avi(frames=6):
    """A clip whose frames get brighter one by one, so that they can be told apart."""
    file = io.BytesIO()
    with av.open(file, "w", "avi") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        for index in range(frames):
            grey = np.full((32, 48, 3), 20 * index + 20, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def media(row):
    return codecs.get("original").decode(row["media"], tuple(row["shape"]), row["sampling_rate"])


def splits(rows):
    return dict(collections.Counter(row["split"] for row in rows))


def corners(row):
    return [tuple(box[key] for key in ("frame", "x0", "y0", "x1", "y1", "label")) for box in row["boxes"]]


def classes(name):
    return data.dataset_class(name).classes


# The published layouts: each function writes the archives into a folder and returns a check of the rows.


def cifar10(folder):
    batches = {f"data_batch_{number}": 20 for number in range(1, 6)} | {"test_batch": 10}
    members = {"cifar-10-batches-bin/batches.meta.txt": "\n".join([*classes("cifar10"), ""]).encode()}
    pixels = {}
    for batch, count in batches.items():
        records = []
        for index in range(count):
            image = pixels[f"{batch}/{index:05d}"] = picture(32, 32)
            records.append(bytes([index % 10]) + image.transpose(2, 0, 1).tobytes())  # planes
        members[f"cifar-10-batches-bin/{batch}.bin"] = b"".join(records)
    members["cifar-10-batches-bin/readme.html"] = b"<html>"
    loopback.write_tar(folder / "cifar-10-binary.tar.gz", members)

    def check(rows):
        assert splits(rows) == {"train": 90, "val": 10, "test": 10}
        for row in rows:
            assert np.array_equal(media(row), pixels[row["id"]])
            assert row["label"] == int(row["id"][-5:]) % 10
            assert (row["split"] == "test") == row["id"].startswith("test_batch/")

    return check


def cifar100(folder):
    pixels = {}

    def records(file, each):
        out = []
        for index in range(100 * each):
            image = pixels[f"{file}/{index:05d}"] = picture(32, 32)
            out.append(bytes([index % 20, index % 100]) + image.transpose(2, 0, 1).tobytes())
        return b"".join(out)

    names = "\n".join([*classes("cifar100"), ""]).encode()
    members = {"fine_label_names.txt": names, "coarse_label_names.txt": b"fish\n", "train.bin": records("train", 3)}
    members["test.bin"] = records("test", 1)
    tree = {f"cifar-100-binary/{name}": content for name, content in members.items()}
    loopback.write_tar(folder / "cifar-100-binary.tar.gz", tree)

    def check(rows):
        counts = splits(rows)
        assert (counts["train"] + counts["val"], counts["test"]) == (300, 100)
        assert counts["val"] > 0
        for row in rows:
            assert np.array_equal(media(row), pixels[row["id"]])
            assert row["label"] == int(row["id"][-5:]) % 100

    return check


def imagenette(folder):
    ids = ["n01440764", "n02102040", "n02979186", "n03000684", "n03028079", "n03394916", "n03417042", "n03425413"]
    ids += ["n03445777", "n03888257"]
    members = {"imagenette2-160/noisy_imagenette.csv": b"path\n", "imagenette2-160/train/.DS_Store": b"x"}
    for wordnet in ids:
        for index in range(10):
            members[f"imagenette2-160/train/{wordnet}/{wordnet}_{index}.JPEG"] = jpeg()
        members[f"imagenette2-160/val/{wordnet}/ILSVRC2012_val_00000{index}.JPEG"] = jpeg()
    loopback.write_tar(folder / "imagenette2-160.tgz", members)

    def check(rows):
        assert splits(rows) == {"train": 90, "val": 10, "test": 10}
        for row in rows:
            assert row["label"] == ids.index(row["id"].split("/")[1])
            original = cv2.imdecode(np.frombuffer(members[f"imagenette2-160/{row['id']}"], np.uint8), cv2.IMREAD_COLOR)
            assert np.abs(media(row).astype(int) - original[..., ::-1]).max() <= 3  # of another JPEG decoder

    return check


def gtsrb(folder):
    training, test, truth = {}, {}, ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for label in range(43):
        for track, frame in itertools.product(range(3), range(2)):
            name = f"GTSRB/Training/{label:05d}/{track:05d}_{frame:05d}.ppm"
            training[name] = encoded(picture(), ".ppm")
        training[f"GTSRB/Training/{label:05d}/GT-{label:05d}.csv"] = b"Filename;Width\n"
        number = 42 - label
        test[f"GTSRB/Final_Test/Images/{number:05d}.ppm"] = encoded(picture(), ".ppm")
        truth.append(f"{number:05d}.ppm;20;16;1;1;19;15;{label}")
    loopback.write_zip(folder / "GTSRB-Training_fixed.zip", training)
    loopback.write_zip(folder / "GTSRB_Final_Test_Images.zip", test)
    loopback.write_zip(folder / "GTSRB_Final_Test_GT.zip", {"GT-final_test.csv": "\r\n".join(truth).encode()})

    def check(rows):
        counts = splits(rows)
        assert (counts["train"] + counts["val"], counts["test"]) == (258, 43)
        tracks = collections.defaultdict(set)
        for row in rows:
            tracks[row["groups"]["track"]].add(row["split"])
            number = int(row["id"].split("/")[1].removesuffix(".ppm"))
            assert row["label"] == (42 - number if row["split"] == "test" else number)
        assert all(len(of) == 1 for of in tracks.values())
        assert counts["val"] >= 20

    return check


def penn_fudan(folder):
    members = {"PennFudanPed/readme.txt": b"", "PennFudanPed/added-object-list.txt": b""}
    for index in range(10):
        stem = f"{'Fudan' if index < 5 else 'Penn'}Ped{index:05d}"
        members[f"PennFudanPed/PNGImages/{stem}.png"] = encoded(picture(30, 40))
        members[f"PennFudanPed/PedMasks/{stem}_mask.png"] = encoded(picture(30, 40))
        lines = [
            "# Compatible with PASCAL Annotation Version 1.00",
            f'Image filename : "PennFudanPed/PNGImages/{stem}.png"',
            "Image size (X x Y x C) : 40 x 30 x 3",
            "# Top left pixel co-ordinates : (1, 1)",
        ]
        for person in (1, 2):
            lines += [
                f'Original label for object {person} "PASpersonWalking" : "PennFudanPed"',
                f'Bounding box for object {person} "PASpersonWalking" (Xmin, Ymin) - (Xmax, Ymax) : '
                f"({person}, {index + 1}) - (40, 30)",
            ]
        members[f"PennFudanPed/Annotation/{stem}.txt"] = "\n".join(lines).encode()
    loopback.write_zip(folder / "PennFudanPed.zip", members)

    def check(rows):
        assert splits(rows) == {"train": 7, "val": 1, "test": 2}
        for row in rows:
            index = int(row["id"][-9:-4])
            assert corners(row) == [(0, 0, index, 40, 30, 0), (0, 1, index, 40, 30, 0)]

    return check


def voc2007(folder):
    def note(number):
        objects = "".join(
            f"<object><name>{name}</name><pose>Left</pose><truncated>0</truncated><difficult>{difficult}</difficult>"
            f"<bndbox><xmin>{number}</xmin><ymin>2</ymin><xmax>12</xmax><ymax>16</ymax></bndbox></object>"
            for name, difficult in (("dog", 0), ("aeroplane", 1))
        )
        size = "<size><width>20</width><height>16</height><depth>3</depth></size>"
        return f"<annotation><folder>VOC2007</folder>{size}{objects}</annotation>".encode()

    trainval, test = {}, {}
    for number, split in enumerate(["train"] * 4 + ["val"] * 2 + ["test"] * 3, 1):
        members = test if split == "test" else trainval
        members[f"VOCdevkit/VOC2007/JPEGImages/{number:06d}.jpg"] = jpeg()
        members[f"VOCdevkit/VOC2007/Annotations/{number:06d}.xml"] = note(number)
        listing = f"VOCdevkit/VOC2007/ImageSets/Main/{split}.txt"
        members[listing] = members.get(listing, b"") + f"{number:06d}\n".encode()
    trainval["VOCdevkit/VOC2007/ImageSets/Main/dog_train.txt"] = b"000001  1\n"
    loopback.write_tar(folder / "VOCtrainval_06-Nov-2007.tar", trainval)
    loopback.write_tar(folder / "VOCtest_06-Nov-2007.tar", test)

    def check(rows):
        assert splits(rows) == {"train": 4, "val": 2, "test": 3}
        for row in rows:
            assert corners(row) == [(0, int(row["id"]) - 1, 1, 12, 16, classes("voc2007").index("dog"))]

    return check


def coco2017(folder):
    # Category ids have gaps: the 80 classes are numbered up to 90.
    missing = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
    ids = [number for number in range(1, 91) if number not in missing]
    categories = [{"id": id, "name": name} for id, name in zip(ids, classes("coco2017"), strict=True)]
    notes = {}
    for published, count in (("train", 10), ("val", 3)):
        images, annotations, pictures = [], [], {}
        for number in range(1, count + 1):
            name = f"{number:012d}.jpg"
            pictures[f"{published}2017/{name}"] = jpeg()
            images.append({"id": number, "file_name": name, "width": 20, "height": 16, "license": 1})
            common = {"image_id": number, "segmentation": [[1, 2, 3, 4]], "area": 9.0}
            annotations += [
                {"id": 3 * number, "category_id": 90, "bbox": [number, 2, 5.5, 6], "iscrowd": 0, **common},
                {"id": 3 * number + 1, "category_id": 1, "bbox": [0, 0, 9, 9], "iscrowd": 1, **common},
                {"id": 3 * number + 2, "category_id": 1, "bbox": [3, 3, 0, 4], "iscrowd": 0, **common},
            ]
        loopback.write_zip(folder / f"{published}2017.zip", pictures)
        content = {"info": {}, "images": images, "annotations": annotations, "categories": categories}
        notes[f"annotations/instances_{published}2017.json"] = json.dumps(content).encode()
        notes[f"annotations/captions_{published}2017.json"] = b"{}"
    loopback.write_zip(folder / "annotations_trainval2017.zip", notes)

    def check(rows):
        assert splits(rows) == {"train": 9, "val": 1, "test": 3}
        for row in rows:
            number = int(row["id"][-16:-4])
            assert corners(row) == [(0, number, 2, number + 5.5, 8, 79)]
            assert (row["split"] == "test") == row["id"].startswith("val/")

    return check


def speech_commands(folder):
    members = {"./README.md": b"", "./LICENSE": b"", "./_background_noise_/pink_noise.wav": wav(16000)}
    lists = {"val": [], "test": []}
    for word in classes("speech_commands"):
        for speaker, split in (("0a7c2a8d", "train"), ("1b2c3d4e", "train"), ("2f3e4d5c", "val"), ("9a9a9a9a", "test")):
            clip = f"{word}/{speaker}_nohash_0.wav"
            members[f"./{clip}"] = wav(16000)
            lists.get(split, []).append(clip)
    members["./validation_list.txt"] = "\n".join(lists["val"]).encode()
    members["./testing_list.txt"] = "\n".join(lists["test"]).encode()
    loopback.write_tar(folder / "speech_commands_v0.02.tar.gz", members)

    def check(rows):
        assert splits(rows) == {"train": 70, "val": 35, "test": 35}
        split_of = {"0": "train", "1": "train", "2": "val", "9": "test"}
        for row in rows:
            word, _, clip = row["id"].partition("/")
            assert classes("speech_commands")[row["label"]] == word
            assert (row["split"], row["groups"], row["sampling_rate"]) == (
                split_of[clip[0]],
                {"speaker": clip[:8]},
                16000,
            )
            assert media(row).tobytes() == members[f"./{row['id']}"][44:]

    return check


def esc50(folder):
    table = [["filename", "fold", "target", "category", "esc10", "src_file", "take"]]
    members = {"ESC-50-master/README.md": b"", "ESC-50-master/audio/": b""}
    for target, category in enumerate(classes("esc50")):
        for fold in range(1, 6):
            source = 100000 + 10 * target + fold
            name = f"{fold}-{source}-A-{target}.wav"
            members[f"ESC-50-master/audio/{name}"] = wav(44100)
            table.append([name, fold, target, category, target < 10, source, "A"])
    text = io.StringIO()
    csv.writer(text).writerows(table)
    members["ESC-50-master/meta/esc50.csv"] = text.getvalue().encode()
    loopback.write_zip(folder / "master.zip", members)

    def check(rows):
        assert splits(rows) == {"train": 150, "val": 50, "test": 50}
        for row in rows:
            fold, source, _, target = row["id"].removesuffix(".wav").split("-")
            assert (row["label"], row["groups"], row["sampling_rate"]) == (int(target), {"recording": source}, 44100)
            assert row["split"] == {"5": "test", "1": "val"}.get(fold, "train")

    return check


def fsdd(folder):
    root = "free-spoken-digit-dataset-1.0.9"
    members = {f"{root}/README.md": b""}
    for digit, speaker, index in itertools.product(range(10), ("ann", "bob"), range(12)):
        members[f"{root}/recordings/{digit}_{speaker}_{index}.wav"] = wav(8000)
    loopback.write_tar(folder / "v1.0.9.tar.gz", members)

    def check(rows):
        assert splits(rows) == {"train": 40, "val": 100, "test": 100}
        for row in rows:
            digit, speaker, index = row["id"].removeprefix("recordings/").removesuffix(".wav").split("_")
            assert (row["label"], row["groups"], row["sampling_rate"]) == (int(digit), {"speaker": speaker}, 8000)
            assert row["split"] == ("test" if int(index) < 5 else "val" if int(index) < 10 else "train")

    return check


def fsdd_speakers(folder):
    fsdd(folder)

    def check(rows):
        assert splits(rows) == {"test": 48}  # 2 speakers, 12 takes of 10 digits, 5 a clip
        for row in rows:
            speaker = row["id"].split("/")[1]
            assert row["groups"] == {"identity": speaker} and row["identity"] == speaker
            assert row["shape"] == [5 * 400] and row["label"] == -1
        assert sum(len(row["against"]) for row in rows) == 48 * 47 // 2

    return check


def ucf101(folder):
    clip = avi()
    videos, lists = {}, {"train": [], "test": []}
    for number, title in enumerate(classes("ucf101"), 1):
        file = title.replace("HandstandPushups", "HandStandPushups")  # as published
        for group in range(1, 5):
            name = f"{title}/v_{file}_g{group:02d}_c01.avi"
            videos[f"UCF-101/{name}"] = clip
            if group == 1:
                lists["test"].append(name)
            else:
                lists["train"].append(f"{name} {number}")
    splits_zip = {"ucfTrainTestlist/classInd.txt": b"1 ApplyEyeMakeup\n"}
    for split, names in lists.items():
        splits_zip[f"ucfTrainTestlist/{split}list02.txt"] = "\r\n".join([*names, ""]).encode()
    (folder / "UCF101.rar").write_bytes(loopback.rar(videos))
    loopback.write_zip(folder / "UCF101TrainTestSplits-RecognitionTask.zip", splits_zip)

    def check(rows):
        counts = splits(rows)
        assert (counts["train"] + counts["val"], counts["test"]) == (303, 101)
        for row in rows:
            assert classes("ucf101")[row["label"]] == row["id"].split("/")[0]
            assert (row["split"] == "test") == ("_g01_" in row["id"])
            assert (row["shape"], row["sampling_rate"]) == ([4, 32, 48, 3], 25)  # max_frames
            assert row["file_bytes"] is None
            assert row["groups"] == {"video": row["id"].split("/")[1].removeprefix("v_").removesuffix("_c01.avi")}

    return check


def hmdb51(folder):
    clip = avi()
    inner, lists = {}, {}
    for title in classes("hmdb51"):
        names = [f"Some_Film_{index}_{title}_f_cm_np1_fr_med_{index}.avi" for index in range(5)]
        inner[f"{title}.rar"] = loopback.rar({f"{title}/{name}": clip for name in names})
        uses = dict(zip(names, (1, 1, 1, 2, 0), strict=True))  # 0: in neither
        for split in (1, 2, 3):
            listed = "".join(f"{name} {use} \n" for name, use in uses.items())
            lists[f"testTrainMulti_7030_splits/{title}_test_split{split}.txt"] = listed.encode()
    (folder / "hmdb51_org.rar").write_bytes(loopback.rar(inner))
    (folder / "test_train_splits.rar").write_bytes(loopback.rar(lists))

    def check(rows):
        counts = splits(rows)
        assert (counts["train"] + counts["val"], counts["test"]) == (153, 51)
        for row in rows:
            title, _, name = row["id"].partition("/")
            assert classes("hmdb51")[row["label"]] == title
            assert (row["split"] == "test") == name.endswith("_3.avi")
            assert row["groups"] == {"video": name.partition("_f_cm_")[0]}

    return check


def kth(folder):
    lines = [
        "Training:   person11, 12",
        "Validation: person19, 01",
        "Test:       person22, 02",
        "",
        "person13_handclapping_d3 *missing*",
    ]
    for action in classes("kth"):
        members = {}
        for person in (11, 12, 19, 1, 22, 2):
            stem = f"person{person:02d}_{action}_d1"
            members[f"{stem}_uncomp.avi"] = avi(8)
            beyond = ", 100-120" if stem == "person01_boxing_d1" else ""  # as one of the published ones
            lines.append(f"{stem}\tframes\t1-3, 4-9{beyond}")
        loopback.write_zip(folder / f"{action}.zip", members)
    (folder / "00sequences.txt").write_text("\r\n".join(lines))

    def check(rows):
        assert splits(rows) == {"train": 24, "val": 24, "test": 24}
        split_of = {11: "train", 12: "train", 19: "val", 1: "val", 22: "test", 2: "test"}
        for row in rows:
            stem, _, number = row["id"].partition("/")
            assert row["split"] == split_of[int(stem[6:8])]
            assert (row["groups"]["person"], classes("kth")[row["label"]]) == tuple(stem.split("_")[:2])
            brightness = media(row).mean((1, 2, 3))
            first, count = (0, 3) if number == "1" else (3, 5)  # the second ends with the file
            assert np.abs(brightness - [20 * index + 20 for index in range(first, first + count)]).max() < 6

    return check


def mot17det(folder):
    members = {}
    for sequence, where in (("MOT17-02", "train"), ("MOT17-04", "train"), ("MOT17-01", "test")):
        base = f"{where}/{sequence}"
        info = ["[Sequence]", f"name={sequence}", "imDir=img1", "frameRate=30", "seqLength=60", "imWidth=20"]
        members[f"{base}/seqinfo.ini"] = "\n".join([*info, "imHeight=16", "imExt=.jpg", ""]).encode()
        lines = []
        for frame in range(1, 61):
            members[f"{base}/img1/{frame:06d}.jpg"] = encoded(np.full((16, 20, 3), 4 * frame, np.uint8), ".jpg")
            lines += [
                f"{frame},1,{frame % 10},3,5,30,1,1,0.5",  # reaches below the picture
                f"{frame},2,1,1,4,4,0,1,1",  # does not count
                f"{frame},3,1,1,4,4,1,3,1",  # a car
            ]
        if where == "train":
            members[f"{base}/gt/gt.txt"] = "\n".join(lines).encode()
        members[f"{base}/det/det.txt"] = b""
    loopback.write_zip(folder / "MOT17Det.zip", members)

    def check(rows):
        # 60 frames each: 42 for train; after a gap of 2 up to 48 for val; after another up to 60 for test.
        assert splits(rows) == {"train": 2 * 10, "val": 2 * 1, "test": 2 * 2}
        for row in rows:
            sequence, _, first = row["id"].partition("/")
            assert (row["groups"], row["sampling_rate"], row["shape"]) == ({"video": sequence}, 15, [2, 16, 20, 3])
            seen = [int(first), int(first) + 2]
            assert np.abs(media(row).mean((1, 2, 3)) - [4 * frame for frame in seen]).max() < 2
            assert corners(row) == [(i, f % 10, 3, f % 10 + 5, 16, 0) for i, f in enumerate(seen)]
        assert min(int(row["id"][-6:]) for row in rows if row["split"] == "val") == 42 + 2 + 1

    return check


LAYOUTS = [cifar10, cifar100, imagenette, gtsrb, penn_fudan, voc2007, coco2017, speech_commands, esc50, fsdd,
           fsdd_speakers, ucf101, hmdb51, kth, mot17det]  # fmt: skip
OPTIONS = {
    "imagenette": {"size": "160px"},
    "esc50": {"fold": 5},
    "ucf101": {"split": 2, "max_frames": 4},
    "mot17det": {"clip_frames": 2, "every": 2, "gap": 2},
}


def test_every_published_set_that_is_downloaded_has_a_miniature():
    downloaded = [name for name in PUBLISHED if data.dataset_class(name).facts.files]
    assert sorted(layout.__name__ for layout in LAYOUTS) == downloaded


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_from_the_published_archives_to_the_table(layout, tmp_path, monkeypatch, capfd):
    name = layout.__name__
    monkeypatch.setenv("LOSSYBENCH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "served"
    folder.mkdir()
    check = layout(folder)
    options = OPTIONS.get(name, {})
    files = data.get(name, options).files
    assert {file.name for file in files} == {path.name for path in folder.iterdir()}
    out = tmp_path / "out.parquet"

    def fetch(**more):
        arguments = ["--adapter", name, "--task", "task", "--seed", "3", "--out", str(out)]
        cli.main(["fetch", *arguments, "--options", json.dumps({**options, **more})])
        return list(artifacts.iter_rows(out))

    with loopback.serve(folder) as server:
        if any(file.checksums for file in files):
            with pytest.raises(SystemExit):  # a miniature is not what is published
                fetch(mirror=server.address)
            refusal = capfd.readouterr().err
            assert any(words in refusal for words in ("are published", "wrong MD5", "wrong SHA"))
            assert not out.exists()
        sums = {path.name: f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in folder.iterdir()}
        server.requests.clear()
        rows = fetch(mirror=server.address, checksums=sums)
        assert sorted(path for path, _ in server.requests) == sorted(f"/{file.name}" for file in files)
        check(rows)
        [unpacked] = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
        if len(rows) < 200:  # the others would take long
            first = out.read_bytes()
            for archive in (tmp_path / "cache").glob("*-*.*"):
                archive.unlink()  # what is unpacked is enough
            fetch(mirror=server.address, checksums=sums)
            assert out.read_bytes() == first
            assert len(server.requests) == len(files)
            fetch(path=str(unpacked))
            assert out.read_bytes() == first

    meta = artifacts.read_meta(out)
    facts = data.dataset_class(name).facts
    assert meta["compressed_before"] == list(facts.compressed_before)
    assert {key: meta["card"][key] for key in facts.card} == facts.card
    if name == "kth":
        assert "unreadable file (1): " in meta["card"]["left_out"]
    if name != "coco2017":  # counted as published, since its annotations are long to read
        skipped = 1 if name == "kth" else 0
        assert sum(data.describe(name, {**options, "path": unpacked}, 3).counts.values()) == len(rows) + skipped


def test_no_more_items_than_asked_for(tmp_path):
    root = tmp_path / "recordings"
    root.mkdir()
    for digit, speaker, index in itertools.product(range(10), ("ann", "bob"), range(20)):
        (root / f"{digit}_{speaker}_{index}.wav").write_bytes(wav(8000))
    options = {"path": tmp_path, "limit": {"train": 150, "test": 90, "val": 999}}
    drawn = []
    for seed in (0, 0, 1):
        fetch("fsdd", "task", tmp_path / "out.parquet", options, seed=seed)
        rows = list(artifacts.iter_rows(tmp_path / "out.parquet", ["id", "split"]))
        assert splits(rows) == {"train": 150, "val": 100, "test": 90} == data.describe("fsdd", options, seed).counts
        drawn.append([row["id"] for row in rows])
    assert drawn[0] == drawn[1] != drawn[2]
    for wrong in ({"limit": {"trian": 5}}, {"limit": {"test": 0}}, {"checksums": {"v1.0.9.tar.gz": "sha256:12"}}):
        with pytest.raises(LossyBenchError, match=next(iter(wrong))):
            data.get("fsdd", wrong)


def test_a_local_copy_that_is_none_is_named(tmp_path):
    for name in PUBLISHED:
        with pytest.raises(LossyBenchError, match=f"{name}.*no_such_folder does not exist"):
            data.describe(name, {"path": tmp_path / "no_such_folder"})
        if name != "coco2017":
            with pytest.raises(LossyBenchError, match=f"data set '{name}'.*`path` is the folder that"):
                data.describe(name, {"path": tmp_path})
    with pytest.raises(LossyBenchError, match=r"checksums: no file 'v1\.zip'; .*known: v1\.0\.9\.tar\.gz"):
        fetch("fsdd", "task", tmp_path / "out.parquet", {"checksums": {"v1.zip": "md5:" + "0" * 32}})
    with pytest.raises(LossyBenchError, match=r"not published as an archive; get it from https://github\.com"):
        fetch("imagenet_nips2017", "task", tmp_path / "out.parquet", {})


def test_files_that_a_set_lists_but_a_copy_lacks_stop_or_are_counted(tmp_path, caplog):
    (tmp_path / "copy/images").mkdir(parents=True)
    rows = ["ImageId,TrueLabel"]
    for number in range(1, 7):
        rows.append(f"p{number},{number}")
        if number < 5:
            cv2.imwrite(str(tmp_path / f"copy/images/p{number}.png"), np.full((8, 8, 3), number, np.uint8))
    (tmp_path / "copy/images.csv").write_text("\n".join(rows))
    options, out = {"path": tmp_path / "copy"}, tmp_path / "out.parquet"
    for run in (data.describe, lambda name, options: fetch(name, "task", out, options)):
        with pytest.raises(LossyBenchError, match=r"p5\.png: no such file.*on_error: skip \(and 1 more"):
            run("imagenet_nips2017", options)
    assert check.examine("imagenet_nips2017", options, {}).impossible
    options["on_error"] = "skip"
    assert data.describe("imagenet_nips2017", options).counts == {"test": 4}
    assert not check.examine("imagenet_nips2017", options, {}).impossible
    fetch("imagenet_nips2017", "task", out, options)
    assert "missing file (2): " in artifacts.read_meta(out)["card"]["left_out"] and "missing file (2)" in caplog.text
    assert [row["label"] for row in artifacts.iter_rows(out)] == [0, 1, 2, 3]


def test_facts_agree_with_torchvision_and_torchaudio():
    from torchaudio.datasets import speechcommands
    from torchvision import datasets
    from torchvision.datasets.voc import DATASET_YEAR_DICT
    from torchvision.models import detection

    def stated(name):
        facts = data.dataset_class(name).facts
        return {file.name: (file.url, dict(sum.split(":") for sum in file.checksums)) for file in facts.files}

    imagenette = stated("imagenette")
    for url, md5 in datasets.Imagenette._ARCHIVES.values():
        assert (imagenette[Path(url).name][0], imagenette[Path(url).name][1]["md5"]) == (url, md5)
    assert classes("imagenette") == [titles[0] for titles in datasets.Imagenette._WNID_TO_CLASS.values()]
    voc = stated("voc2007")
    for year in ("2007", "2007-test"):
        url, file, md5 = (DATASET_YEAR_DICT[year][key] for key in ("url", "filename", "md5"))
        assert (voc[file][0], voc[file][1]["md5"]) == (url, md5)
    hmdb = stated("hmdb51")
    assert hmdb["hmdb51_org.rar"][0] == datasets.HMDB51.data_url
    splits_url, splits_sums = hmdb["test_train_splits.rar"]
    assert datasets.HMDB51.splits == {"url": splits_url, **splits_sums}
    [(url, sums)] = stated("speech_commands").values()
    assert speechcommands._CHECKSUMS[url] == sums["sha256"]
    coco = detection.FasterRCNN_ResNet50_FPN_Weights.DEFAULT.meta["categories"]
    assert classes("coco2017") == [title for title in coco if title not in ("__background__", "N/A")]


def test_every_set_has_a_card_in_the_docs(capsys):
    cli.main(["datasets"])
    assert capsys.readouterr().out == (Path(__file__).parents[1] / "docs" / "datasets.md").read_text()


# A user's own sequences ------------------------------------------------------------------------------------------


def sequence(folder, frames=40, **info):
    (folder / "img1").mkdir(parents=True)
    (folder / "gt").mkdir()
    known = {"name": folder.name, "imDir": "img1", "frameRate": 25, "seqLength": frames, "imWidth": 20, "imHeight": 16}
    lines = [f"{key}={value}" for key, value in {**known, "imExt": ".png", **info}.items()]
    (folder / "seqinfo.ini").write_text("\n".join(["[Sequence]", *lines]))
    for frame in range(1, frames + 1):
        (folder / "img1" / f"{frame:06d}.png").write_bytes(encoded(np.full((16, 20, 3), frame, np.uint8)))
    rows = [f"{frame},-1,2,3,8,9,1,3,1\n{frame},-1,4,4,4,4,1,1,1" for frame in range(1, frames + 1)]
    (folder / "gt" / "gt.txt").write_text("\n".join(rows))


def test_mot_cuts_clips_by_time_or_by_sequence(tmp_path):
    for name in "abc":
        sequence(tmp_path / "in" / name)
    options = {"path": tmp_path / "in", "objects": ["car", "pedestrian"], "clip_frames": 4, "gap": 3}
    options["fractions"] = {"train": 0.5, "val": 0.25, "test": 0.25}
    fetch("mot", "task", tmp_path / "out.parquet", options)
    rows = list(artifacts.iter_rows(tmp_path / "out.parquet"))
    firsts = collections.defaultdict(set)
    for row in rows:
        assert [int(frame[0, 0, 0]) for frame in media(row)] == [int(row["id"][-6:]) + i for i in range(4)]  # lossless
        assert corners(row) == [box for i in range(4) for box in ((i, 2, 3, 10, 12, 0), (i, 4, 4, 8, 8, 1))]
        firsts[row["split"]].add(int(row["id"][-6:]))
    # 20, 10 and 10 frames, the latter two less the gap.
    assert firsts == {"train": {1, 5, 9, 13, 17}, "val": {24}, "test": {34}}
    whole = {"train": ["a"], "val": ["c"], "test": ["b"]}
    fetch("mot", "task", tmp_path / "out.parquet", {**options, "sequences": whole})
    rows = list(artifacts.iter_rows(tmp_path / "out.parquet"))
    assert {(row["split"], row["groups"]["video"]) for row in rows} == {("train", "a"), ("val", "c"), ("test", "b")}
    assert splits(rows) == {"train": 10, "val": 10, "test": 10}


def test_mot_mistakes_are_named(tmp_path):
    sequence(tmp_path / "in" / "a")
    options = {"path": tmp_path / "in", "objects": ["car"], "clip_frames": 2, "gap": 1}
    assert data.describe("mot", options).compressed_before == ()

    def refuse(match, **changes):
        with pytest.raises(LossyBenchError, match=match):
            fetch("mot", "task", tmp_path / "out.parquet", {**options, **changes})

    refuse("no MOT class 'cars'; did you mean 'car'", objects=["cars"])
    refuse("no clip of 30 frames, every 1, fits into split 'train'", clip_frames=30)
    refuse("sequences: no 'b'; there are a", sequences={"train": ["a"], "val": ["a"], "test": ["b"]})
    refuse("holds no sequence: no seqinfo.ini", path=tmp_path)
    (tmp_path / "in" / "a" / "gt" / "gt.txt").write_text("1,2,three,4,5,6,1,3,1")
    refuse(r"gt\.txt, line 1: 'three' is no number")
    (tmp_path / "in" / "a" / "seqinfo.ini").write_text("[Sequence]\nimDir=img1")
    refuse(r"seqinfo\.ini: not the seqinfo\.ini of a MOT sequence \('frameRate'\)")


# The real files --------------------------------------------------------------------------------------------------

SHARED = Path(os.environ.get("LOSSYBENCH_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")


def real(name, adapter, tmp_path, **options):
    """Rows of a real set that lies beside the checkout."""
    if not (SHARED / name).is_dir():
        pytest.skip(f"{SHARED / name} is not there; LOSSYBENCH_TEST_DATA names the folder with real data sets")
    fetch(adapter, "task", tmp_path / "out.parquet", options)
    return list(artifacts.iter_rows(tmp_path / "out.parquet"))


def test_real_gtsrb_keeps_tracks_whole(tmp_path):
    rows = real("gtsrb", "gtsrb", tmp_path, path=SHARED / "gtsrb")
    counts = splits(rows)
    assert (counts["train"] + counts["val"], counts["test"]) == (9029, 2580)
    tracks = collections.defaultdict(list)
    for row in rows:
        if row["split"] != "test":
            tracks[row["groups"]["track"]].append(row)
    assert all(len({row["split"] for row in of}) == 1 for of in tracks.values())
    assert collections.Counter(len(of) for of in tracks.values()).most_common(1)[0][0] == 30
    file = SHARED / "gtsrb" / "GTSRB" / "Final_Training" / "Images" / "00014" / "00003_00011.ppm"
    [row] = (row for row in rows if row["id"] == "train/00014/00003_00011.ppm")
    assert np.array_equal(media(row)[..., ::-1], cv2.imread(str(file)))
    assert classes("gtsrb")[row["label"]] == "stop"


def test_real_fsdd_has_the_published_test_split(tmp_path):
    rows = real("fsdd", "fsdd", tmp_path, path=SHARED / "fsdd")
    assert splits(rows) == {"train": 2400, "val": 300, "test": 300}
    assert {row["groups"]["speaker"] for row in rows} == {"george", "jackson", "lucas", "nicolas", "theo", "yweweler"}
    row = rows[-1]
    with wave.open(str(SHARED / "fsdd" / row["id"])) as file:
        assert media(row).tobytes() == file.readframes(file.getnframes())


def test_real_nuclei_boxes_are_those_of_the_annotations(tmp_path):
    root = SHARED / "nuclei_coco"
    notes = {split: root / f"instances_{split}.json" for split in ("train", "test")}
    rows = real("nuclei_coco", "coco", tmp_path, annotations=notes, images=root / "images")
    assert splits(rows)["test"] == 100
    assert sum(len(row["boxes"]) for row in rows) == 9543


def test_real_highway_cars_lie_in_the_picture_and_move(tmp_path):
    root = SHARED / "highway_mot" / "highway"
    options = {"path": root, "objects": ["car"], "clip_frames": 4, "every": 8, "gap": 25}
    rows = real("highway_mot", "mot", tmp_path, **options)
    assert set(splits(rows)) == {"train", "val", "test"}
    boxes = [corner for row in rows for corner in corners(row)]
    assert all(0 <= x0 < x1 <= 320 and 0 <= y0 < y1 <= 240 for _, x0, y0, x1, y1, _ in boxes)
    # What changes from frame to frame lies in the boxes, if frames and boxes are of the same time.
    inside, outside = [], []
    for row in rows:
        frames = media(row).astype(int)
        change = np.abs(frames[1] - frames[0]).mean(2)
        mask = np.zeros(change.shape, bool)
        for frame, x0, y0, x1, y1, _ in corners(row):
            if frame in (0, 1):
                mask[int(y0) : int(y1), int(x0) : int(x1)] = True
        inside.append(change[mask].mean())
        outside.append(change[~mask].mean())
    assert np.nanmean(inside) > 3 * np.nanmean(outside)


def test_real_imagenet_images_have_labels_counted_from_0(tmp_path):
    rows = real(
        "imagenet_nips2017",
        "imagenet_nips2017",
        tmp_path,
        path=SHARED / "imagenet_nips2017",
        limit={"test": 9},
        on_error="skip",
    )
    with (SHARED / "imagenet_nips2017" / "images.csv").open(newline="") as file:
        truth = {row["ImageId"]: int(row["TrueLabel"]) - 1 for row in csv.DictReader(file)}
    assert {row["id"]: row["label"] for row in rows} == {row["id"]: truth[row["id"]] for row in rows}
    assert {tuple(row["shape"]) for row in rows} == {(299, 299, 3)}
    assert len(rows) == 9
