from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.evaluation.reproduction_job import reproduce

    reproduce(run)
