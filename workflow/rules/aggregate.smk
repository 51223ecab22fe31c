"""Aggregate: a task's outcomes into metrics with intervals, paired differences, limits and attack tables.

Inputs: every outcome, bitstream table and attack table of the task, of all looks. Outputs: summary/{task}/*.parquet and *.csv.
Why apart from the report: delta or a statistic can change without anything being compressed or trained again.
"""


rule aggregate:
    input:
        data=lambda w: STUDY.all_data(w.task),
        compressed=lambda w: all_tested(STUDY.all_compressed, w.task, "test"),
        outcomes=lambda w: all_tested(STUDY.all_outcomes, w.task),
        evaluated=lambda w: all_tested(STUDY.all_evaluated, w.task),
        attacks=lambda w: STUDY.all_attacks(w.task),
    output:
        [
            LAYOUT.summary("{task}", table, form)
            for table in SCHEMAS
            for form in ("parquet", "csv")
        ],
    log:
        LAYOUT.log("aggregate", "{task}"),
    benchmark:
        LAYOUT.benchmark("aggregate", "{task}")
    conda:
        "../../envs/lossybench.yaml"
    resources:
        **cluster("aggregate"),
    params:
        folder=lambda w, output: Path(output[0]).parent,
        attacks=lambda w, input: (
            ["--attacks", *input.attacks] if input.attacks else []
        ),
        settings=lambda w: json.dumps(STUDY.analysis_settings(w.task)),
        code=lambda w: code(
            "aggregate",
            kind_module(w.task),
            *codec_code(w.task, *STUDY.codecs[w.task]),
        ),
    message:
        "Aggregating {wildcards.task}"
    shell:
        "exec python -m lossybench aggregate --data {input.data:q} --compressed {input.compressed:q} --outcomes {input.outcomes:q}"
        " {params.attacks:q} --settings {params.settings:q} --out {params.folder:q} > {log:q} 2>&1"
