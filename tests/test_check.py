"""`lossybench check`: every fault of a data set is named, all of them at once; costs are those of compressing."""

import collections
import json
import os
import re
import shutil

import numpy as np
import pytest
import scipy.stats
import soundfile
from PIL import Image

from lossybench import artifacts, cli, codecs, data, study
from lossybench.stages.compress import compress
from lossybench.stages.fetch import fetch
from lossybench.tools import check, leaks, plan

RANDOM = np.random.default_rng(0)


def picture(height=40, width=48):
    """Smooth, as photographs are: noise would compress like nothing that is real."""
    small = Image.fromarray(RANDOM.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def save(path, image=None, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    (image or picture()).save(path, **how)
    return path


@pytest.fixture
def whole(tmp_path):
    """A folder with nothing wrong."""
    root = tmp_path / "whole"
    for split, count in (("train", 12), ("val", 3), ("test", 10)):
        for title in ("cat", "dog", "eel"):
            for number in range(count):
                save(root / split / title / f"{split}{number}_{title}.png")
    return root


def kinds(report):
    return {finding.kind: finding for finding in report.findings}


def test_nothing_is_found_where_nothing_is_wrong(whole):
    report = check.examine("image_folder", {"path": whole}, {})
    assert report.findings == [] and not report.impossible
    assert {split: report.counts[split, 0] for split in ("train", "val", "test")} == {"train": 12, "val": 3, "test": 10}
    assert report.raw_bytes == 75 * 40 * 48 * 3 and set(report.sizes) == {(40, 48)}
    assert report.formats == {".png": 75}


def fourteen(root):
    """14 kinds of defects, each on a file or folder of its own: {kind: what its finding must name}."""
    at = root / "train" / "cat"
    (at / "empty.png").touch()
    (at / "text.png").write_text("this is no picture")
    cut = save(at / "cut.png", picture(200, 200))
    cut.write_bytes(cut.read_bytes()[:-900])
    save(at / "really_jpeg.png", format="JPEG")
    shutil.copy(at / "train0_cat.png", at / "again.png")
    shutil.copy(at / "train1_cat.png", root / "test" / "cat" / "leaked.png")
    shutil.copy(at / "train2_cat.png", root / "train" / "dog" / "other_class.png")
    save(root / "train" / "cat" / "P7_1.png")
    save(root / "test" / "cat" / "P7_2.png")
    save(root / "train" / "fox" / "only.png")
    (root / "train" / "gnu").mkdir()
    save(at / "tiny.png", picture(6, 6))
    save(at / "grey.png", picture().convert("L"))
    save(at / "deep.png", Image.fromarray(RANDOM.integers(0, 65536, (40, 48), dtype=np.uint16)))
    save(at / "alpha.png", picture().convert("RGBA"))
    save(at / "blank.png", Image.new("RGB", (48, 40), "red"))
    save(at / "photo.jpg")
    (at / "notes.txt").write_text("none")
    save(root / "train" / "lost.png")
    return {
        "empty file": "empty.png",
        "unreadable file": "text.png",
        "truncated file": "cut.png",
        "wrong extension": "really_jpeg.png",
        "same content twice": "again.png",
        "same content in two splits": "leaked.png",
        "same content, two classes": "other_class.png",
        "group in two splits": "group 'P7'",
        "single item": "class 'fox'",
        "empty class": "gnu",
        "very small picture": "tiny.png",
        "grey image": "grey.png",
        "16-bit image": "deep.png",
        "transparent image": "alpha.png",
        "picture of one colour": "blank.png",
        "lossy source": "defects",
        "file of another kind": "notes.txt",
        "file without a label": "lost.png",
        "imbalance": "class 'fox'",
        "mixed sizes": "defects",
    }


def test_each_of_fourteen_kinds_of_defects_and_more_is_named(whole, tmp_path, capsys):
    root = whole.rename(tmp_path / "defects")
    expected = fourteen(root)
    assert len(expected) >= 14
    options = {"group": r"(P\d|[^/]+$)"}
    with pytest.warns(UserWarning, match="P7"), pytest.raises(SystemExit) as status:
        arguments = ["check", "--path", str(root), "--options", json.dumps(options), "--out", str(tmp_path / "o.json")]
        cli.main(arguments)
    assert status.value.code == 1  # a study could not run
    said = capsys.readouterr().out
    written = json.loads((tmp_path / "o.json").read_text())["image_folder"]["findings"]
    assert {finding["kind"] for finding in written} >= set(expected)
    for kind, item in expected.items():
        assert any(item in finding["item"] + finding["text"] for finding in written if finding["kind"] == kind), kind
        assert kind in said and item in said
    errors = {finding["kind"] for finding in written if finding["severity"] == "error"}
    assert errors >= {"empty file", "unreadable file", "truncated file", "empty class"}
    # What stops check stops the study too, and says that there is more.
    with pytest.warns(UserWarning), pytest.raises(data.LossyBenchError, match="more: `lossybench check` lists them"):
        data.describe("image_folder", {"path": root, **options})


def test_unreadable_files_that_may_be_skipped_do_not_stop_a_study(whole):
    (whole / "train" / "cat" / "bad.png").write_text("no picture")
    assert check.examine("image_folder", {"path": whole}, {}).impossible
    report = check.examine("image_folder", {"path": whole, "on_error": "skip"}, {})
    assert not report.impossible and kinds(report)["unreadable file"].severity == "warning"


def test_faults_of_sound_are_named(tmp_path):
    root, rate = tmp_path / "sounds", 16000
    tone = 0.3 * np.sin(np.arange(rate) / 7)
    for title in ("yes", "no"):
        for number in range(8):
            path = root / title / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, tone * (1 - number / 20) * (1 if title == "yes" else -1), rate)
    at = root / "no"
    soundfile.write(at / "fast.wav", tone[:12000], 44100)
    soundfile.write(at / "stereo.wav", np.stack([tone, tone / 3], 1), rate)
    soundfile.write(at / "silent.wav", np.zeros(rate), rate)
    soundfile.write(at / "clipped.wav", np.clip(tone * 9, -1, 1), rate)
    soundfile.write(at / "short.wav", tone[:300], rate)
    soundfile.write(at / "none.wav", tone[:0], rate)
    soundfile.write(at / "flac.wav", tone, rate, format="FLAC")
    whole = (at / "0.wav").read_bytes()
    (at / "cut.wav").write_bytes(whole[:-500])
    report = check.examine("audio_folder", {"path": root})
    expected = {
        "other sample rate": "fast.wav",
        "several channels": "stereo.wav",
        "silent clip": "silent.wav",
        "clipped clip": "clipped.wav",
        "very short clip": "short.wav",
        "clip of no length": "none.wav",
        "wrong extension": "flac.wav",
        "truncated file": "cut.wav",
        "mixed sizes": "sounds",
        "rare class": "class 'yes'",
    }
    found = kinds(report)
    for kind, item in expected.items():
        assert item in found[kind].item, kind
    assert set(found) == set(expected)
    tried = {codecs.get(name) for name in codecs.names() if name != "original" and not codecs.codec_class(name).learns}
    assert {cost.codec for cost in report.costs} == {codec.title for codec in tried if "audio" in codec.media}


@pytest.fixture
def table(tmp_path):
    """Pictures in one folder, a CSV of labels, splits and groups beside them."""
    lines = ["picture,what,split,who"]
    for number in range(24):
        save(tmp_path / "flat" / f"{number}.png")
        lines.append(f"{number},{'b10' if number % 2 else 'b9'},,p{number // 3}")
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(lines))
    columns = {"file": "picture", "label": "what", "group": "who"}
    return path, {"path": tmp_path / "flat", "labels": path, "columns": columns}


def test_labels_and_groups_come_from_a_table(table, tmp_path):
    path, options = table
    fetch("image_folder", "task", tmp_path / "out.parquet", options)
    rows = list(artifacts.iter_rows(tmp_path / "out.parquet"))
    assert artifacts.read_meta(tmp_path / "out.parquet")["classes"] == ["b10", "b9"]
    splits = {}
    for row in rows:
        number = int(row["id"].removesuffix(".png"))
        assert row["groups"] == {"who": f"p{number // 3}"} and row["label"] == (0 if number % 2 else 1)
        assert splits.setdefault(row["groups"]["who"], row["split"]) == row["split"]
    assert len(rows) == 24 and set(splits.values()) == {"train", "val", "test"}
    path.write_text(path.read_text().replace(",,", ",test,"))
    fetch("image_folder", "task", tmp_path / "out.parquet", options)
    assert {row["split"] for row in artifacts.iter_rows(tmp_path / "out.parquet")} == {"test"}


def test_groups_and_classes_of_which_the_test_split_has_few_are_named(tmp_path, capsys):
    """19 speakers at 20 sites, and a class of 9 test items; the card says what check says."""
    lines = ["file,label,split,speaker,site"]
    for number, split in enumerate(["train"] * 20 + ["val"] * 2 + ["test"] * 40):
        save(tmp_path / "flat" / f"{number}.png")
        tested = number - 22
        speaker = f"s{min(tested // 2, 18) if tested >= 0 else 100 + number}"
        label = "b" if number % 2 and tested < 18 else "a"
        lines.append(f"{number}.png,{label},{split},{speaker},site{tested % 20 if tested >= 0 else 0}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    options = {"path": str(tmp_path / "flat"), "labels": str(tmp_path / "labels.csv")}
    options["columns"] = {"group": ["speaker", "site"]}
    arguments = ["check", "--adapter", "image_folder", "--options", json.dumps(options), "--out", str(tmp_path / "o")]
    with pytest.raises(SystemExit) as status:
        cli.main(arguments)
    assert status.value.code == 0
    said, written = capsys.readouterr().out, json.loads((tmp_path / "o").read_text())["image_folder"]
    few = [one for one in written["findings"] if one["kind"] in ("few groups", "rare class", "factor in two splits")]
    assert {(one["kind"], one["item"]): one["text"].split(",")[0] for one in few} == {
        ("few groups", "speaker"): "19 in test",
        ("rare class", "class 'b'"): "has 9 items in test",
        ("factor in two splits", "site"): "has 1 of its 20 groups in test",
    }
    told = "19 of speaker with 2 to 4 items each (median 2); 20 of site with 2 items each"
    assert f"groups in test: {told}" in said
    assert {one["factor"]: one["count"] for one in written["groups"] if one["group"] in ("s18", "site3")} == {
        "speaker": 4,
        "site": 2,
    }
    fetch("image_folder", "t", tmp_path / "t.parquet", options)
    assert artifacts.read_meta(tmp_path / "t.parquet")["card"]["groups"] == told


def test_numbered_classes_are_in_the_order_of_numbers(table):
    path, options = table
    path.write_text(path.read_text().replace("b", ""))
    assert data.describe("image_folder", options).classes == ["9", "10"]


def test_faults_of_a_table_are_named_together(table, tmp_path):
    path, options = table
    lines = path.read_text().splitlines()
    lines += ["nowhere.png,b9,,p1", "0.png,b10,,p1", "1,b9,,p1", "2,,,p1", "3,b9,tset,p1"]
    del lines[6]  # picture 5
    path.write_text("\n".join(lines))
    report = check.examine("image_folder", options, {})
    found = kinds(report)
    expected = {"missing file": "nowhere.png", "file listed twice": "'0.png'", "row without a label": "'2'"}
    for kind, name in (expected | {"unknown split": "'tset'"}).items():
        every = " ".join(finding.text for finding in report.findings if finding.kind == kind)
        assert name in every and "line" in found[kind].item, kind
    assert found["file without a label"].item.endswith("5.png")
    with pytest.raises(
        data.LossyBenchError, match=r"labels\.csv, line 25: 'nowhere.png' does not exist; .*\(and 4 more"
    ):
        data.describe("image_folder", options)
    with pytest.raises(data.LossyBenchError, match=r"no column 'file' for the file; .*say which in `columns`"):
        data.describe("image_folder", {**options, "columns": {}})


def test_a_set_to_test_on_needs_no_other_split(whole, tmp_path):
    report = check.examine("image_folder", {"path": whole / "test", "fractions": {"test": 1}}, {})
    assert report.findings == [] and {split for split, _ in report.counts} == {"test"}
    shutil.rmtree(whole / "train")
    shutil.rmtree(whole / "val")
    assert data.describe("image_folder", {"path": whole}).counts == {"test": 30}
    fetch("image_folder", "t", tmp_path / "t.parquet", {"path": whole}, {"resize": 20, "crop": [16, 20]})
    assert {tuple(row["shape"]) for row in artifacts.iter_rows(tmp_path / "t.parquet")} == {(16, 20, 3)}


def test_costs_are_those_of_compressing(whole, tmp_path):
    """A set of 15 items is its own sample: the bytes must be those of the compress stage."""
    for file in (whole / "test").glob("*/test[5-9]_*.png"):
        file.unlink()
    options = {"path": whole / "test", "fractions": {"test": 1}}
    report = check.examine("image_folder", options, {"jpeg": (codecs.get("jpeg", {"chroma": "444"}), [10, 50])})
    assert [cost.label for cost in report.costs] == ["QF 50", "QF 10"]
    fetch("image_folder", "t", tmp_path / "d.parquet", options)
    for cost, level in zip(report.costs, (50, 10), strict=True):
        compress(tmp_path / "d.parquet", "jpeg", [level], [tmp_path / "c.parquet"], options={"chroma": "444"})
        rows = list(artifacts.iter_rows(tmp_path / "c.parquet"))
        assert cost.bytes == pytest.approx(sum(row["payload_bits"] + row["overhead_bits"] for row in rows) / 8)
        assert cost.rate == pytest.approx(np.mean([row["rate"] for row in rows])) and cost.seconds > 0


@pytest.mark.parametrize(("side", "warned"), [(47, True), (48, False)])
def test_ratios_of_jpeg2000_are_warned_of_where_pictures_are_small(side, warned, tmp_path, capsys):
    for title in ("cat", "dog"):
        for number in range(10):
            save(tmp_path / "in" / title / f"{number}.png", picture(side, 60))
    config = tmp_path / "study.yaml"
    data_set = {"adapter": "image_folder", "path": str(tmp_path / "in")}
    tasks = {"animals": {"data": data_set, "codecs": {"jpeg": [30], "jpeg2000": [20]}, "models": {"resnet": None}}}
    config.write_text(json.dumps({"tasks": tasks, "results": str(tmp_path / "results")}))
    check.check(config)
    text = "below 48 pixels a side ratios are not reached"
    said = capsys.readouterr().out
    assert (text in said) == ("level that says little (1)" in said) == warned
    assert (f"animals, JPEG 2000: warning: {text}" in plan.describe(study.load(config), 2)) == warned


def test_a_study_is_checked_by_its_own_codecs(whole, tmp_path, capsys):
    config = tmp_path / "study.yaml"
    data_set = {"adapter": "image_folder", "path": str(whole)}
    tasks = {"animals": {"data": data_set, "codecs": {"jpeg": [30]}, "models": {"resnet": None}}}
    config.write_text(json.dumps({"tasks": tasks}))
    with pytest.raises(SystemExit) as status:
        cli.main(["check", str(config)])
    said = capsys.readouterr().out
    assert status.value.code == 0
    assert (
        "Findings: none" in said and "QF 30" in said and "JPEG2000" not in said and "36 train, 9 val, 30 test" in said
    )
    tasks["animals"]["data"]["path"] = str(tmp_path / "nowhere")
    config.write_text(json.dumps({"tasks": tasks}))
    with pytest.raises(SystemExit) as status:
        cli.main(["check", str(config), "--task", "animals"])
    assert status.value.code == 1 and "nowhere does not exist" in capsys.readouterr().out


def test_generated_media_of_a_study_are_checked_too(tmp_path, capsys):
    data_set = {"adapter": "spoken_words", "train": 12, "val": 12, "test": 12}
    config = tmp_path / "study.yaml"
    tasks = {"words": {"data": data_set, "codecs": {"mp3": [32]}, "models": {"logmel_cnn": None}}}
    config.write_text(json.dumps({"tasks": tasks}))
    with pytest.raises(SystemExit) as status:
        cli.main(["check", str(config)])
    assert status.value.code == 0 and "12 train, 12 val, 12 test" in capsys.readouterr().out


def test_all_faults_of_coco_annotations_are_listed(tmp_path):
    images = [{"id": n, "file_name": f"{n}.png", "width": 48, "height": 40} for n in range(30)]
    for image in images[2:]:
        save(tmp_path / "images" / image["file_name"])
    boxes = [{"id": n, "image_id": n, "category_id": 1, "bbox": [1, 1, 9, 9]} for n in range(30)]
    boxes[7]["bbox"], boxes[8]["bbox"] = [1, 1, 0, 9], [90, 1, 5, 5]
    content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "cell"}]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    report = check.examine("coco", {"annotations": tmp_path / "a.json", "images": tmp_path / "images"}, {})
    named = " ".join(finding.item + finding.text for finding in report.findings)
    for name in ("0.png", "1.png", "annotation 7", "annotation 8"):
        assert name in named
    assert report.impossible and len(report.findings) == 5 and len(report.sizes) == 28


def test_other_adapters_are_checked_by_their_items():
    report = check.examine("digits", {"train": 10, "val": 10, "test": 10}, {"jpeg": (codecs.get("jpeg"), [50])})
    assert not report.impossible and len(report.sizes) == 30 and len(report.costs) == 1
    assert codecs.get("jpeg").title == report.costs[0].codec


# What check refuses fetch refuses, and what it accepts fetch accepts ----------------------------------------------


def _on_pictures(change):
    """A fault of a folder with train, val and test folders of the classes cat and dog."""
    change.table = False
    return change


def _rewrite(*lines):
    """A fault of a CSV: these lines are added to one that is right."""

    def change(root):
        with (root / "labels.csv").open("a") as file:
            file.write("".join(f"{line}\n" for line in lines))

    change.table = True
    return change


def _all_broken(split, title):
    def change(root):
        for path in (root / split / title).iterdir():
            path.write_bytes(b"no picture")

    return _on_pictures(change)


def _file(name, content=b"no picture"):
    def change(root):
        path = root / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((root / "test/cat/0.png").read_bytes() if content is None else content)

    return _on_pictures(change)


def _emptied(*names):
    def change(root):
        for name in names:
            shutil.rmtree(root / name)

    return _on_pictures(change)


def _linked(name, to):
    return _on_pictures(lambda root: (root / name).symlink_to(to))


def _one_class(root):
    for split in ("train", "val", "test"):
        shutil.rmtree(root / split / "dog")


def _one_item_a_class(root):
    for path in list(root.rglob("[1-9]*.png")):
        path.unlink()


def _too_wide(root):
    Image.new("RGB", (1_000_001, 1)).save(root / "train/cat/wide.png")


FAULTS = {
    "nothing": _on_pictures(lambda root: None),
    "empty file": _file("train/cat/x.png", b""),
    "text for a picture": _file("train/cat/x.png"),
    "dangling link": _linked("train/cat/x.png", "nowhere"),
    "folder for a file": _file("train/cat/x.png/y.png"),
    "pipe": _on_pictures(lambda root: os.mkfifo(root / "train/cat/x.png")),
    "hidden file": _file("train/cat/.x.png"),
    "junk": _file("train/cat/@eaDir/x.png"),
    "junk class": _file("train/__MACOSX/x.png"),
    "hidden class": _file("train/.ipynb_checkpoints/x.png"),
    "unknown kind": _file("train/cat/x.txt"),
    "unknown extension": _file("train/cat/x.png.bak", None),
    "no extension": _file("train/cat/x", None),
    "no extension, no picture": _file("train/cat/x"),
    "file without a class": _file("train/x.png", None),
    "file beside the splits": _file("x.png", None),
    "empty class": _file("train/eel/x.txt"),
    "class in training alone": _file("train/eel/x.png", None),
    "no training items of a class that can be read": _all_broken("train", "dog"),
    "no test items of a class that can be read": _all_broken("test", "dog"),
    "no validation items of a class that can be read": _all_broken("val", "dog"),
    "one class": _on_pictures(_one_class),
    "one item a class": _on_pictures(_one_item_a_class),
    "no test folder": _emptied("test"),
    "test folder alone": _emptied("train", "val"),
    "classes beside splits": _file("cat/x.png", None),
    "classes that differ by case": _on_pictures(
        lambda root: [shutil.copytree(root / s / "cat", root / s / "Cat") for s in ("train", "val", "test")]
    ),
    "name not in UTF-8": _file(b"train/cat/\xe9.png", None),
    "class not in UTF-8": _file(b"train/\xe9/x.png", None),
    "newline in a name": _file("train/cat/new\nline.png", None),
    "same content, two classes": _file("train/dog/x.png", None),
    "link to the root": _linked("train/cat/loop", "../.."),
    "picture that is too wide": _on_pictures(_too_wide),
    "right table": _rewrite(),
    "row of a missing file": _rewrite("nowhere.png,cat,train"),
    "row of a file outside": _rewrite("../labels.csv,cat,train"),
    "row of three fields too many": _rewrite("train/cat/0.png,a,b,c,train"),
    "row of too few fields": _rewrite("test/cat/0.png"),
    "file listed twice alike": _rewrite("train/cat/0.png,cat,train"),
    "file listed twice": _rewrite("train/cat/0.png,dog,train"),
    "no label": _rewrite("val/cat/2.png,,train"),
    "missing value": _rewrite("val/cat/2.png,nan,train"),
    "unknown split": _rewrite("val/cat/2.png,cat,extra"),
    "no split": _rewrite("val/cat/2.png,cat,"),
    "single item of a class": _rewrite("val/cat/2.png,eel,train"),
    "unclosed quote": _rewrite('"val/cat/2.png,cat,train'),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    root = tmp_path_factory.mktemp("sound")
    lines = ["file,label,split"]
    for split, count in (("train", 6), ("val", 3), ("test", 4)):
        for title in ("cat", "dog"):
            for number in range(count):
                save(root / split / title / f"{number}.png", picture(20, 24))
                if (split, title, number) != ("val", "cat", 2):
                    lines.append(f"{split}/{title}/{number}.png,{title},{split}")
    (root / "labels.csv").write_text("\n".join([*lines, ""]))
    return root


@pytest.mark.parametrize("on_error", ["stop", "skip"])
@pytest.mark.parametrize("fault", FAULTS)
def test_check_and_fetch_agree(fault, on_error, sound, tmp_path, caplog):
    root = tmp_path / "data"
    shutil.copytree(sound, root)
    FAULTS[fault](root)
    options = {"path": root, "on_error": on_error} | ({"labels": root / "labels.csv"} if FAULTS[fault].table else {})
    report = check.examine("image_folder", options, {})
    said = check.text(report)
    said.encode()
    assert "\x0a" not in "".join(finding.item + finding.text for finding in report.findings)
    table = tmp_path / "data.parquet"
    if report.impossible:
        with pytest.raises(data.LossyBenchError):
            fetch("image_folder", "t", table, options)
        assert not table.exists()
        return
    fetch("image_folder", "t", table, options)
    card = artifacts.read_meta(table)["card"]
    counted = collections.Counter(finding.kind for finding in report.findings if finding.left_out)
    assert sorted(re.findall(r"(?:^|; )([^;:]*? \(\d+\)): ", card.get("left_out", ""))) == sorted(
        f"{kind} ({count})" for kind, count in counted.items()
    )
    assert card.get("left_out", "") in caplog.text
    rows = list(artifacts.iter_rows(table, ["split", "label"]))
    assert collections.Counter((row["split"], row["label"]) for row in rows) == report.counts


# What headers tell of the class ------------------------------------------------------------------------------------


def told_of(report, kind="property tells the class"):
    return {finding.item: finding.text for finding in report.findings if finding.kind == kind}


def test_a_format_or_quality_that_tells_the_class_is_told(tmp_path):
    for number in range(12):
        for kind, how in {"png": {}, "jpg": {"quality": 90}, "weak.jpg": {"quality": 60}, "webp": {}}.items():
            save(tmp_path / kind / f"{number}.{kind}", **how)
    for title, kind in (("real", "jpg"), ("fake", "png")):
        shutil.copytree(tmp_path / kind, tmp_path / "formats" / title)
    for title, kind in (("real", "jpg"), ("fake", "weak.jpg")):
        shutil.copytree(tmp_path / kind, tmp_path / "qualities" / title)
    said = told_of(check.examine("image_folder", {"path": tmp_path / "formats"}, {}))
    assert set(said) == {"format"}
    for words in (
        "'fake' is PNG (12 of 12)",
        "'real' is JPEG (12 of 12)",
        "right of 100% of the items",
        "of 50%",
        "V 1.00",
    ):
        assert words in said["format"]
    said = told_of(check.examine("image_folder", {"path": tmp_path / "qualities"}, {}))
    assert set(said) == {"JPEG quality"} and "'fake' is 60 (12 of 12), 'real' is 90 (12 of 12)" in said["JPEG quality"]


def test_sizes_and_rates_that_tell_the_class_are_told(tmp_path):
    tone = 0.3 * np.sin(np.arange(24000) / 7)
    for number in range(10):
        save(tmp_path / "pictures" / "cat" / f"{number}.png", picture(40, 48))
        save(tmp_path / "pictures" / "dog" / f"{number}.png", picture(40, 60 + number % 3))
        for title, rate, subtype in (("yes", 16000, "PCM_16"), ("no", 8000, "PCM_24")):
            (tmp_path / "sounds" / title).mkdir(parents=True, exist_ok=True)
            samples = tone[: rate + number] * (1 - number / 20)
            soundfile.write(tmp_path / "sounds" / title / f"{number}.wav", samples, rate, subtype=subtype)
    said = told_of(check.examine("image_folder", {"path": tmp_path / "pictures"}, {}))
    assert set(said) == {"width"} and "'cat' is 48 (10 of 10)" in said["width"]
    said = told_of(check.examine("audio_folder", {"path": tmp_path / "sounds"}, {}))
    assert set(said) == {"coding", "sampling rate"} and "'no' is 8000 Hz" in said["sampling rate"]


def test_a_property_that_differs_by_split_is_told(tmp_path):
    for title in ("cat", "dog"):
        for number in range(12):
            save(tmp_path / "train" / title / f"{number}.jpg")
            save(tmp_path / "test" / title / f"{number}.png")
    report = check.examine("image_folder", {"path": tmp_path}, {})
    assert set(told_of(report)) == set() and set(told_of(report, "property differs by split")) == {"format"}


def test_the_strength_and_chance_of_an_association_are_those_of_others():
    counts = np.array([[30, 10, 5], [12, 25, 8], [6, 7, 31]])
    found = scipy.stats.chi2_contingency(counts, correction=False)
    assert leaks.chance(counts) == pytest.approx(found.pvalue)
    many = counts * 1000  # where the correction for bias vanishes
    assert leaks.cramers_v(many) == pytest.approx(scipy.stats.contingency.association(many, "cramer"), abs=1e-3)
    for few in ([[6, 0], [0, 6]], [[5, 1], [1, 5]], [[4, 2], [2, 4]]):
        exact = scipy.stats.fisher_exact(few).pvalue
        assert leaks.chance(np.array(few)) == pytest.approx(
            exact, abs=4 * np.sqrt(exact / leaks.DRAWS) + 1 / leaks.DRAWS
        )
    assert leaks.cramers_v(np.array([[1, 0], [0, 1]])) == 0.0


def test_chance_seldom_makes_a_warning():
    """Of data sets whose properties tell nothing, a warning is given for one in a hundred at most."""
    random, warned = np.random.default_rng(0), 0
    for _ in range(200):
        counted = leaks.Leaks()
        for number in range(24):
            found = {"format": random.choice(["JPEG", "PNG"]), "width": int(random.integers(300, 400))}
            counted.add(found | {"quality": int(random.integers(3))}, random.choice(["train", "test"]), number % 2)
        warned += bool(counted.findings(["cat", "dog"]))
    assert warned <= 200 * leaks.ERROR + 3 * np.sqrt(200 * leaks.ERROR)


def test_findings_are_shown_from_many_folders(whole):
    for split in ("train", "test"):
        for title in ("cat", "dog", "eel"):
            for number in range(15):
                (whole / split / title / f"bad{number:02d}.png").write_text("none")
    said = check.text(check.examine("image_folder", {"path": whole}, {}))
    shown = [line for line in said.splitlines() if "bad" in line]
    assert len(shown) == check.SHOWN and "and 80 more" in said
    assert len({line.partition("/bad")[0] for line in shown}) == 6


def test_sizes_that_a_codec_or_model_cannot_take_are_told(tmp_path, capsys):
    for title in ("cat", "dog"):
        save(tmp_path / "in" / title / "a.png")
        save(tmp_path / "in" / title / "wide.png", picture(2, 16_500))
    (tmp_path / "m.pt").touch()
    options = {"adapter": "image_folder", "path": str(tmp_path / "in"), "fractions": {"test": 1}}

    def said(codecs_of, **settings):
        model = {"checkpoint": str(tmp_path / "m.pt"), "classes": ["cat", "dog"], **settings}
        tasks = {"t": {"data": options, "codecs": codecs_of, "models": {"mine": model}}}
        (tmp_path / "study.yaml").write_text(json.dumps({"tasks": tasks}))
        status = check.check(tmp_path / "study.yaml")
        return status, capsys.readouterr().out

    status, text = said({"webp": [30]})
    assert status == 1 and "error: cannot be compressed (2)" in text and "of 16500 x 2 pixels" in text
    assert "warning: mixed sizes (1)" in text and "mine cannot take them without input_size" in text
    status, text = said({"jpeg": [30]}, input_size=[32, 32])
    assert status == 0 and "note: mixed sizes (1)" in text
