"""Attack: one model, bare (codec `original`: the oblivious items are made here), through one codec or one defence.

Inputs: a model, the attacked levels' test parts and, for a codec, the oblivious items; for the bare model, the models
of other regimes, whose items it shall meet too. A defence goes by its name in place of the codec's.
Output: attacks/{task}/{arch}/{regime}/{seed}/{codec}.parquet (artifacts.ATTACKS).
Why by codec: the same oblivious items go through every codec; the adaptive ones are made through each.
"""


rule attack:
    input:
        model=LAYOUT.model_files(MODEL),
        data=LAYOUT.data("{task}"),
        compressed=lambda w: test_parts(w, STUDY.attacked_levels(w.task, w.codec)),
        oblivious=oblivious,
        transfer=transferred,
        weights=lambda w: STUDY.weights(
            w.task, w.codec, STUDY.attacked_levels(w.task, w.codec)
        ),
    output:
        LAYOUT.attacks(MODEL, "{codec}"),
    log:
        LAYOUT.log("attack", *MODEL.parts, "{codec}"),
    benchmark:
        LAYOUT.benchmark("attack", *MODEL.parts, "{codec}")
    wildcard_constraints:
        task=LAYOUT.tasks_of(
            [path for task in STUDY.tasks for path in STUDY.all_attacks(task)]
        ),
    priority: 30
    conda:
        "../../envs/lossybench.yaml"
    # Codec round trips at a time; more pay where a GPU waits for them: `--set-threads attack=8`. Idle cores of this
    # machine make further batches, however many threads there are (src/lossybench/cores.py).
    threads: 1
    resources:
        **cluster("attack"),
    params:
        folder=lambda w, input: Path(input.model[0]).parent,
        oblivious=lambda w, input: (
            ["--oblivious", *input.oblivious] if input.oblivious else []
        ),
        transfer=lambda w, input: (
            ["--transfer", *map(LAYOUT.model, transferred_models(w))]
            if input.transfer
            else []
        ),
        coder=lambda w: coder(w.task, w.codec),
        defence=lambda w: (
            ["--defence", json.dumps(STUDY.defence(w.task, w.codec))]
            if STUDY.defence(w.task, w.codec)
            else []
        ),
        settings=lambda w: json.dumps(STUDY.attack_settings(model_of(w), w.codec)),
        code=lambda w: code(
            "attack",
            *model_code(w),
            *codec_code(w.task, ORIGINAL, w.codec),
        ),
    message:
        "Attacking {wildcards.arch} ({wildcards.regime}, seed {wildcards.seed}) of {wildcards.task} through {wildcards.codec}"
    shell:
        "exec python -m lossybench attack --model {params.folder:q} --data {input.data:q} --compressed {input.compressed:q}"
        " --codec {wildcards.codec:q} {params.coder:q} {params.defence:q} {params.oblivious:q} {params.transfer:q}"
        " --settings {params.settings:q} --threads {threads} --out {output:q} > {log:q} 2>&1"
