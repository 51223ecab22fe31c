"""The kinds of task, classification and detection: one file each, found by name."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the settings of training are read without torch, which a kind of task imports
    from lossybench.tasks.task_kind import TaskKind


def get(info: Mapping[str, Any]) -> TaskKind:
    """The kind of task of the model that `info`, the content of model.json, describes."""
    module: Any = importlib.import_module(f"lossybench.tasks.{info['kind']}")
    return module.TASK(info)
