from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.gates.signal_job import judge_signal

    judge_signal(run)
