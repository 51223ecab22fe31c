"""The kinds of task by name: each is a file of `lossybench.tasks` with a class `TASK` below `TaskKind`, or a user's own
class, named `module:Class`.

A module of its own, because the fetch stage takes of a kind what is true of an item and nothing else: it must not run
again when a kind learns or judges in another way. So nothing here imports a kind, and the rules name what a job uses.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from lossybench import own
from lossybench.errors import LossyBenchError, nearest

_FOLDER = Path(__file__).parent / "tasks"
_HELPERS = {"media", "task_kind", "training_settings"}
# What fetch takes of a kind, and of what all kinds are.
OF_TRUTH = ("truth", "needs_classes", "data_schema", "stored", "labels")


def names() -> list[str]:
    """The kinds of this package, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("[a-z]*.py") if path.stem not in _HELPERS)


def module_name(kind: str) -> str:
    """The module that defines a kind. Raises LossyBenchError for an unknown one."""
    if own.is_own(kind):
        return own.module_name(kind)
    if kind not in names():
        raise LossyBenchError(f"unknown kind of task {kind!r}; {nearest(kind, names())}, or your own: module:Class")
    return f"lossybench.tasks.{kind}"


def of_truth(kind: str) -> list[str]:
    """What fetch takes of a kind, named as `fingerprint` wants it. Raises LossyBenchError for an unknown one."""
    return [f"{module}:{part}" for module in (module_name(kind), "lossybench.tasks.task_kind") for part in OF_TRUTH]


def load(kind: str) -> Any:
    """The class of a kind. No torch is imported. Raises LossyBenchError for an unknown one."""
    if own.is_own(kind):
        return own.load(kind, "TaskKind")
    return importlib.import_module(module_name(kind)).TASK
