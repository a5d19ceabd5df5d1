from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.analysis.early_job import measure_early

    measure_early(run)
