from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.data.check_job import check_data

    check_data(run)
