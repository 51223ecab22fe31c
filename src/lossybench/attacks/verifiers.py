"""A model that verifies identities under attack: dodging and impersonation.

The attacked item is the probe, which is compared with an original that was enrolled. Untargeted attacks dodge: the item
shall not be accepted as of its own identity, and is compared with another item of that. Targeted ones impersonate: it
shall be accepted as of another identity, its target. Both follow the gradient of the cosine of the two embeddings. A
pair is accepted from the threshold on at which the model has its equal error rate on the originals of the test split,
and the same holds behind every codec. Embeddings of models differ, so each has enrolled originals and a threshold of
its own; what a transfer attack makes on one model is judged by the other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from lossybench import codecs
from lossybench.artifacts import iter_rows
from lossybench.attacks.attack_settings import AttackSettings, Goal
from lossybench.attacks.losses import Asked, LossVictim, Targets, objects
from lossybench.attacks.preprocessor import CodecPreprocessor
from lossybench.attacks.toolbox import PyTorchObjectDetector
from lossybench.conditions import ORIGINAL
from lossybench.errors import LossyBenchError, naming
from lossybench.integers import Grid
from lossybench.models.inputs import fit
from lossybench.tasks._pairs import Ranking, cosine
from lossybench.tasks.verification import Verification

SHARPNESS = 10.0  # of the loss: near the threshold it falls as fast as the cosine grows, and never below 0
_TIE = 1e-3  # of how near an item comes to the threshold, so that it never outweighs reaching it
AT_ONCE = {"cpu": 32, "cuda": 128}  # through the network


@dataclasses.dataclass(frozen=True)
class Enrolled:
    """The originals of the test split as one model embeds them.

    place: of each item's id. identities: (n,) their names. embeddings: float32 (n, size). threshold: the cosine from
    which on a pair is accepted.
    """

    place: Mapping[str, int]
    identities: np.ndarray
    embeddings: np.ndarray
    threshold: float

    @classmethod
    def of(cls, data: Path, network: torch.nn.Module, info: Mapping[str, Any], grid: Grid) -> Enrolled:
        """Embed the test items of the table `data`. network: with `info`, the content of its model.json.

        Raises LossyBenchError for an item that cannot be decoded, and pairs that are not of both sorts.
        """
        task, lossless, device = Verification(info), codecs.get(ORIGINAL), next(network.parameters()).device
        rows, embeddings, batch = list[dict[str, Any]](), list[np.ndarray](), list[np.ndarray]()
        columns = ["id", "media", "shape", "sampling_rate", *Verification.truth.names]

        def embed() -> None:
            with torch.inference_mode():
                floats = torch.from_numpy(grid.floats(np.stack(batch))).to(device)
                embeddings.extend(task.predict(network, floats))
            batch.clear()

        for row in iter_rows(data, columns, splits=["test"]):
            with naming(f"{data}: item {row['id']}"):
                media = lossless.decode(row["media"], tuple(row["shape"]), row["sampling_rate"])
                batch.append(grid.layout(fit(media, info["medium"], task.input, crop=True)))
            rows.append({name: row[name] for name in ("id", "identity", "against")})
            if len(batch) == AT_ONCE["cpu"]:
                embed()
        if batch:
            embed()
        place = {row["id"]: number for number, row in enumerate(rows)}
        pairs = [(place[other], place[row["id"]]) for row in rows for other in row["against"] if other in place]
        first, second = np.array(pairs, int).reshape(-1, 2).T
        identities, found = np.array([row["identity"] for row in rows]), np.stack(embeddings)
        genuine = identities[first] == identities[second]
        if genuine.all() or not genuine.any():
            raise LossyBenchError(f"{data}: its pairs of test items are not of both sorts; fetch the data again")
        threshold = Ranking(cosine(found[first], found[second]), genuine).equal_error_threshold()
        return cls(place, identities, found, threshold)

    def embedding(self, id: str) -> np.ndarray:
        """That of an item."""
        found: np.ndarray = self.embeddings[self.place[id]]
        return found

    def partner(self, id: str) -> str:
        """The next item of the same identity. Raises LossyBenchError where there is none."""
        ids, own = list(self.place), self.place[id]
        others = np.flatnonzero(self.identities == self.identities[own])
        if len(others) < 2:
            raise LossyBenchError(
                f"item {id}: is the only test item of {self.identities[own]}, which it cannot dodge; attack data with "
                "two items of each identity"
            )
        return ids[others[(int(np.searchsorted(others, own)) + 1) % len(others)]]

    def impostor(self, id: str, away: int) -> str:
        """The first item of another identity, so many names away from that of item `id`, of which there are more."""
        ids, names = list(self.place), np.unique(self.identities)
        own = int(np.searchsorted(names, self.identities[self.place[id]]))
        return ids[int(np.argmax(self.identities == names[(own + away) % len(names)]))]


class VerificationVictim(LossVictim):
    """A network that embeds, bare or behind a codec, as it predicts from integers (N, ...) at the model's input size.

    Predictions are arrays (N,) of embeddings; truths and targets are arrays (N,) of the ids of what an item is compared
    with, an item of its own identity and one of another.
    """

    kept: Enrolled

    def __post_init__(self) -> None:
        super().__post_init__()
        self.task = Verification(self.info)

    @classmethod
    def keeps(
        cls, data: Path, network: torch.nn.Module, info: Mapping[str, Any], grid: Grid
    ) -> tuple[Enrolled, dict[str, Any]]:
        """As of `VictimBase`: originals as the model embeds them, and the threshold."""
        kept = Enrolled.of(data, network, info, grid)
        return kept, {"accepted_from": kept.threshold}

    def item(self, media: np.ndarray, row: Mapping[str, Any], whole: bool) -> tuple[np.ndarray, str]:
        """The decoded item `media` as integers in the model's layout, and its partner. row: of the data table."""
        fitted = fit(media, self.info["medium"], self.task.input, crop=True)
        return self.grid.layout(fitted), self.kept.partner(row["id"])

    def asked(self, through: Sequence[CodecPreprocessor] = (), trigger: bool = False) -> _Compared:
        """As of `LossVictim`."""
        return _Compared(self.network, self.task, self.kept.threshold, through, trigger)

    def aimed(self, truth: np.ndarray, targets: np.ndarray | None = None) -> Targets:
        """As of `LossVictim`: the labels are the embedding that an item is compared with."""
        nothing = torch.zeros((0, 4))
        each = truth if targets is None else targets
        return [{"boxes": nothing, "labels": torch.from_numpy(self.kept.embedding(one).copy())} for one in each]

    def beatable(self, truth: np.ndarray) -> np.ndarray:
        """All."""
        return np.ones(len(truth), bool)

    def targets(self, integers: np.ndarray, truth: np.ndarray, how: AttackSettings) -> np.ndarray:
        """(N,): the item of another identity that each item shall be accepted as. truth: the partners of the items.

        how: says by which rule the identity is chosen.
        """
        identities = len(np.unique(self.kept.identities))
        away = np.ones(len(truth), int)
        if how.target_rule == "random":
            away = np.random.default_rng(how.seed).integers(1, identities, len(truth))
        return objects([self.kept.impostor(one, by) for one, by in zip(truth, away.tolist(), strict=True)])

    @staticmethod
    def target(row: Mapping[str, Any]) -> str:
        """The target in `row`, a row of artifacts.VERIFICATION_ATTACKS."""
        found: str = row["enrolled_id"]
        return found

    def share(self, goal: Goal, truth: str, targets: Any, before: Any, after: np.ndarray) -> float:
        """1 where the goal is reached, else how near it is, which is less than 1.

        Untargeted: the item is not accepted as of its own identity. Targeted: it is as of its target's. Trigger: it is
        as of its own without the codec, and not behind it.
        """
        above = self._above(targets if goal == "targeted" else truth, after)
        reached = above >= 0 if goal == "targeted" else above < 0
        if goal == "trigger":
            reached &= self._above(truth, before) >= 0
        return 1.0 if reached else _TIE * (1 - abs(above) / 4)

    def _above(self, other: str, found: np.ndarray) -> float:
        """By how much, within 2, the cosine of an embedding with that of item `other` is above the threshold."""
        return float(cosine(self.kept.embedding(other)[None], found[None])[0]) - self.kept.threshold

    def fields(self, items: Any, targeted: bool) -> list[dict[str, Any]]:
        """For each of the items what only artifacts.VERIFICATION_ATTACKS holds. targeted: whether the goal is."""
        others = items.targets if targeted else items.truth
        return [{"enrolled_id": one, "enrolled": self.kept.embedding(one)} for one in others]

    def estimator(self, network: torch.nn.Module) -> PyTorchObjectDetector:
        """As of `LossVictim`. ART makes detectors of pictures alone, so sounds get their bounds afterwards.

        It divides what it is given by the upper bound, which therefore is 1: a unit of the integers more than there is,
        and what is tried is rounded to integers.
        """
        made = PyTorchObjectDetector(
            network, clip_values=(0.0, 1.0), attack_losses=("loss",), device_type=self.device_type
        )
        made.set_params(clip_values=(min(self.grid.clip_values[0], 0.0), 1.0))
        return made

    def at_once(self, integers: np.ndarray) -> int:
        """As of `LossVictim`."""
        return max(1, min(self.batch_size, AT_ONCE[self.device.type]))


class _Compared(Asked):
    """A network that embeds as ART attacks it. threshold: the cosine from which on a pair is accepted."""

    def __init__(
        self,
        network: torch.nn.Module,
        task: Verification,
        threshold: float,
        through: Sequence[CodecPreprocessor] = (),
        trigger: bool = False,
    ) -> None:
        super().__init__(network, task, through, trigger)
        self.threshold = threshold

    def plain(self, x: torch.Tensor, targets: Targets) -> torch.Tensor:
        """As of `Asked`: large where an item is far from being accepted as of whom it is compared with."""
        enrolled = torch.stack([one["labels"] for one in targets]).to(x.device)
        above = functional.cosine_similarity(self.network(x).float(), enrolled) - self.threshold
        return functional.softplus(-SHARPNESS * above).mean()

    def find(self, x: torch.Tensor) -> list[np.ndarray]:
        """As of `Asked`: embeddings."""
        return self.task.predict(self.network, x)
