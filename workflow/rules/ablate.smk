# Stage ablate: all subsets of the modules on selection, the backward-elimination path, the chosen combination.
checkpoint ablation:
    input:
        outcomes=filled(rules.train_early.output.outcomes, method=SUBSETS, seed=SEEDS),
    output:
        ablation=f"{RESULTS}/ablate/ablation.parquet",
        contributions=f"{RESULTS}/ablate/contributions.parquet",
    log:
        f"{RESULTS}/logs/ablation.log",
    benchmark:
        f"{RESULTS}/benchmarks/ablation.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section("evaluation.level", "training.seeds"),
        code=code("ablation"),
    script:
        "../scripts/ablation.py"


rule ablate:
    input:
        when_passed(lambda: list(rules.ablation.output)),


rule train:
    input:
        when_passed(lambda: each_run(rules.train_final.output)),
