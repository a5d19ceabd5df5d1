from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.backbone.pretrain_job import pretrain_backbone

    pretrain_backbone(run)
