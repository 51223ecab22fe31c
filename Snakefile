"""LossyBench: fetch -> preflight -> compress -> train -> evaluate -> attack -> aggregate -> report.

The study is config.yaml, or what `--configfile` names. The package in src/ does the work and decides what is made;
the rules in workflow/rules only say which job makes which file from which.
"""

import json
import os
import shlex
import shutil
import sys
import time
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

# This checkout's package comes first, installed or not: fingerprints and jobs must see the same code.
sys.path.insert(0, str(Path(workflow.basedir, "src")))

from lossybench import data, kinds, models, runs, sources, yaml_files
from lossybench.conditions import ORIGINAL, Condition, Model
from lossybench.errors import LossyBenchError, visible
from lossybench.fingerprint import fingerprint, source_digest
from lossybench.models import existing_settings
from lossybench.models.existing_settings import identity
from lossybench.study import Study, check_for_cluster
from lossybench.tools import plan, progress

min_version("9.14")

# A study is whole in itself: `--configfile` replaces config.yaml, it is not merged into it.
if "tasks" not in config:

    configfile: "config.yaml"


# A user's own model class, function or command may lie beside the config.
BESIDE = list(
    dict.fromkeys(str(Path(path).resolve().parent) for path in workflow.configfiles)
)
sys.path.extend(BESIDE)
os.environ |= {existing_settings.BESIDE: json.dumps(BESIDE)}

try:
    if workflow.is_main_process:
        for path in workflow.configfiles:
            yaml_files.load(
                path
            )  # strictly, as Snakemake has read it already, but leniently
    # Jobs read what this Snakemake has seen of the tasks' data, and look at no file again.
    STUDY = Study(config, sources.look if workflow.is_main_process else sources.recall)
except LossyBenchError as error:
    raise WorkflowError(f"The study's config is wrong. {visible(error)}") from None

for name, seen in STUDY.seen.items():
    if seen.changes:
        told = sources.tell(seen.changes)
        print(
            f"{name}: data changed since they were fetched: {visible(told)}",
            file=sys.stderr,
        )

LAYOUT = STUDY.layout

# One thread a job: jobs run side by side, and results do not depend on the number of cores. Jobs run this checkout's
# package with this Python, activated or not, or with that of their conda environment.
JOB_ENVIRONMENT = "export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 LOSSYBENCH_END_WITH_PARENT=1 "
USERS = list(filter(None, [os.environ.get("PYTHONPATH")]))
MODULES = os.pathsep.join([str(Path(workflow.basedir, "src")), *USERS])
if os.pathsep in workflow.basedir:
    raise WorkflowError(
        f"{workflow.basedir}: a folder with {os.pathsep!r} in its name cannot be on PYTHONPATH; rename it"
    )
# What lies beside the config comes last, and where Snakemake runs does not count at all (PYTHONSAFEPATH), so that a
# file there which is named like a module of Python is not run instead of that.
JOB_ENVIRONMENT += f"PYTHONSAFEPATH=1 PYTHONPATH={shlex.quote(MODULES)} "
# Jobs that run here, one for each core, share the cores: a long one uses those that others leave idle.
POOL = Path(LAYOUT.root, ".cores").resolve()
if workflow.is_main_process and workflow.local_exec:
    JOB_ENVIRONMENT += f"LOSSYBENCH_CORES={workflow.resource_settings.cores or 1} "
    JOB_ENVIRONMENT += f"LOSSYBENCH_POOL={shlex.quote(str(POOL))} "
JOB_ENVIRONMENT += f"LOSSYBENCH_BESIDE={shlex.quote(json.dumps(BESIDE))}; "
if not workflow.deployment_settings.deployment_method:
    JOB_ENVIRONMENT += (
        f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; "
    )
shell.prefix(JOB_ENVIRONMENT)


wildcard_constraints:
    look=STUDY.look_pattern,
    task="|".join(STUDY.tasks),
    arch=r"[a-z0-9_]+(/[a-z0-9_]+)?",
    regime=r"[a-z0-9_.]+",
    codec=r"[a-z0-9_]+",
    level=r"[0-9.]+",
    seed=r"[0-9]+(_fold[0-9]+)?",
    part=r"train|test",


report: "workflow/report/workflow.rst"


onstart:
    if workflow.non_local_exec:
        try:
            check_for_cluster(
                [LAYOUT.root, workflow.snakefile, Path.cwd(), *workflow.configfiles]
            )
        except LossyBenchError as error:
            raise WorkflowError(visible(error)) from None
    print(plan.describe(STUDY, workflow.cores), flush=True)
    # Of --touch, by which no job runs, there is nothing to tell.
    if not workflow.touch:
        progress.current = runs.of_dag(
            workflow.dag,
            LAYOUT.root,
            STUDY.codecs,
            plan.expected(STUDY),
            time.time(),
            workflow.cores or 1,
        )
        progress.current.write(LAYOUT.run)
        # The plugin shows how far the run is, in the same place as all else that it says of it.
        if "lossybench" not in workflow.output_settings.log_handler_settings:
            progress.tell(LAYOUT.root / "logs", time.time())
    # Snakemake 9.27 limits itself to 100 new jobs a second by a timer that each round of scheduling starts anew and
    # that starts a round: after n jobs n rounds a second look at every ready job's files. By the 200th job that took
    # half a core. A limit that the user chose stays.
    limiter = workflow.scheduler.job_rate_limiter
    if limiter and (limiter.max_jobs, limiter.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


onsuccess:
    tell_of_run()
    # All models are there, and nobody learns from decoded media any more.
    shutil.rmtree(LAYOUT.decoded(), ignore_errors=True)
    shutil.rmtree(POOL, ignore_errors=True)


onerror:
    tell_of_run()
    shutil.rmtree(POOL, ignore_errors=True)


include: "workflow/rules/common.smk"
include: "workflow/rules/fetch.smk"
include: "workflow/rules/learn_codec.smk"
include: "workflow/rules/preflight.smk"
include: "workflow/rules/compress.smk"
include: "workflow/rules/timing.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/adopt.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/attack.smk"
include: "workflow/rules/aggregate.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        rules.page.output,
        rules.recommend.output,
        rules.costs.output,
        all_figures(STUDY.tasks),
        artifacts(STUDY.tasks),
        page_on_last_run(),


# One target a codec: `snakemake branch_jpeg` makes all that is made with JPEG.
for name in STUDY.codec_names:

    rule:
        name:
            f"branch_{name}"
        input:
            STUDY.branch(name),
