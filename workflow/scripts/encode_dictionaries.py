from vialign.stage import stage

with stage(snakemake) as run:
    from vialign.analysis.attribution.job import encode_dictionaries

    encode_dictionaries(run)
