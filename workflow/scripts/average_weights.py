from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.training.run_job import average_run

    average_run(run)
