"""What is predicted: classification and detection, one file each, found by name."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # torch is imported with a task, not with its settings
    from lossybench.tasks.task_kind import TaskKind


def get(info: Mapping[str, Any]) -> TaskKind:
    """The task of the `kind` in a model's information."""
    module: Any = importlib.import_module(f"lossybench.tasks.{info['kind']}")
    return module.TASK(info)
