from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.evaluation.backbones_job import compare_backbones

    compare_backbones(run)
