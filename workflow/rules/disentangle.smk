# Stage disentangle: visual prototypes and phrase units, learned on `train`, measured on `selection`; prototypes on the
# splits of a source of labelled boxes, where the config names one.
rule fit_visual:
    input:
        images=rules.prepare_data.output.images,
        objects=rules.prepare_data.output.objects,
        drawn=rules.prepare_data.output.drawn,
        train=f"{RESULTS}/features/{FITTED}/images",
        selection=f"{RESULTS}/features/{MEASURED}/images",
        texts=f"{RESULTS}/features/train/texts",
    output:
        weights=f"{RESULTS}/disentangle/visual.safetensors",
        quality=f"{RESULTS}/disentangle/visual_quality.parquet",
    log:
        f"{RESULTS}/logs/fit_visual.log",
    benchmark:
        f"{RESULTS}/benchmarks/fit_visual.tsv"
    conda:
        "../../envs/vialign.yaml"
    # Its operations are small: a second thread waits more than it works, and the core is worth more to other jobs.
    threads: 1
    params:
        config=section("visual", "backbone", "data", "name", "seed"),
        code=code("fit_visual"),
    script:
        "../scripts/fit_visual.py"


rule fit_text:
    input:
        visual=rules.fit_visual.output.weights,
        train_images=f"{RESULTS}/features/train/images",
        train_features=f"{RESULTS}/features/train/texts",
        train_texts=f"{RESULTS}/language/train/texts.parquet",
        train_units=f"{RESULTS}/language/train/units.parquet",
        selection_features=f"{RESULTS}/features/selection/texts",
        selection_texts=f"{RESULTS}/language/selection/texts.parquet",
        selection_units=f"{RESULTS}/language/selection/units.parquet",
        captions=rules.prepare_data.output.captions,
        pipeline=rules.train_language.output.pipeline,
    output:
        weights=f"{RESULTS}/disentangle/text.safetensors",
        quality=f"{RESULTS}/disentangle/text_quality.parquet",
        spans=f"{RESULTS}/disentangle/text_spans.parquet",
    log:
        f"{RESULTS}/logs/fit_text.log",
    benchmark:
        f"{RESULTS}/benchmarks/fit_text.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section("text", "backbone", "name", "seed"),
        code=code("fit_text"),
    script:
        "../scripts/fit_text.py"


# Parser and main path of each domain, judged on every other one: only where the config names treebanks.
rule text_domains:
    output:
        f"{RESULTS}/disentangle/text_domains.parquet",
    log:
        f"{RESULTS}/logs/text_domains.log",
    benchmark:
        f"{RESULTS}/benchmarks/text_domains.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section("language", "text", "backbone", "seed"),
        code=code("text_domains"),
    script:
        "../scripts/text_domains.py"


# Phrases that people wrote point into their boxes: only where the config names Flickr30k Entities.
rule point_phrases:
    input:
        images=rules.prepare_data.output.images,
        objects=rules.prepare_data.output.objects,
        features=f"{RESULTS}/features/flickr30k_entities/images",
        visual=rules.fit_visual.output.weights,
    output:
        f"{RESULTS}/disentangle/phrase_grounding.parquet",
    log:
        f"{RESULTS}/logs/point_phrases.log",
    benchmark:
        f"{RESULTS}/benchmarks/point_phrases.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: TOWER_THREADS
    params:
        config=section("backbone", "data", "features.batch", "seed"),
        code=code("point_phrases"),
    script:
        "../scripts/point_phrases.py"


rule disentangle:
    input:
        rules.fit_visual.output,
        rules.fit_text.output,


# Every loss term left out once, by its own target: it refits both disentanglers some ten times.
rule ablate_losses:
    input:
        images=rules.prepare_data.output.images,
        objects=rules.prepare_data.output.objects,
        captions=rules.prepare_data.output.captions,
        drawn=rules.prepare_data.output.drawn,
        fitted=f"{RESULTS}/features/{FITTED}/images",
        measured=f"{RESULTS}/features/{MEASURED}/images",
        train_images=f"{RESULTS}/features/train/images",
        train_features=f"{RESULTS}/features/train/texts",
        train_texts=f"{RESULTS}/language/train/texts.parquet",
        train_units=f"{RESULTS}/language/train/units.parquet",
        selection_images=f"{RESULTS}/features/selection/images",
        selection_features=f"{RESULTS}/features/selection/texts",
        selection_texts=f"{RESULTS}/language/selection/texts.parquet",
        selection_units=f"{RESULTS}/language/selection/units.parquet",
    output:
        f"{RESULTS}/disentangle/loss_ablation.parquet",
    log:
        f"{RESULTS}/logs/ablate_losses.log",
    benchmark:
        f"{RESULTS}/benchmarks/ablate_losses.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 2
    params:
        config=section("visual", "text", "backbone", "data", "name", "seed"),
        code=code("ablate_losses"),
    script:
        "../scripts/ablate_losses.py"
