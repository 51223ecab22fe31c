"""Evaluate: one model on all levels of one codec, item by item.

Inputs: a model, the codec's test parts, truth from {look}/data/{task}.parquet.
Output: {look}/outcomes/{task}/{arch}/{regime}/{seed}/{codec}.parquet (artifacts.*_OUTCOMES).
Why by codec: a job that imports torch costs seconds before it does anything, and a codec is what gets rerun.
"""


rule evaluate:
    input:
        model=LAYOUT.model_files(MODEL),
        data=OF_LOOK.data("{task}"),
        compressed=lambda w: test_parts(
            w, STUDY.levels(w.task, w.codec), LAYOUT.at(w.look)
        ),
    output:
        OF_LOOK.outcomes(MODEL, "{codec}"),
    log:
        OF_LOOK.log("evaluate", *MODEL, "{codec}"),
    benchmark:
        OF_LOOK.benchmark("evaluate", *MODEL, "{codec}")
    wildcard_constraints:
        task=LAYOUT.tasks_of(
            [path for task in STUDY.tasks for path in STUDY.all_outcomes(task)]
        ),
    priority: 10
    group:
        "evaluate-{task}-{arch}-{regime}-{seed}"
    conda:
        "../../envs/lossybench.yaml"
    resources:
        **cluster("evaluate"),
        lane=1,
    params:
        folder=lambda w, input: Path(input.model[0]).parent,
        code=lambda w: code("evaluate", *model_code(w), *codec_code(w.codec)),
    message:
        "Testing {wildcards.arch} ({wildcards.regime}, seed {wildcards.seed}) of {wildcards.task} on {wildcards.codec}"
    shell:
        "exec python -m lossybench evaluate --model {params.folder:q} --data {input.data:q} --compressed {input.compressed:q}"
        " --threads {threads} --out {output:q} > {log:q} 2>&1"
