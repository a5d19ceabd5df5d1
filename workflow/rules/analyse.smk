# Stage analyse: why queries fail, how the signal moved with training, and what the gradients asked for.
rule failures:
    input:
        **{
            f"{split}_{name}": path
            for split in ["selection", *CONFIG.test_splits]
            for name, path in encoded(split).items()
        },
        units=[
            f"{RESULTS}/language/{split}/units.parquet" for split in CONFIG.test_splits
        ],
        choices=rules.prepare_data.output.choices,
        questions=rules.prepare_data.output.questions,
        outcomes=lambda wildcards: finished_outcomes(),
    output:
        failures=f"{RESULTS}/analyse/failures.parquet",
        rates=f"{RESULTS}/analyse/failure_rates.parquet",
        moves=f"{RESULTS}/analyse/failure_moves.parquet",
    log:
        f"{RESULTS}/logs/failures.log",
    benchmark:
        f"{RESULTS}/benchmarks/failures.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section(
            *STATISTICS, *TESTING, "analysis", "training.methods", "training.seeds"
        ),
        code=code("failures"),
    script:
        "../scripts/failures.py"


rule monitoring:
    input:
        checks=lambda wildcards: [
            path
            for method in finished_methods()
            if method.startswith(FULL)
            for path in filled(
                rules.train_final.output.signal_monitor, method=method, seed=SEEDS
            )
        ],
    output:
        f"{RESULTS}/analyse/monitoring.parquet",
    log:
        f"{RESULTS}/logs/monitoring.log",
    benchmark:
        f"{RESULTS}/benchmarks/monitoring.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section(
            "training.monitor",
            "training.methods",
            "training.seeds",
            "evaluation.level",
            "seed",
        ),
        code=code("monitoring"),
    script:
        "../scripts/monitoring.py"


rule gradients:
    input:
        **encoded("train"),
        calibration=rules.calibrate_signal.output[0],
        trails=lambda wildcards: filled(
            rules.train_final.output.trail,
            method=dict.fromkeys([FULL, chosen()]),
            seed=SEEDS,
        ),
    output:
        terms=f"{RESULTS}/analyse/gradient_terms.parquet",
        samples=f"{RESULTS}/analyse/gradient_samples.parquet",
        path=f"{RESULTS}/analyse/optimisation_path.parquet",
    log:
        f"{RESULTS}/logs/gradients.log",
    benchmark:
        f"{RESULTS}/benchmarks/gradients.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section(*BUILDING, *STATISTICS, "gradients", "training.seeds"),
        code=code("gradients"),
    script:
        "../scripts/gradients.py"


rule theory:
    output:
        theory=f"{RESULTS}/analyse/theory.parquet",
        trends=f"{RESULTS}/analyse/theory_trends.parquet",
    log:
        f"{RESULTS}/logs/theory.log",
    benchmark:
        f"{RESULTS}/benchmarks/theory.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section("evaluation.level", "seed"),
        code=code("theory"),
    script:
        "../scripts/theory.py"


rule analyse:
    input:
        rules.theory.output,
        when_passed(
            lambda: [
                *rules.failures.output,
                *rules.monitoring.output,
                *rules.gradients.output,
            ]
        ),
