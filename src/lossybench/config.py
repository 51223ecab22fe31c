"""The sections of a study's config and their checks.

The config's keys are the fields of the models below, and `workflow/schemas/config.schema.json` is generated from them.
The settings of training, of models that exist already and of attacks are checked by their own packages.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import pydantic
from pydantic import Field, field_validator, model_validator

from lossybench import codecs, kinds, measures, models, yaml_files
from lossybench.attacks.attack_settings import AttackSettings, Distinct, Epsilon, check_epsilon
from lossybench.codecs import Codec
from lossybench.codecs._variants import LEVEL
from lossybench.conditions import ORIGINAL, level_text
from lossybench.data._folds import Folds
from lossybench.data.dataset import Description
from lossybench.errors import LossyBenchError, key, nearest, refusal, shown
from lossybench.fidelity import How
from lossybench.models import existing_settings
from lossybench.models.existing_settings import is_existing
from lossybench.pictures import Scale
from lossybench.settings import MOST, Seed, Settings
from lossybench.tasks import training_settings

# Names become parts of paths, and of the names of rules.
NAME = r"^[a-z][a-z0-9_]*$"
Name = Annotated[str, pydantic.StringConstraints(pattern=NAME, max_length=60)]
_OfCluster = Annotated[str, pydantic.StringConstraints(pattern=r"^[\w.][\w.,:@-]*$")]
_ARCH = re.compile(r"[a-z][a-z0-9_]*|(torchvision|torchaudio)/[a-z0-9_]+")

# The MB and minutes that a stage's job asks of a cluster unless the config says otherwise. The two Snakemakes around
# the job take 600 MB of them.
Stage = Literal[
    "fetch", "learn_codec", "preflight", "compress", "timing", "train", "evaluate", "attack", "aggregate", "report"
]
MEMORY: dict[Stage, int] = dict(
    fetch=3000,
    learn_codec=3000,
    preflight=6000,
    compress=2000,
    timing=2000,
    train=6000,
    evaluate=4000,
    attack=6000,
    aggregate=6000,
    report=3000,
)
MINUTES: dict[Stage, int] = dict(
    fetch=60,
    learn_codec=120,
    preflight=60,
    compress=120,
    timing=60,
    train=480,
    evaluate=120,
    attack=720,
    aggregate=60,
    report=30,
)
SHOWN = 5  # the wrong keys that one message names
GPU_STAGES = ("train", "evaluate", "attack")


def _listed(defaults: dict[Stage, int]) -> str:
    return ", ".join(f"{stage} {amount}" for stage, amount in defaults.items())


class DataConfig(Settings):
    """Where a task's items come from: an adapter and its own options."""

    model_config = pydantic.ConfigDict(extra="allow")
    adapter: str = Field(
        description="A data set family: a module of lossybench.data, e.g. digits, image_folder; or a class of "
        "your own, module:Class, in a file beside the config (docs/tasks.md)."
    )
    scale: Scale | None = Field(
        default=None,
        description="Bring pictures to another size as they are read, so that codecs and models see them at that size; "
        "classification of images and video only. At their own size when left out.",
    )

    @property
    def options(self) -> dict[str, Any]:
        """The adapter's own options, as the config gives them."""
        return dict(self.model_extra or {})


class CodecConfig(Settings):
    """One codec's levels and encoder options. In YAML a bare list is short for `levels`."""

    levels: list[float] = Field(min_length=1, description="Levels in any order; the codec knows which is stronger.")
    options: dict[str, Any] = Field(default={}, description="Encoder options, e.g. {chroma: '444', preset: fast}.")
    codec: str | None = Field(
        default=None,
        description="Which codec it is, where the key is a name of your own; `lossybench codecs` lists them.",
    )
    parameter: str | None = Field(
        default=None,
        min_length=1,
        description="What the levels are, if not the codec's own parameter: bytes or bpp, a size that each item's file "
        "may have at most; of H.264 and HEVC crf or bitrate.",
    )
    chain: list[dict[str, Any]] | None = Field(
        default=None,
        min_length=1,
        description="Steps in place of a codec, e.g. [{noise: 4}, {jpeg: 90}, {webp: LEVEL}]: a codec or a degradation "
        "and its level, where LEVEL is the chain's own; the last is a codec (docs/variants.md).",
    )
    generations: int | None = Field(default=None, ge=2, le=1000, description="How often each item is coded in a row.")
    grid: dict[str, Annotated[list[float], Field(min_length=1), Distinct]] = Field(
        default={},
        description="Degradations and their levels, e.g. {noise: [4, 8]}: each adds a chain, with the degradation "
        "before the codec, and reports say how the limit moves (docs/variants.md).",
    )
    title: str | None = Field(
        default=None,
        min_length=1,
        max_length=60,
        description="What reports call it; by its codec and options when left out, e.g. JPEG 4:4:4.",
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        return {"levels": value} if isinstance(value, list) else value

    @field_validator("levels")
    @classmethod
    def _distinct(cls, levels: list[float]) -> list[float]:
        twice = [level_text(level) for level in set(levels) if levels.count(level) > 1]
        if twice:
            raise ValueError(f"level {twice[0]} is listed twice, or written in two ways; list each level once")
        return levels

    @model_validator(mode="after")
    def _one_kind(self) -> CodecConfig:
        if self.chain and (self.codec or self.options or self.parameter or self.generations):
            raise ValueError(
                "a chain has no codec, options, parameter or generations of its own; give them to its steps"
            )
        return self

    def variant(self, known: Mapping[str, CodecConfig]) -> dict[str, Any]:
        """What the codec is, where its name does not say it (lossybench.codecs._variants).

        known: the codecs of the task, which steps of a chain may name. Raises LossyBenchError for what is no step.
        """
        told: dict[str, Any] = {"codec": self.codec, "parameter": self.parameter, "generations": self.generations}
        told |= {"chain": [_step(place, step, known) for place, step in enumerate(self.chain or [])]}
        return {key: value for key, value in told.items() if value}

    def made(self, name: str, known: Mapping[str, CodecConfig]) -> Codec:
        """The codec, which a task calls `name`. known: as of `variant`. Raises LossyBenchError as codecs.made does."""
        variant = self.variant(known)
        if name in codecs.names() and ((self.codec or name) != name or self.chain):
            what = f"the variant of {self.codec}" if self.codec else "the chain"
            raise LossyBenchError(f"is the name of the codec {name}; give {what} another one")
        if variant and not (re.fullmatch(NAME, name) and len(name) <= 60):
            raise LossyBenchError("name it in small letters, digits and _, a letter first, up to 60 of them")
        return codecs.made(name, self.options, variant)


def _step(place: int, step: Mapping[str, Any], known: Mapping[str, CodecConfig]) -> dict[str, Any]:
    """A step of a chain as `lossybench.codecs._variants` has it. known: see `CodecConfig.variant`."""
    named = [key for key in step if key != "options"]
    if len(named) != 1:
        raise LossyBenchError(
            f"chain.{place}: give one codec or degradation and its level, e.g. {{jpeg: 90}}, and maybe options; got "
            f"{shown(dict(step))}"
        )
    (what,) = named
    level, options = step[what], step.get("options", {})
    numeric = isinstance(level, int | float) and not isinstance(level, bool) and abs(level) < 10**9
    if not numeric and not (isinstance(level, str) and level == LEVEL):
        raise LossyBenchError(f"chain.{place}.{what}: a number is its level, or {LEVEL}; got {shown(level)}")
    if not isinstance(what, str) or not isinstance(options, dict):
        raise LossyBenchError(f"chain.{place}: {shown(dict(step))} is no step; give {{jpeg: 90, options: {{...}}}}")
    own = known.get(what)
    if own and (own.chain or own.generations):
        raise LossyBenchError(f"chain.{place}: {what} is a chain itself; name its steps")
    variant = own.variant(known) if own else {}
    return {"step": what, "level": level, "options": {**(own.options if own else {}), **options}, "variant": variant}


class Grid(NamedTuple):
    """What a grid adds to a codec of a task: a degradation before it, at a level."""

    codec: str
    degradation: str
    level: float


class Mixed(Settings):
    """Training on the original and on compressed versions, one of which is drawn for each item."""

    codecs: list[str] | None = Field(default=None, description="Codecs to draw from; all of the task's when left out.")
    levels: dict[str, list[float]] = Field(
        default={}, description="Levels to draw from, per codec; all of the codec's when left out."
    )
    archs: list[str] | None = Field(default=None, description="Architectures; all of the task's when left out.")
    seeds: list[Seed] | None = Field(default=None, description="Seeds; all of the task's when left out.")


class Matched(Settings):
    """One model per level of one codec, trained on that level alone: the train-level x test-level matrix."""

    codec: str = Field(description="The codec.")
    levels: list[float] | None = Field(
        default=None, description="Levels, one model each; all of the codec's when left out."
    )
    archs: list[str] | None = Field(default=None, description="Architectures; the task's first when left out.")
    seeds: list[Seed] | None = Field(default=None, description="Seeds; the task's first when left out.")


class HeldOut(Settings):
    """Training on a mixture without one codec, and testing on that codec: does what is learnt carry over?"""

    codec: str = Field(
        description="The codec that is left out, with all variants and chains of the task in which its encoder is."
    )
    levels: dict[str, list[float]] = Field(
        default={}, description="Levels of the other codecs to draw from; those of `mixed`, or all, when left out."
    )
    archs: list[str] | None = Field(default=None, description="Architectures; the task's first when left out.")
    seeds: list[Seed] | None = Field(default=None, description="Seeds; the task's first when left out.")


class Adversarial(Settings):
    """Training on originals that are attacked in every step (PGD, Madry et al. 2018); classification only."""

    epsilon: Epsilon = Field(
        description='L-infinity bound as a share of full scale ("8/255"); at least one step of the 8-bit or 16-bit '
        "integers."
    )
    steps: int = Field(
        default=3, ge=1, le=MOST, description="Gradient steps an attack; an epoch costs as much as `steps` + 1 others."
    )
    archs: list[str] | None = Field(default=None, description="Architectures; the task's first when left out.")
    seeds: list[Seed] | None = Field(default=None, description="Seeds; the task's first when left out.")

    @property
    def settings(self) -> dict[str, Any]:
        """What the regime adds to the training settings."""
        return {"adversarial": {"epsilon": self.epsilon, "steps": self.steps}}


class Regimes(Settings):
    """What models are trained on. `original` always is: every limit is measured on it."""

    mixed: Mixed | None = Field(default=None, description="Train on a mixture of levels; `{}` for all codecs.")
    matched: list[Matched] = Field(default=[], description="Train on one level at a time.")
    held_out: list[HeldOut] = Field(default=[], description="Train on a mixture that lacks the codec tested on.")
    adversarial: Adversarial | None = Field(default=None, description="Train on attacked originals.")


AttackedRegime = Literal["original", "mixed", "adversarial"]


class Step(Settings):
    """One codec at one level, in a chain of several."""

    codec: str = Field(description="The codec, one of the task's.")
    level: float = Field(description="Its level, any that the codec takes.")


class DefenceConfig(Settings):
    """More than one codec at one level in front of a model: one drawn for each query, or several in a row."""

    draw: dict[str, Annotated[list[float], Field(min_length=1), Distinct]] | None = Field(
        default=None, description="Codec to levels; for each query one of all these is drawn, each as often."
    )
    chain: Annotated[list[Step], Field(min_length=2)] | None = Field(
        default=None, description="Codecs that an item goes through one after the other, two or more."
    )

    @model_validator(mode="after")
    def _one_kind(self) -> DefenceConfig:
        if (self.draw is None) == (self.chain is None):
            raise ValueError("give either draw, such as {jpeg: [75, 25]}, or chain, [{codec: jpeg, level: 50}, ...]")
        if len(self.ways) < 2 and self.chain is None:
            raise ValueError("draw needs two levels or more; a codec at one level is attacked as a codec")
        return self

    @property
    def ways(self) -> list[list[Step]]:
        """What an item may go through, of which one is drawn: codecs at levels, one after the other."""
        drawn = [[Step(codec=codec, level=level)] for codec, levels in (self.draw or {}).items() for level in levels]
        return [self.chain] if self.chain else drawn

    @property
    def codecs(self) -> list[str]:
        """The codecs that it is made of."""
        return list(dict.fromkeys(step.codec for way in self.ways for step in way))


class AttackConfig(Settings):
    """Which models and levels are attacked; every other key is a setting of the attack itself."""

    model_config = pydantic.ConfigDict(extra="allow")
    archs: list[str] | None = Field(default=None, description="Architectures; all of the task's when left out.")
    regimes: dict[AttackedRegime, dict[str, Any]] = Field(
        default={"original": {}},
        min_length=1,
        description="Regimes to attack, each with attack settings of its own; in YAML a list when there are none.",
    )
    seeds: list[Seed] | None = Field(default=None, description="Seeds; the task's first when left out.")
    codecs: list[str] | None = Field(default=None, description="Codecs to attack through; all when left out.")
    levels: dict[str, list[float]] = Field(
        default={}, description="Levels per codec; the strongest and the two middle ones when left out."
    )
    defences: dict[Name, DefenceConfig] = Field(
        default={},
        description="Names of your own to what else to attack through: a level drawn for each query, or a chain of "
        "codecs (docs/attacks.md).",
    )

    @field_validator("regimes", mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        listed = isinstance(value, list) and all(isinstance(name, str) for name in value)
        return {name: {} for name in value} if listed else value

    def settings(self, regime: str, about: Description) -> dict[str, Any]:
        """The attack settings of a regime: those of all regimes, then its own; of all regimes alone for "".

        about: the task's data set. Where it has a single class there is no other to aim at, so that the attack is
        untargeted unless the config gives goals.
        """
        alone = {"goals": ["untargeted"]} if len(about.classes) < 2 else {}
        return {**alone, **(self.model_extra or {}), **self.regimes.get(regime, {})}  # type: ignore[call-overload]


class TaskConfig(Settings):
    """One data set, its codecs, its models and what is asked of them."""

    data: DataConfig = Field(description="The data set adapter and its options.")
    codecs: dict[str, CodecConfig] = Field(min_length=1, description="Codec name to levels.")
    models: dict[str, dict[str, Any] | None] = Field(
        min_length=1,
        description="Architecture name to training settings of its own, over `training`; or the name of a model that "
        "exists already to its `checkpoint` and what it expects of its input.",
    )
    seeds: list[Seed] = Field(default=[0], min_length=1, description="One model is trained per seed.")
    folds: Folds | None = Field(
        default=None,
        description="Cross-validation: a model for each fold learns from the others, and each item is tested once "
        "(docs/folds.md). The data set's own splits when left out.",
    )
    regimes: Regimes = Field(default=Regimes(), description="What models are trained on besides originals.")
    training: dict[str, Any] = Field(
        default={}, description="Training settings; `minimum` is the clean validation metric below which the run fails."
    )
    attack: AttackConfig | None = Field(default=None, description="Adversarial attacks; none when left out.")
    fidelity: How = Field(
        default="sampled",
        description="How much of the test items' fidelity is measured: all of it (full), or of many items about "
        "500, of clips every fourth frame, of larger pictures some of SSIM's windows (sampled), or none.",
    )
    measures: Annotated[list[str], Distinct] = Field(
        default=[],
        description="Further measures of fidelity, e.g. [ms_ssim, ssimulacra2]; `lossybench measures` lists them.",
    )
    looks: list[Annotated[int, Field(ge=1, le=MOST)]] = Field(
        default=[],
        description="How many test items are tested on first, and how many at each further look, which "
        "`lossybench more` takes while rows are undecided: [1000, 2000, 4000]. All at once when left out.",
    )
    by: Annotated[list[str], Distinct] | None = Field(
        default=None,
        description="What losses are told apart by: class, size (of objects), and the factors that the data set names, "
        "e.g. [speaker, class]. Class, size and all factors of 2 to 50 groups when left out; [] for none.",
    )

    truth: Literal["labels", "model", "scores"] = Field(
        default="labels",
        description="What answers are compared with: what is known of the items (labels), or what the same model "
        "answers on the originals (model), for which items need no labels; with scores, a changed answer of a "
        "classifier counts by how much surer the model was of its own (docs/models.md).",
    )
    truth_score: float = Field(
        default=0.5,
        gt=0,
        lt=1,
        description="With `truth: model`, the least score of a detection on originals that counts as an object.",
    )

    @field_validator("looks")
    @classmethod
    def _growing(cls, looks: list[int]) -> list[int]:
        steps = [10 * n >= 11 * before for before, n in itertools.pairwise(looks)]
        if looks and (not all(steps) or len(looks) == 1 or 10 * looks[0] < looks[-1]):
            raise ValueError(
                "give two or more numbers of test items, each larger than the one before by a tenth or more, the first "
                "at least a tenth of the last"
            )
        return looks

    @functools.cached_property
    def grids(self) -> dict[str, Grid]:
        """The chains that grids add, by name: "jpeg_noise_4", "jpeg_light_0_02"."""
        return {
            re.sub("[.-]", "_", f"{name}_{what}_{level_text(level)}"): Grid(name, what, level)
            for name, own in self.codecs.items()
            for what, levels in own.grid.items()
            for level in levels
        }

    @functools.cached_property
    def coders(self) -> dict[str, CodecConfig]:
        """All codecs by name, with those that grids add."""
        found = dict(self.codecs)
        for name, (codec, what, level) in self.grids.items():
            own = self.codecs[codec]
            chain = [{what: level}, *(own.chain or [{codec: LEVEL}] * (own.generations or 1))]
            found[name] = CodecConfig.model_construct(levels=own.levels, options={}, chain=chain)
        return found

    def without(self, codec: str) -> list[str]:
        """The codecs in which no encoder of `codec` is."""
        encoders = {name: set(codecs.files(name, own.variant(self.codecs))) for name, own in self.codecs.items()}
        return [name for name, own in encoders.items() if not own & encoders[codec]]

    @property
    def trained(self) -> list[str]:
        """The architectures that are trained, which are those whose models do not exist already."""
        return [arch for arch, own in self.models.items() if not is_existing(own)]


class ClusterConfig(Settings):
    """What jobs ask of a cluster (docs/cluster.md). Nothing here changes a result or makes anything run again."""

    account: _OfCluster | None = Field(default=None, description="Account to charge; the user's own when left out.")
    partition: _OfCluster | None = Field(default=None, description="Partition; the cluster's own when left out.")
    gpu: bool = Field(
        default=False, description="Whether train, evaluate and attack jobs ask for one GPU each; compress never does."
    )
    gpu_model: Annotated[str, pydantic.StringConstraints(pattern=r"^[a-zA-Z0-9_.]+$")] | None = Field(
        default=None, description="Type of that GPU as Slurm names it, e.g. a100; any when left out."
    )
    gpu_partition: _OfCluster | None = Field(
        default=None, description="Partition of GPU jobs; `partition` when left out."
    )
    memory: dict[Stage, Annotated[int, Field(gt=0, le=100 * MOST)]] = Field(
        default={}, description=f"MB a job by stage, over {_listed(MEMORY)}; each further try asks for as much again."
    )
    minutes: dict[Stage, Annotated[int, Field(gt=0, le=MOST)]] = Field(
        default={}, description=f"Minutes a job by stage, over {_listed(MINUTES)}; each further try likewise."
    )

    @model_validator(mode="after")
    def _whole(self) -> ClusterConfig:
        for name in ("gpu_model", "gpu_partition"):
            if getattr(self, name) and not self.gpu:
                raise ValueError(f"{name} is set but gpu is not; set gpu: true, or leave {name} out")
        return self


class Prices(Settings):
    """What is paid, for the report's costs of a million items. An edit makes that page alone again."""

    storage: float = Field(default=0.02, ge=0, description="Of a gigabyte (10^9 bytes) for a month.")
    months: float = Field(default=12, ge=0, description="How long items are stored.")
    transfer: float = Field(default=0.05, ge=0, description="Of a gigabyte that is sent.")
    reads: float = Field(default=10, ge=0, description="How often each item is sent and decoded, e.g. epochs.")
    cpu: float = Field(default=0.04, ge=0, description="Of a core for an hour.")
    currency: str = Field(default="$", min_length=1, max_length=8, description="What prices are in.")


class StudyConfig(Settings):
    """A whole study."""

    results: str = Field(default="results", description="Folder that everything is written to.")
    seed: Seed = Field(default=0, description="Seed of the data; models have `seeds` of their own.")
    # To decide on a thousandth of a point takes up to 10^13 items, and more than 10^18 would not fit the tables.
    deltas: list[Annotated[float, Field(ge=0.001, lt=100)]] = Field(
        default=[1, 2, 5], min_length=1, description="Acceptable losses, in percentage points."
    )
    defence_margin: float = Field(
        default=10,
        gt=0,
        lt=100,
        description="Points: a smaller gain under attack is no defence, and checks must see an attack that is this much"
        " poorer.",
    )
    rate: Literal["file", "coded"] = Field(
        default="file",
        description="What rates, savings and codecs at equal rate are counted by: the codec's file as it lies on disk,"
        " or the coded media in it alone. It compresses nothing again.",
    )
    bootstrap: int = Field(default=1000, ge=100, le=100_000, description="Bootstrap resamples behind each interval.")
    prices: Prices = Field(
        default=Prices(), description="Prices, for what a million items cost; round ones of our own when left out."
    )
    tasks: dict[Name, TaskConfig] = Field(min_length=1, description="Task name to task.")
    decoded: float = Field(
        default=20,
        ge=0,
        le=MOST,
        description="GB of disk for decoded media that training jobs share, below the results, until the run ends; 0 "
        "shares none. It changes no result and makes nothing run again.",
    )
    cluster: ClusterConfig = Field(
        default=ClusterConfig(), description="What jobs ask of a cluster; read with `--profile slurm` alone."
    )

    @field_validator("results")
    @classmethod
    def _nameable(cls, results: str) -> str:
        if results.strip("./ ") == "" and not results.startswith(".."):
            raise ValueError("give the results a folder of their own")
        if results[0] in "-~ ":
            raise ValueError(f"must not begin with {results[0]!r}; write the whole path, or another name")
        if wrong := next((one for one in results if one in "{}" or not (one.isprintable() or one.isspace())), ""):
            raise ValueError(
                f"must not contain {wrong!r}, which Snakemake takes for its own; name the folder otherwise"
            )
        if wrong := next((one for one in results if one.isspace() and one != " "), ""):
            raise ValueError(f"must not contain {wrong!r}; name the folder otherwise")
        if max(len(os.fsencode(part)) for part in Path(results).parts) > 255:
            raise ValueError("has a name of more than 255 bytes, which no file system takes; shorten it")
        return results


def _check_learning(name: str, codec: CodecConfig, known: Mapping[str, CodecConfig]) -> None:
    """Raise LossyBenchError for a codec that learns, but not as a codec of its own whose weights the study trains.

    name, codec: as a task has them. known: the codecs of the task.
    """
    variant = codec.variant(known)
    learning = [file for file in codecs.files(name, variant) if codecs.codec_class(file).learns]
    if learning and variant.keys() - {"codec"}:
        raise LossyBenchError(
            f"{learning[0]} learns weights for each level, and can be no step of a chain, repeated or given a size; "
            "list it with its own levels alone"
        )
    if learning and "weights" in codec.options:
        raise LossyBenchError("options.weights: the study trains them and knows where they lie; leave it out")


def check_task(name: str, task: TaskConfig, described: Description) -> dict[str, Codec]:
    """Check a task's section against itself and its data, and return the task's codecs, the lossless one first.

    name: of the task. task: its section. described: its data set. Raises LossyBenchError, naming the key, for a task
    that could not run.
    """
    where = f"tasks.{name}"
    medium, kind = described.medium, described.kind
    if task.data.scale and (medium == "audio" or kinds.load(kind).placed):
        raise LossyBenchError(f"{where}.data.scale: is for classifying pictures, not for {medium} {kind}")
    found: dict[str, Codec] = {ORIGINAL: codecs.get(ORIGINAL)}
    for codec_name, codec in task.coders.items():
        grid = task.grids.get(codec_name)
        with at(f"{where}.codecs." + (f"{grid.codec}.grid.{grid.degradation}" if grid else codec_name)):
            if grid and codec_name in task.codecs:
                raise LossyBenchError(f"adds {codec_name}, which is there already; name that codec otherwise")
            if codec_name == ORIGINAL or codec.codec == ORIGINAL:
                raise LossyBenchError("the original condition is always there; leave it out")
            found[codec_name] = codec.made(codec_name, task.codecs)
            _check_learning(codec_name, codec, task.codecs)
            for level in codec.levels:
                found[codec_name].check(level, medium, described.sampling_rate)
    _check_titles(f"{where}.codecs", found, task.coders)
    for measure_name in task.measures:
        with at(f"{where}.measures"):
            measure = measures.get(measure_name)
            if medium not in measure.media:
                able = " and ".join(sorted(measure.media))
                raise LossyBenchError(f"measure {measure_name!r} is for {able}, not for {medium}; leave it out")
            if task.fidelity == "none":
                raise LossyBenchError("fidelity is none, so that nothing is measured; set it to sampled or full")
            measure.require()
    for arch, own in task.models.items():
        with at(f"{where}.models.{arch}"):
            if not _ARCH.fullmatch(arch):
                raise LossyBenchError("name it in small letters, digits and _, or torchvision/NAME, torchaudio/NAME")
            if own and is_existing(own):
                existing_settings.read(arch, own, medium, kind, described.classes)
                continue
            models.module_name(arch, medium, kind)
            settings = {**task.training, **(own or {})}
            training_settings.read(settings, medium, kind)
            if "adversarial" in settings:
                raise LossyBenchError("adversarial training is a regime; set regimes.adversarial instead")
    trained = task.trained
    _check_truth(where, task, described)
    if not trained and task.regimes != Regimes():
        raise LossyBenchError(f"{where}.regimes: none of the models is trained, all exist already; leave it out")
    if task.folds:
        _check_folds(f"{where}.folds", task, found)
    elif trained and described.counts is not None and not described.counts.get("train"):
        raise LossyBenchError(
            f"{where}.data: no items in split 'train', which training {trained[0]} needs; add some, or give models "
            "that exist already (checkpoint, command, function or url)"
        )
    if task.looks and described.counts is not None and task.looks[-1] > (there := described.counts.get("test", 0)):
        raise LossyBenchError(
            f"{where}.looks: the largest takes {task.looks[-1]:,} test items, and the data have {there:,}; make the "
            "split test larger, or the looks smaller"
        )
    mixed = task.regimes.mixed
    if mixed:
        _among(f"{where}.regimes.mixed.codecs", mixed.codecs or [], task.coders)
        _levels_among(f"{where}.regimes.mixed.levels", mixed.levels, task.coders)
        _among(f"{where}.regimes.mixed.archs", mixed.archs or [], trained)
        _among(f"{where}.regimes.mixed.seeds", mixed.seeds or [], task.seeds)
    for matched in task.regimes.matched:
        _among(f"{where}.regimes.matched.codec", [matched.codec], task.codecs)
        _levels_among(f"{where}.regimes.matched.levels", {matched.codec: matched.levels or []}, task.codecs)
        _among(f"{where}.regimes.matched.archs", matched.archs or [], trained)
        _among(f"{where}.regimes.matched.seeds", matched.seeds or [], task.seeds)
    for held in task.regimes.held_out:
        _among(f"{where}.regimes.held_out.codec", [held.codec], task.codecs)
        left = task.without(held.codec)
        if not left:
            raise LossyBenchError(
                f"{where}.regimes.held_out.codec: without {held.codec} no codec is left to train on; add one to codecs"
            )
        _levels_among(f"{where}.regimes.held_out.levels", held.levels, {name: task.codecs[name] for name in left})
        _among(f"{where}.regimes.held_out.archs", held.archs or [], trained)
        _among(f"{where}.regimes.held_out.seeds", held.seeds or [], task.seeds)
    adversarial = task.regimes.adversarial
    if adversarial:
        with at(f"{where}.regimes.adversarial"):
            training_settings.read(adversarial.settings, medium, kind)
        with at(f"{where}.regimes.adversarial.epsilon"):
            check_epsilon(adversarial.epsilon, medium)
        _among(f"{where}.regimes.adversarial.archs", adversarial.archs or [], trained)
        _among(f"{where}.regimes.adversarial.seeds", adversarial.seeds or [], task.seeds)
    if task.attack:
        regimes: dict[str, dict[str, Any]] = {"": {}, **dict(task.attack.regimes.items())}
        for regime, own in regimes.items():
            with at(f"{where}.attack" + f".regimes.{regime}" * bool(own)):
                attack = AttackSettings.of(medium, kind, task.attack.settings(regime, described))
                if len(described.classes) < 2 and "targeted" in attack.goals:
                    raise LossyBenchError("goals: targeted needs a second class; use [untargeted], or leave it out")
        _among(f"{where}.attack.archs", task.attack.archs or [], task.models)
        _among(f"{where}.attack.seeds", task.attack.seeds or [], task.seeds)
        _among(f"{where}.attack.codecs", task.attack.codecs or [], task.codecs)
        _levels_among(f"{where}.attack.levels", task.attack.levels, task.codecs)
        for own_name, defence in task.attack.defences.items():
            key_of = f"{where}.attack.defences.{own_name}"
            if own_name in codecs.names() or own_name in task.coders:
                raise LossyBenchError(f"{key_of}: is the name of a codec; give it another one")
            _among(f"{key_of}.{'chain' if defence.chain else 'draw'}", defence.codecs, task.codecs)
            for place, step in enumerate(itertools.chain.from_iterable(defence.ways)):
                with at(f"{key_of}.chain.{place}" if defence.chain else f"{key_of}.draw.{step.codec}"):
                    found[step.codec].check(step.level, medium, described.sampling_rate)
        for arch in task.attack.archs or task.models:
            if not existing_settings.has_gradients(arch, task.models[arch]):
                raise LossyBenchError(
                    f"{where}.attack: {arch} gives no gradients, as attacks follow them: it is an ONNX model, a "
                    "detector's program, or behind a command, function or url; name others in attack.archs"
                )
    return found


def _check_truth(where: str, task: TaskConfig, described: Description) -> None:
    """Raise LossyBenchError where a task cannot be judged by what `truth` names."""
    if task.truth == "labels":
        if not described.labelled:
            raise LossyBenchError(f"{where}.truth: the data have no labels; set it to model, or give labels")
        return
    known = kinds.load(described.kind).own_answers
    if task.truth not in known:
        raise LossyBenchError(
            f"{where}.truth: {task.truth} is not for {described.kind}; use {' or '.join(['labels', *known])}"
        )
    if not described.labelled and task.trained:
        raise LossyBenchError(
            f"{where}.models.{task.trained[0]}: would be trained, and the data have no labels; give models that exist "
            "already (checkpoint, command, function or url)"
        )
    asked = {"regimes": task.regimes != Regimes(), "attack": task.attack is not None}
    for name in (name for name in asked if asked[name]):
        raise LossyBenchError(
            f"{where}.{name}: with truth: {task.truth} each model has a truth of its own, by which neither models nor "
            "attacks can be compared; leave it out"
        )


def _check_folds(where: str, task: TaskConfig, found: Mapping[str, Codec]) -> None:
    """Raise LossyBenchError for what does not go with folds, in which every item is tested and learnt from.

    where: the key. found: the task's codecs.
    """
    there = [arch for arch in task.models if arch not in task.trained]
    learning = [name for name, codec in found.items() if codec.learns]
    for what, why in {
        "looks": task.looks and "looks add test items, and folds test all items at once",
        "attack": task.attack and "attacks are on one model and its test split",
        f"models.{there[0]}" if there else "": there and "it exists already, and is not trained anew for each fold",
        f"codecs.{learning[0]}" if learning else "": learning and "it learns, from items that are tested as well",
    }.items():
        if why:
            raise LossyBenchError(f"{where}: cannot go with {what}: {why}; leave out one of the two")


def _check_titles(where: str, found: dict[str, Codec], known: dict[str, CodecConfig]) -> None:
    """Raise LossyBenchError where reports would call two codecs of a task alike."""
    titles: dict[str, str] = {}
    for name, codec in found.items():
        title = (name in known and known[name].title) or codec.full_title()
        if title in titles:
            raise LossyBenchError(
                f"{where}.{name}: reports would call it {title!r}, as they do {titles[title]}; give it a title"
            )
        titles[title] = name


def read(path: Path | str) -> StudyConfig:
    """The sections in the YAML file `path`, with their keys checked. Raises LossyBenchError naming file and key."""
    with at(str(path)):
        return validate(yaml_files.load(path))


def schema() -> str:
    """The config's JSON schema, as text."""
    return json.dumps(StudyConfig.model_json_schema(), indent=2)


@contextlib.contextmanager
def at(where: str) -> Iterator[None]:
    """Put `where`, the place in the config that is being checked, before the message of a LossyBenchError."""
    try:
        yield
    except LossyBenchError as error:
        raise LossyBenchError(f"{where}: {error}") from None


def _among(where: str, chosen: list[Any], known: Any) -> None:
    for one in chosen:
        if one not in known:
            text, *names = (level_text(each) if isinstance(each, float) else str(each) for each in (one, *known))
            raise LossyBenchError(f"{where}: {text!r} is not in this task; {nearest(text, names)}")


def _levels_among(where: str, chosen: dict[str, list[float]], known: dict[str, CodecConfig]) -> None:
    _among(where, list(chosen), known)
    for codec, levels in chosen.items():
        _among(f"{where}.{codec}", levels, known[codec].levels)


def validate(config: Any) -> StudyConfig:
    """The sections of a config, given as what its YAML holds. Raises LossyBenchError naming every wrong key."""
    if not isinstance(config, dict) or not config:
        what = "is empty" if not config else f"is no mapping but a {type(config).__name__}"
        raise LossyBenchError(f"the config {what}; it needs at least `tasks`")
    try:
        return StudyConfig.model_validate(config)
    except pydantic.ValidationError as error:
        problems = error.errors()
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise LossyBenchError("; ".join(map(_explain, problems[:SHOWN])) + more) from None


def _explain(error: Any) -> str:
    """One pydantic error as a sentence: the key's whole path, what is wrong, the nearest right key."""
    path = key(error["loc"])
    if error["type"] != "extra_forbidden":
        return f"{path}: {refusal(error)}"
    section = StudyConfig
    for part in error["loc"][:-1]:
        section = _section_below(section, part)
    return f"{path}: unknown key; {nearest(str(error['loc'][-1]), section.model_fields)}"


def _section_below(section: Any, key: Any) -> Any:
    """The model that `section.key` holds; keys of mappings and lists stay in their model."""
    queue = [section.model_fields[key].annotation] if key in section.model_fields else []
    while queue:
        one = queue.pop()
        if isinstance(one, type) and issubclass(one, pydantic.BaseModel):
            return one
        queue += getattr(one, "__args__", ())
    return section
