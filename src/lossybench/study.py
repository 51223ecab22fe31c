"""The study: what the config says, checked, and what it expands to.

The config's keys are the fields of the models below; `workflow/schemas/config.schema.json` is generated from
them. Snakemake's rules ask a `Study` for the files to make and the parameters of each job, so that a job
depends on just the keys it uses.
"""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import pydantic
import yaml

from lossybench import codecs, data, models, sources
from lossybench.attacks.settings import AttackSettings, Epsilon, check_epsilon
from lossybench.codecs.base import Codec
from lossybench.errors import LossyBenchError, nearest
from lossybench.models import settings as model_settings
from lossybench.models.settings import is_existing
from lossybench.pictures import Scale
from lossybench.tasks import settings as training_settings

ORIGINAL = "original"  # the lossless condition and the regime trained on it
Part = Literal["train", "test"]
Name = Annotated[str, pydantic.StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]

# What a job asks of a cluster by stage, unless the config says otherwise. The two Snakemakes around it take 600 MB.
Stage = Literal["fetch", "compress", "train", "evaluate", "attack", "aggregate", "report"]
MEMORY: dict[Stage, int] = dict(
    fetch=3000, compress=2000, train=6000, evaluate=4000, attack=6000, aggregate=6000, report=3000
)
MINUTES: dict[Stage, int] = dict(fetch=60, compress=30, train=480, evaluate=30, attack=720, aggregate=60, report=30)
GPU_STAGES = ("train", "evaluate", "attack")


def _listed(defaults: dict[Stage, int]) -> str:
    return ", ".join(f"{stage} {amount}" for stage, amount in defaults.items())


class _Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class DataConfig(pydantic.BaseModel):
    """Where a task's items come from: an adapter and its own options."""

    model_config = pydantic.ConfigDict(extra="allow", frozen=True)
    adapter: str = pydantic.Field(
        description="A data set family: a module of lossybench.data, e.g. digits, image_folder."
    )
    scale: Scale | None = pydantic.Field(
        default=None,
        description="Bring pictures to another size as they are read, so that codecs and models see them at that size; "
        "classification of images and video only. At their own size when left out.",
    )

    @property
    def options(self) -> dict[str, Any]:
        """The adapter's own options, as written."""
        return dict(self.model_extra or {})


class CodecConfig(_Section):
    """One codec's levels and encoder options. In YAML a bare list is short for `levels`."""

    levels: list[float] = pydantic.Field(
        min_length=1, description="Levels in any order; the codec knows which is stronger."
    )
    options: dict[str, Any] = pydantic.Field(
        default={}, description="Encoder options, e.g. {chroma: '444', preset: fast}."
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"levels": value} if isinstance(value, list) else value

    @pydantic.field_validator("levels")
    @classmethod
    def _distinct(cls, levels: list[float]) -> list[float]:
        if len(set(levels)) < len(levels):
            raise ValueError("a level is listed twice")
        return levels


class Mixed(_Section):
    """Training on the original and on compressed versions, drawn per item."""

    codecs: list[str] | None = pydantic.Field(
        default=None, description="Codecs to draw from; all of the task's when left out."
    )
    levels: dict[str, list[float]] = pydantic.Field(
        default={}, description="Levels to draw from, per codec; all of the codec's when left out."
    )


class Matched(_Section):
    """One model per level of one codec, trained on that level alone: the train-level x test-level matrix."""

    codec: str = pydantic.Field(description="The codec.")
    levels: list[float] | None = pydantic.Field(
        default=None, description="Levels to train on, one model each; all of the codec when left out."
    )
    archs: list[str] | None = pydantic.Field(default=None, description="Architectures; the task's first when left out.")
    seeds: list[int] | None = pydantic.Field(default=None, description="Seeds; the task's first when left out.")


class Adversarial(_Section):
    """Training on originals that are attacked in every step (PGD, Madry et al. 2018); classification only."""

    epsilon: Epsilon = pydantic.Field(
        description='L-infinity bound as a share of full scale ("8/255"); at least one step of the 8-bit or 16-bit '
        "integers."
    )
    steps: int = pydantic.Field(
        default=3, ge=1, description="Gradient steps an attack; an epoch costs as much as `steps` + 1 others."
    )
    archs: list[str] | None = pydantic.Field(default=None, description="Architectures; the task's first when left out.")
    seeds: list[int] | None = pydantic.Field(default=None, description="Seeds; the task's first when left out.")


class Regimes(_Section):
    """What models are trained on. `original` always is: every limit is measured on it."""

    mixed: Mixed | None = pydantic.Field(default=None, description="Train on a mixture of levels; `{}` for all codecs.")
    matched: list[Matched] = pydantic.Field(default=[], description="Train on one level at a time.")
    adversarial: Adversarial | None = pydantic.Field(default=None, description="Train on attacked originals.")


AttackedRegime = Literal["original", "mixed", "adversarial"]


class AttackConfig(pydantic.BaseModel):
    """Which models and levels are attacked; every other key is a setting of the attack itself."""

    model_config = pydantic.ConfigDict(extra="allow", frozen=True)
    archs: list[str] | None = pydantic.Field(
        default=None, description="Architectures; all of the task's when left out."
    )
    regimes: dict[AttackedRegime, dict[str, Any]] = pydantic.Field(
        default={"original": {}},
        min_length=1,
        description="Regimes to attack, each with attack settings of its own; in YAML a list when there are none.",
    )
    seeds: list[int] | None = pydantic.Field(default=None, description="Seeds; the task's first when left out.")
    codecs: list[str] | None = pydantic.Field(default=None, description="Codecs to attack through; all when left out.")
    levels: dict[str, list[float]] = pydantic.Field(
        default={}, description="Levels per codec; the strongest and the two middle ones when left out."
    )

    @pydantic.field_validator("regimes", mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {name: {} for name in value} if isinstance(value, list) else value

    @property
    def settings(self) -> dict[str, Any]:
        """The attack's own settings, as written, without those of single regimes."""
        return dict(self.model_extra or {})


class TaskConfig(_Section):
    """One data set, its codecs, its models and what is asked of them."""

    data: DataConfig = pydantic.Field(description="The data set adapter and its options.")
    codecs: dict[str, CodecConfig] = pydantic.Field(min_length=1, description="Codec name to levels.")
    models: dict[str, dict[str, Any] | None] = pydantic.Field(
        min_length=1,
        description="Architecture name to training settings of its own, over `training`; or the name of a model that "
        "exists already to its `checkpoint` and what it expects of its input.",
    )
    seeds: list[int] = pydantic.Field(default=[0], min_length=1, description="One model is trained per seed.")
    regimes: Regimes = pydantic.Field(default=Regimes(), description="What models are trained on besides originals.")
    training: dict[str, Any] = pydantic.Field(
        default={}, description="Training settings; `minimum` is the clean validation metric below which the run fails."
    )
    attack: AttackConfig | None = pydantic.Field(default=None, description="Adversarial attacks; none when left out.")


class ClusterConfig(_Section):
    """What jobs ask of a cluster (docs/cluster.md). Nothing here changes a result or makes anything run again."""

    account: str | None = pydantic.Field(default=None, description="Account to charge; the user's own when left out.")
    partition: str | None = pydantic.Field(default=None, description="Partition; the cluster's own when left out.")
    gpu: bool = pydantic.Field(
        default=False, description="Whether train, evaluate and attack jobs ask for one GPU each; compress never does."
    )
    gpu_model: Annotated[str, pydantic.StringConstraints(pattern=r"^[a-zA-Z0-9_.]+$")] | None = pydantic.Field(
        default=None, description="Type of that GPU as Slurm names it, e.g. a100; any when left out."
    )
    gpu_partition: str | None = pydantic.Field(
        default=None, description="Partition of jobs with a GPU; `partition` when left out."
    )
    memory: dict[Stage, pydantic.PositiveInt] = pydantic.Field(
        default={}, description=f"MB a job by stage, over {_listed(MEMORY)}; each further try asks for as much again."
    )
    minutes: dict[Stage, pydantic.PositiveInt] = pydantic.Field(
        default={}, description=f"Minutes a job by stage, over {_listed(MINUTES)}; each further try likewise."
    )

    @pydantic.model_validator(mode="after")
    def _whole(self) -> ClusterConfig:
        for name in ("gpu_model", "gpu_partition"):
            if getattr(self, name) and not self.gpu:
                raise ValueError(f"{name} is set but gpu is not; set gpu: true, or leave {name} out")
        return self


class StudyConfig(_Section):
    """A whole study."""

    results: str = pydantic.Field(default="results", description="Folder that everything is written to.")
    seed: int = pydantic.Field(default=0, ge=0, description="Seed of the data; models have `seeds` of their own.")
    deltas: list[Annotated[float, pydantic.Field(gt=0, lt=100)]] = pydantic.Field(
        default=[1, 2, 5], min_length=1, description="Acceptable losses, in percentage points."
    )
    bootstrap: int = pydantic.Field(default=1000, ge=100, description="Bootstrap resamples behind each interval.")
    tasks: dict[Name, TaskConfig] = pydantic.Field(min_length=1, description="Task name to task.")
    cluster: ClusterConfig = pydantic.Field(
        default=ClusterConfig(), description="What jobs ask of a cluster; read with `--profile slurm` alone."
    )


class Model(NamedTuple):
    """One model of the study."""

    task: str
    arch: str
    regime: str
    seed: int


class Condition(NamedTuple):
    """One codec at one level; ("original", 0) is the lossless one."""

    codec: str
    level: float


def level_name(level: float) -> str:
    """A level as it stands in paths: 10, 0.5."""
    return f"{level:g}"


class Study:
    """A checked config and everything it implies: models, conditions, files, job parameters.

    look: how to see what the tasks' data are: `ask`, `look` or `recall` of lossybench.sources.
    Raises LossyBenchError, naming the key, on anything that could not run: before any job starts.
    """

    def __init__(self, config: dict[str, Any], look: Callable[..., sources.Seen] = sources.ask) -> None:
        self._look = look
        self.config = _validate(config)
        self.root = Path(self.config.results)
        self.seen: dict[str, sources.Seen] = {}
        self.codecs = {name: self._check_task(name, task) for name, task in self.config.tasks.items()}
        for name in self.tasks:
            self._check_attacked(name)

    def _check_task(self, name: str, task: TaskConfig) -> dict[str, Codec]:
        """The task's codecs, the lossless one first, after checking names and levels against each other."""
        where = f"tasks.{name}"
        with _At(f"{where}.data"):
            index, asked = self.root / f"index/{name}.parquet", (task.data.adapter, task.data.options, self.config.seed)
            self.seen[name] = self._look(*asked, index, self.data(name))
        described = self.description(name)
        medium, kind = described.medium, described.kind
        if task.data.scale and (medium == "audio" or kind == "detection"):
            raise LossyBenchError(f"{where}.data.scale: is for classifying pictures, not for {medium} {kind}")
        found: dict[str, Codec] = {ORIGINAL: codecs.get(ORIGINAL)}
        for codec_name, codec in task.codecs.items():
            with _At(f"{where}.codecs.{codec_name}"):
                if codec_name == ORIGINAL:
                    raise LossyBenchError("the original condition is always there; leave it out")
                found[codec_name] = codecs.get(codec_name, codec.options)
                for level in codec.levels:
                    found[codec_name].check(level, medium, described.rate)
        for arch, own in task.models.items():
            with _At(f"{where}.models.{arch}"):
                if own and is_existing(own):
                    if not re.fullmatch(r"[a-z][a-z0-9_]*|torchvision/[a-z0-9_]+", arch):
                        raise LossyBenchError("name it in small letters, digits and _, or torchvision/NAME")
                    model_settings.read(arch, own, medium, kind, described.classes)
                    continue
                models.module_name(arch, medium, kind)
                settings = {**task.training, **(own or {})}
                training_settings.read(settings, medium, kind)
                if "adversarial" in settings:
                    raise LossyBenchError("adversarial training is a regime; set regimes.adversarial instead")
        trained = _trained(task)
        if not trained and task.regimes != Regimes():
            raise LossyBenchError(f"{where}.regimes: none of the models is trained, all exist already; leave it out")
        if trained and described.counts is not None and not described.counts.get("train"):
            raise LossyBenchError(
                f"{where}.data: no items in split 'train', which training {trained[0]} needs; add some, or give models "
                "that exist already (checkpoint)"
            )
        mixed = task.regimes.mixed
        if mixed:
            _among(f"{where}.regimes.mixed.codecs", mixed.codecs or [], task.codecs)
            _levels_among(f"{where}.regimes.mixed.levels", mixed.levels, task.codecs)
        for matched in task.regimes.matched:
            _among(f"{where}.regimes.matched.codec", [matched.codec], task.codecs)
            _levels_among(f"{where}.regimes.matched.levels", {matched.codec: matched.levels or []}, task.codecs)
            _among(f"{where}.regimes.matched.archs", matched.archs or [], trained)
            _among(f"{where}.regimes.matched.seeds", matched.seeds or [], task.seeds)
        adversarial = task.regimes.adversarial
        if adversarial:
            with _At(f"{where}.regimes.adversarial"):
                training_settings.read(_adversary(adversarial), medium, kind)
            with _At(f"{where}.regimes.adversarial.epsilon"):
                check_epsilon(adversarial.epsilon, medium)
            _among(f"{where}.regimes.adversarial.archs", adversarial.archs or [], trained)
            _among(f"{where}.regimes.adversarial.seeds", adversarial.seeds or [], task.seeds)
        if task.attack:
            with _At(f"{where}.attack"):
                for own in task.attack.regimes.values():
                    attack = AttackSettings.of(medium, kind, _attack_settings(task.attack, own, described))
                    if len(described.classes) < 2 and "targeted" in attack.goals:
                        raise LossyBenchError("goals: targeted needs a second class; use [untargeted], or leave it out")
            _among(f"{where}.attack.archs", task.attack.archs or [], task.models)
            _among(f"{where}.attack.seeds", task.attack.seeds or [], task.seeds)
            _among(f"{where}.attack.codecs", task.attack.codecs or [], task.codecs)
            _levels_among(f"{where}.attack.levels", task.attack.levels, task.codecs)
            for arch in task.attack.archs or task.models:
                if not model_settings.has_gradients(arch, task.models[arch]):
                    raise LossyBenchError(
                        f"{where}.attack: {arch} is an ONNX model, which gives no gradients, and attacks follow them; "
                        "name others in attack.archs, or export it by torch.export or TorchScript"
                    )
        return found

    def _check_attacked(self, task: str) -> None:
        trained = self.models(task)
        for model in self.attacked(task):
            if model in trained:
                continue
            there = "; ".join(f"{m.arch}, seed {m.seed}" for m in trained if m.regime == model.regime)
            if not there:
                raise LossyBenchError(
                    f"tasks.{task}.attack.regimes: no {model.regime} models are trained; add regimes.{model.regime}"
                )
            raise LossyBenchError(
                f"tasks.{task}.attack: no {model.regime} model of {model.arch} with seed {model.seed} is trained, only "
                f"of {there}; name these alone in attack.archs and attack.seeds, or more in regimes.{model.regime}"
            )

    # What the study consists of.

    @property
    def tasks(self) -> list[str]:
        """Task names, in the config's order."""
        return list(self.config.tasks)

    def task(self, name: str) -> TaskConfig:
        """One task's config."""
        return self.config.tasks[name]

    def description(self, task: str) -> data.Description:
        """Medium, kind and class names of a task's data set, as far as known without reading it."""
        return self.seen[task].description

    def levels(self, task: str, codec: str) -> list[float]:
        """The codec's levels from the mildest to the strongest; [0] for the lossless one."""
        if codec == ORIGINAL:
            return [0]
        return self.codecs[task][codec].by_strength(self.task(task).codecs[codec].levels)

    def conditions(self, task: str) -> list[Condition]:
        """The original, then every codec at every level."""
        return [Condition(codec, level) for codec in self.codecs[task] for level in self.levels(task, codec)]

    def models(self, task: str) -> list[Model]:
        """Every model of a task."""
        config = self.task(task)
        trained = _trained(config)
        regimes = [ORIGINAL] + (["mixed"] if config.regimes.mixed else [])
        found = self.existing(task)
        found += [Model(task, *rest) for rest in itertools.product(trained, regimes, config.seeds)]
        adversarial = config.regimes.adversarial
        if adversarial:
            archs, seeds = adversarial.archs or trained[:1], adversarial.seeds or config.seeds[:1]
            found += [Model(task, arch, "adversarial", seed) for arch, seed in itertools.product(archs, seeds)]
        for matched in config.regimes.matched:
            archs, seeds = matched.archs or trained[:1], matched.seeds or config.seeds[:1]
            levels = [lv for lv in self.levels(task, matched.codec) if lv in (matched.levels or [lv])]
            for arch, level, seed in itertools.product(archs, levels, seeds):
                found.append(Model(task, arch, f"matched_{matched.codec}_{level_name(level)}", seed))
        return list(dict.fromkeys(found))

    def existing(self, task: str) -> list[Model]:
        """The models of a task that exist already. They stand beside those trained on originals, with one seed."""
        config = self.task(task)
        names = [arch for arch, own in config.models.items() if is_existing(own)]
        return [Model(task, arch, ORIGINAL, config.seeds[0]) for arch in names]

    def training_conditions(self, model: Model) -> list[Condition]:
        """What a model of this regime is trained on; nothing, if it exists already."""
        original = Condition(ORIGINAL, 0)
        config = self.task(model.task)
        if is_existing(config.models[model.arch]):
            return []
        if model.regime in (ORIGINAL, "adversarial"):
            return [original]
        if model.regime == "mixed":
            mixed = config.regimes.mixed
            assert mixed is not None
            return [original] + [
                Condition(codec, level)
                for codec in mixed.codecs or config.codecs
                for level in self.levels(model.task, codec)
                if level in mixed.levels.get(codec, [level])
            ]
        _, codec, level = re.fullmatch(r"(matched)_(\w+)_([^_]+)", model.regime).groups()  # type: ignore[union-attr]
        return [Condition(codec, float(level))]

    def tested_codecs(self, model: Model) -> list[str]:
        """The codecs a model is tested on: all, but for a matched model its own and the original."""
        if model.regime.startswith("matched_"):
            return [ORIGINAL, self.training_conditions(model)[0].codec]
        return list(self.codecs[model.task])

    def attacked(self, task: str) -> list[Model]:
        """The models that are attacked."""
        config = self.task(task)
        if not config.attack:
            return []
        archs, seeds = config.attack.archs or list(config.models), config.attack.seeds or config.seeds[:1]
        attacked = [Model(task, *rest) for rest in itertools.product(archs, config.attack.regimes, seeds)]
        existing = self.existing(task)
        kept = (m for m in attacked if not is_existing(config.models[m.arch]) or m in existing)
        return list(dict.fromkeys(kept))

    def attacked_codecs(self, task: str) -> list[str]:
        """The codecs that are attacked through, and the original, whose attacks are on the bare model."""
        attack = self.task(task).attack
        return list(dict.fromkeys([ORIGINAL, *((attack and attack.codecs) or self.task(task).codecs)]))

    def transferred(self, model: Model) -> list[Model]:
        """The models whose adversarial items this one meets: of the other attacked regimes."""
        return [m for m in self.attacked(model.task) if m != model and m._replace(regime=model.regime) == model]

    def attacked_levels(self, task: str, codec: str) -> list[float]:
        """The levels that are attacked, mildest first: as configured, else the two middle ones and the strongest."""
        attack = self.task(task).attack
        levels = self.levels(task, codec)
        if attack and codec in attack.levels:
            return self.codecs[task][codec].by_strength(attack.levels[codec])
        middle = (len(levels) - 1) // 2
        return list(dict.fromkeys([*levels[middle : middle + 2], levels[-1]]))

    # Files.

    def data(self, task: str) -> Path:
        """The task's items."""
        return self.root / "data" / f"{task}.parquet"

    def compressed(self, task: str, condition: Condition, part: Part) -> Path:
        """One condition's bitstreams of the test split, or of the train and validation splits."""
        return self.root / "compressed" / task / condition.codec / level_name(condition.level) / f"{part}.parquet"

    def model(self, model: Model) -> Path:
        """A model's folder."""
        return self.root / "models" / model.task / model.arch / model.regime / str(model.seed)

    def outcomes(self, model: Model, codec: str) -> Path:
        """A model's outcomes on all levels of a codec."""
        return self.root / "outcomes" / model.task / model.arch / model.regime / str(model.seed) / f"{codec}.parquet"

    def attacks(self, model: Model, codec: str) -> Path:
        """A model's attacked items and outcomes through a codec."""
        return self.root / "attacks" / model.task / model.arch / model.regime / str(model.seed) / f"{codec}.parquet"

    def summary(self, task: str) -> Path:
        """The folder of a task's summary tables."""
        return self.root / "summary" / task

    def figures(self, task: str) -> Path:
        """The folder of a task's figures."""
        return self.root / "figures" / task

    # All files of a stage.

    def all_compressed(self, task: str, part: Part) -> list[Path]:
        """Every condition's test part; or the training parts that some model needs."""
        conditions: Iterator[Condition] | list[Condition] = self.conditions(task)
        if part == "train":
            conditions = itertools.chain.from_iterable(map(self.training_conditions, self.models(task)))
        return [self.compressed(task, c, part) for c in dict.fromkeys(conditions)]

    def all_outcomes(self, task: str) -> list[Path]:
        """Every model's outcomes on every codec it is tested on."""
        return [self.outcomes(m, codec) for m in self.models(task) for codec in self.tested_codecs(m)]

    def all_attacks(self, task: str) -> list[Path]:
        """Every attacked model's attack tables."""
        return [self.attacks(m, codec) for m in self.attacked(task) for codec in self.attacked_codecs(task)]

    def branch(self, codec: str) -> list[Path]:
        """All that is made with one codec: bitstreams, outcomes, attacks."""
        found = []
        for task in self.tasks:
            if codec in self.codecs[task]:
                found += [self.compressed(task, Condition(codec, lv), "test") for lv in self.levels(task, codec)]
                found += [self.outcomes(m, codec) for m in self.models(task) if codec in self.tested_codecs(m)]
                if codec in self.attacked_codecs(task):
                    found += [self.attacks(m, codec) for m in self.attacked(task)]
        return found

    @property
    def codec_names(self) -> list[str]:
        """Every codec of the study, the original left out."""
        return list(dict.fromkeys(c for task in self.codecs.values() for c in task if c != ORIGINAL))

    # Job parameters.

    def scale(self, task: str) -> dict[str, Any] | None:
        """How a task's pictures are scaled as they are read."""
        scale = self.task(task).data.scale
        return scale.model_dump(mode="json") if scale else None

    def codec_options(self, task: str, codec: str) -> dict[str, Any]:
        """The encoder options of a task's codec."""
        return {} if codec == ORIGINAL else self.task(task).codecs[codec].options

    def training_settings(self, model: Model) -> dict[str, Any]:
        """Training settings of a model. Only models trained on originals must reach the minimum."""
        config = self.task(model.task)
        settings = {**config.training, **(config.models[model.arch] or {})}
        if model.regime != ORIGINAL:
            settings.pop("minimum", None)
        if model.regime == "adversarial":
            assert config.regimes.adversarial is not None
            settings |= _adversary(config.regimes.adversarial)
        return settings

    def existing_settings(self, model: Model) -> dict[str, Any]:
        """What the config says of a model that exists already."""
        return dict(self.task(model.task).models[model.arch] or {})

    def attack(self, model: Model) -> AttackSettings:
        """The settings of a model's attacks, defaults filled in."""
        about = self.description(model.task)
        return AttackSettings.of(about.medium, about.kind, self._attack_settings(model))

    def attack_settings(self, model: Model, codec: str) -> dict[str, Any]:
        """Attack settings of a model and codec."""
        levels = self.attacked_levels(model.task, codec)
        return {**self._attack_settings(model), "levels": levels, "seed": self.config.seed}

    def _attack_settings(self, model: Model) -> dict[str, Any]:
        attack = self.task(model.task).attack
        assert attack is not None
        return _attack_settings(attack, attack.regimes[model.regime], self.description(model.task))  # type: ignore[index]

    def requests(self, stage: Stage, attempt: int = 1) -> dict[str, int | str]:
        """What a job of a stage asks of a cluster at its n-th attempt, by the names of Snakemake's resources.

        mem_mb (MB) and runtime (minutes) grow with the attempt; gpu, gpu_model, slurm_partition and slurm_account are
        there when the config sets them and the stage uses them.
        """
        cluster = self.config.cluster
        asked: dict[str, int | str | None] = {
            "mem_mb": attempt * {**MEMORY, **cluster.memory}[stage],
            "runtime": attempt * {**MINUTES, **cluster.minutes}[stage],
            "slurm_account": cluster.account,
            "slurm_partition": cluster.partition,
        }
        if cluster.gpu and stage in GPU_STAGES:
            asked |= {"gpu": 1, "gpu_model": cluster.gpu_model}
            asked["slurm_partition"] = cluster.gpu_partition or cluster.partition
        return {name: value for name, value in asked.items() if value is not None}

    def analysis_settings(self) -> dict[str, Any]:
        """What aggregation needs of the config."""
        return {"deltas": self.config.deltas, "bootstrap": self.config.bootstrap, "seed": self.config.seed}


def load(path: Path | str) -> Study:
    """Read a study's YAML. A model's class may lie beside it. Raises LossyBenchError naming the file and key."""
    config = _yaml(path)
    sys.path.append(str(Path(path).resolve().parent))
    with _At(str(path)):
        return Study(config)


def read(path: Path | str) -> StudyConfig:
    """A study's YAML, its keys checked but not its data. Raises LossyBenchError naming the file and key."""
    with _At(str(path)):
        return _validate(_yaml(path))


def _yaml(path: Path | str) -> Any:
    try:
        return yaml.safe_load(Path(path).read_text())
    except FileNotFoundError:
        raise LossyBenchError(f"{path}: no such config file") from None
    except yaml.YAMLError as error:
        raise LossyBenchError(f"{path}: not YAML: {error}") from None


def schema() -> str:
    """The config's JSON schema, as text."""
    return json.dumps(StudyConfig.model_json_schema(), indent=2) + "\n"


class _At:
    """Prefixes LossyBenchErrors with the place in the config that they come from."""

    def __init__(self, where: str) -> None:
        self.where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, LossyBenchError):
            raise LossyBenchError(f"{self.where}: {error}") from None


def _attack_settings(attack: AttackConfig, own: Mapping[str, Any], about: data.Description) -> dict[str, Any]:
    """Attack settings with a regime's own; of a single class, which has no other to aim at, untargeted by default."""
    alone = {"goals": ["untargeted"]} if len(about.classes) < 2 else {}
    return {**alone, **attack.settings, **own}


def _trained(task: TaskConfig) -> list[str]:
    """The architectures that are trained."""
    return [arch for arch, own in task.models.items() if not is_existing(own)]


def _adversary(regime: Adversarial) -> dict[str, Any]:
    """What the regime adds to the training settings."""
    return {"adversarial": {"epsilon": regime.epsilon, "steps": regime.steps}}


def _among(where: str, chosen: list[Any], known: Any) -> None:
    for one in chosen:
        if one not in known:
            text = level_name(one) if isinstance(one, float) else one
            names = (level_name(other) if isinstance(other, float) else str(other) for other in known)
            raise LossyBenchError(f"{where}: {text!r} is not in this task; {nearest(str(text), names)}")


def _levels_among(where: str, chosen: dict[str, list[float]], known: dict[str, CodecConfig]) -> None:
    _among(where, list(chosen), known)
    for codec, levels in chosen.items():
        _among(f"{where}.{codec}", levels, known[codec].levels)


def _validate(config: Any) -> StudyConfig:
    if not isinstance(config, dict):
        raise LossyBenchError("the config is empty; it needs at least `tasks`")
    try:
        return StudyConfig.model_validate(config)
    except pydantic.ValidationError as error:
        raise LossyBenchError("; ".join(_explain(one) for one in error.errors())) from None


def _explain(error: Any) -> str:
    """One pydantic error as a sentence: the key's whole path, what is wrong, the nearest right key."""
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] != "extra_forbidden":
        return f"{path}: {error['msg'].lower()} (got {error['input']!r})"
    section = StudyConfig
    for part in error["loc"][:-1]:
        section = _section_below(section, part)
    return f"{path}: unknown key; {nearest(str(error['loc'][-1]), section.model_fields)}"


def _section_below(section: Any, key: Any) -> Any:
    """The model that `section.key` holds; keys of mappings and lists stay in their model."""
    if key not in section.model_fields:
        return section
    annotation = section.model_fields[key].annotation
    queue = [annotation]
    while queue:
        one = queue.pop()
        if isinstance(one, type) and issubclass(one, pydantic.BaseModel):
            return one
        queue += getattr(one, "__args__", ())
    return section
