from vialign.stage import stage

with stage(snakemake) as run:
    import pandas as pd

    from vialign.analysis.ablation import ablation_tables
    from vialign.files.artifacts import read_table, write_table
    from vialign.tables.evaluation import OUTCOMES
    from vialign.tables.gates import ABLATION, CONTRIBUTIONS

    outcomes = pd.concat([read_table(path, OUTCOMES) for path in run.input.outcomes], ignore_index=True)
    settings = run.config.evaluation
    ablation, contributions = ablation_tables(
        outcomes, bootstrap=settings.bootstrap, level=settings.level, seed=run.config.seed
    )
    write_table(ablation, ABLATION, run.output.ablation, run.provenance)
    write_table(contributions, CONTRIBUTIONS, run.output.contributions, run.provenance)
