"""What a study says of a model that exists already. torch is not imported, so that a study is checked at once.

An entry of `models` that has a `checkpoint`, `command`, `function` or `url` is not trained but evaluated as it came.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import sys
import urllib.parse
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args

import pydantic
from pydantic import Field, Strict

from lossybench import kinds
from lossybench.errors import LossyBenchError, explain, nearest
from lossybench.pictures import Interpolation
from lossybench.settings import MOST, Settings, Shape

Form = Literal["published", "state", "exported", "onnx", "torchscript", "command", "function", "url"]
SOURCES = ("checkpoint", "command", "function", "url")  # where a model comes from: an entry has one of them
SERVICES = SOURCES[1:]  # those that are asked item by item, as items are, and have no gradients
PUBLISHED = "torchvision/"
BESIDE = "LOSSYBENCH_BESIDE"  # the variable of the environment that holds the folders of the config's files, as JSON
# So many test items, drawn at random, show that a model works; where they do not, so many are asked. That either shows
# it of a model that only guesses happens in fewer than one of ten cases.
SAMPLES = (200, 2000)
IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
_SUFFIXES: dict[str, Form] = {
    ".pt2": "exported",
    ".onnx": "onnx",
    **dict.fromkeys((".pt", ".pth", ".ts", ".torchscript"), "torchscript"),
}  # of files that hold a whole program
LARGEST_LIST = 2**24  # bytes of a file of names
_PLACE = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)")


def _as_text(value: Any) -> Any:
    return str(value) if type(value) is int else value


# The name of a class, which may be a number: YAML then gives no text.
_Name = Annotated[str, pydantic.BeforeValidator(_as_text, json_schema_input_type=str | int)]


class Normalise(Settings):
    """(x - mean) / std of each channel, where x are pixels in [0, 1] or samples in [-1, 1)."""

    mean: Annotated[tuple[float, ...], Strict(False)] = Field(
        min_length=1, description="one number, or one for each of R, G, B"
    )
    std: Annotated[tuple[float, ...], Strict(False)] = Field(
        min_length=1, description="one number, or one for each of R, G, B; none is 0"
    )

    @pydantic.field_validator("mean", "std")
    @classmethod
    def _channels(cls, values: tuple[float, ...], about: pydantic.ValidationInfo) -> tuple[float, ...]:
        if len(values) not in (1, 3):
            raise ValueError("give one number, or three")
        if about.field_name == "std" and min(values) <= 0:
            raise ValueError("must be above 0")
        return values


Part = Literal["boxes", "objectness", "scores", "score", "label", "other"]
PARTS: tuple[str, ...] = get_args(Part)


class Detections(Settings):
    """What the tensors mean that a program of a detector returns. A candidate is a box that may hold an object."""

    tensors: list[str] = Field(
        min_length=1,
        description="what each output tensor holds of a candidate, in order, joined by + where it is several: boxes (4 "
        "numbers), objectness (1), scores (of every class), score (1), label (1), other (an output that is left out)",
    )
    transposed: bool = Field(
        False, description="whether tensors are (N, numbers, candidates) rather than (N, candidates, numbers)"
    )
    boxes: Literal["xyxy", "yxyx", "xywh", "cxcywh"] = Field(
        "xyxy", description="corners; corners, y first; upper left corner and size; centre and size"
    )
    units: Literal["pixels", "shares"] = Field(
        "pixels", description="of boxes: pixels of the model's input, or shares of its width and height"
    )
    scores: Literal["plain", "sigmoid", "softmax"] = Field(
        "plain", description="what has still to be applied to scores, score and objectness; plain is nothing"
    )
    offset: int = Field(
        0, ge=-MOST, le=MOST, description="label of the first of `classes`: 1 where labels count from 1"
    )
    nms: float | None = Field(
        None,
        gt=0,
        le=1,
        description="IoU above which the poorer of two boxes of a class is left out (non-maximum suppression); none "
        "where the program has done it",
    )
    least: float = Field(0.001, ge=0, lt=1, description="candidates with a lower score are left out")
    most: int = Field(300, ge=1, le=MOST, description="so many boxes of a picture, the best, are kept")

    @property
    def parts(self) -> list[list[str]]:
        """The parts that each output tensor holds."""
        return [tensor.split("+") for tensor in self.tensors]

    @pydantic.field_validator("tensors")
    @classmethod
    def _whole(cls, value: list[str]) -> list[str]:
        parts = [part for tensor in value for part in tensor.split("+")]
        for part in parts:
            if part not in PARTS:
                raise ValueError(f"{part!r} is none of {', '.join(PARTS)}")
            if part != "other" and parts.count(part) > 1:
                raise ValueError(f"{part} is there twice")
        if (
            "boxes" not in parts
            or ("scores" in parts) == ("score" in parts)
            or ("score" in parts) != ("label" in parts)
        ):
            raise ValueError("name boxes and either scores, or score and label")
        if any("other" in (own := tensor.split("+")) and len(own) > 1 for tensor in value):
            raise ValueError("other stands for a whole tensor")
        return value


class ExistingSettings(Settings):
    """A model that exists already, and what it expects of its input."""

    model_config = pydantic.ConfigDict(populate_by_name=True)

    checkpoint: str | None = Field(
        None,
        min_length=1,
        description="a state dict (.safetensors, or torch.save's) with `class`; without it a program: TorchScript "
        "(.pt, .pth, .ts, .torchscript), torch.export's (.pt2) or ONNX (.onnx). A file inside an installed package is "
        "written package:path. For torchvision/NAME: the name of its published weights, such as DEFAULT",
    )
    command: str | None = Field(
        None,
        min_length=1,
        description="a program that is started once, in the config's folder and without a shell; it reads an item a "
        "line from its input and writes an answer a line, as JSON",
    )
    function: str | None = Field(
        None,
        description="a Python function, module:function, found beside the config or installed; it takes a list of "
        "items and returns a list of answers",
    )
    url: str | None = Field(
        None, description="an http or https address of your own, to which items are posted, a JSON line each"
    )
    batch: int = Field(
        1, ge=1, le=1024, description="items that a command, function or url gets before answers are waited for"
    )
    timeout: float = Field(
        60, gt=0, le=MOST, description="seconds that a command or url may take for an answer, for each item of a batch"
    )
    first_timeout: float = Field(
        300, gt=0, le=MOST, description="seconds for the first answer after a command was started, or from a url"
    )
    restarts: int = Field(
        3, ge=0, le=100, description="how often a job starts a command again, or asks a url again, that failed"
    )
    version: str | None = Field(
        None, description="any text; with another one a command, function or url counts as another model"
    )
    detections: Detections | None = Field(
        None, description="what a detector's program (.onnx, .pt2, TorchScript) returns; see docs/models.md"
    )
    frame_stride: int = Field(4, ge=1, le=MOST, description="look at every n-th frame of a clip; video detection only")
    class_: str | None = Field(
        None, alias="class", description="what makes the network: module:Class, found beside the config or installed"
    )
    arguments: dict[str, Any] = Field({}, description="keyword arguments of the class")
    classes: Annotated[int, Field(ge=1, le=MOST)] | list[_Name] | dict[_Name, int] | str | None = Field(
        None,
        description="which class each output of the model is: names in the order of the outputs, a file of one name a "
        "line (or a JSON list), {name: output}, or how many there are if they are named 0, 1, 2 and so on. Names are "
        "those of the data set; outputs of other classes are wrong answers. Published weights bring their own names",
    )
    input_size: Shape | None = Field(
        None,
        description="what the model sees: [height, width], [samples], or [frames, height, width]; by default that of "
        "its published weights, else the size of the items, which must then be all alike",
    )
    resize: int | None = Field(
        None,
        ge=1,
        le=65_535,
        description="pixels that a picture's shorter side is brought to before the centre of `input_size` is cut out; "
        "when left out, the largest centre of that shape is resized",
    )
    interpolation: Interpolation = Field("bilinear", description="filter of `resize`")
    normalise: Normalise | None = Field(
        None, description='{mean, std} of the channels of pixels in [0, 1], or "imagenet"; none when left out'
    )
    layout: Literal["nct", "nt", "nchw", "ncthw", "ntchw"] | None = Field(
        None,
        description="axes of the model's input: nchw for images; ncthw (the default) or ntchw for video; nt (the "
        "default) or nct for audio",
    )
    outputs: Literal["logits", "probabilities"] | None = Field(
        None,
        description="what a classifier returns; logits when left out, but probabilities of a command, function or url",
    )
    minimum: float | None = Field(
        None,
        ge=0,
        le=1,
        description="least accuracy or mAP50 on a sample of original test items; below it the model is refused",
    )

    @pydantic.field_validator("normalise", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return IMAGENET if value == "imagenet" else value

    @pydantic.field_validator("class_", "function")
    @classmethod
    def _place(cls, value: str | None, about: pydantic.ValidationInfo) -> str | None:
        if value is not None and not _PLACE.fullmatch(value):
            example = "module:Class, such as mypkg.nets:Net" if about.field_name == "class_" else "module:function"
            raise ValueError(f"write {example}")
        return value

    @pydantic.field_validator("command")
    @classmethod
    def _words(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                words = shlex.split(value)
            except ValueError as error:
                raise ValueError(f"is no command ({error})") from None
            if not words or "\0" in value:
                raise ValueError("must be a program and its arguments")
        return value

    @pydantic.field_validator("url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                parts = urllib.parse.urlsplit(value)
                fine = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port)
            except ValueError:
                fine = False
            if not fine or not value.isprintable() or " " in value:
                raise ValueError("write http://host:port/path, or https")
            if parts.username or parts.password:
                raise ValueError("leave the name and password out: results keep the address")
        return value

    @property
    def source(self) -> str:
        """Where the model comes from: one of SOURCES."""
        return next(name for name in SOURCES if getattr(self, name) is not None)

    @property
    def place(self) -> str:
        """module:attribute of the user's own code that runs in our process; "" where there is none."""
        return self.class_ or self.function or ""


LAYOUTS = {"image": ("nchw",), "audio": ("nt", "nct"), "video": ("ncthw", "ntchw")}  # the first is the default
AXES = {"image": 2, "audio": 1, "video": 3}


def _wrong(setting: str, what: str) -> LossyBenchError:
    return LossyBenchError(f"model setting {setting!r}: {what}")


def is_existing(settings: Mapping[str, Any] | None) -> bool:
    """Whether `settings`, an entry of `models`, are those of a model that exists already."""
    return not set(SOURCES).isdisjoint(settings or {})


def folder() -> Path:
    """The folder of the config, in which commands run; without a config, the one in which we run."""
    return Path(next(iter(json.loads(os.environ.get(BESIDE, "[]"))), ""))


def program(command: str) -> list[str]:
    """The argument list of the setting `command`, its program found on PATH or, with a / in its name, in `folder`.

    Raises LossyBenchError where there is no such program.
    """
    first, *rest = shlex.split(command)
    path = str((folder() / first).absolute()) if "/" in first else first
    found = shutil.which(path)
    if found is None:
        where = "beside the config" if "/" in first else "on PATH; write ./ before one that lies beside the config"
        raise _wrong("command", f"{first}: no such program {where}")
    return [found, *rest]


def read(
    arch: str, settings: Mapping[str, Any], medium: str, kind: str, classes: Sequence[str] | None = None
) -> ExistingSettings:
    """The `settings` of the model `arch`, checked as far as is possible without importing torch or the model's code.

    medium, kind: of the task. classes: the data set's; None leaves out the check that the model knows them.
    Raises LossyBenchError for an unknown key, a missing file, a module that cannot be found, a combination that cannot
    work, and classes that the model does not know.
    """
    try:
        made = ExistingSettings.model_validate(settings)
    except pydantic.ValidationError as error:
        fields = {field.alias or name: field for name, field in ExistingSettings.model_fields.items()}
        # Of the types that `classes` may have, the one that fits best; their names are none of the key's.
        problem = max(error.errors(), key=lambda one: len(one["loc"]))
        hint = re.compile(r"(list|dict|function-\w+|constrained-\w+|str|int)(\[.*)?", re.DOTALL)
        loc = tuple(part for part in problem["loc"] if not hint.fullmatch(str(part)))
        raise LossyBenchError(explain({**problem, "loc": loc}, fields, "model setting")) from None
    _check_source(arch, made, set(settings))
    about = kinds.load(kind)
    how = form(arch, made)
    if classes == [] and about.existing != "plain" and made.classes is None and how != "published":
        raise _wrong("classes", "missing; the data have no labels, so name the class of each output here")
    if how in SERVICES:
        if made.command:
            program(made.command)
    elif how == "published":
        if made.class_ or made.arguments:
            raise LossyBenchError(f"{arch}: torchvision knows its class; leave out class and arguments")
    else:
        assert made.checkpoint is not None
        checkpoint_file(made.checkpoint)
        if made.classes is None and about.existing != "plain":
            names = ", ".join(classes or [])
            raise _wrong("classes", f"missing; name the class of each output, in order, as the data set does: {names}")
    if made.place:
        key = "class" if made.class_ else "function"
        module = made.place.partition(":")[0].partition(".")[0]
        if module in sys.stdlib_module_names:  # os:system would run whatever `arguments` say
            raise _wrong(key, f"{module} is a module of Python itself; name your own")
        if _spec(module) is None:
            raise _wrong(key, f"no module {module!r}; put it beside the config, or on PYTHONPATH")
    if made.arguments and not made.class_:
        raise _wrong("arguments", "they are those of `class`, which is missing")
    if made.layout and made.layout not in LAYOUTS[medium]:
        raise _wrong("layout", f"{made.layout} is not for {medium}; use {' or '.join(LAYOUTS[medium])}")
    if made.resize and (medium == "audio" or about.placed):
        raise _wrong("resize", f"is for classifying pictures, not for {medium} {kind}; leave it out")
    size = list(made.input_size or ())
    if made.resize and max(size[-2:], default=0) > made.resize:
        raise _wrong("resize", f"{made.resize} is less than input_size {size}, which is to be cut out; raise it")
    frames = medium == "video" and about.by_frame  # which models of pictures see one by one
    if size and len(size) != AXES[medium] - frames:
        raise _wrong("input_size", f"{size} must have {AXES[medium] - frames} numbers for {medium} {kind}")
    if "frame_stride" in settings and not frames:
        raise _wrong("frame_stride", f"is for video detection, not for {medium} {kind}; leave it out")
    if about.existing == "detector" and how in _SUFFIXES.values() and made.detections is None:
        raise _wrong("detections", "missing; programs have no common way to say what they found, so say what it is")
    if made.detections and (about.existing != "detector" or how not in _SUFFIXES.values()):
        raise _wrong("detections", f"is for detectors whose checkpoint is a program, not for {kind} by {how}")
    if about.existing != "classifier" and how in SERVICES and made.outputs:
        raise _wrong("outputs", "is for classification; leave it out")
    if classes is not None and made.classes is not None:
        known = named(made.classes)
        _check_count(made.classes, known, classes)
        outputs_of(known, classes)
    return made


_ASKED = {"batch", "timeout", "first_timeout", "restarts", "version"}  # settings for SERVICES alone
_BUILT = {"class", "arguments", "normalise", "layout", "detections"}  # settings for checkpoints alone


def _check_source(arch: str, made: ExistingSettings, said: set[str]) -> None:
    """Raise LossyBenchError for a model that comes from two places, or whose settings are those of others.

    said: the keys of the study.
    """
    given = [name for name in SOURCES if getattr(made, name) is not None]
    if len(given) != 1:
        what = " and ".join(given) if given else "none of them is there"
        raise LossyBenchError(f"{arch}: a model comes from one of {', '.join(SOURCES)}; {what}")
    (source,) = given
    services = source in SERVICES
    if services and "/" in arch:
        raise LossyBenchError(f"{arch}: a model behind a {source} has a name without /; rename it")
    if wrong := sorted(said & (_BUILT if services else _ASKED)):
        whose = f"a {source}" if services else "a checkpoint"
        raise _wrong(wrong[0], f"is not for a model behind {whose}; leave it out")
    if source == "function" and (timed := sorted(said & {"timeout", "first_timeout", "restarts"})):
        raise _wrong(timed[0], "a function runs in the job itself and cannot be stopped; use a command")


def _check_count(
    said: int | list[str] | dict[str, int] | str, known: Mapping[str, int], classes: Sequence[str]
) -> None:
    """Raise LossyBenchError where outputs are named 0, 1, 2 and so on, and the data set's labels seem to count from 1.

    Every answer of the model would then be off by one. A mapping says which output is which, so it is believed.
    """
    counted = not isinstance(said, dict) and list(known) == [str(number) for number in range(len(known))]
    labels = [int(name) for name in classes if name.isdecimal()]
    if counted and labels and len(labels) == len(classes) and min(labels) > 0:
        first, last = min(labels), max(labels)
        raise _wrong(
            "classes",
            f"names the outputs 0 to {len(known) - 1}, and the data set's labels are {first} to {last}, without a 0; "
            f"if these count from 1, write {{1: 0, 2: 1, 3: 2, ...}}; if output {first} is class {first} indeed, write "
            f"{{{first}: {first}, ...}}, with one entry for each label",
        )


def form(arch: str, settings: ExistingSettings) -> Form:
    """The form of checkpoint of the model `arch`. Raises LossyBenchError where neither settings nor suffix tell it."""
    if settings.source in SERVICES:
        return cast(Form, settings.source)
    assert settings.checkpoint is not None
    if arch.startswith(PUBLISHED):
        return "published"
    if settings.class_:
        return "state"
    suffix = Path(settings.checkpoint).suffix.lower()
    if suffix not in _SUFFIXES:
        what = "a state dict needs `class`" if suffix == ".safetensors" else f"use {', '.join(_SUFFIXES)}, or `class`"
        raise _wrong("checkpoint", f"{settings.checkpoint}: {what}")
    return _SUFFIXES[suffix]


def has_gradients(arch: str, settings: Mapping[str, Any] | None) -> bool:
    """Whether an attack can follow the gradients of the model `arch` with these `settings` of the study."""
    if not settings or not is_existing(settings):
        return True
    made = ExistingSettings(**settings)
    return form(arch, made) not in ("onnx", *SERVICES) and made.detections is None  # programs of detectors lack losses


def checkpoint_file(text: str) -> Path:
    """The file that `text`, the setting `checkpoint`, names: a path, or package:path.

    Raises LossyBenchError where there is no such package or file.
    """
    package, colon, inside = text.partition(":")
    if colon and package.isidentifier():
        spec = _spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise _wrong("checkpoint", f"{text}: no package {package!r} is installed")
        path = Path(spec.submodule_search_locations[0]) / inside
    else:
        path = Path(text)
    if not _is_file(path):
        raise _wrong("checkpoint", f"{path}: no such file; paths count from the folder in which you run")
    return path


def identity(arch: str, settings: Mapping[str, Any]) -> dict[str, str]:
    """{setting: SHA-256} of the files that the `settings` of the model `arch` name: a job must depend on these too."""
    made = ExistingSettings(**settings)
    files: dict[str, Path] = {}
    if made.command:  # the scripts and weights that its words name, but not the program of the system that runs them
        words = [word for place, word in enumerate(shlex.split(made.command)) if place or "/" in word]
        words = [word.rpartition("=")[2] for word in words]  # --weights=net.bin
        files = {f"command.{word}": folder() / word for word in words if _is_file(folder() / word)}
    elif made.checkpoint and form(arch, made) != "published":
        files = {"checkpoint": checkpoint_file(made.checkpoint)}
    if isinstance(made.classes, str):
        files["classes"] = _existing_file(made.classes)
    return {key: _sha256(path, path.stat().st_size, path.stat().st_mtime_ns) for key, path in files.items()}


@functools.cache
def _sha256(path: Path, size: int, when: int) -> str:
    """A file is read once as long as its size and its time of change stay the same."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _spec(module: str) -> Any:
    """How Python would import the top-level `module`, which it does not do; None for a module that it cannot find."""
    try:
        return importlib.util.find_spec(module)
    except ValueError:  # __main__
        return None


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or with a NUL
        return False


def _existing_file(text: str) -> Path:
    if not _is_file(Path(text)):
        raise _wrong("classes", f"{text}: no such file; give a file of names, or a list")
    return Path(text)


def named(classes: int | list[str] | dict[str, int] | str) -> dict[str, int]:
    """{name: output} of the setting `classes`. Raises LossyBenchError for a name or an output that is there twice."""
    if isinstance(classes, int):
        return {str(number): number for number in range(classes)}
    if isinstance(classes, str):
        path = _existing_file(classes)
        if path.stat().st_size > LARGEST_LIST:
            raise LossyBenchError(f"{path}: has more than {LARGEST_LIST:,} bytes; give a file of the classes' names")
        try:
            text = path.read_text(encoding="utf-8-sig")
            found = json.loads(text) if path.suffix == ".json" else text.splitlines()
        except (ValueError, RecursionError) as error:
            raise LossyBenchError(f"{path}: neither names in UTF-8, one a line, nor a JSON list ({error})") from None
        if not isinstance(found, list) or not all(isinstance(name, (str, int)) for name in found):
            raise LossyBenchError(f"{path}: not a JSON list of names")
        classes = list(map(str, found))
        while classes and not classes[-1].strip():
            classes.pop()
    listed = classes.items() if isinstance(classes, dict) else ((name.strip(), i) for i, name in enumerate(classes))
    pairs = list(listed)
    for part, what in ((0, "name"), (1, "output")):
        counts = Counter(pair[part] for pair in pairs)
        if twice := [value for value, count in counts.items() if count > 1]:
            raise _wrong("classes", f"{what} {twice[0]!r} is there twice; each must be one class")
    if any(not 0 <= output < MOST for _, output in pairs):
        raise _wrong("classes", f"outputs count from 0, up to {MOST:,}")
    return dict(pairs)


def outputs_of(known: Mapping[str, int], classes: Sequence[str]) -> list[int]:
    """The model's output for each of the data set's `classes`, in their order. known: {name: output} of the model.

    Raises LossyBenchError for classes that the model does not know, and names them.
    """
    unknown = [name for name in classes if name not in known]
    if unknown:
        hint = nearest(unknown[0], known) if len(known) <= 20 else f"it has {len(known)}, such as {next(iter(known))!r}"
        raise _wrong(
            "classes",
            f"{len(unknown)} of the data set's {len(classes)} classes are none of the model's "
            f"({', '.join(map(repr, unknown[:5]))}; {hint}); name them as the data set does, or map {{name: output}}",
        )
    return [known[name] for name in classes]
