from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.analysis.confirm_job import confirm

    confirm(run)
