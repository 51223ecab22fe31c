"""Timing: what a codec takes of a processor's time on some of a task's test items.

Input: data/{task}.parquet, of the first look; preflight/{task}.cleared is waited for.
Output: timings/{task}/{codec}.parquet (artifacts.TIMINGS). It differs from run to run, so that only the page on costs
reads it. Why apart from compress: those tables are the same bytes every time.
"""


rule timing:
    input:
        data=LAYOUT.data("{task}"),
        # It is waited for where it is missing, and its age never counts (preflight.smk says why).
        cleared=ancient(LAYOUT.preflight("{task}", "cleared")),
        weights=lambda w: STUDY.weights(w.task, w.codec, STUDY.levels(w.task, w.codec)),
    output:
        LAYOUT.timing("{task}", "{codec}"),
    log:
        LAYOUT.log("timing", "{task}", "{codec}"),
    benchmark:
        LAYOUT.benchmark("timing", "{task}", "{codec}")
    conda:
        "../../envs/lossybench.yaml"
    resources:
        **cluster("timing"),
    params:
        levels=lambda w: STUDY.levels(w.task, w.codec),
        coder=lambda w: coder(w.task, w.codec),
        code=lambda w: code("timing", *codec_code(w.task, ORIGINAL, w.codec)),
    message:
        "Timing {wildcards.codec} on items of {wildcards.task}"
    shell:
        "exec python -m lossybench timing --data {input.data:q} --codec {wildcards.codec:q} --levels {params.levels:q}"
        " {params.coder:q} --out {output:q} > {log:q} 2>&1"
