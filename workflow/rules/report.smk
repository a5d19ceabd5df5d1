# Stage report: one HTML file from whatever tables the gates let the run make, and the whole configuration beside it.
rule report:
    input:
        evidence,
    output:
        report(
            f"{RESULTS}/report/index.html",
            caption="../report/report.rst",
            category="Report",
        ),
        config=f"{RESULTS}/report/config.yaml",
    log:
        f"{RESULTS}/logs/report.log",
    benchmark:
        f"{RESULTS}/benchmarks/report.tsv"
    conda:
        "../../envs/vialign.yaml"
    threads: 1
    params:
        config=section(*EVERYTHING),
        code=code("report"),
        called=called(),
    script:
        "../scripts/report.py"
