from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.artifacts import read_table, write_table
    from vialign.evaluation.agreement import rating_agreement
    from vialign.signal.calibration import read_calibration
    from vialign.tables import AGREEMENT, RATINGS
    from vialign.training.inputs import read_split

    config = run.config
    table = rating_agreement(
        read_split(run.input.texts, run.input.image_features, run.input.text_features, run.input.encoded),
        read_table(run.input.ratings, RATINGS),
        read_calibration(run.input.calibration),
        config.signal,
        config.evaluation.level,
        config.seed,
    )
    write_table(table, AGREEMENT, run.output[0], run.provenance)
