"""The examples of docs/api.md run and print what the page says."""

import doctest
from pathlib import Path

from test_report import Synthetic
from test_results import fill

PAGE = Path(__file__).resolve().parent.parent / "docs/api.md"


def test_the_examples_print_what_the_page_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Synthetic("classification", "image").write(tmp_path / "results/summary/digits")
    Synthetic("classification", "audio").write(tmp_path / "results/summary/words")
    fill(tmp_path / "results")
    failed, tried = doctest.testfile(str(PAGE), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert tried > 30 and failed == 0, "the differences are printed above"
