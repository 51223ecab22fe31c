"""Evaluate: every model of a task on all levels of one codec, item by item.

Inputs: the models, the codec's test parts, truth from {look}/data/{task}.parquet.
Outputs: {look}/evaluated/{task}/{codec}.json, what each table was made from, and those tables that are not there yet,
{look}/outcomes/{task}/{arch}/{regime}/{seed}/{codec}.parquet (of the schema of the kind of task).
Why one job for all models: it decodes each item once. Why tables that are there are no outputs, but for the targets of a
run: Snakemake would remove them first, and the job itself leaves those alone, with their times, that were made from
what is there now.
"""

# Tables that are targets of this run have to be outputs of a rule, there or not.
ASKED = set(map(Path, sys.argv))

for task in STUDY.tasks:
    for look, codec, tested in STUDY.evaluations(task):
        layout = LAYOUT.at(look)
        of_look = f"_look{look}" if look > 1 else ""
        name = f"evaluate_{task}_{codec}{of_look}"
        outcomes = [layout.outcomes(model, codec) for model in tested]

        rule:
            name:
                name
            input:
                model=[path for model in tested for path in LAYOUT.model_files(model)],
                data=layout.data(task),
                compressed=[
                    layout.compressed(task, Condition(codec, level), "test")
                    for level in STUDY.levels(task, codec)
                ],
            output:
                [path for path in outcomes if path in ASKED or not path.exists()],
                record=layout.evaluated(task, codec),
            log:
                layout.log("evaluate", task, codec),
            benchmark:
                layout.benchmark("evaluate", task, codec)
            priority: 10
            conda:
                "../../envs/lossybench.yaml"
            # Items that are decoded at a time.
            threads: 1
            resources:
                **cluster("evaluate"),
            params:
                folders=[LAYOUT.model(model) for model in tested],
                out=outcomes,
                # A function of `output` is asked when Snakemake knows what the user forces, and is never a reason.
                anew=lambda w, output, name=name: ["--anew"] if forced(name) else [],
                code=code(
                    "evaluate",
                    *sorted({name for model in tested for name in model_code(model)}),
                    *codec_code(task, codec),
                ),
            message:
                f"Testing the models of {task} on {codec}"
            shell:
                "exec python -m lossybench evaluate --model {params.folders:q} --data {input.data:q}"
                " --compressed {input.compressed:q} --out {params.out:q} --record {output.record:q} {params.anew:q}"
                " --threads {threads} > {log:q} 2>&1"
