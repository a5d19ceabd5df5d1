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


EARLY = {
    "checkpoint": "early.safetensors",
    "steps": "early_log.parquet",
    "monitor": "early_monitor.parquet",
    "signal_monitor": "early_signal_monitor.parquet",
    "trail": "early_trail.safetensors",
    "outcomes": "early_outcomes.parquet",
}
FINAL = {
    "checkpoint": "final.safetensors",
    "steps": "log.parquet",
    "monitor": "monitor.parquet",
    "signal_monitor": "signal_monitor.parquet",
    "trail": "trail.safetensors",
}


# What SLURM is asked for, so that it gives a training several nodes and leaves it to the job to start on each.
NODES = (
    dict(nodes=CONFIG.training.nodes, tasks=CONFIG.training.nodes, mpi="srun")
    if CONFIG.training.nodes > 1
    else {}
)


rule train_early:
    input:
        unpack(training_splits),
        unpack(searched),
        images=rules.prepare_data.output.images,
        drawn=rules.prepare_data.output.drawn,
        calibration=rules.calibrate_signal.output[0],
        reproduced=lambda wildcards: reproduced(wildcards.method),
    output:
        **trained(EARLY),
    log:
        f"{RESULTS}/logs/train_early/{{method}}/{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_early/{{method}}/{{seed}}.tsv"
    wildcard_constraints:
        method=APART,
    conda:
        "../../envs/vialign.yaml"
    threads: lambda wildcards: training_cores(wildcards.method)
    resources:
        **NODES,
    params:
        config=section(*BUILDING, "evaluation.reproduction"),
        code=code("train"),
        until="early",
        seeds=lambda wildcards: [int(wildcards.seed)],
    script:
        "../scripts/train.py"


# On stored features a training takes seconds, and as many again to start its process: all seeds are one job.
use rule train_early as train_early_seeds with:
    output:
        **trained(EARLY, TRAINED_SEEDS),
    log:
        f"{RESULTS}/logs/train_early_seeds/{{method}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_early_seeds/{{method}}.tsv"
    wildcard_constraints:
        method=TOGETHER,
    params:
        config=section(*BUILDING, "evaluation.reproduction"),
        code=code("train"),
        until="early",
        seeds=TRAINED_SEEDS,


rule train_final:
    input:
        unpack(training_splits),
        unpack(searched),
        **started(EARLY),
        images=rules.prepare_data.output.images,
        drawn=rules.prepare_data.output.drawn,
        calibration=rules.calibrate_signal.output[0],
    output:
        **trained(FINAL),
    log:
        f"{RESULTS}/logs/train_final/{{method}}/{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_final/{{method}}/{{seed}}.tsv"
    wildcard_constraints:
        method=APART,
    # The longest jobs first: evaluations fill what is left of the cores.
    priority: 1
    conda:
        "../../envs/vialign.yaml"
    threads: lambda wildcards: training_cores(wildcards.method)
    resources:
        **NODES,
    params:
        config=section(*BUILDING, "evaluation.reproduction"),
        code=code("train"),
        until="final",
        seeds=lambda wildcards: [int(wildcards.seed)],
    script:
        "../scripts/train.py"


use rule train_final as train_final_seeds with:
    input:
        unpack(training_splits),
        unpack(searched),
        **started(EARLY, TRAINED_SEEDS),
        images=rules.prepare_data.output.images,
        drawn=rules.prepare_data.output.drawn,
        calibration=rules.calibrate_signal.output[0],
    output:
        **trained(FINAL, TRAINED_SEEDS),
    log:
        f"{RESULTS}/logs/train_final_seeds/{{method}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_final_seeds/{{method}}.tsv"
    wildcard_constraints:
        method=TOGETHER,
    params:
        config=section(*BUILDING, "evaluation.reproduction"),
        code=code("train"),
        until="final",
        seeds=TRAINED_SEEDS,


# The tuned weights of a method averaged with the frozen ones; no training of its own.
rule average_weights:
    input:
        **{f"selection_{name}": path for name, path in encoded("selection").items()},
        images=rules.prepare_data.output.images,
        drawn=rules.prepare_data.output.drawn,
        calibration=rules.calibrate_signal.output[0],
        trained=lambda wildcards: f"{RESULTS}/train/{trained_as(wildcards.method)}/{wildcards.seed}/final.safetensors",
    output:
        checkpoint=f"{RESULTS}/train/{{method}}/{{seed}}/final.safetensors",
        averages=f"{RESULTS}/train/{{method}}/{{seed}}/averages.parquet",
    log:
        f"{RESULTS}/logs/average_weights/{{method}}/{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/average_weights/{{method}}/{{seed}}.tsv"
    wildcard_constraints:
        method="|".join(AVERAGED),
    conda:
        "../../envs/vialign.yaml"
    threads: lambda wildcards: cores(wildcards.method)
    params:
        config=section(*BUILDING, "evaluation.reproduction"),
        code=code("average_weights"),
    script:
        "../scripts/average_weights.py"


ruleorder: average_weights > train_final


# The gate's own images, which no training reads: what chose rates and weights would flatter them.
rule early_outcomes:
    input:
        **encoded("gate"),
        full=filled(rules.train_early.output.checkpoint, method=FULL, seed=SEEDS),
        reference=filled(rules.train_early.output.checkpoint, method="lora", seed=SEEDS),
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
        config=section(*BUILDING, "training.seeds"),
        code=code("early_outcomes"),
    script:
        "../scripts/early_outcomes.py"


checkpoint early_gate:
    input:
        outcomes=rules.early_outcomes.output[0],
        monitor=filled(rules.train_early.output.signal_monitor, method=FULL, seed=SEEDS),
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
