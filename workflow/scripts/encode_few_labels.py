from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.analysis.uses.encode_job import encode_few_labels

    encode_few_labels(run)
