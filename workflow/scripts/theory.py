from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.analysis.theory import theory
    from vialign.files.artifacts import write_table
    from vialign.tables.theory import THEORY, THEORY_TRENDS

    table, trends = theory(seed=run.config.seed, level=run.config.evaluation.level)
    write_table(table, THEORY, run.output.theory, run.provenance)
    write_table(trends, THEORY_TRENDS, run.output.trends, run.provenance)
