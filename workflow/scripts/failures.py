from vialign.stage import stage

with stage(snakemake) as run:
    import pandas as pd

    from vialign.analysis.failures import classify_failures, fit_thresholds
    from vialign.artifacts import read_table, write_table
    from vialign.tables import CHOICES, FAILURES, OUTCOMES, UNITS
    from vialign.training.inputs import read_split

    parts = ("texts", "image_features", "text_features", "encoded")
    validation = read_split(*(run.input[f"validation_{part}"] for part in parts))
    thresholds = fit_thresholds(validation, run.config.analysis)
    outcomes = pd.concat([read_table(path, OUTCOMES) for path in run.input.outcomes], ignore_index=True)
    table = classify_failures(
        outcomes,
        read_split(*(run.input[part] for part in parts)),
        read_table(run.input.choices, CHOICES),
        read_table(run.input.units, UNITS),
        thresholds,
        run.config.evaluation.splits[0],
    )
    write_table(table, FAILURES, run.output[0], run.provenance)
