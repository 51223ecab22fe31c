"""The command line: each subcommand is a function of a stage or tool, imported when it is called.

The workflow's rules call these.
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

COMMANDS = {
    "fetch": "stages.fetch:fetch",
    "compress": "stages.compress:compress",
    "train": "stages.train:train",
    "adopt": "stages.adopt:adopt",
    "evaluate": "stages.evaluate:evaluate",
    "attack": "stages.attack:attack",
    "aggregate": "stages.aggregate:aggregate",
    "figures": "stages.report:figures",
    "contact-sheet": "stages.report:contact_sheet",
    "recommend": "stages.report:recommend",
    "headline": "tools.listings:headline",
    "plan": "tools.plan:plan",
    "check": "tools.check:check",
    "rates": "tools.rates:rates",
    "speed": "tools.speed:speed",
    "schema": "tools.listings:schema",
    "datasets": "tools.listings:datasets",
    "codecs": "tools.listings:codecs",
}


def main(argv: list[str] | None = None) -> None:
    """Run one command and print what it returns; a number that it returns is the exit status instead.

    argv: its name and arguments, those of the process when left out. A LossyBenchError is printed as one line; the exit
    status is 2 then.
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
    """All commands with the first sentences of their functions' docstrings, which are read and not imported."""
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
    """Be sent SIGTERM when the parent dies: a job without its Snakemake would go on and write what nobody waits for.

    Linux only; elsewhere such a job has to be ended by hand.
    """
    if sys.platform == "linux":
        parent, set_death_signal = os.getppid(), 1
        ctypes.CDLL(None, use_errno=True).prctl(set_death_signal, signal.SIGTERM)
        if os.getppid() != parent:  # it died meanwhile
            sys.exit(128 + signal.SIGTERM)


def _complain(error: object) -> int:
    print(f"lossybench: error: {error}", file=sys.stderr)
    return 2
