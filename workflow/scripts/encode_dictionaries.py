from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.analysis.attribution.encode_job import encode_dictionaries

    encode_dictionaries(run)
