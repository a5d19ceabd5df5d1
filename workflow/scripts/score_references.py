from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.signal.references_job import score_simpler

    score_simpler(run)
