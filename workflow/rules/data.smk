# Stage data: the configured data set as normalised tables.
rule prepare_data:
    output:
        images=f"{RESULTS}/data/images.parquet",
        captions=f"{RESULTS}/data/captions.parquet",
        objects=f"{RESULTS}/data/objects.parquet",
        relations=f"{RESULTS}/data/relations.parquet",
        choices=f"{RESULTS}/data/choices.parquet",
        questions=f"{RESULTS}/data/questions.parquet",
        ratings=f"{RESULTS}/data/ratings.parquet",
        problems=f"{RESULTS}/data/problems.parquet",
        shared=f"{RESULTS}/data/shared.parquet",
        drawn=directory(f"{RESULTS}/data/images"),
        published=directory(f"{RESULTS}/data/published"),
    log:
        f"{RESULTS}/logs/prepare_data.log",
    benchmark:
        f"{RESULTS}/benchmarks/prepare_data.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section("data", "seed"),
        code=code("prepare_data"),
    script:
        "../scripts/prepare_data.py"


rule check_data:
    output:
        f"{RESULTS}/data/check.parquet",
    log:
        f"{RESULTS}/logs/check_data.log",
    benchmark:
        f"{RESULTS}/benchmarks/check_data.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section("data", "language", "seed", "signal.folds"),
        code=code("check_data"),
    script:
        "../scripts/check_data.py"


rule data:
    input:
        rules.prepare_data.output,
