"""FCOS on a compact pyramid: Tian et al., "FCOS: Fully Convolutional One-Stage Object Detection", ICCV 2019."""

from __future__ import annotations

from torch import nn
from torchvision.models.detection import FCOS
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOSHead

from lossybench.models.image_detection._pyramid import CHANNELS, STRIDES, Pyramid, common
from lossybench.models.inputs import Input


def build(classes: int, input: Input, frames: int = 1) -> nn.Module:
    """See `lossybench.models.build`. frames: pictures stacked along the channels; boxes are of the middle one."""
    return FCOS(
        Pyramid(frames),
        classes,
        # FCOS assigns an object to the level whose anchor size is a fourth to an eighth of its larger side.
        anchor_generator=AnchorGenerator(tuple((stride,) for stride in STRIDES), ((1.0,),) * len(STRIDES)),
        head=FCOSHead(CHANNELS, 1, classes, num_convs=1),
        **common(input, frames),
    )
