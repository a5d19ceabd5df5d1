from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.analysis.ablation_job import compare_subsets

    compare_subsets(run)
