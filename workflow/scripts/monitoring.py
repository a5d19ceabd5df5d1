from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.training.monitoring_job import follow_signal

    follow_signal(run)
