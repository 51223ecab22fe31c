"""What users write themselves and name in a config as `module:Class`: kinds of task and data adapters."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from lossybench.errors import LossyBenchError, naming


def is_own(name: str) -> bool:
    """Whether a name is of a user's own class, and not of a module of this package."""
    return ":" in name


def module_name(place: str) -> str:
    """The module of `module:Class`."""
    return place.partition(":")[0]


def load(place: str, base: str) -> Any:
    """The class `module:Class`, whose module lies beside the config or on PYTHONPATH.

    base: the name of the class that it has to derive from. Raises LossyBenchError for a module or class that is not
    there, for a module of Python itself, and for anything but such a class.
    """
    module, _, name = place.partition(":")
    if module.partition(".")[0] in sys.stdlib_module_names:
        raise LossyBenchError(f"{place!r}: {module} is a module of Python itself; name your own")
    try:
        with naming(repr(place)):
            found = importlib.import_module(module)
    except LossyBenchError as error:
        raise LossyBenchError(f"{error}; put the module beside the config, or on PYTHONPATH") from error.__cause__
    made: Any = getattr(found, name, None)
    if not isinstance(made, type) or base not in [one.__name__ for one in made.__mro__]:
        raise LossyBenchError(f"{place!r}: {module} has no class {name!r} that derives from {base}")
    return made
