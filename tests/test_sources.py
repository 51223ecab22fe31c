"""What makes `fetch` run again: the index of a user's files, and real Snakemake runs on files that change."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from lossybench import artifacts, data, sources
from lossybench.data._files import ClassFolders
from lossybench.errors import LossyBenchError
from lossybench.stages.fetch import fetch

ROOT = Path(__file__).parents[1]
LONG_AGO = 1_000_000_000_000_000_000


def picture(path: Path, number: int) -> None:
    """A bitmap, whose size in bytes does not depend on its content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((12, 12, 3), number, np.uint8)).save(path, "BMP")


def folders(root: Path, count: int = 10) -> Path:
    for label, title in enumerate(("cat", "dog")):
        for number in range(count):
            picture(root / title / f"{number}.bmp", 100 * label + number)
    return root


class Watched:
    """A folder of pictures with its index and data table."""

    def __init__(self, folder: Path, monkeypatch) -> None:
        self.photos, self.results, self.read = folders(folder / "photos"), folder / "results", []
        self.options = {"path": str(self.photos)}
        self.places = (self.results / "index/photos.parquet", self.results / "data/photos.parquet")
        digest = hashlib.file_digest
        monkeypatch.setattr(hashlib, "file_digest", lambda file, how: self.read.append(file.name) or digest(file, how))

    def look(self, **options) -> sources.Seen:
        self.read.clear()
        return sources.look("image_folder", {**self.options, **options}, 0, *self.places)

    def fetch(self) -> None:
        fetch("image_folder", "photos", self.places[1], self.options, sources=self.look().digest)

    def settle(self) -> None:
        """Let the moment pass in which a change may leave a file's times as they were."""
        time.sleep(sources.RACY_NS / 1e9 + 0.1)
        self.look()


@pytest.fixture
def watched(tmp_path, monkeypatch):
    return Watched(tmp_path, monkeypatch)


def test_only_files_with_new_times_are_read_and_their_content_decides(watched):
    seen = watched.look()
    assert len(watched.read) == 20 and seen.digest and not seen.changes
    watched.settle()
    assert watched.look() == seen and not watched.read
    (watched.photos / "cat/3.bmp").touch()
    assert watched.look() == seen and watched.read == [str(watched.photos / "cat/3.bmp")]
    shutil.copytree(watched.photos, watched.photos.with_name("copy"), copy_function=shutil.copyfile)
    shutil.rmtree(watched.photos)
    watched.photos.with_name("copy").rename(watched.photos)
    assert watched.look() == seen and len(watched.read) == 20


def test_the_description_is_asked_for_again_only_when_something_changed(watched, monkeypatch):
    watched.look()
    watched.settle()
    asked = []
    expected = data.describe("image_folder", watched.options)
    describe = ClassFolders.describe
    monkeypatch.setattr(ClassFolders, "describe", lambda *given: asked.append(given) or describe(*given))
    assert watched.look().description == expected and not asked
    assert watched.look(fractions={"test": 1}).description.counts == {"test": 20} and asked
    picture(watched.photos / "cat/new.bmp", 55)
    assert sum(watched.look().description.counts.values()) == 21


def test_changes_are_told_by_name_until_the_next_fetch(watched):
    watched.fetch()
    first = watched.look()
    cat = watched.photos / "cat"
    picture(cat / "new.bmp", 77)
    (cat / "1.bmp").unlink()
    (cat / "2.bmp").rename(cat / "2b.bmp")
    picture(cat / "3.bmp", 78)  # in place, of the same size
    expected = {"added": ["2b.bmp", "new.bmp"], "removed": ["1.bmp", "2.bmp"], "edited": ["3.bmp"]}
    for _ in range(2):
        seen = watched.look()
        assert seen.changes == {kind: [str(cat / name) for name in names] for kind, names in expected.items()}
        assert seen.digest != first.digest
    watched.fetch()
    assert not watched.look().changes
    (cat / "new.bmp").unlink()
    assert watched.look().changes == {"removed": [str(cat / "new.bmp")]}
    picture(cat / "new.bmp", 77)
    assert not watched.look().changes  # as it was when fetched
    watched.places[1].unlink()
    (cat / "new.bmp").unlink()
    assert not watched.look().changes  # nothing to compare with


def test_the_index_is_written_only_when_something_changed(watched):
    watched.fetch()
    (watched.photos / "cat/1.bmp").unlink()
    watched.settle()
    files = list((watched.results / "index").iterdir())
    before = [file.stat().st_mtime_ns for file in files]
    assert watched.look().changes and [file.stat().st_mtime_ns for file in files] == before and len(files) == 2
    (watched.photos / "cat/2.bmp").touch()
    watched.look()
    assert [file.stat().st_mtime_ns for file in files] != before


def test_names_are_told_up_to_five():
    changes = {"added": [f"{n}.png" for n in range(7)], "edited": ["a.csv"]}
    assert sources.tell(changes) == "7 added (0.png, 1.png, 2.png, 3.png, 4.png and 2 more), 1 edited (a.csv)"


@pytest.mark.parametrize("when", [None, LONG_AGO, 4 * LONG_AGO], ids=["now", "long ago", "in future"])
def test_an_edit_right_after_hashing_that_leaves_size_and_mtime_is_found(watched, when):
    file = watched.photos / "dog/0.bmp"
    stat = file.stat()
    times = (when or stat.st_mtime_ns, when or stat.st_mtime_ns)
    os.utime(file, ns=times)
    before = watched.look().digest
    picture(file, 9)
    os.utime(file, ns=times)
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (stat.st_size, times[0])
    assert watched.look().digest != before


def test_an_edit_long_after_hashing_that_leaves_size_and_mtime_is_found(watched):
    file = watched.photos / "dog/0.bmp"
    stat, before = file.stat(), watched.look().digest
    watched.settle()
    picture(file, 9)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert watched.look().digest != before and watched.read == [str(file)]


def test_even_when_no_time_tells(watched):
    """The index is made to hold the edited file's times, as a file system that counts in coarse steps would give."""
    file = watched.photos / "dog/0.bmp"
    before = watched.look().digest
    picture(file, 9)
    rows = list(artifacts.iter_rows(watched.places[0]))
    for row in rows:
        if row["path"] == os.fsencode(file):
            row.update(mtime_ns=file.stat().st_mtime_ns, ctime_ns=file.stat().st_ctime_ns)
    artifacts.write_table(watched.places[0], sources.SCHEMA, rows)
    assert watched.look().digest != before


def test_only_what_the_adapter_reads_counts(watched):
    seen = watched.look()
    (watched.photos / "cat/Thumbs.db").write_bytes(b"thumbs")
    (watched.photos / "cat/.hidden.bmp").write_bytes(b"hidden")
    (watched.photos / "notes.csv").write_text("no labels of this task")
    picture(watched.photos / "cat/.thumbnails/1.bmp", 1)
    assert watched.look() == seen
    apart = folders(watched.photos.with_name("apart"), 3)
    (watched.photos / "cat/linked").symlink_to(apart / "cat", target_is_directory=True)
    (watched.photos / "cat/circle").symlink_to(watched.photos, target_is_directory=True)
    counted = watched.look()
    assert counted.digest != seen.digest and sum(counted.description.counts.values()) == 23
    picture(apart / "cat/0.bmp", 99)
    assert watched.look().digest != counted.digest


def test_files_may_lie_anywhere(watched, monkeypatch):
    """Paths that begin with .. or lie in a hidden folder are the user's own choice."""
    photos = watched.photos.rename(watched.photos.with_name(".photos"))
    (photos.parent / ".labels.csv").write_text("\n".join(f"{t}/{n},{t}" for t in ("cat", "dog") for n in range(10)))
    (photos.parent / "below").mkdir()
    monkeypatch.chdir(photos.parent / "below")
    options = {"path": "../.photos", "labels": "../.labels.csv"}
    found = [path for source in data.get("image_folder", options).sources() for path in source.files()]
    assert len(set(found)) == 21 and all(path.is_file() for path in found)


def test_results_beside_the_pictures_do_not_count(tmp_path):
    folder = tmp_path / "coco"
    names = coco(folder)
    options = {"annotations": str(folder / "boxes.json"), "images": str(folder)}
    places = (folder / "results/index/coco.parquet", folder / "results/data/coco.parquet")
    seen = sources.look("coco", options, 0, *places)
    picture(folder / "results/figures/limits.png", 3)
    assert sources.look("coco", options, 0, *places) == seen
    picture(folder / names[0], 200)
    assert sources.look("coco", options, 0, *places).digest != seen.digest


def test_no_failure_is_remembered(watched):
    watched.look()
    shutil.rmtree(watched.photos / "dog")
    for _ in range(2):
        with pytest.raises(LossyBenchError, match="1 class folders; classification needs two or more"):
            watched.look()
    shutil.rmtree(watched.photos)
    with pytest.raises(LossyBenchError, match="does not exist"):
        watched.look()


def test_jobs_read_the_index_and_list_nothing(watched):
    seen = watched.look()
    shutil.rmtree(watched.photos)
    assert sources.recall("image_folder", watched.options, 0, *watched.places) == seen
    with pytest.raises(LossyBenchError, match="does not exist"):  # of another seed there is no index
        sources.recall("image_folder", watched.options, 1, *watched.places)
    folders(watched.photos)
    shutil.rmtree(watched.results)
    assert sources.recall("image_folder", watched.options, 0, *watched.places).digest == seen.digest
    assert not watched.results.exists()


def test_a_file_that_cannot_be_read_is_the_adapters_affair(watched):
    seen = watched.look()
    (watched.photos / "cat/1.bmp").unlink()
    (watched.photos / "cat/1.bmp").symlink_to("nowhere.bmp")
    other = watched.look()
    assert other.digest != seen.digest and other.description == seen.description
    assert watched.look() == other
    watched.settle()
    (watched.photos / "cat/nowhere.bmp").write_bytes((watched.photos / "cat/2.bmp").read_bytes())
    assert watched.look().digest not in (seen.digest, other.digest)


def test_files_without_extension_are_known_by_content(watched):
    """Whether such a file is read depends on its content, so an edit that makes it a picture has to be seen."""
    seen = watched.look()
    (watched.photos / "cat/plain").write_text("no picture")
    noted = watched.look()
    assert noted.digest != seen.digest and noted.description == seen.description
    picture(watched.photos / "cat/plain", 40)
    found = watched.look()
    assert found.digest != noted.digest and sum(found.description.counts.values()) == 21


def test_a_pipe_among_the_files_is_not_waited_for(watched):
    os.mkfifo(watched.photos / "cat/pipe.bmp")
    os.mkfifo(watched.photos / "cat/pipe")
    watched.look()
    with pytest.raises(LossyBenchError, match=r"cat/pipe\.bmp: is no file"):
        watched.fetch()


def test_files_that_change_during_a_fetch_stop_it(watched, monkeypatch):
    digest, (index, table) = watched.look().digest, watched.places
    read = data.get("image_folder", watched.options).decode

    def meddled(adapter, path):
        picture(watched.photos / "cat/0.bmp", 200)
        return read(path)

    fetch("image_folder", "photos", table, watched.options, sources=digest, index=index)
    assert artifacts.read_meta(table)["sources"] == digest
    table.unlink()
    monkeypatch.setattr("lossybench.data.image_folder.ImageFolder.decode", meddled)
    with pytest.raises(
        LossyBenchError, match=r"'photos' have changed since this run began: 1 edited \(\S+cat/0\.bmp\)"
    ):
        fetch("image_folder", "photos", table, watched.options, sources=digest, index=index)
    assert not table.exists()


def test_sets_that_are_generated_or_downloaded_have_no_index(tmp_path):
    places = (tmp_path / "index/one.parquet", tmp_path / "data/one.parquet")
    for adapter, options in (("digits", {"train": 30, "val": 10, "test": 10}), ("fsdd", {})):
        seen = sources.look(adapter, options, 0, *places)
        assert (seen.digest, seen.changes) == ("", {}) and seen.description == data.describe(adapter, options)
    assert not list(tmp_path.iterdir())


def test_all_of_an_unpacked_public_set_counts(tmp_path):
    """Each adapter reads lists, notes and media of its own, so all files count, in linked folders too."""
    folders(tmp_path / "elsewhere")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/media").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "set/list").write_text("train")
    for adapter in ("imagenette", "mot17det", "esc50"):
        (found,) = data.get(adapter, {"path": tmp_path / "set"}).sources()
        assert len(set(found.files())) == 21
        assert data.get(adapter).sources() == []


# Real runs of Snakemake ------------------------------------------------------------------------------------------


def coco(folder: Path, count: int = 10) -> list[str]:
    names = [f"{number}.bmp" for number in range(count)]
    for number, name in enumerate(names):
        picture(folder / name, number)
    content = {
        "images": [{"id": n, "file_name": name, "width": 12, "height": 12} for n, name in enumerate(names)],
        "annotations": [{"id": n, "image_id": n, "category_id": 1, "bbox": [1, 2, 5, 6]} for n in range(count)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }
    (folder / "boxes.json").write_text(json.dumps(content))
    return names


def street(folder: Path, frames: int = 12) -> None:
    for number in range(1, frames + 1):
        picture(folder / f"img1/{number:06d}.bmp", number)
    info = f"imDir=img1\nframeRate=25\nseqLength={frames}\nimWidth=12\nimHeight=12\nimExt=.bmp\n"
    (folder / "seqinfo.ini").write_text(f"[Sequence]\n{info}")
    (folder / "gt").mkdir()
    (folder / "gt/gt.txt").write_text("".join(f"{n},1,2,3,5,6,1,1,1\n" for n in range(1, frames + 1)))


def task(models: dict, **options) -> dict:
    return {"data": options, "codecs": {"jpeg": [50]}, "models": models}


RESNET = {"resnet": {"input_size": [16, 16]}}
STUDY = {
    "tasks": {
        "digits": task({"resnet": {}}, adapter="digits", train=60, val=20, test=20),
        "photos": task({"resnet": {"input_size": [16, 16]}}, adapter="image_folder", path="photos"),
        "listed": task(
            {"resnet": {"input_size": [16, 16]}}, adapter="image_folder", path="photos", labels="labels.csv"
        ),
        "boxes": task({"fcos": {}}, adapter="coco", annotations="coco/boxes.json", images="coco"),
        "street": {**task({"fcos": {}}, adapter="mot", path="street", clip_frames=2, gap=0), "codecs": {"h264": [30]}},
    }
}
STUDY["tasks"]["street"]["data"]["fractions"] = {"train": 0.5, "val": 0.25, "test": 0.25}


def snakemake(folder: Path, *arguments: str) -> str:
    targets = [f"results/data/{name}.parquet" for name in STUDY["tasks"]]
    targets += [f"results/compressed/{name}/original/0/test.parquet" for name in ("digits", "photos")]
    command = [sys.executable, "-m", "snakemake", "-s", f"{ROOT}/Snakefile", "--configfile", "study.yaml"]
    command += ["--cores", "2", "--scheduler", "greedy", *arguments, *targets]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    return done.stdout + done.stderr


def planned(text: str) -> list[str]:
    """The tasks of the jobs that a dry run would do, after the names of their stages."""
    return sorted(re.findall(r"^ *Job \d+: (\w+ (?:the items of )?\w+)", text, re.MULTILINE))


def told(text: str) -> list[str]:
    return [line for line in text.splitlines() if "changed since they were fetched" in line]


@pytest.fixture(scope="module")
def fetched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    folders(folder / "photos")
    rows = [f"{title}/{n}.bmp,{title}" for title in ("cat", "dog") for n in range(10)]
    (folder / "labels.csv").write_text("\n".join(["file,label", *rows, ""]))
    coco(folder / "coco")
    street(folder / "street")
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY, sort_keys=False))
    assert not told(snakemake(folder))
    return folder


@pytest.fixture
def study(fetched, tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(fetched, folder)
    return folder


PHOTOS = ["Compressing photos", "Fetching the items of listed", "Fetching the items of photos"]


def test_new_times_rerun_nothing(study):
    for name in ("photos", "coco", "street"):
        shutil.copytree(study / name, study / "copy", copy_function=shutil.copyfile)
        shutil.rmtree(study / name)
        (study / "copy").rename(study / name)
    (study / "labels.csv").touch()
    text = snakemake(study, "-n")
    assert "Nothing to be done" in text and not told(text)


def _added(photos: Path) -> str:
    picture(photos / "cat/new.bmp", 50)
    return "1 added (photos/cat/new.bmp)"


def _removed(photos: Path) -> str:
    (photos / "dog/4.bmp").rename(photos / "dog/4.txt")  # no picture by its name
    return "1 removed (photos/dog/4.bmp)"


def _edited(photos: Path) -> str:
    stat = (photos / "dog/4.bmp").stat()
    picture(photos / "dog/4.bmp", 51)
    os.utime(photos / "dog/4.bmp", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (photos / "dog/4.bmp").stat().st_size == stat.st_size
    return "1 edited (photos/dog/4.bmp)"


def _renamed(photos: Path) -> str:
    (photos / "dog/4.bmp").rename(photos / "dog/four.bmp")
    return "1 added (photos/dog/four.bmp), 1 removed (photos/dog/4.bmp)"


@pytest.mark.parametrize("change", [_added, _edited])
def test_a_changed_picture_reruns_the_tasks_that_read_it(study, change):
    expected = change(study / "photos")
    text = snakemake(study, "-n")
    assert planned(text) == PHOTOS
    assert told(text) == [f"{name}: data changed since they were fetched: {expected}" for name in ("photos", "listed")]


@pytest.mark.parametrize("change", [_removed, _renamed])
def test_a_picture_that_is_gone_reruns_fetch(study, change):
    rows = (study / "labels.csv").read_text().replace("dog/4.bmp,dog\n", "")
    (study / "labels.csv").write_text(rows)  # else the study stops: it names a file that is not there
    expected = change(study / "photos")
    text = snakemake(study, "-n")
    assert planned(text) == PHOTOS
    assert told(text)[0] == f"photos: data changed since they were fetched: {expected}"


def test_changed_annotations_rerun_their_task_once(study):
    def edit(name: str, old: str, new: str) -> None:
        text = (study / name).read_text()
        assert old in text and len(old) == len(new)
        (study / name).write_text(text.replace(old, new, 1))

    edit("labels.csv", "cat/3.bmp,cat", "cat/3.bmp,dog")
    edit("coco/boxes.json", "[1, 2, 5, 6]", "[1, 2, 5, 7]")
    edit("street/gt/gt.txt", "1,1,2,3,5,6", "1,1,2,3,5,7")
    expected = {"listed": "labels.csv", "boxes": "coco/boxes.json", "street": "street/gt/gt.txt"}
    lines = [f"{name}: data changed since they were fetched: 1 edited ({file})" for name, file in expected.items()]
    for _ in range(2):
        text = snakemake(study, "-n")
        assert planned(text) == sorted(f"Fetching the items of {name}" for name in expected) and told(text) == lines
    before = {name: (study / f"results/data/{name}.parquet").stat().st_mtime_ns for name in STUDY["tasks"]}
    snakemake(study)
    after = {name: (study / f"results/data/{name}.parquet").stat().st_mtime_ns for name in STUDY["tasks"]}
    assert {name for name in after if after[name] != before[name]} == set(expected)
    text = snakemake(study, "-n")
    assert "Nothing to be done" in text and not told(text)
