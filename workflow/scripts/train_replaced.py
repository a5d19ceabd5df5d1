from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.analysis.attribution.job import train_replaced

    train_replaced(run)
