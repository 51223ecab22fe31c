"""Verification: which pairs are compared, folders of identities, and the kind of task from embeddings to metrics."""

from __future__ import annotations

import collections
import wave
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.interpolate import interp1d
from scipy.optimize import brentq
from sklearn.metrics import roc_curve

from lossybench import artifacts, data, kinds, models
from lossybench.analysis.outcomes import Outcomes, TestSet
from lossybench.analysis.sampling import Sampling
from lossybench.data import _identities
from lossybench.errors import LossyBenchError
from lossybench.models.inputs import Input
from lossybench.stages.fetch import fetch
from lossybench.tasks.task_kind import Example

KIND = kinds.load("verification")
RANDOM = np.random.default_rng(5)


def _pairs(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(other, row["id"]) for row in rows for other in row["against"]]


def _fetched(folder: Path, adapter: str, **options: Any) -> list[dict[str, Any]]:
    fetch(adapter, "task", folder / "table.parquet", options)
    return list(artifacts.iter_rows(folder / "table.parquet"))


# Which pairs


@pytest.mark.parametrize(("count", "most"), [(12, None), (12, 66), (12, 30), (60, 60), (60, 1700), (200, 1000)])
def test_pairs_are_of_two_items_each_once_and_half_genuine_if_there_are_so_many(count: int, most: int | None) -> None:
    identities = [f"p{place % (count // 4)}" for place in range(count)]
    found = _identities.draw(identities, most)
    assert found == _identities.draw(identities, most)
    assert len(set(found)) == len(found) == (most or count * (count - 1) // 2)
    assert all(first < second for first, second in found)
    genuine = sum(identities[first] == identities[second] for first, second in found)
    all_genuine = count // 4 * 6
    impostors = count * (count - 1) // 2 - all_genuine
    assert genuine == (all_genuine if most is None else min(all_genuine, max(most // 2, most - impostors)))


# Folders of identities


def _faces(folder: Path) -> Path:
    """Labeled Faces in the Wild in miniature: five people, of whom one has a single picture."""
    for name, count in {"Ann_Lee": 4, "Bo_Oh": 3, "Cy_Ray": 2, "Di_Fox": 2, "Ed_Dee": 1}.items():
        (folder / name).mkdir(parents=True)
        for number in range(1, count + 1):
            picture = RANDOM.integers(0, 256, (20, 16, 3), np.uint8)
            cv2.imwrite(str(folder / name / f"{name}_{number:04d}.jpg"), picture)
    return folder


def test_labeled_faces_in_the_wild_with_its_list_of_pairs(tmp_path: Path) -> None:
    root = _faces(tmp_path / "lfw")
    (tmp_path / "pairs.txt").write_text(
        "1\t2\nAnn_Lee\t1\t4\nBo_Oh\t2\t3\nAnn_Lee\t2\tBo_Oh\t1\nCy_Ray\t1\tEd_Dee\t1\n"
    )
    options = {"path": str(root), "fractions": {"test": 1.0}, "pairs": str(tmp_path / "pairs.txt")}
    rows = _fetched(tmp_path, "image_identities", **options)
    assert sorted(_pairs(rows)) == [
        ("Ann_Lee/Ann_Lee_0001.jpg", "Ann_Lee/Ann_Lee_0004.jpg"),
        ("Ann_Lee/Ann_Lee_0002.jpg", "Bo_Oh/Bo_Oh_0001.jpg"),
        ("Bo_Oh/Bo_Oh_0002.jpg", "Bo_Oh/Bo_Oh_0003.jpg"),
        ("Cy_Ray/Cy_Ray_0001.jpg", "Ed_Dee/Ed_Dee_0001.jpg"),
    ]
    assert len(rows) == 8  # those in a pair
    assert all(row["identity"] == row["id"].split("/")[0] == row["groups"]["identity"] for row in rows)
    assert "4 test items are in no pair" in artifacts.read_meta(tmp_path / "table.parquet")["card"]["left_out"]
    assert not any(row["enrolled_original"] for row in rows)


def test_lists_of_pairs_as_of_voxceleb_and_as_csv(tmp_path: Path) -> None:
    root = _faces(tmp_path / "lfw")
    ann, bo = "Ann_Lee/Ann_Lee_0001.jpg", "Bo_Oh/Bo_Oh_0002.jpg"
    (tmp_path / "list.txt").write_text(f"1 {ann} Ann_Lee/Ann_Lee_0002.jpg\n0 {ann} {bo}\n")
    (tmp_path / "list.csv").write_text(f"first,second\n{ann},Ann_Lee/Ann_Lee_0002.jpg\n{ann},{bo}\n")
    for name in ("list.txt", "list.csv"):
        options = {"path": str(root), "fractions": {"test": 1.0}, "pairs": str(tmp_path / name)}
        rows = _fetched(tmp_path, "image_identities", enrolled="original", **options)
        assert _pairs(rows) == [(ann, "Ann_Lee/Ann_Lee_0002.jpg"), (ann, bo)]
        assert all(row["enrolled_original"] for row in rows)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("Ann_Lee 1 9\n", "line 1: 'Ann_Lee/Ann_Lee_0009' does not exist"),
        ("Ann_Lee 1 4\nAnn_Lee 2 Bo_Oh\n", "line 2: .* is no pair"),
        ("0 Ann_Lee/Ann_Lee_0001.jpg Ann_Lee/Ann_Lee_0002.jpg\n", "line 1: says that .* are not of one identity"),
        ("Ann_Lee 1 1\n", "line 1: compares .* with itself"),
        ("Ann_Lee 1 2\n", "lists 1 genuine pairs of 1; list pairs of both sorts"),
    ],
)
def test_a_wrong_list_of_pairs_is_told_by_its_line(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "pairs.txt").write_text(content)
    root = _faces(tmp_path / "lfw")
    options = {"path": str(root), "fractions": {"test": 1.0}, "pairs": str(tmp_path / "pairs.txt")}
    with pytest.raises(LossyBenchError, match=told):
        _fetched(tmp_path, "image_identities", **options)


def test_made_splits_keep_identities_apart_and_train_on_those_of_train(tmp_path: Path) -> None:
    for place in range(20):
        for number in range(3):
            folder = tmp_path / "voices" / f"v{place:02d}"
            folder.mkdir(parents=True, exist_ok=True)
            with wave.open(str(folder / f"{number}.wav"), "wb") as file:
                file.setparams((1, 2, 16000, 0, "NONE", ""))
                file.writeframes(RANDOM.integers(-9000, 9000, 800, np.int16).tobytes())
    rows = _fetched(tmp_path, "audio_identities", path=str(tmp_path / "voices"), pairs="all")
    splits_of = collections.defaultdict(set)
    for row in rows:
        splits_of[row["identity"]].add(row["split"])
    assert all(len(splits) == 1 for splits in splits_of.values())
    learnt = artifacts.read_meta(tmp_path / "table.parquet")["classes"]
    assert learnt == sorted(name for name, splits in splits_of.items() if splits == {"train"})
    for row in rows:
        assert row["label"] == (learnt.index(row["identity"]) if row["split"] == "train" else -1)
    tested = [row["id"] for row in rows if row["split"] == "test"]
    assert set(_pairs(rows)) == {(one, other) for one in tested for other in tested if one < other}


def test_names_of_files_may_tell_the_identity(tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    for name in ("3_ann_0", "4_ann_1", "3_bob_0", "4_bob_7"):
        cv2.imwrite(str(tmp_path / "flat" / f"{name}.png"), RANDOM.integers(0, 256, (8, 8, 3), np.uint8))
    options = {"path": str(tmp_path / "flat"), "fractions": {"test": 1.0}, "identity": r"_([a-z]+)_"}
    rows = _fetched(tmp_path, "image_identities", **options)
    assert {row["id"]: row["identity"] for row in rows}["4_bob_7.png"] == "bob"
    with pytest.raises(LossyBenchError, match="put the identity in parentheses"):
        data.get("image_identities", {"path": "flat", "identity": "_[a-z]+_"})
    with pytest.raises(LossyBenchError, match="4 identities in test; give two or more, and two or more items of one"):
        data.describe("image_identities", options | {"identity": r"^(.*)\."})


def test_spoken_voices_of_the_test_are_none_of_those_trained_on(tmp_path: Path) -> None:
    rows = _fetched(tmp_path, "spoken_voices", train=24, val=24, test=36, pairs=200)
    voices = collections.defaultdict(set)
    for row in rows:
        voices[row["split"]].add(row["identity"])
    assert [len(voices[split]) for split in ("train", "val", "test")] == [2, 2, 3]
    assert not voices["train"] & voices["test"] and not voices["train"] & voices["val"]
    identity = {row["id"]: row["identity"] for row in rows if row["split"] == "test"}
    found = _pairs(rows)
    assert len(set(found)) == 200 and {one for pair in found for one in pair} <= set(identity)
    assert sum(identity[a] == identity[b] for a, b in found) == 100
    assert artifacts.read_meta(tmp_path / "table.parquet")["classes"] == ["train-00000", "train-00001"]


# The kind of task


@pytest.mark.parametrize(("medium", "shape"), [("audio", (8000,)), ("image", (64, 48))])
def test_networks_learn_to_tell_identities(medium: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    for arch in models.names(medium, "verification"):
        model = models.build(arch, medium, "verification", 4, Input(shape, 8000.0))
        info = {"medium": medium, "kind": "verification", "classes": list("abcd"), "settings": {}}
        task = KIND({**info, "input": {"shape": list(shape), "sampling_rate": 8000.0}})
        media = torch.rand((8, 3, *shape) if medium == "image" else (8, *shape)) - 0.5 * (medium == "audio")
        targets = [(place // 2, "abcd"[place // 2]) for place in range(8)]
        optimiser = torch.optim.Adam(model.parameters(), 1e-3)
        losses = []
        for _ in range(8):
            loss = task.loss(model, media, targets)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < losses[0]
        with torch.no_grad():
            found = task.predict(model.eval(), media)
        assert len(found) == 8 and all(one.shape == (64,) and one.dtype == np.float32 for one in found)
        assert 0 <= task.score(found, targets) <= 1


def test_the_loss_is_the_softmax_over_cosines_less_a_margin() -> None:
    model = models.build("logmel_cnn", "audio", "verification", 3, Input((8000,), 8000.0)).eval()
    info = {"medium": "audio", "kind": "verification", "classes": list("abc"), "settings": {}}
    task = KIND({**info, "input": {"shape": [8000], "sampling_rate": 8000.0}})
    media = torch.rand(2, 8000) - 0.5
    embeddings, directions = model(media).detach().numpy(), model.identities.detach().numpy()
    expected = []
    for embedding, label in zip(embeddings, (2, 0), strict=True):
        cosines = directions @ embedding / np.linalg.norm(directions, axis=1) / np.linalg.norm(embedding)
        logits = 15 * (cosines - 0.2 * (np.arange(3) == label))
        expected.append(np.log(np.exp(logits).sum()) - logits[label])
    with torch.no_grad():
        loss = float(task.loss(model, media, [(2, "c"), (0, "a")]))
    assert loss == pytest.approx(np.mean(expected), rel=1e-4)


def _task(identity: list[str], enrolled_original: bool = False, most: int | None = None) -> TestSet:
    ids = [f"item{place}" for place in range(len(identity))]
    against: dict[str, list[str]] = collections.defaultdict(list)
    for first, second in _identities.draw(identity, most):
        against[ids[second]].append(ids[first])
    truth = {
        "identity": identity,
        "label": [-1] * len(ids),
        "against": [against[id] for id in ids],
        "enrolled_original": [enrolled_original] * len(ids),
    }
    groups = {"identity": np.unique(identity, return_inverse=True)[1]}
    table = pa.table(truth, schema=KIND.truth)
    return TestSet("task", "audio", "verification", [], ids, table, groups, Path("task.parquet"))


def _embeddings(task: TestSet, noise: float, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(0).normal(size=(100, 8))
    found = centres[task.groups["identity"]] + noise * random.normal(size=(len(task.ids), 8))
    return found.astype(np.float32)


def _measured(task: TestSet, original: np.ndarray, behind: np.ndarray, resamples: int = 200) -> Any:
    sampling = Sampling.draw(len(task.ids), task.groups, resamples, 0)
    rows = pa.table({"embedding": behind.tolist()}, schema=pa.schema([KIND.schema.field("embedding")]))
    read = KIND.read(Outcomes(rows, np.arange(len(behind))), task, None)
    assert np.array_equal(read, behind)
    settled = {0: KIND.settle(original, task, sampling)}
    assert settled[0].chance == 0.5
    return KIND.measure({0: read}, settled, task, sampling)


@pytest.mark.parametrize("enrolled_original", [False, True])
def test_metrics_equal_scikit_learns_over_the_pairs(enrolled_original: bool) -> None:
    task = _task([f"p{place // 5}" for place in range(150)], enrolled_original, 4000)
    original, behind = _embeddings(task, 0.5, 1), _embeddings(task, 1.0, 2)
    measured = _measured(task, original, behind)
    assert measured.names == [("eer", ""), ("tar_far_1", ""), ("tar_far_01", "")]
    scores, genuine = [], []
    identity, place = task.truth["identity"].to_pylist(), {id: place for place, id in enumerate(task.ids)}
    for second, against in enumerate(task.truth["against"].to_pylist()):
        for other in against:
            one = (original if enrolled_original else behind)[place[other]].astype(float)
            two = behind[second].astype(float)
            scores.append(one @ two / np.linalg.norm(one) / np.linalg.norm(two))
            genuine.append(identity[place[other]] == identity[second])
    far, tar, _ = roc_curve(genuine, scores, drop_intermediate=False)
    curve = interp1d(far, tar)
    expected = brentq(lambda x: 1 - x - curve(x), 0, 1, xtol=1e-13), tar[far <= 0.01].max(), tar[far <= 0.001].max()
    assert [one.value for one in measured.found[0]] == pytest.approx(expected, abs=1e-9)
    assert measured.support == {"": 4000}
    for one in measured.found[0]:
        assert one.interval.low < one.value < one.interval.high
    assert measured.primary.values[0] == pytest.approx(-expected[0])  # turned, so that more is better


def test_a_rate_of_less_than_one_pair_is_not_told() -> None:
    task = _task([f"p{place // 3}" for place in range(24)])  # 252 impostor pairs
    found = _embeddings(task, 0.5, 1)
    assert _measured(task, found, found).names == [("eer", ""), ("tar_far_1", "")]


def test_items_that_share_an_identity_widen_the_interval() -> None:
    """Where some identities are hard as a whole, items alone would promise too much."""
    task = _task([f"p{place // 8}" for place in range(240)])
    hard = task.groups["identity"] % 2 == 0
    found = np.where(hard[:, None], _embeddings(task, 2.5, 1), _embeddings(task, 0.2, 2))
    measured = _measured(task, found, found)
    alone = Sampling.draw(len(task.ids), {}, 200, 0)
    by_item = KIND.measure({0: found}, {0: KIND.settle(found, task, alone)}, task, alone)
    widths = [one.interval.high - one.interval.low for one in (measured.found[0][0], by_item.found[0][0])]
    assert widths[0] > 1.15 * widths[1]


def test_embeddings_of_several_lengths_are_refused() -> None:
    task = _task(["a", "a", "b"])
    rows = pa.table({"embedding": [[1.0, 2.0], [1.0], [0.0, 1.0]]}, schema=pa.schema([KIND.schema.field("embedding")]))
    with pytest.raises(LossyBenchError, match="embeddings are of 1 to 2 numbers"):
        KIND.read(Outcomes(rows, np.arange(3)), task, None)


def test_items_that_were_left_out_are_in_no_pair() -> None:
    task = _task(["a", "a", "b"])
    truth = task.truth.to_pydict() | {"against": [["gone"], ["item0", "gone"], ["item0"]]}
    first, second = _pairs_of(TestSet(**{**vars(task), "truth": pa.table(truth, schema=KIND.truth)}))
    assert list(zip(first, second, strict=True)) == [(0, 1), (0, 2)]


def _pairs_of(task: TestSet) -> tuple[np.ndarray, np.ndarray]:
    from lossybench.tasks import verification

    return verification.pairs(task)


def test_an_example_carries_what_is_true_of_it() -> None:
    info = {"medium": "audio", "kind": "verification", "classes": [], "settings": {}}
    task = KIND({**info, "input": {"shape": [4], "sampling_rate": 8000.0}})
    row = {"label": -1, "identity": "ann", "against": [], "enrolled_original": False}
    [example] = task.examples(np.arange(6, dtype=np.int16), row, False)
    assert isinstance(example, Example) and example.target == (-1, "ann") and example.media.shape == (4,)
    assert KIND.drawn(row, []).text == "identity ann"
