from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.features.readout_job import settle_readout

    settle_readout(run)
