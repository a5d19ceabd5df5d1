from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.disentangle.encode_job import encode_split

    encode_split(run)
