"""What several rules share: wildcards to study objects, fingerprints of the code behind a job."""


def model_of(wildcards):
    """The model that a job's wildcards name."""
    return Model(wildcards.task, wildcards.arch, wildcards.regime, int(wildcards.seed))


def model_code(wildcards):
    """The modules of a model's architecture and of its kind of task."""
    about = STUDY.description(wildcards.task)
    return [models.module_name(wildcards.arch, about.medium, about.kind), f"lossybench.tasks.{about.kind}"]


def codec_code(*names):
    """The modules of codecs, each with its own file only."""
    return [f"lossybench.codecs.{name}" for name in names]


def test_parts(wildcards, levels):
    """Test parts of a codec at these levels."""
    return [STUDY.compressed(wildcards.task, Condition(wildcards.codec, level), "test") for level in levels]


MODEL = f"{ROOT}/models/{{task}}/{{arch}}/{{regime}}/{{seed}}"
MODEL_FILES = ("weights.safetensors", "model.json", "history.json")
