from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.training.run_job import train_run

    train_run(run)
