# Jobs that share a split, each with a range of it, and those that put together what they made. With one job a split there
# are none of these rules, and the run is the one that the other files describe.
SHARDS = [f"{number}-of-{CONFIG.shards}" for number in range(1, CONFIG.shards + 1)]


if CONFIG.shards > 1:

    use rule extract_features as extract_features_shard with:
        output:
            images=temp(
                directory(
                    f"{RESULTS}/shards/extract_features/{{split}}/{{shard}}/images"
                )
            ),
            texts=temp(
                directory(
                    f"{RESULTS}/shards/extract_features/{{split}}/{{shard}}/texts"
                )
            ),
        log:
            f"{RESULTS}/logs/extract_features_shard/{{split}}/{{shard}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/extract_features_shard/{{split}}/{{shard}}.tsv"

    rule gather_features:
        input:
            images=filled(
                rules.extract_features_shard.output.images,
                split="{split}",
                shard=SHARDS,
            ),
            texts=filled(
                rules.extract_features_shard.output.texts,
                split="{split}",
                shard=SHARDS,
            ),
        output:
            images=directory(f"{RESULTS}/features/{{split}}/images"),
            texts=directory(f"{RESULTS}/features/{{split}}/texts"),
        log:
            f"{RESULTS}/logs/gather_features/{{split}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/gather_features/{{split}}.tsv"
        conda:
            "../../envs/vialign.yaml"
        threads: 1
        params:
            code=code("gather_features"),
        script:
            "../scripts/gather_features.py"

    use rule extract_images as extract_images_shard with:
        output:
            images=temp(
                directory(
                    f"{RESULTS}/shards/extract_images/{{split}}/{{shard}}/images"
                )
            ),
        log:
            f"{RESULTS}/logs/extract_images_shard/{{split}}/{{shard}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/extract_images_shard/{{split}}/{{shard}}.tsv"

    use rule gather_features as gather_images with:
        input:
            images=filled(
                rules.extract_images_shard.output.images, split="{split}", shard=SHARDS
            ),
        output:
            images=directory(f"{RESULTS}/features/{{split}}/images"),
        log:
            f"{RESULTS}/logs/gather_images/{{split}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/gather_images/{{split}}.tsv"
        wildcard_constraints:
            split="|".join(SOURCE_SPLITS),

    ruleorder: gather_images > extract_images > gather_features > extract_features

    use rule encode_split as encode_split_shard with:
        output:
            temp(f"{RESULTS}/shards/encode_split/{{split}}/{{shard}}.safetensors"),
        log:
            f"{RESULTS}/logs/encode_split_shard/{{split}}/{{shard}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/encode_split_shard/{{split}}/{{shard}}.tsv"

    rule gather_encoded:
        input:
            filled(rules.encode_split_shard.output[0], split="{split}", shard=SHARDS),
        output:
            f"{RESULTS}/disentangle/{{split}}/encoded.safetensors",
        log:
            f"{RESULTS}/logs/gather_encoded/{{split}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/gather_encoded/{{split}}.tsv"
        conda:
            "../../envs/vialign.yaml"
        threads: 1
        params:
            code=code("gather_encoded"),
        script:
            "../scripts/gather_encoded.py"

    ruleorder: gather_encoded > encode_split

    use rule stress as stress_shard with:
        output:
            temp(f"{RESULTS}/shards/stress/{{shard}}.parquet"),
        log:
            f"{RESULTS}/logs/stress_shard/{{shard}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/stress_shard/{{shard}}.tsv"

    rule gather_stress:
        input:
            scores=filled(rules.stress_shard.output[0], shard=SHARDS),
        output:
            curves=f"{RESULTS}/signal/stress.parquet",
            summary=f"{RESULTS}/signal/stress_summary.parquet",
        log:
            f"{RESULTS}/logs/gather_stress.log",
        benchmark:
            f"{RESULTS}/benchmarks/gather_stress.tsv"
        conda:
            "../../envs/vialign.yaml"
        threads: 1
        params:
            config=section("signal", "seed"),
            code=code("gather_stress"),
        script:
            "../scripts/gather_stress.py"

    ruleorder: gather_stress > stress
