# Stage regions: boxes, features and tags of every image, only for the methods that read them (vinvl, vinvl-pairs,
# uniter).
rule regions:
    input:
        images=rules.prepare_data.output.images,
        objects=rules.prepare_data.output.objects,
        features=f"{RESULTS}/features/{{split}}/images",
    output:
        f"{RESULTS}/regions/{{split}}.safetensors",
    log:
        f"{RESULTS}/logs/regions/{{split}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/regions/{{split}}.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section("data", "backbone", "seed"),
        code=code("regions"),
    script:
        "../scripts/regions.py"
