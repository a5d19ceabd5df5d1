from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.evaluation.agreement_job import compare_with_people

    compare_with_people(run)
