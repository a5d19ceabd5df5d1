from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.disentangle.encode_job import gather_encoded

    gather_encoded(run)
