# Stage features: frozen embeddings of every image and text, once.
rule readout:
    input:
        images=rules.prepare_data.output.images,
        objects=rules.prepare_data.output.objects,
        drawn=rules.prepare_data.output.drawn,
    output:
        f"{RESULTS}/features/readout.parquet",
    log:
        f"{RESULTS}/logs/readout.log",
    benchmark:
        f"{RESULTS}/benchmarks/readout.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: TOWER_THREADS
    params:
        config=section("backbone", "features", "data", "name", "seed"),
        code=code("readout"),
        split=MEASURED,
    script:
        "../scripts/readout.py"


EXTRACTING = [
    "backbone",
    "data",
    "features.batch",
    "features.pixels",
    "features.shard",
    "seed",
]


rule extract_features:
    input:
        images=rules.prepare_data.output.images,
        drawn=rules.prepare_data.output.drawn,
        texts=rules.parse_texts.output.texts,
        readout=rules.readout.output[0],
    output:
        images=directory(f"{RESULTS}/features/{{split}}/images"),
        texts=directory(f"{RESULTS}/features/{{split}}/texts"),
    log:
        f"{RESULTS}/logs/extract_features/{{split}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/extract_features/{{split}}.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: TOWER_THREADS
    params:
        config=section(*EXTRACTING),
        code=code("extract_features"),
    script:
        "../scripts/extract_features.py"


# A split of labels alone has no texts.
rule extract_images:
    input:
        images=rules.prepare_data.output.images,
        drawn=rules.prepare_data.output.drawn,
        readout=rules.readout.output[0],
    output:
        images=directory(f"{RESULTS}/features/{{split}}/images"),
    log:
        f"{RESULTS}/logs/extract_images/{{split}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/extract_images/{{split}}.tsv"
    wildcard_constraints:
        split="|".join(SOURCE_SPLITS),
    conda:
        "../../envs/vialign.yaml"
    threads: TOWER_THREADS
    params:
        config=section(*EXTRACTING),
        code=code("extract_images"),
    script:
        "../scripts/extract_images.py"


ruleorder: extract_images > extract_features


rule features:
    input:
        filled(rules.extract_features.output, split=SPLITS),
        filled(rules.extract_images.output, split=FROM_SOURCES),
