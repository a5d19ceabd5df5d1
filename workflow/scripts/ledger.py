from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.training.ledger_job import measure_ledger

    measure_ledger(run)
