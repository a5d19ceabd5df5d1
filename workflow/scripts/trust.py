from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.signal.trust.job import measure_trust

    measure_trust(run)
