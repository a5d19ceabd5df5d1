# Stage language: a spaCy tagger and parser trained from a treebank; texts, negatives and phrase units of every split.
rule train_language:
    input:
        images=rules.prepare_data.output.images,
        captions=rules.prepare_data.output.captions,
    output:
        pipeline=directory(f"{RESULTS}/language/pipeline"),
        quality=f"{RESULTS}/language/quality.parquet",
    log:
        f"{RESULTS}/logs/train_language.log",
    benchmark:
        f"{RESULTS}/benchmarks/train_language.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section("language", "seed"),
        code=code("train_language"),
    script:
        "../scripts/train_language.py"


rule parse_texts:
    input:
        pipeline=rules.train_language.output.pipeline,
        images=rules.prepare_data.output.images,
        captions=rules.prepare_data.output.captions,
        choices=rules.prepare_data.output.choices,
        questions=rules.prepare_data.output.questions,
    output:
        texts=f"{RESULTS}/language/{{split}}/texts.parquet",
        units=f"{RESULTS}/language/{{split}}/units.parquet",
    log:
        f"{RESULTS}/logs/parse_texts/{{split}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/parse_texts/{{split}}.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section("language.negatives", "seed"),
        code=code("parse_texts"),
    script:
        "../scripts/parse_texts.py"


rule language:
    input:
        filled(rules.parse_texts.output, split=SPLITS),
