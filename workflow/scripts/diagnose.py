from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.signal.validation.diagnosis_job import diagnose_signal

    diagnose_signal(run)
