"""The study that a config expands to.

Snakemake's rules ask a `Study` for the jobs to run, for the files that these need and for their parameters, so that a
job depends on those keys alone that it uses.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from lossybench import codecs, data, sources, yaml_files
from lossybench import config as sections
from lossybench.analysis import looks
from lossybench.attacks.attack_settings import AttackSettings
from lossybench.conditions import ORIGINAL, REFERENCE, Condition, Model, Regime
from lossybench.config import GPU_STAGES, MEMORY, MINUTES, DefenceConfig, Stage, TaskConfig, at
from lossybench.data._files import ClassFolders
from lossybench.data.dataset import SPLITS
from lossybench.errors import LossyBenchError, nearest
from lossybench.layout import Layout, Part
from lossybench.models.existing_settings import BESIDE, is_existing


class Study:
    """A checked config and all that follows from it: models, conditions, files and the parameters of jobs.

    config: what the study's YAML holds. look: how to see what the tasks' data are: `ask`, `look` or `recall` of
    lossybench.sources. Raises LossyBenchError, naming the key, for a study that could not run, before any job starts.
    """

    def __init__(self, config: dict[str, Any], look: Callable[..., sources.Seen] = sources.ask) -> None:
        self.config = sections.validate(config)
        self.layout = Layout(self.config.results)
        _check_place(self.layout.root)
        self.seen: dict[str, sources.Seen] = {}
        self.codecs: dict[str, dict[str, codecs.Codec]] = {}
        # Tasks that are made of others come after these.
        for name in sorted(self.tasks, key=lambda name: data.dataset_class(self.task(name).data.adapter).reads_task):
            task = self.task(name)
            with at(f"tasks.{name}.data"):
                of, places = task.data, (self.layout.index(name), self.layout.data(name))
                options = self.data_options(name)
                _check_apart(self.layout.root, name, data.get(of.adapter, options))
                self.seen[name] = look(of.adapter, options, self.config.seed, *places)
            if task.folds and (counts := self.description(name).counts):
                described = dataclasses.replace(self.description(name), counts={"test": sum(counts.values())})
                self.seen[name] = self.seen[name]._replace(description=described)
            self.codecs[name] = sections.check_task(name, task, self.description(name))
        self._check_names()
        self._present = self._looks_taken()
        for name in self.tasks:
            self._check_attacked(name)

    def _check_names(self) -> None:
        """Raise LossyBenchError where two codecs of different tasks would give the rules of their jobs one name."""
        there: dict[str, str] = {}
        for task, found in self.codecs.items():
            for codec in found:
                other = there.setdefault(f"{task}_{codec}", task)
                if other != task:
                    raise LossyBenchError(
                        f"tasks.{task}.codecs.{codec}: {task}_{codec} also reads as a codec of task {other}; name it "
                        "otherwise"
                    )

    def _looks_taken(self) -> dict[str, int]:
        """The number of the present look of each task that has gone beyond its first."""
        taken = {task: of for task, of in self.layout.looks().items() if task in self.config.tasks}
        for task, (look, planned) in taken.items():
            if self.task(task).looks != planned or not 1 <= look <= len(planned):
                raise LossyBenchError(
                    f"tasks.{task}.looks: must stay {planned}, of which {self.layout.state} has taken {look}, because "
                    "bounds hold for the looks that were planned; restore them, or name another results folder"
                )
        return {task: look for task, (look, _) in taken.items()}

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
        """The names of the tasks, in the config's order."""
        return list(self.config.tasks)

    def task(self, name: str) -> TaskConfig:
        """The config of the task `name`."""
        return self.config.tasks[name]

    def description(self, task: str) -> data.Description:
        """The medium, kind and classes of a task's data set, as far as they are known without reading it."""
        return self.seen[task].description

    def levels(self, task: str, codec: str) -> list[float]:
        """The levels of a task's codec from the mildest to the strongest; [0] for the original."""
        if codec == ORIGINAL:
            return [0]
        return self.codecs[task][codec].by_strength(self.task(task).coders[codec].levels)

    def conditions(self, task: str) -> list[Condition]:
        """The original, then every codec of a task at every level."""
        return [Condition(codec, level) for codec in self.codecs[task] for level in self.levels(task, codec)]

    def models(self, task: str) -> list[Model]:
        """Every model of a task, those that exist already included."""
        config = self.task(task)
        trained = config.trained
        found = self.existing(task)
        found += [Model(task, arch, ORIGINAL, seed) for arch, seed in itertools.product(trained, config.seeds)]
        mixed = config.regimes.mixed
        if mixed:
            archs, seeds = mixed.archs or trained, mixed.seeds or config.seeds
            found += [Model(task, arch, "mixed", seed) for arch, seed in itertools.product(archs, seeds)]
        adversarial = config.regimes.adversarial
        if adversarial:
            archs, seeds = adversarial.archs or trained[:1], adversarial.seeds or config.seeds[:1]
            found += [Model(task, arch, "adversarial", seed) for arch, seed in itertools.product(archs, seeds)]
        for matched in config.regimes.matched:
            archs, seeds = matched.archs or trained[:1], matched.seeds or config.seeds[:1]
            levels = [lv for lv in self.levels(task, matched.codec) if lv in (matched.levels or [lv])]
            for arch, level, seed in itertools.product(archs, levels, seeds):
                found.append(Model(task, arch, str(Regime("matched", Condition(matched.codec, level))), seed))
        for held in config.regimes.held_out:
            archs, seeds = held.archs or trained[:1], held.seeds or config.seeds[:1]
            regime = str(Regime("held_out", codec=held.codec))
            found += [Model(task, arch, regime, seed) for arch, seed in itertools.product(archs, seeds)]
        folds = range(1, config.folds.count + 1) if config.folds else [0]
        return [model._replace(fold=fold) for model in dict.fromkeys(found) for fold in folds]

    def existing(self, task: str) -> list[Model]:
        """The models of a task that exist already, which stand, with one seed, beside those trained on originals."""
        config = self.task(task)
        return [Model(task, arch, ORIGINAL, config.seeds[0]) for arch in config.models if arch not in config.trained]

    def training_conditions(self, model: Model) -> list[Condition]:
        """The conditions that a model is trained on; none, if it exists already."""
        config = self.task(model.task)
        if is_existing(config.models[model.arch]):
            return []
        if model.regime in (ORIGINAL, "adversarial"):
            return [REFERENCE]
        if model.regime == "mixed":
            mixed = config.regimes.mixed
            assert mixed is not None
            return [REFERENCE] + [
                Condition(codec, level)
                for codec in mixed.codecs or config.codecs
                for level in self.levels(model.task, codec)
                if level in mixed.levels.get(codec, [level])
            ]
        regime = Regime.read(model.regime)
        if regime.codec:
            held = next(held for held in config.regimes.held_out if held.codec == regime.codec)
            levels = {**(config.regimes.mixed.levels if config.regimes.mixed else {}), **held.levels}
            return [REFERENCE] + [
                Condition(codec, level)
                for codec in config.without(regime.codec)
                for level in self.levels(model.task, codec)
                if level in levels.get(codec, [level])
            ]
        assert regime.condition is not None
        return [regime.condition]

    def _learnt(self, task: str) -> list[Condition]:
        """The conditions that some model learns from: of a task, or of those that are made of it."""
        found = [c for model in self.models(task) for c in self.training_conditions(model)]
        found += [c for other in self.tasks if self.made_of_task(other) == task for c in self.origins(other, "train")]
        return list(dict.fromkeys(found))

    def made_of_task(self, task: str) -> str:
        """The task whose compressed items are this task's items; "" where they come from elsewhere."""
        of = self.task(task).data
        return str(of.options.get("task", "")) if data.dataset_class(of.adapter).reads_task else ""

    def origins(self, task: str, part: Part = "test") -> list[Condition]:
        """The conditions of another task whose items are this task's, in one part; none for items of its own."""
        if not (other := self.made_of_task(task)):
            return []
        asked: Any = data.get(self.task(task).data.adapter, self.task(task).data.options)
        chosen, unseen = [ORIGINAL, *(asked.codecs or self.codecs[other])], asked.unseen if part == "train" else {}
        every = self.conditions(other)
        return [one for one in every if one.codec in chosen and one.level not in unseen.get(one.codec, [])]

    def read_tables(self, task: str) -> list[Path]:
        """The tables of another task that a task's items are read from; none where they come from elsewhere."""
        other = self.made_of_task(task)
        parts: tuple[Part, ...] = ("train", "test")
        found = [self.layout.compressed(other, one, part) for part in parts for one in self.origins(task, part)]
        return [self.layout.data(other), *found] if other else []

    def data_options(self, task: str) -> dict[str, Any]:
        """The options of a task's adapter, with what the study knows of another task that its items are made of.

        Raises LossyBenchError for another task that they cannot be made of.
        """
        options, other = self.task(task).data.options, self.made_of_task(task)
        if not other:
            return options
        asked: Any = data.get(self.task(task).data.adapter, options)
        if "source" in options:
            raise LossyBenchError("source: the study fills it in; leave it out")
        plain = [name for name in self.tasks if not self.made_of_task(name)]
        if other not in plain:
            raise LossyBenchError(
                f"task: {other!r} is no task of this study with items of its own; {nearest(other, plain)}"
            )
        for codec in asked.codecs or []:
            if codec not in self.codecs[other]:
                raise LossyBenchError(f"codecs: {codec!r} is not in {other}; {nearest(codec, self.codecs[other])}")
        about = self.description(other)
        counts = about.counts or {}
        if self.task(other).folds or (about.counts is not None and not (counts.get("train") and counts.get("val"))):
            raise LossyBenchError(
                f"task: {other} has not the splits train, val and test, none of which may share an item"
            )
        if self.task(task).looks:
            raise LossyBenchError(
                f"task: a task that is made of {other} cannot be tested look by look; leave out looks"
            )
        self._check_unseen(task, other)
        titles, learnt = self.titles(other), self.origins(task, "train")
        return options | {
            "source": {
                "medium": about.medium,
                "data": str(self.layout.data(other)),
                "counts": None if about.counts is None else {split: counts[split] for split in SPLITS},
                "compressed_before": list(about.compressed_before),
                "origins": [
                    {
                        "codec": one.codec,
                        "level": one.level,
                        "titles": self._called(other, one, titles),
                        "train": str(self.layout.compressed(other, one, "train")) if one in learnt else None,
                        "test": str(self.layout.compressed(other, one, "test")),
                    }
                    for one in self.origins(task)
                ],
            }
        }

    def _check_unseen(self, task: str, other: str) -> None:
        """Raise LossyBenchError for levels that cannot be left out of what a task learns from. other: see `origins`."""
        asked: Any = data.get(self.task(task).data.adapter, self.task(task).data.options)
        there = self.origins(task)
        for codec, levels in asked.unseen.items():
            if asked.tell != "codec":
                raise LossyBenchError("unseen: no model tells a level that it has not learnt from; set tell: codec")
            for level in levels:
                if Condition(codec, level) not in there:
                    known = ", ".join(str(one) for one in there)
                    raise LossyBenchError(f"unseen.{codec}: {level} is none of {known}; name levels of {other}")
            if codec not in {one.codec for one in self.origins(task, "train")}:
                raise LossyBenchError(f"unseen.{codec}: leaves no level to learn from; leave out one of them")

    def _called(self, task: str, condition: Condition, titles: dict[str, str]) -> list[str]:
        """A codec in words, and a condition: "JPEG", "JPEG QF 10". titles: those that the config gives codecs."""
        codec = self.codecs[task][condition.codec]
        title = titles.get(condition.codec) or codec.full_title()
        return [title, title if condition == REFERENCE else f"{title} {codec.level_label(condition.level)}"]

    def learnt_part(self, task: str) -> Part:
        """The part of the compressed media that models learn from: with folds, the one that holds all items."""
        return "test" if self.task(task).folds else "train"

    def tested_codecs(self, model: Model) -> list[str]:
        """The codecs that a model is tested on: all of its task, but for a matched model the original and its own.

        Of a model from which a codec was held out they are the original and that codec.
        """
        _, matched, held_out = Regime.read(model.regime)
        own = matched.codec if matched else held_out
        return [ORIGINAL, own] if own else list(self.codecs[model.task])

    def attacked(self, task: str) -> list[Model]:
        """The models of a task that are attacked."""
        config = self.task(task)
        if not config.attack:
            return []
        archs, seeds = config.attack.archs or list(config.models), config.attack.seeds or config.seeds[:1]
        attacked = itertools.starmap(Model, itertools.product([task], archs, config.attack.regimes, seeds))
        existing = self.existing(task)
        return list(dict.fromkeys(m for m in attacked if m.arch in config.trained or m in existing))

    def attacked_codecs(self, task: str) -> list[str]:
        """The codecs and defences of a task that are attacked through, and the original, for the bare model."""
        attack = self.task(task).attack
        codecs_ = (attack and attack.codecs) or self.task(task).codecs
        return list(dict.fromkeys([ORIGINAL, *codecs_, *self.defences(task)]))

    def defences(self, task: str) -> dict[str, DefenceConfig]:
        """What a task is attacked through besides its codecs, by name."""
        attack = self.task(task).attack
        return attack.defences if attack else {}

    def made_of(self, task: str, codec: str) -> list[str]:
        """The codecs that a defence of a task consists of; of a codec, itself."""
        defence = self.defences(task).get(codec)
        return defence.codecs if defence else [codec]

    def transferred(self, model: Model) -> list[Model]:
        """The models whose adversarial items this model meets: those of the other attacked regimes."""
        return [m for m in self.attacked(model.task) if m != model and m._replace(regime=model.regime) == model]

    def attacked_levels(self, task: str, codec: str) -> list[float]:
        """The attacked levels of a codec, mildest first: the config's, else the two middle ones and the strongest.

        A defence has none: its codecs take the levels that it names, compressed for testing or not.
        """
        attack = self.task(task).attack
        if codec in self.defences(task):
            return []
        levels = self.levels(task, codec)
        if attack and codec in attack.levels:
            return self.codecs[task][codec].by_strength(attack.levels[codec])
        middle = (len(levels) - 1) // 2
        return list(dict.fromkeys([*levels[middle : middle + 2], levels[-1]]))

    def looks(self, task: str) -> range:
        """The numbers of a task's looks up to the present one: 1 alone where the whole test split is tested at once."""
        return range(1, self._present.get(task, 1) + 1)

    @property
    def look_pattern(self) -> str:
        """A regular expression for "", and for "/look2" and so on before the paths of tasks that are at that look."""
        further = [f"/look{look}(?=/[a-z]+/{task}[./])" for task in self.tasks for look in self.looks(task)[1:]]
        return f"(?:{'|'.join(further)})?"  # Snakemake takes an empty expression for none

    def added(self, task: str, look: int) -> list[int]:
        """The first test item that a look adds, the one after its last, and how many the largest look takes.

        Empty where the whole test split is tested at once.
        """
        planned = self.task(task).looks
        return [*[0, *planned][look - 1 : look + 1], planned[-1]] if planned else []

    # The jobs of the two stages in which one job serves many levels or models.

    def compressions(self, task: str) -> Iterator[tuple[int, str, Part, list[float]]]:
        """Every job of compress from nothing: the look, the codec, the part and the levels."""
        trained = self._learnt(task)
        for codec in self.codecs[task]:
            levels = self.levels(task, codec)
            learnt = [level for level in levels if Condition(codec, level) in trained]
            if learnt and self.learnt_part(task) == "train":
                yield 1, codec, "train", learnt
            for look in self.looks(task):
                yield look, codec, "test", levels

    def evaluations(self, task: str) -> Iterator[tuple[int, str, list[Model]]]:
        """Every job of evaluate from nothing: the look, the codec and the models."""
        for look, codec in itertools.product(self.looks(task), self.codecs[task]):
            yield look, codec, [model for model in self.models(task) if codec in self.tested_codecs(model)]

    # All files of a stage.

    def all_data(self, task: str) -> list[Path]:
        """The tables of a task's items: of the first look, then what each further one adds."""
        return [self.layout.at(look).data(task) for look in self.looks(task)]

    def all_compressed(self, task: str, part: Part, look: int = 1) -> list[Path]:
        """The compressed media of a part: of every condition for `test`, of those that some model needs for `train`.

        look: the one that the items of `test` come with; those of `train` come with the first.
        """
        conditions = self.conditions(task)
        if part == "train":
            if self.learnt_part(task) != part:
                return []
            conditions = self._learnt(task)
        return [self.layout.at(look).compressed(task, c, part) for c in dict.fromkeys(conditions)]

    def all_outcomes(self, task: str, look: int = 1) -> list[Path]:
        """The outcomes of every model of a task on every codec that it is tested on, for the items of a look."""
        layout = self.layout.at(look)
        return [layout.outcomes(m, codec) for m in self.models(task) for codec in self.tested_codecs(m)]

    def all_evaluated(self, task: str, look: int = 1) -> list[Path]:
        """The records of evaluations of a task, one for each codec, for the items of a look."""
        return [self.layout.at(look).evaluated(task, codec) for codec in self.codecs[task]]

    def all_attacks(self, task: str) -> list[Path]:
        """The attacks on every attacked model of a task through every attacked codec."""
        return [self.layout.attacks(m, codec) for m in self.attacked(task) for codec in self.attacked_codecs(task)]

    def branch(self, codec: str) -> list[Path]:
        """The bitstreams, outcomes and attacks of all tasks that are made with one codec."""
        found = []
        for task in self.tasks:
            if codec in self.codecs[task]:
                tested = [m for m in self.models(task) if codec in self.tested_codecs(m)]
                for layout in map(self.layout.at, self.looks(task)):
                    found += [layout.compressed(task, Condition(codec, lv), "test") for lv in self.levels(task, codec)]
                    found += [layout.evaluated(task, codec), *(layout.outcomes(m, codec) for m in tested)]
                found.append(self.layout.timing(task, codec))
                through = [name for name in self.attacked_codecs(task) if codec in self.made_of(task, name)]
                found += [self.layout.attacks(m, name) for m in self.attacked(task) for name in through]
        return found

    @property
    def codec_names(self) -> list[str]:
        """Every codec of the study but the original."""
        return list(dict.fromkeys(c for task in self.codecs.values() for c in task if c != ORIGINAL))

    # Job parameters.

    def folds(self, task: str) -> dict[str, Any] | None:
        """How a task's items are dealt into folds; None if they are not."""
        folds = self.task(task).folds
        return {"seed": self.config.seed, **folds.model_dump(mode="json", exclude_none=True)} if folds else None

    def scale(self, task: str) -> dict[str, Any] | None:
        """How a task's pictures are scaled as they are read; None if they are not."""
        scale = self.task(task).data.scale
        return scale.model_dump(mode="json") if scale else None

    def coder(self, task: str, codec: str) -> dict[str, Any]:
        """What a task's codec is, {options, variant}; of the original and of a defence neither holds anything."""
        config = self.task(task)
        own = config.coders.get(codec)
        weights = {"weights": str(self.layout.learned(task, codec))} if self._learns(task, codec) else {}
        return {
            "options": {**own.options, **weights} if own else {},
            "variant": own.variant(config.codecs) if own else {},
        }

    def _learns(self, task: str, codec: str) -> bool:
        return codec in self.codecs[task] and self.codecs[task][codec].learns

    def weights(self, task: str, codec: str, levels: Iterable[float | str]) -> list[Path]:
        """The weights that a codec of a task needs at these levels: none, unless it learns.

        Of a defence they are those of its codecs, at the levels that it names.
        """
        needed = [(codec, level) for level in levels]
        if codec in self.defences(task):
            needed = [(step.codec, step.level) for way in self.defences(task)[codec].ways for step in way]
        found = (self.layout.weights(task, one, level) for one, level in needed if self._learns(task, one))
        return list(dict.fromkeys(found))

    def all_weights(self, task: str) -> list[Path]:
        """The weights of all codecs of a task that learn, at all their levels."""
        each = (self.weights(task, codec, self.levels(task, codec)) for codec in self.codecs[task])
        return list(itertools.chain.from_iterable(each))

    def codec_modules(self, task: str, codec: str) -> list[str]:
        """The modules behind a codec of a task, or behind those of a defence."""
        each = (codecs.modules(one, self.coder(task, one)["variant"]) for one in self.made_of(task, codec))
        return list(dict.fromkeys(itertools.chain.from_iterable(each)))

    def codec_files(self, task: str, codec: str) -> list[str]:
        """The codecs, by the names of their files, that a codec of a task is made of."""
        return codecs.files(codec, self.coder(task, codec)["variant"])

    def titles(self, task: str) -> dict[str, str]:
        """The titles that the config gives codecs of a task."""
        return {name: one.title for name, one in self.task(task).codecs.items() if one.title}

    @property
    def timed(self) -> list[tuple[str, str]]:
        """The task and codec of everything that is timed."""
        return [(task, codec) for task in self.tasks for codec in self.codecs[task]]

    def measuring(self, task: str) -> list[str]:
        """What compress is told of the fidelity of a task's test items."""
        config = self.task(task)
        return ["--fidelity", config.fidelity, *(["--measures", *config.measures] if config.measures else [])]

    def defence(self, task: str, codec: str) -> dict[str, Any]:
        """What stage attack needs of a defence of a task; {} of a codec."""
        if codec not in self.defences(task):
            return {}
        return {
            "ways": [
                [step.model_dump() | self.coder(task, step.codec) for step in way]
                for way in self.defences(task)[codec].ways
            ]
        }

    def training_settings(self, model: Model) -> dict[str, Any]:
        """The training settings of a model. Only models trained on originals must reach the setting `minimum`."""
        config = self.task(model.task)
        settings = {**config.training, **(config.models[model.arch] or {})}
        if model.regime != ORIGINAL:
            settings.pop("minimum", None)
        if model.regime == "adversarial":
            assert config.regimes.adversarial is not None
            settings |= config.regimes.adversarial.settings
        return settings

    def preflight_settings(self, task: str) -> dict[str, Any]:
        """What the preflight of a task tries: its codecs, the architectures that it trains, and who is attacked."""
        attacked: dict[str, list[int]] = {}
        for model in self.attacked(task):
            attacked.setdefault(model.arch, []).append(self.attack(model).items)
        levels = {codec: {"levels": self.levels(task, codec)} for codec in self.codecs[task]}
        seed = self.task(task).seeds[0]
        return {
            "codecs": {name: {**one, **self.coder(task, name)} for name, one in levels.items()},
            "training": {
                arch: self.training_settings(Model(task, arch, ORIGINAL, seed)) for arch in self.task(task).trained
            },
            "attacked": {arch: {"items": max(items), "seed": self.config.seed} for arch, items in attacked.items()},
        }

    def existing_settings(self, model: Model) -> dict[str, Any]:
        """The settings that the config gives of a model that exists already."""
        return dict(self.task(model.task).models[model.arch] or {})

    def attack(self, model: Model) -> AttackSettings:
        """The settings of a model's attacks, with the defaults filled in."""
        about = self.description(model.task)
        return AttackSettings.of(about.medium, about.kind, self._attack_settings(model))

    def attack_settings(self, model: Model, codec: str) -> dict[str, Any]:
        """The settings of a model's attacks through a codec, with the levels and the seed."""
        levels = self.attacked_levels(model.task, codec)
        return {**self._attack_settings(model), "levels": levels, "seed": self.config.seed}

    def _attack_settings(self, model: Model) -> dict[str, Any]:
        attack = self.task(model.task).attack
        assert attack is not None
        return attack.settings(model.regime, self.description(model.task))

    def requests(self, stage: Stage, attempt: int = 1) -> dict[str, int | str]:
        """What a job of a stage asks of a cluster, by the names of Snakemake's resources.

        attempt: 1 for the first try of the job. mem_mb (MB) and runtime (minutes) grow with it. gpu, gpu_model,
        slurm_partition and slurm_account are there when the config sets them and the stage uses them.
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

    def shown(self) -> dict[str, Any]:
        """The config as the page shows it: without what no result depends on, for which no page is made anew.

        Of tasks it has what is not as by default: a command line takes 128 kiB, which a hundred whole ones exceed.
        """
        of_tasks = self.config.model_dump(mode="json", include={"tasks"}, exclude_defaults=True)
        return self.config.model_dump(mode="json", exclude={"decoded", "cluster", "tasks"}) | of_tasks

    def analysis_settings(self, task: str) -> dict[str, Any]:
        """The settings of the config that aggregate needs for a task.

        Where the task is tested look by look, they say which look this is, which were planned, and at what one-sided
        error level, `alpha`, this one judges.
        """
        config = self.config
        names = ("deltas", "defence_margin", "bootstrap", "seed", "rate")
        settings: dict[str, Any] = {name: getattr(config, name) for name in names}
        if titles := self.titles(task):
            settings["titles"] = titles
        if grids := self.task(task).grids:
            steps = {name: self.codecs[task][name].steps[0].said() for name in grids}  # type: ignore[attr-defined]
            settings["grids"] = {name: [*grid, steps[name]] for name, grid in grids.items()}
        if (truth := self.task(task).truth) != "labels":
            settings |= {"truth": truth, "truth_score": self.task(task).truth_score}
        if (by := self.task(task).by) is not None:
            settings["by"] = by
        if planned := self.task(task).looks:
            look = self.looks(task)[-1]
            settings |= {"look": look, "looks": planned, "alpha": looks.level(planned, look)}
        return settings


def _check_place(root: Path) -> None:
    """Raise LossyBenchError where no folder `root` could be made: a file is in the way, or a folder is not writable."""
    there = next(path for path in (root, *root.resolve().parents) if path.exists() or path.is_symlink())
    if not there.is_dir():
        raise LossyBenchError(f"results: {there} is no folder; name another one")
    if not os.access(there, os.W_OK | os.X_OK):
        raise LossyBenchError(f"results: {there} cannot be written to; make it writable, or name another folder")


def _check_apart(root: Path, task: str, dataset: data.Dataset) -> None:
    """Raise LossyBenchError where the results would lie among class folders, and be taken for a class."""
    if isinstance(dataset, ClassFolders) and root.resolve().is_relative_to(dataset.path.resolve()):
        raise LossyBenchError(f"results: lies in the data of tasks.{task}, {dataset.path}; name a folder elsewhere")


def check_for_cluster(paths: Iterable[object]) -> None:
    """Raise LossyBenchError for a path that Snakemake cannot hand to the jobs of a cluster.

    It writes paths into their commands as Python writes text. A shell reads that alike only in single quotes and
    without backslashes; in double quotes it would run what a name says.
    """
    for path in map(str, paths):
        if repr(path) != f"'{path}'":
            raise LossyBenchError(f"{path}: Snakemake cannot hand a path with ' or \\ to jobs of a cluster; rename it")


def load(path: Path | str) -> Study:
    """Read the YAML file `path` of a study, beside which a model's class may lie.

    Raises LossyBenchError, naming the file and the key.
    """
    config = yaml_files.load(path)
    folder = str(Path(path).resolve().parent)
    sys.path.append(folder)
    os.environ[BESIDE] = json.dumps([folder])
    with at(str(path)):
        return Study(config)
