"""The config: what it expands to, and what a mistake in it is answered with."""

import collections
import copy
import json
from pathlib import Path

import pytest
import yaml
from PIL import Image

from lossybench import config as sections
from lossybench import study
from lossybench.conditions import Condition, Model, Regime
from lossybench.errors import LossyBenchError
from lossybench.study import Study, check_for_cluster
from lossybench.tools import plan

ROOT = Path(__file__).parents[1]
SMOKE = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())


def _changed(**changes):
    """The smoke config with values set at dotted paths (`__` for the dot)."""
    config = copy.deepcopy(SMOKE)
    for path, value in changes.items():
        *parents, key = path.split("__")
        section = config
        for parent in parents:
            section = section.setdefault(parent, {})
        section[key] = value
    return config


@pytest.mark.parametrize(
    "path", [*sorted((ROOT / "config").glob("*.yaml")), ROOT / "config.yaml"], ids=lambda p: p.name
)
def test_shipped_configs_are_right(path):
    loaded = study.load(path)
    assert plan.jobs(loaded)["train"] == sum(len(loaded.models(task)) for task in loaded.tasks)


def test_default_study_has_five_tasks_and_six_levels_each():
    loaded = study.load(ROOT / "config.yaml")
    kinds = {(loaded.description(task).medium, loaded.description(task).kind) for task in loaded.tasks}
    assert kinds == {
        ("image", "classification"),
        ("image", "detection"),
        ("audio", "classification"),
        ("video", "classification"),
        ("video", "detection"),
    }
    assert {"jpeg", "jpeg2000", "h264", "hevc", "mp3", "opus"} <= set(loaded.codec_names)
    for task in loaded.tasks:
        for codec in loaded.task(task).codecs:
            assert len(loaded.levels(task, codec)) == 6


def test_schema_file_is_in_step():
    path = ROOT / "workflow/schemas/config.schema.json"
    assert path.read_text() == sections.schema() + "\n", f"run: lossybench schema > {path.relative_to(ROOT)}"
    descriptions = json.dumps(json.loads(path.read_text())).count('"description"')
    assert descriptions > 20


def test_the_config_of_a_hundred_tasks_fits_a_command_line():
    """Linux takes 128 kiB of one, and the page is told the config by it. Fifty take less than half of that."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["tasks"] = {f"{name}_{place}": task for place in range(10) for name, task in config["tasks"].items()}
    shown = Study(config).shown()
    assert len(json.dumps({"config": shown})) < 60_000
    assert shown["prices"] == Study(config).config.prices.model_dump() and shown["seed"] == 1
    assert shown["tasks"]["video_detection_3"]["data"]["frames"] == 8


def test_levels_go_from_mildest_to_strongest():
    loaded = Study(_changed(tasks__digits__codecs={"jpeg": [5, 90, 30], "hevc": [48, 20]}, tasks__digits__attack=None))
    assert loaded.levels("digits", "jpeg") == [90, 30, 5]
    assert loaded.levels("digits", "hevc") == [20, 48]
    assert loaded.conditions("digits")[0] == Condition("original", 0)


def test_regimes_say_what_they_train_on():
    loaded = Study(SMOKE)
    mixed = Model("digits", "resnet", "mixed", 0)
    assert loaded.training_conditions(mixed) == [("original", 0), ("jpeg", 50), ("jpeg", 5)]
    matched = Model("digits", "resnet", "matched_jpeg_5", 0)
    assert matched in loaded.models("digits")
    assert loaded.training_conditions(matched) == [("jpeg", 5)]
    assert loaded.tested_codecs(matched) == ["original", "jpeg"]


def test_mixed_models_are_of_all_architectures_and_seeds_or_of_those_named():
    many = {"tasks__digits__models": {"resnet": {}, "patch_transformer": {}}, "tasks__digits__seeds": [0, 1]}

    def mixed(**named):
        loaded = Study(_changed(**many, tasks__digits__attack=None, tasks__digits__regimes={"mixed": named}))
        return {(model.arch, model.seed) for model in loaded.models("digits") if model.regime == "mixed"}

    assert mixed() == {("resnet", 0), ("resnet", 1), ("patch_transformer", 0), ("patch_transformer", 1)}
    assert mixed(seeds=[1]) == {("resnet", 1), ("patch_transformer", 1)}
    assert mixed(archs=["patch_transformer"], seeds=[0]) == {("patch_transformer", 0)}


def test_only_models_of_originals_must_reach_the_minimum():
    loaded = Study(_changed(tasks__digits__training={"minimum": 0.9}))
    assert loaded.training_settings(Model("digits", "resnet", "original", 0))["minimum"] == 0.9
    assert "minimum" not in loaded.training_settings(Model("digits", "resnet", "mixed", 0))


ADVERSARIAL = {"tasks__digits__regimes__adversarial": {"epsilon": "8/255"}}


def test_adversarial_models_learn_from_originals_and_are_tested_on_everything():
    loaded = Study(_changed(**ADVERSARIAL, tasks__digits__training={"minimum": 0.9}, tasks__digits__seeds=[3, 4]))
    model = Model("digits", "resnet", "adversarial", 3)
    assert [one for one in loaded.models("digits") if one.regime == "adversarial"] == [model]
    assert loaded.training_conditions(model) == [("original", 0)]
    assert loaded.tested_codecs(model) == ["original", "jpeg", "hevc"]
    assert loaded.training_settings(model) == {"epochs": 2, "adversarial": {"epsilon": 8 / 255, "steps": 3}}


def test_adversarial_training_changes_no_other_job():
    plain, loaded = Study(SMOKE), Study(_changed(**ADVERSARIAL))
    for task in plain.tasks:
        for model in plain.models(task):
            assert loaded.training_settings(model) == plain.training_settings(model)
            assert "adversarial" not in plain.training_settings(model)
    assert set(loaded.all_compressed("digits", "train")) == set(plain.all_compressed("digits", "train"))
    assert plan.jobs(loaded)["train"] == plan.jobs(plain)["train"] + 1


def test_a_single_class_has_no_other_to_aim_at():
    def config(attack):
        task = {"data": {"adapter": "mot17det"}, "codecs": {"h264": [30]}, "models": {"fcos": {}}, "attack": attack}
        return {"results": "nowhere", "tasks": {"street": task}}

    loaded = Study(config({"items": 2}))
    assert loaded.attack(loaded.attacked("street")[0]).goals == ["untargeted"]
    with pytest.raises(LossyBenchError, match=r"tasks\.street\.attack: goals: targeted needs a second class"):
        Study(config({"goals": ["targeted"]}))


def test_plan_counts_the_steps_of_adversarial_training():
    def cost(steps):
        changed = _changed(tasks__digits__regimes__adversarial={"epsilon": 0.1, "steps": steps})
        return sum(job.seconds for job in plan.costs(Study(changed)))

    epoch = plan.LEARN["image", "classification"] * 350
    assert cost(7) - cost(3) == pytest.approx(4 * 2 * epoch)  # 2 epochs


def test_adversarial_models_are_attacked_where_there_are_some():
    attack = {"regimes": ["original", "adversarial"], "archs": ["resnet"]}
    two = {"tasks__digits__models": {"resnet": {}, "patch_transformer": {}}}
    attacked = Study(_changed(**ADVERSARIAL, **two, tasks__digits__attack=attack)).attacked("digits")
    assert [model.regime for model in attacked] == ["original", "adversarial"]
    with pytest.raises(LossyBenchError, match=r"digits\.attack\.regimes: no adversarial models.*add regimes"):
        Study(_changed(tasks__digits__attack=attack))
    message = (
        r"digits\.attack: no adversarial model of patch_transformer with seed 0 .*only of resnet, seed 0; name these"
    )
    with pytest.raises(LossyBenchError, match=message):
        Study(_changed(**ADVERSARIAL, **two, tasks__digits__attack={"regimes": ["adversarial"]}))


def test_regimes_have_attack_settings_of_their_own_and_meet_each_others_items():
    attack = {
        "items": 7,
        "regimes": {"original": {}, "mixed": {"items": 3, "goals": ["untargeted"]}},
        "codecs": ["jpeg"],
    }
    loaded = Study(_changed(tasks__digits__attack=attack))
    original, mixed = loaded.attacked("digits")
    assert loaded.attack_settings(original, "jpeg")["items"] == 7
    assert loaded.attack_settings(mixed, "jpeg") | {"items": 3} == loaded.attack_settings(mixed, "jpeg")
    assert loaded.attack(mixed).goals == ["untargeted"]
    assert loaded.transferred(original) == [mixed] and loaded.transferred(mixed) == [original]
    made = {path.name for path in loaded.all_attacks("digits")}
    assert made == {"original.parquet", "jpeg.parquet"}
    assert loaded.layout.attacks(original, "hevc") not in loaded.branch("hevc")


def test_attacked_levels_are_the_middle_two_and_the_strongest():
    levels = [90, 50, 30, 20, 10, 5]
    config = _changed(tasks__digits__codecs={"jpeg": levels}, tasks__digits__attack={})
    assert Study(config).attacked_levels("digits", "jpeg") == [30, 20, 5]


ROW = {"chain": [{"codec": "jpeg", "level": 33}, {"codec": "hevc", "level": 40}]}


def test_defences_are_attacked_like_codecs_but_nothing_is_compressed_for_them():
    attack = {"codecs": ["jpeg"], "defences": {"drawn": {"draw": {"jpeg": [33, 7]}}, "row": ROW}}
    codecs = {"jpeg": {"levels": [50, 5], "options": {"chroma": "444"}}, "hevc": [30]}
    changed = _changed(tasks__digits__attack=attack, tasks__digits__codecs=codecs, tasks__digits__regimes={})
    plain = _changed(tasks__digits__attack={"codecs": ["jpeg"]}, tasks__digits__codecs=codecs)
    loaded, without = Study(changed), Study(plain)
    (model,) = loaded.attacked("digits")
    assert loaded.attacked_codecs("digits") == ["original", "jpeg", "drawn", "row"]
    assert loaded.conditions("digits") == without.conditions("digits")
    assert loaded.attacked_levels("digits", "drawn") == [] and not any(loaded.coder("digits", "drawn").values())
    chroma = {"chroma": "444"}
    one, other = ({"codec": "jpeg", "level": level, "options": chroma, "variant": {}} for level in (33, 7))
    assert loaded.defence("digits", "drawn") == {"ways": [[one], [other]]}
    assert loaded.defence("digits", "row") == {
        "ways": [[one, {"codec": "hevc", "level": 40, "options": {}, "variant": {}}]]
    }
    assert loaded.defence("digits", "jpeg") == {}
    assert [loaded.layout.attacks(model, name) in loaded.branch("hevc") for name in ("drawn", "row")] == [False, True]
    added = sum(cost.seconds for cost in plan.costs(loaded)) - sum(cost.seconds for cost in plan.costs(without))
    assert added > 2 * plan.START["attack"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"tasks__digits__codecs__jepg": [50]},
            r"tasks\.digits\.codecs\.jepg: unknown codec 'jepg'; did you mean 'jpeg'",
        ),
        ({"tasks__digits__codecs__jpeg": [150]}, r"tasks\.digits\.codecs\.jpeg: .*150 is out of range; use 1 to 100"),
        ({"tasks__digits__codecs__mp3": [64]}, r"'mp3' is for audio, not for image"),
        ({"tasks__digits__codecs__jpeg": [50, 50]}, r"listed twice"),
        ({"tasks__digits__codecs__original": [0]}, r"always there"),
        ({"tasks__words__codecs__mp3": [320]}, r"tasks\.words\.codecs\.mp3: .*320"),
        ({"tasks__digits__codecs__jpeg": {"levels": [5], "options": {"crhoma": "444"}}}, r"did you mean 'chroma'"),
        ({"task": {}}, r"task: unknown key; did you mean 'tasks'"),
        ({"tasks__digits__regims": {}}, r"tasks\.digits\.regims: unknown key; did you mean 'regimes'"),
        (
            {"tasks__digits__regimes__mixed__codec": ["jpeg"]},
            r"regimes\.mixed\.codec: unknown key; did you mean 'codecs'",
        ),
        ({"tasks__digits__regimes__mixed__codecs": ["opus"]}, r"'opus' is not in this task; known: hevc, jpeg"),
        ({"tasks__digits__regimes__mixed__seeds": [7]}, r"regimes\.mixed\.seeds: '7' is not in this task"),
        ({"tasks__digits__models__rasnet": {}}, r"tasks\.digits\.models\.rasnet: .*did you mean 'resnet'"),
        ({"tasks__digits__training__epoch": 3}, r"unknown training setting 'epoch'; did you mean 'epochs'"),
        ({"tasks__digits__attack__epsilon": 3}, r"unknown attack setting 'epsilon'"),
        ({"tasks__digits__attack__levels": {"jpeg": [7]}}, r"attack\.levels\.jpeg: '7' is not in this task"),
        (
            {"tasks__digits__attack__defences": {"d": {"draw": {"jpeg": [50, 150]}}}},
            r"tasks\.digits\.attack\.defences\.d\.draw\.jpeg: codec 'jpeg': QF 150 is out of range; use 1 to 100",
        ),
        (
            {"tasks__digits__attack__defences": {"d": {"chain": [*ROW["chain"], {"codec": "hevc", "level": 30.5}]}}},
            r"tasks\.digits\.attack\.defences\.d\.chain\.2: codec 'hevc': QP 30\.5 must be a whole number",
        ),
        (
            {"tasks__digits__attack__defences": {"d": {"draw": {"jpge": [50, 15]}}}},
            r"attack\.defences\.d\.draw: 'jpge' is not in this task; did you mean 'jpeg'",
        ),
        (
            {"tasks__digits__attack__defences": {"webp": ROW}},
            r"attack\.defences\.webp: is the name of a codec; give it another one",
        ),
        ({"tasks__digits__attack__defences": {"d": {}}}, r"attack\.defences\.d: give either draw, such as"),
        ({"tasks__digits__attack__defences": {"d": {"draw": {"jpeg": [50]}}}}, r"defences\.d: draw needs two levels"),
        ({"tasks__digits__attack__defences": {"d": {"draw": {"jpeg": [5, 5]}}}}, r"d\.draw\.jpeg: names one twice"),
        ({"tasks__digits__attack__defences": {"d": {"chain": ROW["chain"][:1]}}}, r"d\.chain: .*at least 2 items"),
        (
            {"tasks__digits__attack__defences": {"d": {"chian": []}}},
            r"defences\.d\.chian: unknown key; did you mean 'ch",
        ),
        ({"tasks__motion__attack": {"codecs": ["hevc"]}}, r"tasks\.motion\.attack\.codecs: 'hevc' is not in this task"),
        ({"tasks__digits__attack__regimes": ["mixed"], "tasks__digits__regimes": {}}, r"attack\.regimes: no mixed"),
        (
            {"tasks__digits__data": {"adapter": "digit_scenes"}, "tasks__digits__models": {"fcos": {}}}
            | {"tasks__digits__attack": None, "tasks__digits__regimes": {"adversarial": {"epsilon": "8/255"}}},
            r"tasks\.digits\.regimes\.adversarial: image detection is not trained adversarially.*leave it out",
        ),
        (
            {"tasks__digits__regimes__adversarial": {"epsilon": 0.003}},
            r"digits\.regimes\.adversarial\.epsilon: 0\.003 is less than one step of the image's integers.*use 1/255",
        ),
        ({"tasks__motion__regimes__adversarial": {"epsilon": 0.003}}, r"one step of the video's integers.*1/255"),
        ({"tasks__words__regimes__adversarial": {"epsilon": 1e-5}}, r"one step of the audio's integers.*use 1/32768"),
        ({"tasks__digits__regimes__adversarial": {}}, r"tasks\.digits\.regimes\.adversarial\.epsilon: field required"),
        ({"tasks__digits__regimes__adversarial": {"epsilon": 8}}, r"adversarial\.epsilon: .*less than or equal to 1"),
        ({"tasks__digits__regimes__adversarial": {"epsilon": 0.1, "step": 3}}, r"did you mean 'steps'"),
        ({"tasks__digits__regimes__adversarial": {"epsilon": 0.1, "archs": ["resnt"]}}, r"did you mean 'resnet'"),
        ({"tasks__digits__regimes__adversarial": {"epsilon": 0.1, "seeds": [7]}}, r"adversarial\.seeds: '7' is not"),
        (
            {"tasks__digits__training__adversarial": {"epsilon": 0.1, "steps": 3}},
            r"adversarial training is a regime; set regimes\.adversarial",
        ),
        ({"tasks__digits__data__adapter": "digit"}, r"unknown data set 'digit'; did you mean 'digits'"),
        ({"tasks__digits__data__trian": 10}, r"tasks\.digits\.data: .*unknown option 'trian'; did you mean 'train'"),
        (
            {"tasks__digits__data": {"adapter": "image_folder", "path": "nowhere/at/all"}},
            r"tasks\.digits\.data: .*nowhere/at/all",
        ),
        ({"cluster": {"gpus": 1}}, r"cluster\.gpus: unknown key; did you mean 'gpu'"),
        ({"cluster": {"memory": {"trian": 5000}}}, r"cluster\.memory\.trian.*'fetch'.*'train'"),
        ({"cluster": {"minutes": {"train": 0}}}, r"cluster\.minutes\.train: .*greater than 0"),
        ({"cluster": {"gpu_model": "a100"}}, r"cluster: .*gpu_model is set but gpu is not; set gpu: true"),
        ({"deltas": [0]}, r"deltas\.0: .*greater than or equal to 0\.001"),
        ({"deltas": [1e-9]}, r"deltas\.0: .*greater than or equal to 0\.001"),
        ({"tasks": {}}, r"tasks: "),
    ],
)
def test_mistakes_are_named_with_what_is_right(change, message):
    with pytest.raises(LossyBenchError, match=message):
        Study(_changed(**change))


@pytest.mark.parametrize(("levels", "level"), [("[10, 10.0]", "10"), ("[12.3456789, 12.34567890]", "12.3456789")])
def test_a_level_written_twice_is_refused_in_one_line(levels, level):
    key = rf"tasks\.motion\.codecs\.jpeg2000\.levels: .*level {level} is listed twice"
    with pytest.raises(LossyBenchError, match=key) as refusal:
        Study(_changed(tasks__motion__codecs={"jpeg2000": yaml.safe_load(levels)}, tasks__motion__attack=None))
    assert "\n" not in str(refusal.value)


def test_levels_that_differ_in_the_last_digit_have_paths_of_their_own():
    levels = yaml.safe_load("[12.34567, 12.345674]")
    loaded = Study(_changed(tasks__motion__codecs={"jpeg2000": levels}, tasks__motion__attack=None))
    folders = [path.parent for path in loaded.all_compressed("motion", "test")]
    assert [folder.name for folder in folders if folder.parent.name == "jpeg2000"] == ["12.34567", "12.345674"]


def test_missing_and_broken_config_files_are_named(tmp_path):
    with pytest.raises(LossyBenchError, match="no such config file"):
        study.load(tmp_path / "none.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("tasks: [")
    with pytest.raises(LossyBenchError, match=r"broken\.yaml: not YAML"):
        study.load(broken)
    broken.write_text("")
    with pytest.raises(LossyBenchError, match=r"broken\.yaml: the config is empty"):
        study.load(broken)


def test_a_branch_is_all_that_is_made_with_one_codec():
    loaded = Study(SMOKE)
    paths = [str(path) for path in loaded.branch("mp3")]
    assert paths and all("mp3" in path and "/words/" in path for path in paths)


def test_plan_costs_each_job_once():
    loaded = Study(SMOKE)
    jobs = plan.jobs(loaded)
    costs = list(plan.costs(loaded))
    by_stage = collections.Counter(cost.stage for cost in costs)
    pages = sum(jobs[name] for name in ("contact_sheet", "page", "recommend", "costs"))
    assert by_stage["report"] == 2 * len(loaded.tasks) + pages
    for stage in ("fetch", "preflight", "compress", "timing", "train", "evaluate", "attack", "aggregate"):
        # The rules of compress and evaluate are named after what they make too.
        assert by_stage[stage] == sum(count for rule, count in jobs.items() if rule.split("_")[0] == stage)
    assert all(0 <= cost.with_gpu <= cost.seconds for cost in costs)


def test_plan_stores_what_larger_items_take():
    def stored(**options):
        changed = Study(_changed(**{f"tasks__digits__data__{name}": value for name, value in options.items()}))
        return sum(cost.size for cost in plan.costs(changed) if cost.stage in ("fetch", "compress"))

    # Twice the height and width, four times the bytes, but for the columns beside them.
    columns = stored(size=48) - (stored(size=96) - stored(size=48)) / 3
    assert stored(size=192) - columns == pytest.approx(16 * (stored(size=48) - columns))


def test_plan_knows_how_large_published_items_are_before_a_download():
    def raw(medium, codec, arch, **data):
        """Bytes of an item, from what the data table is expected to take."""
        task = {"data": data, "codecs": {codec: [16]}, "models": {arch: {}}}
        fetched = next(plan.costs(Study({"results": "nowhere", "tasks": {"it": task}})))
        return (fetched.size / fetched.items - plan.ROW) / plan.STORED[medium]["original"]

    images = "image", "jpeg", "resnet"
    assert raw(*images, adapter="cifar10") == pytest.approx(32 * 32 * 3)
    assert raw(*images, adapter="imagenette") == pytest.approx(320 * 427 * 3)
    assert raw(*images, adapter="imagenette", size="160px") == pytest.approx(160 * 213 * 3)
    half = raw("audio", "mp3", "logmel_cnn", adapter="speech_commands", sample_rate=8000)
    assert half == pytest.approx(8000 * 2)
    clips = raw("video", "h264", "conv3d", adapter="ucf101", max_frames=16)
    assert clips == pytest.approx(16 * 240 * 320 * 3)


def test_plan_table_says_what_a_cluster_sees():
    loaded = Study(SMOKE)
    rows = {line.split()[0]: line.split()[1:] for line in plan.table(loaded).splitlines()[1:]}
    assert rows["evaluate"][0] == str(sum(len(loaded.codecs[task]) for task in loaded.tasks))  # all models together
    assert rows["compress"][0] == "12"  # all levels together
    # `all` is no job, and `cleared` none of the cluster.
    assert rows["total"][0] == str(sum(plan.jobs(loaded).values()) - 1 - len(loaded.tasks))


def test_matched_models_of_some_levels():
    loaded = Study(_changed(tasks__digits__regimes__matched=[{"codec": "jpeg", "levels": [5]}]))
    assert {m.regime for m in loaded.models("digits") if m.regime.startswith("matched")} == {"matched_jpeg_5"}
    with pytest.raises(LossyBenchError, match=r"digits\.regimes\.matched\.levels\.jpeg: '7' is not in this task"):
        Study(_changed(tasks__digits__regimes__matched=[{"codec": "jpeg", "levels": [7]}]))


def test_names_listed_twice_make_one_job():
    twice = _changed(tasks__digits__seeds=[0, 0], tasks__digits__regimes__matched=[{"codec": "jpeg"}] * 2)
    assert plan.jobs(Study(twice)) == plan.jobs(Study(SMOKE))


def test_requests_grow_with_the_attempt_and_ask_for_gpus_where_they_help():
    cluster = {"account": "lab", "partition": "cpu", "gpu": True, "gpu_model": "a100", "gpu_partition": "gpu"}
    loaded = Study({**SMOKE, "cluster": {**cluster, "memory": {"train": 5000}, "minutes": {"train": 10}}})
    assert loaded.requests("train", 3) == {
        "mem_mb": 15000,
        "runtime": 30,
        "slurm_account": "lab",
        "slurm_partition": "gpu",
        "gpu": 1,
        "gpu_model": "a100",
    }
    assert set(loaded.requests("compress")) == {"mem_mb", "runtime", "slurm_account", "slurm_partition"}
    assert loaded.requests("compress")["slurm_partition"] == "cpu"
    assert set(Study(SMOKE).requests("attack")) == {"mem_mb", "runtime"}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A config that evaluates existing models of pictures in one folder a class, all of them test."""
    monkeypatch.chdir(tmp_path)
    for title in ("cat", "dog"):
        for number in range(3):
            path = tmp_path / "photos" / title / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (number, 9, 9)).save(path)
    (tmp_path / "net.onnx").write_bytes(b"some network")
    (tmp_path / "net.pt2").write_bytes(b"another")
    onnx, exported = ({"checkpoint": name, "classes": ["dog", "cat"]} for name in ("net.onnx", "net.pt2"))
    data = {"adapter": "image_folder", "path": "photos", "fractions": {"test": 1}}
    return {"data": data, "codecs": {"jpeg": [50, 10]}, "models": {"onnx": onnx, "exported": exported}}


def test_existing_models_need_no_training(own):
    loaded = Study({"tasks": {"photos": own}})
    assert loaded.models("photos") == [
        Model("photos", "onnx", "original", 0),
        Model("photos", "exported", "original", 0),
    ]
    assert loaded.all_compressed("photos", "train") == [] and len(loaded.all_compressed("photos", "test")) == 3
    jobs = plan.jobs(loaded)
    assert (jobs["train"], jobs["adopt"]) == (0, 2)
    assert {name for name in jobs if name.startswith(("compress", "evaluate"))} == {
        *("compress_photos_original_test", "compress_photos_jpeg_test"),
        *("evaluate_photos_original", "evaluate_photos_jpeg"),
    }
    assert "items 0/0/6" in plan.describe(loaded, 1)


def test_existing_and_trained_models_stand_side_by_side(own):
    own["data"].pop("fractions")
    own["data"]["path"] = "more"
    for number in range(20):
        for title in ("cat", "dog"):
            Path("more", title).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (number, 9, 9)).save(Path("more", title, f"{number}.png"))
    own |= {"models": {**own["models"], "resnet": {}}, "seeds": [4, 5]}
    own |= {"regimes": {"mixed": {}, "matched": [{"codec": "jpeg"}]}, "attack": {"archs": ["exported", "resnet"]}}
    own["attack"]["regimes"] = ["original", "mixed"]
    loaded = Study({"tasks": {"photos": own}})
    made = {(model.arch, model.regime, model.seed) for model in loaded.models("photos")}
    assert {one for one in made if one[0] != "resnet"} == {("onnx", "original", 4), ("exported", "original", 4)}
    assert ("resnet", "matched_jpeg_10", 4) in made and ("resnet", "mixed", 5) in made
    attacked = {(model.arch, model.regime, model.seed) for model in loaded.attacked("photos")}
    assert attacked == {("exported", "original", 4), ("resnet", "original", 4), ("resnet", "mixed", 4)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": {"resnet": {}}}, r"photos\.data: no items in split 'train', which training resnet needs"),
        ({"regimes": {"mixed": {}}}, r"photos\.regimes: none of the models is trained"),
        ({"attack": {}}, r"photos\.attack: onnx gives no gradients.*an ONNX model.*attack\.archs"),
        ({"models": {"Net": {"checkpoint": "net.pt2", "classes": ["cat", "dog"]}}}, r"models\.Net: name it in small"),
        ({"models": {"n": {"checkpoint": "net.pt2", "classes": ["cat", "dgo"]}}}, r"'dog'; did you mean 'dgo'"),
        ({"models": {"n": {"checkpoint": "gone.pt2", "classes": ["cat", "dog"]}}}, r"gone\.pt2: no such file"),
        ({"models": {"n": {"checkpoint": "net.pt2", "epochs": 3}}}, r"unknown model setting 'epochs'"),
        ({"models": {"torchvision/resnet18": {"checkpoint": "DEFAULT", "class": "a:B"}}}, r"knows its class"),
    ],
)
def test_mistakes_about_existing_models_are_named(own, change, message):
    with pytest.raises(LossyBenchError, match=message):
        Study({"tasks": {"photos": own | change}})


def test_scaling_is_for_pictures_that_are_classified(own):
    own["data"]["scale"] = {"resize": 6, "crop": [4, 5]}
    assert Study({"tasks": {"photos": own}}).scale("photos")["crop"] == [4, 5]
    own["data"]["scale"] = {"resize": 6, "crop": [8, 8]}
    with pytest.raises(LossyBenchError, match=r"photos\.data\.scale: .*crop \[8, 8\] must be within resize, 6"):
        Study({"tasks": {"photos": own}})
    with pytest.raises(LossyBenchError, match=r"words\.data\.scale: is for classifying pictures, not for audio"):
        Study(_changed(tasks__words__data={"adapter": "spoken_words", "scale": {"resize": 6}}))


@pytest.mark.parametrize("path", ["r'x", "r'$(touch pwn)", "r\\x"])
def test_paths_that_snakemake_cannot_hand_to_a_cluster_are_refused(path):
    with pytest.raises(LossyBenchError, match="cluster; rename it"):
        check_for_cluster(["fine $(x)", path])
    check_for_cluster(["results", 'r$(x) "é" & #[1] %s', Path("/a b;c")])


VARIANTS = {
    "jpeg": [50, 5],
    "jpeg444": {"codec": "jpeg", "options": {"chroma": "444"}, "levels": [50, 5], "title": "JPEG without subsampling"},
    "hevc_fast": {"codec": "hevc", "options": {"preset": "ultrafast"}, "levels": [30]},
}


def test_a_variant_has_a_name_of_its_own_and_depends_on_its_codecs_file_alone():
    defences = {"both": {"chain": [{"codec": "jpeg444", "level": 50}, {"codec": "hevc_fast", "level": 30}]}}
    changes = {"tasks__digits__codecs": VARIANTS, "tasks__digits__regimes": {"mixed": {}}}
    attack = {"items": 3, "attacks": {"pgd": ["8/255"]}, "levels": {}, "defences": defences, "codecs": ["jpeg444"]}
    study = Study(_changed(**changes, tasks__digits__attack=attack))
    assert list(study.codecs["digits"]) == ["original", *VARIANTS]
    assert study.codec_modules("digits", "jpeg444") == ["lossybench.codecs.jpeg"]
    assert study.codec_modules("digits", "both") == ["lossybench.codecs.jpeg", "lossybench.codecs.hevc"]
    assert study.coder("digits", "jpeg444") == {"options": {"chroma": "444"}, "variant": {"codec": "jpeg"}}
    assert study.coder("digits", "jpeg") == {"options": {}, "variant": {}}  # as ever
    assert study.codecs["digits"]["hevc_fast"].full_title() == "HEVC ultrafast"
    assert study.analysis_settings("digits")["titles"] == {"jpeg444": "JPEG without subsampling"}
    (made,) = study.defence("digits", "both")["ways"]
    assert [step["variant"] for step in made] == [{"codec": "jpeg"}, {"codec": "hevc"}]
    branch = {str(path) for path in study.branch("jpeg444")}
    assert any("/digits/jpeg444/50/test" in path for path in branch) and not any("/jpeg/" in path for path in branch)
    assert any(path.endswith("both.parquet") for path in branch)  # a defence that the variant is part of


@pytest.mark.parametrize(
    "codecs, message",
    [
        ({"webp": {"codec": "jpeg", "levels": [5]}}, "codecs.webp: is the name of the codec webp"),
        ({"fast": {"codec": "jpg", "levels": [5]}}, "codecs.fast: unknown codec 'jpg'; did you mean 'jpeg'"),
        ({"original": {"codec": "jpeg", "levels": [5]}}, "codecs.original: the original condition is always there"),
        ({"raw": {"codec": "original", "levels": [0]}}, "codecs.raw: the original condition is always there"),
        ({"Fast": {"codec": "jpeg", "levels": [5]}}, "codecs.Fast: name it in small letters"),
        ({"jpeg": [5], "again": {"codec": "jpeg", "levels": [6]}}, "call it 'JPEG', as they do jpeg; give it a title"),
        ({"fast": {"codec": "hevc", "options": {"preset": "fats"}, "levels": [5]}}, "codecs.fast: .*'fast'"),
    ],
)
def test_a_variant_that_cannot_be_is_refused_by_its_name(codecs, message):
    with pytest.raises(LossyBenchError, match=message):
        Study(_changed(tasks__digits__codecs=codecs, tasks__digits__regimes={}, tasks__digits__attack=None))


def test_two_tasks_whose_codecs_would_share_the_names_of_rules_are_refused():
    config = _changed(tasks__digits__codecs={"fast_jpeg": {"codec": "jpeg", "levels": [5]}}, tasks__digits__regimes={})
    config["tasks"]["digits"].pop("attack", None)
    config["tasks"]["digits_fast"] = config["tasks"]["digits"] | {"codecs": {"jpeg": [5]}}
    with pytest.raises(LossyBenchError, match="digits_fast_jpeg also reads as a codec of task digits"):
        Study(config)


def test_steps_of_a_chain_are_codecs_of_the_task_by_name_or_codecs_or_degradations():
    codecs_ = VARIANTS | {
        "camera": {"chain": [{"noise": 4}, {"jpeg444": 90}, {"scale": 0.5}, {"webp": "LEVEL"}], "levels": [80, 20]},
        "again": {"codec": "jpeg", "generations": 5, "levels": [50]},
        "small": {"codec": "webp", "parameter": "bytes", "levels": [900, 400]},
        "quality": {"codec": "h264", "parameter": "crf", "options": {"preset": "fast"}, "levels": [23, 28.5]},
    }
    study = Study(_changed(tasks__digits__codecs=codecs_, tasks__digits__regimes={}, tasks__digits__attack=None))
    of = study.codecs["digits"]
    assert of["camera"].full_title() == "noise σ 4, JPEG 4:4:4 QF 90, scale 0.5, WebP"
    assert study.levels("digits", "camera") == [80, 20] and study.levels("digits", "small") == [900, 400]
    assert (
        study.codec_files("digits", "camera") == ["jpeg", "webp"]
        and study.codec_files("digits", "again")[1:] == ["jpeg"] * 4
    )
    assert study.codec_modules("digits", "camera") == [
        f"lossybench.codecs.{name}" for name in ("jpeg", "webp", "_chain")
    ]
    assert study.codec_modules("digits", "small") == ["lossybench.codecs.webp", "lossybench.codecs._targets"]
    assert of["quality"].level_label(28.5) == "CRF 28.5"
    assert "digits" in plan.describe(study, 2)
    json.dumps([study.coder("digits", name) for name in of])


@pytest.mark.parametrize(
    "chain, message",
    [
        ([{"jpeg": 90, "webp": 5}], r"chain.0: give one codec or degradation and its level"),
        ([{"jpeg": "ninety"}, {"webp": "LEVEL"}], "chain.0.jpeg: a number is its level, or LEVEL; got 'ninety'"),
        ([{"jpeg": True}, {"webp": "LEVEL"}], "chain.0.jpeg: a number is its level"),
        ([{"other": 5}, {"webp": "LEVEL"}], "chain.0: other is a chain itself; name its steps"),
        ([{"jpeg": 900}, {"webp": "LEVEL"}], "codec 'jpeg': QF 900 is out of range"),
        ([{"nosie": 4}, {"webp": "LEVEL"}], "chain.0: unknown step 'nosie'; did you mean 'noise'"),
        ([{"snr": 4}, {"opus": "LEVEL"}], "codec 'chain' is for audio, not for image"),
    ],
)
def test_a_chain_that_cannot_be_is_refused_by_its_key(chain, message):
    codecs_ = {"camera": {"chain": chain, "levels": [20]}, "other": {"codec": "jpeg", "generations": 2, "levels": [5]}}
    with pytest.raises(LossyBenchError, match=f"tasks.digits.codecs.camera: {message}"):
        Study(_changed(tasks__digits__codecs=codecs_, tasks__digits__regimes={}, tasks__digits__attack=None))


def test_a_grid_adds_a_chain_for_each_degradation_which_no_list_of_codecs_has_by_itself():
    codecs_ = {"jpeg": {"levels": [50, 5], "grid": {"noise": [4, 8.5], "light": [0.02]}}, "hevc": [30]}
    changed = _changed(tasks__digits__codecs=codecs_, tasks__digits__regimes={"mixed": {}})
    changed["tasks"]["digits"]["attack"] = {"items": 3, "attacks": {"pgd": ["8/255"]}}
    study = Study(changed)
    added = ["jpeg_noise_4", "jpeg_noise_8_5", "jpeg_light_0_02"]
    assert list(study.codecs["digits"]) == ["original", "jpeg", "hevc", *added]
    assert study.codecs["digits"]["jpeg_noise_8_5"].full_title() == "noise σ 8.5, JPEG"
    assert study.analysis_settings("digits")["grids"]["jpeg_noise_4"] == ["jpeg", "noise", 4, "noise σ 4"]
    (model,) = [model for model in study.models("digits") if model.regime == "mixed"][:1]
    assert {one.codec for one in study.training_conditions(model)} == {"original", "jpeg", "hevc"}
    assert set(study.attacked_codecs("digits")) == {"original", "jpeg", "hevc"}
    codecs_["jpeg_noise_4"] = {"codec": "jpeg", "levels": [5], "title": "Mine"}
    with pytest.raises(LossyBenchError, match=r"codecs.jpeg.grid.noise: adds jpeg_noise_4, which is there already"):
        Study(changed)
    codecs_["jpeg"]["grid"] = {"nosie": [4]}
    with pytest.raises(LossyBenchError, match=r"codecs.jpeg.grid.nosie: .*did you mean 'noise'"):
        Study(changed)


def test_a_codec_that_is_held_out_is_not_learnt_from_in_any_form():
    forms = {
        "camera": {"chain": [{"jpeg": 90}, {"webp": "LEVEL"}], "levels": [80]},
        "again": {"codec": "webp", "generations": 2, "levels": [50]},
    }
    held = [{"codec": "jpeg444"}, {"codec": "camera", "levels": {"hevc_fast": [30]}}]
    regimes = {"mixed": {"levels": {"hevc_fast": [30]}}, "held_out": held}
    study = Study(
        _changed(tasks__digits__codecs=VARIANTS | forms, tasks__digits__regimes=regimes, tasks__digits__attack=None)
    )
    trained = {model.regime: model for model in study.models("digits")}
    first, second = trained["held_out_jpeg444"], trained["held_out_camera"]
    assert [str(one) for one in study.training_conditions(first)] == ["original/0", "hevc_fast/30", "again/50"]
    assert [str(one) for one in study.training_conditions(second)] == ["original/0", "hevc_fast/30"]
    assert study.tested_codecs(first) == ["original", "jpeg444"] and str(Regime.read(first.regime)) == first.regime
    assert "train" in {part for _, codec, part, _ in study.compressions("digits") if codec == "again"}
    with pytest.raises(LossyBenchError, match=r"regimes.held_out.codec: without jpeg no codec is left to train on"):
        Study(_changed(tasks__digits__codecs={"jpeg": [5]}, tasks__digits__regimes={"held_out": [{"codec": "jpeg"}]},
                       tasks__digits__attack=None))  # fmt: skip
    with pytest.raises(
        LossyBenchError, match=r"regimes.held_out.codec: 'jpg' is not in this task; did you mean 'jpeg'"
    ):
        Study(_changed(tasks__digits__codecs=VARIANTS, tasks__digits__regimes={"held_out": [{"codec": "jpg"}]},
                       tasks__digits__attack=None))  # fmt: skip
