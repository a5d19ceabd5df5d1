from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.analysis.uses.jobs import use_order

    use_order(run)
