"""Real Snakemake runs of the smoke study: what reruns, that results repeat, that a killed run recovers.

Which jobs ran is read from the files: a job that ran has replaced its outputs.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

ROOT = Path(__file__).parents[1]
RESULTS = Path("results/smoke")


def _snakemake(folder: Path, *arguments: str, check: bool = True, **more) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "snakemake", "--configfile", "config/smoke.yaml", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900, **more)
    if check and done.returncode:
        pytest.fail(f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}")
    return done


def _project(folder: Path) -> Path:
    """A working copy of the project, without results."""
    for name in ("Snakefile", "config.yaml", "config", "envs", "slurm", "src", "workflow"):
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / name)
    return folder


def _edit(folder: Path, change) -> None:
    path = folder / "config/smoke.yaml"
    config = yaml.safe_load(path.read_text())
    change(config)
    path.write_text(yaml.safe_dump(config, sort_keys=False))


def _artifacts(folder: Path) -> dict[str, int]:
    """Every artifact with the time it was written; logs and benchmarks left out."""
    root = folder / RESULTS
    files = (path for path in root.rglob("*") if path.is_file())
    names = {str(path.relative_to(root)): path.stat().st_mtime_ns for path in files}
    return {name: when for name, when in names.items() if not name.startswith(("logs/", "benchmarks/"))}


def _remade(before: dict[str, int], after: dict[str, int]) -> set[str]:
    return {name for name, when in after.items() if before.get(name) != when}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The smoke study, run once."""
    folder = _project(tmp_path_factory.mktemp("finished"))
    done = _snakemake(folder, "--cores", "2", "--scheduler", "greedy", "--verbose")
    (folder / "run.log").write_text(done.stdout + done.stderr)
    return folder


@pytest.fixture
def copy(finished, tmp_path):
    """A finished study of one's own, time stamps kept."""
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    return folder


def _rerun(folder: Path) -> set[str]:
    before = _artifacts(folder)
    _snakemake(folder, "--cores", "2", "--scheduler", "greedy")
    return _remade(before, _artifacts(folder))


def _match(names: set[str], *prefixes: str) -> set[str]:
    return {name for name in names if name.startswith(prefixes)}


def test_second_run_does_nothing(finished):
    before = _artifacts(finished)
    done = _snakemake(finished, "--cores", "2")
    assert "Nothing to be done" in done.stdout + done.stderr
    assert _artifacts(finished) == before


def test_each_job_takes_a_round_or_two_of_scheduling(finished):
    """Snakemake's limit of jobs a second, left alone, makes a round a second for each job that ever ended."""
    log = (finished / "run.log").read_text()
    assert 0 < log.count("Ready jobs:") <= 2 * log.count("Finished jobid:")


def test_nothing_is_missing_or_constant(finished):
    table = pq.read_table(finished / RESULTS / "summary/digits/metrics.parquet").to_pandas()
    assert table["value"].notna().all()
    overall = table[(table["metric"] == "accuracy") & (table["class"] == "") & (table["regime"] == "original")]
    assert set(overall["codec"]) == {"original", "jpeg", "hevc"}
    assert len(overall[overall["seed"] == 0]) == 5
    limits = pq.read_table(finished / RESULTS / "summary/digits/limits.parquet").to_pandas()
    original = limits[limits["regime"] == "original"]
    # With so few items even no disagreement at all leaves room for a loss of 5 points.
    assert set(original["verdict"]) == {"inconclusive"}


def test_lossless_condition_differs_from_the_reference_by_exactly_zero(finished):
    """The reference is predicted here from the data table itself, past the compress stage."""
    import torch

    from lossybench import artifacts, codecs, models
    from lossybench.models.inputs import prepare

    model, info = models.load(finished / RESULTS / "models/digits/resnet/original/0")
    lossless = codecs.get("original")
    rows = list(artifacts.iter_rows(finished / RESULTS / "data/digits.parquet", splits=["test"]))
    media = [prepare(lossless.decode(row["media"], tuple(row["shape"]), row["rate"]), info) for row in rows]
    with torch.inference_mode():
        predicted = [int(model(torch.from_numpy(one)[None]).argmax()) for one in media]
    outcomes = artifacts.read_table(
        finished / RESULTS / "outcomes/digits/resnet/original/0/original.parquet"
    ).to_pydict()
    assert outcomes["id"] == [row["id"] for row in rows]
    assert outcomes["prediction"] == predicted
    differences = pq.read_table(finished / RESULTS / "summary/digits/differences.parquet").to_pandas()
    lossless_rows = differences[differences["codec"] == "original"]
    assert len(lossless_rows) and (lossless_rows[["difference", "low", "high", "lower", "upper"]] == 0).all(axis=None)


def test_new_level_reruns_its_branch_only(copy):
    _edit(copy, lambda config: config["tasks"]["digits"]["codecs"].update(jpeg=[50, 20, 5]))
    remade = _rerun(copy)
    assert _match(remade, "compressed/") == {f"compressed/digits/jpeg/20/{part}.parquet" for part in ("train", "test")}
    assert {Path(name).parent.as_posix() for name in _match(remade, "models/")} == {
        "models/digits/resnet/mixed/0",  # it draws from all JPEG levels
        "models/digits/resnet/matched_jpeg_20/0",
    }
    assert not _match(remade, "outcomes/digits/resnet/original/0/hevc", "outcomes/digits/resnet/original/0/original")
    assert "outcomes/digits/resnet/original/0/jpeg.parquet" in remade
    # Attacks on the model of originals run again as well: it meets items made on the mixed one (T1).
    assert not _match(remade, "data/")
    assert not [name for name in remade if "/words/" in name or "/motion/" in name]
    assert "summary/digits/limits.parquet" in remade


def test_edited_codec_reruns_its_branch_only(copy):
    source = copy / "src/lossybench/codecs/mp3.py"
    source.write_text(source.read_text() + "\n# A comment reruns nothing.\n")
    done = _snakemake(copy, "--cores", "2", "-n")
    assert "Nothing to be done" in done.stdout + done.stderr
    source.write_text(source.read_text() + "\nEDITED = True\n")
    remade = _rerun(copy)
    assert _match(remade, "compressed/") == {f"compressed/words/mp3/{level}/test.parquet" for level in (64, 8)}
    assert _match(remade, "outcomes/") == {"outcomes/words/logmel_cnn/original/0/mp3.parquet"}
    assert _match(remade, "attacks/") == {"attacks/words/logmel_cnn/original/0/mp3.parquet"}
    assert not _match(remade, "data/", "models/")
    assert {name.split("/")[1] for name in _match(remade, "summary/", "figures/")} == {"words"}


def test_delta_reruns_analysis_only(copy):
    _edit(copy, lambda config: config.update(deltas=[1, 2, 10]))
    remade = _rerun(copy)
    assert "summary/digits/limits.parquet" in remade
    assert {name.split("/")[0] for name in remade} <= {
        "summary",
        "figures",
        "recommendations.md",
        "limits.html",
        "attacks.html",
    }


def test_results_do_not_depend_on_the_number_of_cores(finished, tmp_path):
    other = _project(tmp_path)
    _snakemake(other, "--cores", "1", "--scheduler", "greedy")
    _assert_same_results(finished, other)


def _assert_same_results(one: Path, other: Path) -> None:
    names = set(_artifacts(one))
    assert names == set(_artifacts(other))
    for name in sorted(names):
        first, second = one / RESULTS / name, other / RESULTS / name
        if name.startswith(("data/", "compressed/", "models/")) and not name.endswith("json"):
            assert first.read_bytes() == second.read_bytes(), name
        elif name.endswith(".parquet"):
            assert pq.read_table(first).equals(pq.read_table(second)), name


def test_killed_run_recovers(finished, tmp_path):
    """SIGKILL of Snakemake and all its children half-way; the next run ends with the same results."""
    folder = _project(tmp_path)
    command = [sys.executable, "-m", "snakemake", "--configfile", "config/smoke.yaml", "--cores", "2"]
    victim = subprocess.Popen(
        command, cwd=folder, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while not list((folder / RESULTS).rglob("outcomes/*/*/*/*/*.parquet")):
        assert victim.poll() is None and time.monotonic() < deadline, "the run ended before it could be killed"
        time.sleep(0.2)
    os.killpg(victim.pid, signal.SIGKILL)
    victim.wait()
    made = {name for name in _artifacts(folder) if ".part" not in name}
    assert made and made < set(_artifacts(finished))
    _snakemake(folder, "--unlock")
    _snakemake(folder, "--cores", "2", "--rerun-incomplete", "--scheduler", "greedy")
    _assert_same_results(finished, folder)
    assert not list((folder / RESULTS).rglob("*.part*"))


def test_config_error_is_one_clear_message(tmp_path):
    folder = _project(tmp_path)
    _edit(folder, lambda config: config["tasks"]["digits"]["codecs"].update(jepg=[50]))
    done = _snakemake(folder, "-n", check=False)
    text = done.stdout + done.stderr
    assert done.returncode == 1
    assert "tasks.digits.codecs.jepg: unknown codec 'jepg'; did you mean 'jpeg'?" in text
    assert "Traceback" not in text


def test_slurm_profile_parses(tmp_path):
    folder = _project(tmp_path)
    done = _snakemake(folder, "--cores", "8", "--profile", "slurm", "-n", "--quiet")
    assert done.returncode == 0


@pytest.mark.parametrize("target", ["branch_jpeg", "results/smoke/compressed/digits/jpeg/5/test.parquet"])
def test_targets(tmp_path, target):
    done = _snakemake(_project(tmp_path), "--cores", "2", "-n", target)
    text = done.stdout + done.stderr
    assert "compress" in text and "mp3" not in text


def test_plan_counts_the_jobs_of_the_dry_run(tmp_path):
    folder = _project(tmp_path)
    _edit(folder, lambda config: config["tasks"]["digits"]["regimes"].update(adversarial={"epsilon": "8/255"}))
    _edit(folder, lambda config: config["tasks"]["digits"]["attack"].update(regimes=["original", "adversarial"]))
    _assert_planned(_snakemake(folder, "--cores", "2", "-n", "--quiet", "rules"), folder / "config/smoke.yaml")


@pytest.mark.parametrize("config", ["config.yaml", "config/full.yaml"])
def test_plan_counts_the_jobs_of_shipped_studies(tmp_path, config):
    """On a cluster too, where jobs that travel together are counted one by one."""
    command = [sys.executable, "-m", "snakemake", "--configfile", config, "-n", "--quiet", "rules"]
    command += ["--cores", "8", "--profile", "slurm", "--directory", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    _assert_planned(done, ROOT / config)


def _assert_planned(done: subprocess.CompletedProcess, config: Path) -> None:
    """The dry run counted the jobs that the plan does."""
    from lossybench import study
    from lossybench.tools import plan

    counted = dict(line.split() for line in (done.stdout + done.stderr).splitlines() if len(line.split()) == 2)
    expected = {rule: n for rule, n in plan.jobs(study.load(config)).items() if n}
    assert {rule: int(counted[rule]) for rule in expected} == expected
    assert int(counted["total"]) == sum(expected.values())


def test_report_is_one_offline_page(finished):
    _snakemake(finished, "--report", "report.html")
    text = (finished / "report.html").read_text()
    for figure in ("limits", "rate_accuracy", "contact_sheet"):
        assert re.search(rf"data:image/png;[^,]*filename={figure}\.png;base64,", text)
    assert not re.search(r'(src|href)="https?://', text)


def test_rules_keep_logs_and_benchmarks(finished):
    for stage in ("fetch", "compress", "train", "evaluate", "attack", "aggregate"):
        assert list((finished / RESULTS / "logs" / stage).rglob("*.log"))
        assert list((finished / RESULTS / "benchmarks" / stage).rglob("*.tsv"))
