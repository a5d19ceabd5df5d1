# Stage analyse: why queries fail, by explicit rules.
rule failures:
    input:
        unpack(
            lambda wildcards: {
                f"validation_{name}": path
                for name, path in encoded("validation").items()
            }
        ),
        **encoded(CONFIG.evaluation.splits[0]),
        units=f"{RESULTS}/language/{CONFIG.evaluation.splits[0]}/units.parquet",
        choices=rules.prepare_data.output.choices,
        outcomes=lambda wildcards: finished_outcomes(),
    output:
        f"{RESULTS}/analyse/failures.parquet",
    log:
        f"{RESULTS}/logs/failures.log",
    benchmark:
        f"{RESULTS}/benchmarks/failures.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section("analysis", "evaluation", "seed"),
        code=code("failures"),
    script:
        "../scripts/failures.py"


rule analyse:
    input:
        when_passed(lambda: list(rules.failures.output)),
