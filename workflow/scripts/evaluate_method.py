from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.evaluation.job import evaluate_method

    evaluate_method(run)
