from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.evaluation.blind_job import solve_blindly

    solve_blindly(run)
