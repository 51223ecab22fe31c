"""Models that exist already: taken over as they came, behind the same interface as those trained here.

The adopt stage writes the folder that training would have written. A state dict is stored as it is; a
program (TorchScript, torch.export, ONNX) is stored as its bytes, the one tensor `program` of the weights file.
Checkpoints are loaded weights-only; the class and the program are the user's own code, which runs.
"""

from __future__ import annotations

import importlib
import io
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lossybench import models
from lossybench.errors import LossyBenchError
from lossybench.models import existing_settings as settings
from lossybench.models import from_torchvision
from lossybench.models.existing_settings import ExistingSettings

PROGRAM = "program"
_NESTED = ("state_dict", "model_state_dict", "model", "weights")  # where checkpoints of training keep their state dict


class Classifier(nn.Module):
    """Normalises, lays out, and picks the outputs of the data set's classes: see `lossybench.models.build`.

    Of a model with other outputs besides, one more logit comes last, the largest of those: an item that the model takes
    for something else is a wrong answer, as it is for the model alone.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: nn.Module, info: Mapping[str, Any]) -> None:
        super().__init__()
        about = info["existing"]
        self.network, self.layout, self.outputs = network, about["layout"], about["outputs"]
        self.picked, self.rest = about["picked"], about["rest"]
        normalise = about["normalise"] or {"mean": [0.0], "std": [1.0]}
        tail = () if info["medium"] == "audio" else (1, 1)
        for name in ("mean", "std"):
            values = torch.tensor(normalise[name], dtype=torch.float32).view(-1, *tail)
            self.register_buffer(name, values, persistent=False)

    def all_outputs(self, x: torch.Tensor) -> torch.Tensor:
        """(N, outputs) as the model has them."""
        x = (x - self.mean) / self.std
        if self.layout == "ncthw":
            x = x.transpose(1, 2)
        elif self.layout == "nct":
            x = x.unsqueeze(1)
        found = self.network(x)
        if isinstance(found, Mapping):
            found = found.get("logits", next(iter(found.values())))
        found = getattr(found, "logits", found)
        return found[0] if isinstance(found, tuple | list) else found

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See `lossybench.models.build`."""
        found = self.all_outputs(x)
        if self.outputs == "probabilities":
            found = torch.log(found.clamp_min(torch.finfo(found.dtype).tiny))
        if not self.rest:
            return found[:, self.picked]
        return torch.cat([found[:, self.picked], found[:, self.rest].amax(1, keepdim=True)], dim=1)


class Detector(nn.Module):
    """Normalises, and translates labels; what is found of other classes than the data set's is left out."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: nn.Module, info: Mapping[str, Any]) -> None:
        super().__init__()
        about = info["existing"]
        self.network, self.picked = network, about["picked"]
        normalise = about["normalise"] or {"mean": [0.0], "std": [1.0]}
        for name in ("mean", "std"):
            values = torch.tensor(normalise[name], dtype=torch.float32).view(-1, 1, 1)
            self.register_buffer(name, values, persistent=False)

    def forward(self, x: torch.Tensor, targets: list[dict[str, torch.Tensor]] | None = None) -> Any:
        """See `lossybench.models.build`."""
        picked = torch.tensor(self.picked, device=x.device)
        if targets is not None:
            targets = [{**target, "labels": picked[target["labels"]]} for target in targets]
        found = self.network(list((x - self.mean) / self.std), targets)
        if isinstance(found, dict):
            return found
        return [_translated(of_item, picked) for of_item in found]


def _translated(found: Mapping[str, torch.Tensor], picked: torch.Tensor) -> dict[str, torch.Tensor]:
    same = found["labels"][:, None] == picked
    known = same.any(1)
    kept = {key: found[key][known] for key in ("boxes", "scores")}
    return {**kept, "labels": same[known].int().argmax(1)}


class _Program(nn.Module):
    """A model whose file says how it computes, kept as its bytes. It has one mode, that in which it was exported."""

    program: torch.Tensor

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.register_buffer(PROGRAM, torch.frombuffer(bytearray(content), dtype=torch.uint8))
        self.batch: int | None = None  # the one size of batch that it takes, if so

    def run(self, x: torch.Tensor) -> Any:
        raise NotImplementedError

    def forward(self, x: torch.Tensor) -> Any:
        if self.batch is None:
            return self.run(x)
        parts = []
        for part in x.split(self.batch):
            missing = self.batch - len(part)
            full = torch.cat([part, part[-1:].expand(missing, *part.shape[1:])]) if missing else part
            parts.append(_only(self.run(full))[: len(part)])
        return torch.cat(parts)

    def train(self, mode: bool = True) -> _Program:
        return self


def _only(found: Any) -> torch.Tensor:
    return found[0] if isinstance(found, tuple | list) else found


class _TorchScript(_Program):
    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        try:
            self.module = torch.jit.load(io.BytesIO(content), map_location="cpu").eval()
        except RuntimeError as error:
            raise LossyBenchError(f"not TorchScript ({first_line(error)}); a state dict needs `class`") from None

    def run(self, x: torch.Tensor) -> Any:
        return self.module(x)


class _Exported(_Program):
    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        try:
            program = torch.export.load(io.BytesIO(content))
        except Exception as error:  # whatever a damaged archive raises
            raise LossyBenchError(f"not a program of torch.export ({first_line(error)})") from None
        self.module = program.module()
        (name, *_) = program.graph_signature.user_inputs
        (node,) = (node for node in program.graph.nodes if node.name == name)
        size = node.meta["val"].shape[0]
        self.batch = size if isinstance(size, int) else None

    def run(self, x: torch.Tensor) -> Any:
        return self.module(x)


class _Onnx(_Program):
    """On the CPU, without gradients."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # jobs run side by side
        try:
            self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has no common class for what it raises
            raise LossyBenchError(f"not an ONNX model that onnxruntime can run ({first_line(error)})") from None
        about = self.session.get_inputs()[0]
        self.input = about.name
        self.batch = about.shape[0] if about.shape and isinstance(about.shape[0], int) else None

    def run(self, x: torch.Tensor) -> Any:
        (found, *_) = self.session.run(None, {self.input: x.detach().cpu().contiguous().numpy()})
        return torch.from_numpy(found).to(x.device)


_PROGRAMS: dict[str, type[_Program]] = {"torchscript": _TorchScript, "exported": _Exported, "onnx": _Onnx}


def first_line(error: BaseException) -> str:
    """The first line of what an error says, at most 300 characters; its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def rebuild(info: Mapping[str, Any], state: dict[str, torch.Tensor]) -> nn.Module:
    """The model that `adopt` described, from what its weights file holds. Raises LossyBenchError when they differ."""
    about = info["existing"]
    chosen = ExistingSettings(**about["settings"])
    if about["form"] in _PROGRAMS:
        network: nn.Module = _PROGRAMS[about["form"]](state[PROGRAM].numpy().tobytes())
    else:
        make = _published_class(info) if about["form"] == "published" else _class(chosen)
        network = make()
        _load(network, state, info["arch"])
        models.channels_last(network)
    return (Detector if info["kind"] == "detection" else Classifier)(network, info)


def _class(chosen: ExistingSettings) -> Callable[[], nn.Module]:
    assert chosen.class_ is not None
    module, _, attribute = chosen.class_.partition(":")

    def make() -> nn.Module:
        try:
            found: Any = importlib.import_module(module)
            for name in attribute.split("."):
                found = getattr(found, name)
            network = found(**chosen.arguments)
        except Exception as error:  # the user's own code may raise anything
            raise LossyBenchError(
                f"model setting 'class': {chosen.class_} with arguments {chosen.arguments} failed: "
                f"{type(error).__name__}: {error}"
            ) from error
        if not isinstance(network, nn.Module):
            raise LossyBenchError(f"model setting 'class': {chosen.class_} makes a {type(network).__name__}, no module")
        return network

    return make


def _published_class(info: Mapping[str, Any]) -> Callable[[], nn.Module]:
    name, outputs = info["arch"].removeprefix(settings.PUBLISHED), info["existing"]["total"]
    return lambda: from_torchvision.network(name, info["medium"], info["kind"], outputs, for_published=True)


def _load(network: nn.Module, state: Mapping[str, torch.Tensor], what: str) -> None:
    try:
        network.load_state_dict(dict(state))
    except RuntimeError as error:
        lines = " ".join(str(error).split())
        raise LossyBenchError(
            f"{what}: the checkpoint is not of this class: {lines[:600]}; are class and arguments those it was made by?"
        ) from None


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """The state dict of a .safetensors file or of one by torch.save, weights-only; also within a training checkpoint.

    A prefix `module.` on all names, which DataParallel leaves, is taken off. Raises LossyBenchError for another file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, EOFError, pickle.UnpicklingError, KeyError, ValueError) as error:
        raise LossyBenchError(
            f"{path}: not a state dict that can be loaded weights-only ({first_line(error)}); save model.state_dict()"
        ) from None
    for key in _NESTED:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not found or not all(isinstance(v, torch.Tensor) for v in found.values()):
        raise LossyBenchError(f"{path}: holds no state dict of tensors; save model.state_dict()")
    prefix = "module."
    if all(name.startswith(prefix) for name in found):
        found = {name.removeprefix(prefix): value for name, value in found.items()}
    return {name: value.detach().clone() for name, value in found.items()}  # safetensors refuses shared memory
