from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.analysis.attribution.train_job import train_replaced

    train_replaced(run)
