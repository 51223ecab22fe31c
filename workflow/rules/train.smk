"""Train: one architecture on one regime with one seed.

Inputs: labels from data/{task}.parquet, media from the regime's compressed train parts.
Outputs: models/{task}/{arch}/{regime}/{seed}/: weights, description, history.
With folds (seed 3 of fold 2 is "3_fold2"), media come from the compressed test parts, which then hold all items.
Why media come from compressed parts also for `original`: the lossless condition takes the same path as any other.
"""


rule train:
    input:
        data=LAYOUT.data("{task}"),
        compressed=training_parts,
    output:
        LAYOUT.model_files(MODEL),
    log:
        LAYOUT.log("train", *MODEL.parts),
    benchmark:
        LAYOUT.benchmark("train", *MODEL.parts)
    wildcard_constraints:
        task=LAYOUT.tasks_of(
            [
                path
                for task in STUDY.tasks
                for model in STUDY.models(task)
                if model not in STUDY.existing(task)
                for path in LAYOUT.model_files(model)
            ]
        ),
    priority: 40
    conda:
        "../../envs/lossybench.yaml"
    resources:
        **cluster("train"),
    params:
        folder=lambda w, output: Path(output[0]).parent,
        seed=lambda w: model_of(w).seed,
        fold=lambda w: ["--fold", f] if (f := model_of(w).fold) else [],
        settings=lambda w: json.dumps(STUDY.training_settings(model_of(w))),
        # They follow from the output as far as Snakemake can see, so that it does not record them: no result changes.
        decoded=lambda w, output: LAYOUT.decoded(),
        room=lambda w, output: STUDY.config.decoded,
        code=lambda w: code(
            "train", *model_code(w), *codec_code(w.task, *training_codecs(w))
        ),
    message:
        "Training {wildcards.arch} for {wildcards.task} on {wildcards.regime}, seed {wildcards.seed}"
    shell:
        "exec python -m lossybench train --data {input.data:q} --compressed {input.compressed:q} --task {wildcards.task:q}"
        " --arch {wildcards.arch:q} --regime {wildcards.regime:q} --seed {params.seed:q} {params.fold:q}"
        " --settings {params.settings:q} --threads {threads} --decoded {params.decoded:q}"
        " --room {params.room:q} --out {params.folder:q} > {log:q} 2>&1"
