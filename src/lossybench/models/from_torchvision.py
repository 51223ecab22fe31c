"""torchvision's full models by name, for studies on a GPU: image and video classifiers, detectors, segmenters."""

from __future__ import annotations

from typing import Any

import torch
import torchvision
from torch import nn

from lossybench.errors import LossyBenchError, nearest
from lossybench.models.inputs import Input
from lossybench.models.layers import Normalise

MODULES = {
    ("image", "classification"): torchvision.models,
    ("video", "classification"): torchvision.models.video,
    ("image", "detection"): torchvision.models.detection,
    ("image", "segmentation"): torchvision.models.segmentation,
}
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, by which all of them normalise


class Classifier(nn.Module):
    """Normalises, and moves the frames of video to the axis where torchvision expects them."""

    def __init__(self, model: nn.Module, video: bool) -> None:
        super().__init__()
        self.model, self.video, self.normalise = model, video, Normalise(MEAN, DEVIATION, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See `lossybench.models.build`."""
        x = self.normalise(x)
        output = self.model(x.transpose(1, 2) if self.video else x)
        return getattr(output, "logits", output)  # Inception and GoogLeNet add auxiliary outputs in training


class Detector(nn.Module):
    """torchvision's detectors keep label 0 for the background; LossyBench counts classes from 0."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor, targets: list[dict[str, torch.Tensor]] | None = None) -> Any:
        """See `lossybench.models.build`."""
        if targets is not None:
            targets = [{**target, "labels": target["labels"] + 1} for target in targets]
        output = self.model(list(x), targets)
        if isinstance(output, dict):
            return output
        return [{**found, "labels": found["labels"] - 1} for found in output]


class Segmenter(nn.Module):
    """Normalises, and leaves out the auxiliary outputs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.normalise = model, Normalise(MEAN, DEVIATION, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """See `lossybench.models.build`."""
        return self.model(self.normalise(x))["out"]


def build(name: str, medium: str, kind: str, classes: int, input: Input, weights: str | None) -> nn.Module:
    """torchvision's model `name`; see `lossybench.models.build` for the other arguments."""
    model = network(name, medium, kind, classes + 1 if kind == "detection" else classes)
    if weights is not None:
        own = model.state_dict()
        pretrained = published(name, medium, kind, weights).get_state_dict(progress=True, check_hash=True)
        same = {key: value for key, value in pretrained.items() if key in own and own[key].shape == value.shape}
        model.load_state_dict(same, strict=False)
    if kind == "segmentation":
        return Segmenter(model)
    return Detector(model) if kind == "detection" else Classifier(model, medium == "video")


def network(name: str, medium: str, kind: str, outputs: int, for_published: bool = False) -> nn.Module:
    """torchvision's own model `name` for a medium and kind, with random weights.

    outputs: the number of classes; a detector's count its background. for_published: make the model as torchvision
    makes it for its published weights. Raises LossyBenchError for a name that torchvision does not have.
    """
    _check(name, medium, kind)
    extra: dict[str, Any] = {"weights_backbone": None} if kind != "classification" else {}
    if for_published and name in ("googlenet", "inception_v3"):
        extra = {"transform_input": True, "init_weights": False}  # their weights were converted from TensorFlow
    return torchvision.models.get_model(name, weights=None, num_classes=outputs, **extra)


def published(name: str, medium: str, kind: str, weights: str) -> Any:
    """torchvision's entry for the published `weights` of `name`: where they are, and what input they expect.

    Raises LossyBenchError for a name (of that medium and kind) or weights that torchvision does not have.
    """
    _check(name, medium, kind)
    available = torchvision.models.get_model_weights(name)
    if weights not in available.__members__:
        hint = nearest(weights, available.__members__)
        raise LossyBenchError(f"torchvision/{name}: unknown weights {weights!r}; {hint}")
    return available[weights]


def _check(name: str, medium: str, kind: str) -> None:
    try:
        known = torchvision.models.list_models(MODULES[medium, kind])
    except KeyError:
        raise LossyBenchError(f"torchvision has no models for {medium} {kind}") from None
    if name not in known:
        raise LossyBenchError(f"torchvision has no {medium} {kind} model {name!r}; {nearest(name, known)}")
