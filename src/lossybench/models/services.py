"""Models that are asked item by item: a program at the other end of pipes, a function, or a server of the user's own.

Each gets items as they are, pixels or samples as integers, and answers in the protocol of docs/models.md. A program is
started once and gets an item a line; an address gets the same lines by POST. What is wrong with an answer is told with
the item's name. `lossybench.models.existing` puts the interface of classifiers and detectors around them.
"""

from __future__ import annotations

import abc
import base64
import contextlib
import fcntl
import importlib
import io
import itertools
import json
import math
import operator
import os
import selectors
import signal
import subprocess
import sys
import time
import wave
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch import nn

from lossybench import kinds
from lossybench.errors import LossyBenchError, naming, shown
from lossybench.models.existing_settings import ExistingSettings, folder, program
from lossybench.models.inputs import Sent

LARGEST = 2**26  # bytes of an answer to one item
CHUNK = 2**20  # bytes that are written or read at a time, and that wait in a pipe where Linux lets them
STREAM = 32  # items that a command is sent one after another, before what it has answered is used
REMEMBERED, LAST_WORDS = 1000, 5  # characters of standard error that are kept, and lines of it that an error tells
PATIENCE = 5.0  # seconds in which a program ends once its input has ended
SUM = 0.05  # by so much probabilities, which may be rounded, sum to another number than 1


class FailedError(Exception):
    """A program or server failed in a way that another try may not: it ended, kept silent or refused."""


class Service(nn.Module):
    """A model that is asked item by item, as the network within `existing.Classifier` or `existing.Detector`.

    how: the study's settings. info: the content of model.json. Nothing is started before the first item.
    """

    def __init__(self, how: ExistingSettings, info: Mapping[str, Any]) -> None:
        super().__init__()
        self.answers_with: str = kinds.load(info["kind"]).existing
        self.known: dict[str, int] = info["existing"]["known"]
        self.logits = info["existing"]["scores"] == "logits"
        ways: dict[str, type[_Way]] = {"command": _Command, "function": _Function, "url": _Server}
        self.way = ways[how.source](how)
        self.what = f"{how.source} {getattr(how, how.source)!r}"

    def forward(self, items: Sequence[Sent]) -> Any:
        """The answers to the `items`, in their order.

        Of a classifier, probabilities (N, outputs + 1), whose last column is for what is none of the outputs. Of a
        detector, {boxes (K, 4), labels (K,), scores (K,)} for each item, where label -1 is none of the classes. Of any
        other model, its answers. Raises LossyBenchError, naming model and item.
        """
        with naming(self.what):
            if self.answers_with == "plain":
                return list(self.way.answers(items))
            found, detects = list[Any](), self.answers_with == "detector"
            for item, answer in zip(items, self.way.answers(items), strict=True):
                with naming(f"item {item.name}"):
                    found.append(self._found(answer) if detects else self._scores(answer))
        return found if detects else torch.tensor(found, dtype=torch.float32)

    def _scores(self, answer: Mapping[str, Any]) -> list[float]:
        """The probability of each output, and last that of anything else."""
        found = [0.0] * (max(self.known.values()) + 2)
        if "label" in answer:
            found[self._output(answer["label"])] = 1.0
            return found
        said = answer.get("scores")
        if isinstance(said, Mapping):
            values = _numbers(list(said.values()), "scores")
            places = [self.known.get(name, -1) for name in said]
        else:
            values = _numbers(said, "scores")
            places = list(range(len(values)))
            if len(values) != len(found) - 1:
                raise LossyBenchError(
                    f"answers {len(values)} scores, where `classes` names {len(found) - 1}; answer one for each, in "
                    "that order, or {name: score}"
                )
        if not values:
            raise LossyBenchError("answers no scores; answer one for each of `classes`, or a label")
        if self.logits:
            highest = max(values)
            values = [math.exp(value - highest) for value in values]
            values = [value / sum(values) for value in values]
        elif min(values) < 0 or sum(values) > 1 + SUM:
            raise LossyBenchError(
                f"answers scores from {min(values):.4g} that sum to {sum(values):.4g}, which are no probabilities; if "
                "a softmax is still to come, set outputs: logits"
            )
        for place, value in zip(places, values, strict=True):
            found[place] = max(found[place], value)
        return found

    def _output(self, label: Any) -> int:
        """The output that is called `label`, or has this number; -1 where none is."""
        if isinstance(label, str):
            return self.known.get(label, -1)
        if type(label) is not int:
            raise LossyBenchError(f"answers the label {shown(label)}; a label is a name or the number of an output")
        return label if label in self.known.values() else -1

    def _found(self, answer: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        boxes, labels, scores = (answer.get(key) for key in ("boxes", "labels", "scores"))
        if not isinstance(boxes, list) or not isinstance(labels, list) or not isinstance(scores, list):
            raise LossyBenchError(
                f"answers {shown(dict(answer))}; a detector answers lists of boxes, labels and scores"
            )
        if not len(boxes) == len(labels) == len(scores):
            raise LossyBenchError(
                f"answers {len(boxes)} boxes, {len(labels)} labels and {len(scores)} scores; each box has one of both"
            )
        corners = [_numbers(box, "a box") for box in boxes]
        for corner in corners:
            if len(corner) != 4 or corner[0] > corner[2] or corner[1] > corner[3]:
                raise LossyBenchError(
                    f"answers the box {corner}; a box is [x0, y0, x1, y1] in pixels, x0 <= x1, y0 <= y1"
                )
        return {
            "boxes": torch.tensor(corners, dtype=torch.float32).reshape(-1, 4),
            "labels": torch.tensor([self._output(label) for label in labels], dtype=torch.int64),
            "scores": torch.tensor(_numbers(scores, "scores"), dtype=torch.float32),
        }


def _numbers(values: Any, what: str) -> list[float]:
    fine = isinstance(values, list) and all(type(one) in (int, float) and math.isfinite(one) for one in values)
    if not fine:
        raise LossyBenchError(f"answers {shown(values)} as {what}; they are a list of finite numbers")
    return list(map(float, values))


class _Way(Protocol):
    """How a model is reached."""

    def __init__(self, how: ExistingSettings) -> None: ...

    def answers(self, items: Sequence[Sent]) -> Iterator[Mapping[str, Any]]:
        """The answer to each item, in their order."""

    def packed(self, item: Sent) -> Sent:
        """The item with its `line`, where it is sent as one."""


def line(item: Sent) -> bytes:
    """The line of JSON that carries an item: its id, and its medium in base64.

    Pictures are PNG, clips a list of PNG, sounds a WAV of 16 bits.
    """
    told: dict[str, Any] = {"id": item.name}
    if item.media.ndim == 1:
        told |= {"form": "wav", "media": _text(_wav(item.media, item.rate))}
    elif item.media.ndim == 3:
        told |= {"form": "png", "media": _text(_png(item.media))}
    else:
        told |= {"form": "frames", "rate": item.rate, "media": [_text(_png(frame)) for frame in item.media]}
    return json.dumps(told).encode() + b"\n"


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _png(picture: np.ndarray) -> bytes:
    """A PNG of uint8 (H, W, 3) that is not packed: packing takes longer than a pipe."""
    done, content = cv2.imencode(".png", picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 0])
    assert done
    return content.tobytes()


def _wav(samples: np.ndarray, rate: float) -> bytes:
    """A WAV of int16 (samples,) at a rate in Hz."""
    memory = io.BytesIO()
    with wave.open(memory, "wb") as file:
        file.setparams((1, 2, round(rate), len(samples), "NONE", "not compressed"))
        file.writeframes(samples.astype("<i2").tobytes())
    return memory.getvalue()


def _read(text: bytes, due: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The item that an answer is to, which is one of those `due`, and the answer."""
    first = next(iter(due))
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        said = text[:100].decode(errors="replace")
        raise LossyBenchError(
            f"item {first}: says {said!r} where an answer in JSON is due; standard output is for answers alone, all "
            "else goes to standard error"
        )
    if found.get("id") not in list(due):
        raise LossyBenchError(f"item {first}: answers with id {shown(found.get('id'))}; repeat the id of the item")
    return found["id"], found


class _Function:
    """A function of the user's own in this process. It gets items as arrays, and nothing stops it."""

    def __init__(self, how: ExistingSettings) -> None:
        assert how.function is not None
        module, _, attribute = how.function.partition(":")
        with naming(f"function {how.function!r}"):
            self.function: Any = operator.attrgetter(attribute)(importlib.import_module(module))
        self.batch = how.batch

    def packed(self, item: Sent) -> Sent:
        return item

    def answers(self, items: Sequence[Sent]) -> Iterator[Mapping[str, Any]]:
        for start in range(0, len(items), self.batch):
            some = items[start : start + self.batch]
            with naming(f"item {some[0].name}" + f" to {some[-1].name}" * (len(some) > 1)):
                found = self.function([{"id": one.name, "media": one.media, "rate": one.rate} for one in some])
                if not isinstance(found, list) or len(found) != len(some):
                    what = f"{len(found)} answers" if isinstance(found, list) else f"a {type(found).__name__}"
                    raise LossyBenchError(f"returns {what} for {len(some)} items; return a list of an answer for each")
                for answer in found:
                    if not isinstance(answer, Mapping):
                        raise LossyBenchError(f"answers {shown(answer)}; an answer is a dictionary")
            yield from ({key: _plain(value) for key, value in answer.items()} for answer in found)


def _plain(value: Any) -> Any:
    """Lists and numbers of Python in place of arrays and tensors."""
    return value.tolist() if hasattr(value, "tolist") else value


class _Retrying(abc.ABC):
    """What is asked again where it fails, up to `restarts` times in all.

    After a failure items are sent one by one, so that the one at which it fails again is the one that an error names.
    """

    def __init__(self, how: ExistingSettings) -> None:
        self.how, self.left, self.answered, self.together = how, how.restarts, False, how.batch

    def answers(self, items: Sequence[Sent]) -> Iterator[Mapping[str, Any]]:
        for start in range(0, len(items), self.together):
            due = {one.name: one.line for one in map(self.packed, items[start : start + self.together])}
            names: list[str] = list(due)
            found: dict[str, Mapping[str, Any]] = {}
            some = due
            while due:
                try:
                    self.exchange(some, found)
                except FailedError as failure:
                    unanswered = next(name for name in some if name not in found)
                    if not self.left:
                        tries = f" after {self.how.restarts} restarts" * bool(self.how.restarts)
                        raise LossyBenchError(f"item {unanswered}: {failure}{tries}") from None
                    self.left -= 1
                    print(f"item {unanswered}: {failure}; asking again, {self.left} tries left", file=sys.stderr)
                due = {name: text for name, text in due.items() if name not in found}
                some = dict(itertools.islice(due.items(), 1))
            yield from (found[name] for name in names)

    def packed(self, item: Sent) -> Sent:
        return item if item.line else item._replace(line=line(item))

    @abc.abstractmethod
    def exchange(self, due: Mapping[str, bytes], found: dict[str, Mapping[str, Any]]) -> None:
        """Send the lines `due` and put the answers into `found`. Raises FailedError where another try may be better."""

    def limit(self, waiting: int) -> float:
        """The seconds that the next answer may take while so many items are `waiting`."""
        return self.how.timeout * waiting if self.answered else max(self.how.first_timeout, self.how.timeout * waiting)


class _Command(_Retrying):
    """A program that reads lines and writes lines; started when it is first asked, and again when it failed."""

    process: subprocess.Popen[bytes] | None = None

    def __init__(self, how: ExistingSettings) -> None:
        super().__init__(how)
        self.together = max(STREAM, how.batch)

    def exchange(self, due: Mapping[str, bytes], found: dict[str, Mapping[str, Any]]) -> None:
        if self.process is None:
            self._start()
        assert self.process and self.process.stdin and self.process.stdout and self.process.stderr
        lines, sent, under_way, writes = iter(list(due.values())), memoryview(b""), 0, False
        due = dict(due)

        def limit() -> float:
            return self.limit(min(len(due), self.how.batch))

        until = time.monotonic() + limit()
        try:
            with selectors.DefaultSelector() as pipes:
                for pipe in (self.process.stdout, self.process.stderr):
                    pipes.register(pipe, selectors.EVENT_READ)
                while due:
                    if (left := until - time.monotonic()) <= 0:
                        raise FailedError(f"no answer within {limit():g} s{self._last_words()}")
                    # One more than a batch is under way, which the program finds as soon as it has answered.
                    if not sent and under_way <= self.how.batch and (text := next(lines, None)) is not None:
                        sent, under_way = memoryview(text), under_way + 1
                    if writes != bool(sent):
                        if writes := bool(sent):
                            pipes.register(self.process.stdin, selectors.EVENT_WRITE)
                        else:
                            pipes.unregister(self.process.stdin)
                    for key, _ in pipes.select(left):
                        if key.fileobj is self.process.stdin:
                            sent = sent[self._write(key.fd, sent) :]
                        elif key.fileobj is self.process.stderr:
                            if not self._listen(key.fd):
                                pipes.unregister(key.fileobj)
                        else:
                            before = len(due)
                            if self._take(key.fd, due, found):
                                until = time.monotonic() + limit()
                            under_way -= before - len(due)
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        assert self.how.command is not None
        # Snakemake's jobs do not import from where a script lies; the user's program is no such job.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
        self.answered, self.buffer, self.said = False, b"", ""
        try:
            self.process = subprocess.Popen(
                program(self.how.command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                cwd=folder(),
                env=environment,
                start_new_session=True,  # all that it starts can then be ended with it
            )
        except OSError as error:
            raise LossyBenchError(f"does not start: {error}") from None
        assert self.process.stdin
        os.set_blocking(self.process.stdin.fileno(), False)
        if sys.platform == "linux":  # else a picture takes several turns of both processes
            with contextlib.suppress(OSError):  # an administrator's limit
                fcntl.fcntl(self.process.stdin.fileno(), fcntl.F_SETPIPE_SZ, CHUNK)
        self.finish = weakref.finalize(self, _end, self.process, PATIENCE)

    def close(self) -> None:
        """End the program and all that it started."""
        if self.process is not None:
            self.finish.detach()
            _end(self.process, 0)
            self.process = None

    @staticmethod
    def _write(pipe: int, content: memoryview) -> int:
        """How many bytes went into the pipe; all, where nobody reads them any more: the end of answers then tells."""
        try:
            return os.write(pipe, content[:CHUNK])
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            return len(content)

    def _listen(self, pipe: int) -> bytes:
        """Pass on what the program says on standard error, and remember the last lines."""
        chunk = os.read(pipe, CHUNK)
        text = chunk.decode(errors="replace")
        sys.stderr.write(text)
        self.said = (self.said + text)[-REMEMBERED:]
        return chunk

    def _take(self, pipe: int, due: dict[str, bytes], found: dict[str, Mapping[str, Any]]) -> bool:
        """Read answers, which are then `found` and no longer `due`. Returns whether there were any."""
        chunk = os.read(pipe, CHUNK)
        if not chunk:
            raise FailedError(f"{self._ended()} before it answered{self._last_words()}")
        *lines, self.buffer = (self.buffer + chunk).split(b"\n")
        if len(self.buffer) > LARGEST:
            raise LossyBenchError(f"item {next(iter(due))}: its answer has more than {LARGEST:,} bytes")
        for text in filter(bytes.strip, lines):
            if not due:
                raise LossyBenchError(f"says {text[:100].decode(errors='replace')!r} once all items are answered")
            name, answer = _read(text, due)
            found[name] = answer
            del due[name]
            self.answered = True
        return bool(lines)

    def _ended(self) -> str:
        """How the program ended, in words, once what it still said was read."""
        assert self.process and self.process.stderr
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            return "closed its output"
        os.set_blocking(self.process.stderr.fileno(), False)
        with contextlib.suppress(BlockingIOError):
            while self._listen(self.process.stderr.fileno()):
                pass
        return f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"

    def _last_words(self) -> str:
        lines = [one.strip() for one in self.said.splitlines() if one.strip()][-LAST_WORDS:]
        return f" ({' / '.join(lines)})" if lines else ""


def _end(process: subprocess.Popen[bytes], patience: float) -> None:
    """Let a program see the end of its input, wait so many seconds, and end it with all that it started."""
    assert process.stdin and process.stdout and process.stderr
    for pipe in (process.stdin, process.stdout, process.stderr):
        pipe.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(patience)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class _Server(_Retrying):
    """An address of the user's own. Its answers are lines as those of a command, in any order.

    No proxy and no password of this machine's is used, and no other address is followed to.
    """

    def __init__(self, how: ExistingSettings) -> None:
        import requests

        super().__init__(how)
        self.session = requests.Session()
        self.session.trust_env = False

    def exchange(self, due: Mapping[str, bytes], found: dict[str, Mapping[str, Any]]) -> None:
        import requests

        due = dict(due)
        limit = self.limit(len(due))
        until = time.monotonic() + limit
        content = bytearray()
        try:
            with self.session.post(
                str(self.how.url),
                b"".join(due.values()),
                headers={"Content-Type": "application/x-ndjson"},
                timeout=limit,
                allow_redirects=False,
                stream=True,
            ) as reply:
                if reply.status_code >= 500:
                    raise FailedError(f"HTTP status {reply.status_code}")
                if reply.status_code != 200:
                    to = f", to {reply.headers.get('Location')}" if reply.is_redirect else ""
                    raise LossyBenchError(
                        f"item {next(iter(due))}: HTTP status {reply.status_code}{to}; give an address that "
                        "answers with status 200"
                    )
                for chunk in reply.iter_content(CHUNK):
                    content += chunk
                    if len(content) > LARGEST * len(due):
                        raise LossyBenchError(f"item {next(iter(due))}: its answer has more than {LARGEST:,} bytes")
                    if time.monotonic() > until:
                        raise requests.Timeout
        except requests.Timeout:
            raise FailedError(f"no answer within {limit:g} s") from None
        except requests.RequestException as error:
            raise FailedError(f"no answer ({type(error).__name__})") from None
        for text in filter(bytes.strip, bytes(content).split(b"\n")):
            if not due:
                raise LossyBenchError(f"says {text[:100].decode(errors='replace')!r} once all items are answered")
            name, answer = _read(text, due)
            found[name] = answer
            del due[name]
        if due:
            raise LossyBenchError(f"item {next(iter(due))}: no answer to it, but to others; answer each item in a line")
        self.answered = True
