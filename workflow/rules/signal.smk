# Stage signal: the consistency score, its calibration, and the evidence it must bring before anything is trained on it.
# Everything here reads `calibration` and `diagnosis`; no other stage does. The blind baseline alone reads `train` too, and
# the probe a split of its own where the config names a source of relations.
rule encode_split:
    input:
        visual=rules.fit_visual.output.weights,
        text=rules.fit_text.output.weights,
        images=f"{RESULTS}/features/{{split}}/images",
        texts=f"{RESULTS}/features/{{split}}/texts",
        units=rules.parse_texts.output.units,
    output:
        f"{RESULTS}/disentangle/{{split}}/encoded.safetensors",
    log:
        f"{RESULTS}/logs/encode_split/{{split}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/encode_split/{{split}}.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        code=code("encode_split"),
    script:
        "../scripts/encode_split.py"


rule calibrate_signal:
    input:
        **encoded("calibration"),
    output:
        f"{RESULTS}/signal/calibration.parquet",
    log:
        f"{RESULTS}/logs/calibrate_signal.log",
    benchmark:
        f"{RESULTS}/benchmarks/calibrate_signal.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section("signal", "seed"),
        code=code("calibrate_signal"),
    script:
        "../scripts/calibrate_signal.py"


rule score_pairs:
    input:
        **encoded("diagnosis"),
        calibration=rules.calibrate_signal.output[0],
    output:
        f"{RESULTS}/signal/scores.parquet",
    log:
        f"{RESULTS}/logs/score_pairs.log",
    benchmark:
        f"{RESULTS}/benchmarks/score_pairs.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section("signal", "seed"),
        code=code("score_pairs"),
    script:
        "../scripts/score_pairs.py"


# The same pairs with a local part that must not work: the gate does not open where one of these passes.
rule score_controls:
    input:
        **encoded("diagnosis"),
        **{f"calibration_{name}": path for name, path in encoded("calibration").items()},
        visual=rules.fit_visual.output.weights,
        scores=rules.score_pairs.output[0],
    output:
        f"{RESULTS}/signal/controls.parquet",
    log:
        f"{RESULTS}/logs/score_controls.log",
    benchmark:
        f"{RESULTS}/benchmarks/score_controls.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section("signal", "seed"),
        code=code("score_controls"),
    script:
        "../scripts/score_controls.py"


# What others would have read from the same features, and what the text alone gives away.
rule score_references:
    input:
        scores=rules.score_pairs.output[0],
        texts=f"{RESULTS}/language/diagnosis/texts.parquet",
        units=f"{RESULTS}/language/diagnosis/units.parquet",
        image_features=f"{RESULTS}/features/diagnosis/images",
        text_features=f"{RESULTS}/features/diagnosis/texts",
        train_texts=f"{RESULTS}/language/train/texts.parquet",
    output:
        f"{RESULTS}/signal/references.parquet",
    log:
        f"{RESULTS}/logs/score_references.log",
    benchmark:
        f"{RESULTS}/benchmarks/score_references.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section("backbone", "seed"),
        code=code("score_references"),
    script:
        "../scripts/score_references.py"


rule diagnose:
    input:
        scores=rules.score_pairs.output[0],
        references=rules.score_references.output[0],
    output:
        f"{RESULTS}/signal/diagnosis.parquet",
    log:
        f"{RESULTS}/logs/diagnose.log",
    benchmark:
        f"{RESULTS}/benchmarks/diagnose.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section("signal", "gates.signal.level", "seed"),
        code=code("diagnose"),
    script:
        "../scripts/diagnose.py"


rule probe:
    input:
        image_features=f"{RESULTS}/features/{PROBED}/images",
        visual=rules.fit_visual.output.weights,
        objects=rules.prepare_data.output.objects,
        relations=rules.prepare_data.output.relations,
        pipeline=rules.train_language.output.pipeline,
        text=rules.fit_text.output.weights,
        calibration=rules.calibrate_signal.output[0],
    output:
        f"{RESULTS}/signal/probe.parquet",
    log:
        f"{RESULTS}/logs/probe.log",
    benchmark:
        f"{RESULTS}/benchmarks/probe.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: TOWER_THREADS
    params:
        config=section("signal", "backbone", "seed"),
        code=code("probe"),
    script:
        "../scripts/probe.py"


rule stress:
    input:
        **encoded("diagnosis"),
        **{
            f"domain_{name}": path
            for split in OTHER_DOMAIN
            for name, path in encoded(split).items()
        },
        images=rules.prepare_data.output.images,
        drawn=rules.prepare_data.output.drawn,
        pipeline=rules.train_language.output.pipeline,
        text=rules.fit_text.output.weights,
        visual=rules.fit_visual.output.weights,
        readout=rules.readout.output[0],
        scores=rules.score_pairs.output[0],
        calibration=rules.calibrate_signal.output[0],
    output:
        curves=f"{RESULTS}/signal/stress.parquet",
        summary=f"{RESULTS}/signal/stress_summary.parquet",
    log:
        f"{RESULTS}/logs/stress.log",
    benchmark:
        f"{RESULTS}/benchmarks/stress.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: TOWER_THREADS
    params:
        config=section("signal", "backbone", "data", "seed"),
        code=code("stress"),
    script:
        "../scripts/stress.py"


checkpoint signal_gate:
    input:
        scores=rules.score_pairs.output[0],
        references=rules.score_references.output[0],
        calibration=rules.calibrate_signal.output[0],
        diagnosis=rules.diagnose.output[0],
        probe=rules.probe.output[0],
        # By its name, as the features above: a rule's output binds to that rule, and `shards` decides which one makes it.
        stress=f"{RESULTS}/signal/stress_summary.parquet",
        controls=rules.score_controls.output[0],
    output:
        report(
            f"{RESULTS}/signal/verdict.parquet",
            caption="../report/verdict.rst",
            category="Gates",
            labels={"gate": "signal"},
        ),
    log:
        f"{RESULTS}/logs/signal_gate.log",
    benchmark:
        f"{RESULTS}/benchmarks/signal_gate.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section("signal", "gates.signal", "seed"),
        code=code("signal_gate"),
    script:
        "../scripts/signal_gate.py"


rule signal:
    input:
        rules.signal_gate.output,
