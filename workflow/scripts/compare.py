from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.evaluation.compare_job import compare_methods

    compare_methods(run)
