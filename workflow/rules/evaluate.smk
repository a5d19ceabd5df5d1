# Stage evaluate: the finished methods on the test splits, read once; then every comparison, paired.
EVALUATED = {
    name: f"{RESULTS}/evaluate/{{method}}/{{seed}}/{name}.parquet"
    for name in ("outcomes", "reranking", "ranks")
}
MEASURING = [
    *BUILDING,
    *TESTING,
    "evaluation.gallery_batch",
    "evaluation.rerank",
    "evaluation.rerank_check",
]


rule evaluate_method:
    input:
        unpack(evaluated_splits),
        images=rules.prepare_data.output.images,
        drawn=rules.prepare_data.output.drawn,
        choices=rules.prepare_data.output.choices,
        questions=rules.prepare_data.output.questions,
        calibration=rules.calibrate_signal.output[0],
        checkpoint=rules.train_final.output.checkpoint,
    output:
        outcomes=EVALUATED["outcomes"],
        reranking=EVALUATED["reranking"],
        ranks=EVALUATED["ranks"],
    log:
        f"{RESULTS}/logs/evaluate_method/{{method}}/{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate_method/{{method}}/{{seed}}.tsv"
    wildcard_constraints:
        method=APART,
    conda:
        "../../envs/vialign.yaml"
    threads: lambda wildcards: cores(wildcards.method)
    params:
        config=section(*MEASURING),
        code=code("evaluate_method"),
        seeds=lambda wildcards: [int(wildcards.seed)],
    script:
        "../scripts/evaluate_method.py"


use rule evaluate_method as evaluate_method_seeds with:
    input:
        unpack(evaluated_splits),
        **{"checkpoint": trained(FINAL, TRAINED_SEEDS)["checkpoint"]},
        images=rules.prepare_data.output.images,
        drawn=rules.prepare_data.output.drawn,
        choices=rules.prepare_data.output.choices,
        questions=rules.prepare_data.output.questions,
        calibration=rules.calibrate_signal.output[0],
    output:
        outcomes=expand(EVALUATED["outcomes"], seed=TRAINED_SEEDS, allow_missing=True),
        reranking=expand(EVALUATED["reranking"], seed=TRAINED_SEEDS, allow_missing=True),
        ranks=expand(EVALUATED["ranks"], seed=TRAINED_SEEDS, allow_missing=True),
    log:
        f"{RESULTS}/logs/evaluate_method_seeds/{{method}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate_method_seeds/{{method}}.tsv"
    wildcard_constraints:
        method=TOGETHER,
    params:
        config=section(*MEASURING),
        code=code("evaluate_method"),
        seeds=TRAINED_SEEDS,


# Whether the frozen backbone gives the numbers that are known of it; nothing is trained on one that does not.
rule reproduce:
    input:
        outcomes=f"{RESULTS}/evaluate/frozen/{SEEDS[0]}/outcomes.parquet",
        features=f"{RESULTS}/features/{CONFIG.evaluation.splits[0]}/images",
        images=rules.prepare_data.output.images,
    output:
        f"{RESULTS}/compare/reproduction.parquet",
    log:
        f"{RESULTS}/logs/reproduce.log",
    benchmark:
        f"{RESULTS}/benchmarks/reproduce.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section("evaluation", "backbone", "data", "training.seeds"),
        code=code("reproduce"),
    script:
        "../scripts/reproduce.py"


rule agreement:
    input:
        **encoded(CONFIG.evaluation.splits[0]),
        units=f"{RESULTS}/language/{CONFIG.evaluation.splits[0]}/units.parquet",
        ratings=rules.prepare_data.output.ratings,
        calibration=rules.calibrate_signal.output[0],
    output:
        f"{RESULTS}/evaluate/agreement.parquet",
    log:
        f"{RESULTS}/logs/agreement.log",
    benchmark:
        f"{RESULTS}/benchmarks/agreement.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section("evaluation", "signal", "backbone", "seed"),
        code=code("agreement"),
    script:
        "../scripts/agreement.py"


# How far a classifier gets that reads the texts of a benchmark and never sees an image.
rule blind_benchmarks:
    input:
        **{
            f"{split}_texts": f"{RESULTS}/language/{split}/texts.parquet"
            for split in CONFIG.test_splits
        },
        train_texts=f"{RESULTS}/language/train/texts.parquet",
        choices=rules.prepare_data.output.choices,
        questions=rules.prepare_data.output.questions,
    output:
        f"{RESULTS}/evaluate/blind.parquet",
    log:
        f"{RESULTS}/logs/blind_benchmarks.log",
    benchmark:
        f"{RESULTS}/benchmarks/blind_benchmarks.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section("evaluation", "data.benchmarks", "seed"),
        code=code("blind_benchmarks"),
    script:
        "../scripts/blind_benchmarks.py"


# The demo backbone that the run does not use, frozen, on the same test items.
rule compare_backbones:
    input:
        **{
            f"{split}_texts": f"{RESULTS}/language/{split}/texts.parquet"
            for split in CONFIG.test_splits
        },
        outcomes=f"{RESULTS}/evaluate/frozen/{SEEDS[0]}/outcomes.parquet",
        images=rules.prepare_data.output.images,
        drawn=rules.prepare_data.output.drawn,
        choices=rules.prepare_data.output.choices,
        questions=rules.prepare_data.output.questions,
    output:
        results=f"{RESULTS}/compare/backbones.parquet",
        comparisons=f"{RESULTS}/compare/backbone_differences.parquet",
    log:
        f"{RESULTS}/logs/compare_backbones.log",
    benchmark:
        f"{RESULTS}/benchmarks/compare_backbones.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section(
            *TESTING,
            "backbone",
            "data",
            "evaluation.gallery_batch",
            "evaluation.level",
            "features.batch",
            "features.shard",
            "seed",
            "training.negatives",
            "training.seeds",
        ),
        code=code("compare_backbones"),
        other=OTHER_BACKBONE,
    script:
        "../scripts/compare_backbones.py"


rule compare:
    input:
        outcomes=lambda wildcards: finished_outcomes(),
        ranks=lambda wildcards: each_run(rules.evaluate_method.output.ranks),
    output:
        results=f"{RESULTS}/compare/results.parquet",
        ranks=f"{RESULTS}/compare/ranks.parquet",
        comparisons=report(
            f"{RESULTS}/compare/comparisons.parquet",
            caption="../report/comparison.rst",
            category="Comparison",
        ),
    log:
        f"{RESULTS}/logs/compare.log",
    benchmark:
        f"{RESULTS}/benchmarks/compare.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section("evaluation.level", "training.methods", "training.seeds"),
        code=code("compare"),
        own=[],
    script:
        "../scripts/compare.py"


# The headline on images that nothing led to; the report alone reads what comes out.
rule confirm:
    input:
        **encoded("confirmation"),
        images=rules.prepare_data.output.images,
        drawn=rules.prepare_data.output.drawn,
        calibration=rules.calibrate_signal.output[0],
        checkpoints=lambda wildcards: headline_runs(rules.train_final.output.checkpoint),
    output:
        f"{RESULTS}/compare/confirmation.parquet",
    log:
        f"{RESULTS}/logs/confirm.log",
    benchmark:
        f"{RESULTS}/benchmarks/confirm.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: cores("lora")
    params:
        config=section(
            *BUILDING, "evaluation.gallery_batch", "evaluation.level", "training.seeds"
        ),
        code=code("confirm"),
        method=lambda wildcards: chosen(),
    script:
        "../scripts/confirm.py"


# What the chosen combination keeps of its gain when only some pairs of the gallery get its own score.
rule spend:
    input:
        **encoded("confirmation"),
        calibration=rules.calibrate_signal.output[0],
        checkpoints=lambda wildcards: filled(
            rules.train_final.output.checkpoint, method=chosen(), seed=SEEDS
        ),
    output:
        f"{RESULTS}/analyse/spending.parquet",
    log:
        f"{RESULTS}/logs/spend.log",
    benchmark:
        f"{RESULTS}/benchmarks/spend.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section(
            *BUILDING, "evaluation.gallery_batch", "evaluation.level", "training.seeds"
        ),
        code=code("spend"),
        method=lambda wildcards: chosen(),
        split="confirmation",
    script:
        "../scripts/spend.py"


rule evaluate:
    input:
        when_passed(lambda: [*rules.compare.output, *rules.confirm.output]),
