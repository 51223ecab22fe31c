"""The kinds of task: one file each, found by name, which says all that the rest of the program asks of a kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lossybench import kinds
from lossybench.tasks.task_kind import TaskKind


def kind_class(kind: str) -> type[TaskKind]:
    """The class of a kind of task. No torch is imported. Raises LossyBenchError for an unknown one."""
    found: type[TaskKind] = kinds.load(kind)
    return found


def get(info: Mapping[str, Any]) -> TaskKind:
    """The task of the model that `info`, the content of model.json, describes."""
    return kind_class(info["kind"])(info)
