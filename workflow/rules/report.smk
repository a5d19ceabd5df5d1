# Stage report: one HTML file from whatever tables the gates let the run make.
def evidence(wildcards):
    """Tables up to the first gate that stopped, or all of them."""
    tables = [
        *rules.prepare_data.output,
        rules.train_language.output.quality,
        *rules.readout.output,
        rules.fit_visual.output.quality,
        rules.fit_text.output.quality,
        *rules.score_pairs.output,
        *rules.signal_gate.output,
    ]
    if stopped(checkpoints.signal_gate.get().output):
        return tables
    tables += [*rules.budget_gate.output]
    if stopped(checkpoints.budget_gate.get().output):
        return tables
    tables += [*rules.early_gate.output]
    if stopped(checkpoints.early_gate.get().output):
        return tables
    return [
        *tables,
        *rules.ablation.output,
        *expand(rules.train_final.output, method=finished_methods(), seed=SEEDS),
        *rules.agreement.output,
        *rules.compare.output,
        *rules.failures.output,
    ]


rule report:
    input:
        evidence,
    output:
        report(
            f"{RESULTS}/report/index.html",
            caption="../report/report.rst",
            category="Report",
        ),
    log:
        f"{RESULTS}/logs/report.log",
    benchmark:
        f"{RESULTS}/benchmarks/report.tsv"
    threads: 1
    params:
        config=section(*type(CONFIG).model_fields),
        code=code("report"),
    script:
        "../scripts/report.py"
