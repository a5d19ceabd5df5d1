from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.analysis.early_job import judge_early

    judge_early(run)
