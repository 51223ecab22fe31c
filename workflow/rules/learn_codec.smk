"""Learn a codec: the weights of one level of a codec that learns, on a task's own training items.

Input: data/{task}.parquet, of which the splits train and val are read. Output: learned/{task}/{codec}/{level}.safetensors.
Why a job a level: adding a level trains no other one again. A study without such a codec has no such jobs.
"""


rule learn_codec:
    input:
        data=LAYOUT.data("{task}"),
    output:
        LAYOUT.weights("{task}", "{codec}", "{level}"),
    log:
        LAYOUT.log("learn_codec", "{task}", "{codec}", "{level}"),
    benchmark:
        LAYOUT.benchmark("learn_codec", "{task}", "{codec}", "{level}")
    wildcard_constraints:
        task=LAYOUT.tasks_of(
            [path for task in STUDY.tasks for path in STUDY.all_weights(task)]
        ),
    priority: 92
    conda:
        "../../envs/lossybench.yaml"
    resources:
        **cluster("learn_codec"),
    params:
        coder=lambda w: coder(w.task, w.codec),
        code=lambda w: code("learn_codec", *codec_code(w.task, ORIGINAL, w.codec)),
    message:
        "Training the codec {wildcards.codec} for {wildcards.task} at {wildcards.level}"
    shell:
        "exec python -m lossybench learn-codec --data {input.data:q} --codec {wildcards.codec:q} --level {wildcards.level:q}"
        " {params.coder:q} --out {output:q} > {log:q} 2>&1"
