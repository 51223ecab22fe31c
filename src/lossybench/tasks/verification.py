"""Verification: are two items, such as recordings or faces, of one identity?

A model embeds each item, and two items are the more alike, the larger the cosine of their embeddings. Which pairs are
compared is part of what is true of the items: the same ones behind every codec.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from lossybench.artifacts import ATTACKS, LEVEL, VERIFICATION_ATTACKS, columns
from lossybench.errors import LossyBenchError, shown
from lossybench.metrics import Metric
from lossybench.models.inputs import fit
from lossybench.tasks._pairs import FARS, Ranking, cosine
from lossybench.tasks.task_kind import Drawn, Example, TaskKind

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from lossybench.analysis.measured import Measured, Named, Settled
    from lossybench.analysis.outcomes import Outcomes, TestSet
    from lossybench.analysis.sampling import Sampling

# Additive margin softmax (Wang et al., "Additive Margin
# Softmax for Face Verification", IEEE Signal Processing Letters 25, 2018).
SCALE, MARGIN = 15.0, 0.2
CHANCE = 0.5  # the equal error rate of scores that do not depend on the items


class Verification(TaskKind):
    """Targets are (label, identity), the label -1 of identities that are not trained on; predictions are embeddings."""

    defaults = {  # noqa: RUF012
        "image": {"epochs": 12, "batch_size": 32, "learning_rate": 5e-3},
        "audio": {"epochs": 12, "batch_size": 32, "learning_rate": 4e-3, "gain": 0.5},
    }
    truth = columns(
        ("identity", pa.string()),
        ("label", pa.int32(), ""),  # an index into the classes, the identities that are trained on; -1 of others
        ("against", pa.list_(pa.string())),  # of test items: the ids of those that it is compared with, as the probe
        ("enrolled_original", pa.bool_()),  # whether those stay originals, so that only the probe is compressed
    )
    schema = columns(("id", pa.string()), ("level", pa.float64(), LEVEL), ("embedding", pa.list_(pa.float32())))
    metrics = (
        Metric("eer", "equal error rate", "less"),
        Metric("tar_far_1", "TAR at FAR 1 %"),
        Metric("tar_far_01", "TAR at FAR 0.1 %"),
    )
    unit = "pair"
    guessing = "that of scores that say nothing"
    chance_of_data = True
    attacks = VERIFICATION_ATTACKS
    attacked_unit = "pair"
    read_as = 2  # accepted or rejected

    @classmethod
    def drawn(cls, row: Mapping[str, Any], classes: Sequence[str]) -> Drawn:
        return Drawn(f"identity {row['identity']}", row["identity"])

    def examples(self, media: np.ndarray, row: Mapping[str, Any], training: bool) -> list[Example]:
        return [Example(fit(media, self.medium, self.input, crop=True), self.targets(row)[0])]

    def targets(self, row: Mapping[str, Any]) -> list[tuple[int, str]]:
        return [(row["label"], row["identity"])]

    def loss(self, model: torch.nn.Module, media: torch.Tensor, targets: Sequence[tuple[int, str]]) -> torch.Tensor:
        """Additive margin softmax over the identities that are trained on."""
        import torch
        from torch.nn import functional

        labels = torch.as_tensor([label for label, _ in targets], device=media.device)
        found = functional.normalize(model(media).float(), dim=1)
        directions: Any = getattr(model, "identities", None)
        if directions is None:
            raise LossyBenchError(
                "has no directions of identities, without which it does not learn and is not attacked"
            )
        cosines = found @ functional.normalize(directions.float(), dim=1).T
        margins = MARGIN * functional.one_hot(labels, cosines.shape[1])
        return functional.cross_entropy(SCALE * (cosines - margins), labels)

    def predict(self, model: torch.nn.Module, media: torch.Tensor) -> list[np.ndarray]:
        import torch

        found = model(media)
        if not isinstance(found, torch.Tensor) or found.ndim != 2 or len(found) != len(media):
            what = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
            raise LossyBenchError(
                f"returns {what} for a batch of {len(media)}; an embedding network returns (batch, size)"
            )
        return list(found.float().cpu().numpy())

    def answered(self, answer: Mapping[str, Any]) -> np.ndarray:
        said = answer.get("embedding")
        if not isinstance(said, list) or not said or not all(type(one) in (int, float) for one in said):
            raise LossyBenchError(f"answers {shown(dict(answer))}; answer an embedding, a list of numbers")
        found = np.array(said, np.float32)
        if not np.isfinite(found).all():
            raise LossyBenchError("answers an embedding with numbers that are not finite")
        return found

    def some_target(self) -> tuple[int, str]:
        return 0, ""

    def score(self, predictions: Sequence[np.ndarray], targets: Sequence[tuple[int, str]]) -> float:
        """The equal error rate over all pairs of the examples; of those that have no pairs of both sorts, chance."""
        found, identity = np.stack(predictions), np.array([name for _, name in targets])
        first, second = np.triu_indices(len(found), 1)
        genuine = identity[first] == identity[second]
        if genuine.all() or not genuine.any():
            return CHANCE
        return float(Ranking(cosine(found[first], found[second]), genuine).rates(())[0])

    def outcome(self, example: Example, prediction: np.ndarray, row: Mapping[str, Any]) -> dict[str, Any]:
        return {"embedding": prediction.tolist()}

    @classmethod
    def read(cls, outcomes: Outcomes, task: TestSet, first: np.ndarray | None) -> np.ndarray:
        """The embeddings, float32 (n, D)."""
        column = outcomes.rows["embedding"].combine_chunks()
        sizes = np.diff(column.offsets.to_numpy())
        wanted = first.shape[1] if first is not None else int(sizes[0])
        if not wanted or (sizes != wanted).any():
            raise LossyBenchError(
                f"embeddings are of {min(sizes)} to {max(sizes)} numbers, not {wanted} all; evaluate again"
            )
        return column.flatten().to_numpy(zero_copy_only=False).reshape(len(sizes), wanted)

    @classmethod
    def settle(cls, original: np.ndarray, task: TestSet, sampling: Sampling) -> Settled:
        from lossybench.analysis.measured import Settled

        return Settled(CHANCE, original)

    @classmethod
    def measure(
        cls, found: Mapping[int, np.ndarray], settled: Mapping[int, Settled], task: TestSet, sampling: Sampling
    ) -> Measured:
        """See TaskKind. Of a false accept rate less than one of the impostor pairs nothing is said."""
        from lossybench.analysis.measured import of_weights

        first, second = pairs(task)
        identity = np.array(task.truth["identity"].to_pylist())
        genuine = identity[first] == identity[second]
        if genuine.all() or not genuine.any():
            found_of = "all" if genuine.all() else "none"
            raise LossyBenchError(f"{task.data}: {found_of} of its pairs are genuine; give pairs of both sorts")
        fars = [far for far in FARS if far * (~genuine).sum() >= 1]
        names = [metric.name for metric in cls.metrics[: 1 + len(fars)]]
        enrolled_original = task.truth["enrolled_original"][0].as_py()

        def weighed(seed: int, embeddings: np.ndarray) -> Any:
            enrolled = settled[seed].kept if enrolled_original else embeddings
            ranking = Ranking(cosine(enrolled[first], embeddings[second]), genuine)

            def compute(weights: np.ndarray, factor: str) -> dict[str, np.ndarray]:
                drawn = task.groups[factor] if factor else np.arange(len(identity))
                together = drawn[first] == drawn[second]
                rates = ranking.resampled(first, second, together, weights.astype(np.uint8), fars)
                return dict(zip(names, rates, strict=True))

            return compute

        each = {seed: weighed(seed, embeddings) for seed, embeddings in found.items()}
        # An item is in many pairs: the rates are no more certain than shares of as many items.
        trials: dict[Named, float] = dict.fromkeys(names, float(sampling.n))
        return of_weights(cls.metrics[: len(names)], each, sampling, {"": len(first)}, trials)

    @classmethod
    def attacked(cls, table: pd.DataFrame, meta: Mapping[str, Any]) -> pd.DataFrame:
        """A row for each pair: classes are 0, rejected, and 1, accepted.

        Untargeted attacks are on pairs of one identity, which shall be rejected, and targeted ones on pairs of two,
        which shall be accepted.
        """
        enrolled = np.stack(table["enrolled"].to_list())
        targeted = (table["goal"] == "targeted").to_numpy()
        found = table.assign(id=table["id"] + "#pair", label=np.where(targeted, 0, 1), target=np.where(targeted, 1, -1))
        for name in ("clean", "clean_after", "before", "after"):
            cosines = cosine(enrolled, np.stack(table[name].to_list()))
            found[name] = (cosines >= meta["accepted_from"]).astype(np.int32)
        return found[[name for name in ATTACKS.names if name in found]]


def pairs(task: TestSet) -> tuple[np.ndarray, np.ndarray]:
    """The places, int (P,), of both items of each pair of test items; those that were left out are in none."""
    place = {id: number for number, id in enumerate(task.ids)}
    found = [
        (place[other], place[id])
        for id, against in zip(task.ids, task.truth["against"].to_pylist(), strict=True)
        for other in against
        if other in place
    ]
    if not found:
        raise LossyBenchError(f"{task.data}: has no pairs of test items; fetch the data again")
    first, second = np.array(found).T
    return first, second


TASK = Verification
