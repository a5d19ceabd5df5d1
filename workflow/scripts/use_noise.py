from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.analysis.uses.jobs import use_noise

    use_noise(run)
