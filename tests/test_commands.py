"""Functions as commands: what their signatures and docstrings say is what the command line takes and explains."""

import importlib
import inspect
import json
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


def test_an_error_is_one_line_that_steers_no_terminal_and_is_of_bounded_length():
    names = ["a\nb\r\n\x1b[31mred\u202e\u2028", b"\xff.png".decode(errors="surrogateescape"), "\t\x00"]
    for name in names:
        text = str(LossyBenchError(f"{name}: is damaged"))
        assert text.isprintable() and text.endswith(": is damaged") and text.encode()
    assert str(LossyBenchError("data\n\x1b")) == "data\\n\\x1b"
    assert str(LossyBenchError("é ﬀ 😀")) == "é ﬀ 😀"
    long = str(LossyBenchError("a" * 10**7 + "end"))
    assert len(long) < 5000 and long.endswith("aend")
