# Stage uses: C at work in training. Noisy captions and captions that join in an order, measured on captions that nothing
# is chosen on, and dictionaries of few labelled images, measured where choices are made. Not part of `all`.
rule encode_few_labels:
    input:
        unpack(lambda wildcards: refitted(wildcards, CHOOSING)),
        images=rules.prepare_data.output.images,
        objects=rules.prepare_data.output.objects,
        drawn=rules.prepare_data.output.drawn,
    output:
        directory(f"{RESULTS}/uses/dictionaries/{{seed}}"),
    log:
        f"{RESULTS}/logs/encode_few_labels/{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/encode_few_labels/{{seed}}.tsv"
    conda:
        "../../envs/vialign.yaml"
    # Small operations, like those of the fit itself.
    threads: 1
    params:
        config=section("backbone", "data", "name", "seed", "text", "uses", "visual"),
        code=code("encode_few_labels"),
        measured=CHOOSING,
    script:
        "../scripts/encode_few_labels.py"


rule use_noise:
    input:
        unpack(retrained),
        unpack(lambda wildcards: searched_for(REWEIGHTED)),
        calibration=rules.calibrate_signal.output[0],
    output:
        f"{RESULTS}/uses/noise.parquet",
    log:
        f"{RESULTS}/logs/use_noise.log",
    benchmark:
        f"{RESULTS}/benchmarks/use_noise.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section(*BUILDING, "evaluation.level", "training.seeds", "uses"),
        code=code("use_noise"),
        measured=ATTRIBUTED,
        method=REWEIGHTED,
    script:
        "../scripts/use_noise.py"


rule use_order:
    input:
        unpack(retrained),
        unpack(lambda wildcards: searched_for(chosen())),
        calibration=rules.calibrate_signal.output[0],
    output:
        table=f"{RESULTS}/uses/order.parquet",
        curves=f"{RESULTS}/uses/curves.parquet",
    log:
        f"{RESULTS}/logs/use_order.log",
    benchmark:
        f"{RESULTS}/benchmarks/use_order.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section(*BUILDING, "evaluation.level", "training.seeds", "uses"),
        code=code("use_order"),
        measured=ATTRIBUTED,
        method=lambda wildcards: chosen(),
    script:
        "../scripts/use_order.py"


rule use_labels:
    input:
        unpack(lambda wildcards: retrained(wildcards, CHOOSING)),
        unpack(lambda wildcards: searched_for(chosen())),
        calibration=rules.calibrate_signal.output[0],
        dictionaries=filled(rules.encode_few_labels.output[0], seed=SEEDS),
    output:
        f"{RESULTS}/uses/labels.parquet",
    log:
        f"{RESULTS}/logs/use_labels.log",
    benchmark:
        f"{RESULTS}/benchmarks/use_labels.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section(*BUILDING, "evaluation.level", "training.seeds", "uses"),
        code=code("use_labels"),
        measured=CHOOSING,
        method=lambda wildcards: chosen(),
    script:
        "../scripts/use_labels.py"


rule uses_page:
    input:
        rules.use_noise.output,
        rules.use_order.output,
        rules.use_labels.output,
    output:
        report(
            f"{RESULTS}/report/uses.html",
            caption="../report/uses.rst",
            category="Report",
        ),
    log:
        f"{RESULTS}/logs/uses_page.log",
    benchmark:
        f"{RESULTS}/benchmarks/uses_page.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section(*EVERYTHING),
        code=code("uses_page"),
    script:
        "../scripts/uses_page.py"


rule uses:
    input:
        when_passed(lambda: list(rules.uses_page.output)),
