from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.report.job import write_report

    write_report(run)
