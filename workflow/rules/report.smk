"""Report: figures, contact sheets, recommendations, the table of limits and the page on attacks.

Inputs: the summaries; for the contact sheets the bitstreams themselves.
Outputs: figures/{task}/*.png and *.svg, recommendations.md, limits.html, attacks.html.
Why one job a task draws all its figures: starting matplotlib takes longer than drawing one.
"""

# A task's figures depend on what the study asks of it, so each task has a rule of its own.
for task in STUDY.tasks:

    rule:
        name:
            f"figures_{task}"
        input:
            expand(f"{ROOT}/summary/{task}/{{table}}.parquet", table=SCHEMAS),
        output:
            [
                report(
                    f"{ROOT}/figures/{task}/{name}.png",
                    caption=f"../report/{name}.rst",
                    category=title(task),
                    labels=figure_labels(name),
                )
                for name in figures(task)
            ],
            [f"{ROOT}/figures/{task}/{name}.svg" for name in figures(task)],
        log:
            f"{LOGS}/figures/{task}.log",
        benchmark:
            f"{BENCHMARKS}/figures/{task}.tsv"
        conda:
            "../../envs/lossybench.yaml"
        resources:
            **cluster("report"),
        params:
            summary=lambda w, input: Path(input[0]).parent,
            folder=lambda w, output: Path(output[0]).parent,
            code=lambda w: fingerprint("lossybench.report.figures"),
        message:
            f"Drawing the figures of {task}"
        shell:
            "exec python -m lossybench figures --summary {params.summary} --out {params.folder} > {log} 2>&1"


rule contact_sheet:
    input:
        data=f"{ROOT}/data/{{task}}.parquet",
        compressed=lambda w: STUDY.all_compressed(w.task, "test"),
    output:
        report(
            f"{ROOT}/figures/{{task}}/contact_sheet.png",
            caption="../report/contact_sheet.rst",
            category=lambda w: title(w.task),
            labels=lambda w: figure_labels("contact_sheet"),
        ),
    log:
        f"{LOGS}/contact_sheet/{{task}}.log",
    benchmark:
        f"{BENCHMARKS}/contact_sheet/{{task}}.tsv"
    conda:
        "../../envs/lossybench.yaml"
    resources:
        **cluster("report"),
    params:
        code=lambda w: fingerprint(
            "lossybench.report.contact_sheet", *codec_code(*STUDY.codecs[w.task])
        ),
    message:
        "Drawing what each codec does to samples of {wildcards.task}"
    shell:
        "exec python -m lossybench contact-sheet --data {input.data} --compressed {input.compressed}"
        " --out {output} > {log} 2>&1"


rule recommend:
    input:
        expand(
            f"{ROOT}/summary/{{task}}/{{table}}.parquet",
            task=STUDY.tasks,
            table=SCHEMAS,
        ),
    output:
        text=f"{ROOT}/recommendations.md",
        html=report(
            f"{ROOT}/limits.html",
            caption="../report/limits_table.rst",
            category="Limits of all tasks",
            labels={"figure": "table of limits"},
        ),
        attacks=report(
            f"{ROOT}/attacks.html",
            caption="../report/attacks_page.rst",
            category="Under attack",
            labels={"figure": "what a codec buys under attack"},
        ),
    log:
        f"{LOGS}/recommend.log",
    benchmark:
        f"{BENCHMARKS}/recommend.tsv"
    conda:
        "../../envs/lossybench.yaml"
    resources:
        **cluster("report"),
    params:
        summaries=lambda w, input: list(
            dict.fromkeys(Path(path).parent for path in input)
        ),
        code=lambda w: fingerprint("lossybench.report.recommendations"),
    message:
        "Writing recommendations"
    shell:
        "exec python -m lossybench recommend --summaries {params.summaries} --out {output.text} --html {output.html}"
        " --attacks {output.attacks} > {log} 2>&1"
