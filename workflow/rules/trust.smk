# Stage trust: what tells that a top answer of the frozen backbone is wrong. Combinations are fitted on one split and read
# on others, which choose nothing.
TRUST_FIT = "selection"
TRUST_READ = ["confirmation"]


rule trust:
    input:
        **{
            f"{split}_{name}": path
            for split in dict.fromkeys([TRUST_FIT, *TRUST_READ])
            for name, path in encoded(split).items()
        },
        calibration=rules.calibrate_signal.output[0],
    output:
        table=f"{RESULTS}/analyse/trust.parquet",
        curves=f"{RESULTS}/analyse/trust_curves.parquet",
    log:
        f"{RESULTS}/logs/trust.log",
    benchmark:
        f"{RESULTS}/benchmarks/trust.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section("signal", "evaluation.level", "seed"),
        code=code("trust"),
        fit=TRUST_FIT,
        read=TRUST_READ,
    script:
        "../scripts/trust.py"
