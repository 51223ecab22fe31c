"""YAML read strictly: what is doubtful, or of a size to bring the reader down, is refused in one line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from lossybench.errors import LossyBenchError, visible

LARGEST = 2**20  # bytes: a hundred times the largest study that is shipped
DEEPEST = 50  # sections within sections; a study has eight
MOST_VALUES = 100_000  # with each alias counted as what it stands for, so that a few lines cannot stand for billions
# Read by libyaml where PyYAML has it, which is ten times as fast.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PLAIN = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq", "merge")}
_NUMBERS = {f"tag:yaml.org,2002:{name}" for name in ("int", "float")}
# To YAML 1.1, 010 is 8 and 1:20 is 80.
_MISREAD = re.compile(r"[-+]?0[0-9_]+|.*:.*")


def load(path: Path | str) -> Any:
    """What the YAML file `path` holds: mappings, lists, texts, numbers, truth values and null, nothing else.

    Raises LossyBenchError, naming the file and mostly the line, for what cannot be read or is not UTF-8 or not YAML;
    for a key that is there twice, of which YAML's usual readers silently take the last; for other types, such as dates;
    for numbers that YAML reads otherwise than people do; and for what is too large or nested too deeply.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise LossyBenchError(f"{path}: no such config file") from None
    except OSError as error:
        raise LossyBenchError(f"{path}: cannot be read ({error.strerror}); give a config file") from None
    if len(content) > LARGEST:
        raise LossyBenchError(f"{path}: has more than {LARGEST:,} bytes; a config file has a few thousand")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise LossyBenchError(f"{path}: line {line} is not UTF-8; save the file in that encoding") from None
    try:
        return _value(text)
    except _RefusedError as error:
        raise LossyBenchError(f"{path}: {error}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a number of thousands of digits
        raise LossyBenchError(f"{path}: not YAML: {visible(' '.join(str(error).split()))}") from None


class _RefusedError(Exception):
    def __init__(self, node: Any, what: str) -> None:
        super().__init__(f"line {node.start_mark.line + 1}: {what}")


def _value(text: str) -> Any:
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):  # before the nodes are composed, which recurses
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise _RefusedError(event, f"nested more than {DEEPEST} deep; a config needs less than ten")
    loader = _LOADER(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node, {}, [])
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _check(node: yaml.Node, known: dict[int, int], above: list[int]) -> int:
    """The number of values in a node, each alias counted as what it stands for. Raises _RefusedError as `load` says.

    known: of nodes that were checked, which an alias names again. above: the nodes that this one is in.
    """
    if id(node) in above:
        raise _RefusedError(node, "an alias within what it stands for; write it out")
    if id(node) in known:
        return known[id(node)]
    if len(above) >= DEEPEST:
        raise _RefusedError(node, f"nested more than {DEEPEST} deep; a config needs less than ten")
    if node.tag not in _PLAIN:
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        raise _RefusedError(node, f"a value of the type {kind}, which no key takes; put it in quotes if it is a text")
    if node.tag in _NUMBERS and _MISREAD.fullmatch(node.value):
        raise _RefusedError(node, f"{node.value} is another number to YAML; write it without leading zeros or colons")
    count = 1
    for part in _parts(node):
        count += _check(part, known, [*above, id(node)])
        if count > MOST_VALUES:
            raise _RefusedError(node, f"more than {MOST_VALUES:,} values, each alias counted as what it stands for")
    known[id(node)] = count
    return count


def _parts(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        lines: dict[tuple[str, str], int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _RefusedError(key, "a key that is a list or mapping; a key is a text")
            if line := lines.get((key.tag, key.value)):
                raise _RefusedError(key, f"the key {key.value!r} is there already, in line {line}; keep one of them")
            lines[key.tag, key.value] = key.start_mark.line + 1
            yield key
            yield value
