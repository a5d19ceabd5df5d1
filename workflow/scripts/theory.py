from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.analysis.theory_job import measure_worlds

    measure_worlds(run)
