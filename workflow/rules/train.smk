"""Train: one architecture on one regime with one seed.

Inputs: labels from data/{task}.parquet, media from the regime's compressed train parts.
Outputs: models/{task}/{arch}/{regime}/{seed}/: weights, description, history.
Why media come from compressed parts also for `original`: the lossless condition takes the same path as any other.
A model that exists already is taken over instead: it needs data/{task}.parquet alone, and is another when the content
of its checkpoint is.
"""


rule train:
    input:
        data=f"{ROOT}/data/{{task}}.parquet",
        compressed=training_parts,
    output:
        [f"{MODEL}/{file}" for file in MODEL_FILES],
    log:
        f"{LOGS}/train/{{task}}/{{arch}}/{{regime}}/{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/train/{{task}}/{{arch}}/{{regime}}/{{seed}}.tsv"
    priority: 40
    conda:
        "../../envs/lossybench.yaml"
    resources:
        **cluster("train"),
    params:
        folder=lambda w, output: Path(output[0]).parent,
        settings=lambda w: json.dumps(STUDY.training_settings(model_of(w))),
        code=training_code,
    message:
        "Training {wildcards.arch} for {wildcards.task} on {wildcards.regime}, seed {wildcards.seed}"
    shell:
        "exec python -m lossybench train --data {input.data} --compressed {input.compressed} --task {wildcards.task}"
        " --arch {wildcards.arch} --regime {wildcards.regime} --seed {wildcards.seed}"
        " --settings {params.settings:q} --threads {threads} --out {params.folder} > {log} 2>&1"


for task in STUDY.tasks:
    for model in STUDY.existing(task):

        rule:
            name:
                adoption(model)
            input:
                data=STUDY.data(task),
            output:
                [f"{STUDY.model(model)}/{file}" for file in MODEL_FILES],
            log:
                f"{LOGS}/adopt/{task}/{model.arch}.log",
            benchmark:
                f"{BENCHMARKS}/adopt/{task}/{model.arch}.tsv"
            priority: 40
            conda:
                "../../envs/lossybench.yaml"
            resources:
                **cluster("fetch"),
            params:
                folder=STUDY.model(model),
                task=task,
                arch=model.arch,
                seed=model.seed,
                settings=json.dumps(STUDY.existing_settings(model)),
                files=identity(model.arch, STUDY.existing_settings(model)),
                code=fingerprint(
                    "lossybench.models.existing",
                    *model_code(model),
                    *codec_code("original"),
                ),
            message:
                f"Taking over {model.arch} for {task}"
            shell:
                "exec python -m lossybench adopt --data {input.data} --task {params.task} --arch {params.arch}"
                " --seed {params.seed} --settings {params.settings:q} --out {params.folder} > {log} 2>&1"

        workflow.ruleorder(adoption(model), "train")
