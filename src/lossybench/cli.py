"""The command line: each command is a function of a stage or tool, which is imported when the command is called.

The workflow's rules call these commands.
"""

from __future__ import annotations

import ast
import ctypes
import importlib
import importlib.util
import logging
import os
import signal
import sys
from pathlib import Path

from lossybench import commands
from lossybench.errors import LossyBenchError, nearest

STAGES = ("fetch", "adopt", "preflight", "compress", "train", "evaluate", "attack", "aggregate")
COMMANDS = {name: f"stages.{name}:{name}" for name in STAGES} | {
    "figures": "stages.report:figures",
    "contact-sheet": "stages.report:contact_sheet",
    "recommend": "stages.report:recommend",
    "headline": "tools.listings:headline",
    **{name: f"tools.{name}:{name}" for name in ("plan", "check", "rates", "speed")},
    **{name: f"tools.listings:{name}" for name in ("schema", "datasets", "codecs")},
}


def main(argv: list[str] | None = None) -> None:
    """Run one command and print what it returns, unless that is a number, which becomes the exit status.

    argv: the name and the arguments of the command, by default those of the process. A LossyBenchError is printed as
    one line, and the exit status is 2 then.
    """
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    name, *words = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in ("-h", "--help"):
        print(_overview())
        return
    if name not in COMMANDS:
        sys.exit(_complain(f"unknown command {name!r}; {nearest(name, COMMANDS)}"))
    if os.environ.get("LOSSYBENCH_END_WITH_PARENT"):
        _end_with_parent()
    module, function = COMMANDS[name].split(":")
    try:
        found = commands.run(getattr(importlib.import_module(f"lossybench.{module}"), function), name, words)
    except LossyBenchError as error:
        sys.exit(_complain(error))
    if isinstance(found, int):
        sys.exit(found)
    if found is not None:
        print(found)


def _overview() -> str:
    """All commands with the first sentences of their functions' docstrings, for which no function is imported."""
    lines = ["usage: lossybench COMMAND ...; lossybench COMMAND --help says more", ""]
    for name, place in COMMANDS.items():
        module, function = place.split(":")
        spec = importlib.util.find_spec(f"lossybench.{module}")
        assert spec and spec.origin
        tree = ast.parse(Path(spec.origin).read_text())
        (node,) = (one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == function)
        lines.append(f"  {name:14} {commands.summary(ast.get_docstring(node) or '')}")
    return "\n".join([*lines, "", "`snakemake --cores all` runs all stages of a study."])


def _end_with_parent() -> None:
    """Have Linux send this process SIGTERM when its parent dies. Elsewhere such a job has to be ended by hand.

    A job without its Snakemake would go on and write what nobody waits for.
    """
    if sys.platform == "linux":
        parent, set_death_signal = os.getppid(), 1
        ctypes.CDLL(None, use_errno=True).prctl(set_death_signal, signal.SIGTERM)
        if os.getppid() != parent:  # the parent died meanwhile
            sys.exit(128 + signal.SIGTERM)


def _complain(error: object) -> int:
    print(f"lossybench: error: {error}", file=sys.stderr)
    return 2
