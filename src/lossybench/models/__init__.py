"""Architectures by name, one file each, and trained models on disk.

`lossybench/models/{medium}_{kind}/{arch}.py` defines `build(classes, input) -> torch.nn.Module`, and may define
`SETTINGS`, the training settings in which it differs from its task's defaults. An architecture named
`torchvision/NAME` or `torchaudio/NAME` is that package's full model of that name. Models that exist already are in
`existing`. Nothing here imports torch before a model is built.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lossybench.artifacts import damaged, publish, write_json
from lossybench.errors import LossyBenchError, naming, nearest
from lossybench.models.inputs import Input

if TYPE_CHECKING:
    import torch

_INFO_TYPES = {"arch": str, "medium": str, "kind": str, "classes": list, "input": dict, "weights_sha256": str}
EXISTING, SERVICES = "lossybench.models.existing", "lossybench.models.services"
WEIGHTS, INFO, HISTORY = "weights.safetensors", "model.json", "history.json"


def names(medium: str, kind: str) -> list[str]:
    """The compact architectures of this package for a medium ("image") and a kind ("classification"), sorted."""
    folder = Path(__file__).parent / f"{medium}_{kind}"
    return sorted(m.name for m in pkgutil.iter_modules([str(folder)]) if not m.name.startswith("_"))


def module_name(arch: str, medium: str, kind: str) -> str:
    """The module that defines `arch` for a medium and kind. Raises LossyBenchError for an unknown name.

    What follows `torchvision/` or `torchaudio/` is checked by `build` alone, which imports these packages.
    """
    if arch.startswith("torchvision/") and medium != "audio":
        return "lossybench.models.from_torchvision"
    if arch.startswith("torchaudio/") and medium == "audio":
        return "lossybench.models.from_torchaudio"
    known = names(medium, kind)
    if arch not in known:
        raise LossyBenchError(f"unknown architecture {arch!r} for {medium} {kind}; {nearest(arch, known)}")
    return f"lossybench.models.{medium}_{kind}.{arch}"


def existing_modules(settings: Mapping[str, Any]) -> list[str]:
    """The modules behind a model that exists already, the user's own among them. settings: those of the study."""
    own = [(settings.get(key) or "").partition(":")[0] for key in ("class", "function")]
    services = [SERVICES] if not settings.get("checkpoint") else []
    return [EXISTING, *services, *filter(None, own)]


def build(arch: str, medium: str, kind: str, classes: int, input: Input, weights: str | None = None) -> torch.nn.Module:
    """A model `arch` for a medium and kind; what is random in its weights comes from torch's global generator.

    The model takes float32 media: images (N, 3, H, W) and video (N, frames, 3, H, W) in [0, 1], audio (N, samples) in
    [-1, 1]. It normalises them itself. Classifiers return logits (N, classes), segmenters logits (N, classes, H, W).
    Detectors follow torchvision: given
    targets in training mode, a list of {boxes (K, 4) in pixels of the input, labels (K,)}, they return a dictionary of
    losses; in evaluation mode they return a list of {boxes, labels, scores}. Labels count from 0.

    classes: how many. input: the shape of one item. weights: the name of pretrained weights, which are downloaded:
    torchvision's ("DEFAULT", "IMAGENET1K_V2"), of which layers of another shape, such as the head, stay random; or
    "DEFAULT" of torchaudio. Raises LossyBenchError for an unknown architecture or unknown weights.
    """
    module: Any = importlib.import_module(module_name(arch, medium, kind))
    if "/" in arch:
        return channels_last(module.build(arch.partition("/")[2], medium, kind, classes, input, weights))
    if weights is not None:
        raise LossyBenchError(
            f"architecture {arch!r} has no pretrained weights; weights are for torchvision/NAME and torchaudio/NAME"
        )
    return channels_last(module.build(classes, input))


def channels_last(model: torch.nn.Module) -> torch.nn.Module:
    """`model` itself, its kernels laid out in memory as `to_float` lays out media: channels last.

    On a CPU core it then trains in three quarters of the time and predicts in two thirds.
    """
    import torch

    layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in model.parameters():
        if parameter.ndim in layouts:
            parameter.data = parameter.data.contiguous(memory_format=layouts[parameter.ndim])
    return model


def default_settings(arch: str, medium: str, kind: str) -> dict[str, Any]:
    """The training settings in which `arch` differs from the defaults of its medium and kind."""
    return dict(getattr(importlib.import_module(module_name(arch, medium, kind)), "SETTINGS", {}))


def window(arch: str) -> int:
    """How many frames the video detector `arch` sees at once: the one that it searches and those around it."""
    return int(importlib.import_module(module_name(arch, "video", "detection")).WINDOW)


def save(state: Mapping[str, torch.Tensor], info: dict[str, Any], history: list[dict[str, Any]], out: Path) -> None:
    """Write weights.safetensors, history.json and model.json to the folder `out`, each atomically.

    state: a state dict whose tensors share no memory. info: the content of model.json, which is written last and gets
    the SHA-256 of the weights, so that a mixture of two runs is never loaded. history: one entry for each epoch.
    """
    from safetensors.torch import save as as_bytes

    content = as_bytes({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()})
    with publish(out / WEIGHTS) as aside:
        aside.write_bytes(content)
    write_json(out / HISTORY, history)
    write_json(out / INFO, {**info, "weights_sha256": hashlib.sha256(content).hexdigest()})


def read_info(model_dir: Path) -> dict[str, Any]:
    """The content of model.json in the folder `model_dir`. Raises LossyBenchError where it is missing or damaged."""
    path = Path(model_dir) / INFO
    try:
        info = json.loads(path.read_bytes())
        for key, kind in _INFO_TYPES.items():
            if not isinstance(info[key], kind):
                raise ValueError(f"{key!r} is a {type(info[key]).__name__}, not a {kind.__name__}")
        Input.of(info)
        return info
    except FileNotFoundError:
        raise LossyBenchError(f"{model_dir}: no {INFO} here; train the model first") from None
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise damaged(path, error if isinstance(error, ValueError) else repr(error)) from None


def load(model_dir: Path, device: str = "cpu") -> tuple[torch.nn.Module, dict[str, Any]]:
    """The model in the folder `model_dir`, in evaluation mode on the torch device `device`, and its model.json.

    Raises LossyBenchError where a file is missing, or the weights are not those that model.json was written for, or are
    none of this architecture. Both files may come from a stranger: nothing in them is executed, but for an existing
    model's own code (see `existing`).
    """
    from safetensors.torch import load as load_weights

    info = read_info(model_dir)
    path = Path(model_dir) / WEIGHTS
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise LossyBenchError(f"{path}: missing; train the model again") from None
    if hashlib.sha256(content).hexdigest() != info["weights_sha256"]:
        raise damaged(path, f"not what this {INFO} was written for")
    with naming(model_dir):
        state = load_weights(content)
        if "existing" in info:
            # Imported by name, so that the fingerprint of a model that is trained here does not cover this module.
            existing: Any = importlib.import_module(EXISTING)
            model = existing.rebuild(info, state)
        else:
            model = build(info["arch"], info["medium"], info["kind"], len(info["classes"]), Input.of(info))
            model.load_state_dict(state)
    return model.to(device).eval(), info
