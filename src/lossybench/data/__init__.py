"""Data sets: one file a data set or folder layout, each an adapter that yields items; `build` makes the artifact."""

from __future__ import annotations

import collections
import dataclasses
import importlib
import pkgutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydantic
from tqdm import tqdm

from lossybench import artifacts, codecs
from lossybench.data.base import Dataset, Description, Item, needed
from lossybench.errors import LossyBenchError, explain, nearest
from lossybench.pictures import Scale

_HELPERS = {"audio_io", "base", "download"}


def names() -> list[str]:
    """All data adapters: the public modules of this package that define one."""
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in modules if not name.startswith("_") and name not in _HELPERS)


def dataset_class(name: str) -> type[Dataset]:
    """The adapter's class. Only its own file is imported, so a data set's reruns depend on no other's source."""
    if name not in names():
        raise LossyBenchError(f"unknown data set {name!r}; {nearest(name, names())}")
    module = importlib.import_module(f"lossybench.data.{name}")
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Dataset) and getattr(value, "name", None) == name:
            return value
    raise LossyBenchError(f"{module.__file__}: defines no data set named {name!r}")


def get(name: str, options: dict[str, Any] | None = None) -> Dataset:
    """The adapter of that name with its options. Raises LossyBenchError for an unknown name, option or bad value."""
    cls = dataset_class(name)
    try:
        return cls(**(options or {}))
    except pydantic.ValidationError as error:
        raise LossyBenchError(f"data set {name!r}: {explain(error.errors()[0], cls.model_fields, 'option')}") from None


def describe(name: str, options: dict[str, Any] | None = None, seed: int = 0) -> Description:
    """What a data set is, without reading its media: cheap enough to check a config with.

    Raises LossyBenchError for an unknown name or option, a missing folder, an empty class or split.
    """
    return get(name, options).describe(seed)


def build(
    name: str,
    options: dict[str, Any] | None,
    seed: int,
    out: Path,
    task: str,
    scale: dict[str, Any] | None = None,
    sources: str = "",
    check: Callable[[], None] = lambda: None,
) -> None:
    """Read or generate a data set and publish it losslessly as the artifact `out` (schema artifacts.DATA).

    scale: see `pictures.Scale`; at their own size without. sources: hash of the user's files that are read, for the
    table's meta; check: called before and after they are read, to raise an error when they have changed. Items stream
    through, so memory stays flat. The same options and seed give the same bytes.
    Raises LossyBenchError for an item that cannot be read (unless `on_error: skip`), for two items of one id, and
    when a split, or a class in the train or test split, is left without items; nothing is published then. A set to test
    on needs neither train nor val, and need not have items of all its classes.
    """
    dataset = get(name, options)
    description = dataset.describe(seed)
    scaled = Scale(**scale) if scale else None
    skipped: list[str] = []
    counts: collections.Counter[tuple[str, int]] = collections.Counter()
    total = sum(description.counts.values()) if description.counts else None
    check()
    meta: dict[str, Any] = {
        "task": task,
        "sources": sources,
        "medium": description.medium,
        "kind": description.kind,
        "classes": description.classes,
        "card": description.card,
        "compressed_before": list(description.compressed_before),
    }
    with artifacts.publish(out) as aside, tqdm(total=total, desc=f"fetch {task}", unit="item") as progress:

        def rows() -> Iterator[dict[str, Any]]:
            original = codecs.get("original")
            seen: set[str] = set()
            for item in dataset.items(seed, skipped):
                if item.id in seen:
                    raise LossyBenchError(f"data set {name!r}: two items share the id {item.id!r}")
                seen.add(item.id)
                if scaled:
                    item = dataclasses.replace(item, media=scaled.apply(item.media))
                counts[item.split, item.label] += 1
                progress.update()
                yield _row(item, original.encode(item.media, 0, item.rate).payload)

        artifacts.write_table(aside, artifacts.DATA, rows(), meta)
        _check_counts(name, description, counts)
        if skipped:
            # Only now is the number known; Parquet keeps metadata with the schema, so the file is copied.
            meta["card"] = {**description.card, "skipped": f"{len(skipped)} unreadable: {'; '.join(skipped[:5])}"}
            artifacts.write_table(aside, artifacts.DATA, artifacts.iter_rows(aside), meta)
            warnings.warn(f"data set {name!r}: left out {meta['card']['skipped']}", stacklevel=2)
        check()


def _row(item: Item, payload: bytes) -> dict[str, Any]:
    return {
        "id": item.id,
        "split": item.split,
        "group": item.group,
        "media": payload,
        "shape": list(item.media.shape),
        "rate": item.rate,
        "label": item.label,
        "boxes": [vars(box) for box in item.boxes],
    }


def _check_counts(name: str, description: Description, counts: collections.Counter[tuple[str, int]]) -> None:
    present = {split for split, _ in counts}
    wanted = needed({*present, *(description.counts or ())})
    for split in wanted:
        if split not in present:
            raise LossyBenchError(f"data set {name!r}: no items in split {split!r}")
    if description.kind == "classification" and "train" in wanted:
        for label, title in enumerate(description.classes):
            for split in ("train", "test"):
                if not counts[split, label]:
                    raise LossyBenchError(f"data set {name!r}: class {title!r} has no items in split {split!r}")
