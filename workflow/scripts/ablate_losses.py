from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.analysis.loss_ablation_job import measure_losses

    measure_losses(run)
