"""Models that exist already, behind the interface of the models that are trained here.

The adopt stage writes the folder that training would have written. A state dict is stored as it is. A program
(TorchScript, torch.export, ONNX) is stored as its bytes, in the one tensor `program` of the weights file. Checkpoints
are loaded weights-only; the class of a state dict and a program are the user's own code, and that code runs.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import operator
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lossybench import kinds, models
from lossybench.errors import LossyBenchError
from lossybench.models import existing_settings as settings
from lossybench.models import from_torchvision
from lossybench.models.existing_settings import Detections, ExistingSettings
from lossybench.models.inputs import Sent
from lossybench.models.layers import Normalise

PROGRAM = "program"
SHARED = 16  # how many times its file a state dict may take up: tensors may share what is stored
UNPACKED = 2**26  # bytes that any archive may have
CANDIDATES = 30_000  # of a picture at most go through non-maximum suppression
_NESTED = ("state_dict", "model_state_dict", "model", "weights")  # where checkpoints of training keep their state dict


class _Existing(nn.Module):
    """What the interface to classifiers and to detectors shares. info: the content of model.json.

    by_item: how many items a network is asked about at a time that is asked item by item; a batch `x` is then a list of
    `inputs.Sent`. 0 of any other, whose batch is a tensor.
    """

    def __init__(self, network: nn.Module, info: Mapping[str, Any]) -> None:
        super().__init__()
        about = info["existing"]
        self.network, self.picked = network, about["picked"]
        self.by_item: int = about["settings"]["batch"] if about.get("form") in settings.SERVICES else 0
        normalise = about["normalise"] or {"mean": [0.0], "std": [1.0]}
        self.normalise = Normalise(normalise["mean"], normalise["std"], 0 if info["medium"] == "audio" else 2)

    def packed(self, item: Sent) -> Sent:
        """The item as it is best sent to a network that is asked item by item; may be called in another thread."""
        return self.network.way.packed(item)  # type: ignore[union-attr, operator]


class Plain(_Existing):
    """Any other model: it normalises and arranges the axes, and returns what the `network` returns.

    Of a model that is asked item by item that is its answers, which the kind of task reads.
    """

    def __init__(self, network: nn.Module, info: Mapping[str, Any]) -> None:
        super().__init__(network, info)
        self.layout = info["existing"]["layout"]

    def forward(self, x: Any) -> Any:
        """See `TaskKind.predict` and `TaskKind.answered`."""
        return self.network(x if self.by_item else _arranged(self.normalise(x), self.layout))


def _arranged(x: torch.Tensor, layout: str) -> torch.Tensor:
    """A batch with its axes as a network expects them."""
    if layout == "ncthw":
        return x.transpose(1, 2)
    return x.unsqueeze(1) if layout == "nct" else x


class Classifier(_Existing):
    """A classifier with the interface that `lossybench.models.build` describes, around the user's `network`.

    It normalises, arranges the axes as the network expects them, and picks the outputs of the data set's classes. Where
    the network has other outputs too, the largest of those is one more logit at the end: an item that is taken for
    something else is a wrong answer, as it is for the network alone.
    """

    def __init__(self, network: nn.Module, info: Mapping[str, Any]) -> None:
        super().__init__(network, info)
        about = info["existing"]
        self.layout, self.outputs, self.rest = about["layout"], about["outputs"], about["rest"]

    def all_outputs(self, x: Any) -> torch.Tensor:
        """All outputs (N, outputs) that the network has for the batch `x`."""
        if self.by_item:
            return self.network(x)
        found = self.network(_arranged(self.normalise(x), self.layout))
        if isinstance(found, Mapping):
            found = found.get("logits", next(iter(found.values())))
        return _first(getattr(found, "logits", found))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See `lossybench.models.build`."""
        found = self.all_outputs(x)
        if self.outputs == "probabilities":
            found = torch.log(found.clamp_min(torch.finfo(found.dtype).tiny))
        if not self.rest:
            return found[:, self.picked]
        return torch.cat([found[:, self.picked], found[:, self.rest].amax(1, keepdim=True)], dim=1)


class Detector(_Existing):
    """Normalises, translates labels, and leaves out what the network finds of classes that the data set has not.

    Of a clip it sees one frame at a time. The network is given targets only where its losses are asked for, so that one
    which has none may do without that parameter.
    """

    def _pictures(self, x: Any) -> Any:
        """The batch `x` as the network takes it; frames come in windows of one."""
        return x if self.by_item else list(self.normalise(x.squeeze(1) if x.ndim == 5 else x))

    def all_found(self, x: Any) -> list[dict[str, torch.Tensor]]:
        """All that the network, in evaluation mode, finds in each picture of the batch `x`, with its own labels.

        The boxes (K, 4), labels (K,) and scores (K,) of a picture fall by score. Raises LossyBenchError for anything
        else.
        """
        found = self.network(self._pictures(x))
        if not isinstance(found, list | tuple) or len(found) != len(x):
            what = f"{len(found)} results" if isinstance(found, list | tuple) else type(found).__name__
            raise LossyBenchError(f"returns {what} for a batch of {len(x)}; {_PROTOCOL}")
        return [_by_score(of_item) for of_item in found]

    def forward(self, x: torch.Tensor, targets: list[dict[str, torch.Tensor]] | None = None) -> Any:
        """See `lossybench.models.build`. Raises LossyBenchError where the network returns something else."""
        if targets is None:
            return self.translated(self.all_found(x))
        picked = torch.tensor(self.picked, device=x.device)
        targets = [{**target, "labels": picked[target["labels"]]} for target in targets]
        losses = self.network(self._pictures(x), targets)
        if not isinstance(losses, Mapping) or not all(isinstance(loss, torch.Tensor) for loss in losses.values()):
            raise LossyBenchError(
                f"returns {type(losses).__name__} in training mode; attacks need a detector that, given targets "
                "(a list of {boxes, labels}), returns a dictionary of its losses; leave it out of attack.archs"
            )
        return dict(losses)

    def translated(self, found: Sequence[Mapping[str, torch.Tensor]]) -> list[dict[str, torch.Tensor]]:
        """What `all_found` returns, of the data set's classes alone and with their labels."""
        result = []
        for one in found:
            same = one["labels"][:, None] == torch.tensor(self.picked, device=one["labels"].device)
            known = same.any(1)
            kept = {"boxes": one["boxes"][known], "scores": one["scores"][known]}
            result.append({**kept, "labels": same[known].int().argmax(1)})
        return result


_PROTOCOL = "a detector returns, in evaluation, {boxes (K, 4), labels (K,), scores (K,)} for each picture"


def _by_score(found: Any) -> dict[str, torch.Tensor]:
    """The boxes, labels and scores of one picture, in the order of falling scores, once they are checked."""
    wanted = ("boxes", "labels", "scores")
    said = found if isinstance(found, Mapping) else {}
    parts = {name: said[name] for name in wanted if isinstance(said.get(name), torch.Tensor)}
    if len(parts) < len(wanted):
        raise LossyBenchError(f"finds {type(found).__name__} in a picture; {_PROTOCOL}")
    shapes = [tuple(part.shape) for part in parts.values()]
    count = len(parts["boxes"]) if parts["boxes"].ndim else -1
    if shapes != [(count, 4), (count,), (count,)]:
        raise LossyBenchError(f"finds boxes, labels and scores of the shapes {shapes} in a picture; {_PROTOCOL}")
    if not (parts["boxes"].isfinite().all() and parts["scores"].isfinite().all()):
        raise LossyBenchError("finds boxes or scores that are not finite; check normalise")
    order = parts["scores"].argsort(descending=True, stable=True)
    return {name: part[order] for name, part in parts.items()}


def _first(found: Any) -> torch.Tensor:
    return found[0] if isinstance(found, tuple | list) else found


class _Program(nn.Module):
    """A model whose file says how it computes. It has only the mode, training or evaluation, in which it was exported.

    batch: the one size of batch that the program takes, or None where it takes any.
    """

    def __init__(self, module: Callable[[torch.Tensor], Any], batch: int | None = None) -> None:
        super().__init__()
        self.module, self.batch = module, batch

    def forward(self, x: torch.Tensor) -> Any:
        if self.batch is None:
            return self.module(x)
        return torch.cat([_first(self.module(full))[:count] for full, count in self.parts(x)])

    def parts(self, x: torch.Tensor) -> Iterator[tuple[torch.Tensor, int]]:
        """The batch `x` in batches that the program takes, the last one filled up, and how many items each is of."""
        for part in x.split(self.batch or len(x)):
            missing = (self.batch or len(x)) - len(part)
            yield torch.cat([part, part[-1:].expand(missing, *part.shape[1:])]) if missing else part, len(part)

    def train(self, mode: bool = True) -> _Program:
        return self


class _Described(nn.Module):
    """A program that detects, with the interface of torchvision's detectors.

    how: what its tensors mean. info: the content of model.json, of whose labels 0 is the first of `classes`.
    """

    def __init__(self, program: _Program, how: Detections, info: Mapping[str, Any]) -> None:
        super().__init__()
        self.program, self.how = program, how
        self.listed, self.highest = info["existing"]["listed"], max(info["existing"]["picked"])

    def forward(self, images: Sequence[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        """What is found in each picture (3, H, W): {boxes (K, 4) in pixels x0 y0 x1 y1, labels (K,), scores (K,)}."""
        found = []
        for part, count in self.program.parts(torch.stack(list(images))):
            of_part = self._candidates(self.program.module(part))
            if len(of_part["boxes"]) != len(part):
                raise LossyBenchError(
                    f"returns boxes of the shape {tuple(of_part['boxes'].shape)} for {len(part)} pictures; their first "
                    "axis is that of pictures"
                )
            sides = torch.tensor([part.shape[-1], part.shape[-2]] * 2, device=part.device)
            found += [
                self._kept({name: values[place] for name, values in of_part.items()}, sides) for place in range(count)
            ]
        return found

    def _candidates(self, found: Any) -> dict[str, torch.Tensor]:
        """Each part (N, candidates, numbers) by its name, of what the program returned."""
        tensors = list(found.values() if isinstance(found, Mapping) else found) if not _is_tensor(found) else [found]
        parts = self.how.parts
        if len(tensors) < len(parts) or not all(map(_is_tensor, tensors[: len(parts)])):
            raise LossyBenchError(
                f"returns {len(tensors)} outputs, where detections.tensors names {len(parts)} tensors"
            )
        result: dict[str, torch.Tensor] = {}
        for names, tensor in zip(parts, tensors, strict=False):
            if names == ["other"]:
                continue
            numbers = {"boxes": 4, "objectness": 1, "score": 1, "label": 1}
            shape, tensor = tuple(tensor.shape), tensor.float()
            single = len(names) == 1 and names != ["boxes"] and names != ["scores"]
            if single and (tensor.ndim == 1 or (tensor.ndim == 2 and tensor.shape[-1] != 1)):
                tensor = tensor[..., None]  # (candidates,) or (N, candidates)
            elif self.how.transposed:
                tensor = tensor.transpose(-1, -2)
            if tensor.ndim == 2:
                tensor = tensor[None]  # of the one picture that the program takes
            fixed = sum(numbers.get(name, 0) for name in names)
            classes = tensor.shape[-1] - fixed
            wanted = self.listed or self.highest + 1
            if tensor.ndim != 3 or ("scores" not in names and classes):
                raise LossyBenchError(
                    f"returns a tensor of the shape {shape} for {'+'.join(names)}, which has {fixed} numbers in a "
                    "candidate; check detections.tensors and detections.transposed"
                )
            named = classes - self.how.offset
            if "scores" in names and (named < wanted or (self.listed and named > wanted)):
                raise LossyBenchError(
                    f"returns a tensor of the shape {shape} for {'+'.join(names)}, which has {classes} scores in a "
                    f"candidate, where `classes` names outputs up to {wanted - 1}; check detections.tensors, "
                    "transposed and offset"
                )
            sizes = [numbers.get(name, classes) for name in names]
            result |= dict(zip(names, tensor.split(sizes, dim=-1), strict=True))
        return result

    def _kept(self, one: Mapping[str, torch.Tensor], sides: torch.Tensor) -> dict[str, torch.Tensor]:
        """What is kept of the candidates of one picture. sides: its width and height, twice."""
        activations = {"plain": lambda x: x, "sigmoid": torch.sigmoid, "softmax": lambda x: x.softmax(-1)}
        scores = activations[self.how.scores](one["scores" if "scores" in one else "score"])
        if "objectness" in one:
            scores = scores * (one["objectness"].sigmoid() if self.how.scores != "plain" else one["objectness"])
        rows, columns = torch.nonzero(scores > self.how.least, as_tuple=True)
        labels = (one["label"][rows, 0].round().long() if "label" in one else columns) - self.how.offset
        kept = scores[rows, columns].argsort(descending=True, stable=True)[:CANDIDATES]
        rows, labels = rows[kept], labels[kept]
        found = {
            "boxes": self._corners(one["boxes"][rows], sides),
            "labels": labels,
            "scores": scores[rows, columns[kept]],
        }
        if self.how.nms is not None:
            from torchvision.ops import batched_nms

            best = batched_nms(found["boxes"], found["scores"], labels, self.how.nms)
            found = {name: values[best] for name, values in found.items()}
        return {name: values[: self.how.most] for name, values in found.items()}

    def _corners(self, boxes: torch.Tensor, sides: torch.Tensor) -> torch.Tensor:
        from torchvision.ops import box_convert

        corners = boxes[:, [1, 0, 3, 2]] if self.how.boxes == "yxyx" else boxes
        if self.how.boxes in ("xywh", "cxcywh"):
            corners = box_convert(boxes, self.how.boxes, "xyxy")
        return corners * sides if self.how.units == "shares" else corners


def _is_tensor(found: Any) -> bool:
    return isinstance(found, torch.Tensor)


def _torchscript(content: bytes) -> _Program:
    try:
        return _Program(torch.jit.load(io.BytesIO(content), map_location="cpu").eval())
    except Exception as error:  # whatever a damaged archive raises
        raise LossyBenchError(f"not TorchScript ({first_line(error)}); a state dict needs `class`") from None


@contextlib.contextmanager
def _weights_only() -> Iterator[None]:
    """A context in which torch.export unpickles tensors alone. Left alone it runs what a stranger's archive says."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def _exported(content: bytes) -> _Program:
    try:
        with _weights_only():
            program = torch.export.load(io.BytesIO(content))
        (name, *_) = program.graph_signature.user_inputs
        (node,) = (node for node in program.graph.nodes if node.name == name)
        size = node.meta["val"].shape[0]
        return _Program(program.module(), size if isinstance(size, int) else None)
    except Exception as error:  # whatever a damaged archive raises
        raise LossyBenchError(f"not a program of torch.export ({first_line(error)})") from None


def _onnx(content: bytes) -> _Program:
    """The program runs on the CPU and has no gradients."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # jobs run side by side
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no common class for what it raises
        raise LossyBenchError(f"not an ONNX model that onnxruntime can run ({first_line(error)})") from None
    about = session.get_inputs()[0]

    def run(x: torch.Tensor) -> list[torch.Tensor]:
        found = session.run(None, {about.name: x.detach().cpu().contiguous().numpy()})
        return [torch.from_numpy(one).to(x.device) if hasattr(one, "dtype") else one for one in found]

    return _Program(run, about.shape[0] if about.shape and isinstance(about.shape[0], int) else None)


_PROGRAMS = {"torchscript": _torchscript, "exported": _exported, "onnx": _onnx}


def first_line(error: BaseException) -> str:
    """The first line of the message of `error`, at most 300 characters of it; or its type, where it has no message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def rebuild(info: Mapping[str, Any], state: dict[str, torch.Tensor]) -> nn.Module:
    """The model that the adopt stage described, behind the interface of `lossybench.models.build`.

    info: the content of model.json. state: the content of the weights file. Raises LossyBenchError where they do not
    fit each other, or the user's class fails.
    """
    about = info["existing"]
    network: nn.Module
    if about["form"] in settings.SERVICES:
        # Imported by name, so that the fingerprint of a checkpoint does not cover this module.
        services: Any = importlib.import_module(models.SERVICES)
        network = services.Service(ExistingSettings(**about["settings"]), info)
    elif about["form"] in _PROGRAMS:
        network = _PROGRAMS[about["form"]](state[PROGRAM].numpy().tobytes())
        if about["settings"].get("detections"):
            network = _Described(network, Detections(**about["settings"]["detections"]), info)
    else:
        if about["form"] == "published":
            name = info["arch"].removeprefix(settings.PUBLISHED)
            network = from_torchvision.network(name, info["medium"], info["kind"], about["total"], for_published=True)
        else:
            network = _made(ExistingSettings(**about["settings"]))
        _load(network, state, info["arch"])
        models.channels_last(network)
    wrappers: dict[str, type[_Existing]] = {"classifier": Classifier, "detector": Detector, "plain": Plain}
    return wrappers[kinds.load(info["kind"]).existing](network, info)


def _made(chosen: ExistingSettings) -> nn.Module:
    assert chosen.class_ is not None
    module, _, attribute = chosen.class_.partition(":")
    try:
        network: Any = operator.attrgetter(attribute)(importlib.import_module(module))(**chosen.arguments)
    except Exception as error:  # the user's own code may raise anything
        raise LossyBenchError(
            f"model setting 'class': {chosen.class_} with arguments {chosen.arguments} failed: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(network, nn.Module):
        raise LossyBenchError(
            f"model setting 'class': {chosen.class_} makes a {type(network).__name__}, not a torch.nn.Module"
        )
    return network


def _load(network: nn.Module, state: Mapping[str, torch.Tensor], what: str) -> None:
    try:
        network.load_state_dict(dict(state))
    except Exception as error:  # hooks of the user's class may raise anything
        lines = " ".join(str(error).split())[:600]
        raise LossyBenchError(
            f"{what}: the checkpoint is not of this class: {lines}; give the class and arguments that it was made by"
        ) from None


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """The state dict in the file `path`: a .safetensors file, or torch.save's, which is loaded weights-only.

    A state dict within a training checkpoint is found too. A prefix `module.` of all names, which DataParallel leaves,
    is taken off. Raises LossyBenchError for any other file.
    """
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            found: Any = load_file(path)
        else:
            check_archive(path)
            found = torch.load(path, map_location="cpu", weights_only=True)
    except LossyBenchError:
        raise
    except Exception as error:  # whatever a damaged or hostile file raises
        raise LossyBenchError(
            f"{path}: not a state dict that can be loaded weights-only ({first_line(error)}); save model.state_dict()"
        ) from None
    for key in _NESTED:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not found or not all(isinstance(v, torch.Tensor) for v in found.values()):
        raise LossyBenchError(f"{path}: holds no state dict of tensors{_other_than(found)}; save model.state_dict()")
    if not all(isinstance(name, str) for name in found):
        raise LossyBenchError(f"{path}: holds tensors whose names are no texts; save model.state_dict()")
    if all(name.startswith("module.") for name in found):
        found = {name.removeprefix("module."): value for name, value in found.items()}
    _check_tensors(path, found)
    return {name: value.detach().clone() for name, value in found.items()}  # safetensors refuses shared memory


def _other_than(found: Any) -> str:
    """What else there is, in brackets."""
    if not isinstance(found, Mapping):
        return f" (but {type(found).__name__})"
    return next((f" ({n!r} is {type(v).__name__})" for n, v in found.items() if not isinstance(v, torch.Tensor)), "")


def check_archive(path: Path) -> None:
    """Raise LossyBenchError for an archive that says it is far larger unpacked than packed: torch packs code alone."""
    try:
        with zipfile.ZipFile(path) as archive:
            claimed = sum(entry.file_size for entry in archive.infolist())
    except Exception:  # it is no archive, or a damaged one: who reads it will say so
        return
    size = path.stat().st_size
    if claimed > SHARED * size + UNPACKED:
        raise LossyBenchError(f"{path}: would unpack to {claimed:,} bytes from {size:,}; save it by torch.save")


def _check_tensors(path: Path, state: Mapping[str, torch.Tensor]) -> None:
    """Raise LossyBenchError, naming a tensor, where one is larger than the file, holds no number or cannot be used."""
    size = path.stat().st_size
    for name, value in state.items():
        if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized:
            raise LossyBenchError(f"{path}: tensor {name!r} is sparse, quantised or empty; save a plain state dict")
        # A view of a few stored numbers may claim any size, which it would take once it is copied.
        if value.numel() * value.element_size() > size:
            raise LossyBenchError(f"{path}: tensor {name!r} claims {tuple(value.shape)}, more than the file holds")
    total = sum(value.numel() * value.element_size() for value in state.values())
    if total > SHARED * size:
        raise LossyBenchError(f"{path}: its tensors claim {total:,} bytes, and the file has {size:,}")
    for name, value in state.items():
        if value.is_floating_point() and value.isnan().any():
            raise LossyBenchError(
                f"{path}: tensor {name!r} holds NaN; its training has failed, take another checkpoint"
            )
