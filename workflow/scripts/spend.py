from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.analysis.spending_job import spend

    spend(run)
