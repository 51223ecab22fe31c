"""The command line: each command is a function of a stage or tool, which is imported when the command is called.

The workflow's rules call these commands.
"""

from __future__ import annotations

import ast
import errno
import importlib
import importlib.util
import io
import json
import logging
import os
import select
import signal
import sys
import traceback
import warnings
from pathlib import Path

from lossybench import commands, cores
from lossybench.errors import LossyBenchError, nearest, visible

STAGES = ("fetch", "adopt", "preflight", "compress", "train", "timing", "evaluate", "attack", "aggregate")
COMMANDS = {name: f"stages.{name}:{name}" for name in STAGES} | {
    "learn-codec": "stages.learn_codec:learn_codec",
    "figures": "stages.report:figures",
    "contact-sheet": "stages.report:contact_sheet",
    "recommend": "stages.report:recommend",
    "page": "stages.report:page",
    "frontier": "stages.report:frontier",
    "costs": "stages.report:costs",
    "headline": "tools.listings:headline",
    "dag": "tools.listings:dag",
    **{
        name: f"tools.{name}:{name}" for name in ("plan", "check", "more", "show", "rates", "speed", "compare", "paper")
    },
    **{name: f"tools.listings:{name}" for name in ("schema", "datasets", "codecs", "measures")},
}


def main(argv: list[str] | None = None) -> None:
    """Run one command and print what it returns, unless that is a number, which becomes the exit status.

    argv: the name and the arguments of the command, by default those of the process. A LossyBenchError, and what the
    file system refuses, is printed as one line, and the exit status is 2 then. Where the reader of the output goes
    away, as `head` does, or at Ctrl-C, the process ends without a word. With LOSSYBENCH_TRACEBACK in the environment
    the error's traceback comes before its line, for whoever looks for a fault of ours behind it.
    """
    _speak_plainly()
    try:
        _run(*(sys.argv[1:] if argv is None else argv) or ["--help"])
        _flush()
    except LossyBenchError as error:
        if os.environ.get("LOSSYBENCH_TRACEBACK"):
            traceback.print_exc()
        sys.exit(_complain(error))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            _hush()
            sys.exit(128 + signal.SIGPIPE)
        if error.filename is not None:
            sys.exit(_complain(f"{os.fsdecode(error.filename)}: {error.strerror}"))
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _hush()
        sys.exit(_complain(f"the output could not be written: {error.strerror}; make room"))


def _run(name: str, *words: str) -> None:
    if name in ("-h", "--help"):
        print(_overview())
        return
    if name not in COMMANDS:
        raise LossyBenchError(f"unknown command {name!r}; {nearest(name, COMMANDS)}")
    if os.environ.get("LOSSYBENCH_END_WITH_PARENT"):
        # A job without its Snakemake would go on and write what nobody waits for.
        cores.end_with_parent(signal.SIGTERM)
    cores.enter()
    # Last, so that nothing which lies beside a config is taken for a module of Python or of an installed package.
    sys.path.extend(json.loads(os.environ.get("LOSSYBENCH_BESIDE", "[]")))
    module, function = COMMANDS[name].split(":")
    found = commands.run(getattr(importlib.import_module(f"lossybench.{module}"), function), name, list(words))
    if isinstance(found, int):
        _flush()
        sys.exit(found)
    if found is not None:
        print(found)


class _Line(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802, as logging names it
        return visible(super().formatMessage(record))


def _speak_plainly() -> None:
    """What is logged and warned of is one line each, in which names are shown and never obeyed.

    What the terminal's encoding lacks is escaped.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_Line("%(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    warnings.formatwarning = lambda message, *_, **__: f"WARNING {visible(message)}\n"
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _flush() -> None:
    """Write the output out, so that an error in that is met here and not at the end of Python."""
    if sys.stdout:  # which is None where it was closed
        sys.stdout.flush()


def _nobody_reads() -> bool:
    """Whether the output is a pipe whose reader has gone; a broken pipe may also be one to another process."""
    poll = select.poll()
    poll.register(sys.stdout, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _hush() -> None:
    """Let the rest of the output go nowhere, so that Python says nothing of it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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


def _complain(error: object) -> int:
    print(f"lossybench: error: {visible(error)}", file=sys.stderr)
    return 2
