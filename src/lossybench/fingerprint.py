"""What code a job depends on, as one hash of content.

Snakemake sees a rule's own text but not the package behind it. The fingerprint covers the modules that a stage
imports from this package, followed through their imports; it ignores comments, docstrings, layout and time stamps,
so that a fresh clone or a better comment reruns nothing. Modules loaded by name (a codec, a data set, an
architecture) are named by the caller: that is how a codec's edit reruns its own branch only.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
from pathlib import Path

PACKAGE = "lossybench"


@functools.cache
def fingerprint(*modules: str) -> str:
    """A short hash of the named modules and of all modules of this package that they import.

    Nothing is imported for it: every job of a cluster starts by asking for fingerprints. Raises ModuleNotFoundError for
    a name that is no module.
    """
    seen: set[str] = set()
    queue = [name for module in modules for name in _with_parents(module)]
    while queue:
        name = queue.pop()
        if name not in seen:
            seen.add(name)
            queue += _imports(name)
    digest = hashlib.sha256()
    for name in sorted(seen):
        digest.update(f"{name}={_content(name)}\n".encode())
    return digest.hexdigest()[:16]


def source_digest(*parts: str) -> str:
    """A hash of source files as they are: of files and whole folders of this package, by their path in it.

    For checkpoints: coarser than `fingerprint`, but 100 times as fast, and asked for in every job.
    """
    package = Path(__file__).parent
    files = {file for part in parts for file in [package / part, *(package / part).rglob("*.py")] if file.is_file()}
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.relative_to(package)}={hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


@functools.cache
def _root() -> Path:
    """The package's folder."""
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


@functools.cache
def _path(name: str) -> Path | None:
    """The file of a module of this package; None for an attribute of one, or for nothing at all."""
    below = _root().joinpath(*name.split(".")[1:])
    return next((path for path in (below / "__init__.py", below.with_suffix(".py")) if path.is_file()), None)


@functools.cache
def _source(name: str) -> tuple[Path, ast.Module]:
    path = _path(name)
    if path is None:
        raise ModuleNotFoundError(f"no module {name}")
    return path, ast.parse(path.read_text(), filename=str(path))


@functools.cache
def _content(name: str) -> str:
    tree = ast.parse(_source(name)[0].read_text())
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


@functools.cache
def _imports(name: str) -> list[str]:
    """The modules of this package that a module imports, anywhere in it."""
    path, tree = _source(name)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = (
                importlib.util.resolve_name("." * node.level + (node.module or ""), package)
                if node.level
                else node.module
            )
            found.add(base or "")
            found.update(f"{base}.{alias.name}" for alias in node.names)
    ours = (one for one in found if one.split(".")[0] == PACKAGE)
    return [part for one in ours for part in _with_parents(one) if _path(part)]
