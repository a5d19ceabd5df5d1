from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.signal.validation.gather_job import gather_stress

    gather_stress(run)
