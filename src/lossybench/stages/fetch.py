"""The fetch stage: a task's items, read or generated, into one lossless table."""

from __future__ import annotations

import collections
import dataclasses
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lossybench import artifacts, codecs, data, kinds
from lossybench.conditions import ORIGINAL
from lossybench.data._folds import Folds
from lossybench.data.dataset import FACTOR, Finding, Item, Look, lacking, sharing
from lossybench.errors import LossyBenchError, naming, visible
from lossybench.pictures import Scale
from lossybench.sources import check

_log = logging.getLogger(__name__)


def fetch(
    adapter: str,
    task: str,
    out: Path,
    options: dict[str, Any] | None = None,
    scale: dict[str, Any] | None = None,
    seed: int = 0,
    sources: str = "",
    index: Path | None = None,
    look: Sequence[int] = (),
    folds: dict[str, Any] | None = None,
) -> None:
    """Read or generate a data set into one lossless table.

    Items are written one by one, so memory stays flat. The same options and seed write the same bytes. A data set that
    is only tested on needs neither train nor val, and need not have items of all its classes.

    Args:
        adapter: the data set family: a module of lossybench.data
        task: the name of the task
        out: the table to write (artifacts.DATA and the truth of the kind of task)
        options: the adapter's own options
        scale: how pictures are resized and cropped (pictures.Scale); they keep their size when it is left out
        seed: the seed of what is generated and of splits
        sources: one hash of the user's files that are read, which is kept with the table
        index: the index of these files
        look: of the test split the items from the first number up to the second, in the order of looks, and train and
            val where the first is 0; a third number is how many test items the largest look takes. All items of all
            splits when left out
        folds: how the items of all splits, which are all test then, are dealt into folds (data._folds.Folds)

    Raises:
        LossyBenchError: when the files are not those of the index, before or after they were read; for an item that
            cannot be read (unless `on_error: skip`); for two items of one id; for an item whose groups are of other
            factors than the first item's; for a split, or a class in the train or test split, that is left without
            items, though a look may lack classes; for fewer test items than looks ask for; and for folds that the items
            cannot be dealt into. No table is published then.
    """
    dataset = data.get(adapter, options)
    description = dataset.describe(seed)
    kind = kinds.load(description.kind)
    scaled = Scale(**scale) if scale else None
    left_out: list[Finding] = []
    counts: collections.Counter[tuple[str, int]] = collections.Counter()
    groups: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)  # of the test split
    of_look, splits = Look(*look) if look else None, description.counts or {}
    into, dealt = Folds(**folds) if folds else None, list[tuple[str, list[int]]]()
    if into:
        splits = {"test": sum(splits.values())}
    if of_look:
        splits = ({} if of_look.start else splits) | {"test": of_look.stop - of_look.start}
    total = sum(splits.values()) or None  # None: only reading tells

    def unchanged() -> None:
        if sources and index and index.exists():
            check(adapter, options or {}, index, sources)

    unchanged()
    kept = ("medium", "kind", "classes", "card", "compressed_before", "labelled")
    meta: dict[str, Any] = {"task": task, "sources": sources, **({"folds": folds} if folds else {})}
    meta |= {name: getattr(description, name) for name in kept}
    if description.conditions:
        meta["conditions"] = description.conditions
    with artifacts.publish(out) as aside, tqdm(total=total, desc=f"fetch {task}", unit="item") as progress:

        def rows() -> Iterator[dict[str, Any]]:
            original = codecs.get(ORIGINAL)
            seen: set[str] = set()
            factors: list[str] | None = None
            for item in dataset.items_of(of_look, seed, left_out) if of_look else dataset.items(seed, left_out):
                if item.id in seen:
                    raise LossyBenchError(f"data set {adapter!r}: two items share the id {item.id!r}")
                seen.add(item.id)
                factors = list(item.groups) if factors is None else factors
                if list(item.groups) != factors or not all(map(FACTOR.fullmatch, factors)):
                    raise LossyBenchError(
                        f"data set {adapter!r}: item {item.id!r}: has the groups {dict(item.groups)}, and the first "
                        f"item {factors}; all need the same factors, called by a to z, digits and _, a letter first"
                    )
                try:
                    with naming(f"item {visible(item.id)}"):
                        if scaled:
                            # A file of more pixels than the item has is no measure of what a codec saves.
                            item = dataclasses.replace(item, media=scaled.apply(item.media), file_bytes=None)
                        payload = original.encode(item.media, 0, item.sampling_rate).payload
                        truth = kind.stored(item)
                except LossyBenchError as error:
                    if dataset.fault == "error":
                        raise
                    left_out.append(Finding("item that cannot be stored", dataset.fault, item.id, str(error), True))
                    continue
                labels = kind.labels(truth)
                if into:
                    item = dataclasses.replace(item, split="test")
                    dealt.append((into.group(item.id, item.groups), labels))
                counts.update((item.split, label) for label in (labels if kind.needs_classes else [-1]))
                if item.split == "test":
                    for factor, name in item.groups.items():
                        groups[factor][name] += 1
                progress.update()
                yield _row(item, payload) | truth
            # Only now is known what the card says of all items.
            known = {"groups": sharing(groups), "left_out": _told(left_out)}
            meta["card"] = {**description.card, **{key: text for key, text in known.items() if text}}

        artifacts.write_table(aside, kind.data_schema(), rows(), meta)
        if into:  # only now is known which groups there are
            folded = zip(artifacts.iter_rows(aside), into.dealt(dealt), strict=True)
            artifacts.write_table(aside, kind.data_schema(), ({**row, "fold": fold} for row, fold in folded), meta)
        for finding in lacking(description.kind, description.classes, counts, splits, looked=bool(of_look)):
            raise LossyBenchError(f"data set {adapter!r}: {finding}{f'; {_told(left_out)}' * bool(left_out)}")
        if left_out:
            _log.warning("data set %r: left out: %s", adapter, meta["card"]["left_out"])
        unchanged()


def _told(left_out: list[Finding]) -> str:
    """How many things of each kind were left out, and the first of each, for the card and the log."""
    by_kind: dict[str, list[Finding]] = collections.defaultdict(list)
    for finding in left_out:
        by_kind[finding.kind].append(finding)
    return "; ".join(f"{kind} ({len(those)}): {those[0]}" for kind, those in by_kind.items())


def _row(item: Item, payload: bytes) -> dict[str, Any]:
    row = {name: getattr(item, name) for name in ("id", "split", "groups", "sampling_rate", "file_bytes")}
    return {**row, "media": payload, "shape": list(item.media.shape)}
