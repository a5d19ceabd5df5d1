# Stage train: every method by one loop; to the early check, then, for those that stay, to the end.
# Before that, the same small search for the learning rate of each.
rule search_rate:
    input:
        unpack(training_splits),
        images=rules.prepare_data.output.images,
        drawn=rules.prepare_data.output.drawn,
        calibration=rules.calibrate_signal.output[0],
        reproduced=lambda wildcards: reproduced(wildcards.method),
    output:
        search=f"{RESULTS}/search/{{method}}.parquet",
    log:
        f"{RESULTS}/logs/search_rate/{{method}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/search_rate/{{method}}.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: lambda wildcards: cores(wildcards.method)
    params:
        config=section(*BUILDING, "evaluation.reproduction"),
        code=code("search_rate"),
    script:
        "../scripts/search_rate.py"


rule train_early:
    input:
        unpack(training_splits),
        unpack(searched),
        images=rules.prepare_data.output.images,
        drawn=rules.prepare_data.output.drawn,
        calibration=rules.calibrate_signal.output[0],
        reproduced=lambda wildcards: reproduced(wildcards.method),
    output:
        checkpoint=f"{RESULTS}/train/{{method}}/{{seed}}/early.safetensors",
        steps=f"{RESULTS}/train/{{method}}/{{seed}}/early_log.parquet",
        monitor=f"{RESULTS}/train/{{method}}/{{seed}}/early_monitor.parquet",
        signal_monitor=f"{RESULTS}/train/{{method}}/{{seed}}/early_signal_monitor.parquet",
        trail=f"{RESULTS}/train/{{method}}/{{seed}}/early_trail.safetensors",
        outcomes=f"{RESULTS}/train/{{method}}/{{seed}}/early_outcomes.parquet",
    log:
        f"{RESULTS}/logs/train_early/{{method}}/{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_early/{{method}}/{{seed}}.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: lambda wildcards: training_cores(wildcards.method)
    params:
        config=section(*BUILDING, "evaluation.reproduction"),
        code=code("train"),
        until="early",
    script:
        "../scripts/train.py"


rule train_final:
    input:
        unpack(training_splits),
        unpack(searched),
        images=rules.prepare_data.output.images,
        drawn=rules.prepare_data.output.drawn,
        calibration=rules.calibrate_signal.output[0],
        start=rules.train_early.output.checkpoint,
        start_steps=rules.train_early.output.steps,
        start_monitor=rules.train_early.output.monitor,
        start_signal_monitor=rules.train_early.output.signal_monitor,
        start_trail=rules.train_early.output.trail,
    output:
        checkpoint=f"{RESULTS}/train/{{method}}/{{seed}}/final.safetensors",
        steps=f"{RESULTS}/train/{{method}}/{{seed}}/log.parquet",
        monitor=f"{RESULTS}/train/{{method}}/{{seed}}/monitor.parquet",
        signal_monitor=f"{RESULTS}/train/{{method}}/{{seed}}/signal_monitor.parquet",
        trail=f"{RESULTS}/train/{{method}}/{{seed}}/trail.safetensors",
    log:
        f"{RESULTS}/logs/train_final/{{method}}/{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_final/{{method}}/{{seed}}.tsv"
    # The longest jobs first: evaluations fill what is left of the cores.
    priority: 1
    conda:
        "../../envs/vialign.yaml"
    threads: lambda wildcards: training_cores(wildcards.method)
    params:
        config=section(*BUILDING, "evaluation.reproduction"),
        code=code("train"),
        until="final",
    script:
        "../scripts/train.py"


# The gate's own images, which no training reads: what chose rates and weights would flatter them.
rule early_outcomes:
    input:
        **encoded("gate"),
        full=expand(rules.train_early.output.checkpoint, method=FULL, seed=SEEDS),
        reference=expand(rules.train_early.output.checkpoint, method="lora", seed=SEEDS),
        images=rules.prepare_data.output.images,
        drawn=rules.prepare_data.output.drawn,
        calibration=rules.calibrate_signal.output[0],
    output:
        f"{RESULTS}/gates/early_outcomes.parquet",
    log:
        f"{RESULTS}/logs/early_outcomes.log",
    benchmark:
        f"{RESULTS}/benchmarks/early_outcomes.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: cores("lora")
    params:
        config=section(*BUILDING),
        code=code("early_outcomes"),
    script:
        "../scripts/early_outcomes.py"


checkpoint early_gate:
    input:
        outcomes=rules.early_outcomes.output[0],
        monitor=expand(rules.train_early.output.signal_monitor, method=FULL, seed=SEEDS),
    output:
        report(
            f"{RESULTS}/gates/early.parquet",
            caption="../report/verdict.rst",
            category="Gates",
            labels={"gate": "early"},
        ),
        monitoring=f"{RESULTS}/gates/early_monitoring.parquet",
    log:
        f"{RESULTS}/logs/early_gate.log",
    benchmark:
        f"{RESULTS}/benchmarks/early_gate.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section(
            "evaluation.level",
            "gates.early",
            "seed",
            "training.monitor",
            "training.seeds",
        ),
        code=code("early_gate"),
    script:
        "../scripts/early_gate.py"
