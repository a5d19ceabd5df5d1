from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.signal.validation.stress_job import stress_signal

    stress_signal(run)
