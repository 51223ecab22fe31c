"""Models behind a command, a function or an address: their answers are their own, and what goes wrong is named."""

from __future__ import annotations

import base64
import contextlib
import http.server
import io
import json
import re
import sys
import textwrap
import threading
import time
from pathlib import Path

import media_tables
import numpy as np
import pytest
import soundfile
from PIL import Image

from lossybench import artifacts, models
from lossybench.errors import LossyBenchError
from lossybench.models import existing_settings as settings
from lossybench.models import services
from lossybench.models.inputs import Sent
from lossybench.stages.adopt import adopt
from lossybench.stages.evaluate import evaluate
from lossybench.study import Study

# The user's model: tells which half of a picture is brighter, in several words. Its second argument names the item at
# which something befalls it, its third a file to which it adds a line whenever it starts.
SERVED = """
    import base64, io, json, os, sys, time

    import numpy as np
    from PIL import Image

    def answer(name, picture, how="scores"):
        left, right = (part.mean() for part in np.array_split(picture.astype(float), 2, axis=1))
        score = float(1 / (1 + np.exp((right - left) / 10)))
        label = "left" if left > right else "right"
        told = {"scores": [1 - score, score], "label": label}
        told["dict"] = {"left": 0.7 * score, "right": 0.7 * (1 - score), "bird": 0.3}
        if how == "logits":
            return {"id": name, "scores": [float(right - left) / 10, 0.0]}
        return {"id": name, "label" if how == "label" else "scores": told[how]}

    def predict(items):
        assert items[0]["media"].dtype == np.uint8
        return [{**answer(one["id"], one["media"]), "scores": np.array(answer("", one["media"])["scores"])}
                for one in items]

    def short(items):
        return predict(items)[1:]

    def fails(items):
        raise KeyError("wheels")

    if __name__ == "__main__":
        how, at, starts = sys.argv[1:4]
        with open(starts, "a") as file:
            file.write("started\\n")
        first = len(open(starts).readlines()) == 1
        for line in sys.stdin:
            one = json.loads(line)
            picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(one["media"]))))
            if one["id"] == at:
                if how == "crash" or (how == "once" and first):
                    print("out of wheels", file=sys.stderr, flush=True)
                    os._exit(3)
                if how == "few":
                    break
                if how == "hang":
                    time.sleep(60)
                if how == "rubbish":
                    print("Loading the model ...", flush=True)
                if how == "other":
                    one["id"] = "somebody"
                if how == "sum":
                    print(json.dumps({"id": at, "scores": [0.9, 0.8]}), flush=True)
                    continue
                if how == "three":
                    print(json.dumps({"id": at, "scores": [0.2, 0.3, 0.5]}), flush=True)
                    continue
                if how == "nan":
                    print(json.dumps({"id": at, "scores": [0.2, float("nan")]}), flush=True)
                    continue
                if how == "nothing":
                    print(json.dumps({"id": at}), flush=True)
                    continue
            words = how if how in ("label", "dict", "logits") else "scores"
            print(json.dumps(answer(one["id"], picture, words)), flush=True)
"""
ROOT = Path(__file__).parents[1]
OUTPUTS = ["right", "left"]  # of the model, in another order than in the data set


@pytest.fixture
def served(tmp_path, monkeypatch):
    """The user's script beside the config; what makes settings of it."""
    (tmp_path / "served.py").write_text(textwrap.dedent(SERVED))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv(settings.BESIDE, json.dumps([str(tmp_path)]))
    sys.modules.pop("served", None)

    def command(how="scores", at="-", **more):
        return {"command": f"{sys.executable} served.py {how} {at} starts", "classes": OUTPUTS, **more}

    return command


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Data table and test part of pictures, whose sizes differ, and of which some are hard."""
    folder = tmp_path_factory.mktemp("task")
    rows = []
    for number, (picture, label) in enumerate(media_tables.bright_halves(40, seed=1)):
        picture = picture[: 20 + number % 7]
        label = 1 - label if number % 8 == 3 else label
        rows.append(media_tables.data_row(f"i{number}", "test", picture, label))
    data = media_tables.write_data(folder / "d.parquet", rows, "image", "classification", media_tables.CLASSES)
    return data, media_tables.write_compressed(folder / "t.parquet", data, "original", 0, ("test",))


class _Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_POST(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(content)
        fault = self.server.faults.pop(0) if self.server.faults else None
        if fault == "slow":
            time.sleep(1.5)
        self.send_response(fault if isinstance(fault, int) else 200)
        if fault == 302:
            self.send_header("Location", "http://elsewhere.example/")
        self.end_headers()
        if not isinstance(fault, int):
            for line in [] if fault == "silent" else content.splitlines():
                one = json.loads(line)
                picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(one["media"]))))
                from served import answer

                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    self.wfile.write(json.dumps(answer(one["id"], picture)).encode() + b"\n")


@pytest.fixture
def server(served):
    """A server of the same model, with the faults that befall its next requests."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as found:
        found.faults, found.asked = [], []
        threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True).start()
        found.said = {"url": f"http://127.0.0.1:{found.server_port}/predict", "classes": OUTPUTS}
        yield found
        found.shutdown()


def _outcomes(task, said, folder):
    adopt(task[0], "toy", "own", folder / "out", said)
    evaluate([folder / "out"], task[0], [task[1]], [folder / "o.parquet"], device="cpu")
    return artifacts.read_table(folder / "o.parquet").to_pylist()


def _by_hand(data):
    """The score of `left` for each test item."""
    found = []
    for row in artifacts.iter_rows(data, splits=["test"]):
        picture = media_tables.codecs.get("original").decode(row["media"], tuple(row["shape"])).astype(float)
        half = picture.shape[1] // 2
        difference = picture[:, half:].mean() - picture[:, :half].mean()
        found.append(1 / (1 + np.exp(difference / 10)))
    return np.array(found)


@pytest.mark.parametrize("how", ["scores", "dict", "label", "logits", "batch", "function", "url"])
def test_every_way_gives_the_models_own_answers(served, server, task, tmp_path, how):
    said = {
        "batch": served(batch=7),
        "logits": served("logits", outputs="logits"),
        "function": {"function": "served:predict", "classes": OUTPUTS, "batch": 5},
        "url": {**server.said, "batch": 3},
    }.get(how) or served(how)
    rows = _outcomes(task, said, tmp_path)
    left = _by_hand(task[0])
    labels = [row["label"] for row in artifacts.iter_rows(task[0], splits=["test"])]
    assert [row["id"] for row in rows] == [f"i{number}" for number in range(40)]
    assert [row["prediction"] for row in rows] == (left < 0.5).astype(int).tolist()
    assert [row["correct"] for row in rows] == ((left < 0.5) == labels).tolist() and 0 < sum(
        row["correct"] for row in rows
    ) < 40
    expected = np.stack([left, 1 - left, 0 * left], 1)  # the last column is what is neither left nor right
    expected = {"label": expected.round(), "dict": expected * 0.7 + [0, 0, 0.3]}.get(how, expected)
    scores = np.array([row["scores"] for row in rows])
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    info = models.read_info(tmp_path / "out")
    assert info["input"]["shape"] == [] and info["sample"]["value"] == pytest.approx(np.mean((left < 0.5) == labels))


def test_the_program_of_the_documentation_works(served, task, tmp_path):
    (block,) = re.findall(r"```python\n(import base64.*?)```", (ROOT / "docs/models.md").read_text(), re.S)
    assert len(block.splitlines()) <= 15
    (tmp_path / "mymodel.py").write_text(block)
    rows = _outcomes(task, {"command": f"{sys.executable} mymodel.py"}, tmp_path)
    assert [row["prediction"] for row in rows] == (_by_hand(task[0]) < 0.5).astype(int).tolist()


@pytest.mark.parametrize(
    ("how", "changes", "message"),
    [
        ("crash", {}, r"item i7: ended with status 3 before it answered \(out of wheels\) after 3 restarts"),
        ("crash", {"restarts": 0}, r"item i7: ended with status 3 before it answered \(out of wheels\)$"),
        ("crash", {"batch": 10}, "item i7: ended with status 3"),  # found by asking one by one
        ("few", {"restarts": 1}, "item i7: ended with status 0 before it answered after 1 restarts"),
        ("hang", {"timeout": 0.2, "restarts": 0}, "item i7: no answer within 0.2 s"),
        ("hang", {"timeout": 0.2, "first_timeout": 1.5, "restarts": 1}, "item i7: no answer within 1.5 s after 1 rest"),
        ("rubbish", {}, "item i7: says 'Loading the model ...' where an answer in JSON is due"),
        ("other", {}, "item i7: answers with id 'somebody'; repeat the id"),
        ("sum", {}, "item i7: answers scores from 0.8 that sum to 1.7, which are no probabilities"),
        ("three", {}, "item i7: answers 3 scores, where `classes` names 2"),
        ("nan", {}, r"item i7: answers \[0.2, nan\] as scores; they are a list of finite numbers"),
        ("nothing", {}, "item i7: answers None as scores"),
    ],
)
def test_what_befalls_a_command_is_one_error_that_names_item_and_command(served, task, tmp_path, how, changes, message):
    """And no other model loses its table."""
    said = served(how, "i7", **changes)
    start = time.monotonic()
    with pytest.raises(LossyBenchError, match=message) as caught:
        adopt(task[0], "toy", "own", tmp_path / "out", said)
    assert str(caught.value).startswith(f"own: command '{said['command']}': item i7: ")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()
    starts = (tmp_path / "starts").read_text().splitlines()
    assert len(starts) == 1 + (changes.get("restarts", 3) if how in ("crash", "few", "hang") else 0)
    assert time.monotonic() - start < 10


def test_a_command_that_fails_once_is_started_again_and_answers_the_same(served, task, tmp_path):
    found = []
    for folder, said in (("a", served()), ("b", served("once", "i7", batch=4))):
        (tmp_path / "starts").unlink(missing_ok=True)
        (tmp_path / folder).mkdir()
        rows = _outcomes(task, said, tmp_path / folder)
        found.append(rows)
    assert found[0] == found[1]
    assert len((tmp_path / "starts").read_text().splitlines()) == 3  # adopt, adopt again, evaluate


def test_a_failing_model_leaves_the_tables_of_others(served, task, tmp_path):
    adopt(task[0], "toy", "own", tmp_path / "fine", served())
    adopt(task[0], "toy", "own", tmp_path / "bad", served())
    info = models.read_info(tmp_path / "bad")
    info["existing"]["settings"]["command"] = served("crash", "i7")["command"]  # it breaks after it was adopted
    artifacts.write_json(tmp_path / "bad" / models.INFO, info)
    for name, fine in (("fine", True), ("bad", False)):
        with contextlib.nullcontext() if fine else pytest.raises(LossyBenchError, match=r"t.parquet: .*item i7: ended"):
            evaluate([tmp_path / name], task[0], [task[1]], [tmp_path / f"{name}.parquet"], device="cpu")
        assert (tmp_path / f"{name}.parquet").exists() == fine


def test_a_program_ends_with_its_model_and_all_that_it_started(served, task, tmp_path):
    (tmp_path / "child.sh").write_text(
        "#!/bin/sh\nsleep 60 & echo $! > child\nexec " + sys.executable + " served.py hang i0 starts\n"
    )
    (tmp_path / "child.sh").chmod(0o755)
    said = {"command": "./child.sh", "classes": OUTPUTS, "first_timeout": 1.5, "timeout": 0.1, "restarts": 0}
    with pytest.raises(LossyBenchError, match=r"own: command './child.sh': item i0: no answer within 1.5 s"):
        adopt(task[0], "toy", "own", tmp_path / "out", said)
    status = Path(f"/proc/{(tmp_path / 'child').read_text().strip()}/status")
    until = time.monotonic() + 5
    while status.exists() and "zombie" not in status.read_text() and time.monotonic() < until:
        time.sleep(0.05)
    assert not status.exists() or "zombie" in status.read_text()


@pytest.mark.parametrize(
    ("faults", "changes", "message"),
    [
        ([500, 500], {}, None),  # asked again
        ([500] * 4, {}, "item i0: HTTP status 500 after 3 restarts"),
        ([302], {}, "item i0: HTTP status 302, to http://elsewhere.example/"),
        ([404], {}, "item i0: HTTP status 404"),
        (["slow"], {"first_timeout": 0.3, "timeout": 0.3, "restarts": 0}, "item i0: no answer within 0.3 s"),
        (["silent"], {}, "item i0: no answer to it"),
    ],
)
def test_what_befalls_a_server(server, task, tmp_path, faults, changes, message):
    server.faults = list(faults)
    if message is None:
        return adopt(task[0], "toy", "own", tmp_path / "out", {**server.said, **changes})
    with pytest.raises(LossyBenchError, match=f"own: url '{server.said['url']}': {message}"):
        adopt(task[0], "toy", "own", tmp_path / "out", {**server.said, **changes})
    return None


def test_no_server_and_an_endless_answer(server, task, tmp_path, monkeypatch):
    with pytest.raises(LossyBenchError, match=r"item i0: no answer \(ConnectionError\)"):
        adopt(
            task[0], "toy", "own", tmp_path / "out", {"url": "http://127.0.0.1:9/", "classes": OUTPUTS, "restarts": 0}
        )
    monkeypatch.setattr(services, "LARGEST", 20)
    with pytest.raises(LossyBenchError, match="item i0: its answer has more than 20 bytes"):
        adopt(task[0], "toy", "own", tmp_path / "out", server.said)


@pytest.mark.parametrize(
    ("which", "message"), [("fails", "KeyError: 'wheels'"), ("short", "returns 3 answers for 4 items")]
)
def test_what_befalls_a_function(served, task, tmp_path, which, message):
    said = {"function": f"served:{which}", "classes": OUTPUTS, "batch": 4}
    with pytest.raises(LossyBenchError, match=f"own: function 'served:{which}': item i0 to i3: {message}"):
        adopt(task[0], "toy", "own", tmp_path / "out", said)


def test_media_go_out_without_loss():
    random = np.random.default_rng(0)
    picture, clip = random.integers(0, 256, (5, 7, 3), np.uint8), random.integers(0, 256, (3, 4, 6, 3), np.uint8)
    sound = random.integers(-(2**15), 2**15, 99).astype(np.int16)
    told = [json.loads(services.line(Sent("a\n", media, 8000.0))) for media in (picture, clip, sound)]
    assert [one["form"] for one in told] == ["png", "frames", "wav"] and all(one["id"] == "a\n" for one in told)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(told[0]["media"])))), picture)
    frames = [np.asarray(Image.open(io.BytesIO(base64.b64decode(frame)))) for frame in told[1]["media"]]
    np.testing.assert_array_equal(frames, clip)
    found, rate = soundfile.read(io.BytesIO(base64.b64decode(told[2]["media"])), dtype="int16")
    assert rate == 8000 and told[1]["rate"] == 8000
    np.testing.assert_array_equal(found, sound)


FINDER = """
    import base64, io, json, sys

    import numpy as np
    from PIL import Image

    def predict(items):
        found = []
        for one in items:
            media = one["media"]
            if media.ndim == 1:
                told = {"label": "loud" if np.abs(media.astype(float)).mean() > 2000 else "faint"}
            elif media.ndim == 4:
                told = {"label": "left" if media[0, :, :8].mean() > media[0, :, 8:].mean() else "right"}
            else:
                y, x = np.nonzero(media[..., 0] > 150)
                box = [x.min(), y.min(), x.max() + 1, y.max() + 1] if len(x) else [0, 0, 1, 1]
                boxes = np.array([box, [0, 0, 3, 3]])
                told = {"boxes": boxes, "labels": ["spot", "cloud"], "scores": [0.9, 0.99]}
            found.append({"id": one["id"], **told})
        return found
"""


@pytest.fixture
def finder(tmp_path, monkeypatch):
    (tmp_path / "finder.py").write_text(textwrap.dedent(FINDER))
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("finder", None)
    return {"function": "finder:predict"}


def _spots(folder, medium, codec="original", level=0.0):
    """Pictures or clips of several sizes with one bright rectangle, which moves, and a test part."""
    random, rows = np.random.default_rng(0), []
    for number in range(24 if medium == "image" else 4):
        height, width = 64 + 2 * (number % 3), 80
        frames = 1 if medium == "image" else 12
        clip = random.integers(0, 40, (frames, height, width, 3)).astype(np.uint8)
        left, top, boxes = *random.integers(0, 36, 2).tolist(), []
        for frame in range(frames):
            x, y = left + 2 * frame, top + frame % 3
            clip[frame, y : y + 14, x : x + 18] = 230
            sides = {"x0": x, "y0": y, "x1": x + 18, "y1": y + 14}
            boxes.append({"frame": frame, "label": 0, **{key: float(side) for key, side in sides.items()}})
        media, rate = (clip[0], 0.0) if medium == "image" else (clip, 25.0)
        rows.append(media_tables.data_row(f"i{number}", "test", media, boxes=boxes, sampling_rate=rate))
    data = media_tables.write_data(folder / "d.parquet", rows, medium, "detection", ["spot"])
    return data, media_tables.write_compressed(folder / "t.parquet", data, codec, level, ("test",))


def _detections(finder, medium, codec, level, folder, **more):
    data, test = _spots(folder, medium, codec, level)
    adopt(data, "toy", "own", folder / "out", {**finder, **more})
    evaluate([folder / "out"], data, [test], [folder / "o.parquet"], device="cpu")
    return artifacts.read_table(folder / "o.parquet").to_pylist()


@pytest.mark.parametrize(("medium", "codec", "level"), [("image", "jpeg", 80), ("video", "hevc", 22)])
def test_detectors_answer_in_pixels_of_the_item_and_of_each_frame(finder, tmp_path, medium, codec, level):
    more = {"frame_stride": 3} if medium == "video" else {}
    rows = _detections(finder, medium, codec, level, tmp_path, **more)
    assert len(rows) == (24 if medium == "image" else 16)
    if medium == "video":
        assert [row["frame"] for row in rows[:4]] == [0, 3, 6, 9]
    for row in rows:  # what it finds of other classes is left out
        assert row["labels"] == [0] and row["scores"] == pytest.approx([0.9])
        np.testing.assert_allclose(row["boxes"], row["true_boxes"], atol=1.01)


def test_a_detector_may_ask_for_a_size_of_its_own(finder, tmp_path):
    rows = _detections(finder, "image", "original", 0, tmp_path, input_size=[128, 160])
    for row in rows:
        np.testing.assert_allclose(row["boxes"], row["true_boxes"], atol=1.01)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"boxes": [[1, 2, 3]], "labels": ["spot"], "scores": [1]}, r"the box \[1.0, 2.0, 3.0\]; a box is"),
        ({"boxes": [[5, 2, 3, 4]], "labels": ["spot"], "scores": [1]}, "x0 <= x1"),
        ({"boxes": [[1, 2, 3, 4]], "labels": [], "scores": [1]}, "1 boxes, 0 labels and 1 scores"),
        ({"boxes": [[1, 2, 3, 4]], "labels": [0.5], "scores": [1]}, "the label 0.5"),
        ({"label": "spot"}, "a detector answers lists"),
    ],
)
def test_answers_that_are_no_detections_are_named(finder, tmp_path, monkeypatch, answer, message):
    import finder as own

    monkeypatch.setattr(own, "predict", lambda items: [{"id": one["id"], **answer} for one in items])
    with pytest.raises(LossyBenchError, match=f"function 'finder:predict': item i0: .*{message}"):
        _detections(finder, "image", "original", 0, tmp_path)


def test_sounds_and_clips_go_to_a_model_whole(finder, tmp_path):
    random = np.random.default_rng(0)
    for medium, classes in (("audio", ["loud", "faint"]), ("video", ["left", "right"])):
        rows = []
        for number in range(20):
            if medium == "audio":
                media = random.normal(0, 300 if number % 2 else 9000, 500 + number).astype(np.int16)
            else:
                media = random.integers(0, 99, (3, 16, 16 + 2 * (number // 10), 3)).astype(np.uint8)
                media[:, :, 8 * (number % 2) :][:, :, :8] += 99
            rows.append(media_tables.data_row(f"i{number}", "test", media, number % 2, sampling_rate=8000.0))
        (tmp_path / medium).mkdir()
        data = media_tables.write_data(tmp_path / medium / "d.parquet", rows, medium, "classification", classes)
        test = media_tables.write_compressed(tmp_path / medium / "t.parquet", data, "original", 0, ("test",))
        assert all(row["correct"] for row in _outcomes((data, test), finder, tmp_path / medium))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            {"command": "cat", "url": "http://a/"},
            "comes from one of checkpoint, command, function, url; command and url",
        ),
        ({"command": "nowhere_at_all -x"}, "nowhere_at_all: no such program on PATH; write ./ before one"),
        ({"command": "./nowhere"}, "./nowhere: no such program beside the config"),
        ({"command": "cat 'x"}, "'command': is no command"),
        ({"command": " "}, "'command': must be a program"),
        ({"function": "os:system"}, "os is a module of Python itself"),
        ({"function": "nowhere_at_all:f"}, "no module 'nowhere_at_all'"),
        ({"function": "served"}, "write module:function"),
        ({"function": "served:predict", "timeout": 3}, "'timeout': a function runs in the job itself"),
        ({"url": "ftp://a/"}, "write http://host:port/path"),
        ({"url": "file:///etc/passwd"}, "write http://host:port/path"),
        ({"url": "http://me:secret@a/"}, "leave the name and password out"),
        ({"url": "http://a:99999/"}, "write http://host:port/path"),
        ({"command": "cat", "normalise": "imagenet"}, "'normalise': is not for a model behind a command"),
        ({"command": "cat", "class": "served:Net"}, "'class': is not for a model behind a command"),
        ({"checkpoint": "x.pt2", "timeout": 3}, "'timeout': is not for a model behind a checkpoint"),
        ({"command": "cat", "classes": ["up", "down"]}, "2 of the data set's 2 classes are none of the model's"),
        ({"command": "cat", "timeout": 0}, "'timeout': input should be greater than 0"),
    ],
)
def test_mistakes_in_the_config_are_named(served, said, message):
    with pytest.raises(LossyBenchError, match=message):
        settings.read("own", said, "image", "classification", media_tables.CLASSES)


def _study(folder, **attack):
    for number in range(8):
        path = folder / "photos" / media_tables.CLASSES[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(media_tables.bright_halves(8)[number][0]).save(path)
    task = {"data": {"adapter": "image_folder", "path": str(folder / "photos"), "fractions": {"test": 1}}}
    task |= {"codecs": {"jpeg": [50]}, "models": {"mine": {"command": "cat"}}, **attack}
    return {"tasks": {"photos": task}}


def test_such_models_are_not_attacked_or_trained(tmp_path):
    study = Study(_study(tmp_path))
    (model,) = study.models("photos")
    assert model in study.existing("photos") and not study.training_conditions(model)
    with pytest.raises(LossyBenchError, match=r"photos.attack: mine gives no gradients, .* behind a command"):
        Study(_study(tmp_path, attack={"archs": ["mine"]}))


def test_identity_is_that_of_the_files_that_a_command_names(served, tmp_path):
    (tmp_path / "net.bin").write_bytes(b"one")
    said = {"command": "python served.py --weights=net.bin --fast", "classes": OUTPUTS}
    before = settings.identity("own", said)
    assert set(before) == {"command.served.py", "command.net.bin"}
    (tmp_path / "net.bin").write_bytes(b"two!")
    assert settings.identity("own", said) != before
