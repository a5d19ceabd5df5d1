from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.backbone.pretrain import pretrain_demo

    pretrain_demo(
        run.config.backbone,
        run.config.seed,
        weights=run.output.weights,
        merges=run.output.merges,
        log_table=run.output.log_table,
        provenance=run.provenance,
    )
