"""Real Snakemake runs of the small study: what reruns, that results repeat, that a killed run recovers.

Which jobs ran is read from the files: a job that ran has replaced its outputs.
"""

import json
import os
import re
import signal
import string
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import small_study
import yaml
from small_study import LEVEL, LEVEL_TEXT, RESULTS, ROOT

from lossybench import artifacts, conditions, study
from lossybench.tools import plan


def _edit(folder: Path, change) -> None:
    path = folder / small_study.CONFIG
    config = yaml.safe_load(path.read_text())
    change(config)
    path.write_text(yaml.safe_dump(config, sort_keys=False))


# Logs, and what jobs share while a run lasts.
APART = ("logs/", "benchmarks/", ".decoded/", ".cores/")


def _artifacts(folder: Path) -> dict[str, int]:
    """Every artifact with the time it was written; what is `APART` left out."""
    root = folder / RESULTS
    files = (path for path in root.rglob("*") if path.is_file())
    names = {str(path.relative_to(root)): path.stat().st_mtime_ns for path in files}
    return {name: when for name, when in names.items() if not name.startswith(APART)}


def _remade(before: dict[str, int], after: dict[str, int]) -> set[str]:
    return {name for name, when in after.items() if before.get(name) != when}


@pytest.fixture
def copy(finished, tmp_path):
    """A finished study of one's own, time stamps kept."""
    return small_study.copied(finished, tmp_path / "copy")


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def _rerun(folder: Path) -> set[str]:
    before = _artifacts(folder)
    small_study.run(folder, "--cores", "2", "--scheduler", "greedy")
    return _remade(before, _artifacts(folder))


def _match(names: set[str], *prefixes: str) -> set[str]:
    return {name for name in names if name.startswith(prefixes)}


def test_second_run_does_nothing(finished):
    before = _artifacts(finished)
    assert "Nothing to be done" in small_study.run(finished, "--cores", "2")
    assert _artifacts(finished) == before


def test_models_share_decoded_media_until_the_run_ends(finished):
    said = [log.read_text() for log in (finished / RESULTS / "logs/train/digits").rglob("*.log")]
    found = [int(re.search(r"decoded media: (\d+) found in", one)[1]) for one in said]
    # The models of digits share the originals, whichever is trained first.
    assert len(found) > 2 and sum(one > 0 for one in found) > len(found) / 2
    assert not (finished / RESULTS / ".decoded").exists()


def test_each_job_takes_a_round_or_two_of_scheduling(finished):
    """Snakemake's limit of jobs a second, left alone, makes a round a second for each job that ever ended."""
    log = (finished / "run.log").read_text()
    assert 0 < log.count("Ready jobs:") <= 2 * log.count("Finished jobid:")


def test_no_name_was_taken_for_a_command(finished):
    here = {path.name for path in finished.iterdir() if path.name[0] != "."}
    parts = {"Snakefile", "config.yaml", "envs", "slurm", "src", "workflow"}
    assert here - {"report.html"} == parts | {small_study.CONFIG, "run.log", "results"}


def test_every_placeholder_of_a_command_is_quoted():
    """What the other rules are run with here, every rule's text has: a path is one word, whatever its characters."""
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        text = path.read_text()
        # The words of a command stand in its rule, or in a constant that rules share.
        blocks = re.findall(r"^(?: *shell:|[A-Z]+ = \()\n((?: *[rf]*\".*\n)+)", text, re.M)
        assert len(blocks) == len(set(re.findall(r"^ *shell:\n *(.*)", text, re.M))), path
        for block in blocks:
            found = [(name, how) for _, name, how, _ in string.Formatter().parse(block) if name]
            assert ("log", "q") in found, path
            assert [name for name, how in found if how != "q"] in ([], ["threads"]), path


@pytest.mark.parametrize(
    "target",
    [
        "data/nosuch.parquet",
        "compressed/digits/mp3/64/test.parquet",  # another task's codec
        "outcomes/digits/resnet/original/7/jpeg.parquet",
        "models/words/resnet/original/0/model.json",  # another task's architecture
    ],
)
def test_a_target_that_the_study_lacks_is_told_in_one_line(tmp_path, target):
    text = small_study.run(
        small_study.project(tmp_path), "-n", "--quiet", "all", "--", f"{RESULTS}/{target}", check=False
    )
    assert f"No rule to produce {RESULTS}/{target} " in text and "Traceback" not in text


def test_a_config_that_snakemake_takes_is_read_strictly_too(tmp_path):
    folder = small_study.project(tmp_path)
    with (folder / small_study.CONFIG).open("a") as file:
        file.write("seed: 1\n")
    text = small_study.run(folder, "-n", check=False)
    assert "the key 'seed' is there already, in line 2; keep one of them" in text and "Traceback" not in text


def test_defences_are_attacked_and_reported_but_nothing_is_compressed_for_them(finished):
    results = finished / RESULTS
    attacks = pq.read_table(results / "summary/words/attacks.parquet").to_pandas()
    titles = {"drawn": "MP3 64 kb/s, 8 kb/s or Opus 6 kb/s, drawn for each query"}
    titles["in_a_row"] = "MP3 32 kb/s, then Opus 6 kb/s"
    for name, title in titles.items():
        behind = attacks[(attacks["codec"] == name) & (attacks["attack"] == "worst")]
        assert {"T0", "all"} == set(behind["tier"]) and behind["gain"].notna().any()
        assert title in (results / "index.html").read_text()
        assert title in (results / "recommendations.md").read_text()
    assert not {"drawn", "in_a_row"} & {path.name for path in (results / "compressed/words").iterdir()}


def test_nothing_is_missing_or_constant(finished):
    table = pq.read_table(finished / RESULTS / "summary/digits/metrics.parquet").to_pandas()
    assert table["value"].notna().all()
    overall = table[(table["metric"] == "accuracy") & (table["class"] == "") & (table["regime"] == "original")]
    assert set(overall["codec"]) == {"original", "jpeg", "hevc"}
    assert len(overall[overall["seed"] == 0]) == 5
    limits = pq.read_table(finished / RESULTS / "summary/digits/limits.parquet").to_pandas()
    original = limits[limits["regime"] == "original"]
    # The model has hardly learned, and 40 items cannot show the little that it may know.
    assert set(original["verdict"]) == {"no reference"}
    assert (original["above_chance"] <= 0.01).all() and (original["chance"] == 0.1).all()
    assert "no reference" in (finished / RESULTS / "recommendations.md").read_text()


def test_a_level_of_many_digits_stays_the_same_in_every_stage(finished):
    root, model = finished / RESULTS, "motion/frame_tcn"
    matched = f"{model}/matched_jpeg2000_{LEVEL_TEXT}/0"
    assert conditions.level_text(LEVEL) == LEVEL_TEXT
    for part in ("train", "test"):
        compressed = root / f"compressed/motion/jpeg2000/{LEVEL_TEXT}/{part}.parquet"
        assert artifacts.read_meta(compressed)["level"] == LEVEL
    assert (root / f"models/{matched}/weights.safetensors").exists()

    def levels(name, column="level", **where):
        table = pq.read_table(root / f"{name}.parquet").to_pandas()
        for key, value in where.items():
            table = table[table[key] == value]
        return set(table[column].dropna())

    for tested in (f"{model}/original/0", matched):
        assert levels(f"outcomes/{tested}/jpeg2000") == {LEVEL, 60}
    assert levels(f"attacks/{model}/original/0/jpeg2000") == {LEVEL}
    for table in ("conditions", "metrics", "differences", "verdicts"):
        assert levels(f"summary/motion/{table}", codec="jpeg2000") == {LEVEL, 60}
    assert levels("summary/motion/attacks", codec="jpeg2000") == {LEVEL}
    assert levels("summary/motion/transfer", "train_level") == {LEVEL}
    assert levels("summary/motion/transfer", "test_level", train="matched") == {LEVEL, 60}
    # Matplotlib notes in an SVG the text that it draws as outlines.
    drawn = [f"figures/motion/{figure}.svg" for figure in ("attacks", "attack_curves", "metrics", "transfer")]
    for page in (*drawn, "index.html", "recommendations.md"):
        assert LEVEL_TEXT in (root / page).read_text(), page


def test_lossless_condition_differs_from_the_reference_by_exactly_zero(finished):
    """The reference is predicted here from the data table itself, past the compress stage."""
    import torch

    from lossybench import codecs, models
    from lossybench.models.inputs import prepare

    model, info = models.load(finished / RESULTS / "models/digits/resnet/original/0")
    lossless = codecs.get("original")
    rows = list(artifacts.iter_rows(finished / RESULTS / "data/digits.parquet", splits=["test"]))
    media = [prepare(lossless.decode(row["media"], tuple(row["shape"]), row["sampling_rate"]), info) for row in rows]
    with torch.inference_mode():
        predicted = [int(model(torch.from_numpy(one)[None]).argmax()) for one in media]
    outcomes = artifacts.read_table(
        finished / RESULTS / "outcomes/digits/resnet/original/0/original.parquet"
    ).to_pydict()
    assert outcomes["id"] == [row["id"] for row in rows]
    assert outcomes["prediction"] == predicted
    differences = pq.read_table(finished / RESULTS / "summary/digits/differences.parquet").to_pandas()
    lossless_rows = differences[(differences["codec"] == "original") & (differences["baseline"] == "own")]
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


def test_a_variant_added_reruns_its_own_branch_alone_and_a_title_the_analysis(copy):
    added = {
        "jpeg444": {"codec": "jpeg", "options": {"chroma": "444"}, "levels": [50]},
        "small": {"codec": "jpeg", "parameter": "bytes", "levels": [1500]},
        "camera": {"chain": [{"noise": 4}, {"jpeg444": 90}, {"jpeg": "LEVEL"}], "levels": [50]},
    }
    _edit(copy, lambda config: config["tasks"]["digits"]["codecs"].update(added))
    remade = _rerun(copy)
    assert _match(remade, "compressed/") == {
        f"compressed/digits/{name}/{of['levels'][0]}/test.parquet" for name, of in added.items()
    }
    models = ("resnet/original/0", "resnet/mixed/0")  # a matched one is tested on its own codec
    assert _match(remade, "outcomes/") == {
        f"outcomes/digits/{model}/{name}.parquet" for model in models for name in added
    }
    assert not _match(remade, "models/", "attacks/", "data/", "summary/words", "summary/motion")
    root = copy / RESULTS
    conditions_ = pq.read_table(root / "summary/digits/conditions.parquet").to_pandas().set_index("codec")
    titles = {"jpeg444": "JPEG 4:4:4", "small": "JPEG to a size", "camera": "noise σ 4, JPEG 4:4:4 QF 90, JPEG"}
    assert (
        conditions_["title"][list(titles)].to_dict() == titles and (root / "figures/digits/contact_sheet.png").exists()
    )
    table = pq.read_table(root / "compressed/digits/small/1500/test.parquet").to_pandas()
    assert ((table["payload_bits"] + table["overhead_bits"]) <= 8 * 1500).all()
    _edit(copy, lambda config: config["tasks"]["digits"]["codecs"]["jpeg444"].update(title="Full chroma"))
    remade = _rerun(copy)
    assert "Full chroma" in (root / "recommendations.md").read_text()
    assert not _match(remade, "compressed/", "outcomes/", "models/", "attacks/", "data/", "preflight/")


def test_a_model_added_or_retrained_makes_its_own_outcomes_alone(copy):
    """One job a codec asks all models, and leaves the outcomes of the others as they are, with their times."""
    for epochs in (1, 2):
        added = {"patch_transformer": {"epochs": epochs}}
        _edit(copy, lambda config, added=added: config["tasks"]["digits"]["models"].update(added))
        before = _artifacts(copy)
        loaded = study.Study(yaml.safe_load((copy / small_study.CONFIG).read_text()))
        lacking = [path for path in loaded.all_outcomes("digits") if not (copy / path).exists()]
        asked = map(str, [*lacking, *loaded.all_evaluated("digits")])
        said = small_study.run(copy, "--cores", "2", "--scheduler", "greedy", "--", *asked)
        tested = set(re.findall(r"Testing the models of digits on (\w+)", said))
        assert tested == {"original", "jpeg", "hevc"}
        remade = _remade(before, _artifacts(copy))
        assert {tuple(name.split("/")[2:4]) for name in _match(remade, "outcomes/")} == {
            ("patch_transformer", "original"),
            ("patch_transformer", "mixed"),
        }
        assert not _match(remade, "compressed/", "data/")


def test_edited_codec_reruns_its_branch_only(copy):
    source = copy / "src/lossybench/codecs/mp3.py"
    source.write_text(source.read_text() + "\n# A comment reruns nothing.\n")
    # Nor does a mended text of an error, though every stage imports the module.
    _replace(copy / "src/lossybench/artifacts.py", "no such artifact", "there is no such artifact")
    _replace(copy / "src/lossybench/errors.py", "did you mean", "is it perhaps")
    # Nor does the room for decoded media.
    _edit(copy, lambda config: config.update(decoded=0))
    assert "Nothing to be done" in small_study.run(copy, "--cores", "2", "-n")
    source.write_text(source.read_text() + "\nEDITED = True\n")
    remade = _rerun(copy)
    assert _match(remade, "compressed/") == {f"compressed/words/mp3/{level}/test.parquet" for level in (64, 8)}
    assert _match(remade, "outcomes/") == {"outcomes/words/logmel_cnn/original/0/mp3.parquet"}
    # Its attacks, and those on the defences that it is a part of.
    own = {f"attacks/words/logmel_cnn/original/0/{name}.parquet" for name in ("mp3", "drawn", "in_a_row")}
    assert _match(remade, "attacks/") == own
    assert not _match(remade, "data/", "models/")
    assert {name.split("/")[1] for name in _match(remade, "summary/", "figures/")} == {"words"}


def test_fidelity_makes_test_items_anew_and_no_model(copy):
    source = copy / "src/lossybench/measures/vmaf.py"
    source.write_text(source.read_text() + "\nEDITED = True\n")  # which this study does not ask for
    assert "Nothing to be done" in small_study.run(copy, "--cores", "2", "-n")
    _edit(copy, lambda config: config["tasks"]["digits"].update(fidelity="full"))
    planned = set(re.findall(r"^(\w+) +\d+$", small_study.run(copy, "--cores", "2", "-n"), re.MULTILINE))
    compressed = {name for name in planned if name.startswith("compress")}
    assert compressed == {f"compress_digits_{codec}_test" for codec in ("original", "jpeg", "hevc")}
    assert not any(name.startswith(("fetch", "train", "preflight")) for name in planned) and "aggregate" in planned


def test_edited_argument_of_a_stage_reruns_that_stage_and_what_follows(copy):
    _replace(copy / "src/lossybench/stages/evaluate.py", "threads: int = 1", "threads: int = 2")
    text = small_study.run(copy, "--cores", "2", "-n")
    changed = text[text.index("params have changed") :].split(":\n")[1].splitlines()[0]
    assert {name.split("_")[0] for name in changed.strip().split(", ")} == {"evaluate"}
    planned = dict(re.findall(r"^(\w+) +(\d+)$", text, re.M))
    stages = {name.split("_")[0] for name in planned}
    assert stages == {"evaluate", "aggregate", "figures", "frontier", "page", "recommend", "costs", "all", "total"}
    assert len([name for name in planned if name.startswith("evaluate")]) == 9 and planned["aggregate"] == "3"


def test_a_price_makes_the_page_and_the_costs_alone(copy):
    _edit(copy, lambda config: config.update(prices={"storage": 0.5, "currency": "EUR"}))
    remade = _rerun(copy)
    assert remade == {"index.html", "costs.csv"}
    assert "EUR 0.5 a gigabyte" in (copy / RESULTS / "index.html").read_text()
    # Touching runs no job, and what is told of the last run stays.
    told = (copy / RESULTS / "logs/run.json").read_bytes()
    assert "Nothing to be done" not in small_study.run(copy, "--cores", "1", "--touch", "--forcerun", "page")
    assert (copy / RESULTS / "logs/run.json").read_bytes() == told


def test_delta_and_what_rates_are_of_rerun_the_analysis_only(copy):
    _edit(copy, lambda config: config.update(deltas=[1, 2, 10], rate="coded"))
    remade = _rerun(copy)
    assert "summary/digits/limits.parquet" in remade
    rates = pq.read_table(copy / RESULTS / "summary/digits/conditions.parquet").to_pandas()
    assert (rates["rate"] == rates["coded_rate"]).all() and (rates["rate"] < rates["file_rate"]).all()
    assert {name.split("/")[0] for name in remade} <= {
        "summary",
        "figures",
        "recommendations.md",
        "index.html",
        "costs.csv",
    }


@pytest.fixture(scope="module")
def resumed(finished, tmp_path_factory):
    """The study on one core, killed half-way by SIGKILL with its jobs, then run again.

    The folder, and the artifacts as they were when it was killed.
    """
    folder = small_study.project(tmp_path_factory.mktemp("resumed"))

    def begun(study: Path) -> int:
        return sum(1 for _ in (study / RESULTS / "logs").rglob("*.log"))

    one_core = ("--cores", "1", "--scheduler", "greedy")
    victim = subprocess.Popen(
        small_study.command(*one_core),
        cwd=folder,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 600
    while begun(folder) < begun(finished) / 2:
        assert victim.poll() is None and time.monotonic() < deadline, "the run ended before it could be killed"
        time.sleep(0.2)
    os.killpg(victim.pid, signal.SIGKILL)
    victim.wait()
    killed = {name: when for name, when in _artifacts(folder).items() if ".part" not in name}
    small_study.run(folder, "--unlock")
    said = small_study.run(folder, *one_core, "--rerun-incomplete")
    assert "Provided cores: 1 " in said
    return folder, killed


def test_results_do_not_depend_on_the_number_of_cores(finished, resumed):
    assert "Provided cores: 2" in (finished / "run.log").read_text()
    _assert_same_results(finished, resumed[0])


def _untimed(page: str) -> str:
    """A page without what its tables say of time, and of what time costs."""
    start = page.index(">", page.index('<script type="application/json"')) + 1
    end = page.index("</script>", start)
    data = json.loads(page[start:end])
    for task in data["tasks"]:
        for table, of_time in (("conditions", ("encode", "decode")), ("costs", ("cpu", "total"))):
            for column in [name for name in task.get(table, {}) if name.startswith(of_time)]:
                task[table].pop(column)
    return page[:start] + json.dumps(data) + page[end:]


def _assert_same_results(one: Path, other: Path) -> None:
    """Data, bitstreams, models, figures and pages are the same byte for byte, other tables row for row."""
    names = set(_artifacts(one))
    assert names == set(_artifacts(other))
    # How long something takes is never the same.
    timed = ("timings/", "costs.")
    for name in sorted(name for name in names if not name.startswith(timed) and "/frontier." not in name):
        first, second = one / RESULTS / name, other / RESULTS / name
        exact = name.startswith(("data/", "compressed/", "models/")) and not name.endswith("json")
        if name == "index.html":
            differ = _untimed(first.read_text()) != _untimed(second.read_text())  # not compared by pytest, line by line
            assert not differ, name
        elif exact or name.endswith((".png", ".svg", ".md")):
            differ = first.read_bytes() != second.read_bytes()
            assert not differ, name
        elif name.endswith(".parquet"):
            assert pq.read_table(first).equals(pq.read_table(second)), name


def test_killed_run_recovers(finished, resumed):
    """SIGKILL of Snakemake and all its children half-way; the next run makes what is missing, and once."""
    folder, killed = resumed
    assert killed and set(killed) < set(_artifacts(finished))
    _assert_same_results(finished, folder)
    assert not list((folder / RESULTS).rglob("*.part*"))
    after = _artifacts(folder)
    again = {Path(name).parent for name, when in killed.items() if after[name] != when}
    assert len(again) <= 1  # of the job that was at work


def test_config_error_is_one_clear_message(tmp_path):
    folder = small_study.project(tmp_path)
    _edit(folder, lambda config: config["tasks"]["digits"]["codecs"].update(jepg=[50]))
    text = small_study.run(folder, "-n", check=False)
    assert "tasks.digits.codecs.jepg: unknown codec 'jepg'; did you mean 'jpeg'?" in text
    assert "Traceback" not in text


def test_targets(tmp_path):
    """A codec's branch, and a file outside of it."""
    file = f"{RESULTS}/compressed/motion/jpeg2000/{LEVEL_TEXT}/test.parquet"
    text = small_study.run(small_study.project(tmp_path), "--cores", "2", "-n", "branch_jpeg", file)
    made = {name for names in re.findall("Missing output files: ([^;\n]+)", text) for name in names.split(", ")}
    assert file in made and f"{RESULTS}/compressed/digits/jpeg/5/test.parquet" in made
    assert f"{RESULTS}/attacks/digits/resnet/original/0/jpeg.parquet" in made
    assert "mp3" not in text and "/h264/" not in text


def test_plan_counts_the_jobs_of_a_run(finished):
    _assert_planned((finished / "run.log").read_text(), finished / small_study.CONFIG)


def test_plan_counts_the_jobs_of_the_dry_run(tmp_path):
    """On a cluster too, where jobs that travel together are counted one by one."""
    folder = small_study.project(tmp_path)
    _edit(folder, lambda config: config["tasks"]["digits"]["regimes"].update(adversarial={"epsilon": "8/255"}))
    _edit(folder, lambda config: config["tasks"]["digits"]["attack"].update(regimes=["original", "adversarial"]))
    said = small_study.run(folder, "--cores", "8", "--profile", "slurm", "-n", "--quiet", "rules")
    _assert_planned(said, folder / small_study.CONFIG)


@pytest.mark.parametrize("config", ["config.yaml", "config/full.yaml", "config/smoke.yaml"])
def test_plan_counts_the_jobs_of_shipped_studies(tmp_path, config):
    command = [sys.executable, "-m", "snakemake", "--configfile", config, "-n", "--quiet", "rules"]
    command += ["--cores", "8", "--profile", "slurm", "--directory", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    _assert_planned(done.stdout + done.stderr, ROOT / config)


def _assert_planned(said: str, config: Path) -> None:
    """Snakemake counted the jobs that the plan does."""
    counted = dict(re.findall(r"^(\w+) +(\d+)$", said, re.M))
    expected = {rule: n for rule, n in plan.jobs(study.load(config)).items() if n}
    assert {rule: int(counted[rule]) for rule in expected} == expected
    assert int(counted["total"]) == sum(expected.values())


def test_report_is_one_offline_page(finished):
    small_study.run(finished, "--report", "report.html")
    text = (finished / "report.html").read_text()
    for figure in ("limits", "rate_accuracy", "contact_sheet", "frontier"):
        assert re.search(rf"data:image/png;[^,]*filename={figure}\.png;base64,", text)
    assert "file as it lies on disk" in text  # what rates are of
    assert "2. The last run: its DAG" in text and re.search(r"data:text/html;[^,]*filename=dag\.html;base64,", text)
    assert not re.search(r'(src|href)="https?://', text)


def test_rules_keep_logs_and_benchmarks(finished):
    for stage in ("fetch", "compress", "train", "evaluate", "attack", "aggregate"):
        assert list((finished / RESULTS / "logs" / stage).rglob("*.log"))
        assert list((finished / RESULTS / "benchmarks" / stage).rglob("*.tsv"))
