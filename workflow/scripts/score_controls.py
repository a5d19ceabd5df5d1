from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.signal.controls_job import score_controls

    score_controls(run)
