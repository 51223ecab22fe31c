"""The fingerprint of a job: one hash of the code that the job depends on.

Snakemake sees a rule's own text but not the package behind it. The fingerprint covers the module of a stage, the
modules of this package that it imports, and those that they import. It ignores what changes no result: comments,
docstrings, layout, time stamps, and the texts of errors, warnings and logs. So a fresh clone or a better message reruns
nothing. Modules that are loaded by name (a codec, a data set, an architecture) are named by the caller, so that an edit
of a codec reruns its own branch only. A user's own module is followed in the same way, into its own package and, unless
it is installed, into the modules that lie beside it.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import gc
import hashlib
import importlib.util
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

# Modules from which no result follows: they make the texts of errors, and hashes of code.
NOT_FOLLOWED = {"lossybench.errors", "lossybench.fingerprint"}
# What a kind of task imports of the analysis is for this stage alone: no outcome follows from it.
_TASKS, _ANALYSIS, _ANALYST = "lossybench.tasks", "lossybench.analysis", "lossybench.stages.aggregate"
_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
_DOCUMENTED = (ast.Module, ast.ClassDef, *_FUNCTION)
TEXT_CALLS = {"LossyBenchError", "warnings.warn", "tqdm.write"}  # and all that is raised as an error
TEXT_KEYWORDS = {"Field": {"description"}, "pydantic.Field": {"description"}, "tqdm": {"desc", "unit"}}


@functools.cache
def fingerprint(*modules: str) -> str:
    """A short hash of the named modules and of all modules of their package that they import.

    modules: dotted names, of which "module:name" stands for one function or value of the module, or of a class in it,
    and what is imported within it. They are read and not imported, because every job of a cluster starts by asking for
    fingerprints. What kinds of task import of the analysis is followed only if the stage that needs it is among them.
    Raises ModuleNotFoundError for a name that is no module.
    """
    seen: dict[str, str] = {}
    queue = [part for name in modules for part in ([name] if ":" in name else _with_parents(name))]
    queue = [name for name in queue if name in modules or _file(name)]
    with _uncollected():
        while queue:
            name = queue.pop()
            if name not in seen:
                seen[name], imported = _read(name)
                apart = name.startswith(_TASKS) and _ANALYST not in modules
                queue += [one for one in imported if not (apart and one.startswith(_ANALYSIS))]
    digest = hashlib.sha256()
    for name in sorted(seen):
        digest.update(f"{name}={seen[name]}\n".encode())
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without the collection of garbage, which goes over all that was parsed again and again and finds none."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@functools.cache
def _read(name: str) -> tuple[str, list[str]]:
    """A hash of what a module does, and the modules that it imports and that are followed.

    name: as of `fingerprint`.
    """
    path, tree = _source(name)
    nodes = list(ast.walk(tree))
    return _content(tree, nodes), _imports(name, path, nodes)


def source_digest(*parts: str) -> str:
    """A hash of source files as they are, for checkpoints: coarser than `fingerprint`, but 100 times as fast.

    parts: the paths of files and of whole folders within this package.
    """
    package = Path(__file__).parent
    files = {file for part in parts for file in [package / part, *(package / part).rglob("*.py")] if file.is_file()}
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.relative_to(package)}={hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _with_parents(name: str) -> list[str]:
    return list(itertools.accumulate(name.split("."), "{}.{}".format))


def _file(name: str) -> Path | None:
    """The Python file of a module; None when it has none."""
    path, _ = _place(name)
    return path if path and path.suffix == ".py" and path.is_file() else None


@functools.cache
def _place(name: str) -> tuple[Path | None, Path | None]:
    """The place of a module's file and a package's folder, for which nothing is imported."""
    top, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:  # __main__, and what was made by hand
        spec = None
    if spec is None:
        return None, None
    path = Path(spec.origin) if spec.origin else None
    folders = spec.submodule_search_locations or []
    folder = next(map(Path, folders), None)
    for part in rest:
        if folder is None:
            return None, None
        package = folder / part
        path, folder = (package / "__init__.py", package) if package.is_dir() else (folder / f"{part}.py", None)
    return path, folder


def _source(name: str) -> tuple[Path, ast.Module]:
    """The file and the code of a module; for "module:name" the code of that alone: see `fingerprint`."""
    module, _, function = name.partition(":")
    path = _file(module)
    if path is None:
        raise ModuleNotFoundError(f"no module {module}")
    tree = ast.parse(path.read_text(), filename=str(path))
    if not function:
        return path, tree
    members = [one for of in tree.body if isinstance(of, ast.ClassDef) for one in of.body]
    return path, ast.Module([one for one in [*tree.body, *members] if function in _defines(one)], [])


def _defines(statement: ast.stmt) -> list[str]:
    """The name that a statement gives a function or a value."""
    if isinstance(statement, _FUNCTION):
        return [statement.name]
    to = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return [one.id for one in to if isinstance(one, ast.Name)]


def _content(tree: ast.Module, nodes: list[ast.AST]) -> str:
    """A hash of what code does, of which the texts are blanked. nodes: all of the tree."""
    for node in nodes:
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
        elif isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and _called(node.exc).endswith("Error"):
            node.exc.args, node.exc.keywords = [], []
        elif isinstance(node, ast.Call) and (_called(node) in TEXT_CALLS or _called(node).startswith("logging.")):
            node.args, node.keywords = [], []
        elif isinstance(node, ast.Call) and _called(node) in TEXT_KEYWORDS:
            node.keywords = [one for one in node.keywords if one.arg not in TEXT_KEYWORDS[_called(node)]]
    for node in nodes:
        if isinstance(node, _FUNCTION):
            _forget_parts_of_texts(node)
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _called(call: ast.Call) -> str:
    """What a call calls, as far as that is a name or an attribute of one: "tqdm", "warnings.warn"."""
    if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
        return f"{call.func.value.id}.{call.func.attr}"
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _forget_parts_of_texts(function: ast.AST) -> None:
    """Blank what a function assigns to names that it never uses once its texts are gone."""
    nodes = list(ast.walk(function))
    used = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    used |= {name for node in nodes if isinstance(node, ast.Global | ast.Nonlocal) for name in node.names}
    for node in nodes:
        if isinstance(node, ast.Assign) and all(isinstance(to, ast.Name) and to.id not in used for to in node.targets):
            node.value = ast.Constant(None)


def _imports(name: str, path: Path, nodes: list[ast.AST]) -> list[str]:
    """The modules that are imported anywhere in a module and are followed. path: of its file. nodes: of its code."""
    module = name.partition(":")[0]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            named = "." * node.level + (node.module or "")
            base = importlib.util.resolve_name(named, package)
            found.add(base)
            found.update(f"{base}.{alias.name}" for alias in node.names)
    followed = (one for one in found if one and _together(module, one))
    return [part for one in followed for part in _with_parents(one) if part not in NOT_FOLLOWED and _file(part)]


def _together(name: str, other: str) -> bool:
    """Whether two modules are of one package, or lie beside each other outside of what is installed."""
    top, other_top = name.split(".")[0], other.split(".")[0]
    if top == other_top:
        return True
    root = _root(top)
    return root is not None and root == _root(other_top) and not {"site-packages", "dist-packages"} & set(root.parts)


@functools.cache
def _root(top: str) -> Path | None:
    """The folder in which a top-level module lies; None for a module of Python itself and for one without a file."""
    if top in sys.stdlib_module_names:
        return None
    path, folder = _place(top)
    at = folder or path
    return at.parent if at else None
