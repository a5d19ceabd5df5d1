from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.gates.budget_job import judge_budget

    judge_budget(run)
