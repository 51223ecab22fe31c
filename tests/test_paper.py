"""What a paper takes from a study: LaTeX whatever characters names have, numbers of the tables, figures that fit."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.text import Text
from test_report import Synthetic

from lossybench.artifacts import read_meta, read_table, write_table
from lossybench.attacks.methods import METHODS
from lossybench.errors import LossyBenchError
from lossybench.metrics import Metric
from lossybench.reporting import latex, printed
from lossybench.reporting.summary import Summary
from lossybench.tools.paper import paper as command

HOSTILE = r'\input{x} $a_1^2$ 50 % & #1 ~ {"<b>"} -- ?` ’é中'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two tasks, one of them attacked, with names that LaTeX would obey."""
    results = tmp_path_factory.mktemp("results")
    meta = {
        "task": "digits",
        "kind": "classification",
        "card": {"title": HOSTILE, "source": HOSTILE, "citation": "Smith } and {Co, 100 % 2001"},
        "settings": {"deltas": [1, 2, 5], "bootstrap": 1000, "seed": 0},
    }
    Synthetic("classification", "image", meta=meta).write(results / "summary/digits")
    detection = meta | {"task": "scenes", "kind": "detection", "compressed_before": ["DivX_5 & MP3"]}
    Synthetic("detection", "video", attacks=False, meta=detection).write(results / "summary/scenes")
    return results


@pytest.fixture(scope="module")
def out(folder: Path) -> Path:
    assert command(folder, folder / "paper").endswith("paper.tex shows them all")
    return folder / "paper"


def _plain(tex: str) -> str:
    """The text that LaTeX prints, for what `escape` makes."""
    for special, text in (
        (r"\textbackslash{}", "\0"), (r"\textbraceleft{}", "\1"), (r"\textbraceright{}", "\2"),
        (r"\textasciicircum{}", "^"), (r"\textasciitilde{}", "~"), (r"\textless{}", "<"), (r"\textgreater{}", ">"),
        (r"\textbar{}", "|"), (r"\textquotedbl{}", '"'), (r"\`{}", "`"), (r"$-$", "−"), ("{}", ""),
        *((rf"\{one}", one) for one in "$&#_%"), ("\0", "\\"), ("\1", "{"), ("\2", "}"),
    ):  # fmt: skip
        tex = tex.replace(special, text)
    return tex


def test_names_are_printed_and_not_obeyed():
    escaped = latex.escape(HOSTILE)
    assert _plain(escaped) == HOSTILE
    assert not re.search(r"(?<!\\)[%&#_^~]|--|\?`|''", escaped)
    assert set(re.findall(r"\\([a-z]+)", escaped)) <= {
        "textbackslash", "textbraceleft", "textbraceright", "textasciicircum", "textasciitilde", "textless",
        "textgreater", "textquotedbl",
    }  # fmt: skip
    assert latex.escape("a\nb\x1b[31m") == r"a\textbackslash{}nb\textbackslash{}x1b[31m"
    assert latex.fallbacks(escaped).count("DeclareUnicodeCharacter") == 2  # ’ and 中; é is in every font


def _balanced(text: str) -> bool:
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", text):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return False
    return depth == 0


def test_all_that_is_written_is_well_formed(out: Path):
    texts = {path: path.read_text("utf-8") for path in out.rglob("*") if path.suffix in (".tex", ".bib")}
    assert {"methods.tex", "paper.tex", "references.bib", "limits.tex", "headline.tex"} <= {path.name for path in texts}
    for path, text in texts.items():
        assert _balanced(text), path
        begun, ended = (re.findall(rf"\\{word}{{(\w+)}}", text) for word in ("begin", "end"))
        assert sorted(begun) == sorted(ended), path
        for line in text.splitlines():
            if line.endswith(r"\\") and "&" in line and "rule" not in line:
                columns = re.search(r"\\begin{longtable}{([lr]+)}", text)
                assert columns and len(re.split(r"(?<!\\)&", line)) == len(columns[1]), line


def test_every_citation_exists_and_every_source_is_cited(out: Path):
    keys = re.findall(r"^@\w+{(\w+),", (out / "references.bib").read_text(), re.M)
    cited = {
        key for group in re.findall(r"\\cite{([^}]*)}", (out / "methods.tex").read_text()) for key in group.split(",")
    }
    assert set(keys) == cited and len(keys) == len(set(keys))
    assert {"itu1992jpeg", "madry2018towards", "lin2014coco", "molder2021snakemake", "wang2004image"} <= cited
    assert not {"iso1993mp3", "brown2017adversarial"} & cited  # which no task has


def test_every_codec_and_attack_has_a_source():
    from lossybench import codecs

    parts = set().union(*(source.of for source in latex.sources()))
    no_method = {"codec:original", "attack:noise"}  # which are lossless, and nobody's invention
    assert {f"codec:{name}" for name in codecs.names()} - parts <= no_method
    assert {f"attack:{name}" for name in METHODS} - parts <= no_method


def test_numbers_are_those_of_the_tables(out: Path):
    """A reader's parse of the LaTeX against the CSV, which holds all digits."""
    text = (out / "tables/metrics.tex").read_text()
    lines = [line.removesuffix(r"\\") for line in text.splitlines() if line.endswith(r"\\") and "&" in line]
    assert re.search(r"\\toprule .* & metric & value \(\\%\) & n \\\\ \\midrule", text)
    rows = [[_plain(part.strip()) for part in line.split(" & ")] for line in lines]
    whole = pd.read_csv(out / "tables/metrics.csv")
    whole = whole[(whole["seed"] == -1) & whole["class"].isna()]
    assert len(rows) == len(whole) > 100
    for row, (_, numbers) in zip(rows, whole.iterrows(), strict=True):
        shown = [float(one) for one in re.findall(r"\d+\.\d", row[-2])]
        assert shown == [round(100 * float(numbers[name]), 1) for name in ("value", "low", "high")]
        assert row[0] == numbers["task"] and row[3] == numbers["codec"] and int(row[-1]) == numbers["n"]


def test_a_metric_that_is_no_share_is_printed_in_its_own_unit():
    rows = pd.DataFrame(
        [{"task": "cars", "value": 12.5, "saving": 0.5}, {"task": "digits", "value": 0.5, "saving": 0.5}]
    )
    of = {"value": "share", "saving": "share"}
    text = printed._printed(
        "x", "X", rows, ["task", "value", "saving"], of, {"cars": Metric("mae", "MAE", unit="cars")}
    )
    assert r"cars & 12.5 & 50.0 \\" in text and r"digits & 50.0 & 50.0 \\" in text
    assert r"task & value (\% or cars) & saving (\%) \\" in text


def test_figures_have_the_width_of_a_column_and_text_that_can_be_read(folder: Path, out: Path):
    for task in ("digits", "scenes"):
        for name, figure in printed.figures(Summary(folder / "summary" / task)).items():
            assert figure.get_figwidth() == (3.5 if name.endswith("single") else 7.0)
            written = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
            assert written and min(text.get_fontsize() for text in written) >= 7
    pdf = (out / "figures/headline_double.pdf").read_bytes()
    assert b"/MediaBox [ 0 0 504 " in pdf
    pdf = (out / "figures/digits_curves_single.pdf").read_bytes()
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf
    width = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+)", pdf)
    assert width and float(width[1]) == pytest.approx(3.5 * 72)
    assert (out / "figures/digits_attacks_double.svg").read_text().startswith("<?xml")


def test_the_same_study_gives_the_same_files(folder: Path, out: Path):
    command(folder, folder / "again")
    for path in (path for path in out.rglob("*") if path.is_file()):
        assert (folder / "again" / path.relative_to(out)).read_bytes() == path.read_bytes(), path


def test_a_folder_without_a_study_is_refused(tmp_path: Path):
    with pytest.raises(LossyBenchError, match="no results folder"):
        command(tmp_path)
    (tmp_path / "summary/digits").mkdir(parents=True)
    with pytest.raises(LossyBenchError, match="no task has a summary yet"):
        command(tmp_path)
    old = Synthetic("classification", "image", attacks=False).write(tmp_path / "summary/digits")
    table = read_table(old / "conditions.parquet")
    meta = {name: value for name, value in read_meta(old / "conditions.parquet").items() if name != "metrics"}
    write_table(old / "conditions.parquet", table.schema.remove_metadata(), table.to_pylist(), meta)
    with pytest.raises(LossyBenchError, match="was made by an older LossyBench"):
        command(tmp_path)


@pytest.mark.skipif(not (shutil.which("pdflatex") and shutil.which("bibtex")), reason="no TeX is installed")
def test_it_compiles(out: Path, tmp_path: Path):
    shutil.copytree(out, tmp_path, dirs_exist_ok=True)
    for program in ("pdflatex", "bibtex", "pdflatex", "pdflatex"):
        options = ["-interaction=nonstopmode", "-halt-on-error"] if program == "pdflatex" else []
        done = subprocess.run(
            [program, *options, "paper"], cwd=tmp_path, capture_output=True, text=True, errors="replace"
        )
        assert done.returncode == 0, done.stdout[-3000:]
    assert "undefined" not in done.stdout and (tmp_path / "paper.pdf").stat().st_size > 50_000
