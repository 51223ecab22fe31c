"""Functions as commands: what their signatures and docstrings say is what the command line takes and explains."""

import importlib
import inspect
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from lossybench import cli, commands
from lossybench.errors import LossyBenchError


def example(
    folder: Path,
    /,
    level: float,
    parts: list[Path],
    more: Sequence[Path] = (),
    which: Literal["train", "test"] = "test",
    options: dict[str, Any] | None = None,
    seed: int = 7,
    out_file: Path | None = None,
) -> dict[str, Any]:
    """Show what it is given.

    Args:
        folder: a folder
        level: a number, 50 % of
            another
        parts: some files
        which: one of two

    Raises:
        OSError: never
    """
    return dict(locals())


def test_arguments_arrive_in_their_types():
    words = ["photos", "--level", "12.3456789", "--parts", "a", "b", "--more", "c", "--which", "train"]
    words += ["--out-file", "o.csv", "--options"]
    found = commands.run(example, "example", [*words, '{"chroma": "444"}'])
    assert found == {
        "folder": Path("photos"),
        "level": 12.3456789,
        "parts": [Path("a"), Path("b")],
        "more": [Path("c")],
        "which": "train",
        "options": {"chroma": "444"},
        "seed": 7,
        "out_file": Path("o.csv"),
    }
    found = commands.run(example, "example", ["photos", "--level", "1", "--parts", "a"])
    assert found == inspect.signature(example).bind(Path("photos"), 1.0, [Path("a")]).arguments | {
        "more": (),
        "which": "test",
        "options": None,
        "seed": 7,
        "out_file": None,
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("photos --parts a", "the following arguments are required: --level"),
        ("photos --level much --parts a", "argument --level: invalid float value: 'much'"),
        ("photos --level 1 --parts a --which both", "argument --which: invalid choice: 'both'"),
        ("photos --level 1 --parts a --options 3", "argument --options: not a JSON object: 3"),
        ("photos --level 1 --parts a --options {", "argument --options: not JSON"),
        ("photos --level 1 --parts a --sead 3", "unrecognized arguments: --sead 3"),
    ],
)
def test_words_that_do_not_fit_are_told_in_one_line(capsys, words, message):
    with pytest.raises(SystemExit, match="2"):
        commands.run(example, "example", words.split())
    assert message in capsys.readouterr().err


def test_help_is_the_docstring(capsys):
    with pytest.raises(SystemExit, match="0"):
        commands.run(example, "example", ["--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "Show what it is given." in said and "a number, 50 % of another" in said and "one of two (default test)" in said
    )
    assert "Args:" not in said and "never" not in said


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_argument_of_a_command_is_explained(name, capsys):
    module, function = cli.COMMANDS[name].split(":")
    found = getattr(importlib.import_module(f"lossybench.{module}"), function)
    assert set(commands._about(found)) == set(inspect.signature(found).parameters)
    with pytest.raises(SystemExit, match="0"):
        cli.main([name, "--help"])
    assert f"usage: lossybench {name}" in capsys.readouterr().out


def test_the_overview_names_every_command_and_a_misspelt_one_is_told(capsys):
    cli.main(["--help"])
    said = capsys.readouterr().out
    assert all(f"\n  {name} " in said for name in cli.COMMANDS)
    with pytest.raises(SystemExit, match="2"):
        cli.main(["compres"])
    assert "unknown command 'compres'; did you mean 'compress'?" in capsys.readouterr().err


def test_what_a_command_returns_is_printed_or_its_exit_status(capsys):
    cli.main(["schema"])
    assert json.loads(capsys.readouterr().out)["title"] == "StudyConfig"


def shell(line: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = f"{shlex.quote(sys.executable)} -m lossybench"
    env = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1]), **more}
    line = line.replace("lossybench", command, 1)
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=env, timeout=60, check=False)


def test_a_reader_who_goes_away_is_no_error():
    for command in ("schema", "datasets", "--help"):
        done = shell(f"lossybench {command} | head -0; exit ${{PIPESTATUS[0]}}")
        assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, ""), command


def test_a_full_disk_a_closed_output_and_a_poor_terminal_are_no_traceback():
    done = shell("lossybench schema > /dev/full")
    assert done.stderr.splitlines() == [
        "lossybench: error: the output could not be written: No space left on device; make room"
    ]
    assert shell("lossybench schema >&-").stderr == ""
    assert "\\u2026" in shell("lossybench datasets", PYTHONIOENCODING="ascii").stdout


def test_ctrl_c_and_what_the_file_system_refuses_are_one_line(monkeypatch, capsys):
    def failing(error: BaseException) -> str:
        def run(*_: object) -> None:
            raise error

        monkeypatch.setattr(cli.commands, "run", run)
        with pytest.raises(SystemExit) as end:
            cli.main(["schema"])
        return f"{end.value.code} {capsys.readouterr().err}"

    assert failing(KeyboardInterrupt()) == f"{128 + signal.SIGINT} "
    assert (
        failing(PermissionError(13, "Permission denied", "/a\nb")) == "2 lossybench: error: /a\\nb: Permission denied\n"
    )
    told = "2 lossybench: error: a\\x1b[31m\\n\\u202eb\n"
    assert failing(LossyBenchError("a\x1b[31m\n\u202eb")) == told
    with pytest.raises(RuntimeError):  # a fault of ours keeps its traceback
        failing(RuntimeError())


def test_logs_show_names_and_obey_none(capfd):
    code = "import logging, warnings; from lossybench import cli; cli._speak_plainly();"
    code += r"logging.warning('a\x1b[2J\nb'); warnings.warn('c\rd')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == [r"WARNING a\x1b[2J\nb", r"WARNING c\rd"]


def test_an_error_is_one_line_that_steers_no_terminal_and_is_of_bounded_length():
    names = ["a\nb\r\n\x1b[31mred\u202e\u2028", b"\xff.png".decode(errors="surrogateescape"), "\t\x00"]
    for name in names:
        text = str(LossyBenchError(f"{name}: is damaged"))
        assert text.isprintable() and text.endswith(": is damaged") and text.encode()
    assert str(LossyBenchError("data\n\x1b")) == "data\\n\\x1b"
    assert str(LossyBenchError("é ﬀ 😀")) == "é ﬀ 😀"
    long = str(LossyBenchError("a" * 10**7 + "end"))
    assert len(long) < 5000 and long.endswith("aend")
