"""The aggregate stage on synthetic outcomes whose answers are known."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lossybench import kinds
from lossybench.analysis import tables
from lossybench.analysis.outcomes import read_task
from lossybench.artifacts import COMPRESSED, SAVINGS, extended, read_meta, read_table, units, write_table
from lossybench.errors import LossyBenchError
from lossybench.reporting import figures, recommendations
from lossybench.reporting.summary import Summary
from lossybench.stages.aggregate import aggregate

LEVELS = {"original": [0.0], "jpeg": [10.0, 50.0, 90.0]}
SETTINGS = {"deltas": [1, 2, 5], "bootstrap": 200, "seed": 0, "rate": "file"}


class Study:
    """Writes the inputs of `aggregate`; `wrong` says which share of items each condition gets wrong."""

    def __init__(
        self, folder: Path, n: int = 400, kind: str = "classification", voices: int = 0, chains: dict | None = None
    ) -> None:
        """chains: the variants of further codecs, by name, with the levels of JPEG."""
        folder.mkdir(exist_ok=True)
        self.levels = LEVELS | {name: LEVELS["jpeg"] for name in chains or {}}
        self.folder, self.kind, self.voices = folder, kind, voices
        self.ids = [f"item{i}" for i in range(n)]
        self.labels = np.arange(n) % 3
        self.data = folder / "data.parquet"
        meta = {"task": "toy", "medium": "image", "kind": kind, "classes": ["a", "b", "c"]}
        meta["compressed_before"] = ["JPEG"]
        split = [*[(name, "test") for name in self.ids], ("other", "train")]
        rows = (
            self.row(kinds.load(kind).data_schema(), id=name, split=part, label=i % 3, boxes=[], groups=self.groups(i))
            for i, (name, part) in enumerate(split)
        )
        write_table(self.data, kinds.load(kind).data_schema(), rows, meta)
        self.compressed = []
        for codec, levels in self.levels.items():
            for level in levels:
                path = folder / f"{codec}_{level:g}.parquet"
                bits = {"payload_bits": int(100 + 10 * level), "overhead_bits": 100, "raw_bits": 10000}
                rates = {"rate": (bits["payload_bits"] + 100) / 100, "coded_rate": bits["payload_bits"] / 100}
                psnr = np.inf if codec == "original" else 30 + level / 10
                rows = (self.row(COMPRESSED, id=name, **bits, **rates, psnr=psnr, encoder="toy 1") for name in self.ids)
                about = {"codec": codec, "level": level, "options": {}, "variant": (chains or {}).get(codec, {})}
                write_table(path, COMPRESSED, rows, about)
                self.compressed.append(path)
        self.outcomes: list[Path] = []

    def groups(self, item: int) -> dict[str, str]:
        return {"voice": f"v{item % self.voices}"} if self.voices else {}

    @staticmethod
    def row(schema, **values):
        return {name: values.get(name) for name in schema.names}

    def model(self, wrong, regime="original", seed=0, scores=0.5, ids=None, levels=None, boxes=None):
        ids, levels = ids or self.ids, levels or self.levels
        for codec in levels:
            path = self.folder / "outcomes" / regime / str(seed) / f"{codec}.parquet"
            meta = {"task": "toy", "arch": "net", "regime": regime, "seed": seed, "codec": codec}
            meta["existing"] = False

            def rows(codec=codec):
                for level in levels[codec]:
                    lost = round(wrong[codec, level] * len(ids))
                    for i, name in enumerate(ids):
                        if self.kind == "detection":
                            box, gone = [10.0 * i, 0.0, 10.0 * i + 9, 9.0], i < lost  # each item's lies elsewhere
                            found = {"boxes": [] if gone else box, "labels": [] if gone else [0]}
                            found["scores"] = [] if gone else [0.5 + i / 10000]
                            yield {
                                "id": name,
                                "frame": 0,
                                "level": level,
                                **found,
                                "true_boxes": box,
                                "true_labels": [0],
                            }
                            continue
                        label = int(self.labels[i % len(self.labels)])
                        guess = (label + 1) % 3 if i < lost else label
                        outcome = {"prediction": guess, "correct": guess == label, "scores": [scores] * 3}
                        yield {"id": name, "level": level, "label": label, **outcome}

            schema = kinds.load(self.kind).schema
            write_table(path, schema, rows(), meta)
            self.outcomes.append(path)
        return self

    def summary(self, **further):
        out = self.folder / "summary"
        aggregate([self.data], self.compressed, self.outcomes, SETTINGS | further, out)
        return {name: read_table(out / f"{name}.parquet").to_pandas() for name in tables.SCHEMAS}


def wrong(jpeg90=0.05, jpeg50=0.05, jpeg10=0.4):
    return {("original", 0.0): 0.05, ("jpeg", 90.0): jpeg90, ("jpeg", 50.0): jpeg50, ("jpeg", 10.0): jpeg10}


def test_rates_are_of_files_or_of_coded_media_and_savings_of_raw_lossless_and_own_bits(tmp_path):
    study = Study(tmp_path).model(wrong())
    for path in study.compressed:
        rows, meta = read_table(path).to_pylist(), read_meta(path)
        for number, row in enumerate(rows):
            original = meta["codec"] == "original"
            row["lossless_bits"] = 4000 + number % 20 if original and number % 10 == 0 else None
            row["psnr"] = np.inf if number < 7 else 30.0
        write_table(path, COMPRESSED, rows[::-1], meta | {"lossless": "PNG"})
    data = read_table(study.data).to_pylist()
    write_table(
        study.data,
        kinds.load(study.kind).data_schema(),
        [row | {"file_bytes": 100} for row in data],
        read_meta(study.data),
    )
    for counted, bits in (("file", 1100), ("coded", 1000)):
        out = tmp_path / counted
        aggregate([study.data], study.compressed, study.outcomes, SETTINGS | {"rate": counted}, out)
        assert read_meta(out / "conditions.parquet")["lossless"] == "PNG"
        rows = read_table(out / "conditions.parquet").to_pylist()
        row = next(row for row in rows if (row["codec"], row["level"]) == ("jpeg", 90))
        assert (row["rate"], row["file_rate"], row["coded_rate"]) == pytest.approx((bits / 100, 11, 10))
        assert row["ratio"] == pytest.approx(10000 / bits) and row["overhead_share"] == pytest.approx(100 / 1100)
        expected = (1 - bits / 10000, 1 - bits / 4005, 1 - bits / 800)
        assert [row[name] for name in SAVINGS] == pytest.approx(expected)
        assert (row["psnr"], row["infinite"]) == (30, 7)
        limits = read_table(out / "limits.parquet").to_pylist()
        limit = next(limit for limit in limits if (limit["delta"], limit["level"]) == (5, 50))
        assert limit["saving_source"] == limit["joint_saving_source"] == pytest.approx(1 - (bits - 400) / 800)
    data[0] |= {"file_bytes": None}  # one item has no file
    write_table(study.data, kinds.load(study.kind).data_schema(), data, read_meta(study.data))
    assert study.summary()["conditions"]["saving_source"].isna().all()


def test_measures_of_fidelity_are_means_over_the_items_that_have_them(tmp_path):
    study = Study(tmp_path, n=40).model(wrong())
    about = {"fidelity": "sampled", "measures": {"vmaf": {"title": "VMAF", "unit": "points", "better": "higher"}}}
    for number, path in enumerate(study.compressed):
        rows, meta = read_table(path).to_pylist(), read_meta(path)
        measured = [{"vmaf": 90.0 - number + i % 2 if i % 4 < 2 else None, "ssim": None} for i in range(40)]
        schema = extended(COMPRESSED, ("vmaf", pa.float32(), "points"))
        write_table(path, schema, [row | more for row, more in zip(rows, measured, strict=True)], meta | about)
    conditions = study.summary()["conditions"]
    assert sorted(conditions["vmaf"]) == [87.5, 88.5, 89.5, 90.5] and conditions["ssim"].isna().all()
    file = tmp_path / "summary" / "conditions.parquet"
    assert units(pq.read_schema(file))["vmaf"] == "points" and read_meta(file)["measures"] == about["measures"]
    assert (tmp_path / "summary/conditions.csv").read_text().splitlines()[0].endswith('"n","vmaf"')


def test_classification_study(tmp_path):
    study = Study(tmp_path)
    for seed in (0, 1):
        study.model(wrong(), "original", seed).model(wrong(jpeg10=0.2), "mixed", seed)
        study.model(wrong(jpeg10=0.1), "matched_jpeg_10", seed)
    summary = study.summary()
    differences = summary["differences"].query("baseline == 'own'").set_index(["regime", "codec", "level"])
    same = differences.loc["original", "original", 0.0]
    assert (same[["difference", "low", "high", "lower", "upper"]] == 0).all()
    strong = differences.loc["original", "jpeg", 10.0]
    assert strong["difference"] == pytest.approx(-0.35) and strong["p_holm"] < 1e-6 and strong["seeds"] == 2
    assert strong["reference"] == pytest.approx(0.95) and strong["upper"] < -0.3

    verdicts = summary["verdicts"].query("baseline == 'own'")
    verdicts = verdicts.set_index(["regime", "codec", "level", "delta"])["verdict"].sort_index()
    assert (verdicts["original", "original"] == "acceptable").all()
    assert (verdicts["original", "jpeg", 10.0] == "unacceptable").all()
    limit = summary["limits"].query("baseline == 'own'").set_index(["regime", "delta"]).loc[("original", 2.0)]
    assert (limit["verdict"], limit["level"], limit["label"], limit["stopped_at"]) == ("acceptable", 50, "QF 50", 10)
    assert (limit["joint_level"], limit["joint_rate"], limit["seeds"]) == (50, limit["rate"], 2)  # of one codec alone
    assert limit["rate"] == pytest.approx(7.0) and limit["saving"] == pytest.approx(0.93)  # of files
    assert limit["reference"] == pytest.approx(0.95)

    gaps = summary["gaps"].set_index(["codec", "level", "training"])
    matched, mixed = (gaps.loc[("jpeg", 10.0, training)] for training in ("matched", "mixed"))
    assert tuple(mixed[["loss", "recovered", "remaining", "mostly"]]) == pytest.approx((0.35, 0.2, 0.15, 0.05))
    assert tuple(matched[["loss", "recovered", "remaining", "mostly"]]) == pytest.approx((0.35, 0.3, 0.05, 0.25))
    assert matched["advice"] == "train on compressed media" and matched[["other_codec", "other"]].isna().all()
    assert gaps.loc[("jpeg", 90.0, "mixed"), "advice"] == "nothing to explain"
    assert gaps.loc[("original", 0.0, "mixed"), "loss_low"] == 0 == gaps.loc[("original", 0.0, "mixed"), "loss_high"]
    transfer = summary["transfer"].set_index(["train", "train_codec", "train_level", "test_level"])["value"]
    assert transfer["matched", "jpeg", 10.0, 10.0] == pytest.approx(0.9)
    assert read_meta(tmp_path / "summary" / "conditions.parquet")["compressed_before"] == ["JPEG"]
    conditions = summary["conditions"].set_index(["codec", "level"])
    assert conditions["strength"].to_dict() == {("original", 0): 0, ("jpeg", 90): 1, ("jpeg", 50): 2, ("jpeg", 10): 3}
    assert conditions.loc[("original", 0), "psnr"] == np.inf
    metrics = summary["metrics"]
    assert metrics.groupby("class")["support"].unique().map(list).to_dict() == {
        "": [400],
        "a": [134],
        "b": [133],
        "c": [133],
    }
    assert set(metrics["seed"]) == {-1, 0, 1} and metrics.notna().all(axis=None)
    assert ((metrics["low"] <= metrics["value"]) & (metrics["value"] <= metrics["high"])).all()


def test_a_milder_level_that_fails_ends_the_search(tmp_path):
    study = Study(tmp_path).model(wrong(jpeg90=0.05, jpeg50=0.3, jpeg10=0.05))
    summary = study.summary()
    limit = summary["limits"].query("baseline == 'own'").set_index("delta").loc[5.0]
    assert (limit["level"], limit["stopped_at"], limit["stopped_verdict"]) == (90, 50, "unacceptable")
    verdicts = summary["verdicts"].query("baseline == 'own'").set_index(["codec", "level", "delta"])
    assert verdicts.loc[("jpeg", 10.0, 5.0), "verdict"] == "acceptable"
    assert verdicts.loc["jpeg"].xs(5.0, level="delta")["tested"].to_dict() == {90: True, 50: True, 10: False}


@pytest.mark.parametrize("kind", ["classification", "detection"])
def test_too_few_items_are_inconclusive(tmp_path, kind):
    study = Study(tmp_path, n=40, kind=kind).model(wrong(jpeg10=0.05))
    limits = study.summary()["limits"].query("baseline == 'own'").set_index("delta")
    assert limits["verdict"].to_dict() == {1.0: "inconclusive", 2.0: "inconclusive", 5.0: "inconclusive"}
    assert limits["level"].isna().all() and limits["stopped_at"].eq(90).all()
    assert limits["missing"].eq("items").all() and (limits["needed_low"] > 40).all()
    # No pair disagrees, so that Tango's bound decides: n has to exceed z^2 (1 - delta) / delta, here with a reserve.
    assert (limits["needed_high"] >= [538, 267, 106]).all() and (limits["needed_high"] < [1000, 500, 200]).all()


@pytest.mark.parametrize("kind", ["classification", "detection"])
def test_with_fewer_than_twenty_groups_nothing_is_claimed_of_others(tmp_path, kind):
    """The lost items of jpeg 50 are spread over all voices."""
    verdicts = {}
    for voices in (6, 20):
        study = Study(tmp_path / str(voices), kind=kind, voices=voices).model(wrong())
        summary = study.summary()
        verdicts[voices] = set(summary["verdicts"].query("level == 90 and delta == 5")["verdict"])
        assert set(summary["limits"].query("delta == 5")["verdict"]) == verdicts[voices]
        meta = read_meta(tmp_path / str(voices) / "summary" / "limits.parquet")
        assert meta["groups"] == {"voice": voices} and meta["few"] == (["voice", 6] if voices == 6 else None)
    assert verdicts == {6: {"acceptable here"}, 20: {"acceptable"}}


def test_the_limit_of_a_mixed_model_is_also_against_the_best_model_on_originals(tmp_path):
    """It loses nothing of its own, but has 4 points less than the other on originals."""
    mixed = dict.fromkeys(wrong(), 0.09)
    limits = Study(tmp_path, n=2000).model(wrong()).model(mixed, "mixed").summary()["limits"]
    found = limits.query("regime == 'mixed'").set_index(["baseline", "delta"])
    assert found.loc[("own", 2.0), "level"] == 10 and found.loc[("best", 2.0), "verdict"] == "unacceptable"
    assert found.loc[("best", 2.0), "reference"] == pytest.approx(0.95) and found.loc[("own", 2.0), "reference"] < 0.92


@pytest.mark.parametrize("kind", ["classification", "detection"])
def test_a_model_that_answers_at_chance_gets_no_verdict_though_it_loses_nothing(tmp_path, kind):
    never = dict.fromkeys(wrong(), 1.0 if kind == "detection" else 0.7)
    summary = Study(tmp_path, kind=kind).model(never).summary()
    assert (summary["differences"]["difference"] == 0).all()
    assert set(summary["verdicts"]["verdict"]) == {"no reference"} and not summary["verdicts"]["tested"].any()
    limits = summary["limits"]
    assert set(limits["verdict"]) == {"no reference"}
    assert limits[["level", "label", "rate", "stopped_at", "stopped_verdict", "needed_low"]].isna().all(axis=None)
    assert limits["chance"].iloc[0] == (0 if kind == "detection" else pytest.approx(1 / 3, abs=0.002))
    assert (limits["above_chance"] < 0.01).all()
    assert limits["reference"].iloc[0] == (0 if kind == "detection" else pytest.approx(0.3))
    assert ((limits["reference_low"] <= limits["reference"]) & (limits["reference"] <= limits["reference_high"])).all()


def test_the_margin_by_which_a_reference_has_to_be_above_chance_is_the_loss_that_it_may_have(tmp_path):
    # 160 of 400 items right, 40 %: the exact lower bound is 35.9 %, and chance 33.5 %.
    limits = (
        Study(tmp_path)
        .model(dict.fromkeys(wrong(), 0.6))
        .summary()["limits"]
        .query("baseline == 'own'")
        .set_index("delta")
    )
    assert limits.loc[1.0, "above_chance"] == pytest.approx(0.359 - 0.335, abs=0.001)
    assert limits["verdict"].to_dict() == {1.0: "acceptable", 2.0: "acceptable", 5.0: "no reference"}


def test_one_class_is_no_task_that_a_model_could_fail_at(tmp_path):
    study = Study(tmp_path)
    study.labels = np.zeros(400, int)
    rows = (
        study.row(kinds.load(study.kind).data_schema(), id=name, split="test", label=0, boxes=[], groups={})
        for name in study.ids
    )
    write_table(study.data, kinds.load(study.kind).data_schema(), rows, read_meta(study.data) | {"classes": ["a"]})
    limits = study.model(dict.fromkeys(wrong(), 0.0)).summary()["limits"]
    assert set(limits["verdict"]) == {"no reference"} and (limits["chance"] == 1).all()


def test_rare_classes_are_named_with_their_test_items(tmp_path):
    """In detection all 9 objects are of class a, and items are 9."""
    for kind, rare in (
        ("classification", [["a", 3], ["b", 3], ["c", 3]]),
        ("detection", [["a", 9], ["b", 0], ["c", 0]]),
    ):
        study = Study(tmp_path / kind, n=9, kind=kind)
        metrics = study.model(wrong()).summary()["metrics"]
        assert read_meta(tmp_path / kind / "summary" / "metrics.parquet")["rare"] == rare
        assert metrics.groupby("class")["support"].first().to_dict() == {"": 9} | {name: n for name, n in rare if n}


def test_detection_study(tmp_path):
    summary = Study(tmp_path, n=200, kind="detection").model(wrong(jpeg50=0.06)).summary()
    differences = summary["differences"].query("baseline == 'own'").set_index(["codec", "level"])
    assert differences.loc[("original", 0.0), ["low", "high"]].tolist() == [0, 0]
    assert differences["metric"].eq("map50").all() and differences["p"].isna().all()
    verdicts = summary["verdicts"].query("baseline == 'own'").set_index(["codec", "level", "delta"])["verdict"]
    assert verdicts["jpeg", 90.0, 2.0] == "acceptable" and verdicts["jpeg", 10.0, 5.0] == "unacceptable"
    metrics = summary["metrics"].set_index(["seed", "codec", "level", "metric", "class"])["value"]
    assert metrics[0, "jpeg", 10.0, "recall", ""] == pytest.approx(0.6)
    assert metrics[0, "jpeg", 10.0, "precision", "a"] == pytest.approx(1)
    assert metrics[-1, "jpeg", 10.0, "map50", ""] == pytest.approx(61 / 101)  # recall thresholds 0 .. 0.6


def test_same_seed_same_bytes(tmp_path):
    study = Study(tmp_path, n=60).model(wrong())
    study.summary()
    first = {path.name: path.read_bytes() for path in (tmp_path / "summary").iterdir()}
    study.outcomes.reverse()
    study.summary()
    assert first == {path.name: path.read_bytes() for path in (tmp_path / "summary").iterdir()}
    assert set(first) == {f"{name}.{kind}" for name in tables.SCHEMAS for kind in ("parquet", "csv")}


def looked(path: Path, first: set[str]) -> list[Path]:
    """The table in two: the rows of the `first` items, and the others, as two looks leave them."""
    table, meta = read_table(path), read_meta(path)
    parts = [path.with_name(f"look{look}_{path.name}") for look in (1, 2)]
    for part in parts:
        chosen = [row for row in table.to_pylist() if (row["id"] in first) == (part == parts[0])]
        card = {"title": "toy", "groups": f"{len(chosen)} of them"}
        write_table(part, table.schema, chosen, meta | {"card": card} if path.name == "data.parquet" else meta)
    return parts


@pytest.mark.parametrize("kind", ["classification", "detection"])
def test_tables_of_two_looks_count_as_one(tmp_path, kind):
    study = Study(tmp_path, n=60, kind=kind)
    study.model(wrong(), seed=0).model(wrong(jpeg10=0.2), seed=1)
    whole = study.summary()
    first = {*study.ids[:25], "other"}
    parts = [[part for path in paths for part in looked(path, first)] for paths in (study.compressed, study.outcomes)]
    data = looked(study.data, first)
    aggregate(data, *parts, SETTINGS, tmp_path / "looks")
    for name, table in whole.items():
        assert read_table(tmp_path / f"looks/{name}.parquet").to_pandas().equals(table), name
    card = read_meta(tmp_path / "looks/limits.parquet")["card"]
    assert card == {"title": "toy", "groups": "look 1: 26 of them; look 2: 35 of them"}
    with pytest.raises(LossyBenchError, match=r"look2_data\.parquet: item 'item25' is in the split test twice"):
        aggregate([*data, data[1]], *parts, SETTINGS, tmp_path / "twice")
    with pytest.raises(LossyBenchError, match=r"look1_original\.parquet: level 0 holds 25 items \(lacks 'item25'\)"):
        aggregate(data, parts[0], parts[1][::2], SETTINGS, tmp_path / "lacking")


def test_refusals_name_the_file(tmp_path):
    def refused(folder, match, **how):
        study = Study(tmp_path / folder, n=20)
        study.model(wrong(), **how)
        with pytest.raises(LossyBenchError, match=match):
            study.summary()

    refused("level", r"jpeg\.parquet: levels differ .* 10 \(missing\)", levels=LEVELS | {"jpeg": [50.0, 90.0]})
    refused("nan", r"original\.parquet: NaN among the scores", scores=float("nan"))
    refused(
        "item", r"original\.parquet: level 0 holds 19 items \(lacks 'item0'\)", ids=[f"item{i}" for i in range(1, 20)]
    )
    refused("twice", r"holds one twice", ids=[f"item{i}" for i in range(20)] + ["item3"])
    refused("reference", r"outcomes/toy/net/original/0/original\.parquet is missing", levels={"jpeg": LEVELS["jpeg"]})
    study = Study(tmp_path / "seed", n=20).model(wrong()).model(wrong(), seed=1, levels={"original": [0.0]})
    with pytest.raises(LossyBenchError, match=r"original/1/jpeg\.parquet is missing"):
        study.summary()


def test_groups_of_the_test_items_are_numbered_factor_by_factor(tmp_path):
    study = Study(tmp_path, n=0)

    def test_set(groups):
        made = [(f"i{n}", "train" if n % 3 == 0 else "test", of) for n, of in enumerate(groups)]
        rows = [
            study.row(kinds.load(study.kind).data_schema(), id=id, split=split, label=0, groups=of, boxes=[])
            for id, split, of in made
        ]
        write_table(study.data, kinds.load(study.kind).data_schema(), rows, read_meta(study.data))
        return read_task([study.data], ["label"])

    found = test_set([{"voice": f"v{n % 5}", "room": "ab"[n % 2]} for n in range(30)])
    assert list(found.groups) == ["voice", "room"] and len(found.ids) == 20
    for factor, of in (("voice", 5), ("room", 2)):
        numbers = [int(id[1:]) % of for id in found.ids]
        codes = found.groups[factor]
        assert sorted(set(codes)) == list(range(of)) and len(codes) == 20
        same = np.equal.outer(codes, codes)
        assert (same == np.equal.outer(numbers, numbers)).all()
    assert test_set([{}] * 6).groups == {}
    with pytest.raises(LossyBenchError, match=r"data\.parquet: its items differ in what they may share"):
        test_set([{"voice": "a"}] * 4 + [{}])


def test_classification_needs_no_torch():
    code = "import sys, lossybench.stages.aggregate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_codec_that_gets_more_items_wrong_at_equal_rate_is_behind(tmp_path, monkeypatch, seeds):
    levels = [5.0, 10.0, 20.0, 40.0, 60.0, 90.0]
    monkeypatch.setitem(LEVELS, "jpeg", levels)
    monkeypatch.setitem(LEVELS, "webp", levels)
    study = Study(tmp_path)
    of_jpeg = dict(zip(levels, (0.5, 0.3, 0.2, 0.1, 0.06, 0.05), strict=True))
    shares = {("original", 0.0): 0.05} | {("jpeg", level): share for level, share in of_jpeg.items()}
    shares |= {("webp", level): share + 0.05 for level, share in of_jpeg.items()}
    for seed in range(seeds):
        study.model(shares, seed=seed)
    (row,) = study.summary()["bd"].to_dict("records")
    assert (row["codec_a"], row["codec_b"], row["seeds"], row["status"]) == ("jpeg", "webp", seeds, "ok")
    assert row["bd_metric"] == pytest.approx(-5) and row["bd_metric_low"] < -5 < row["bd_metric_high"] < 0
    assert row["bd_rate_low"] > 0 and row["p_holm"] == row["p"] < 1e-4 and row["ahead"] == "jpeg"
    assert (row["rate_low"], row["rate_high"]) == pytest.approx((2.5, 11))  # of files


def test_conditions_of_capture_are_judged_apart_and_change_nothing_else(tmp_path):
    step = {"step": "jpeg", "level": "LEVEL", "options": {}, "variant": {}}
    noisy = {"chain": [{"step": "noise", "level": 4, "options": {}, "variant": {}}, step]}
    worse = {("jpeg_noise_4", level): share for level, share in ((90.0, 0.055), (50.0, 0.3), (10.0, 0.6))}
    plain = Study(tmp_path / "plain").model(wrong()).model(wrong(), regime="mixed").summary()
    study = Study(tmp_path / "grid", chains={"jpeg_noise_4": noisy})
    for regime in ("original", "mixed"):
        study.model(wrong() | worse, regime=regime)
    found = study.summary(grids={"jpeg_noise_4": ["jpeg", "noise", 4, "noise σ 4"]})
    for name in ("differences", "verdicts", "limits", "transfer", "gaps", "bd"):
        assert found[name].equals(plain[name]), name
    assert set(found["conditions"]["title"]) == {"Original", "JPEG", "noise σ 4, JPEG"}
    assert plain["capture"].empty
    capture = found["capture"]
    rows = capture[(capture["regime"] == "original") & (capture["baseline"] == "own") & (capture["delta"] == 5)]
    assert list(rows["condition"]) == ["as they came", "noise σ 4"] and list(rows["chain"]) == ["jpeg", "jpeg_noise_4"]
    assert set(rows["codec"]) == {"jpeg"} and np.isnan(rows["amount"].iloc[0]) and rows["amount"].iloc[1] == 4
    assert list(rows["level"]) == [50, 90] and list(rows["label"]) == ["QF 50", "QF 90"]  # the limit has moved
    assert rows["mildest_difference"].iloc[1] == pytest.approx(-0.005)
    assert rows["stopped_at"].iloc[1] == 50 and rows["stopped_verdict"].iloc[1] == "unacceptable"
    # Reports show the chain in its own figure and table, and nowhere else.
    summary = Summary(tmp_path / "grid" / "summary")
    assert summary.codecs == ["jpeg"] and set(summary.metrics["codec"]) == {"original", "jpeg"}
    (ax,) = figures.capture(summary).axes
    assert [line.get_label() for line in ax.get_lines()].count("noise σ 4") == 1
    rings = [line.get_xdata().tolist() for line in ax.get_lines() if line.get_markersize() == 10]
    assert len(rings) == 2 and rings[0] < rings[1]  # at a higher rate once there is noise
    assert len(figures.rate_accuracy(summary).axes[0].get_lines()) == len(
        figures.rate_accuracy(Summary(tmp_path / "plain" / "summary")).axes[0].get_lines()
    )
    recommendations.write([tmp_path / "grid" / "summary"], tmp_path / "r.md")
    text = (tmp_path / "r.md").read_text()
    assert "| JPEG | net | noise σ 4 | −0.5 [" in text and text.count("noise σ 4") == 1


def test_a_codec_held_out_from_training_is_compared_with_models_that_saw_it(tmp_path):
    study = Study(tmp_path).model(wrong(jpeg10=0.6)).model(wrong(jpeg10=0.2), regime="mixed")
    found = study.model(wrong(jpeg10=0.45), regime="held_out_jpeg").summary()
    rows = found["held_out"].set_index(["codec", "level"])
    assert set(rows["held_out"]) == {"jpeg"} and len(rows) == 4  # on originals too, which it also learnt from
    at = rows.loc["jpeg", 10.0]
    assert (at["value"], at["original"], at["mixed"]) == pytest.approx((0.55, 0.4, 0.8))
    assert at["over_original"] == pytest.approx(0.15) and at["over_mixed"] == pytest.approx(-0.25)
    assert at["over_original_low"] < 0.15 < at["over_original_high"] and at["over_mixed_high"] < 0
    assert set(found["transfer"]["train"]) == {"original", "mixed"}
    recommendations.write([tmp_path / "summary"], tmp_path / "r.md")
    assert "| JPEG | QF 10 | net | 55.0 % | +15.0 [" in (tmp_path / "r.md").read_text()
    study.outcomes = [path for path in study.outcomes if "mixed" not in str(path)]
    assert study.summary()["held_out"]["over_mixed"].isna().all()


def test_items_that_miss_a_target_size_are_counted_and_told(tmp_path):
    targets = {name: {"codec": "jpeg", "parameter": name} for name in ("bytes", "bpp")}
    same = {(name, level): 0.05 for name in targets for level in (10.0, 50.0, 90.0)}
    found = Study(tmp_path, chains=targets).model(wrong() | same).summary()["conditions"].set_index(["codec", "level"])
    above = found["above_target"]
    # Files have 100 + 10 level bits of coded media and 100 of overhead, and 10,000 raw bits make 417 pixels.
    assert [above["bytes", level] for level in (10.0, 50.0, 90.0)] == [1, 1, 1]
    assert [above["bpp", level] for level in (10.0, 50.0, 90.0)] == [0, 0, 0] and above[
        ["original", "jpeg"]
    ].isna().all()
    recommendations.write([tmp_path / "summary"], tmp_path / "r.md")
    assert "JPEG to a size, ≤ 10 bytes: 100.0 %" in (tmp_path / "r.md").read_text()
