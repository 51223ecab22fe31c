"""Fetch: a task's items, read or generated, into one lossless table.

Inputs: the user's media or installed packages, or another task's compressed tables. The user's media are in no `input`,
since their content decides, not their times: `sources` is one hash of them (lossybench.sources).
Output: {look}/data/{task}.parquet (artifacts.DATA).
Why one job a look: every later stage reads these tables alone, so that splits and the order of looks are fixed once.
"""


rule fetch:
    input:
        lambda w: STUDY.read_tables(w.task),
    output:
        OF_LOOK.data("{task}"),
    log:
        OF_LOOK.log("fetch", "{task}"),
    benchmark:
        OF_LOOK.benchmark("fetch", "{task}")
    priority: 100
    conda:
        "../../envs/lossybench.yaml"
    resources:
        **cluster("fetch"),
    params:
        adapter=lambda w: STUDY.task(w.task).data.adapter,
        options=lambda w: json.dumps(STUDY.data_options(w.task)),
        scale=lambda w: json.dumps(STUDY.scale(w.task) or {}),
        seed=STUDY.config.seed,
        sources=lambda w: STUDY.seen[w.task].digest,
        index=lambda w: LAYOUT.index(w.task),
        look=added_by_look,
        folds=into_folds,
        code=lambda w: fetch_code(w.task),
    message:
        "Fetching the items of {wildcards.task}"
    shell:
        "exec python -m lossybench fetch --adapter {params.adapter:q} --task {wildcards.task:q} --seed {params.seed:q}"
        " --options {params.options:q} --scale {params.scale:q} --sources={params.sources:q} --index {params.index:q}"
        " {params.look:q} {params.folds:q} --out {output:q} > {log:q} 2>&1"
