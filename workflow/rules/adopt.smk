"""Adopt: a model that exists already is taken over, in place of training one.

Input: data/{task}.parquet. Outputs: those of train, models/{task}/{arch}/original/{seed}/.
Why a rule for each model: it is another model when the content of its checkpoint is another.
"""

for task in STUDY.tasks:
    for model in STUDY.existing(task):

        rule:
            name:
                adoption(model)
            input:
                data=LAYOUT.data(task),
            output:
                LAYOUT.model_files(model),
            log:
                LAYOUT.log("adopt", task, model.arch),
            benchmark:
                LAYOUT.benchmark("adopt", task, model.arch)
            priority: 95
            conda:
                "../../envs/lossybench.yaml"
            resources:
                **cluster("preflight"),
            params:
                folder=LAYOUT.model(model),
                task=task,
                arch=model.arch,
                seed=model.seed,
                settings=json.dumps(STUDY.existing_settings(model)),
                files=identity(model.arch, STUDY.existing_settings(model)),
                code=code("adopt", *model_code(model), *codec_code(task, ORIGINAL)),
            message:
                f"Taking over {model.arch} for {task}"
            shell:
                "exec python -m lossybench adopt --data {input.data:q} --task {params.task:q} --arch {params.arch:q}"
                " --seed {params.seed:q} --settings {params.settings:q} --out {params.folder:q} > {log:q} 2>&1"
