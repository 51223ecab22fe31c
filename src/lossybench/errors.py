"""The one exception that users are meant to read."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any


class LossyBenchError(Exception):
    """Something the user can mend: names the file, key or item, what was wrong and what would be right.

    The command line prints its message without a traceback and exits with status 2.
    """


def nearest(wrong: object, right: Iterable[str]) -> str:
    """A hint naming the nearest of the `right` names to a misspelled one, and all of them."""
    known = sorted(right)
    match = difflib.get_close_matches(str(wrong), known, n=1, cutoff=0.5)
    hint = f"did you mean {match[0]!r}? " if match else ""
    return f"{hint}known: {', '.join(known)}"


def explain(problem: Mapping[str, Any], fields: Mapping[str, Any], what: str) -> str:
    """One of pydantic's errors (`ValidationError.errors()`) in words.

    fields: `model_fields` of the model that refused. what: the user's name for a field, such as "training setting".
    """
    path = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        return f"unknown {what} {path!r}; {nearest(path, fields)}"
    if problem["type"] == "missing" and path in fields:
        return f"{what} {path!r} is missing: {fields[path].description}"
    where = f"{what} {path!r}: " if path else ""
    return f"{where}{problem['msg'].removeprefix('Value error, ')} (got {problem['input']!r})"
