"""The store of decoded media: same weights with and without it, whatever it holds, and however jobs end."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import itertools
import json
import logging
import multiprocessing
import os
import re
import signal
import time
from pathlib import Path

import media_tables
import numpy as np
import pytest

from lossybench import artifacts, codecs, decoded, kinds, masks, models, tasks, training
from lossybench.decoded import BLOCK, GB, Records, Shelf, Store
from lossybench.stages.train import train
from lossybench.tasks.training_settings import TrainingSettings

FILES = (models.WEIGHTS, models.INFO, models.HISTORY)
SETTINGS = {"epochs": 2, "batch_size": 8, "device": "cpu"}
ITEMS, SIZE = 48 + 16, 32 * 32 * 3  # of each source: items, and bytes of each
fork = multiprocessing.get_context("fork")


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Data table, original train part, and two JPEG train parts."""
    folder = tmp_path_factory.mktemp("toy")
    data, original, _ = media_tables.image_task(folder)
    lossy = [
        media_tables.write_compressed(folder / f"{level}.parquet", data, "jpeg", level, ("train", "val"))
        for level in (60, 20)
    ]
    return data, original, *lossy


def _train(toy, out, sources, store=None, room=1.0, seed=0, **settings):
    regime = "mixed" if len(sources) > 1 else "original"
    train(toy[0], sources, "toy", "resnet", regime, out, {**SETTINGS, **settings}, seed, decoded=store, room=room)
    return {name: (out / name).read_bytes() for name in FILES}


@pytest.fixture
def decodings(monkeypatch):
    """The payloads that were decoded, one after the other."""
    found: list[bytes] = []
    for name in ("original", "jpeg"):
        cls = codecs.codec_class(name)

        def counted(self, payload, shape, sampling_rate=0.0, decode=cls.decode):
            found.append(payload)
            return decode(self, payload, shape, sampling_rate)

        monkeypatch.setattr(cls, "decode", counted)
    return found


def test_models_share_what_is_decoded_and_have_the_same_bytes(toy, tmp_path, decodings):
    runs = [([*toy[1:]], 0), ([*toy[1:]], 1), ([toy[1]], 0), ([toy[2]], 5)]
    alone = [_train(toy, tmp_path / f"alone{n}", sources, seed=seed) for n, (sources, seed) in enumerate(runs)]
    assert len(decodings) > 1.5 * len(set(decodings))  # each for itself
    decodings.clear()
    for order in ([0, 1, 2, 3], [3, 2, 1, 0]):
        store = tmp_path / f"store{order[0]}"
        for n in order:
            sources, seed = runs[n]
            assert _train(toy, tmp_path / f"{order[0]}-{n}", sources, store, seed=seed) == alone[n]
        assert len(decodings) == len(set(decodings)) <= ITEMS * 3
        decodings.clear()
    for n, (sources, seed) in enumerate(runs):
        assert _train(toy, tmp_path / f"again{n}", sources, store, seed=seed) == alone[n]
    assert not decodings


def test_a_mixed_model_adds_only_what_it_draws(toy, tmp_path, decodings):
    _train(toy, tmp_path / "a", [*toy[1:]], tmp_path / "store", draws=1)
    rate = len(decodings) / ITEMS
    assert 1 <= rate < 1.5  # one version an item, and of val items the originals too
    written = sum(512 * file.stat().st_blocks for file in (tmp_path / "store").rglob("*.records"))
    assert written < 1.2 * rate * ITEMS * SIZE + 3 * 4096 * BLOCK


@pytest.mark.parametrize("records", [0, 10, ITEMS, ITEMS + 7])
def test_the_room_is_kept_and_the_rest_lies_apart(toy, tmp_path, records, caplog):
    sources, store = [*toy[1:]], tmp_path / "store"
    alone = _train(toy, tmp_path / "alone", sources)
    with caplog.at_level(logging.INFO):
        for n in "ab":
            assert _train(toy, tmp_path / n, sources, store, (records * SIZE + 1) / GB) == alone
    assert sum(file.stat().st_size for file in store.rglob("*.records")) == records * SIZE
    said = [r.getMessage() for r in caplog.records if "decoded media" in r.getMessage()]
    found, kept, apart = zip(*(map(int, re.findall(r"(\d+) (?:found|kept|not)", one)) for one in said), strict=True)
    assert kept[0] == found[1] <= records and not found[0] and not kept[1] and apart[0] == apart[1] > 0
    assert all("GB that they may take are used up" in one for one in said)


def test_a_study_with_no_room_has_no_store(toy, tmp_path):
    _train(toy, tmp_path / "m", [toy[1]], tmp_path / "store", 0)
    assert not (tmp_path / "store").exists()


def test_room_that_was_given_later_is_used(toy, tmp_path, decodings):
    store = tmp_path / "store"
    _train(toy, tmp_path / "a", [toy[1]], store, (10 * SIZE + 1) / GB)
    _train(toy, tmp_path / "b", [toy[1]], store, (40 * SIZE + 1) / GB)
    decodings.clear()
    _train(toy, tmp_path / "c", [toy[1]], store, (40 * SIZE + 1) / GB)
    assert len(decodings) == ITEMS - 40


@pytest.mark.parametrize("what", ["zeros", "flipped", "cut", "marks cut", "marks torn", "marks gone"])
def test_what_is_not_whole_is_made_again(toy, tmp_path, decodings, what):
    """As a power cut may leave it, in which the disk keeps what was written in any order."""
    store = tmp_path / "store"
    alone = _train(toy, tmp_path / "alone", [toy[2]], store)
    records, marks = (next(store.rglob(f"*.{name}")) for name in ("records", "marks"))
    whole = records.read_bytes()
    with records.open("r+b") as file, marks.open("r+b") as small:
        if what in ("zeros", "flipped"):
            file.seek(20 * SIZE)
            file.write(bytes(5 * SIZE) if what == "zeros" else bytes([whole[20 * SIZE] ^ 1]))
        elif what == "cut":
            file.truncate(30 * SIZE - 5)
        elif what == "marks torn":
            small.seek(8 * 7)
            small.write(b"\1\2\3")
        else:
            small.truncate(8 * 7 + 3 if what == "marks cut" else 0)
    decodings.clear()
    assert _train(toy, tmp_path / "again", [toy[2]], store) == alone
    assert {"zeros": 5, "flipped": 1, "marks torn": 1, "marks gone": ITEMS}.get(what, len(decodings)) == len(decodings)
    assert 0 < len(decodings) <= ITEMS and records.read_bytes() == whole


@pytest.mark.parametrize("what", ["media", "decoder", "code"])
def test_shelves_out_of_date_are_removed(toy, tmp_path, monkeypatch, decodings, what):
    store, sources = tmp_path / "store", [toy[1], tmp_path / "jpeg.parquet"]
    sources[1].write_bytes(toy[2].read_bytes())
    _train(toy, tmp_path / "a", sources, store)
    before, decodings[:] = {*store.rglob("*.records")}, []
    if what == "media":  # another picture under the name of an item, at the same level
        rows = [*artifacts.iter_rows(sources[1])]
        rows[0]["payload"] = rows[1]["payload"]
        artifacts.write_table(sources[1], artifacts.COMPRESSED, rows, artifacts.read_meta(sources[1]))
    elif what == "decoder":
        monkeypatch.setattr(codecs.codec_class("jpeg"), "version", lambda self: "another")
    else:
        monkeypatch.setattr(training, "source_digest", lambda *_: "another")
    _train(toy, tmp_path / "b", sources, store)
    changed = 2 if what == "code" else 1
    assert len({*store.rglob("*.records")} - before) == len(before - {*store.rglob("*.records")}) == changed
    assert bool(decodings) and (
        what == "code" or set(decodings) < {r["payload"] for r in artifacts.iter_rows(sources[1])}
    )


def test_another_input_has_a_shelf_of_its_own(toy, tmp_path, decodings):
    store = tmp_path / "store"
    _train(toy, tmp_path / "a", [toy[1]], store)
    decodings.clear()
    small = _train(toy, tmp_path / "b", [toy[1]], store, input_size=[24, 24])
    assert len(decodings) == ITEMS and len([*store.rglob("*.records")]) == 2
    assert small == _train(toy, tmp_path / "c", [toy[1]], input_size=[24, 24])


def test_clips_of_several_examples_keep_each(tmp_path):
    """Clips of 2 to 5 frames, of which a detector learns from three at most; another number is another shelf."""
    random, rows = np.random.default_rng(0), []
    for split, frames in (("train", 5), ("train", 2), ("train", 3), ("val", 2), ("val", 4)):
        clip = random.integers(0, 256, (frames, 64, 64, 3)).astype(np.uint8)
        box = {"x0": 5, "y0": 5, "x1": 30, "y1": 40, "label": 0}
        boxes = [{"frame": frame, **box} for frame in range(frames)]
        rows.append(media_tables.data_row(f"{split}{frames}", split, clip, boxes=boxes, sampling_rate=25.0))
    data = media_tables.write_data(tmp_path / "data.parquet", rows, "video", "detection", ["square"])
    source = media_tables.write_compressed(tmp_path / "train.parquet", data, "original", 0, ("train", "val"))
    settings, about = {"epochs": 1, "device": "cpu"}, {"task": "toy", "regime": "original"}

    def records(store, count):
        how = {**settings, "frames_per_clip": count}
        with training.prepared(data, [source], about, "fcos_temporal", 0, how, tmp_path, 1, store) as run:
            splits = [run.examples.train, run.examples.val]
            return [run.examples.media[split.records[:, 0]].tolist() for split in splits]

    store = Store(tmp_path / "store", 1)
    for count, each in ((3, (3 + 2 + 3, 2 + 3)), (1, (3, 2))):
        alone = records(None, count)
        assert tuple(map(len, alone)) == each
        assert records(store, count) == alone == records(store, count)
    sizes = [file.stat().st_size for file in store.root.rglob("*.records")]
    assert sorted(sizes) == [count * 3 * 64 * 64 * 3 for count in (5, 13)]


# A value of each setting that is no number; numbers are halved or become 2, which is the default of none.
OTHER = {"flip": True, "deterministic": False, "mixed_precision": False, "device": "cpu", "weights": "DEFAULT"}
OTHER |= {"adversarial": {"epsilon": 0.1, "steps": 2}}
SIZES = {"audio": (500,), "image": (20, 24), "video": (3, 20, 24)}


@pytest.mark.parametrize(
    ("medium", "kind"), [(medium, kind) for kind in kinds.names() for medium in kinds.load(kind).defaults]
)
def test_what_the_media_depend_on_is_named(medium, kind):
    """Whatever else of them changes, the examples to learn from are the same, so that jobs may share them."""
    random = np.random.default_rng(0)
    shape = {"image": (32, 40, 3), "audio": (800,), "video": (9, 32, 40, 3)}[medium]
    media = random.integers(0, 255, shape).astype(np.int16 if medium == "audio" else np.uint8)
    box = {"x0": 3.0, "y0": 4.0, "x1": 20.0, "y1": 30.0, "label": 1}
    boxes = [{"frame": frame, **box} for frame in range(9)]
    row = {"id": "a", "shape": list(shape), "sampling_rate": 8000.0, "label": 1, "boxes": boxes}
    row |= {"text": "a word", "identity": "somebody"}
    row["mask"] = masks.encode(np.zeros((32, 40), np.uint8))
    plain = TrainingSettings(**kinds.load(kind).defaults[medium]).model_dump()

    def examples(**changed):
        settings = {**plain, **changed}
        size = settings["input_size"] or (shape if medium == "audio" else shape[:-1])
        size = (3, *size[-2:]) if (medium, kind) == ("video", "detection") else size
        info = {"medium": medium, "kind": kind, "classes": ["a", "b"], "settings": settings}
        task = tasks.get({**info, "input": {"shape": list(size), "sampling_rate": 8000.0}})
        found = task.examples(media, row, training=True)
        # The targets can be had without the media, and in the same order.
        assert json.dumps(task.targets(row), default=np.ndarray.tolist) == json.dumps(
            [one.target for one in found], default=np.ndarray.tolist
        )
        return repr(task.takes_in(training=True)), [one.media.tobytes() for one in found]

    view, whole = examples()
    for name, field in TrainingSettings.model_fields.items():
        other = OTHER.get(name, (plain[name] or 0.2) / 2 if field.annotation in (float, float | None) else 2)
        if name == "input_size":
            other = SIZES[medium]
        assert other != plain[name], name
        other_view, others = examples(**{name: other})
        assert others == whole or other_view != view, name


def _load(toy, store, sources, seed, said):
    """What training does before the first step, in a process of its own; a hash of the media it would learn from."""
    settings, about = {**SETTINGS, "draws": 2}, {"task": "toy", "regime": "mixed"}
    out = store / "out"
    with training.prepared(toy[0], sources, about, "resnet", seed, settings, out, 1, Store(store, 1)) as run:
        said.put((seed, _seen(run)))


def _seen(run):
    hashes = [
        hashlib.sha256(run.examples.media[records].tobytes()).hexdigest()
        for split in (run.examples.train, run.examples.val, run.examples.original)
        for records in split.records.T
    ]
    return hashes, run.examples.digest


def _slow(monkeypatch, count, seconds=0.003):
    """Let decoding take some time, and count it over all processes."""
    cls = codecs.codec_class("jpeg")

    def slowly(self, payload, shape, sampling_rate=0.0, decode=cls.decode):
        time.sleep(seconds)
        with count.get_lock():
            count.value += 1
        return decode(self, payload, shape, sampling_rate)

    monkeypatch.setattr(cls, "decode", slowly)


def _alone(toy, tmp_path, sources, seed):
    settings, about = {**SETTINGS, "draws": 2}, {"task": "toy", "regime": "mixed"}
    with training.prepared(toy[0], sources, about, "resnet", seed, settings, tmp_path / "out") as run:
        return _seen(run)


def test_jobs_side_by_side_divide_the_work(toy, tmp_path, monkeypatch):
    sources, jobs = [*toy[2:], toy[1]], 4
    right = {seed: _alone(toy, tmp_path, sources, seed) for seed in range(jobs)}
    count = fork.Value("i", 0)
    _slow(monkeypatch, count)
    said = fork.Queue()
    running = [fork.Process(target=_load, args=(toy, tmp_path, sources, seed, said)) for seed in range(jobs)]
    for one in running:
        one.start()
    assert dict(said.get(timeout=60) for _ in running) == right
    for one in running:
        one.join()
    # Each might decode what others had begun when it had nothing else left; alone they would be 4 times ITEMS * 4/3.
    assert count.value <= 2 * ITEMS + jobs * BLOCK * 2


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_job_leaves_nothing_that_is_taken_for_whole(toy, tmp_path, monkeypatch, seed):
    sources = [*toy[2:], toy[1]]
    right = _alone(toy, tmp_path, sources, 0)
    monkeypatch.setattr(decoded, "_write", _bytewise)
    for after in np.random.default_rng(seed).uniform(0.0, 0.15, 4):
        job = fork.Process(target=_load, args=(toy, tmp_path, sources, 0, fork.Queue()))
        job.start()
        while job.is_alive() and not [*tmp_path.rglob("*.records")]:
            time.sleep(0.001)
        time.sleep(after)
        os.kill(job.pid, signal.SIGKILL)
        job.join()
        said = fork.SimpleQueue()
        _load(toy, tmp_path, sources, 0, said)
        assert said.get() == (0, right)
        next(tmp_path.rglob("*.marks")).write_bytes(b"")  # so that the next job has something to do


def _bytewise(file, content, at):
    """Write in many small pieces, so that a job is often killed within a record or a mark."""
    step = max(1, len(content) // 50)
    for start in range(0, len(content), step):
        os.pwrite(file, content[start : start + step], at + start)


def test_a_claim_excludes_others_and_ends_with_its_job(tmp_path):
    ready, mine = fork.Event(), Shelf(tmp_path / "shelf", 10)

    def claim():
        other = Shelf(tmp_path / "shelf", 10)
        assert other.claim(3)
        ready.set()
        time.sleep(60)

    job = fork.Process(target=claim)
    job.start()
    assert ready.wait(10)
    assert not mine.claim(3) and mine.claim(2) and mine.claim(4)
    job.kill()
    job.join()
    assert mine.claim(3)
    mine.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_of_the_store_is_no_end(toy, tmp_path, monkeypatch, caplog, number):
    alone, store = _train(toy, tmp_path / "alone", [toy[1]]), tmp_path / "store"
    pwrite, room = os.pwrite, itertools.count(1)

    def full(file, content, at):
        if "records" in str(Path(f"/proc/self/fd/{file}").readlink()) and next(room) > 5:
            pwrite(file, content[: len(content) // 2], at)
            raise OSError(number, os.strerror(number))
        return pwrite(file, content, at)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        assert _train(toy, tmp_path / "full", [toy[1]], store) == alone
    assert len([r for r in caplog.records if os.strerror(number) in r.getMessage()]) == 1
    assert _train(toy, tmp_path / "room", [toy[1]], store) == alone


def test_a_file_system_without_locks_is_told(toy, tmp_path, monkeypatch, caplog):
    alone = _train(toy, tmp_path / "alone", [toy[1]])

    def none(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "lockf", none)
    assert _train(toy, tmp_path / "m", [toy[1]], tmp_path / "store") == alone
    assert "has no locks; decoded media are not shared" in caplog.text


def test_half_of_the_free_disk_stays_free(tmp_path, monkeypatch):
    usage = decoded.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(decoded.shutil, "disk_usage", lambda _: usage._replace(free=20_000))
    store = Store(tmp_path / "store", 1)
    shelves = [store.shelf(f"t/{n}", "s" * 32, "v" * 32, 60, 100) for n in "abc"]
    # 6,000 bytes are promised at first; of the 14,000 that are then left another 6,000, of 8,000 then half.
    assert [shelf.capacity for shelf in shelves] == [60, 60, 40]
    for shelf in shelves:
        shelf.close()


def test_records_are_read_back_as_they_were_kept(tmp_path):
    random, store = np.random.default_rng(0), Store(tmp_path, 1)
    shelves = [store.shelf("a", "s" * 32, "v" * 32, 9, 24), None]
    records = Records((3, 4), np.int16, shelves, 9)
    arrays = random.integers(-99, 99, (18, 3, 4)).astype(np.int16)
    numbers = np.zeros(18, int)
    for first in random.permutation(6) * 3:  # three at a time, as from an item with three examples
        some = arrays[first : first + 3]
        numbers[first : first + 3] = records.keep(first // 9, range(first % 9, first % 9 + 3), [*map(bytes, some)])
    chosen = random.permutation(18)
    assert np.array_equal(records[numbers[chosen]], arrays[chosen])
    assert records.find(0, range(2, 5)) == range(2, 5) and records.find(1, range(2, 5)) is None
    records.close()
