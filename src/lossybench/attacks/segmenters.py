"""A segmenter under attack: how its items are crafted by ART, and what counts as harm.

The unit is the region: all pixels of one class in one item. A region is read as the class whose pixels have more than
half of what both cover together in common with it, or as none; no two classes can have that (Kirillov et al. 2019,
Panoptic segmentation, CVPR). The harm is the share of an item's regions in which the goal is reached. As a tie-breaker
counts how far the item's mean IoU has fallen.

Untargeted, the cross-entropy of all pixels is raised; targeted, that of the mask in which each class is replaced by its
target is lowered. Of that loss most comes from pixels that are wrong already, and where a network is sure it has no
gradient at all (Gu et al., "SegPGD", ECCV 2022). So a search that begins again follows the margin, the logit of the
best other class less that of the aimed one, of the pixels that are not at the goal yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from lossybench.attacks.attack_settings import AttackSettings, Goal
from lossybench.attacks.losses import Asked, LossVictim, Targets, objects
from lossybench.attacks.preprocessor import CodecPreprocessor
from lossybench.masks import IGNORED, decode, encode
from lossybench.models.inputs import fit
from lossybench.reading import read_regions
from lossybench.tasks.segmentation import Segmentation

_TIE = 1e-3  # of the fall of the mean IoU, so that it never outweighs a region
# Through the network. On a CPU core larger batches are no faster.
AT_ONCE = {"cpu": 8, "cuda": 32}


class SegmentationVictim(LossVictim):
    """A segmenter, bare or behind a codec, as it predicts from integers (N, 3, H, W) at the size of the model's input.

    Predictions and truths are arrays (N,) of masks as the bytes of PNG (`masks.encode`).
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.task = Segmentation(self.info)

    def item(self, media: np.ndarray, row: Mapping[str, Any], whole: bool) -> tuple[np.ndarray, bytes]:
        """The decoded item `media` as integers in the model's layout, and its mask. row: its row of the data table."""
        return self.grid.layout(fit(media, "image", self.task.input, crop=False)), self.task.targets(row)[0].tobytes()

    def asked(self, through: Sequence[CodecPreprocessor] = (), trigger: bool = False) -> _Segmented:
        """As of `LossVictim`."""
        return _Segmented(self.network, self.task, through, trigger)

    def aimed(self, truth: np.ndarray, targets: np.ndarray | None = None) -> Targets:
        """As of `LossVictim`: the labels are the mask (H, W)."""
        nothing = torch.zeros((0, 4))
        masks = [decode(one) for one in truth]
        if targets is not None:
            masks = [_replaced(mask, to) for mask, to in zip(masks, targets, strict=True)]
        return [{"boxes": nothing, "labels": torch.from_numpy(mask)} for mask in masks]

    def beatable(self, truth: np.ndarray) -> np.ndarray:
        """Those with a pixel of some class."""
        return np.array([bool((decode(one) != IGNORED).any()) for one in truth])

    def targets(self, integers: np.ndarray, truth: np.ndarray, how: AttackSettings) -> np.ndarray:
        """(N,): of each item the class (classes,) that the region of each class shall be read as.

        integers, truth: of the clean items. how: says by which rule.
        """
        away = np.ones((len(truth), self.classes), int)
        if how.target_rule == "random":
            away = np.random.default_rng(how.seed).integers(1, self.classes, away.shape)
        return objects(list((np.arange(self.classes) + away) % self.classes))

    @staticmethod
    def target(row: Mapping[str, Any]) -> np.ndarray:
        """The target of each class (classes,) in `row`, a row of artifacts.SEGMENTATION_ATTACKS."""
        return np.array(row["targets"], int)

    def share(self, goal: Goal, truth: bytes, targets: Any, before: Any, after: bytes) -> float:
        """The share of the true regions in which the goal is reached, and a tie-breaker; 0 where there are none.

        Untargeted: those not read as their class. Targeted: those read as its target. Trigger: those read as their
        class without the codec and not behind it.
        """
        labels, read_as, iou = read_regions(decode(after), decode(truth))
        if not len(labels):
            return 0.0
        won = read_as == targets[labels] if goal == "targeted" else read_as != labels
        if goal == "trigger":
            won &= read_regions(decode(before), decode(truth))[1] == labels
        return float(won.mean() + _TIE * (1 - iou.mean()))

    def fields(self, items: Any, targeted: bool) -> list[dict[str, Any]]:
        """For each of the items what only artifacts.SEGMENTATION_ATTACKS holds. targeted: whether the goal is."""
        both = zip(items.truth, items.targets, strict=True)
        return [{"truth": truth, "targets": targets if targeted else []} for truth, targets in both]

    def at_once(self, integers: np.ndarray) -> int:
        """As of `LossVictim`."""
        return max(1, min(self.batch_size, AT_ONCE[self.device.type]))


class _Segmented(Asked):
    """A segmenter as ART attacks it."""

    def plain(self, x: torch.Tensor, targets: Targets) -> torch.Tensor:
        """The cross-entropy, or where a search begins again the mean margin of pixels that are not at the goal yet."""
        if not self.again:
            return self.task.loss(self.network, x, [one["labels"].cpu().numpy() for one in targets])
        masks = torch.stack([one["labels"] for one in targets]).long().to(x.device)
        logits, known = self.task.logits(self.network, x), masks != IGNORED
        chosen = functional.one_hot(masks.where(known, 0), logits.shape[1]).movedim(-1, 1) > 0
        own = logits.masked_fill(~chosen, 0).sum(1)
        margin = logits.masked_fill(chosen, -torch.inf).amax(1) - own
        left = (margin.clamp(min=0) if self.targeted else margin.clamp(max=0)) * known
        return left.sum() / known.sum().clamp(min=1)

    def find(self, x: torch.Tensor) -> list[bytes]:
        """As of `Asked`: masks as PNG."""
        return [encode(mask) for mask in self.task.predict(self.network, x)]


def _replaced(mask: np.ndarray, to: np.ndarray) -> np.ndarray:
    """The mask with each class replaced by the one that `to` (classes,) holds for it."""
    table = np.arange(256, dtype=np.uint8)
    table[: len(to)] = to
    return table[mask]
