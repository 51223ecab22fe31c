"""Compress: a part of the items through one codec, at all of its levels that have to be made.

Inputs: {look}/data/{task}.parquet; preflight/{task}.cleared is waited for. Of a codec that learns also its weights.
Output: {look}/compressed/{task}/{codec}/{level}/{part}.parquet (artifacts.COMPRESSED), one for each level.
Why one job for many levels: it decodes each original once. Why a file a level, and a job of its own for a level that is
there: adding a level or a regime compresses nothing a second time. Needs no torch.
"""

# Both kinds of job make the same bytes by the same words, so that Snakemake finds no difference between them.
COMPRESS = (
    "exec python -m lossybench compress --data {input.data:q} --codec {params.codec:q} --levels {params.levels:q}"
    " --part {params.part:q} {params.coder:q} {params.measuring:q}"
    " --identity {params.identity:q} --threads {threads} --out {output:q} > {log:q} 2>&1"
)
# Training waits for the training parts: make them first.
FIRST = {"train": 60, "test": 20}

# What has a job of its own, and all others.
ALONE = []

for task in STUDY.tasks:
    for look, codec, part, levels in STUDY.compressions(task):
        layout, due = LAYOUT.at(look), due_levels(look, task, codec, part, levels)
        of_look = f"_look{look}" if look > 1 else ""
        ALONE += [
            LAYOUT.compressed(task, Condition(codec, level), part)
            for level in levels
            if level not in due or not workflow.is_main_process
        ]
        if due:

            rule:
                name:
                    f"compress_{task}_{codec}_{part}{of_look}"
                input:
                    data=layout.data(task),
                    # It is waited for where it is missing, and its age never counts (preflight.smk says why).
                    cleared=ancient(LAYOUT.preflight(task, "cleared")),
                output:
                    [layout.compressed(task, Condition(codec, lv), part) for lv in due],
                log:
                    layout.log("compress", task, codec, part),
                benchmark:
                    layout.benchmark("compress", task, codec, part)
                priority: FIRST[part]
                conda:
                    "../../envs/lossybench.yaml"
                # Items at a time; `--set-threads` gives a large study's longest jobs more.
                threads: 1
                resources:
                    **cluster("compress"),
                params:
                    codec=codec,
                    part=part,
                    levels=lambda w, output: levels_of(output),
                    coder=coder(task, codec),
                    identity=made_from(task, codec, look, part),
                    measuring=measuring(task, part),
                message:
                    f"Compressing {task} ({part}) with {codec}"
                shell:
                    COMPRESS


rule compress:
    input:
        data=OF_LOOK.data("{task}"),
        cleared=ancient(LAYOUT.preflight("{task}", "cleared")),
        weights=lambda w: STUDY.weights(w.task, w.codec, [w.level]),
    output:
        OF_LOOK.compressed("{task}", Condition("{codec}", "{level}"), "{part}"),
    log:
        OF_LOOK.log("compress", "{task}", "{codec}", "{level}", "{part}"),
    benchmark:
        OF_LOOK.benchmark("compress", "{task}", "{codec}", "{level}", "{part}")
    wildcard_constraints:
        task=LAYOUT.tasks_of(ALONE),
    priority: lambda w: FIRST[w.part]
    conda:
        "../../envs/lossybench.yaml"
    threads: 1
    resources:
        **cluster("compress"),
    params:
        codec=lambda w: w.codec,
        part=lambda w: w.part,
        levels=lambda w, output: levels_of(output),
        coder=lambda w: coder(w.task, w.codec),
        identity=lambda w: made_from(w.task, w.codec, LAYOUT.number(w.look), w.part),
        measuring=lambda w: measuring(w.task, w.part),
    message:
        "Compressing {wildcards.task} ({wildcards.part}): {wildcards.codec} at {wildcards.level}"
    shell:
        COMPRESS
