"""The exception whose message users are meant to read."""

from __future__ import annotations

import contextlib
import difflib
import math
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

LONGEST = 4000  # characters of a message; a key or a value in it may be of any length


class LossyBenchError(Exception):
    """A fault that the user can mend. Its message names the file, key or item, what was wrong and what would be right.

    The command line prints the message without a traceback and exits with status 2. The message is one line: what
    others wrote into it, such as file names and what libraries say, is made `visible`, and of more than LONGEST
    characters the middle is left out.
    """

    def __init__(self, message: object) -> None:
        text = str(message)
        if len(text) > LONGEST:
            text = f"{text[: LONGEST // 2]} [...] {text[-LONGEST // 2 :]}"
        super().__init__(visible(text))


def visible(text: object) -> str:
    """The `text` on one line, as a terminal may print it: what would move the cursor, colour or hide is escaped.

    Names of files, items and classes come from strangers. They are shown, and never obeyed.
    """
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in str(text))


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
        raise LossyBenchError(text if text.startswith(visible(item)) else f"{item}: {text}") from error.__cause__
    except Exception as error:
        said = " ".join(str(error).split())
        kind = "not enough memory" if isinstance(error, MemoryError) else type(error).__name__
        raise LossyBenchError(f"{item}: {kind}{': ' * bool(said)}{said[:300]}") from error


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 100
_SHORT.maxlevel = 3


def shown(value: object) -> str:
    """A value of a config or of annotations in a message: enough to know it again, however large or nested it is."""
    plain = type(value) is int and abs(value) < 2**63  # most of the millions of values of annotations
    return str(value) if plain else _SHORT.repr(value)


def nearest(wrong: object, right: Iterable[str]) -> str:
    """A hint with all `right` names and, first, the one that is nearest to the `wrong` name, if any is near."""
    known = sorted(right)
    match = difflib.get_close_matches(str(wrong)[:100], known, n=1, cutoff=0.5)
    hint = f"did you mean {match[0]!r}? " if match else ""
    return f"{hint}known: {', '.join(known)}"


def explain(problem: Mapping[str, Any], fields: Mapping[str, Any], what: str) -> str:
    """An error of pydantic in words.

    problem: an entry of `ValidationError.errors()`. fields: `model_fields` of the model that refused. what: the user's
    name for a field, such as "training setting".
    """
    path = key(problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"unknown {what} {path!r}; {nearest(path, fields)}"
    if problem["type"] == "missing" and path in fields:
        return f"{what} {path!r} is missing: {fields[path].description}"
    return f"{what} {path!r}: {refusal(problem)}" if path else refusal(problem)


def key(loc: Iterable[object]) -> str:
    """The path of a key in the config, such as "tasks.digits.seeds.0". loc: its parts, as pydantic names them."""
    return ".".join(str(part)[:100] for part in loc)


def refusal(problem: Mapping[str, Any]) -> str:
    """What pydantic finds wrong with a value, in words, and what YAML made of what was written.

    problem: an entry of `ValidationError.errors()`.
    """
    value = problem["input"]
    hint = ""
    if problem["type"] == "string_type" and isinstance(value, (bool, int, float)):
        hint = "; put it in quotes, as YAML reads it as a number or truth value otherwise"
    elif problem["type"] in ("int_type", "float_type") and isinstance(value, str):
        with contextlib.suppress(ValueError):  # "1e3" is a number to people, and a text to YAML 1.1
            number = float(value)
            hint = f"; YAML reads it as a text, so write {number:.12g}" if math.isfinite(number) else ""
    what = problem["msg"].removeprefix("Value error, ")
    got = f" (got {shown(value)}{hint})" if problem["type"] != "missing" else ""
    return what[:1].lower() + what[1:] + got
