"""Compress: a split through one codec at one level.

Inputs: {look}/data/{task}.parquet; preflight/{task}.cleared is waited for.
Output: {look}/compressed/{task}/{codec}/{level}/{part}.parquet (artifacts.COMPRESSED).
Why by level and part: adding a level or a regime compresses nothing a second time. Needs no torch.
"""


rule compress:
    input:
        data=OF_LOOK.data("{task}"),
        # It is waited for where it is missing, and its age never counts (preflight.smk says why).
        cleared=ancient(LAYOUT.preflight("{task}", "cleared")),
    output:
        OF_LOOK.compressed("{task}", Condition("{codec}", "{level}"), "{part}"),
    log:
        OF_LOOK.log("compress", "{task}", "{codec}", "{level}", "{part}"),
    benchmark:
        OF_LOOK.benchmark("compress", "{task}", "{codec}", "{level}", "{part}")
    wildcard_constraints:
        task=LAYOUT.tasks_of(
            [
                path
                for task in STUDY.tasks
                for part in ("test", "train")
                for path in STUDY.all_compressed(task, part)
            ]
        ),
    # Training waits for the training parts: make them first.
    priority: lambda w: 60 if w.part == "train" else 20
    group:
        "compress-{task}-{codec}-{part}"
    conda:
        "../../envs/lossybench.yaml"
    resources:
        **cluster("compress"),
        lane=1,
    params:
        options=lambda w: json.dumps(STUDY.codec_options(w.task, w.codec)),
        code=lambda w: code("compress", *codec_code(ORIGINAL, w.codec)),
    message:
        "Compressing {wildcards.task} ({wildcards.part}): {wildcards.codec} at {wildcards.level}"
    shell:
        "exec python -m lossybench compress --data {input.data:q} --codec {wildcards.codec:q} --level {wildcards.level:q}"
        " --part {wildcards.part:q} --options {params.options:q} --out {output:q} > {log:q} 2>&1"
