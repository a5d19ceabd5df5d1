from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.signal.pairs_job import score_diagnosed

    score_diagnosed(run)
