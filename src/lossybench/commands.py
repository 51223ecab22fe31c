"""A function as a command, whose arguments follow from the function's signature and docstring.

Positional-only parameters become positional arguments, all others become flags. A dict is given as a JSON object, a
list as several words, True as the flag alone. Nothing else passes arguments to a stage, so every job's fingerprint
covers this module.
"""

from __future__ import annotations

import argparse
import collections.abc
import inspect
import json
import re
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any


def run(function: Callable[..., Any], name: str, words: list[str]) -> Any:
    """Call a function with the arguments of a command line, and return what the function returns.

    name: of the command. words: the command line after the name. Words that do not fit are told, and the process exits
    with status 2.
    """
    said = (inspect.getdoc(function) or "").partition("Args:\n")[0]
    parser = argparse.ArgumentParser(prog=f"lossybench {name}", description=said)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    about, hints, positional = _about(function), typing.get_type_hints(function), []
    for parameter in inspect.signature(function).parameters.values():
        required = parameter.default is parameter.empty
        shown = f" (default {parameter.default})" if parameter.default not in (parameter.empty, None, "", ()) else ""
        how = _how(hints[parameter.name]) | {"help": about.get(parameter.name, "") + shown}
        if parameter.kind is parameter.POSITIONAL_ONLY:
            positional.append(parameter.name)
            many = how.get("nargs", None if required else "?")
            parser.add_argument(parameter.name, **how | {"nargs": many, "default": parameter.default})
        else:
            flag = f"--{parameter.name.replace('_', '-')}"
            parser.add_argument(flag, required=required, **how | {"default": None if required else parameter.default})
    given = vars(parser.parse_args(words))
    first = [given.pop(one) for one in positional]
    return function(*first, **given)


def summary(doc: str) -> str:
    """The first paragraph of the docstring `doc` as one line without a full stop."""
    return " ".join(doc.strip().split("\n\n")[0].split()).rstrip(".")


def _about(function: Callable[..., Any]) -> dict[str, str]:
    """The text for each parameter in the section "Args" of a function's docstring."""
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", inspect.getdoc(function) or "", re.S | re.M)
    found = re.findall(r"^    (\w+): (.*?)(?=^    \w|\Z)", section[1] if section else "", re.S | re.M)
    return {name: " ".join(text.split()).replace("%", "%%") for name, text in found}


def _how(hint: Any) -> dict[str, Any]:
    """The keyword arguments by which argparse reads a parameter of this type."""
    origin, within = typing.get_origin(hint), [one for one in typing.get_args(hint) if one is not type(None)]
    if origin in (typing.Union, types.UnionType):
        return _how(within[0])
    if hint is bool:
        return {"action": "store_true"}
    if origin is typing.Literal:
        return {"choices": within}
    if origin is dict:
        return {"type": _json, "metavar": "JSON"}
    if origin in (list, collections.abc.Sequence):
        return _how(within[0]) | {"nargs": "+" if origin is list else "*"}
    return {"type": hint, "metavar": "PATH" if hint is Path else None}


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"not JSON ({error}): {text}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"not a JSON object: {text}")
    return value
