# Stage backbone: the demo backbone from nothing, whose weights ship with the package, so that `all` never runs this.
# It takes at most 90 minutes on 2 cores; the result lies beside them for comparison and is put in their place by hand.
rule pretrain_backbone:
    output:
        weights=f"{RESULTS}/backbone/vialign-scenes.safetensors",
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
