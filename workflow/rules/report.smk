"""Report: the page, figures, contact sheets, recommendations and costs.

Inputs: the summaries and timings; for the contact sheets the bitstreams themselves.
Outputs: index.html, figures/{task}/*.png and *.svg, samples/{task}.json, recommendations.md, costs.csv.
Why one job a task draws all its figures: starting matplotlib takes longer than drawing one.
"""

# A task's figures depend on what the study asks of it, so each task has a rule of its own.
for task in STUDY.tasks:

    rule:
        name:
            f"figures_{task}"
        input:
            [LAYOUT.summary(task, table) for table in SCHEMAS],
        output:
            [
                report(
                    LAYOUT.figure(task, name),
                    caption=f"../report/{name}.rst",
                    category=title(task),
                    labels=figure_labels(name),
                )
                for name in figures(task)
            ],
            [LAYOUT.figure(task, name, "svg") for name in figures(task)],
        log:
            LAYOUT.log("figures", task),
        benchmark:
            LAYOUT.benchmark("figures", task)
        conda:
            "../../envs/lossybench.yaml"
        resources:
            **cluster("report"),
        params:
            summary=lambda w, input: Path(input[0]).parent,
            folder=lambda w, output: Path(output[0]).parent,
            code=lambda w: code("report:figures"),
        message:
            f"Drawing the figures of {task}"
        shell:
            "exec python -m lossybench figures --summary {params.summary:q} --out {params.folder:q} > {log:q} 2>&1"


# Apart from the other figures, since times are never the same.
for task in STUDY.tasks:

    rule:
        name:
            f"frontier_{task}"
        input:
            [LAYOUT.summary(task, table) for table in SCHEMAS],
            timings=[LAYOUT.timing(task, codec) for codec in STUDY.codecs[task]],
        output:
            picture=report(
                LAYOUT.figure(task, "frontier"),
                caption="../report/frontier.rst",
                category=title(task),
                labels=figure_labels("frontier"),
            ),
            vector=LAYOUT.figure(task, "frontier", "svg"),
        log:
            LAYOUT.log("frontier", task),
        benchmark:
            LAYOUT.benchmark("frontier", task)
        conda:
            "../../envs/lossybench.yaml"
        resources:
            **cluster("report"),
        params:
            summary=lambda w, input: Path(input[0]).parent,
            code=lambda w: code("report:frontier"),
        message:
            f"Drawing {task} against bytes and time"
        shell:
            "exec python -m lossybench frontier --summary {params.summary:q} --timings {input.timings:q} --out {output.picture:q}"
            " > {log:q} 2>&1"


rule contact_sheet:
    input:
        data=LAYOUT.data("{task}"),
        compressed=lambda w: STUDY.all_compressed(w.task, "test"),
    output:
        samples=LAYOUT.samples("{task}"),
        sheet=report(
            LAYOUT.figure("{task}", "contact_sheet"),
            caption="../report/contact_sheet.rst",
            category=lambda w: title(w.task),
            labels=lambda w: figure_labels("contact_sheet"),
        ),
    log:
        LAYOUT.log("contact_sheet", "{task}"),
    benchmark:
        LAYOUT.benchmark("contact_sheet", "{task}")
    conda:
        "../../envs/lossybench.yaml"
    resources:
        **cluster("report"),
    params:
        titles=lambda w: json.dumps(STUDY.titles(w.task)),
        code=lambda w: code(
            "report:contact_sheet",
            kind_module(w.task),
            *codec_code(w.task, *STUDY.codecs[w.task]),
        ),
    message:
        "Drawing what each codec does to samples of {wildcards.task}"
    shell:
        "exec python -m lossybench contact-sheet --data {input.data:q} --compressed {input.compressed:q}"
        " --titles {params.titles:q} --out {output.sheet:q} --samples {output.samples:q} > {log:q} 2>&1"


rule page:
    input:
        summaries=[
            LAYOUT.summary(task, table) for task in STUDY.tasks for table in SCHEMAS
        ],
        timings=[LAYOUT.timing(task, codec) for task, codec in STUDY.timed],
        samples=[LAYOUT.samples(task) for task in STUDY.tasks],
    output:
        report(
            LAYOUT.report("page"),
            caption="../report/page.rst",
            category="1. The answer on one page",
            labels={"figure": "all tasks"},
        ),
    log:
        LAYOUT.log("page"),
    benchmark:
        LAYOUT.benchmark("page")
    conda:
        "../../envs/lossybench.yaml"
    resources:
        **cluster("report"),
    params:
        summaries=lambda w, input: list(
            dict.fromkeys(Path(path).parent for path in input.summaries)
        ),
        study=json.dumps({"config": STUDY.shown()}),
        code=lambda w: code("report:page"),
        templates=source_digest(*TEMPLATES),
    message:
        "Writing the page"
    shell:
        "exec python -m lossybench page --summaries {params.summaries:q} --timings {input.timings:q}"
        " --samples {input.samples:q} --study {params.study:q} --out {output:q} > {log:q} 2>&1"


rule recommend:
    input:
        [LAYOUT.summary(task, table) for task in STUDY.tasks for table in SCHEMAS],
    output:
        LAYOUT.report("text"),
    log:
        LAYOUT.log("recommend"),
    benchmark:
        LAYOUT.benchmark("recommend")
    conda:
        "../../envs/lossybench.yaml"
    resources:
        **cluster("report"),
    params:
        summaries=lambda w, input: list(
            dict.fromkeys(Path(path).parent for path in input)
        ),
        code=lambda w: code("report:recommend"),
    message:
        "Writing recommendations"
    shell:
        "exec python -m lossybench recommend --summaries {params.summaries:q} --out {output:q} > {log:q} 2>&1"


rule costs:
    input:
        timings=[LAYOUT.timing(task, codec) for task, codec in STUDY.timed],
        summaries=[
            LAYOUT.summary(task, table) for task in STUDY.tasks for table in SCHEMAS
        ],
    output:
        LAYOUT.report("costs_table"),
    log:
        LAYOUT.log("costs"),
    benchmark:
        LAYOUT.benchmark("costs")
    conda:
        "../../envs/lossybench.yaml"
    resources:
        **cluster("report"),
    params:
        summaries=lambda w, input: list(
            dict.fromkeys(Path(path).parent for path in input.summaries)
        ),
        prices=STUDY.config.prices.model_dump_json(),
        code=lambda w: code("report:costs"),
    message:
        "Reckoning what each codec takes of bytes, time and money"
    shell:
        "exec python -m lossybench costs --summaries {params.summaries:q} --timings {input.timings:q}"
        " --prices {params.prices:q} --table {output:q} > {log:q} 2>&1"
