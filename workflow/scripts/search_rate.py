from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.training.run_job import search_run

    search_run(run)
