from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.backbone import load_backbone
    from vialign.disentangle.domains import study_domains
    from vialign.files.artifacts import write_table
    from vialign.language.domains import read_domains
    from vialign.tables.language import SPANS

    spans = study_domains(
        read_domains(run.config.language, run.config.seed),
        load_backbone(run.config.backbone, run.config.seed),
        run.config.text,
        epochs=run.config.language.epochs,
        seed=run.config.seed,
    )
    write_table(spans, SPANS, run.output[0], run.provenance)
