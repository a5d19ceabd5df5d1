from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.features.gather_job import gather_features

    gather_features(run)
