# Stage compare_all: every method under one recipe, on a page of its own.
use rule compare as compare_methods with:
    input:
        outcomes=lambda wildcards: of_compared(rules.evaluate_method.output.outcomes),
        ranks=lambda wildcards: of_compared(rules.evaluate_method.output.ranks),
    output:
        results=f"{RESULTS}/compare_all/results.parquet",
        ranks=f"{RESULTS}/compare_all/ranks.parquet",
        comparisons=f"{RESULTS}/compare_all/comparisons.parquet",
    log:
        f"{RESULTS}/logs/compare_methods.log",
    benchmark:
        f"{RESULTS}/benchmarks/compare_methods.tsv"
    params:
        config=section("evaluation.level", "training.compare", "training.compare_seeds"),
        code=code("compare"),
        own=lambda wildcards: list(dict.fromkeys([chosen(), FULL, GUIDED])),


use rule ledger as ledger_methods with:
    output:
        f"{RESULTS}/compare_all/ledger.parquet",
    log:
        f"{RESULTS}/logs/ledger_methods.log",
    benchmark:
        f"{RESULTS}/benchmarks/ledger_methods.tsv"
    params:
        config=section(*BUILDING, "budget", "language", "training.compare"),
        code=code("ledger"),
        # An average costs what the method costs that it averages, and a step of a long training what any step costs.
        methods=[
            name
            for name in CONFIG.training.compared
            if name not in ("frozen", *AVERAGED, *LONG)
        ],
        at_reference=[
            name
            for name in CONFIG.training.compared
            if name not in ("frozen", *AVERAGED, *LONG)
        ],


rule compare_all_page:
    input:
        results=rules.compare_methods.output.results,
        comparisons=rules.compare_methods.output.comparisons,
        ranks=rules.compare_methods.output.ranks,
        blind=rules.blind_benchmarks.output[0],
        ledger=rules.ledger_methods.output[0],
        search=searches(CONFIG.training.compared),
        ablation=rules.ablation.output[0],
        early_steps=lambda wildcards: of_trained(rules.train_early.output.steps),
        steps=lambda wildcards: of_trained(rules.train_final.output.steps),
        monitors=lambda wildcards: of_trained(rules.train_final.output.monitor),
    output:
        report(
            f"{RESULTS}/report/compare_all.html",
            caption="../report/compare_all.rst",
            category="Report",
        ),
    log:
        f"{RESULTS}/logs/compare_all_page.log",
    benchmark:
        f"{RESULTS}/benchmarks/compare_all_page.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section(*EVERYTHING),
        code=code("compare_all_page"),
    script:
        "../scripts/compare_all_page.py"


rule compare_all:
    input:
        when_passed(lambda: list(rules.compare_all_page.output)),


rule search:
    input:
        searches(CONFIG.training.compared),
