"""What rules ask the study: wildcards to study objects, inputs, fingerprints of the code behind a job."""

import re

from lossybench.analysis.tables import SCHEMAS
from lossybench.report.names import figure_names


def model_of(wildcards):
    """The model that a job's wildcards name."""
    return Model(wildcards.task, wildcards.arch, wildcards.regime, int(wildcards.seed))


def model_code(wildcards):
    """The modules of a model's architecture and of its kind of task."""
    about = STUDY.description(wildcards.task)
    if model_of(wildcards) in STUDY.existing(wildcards.task):
        place = STUDY.existing_settings(model_of(wildcards)).get("class", "")
        architecture = ["lossybench.models.existing", *place.split(":")[:1]]
    else:
        architecture = [models.module_name(wildcards.arch, about.medium, about.kind)]
    return [*filter(None, architecture), f"lossybench.tasks.{about.kind}"]


def adoption(model):
    """The name of the rule that takes over a model which exists already."""
    return re.sub(r"\W", "_", f"adopt_{model.task}_{model.arch}")


def codec_code(*names):
    """The modules of codecs, each with its own file only."""
    return [f"lossybench.codecs.{name}" for name in names]


def test_parts(wildcards, levels):
    """Test parts of a codec at these levels."""
    return [
        STUDY.compressed(wildcards.task, Condition(wildcards.codec, level), "test")
        for level in levels
    ]


MODEL = f"{ROOT}/models/{{task}}/{{arch}}/{{regime}}/{{seed}}"
MODEL_FILES = ("weights.safetensors", "model.json", "history.json")


def training_parts(w):
    """What a model learns from."""
    return [
        STUDY.compressed(w.task, c, "train")
        for c in STUDY.training_conditions(model_of(w))
    ]


def training_code(w):
    """The code behind a model."""
    used = {c.codec for c in STUDY.training_conditions(model_of(w))}
    return fingerprint("lossybench.training", *model_code(w), *codec_code(*used))


def oblivious(w):
    """The attacks on the bare model, which go through every codec."""
    return [] if w.codec == "original" else [STUDY.attacks(model_of(w), "original")]


def transferred_models(w):
    """The models whose adversarial items a bare model meets."""
    return STUDY.transferred(model_of(w)) if w.codec == "original" else []


def transferred(w):
    """Their files."""
    return [
        STUDY.model(m) / file for m in transferred_models(w) for file in MODEL_FILES
    ]


def title(task):
    """A task's category in the report."""
    return task.replace("_", " ").capitalize()


def figures(task):
    """The figures that a task's content makes."""
    config = STUDY.task(task)
    about = STUDY.description(task)
    return figure_names(
        about.kind,
        bool(config.attack),
        bool(config.regimes.matched),
        bool(config.regimes.mixed),
        bool(config.attack and len(config.attack.regimes) > 1),
    )


def all_figures(tasks):
    """Every picture of the report."""
    return [
        f"{ROOT}/figures/{task}/{name}.png"
        for task in tasks
        for name in [*figures(task), "contact_sheet"]
    ]


def figure_labels(name):
    """How the report lists a figure."""
    return {"figure": name.replace("_", " ")}
