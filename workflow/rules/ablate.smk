# Stage ablate: all subsets of the modules on validation, the backward-elimination path, the chosen combination.
checkpoint ablation:
    input:
        outcomes=expand(rules.train_early.output.outcomes, method=SUBSETS, seed=SEEDS),
    output:
        ablation=f"{RESULTS}/ablate/ablation.parquet",
        contributions=f"{RESULTS}/ablate/contributions.parquet",
    log:
        f"{RESULTS}/logs/ablation.log",
    benchmark:
        f"{RESULTS}/benchmarks/ablation.tsv"
    threads: 1
    params:
        config=section("evaluation", "seed"),
        code=code("ablation"),
    script:
        "../scripts/ablation.py"


def chosen():
    """The combination that the ablation chose; known only after it has run."""
    return chosen_method(str(checkpoints.ablation.get().output.ablation))


def gates_passed():
    """Whether no gate stopped the run; each gate is asked only when the one before it let the run go on."""
    return not (
        stopped(checkpoints.signal_gate.get().output)
        or stopped(checkpoints.budget_gate.get().output)
        or stopped(checkpoints.early_gate.get().output)
    )


def finished_methods():
    """Methods that are trained to the end: the configured ones and the chosen combination."""
    return list(dict.fromkeys([*CONFIG.training.methods, chosen()]))


def when_passed(make):
    """Input function: what `make` lists, or nothing when a gate stopped the run."""
    return lambda wildcards: make() if gates_passed() else []


rule ablate:
    input:
        when_passed(lambda: list(rules.ablation.output)),


rule train:
    input:
        when_passed(
            lambda: expand(
                rules.train_final.output, method=finished_methods(), seed=SEEDS
            )
        ),
