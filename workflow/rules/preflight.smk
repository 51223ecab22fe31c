"""Preflight: what later stages need is tried on a few items, and the task is then cleared for compression.

Inputs: data/{task}.parquet and the models of the task that exist already, which `adopt` has tried;
of codecs that learn their weights.
Outputs: preflight/{task}.json, what was measured, and preflight/{task}.cleared, for which compress waits.
Why a task is cleared once, and by a rule that is not there afterwards: another model must not compress anything again.
An `ancient` input alone does not see to that: where the job that makes it runs again, Snakemake 9.27 leaves out all
that follows from it and would be due for other reasons. Later on priorities let models be tried first.
"""


rule preflight:
    input:
        data=LAYOUT.data("{task}"),
        models=lambda w: [
            path
            for model in STUDY.existing(w.task)
            for path in LAYOUT.model_files(model)
        ],
        weights=lambda w: STUDY.all_weights(w.task),
    output:
        LAYOUT.preflight("{task}", "json"),
    log:
        LAYOUT.log("preflight", "{task}"),
    benchmark:
        LAYOUT.benchmark("preflight", "{task}")
    wildcard_constraints:
        task="|".join(STUDY.tasks),
    priority: 90
    conda:
        "../../envs/lossybench.yaml"
    resources:
        **cluster("preflight"),
    params:
        adopted=lambda w: [LAYOUT.model(model) for model in STUDY.existing(w.task)],
        settings=lambda w: json.dumps(STUDY.preflight_settings(w.task)),
        code=lambda w: code(
            "preflight",
            *sorted({name for m in STUDY.models(w.task) for name in model_code(m)}),
            *codec_code(w.task, *STUDY.codecs[w.task]),
        ),
    message:
        "Trying the codecs and models of {wildcards.task} on a few items"
    shell:
        "exec python -m lossybench preflight --data {input.data:q} --task {wildcards.task:q}"
        " --settings {params.settings:q} --adopted {params.adopted:q} --out {output:q} > {log:q} 2>&1"


UNCLEARED = [
    task for task in STUDY.tasks if not LAYOUT.preflight(task, "cleared").exists()
]

if UNCLEARED:

    rule cleared:
        input:
            LAYOUT.preflight("{task}", "json"),
        output:
            touch(LAYOUT.preflight("{task}", "cleared")),
        wildcard_constraints:
            task="|".join(UNCLEARED),
        priority: 90
        localrule: True
        message:
            "All that could be tried of {wildcards.task} works"
