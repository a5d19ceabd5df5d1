from vialign.stage import stage

with stage(snakemake) as run:
    import pandas as pd

    from vialign.artifacts import read_table, write_table
    from vialign.evaluation.compare import comparison_table, published_tag_rules, results_table
    from vialign.tables import COMPARISONS, OUTCOMES, RESULTS

    outcomes = pd.concat([read_table(path, OUTCOMES) for path in run.input.outcomes], ignore_index=True)
    config, settings = run.config, run.config.evaluation
    results = results_table(outcomes, settings.bootstrap, settings.level, config.seed, published_tag_rules())
    comparisons = comparison_table(outcomes, replicates=settings.bootstrap, level=settings.level, seed=config.seed)
    write_table(results, RESULTS, run.output.results, run.provenance)
    write_table(comparisons, COMPARISONS, run.output.comparisons, run.provenance)
