"""What rules ask the study: wildcards to study objects, inputs, fingerprints of the code behind a job."""

import functools
import hashlib
import re

from lossybench.analysis.tables import SCHEMAS
from lossybench.artifacts import identity as identity_of
from lossybench.reporting.names import figure_names

# The paths of one job's files, with its wildcards. The look is "" for the first.
MODEL = Model("{task}", "{arch}", "{regime}", "{seed}")
OF_LOOK = LAYOUT.at("{look}")


# What the page is filled into, which is no code.
PACKAGE = Path(workflow.basedir, "src", "lossybench")
TEMPLATES = [
    str(path.relative_to(PACKAGE))
    for path in sorted(PACKAGE.glob("reporting/templates/*.*"))
]


def model_of(wildcards):
    """The model that a job's wildcards name; a model is itself."""
    if isinstance(wildcards, Model):
        return wildcards
    return Model.read(wildcards.task, wildcards.arch, wildcards.regime, wildcards.seed)


@functools.cache
def module_of(task, arch):
    """The module of an architecture; kept, since there are thousands of jobs and a search costs a millisecond."""
    about = STUDY.description(task)
    return models.module_name(arch, about.medium, about.kind)


def kind_module(task):
    """The module of a task's kind."""
    return kinds.module_name(STUDY.description(task).kind)


def model_code(wildcards):
    """The modules of a model's architecture and of its kind of task."""
    model = model_of(wildcards)
    if model in STUDY.existing(model.task):
        architecture = models.existing_modules(STUDY.existing_settings(model))
    else:
        architecture = [module_of(wildcards.task, wildcards.arch)]
    return [*architecture, kind_module(wildcards.task)]


def adoption(model):
    """The name of the rule that takes over a model which exists already."""
    return re.sub(r"\W", "_", f"adopt_{model.task}_{model.arch}")


def code(stage, *others):
    """A fingerprint of the code behind a job: its stage, what reads the stage's arguments, modules loaded by name."""
    return fingerprint(f"lossybench.stages.{stage}", "lossybench.commands", *others)


def codec_code(task, *names):
    """The modules of codecs of a task, each with its own files only."""
    return [module for name in names for module in STUDY.codec_modules(task, name)]


def coder(task, codec):
    """The arguments that say what a codec of a task is: of a file's own name, its options alone."""
    told = STUDY.coder(task, codec)
    given = [(f"--{name}", json.dumps(told[name])) for name in told if told[name]]
    return [part for pair in given for part in pair]


def measuring(task, part):
    """What compress is told of fidelity, which nothing reports of what models learn from."""
    return STUDY.measuring(task) if part == "test" else []


def code_of_measures(task, part):
    """A fingerprint of the further measures of fidelity, each with its own file only."""
    names = STUDY.task(task).measures if part == "test" else []
    return fingerprint(*(f"lossybench.measures.{name}" for name in names))


def test_parts(wildcards, levels, layout=LAYOUT):
    """Test parts of a codec at these levels, by default of the first look."""
    return [
        layout.compressed(wildcards.task, Condition(wildcards.codec, level), "test")
        for level in levels
    ]


def fetch_code(task):
    """The fingerprint of the code that fetches a task's items."""
    adapter, kind = STUDY.task(task).data.adapter, STUDY.description(task).kind
    decoded = sorted({one.codec for one in STUDY.origins(task)})
    return code(
        "fetch",
        data.module_name(adapter),
        *kinds.of_truth(kind),
        *codec_code(task, ORIGINAL),
        *codec_code(STUDY.made_of_task(task), *decoded),
    )


def into_folds(wildcards):
    """The arguments of fetch that say how items are dealt into folds."""
    folds = STUDY.folds(wildcards.task)
    return ["--folds", json.dumps(folds)] if folds else []


def added_by_look(wildcards):
    """The arguments of fetch that say which test items a look adds."""
    look = LAYOUT.number(wildcards.look)
    added = STUDY.added(wildcards.task, look)
    return ["--look", *added] if added else []


@functools.cache
def made_from(task, codec, look, part):
    """One hash of all that the compressed media of a codec follow from: the items' source, options and code."""
    items = STUDY.task(task).data
    parts = [
        [items.adapter, STUDY.data_options(task), STUDY.scale(task), STUDY.folds(task)],
        STUDY.config.seed,
        [STUDY.seen[task].digest, STUDY.added(task, look), fetch_code(task)],
        [
            made_from(STUDY.made_of_task(task), one.codec, 1, of)
            for of in ("train", "test")
            for one in STUDY.origins(task, of)
        ],
        [
            STUDY.coder(task, codec),
            code("compress", *codec_code(task, ORIGINAL, codec)),
            measuring(task, part),
            code_of_measures(task, part),
        ],
    ]
    text = json.dumps(parts, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def due_levels(look, task, codec, part, levels):
    """The levels that one job of compress makes together: those that are missing, or were made from something else.

    All others have a job each, which runs where Snakemake finds a reason. A job of a cluster is read anew there, maybe
    after an earlier try that made some of the levels: then the rule has to be there still. A codec that learns has a job
    for each level in any case, because each needs other weights.
    """
    if STUDY.codecs[task][codec].learns:
        return []
    made, layout = made_from(task, codec, look, part), LAYOUT.at(look)
    due = [
        level
        for level in levels
        if identity_of(layout.compressed(task, Condition(codec, level), part)) != made
    ]
    return due or ([] if workflow.is_main_process else levels)


def levels_of(paths):
    """The levels of compressed tables, as their paths write them."""
    return [Path(path).parent.name for path in paths]


def forced(rule):
    """Whether the user asked for the job of a rule to run in any case."""
    how = workflow.dag_settings
    return how.forceall or rule in map(str, how.forcerun)


def all_tested(files, task, *part):
    """Files of a task in all its looks: what a method of the study says of each."""
    return [
        path for look in STUDY.looks(task) for path in files(task, *part, look=look)
    ]


def cluster(stage):
    """What a rule's jobs ask of a cluster. Memory and time grow with each further try."""
    return {
        **STUDY.requests(stage),
        "mem_mb": lambda w, attempt: STUDY.requests(stage, attempt)["mem_mb"],
        "runtime": lambda w, attempt: STUDY.requests(stage, attempt)["runtime"],
    }


def training_parts(w):
    """What a model learns from."""
    return [
        LAYOUT.compressed(w.task, c, STUDY.learnt_part(w.task))
        for c in STUDY.training_conditions(model_of(w))
    ]


def training_codecs(w):
    """The codecs of what a model learns from."""
    return {c.codec for c in STUDY.training_conditions(model_of(w))}


def oblivious(w):
    """The attacks on the bare model, which go through every codec."""
    return [] if w.codec == ORIGINAL else [LAYOUT.attacks(model_of(w), ORIGINAL)]


def transferred_models(w):
    """The models whose adversarial items a bare model meets."""
    return STUDY.transferred(model_of(w)) if w.codec == ORIGINAL else []


def transferred(w):
    """Their files."""
    return [path for m in transferred_models(w) for path in LAYOUT.model_files(m)]


def title(task):
    """A task's category in the report."""
    return task.replace("_", " ").capitalize()


def figures(task):
    """The figures that a task's content makes."""
    config = STUDY.task(task)
    return figure_names(
        config.fidelity != "none",
        bool(config.attack),
        bool(config.regimes.matched),
        bool(config.regimes.mixed or config.regimes.adversarial),
        bool(config.attack and len(config.attack.regimes) > 1),
        bool(config.grids),
        bool(config.regimes.mixed or config.regimes.matched),
        config.by != [],
    )


def artifacts(tasks):
    """All that later stages read: one that has gone is made again, even where what was made from it is still there."""
    found = []
    for task in tasks:
        found += [*STUDY.all_data(task), LAYOUT.preflight(task, "json")]
        found += STUDY.all_weights(task)
        found += STUDY.all_compressed(task, "train")
        found += all_tested(STUDY.all_compressed, task, "test")
        for model in STUDY.models(task):
            found += LAYOUT.model_files(model)
        found += all_tested(STUDY.all_evaluated, task)
        found += all_tested(STUDY.all_outcomes, task)
        found += STUDY.all_attacks(task)
        found += [LAYOUT.summary(task, name) for name in SCHEMAS]
    return found


def all_figures(tasks):
    """Every picture of the report."""
    return [
        LAYOUT.figure(task, name)
        for task in tasks
        for name in [*figures(task), "frontier", "contact_sheet"]
    ]


def figure_labels(name):
    """How the report lists a figure."""
    return {"figure": name.replace("_", " ")}


def page_on_last_run():
    """The page on the last run, for the report. No job makes it: each run writes it when its jobs have ended.

    The Snakefile asks for it, so that the caption's path starts there.
    """
    page = report(
        LAYOUT.dag,
        caption="workflow/report/dag.rst",
        category="2. The last run: its DAG",
        labels={"figure": "which jobs ran, and why"},
    )
    return [page] if LAYOUT.dag.exists() else []


def tell_of_run():
    """Write the page on this run, now that its jobs have ended."""
    from lossybench.reporting import dag

    if progress.current:  # which a run that was refused at its start never had
        dag.write(progress.current, LAYOUT.dag)
