"""The exception whose message users are meant to read."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any


class LossyBenchError(Exception):
    """A fault that the user can mend. Its message names the file, key or item, what was wrong and what would be right.

    The command line prints the message without a traceback and exits with status 2.
    """


@contextlib.contextmanager
def naming(item: object) -> Iterator[None]:
    """Turn whatever is raised inside into a LossyBenchError whose message starts with `item`: a file, an id or a key.

    Libraries raise what they like for media, payloads and models that they were not written for. This is the one place
    where that becomes an error of ours. What ends the program, such as KeyboardInterrupt, passes.
    """
    try:
        yield
    except LossyBenchError as error:
        text = str(error)
        raise LossyBenchError(text if text.startswith(str(item)) else f"{item}: {text}") from error.__cause__
    except Exception as error:
        said = " ".join(str(error).split())
        kind = "not enough memory" if isinstance(error, MemoryError) else type(error).__name__
        raise LossyBenchError(f"{item}: {kind}{': ' * bool(said)}{said[:300]}") from error


def nearest(wrong: object, right: Iterable[str]) -> str:
    """A hint with all `right` names and, first, the one that is nearest to the `wrong` name, if any is near."""
    known = sorted(right)
    match = difflib.get_close_matches(str(wrong), known, n=1, cutoff=0.5)
    hint = f"did you mean {match[0]!r}? " if match else ""
    return f"{hint}known: {', '.join(known)}"


def explain(problem: Mapping[str, Any], fields: Mapping[str, Any], what: str) -> str:
    """An error of pydantic in words.

    problem: an entry of `ValidationError.errors()`. fields: `model_fields` of the model that refused. what: the user's
    name for a field, such as "training setting".
    """
    path = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        return f"unknown {what} {path!r}; {nearest(path, fields)}"
    if problem["type"] == "missing" and path in fields:
        return f"{what} {path!r} is missing: {fields[path].description}"
    where = f"{what} {path!r}: " if path else ""
    return f"{where}{problem['msg'].removeprefix('Value error, ')} (got {problem['input']!r})"
