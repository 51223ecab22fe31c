"""The embedded data sets: deterministic, balanced, honest about what splits share, boxes where the ink is."""

import collections
import hashlib
import itertools

import numpy as np
import pytest

from lossybench import artifacts, codecs, data, kinds
from lossybench.data import _digits, _espeak, spoken_words
from lossybench.errors import LossyBenchError
from lossybench.stages.fetch import fetch

SMALL = {
    "digits": {"train": 60, "val": 20, "test": 40},
    "digit_scenes": {"train": 8, "val": 4, "test": 6},
    "spoken_words": {"train": 60, "val": 24, "test": 36},
    "moving_digits": {"train": 18, "val": 9, "test": 18},
    "moving_digit_scenes": {"train": 4, "val": 3, "test": 4},
    "segmented_digits": {"train": 6, "val": 3, "test": 5},
}


@pytest.fixture(scope="module")
def items():
    return {name: list(data.get(name, options).items(0, [])) for name, options in SMALL.items()}


@pytest.mark.parametrize("name", SMALL)
def test_same_seed_same_bytes_and_lossless(name, items, tmp_path):
    hashes = []
    for run, seed in enumerate((0, 0, 1)):
        out = tmp_path / f"{run}.parquet"
        fetch(name, "task", out, SMALL[name], seed=seed)
        hashes.append(hashlib.sha256(out.read_bytes()).hexdigest())
    assert hashes[0] == hashes[1] != hashes[2]

    rows = list(artifacts.iter_rows(tmp_path / "0.parquet"))
    original, kind = codecs.get("original"), kinds.load(data.describe(name, SMALL[name]).kind)
    for row, item in zip(rows, items[name], strict=True):
        assert all(row[key] == getattr(item, key) for key in ("id", "split", "groups", "sampling_rate"))
        assert kind.labels(row) == kind.labels(kind.stored(item)) != []
        assert np.array_equal(original.decode(row["media"], tuple(row["shape"]), row["sampling_rate"]), item.media)
    meta = artifacts.read_meta(tmp_path / "0.parquet")
    described = data.describe(name, SMALL[name])
    assert (meta["medium"], meta["kind"], meta["classes"]) == (described.medium, described.kind, described.classes)
    shared = {"groups"} if items[name][0].groups else set()
    assert set(meta["card"]) == {"title", "source", "licence", "citation", "prior_compression"} | shared


@pytest.mark.parametrize("name", SMALL)
def test_counts_order_and_ids(name, items):
    assert collections.Counter(item.split for item in items[name]) == data.describe(name, SMALL[name]).counts
    assert [split for split, _ in itertools.groupby(item.split for item in items[name])] == ["train", "val", "test"]
    assert items[name][-1].id == f"{name}/test/{SMALL[name]['test'] - 1:06d}"


@pytest.mark.parametrize(
    ("name", "factor"), [("digits", "digit"), ("moving_digits", "digit"), ("spoken_words", "voice")]
)
def test_no_group_in_two_splits(name, factor, items):
    groups = collections.defaultdict(set)
    for item in items[name]:
        groups[item.split].add(item.groups[factor])
    for one, other in itertools.combinations(groups.values(), 2):
        assert not one & other


def test_splits_share_no_digit_and_no_pixel():
    names = {
        split: {_digits.digit(0, split, label, number)[0] for label in range(10) for number in range(300)}
        for split in ("train", "val", "test")
    }
    assert {split: len(found) for split, found in names.items()} == {"train": 3000, "val": 500, "test": 1500}
    assert len(set.union(*names.values())) == 5000
    # The bands of a photograph, put side by side again, are the photograph: so none overlap.
    from skimage import data as photographs

    whole = [
        np.concatenate(bands, axis=int(bands[0].shape[0] == bands[1].shape[0] == bands[2].shape[0]))
        for bands in zip(*map(_digits._regions, ("train", "val", "test")), strict=True)
    ]
    for known in (photographs.astronaut(), photographs.rocket()):
        assert sum(np.array_equal(one, known) for one in whole) == 1


def test_backgrounds_are_independent():
    """Over many pairs of items the mean correlation of two backgrounds is 0, and no two are alike."""
    drawn = np.stack([_digits.background(np.random.default_rng([0, index]), "test", 48, 48) for index in range(300)])
    assert drawn.std(axis=(1, 2)).min() > 2  # none is blank
    flat = drawn.reshape(300, -1, 3).astype(float)
    flat -= flat.mean(axis=1, keepdims=True)
    flat = flat.reshape(300, -1)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    pairs = (flat @ flat.T)[np.triu_indices(300, 1)]
    assert abs(pairs.mean()) < 0.01
    assert np.abs(pairs).max() < 0.9
    # Nor do the mean colours come in few kinds, as they would from few photographs: the nearest other is not nearer
    # than for as many draws of a normal distribution.
    means = drawn.mean(axis=(1, 2))
    normal = np.random.default_rng(0).multivariate_normal(means.mean(axis=0), np.cov(means.T), 300)

    def nearest(points):
        apart = np.linalg.norm(points[:, None] - points, axis=2)
        np.fill_diagonal(apart, np.inf)
        return np.median(apart.min(axis=1))

    assert nearest(means) > 0.7 * nearest(normal)


@pytest.mark.parametrize(("name", "classes"), [("digits", 10), ("spoken_words", 12), ("moving_digits", 9)])
def test_every_class_in_every_split_balanced(name, classes, items):
    for split in ("train", "val", "test"):
        counts = collections.Counter(item.label for item in items[name] if item.split == split)
        assert sorted(counts) == list(range(classes))
        assert max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize("name", ["digit_scenes", "moving_digit_scenes"])
def test_boxes_are_in_the_frame_and_tight_on_the_ink(name, items, monkeypatch):
    # The same scenes with all shifts set to nothing show the background alone: what differs is ink.
    plain = data.get(name, SMALL[name])
    monkeypatch.setattr(_digits, "blend", lambda under, ink, by: under)
    for item, empty in zip(items[name], plain.items(0, []), strict=True):
        frames = item.media if item.media.ndim == 4 else item.media[None]
        without = empty.media if item.media.ndim == 4 else empty.media[None]
        changed = (frames != without).any(axis=-1)
        assert item.boxes
        inside = np.zeros_like(changed)
        for box in item.boxes:
            assert 0 <= box.x0 < box.x1 <= frames.shape[2]
            assert 0 <= box.y0 < box.y1 <= frames.shape[1]
            x0, y0, x1, y1 = (int(side) for side in (box.x0, box.y0, box.x1, box.y1))
            ink = changed[box.frame, y0:y1, x0:x1]
            for edge in (ink[0], ink[-1], ink[:, 0], ink[:, -1]):
                assert edge.any()
            # Faint ends of strokes, below the ink threshold, may lie a few pixels outside.
            inside[box.frame, max(0, y0 - 4) : y1 + 4, max(0, x0 - 4) : x1 + 4] = True
        assert not (changed & ~inside).any()


def test_moving_boxes_cover_every_frame(items):
    for item in items["moving_digit_scenes"]:
        frames = collections.Counter(box.frame for box in item.boxes)
        assert sorted(frames) == list(range(len(item.media)))
        assert len(set(frames.values())) == 1


def test_motions_are_what_they_are_called(monkeypatch):
    tracks = []
    real = _digits.place_ink

    def spy(ink, extent, x, y, size):
        tracks.append((extent, x, y))
        return real(ink, extent, x, y, size)

    monkeypatch.setattr(_digits, "place_ink", spy)
    classes = data.describe("moving_digits").classes
    seen = set()
    for item in data.get("moving_digits", {"train": 18, "val": 9, "test": 9}).items(3, []):
        extent, x, y = np.array(tracks).T
        tracks.clear()
        turn = np.sign(np.sum(np.diff(x)[:-1] * np.diff(y)[1:] - np.diff(y)[:-1] * np.diff(x)[1:]).round(6))
        moved = [np.sign(np.round(value[-1] - value[0], 6)) for value in (extent, x, y)]
        title = classes[item.label]
        expected = {
            "static": (0, 0, 0), "left": (0, -1, 0), "right": (0, 1, 0), "up": (0, 0, -1), "down": (0, 0, 1),
            "grow": (1, 0, 0), "shrink": (-1, 0, 0),
        }  # fmt: skip
        if title in expected:
            assert tuple(moved) == expected[title]
        else:
            assert turn == {"clockwise": 1, "anticlockwise": -1}[title]  # y counts downwards
        seen.add(title)
    assert seen == set(classes)


def test_one_frame_says_little_of_the_motion():
    """Place and size of the digit in one frame leave a classifier far from what all frames give (chance: 0.11)."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import cross_val_score

    states = []
    real = _digits.place_ink
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_digits, "place_ink", lambda *of: states.append(of[1:4]) or real(*of))
        options = {"train": 360, "val": 9, "test": 9, "frames": 9}
        labels = [item.label for item in itertools.islice(data.get("moving_digits", options).items(0, []), 360)]
    tracks = np.array(states).reshape(360, 9, 3)

    def accuracy(seen):
        forest = RandomForestClassifier(50, min_samples_leaf=4, random_state=0)
        return cross_val_score(forest, seen.reshape(360, -1), labels, cv=4).mean()

    assert accuracy(tracks[:, 4]) < 0.25
    assert max(accuracy(tracks[:, 0]), accuracy(tracks[:, -1])) < 0.5
    assert accuracy(np.diff(tracks, axis=1)) > 0.9


@pytest.mark.parametrize("name", SMALL)
def test_more_items_leave_the_others_as_they_are(name, items):
    larger = {split: count + count // 3 for split, count in SMALL[name].items()}
    more = {item.id: item for item in data.get(name, larger).items(0, [])}
    assert len(more) == sum(larger.values())
    for item in items[name]:
        again = more[item.id]
        assert np.array_equal(item.media, again.media)
        assert (item.groups, item.label, item.boxes) == (again.groups, again.label, again.boxes)


def test_each_voice_says_each_word_once(items):
    words = collections.defaultdict(list)
    for item in items["spoken_words"]:
        words[item.groups["voice"]].append(item.label)
    assert len(words) == sum(SMALL["spoken_words"].values()) / 12
    assert all(sorted(labels) == list(range(12)) for labels in words.values())


def test_voices_differ():
    """Two voices that say the same at the same speed differ in the spectrum, and each says it alike every time."""
    voices = {f"test-{block:05d}": spoken_words._variant(f"test-{block:05d}", 0, "test", block) for block in range(12)}
    requests = [(f"en-us+{voice}", "gold", 150, 50) for voice in voices]
    said = list(_espeak.speak(requests, voices))
    for one, again in zip(said, _espeak.speak(requests, voices), strict=True):
        assert np.array_equal(one, again)

    def spectrum(samples):
        power = np.abs(np.fft.rfft(samples, 22050)[100:8000]) ** 2
        bands = np.log(power.reshape(79, 100).sum(axis=1))
        return bands - bands.mean()

    spectra = [spectrum(one.astype(float)) for one in said]
    apart = [np.sqrt(np.mean((one - other) ** 2)) for one, other in itertools.combinations(spectra, 2)]
    assert min(apart) > 0.3  # nepers of power: 1.3 dB


def test_speech_is_audible_bounded_and_of_the_rate(items):
    for item in items["spoken_words"]:
        assert item.media.dtype == np.int16
        assert item.media.shape == (16000,)
        # 1 dB below full scale, within rounding
        assert abs(np.abs(item.media.astype(int)).max() - 32767 * 10 ** (-1 / 20)) < 3
    slow = next(iter(data.get("spoken_words", {"sample_rate": 8000, "train": 12, "val": 12, "test": 12}).items(0, [])))
    assert (slow.media.shape, slow.sampling_rate) == ((8000,), 8000)


def test_a_refused_voice_is_an_error():
    with pytest.raises(RuntimeError, match="no-such-voice"):
        list(_espeak.speak([("no-such-voice", "five", 150, 50)], {}))


def test_options_are_checked():
    with pytest.raises(LossyBenchError, match="unknown data set 'digit'; did you mean 'digits'"):
        data.get("digit")
    with pytest.raises(LossyBenchError, match="unknown option 'sise'; did you mean 'size'"):
        data.get("digits", {"sise": 3})
    with pytest.raises(LossyBenchError, match=r"option 'train'.*got 'many'"):
        data.get("digits", {"train": "many"})
    with pytest.raises(LossyBenchError, match="option 'path' is missing"):
        data.get("image_folder")
    assert {"digits", "coco", "fsdd", "spoken_words"} <= set(data.names())
    for name in data.names():
        data.dataset_class(name)
