from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.data.registry import source_note
    from vialign.evaluation.compare import published_tag_rules, results_table
    from vialign.evaluation.reproduction import check_calibration
    from vialign.features.store import MANIFEST, backbone_contract
    from vialign.files.artifacts import read_provenance, read_table, write_table
    from vialign.tables.data import IMAGES
    from vialign.tables.evaluation import CALIBRATION, OUTCOMES

    config, settings = run.config, run.config.evaluation
    outcomes = read_table(run.input.outcomes, OUTCOMES)
    notes = [source_note(name) for name in (config.data.dataset, *config.data.benchmarks)]
    calibration = check_calibration(
        results_table(outcomes, settings.bootstrap, settings.level, config.seed, published_tag_rules()),
        config.backbone.architecture,
        config.backbone.checkpoint,
        config.data.dataset,
        settings.expected,
        split=settings.splits[0],
        contract=backbone_contract(read_provenance(f"{run.input.features}/{MANIFEST}")),
        images=read_table(run.input.images, IMAGES),
        published_counts={what: count for note in notes if note for what, count in note.expected.items()},
    )
    print(calibration.to_string() if len(calibration) else "nothing is known to hold this backbone against")
    write_table(calibration, CALIBRATION, run.output[0], run.provenance)
