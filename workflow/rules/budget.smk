# Stage budget: what every method costs, on the run's backbone and at ViT-B/32 size, and the gate that reads it.
rule ledger:
    input:
        **encoded("calibration"),
        images=rules.prepare_data.output.images,
        drawn=rules.prepare_data.output.drawn,
        pipeline=rules.train_language.output.pipeline,
        readout=rules.readout.output[0],
        visual=rules.fit_visual.output.weights,
        text=rules.fit_text.output.weights,
        calibration=rules.calibrate_signal.output[0],
        # What the fits took, once; Snakemake measures it.
        language_cost=f"{RESULTS}/benchmarks/train_language.tsv",
        visual_cost=f"{RESULTS}/benchmarks/fit_visual.tsv",
        text_cost=f"{RESULTS}/benchmarks/fit_text.tsv",
        calibration_cost=f"{RESULTS}/benchmarks/calibrate_signal.tsv",
    output:
        f"{RESULTS}/budget/ledger.parquet",
    log:
        f"{RESULTS}/logs/ledger.log",
    benchmark:
        f"{RESULTS}/benchmarks/ledger.tsv"
    conda:
        "../../envs/vialign.yaml"
    # It measures CPU time of one thread, which other jobs do not change; a control in every round says whether they do.
    threads: 1
    params:
        config=section(*BUILDING, "budget", "language", "training.methods"),
        code=code("ledger"),
        methods=[method for method in CONFIG.training.methods if method != "frozen"],
        # The budget is about the project's own method.
        at_reference=[FULL],
    script:
        "../scripts/ledger.py"


checkpoint budget_gate:
    input:
        ledger=rules.ledger.output[0],
    output:
        report(
            f"{RESULTS}/gates/budget.parquet",
            caption="../report/verdict.rst",
            category="Gates",
            labels={"gate": "budget"},
        ),
    log:
        f"{RESULTS}/logs/budget_gate.log",
    benchmark:
        f"{RESULTS}/benchmarks/budget_gate.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section("gates.budget", "budget"),
        code=code("budget_gate"),
    script:
        "../scripts/budget_gate.py"


rule budget:
    input:
        rules.budget_gate.output,
