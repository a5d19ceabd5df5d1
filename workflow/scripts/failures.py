from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.analysis.failures.job import find_failures

    find_failures(run)
