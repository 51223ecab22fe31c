"""RetinaNet on a compact pyramid: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017."""

from __future__ import annotations

from torch import nn
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.retinanet import RetinaNetHead

from lossybench.models.image_detection._pyramid import CHANNELS, STRIDES, Pyramid, common
from lossybench.models.inputs import Input


def build(classes: int, input: Input, frames: int = 1) -> nn.Module:
    """See `lossybench.models.build`. frames: pictures stacked along the channels; boxes are of the middle one."""
    anchors = AnchorGenerator(tuple((2 * stride, 3 * stride) for stride in STRIDES), ((0.7, 1.4),) * len(STRIDES))
    head = RetinaNetHead(CHANNELS, anchors.num_anchors_per_location()[0], classes, norm_layer=nn.BatchNorm2d)
    for part in (head.classification_head, head.regression_head):
        part.conv = part.conv[:1]  # one layer instead of four: most of the cost at this size
    return RetinaNet(Pyramid(frames), classes, anchor_generator=anchors, head=head, **common(input, frames))
