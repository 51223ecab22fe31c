"""Data sets: one file for each data set or folder layout, which is an adapter that yields items."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import pydantic

from lossybench import own
from lossybench.data.dataset import Dataset, Description
from lossybench.errors import LossyBenchError, explain, nearest

_HELPERS = {"audio_io", "dataset", "download"}


def names() -> list[str]:
    """All data adapters: the public modules of this package that define one."""
    modules = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in modules if not name.startswith("_") and name not in _HELPERS)


def module_name(name: str) -> str:
    """The module of the adapter `name`. Raises LossyBenchError for an unknown name."""
    if own.is_own(name):
        return own.module_name(name)
    if name not in names():
        raise LossyBenchError(f"unknown data set {name!r}; {nearest(name, names())}, or your own: module:Class")
    return f"lossybench.data.{name}"


def dataset_class(name: str) -> type[Dataset]:
    """The class of the adapter `name`: a module of this package, or a user's own class, `module:Class`.

    Only its own file is imported, so no other's source makes a data set rerun. Raises LossyBenchError for an unknown
    name.
    """
    if own.is_own(name):
        return own.load(name, Dataset.__name__)
    module = importlib.import_module(module_name(name))
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Dataset) and getattr(value, "name", None) == name:
            return value
    raise LossyBenchError(f"{module.__file__}: defines no data set named {name!r}")


def get(name: str, options: dict[str, Any] | None = None) -> Dataset:
    """The adapter `name` with its options. Raises LossyBenchError for an unknown name or option, or a bad value."""
    cls = dataset_class(name)
    try:
        return cls.model_validate(options or {})
    except pydantic.ValidationError as error:
        raise LossyBenchError(f"data set {name!r}: {explain(error.errors()[0], cls.model_fields, 'option')}") from None


def describe(name: str, options: dict[str, Any] | None = None, seed: int = 0) -> Description:
    """What the data set `name` is with these options, without reading its media: cheap enough to check a config with.

    seed: what splits are made from. Raises LossyBenchError for an unknown name or option, a missing folder, and an
    empty class or split.
    """
    return get(name, options).describe(seed)
