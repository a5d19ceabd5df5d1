from vialign.stage import stage

with stage(snakemake) as run:
    import pandas as pd

    from vialign.artifacts import read_table, write_table
    from vialign.evaluation.gates import early_verdict
    from vialign.tables import OUTCOMES, VERDICT

    outcomes = pd.concat([read_table(path, OUTCOMES) for path in [*run.input.full, *run.input.reference]])
    settings = run.config.evaluation
    table = early_verdict(
        outcomes.reset_index(drop=True),
        run.config.gates.early,
        settings.level,
        settings.bootstrap,
        run.config.seed,
        evidence="train/*/*/early_outcomes.parquet",
    )
    write_table(table, VERDICT, run.output[0], run.provenance)
