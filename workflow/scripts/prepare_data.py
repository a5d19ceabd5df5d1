from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.data.prepare_job import prepare_data

    prepare_data(run)
