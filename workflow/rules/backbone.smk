# Stage backbone: the demo backbone, whose weights ship with the package, so that the default run never trains it. It
# takes at most 90 minutes on 2 cores. A run whose `backbone.checkpoint` names these weights makes them first.
rule pretrain_backbone:
    output:
        weights=f"{RESULTS}/backbone/{DEMO}.safetensors",
        merges=f"{RESULTS}/backbone/scenes_merges.txt.gz",
        log_table=f"{RESULTS}/backbone/pretraining.parquet",
    log:
        f"{RESULTS}/logs/pretrain_backbone.log",
    benchmark:
        f"{RESULTS}/benchmarks/pretrain_backbone.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 2
    params:
        config=section("backbone", "data.seen_relations", "seed"),
        code=code("pretrain_backbone"),
    script:
        "../scripts/pretrain_backbone.py"
