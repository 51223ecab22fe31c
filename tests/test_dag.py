"""The page on a run: what it says of jobs whose fate is known from the files that they left."""

from __future__ import annotations

import html
import os
import re
from pathlib import Path

import pytest

from lossybench import runs
from lossybench.errors import LossyBenchError
from lossybench.reporting import dag
from lossybench.tools import listings

BEGUN = 1_800_000_000.0


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A run of ten jobs: two were used again, five ran, one failed, two were not reached."""
    jobs, links = [], []

    def job(
        stage: str, task: str, codec: str, why: dict[str, str], took: float | None, log: str | None = None, **of: int
    ):
        name = "/".join(filter(None, [stage, task, codec]))
        made = runs.Job(len(jobs), name, stage, task, codec, f"logs/{name}.log", f"benchmarks/{name}.tsv", 1.0, why)
        jobs.append(made)
        links.extend((before, made.id) for before in of.values())
        for path, text in ((made.log, log), (made.benchmark, took and f"s\th:m:s\n{took}\t0:00:01\n")):
            if text is not None:
                (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / path).write_text(text)
                os.utime(tmp_path / path, (BEGUN + 60, BEGUN + 60 if why else BEGUN - 60))
        return made.id

    fetched = job("fetch", "digits", "", {}, 7.0)
    other = job("fetch", "<b>", "", {}, 5.0)
    missing, anew = {"missing_output": "a.parquet"}, {"updated_input_run": "x"}
    first = job(
        "compress", "digits", "jpeg", {"code": "", "params_changed": "before: <i>; now: 2"}, 40.0, "", on=fetched
    )
    second = job("compress", "digits", "webp", missing, 20.5, "", on=fetched)
    job("compress", "<b>", "jpeg", missing, 9.5, "", on=other)
    job("evaluate", "digits", "jpeg", anew, 3.0, "", on=first)
    third = job("evaluate", "digits", "webp", anew, None, "trace\nlossybench: error: <script>no\x1b[31m", on=second)
    job("timing", "digits", "jpeg", missing, 2.0, "", on=fetched)
    last = job("aggregate", "digits", "", anew, None, on=third)
    job("report", "", "", anew, None, on=last)
    runs.Run(tmp_path, BEGUN, 2, jobs, links).write(tmp_path / "logs/run.json")
    return tmp_path


def test_the_page_says_what_became_of_each_job_and_why(results: Path):
    page = Path(listings.dag(results)).read_text()
    assert "<script" not in page and "<i>" not in page and "<b>:" not in page  # names are shown, and not obeyed
    text = " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())
    assert "Of 10 jobs, 5 ran and 2 were used again. 1 did not finish. 2 were not reached." in text
    assert "did not finish.</b> <b>2 were not reached.</b> The run began" in " ".join(page.split())
    assert (
        "began at 2027-01-15 08:00:00 UTC on 2 cores, and its last job ended 60 s later; together its jobs took 75 s"
        in text
    )
    why = re.findall(r"<tr><td>([a-z ]+)</td><td>(\d+)</td><td>(.*?)</td></tr>", page)
    assert why == [
        ("its output was missing", "3", "compress 2, timing 1"),
        ("the code behind it changed", "1", "compress 1"),
        ("what it reads was made anew", "4", "evaluate 2, aggregate 1, report 1"),
    ]
    assert "evaluate/digits/webp did not finish: lossybench: error: <script>no\\x1b[31m" in text
    assert re.search(
        r"compress/digits/jpeg ran 40 s the code behind it changed; what it was asked to do changed \(", text
    )
    by_stage = re.findall(
        r"<tr><td>(\w+)</td><td>(\d+)</td><td>(\d+)</td><td>(\d+)</td><td>(\d+)</td>\s*<td>(.*?)</td>", page
    )
    assert {stage: (*map(int, counts), took) for stage, *counts, took in by_stage} == {
        "fetch": (0, 2, 0, 0, ""),
        "compress": (3, 0, 0, 0, "70 s"),
        "timing": (1, 0, 0, 0, "2.0 s"),
        "evaluate": (1, 0, 1, 0, "3.0 s"),
        "aggregate": (0, 0, 0, 1, ""),
        "report": (0, 0, 0, 1, ""),
    }


def test_the_graph_has_a_node_for_each_stage_and_codec_and_a_link_where_any_job_has(results: Path):
    run = runs.read(results, results / "logs/run.json")
    state = {job.id: dag.state_of(run, job) for job in run.jobs}
    drawing = dag._drawing(run, run.jobs, state)
    nodes = {(stage, codec): (counted.states.total(), look) for stage, codec, _, _, counted, look in drawing["nodes"]}
    assert nodes[("compress", "jpeg")] == (2, "ran") and nodes[("evaluate", "webp")] == (1, "did not finish")
    assert nodes[("fetch", "")] == (2, "used again") and nodes[("report", "")] == (1, "not reached")
    assert len(nodes) == 8 and len(drawing["links"]) == 7  # fetch to compress twice and timing, and so on
    assert drawing["stages"][0][0] == "fetch"
    places = {(x, y) for _, _, x, y, *_ in drawing["nodes"]}
    assert len(places) == len(nodes)


def test_what_was_made_together_is_counted_once(results: Path):
    """The levels of a codec have a job each once they are there, but one job made and measured them together."""
    run = runs.read(results, results / "logs/run.json")
    (results / "benchmarks/compress/digits/jpeg").mkdir()
    (results / "benchmarks/compress/digits/jpeg/test.tsv").write_text("s\n12.5\n")
    place = "benchmarks/compress/digits/jpeg"
    of = ("compress", "digits", "jpeg", "")
    levels = [runs.Job(level, f"compress/{level}", *of, f"{place}/{level}/test.tsv", 1.0, {}) for level in (5, 50)]
    counted = dag._counted(run, levels, dict.fromkeys((5, 50), dag.AGAIN))
    assert counted.earlier == 12.5 and counted.states[dag.AGAIN] == 2


def test_a_folder_without_a_run_is_refused(tmp_path: Path):
    with pytest.raises(LossyBenchError, match="no run is recorded here"):
        listings.dag(tmp_path)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/run.json").write_text("[]")
    with pytest.raises(LossyBenchError, match="is not as a run writes it"):
        listings.dag(tmp_path)
