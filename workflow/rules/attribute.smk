# Stage attribute: what carries the gain. The chosen combination and the full model are trained again with their driver,
# or their local part, replaced, and measured on captions that nothing was chosen on.


rule encode_dictionaries:
    input:
        unpack(refitted),
        visual=rules.fit_visual.output.weights,
        images=rules.prepare_data.output.images,
        objects=rules.prepare_data.output.objects,
        drawn=rules.prepare_data.output.drawn,
    output:
        directory(f"{RESULTS}/attribute/dictionaries"),
    log:
        f"{RESULTS}/logs/encode_dictionaries.log",
    benchmark:
        f"{RESULTS}/benchmarks/encode_dictionaries.tsv"
    # Long jobs first, as in `train_final`.
    priority: 1
    conda:
        "../../envs/vialign.yaml"
    threads: TOWER_THREADS
    params:
        config=section("backbone", "data", "name", "seed", "text", "visual"),
        code=code("encode_dictionaries"),
        measured=ATTRIBUTED,
    script:
        "../scripts/encode_dictionaries.py"


rule train_replaced:
    input:
        unpack(retrained),
        unpack(searched),
        calibration=rules.calibrate_signal.output[0],
        dictionaries=rules.encode_dictionaries.output[0],
    output:
        f"{RESULTS}/attribute/{{method}}/{{part}}.parquet",
    log:
        f"{RESULTS}/logs/train_replaced/{{method}}/{{part}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_replaced/{{method}}/{{part}}.tsv"
    priority: 1
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section(*BUILDING, "attribution", "training.seeds"),
        code=code("train_replaced"),
        measured=ATTRIBUTED,
    script:
        "../scripts/train_replaced.py"


rule attribution:
    input:
        outcomes=attributed,
    output:
        attribution=f"{RESULTS}/attribute/attribution.parquet",
        carriers=f"{RESULTS}/attribute/carriers.parquet",
    log:
        f"{RESULTS}/logs/attribution.log",
    benchmark:
        f"{RESULTS}/benchmarks/attribution.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section(
            "evaluation.level",
            "attribution",
            "signal",
            "training.early_steps",
        ),
        code=code("attribute"),
    script:
        "../scripts/attribute.py"


rule attribute:
    input:
        when_passed(lambda: list(rules.attribution.output)),
